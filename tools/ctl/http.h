/*
 * Requests to one server, through libcurl: HTTP/1.1 and HTTP/2, TLS, IPv6, Unix sockets. The
 * connection is kept for the next request. One request at a time.
 *
 * A publication is never repeated behind the caller's back: curl would send a request anew when a
 * kept connection turns out to be dead, and a hub that died after reading it would have it twice.
 *
 * Owned by one thread. The caller owns everything it passes in.
 */
#ifndef SPATE_CTL_HTTP_H
#define SPATE_CTL_HTTP_H

#include <curl/curl.h>

#include "core/base/buffer.h"

#ifdef __cplusplus
extern "C" {
#endif

struct http {
    CURL *easy;
    char *base;        /* the server's address, without a slash at its end */
    char *socket_path; /* of a Unix socket; NULL: none */
    const char *token; /* NULL: none */
    const char *ca_file;
    bool is_insecure; /* certificates are not checked */
    char problem[CURL_ERROR_SIZE];
};

enum http_outcome {
    HTTP_ANSWERED,    /* with whatever status */
    HTTP_UNREACHABLE, /* nothing has been sent */
    HTTP_BROKEN,      /* on the way; `problem` says how */
    HTTP_SILENT,      /* idle_seconds have passed without a byte */
    HTTP_STOPPED,     /* by on_body */
};

struct http_request {
    const char *method;
    const char *path;          /* already escaped, behind the server's address; or a whole URL */
    const char *content_type;  /* NULL: no body */
    const char *accept;        /* NULL: anything */
    const char *last_event_id; /* NULL: none */
    struct span body;
    /*
     * Takes the body of a 200 as it comes; false stops. NULL: the body is gathered. A body of any
     * other status is gathered always.
     */
    bool (*on_body)(void *context, struct span bytes);
    void *context;
    uint64_t idle_seconds; /* with on_body: how long it may be silent; 0: for ever */
};

struct http_answer {
    int status;
    uint64_t retry_after_seconds; /* 0: not told */
    const char *media_type;       /* valid until the next request; "" if not told */
    struct buffer body;           /* ends with a NUL that does not count */
};

/* HTTP[S]://HOST[:PORT][/PREFIX] or unix:/PATH. False if the address is neither. Connects not yet.
 */
bool http_init(struct http *http, const char *url);
void http_fini(struct http *http);

/* Sends and reads. The caller calls http_answer_fini() whatever comes. */
enum http_outcome http_ask(struct http *http, const struct http_request *request,
                           struct http_answer *answer);
void http_answer_fini(struct http_answer *answer);

#ifdef __cplusplus
}
#endif
#endif
