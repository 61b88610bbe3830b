/*
 * A log-linear histogram of fixed size, as HdrHistogram's: how often which value was seen, with a
 * bounded relative error over the whole range. Units are the caller's.
 *
 *   value   0 .. 127 | 128 .. 255 | 256 .. 511 | 512 .. 1023 | ...  each octave has 128 buckets,
 *   width       1    |     1      |     2      |      4      |      so a bucket is never wider than
 *                                                                   1/128 of the values in it
 *
 * A zeroed histogram is empty. Values above HISTOGRAM_VALUE_MAX are counted there; `max` stays
 * exact. Recording costs a few nanoseconds, whatever the value.
 *
 * Threads: one writer. Any thread may read, merge from or ask for percentiles meanwhile (relaxed
 * loads pair with the writer's relaxed stores); such a reader sees each bucket at some moment, not
 * all at the same moment, and is consistent in itself because the total is summed from the buckets.
 */
#ifndef SPATE_CORE_BASE_HISTOGRAM_H
#define SPATE_CORE_BASE_HISTOGRAM_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    HISTOGRAM_PRECISION_BITS = 7, /* a relative error of at most 1/128 */
    HISTOGRAM_RANGE_BITS = 42,    /* in nanoseconds, an hour and a quarter */
    HISTOGRAM_OCTAVE_SIZE = 1 << HISTOGRAM_PRECISION_BITS,
    HISTOGRAM_BUCKET_COUNT =
        (HISTOGRAM_RANGE_BITS - HISTOGRAM_PRECISION_BITS + 1) * HISTOGRAM_OCTAVE_SIZE,
};

#define HISTOGRAM_VALUE_MAX ((UINT64_C(1) << HISTOGRAM_RANGE_BITS) - 1)

struct histogram {
    uint64_t sum; /* of the values as given */
    uint64_t max; /* the largest value as given */
    uint64_t buckets[HISTOGRAM_BUCKET_COUNT];
};

static inline unsigned histogram_bucket_of(uint64_t value)
{
    value = min_u64(value, HISTOGRAM_VALUE_MAX);
    /* The octave's number; values below two octaves' worth have buckets of their own. */
    unsigned shift =
        63 - (unsigned)__builtin_clzll(value | HISTOGRAM_OCTAVE_SIZE) - HISTOGRAM_PRECISION_BITS;
    return shift * HISTOGRAM_OCTAVE_SIZE + (unsigned)(value >> shift);
}

/* The smallest and the largest value of a bucket. */
uint64_t histogram_bucket_low(unsigned bucket_index);
uint64_t histogram_bucket_high(unsigned bucket_index);

/* Counters have one writer, so adding needs no locked instruction. */
static inline void histogram_add_to(uint64_t *counter, uint64_t amount)
{
    __atomic_store_n(counter, *counter + amount, __ATOMIC_RELAXED);
}

/* Records that `value` was seen `count` times. */
static inline void histogram_record_many(struct histogram *histogram, uint64_t value,
                                         uint64_t count)
{
    histogram_add_to(&histogram->buckets[histogram_bucket_of(value)], count);
    histogram_add_to(&histogram->sum, value * count);
    if (unlikely(value > histogram->max) && count > 0) {
        __atomic_store_n(&histogram->max, value, __ATOMIC_RELAXED);
    }
}

static inline void histogram_record(struct histogram *histogram, uint64_t value)
{
    histogram_record_many(histogram, value, 1);
}

/* Adds what `from` holds; another thread may be recording into it. */
void histogram_merge(struct histogram *histogram, const struct histogram *from);
void histogram_reset(struct histogram *histogram);

static inline uint64_t histogram_bucket_count(const struct histogram *histogram,
                                              unsigned bucket_index)
{
    return __atomic_load_n(&histogram->buckets[bucket_index], __ATOMIC_RELAXED);
}

static inline uint64_t histogram_max(const struct histogram *histogram)
{
    return __atomic_load_n(&histogram->max, __ATOMIC_RELAXED);
}

static inline uint64_t histogram_sum(const struct histogram *histogram)
{
    return __atomic_load_n(&histogram->sum, __ATOMIC_RELAXED);
}

/* How many values were recorded. Walks the buckets. */
uint64_t histogram_count(const struct histogram *histogram);
/* How many of them are not above `value`, to the precision of a bucket. */
uint64_t histogram_count_at_most(const struct histogram *histogram, uint64_t value);
/*
 * A value that at least `percent` of 100 of the values do not exceed: the upper end of its bucket,
 * and never more than the exact maximum. 0 if nothing was recorded.
 */
uint64_t histogram_percentile(const struct histogram *histogram, double percent);
/* The arithmetic mean; 0 if nothing was recorded. */
double histogram_mean(const struct histogram *histogram);

/*
 * The first bucket from `bucket_index` on that is not empty, or HISTOGRAM_BUCKET_COUNT. To walk
 * them: i = histogram_next(h, 0), then i = histogram_next(h, i + 1).
 */
unsigned histogram_next(const struct histogram *histogram, unsigned bucket_index);

#ifdef __cplusplus
}
#endif

#endif
