#include "core/base/histogram.h"

static_assert(HISTOGRAM_RANGE_BITS > HISTOGRAM_PRECISION_BITS, "at least one octave");

uint64_t histogram_bucket_low(unsigned bucket_index)
{
    CHECK(bucket_index < HISTOGRAM_BUCKET_COUNT);
    unsigned octave = bucket_index / HISTOGRAM_OCTAVE_SIZE;
    unsigned shift = octave == 0 ? 0 : octave - 1;
    return (uint64_t)(bucket_index - shift * HISTOGRAM_OCTAVE_SIZE) << shift;
}

uint64_t histogram_bucket_high(unsigned bucket_index)
{
    return bucket_index + 1 < HISTOGRAM_BUCKET_COUNT ? histogram_bucket_low(bucket_index + 1) - 1
                                                     : HISTOGRAM_VALUE_MAX;
}

void histogram_merge(struct histogram *histogram, const struct histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKET_COUNT; i++) {
        uint64_t count = histogram_bucket_count(from, i);
        if (count > 0) {
            histogram_add_to(&histogram->buckets[i], count);
        }
    }
    histogram_add_to(&histogram->sum, histogram_sum(from));
    __atomic_store_n(&histogram->max, max_u64(histogram->max, histogram_max(from)),
                     __ATOMIC_RELAXED);
}

void histogram_reset(struct histogram *histogram)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKET_COUNT; i++) {
        __atomic_store_n(&histogram->buckets[i], 0, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&histogram->sum, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&histogram->max, 0, __ATOMIC_RELAXED);
}

uint64_t histogram_count(const struct histogram *histogram)
{
    return histogram_count_at_most(histogram, HISTOGRAM_VALUE_MAX);
}

uint64_t histogram_count_at_most(const struct histogram *histogram, uint64_t value)
{
    const unsigned last = histogram_bucket_of(value);
    uint64_t count = 0;
    for (unsigned i = 0; i <= last; i++) {
        count += histogram_bucket_count(histogram, i);
    }
    return count;
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent)
{
    const uint64_t count = histogram_count(histogram);
    const double wanted = percent / 100 * (double)count;
    uint64_t seen = 0;
    unsigned last = HISTOGRAM_BUCKET_COUNT;
    for (unsigned i = histogram_next(histogram, 0); i < HISTOGRAM_BUCKET_COUNT;
         i = histogram_next(histogram, i + 1)) {
        last = i;
        seen += histogram_bucket_count(histogram, i);
        if ((double)seen >= wanted || seen >= count) {
            break;
        }
    }
    if (last == HISTOGRAM_BUCKET_COUNT) {
        return 0;
    }
    /* The last bucket holds whatever was too large for the range. */
    if (last + 1 == HISTOGRAM_BUCKET_COUNT) {
        return histogram_max(histogram);
    }
    return min_u64(histogram_bucket_high(last), histogram_max(histogram));
}

double histogram_mean(const struct histogram *histogram)
{
    const uint64_t count = histogram_count(histogram);
    return count == 0 ? 0 : (double)histogram_sum(histogram) / (double)count;
}

unsigned histogram_next(const struct histogram *histogram, unsigned bucket_index)
{
    while (bucket_index < HISTOGRAM_BUCKET_COUNT &&
           histogram_bucket_count(histogram, bucket_index) == 0) {
        bucket_index++;
    }
    return bucket_index;
}
