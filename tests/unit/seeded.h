/*
 * What the randomised tests of core/ share: the seed of a run, which is printed so that a failure
 * can be repeated with SPATE_TEST_SEED, and frames with known text.
 */
#ifndef SPATE_TESTS_UNIT_SEEDED_H
#define SPATE_TESTS_UNIT_SEEDED_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/base/random.h"
#include "core/event_id.h"
#include "core/frame.h"

static inline uint64_t seed_of_run(void)
{
    const char *text = getenv("SPATE_TEST_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0)
                                 : (uint64_t)now.tv_sec * 1000000007U + (uint64_t)now.tv_nsec;
    printf("SPATE_TEST_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

static inline bool one_in(struct random *random, uint64_t bound)
{
    return random_below(random, bound) == 0;
}

/* Fills the text with bytes that differ from place to place and from frame to frame. */
static inline void text_fill(char *text, size_t len, uint64_t seed)
{
    for (size_t i = 0; i < len; i++) {
        text[i] = (char)('!' + (seed + i * (1 + seed % 7)) % 90);
    }
}

/* A frame of at least EVENT_ID_LEN bytes of text; NULL only when out of memory. */
static inline struct frame *frame_of(size_t text_len, size_t id_offset, uint64_t seed)
{
    struct frame *frame = frame_new(text_len, id_offset);
    if (frame != NULL) {
        text_fill(frame_text(frame), text_len, seed);
    }
    return frame;
}

#endif
