/* Bytes from the peer, frame by frame, and what it has to answer for. */
#include "hub/http2_parts.h"
#include "hub/http2_request.h"
#include "hub/shard.h"

enum {
    HTTP2_CHARGE_SETTINGS = 20,
    HTTP2_CHARGE_INVALID = 10,
};

/* ---- What the peer has to answer for ----------------------------------------------------------
 */

static void http2_flood(struct http2 *http2)
{
    struct shard *shard = http2->connection->shard;
    if (!http2->ended) {
        shard_count(&shard->stats.http2_floods, 1);
        http2_end(http2, NGHTTP2_ENHANCE_YOUR_CALM);
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

/* A stream that was served pays for one that was not. */
static void charge_pay(struct http2 *http2)
{
    http2->charge -= http2->charge > 0;
}

/*
 * Leaving a stream whose answer had gone out is no flood, however many do so at once; what is
 * bounded is work for which nobody waits.
 */
static void charge_reset(struct http2 *http2, int32_t stream_id, const struct connection *stream)
{
    if (stream == NULL || stream_id > http2->answered_stream_id || stream->requests == 0) {
        http2_charge(http2, 1);
    } else {
        charge_pay(http2);
    }
}

void http2_charge_end(struct http2 *http2, const struct connection *stream, uint32_t error)
{
    if (stream->stream_id == http2->reset_stream_id) {
        return; /* see charge_reset */
    }
    if (error == NGHTTP2_NO_ERROR) {
        charge_pay(http2);
    } else {
        /* nghttp2 has reset it, because of its frames. */
        http2_keep_reset(http2, stream->stream_id);
        http2_charge(http2, HTTP2_CHARGE_INVALID);
    }
}

static void charge_update(struct http2 *http2)
{
    if (http2->updates_due > 0) {
        http2->updates_due--;
    } else {
        http2_charge(http2, 1);
    }
}

static void charge_frame(struct http2 *http2, const nghttp2_frame *frame,
                         const struct connection *stream)
{
    switch (frame->hd.type) {
    case NGHTTP2_DATA:
        if (frame->hd.length == frame->data.padlen &&
            (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) {
            http2_charge(http2, 1);
        }
        break;
    case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
            http2_charge(http2, HTTP2_CHARGE_SETTINGS);
        }
        break;
    case NGHTTP2_PING:
    case NGHTTP2_GOAWAY:
        http2_charge(http2, 1);
        break;
    case NGHTTP2_RST_STREAM:
        http2->reset_stream_id = frame->hd.stream_id;
        charge_reset(http2, frame->hd.stream_id, stream);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        charge_update(http2);
        break;
    default:
        break;
    }
}

/* ---- Frames ------------------------------------------------------------------------------------
 */

int http2_input_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    struct http2 *http2 = context;
    struct connection *stream = http2_stream(http2, frame->hd.stream_id);
    bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    (void)session;
    charge_frame(http2, frame, stream);
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        if (stream != NULL && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
            http2_request_head_done(http2, stream, end);
            break;
        }
        /* fallthrough */
    case NGHTTP2_DATA:
        if (stream != NULL && end) {
            http2_request_done(stream);
        }
        break;
    case NGHTTP2_SETTINGS:
        http2_flow_opened_all(http2);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        if (stream != NULL) {
            http2_flow_opened(http2, stream);
        } else if (frame->hd.stream_id == 0) {
            http2_flow_room(http2);
        }
        break;
    case NGHTTP2_GOAWAY:
        http2->peer_leaves = true;
        break;
    default:
        break;
    }
    return 0;
}

int http2_input_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
                              void *context)
{
    (void)session;
    (void)frame;
    (void)error;
    http2_charge(context, HTTP2_CHARGE_INVALID);
    return 0;
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

/* A frame on a stream that is over (RFC 9113, 5.1). nghttp2 would pass over it in silence. */
static void closed_stream_frame(struct http2 *http2, uint8_t type, int32_t stream_id)
{
    if (type == NGHTTP2_WINDOW_UPDATE) {
        charge_update(http2);
    }
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

static int32_t frame_stream_id(const struct http2 *http2)
{
    const uint8_t *head = http2->frame_head;
    return (int32_t)((uint32_t)(head[5] & 0x7f) << 24 | (uint32_t)head[6] << 16 |
                     (uint32_t)head[7] << 8 | head[8]);
}

/* Priorities are not read, but a stream that depends on itself is an error (RFC 7540, 5.3.1). */
static void priority_read(struct http2 *http2, struct span payload)
{
    if (http2->frame_head[3] != NGHTTP2_PRIORITY || http2->dependency_len == 4) {
        return;
    }
    for (size_t i = 0; i < payload.len && http2->dependency_len < 4; i++) {
        http2->dependency = http2->dependency << 8 | (uint8_t)payload.bytes[i];
        http2->dependency_len++;
    }
    int32_t stream_id = frame_stream_id(http2);
    if (http2->dependency_len < 4 || (http2->dependency & 0x7fffffff) != (uint32_t)stream_id) {
        return;
    }
    if (http2_stream(http2, stream_id) == NULL) {
        http2_end(http2, NGHTTP2_PROTOCOL_ERROR);
    } else {
        http2->broken |= nghttp2_submit_rst_stream(http2->session, NGHTTP2_FLAG_NONE, stream_id,
                                                   NGHTTP2_PROTOCOL_ERROR) != 0;
    }
}

/* Looks at the head of a frame before nghttp2 does. */
static void frame_begins(struct http2 *http2)
{
    const uint8_t *head = http2->frame_head;
    uint8_t type = head[3];
    int32_t stream_id = frame_stream_id(http2);
    http2->dependency_len = 0;
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
        if (left == &http2->payload_left) {
            priority_read(http2, span_make(input.bytes, len));
        }
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
        priority_read(http2, span_make(input.bytes + len, payload_len));
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

/* FLOODED; or CONTINUATION without end, for which not every version of nghttp2 has a name. */
static bool is_flood(ssize_t error)
{
    return nghttp2_is_fatal((int)error) && error != NGHTTP2_ERR_NOMEM &&
           error != NGHTTP2_ERR_CALLBACK_FAILURE && error != NGHTTP2_ERR_BAD_CLIENT_MAGIC;
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
        http2->broken |= used == NGHTTP2_ERR_NOMEM || used == NGHTTP2_ERR_CALLBACK_FAILURE;
        if (is_flood(used)) {
            http2_flood(http2);
        } else {
            http2_end(http2, NGHTTP2_PROTOCOL_ERROR);
        }
    }
    if (!http2->broken) {
        /* What nghttp2 resets by itself closes here: never inside http2_take, amid a visit. */
        http2_send(http2);
    }
}
