#include "hub/http2.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "core/base/memory.h"
#include "hub/http2_request.h"
#include "hub/shard.h"

enum {
    HTTP2_CONNECTION_WINDOW_BYTES = 1024 * 1024,
    HTTP2_FIELDS_MAX = 32,
    HTTP2_HEAD_MAX = 4096,
    HTTP2_CHARGE_SETTINGS = 20,
    HTTP2_CHARGE_INVALID = 10,
    HTTP2_TIMER_MS_MAX = 5000,
    HTTP2_OF_USE_MS = 1000,
};

bool http2_is_stream(const struct connection *connection)
{
    return (connection->flags & CONNECTION_IS_STREAM) != 0;
}

static struct http2 *http2_of(const struct connection *connection)
{
    return connection->transport->http2;
}

struct connection *http2_carrier(struct connection *connection)
{
    return http2_is_stream(connection) ? http2_of(connection)->connection : connection;
}

static void http2_mark(struct http2 *http2)
{
    if (!list_is_linked(&http2->link)) {
        list_append(&http2->connection->shard->pumping, &http2->link);
    }
}

struct list *http2_outgoing(struct connection *stream)
{
    http2_mark(http2_of(stream));
    return &http2_of(stream)->writing;
}

struct connection *http2_stream(struct http2 *http2, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(http2->session, stream_id);
}

/* ---- What the peer has to answer for ----------------------------------------------------------
 */

static void http2_flood(struct http2 *http2)
{
    struct shard *shard = http2->connection->shard;
    shard_count(&shard->stats.http2_floods, 1);
    http2->charge = 0;
    if (nghttp2_session_terminate_session(http2->session, NGHTTP2_ENHANCE_YOUR_CALM) != 0) {
        http2->broken = true;
    }
}

void http2_charge(struct http2 *http2, uint32_t charge)
{
    uint64_t now_ms = http2->connection->shard->now_ms;
    uint64_t worked_off = (now_ms - http2->charged_ms) * HTTP2_CHARGES_PER_SECOND / 1000;
    if (worked_off > 0) {
        http2->charge -= (uint32_t)min_u64(http2->charge, worked_off);
        http2->charged_ms = now_ms;
    }
    http2->charge += charge;
    if (http2->charge > HTTP2_CHARGE_MAX) {
        http2_flood(http2);
    }
}

/* Leaving a stream that one has listened to for a while is no flood. */
static bool stream_was_of_use(const struct http2 *http2, const struct connection *stream)
{
    return stream != NULL && stream->state == CONNECTION_STREAMING &&
           http2->connection->shard->now_ms - stream->since_ms >= HTTP2_OF_USE_MS;
}

static void http2_charge_frame(struct http2 *http2, const nghttp2_frame *frame,
                               const struct connection *stream)
{
    switch (frame->hd.type) {
    case NGHTTP2_DATA:
        if (frame->hd.length == 0 && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) {
            http2_charge(http2, 1);
        }
        break;
    case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
            http2->room = true;
            http2_charge(http2, HTTP2_CHARGE_SETTINGS);
        }
        break;
    case NGHTTP2_PING:
        http2_charge(http2, 1);
        break;
    case NGHTTP2_RST_STREAM:
        http2_charge(http2, stream_was_of_use(http2, stream) ? 0 : 1);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        http2->room = true;
        if (http2->updates_due > 0) {
            http2->updates_due--;
        } else {
            http2_charge(http2, 1);
        }
        break;
    default:
        break;
    }
}

/* ---- Frames from the peer ----------------------------------------------------------------------
 */

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    struct http2 *http2 = context;
    struct connection *stream = http2_stream(http2, frame->hd.stream_id);
    bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    (void)session;
    http2_charge_frame(http2, frame, stream);
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        if (stream != NULL) {
            http2_request_head_done(http2, stream, end);
        }
    } else if (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) {
        if (stream != NULL && end) {
            http2_request_done(stream);
        }
    }
    return 0;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
                            void *context)
{
    (void)session;
    (void)frame;
    (void)error;
    http2_charge(context, HTTP2_CHARGE_INVALID);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error,
                           void *context)
{
    struct http2 *http2 = context;
    struct connection *stream = http2_stream(http2, stream_id);
    if (stream == NULL) {
        return 0;
    }
    (void)nghttp2_session_set_stream_user_data(session, stream_id, NULL);
    stream->stream_id = 0;
    if ((stream->flags & CONNECTION_ENDING) != 0) {
        connection_close(stream, "ended");
    } else {
        bool is_done = error == NGHTTP2_NO_ERROR && stream->state != CONNECTION_STREAMING;
        connection_close(stream, is_done ? "done" : "client left");
    }
    return 0;
}

/* ---- Frames to the peer -----------------------------------------------------------------------
 */

static size_t http2_unsent(const struct http2 *http2)
{
    return outbox_unsent(http2->connection->outbox);
}

static ssize_t on_send(nghttp2_session *session, const uint8_t *bytes, size_t len, int flags,
                       void *context)
{
    struct http2 *http2 = context;
    (void)session;
    (void)flags;
    if (!connection_append(http2->connection, span_make((const char *)bytes, len))) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return (ssize_t)len;
}

/* Says how much of `data` goes into the next frame; the bytes follow in on_send_data. */
static ssize_t data_length(nghttp2_session *session, int32_t stream_id, uint8_t *room, size_t len,
                           uint32_t *ret_flags, nghttp2_data_source *source, void *context)
{
    struct http2 *http2 = context;
    (void)session;
    (void)stream_id;
    (void)room;
    (void)source;
    *ret_flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (len >= http2->data.len) {
        *ret_flags |= NGHTTP2_DATA_FLAG_EOF;
        len = http2->data.len;
    }
    return (ssize_t)len;
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                        size_t len, nghttp2_data_source *source, void *context)
{
    struct http2 *http2 = context;
    (void)session;
    (void)frame;
    (void)source;
    CHECK(len <= http2->data.len);
    if (!connection_append(http2->connection,
                           span_make((const char *)head, HTTP2_FRAME_HEAD_LEN)) ||
        !connection_append(http2->connection, span_make(http2->data.bytes, len))) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    http2->data = span_make(http2->data.bytes + len, http2->data.len - len);
    http2->updates_due = (uint32_t)min_u64(http2->updates_due + 2, HTTP2_CHARGE_MAX);
    return 0;
}

/* Writes out what nghttp2 has queued. */
static void http2_send(struct http2 *http2)
{
    CHECK(!http2->inside);
    if (http2->broken) {
        return; /* it may be amid a frame whose data is no longer here */
    }
    http2->inside = true;
    if (nghttp2_session_send(http2->session) != 0) {
        http2->broken = true;
    }
    http2->inside = false;
}

/* Bytes that a stream may send now. */
static size_t stream_room(const struct http2 *http2, const struct connection *stream)
{
    int32_t window =
        nghttp2_session_get_stream_remote_window_size(http2->session, stream->stream_id);
    int32_t shared = nghttp2_session_get_remote_window_size(http2->session);
    size_t unsent = http2_unsent(http2);
    if (window <= 0 || shared <= 0 || unsent >= HTTP2_OUT_MAX_BYTES) {
        return 0;
    }
    return min_size((size_t)(window < shared ? window : shared), HTTP2_OUT_MAX_BYTES - unsent);
}

/* Frames bytes that the windows admit. False: nghttp2 can go on no more. */
static bool stream_send(struct http2 *http2, const struct connection *stream, struct span bytes,
                        bool end)
{
    const nghttp2_data_provider provider = {.read_callback = data_length};
    uint8_t flags = end ? NGHTTP2_FLAG_END_STREAM : NGHTTP2_FLAG_NONE;
    http2->data = bytes;
    if (nghttp2_submit_data(http2->session, flags, stream->stream_id, &provider) != 0) {
        http2->broken = true;
    } else {
        http2_send(http2);
    }
    /* What is left was kept back with the session's end. */
    http2->broken |= http2->data.len > 0;
    http2->data = span_make(NULL, 0);
    if (http2->broken) {
        http2_mark(http2);
    }
    return !http2->broken;
}

ssize_t http2_take(struct connection *stream, struct span bytes)
{
    struct http2 *http2 = http2_of(stream);
    size_t taken = min_size(bytes.len, stream_room(http2, stream));
    if (http2->broken ||
        (taken > 0 && !stream_send(http2, stream, span_make(bytes.bytes, taken), false))) {
        return -EPIPE;
    }
    if (taken < bytes.len && !list_is_linked(&stream->waiting)) {
        list_append(&http2->blocked, &stream->waiting);
    }
    return (ssize_t)taken;
}

/* ---- Answers ----------------------------------------------------------------------------------
 */

static nghttp2_nv header_make(struct span name, struct span value)
{
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name.bytes,
                        .namelen = name.len,
                        .value = (uint8_t *)(uintptr_t)value.bytes,
                        .valuelen = value.len};
}

/* Splits one line off. False at the empty one that ends a head. */
static bool line_take(struct span *rest, struct span *ret_line)
{
    const char *end = memmem(rest->bytes, rest->len, "\r\n", 2);
    CHECK(end != NULL);
    *ret_line = span_make(rest->bytes, (size_t)(end - rest->bytes));
    *rest = span_make(end + 2, rest->len - ret_line->len - 2);
    return ret_line->len > 0;
}

/* Fields that are about the connection have no meaning here (RFC 9113, 8.2.2). */
static bool field_is_of_connection(struct span name)
{
    return span_is(name, "connection") || span_is(name, "transfer-encoding");
}

void http2_respond(struct connection *stream, struct span head, bool end)
{
    struct http2 *http2 = http2_of(stream);
    char text[HTTP2_HEAD_MAX];
    nghttp2_nv headers[HTTP2_FIELDS_MAX];
    size_t count = 0;
    CHECK(head.len <= sizeof(text));
    memcpy(text, head.bytes, head.len);
    struct span rest = span_make(text, head.len);
    struct span line;
    CHECK(line_take(&rest, &line));
    /* "HTTP/1.1 200 OK" */
    headers[count++] = header_make(span_of(":status"), span_make(line.bytes + 9, 3));
    while (line_take(&rest, &line)) {
        const char *colon = memchr(line.bytes, ':', line.len);
        CHECK(colon != NULL);
        CHECK(count < HTTP2_FIELDS_MAX);
        struct span name = span_make(line.bytes, (size_t)(colon - line.bytes));
        struct span value = span_make(colon + 2, line.len - name.len - 2);
        for (char *c = text + (line.bytes - text); c < colon; c++) {
            *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + ('a' - 'A') : *c);
        }
        if (!field_is_of_connection(name)) {
            headers[count++] = header_make(name, value);
        }
    }
    /* While the request goes on, the end has to wait for what stops it; see stream_flush. */
    bool with_head = end && (stream->flags & CONNECTION_PEER_DONE) != 0;
    http2_mark(http2);
    if (nghttp2_submit_headers(http2->session,
                               with_head ? NGHTTP2_FLAG_END_STREAM : NGHTTP2_FLAG_NONE,
                               stream->stream_id, NULL, headers, count, NULL) != 0) {
        connection_close(stream, "no memory");
    } else if (end && !with_head) {
        connection_complete(stream);
    }
}

/* Frames what the stream has to say. False: something has to wait for room. */
static bool stream_flush(struct http2 *http2, struct connection *stream)
{
    struct outbox *outbox = stream->outbox;
    struct span rest =
        span_make(outbox->data.bytes + outbox->sent, outbox->data.len - outbox->sent);
    size_t taken = min_size(rest.len, stream_room(http2, stream));
    bool all = taken == rest.len;
    bool end = all && (stream->flags & CONNECTION_COMPLETE) != 0;
    outbox->sent += taken;
    if (taken > 0 || end) {
        /* The stream may be gone afterwards, and its outbox with it. */
        if (!stream_send(http2, stream, span_make(rest.bytes, taken), end)) {
            return all;
        }
    }
    if (!all || stream->state == CONNECTION_CLOSED) {
        return all;
    }
    if (end) {
        /* The client may stop sending what nobody will read (RFC 9113, 8.1). */
        connection_close(stream, "done");
    } else {
        connection_flushed(stream);
    }
    return true;
}

static void streams_flush(struct http2 *http2)
{
    struct list round;
    list_init(&round);
    list_splice(&round, &http2->writing);
    struct list *link;
    while (!http2->broken && (link = list_take(&round)) != NULL) {
        struct connection *stream = container_of(link, struct outbox, link)->connection;
        if (!stream_flush(http2, stream) && stream->state != CONNECTION_CLOSED) {
            list_append(&http2->stalled, link);
        }
    }
    list_splice(&http2->writing, &round);
}

/* Those who wait look again. */
static void streams_wake(struct http2 *http2)
{
    struct list round;
    list_init(&round);
    list_splice(&http2->writing, &http2->stalled);
    list_splice(&round, &http2->blocked);
    struct list *link;
    while ((link = list_take(&round)) != NULL) {
        struct connection *stream = container_of(link, struct connection, waiting);
        if (stream_room(http2, stream) > 0) {
            fanout_writable(&stream->shard->fanout, &stream->subscriber);
        } else {
            list_append(&http2->blocked, link);
        }
    }
}

/* ---- The end of a stream ----------------------------------------------------------------------
 */

void http2_body_freed(struct connection *stream, size_t len)
{
    struct http2 *http2 = http2_of(stream);
    CHECK(len <= http2->body_bytes);
    http2->body_bytes -= len;
}

/* Unless both sides have ended it. */
static void stream_reset(struct http2 *http2, int32_t stream_id, uint32_t error)
{
    if (nghttp2_session_get_stream_local_close(http2->session, stream_id) < 0) {
        return;
    }
    http2->resets[http2->reset_count++ % HTTP2_RESETS_KEPT] = stream_id;
    if (nghttp2_submit_rst_stream(http2->session, NGHTTP2_FLAG_NONE, stream_id, error) != 0) {
        http2->broken = true;
    }
}

void http2_stream_closed(struct connection *stream, bool was_streaming)
{
    struct http2 *http2 = http2_of(stream);
    struct shard *shard = stream->shard;
    if (stream->stream_id != 0 && !http2->closing) {
        bool complete = (stream->flags & CONNECTION_COMPLETE) != 0;
        /* Its end may close it at once, and on_stream_close would close it a second time. */
        (void)nghttp2_session_set_stream_user_data(http2->session, stream->stream_id, NULL);
        if (was_streaming && !complete && !http2->inside && !http2->broken) {
            /* Not a reset: that would make the client forget what it has not read. */
            complete = stream_send(http2, stream, span_make(NULL, 0), true);
        }
        stream_reset(http2, stream->stream_id, complete ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
        http2_mark(http2);
    }
    list_remove(&stream->address.stream);
    http2->stream_count--;
    if (http2->stream_count == 0) {
        http2->idle_since_ms = shard->now_ms;
        if (!http2->closing) {
            list_remove_if_linked(&http2->connection->waiting);
            list_append(&shard->waiting, &http2->connection->waiting);
            http2_mark(http2);
        }
    }
    stream->transport = NULL;
    list_append(&shard->closed_streams, &stream->waiting);
}

/* ---- The connection ---------------------------------------------------------------------------
 */

static void *http2_malloc(size_t size, void *context)
{
    (void)context;
    return memory_alloc(size);
}

static void http2_release(void *block, void *context)
{
    (void)context;
    memory_free(block);
}

static void *http2_calloc(size_t count, size_t size, void *context)
{
    (void)context;
    return memory_calloc(count, size);
}

static void *http2_realloc(void *block, size_t size, void *context)
{
    (void)context;
    return memory_realloc(block, size);
}

/* Made once for the process. */
static nghttp2_session_callbacks *http2_callbacks;
static nghttp2_option *http2_options;

static void http2_make_callbacks(void)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *options = NULL;
    if (nghttp2_session_callbacks_new(&callbacks) != 0 || nghttp2_option_new(&options) != 0) {
        nghttp2_session_callbacks_del(callbacks);
        return;
    }
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, http2_request_begin);
    nghttp2_session_callbacks_set_on_header_callback2(callbacks, http2_request_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, http2_request_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
    /* Streams that have ended would be kept for the sake of priorities. */
    nghttp2_option_set_no_closed_streams(options, 1);
    /* The second net behind our own charge. */
    nghttp2_option_set_stream_reset_rate_limit(options, 2 * HTTP2_CHARGE_MAX,
                                               2 * HTTP2_CHARGES_PER_SECOND);
    http2_options = options;
    http2_callbacks = callbacks;
}

static int http2_say_settings(struct http2 *http2)
{
    const struct config *config = http2->connection->shard->config;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, config->http2_streams_max},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, config->head_bytes_max},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    if (nghttp2_submit_settings(http2->session, NGHTTP2_FLAG_NONE, settings, countof(settings)) !=
            0 ||
        nghttp2_session_set_local_window_size(http2->session, NGHTTP2_FLAG_NONE, 0,
                                              HTTP2_CONNECTION_WINDOW_BYTES) != 0) {
        return -ENOMEM;
    }
    return 0;
}

static int http2_make_session(struct http2 *http2)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static nghttp2_mem memory = {NULL, http2_malloc, http2_release, http2_calloc, http2_realloc};
    CHECK(pthread_once(&once, http2_make_callbacks) == 0);
    if (http2_callbacks == NULL ||
        nghttp2_session_server_new3(&http2->session, http2_callbacks, http2, http2_options,
                                    &memory) != 0) {
        return -ENOMEM;
    }
    return http2_say_settings(http2);
}

static uint64_t http2_timer_ms(const struct connection *connection)
{
    const struct config *config = connection->shard->config;
    uint64_t seconds = min_u64(config->header_seconds, max_u64(config->keepalive_seconds, 1));
    return min_u64(seconds * 1000, HTTP2_TIMER_MS_MAX);
}

int http2_begin(struct connection *connection)
{
    struct shard *shard = connection->shard;
    struct http2 *http2 = memory_calloc(1, sizeof(*http2));
    if (http2 == NULL || transport_carry(connection, http2) < 0) {
        memory_free(http2);
        return -ENOMEM;
    }
    http2->connection = connection;
    http2->idle_since_ms = shard->now_ms;
    http2->charged_ms = shard->now_ms;
    http2->preface_left = NGHTTP2_CLIENT_MAGIC_LEN;
    list_init(&http2->streams);
    list_init(&http2->writing);
    list_init(&http2->stalled);
    list_init(&http2->blocked);
    if (http2_make_session(http2) < 0) {
        return -ENOMEM; /* whoever closes the connection frees it */
    }
    connection->state = CONNECTION_CARRYING;
    connection_set_timer(connection, http2_timer_ms(connection));
    shard_count(&shard->stats.http2_connections, 1);
    http2_mark(http2);
    return 0;
}

/* Ends all streams; nothing is pumped from here on. */
static void http2_close(struct http2 *http2)
{
    CHECK(!http2->inside);
    http2->closing = true;
    while (!list_is_empty(&http2->streams)) {
        connection_close(container_of(http2->streams.next, struct connection, address.stream),
                         "client left");
    }
    list_remove_if_linked(&http2->link);
}

void http2_free(struct connection *connection)
{
    struct http2 *http2 = http2_of(connection);
    http2_close(http2);
    http2_request_forget(http2);
    nghttp2_session_del(http2->session);
    connection->transport->http2 = NULL;
    memory_free(http2);
}

static bool was_reset_by_us(const struct http2 *http2, int32_t stream_id)
{
    for (unsigned i = 0; i < HTTP2_RESETS_KEPT; i++) {
        if (http2->resets[i] == stream_id) {
            return true;
        }
    }
    return false;
}

static void http2_end(struct http2 *http2, uint32_t error)
{
    http2->broken |= nghttp2_session_terminate_session(http2->session, error) != 0;
}

/* A frame on a stream that is over (RFC 9113, 5.1). nghttp2 would pass over it in silence. */
static void closed_stream_frame(struct http2 *http2, uint8_t type, int32_t stream_id)
{
    if (was_reset_by_us(http2, stream_id)) {
        return; /* the peer may not know yet */
    }
    if (type == NGHTTP2_HEADERS) {
        http2_end(http2, NGHTTP2_STREAM_CLOSED);
    } else if (type == NGHTTP2_DATA) {
        http2_charge(http2, 1);
        http2->broken |= nghttp2_submit_rst_stream(http2->session, NGHTTP2_FLAG_NONE, stream_id,
                                                   NGHTTP2_STREAM_CLOSED) != 0;
    }
}

/* Looks at the head of a frame before nghttp2 does. */
static void frame_begins(struct http2 *http2)
{
    const uint8_t *head = http2->frame_head;
    uint8_t type = head[3];
    int32_t stream_id = (int32_t)((uint32_t)(head[5] & 0x7f) << 24 | (uint32_t)head[6] << 16 |
                                  (uint32_t)head[7] << 8 | head[8]);
    http2->payload_left = (uint32_t)head[0] << 16 | (uint32_t)head[1] << 8 | head[2];
    if (type == NGHTTP2_PRIORITY || type > NGHTTP2_CONTINUATION) {
        http2_charge(http2, 1);
    }
    if (type == NGHTTP2_PRIORITY && stream_id == 0) {
        http2_end(http2, NGHTTP2_PROTOCOL_ERROR);
    }
    if (stream_id % 2 == 1 && stream_id <= http2->last_stream_id &&
        http2_stream(http2, stream_id) == NULL) {
        closed_stream_frame(http2, type, stream_id);
    }
}

/* How much of the input nghttp2 is given next: to the end of a preface, of a frame, or of a head.
 */
static size_t input_piece(struct http2 *http2, struct span input)
{
    uint32_t *left = http2->preface_left > 0 ? &http2->preface_left : &http2->payload_left;
    if (*left > 0) {
        size_t len = min_size(*left, input.len);
        *left -= (uint32_t)len;
        return len;
    }
    size_t len = min_size((size_t)(HTTP2_FRAME_HEAD_LEN - http2->frame_head_len), input.len);
    memcpy(http2->frame_head + http2->frame_head_len, input.bytes, len);
    http2->frame_head_len = (uint8_t)(http2->frame_head_len + len);
    if (http2->frame_head_len == HTTP2_FRAME_HEAD_LEN) {
        http2->frame_head_len = 0;
        frame_begins(http2);
        size_t payload_len = min_size(http2->payload_left, input.len - len);
        http2->payload_left -= (uint32_t)payload_len;
        len += payload_len;
    }
    return len;
}

/* The frame that the input is behind, if it is behind a whole one, was the last of a head. */
static bool head_is_over(const struct http2 *http2)
{
    uint8_t type = http2->frame_head[3];
    return http2->payload_left == 0 && http2->frame_head_len == 0 &&
           (type == NGHTTP2_HEADERS || type == NGHTTP2_CONTINUATION) &&
           (http2->frame_head[4] & NGHTTP2_FLAG_END_HEADERS) != 0;
}

void http2_received(struct connection *connection, struct span bytes)
{
    struct http2 *http2 = http2_of(connection);
    CHECK(!http2->inside);
    if (http2->broken || http2->closing) {
        return;
    }
    http2_mark(http2);
    http2->inside = true;
    ssize_t used = 0;
    while (bytes.len > 0 && used >= 0 && !http2->broken) {
        size_t len = input_piece(http2, bytes);
        used = nghttp2_session_mem_recv(http2->session, (const uint8_t *)bytes.bytes, len);
        bytes = span_make(bytes.bytes + len, bytes.len - len);
        if (head_is_over(http2)) {
            http2_request_forget(http2); /* nghttp2 does not tell of all that it refuses */
        }
    }
    http2->inside = false;
    if (used < 0) {
        shard_count(&connection->shard->stats.bad_requests, 1);
        uint32_t error =
            used == NGHTTP2_ERR_FLOODED ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR;
        if (used == NGHTTP2_ERR_FLOODED) {
            shard_count(&connection->shard->stats.http2_floods, 1);
        }
        http2->broken |= nghttp2_is_fatal((int)used) && used != NGHTTP2_ERR_BAD_CLIENT_MAGIC &&
                         used != NGHTTP2_ERR_FLOODED;
        http2_end(http2, error);
    }
    if (!http2->broken) {
        /* What nghttp2 resets by itself closes here: never inside http2_take, amid a visit. */
        http2_send(http2);
    }
}

/* Everything is said: the connection ends once it is out. */
static void http2_finish(struct http2 *http2)
{
    struct connection *connection = http2->connection;
    http2_close(http2);
    connection->flags |= CONNECTION_CLOSE_AFTER | CONNECTION_LINGER_AFTER;
    if (connection->outbox == NULL) {
        connection_finish(connection);
    }
}

void http2_pump(struct http2 *http2)
{
    struct connection *connection = http2->connection;
    struct shard *shard = connection->shard;
    if (http2->room) {
        http2->room = false;
        streams_wake(http2);
    }
    http2_send(http2); /* heads before bodies */
    streams_flush(http2);
    /* One that was refused has its answer; there may be room when the client comes back. */
    bool is_over = shard->draining ||
                   ((connection->flags & CONNECTION_REFUSED) != 0 && connection->requests > 0);
    if (is_over && http2->stream_count == 0 && !http2->broken) {
        http2_end(http2, NGHTTP2_NO_ERROR);
    }
    http2_send(http2);
    if (http2->broken) {
        connection_close(connection, "HTTP/2 cannot go on");
    } else if (nghttp2_session_want_read(http2->session) == 0 &&
               nghttp2_session_want_write(http2->session) == 0) {
        http2_finish(http2);
    } else if (http2_unsent(http2) > HTTP2_OUT_MAX_BYTES &&
               (connection->flags & CONNECTION_READ_STOPPED) == 0) {
        /* It asks for more than it reads. */
        connection->flags |= CONNECTION_READ_STOPPED;
        io_read_stop(shard->io, &connection->stream);
    }
}

void http2_flushed(struct connection *connection)
{
    struct http2 *http2 = http2_of(connection);
    if ((connection->flags & CONNECTION_CLOSE_AFTER) != 0) {
        connection_finish(connection);
        return;
    }
    if ((connection->flags & CONNECTION_READ_STOPPED) != 0) {
        connection->flags &= (uint16_t)~CONNECTION_READ_STOPPED;
        io_read_start(connection->shard->io, &connection->stream);
    }
    if (!list_is_empty(&http2->stalled) || !list_is_empty(&http2->blocked)) {
        http2->room = true;
        http2_mark(http2);
    }
}

void http2_drain(struct connection *connection)
{
    struct http2 *http2 = http2_of(connection);
    if (http2->closing) {
        return;
    }
    http2->broken |= nghttp2_submit_shutdown_notice(http2->session) != 0;
    http2_mark(http2);
}

void http2_timer(struct connection *connection)
{
    struct http2 *http2 = http2_of(connection);
    const struct config *config = connection->shard->config;
    uint64_t now_ms = connection->shard->now_ms;
    uint64_t header_ms = (uint64_t)config->header_seconds * 1000;
    uint64_t idle_ms = (uint64_t)config->keepalive_seconds * 1000;
    if (connection->requests == 0 && http2->stream_count == 0) {
        idle_ms = header_ms; /* it has never asked for anything */
    }
    bool is_slow = http2->head_since_ms != 0 && now_ms - http2->head_since_ms >= header_ms;
    bool is_idle = http2->stream_count == 0 && now_ms - http2->idle_since_ms >= idle_ms;
    bool is_stuck = connection->outbox != NULL && !list_is_linked(&connection->outbox->link);
    if (is_stuck && now_ms - connection->sent_ms >= max_u64(idle_ms, header_ms)) {
        connection_close(connection, "client does not read");
        return;
    }
    if ((is_slow || is_idle) && !http2->closing) {
        uint32_t error = is_slow ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_NO_ERROR;
        http2_end(http2, error);
        http2_mark(http2);
    }
    connection_set_timer(connection, http2_timer_ms(connection));
}
