/*
 * Deadlines of very many owners, none of them exact: a ring of time slots, each a list.
 *
 * One node per owner, moved by re-adding it. Adding and removing are O(1); a deadline comes due at
 * most one slot late, never early. Deadlines beyond the ring's horizon go round: their slot is
 * looked at once per round. Nodes that come due are handed out in slices, so that half a million
 * heartbeats falling into one moment do not hold up the loop.
 *
 * Time is the owner's monotonic milliseconds. One thread.
 */
#ifndef SPATE_CORE_BASE_WHEEL_H
#define SPATE_CORE_BASE_WHEEL_H

#include "core/base/list.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { WHEEL_SLOT_COUNT = 128, WHEEL_SLOT_MS = 128 };

struct wheel_node {
    struct list link;
    uint64_t deadline_ms;
};

struct wheel {
    uint64_t tick; /* slots up to this one have been emptied */
    uint64_t count;
    struct list due; /* came due, not handed out yet */
    struct list slots[WHEEL_SLOT_COUNT];
};

void wheel_init(struct wheel *wheel, uint64_t now_ms);

/* (Re)sets the node's deadline. */
void wheel_set(struct wheel *wheel, struct wheel_node *node, uint64_t deadline_ms);
void wheel_remove(struct wheel *wheel, struct wheel_node *node);

/* The next node whose deadline has passed, taken off the wheel; NULL if there is none now. */
struct wheel_node *wheel_take(struct wheel *wheel, uint64_t now_ms);

/* Milliseconds until something may come due; UINT64_MAX if the wheel is empty. */
uint64_t wheel_wait_ms(const struct wheel *wheel, uint64_t now_ms);

#ifdef __cplusplus
}
#endif

#endif
