/*
 * A call: one whole request and the answer that is being made to it.
 *
 * It lives on the stack while the request is answered; nothing may keep a pointer to it. Answers
 * that take longer (lists, errands) copy what they need.
 *
 * Owned by the shard's thread.
 */
#ifndef SPATE_HUB_CALL_H
#define SPATE_HUB_CALL_H

#include "hub/shard.h"
#include "proto/http_head.h"
#include "proto/uri.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { CALL_SEGMENTS_MAX = 4, CALL_HEADERS_MAX = 640 };

struct idempotency_entry;

struct call {
    struct connection *connection;
    struct shard *shard;
    const struct config *config;
    const struct http_request *request;
    struct span body;
    bool head_only; /* HEAD: the answer has no body */
    unsigned segment_count;
    struct span segments[CALL_SEGMENTS_MAX]; /* of the path, decoded */
    struct idempotency_entry *idempotency; /* held by this request until it is answered, or NULL */
    size_t scratch_used;
    size_t cors_len;
    char cors[CALL_HEADERS_MAX]; /* header lines that say who may read the answer */
};

/* Routes the request and answers it, or begins to. */
void call_answer(struct connection *connection, const struct http_request *request,
                 struct span body);

/* Room that is valid for the length of the call; NULL if there is no more. */
char *call_scratch(struct call *call, size_t size);

/* The value of a header field, or an empty span with NULL bytes. */
static inline struct span call_field(const struct call *call, const char *name)
{
    const struct http_field *field = http_request_find(call->request, name);
    return field == NULL ? span_make(NULL, 0) : field->value;
}

/*
 * The next parameter of a query or form, decoded. Returns 1, 0 at the end, or -EINVAL for a broken
 * percent escape (or when the scratch room is used up).
 */
int call_parameter(struct call *call, struct uri_query *query, struct span *ret_name,
                   struct span *ret_value);

/* Whether the client's name, channel or client, is one: see docs/http.md. */
bool call_name_is_valid(const struct call *call, struct span name);

#ifdef __cplusplus
}
#endif

#endif
