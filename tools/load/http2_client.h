/*
 * The client's side of one HTTP/2 connection (RFC 9113): requests and responses go in and out as
 * the text of HTTP/1.1, so that those who ask and read need not know what carries them. A response
 * is a head, and then a body that no length or chunk frames: it goes on until its stream ends.
 *
 *   request text ─▶ http2_client_request ─▶ http2_client_send ─▶ server
 *   server ─▶ http2_client_receive ─▶ received (text), ended
 *
 * Windows: what comes is given back at once, to its stream and to the connection, but for a stream
 * that does not read: that one's window stays taken, and its neighbours' do not.
 *
 * Knows no socket. Owned by one thread. Callbacks come only from http2_client_receive; they may
 * request, reset and stop reading, and may not free.
 */
#ifndef SPATE_LOAD_HTTP2_CLIENT_H
#define SPATE_LOAD_HTTP2_CLIENT_H

#include "core/base/buffer.h"

#ifdef __cplusplus
extern "C" {
#endif

struct http2_client;

struct http2_client_handler {
    /* `user` is the one of http2_client_request. */
    void (*received)(void *owner, void *user, struct span text);
    /* Once for each stream that was not reset from this side. NULL: the response is complete. */
    void (*ended)(void *owner, void *user, const char *problem);
};

struct http2_client_options {
    bool is_tls;           /* what requests say of their scheme */
    uint32_t stream_count; /* are meant to be open at a time; that a server allows fewer is told */
    uint32_t window;       /* that streams begin with, and that slow ones keep */
};

enum { HTTP2_CLIENT_REQUEST_LEN_MAX = 5 << 20 };

/* NULL without memory. */
struct http2_client *http2_client_new(const struct http2_client_options *options,
                                      const struct http2_client_handler *handler, void *owner);
/* Streams that are open end without a callback. */
void http2_client_free(struct http2_client *client);

/* The stream's id, or a negative errno: -ENOMEM; -ESHUTDOWN when the server takes no more. */
int32_t http2_client_request(struct http2_client *client, struct span text, bool is_slow,
                             void *user);
/* Nothing more is told of the stream. One that is not there any more is left alone. */
void http2_client_reset(struct http2_client *client, int32_t stream_id);
/* The same of one whose response was complete by its length: it ends by itself. */
void http2_client_forget(struct http2_client *client, int32_t stream_id);

void http2_client_read_stop(struct http2_client *client, int32_t stream_id);
void http2_client_read_start(struct http2_client *client, int32_t stream_id);

/* 0, or -EPROTO when the connection is of no use any more; see http2_client_problem. */
int http2_client_receive(struct http2_client *client, struct span bytes);
/* Appends what must be sent; -ENOMEM. */
int http2_client_send(struct http2_client *client, struct buffer *buffer);

/* The server has sent GOAWAY: streams that are open go on, new ones need another connection. */
bool http2_client_is_leaving(const struct http2_client *client);
/* The server has shown that it speaks HTTP/2. */
bool http2_client_is_spoken(const struct http2_client *client);
/* What went wrong, in a phrase; NULL: nothing so far. Valid as long as the client. */
const char *http2_client_problem(const struct http2_client *client);

#ifdef __cplusplus
}
#endif

#endif
