/*
 * Resuming: from what a subscriber asks for to a position in the hub's order.
 *
 * A subscriber may name the last event it saw, a time, a number of events, or the beginning. Asked
 * right after it has joined its channels, while it is still held, the answer is exact: everything
 * after the position that is retained will be replayed, everything newer comes live, nothing twice.
 * Channels that have let events go do not cut short what the others retain.
 *
 * Threads: any; takes the sequencer's lock once, for O(channels * log^2 events).
 */
#ifndef SPATE_CORE_RESUME_H
#define SPATE_CORE_RESUME_H

#include "core/sequencer.h"
#include "core/subscriber.h"

#ifdef __cplusplus
extern "C" {
#endif

enum resume_kind {
    RESUME_AFTER,    /* value: sequence of the last event seen */
    RESUME_LAST,     /* value: number of events, over all of the subscriber's channels */
    RESUME_SINCE,    /* value: Unix ms; events published then or later */
    RESUME_EARLIEST, /* everything retained */
};

struct resume_point {
    uint64_t position;        /* replay begins behind it */
    uint64_t complete_after;  /* see struct subscriber: the owner tells what is missing */
    uint64_t first_available; /* sequence of the first event behind it that is retained; 0: none */
    bool is_expired;          /* RESUME_AFTER: something after `value` is no longer retained */
    bool is_future;           /* RESUME_AFTER: `value` has not happened */
};

/*
 * Resolves for a subscriber that has joined. From an expired RESUME_AFTER on, everything retained
 * is replayed, with holes; a future one gives everything that is retained at all.
 */
struct resume_point resume_resolve(struct sequencer *sequencer, struct subscriber *subscriber,
                                   enum resume_kind kind, uint64_t value);

#ifdef __cplusplus
}
#endif

#endif
