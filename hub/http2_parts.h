/*
 * What the parts of hub/http2.h share. Internal to hub/http2*.c.
 *
 *   http2.c          sessions, answers, the end of streams and of the connection
 *   http2_input.c    bytes from the peer, frame by frame, and what they are charged with
 *   http2_request.c  from header fields and DATA to a request
 *   http2_flow.c     DATA to the peer, as far as windows and the socket admit
 *
 * Threads: the shard of the connection.
 */
#ifndef SPATE_HUB_HTTP2_PARTS_H
#define SPATE_HUB_HTTP2_PARTS_H

#include "hub/http2.h"

#ifdef __cplusplus
extern "C" {
#endif

static inline struct http2 *http2_of(const struct connection *connection)
{
    return connection->transport->http2;
}

/* There is something for http2_pump to do. */
void http2_mark(struct http2 *http2);
/* The stream was reset by us: frames on it may still be under way. */
static inline void http2_keep_reset(struct http2 *http2, int32_t stream_id)
{
    http2->resets[http2->reset_count++ % HTTP2_RESETS_KEPT] = stream_id;
}
/* NULL where a stream has ended. */
struct connection *http2_stream(struct http2 *http2, int32_t stream_id);
/* Writes out what nghttp2 has queued; never inside of it. */
void http2_send(struct http2 *http2);
/* The end of a stream's body has gone out. */
void http2_stream_done(struct http2 *http2, struct connection *stream);
/* Ends the connection with GOAWAY, its last frame. */
void http2_end(struct http2 *http2, uint32_t error);

/* ---- http2_input.c */

/* For work in vain; too much of it ends the connection. */
void http2_charge(struct http2 *http2, uint32_t charge);
/* A stream of the peer's has ended; `error` is how, for nghttp2. */
void http2_charge_end(struct http2 *http2, const struct connection *stream, uint32_t error);
/* Callbacks of nghttp2, and described there. */
int http2_input_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context);
int http2_input_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
                              void *context);

/* ---- http2_flow.c */

/* Callbacks of nghttp2 that write frames into the connection's outbox. */
ssize_t http2_flow_send(nghttp2_session *session, const uint8_t *bytes, size_t len, int flags,
                        void *context);
int http2_flow_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                         size_t len, nghttp2_data_source *source, void *context);
size_t http2_flow_unsent(const struct http2 *http2);
/* The peer has opened the window of a stream; of all of them. */
void http2_flow_opened(struct http2 *http2, struct connection *stream);
void http2_flow_opened_all(struct http2 *http2);
/* There may be room for those who wait for what all streams share. */
void http2_flow_room(struct http2 *http2);
/* Frames what streams have to say, as much as there is room for. */
void http2_flow_flush(struct http2 *http2);
/* The end of a stream's body, which needs no room. */
void http2_flow_end(struct http2 *http2, const struct connection *stream);

#ifdef __cplusplus
}
#endif

#endif
