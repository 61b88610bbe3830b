/*
 * Server-Sent Events as the WHATWG HTML standard defines them (section 9.2, "Server-sent events").
 *
 * An event's data is split into one `data` field per line, at LF, CR and CRLF alike, because a
 * client cannot tell them apart; the client joins the lines with LF. A single space follows the
 * colon, so that data beginning with a space keeps it. Empty data is one empty `data` field:
 * without it the client would not dispatch the event.
 *
 *   event: push
 *   id: <left for the caller to fill in>
 *   retry: 3000
 *   data: first line
 *   data: second line
 *   <empty line>
 *
 * Pure functions; nothing is allocated.
 */
#ifndef SPATE_PROTO_SSE_H
#define SPATE_PROTO_SSE_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct sse_event {
    struct span type; /* empty: none, the client calls it "message" */
    struct span data; /* valid UTF-8 */
    bool has_retry;
    uint32_t retry_ms;
};

/* A type (or an id) may not contain CR, LF or NUL: they would end the line or void the id. */
bool sse_field_is_valid(struct span text);

/* Bytes of the encoded event with an id of `id_len` characters. */
size_t sse_event_size(const struct sse_event *event, size_t id_len);

/*
 * Writes exactly sse_event_size bytes to `out`, except the id's characters, which are left as they
 * are at *ret_id_offset.
 */
void sse_event_write(const struct sse_event *event, size_t id_len, char *out,
                     size_t *ret_id_offset);

/* The next line of *rest, without its end, taken off *rest; false when nothing is left. */
struct sse_lines {
    struct span rest;
    const char *next_cr; /* first CR at or after rest, or its end */
    bool done;
};

void sse_lines_init(struct sse_lines *lines, struct span data);
bool sse_lines_next(struct sse_lines *lines, struct span *ret_line);

#ifdef __cplusplus
}
#endif

#endif
