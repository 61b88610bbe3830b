/*
 * History: the retained frames of one channel in hub order, oldest first, found by sequence in
 * O(log n). It holds references to the very frames that were sent; there is no second copy.
 *
 *     evicted_sequence <  frames[0].sequence < frames[1].sequence < ...
 *
 * `evicted_sequence` is the place of the newest event of the channel that is no longer here (0:
 * none ever left). A reader at a position below it has missed something, and must be told.
 *
 * Threads: everything under the sequencer's lock.
 */
#ifndef SPATE_CORE_HISTORY_H
#define SPATE_CORE_HISTORY_H

#include "core/frame.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a channel may retain. Any zero means: retain nothing. */
struct history_limits {
    uint32_t count_max;
    uint64_t bytes_max;
    uint64_t age_ms_max;
};

struct history {
    union {
        struct frame **ring;
        struct frame *one; /* capacity 1: in place of a ring */
    } frames;
    uint32_t capacity; /* a power of two */
    uint32_t first;    /* index of the oldest in the ring */
    uint32_t count;
    uint64_t bytes; /* sum of frame_size */
    uint64_t evicted_sequence;
};

void history_init(struct history *history, uint64_t evicted_sequence);
/* Lets every frame go. */
void history_fini(struct history *history);

static inline bool history_is_enabled(const struct history_limits *limits)
{
    return limits->count_max > 0 && limits->bytes_max > 0 && limits->age_ms_max > 0;
}

/* Makes sure that `count` more appends will find room. 0 or -ENOMEM, then nothing has changed. */
int history_reserve(struct history *history, uint32_t count, const struct history_limits *limits);

/* Takes over one reference. Cannot fail after history_reserve. */
void history_append(struct history *history, struct frame *frame);

/*
 * Evicts the oldest while a limit is exceeded at `now_ms`. Evicted frames are chained onto
 * *released through frame->next: the caller lets them go after it has left the lock.
 */
void history_trim(struct history *history, const struct history_limits *limits, uint64_t now_ms,
                  struct frame **released);
/* Gives back the ring of an empty history. */
void history_shrink(struct history *history);
void history_evict_oldest(struct history *history, struct frame **released);

/* Index (0 = oldest) of the first frame whose sequence is greater than `after`; count if none. */
uint32_t history_find(const struct history *history, uint64_t after);
struct frame *history_at(const struct history *history, uint32_t index);

/* Lets go of a chain made by the functions above. */
void history_release(struct frame *released);

#ifdef __cplusplus
}
#endif

#endif
