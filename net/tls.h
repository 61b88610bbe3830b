/*
 * TLS 1.2 and 1.3 (RFC 5246, RFC 8446) as a filter over bytes: what the peer sent goes in, plain
 * bytes and what must be sent to the peer come out. It makes no system call and knows no socket:
 * the records travel through net/io.h like everything else, and a handshake that waits for its peer
 * holds up nobody.
 *
 *   peer ──bytes──▶ tls_open ──▶ plain        plain ──▶ tls_seal ──▶ sealed ──▶ peer
 *                      '───────▶ sealed (handshake, alerts)
 *
 * A context is a certificate with its key and the rules of the handshake. Sessions keep what they
 * need of it alive, so that it can be replaced while they go on. Tickets outlive contexts: a
 * session begun before a reload is resumed after it, except where client certificates are asked
 * for.
 *
 * What is off, and why: renegotiation (a way to make a server work for nothing), compression (tells
 * secrets by length), early data (can be replayed, and publishing must not be), CBC and RSA key
 * exchange in TLS 1.2 (RFC 9113, 9.2.2).
 *
 * Memory: OpenSSL's record buffers exist only while a record is half-read or half-made.
 *
 * Threads: a context and the tickets may be used by all; a session belongs to one.
 * Errors: 0 or a negative errno, with a sentence in *problem.
 */
#ifndef SPATE_NET_TLS_H
#define SPATE_NET_TLS_H

#include "core/base/buffer.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tls_tickets;
struct tls_context;

enum {
    /* The keys that seal session tickets live this long; tickets are honoured for two lives. */
    TLS_TICKET_KEY_SECONDS = 3600,
    /* What one tls_open may add to `plain` beyond the bytes given: a record that was half here. */
    TLS_RECORD_MAX = 17 * 1024,
    TLS_SPKI_TEXT_MAX = 64,
};

/* NULL without memory or random numbers. */
struct tls_tickets *tls_tickets_new(uint64_t key_seconds);
void tls_tickets_free(struct tls_tickets *tickets);

struct tls_options {
    const char *certificate_file; /* PEM, the server's own first, then the chain */
    const char *key_file;         /* PEM, without a pass phrase; "" where it is in the same file */
    const char *client_ca_file;   /* PEM: clients may show a certificate signed by one of these */
    bool self_signed;             /* make a certificate for localhost instead of reading one */
    const struct tls_context *previous; /* whose self-signed certificate is kept, or NULL */
    bool http2;                         /* offer h2 besides http/1.1 (RFC 7301) */
};

int tls_context_new(const struct tls_options *options, struct tls_tickets *tickets,
                    struct tls_context **ret_context, struct buffer *problem);
void tls_context_free(struct tls_context *context);
/* SHA-256 of the public key in base64, as browsers and curl (--pinnedpubkey) take it. */
void tls_context_spki(const struct tls_context *context, char text[TLS_SPKI_TEXT_MAX]);

enum tls_outcome {
    TLS_OK,
    TLS_ENDED,  /* the peer has said that it sends nothing more */
    TLS_BROKEN, /* nothing but what is in `sealed`, an alert, can be said any more */
};

struct tls;

struct tls *tls_new(struct tls_context *context);
void tls_free(struct tls *tls);

/* Takes all of `bytes`. Both buffers are appended to. */
enum tls_outcome tls_open(struct tls *tls, struct span bytes, struct buffer *plain,
                          struct buffer *sealed);
/* The handshake must be over. Without memory `sealed` has failed, or the outcome is TLS_BROKEN. */
enum tls_outcome tls_seal(struct tls *tls, struct span bytes, struct buffer *sealed);
/* Says that nothing more will come, so that the peer can tell the end from a cut. */
void tls_end(struct tls *tls, struct buffer *sealed);

bool tls_is_established(const struct tls *tls);
bool tls_is_resumed(const struct tls *tls);
/* The handshake chose h2. */
bool tls_is_http2(const struct tls *tls);
/* The peer has shown a certificate that one of client_ca_file signed. */
bool tls_knows_peer(const struct tls *tls);

#ifdef __cplusplus
}
#endif

#endif
