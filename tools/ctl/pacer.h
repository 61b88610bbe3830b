/*
 * When the next event is due, at so many a second. The schedule is absolute: the time that an event
 * takes is not added to the time between two. Whoever is late catches up, but by no more than a
 * tenth of a second's worth, so that a pause does not end in a burst.
 *
 * Owned by one thread. Sleeps.
 */
#ifndef SPATE_CTL_PACER_H
#define SPATE_CTL_PACER_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct pacer {
    uint64_t interval_ns; /* between two events; 0: none ever waits */
    uint64_t due_ns;      /* of the next event, monotonic */
};

#define PACER_CATCH_UP_NS ((uint64_t)100000000)

/* The first event is due now. */
void pacer_init(struct pacer *pacer, uint64_t interval_ns);
/* Waits until an event is due; returns how many may go now, at least 1 and at most `most`. */
size_t pacer_wait(struct pacer *pacer, size_t most);
/* So many have gone. */
void pacer_spend(struct pacer *pacer, size_t count);

#ifdef __cplusplus
}
#endif
#endif
