/*
 * A micro-benchmark is a function that does one thing `count` times, on a world that another
 * function has made. They are written in C; register.cc hands them to Google Benchmark, and
 * micro_count.c runs one of them for callgrind, which counts instructions.
 */
#ifndef SPATE_BENCH_MICRO_MICRO_H
#define SPATE_BENCH_MICRO_MICRO_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct micro {
    const char *name;
    void *(*set_up)(void); /* may give NULL if there is no world */
    void (*run)(void *world, uint64_t count);
    void (*tear_down)(void *world);
    uint64_t items;     /* deliveries or so in one operation; 0 is 1 */
    uint64_t batch;     /* how often Google Benchmark lets it run between two looks at the clock */
    bool is_concurrent; /* other threads take part: wall time counts, and instructions do not */
};

/* All of them; ends with a name of NULL. */
const struct micro *micro_all(void);

/* One list for each file; each ends with a name of NULL. */
extern const struct micro micro_channel[];
extern const struct micro micro_fanout[];
extern const struct micro micro_frame[];
extern const struct micro micro_http_head[];
extern const struct micro micro_json[];
extern const struct micro micro_queue[];
extern const struct micro micro_sequencer[];
extern const struct micro micro_shards[];

/* Makes the compiler believe that the value is used. */
static inline void micro_keep(const void *value)
{
    __asm__ volatile("" : : "r"(value) : "memory");
}

#ifdef __cplusplus
}
#endif

#endif
