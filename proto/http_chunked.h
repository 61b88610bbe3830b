/*
 * Decodes a chunked body as it comes in (RFC 9112, 7.1), without copying it.
 *
 *     5;name=value CRLF   chunk size in hexadecimal, extensions that nobody here understands
 *     hello CRLF
 *     0 CRLF              the last chunk
 *     Name: value CRLF    trailer fields, validated like those of a head, then ignored
 *     CRLF
 *
 * Strict for the same reason as http_head.h: sizes have 1 to 16 digits and nothing around them,
 * lines end in CRLF alone, a chunk ends exactly where its size says, extensions have the form of
 * the RFC but without its "bad" whitespace, and Content-Length, Transfer-Encoding and Host may not
 * come as trailers. What is not the body itself is bounded per body, so that it cannot cost more
 * than a body may; how long a body may be is for the caller to say.
 *
 * Any thread; all the state is in the struct, which owns nothing.
 */
#ifndef SPATE_PROTO_HTTP_CHUNKED_H
#define SPATE_PROTO_HTTP_CHUNKED_H

#include "core/base/base.h"
#include "proto/http_head.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    /* All extensions of one body together; nothing that is in use sends any. */
    HTTP_CHUNK_EXTENSION_LEN_MAX = 1024,
    /* All trailer lines together. */
    HTTP_TRAILER_LEN_MAX = 4096,
    /* Enough to tell the names that are refused, the longest of which is Transfer-Encoding. */
    HTTP_TRAILER_NAME_LEN_KEPT = 18,
};

struct http_chunked {
    /* Bytes of the current chunk that have not come yet; while its size is read, the size so far.
     */
    uint64_t chunk_left;
    uint32_t extension_len;
    uint32_t trailer_len;
    /* An enum of the .c file: what the next byte belongs to. */
    uint8_t state;
    uint8_t size_digit_count;
    uint8_t trailer_name_len;
    /* The beginning of the name of the current trailer field. */
    char trailer_name[HTTP_TRAILER_NAME_LEN_KEPT];
};

void http_chunked_init(struct http_chunked *chunked);

/*
 * Takes some of the bytes and yields at most one run of the body.
 *
 *   HTTP_MORE   *ret_consumed bytes have been taken, at least one if there was any; *ret_data,
 * which may be empty, is a part of them. Call again with the rest, or when more have come HTTP_DONE
 * the same, and the body has ended; what is behind *ret_consumed is the next request HTTP_BAD
 * *ret_problem says why: 400, 413 (extensions) or 431 (trailers)
 *
 * Not to be called again after HTTP_DONE or HTTP_BAD.
 */
enum http_outcome http_chunked_feed(struct http_chunked *chunked, const char *bytes, size_t len,
                                    size_t *ret_consumed, struct span *ret_data,
                                    struct http_problem *ret_problem);

#ifdef __cplusplus
}
#endif

#endif
