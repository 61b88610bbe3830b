#include "net/tls_context.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <time.h>

#include "core/base/memory.h"

/* ---- Tickets (RFC 5077, 4; RFC 8446, 4.6.1) ---------------------------------------------------
 */

enum { TICKET_NAME_LEN = 16, TICKET_KEY_LEN = 32, TICKET_KEY_COUNT = 3 };

struct ticket_key {
    unsigned char name[TICKET_NAME_LEN];
    unsigned char cipher_key[TICKET_KEY_LEN];
    unsigned char mac_key[TICKET_KEY_LEN];
    bool valid;
};

/* The first key seals; all of them open, and then the client gets a new ticket. */
struct tls_tickets {
    pthread_mutex_t mutex;
    uint64_t key_seconds;
    uint64_t rotate_at_seconds;
    struct ticket_key keys[TICKET_KEY_COUNT];
};

static uint64_t tickets_now_seconds(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec;
}

static bool ticket_key_draw(struct ticket_key *key)
{
    key->valid = RAND_bytes(key->name, sizeof(key->name)) == 1 &&
                 RAND_priv_bytes(key->cipher_key, sizeof(key->cipher_key)) == 1 &&
                 RAND_priv_bytes(key->mac_key, sizeof(key->mac_key)) == 1;
    return key->valid;
}

struct tls_tickets *tls_tickets_new(uint64_t key_seconds)
{
    struct tls_tickets *tickets = memory_calloc(1, sizeof(*tickets));
    if (tickets == NULL) {
        return NULL;
    }
    tickets->key_seconds = key_seconds;
    tickets->rotate_at_seconds = tickets_now_seconds() + key_seconds;
    CHECK(pthread_mutex_init(&tickets->mutex, NULL) == 0);
    if (!ticket_key_draw(&tickets->keys[0])) {
        tls_tickets_free(tickets);
        return NULL;
    }
    return tickets;
}

void tls_tickets_free(struct tls_tickets *tickets)
{
    if (tickets != NULL) {
        CHECK(pthread_mutex_destroy(&tickets->mutex) == 0);
        explicit_bzero(tickets->keys, sizeof(tickets->keys));
        memory_free(tickets);
    }
}

/* Keys that nobody has asked for grow old all the same: a long silence forgets them all. */
static void tickets_rotate(struct tls_tickets *tickets)
{
    uint64_t now = tickets_now_seconds();
    for (unsigned i = 0; i < TICKET_KEY_COUNT && now >= tickets->rotate_at_seconds; i++) {
        struct ticket_key fresh;
        if (!ticket_key_draw(&fresh)) {
            return;
        }
        memmove(&tickets->keys[1], &tickets->keys[0], (TICKET_KEY_COUNT - 1) * sizeof(fresh));
        tickets->keys[0] = fresh;
        explicit_bzero(&fresh, sizeof(fresh));
        tickets->rotate_at_seconds += tickets->key_seconds;
    }
    tickets->rotate_at_seconds = max_u64(tickets->rotate_at_seconds, now + 1);
}

/* Copies the key to seal with, or the one of that name. Returns its place, or -1. */
static int tickets_get(struct tls_tickets *tickets, const unsigned char *name,
                       struct ticket_key *ret_key)
{
    int found = -1;
    CHECK(pthread_mutex_lock(&tickets->mutex) == 0);
    tickets_rotate(tickets);
    for (int i = 0; i < TICKET_KEY_COUNT && found < 0; i++) {
        const struct ticket_key *key = &tickets->keys[i];
        if (key->valid && (name == NULL || memcmp(key->name, name, TICKET_NAME_LEN) == 0)) {
            *ret_key = *key;
            found = i;
        }
    }
    CHECK(pthread_mutex_unlock(&tickets->mutex) == 0);
    return found;
}

static bool ticket_init_mac(EVP_MAC_CTX *mac, struct ticket_key *key)
{
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac_key, TICKET_KEY_LEN),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, parameters) == 1;
}

/* OpenSSL's callback has six parameters. 0: unknown, handshake in full; 2: good, but renew. */
static int ticket_seal_or_open(SSL *ssl, unsigned char *name, unsigned char *iv,
                               EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *ret_mac, int seal)
{
    struct tls_tickets *tickets = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct ticket_key key;
    int place = tickets_get(tickets, seal != 0 ? NULL : name, &key);
    if (place < 0) {
        return 0;
    }
    bool good = true;
    if (seal != 0) {
        memcpy(name, key.name, TICKET_NAME_LEN);
        good = RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1;
    }
    good = good &&
           EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.cipher_key, iv, seal) == 1 &&
           ticket_init_mac(ret_mac, &key);
    explicit_bzero(&key, sizeof(key));
    if (!good) {
        return seal != 0 ? -1 : 0;
    }
    return place == 0 ? 1 : 2;
}

/* ---- Certificates -----------------------------------------------------------------------------
 */

/* What an error of OpenSSL's means for a file, where its own words ("PEM lib") do not say. */
static const char *tls_meaning(unsigned long code)
{
    int library = ERR_GET_LIB(code);
    int reason = ERR_GET_REASON(code);
    if (ERR_SYSTEM_ERROR(code)) {
        return strerror(reason);
    }
    if ((library == ERR_LIB_PEM && reason == PEM_R_NO_START_LINE) ||
        (library == ERR_LIB_OSSL_DECODER && reason == ERR_R_UNSUPPORTED)) {
        return "there is none in this file (PEM)";
    }
    if (library == ERR_LIB_PEM && reason == PEM_R_BAD_PASSWORD_READ) {
        return "it is encrypted; the key must be stored without a pass phrase";
    }
    if (library == ERR_LIB_X509 && reason == X509_R_KEY_VALUES_MISMATCH) {
        return "it does not belong to the certificate (key values mismatch)";
    }
    return NULL;
}

/* Appends the first reason in OpenSSL's queue that says something, else the last; empties it. */
static int tls_problem(struct buffer *problem, const char *what, const char *file)
{
    const char *meaning = NULL;
    const char *last = "unknown reason";
    for (unsigned long code; (code = ERR_get_error()) != 0;) {
        const char *reason = ERR_reason_error_string(code);
        meaning = meaning != NULL ? meaning : tls_meaning(code);
        last = reason != NULL ? reason : last;
    }
    buffer_printf(problem, "%s%s%s: %s", what, file[0] == '\0' ? "" : " ", file,
                  meaning != NULL ? meaning : last);
    return -EINVAL;
}

/* A pass phrase would be asked for on a terminal that is not there. */
static int no_pass_phrase(char *room, int size, int writing, void *context)
{
    (void)room;
    (void)size;
    (void)writing;
    (void)context;
    return -1;
}

static int context_read_files(SSL_CTX *ssl_context, const struct tls_options *options,
                              struct buffer *problem)
{
    const char *key_file =
        options->key_file[0] == '\0' ? options->certificate_file : options->key_file;
    SSL_CTX_set_default_passwd_cb(ssl_context, no_pass_phrase);
    if (SSL_CTX_use_certificate_chain_file(ssl_context, options->certificate_file) != 1) {
        return tls_problem(problem, "cannot use the certificate", options->certificate_file);
    }
    if (SSL_CTX_use_PrivateKey_file(ssl_context, key_file, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ssl_context) != 1) {
        (void)tls_problem(problem, "cannot use the key", key_file);
        if (options->key_file[0] == '\0') {
            buffer_append_string(problem, "; --tls-key names the file of the key");
        }
        return -EINVAL;
    }
    return 0;
}

static bool certificate_add(X509 *certificate, int what, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, what, value);
    bool added = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return added;
}

static bool certificate_fill(X509 *certificate, EVP_PKEY *key)
{
    enum { SELF_SIGNED_SECONDS = 30 * 86400, SELF_SIGNED_SKEW_SECONDS = 3600 };
    X509_NAME *name = X509_get_subject_name(certificate);
    uint32_t serial = 0;
    return RAND_bytes((unsigned char *)&serial, sizeof(serial)) == 1 &&
           X509_set_version(certificate, X509_VERSION_3) == 1 &&
           ASN1_INTEGER_set(X509_get_serialNumber(certificate), (long)serial + 1) == 1 &&
           X509_gmtime_adj(X509_getm_notBefore(certificate), -SELF_SIGNED_SKEW_SECONDS) != NULL &&
           X509_gmtime_adj(X509_getm_notAfter(certificate), SELF_SIGNED_SECONDS) != NULL &&
           X509_set_pubkey(certificate, key) == 1 &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost",
                                      -1, -1, 0) == 1 &&
           X509_set_issuer_name(certificate, name) == 1 &&
           certificate_add(certificate, NID_basic_constraints, "critical,CA:FALSE") &&
           certificate_add(certificate, NID_ext_key_usage, "serverAuth") &&
           certificate_add(certificate, NID_subject_alt_name,
                           "DNS:localhost,IP:127.0.0.1,IP:::1") &&
           X509_sign(certificate, key, EVP_sha256()) > 0;
}

static int context_sign_self(SSL_CTX *ssl_context, const struct tls_context *previous,
                             struct buffer *problem)
{
    if (previous != NULL) {
        SSL_CTX *before = previous->ssl_context;
        return SSL_CTX_use_certificate(ssl_context, SSL_CTX_get0_certificate(before)) == 1 &&
                       SSL_CTX_use_PrivateKey(ssl_context, SSL_CTX_get0_privatekey(before)) == 1
                   ? 0
                   : tls_problem(problem, "cannot keep the certificate", "");
    }
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    bool good = key != NULL && certificate != NULL && certificate_fill(certificate, key) &&
                SSL_CTX_use_certificate(ssl_context, certificate) == 1 &&
                SSL_CTX_use_PrivateKey(ssl_context, key) == 1;
    X509_free(certificate);
    EVP_PKEY_free(key);
    return good ? 0 : tls_problem(problem, "cannot make a certificate", "");
}

/* ---- The rules of the handshake ---------------------------------------------------------------
 */

/* What we speak, the better first, each with its length before it; HTTP/1.1 alone is the tail. */
static const unsigned char protocols[] = "\x02h2\x08http/1.1";
enum { PROTOCOLS_LEN = sizeof(protocols) - 1, PROTOCOL_H2_LEN = 3 };

/* The argument is where in `protocols` to begin: contexts come and go before their sessions. */
static int choose_protocol(SSL *ssl, const unsigned char **ret_name, unsigned char *ret_len,
                           const unsigned char *offered, unsigned offered_len, void *argument)
{
    const unsigned char *ours = argument;
    unsigned char *chosen = NULL;
    (void)ssl;
    if (SSL_select_next_proto(&chosen, ret_len, ours, (unsigned)(protocols + PROTOCOLS_LEN - ours),
                              offered, offered_len) != OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301, 3.2: no_application_protocol */
    }
    *ret_name = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int context_ask_clients(SSL_CTX *ssl_context, const char *file, struct buffer *problem)
{
    unsigned char id[16];
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(file);
    if (names == NULL || SSL_CTX_load_verify_file(ssl_context, file) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return tls_problem(problem, "cannot use the client CA", file);
    }
    SSL_CTX_set_client_CA_list(ssl_context, names);
    SSL_CTX_set_verify(ssl_context, SSL_VERIFY_PEER, NULL);
    /* A ticket says that its owner was known. That is forgotten with the CA that knew it. */
    if (RAND_bytes(id, sizeof(id)) != 1 ||
        SSL_CTX_set_session_id_context(ssl_context, id, sizeof(id)) != 1) {
        return tls_problem(problem, "cannot use the client CA", file);
    }
    return 0;
}

static bool context_set_rules(SSL_CTX *ssl_context, bool http2, struct tls_tickets *tickets)
{
    static const unsigned char id[] = "spate";
    SSL_CTX_set_options(ssl_context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                         SSL_OP_CIPHER_SERVER_PREFERENCE |
                                         SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ssl_context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ssl_context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(ssl_context, 2 * TLS_TICKET_KEY_SECONDS);
    SSL_CTX_set_alpn_select_cb(ssl_context, choose_protocol,
                               (void *)(protocols + (http2 ? 0 : PROTOCOL_H2_LEN)));
    SSL_CTX_set_app_data(ssl_context, tickets);
    return SSL_CTX_set_min_proto_version(ssl_context, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(ssl_context, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1 &&
           SSL_CTX_set_session_id_context(ssl_context, id, sizeof(id) - 1) == 1 &&
           /* One is enough for a client that keeps its connection. */
           SSL_CTX_set_num_tickets(ssl_context, 1) == 1 &&
           SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl_context, ticket_seal_or_open) == 1;
}

int tls_context_new(const struct tls_options *options, struct tls_tickets *tickets,
                    struct tls_context **ret_context, struct buffer *problem)
{
    struct tls_context *context = memory_calloc(1, sizeof(*context));
    SSL_CTX *ssl_context = SSL_CTX_new(TLS_server_method());
    int r = 0;
    if (context == NULL || ssl_context == NULL ||
        !context_set_rules(ssl_context, options->http2, tickets)) {
        r = tls_problem(problem, "cannot use TLS", "");
    }
    if (r == 0) {
        r = options->self_signed ? context_sign_self(ssl_context, options->previous, problem)
                                 : context_read_files(ssl_context, options, problem);
    }
    if (r == 0 && options->client_ca_file[0] != '\0') {
        r = context_ask_clients(ssl_context, options->client_ca_file, problem);
    }
    if (r < 0) {
        SSL_CTX_free(ssl_context);
        memory_free(context);
        return r;
    }
    context->ssl_context = ssl_context;
    *ret_context = context;
    return 0;
}

void tls_context_free(struct tls_context *context)
{
    if (context != NULL) {
        SSL_CTX_free(context->ssl_context);
        memory_free(context);
    }
}

void tls_context_spki(const struct tls_context *context, char text[TLS_SPKI_TEXT_MAX])
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    unsigned char *key = NULL;
    X509 *certificate = SSL_CTX_get0_certificate(context->ssl_context);
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &key);
    text[0] = '\0';
    if (len > 0) {
        SHA256(key, (size_t)len, digest);
        OPENSSL_free(key);
        static_assert(TLS_SPKI_TEXT_MAX > (SHA256_DIGEST_LENGTH + 2) / 3 * 4, "base64 fits");
        EVP_EncodeBlock((unsigned char *)text, digest, sizeof(digest));
    }
}
