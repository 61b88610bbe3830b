#include "hub/connection.h"

#include <errno.h>
#include <stdio.h>

#include "core/base/memory.h"
#include "core/event_id.h"
#include "hub/call.h"
#include "hub/errand.h"
#include "hub/http2.h"
#include "hub/response.h"
#include "hub/shard.h"
#include "hub/transport.h"

enum {
    /* More unsent answers than this, and a pipelining client is not read from until they are out.
     */
    CONNECTION_OUT_PAUSE_BYTES = 64 * 1024,
    /* What one `received` can bring on top of a head. */
    CONNECTION_INPUT_MAX_BYTES = 256 * 1024,
    CONNECTION_LINGER_MS = 2000,
    /* While draining: how soon to look again at a stream that is not up to date. */
    CONNECTION_DRAIN_RETRY_MS = 50,
    /* A stream that is too old is looked at as often, and ended in the middle of things after this.
     */
    CONNECTION_AGE_GRACE_MS = 5000,
};

/* What the timer of a READING connection is set for. */
enum { PHASE_NONE, PHASE_FIRST, PHASE_HEAD, PHASE_BODY, PHASE_IDLE };

static void exchange_free(struct connection *connection)
{
    struct exchange *exchange = connection->exchange;
    if (exchange != NULL) {
        connection->exchange = NULL;
        if (http2_is_stream(connection)) {
            http2_request_freed(connection, exchange->head.len + exchange->body.len);
        }
        buffer_fini(&exchange->head);
        buffer_fini(&exchange->body);
        memory_free(exchange);
    }
}

struct exchange *connection_exchange(struct connection *connection)
{
    const struct config *config = connection->shard->config;
    struct exchange *exchange = memory_alloc(sizeof(*exchange));
    if (exchange != NULL) {
        exchange->head_scanned = 0;
        exchange->head_len = 0;
        exchange->body_left = 0;
        buffer_init(&exchange->head, config->head_bytes_max + CONNECTION_INPUT_MAX_BYTES);
        buffer_init(&exchange->body, config->body_bytes_max);
        connection->exchange = exchange;
    }
    return exchange;
}

/* ---- Time
 * ---------------------------------------------------------------------------------------- */

void connection_set_timer(struct connection *connection, uint64_t in_ms)
{
    struct shard *shard = connection->shard;
    wheel_set(&shard->wheel, &connection->timer, shard->now_ms + in_ms);
}

static uint8_t connection_phase(const struct connection *connection)
{
    if (connection->exchange != NULL) {
        return connection->exchange->head_len == 0 ? PHASE_HEAD : PHASE_BODY;
    }
    return connection->requests == 0 ? PHASE_FIRST : PHASE_IDLE;
}

/*
 * A deadline is for a whole phase: bytes that trickle in do not move it. An idle phase begins anew
 * with each request.
 */
static void connection_update_timer(struct connection *connection, uint32_t requests_before)
{
    const struct config *config = connection->shard->config;
    uint8_t phase = connection_phase(connection);
    bool first =
        connection->timer_phase == PHASE_FIRST && phase == PHASE_HEAD && connection->requests == 0;
    if (first || (phase == connection->timer_phase && connection->requests == requests_before)) {
        return;
    }
    uint64_t seconds = config->keepalive_seconds;
    if (phase == PHASE_BODY) {
        seconds = config->body_seconds;
    } else if (phase != PHASE_IDLE) {
        seconds = config->header_seconds;
    }
    connection->timer_phase = phase;
    connection_set_timer(connection, seconds * 1000);
}

/* How old a stream may become, each its own within a quarter; UINT64_MAX for any age. */
static uint64_t stream_age_max_ms(const struct connection *connection)
{
    uint64_t max_ms = (uint64_t)connection->shard->config->stream_seconds_max * 1000;
    /* The keyed hash of its id is as good as a random number, and need not be remembered. */
    return max_ms == 0 ? UINT64_MAX : max_ms - connection->by_id.hash % (max_ms / 4);
}

void connection_set_stream_timer(struct connection *connection, uint64_t in_ms)
{
    uint64_t age_ms = connection->shard->now_ms - connection->since_ms;
    uint64_t max_ms = stream_age_max_ms(connection);
    connection_set_timer(connection, min_u64(in_ms, max_ms - min_u64(age_ms, max_ms)));
}

/*
 * A comment. If other channels have moved on meanwhile, also the id of the present: a client that
 * resumes from there asks for nothing that it does not need.
 */
static void heartbeat_write(struct connection *connection)
{
    struct shard *shard = connection->shard;
    bool has_moved = fanout_move_on(&shard->fanout, &connection->subscriber);
    char text[40] = ":\n\n";
    if (has_moved) {
        char id[EVENT_ID_LEN];
        event_id_write(id, shard->hub->epoch, connection->subscriber.position);
        snprintf(text, sizeof(text), ":\nid: %.*s\n\n", EVENT_ID_LEN, id);
    }
    fanout_hold(&shard->fanout, &connection->subscriber);
    shard_count(&shard->stats.heartbeats, 1);
    connection_write_chunk(connection, span_of(text));
}

/*
 * Its socket or its window takes nothing. That its turn has not come yet would be our slowness, or
 * that of what is before it on an HTTP/2 connection; if that one's socket takes nothing,
 * http2_timer knows.
 */
static bool stream_is_stuck(const struct connection *connection)
{
    const struct outbox *outbox = connection->outbox;
    if (http2_is_stream(connection)) {
        return http2_is_stuck(connection);
    }
    return (connection->subscriber.flags & SUBSCRIBER_BLOCKED) != 0 ||
           (outbox != NULL && !list_is_linked(&outbox->link));
}

static void connection_heartbeat(struct connection *connection)
{
    struct shard *shard = connection->shard;
    uint64_t interval_ms = (uint64_t)shard->config->heartbeat_seconds * 1000;
    uint64_t idle_ms = shard->now_ms - connection->sent_ms;
    if (idle_ms >= interval_ms && fanout_is_quiet(&shard->fanout, &connection->subscriber)) {
        heartbeat_write(connection);
        idle_ms = 0;
    } else if (idle_ms >= interval_ms) {
        uint64_t limit_ms = (uint64_t)shard->config->user_timeout_seconds * 1000;
        if (!stream_is_stuck(connection)) {
            connection->sent_ms = shard->now_ms; /* the wait was no fault of its client */
        } else if (limit_ms > 0 && idle_ms >= limit_ms) {
            shard_count(&shard->stats.slow_disconnects, 1);
            connection_close(connection, "too slow");
            return;
        }
        idle_ms = 0;
    }
    if (connection->state == CONNECTION_STREAMING) {
        connection_set_stream_timer(connection, interval_ms - min_u64(idle_ms, interval_ms - 1));
    }
}

/* Ends a stream that is too old, between two events if there is such a moment. */
static void stream_retire(struct connection *connection, uint64_t over_ms)
{
    struct shard *shard = connection->shard;
    if (over_ms >= CONNECTION_AGE_GRACE_MS ||
        fanout_is_quiet(&shard->fanout, &connection->subscriber)) {
        shard_count(&shard->stats.aged_out, 1);
        connection_end_stream(connection, "age");
    } else {
        connection_set_timer(connection, CONNECTION_DRAIN_RETRY_MS);
    }
}

static void stream_timer(struct connection *connection)
{
    struct shard *shard = connection->shard;
    uint64_t age_ms = shard->now_ms - connection->since_ms;
    uint64_t age_max_ms = stream_age_max_ms(connection);
    if ((connection->flags & CONNECTION_ENDING) != 0) {
        connection_close(connection, "too slow");
    } else if (!shard->draining && age_ms >= age_max_ms) {
        stream_retire(connection, age_ms - age_max_ms);
    } else if (!shard->draining) {
        connection_heartbeat(connection);
    } else if (fanout_is_quiet(&shard->fanout, &connection->subscriber) ||
               shard->now_ms >= shard->drain_end_ms) {
        connection_end_stream(connection, "drain");
    } else {
        connection_set_timer(connection, CONNECTION_DRAIN_RETRY_MS);
    }
}

static void reading_timer(struct connection *connection)
{
    static const struct http_problem slow = {408, "The request did not arrive in time."};
    if (transport_is_shaking_hands(connection)) {
        shard_count(&connection->shard->stats.tls_handshake_timeouts, 1);
        connection_close(connection, "TLS handshake too slow");
    } else if (connection->outbox != NULL || (connection->flags & CONNECTION_PEER_DONE) != 0) {
        connection_close(connection, "client does not read");
    } else if (connection->exchange != NULL) {
        connection_refuse(connection, &slow);
        if (connection->state == CONNECTION_READING) {
            connection_set_timer(connection, CONNECTION_LINGER_MS);
        }
    } else {
        connection_close(connection, connection->requests == 0 ? "no request" : "idle");
    }
}

void connection_timer(struct connection *connection)
{
    switch ((enum connection_state)connection->state) {
    case CONNECTION_STREAMING:
        stream_timer(connection);
        break;
    case CONNECTION_READING:
        reading_timer(connection);
        break;
    case CONNECTION_WAITING:
        connection_close(connection, "client does not read");
        break;
    case CONNECTION_LINGERING:
        connection_close(connection, "done");
        break;
    case CONNECTION_CARRYING:
        http2_timer(connection);
        break;
    case CONNECTION_FREE:
    case CONNECTION_CLOSED:
        CHECK(false); /* a closed connection has no timer */
    }
}

/* ---- Reading requests
 * ------------------------------------------------------------------------------ */

void connection_open(struct connection *connection)
{
    struct shard *shard = connection->shard;
    connection->state = CONNECTION_READING;
    connection->since_ms = shard->now_ms;
    list_append(&shard->waiting, &connection->waiting);
    connection->timer_phase = PHASE_FIRST;
    connection_set_timer(connection, (uint64_t)shard->config->header_seconds * 1000);
}

void connection_refuse(struct connection *connection, const struct http_problem *problem)
{
    struct shard *shard = connection->shard;
    shard_count(&shard->stats.bad_requests, 1);
    if (log_is_on(shard->log, LOG_LEVEL_DEBUG)) {
        char address[ADDRESS_TEXT_MAX];
        size_t len = address_write(connection_address(connection), address);
        log_line(shard->log, LOG_LEVEL_DEBUG, "bad request",
                 LOG_STR("address", span_make(address, len)),
                 LOG_U64("status", (uint64_t)problem->status), LOG_TEXT("reason", problem->reason));
    }
    exchange_free(connection);
    connection->flags |= CONNECTION_CLOSE_AFTER | CONNECTION_LINGER_AFTER;
    response_refuse(connection, problem);
}

static void connection_fail(struct connection *connection, int status, const char *reason)
{
    connection_refuse(connection, &(struct http_problem){status, reason});
}

/* A whole request is here. */
void connection_answer(struct connection *connection, const struct http_request *request,
                       struct span body)
{
    struct shard *shard = connection->shard;
    connection->requests++;
    shard_count(&shard->stats.requests, 1);
    list_remove_if_linked(&connection->waiting);
    connection->minor_version = request->minor_version;
    if (log_is_on(shard->log, LOG_LEVEL_DEBUG)) {
        /* The path only: a query may hold a token. */
        log_line(shard->log, LOG_LEVEL_DEBUG, "request", LOG_STR("method", request->method_text),
                 LOG_STR("path", request->path), LOG_U64("body_bytes", body.len));
    }
    if (!request->keep_alive || hub_is_draining(shard->hub) ||
        (connection->flags & CONNECTION_REFUSED) != 0) {
        connection->flags |= CONNECTION_CLOSE_AFTER;
    }
    call_answer(connection, request, body);
    exchange_free(connection);
    if (connection->state == CONNECTION_READING && !http2_is_stream(connection)) {
        list_append(&shard->waiting, &connection->waiting);
    }
}

/* The body does not lie in the input as one piece: it is collected. */
static void connection_begin_body(struct connection *connection, struct span head,
                                  const struct http_request *request, bool input_follows)
{
    struct exchange *exchange = connection->exchange;
    if (exchange == NULL) {
        exchange = connection_exchange(connection);
        if (exchange == NULL) {
            connection_fail(connection, 503, "Out of memory.");
            return;
        }
        struct http_problem problem;
        buffer_append_span(&exchange->head, head);
        if (exchange->head.failed) {
            connection_fail(connection, 503, "Out of memory.");
            return;
        }
        CHECK(http_head_parse(exchange->head.bytes, exchange->head.len, &exchange->request,
                              &problem) == HTTP_DONE);
        request = &exchange->request;
    }
    exchange->head_len = head.len;
    exchange->body_left = request->content_length;
    http_chunked_init(&exchange->chunked);
    if (request->expect_continue && !input_follows) {
        connection_write(connection, span_of("HTTP/1.1 100 Continue\r\n\r\n"));
    }
}

/* The head is parsed; `rest` is the input behind it. Returns how much of that was used. */
static size_t connection_head_done(struct connection *connection, struct span head,
                                   const struct http_request *request, struct span rest)
{
    uint64_t body_len = request->has_content_length ? request->content_length : 0;
    if (body_len > connection->shard->config->body_bytes_max) {
        connection_fail(connection, 413, "The body is larger than this hub accepts.");
        return 0;
    }
    if (request->chunked || body_len > rest.len) {
        connection_begin_body(connection, head, request, rest.len > 0);
        return 0;
    }
    connection_answer(connection, request, span_make(rest.bytes, (size_t)body_len));
    return (size_t)body_len;
}

/*
 * A client that knows beforehand that we speak HTTP/2 begins like this (RFC 9113, 3.3 and 3.4); to
 * a parser of HTTP/1.1 it is a bad request.
 */
static bool connection_is_preface(const struct connection *connection, struct span head)
{
    return connection->requests == 0 && (connection->flags & CONNECTION_REFUSED) == 0 &&
           span_is(head, "PRI * HTTP/2.0\r\n\r\n");
}

/* `input` begins with it and is used up. */
static void connection_preface(struct connection *connection, struct span input)
{
    if (http2_begin(connection) < 0) {
        connection_close(connection, "no memory");
    } else {
        http2_received(connection, input);
    }
}

static size_t connection_first_input(struct connection *connection, struct span input)
{
    size_t scanned = 0;
    size_t head_len = 0;
    struct http_problem problem = {0, NULL};
    struct http_request request;
    enum http_outcome outcome =
        http_head_scan(input.bytes, input.len, connection->shard->config->head_bytes_max, &scanned,
                       &head_len, &problem);
    if (outcome == HTTP_DONE) {
        outcome = http_head_parse(input.bytes, head_len, &request, &problem);
    }
    switch (outcome) {
    case HTTP_BAD:
        if (connection_is_preface(connection, span_make(input.bytes, head_len))) {
            connection_preface(connection, input);
            return input.len;
        }
        connection_refuse(connection, &problem);
        return 0;
    case HTTP_DONE:
        return head_len +
               connection_head_done(connection, span_make(input.bytes, head_len), &request,
                                    span_make(input.bytes + head_len, input.len - head_len));
    case HTTP_MORE:
        break;
    }
    struct exchange *exchange = connection_exchange(connection);
    if (exchange != NULL) {
        buffer_append_span(&exchange->head, input);
        exchange->head_scanned = scanned;
    }
    if (exchange == NULL || exchange->head.failed) {
        connection_fail(connection, 503, "Out of memory.");
    }
    return input.len;
}

static size_t connection_more_head(struct connection *connection, struct span input)
{
    struct exchange *exchange = connection->exchange;
    size_t before = exchange->head.len;
    size_t head_len = 0;
    struct http_problem problem = {503, "Out of memory."};
    enum http_outcome outcome = HTTP_BAD;
    buffer_append_span(&exchange->head, input);
    if (!exchange->head.failed) {
        outcome = http_head_scan(exchange->head.bytes, exchange->head.len,
                                 connection->shard->config->head_bytes_max, &exchange->head_scanned,
                                 &head_len, &problem);
    }
    if (outcome == HTTP_DONE) {
        CHECK(head_len >= before);
        outcome = http_head_parse(exchange->head.bytes, head_len, &exchange->request, &problem);
    }
    if (outcome == HTTP_MORE) {
        return input.len;
    }
    if (outcome == HTTP_BAD &&
        connection_is_preface(connection, span_make(exchange->head.bytes, head_len))) {
        struct buffer whole = exchange->head;
        buffer_init(&exchange->head, 0);
        exchange_free(connection);
        connection_preface(connection, buffer_span(&whole));
        buffer_fini(&whole);
        return input.len;
    }
    if (outcome == HTTP_BAD) {
        connection_refuse(connection, &problem);
        return 0;
    }
    size_t used = head_len - before;
    struct span head = span_make(exchange->head.bytes, head_len);
    return used + connection_head_done(connection, head, &exchange->request,
                                       span_make(input.bytes + used, input.len - used));
}

static size_t connection_plain_body(struct connection *connection, struct span input)
{
    struct exchange *exchange = connection->exchange;
    size_t used = (size_t)min_u64(input.len, exchange->body_left);
    buffer_append(&exchange->body, input.bytes, used);
    exchange->body_left -= used;
    if (exchange->body.failed) {
        connection_fail(connection, 503, "Out of memory.");
    } else if (exchange->body_left == 0) {
        connection_answer(connection, &exchange->request, buffer_span(&exchange->body));
    }
    return used;
}

static size_t connection_chunked_body(struct connection *connection, struct span input)
{
    struct exchange *exchange = connection->exchange;
    size_t used = 0;
    struct span data = {NULL, 0};
    struct http_problem problem;
    enum http_outcome outcome =
        http_chunked_feed(&exchange->chunked, input.bytes, input.len, &used, &data, &problem);
    if (outcome == HTTP_BAD) {
        connection_refuse(connection, &problem);
        return used;
    }
    if (data.len > exchange->body.limit - exchange->body.len) {
        connection_fail(connection, 413, "The body is larger than this hub accepts.");
        return used;
    }
    buffer_append_span(&exchange->body, data);
    if (exchange->body.failed) {
        connection_fail(connection, 503, "Out of memory.");
    } else if (outcome == HTTP_DONE) {
        connection_answer(connection, &exchange->request, buffer_span(&exchange->body));
    }
    return used;
}

static size_t connection_input_piece(struct connection *connection, struct span input)
{
    const struct exchange *exchange = connection->exchange;
    if (exchange == NULL) {
        return connection_first_input(connection, input);
    }
    if (exchange->head_len == 0) {
        return connection_more_head(connection, input);
    }
    return exchange->request.chunked ? connection_chunked_body(connection, input)
                                     : connection_plain_body(connection, input);
}

/* Pipelined input behind a request that is still being answered waits in an exchange. */
static void connection_stash(struct connection *connection, struct span input)
{
    struct exchange *exchange = connection->exchange;
    if (exchange == NULL) {
        exchange = connection_exchange(connection);
    }
    if (exchange != NULL) {
        buffer_append_span(&exchange->head, input);
    }
    if (exchange == NULL || exchange->head.failed) {
        connection_close(connection, "no memory");
    }
}

/* Between two requests, with more unsent answers than a client should be owed. */
static bool connection_is_full(const struct connection *connection)
{
    return connection->exchange == NULL && connection->outbox != NULL &&
           connection->outbox->data.len > CONNECTION_OUT_PAUSE_BYTES;
}

static void connection_input(struct connection *connection, struct span input)
{
    uint32_t requests_before = connection->requests;
    while (input.len > 0 && connection->state == CONNECTION_READING &&
           (connection->flags & CONNECTION_CLOSE_AFTER) == 0 && !connection_is_full(connection)) {
        size_t used = connection_input_piece(connection, input);
        input = span_make(input.bytes + used, input.len - used);
    }
    if (connection->state == CONNECTION_CLOSED) {
        return;
    }
    if (input.len > 0) {
        bool closing = (connection->flags & CONNECTION_CLOSE_AFTER) != 0;
        if (connection->state == CONNECTION_WAITING ||
            (connection->state == CONNECTION_READING && !closing)) {
            connection_stash(connection, input);
        } else {
            /* Closing with unread input would reset the connection under the answer. */
            connection->flags |= CONNECTION_LINGER_AFTER;
        }
    }
    if (connection->state != CONNECTION_READING) {
        return;
    }
    connection_update_timer(connection, requests_before);
    if (input.len > 0 || connection_is_full(connection) ||
        (connection->flags & CONNECTION_CLOSE_AFTER) != 0) {
        connection->flags |= CONNECTION_READ_STOPPED;
        io_read_stop(connection->shard->io, &connection->stream);
    }
}

/* The peer will send nothing more. What it asked for is still answered. */
static void connection_peer_done(struct connection *connection)
{
    connection->flags |= CONNECTION_PEER_DONE | CONNECTION_CLOSE_AFTER;
    bool answering = connection->outbox != NULL || connection->state == CONNECTION_WAITING;
    if (!answering) {
        connection_close(connection, connection->exchange != NULL ? "cut off" : "done");
    }
}

void connection_received(struct connection *connection, const char *bytes, ssize_t len)
{
    if (connection->transport != NULL && len > 0 && connection->state != CONNECTION_LINGERING) {
        transport_received(connection, span_make(bytes, (size_t)len));
    } else {
        connection_heard(connection, bytes, len);
    }
}

void connection_heard(struct connection *connection, const char *bytes, ssize_t len)
{
    if (len < 0) {
        connection_close(connection, "reset");
    } else if (connection->state == CONNECTION_LINGERING) {
        if (len == 0) {
            connection_close(connection, "done");
        }
    } else if (connection->state == CONNECTION_CARRYING) {
        if (len == 0) {
            http2_peer_done(connection);
        } else {
            http2_received(connection, span_make(bytes, (size_t)len));
        }
    } else if (len == 0) {
        connection_peer_done(connection);
    } else if (connection->state == CONNECTION_READING) {
        connection_input(connection, span_make(bytes, (size_t)len));
    } else if (connection->state == CONNECTION_STREAMING) {
        connection->flags |= CONNECTION_LINGER_AFTER; /* thrown away */
    }
}

void connection_peer_ended(struct connection *connection)
{
    bool is_reading = connection->state == CONNECTION_READING &&
                      (connection->flags & CONNECTION_READ_STOPPED) == 0;
    if (transport_peer_ended(connection) &&
        (is_reading || connection->state == CONNECTION_CARRYING)) {
        connection_heard(connection, NULL, 0);
    }
}

void connection_hung_up(struct connection *connection)
{
    /* Elsewhere reading goes on later: what was asked before the end comes then, and the end. */
    if (connection->state == CONNECTION_STREAMING) {
        connection_close(connection, "client left");
    }
}

void connection_read_stop(struct connection *connection)
{
    if (!http2_is_stream(connection)) {
        connection->flags |= CONNECTION_READ_STOPPED;
        io_read_stop(connection->shard->io, &connection->stream);
    }
}

void connection_wait(struct connection *connection)
{
    CHECK(connection->state == CONNECTION_READING);
    connection->state = CONNECTION_WAITING;
    connection_read_stop(connection);
    connection_set_timer(connection, (uint64_t)connection->shard->config->keepalive_seconds * 1000);
}

/* Input that was put aside is looked at as if it came now. */
static void connection_replay(struct connection *connection)
{
    struct exchange *exchange = connection->exchange;
    if (exchange != NULL && exchange->head_len == 0) {
        struct buffer stashed = exchange->head;
        buffer_init(&exchange->head, 0);
        exchange_free(connection);
        connection_input(connection, buffer_span(&stashed));
        buffer_fini(&stashed);
    }
}

void connection_resume(struct connection *connection)
{
    CHECK(connection->state == CONNECTION_WAITING);
    struct shard *shard = connection->shard;
    connection->state = CONNECTION_READING;
    connection->timer_phase = PHASE_NONE;
    if (http2_is_stream(connection)) {
        return;
    }
    list_append(&shard->waiting, &connection->waiting);
    if (connection->outbox == NULL) {
        connection_flushed(connection);
    }
    if (connection->state != CONNECTION_READING) {
        return;
    }
    if (connection->exchange != NULL) {
        connection_replay(connection);
    } else {
        connection_update_timer(connection, connection->requests);
    }
    connection_peer_ended(connection);
}

/* ---- Sending
 * ------------------------------------------------------------------------------------------ */

void connection_writable(struct connection *connection)
{
    struct shard *shard = connection->shard;
    if (connection->outbox != NULL) {
        if (!list_is_linked(&connection->outbox->link)) {
            list_append(&shard->outgoing, &connection->outbox->link);
        }
    } else if (connection->state == CONNECTION_STREAMING) {
        fanout_writable(&shard->fanout, &connection->subscriber);
    }
}

void connection_finish(struct connection *connection)
{
    struct shard *shard = connection->shard;
    if ((connection->flags & CONNECTION_LINGER_AFTER) == 0 ||
        (connection->flags & CONNECTION_PEER_DONE) != 0) {
        connection_close(connection, "done");
        return;
    }
    list_remove_if_linked(&connection->waiting);
    connection->state = CONNECTION_LINGERING;
    io_shutdown(shard->io, &connection->stream);
    io_read_start(shard->io, &connection->stream);
    connection_set_timer(connection, CONNECTION_LINGER_MS);
}

void connection_flushed(struct connection *connection)
{
    struct shard *shard = connection->shard;
    connection_drop_outbox(connection);
    connection->sent_ms = shard->now_ms;
    switch ((enum connection_state)connection->state) {
    case CONNECTION_STREAMING:
        if ((connection->flags & CONNECTION_ENDING) != 0) {
            connection_stream_ended(connection);
        } else {
            if (connection->transport != NULL) {
                fanout_writable(&shard->fanout, &connection->subscriber);
            }
            fanout_release(&shard->fanout, &connection->subscriber);
        }
        break;
    case CONNECTION_CARRYING:
        http2_flushed(connection);
        break;
    case CONNECTION_READING:
        if (http2_is_stream(connection)) {
            break; /* an interim answer; the last one ends the stream */
        }
        if ((connection->flags & CONNECTION_CLOSE_AFTER) != 0) {
            connection_finish(connection);
        } else if ((connection->flags & CONNECTION_READ_STOPPED) != 0) {
            connection->flags &= (uint16_t)~CONNECTION_READ_STOPPED;
            io_read_start(shard->io, &connection->stream);
            connection_replay(connection);
            connection_peer_ended(connection);
        }
        break;
    case CONNECTION_WAITING:
        connection_set_timer(connection, (uint64_t)shard->config->keepalive_seconds * 1000);
        if (connection->id.errand != NULL) {
            errand_flushed(connection->id.errand);
        }
        break;
    case CONNECTION_LINGERING:
        break;
    case CONNECTION_FREE:
    case CONNECTION_CLOSED:
        CHECK(false); /* a closed connection sends nothing */
    }
}

/* ---- Streams
 * -------------------------------------------------------------------------------------------- */

static const char number_digits[] = "0123456789abcdefghijklmnopqrstuv";

struct span connection_id(const struct connection *connection)
{
    static __thread char text[5 + 13];
    if ((connection->flags & CONNECTION_NAMED) != 0) {
        return span_of(connection->id.name);
    }
    memcpy(text, "anon-", 5);
    for (unsigned i = 0; i < 13; i++) {
        text[5 + 12 - i] = number_digits[(connection->id.number >> (5 * i)) & 31];
    }
    return span_make(text, sizeof(text));
}

const struct address *connection_address(const struct connection *connection)
{
    const struct connection *carrier =
        http2_is_stream(connection) ? connection->transport->http2->connection : connection;
    return &carrier->address.peer;
}

void connection_close(struct connection *connection, const char *reason)
{
    struct shard *shard = connection->shard;
    CHECK(connection->state != CONNECTION_CLOSED);
    CHECK(connection->state != CONNECTION_FREE);
    bool was_streaming = connection->state == CONNECTION_STREAMING;
    if (was_streaming) {
        connection_stream_leave(connection, reason);
    }
    if (subscriber_is_joined(&connection->subscriber)) {
        fanout_leave(&shard->fanout, &connection->subscriber, shard->wall_ms);
    }
    if (connection->id.errand != NULL) {
        errand_abandon(connection->id.errand);
        connection->id.errand = NULL;
    }
    exchange_free(connection);
    connection_drop_outbox(connection);
    wheel_remove(&shard->wheel, &connection->timer);
    list_remove_if_linked(&connection->waiting);
    if (http2_is_stream(connection)) {
        connection->state = CONNECTION_CLOSED;
        http2_stream_closed(connection, was_streaming);
        return;
    }
    transport_free(connection);
    if ((connection->flags & CONNECTION_ADDRESS_COUNTED) != 0) {
        address_table_leave(&shard->hub->addresses, &connection->address.peer);
    }
    shard->refused_count -= (connection->flags & CONNECTION_REFUSED) != 0;
    connection->state = CONNECTION_CLOSED;
    io_close(shard->io, &connection->stream);
}
