/* DATA to the peer. */
#include <errno.h>

#include "core/base/memory.h"
#include "hub/http2_parts.h"
#include "hub/shard.h"

enum {
    /*
     * Streams that are tried again at a time, as many as the fan-out serves in a turn, ...
     */
    HTTP2_WOKEN_MAX = 8,
    /* ... and the room that one of them is thought to need, so that few are tried in vain. */
    HTTP2_WOKEN_BYTES = 8 * 1024,
    HTTP2_SETTINGS_FRAME_MAX = HTTP2_FRAME_HEAD_LEN + 8 * 6,
};

size_t http2_flow_unsent(const struct http2 *http2)
{
    return outbox_unsent(http2->connection->outbox);
}

/*
 * The end of a stream as nghttp2 is made to write it is a HEADERS frame with nothing in it, because
 * it sends no DATA, not even without any, into a window that is closed. As DATA it says the same.
 */
static bool is_bare_end(struct span frame)
{
    static const char bare[] = {0, 0, 0, NGHTTP2_HEADERS,
                                NGHTTP2_FLAG_END_STREAM | NGHTTP2_FLAG_END_HEADERS};
    return frame.len == HTTP2_FRAME_HEAD_LEN && memcmp(frame.bytes, bare, sizeof(bare)) == 0;
}

/*
 * nghttp2 is told of no limit to the number of streams: it would take one more for an error of the
 * connection, where the rules have one of the stream (RFC 9113, 5.1.2). So http2_request_begin
 * counts them, and the peer is told the limit here. It is the first of the settings.
 */
static bool is_settings(struct span frame)
{
    return frame.len > HTTP2_FRAME_HEAD_LEN && frame.bytes[3] == NGHTTP2_SETTINGS;
}

/* The value behind the two bytes that name the first setting. */
static void settings_limit_streams(char *frame, uint32_t limit)
{
    for (unsigned i = 0; i < sizeof(limit); i++) {
        frame[HTTP2_FRAME_HEAD_LEN + 2 + i] = (char)(limit >> (24 - 8 * i));
    }
}

ssize_t http2_flow_send(nghttp2_session *session, const uint8_t *bytes, size_t len, int flags,
                        void *context)
{
    struct http2 *http2 = context;
    struct span frame = span_make((const char *)bytes, len);
    char changed[HTTP2_SETTINGS_FRAME_MAX];
    (void)session;
    (void)flags;
    if (is_bare_end(frame)) {
        memcpy(changed, bytes, len);
        changed[3] = NGHTTP2_DATA;
        changed[4] = NGHTTP2_FLAG_END_STREAM;
        frame.bytes = changed;
    } else if (is_settings(frame)) {
        CHECK(len <= sizeof(changed));
        memcpy(changed, bytes, len);
        settings_limit_streams(changed, http2->streams_max);
        frame.bytes = changed;
    }
    if (!connection_append(http2->connection, frame)) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return (ssize_t)len;
}

/* Says how much of `data` goes into the next frame; the bytes follow in http2_flow_send_data. */
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

int http2_flow_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
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

/* ---- Room --------------------------------------------------------------------------------------
 */

/* What the windows and the outbox that all streams share admit. */
static size_t shared_room(const struct http2 *http2)
{
    int32_t window = nghttp2_session_get_remote_window_size(http2->session);
    size_t unsent = http2_flow_unsent(http2);
    if (window <= 0 || unsent >= HTTP2_OUT_MAX_BYTES) {
        return 0;
    }
    return min_size((size_t)window, HTTP2_OUT_MAX_BYTES - unsent);
}

static size_t stream_window(const struct http2 *http2, const struct connection *stream)
{
    int32_t window =
        nghttp2_session_get_stream_remote_window_size(http2->session, stream->stream_id);
    return window > 0 ? (size_t)window : 0;
}

bool http2_is_stuck(const struct connection *stream)
{
    const struct http2 *http2 = http2_of(stream);
    bool waits = stream->outbox != NULL || (stream->subscriber.flags & SUBSCRIBER_BLOCKED) != 0;
    /* What was sent in the same millisecond may have come after that flush. */
    bool is_out = http2->connection->outbox == NULL || http2->flushed_ms > stream->sent_ms;
    if (!waits || !is_out) {
        return false; /* the peer may not have yet what would make it open a window */
    }
    return stream_window(http2, stream) == 0 ||
           nghttp2_session_get_remote_window_size(http2->session) <= 0;
}

/* Bytes that a stream may send now. */
static size_t stream_room(const struct http2 *http2, const struct connection *stream)
{
    return min_size(stream_window(http2, stream), shared_room(http2));
}

/* Frames bytes that there is room for. False: the connection or nghttp2 can go on no more. */
static bool stream_send(struct http2 *http2, const struct connection *stream, struct span bytes,
                        bool end)
{
    const nghttp2_data_provider provider = {.read_callback = data_length};
    uint8_t flags = end ? NGHTTP2_FLAG_END_STREAM : NGHTTP2_FLAG_NONE;
    if (http2->ended || http2->broken) {
        return false;
    }
    http2->data = bytes;
    if (nghttp2_submit_data(http2->session, flags, stream->stream_id, &provider) != 0) {
        http2->broken = true;
    } else {
        http2_send(http2);
    }
    http2->broken |= http2->data.len > 0;
    http2->data = span_make(NULL, 0);
    if (http2->broken) {
        http2_mark(http2);
    }
    return !http2->broken;
}

void http2_flow_end(struct http2 *http2, const struct connection *stream)
{
    if (!http2->ended && nghttp2_submit_trailer(http2->session, stream->stream_id, NULL, 0) != 0) {
        http2->broken = true;
    }
    http2_mark(http2);
}

/* ---- Events ------------------------------------------------------------------------------------
 */

ssize_t http2_take(struct connection *stream, struct span bytes)
{
    struct http2 *http2 = http2_of(stream);
    size_t taken = min_size(bytes.len, stream_room(http2, stream));
    list_remove_if_linked(&stream->waiting);
    if (http2->ended || http2->broken ||
        (taken > 0 && !stream_send(http2, stream, span_make(bytes.bytes, taken), false))) {
        return -EPIPE;
    }
    if (taken < bytes.len) {
        list_append(stream_window(http2, stream) > 0 ? &http2->blocked : &http2->shut,
                    &stream->waiting);
    }
    return (ssize_t)taken;
}

/* Counts those of the woken that the fan-out has not come to yet, and forgets the others. */
static uint32_t woken_settle(struct http2 *http2)
{
    uint32_t count = 0;
    struct list *next;
    for (struct list *link = http2->woken.next; link != &http2->woken; link = next) {
        const struct connection *stream = container_of(link, struct connection, waiting);
        next = link->next;
        if (list_is_linked(&stream->subscriber.ready)) {
            count++; /* a blocked one has gone over to another list */
        } else {
            list_remove(link);
        }
    }
    return count;
}

/*
 * Gives those who wait for shared room another try, in turns. Each may have to read history for it;
 * so only as many are woken as there seems to be room for.
 */
static void subscribers_wake(struct http2 *http2)
{
    uint32_t count = woken_settle(http2);
    struct list *link;
    while (count < HTTP2_WOKEN_MAX && shared_room(http2) > (size_t)count * HTTP2_WOKEN_BYTES &&
           (link = list_take(&http2->blocked)) != NULL) {
        struct connection *stream = container_of(link, struct connection, waiting);
        if (stream_window(http2, stream) == 0) {
            list_append(&http2->shut, link);
            continue;
        }
        fanout_writable(&stream->shard->fanout, &stream->subscriber);
        list_append(&http2->woken, link);
        count++;
    }
    if (!list_is_empty(&http2->blocked) && shared_room(http2) > 0) {
        http2_flow_room(http2); /* the others once these have had their turn */
    }
}

void http2_flow_room(struct http2 *http2)
{
    http2->room = true;
    http2_mark(http2);
}

void http2_flow_opened(struct http2 *http2, struct connection *stream)
{
    if (stream_window(http2, stream) == 0) {
        return;
    }
    if (stream->outbox != NULL) {
        list_remove_if_linked(&stream->outbox->link);
        list_append(&http2->crowded, &stream->outbox->link);
    } else if ((stream->subscriber.flags & SUBSCRIBER_BLOCKED) != 0) {
        list_remove_if_linked(&stream->waiting);
        list_append(&http2->blocked, &stream->waiting);
    }
    http2->room = true;
}

void http2_flow_opened_all(struct http2 *http2)
{
    list_splice(&http2->crowded, &http2->stalled);
    list_splice(&http2->blocked, &http2->shut);
    http2->room = true;
}

/* ---- Outboxes ----------------------------------------------------------------------------------
 */

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
    if (taken > 0) {
        stream->sent_ms = stream->shard->now_ms;
        /* The stream may be gone afterwards, and its outbox with it. */
        if (!stream_send(http2, stream, span_make(rest.bytes, taken), end)) {
            return all;
        }
    } else if (end) {
        http2_flow_end(http2, stream);
    }
    if (!all || stream->state == CONNECTION_CLOSED) {
        return all;
    }
    if (end) {
        http2_stream_done(http2, stream);
    } else {
        connection_flushed(stream);
    }
    return true;
}

/* Each of a list once, while there is room if it waits for that. */
static void outboxes_flush(struct http2 *http2, struct list *outboxes, bool needs_room)
{
    struct list round;
    struct list *link;
    list_init(&round);
    list_splice(&round, outboxes);
    while (!http2->broken && !http2->ended && (!needs_room || shared_room(http2) > 0) &&
           (link = list_take(&round)) != NULL) {
        struct connection *stream = container_of(link, struct outbox, link)->connection;
        if (!stream_flush(http2, stream) && stream->state != CONNECTION_CLOSED) {
            list_append(stream_window(http2, stream) > 0 ? &http2->crowded : &http2->stalled, link);
        }
    }
    /* Whoever was not reached keeps its place before those who were. */
    list_splice(&round, outboxes);
    list_splice(outboxes, &round);
}

void http2_flow_flush(struct http2 *http2)
{
    outboxes_flush(http2, &http2->crowded, true);
    outboxes_flush(http2, &http2->writing, false);
    if (http2->room) {
        http2->room = false;
        subscribers_wake(http2);
    }
}
