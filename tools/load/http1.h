/*
 * The little of HTTP/1.1 that a load generator reads: heads of responses, and chunked bodies (RFC
 * 9112). Not strict where strictness would only reject a server that browsers accept.
 *
 * This and tools/load/event_reader.h are all that knows how a response's bytes are framed; another
 * version of HTTP, or TLS, goes in front of the event reader in the same way.
 *
 * Pure functions over bytes; the state is the caller's.
 */
#ifndef SPATE_LOAD_HTTP1_H
#define SPATE_LOAD_HTTP1_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { HTTP1_HEAD_LEN_MAX = 16384 };

enum http1_outcome {
    HTTP1_DONE,
    HTTP1_MORE,
    HTTP1_BAD,
    HTTP1_LONG, /* a head of more than HTTP1_HEAD_LEN_MAX */
};

struct http1_head {
    size_t len; /* with its empty line */
    int status;
    bool is_chunked;
    bool is_event_stream;
    bool closes;     /* the connection ends with this response */
    bool has_length; /* of the body */
    uint64_t length;
};

/* Reads the head at the beginning of the bytes. HTTP1_MORE while it has not come whole. */
enum http1_outcome http1_head_read(const char *bytes, size_t len, struct http1_head *ret_head);

/* Zeroed: before the first chunk. */
struct http1_chunked {
    uint64_t left; /* of the chunk; while its size is read, the size so far */
    uint8_t phase; /* the .c file's */
    uint8_t digits;
};

/*
 * Takes some bytes, and yields at most one run of the body, which may be empty. The line end behind
 * a chunk is taken with its last bytes if it is there. HTTP1_DONE after the last chunk and its
 * trailers.
 */
enum http1_outcome http1_chunked_take(struct http1_chunked *chunked, struct span bytes,
                                      size_t *ret_consumed, struct span *ret_data);

/* Nothing of a chunk has been taken that is not complete. */
static inline bool http1_chunked_is_between(const struct http1_chunked *chunked)
{
    return chunked->phase == 0 && chunked->digits == 0;
}

/* A response whose body is of no interest, as it comes in. Zeroed: before its head. */
struct http1_response {
    struct http1_head head; /* valid once head.len > 0 */
    struct http1_chunked chunked;
    uint64_t left; /* of a body with a length */
};

/*
 * Reads on. While the head has not come whole it takes nothing: call again with all of it. Bytes
 * behind the end are left. A body without framing never ends.
 */
enum http1_outcome http1_response_take(struct http1_response *response, struct span bytes,
                                       size_t *ret_consumed);

#ifdef __cplusplus
}
#endif

#endif
