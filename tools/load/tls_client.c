#include "tools/load/tls_client.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#include "core/base/memory.h"

enum { PLAIN_PIECE = 16 * 1024 };

struct tls_client {
    SSL *ssl;
    BIO *in; /* the session's */
    BIO *out;
    char problem[160];
};

/* --- Contexts --------------------------------------------------------------------------------- */

/* The type is OpenSSL's, under a name of our own. */
static SSL_CTX *context_ssl(struct tls_client_context *context)
{
    return (SSL_CTX *)context;
}

struct tls_client_context *tls_client_context_new(const struct tls_client_options *options,
                                                  const char **ret_problem)
{
    static const unsigned char h2[] = "\x02h2\x08http/1.1";
    static const unsigned char http1[] = "\x08http/1.1";
    SSL_CTX *ssl = SSL_CTX_new(TLS_client_method());
    *ret_problem = "TLS could not be set up";
    if (ssl == NULL) {
        return NULL;
    }
    (void)SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
    (void)SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(ssl, options->trusts_all ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    bool ok = options->wants_http2 ? SSL_CTX_set_alpn_protos(ssl, h2, sizeof h2 - 1) == 0
                                   : SSL_CTX_set_alpn_protos(ssl, http1, sizeof http1 - 1) == 0;
    if (options->ca_file != NULL) {
        *ret_problem = "no certificates (PEM) can be read from the file";
        ok = ok && SSL_CTX_load_verify_file(ssl, options->ca_file) == 1;
    } else if (!options->trusts_all) {
        *ret_problem = "the system's certificates cannot be read";
        ok = ok && SSL_CTX_set_default_verify_paths(ssl) == 1;
    }
    ERR_clear_error();
    if (!ok) {
        SSL_CTX_free(ssl);
        return NULL;
    }
    return (struct tls_client_context *)ssl;
}

void tls_client_context_free(struct tls_client_context *context)
{
    SSL_CTX_free(context_ssl(context));
}

/* --- Sessions --------------------------------------------------------------------------------- */

static bool expect_name(SSL *ssl, const char *name)
{
    unsigned char address[sizeof(struct in6_addr)];
    if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    }
    return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

struct tls_client *tls_client_new(struct tls_client_context *context, const char *name)
{
    struct tls_client *tls = memory_calloc(1, sizeof *tls);
    if (tls == NULL) {
        return NULL;
    }
    tls->ssl = SSL_new(context_ssl(context));
    tls->in = BIO_new(BIO_s_mem());
    tls->out = BIO_new(BIO_s_mem());
    if (tls->ssl == NULL || tls->in == NULL || tls->out == NULL || !expect_name(tls->ssl, name)) {
        SSL_free(tls->ssl);
        (void)BIO_free(tls->in);
        (void)BIO_free(tls->out);
        memory_free(tls);
        return NULL;
    }
    (void)BIO_set_mem_eof_return(tls->in, -1); /* nothing there means: later */
    SSL_set_bio(tls->ssl, tls->in, tls->out);
    SSL_set_connect_state(tls->ssl);
    return tls;
}

void tls_client_free(struct tls_client *tls)
{
    if (tls != NULL) {
        SSL_free(tls->ssl);
        memory_free(tls);
    }
}

static void take_sealed(struct tls_client *tls, struct buffer *sealed)
{
    char *bytes;
    const long len = BIO_get_mem_data(tls->out, &bytes);
    if (len > 0) {
        buffer_append(sealed, bytes, (size_t)len);
        (void)BIO_reset(tls->out);
    }
}

static enum tls_client_outcome tls_failed(struct tls_client *tls, int result)
{
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return TLS_CLIENT_OK;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_CLIENT_ENDED;
    default:
        break;
    }
    const long verdict = SSL_get_verify_result(tls->ssl);
    const char *reason = ERR_reason_error_string(ERR_peek_error());
    if (verdict != X509_V_OK && SSL_get_verify_mode(tls->ssl) != SSL_VERIFY_NONE) {
        (void)snprintf(tls->problem, sizeof tls->problem,
                       "the certificate is not trusted: %s; see --cacert and --insecure",
                       X509_verify_cert_error_string(verdict));
    } else {
        (void)snprintf(tls->problem, sizeof tls->problem, "TLS: %s",
                       reason == NULL ? "the connection is broken" : reason);
    }
    ERR_clear_error();
    return TLS_CLIENT_BROKEN;
}

enum tls_client_outcome tls_client_open(struct tls_client *tls, struct span bytes,
                                        struct buffer *plain, struct buffer *sealed)
{
    enum tls_client_outcome outcome = TLS_CLIENT_OK;
    ERR_clear_error();
    if (bytes.len > 0 && BIO_write(tls->in, bytes.bytes, (int)bytes.len) != (int)bytes.len) {
        return tls_failed(tls, -1);
    }
    if (!SSL_is_init_finished(tls->ssl)) {
        const int result = SSL_do_handshake(tls->ssl);
        outcome = result == 1 ? TLS_CLIENT_OK : tls_failed(tls, result);
    }
    while (outcome == TLS_CLIENT_OK && SSL_is_init_finished(tls->ssl)) {
        char *room = buffer_reserve(plain, PLAIN_PIECE);
        if (room == NULL) {
            return TLS_CLIENT_BROKEN;
        }
        const int got = SSL_read(tls->ssl, room, PLAIN_PIECE);
        if (got <= 0) {
            outcome = tls_failed(tls, got);
            break;
        }
        buffer_commit(plain, (size_t)got);
    }
    take_sealed(tls, sealed);
    return outcome;
}

enum tls_client_outcome tls_client_seal(struct tls_client *tls, struct span bytes,
                                        struct buffer *sealed)
{
    ERR_clear_error();
    while (bytes.len > 0) {
        const int piece = (int)min_size(bytes.len, PLAIN_PIECE);
        const int put = SSL_write(tls->ssl, bytes.bytes, piece);
        if (put <= 0) {
            return tls_failed(tls, put);
        }
        bytes = span_make(bytes.bytes + put, bytes.len - (size_t)put);
    }
    take_sealed(tls, sealed);
    return sealed->failed ? TLS_CLIENT_BROKEN : TLS_CLIENT_OK;
}

bool tls_client_is_established(const struct tls_client *tls)
{
    return SSL_is_init_finished(tls->ssl);
}

bool tls_client_is_http2(const struct tls_client *tls)
{
    const unsigned char *name = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(tls->ssl, &name, &len);
    return len == 2 && memcmp(name, "h2", 2) == 0;
}

const char *tls_client_problem(struct tls_client *tls)
{
    return tls->problem[0] == '\0' ? "not enough memory for TLS" : tls->problem;
}
