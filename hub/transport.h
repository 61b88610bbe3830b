/*
 * What lies between a connection's messages and its socket. A connection in clear text that speaks
 * HTTP/1.1 has none: its events go from the frame to the kernel. With one, plain bytes are
 * collected in the outbox and sealed when the turn's sends are queued, so that all a turn has to
 * say becomes few records and one send.
 *
 *   fan-out, answers ──▶ outbox.data ──tls_seal──▶ outbox.sealed ──▶ io
 *
 * To the fan-out the outbox is a send buffer: what does not fit is not taken, and the subscriber is
 * blocked until it is empty.
 *
 * Owned by its connection; touched by its shard only.
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

struct transport {
    struct tls *tls;
    bool met;   /* bytes have come */
    bool ended; /* TLS: no record can follow */
};

/* Makes a connection that has just opened one that speaks TLS. 0 or -ENOMEM. */
int transport_begin(struct connection *connection, struct tls_context *context);
void transport_free(struct connection *connection);

/* Bytes from the socket. What they say is told by connection_heard. */
void transport_received(struct connection *connection, struct span bytes);
/* Makes everything in the outbox ready for the socket. False: the connection had to be closed. */
bool transport_seal(struct connection *connection);
/* Takes events for a stream. Returns how much, or -ENOMEM. */
ssize_t transport_take(struct connection *connection, struct span bytes);

/* The handshake is not over yet. */
bool transport_is_shaking_hands(const struct connection *connection);
/* The peer has shown a certificate that we trust. */
bool transport_knows_peer(const struct connection *connection);

#ifdef __cplusplus
}
#endif

#endif
