/*
 * The requests of HTTP/2 streams: from header fields and DATA to connection_answer. The first three
 * are callbacks of nghttp2 and described there; hub/http2.c registers them and calls the others.
 *
 * Threads: the shard of the connection.
 */
#ifndef SPATE_HUB_HTTP2_REQUEST_H
#define SPATE_HUB_HTTP2_REQUEST_H

#include "hub/http2.h"

#ifdef __cplusplus
extern "C" {
#endif

int http2_request_begin(nghttp2_session *session, const nghttp2_frame *frame, void *context);
int http2_request_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                         nghttp2_rcbuf *value, uint8_t flags, void *context);
int http2_request_data(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                       const uint8_t *bytes, size_t len, void *context);

/* The header block is complete. `end`: so is the request. */
void http2_request_head_done(struct http2 *http2, struct connection *stream, bool end);
/* The whole request is here: it is answered, or queued. */
void http2_request_done(struct connection *stream);
void http2_request_answer(struct connection *stream);
/* Lets go of the header block that was being received. */
void http2_request_forget(struct http2 *http2);

#ifdef __cplusplus
}
#endif

#endif
