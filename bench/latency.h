/*
 * A histogram of times in nanoseconds, exact to 1/64: 64 buckets for every power of two.
 */
#ifndef SPATE_BENCH_LATENCY_H
#define SPATE_BENCH_LATENCY_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LATENCY_STEPS = 64, LATENCY_BUCKETS = 60 * LATENCY_STEPS };

struct latency {
    uint64_t counts[LATENCY_BUCKETS];
    uint64_t total;
    uint64_t max;
};

static inline void latency_reset(struct latency *latency)
{
    memset(latency, 0, sizeof(*latency));
}

static inline void latency_add(struct latency *latency, uint64_t ns)
{
    unsigned bucket = (unsigned)ns;
    if (ns >= 2 * LATENCY_STEPS) {
        unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - 6;
        bucket = shift * LATENCY_STEPS + (unsigned)(ns >> shift);
    }
    latency->counts[bucket]++;
    latency->total++;
    latency->max = ns > latency->max ? ns : latency->max;
}

/* The time below which `share` (0 to 1) of all lie; 0 if there are none. */
static inline double latency_percentile(const struct latency *latency, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)latency->total);
    uint64_t seen = 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        seen += latency->counts[i];
        if (seen > wanted || (seen == latency->total && seen > 0)) {
            unsigned shift = i < 2 * LATENCY_STEPS ? 0 : i / LATENCY_STEPS - 1;
            return (double)((uint64_t)(i - shift * LATENCY_STEPS) << shift);
        }
    }
    return 0;
}

#ifdef __cplusplus
}
#endif

#endif
