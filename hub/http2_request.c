#include "hub/http2_request.h"

#include "hub/http2_parts.h"
#include "hub/shard.h"

enum {
    /* A head that is this many times too large is no accident. */
    HTTP2_HEAD_BOMB = 16,
    HTTP2_CHARGE_BOMB = 1000,
};

void http2_request_forget(struct http2 *http2)
{
    nghttp2_rcbuf **const kept[] = {&http2->method, &http2->path, &http2->authority};
    for (size_t i = 0; i < countof(kept); i++) {
        if (*kept[i] != NULL) {
            nghttp2_rcbuf_decref(*kept[i]);
            *kept[i] = NULL;
        }
    }
    buffer_fini(&http2->fields);
    http2->head_bytes = 0;
    http2->head_since_ms = 0;
}

static struct connection *stream_open(struct http2 *http2, int32_t stream_id)
{
    struct shard *shard = http2->connection->shard;
    struct connection *connection = http2->connection;
    struct connection *stream = shard_connection_get(shard);
    if (stream == NULL) {
        return NULL;
    }
    stream->flags =
        CONNECTION_IS_STREAM | (connection->flags & (CONNECTION_REFUSED | CONNECTION_LOCAL_SOCKET));
    stream->state = CONNECTION_READING;
    stream->transport = connection->transport;
    stream->stream_id = stream_id;
    stream->since_ms = shard->now_ms;
    stream->sent_ms = shard->now_ms;
    http2->last_stream_id = stream_id;
    list_append(&http2->streams, &stream->address.stream);
    http2->stream_count++;
    list_remove_if_linked(&connection->waiting);
    shard_count(&shard->stats.http2_streams, 1);
    return stream;
}

/* Of the stream whose head is being read. Returns what tells nghttp2 to read over the rest. */
static int request_reset(struct http2 *http2, int32_t stream_id, uint32_t error)
{
    http2->broken |=
        nghttp2_submit_rst_stream(http2->session, NGHTTP2_FLAG_NONE, stream_id, error) != 0;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

int http2_request_begin(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    struct http2 *http2 = context;
    http2_request_forget(http2);
    http2->head_since_ms = http2->connection->shard->now_ms;
    buffer_init(&http2->fields, http2->connection->shard->config->head_bytes_max);
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        return 0;
    }
    if (http2->stream_count >= http2->streams_max) {
        /* No fault before the peer knows how many there may be, and an error of this one after. */
        http2_keep_reset(http2, frame->hd.stream_id);
        http2_charge(http2, 1);
        return request_reset(http2, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
    }
    struct connection *stream = stream_open(http2, frame->hd.stream_id);
    if (stream == NULL) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    CHECK(nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream) == 0);
    return 0;
}

static struct span rcbuf_span(nghttp2_rcbuf *buffer)
{
    nghttp2_vec bytes = nghttp2_rcbuf_get_buf(buffer);
    return span_make((const char *)bytes.base, bytes.len);
}

static void head_keep(nghttp2_rcbuf **kept, nghttp2_rcbuf *value)
{
    if (*kept == NULL) {
        nghttp2_rcbuf_incref(value);
        *kept = value;
    }
}

int http2_request_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                         nghttp2_rcbuf *value, uint8_t flags, void *context)
{
    struct http2 *http2 = context;
    struct span name_text = rcbuf_span(name);
    struct span value_text = rcbuf_span(value);
    uint32_t limit = http2->connection->shard->config->head_bytes_max;
    (void)session;
    (void)flags;
    http2->head_bytes += (uint32_t)(name_text.len + value_text.len + 4);
    if (http2->head_bytes > limit) {
        if (http2->head_bytes / HTTP2_HEAD_BOMB > limit) {
            http2_charge(http2, HTTP2_CHARGE_BOMB);
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        }
        return 0;
    }
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        return 0; /* a trailer, which nobody reads */
    }
    if (span_is(name_text, ":method")) {
        head_keep(&http2->method, value);
    } else if (span_is(name_text, ":path")) {
        head_keep(&http2->path, value);
    } else if (span_is(name_text, ":authority")) {
        head_keep(&http2->authority, value);
    } else if (span_is(name_text, "host") && http2->authority != NULL) {
        if (!span_equal_nocase(value_text, rcbuf_span(http2->authority))) {
            return request_reset(http2, frame->hd.stream_id,
                                 NGHTTP2_PROTOCOL_ERROR); /* RFC 9113, 8.3.1 */
        }
    } else if (name_text.bytes[0] != ':') {
        buffer_append_span(&http2->fields, name_text);
        buffer_append_string(&http2->fields, ": ");
        buffer_append_span(&http2->fields, value_text);
        buffer_append_string(&http2->fields, "\r\n");
    }
    return 0;
}

/*
 * Writes the head as HTTP/1.1 has it, so that one strict parser reads what both say. nghttp2 has
 * seen to it that no name or value holds a line end.
 */
static void head_write_text(const struct http2 *http2, struct buffer *head)
{
    if (http2->method == NULL || http2->path == NULL) {
        return; /* CONNECT, or too large */
    }
    buffer_append_span(head, rcbuf_span(http2->method));
    buffer_append_string(head, " ");
    buffer_append_span(head, rcbuf_span(http2->path));
    buffer_append_string(head, " HTTP/1.1\r\n");
    if (http2->authority != NULL) {
        buffer_append_string(head, "Host: ");
        buffer_append_span(head, rcbuf_span(http2->authority));
        buffer_append_string(head, "\r\n");
    }
    buffer_append_span(head, buffer_span(&http2->fields));
    buffer_append_string(head, "\r\n");
}

static bool requests_are_too_many(const struct http2 *http2, size_t more)
{
    const struct config *config = http2->connection->shard->config;
    uint64_t bytes_max = (uint64_t)config->head_bytes_max + config->body_bytes_max;
    return http2->request_bytes + more > HTTP2_REQUESTS_MAX * bytes_max;
}

static void stream_head_parse(struct http2 *http2, struct connection *stream)
{
    static const struct http_problem too_large = {431, "The head is larger than this hub accepts."};
    static const struct http_problem no_memory = {503, "Out of memory."};
    static const struct http_problem no_target = {501, "CONNECT is not for this server."};
    static const struct http_problem too_many = {
        503, "Too many requests are under way on this connection."};
    const struct config *config = stream->shard->config;
    struct exchange *exchange = connection_exchange(stream);
    struct http_problem problem = no_memory;
    bool good = exchange != NULL;
    if (http2->head_bytes > config->head_bytes_max) {
        problem = too_large;
        good = false;
    } else if (http2->method == NULL || http2->path == NULL) {
        problem = no_target;
        good = false;
    }
    if (good) {
        head_write_text(http2, &exchange->head);
        http2->request_bytes += exchange->head.len;
        good = !exchange->head.failed && !http2->fields.failed &&
               http_head_parse(exchange->head.bytes, exchange->head.len, &exchange->request,
                               &problem) == HTTP_DONE;
    }
    if (!good) {
        connection_refuse(stream, &problem);
        return;
    }
    if (requests_are_too_many(http2, 0)) {
        connection_refuse(stream, &too_many);
        return;
    }
    exchange->head_len = exchange->head.len;
    /* There are no chunks here, and an answer ends without the connection's end. */
    exchange->request.minor_version = 0;
    exchange->request.keep_alive = true;
    if (exchange->request.has_content_length &&
        exchange->request.content_length > config->body_bytes_max) {
        problem = (struct http_problem){413, "The body is larger than this hub accepts."};
        connection_refuse(stream, &problem);
    }
}

void http2_request_answer(struct connection *stream)
{
    struct exchange *exchange = stream->exchange;
    http2_of(stream)->connection->requests++;
    connection_answer(stream, &exchange->request, buffer_span(&exchange->body));
}

void http2_request_done(struct connection *stream)
{
    stream->flags |= CONNECTION_PEER_DONE;
    if (stream->state != CONNECTION_READING || stream->exchange == NULL) {
        return; /* refused already, or closed for want of memory */
    }
    struct http2 *http2 = http2_of(stream);
    if (http2->answer_bytes < HTTP2_ANSWERS_MAX_BYTES) {
        http2_request_answer(stream);
    } else {
        list_append(&http2->queued, &stream->waiting);
        connection_set_timer(stream, (uint64_t)stream->shard->config->keepalive_seconds * 1000);
    }
}

void http2_request_head_done(struct http2 *http2, struct connection *stream, bool end)
{
    const struct config *config = stream->shard->config;
    stream->flags |= end ? CONNECTION_PEER_DONE : 0;
    stream_head_parse(http2, stream);
    if (end) {
        http2_request_done(stream);
    } else if (stream->state == CONNECTION_READING) {
        connection_set_timer(stream, (uint64_t)config->body_seconds * 1000);
        if (stream->exchange != NULL && stream->exchange->request.expect_continue) {
            http2_respond(stream, span_of("HTTP/1.1 100 Continue\r\n\r\n"), false);
        }
    }
    if (end && stream->state == CONNECTION_READING) {
        /* For what the client does not read of its answer. */
        connection_set_timer(stream, (uint64_t)config->keepalive_seconds * 1000);
    }
}

int http2_request_data(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                       const uint8_t *bytes, size_t len, void *context)
{
    static const struct http_problem too_large = {413, "The body is larger than this hub accepts."};
    static const struct http_problem no_memory = {503, "Out of memory."};
    static const struct http_problem too_many = {
        503, "Too many bodies are under way on this connection."};
    struct http2 *http2 = context;
    struct connection *stream = http2_stream(http2, stream_id);
    (void)session;
    (void)flags;
    if (stream == NULL || stream->exchange == NULL || stream->state != CONNECTION_READING) {
        return 0; /* answered already */
    }
    struct buffer *body = &stream->exchange->body;
    if (len > body->limit - body->len) {
        connection_refuse(stream, &too_large);
        return 0;
    }
    if (requests_are_too_many(http2, len)) {
        connection_refuse(stream, &too_many);
        return 0;
    }
    buffer_append(body, bytes, len);
    if (body->failed) {
        connection_refuse(stream, &no_memory);
    } else {
        http2->request_bytes += len;
    }
    return 0;
}
