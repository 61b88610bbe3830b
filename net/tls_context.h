/* The inside of a TLS context, shared by net/tls.c and net/tls_context.c. Internal to net/. */
#ifndef SPATE_NET_TLS_CONTEXT_H
#define SPATE_NET_TLS_CONTEXT_H

#include <openssl/ssl.h>

#include "net/tls.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tls_context {
    SSL_CTX *ssl_context; /* sessions hold references of their own */
};

#ifdef __cplusplus
}
#endif

#endif
