/*
 * A small blocking HTTP/1.1 client, for one server and one request at a time. It keeps the
 * connection for the next request. A request is never sent twice: a publication that may have
 * arrived is not repeated.
 *
 * Owned by one thread. The caller owns everything it passes in. Errors are negative errno values.
 */
#ifndef SPATE_CTL_HTTP_H
#define SPATE_CTL_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HTTP_BUFFER_SIZE 32768 /* also the limit of a response's head */

struct http {
    char host[256];
    char port[8];
    char token[512]; /* empty: no Authorization */
    int fd;          /* -1: not connected */
    bool is_chunked;
    bool is_ended;         /* the body has been read */
    bool until_close;      /* the end of the connection ends the body */
    bool first_chunk;      /* no chunk has been read yet */
    bool closes;           /* the server closes after this response */
    size_t body_remaining; /* of the body, or of the chunk */
    size_t begin, end;     /* what is read and not yet used of buffer */
    char buffer[HTTP_BUFFER_SIZE];
};

struct http_request {
    const char *method;
    const char *path;         /* already escaped */
    const char *content_type; /* NULL: no body */
    const char *body;
    size_t body_size;
    const char *last_event_id; /* NULL: none */
    bool is_stream;            /* may be silent for as long as it likes */
};

/* Takes the address http://HOST[:PORT]; -EINVAL if it is not one. Does not connect. */
int http_init(struct http *http, const char *url);
void http_fini(struct http *http);

/* Connects if there is no living connection. Five seconds at most for each address. */
int http_connect(struct http *http);

/* Sends and reads the head. Returns the status. Needs a successful http_connect() just before. */
int http_send(struct http *http, const struct http_request *request);

/* Reads some of the body; 0 at its end. */
ssize_t http_read(struct http *http, char *bytes, size_t size);

#ifdef __cplusplus
}
#endif
#endif
