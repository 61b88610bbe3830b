#include "tools/load/http2_client.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/base/list.h"
#include "core/base/memory.h"

enum {
    FIELD_COUNT_MAX = 32,
    HEAD_LEN_MAX = 16384,
    WINDOW = 256 << 10, /* of a stream that is not slow */
    /* Of the connection: its streams should not wait for one another. */
    CONNECTION_WINDOW = 8 << 20,
};

struct http2_client {
    nghttp2_session *session;
    const struct http2_client_handler *handler;
    void *owner;
    bool is_spoken; /* the server has sent its SETTINGS */
    bool is_leaving;
    struct http2_client_options options;
    struct list streams;
    char problem[160];
};

struct client_stream {
    struct list link;
    void *user;
    int32_t id;
    bool is_left; /* by this side, which is told nothing more */
    bool is_headed;
    bool is_stopped;
    bool is_told;       /* that it has ended */
    bool is_slow;       /* keeps the window that all begin with */
    size_t withheld;    /* of its window, until it reads on */
    struct buffer body; /* of the request */
    size_t body_at;
    struct buffer head; /* of the response, as it comes */
};

__attribute__((format(printf, 2, 3))) static void set_problem(struct http2_client *client,
                                                              const char *format, ...)
{
    va_list arguments;
    if (client->problem[0] == '\0') {
        va_start(arguments, format);
        (void)vsnprintf(client->problem, sizeof client->problem, format, arguments);
        va_end(arguments);
    }
}

static void stream_free(struct client_stream *stream)
{
    list_remove_if_linked(&stream->link);
    buffer_fini(&stream->body);
    buffer_fini(&stream->head);
    memory_free(stream);
}

/* Also one whose request nghttp2 has not sent yet, and so does not find. */
static struct client_stream *stream_of(struct http2_client *client, int32_t stream_id)
{
    struct client_stream *stream =
        stream_id > 0 ? nghttp2_session_get_stream_user_data(client->session, stream_id) : NULL;
    for (struct list *link = client->streams.prev;
         stream == NULL && stream_id > 0 && link != &client->streams; link = link->prev) {
        struct client_stream *one = container_of(link, struct client_stream, link);
        stream = one->id == stream_id ? one : NULL;
    }
    return stream;
}

static void stream_tell(struct http2_client *client, struct client_stream *stream, struct span text)
{
    if (!stream->is_left) {
        client->handler->received(client->owner, stream->user, text);
    }
}

static void stream_end(struct http2_client *client, struct client_stream *stream,
                       const char *problem)
{
    if (!stream->is_left && !stream->is_told) {
        stream->is_told = true;
        client->handler->ended(client->owner, stream->user, problem);
    }
}

/* --- Requests --------------------------------------------------------------------------------- */

static nghttp2_nv field_make(struct span name, struct span value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name.bytes, (uint8_t *)(uintptr_t)value.bytes,
                        name.len, value.len, NGHTTP2_NV_FLAG_NONE};
}

static nghttp2_nv field_named(const char *name, struct span value)
{
    return field_make(span_make(name, strlen(name)), value);
}

/* The words of the request line. */
static bool read_request_line(struct span line, bool is_tls, nghttp2_nv *fields)
{
    const char *first = memchr(line.bytes, ' ', line.len);
    const char *last = memrchr(line.bytes, ' ', line.len);
    if (first == NULL || first == last) {
        return false;
    }
    const char *scheme = is_tls ? "https" : "http";
    fields[0] = field_named(":method", span_make(line.bytes, (size_t)(first - line.bytes)));
    fields[1] = field_named(":scheme", span_make(scheme, strlen(scheme)));
    fields[2] = field_named(":path", span_make(first + 1, (size_t)(last - first - 1)));
    return true;
}

/* Names become lower case in place; Host becomes the authority. Returns how many; 0: not a head. */
static size_t read_request_head(char *text, size_t len, bool is_tls, nghttp2_nv *fields)
{
    size_t count = 3;
    const char *const end = text + len;
    char *line = memmem(text, len, "\r\n", 2);
    if (line == NULL ||
        !read_request_line(span_make(text, (size_t)(line - text)), is_tls, fields)) {
        return 0;
    }
    while ((line += 2) < end) {
        char *line_end = memmem(line, (size_t)(end - line), "\r\n", 2);
        char *colon = memchr(line, ':', (size_t)(end - line));
        if (line_end == NULL || colon == NULL || colon > line_end || count == FIELD_COUNT_MAX) {
            return 0;
        }
        for (char *at = line; at < colon; at++) {
            *at = *at >= 'A' && *at <= 'Z' ? (char)(*at | 0x20) : *at;
        }
        const struct span name = span_make(line, (size_t)(colon - line));
        const char *value = colon + 1 + strspn(colon + 1, " ");
        const struct span rest = span_make(value, (size_t)(line_end - value));
        fields[count++] =
            span_is(name, "host") ? field_named(":authority", rest) : field_make(name, rest);
        line = line_end;
    }
    /* Pseudo-fields come first (RFC 9113, 8.3). */
    for (size_t i = 3; i < count; i++) {
        if (fields[i].name[0] == ':') {
            const nghttp2_nv authority = fields[i];
            fields[i] = fields[3];
            fields[3] = authority;
        }
    }
    return count;
}

static ssize_t on_body_wanted(nghttp2_session *session, int32_t stream_id, uint8_t *room,
                              size_t len, uint32_t *ret_flags, nghttp2_data_source *source,
                              void *context)
{
    struct client_stream *stream = source->ptr;
    (void)session;
    (void)stream_id;
    (void)context;
    const size_t piece = min_size(len, stream->body.len - stream->body_at);
    memcpy(room, stream->body.bytes + stream->body_at, piece);
    stream->body_at += piece;
    if (stream->body_at == stream->body.len) {
        *ret_flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (ssize_t)piece;
}

static int32_t request_submit(struct http2_client *client, char *head, size_t head_len,
                              struct client_stream *stream)
{
    nghttp2_nv fields[FIELD_COUNT_MAX];
    const size_t count = read_request_head(head, head_len, client->options.is_tls, fields);
    if (count == 0) {
        return -EINVAL;
    }
    const nghttp2_data_provider body = {.source.ptr = stream, .read_callback = on_body_wanted};
    const int32_t stream_id = nghttp2_submit_request(client->session, NULL, fields, count,
                                                     stream->body.len > 0 ? &body : NULL, stream);
    return stream_id > 0 ? stream_id : -ESHUTDOWN;
}

int32_t http2_client_request(struct http2_client *client, struct span text, bool is_slow,
                             void *user)
{
    const char *end = memmem(text.bytes, text.len, "\r\n\r\n", 4);
    if (client->is_leaving) {
        return -ESHUTDOWN;
    }
    if (end == NULL) {
        return -EINVAL;
    }
    const size_t head_len = (size_t)(end - text.bytes) + 2;
    struct client_stream *stream = memory_calloc(1, sizeof *stream);
    char *head = memory_copy(span_make(text.bytes, head_len));
    int32_t stream_id = -ENOMEM;
    if (stream != NULL && head != NULL) {
        stream->user = user;
        stream->is_slow = is_slow;
        buffer_init(&stream->body, HTTP2_CLIENT_REQUEST_LEN_MAX);
        buffer_init(&stream->head, HEAD_LEN_MAX);
        buffer_append(&stream->body, end + 4, text.len - head_len - 2);
        stream_id = stream->body.failed ? -ENOMEM : request_submit(client, head, head_len, stream);
    }
    memory_free(head);
    if (stream_id < 0 && stream != NULL) {
        stream_free(stream);
    } else if (stream != NULL) {
        stream->id = stream_id;
        list_append(&client->streams, &stream->link);
    }
    return stream_id;
}

void http2_client_reset(struct http2_client *client, int32_t stream_id)
{
    struct client_stream *stream = stream_of(client, stream_id);
    if (stream == NULL || stream->is_left) {
        return;
    }
    stream->is_left = true;
    if (!stream->is_told) {
        (void)nghttp2_submit_rst_stream(client->session, NGHTTP2_FLAG_NONE, stream_id,
                                        NGHTTP2_CANCEL);
    }
}

void http2_client_forget(struct http2_client *client, int32_t stream_id)
{
    struct client_stream *stream = stream_of(client, stream_id);
    if (stream != NULL) {
        stream->is_left = true;
    }
}

/* --- Windows ---------------------------------------------------------------------------------- */

void http2_client_read_stop(struct http2_client *client, int32_t stream_id)
{
    struct client_stream *stream = stream_of(client, stream_id);
    if (stream != NULL) {
        stream->is_stopped = true;
    }
}

void http2_client_read_start(struct http2_client *client, int32_t stream_id)
{
    struct client_stream *stream = stream_of(client, stream_id);
    if (stream != NULL && stream->is_stopped) {
        stream->is_stopped = false;
        (void)nghttp2_session_consume_stream(client->session, stream_id, stream->withheld);
        stream->withheld = 0;
    }
}

/* --- Responses -------------------------------------------------------------------------------- */

static int on_field(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                    nghttp2_rcbuf *value, uint8_t flags, void *context)
{
    const nghttp2_vec name_bytes = nghttp2_rcbuf_get_buf(name);
    const nghttp2_vec value_bytes = nghttp2_rcbuf_get_buf(value);
    struct client_stream *stream = stream_of(context, frame->hd.stream_id);
    (void)session;
    (void)flags;
    if (stream == NULL || stream->is_headed) {
        return 0; /* trailers */
    }
    if (name_bytes.len == 7 && memcmp(name_bytes.base, ":status", 7) == 0) {
        buffer_append_string(&stream->head, "HTTP/1.1 ");
        buffer_append(&stream->head, value_bytes.base, value_bytes.len);
        buffer_append_string(&stream->head, " \r\n");
        return 0;
    }
    buffer_append(&stream->head, name_bytes.base, name_bytes.len);
    buffer_append_string(&stream->head, ": ");
    buffer_append(&stream->head, value_bytes.base, value_bytes.len);
    buffer_append_string(&stream->head, "\r\n");
    return 0;
}

static void head_complete(struct http2_client *client, struct client_stream *stream)
{
    if (stream->is_headed) {
        return; /* trailers */
    }
    /* 1xx come before the answer proper; nobody here has asked for one. */
    const bool is_final = stream->head.len > 9 && stream->head.bytes[9] != '1';
    if (is_final) {
        stream->is_headed = true;
        buffer_append_string(&stream->head, "\r\n");
        if (!stream->is_slow) {
            (void)nghttp2_session_set_local_window_size(client->session, NGHTTP2_FLAG_NONE,
                                                        stream->id, WINDOW);
        }
        stream_tell(client, stream, buffer_span(&stream->head));
        buffer_fini(&stream->head);
    }
    stream->head.len = 0;
}

static void settings_came(struct http2_client *client)
{
    const uint32_t allowed = nghttp2_session_get_remote_settings(
        client->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    client->is_spoken = true;
    if (allowed < client->options.stream_count) {
        set_problem(client,
                    "the server allows %u streams on a connection, --streams-per-connection asks "
                    "for %u",
                    allowed, client->options.stream_count);
    }
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    struct http2_client *client = context;
    struct client_stream *stream = stream_of(client, frame->hd.stream_id);
    (void)session;
    if (frame->hd.type == NGHTTP2_SETTINGS && (frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
        settings_came(client);
    } else if (frame->hd.type == NGHTTP2_GOAWAY) {
        client->is_leaving = true;
        if (frame->goaway.error_code != NGHTTP2_NO_ERROR) {
            set_problem(client, "the server gave up the connection (GOAWAY %s)",
                        nghttp2_http2_strerror(frame->goaway.error_code));
        }
    } else if (frame->hd.type == NGHTTP2_HEADERS && stream != NULL) {
        head_complete(client, stream);
    }
    if (stream != NULL && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
        (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA)) {
        stream_end(client, stream, NULL);
    }
    /* Of what comes behind a mistake nothing is told. */
    return client->problem[0] == '\0' ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *bytes,
                   size_t len, void *context)
{
    struct http2_client *client = context;
    struct client_stream *stream = stream_of(client, stream_id);
    (void)flags;
    (void)nghttp2_session_consume_connection(session, len);
    if (stream == NULL) {
        return 0;
    }
    stream_tell(client, stream, span_make((const char *)bytes, len));
    if (stream->is_stopped) {
        stream->withheld += len;
    } else {
        (void)nghttp2_session_consume_stream(session, stream_id, len);
    }
    return 0;
}

static int on_stream_closed(nghttp2_session *session, int32_t stream_id, uint32_t error_code,
                            void *context)
{
    struct http2_client *client = context;
    struct client_stream *stream = stream_of(client, stream_id);
    char problem[sizeof client->problem];
    if (stream == NULL) {
        return 0;
    }
    if (client->problem[0] != '\0') {
        memcpy(problem, client->problem, sizeof problem);
    } else if (client->is_leaving && error_code == NGHTTP2_REFUSED_STREAM) {
        (void)snprintf(problem, sizeof problem, "the server left the connection (GOAWAY)");
    } else if (error_code == NGHTTP2_REFUSED_STREAM) {
        (void)snprintf(problem, sizeof problem, "the server refused a stream (REFUSED_STREAM)");
    } else {
        (void)snprintf(problem, sizeof problem, "the server reset a stream (%s)",
                       nghttp2_http2_strerror(error_code));
    }
    stream_end(client, stream, error_code == NGHTTP2_NO_ERROR ? NULL : problem);
    (void)nghttp2_session_set_stream_user_data(session, stream_id, NULL);
    stream_free(stream);
    return 0;
}

/* A request that could not be sent after all: the server takes no more, or its name ran out. */
static int on_not_sent(nghttp2_session *session, const nghttp2_frame *frame, int error,
                       void *context)
{
    if (frame->hd.type == NGHTTP2_HEADERS) {
        return on_stream_closed(session, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM, context);
    }
    (void)error;
    return 0;
}

int http2_client_receive(struct http2_client *client, struct span bytes)
{
    if (!client->is_spoken && bytes.len >= 5 && memcmp(bytes.bytes, "HTTP/", 5) == 0) {
        set_problem(client, "the server does not speak HTTP/2, but HTTP/1.1");
        return -EPROTO;
    }
    const ssize_t taken =
        nghttp2_session_mem_recv(client->session, (const uint8_t *)bytes.bytes, bytes.len);
    if (taken < 0) {
        set_problem(client, "the server does not speak HTTP/2 as it should: %s",
                    nghttp2_strerror((int)taken));
    } else if (!nghttp2_session_want_read(client->session) && !client->is_leaving) {
        set_problem(client, "the server does not speak HTTP/2 as it should");
    }
    return client->problem[0] == '\0' ? 0 : -EPROTO;
}

int http2_client_send(struct http2_client *client, struct buffer *buffer)
{
    const uint8_t *bytes;
    ssize_t len;
    while ((len = nghttp2_session_mem_send(client->session, &bytes)) > 0) {
        buffer_append(buffer, bytes, (size_t)len);
    }
    return len < 0 || buffer->failed ? -ENOMEM : 0;
}

/* --- Life ------------------------------------------------------------------------------------- */

static int session_new(struct http2_client *client)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    if (nghttp2_session_callbacks_new(&callbacks) != 0) {
        return -ENOMEM;
    }
    if (nghttp2_option_new(&option) != 0) {
        nghttp2_session_callbacks_del(callbacks);
        return -ENOMEM;
    }
    nghttp2_session_callbacks_set_on_header_callback2(callbacks, on_field);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_closed);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_not_sent);
    nghttp2_option_set_no_auto_window_update(option, 1);
    /* Until the server has said how many it allows. */
    nghttp2_option_set_peer_max_concurrent_streams(option, client->options.stream_count);
    int r = nghttp2_session_client_new2(&client->session, callbacks, client, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return r == 0 ? 0 : -ENOMEM;
}

struct http2_client *http2_client_new(const struct http2_client_options *options,
                                      const struct http2_client_handler *handler, void *owner)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options->window},
    };
    struct http2_client *client = memory_calloc(1, sizeof *client);
    if (client == NULL) {
        return NULL;
    }
    client->handler = handler;
    client->owner = owner;
    client->options = *options;
    list_init(&client->streams);
    if (session_new(client) < 0) {
        memory_free(client);
        return NULL;
    }
    if (nghttp2_submit_settings(client->session, NGHTTP2_FLAG_NONE, settings, countof(settings)) !=
            0 ||
        nghttp2_session_set_local_window_size(client->session, NGHTTP2_FLAG_NONE, 0,
                                              CONNECTION_WINDOW) != 0) {
        http2_client_free(client);
        return NULL;
    }
    return client;
}

void http2_client_free(struct http2_client *client)
{
    if (client == NULL) {
        return;
    }
    nghttp2_session_del(client->session);
    while (!list_is_empty(&client->streams)) {
        stream_free(container_of(client->streams.next, struct client_stream, link));
    }
    memory_free(client);
}

bool http2_client_is_leaving(const struct http2_client *client)
{
    return client->is_leaving;
}

bool http2_client_is_spoken(const struct http2_client *client)
{
    return client->is_spoken;
}

const char *http2_client_problem(const struct http2_client *client)
{
    return client->problem[0] == '\0' ? NULL : client->problem;
}
