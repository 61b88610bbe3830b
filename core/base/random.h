/*
 * A small seeded generator (splitmix64) for jitter, generated ids and tests. Not for secrets.
 * Owned by one thread. A hub seeds one per shard from the kernel; the simulator from its own seed.
 */
#ifndef SPATE_CORE_BASE_RANDOM_H
#define SPATE_CORE_BASE_RANDOM_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct random {
    uint64_t state;
};

static inline void random_init(struct random *random, uint64_t seed)
{
    random->state = seed;
}

static inline uint64_t random_next(struct random *random)
{
    uint64_t z = (random->state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

/* Uniform in [0, bound); 0 for a bound of 0. The bias is below 2^-32 for the bounds used here. */
static inline uint64_t random_below(struct random *random, uint64_t bound)
{
    return bound == 0 ? 0 : (uint64_t)(((unsigned __int128)random_next(random) * bound) >> 64);
}

#ifdef __cplusplus
}
#endif

#endif
