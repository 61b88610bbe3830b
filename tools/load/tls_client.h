/*
 * The client's side of TLS as a filter over bytes, as net/tls.h is the server's: what the server
 * sent goes in, plain bytes and what must be sent to it come out. No system calls but reading the
 * file of certificates.
 *
 * A context is whom to trust and what to ask for; it outlives its sessions. A session belongs to
 * one thread.
 */
#ifndef SPATE_LOAD_TLS_CLIENT_H
#define SPATE_LOAD_TLS_CLIENT_H

#include "core/base/buffer.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tls_client_context;
struct tls_client;

struct tls_client_options {
    const char *ca_file; /* PEM: whom to trust; NULL: whom the system trusts */
    bool trusts_all;     /* the certificate is not looked at */
    bool wants_http2;    /* offers h2 before http/1.1 (RFC 7301) */
};

/* NULL with *ret_problem, which is static text. */
struct tls_client_context *tls_client_context_new(const struct tls_client_options *options,
                                                  const char **ret_problem);
void tls_client_context_free(struct tls_client_context *context);

enum tls_client_outcome {
    TLS_CLIENT_OK,
    TLS_CLIENT_ENDED, /* the server has said that it sends nothing more */
    TLS_CLIENT_BROKEN,
};

/* `name` is the server's, or its address: the certificate must be for it. NULL without memory. */
struct tls_client *tls_client_new(struct tls_client_context *context, const char *name);
void tls_client_free(struct tls_client *tls);

/* Takes all of `bytes`; without any it begins the handshake. Both buffers are appended to. */
enum tls_client_outcome tls_client_open(struct tls_client *tls, struct span bytes,
                                        struct buffer *plain, struct buffer *sealed);
/* The handshake must be over. */
enum tls_client_outcome tls_client_seal(struct tls_client *tls, struct span bytes,
                                        struct buffer *sealed);

bool tls_client_is_established(const struct tls_client *tls);
bool tls_client_is_http2(const struct tls_client *tls);
/* Why it is broken, in a phrase; valid until the next call. */
const char *tls_client_problem(struct tls_client *tls);

#ifdef __cplusplus
}
#endif

#endif
