#include "hub/http2.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "core/base/memory.h"
#include "hub/http2_parts.h"
#include "hub/http2_request.h"
#include "hub/shard.h"

enum {
    HTTP2_CONNECTION_WINDOW_BYTES = 1024 * 1024,
    HTTP2_FIELDS_MAX = 32,
    HTTP2_HEAD_MAX = 4096,
    HTTP2_TIMER_MS_MAX = 5000,
};

bool http2_is_stream(const struct connection *connection)
{
    return (connection->flags & CONNECTION_IS_STREAM) != 0;
}

struct connection *http2_carrier(struct connection *connection)
{
    return http2_is_stream(connection) ? http2_of(connection)->connection : connection;
}

void http2_mark(struct http2 *http2)
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

void http2_send(struct http2 *http2)
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
    /* GOAWAY has gone out, or been promised: nothing is sent behind it. */
    http2->ended |= nghttp2_session_want_read(http2->session) == 0;
}

void http2_end(struct http2 *http2, uint32_t error)
{
    http2->broken |= nghttp2_session_terminate_session(http2->session, error) != 0;
    http2->ended = true;
    http2_mark(http2);
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
    http2_charge_end(http2, stream, error);
    stream->stream_id = 0;
    if ((stream->flags & CONNECTION_ENDING) != 0) {
        connection_close(stream, "ended");
    } else {
        bool is_done = error == NGHTTP2_NO_ERROR && stream->state != CONNECTION_STREAMING;
        connection_close(stream, is_done ? "done" : "client left");
    }
    return 0;
}

/* ---- Answers ----------------------------------------------------------------------------------
 */

static nghttp2_nv header_make(struct span name, struct span value)
{
    /* What differs from second to second would push the others out of the tables. */
    uint8_t flags = span_is(name, "date") ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE;
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name.bytes,
                        .namelen = name.len,
                        .value = (uint8_t *)(uintptr_t)value.bytes,
                        .valuelen = value.len,
                        .flags = flags};
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
    /* While the request goes on, the end has to wait for what stops it: http2_stream_done. */
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

/* ---- The end of a stream ----------------------------------------------------------------------
 */

void http2_request_freed(struct connection *stream, size_t len)
{
    struct http2 *http2 = http2_of(stream);
    CHECK(len <= http2->request_bytes);
    http2->request_bytes -= len;
}

void http2_answer_held(struct connection *stream, size_t len)
{
    http2_of(stream)->answer_bytes += len;
}

void http2_answer_freed(struct connection *stream, size_t len)
{
    struct http2 *http2 = http2_of(stream);
    CHECK(len <= http2->answer_bytes);
    http2->answer_bytes -= len;
}

/* Unless both sides have ended it. */
static void stream_reset(struct http2 *http2, int32_t stream_id, uint32_t error)
{
    if (nghttp2_session_get_stream_local_close(http2->session, stream_id) < 0) {
        return;
    }
    http2_keep_reset(http2, stream_id);
    if (nghttp2_submit_rst_stream(http2->session, NGHTTP2_FLAG_NONE, stream_id, error) != 0) {
        http2->broken = true;
    }
}

/* The stream is no more; nghttp2 would tell of that once it has sent what was submitted last. */
static int32_t stream_forget(struct http2 *http2, struct connection *stream)
{
    int32_t stream_id = stream->stream_id;
    (void)nghttp2_session_set_stream_user_data(http2->session, stream_id, NULL);
    stream->stream_id = 0;
    http2_mark(http2);
    return stream_id;
}

/* The client may stop sending what nobody will read (RFC 9113, 8.1). */
static void stream_stop(struct http2 *http2, const struct connection *stream, int32_t stream_id)
{
    if ((stream->flags & CONNECTION_PEER_DONE) == 0) {
        stream_reset(http2, stream_id, NGHTTP2_NO_ERROR);
    }
}

void http2_stream_done(struct http2 *http2, struct connection *stream)
{
    stream_stop(http2, stream, stream_forget(http2, stream));
    connection_close(stream, "done");
}

void http2_stream_closed(struct connection *stream, bool was_streaming)
{
    struct http2 *http2 = http2_of(stream);
    struct shard *shard = stream->shard;
    if (stream->stream_id != 0 && !http2->closing && !http2->ended) {
        if (was_streaming) {
            /* Not a reset: that would make the client forget what it has not read. */
            http2_flow_end(http2, stream);
            stream_stop(http2, stream, stream_forget(http2, stream));
        } else {
            stream_reset(http2, stream_forget(http2, stream), NGHTTP2_CANCEL);
        }
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
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, http2_input_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks,
                                                                 http2_input_invalid_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_send_callback(callbacks, http2_flow_send);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, http2_flow_send_data);
    /* Streams that have ended would be kept for the sake of priorities. */
    nghttp2_option_set_no_closed_streams(options, 1);
    /* Resets are ours to count: nghttp2 does not know which of them are a flood. */
    nghttp2_option_set_stream_reset_rate_limit(options, UINT64_MAX, 1);
    http2_options = options;
    http2_callbacks = callbacks;
}

static int http2_say_settings(struct http2 *http2)
{
    const struct config *config = http2->connection->shard->config;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, UINT32_MAX}, /* see http2_flow_send */
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
    CHECK(pthread_once(&once, http2_make_callbacks) == 0);
    bool made = http2_callbacks != NULL &&
                http2_memory_session_new(&http2->connection->shard->http2_memory, &http2->session,
                                         http2_callbacks, http2, http2_options) == 0;
    return made ? http2_say_settings(http2) : -ENOMEM;
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
    http2->streams_max = shard->config->http2_streams_max;
    http2->preface_left = NGHTTP2_CLIENT_MAGIC_LEN;
    list_init(&http2->streams);
    list_init(&http2->queued);
    list_init(&http2->writing);
    list_init(&http2->crowded);
    list_init(&http2->stalled);
    list_init(&http2->blocked);
    list_init(&http2->shut);
    list_init(&http2->woken);
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

/* Requests that had to wait until the answers before them were read. */
static void requests_answer(struct http2 *http2)
{
    struct list *link;
    while (http2->answer_bytes < HTTP2_ANSWERS_MAX_BYTES && !http2->ended &&
           (link = list_take(&http2->queued)) != NULL) {
        http2_request_answer(container_of(link, struct connection, waiting));
    }
}

/* Nothing more will be asked for: the client has said so, or has to go elsewhere. */
static bool http2_is_over(const struct http2 *http2)
{
    const struct connection *connection = http2->connection;
    const struct shard *shard = connection->shard;
    /* Its first request may be on its way: it has been told, and has until the drain is over. */
    bool drains =
        shard->draining && (connection->requests > 0 || shard->now_ms >= shard->drain_end_ms);
    /* One that was refused has its answer; there may be room when the client comes back. */
    return drains || http2->peer_leaves || (connection->flags & CONNECTION_PEER_DONE) != 0 ||
           ((connection->flags & CONNECTION_REFUSED) != 0 && connection->requests > 0);
}

void http2_pump(struct http2 *http2)
{
    struct connection *connection = http2->connection;
    requests_answer(http2);
    http2_send(http2); /* heads before bodies */
    http2_flow_flush(http2);
    if (http2_is_over(http2) && http2->stream_count == 0 && !http2->broken) {
        http2_end(http2, NGHTTP2_NO_ERROR);
    }
    http2_send(http2);
    http2->framed_stream_id = http2->last_stream_id;
    if (http2->broken) {
        connection_close(connection, "HTTP/2 cannot go on");
    } else if (nghttp2_session_want_read(http2->session) == 0 &&
               nghttp2_session_want_write(http2->session) == 0) {
        http2_finish(http2);
    } else if (http2_flow_unsent(http2) > HTTP2_OUT_MAX_BYTES &&
               (connection->flags & (CONNECTION_READ_STOPPED | CONNECTION_PEER_DONE)) == 0) {
        /* It asks for more than it reads. */
        connection->flags |= CONNECTION_READ_STOPPED;
        io_read_stop(connection->shard->io, &connection->stream);
    } else if (!list_is_empty(&http2->queued) && http2->answer_bytes < HTTP2_ANSWERS_MAX_BYTES) {
        http2_mark(http2);
    }
}

void http2_flushed(struct connection *connection)
{
    struct http2 *http2 = http2_of(connection);
    http2->flushed_ms = connection->shard->now_ms;
    if ((connection->flags & CONNECTION_CLOSE_AFTER) != 0) {
        connection_finish(connection);
        return;
    }
    http2->answered_stream_id = http2->framed_stream_id;
    if ((connection->flags & CONNECTION_READ_STOPPED) != 0) {
        connection->flags &= (uint16_t)~CONNECTION_READ_STOPPED;
        io_read_start(connection->shard->io, &connection->stream);
    }
    if (!list_is_empty(&http2->crowded) || !list_is_empty(&http2->blocked)) {
        http2_flow_room(http2);
    }
}

void http2_peer_done(struct connection *connection)
{
    struct http2 *http2 = http2_of(connection);
    struct list *next;
    connection->flags |= CONNECTION_PEER_DONE;
    for (struct list *link = http2->streams.next; link != &http2->streams; link = next) {
        struct connection *stream = container_of(link, struct connection, address.stream);
        next = link->next;
        if (stream->state == CONNECTION_STREAMING || (stream->flags & CONNECTION_PEER_DONE) == 0) {
            connection_close(stream, "client left");
        }
    }
    if (!http2->closing) {
        http2_mark(http2); /* it is told the end of all that, in good order */
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
    uint64_t stuck_ms = max_u64(idle_ms, header_ms);
    if (config->user_timeout_seconds > 0) {
        stuck_ms = min_u64(stuck_ms, (uint64_t)config->user_timeout_seconds * 1000);
    }
    if (is_stuck && now_ms - connection->sent_ms >= stuck_ms) {
        shard_count(&connection->shard->stats.slow_disconnects, http2->stream_count);
        connection_close(connection, "client does not read");
        return;
    }
    if ((is_slow || is_idle) && !http2->closing) {
        uint32_t error = is_slow ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_NO_ERROR;
        http2_end(http2, error);
    }
    connection_set_timer(connection, http2_timer_ms(connection));
}
