/*
 * What lies between a connection's messages and its socket: TLS, HTTP/2, or both. A connection in
 * clear text that speaks HTTP/1.1 has none: its events go from the frame to the kernel. With one,
 * plain bytes are collected in the outbox and sealed when the turn's sends are queued, so that all
 * a turn has to say becomes few records and one send.
 *
 *   fan-out, answers ──▶ outbox.data ──tls_seal──▶ outbox.sealed ──▶ io
 *
 * To the fan-out the outbox is a send buffer: what does not fit is not taken, and the subscriber is
 * blocked until it is empty. Under HTTP/2 (hub/http2.h) what is collected is frames.
 *
 * Owned by its connection, lent to the streams that it carries; touched by its shard only.
 */
#ifndef SPATE_HUB_TRANSPORT_H
#define SPATE_HUB_TRANSPORT_H

#include <sys/types.h>

#include "hub/connection.h"
#include "net/tls.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    /* Unsent bytes of one connection from which on it takes no more events. */
    TRANSPORT_OUT_MAX_BYTES = 64 * 1024,
};

struct http2;

struct transport {
    struct tls *tls;     /* NULL: clear text */
    struct http2 *http2; /* NULL: HTTP/1.1 */
    bool met;            /* bytes have come */
    bool ended;          /* TLS: no record can follow */
    bool peer_ended;     /* TLS: nor from the peer, which may still read */
};

/* Makes a connection that has just opened one that speaks TLS. 0 or -ENOMEM. */
int transport_begin(struct connection *connection, struct tls_context *context);
/* Puts HTTP/2 on it, above TLS if there is that. 0 or -ENOMEM. */
int transport_carry(struct connection *connection, struct http2 *http2);
void transport_free(struct connection *connection);

/* Bytes from the socket. What they say is told by connection_heard. */
void transport_received(struct connection *connection, struct span bytes);
/* What of the outbox is next for the socket. False: the connection had to be closed. */
bool transport_seal(struct connection *connection, struct span *ret_bytes);
/* Takes events for a stream. Returns how much, or -ENOMEM. */
ssize_t transport_take(struct connection *connection, struct span bytes);

/* Bytes of an outbox, which may be NULL, that the kernel has not taken. */
static inline size_t outbox_unsent(const struct outbox *outbox)
{
    return outbox == NULL ? 0 : outbox->data.len + outbox->sealed.len - outbox->sent;
}

/* The handshake is not over yet. */
bool transport_is_shaking_hands(const struct connection *connection);
/* The peer has said that it sends nothing more, and that has not been told yet. */
bool transport_peer_ended(const struct connection *connection);
/* The peer has shown a certificate that we trust. */
bool transport_knows_peer(const struct connection *connection);

#ifdef __cplusplus
}
#endif

#endif
