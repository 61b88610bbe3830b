/*
 * Answers: status lines, header fields and problem documents (RFC 9457), written to the outbox.
 *
 * Owned by the shard's thread. Running out of memory closes the connection (see connection_write).
 */
#ifndef SPATE_HUB_RESPONSE_H
#define SPATE_HUB_RESPONSE_H

#include "core/base/buffer.h"
#include "hub/call.h"

#ifdef __cplusplus
extern "C" {
#endif

struct json_error_t;

#define RESPONSE_JSON    "application/json"
#define RESPONSE_PROBLEM "application/problem+json"
#define RESPONSE_TEXT    "text/plain; charset=utf-8"

struct response {
    int status;
    const char *content_type; /* NULL: no body */
    struct span headers;      /* further lines, each ended by CRLF */
    struct span body;
};

void response_send(struct call *call, const struct response *response);

/* A problem document. The detail is shown to a person: say what is wrong and what would be right.
 */
__attribute__((format(printf, 3, 4))) void response_problem(struct call *call, int status,
                                                            const char *format, ...);
/* The same with further header lines. */
void response_problem_with(struct call *call, int status, struct span headers, const char *detail);

/*
 * "Not now": 503 with Retry-After; but a browser's EventSource gives up for good on anything but
 * 200, so a request that accepts text/event-stream gets an empty stream that says when to come
 * back.
 */
void response_not_now(struct call *call, const char *detail);

/*
 * A body that jansson could not read: 400, with the place; or 422 for a number that no double
 * holds, which is JSON all the same, but not for every reader (RFC 8259, section 6).
 */
void response_not_json(struct call *call, const struct json_error_t *error);

/* The head of an answer whose body comes in chunks (or until the end, for HTTP/1.0). */
void response_begin(struct call *call, const char *content_type, struct span headers);

/* A small answer whose call is over. */
void response_send_late(struct connection *connection, int status, const char *content_type,
                        struct span body);
/* A request that could not be parsed has no call. */
void response_refuse(struct connection *connection, const struct http_problem *problem);

/*
 * The beginning of a stream, at once, so that proxies and clients see it begin: a comment, the id
 * of the place where it begins, and a `retry:`. With the id, also a client that is cut off before
 * its first event can resume.
 */
void response_stream_first_words(struct connection *connection, bool with_place);
/* A `retry:` field, jittered around the configured mean, as a piece of a stream. */
void response_stream_retry(struct connection *connection);

#ifdef __cplusplus
}
#endif

#endif
