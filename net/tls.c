#include "net/tls.h"

#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>

#include "core/base/memory.h"
#include "net/tls_context.h"

enum {
    /* A handshake, with a chain of client certificates, is not longer. */
    TLS_HANDSHAKE_BYTES_MAX = 128 * 1024,
    /* Nor is what a peer has to say besides application data: key updates, alerts. */
    TLS_CONTROL_BYTES_MAX = 64 * 1024,
};

/* `input` and `sealed` are set during a call only: what the BIO reads from and writes to. */
struct tls {
    SSL *ssl;
    struct span input;
    struct buffer *sealed;
    uint32_t control_bytes; /* since application data last came */
    bool established;       /* for good; OpenSSL says no again amid a KeyUpdate and after errors */
};

/* ---- The BIO ---------------------------------------------------------------------------------
 */

static int tls_bio_read(BIO *bio, char *bytes, int len)
{
    struct tls *tls = BIO_get_data(bio);
    size_t taken = min_size(tls->input.len, (size_t)len);
    BIO_clear_retry_flags(bio);
    if (taken == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(bytes, tls->input.bytes, taken);
    tls->input = span_make(tls->input.bytes + taken, tls->input.len - taken);
    return (int)taken;
}

static int tls_bio_write(BIO *bio, const char *bytes, int len)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    buffer_append(tls->sealed, bytes, (size_t)len);
    return tls->sealed->failed ? -1 : len;
}

static long tls_bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *tls_bio_method;

/* Once for the process; OpenSSL's own tables are as immortal. */
static void tls_bio_method_make(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "spate");
    if (method != NULL && BIO_meth_set_read(method, tls_bio_read) == 1 &&
        BIO_meth_set_write(method, tls_bio_write) == 1 &&
        BIO_meth_set_ctrl(method, tls_bio_control) == 1) {
        tls_bio_method = method;
    }
}

static BIO *tls_bio_new(struct tls *tls)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    CHECK(pthread_once(&once, tls_bio_method_make) == 0);
    BIO *bio = tls_bio_method == NULL ? NULL : BIO_new(tls_bio_method);
    if (bio != NULL) {
        BIO_set_data(bio, tls);
        BIO_set_init(bio, 1);
    }
    return bio;
}

/* ---- Sessions --------------------------------------------------------------------------------
 */

struct tls *tls_new(struct tls_context *context)
{
    struct tls *tls = memory_calloc(1, sizeof(*tls));
    if (tls == NULL) {
        return NULL;
    }
    tls->ssl = SSL_new(context->ssl_context);
    BIO *bio = tls->ssl == NULL ? NULL : tls_bio_new(tls);
    if (bio == NULL) {
        ERR_clear_error();
        tls_free(tls);
        return NULL;
    }
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_accept_state(tls->ssl);
    return tls;
}

void tls_free(struct tls *tls)
{
    if (tls != NULL) {
        SSL_free(tls->ssl);
        memory_free(tls);
    }
}

/* Reads one record's worth. Returns whether there may be more. */
static bool tls_read(struct tls *tls, struct buffer *plain, enum tls_outcome *ret_outcome)
{
    char *room = buffer_reserve(plain, TLS_RECORD_MAX);
    size_t len = 0;
    if (room == NULL) {
        *ret_outcome = TLS_BROKEN;
        return false;
    }
    int r = SSL_read_ex(tls->ssl, room, TLS_RECORD_MAX, &len);
    if (r == 1) {
        buffer_commit(plain, len);
        tls->control_bytes = 0;
        return true;
    }
    switch (SSL_get_error(tls->ssl, r)) {
    case SSL_ERROR_WANT_READ:
        return false;
    case SSL_ERROR_ZERO_RETURN:
        *ret_outcome = TLS_ENDED;
        return false;
    default:
        *ret_outcome = TLS_BROKEN;
        return false;
    }
}

enum tls_outcome tls_open(struct tls *tls, struct span bytes, struct buffer *plain,
                          struct buffer *sealed)
{
    enum tls_outcome outcome = TLS_OK;
    uint32_t limit = tls_is_established(tls) ? TLS_CONTROL_BYTES_MAX : TLS_HANDSHAKE_BYTES_MAX;
    tls->input = bytes;
    tls->sealed = sealed;
    tls->control_bytes = (uint32_t)min_u64(UINT32_MAX, tls->control_bytes + (uint64_t)bytes.len);
    ERR_clear_error();
    while (tls_read(tls, plain, &outcome)) {
    }
    ERR_clear_error();
    tls->established |= SSL_is_init_finished(tls->ssl) == 1;
    tls->input = span_make(NULL, 0);
    tls->sealed = NULL;
    if (sealed->failed || tls->control_bytes > limit) {
        outcome = TLS_BROKEN;
    }
    return outcome;
}

enum tls_outcome tls_seal(struct tls *tls, struct span bytes, struct buffer *sealed)
{
    CHECK(tls_is_established(tls));
    size_t written = 0;
    ERR_clear_error();
    tls->sealed = sealed;
    int r = bytes.len == 0 ? 1 : SSL_write_ex(tls->ssl, bytes.bytes, bytes.len, &written);
    tls->sealed = NULL;
    ERR_clear_error();
    return r == 1 && written == bytes.len ? TLS_OK : TLS_BROKEN;
}

void tls_end(struct tls *tls, struct buffer *sealed)
{
    if (tls_is_established(tls)) {
        ERR_clear_error();
        tls->sealed = sealed;
        (void)SSL_shutdown(tls->ssl);
        tls->sealed = NULL;
        ERR_clear_error();
    }
}

bool tls_is_established(const struct tls *tls)
{
    return tls->established;
}

bool tls_is_resumed(const struct tls *tls)
{
    return SSL_session_reused(tls->ssl) == 1;
}

bool tls_is_http2(const struct tls *tls)
{
    const unsigned char *name = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(tls->ssl, &name, &len);
    return len == 2 && memcmp(name, "h2", 2) == 0;
}

bool tls_knows_peer(const struct tls *tls)
{
    return tls_is_established(tls) && SSL_get0_peer_certificate(tls->ssl) != NULL &&
           SSL_get_verify_result(tls->ssl) == X509_V_OK;
}
