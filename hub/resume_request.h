/*
 * Where a subscriber asks to begin: Last-Event-ID, history= and since=, and what becomes of it.
 *
 * What the client saw last wins over where it once asked to begin, because EventSource repeats its
 * URL when it reconnects. The header wins over the query parameters of the same meaning.
 */
#ifndef SPATE_HUB_RESUME_REQUEST_H
#define SPATE_HUB_RESUME_REQUEST_H

#include "core/resume.h"
#include "hub/call.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { RESUME_ID_LEN_MAX = 64 };

struct resume_request {
    bool wanted;
    enum resume_kind kind;
    uint64_t value;
    struct span last_event_id; /* as given; empty if none */
    const char *gap;           /* "malformed", "epoch", "expired", "future"; NULL: none */
    uint64_t first_available;  /* with a gap: sequence, or 0 */
};

/* Takes one query parameter. 1: it was ours; 0: not; -EINVAL: it cannot be read. */
int resume_request_parameter(struct resume_request *request, struct span name, struct span value);

/* The parameters being read: looks at the header and decides what is asked. */
void resume_request_finish(struct resume_request *request, const struct call *call);

/* The subscriber has joined and is held: moves its cursor, and finds out about a gap. */
void resume_request_apply(struct resume_request *request, struct call *call);

/* Writes the `spate.gap` event: `{"reason":…,"requested":…,"first_available":…}`. */
void resume_write_gap(struct connection *connection, const char *reason, struct span requested,
                      uint64_t first_available);

#ifdef __cplusplus
}
#endif

#endif
