/*
 * The log-linear histogram against the sorted list of what was recorded. SPATE_TEST_SEED repeats a
 * run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>

#include "core/base/histogram.h"
#include "tests/unit/seeded.h"

enum { VALUE_COUNT = 20000, THREAD_VALUE_COUNT = 200000 };

static uint64_t run_seed;

/* Of any size: the number of its bits is drawn first. */
static uint64_t random_value(struct random *random)
{
    return random_next(random) >> (64 - 1 - random_below(random, HISTOGRAM_RANGE_BITS));
}

static int compare_values(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void test_buckets_cover_the_range_without_holes(void **state)
{
    (void)state;
    assert_int_equal(histogram_bucket_low(0), 0);
    for (unsigned i = 0; i < HISTOGRAM_BUCKET_COUNT; i++) {
        const uint64_t low = histogram_bucket_low(i);
        const uint64_t high = histogram_bucket_high(i);
        assert_true(low <= high);
        assert_int_equal(histogram_bucket_of(low), i);
        assert_int_equal(histogram_bucket_of(high), i);
        if (i + 1 < HISTOGRAM_BUCKET_COUNT) {
            assert_int_equal(histogram_bucket_low(i + 1), high + 1);
        }
        assert_true((high - low) * HISTOGRAM_OCTAVE_SIZE <= low);
    }
    assert_int_equal(histogram_bucket_high(HISTOGRAM_BUCKET_COUNT - 1), HISTOGRAM_VALUE_MAX);
    assert_int_equal(histogram_bucket_of(UINT64_MAX), HISTOGRAM_BUCKET_COUNT - 1);
}

static void test_an_empty_histogram_answers_zero(void **state)
{
    (void)state;
    static const struct histogram empty;
    assert_int_equal(histogram_count(&empty), 0);
    assert_int_equal(histogram_percentile(&empty, 50), 0);
    assert_int_equal(histogram_percentile(&empty, 100), 0);
    assert_true(histogram_mean(&empty) == 0);
    assert_int_equal(histogram_next(&empty, 0), HISTOGRAM_BUCKET_COUNT);
}

static void test_a_value_too_large_keeps_the_maximum_exact(void **state)
{
    (void)state;
    static struct histogram histogram;
    histogram_record(&histogram, 5);
    histogram_record(&histogram, UINT64_C(1) << 60);
    assert_int_equal(histogram_count(&histogram), 2);
    assert_int_equal(histogram_percentile(&histogram, 50), 5);
    assert_int_equal(histogram_percentile(&histogram, 100), UINT64_C(1) << 60);
    assert_int_equal(histogram_max(&histogram), UINT64_C(1) << 60);
    histogram_reset(&histogram);
    assert_int_equal(histogram_count(&histogram), 0);
    assert_int_equal(histogram_max(&histogram), 0);
}

static void test_percentiles_are_those_of_the_sorted_values(void **state)
{
    (void)state;
    static uint64_t values[VALUE_COUNT];
    static struct histogram histogram, halves[2];
    static const double percents[] = {0, 1, 25, 50, 75, 90, 99, 99.9, 99.99, 100};
    struct random random;
    random_init(&random, run_seed);
    uint64_t sum = 0;
    for (size_t i = 0; i < VALUE_COUNT; i++) {
        values[i] = random_value(&random);
        sum += values[i];
        histogram_record(&halves[i % 2], values[i]);
    }
    histogram_merge(&histogram, &halves[0]);
    histogram_merge(&histogram, &halves[1]);
    qsort(values, VALUE_COUNT, sizeof values[0], compare_values);

    assert_int_equal(histogram_count(&histogram), VALUE_COUNT);
    assert_int_equal(histogram_sum(&histogram), sum);
    assert_int_equal(histogram_max(&histogram), values[VALUE_COUNT - 1]);
    assert_true(fabs(histogram_mean(&histogram) - (double)sum / VALUE_COUNT) < 1);
    for (size_t i = 0; i < countof(percents); i++) {
        size_t rank = (size_t)ceil(percents[i] / 100 * VALUE_COUNT);
        const uint64_t exact = values[rank == 0 ? 0 : rank - 1];
        const uint64_t told = histogram_percentile(&histogram, percents[i]);
        assert_true(told >= exact);
        assert_true(told - exact <= exact / HISTOGRAM_OCTAVE_SIZE);
    }
    for (size_t i = 0; i < VALUE_COUNT; i += 97) {
        size_t at_most = i;
        const uint64_t high = histogram_bucket_high(histogram_bucket_of(values[i]));
        while (at_most < VALUE_COUNT && values[at_most] <= high) {
            at_most++;
        }
        assert_int_equal(histogram_count_at_most(&histogram, values[i]), at_most);
    }
}

static void test_walking_meets_every_value_once(void **state)
{
    (void)state;
    static struct histogram histogram;
    histogram_record_many(&histogram, 0, 3);
    histogram_record_many(&histogram, 1000, 2);
    histogram_record_many(&histogram, HISTOGRAM_VALUE_MAX, 1);
    histogram_record_many(&histogram, 77, 0);
    uint64_t count = 0, steps = 0;
    for (unsigned i = histogram_next(&histogram, 0); i < HISTOGRAM_BUCKET_COUNT;
         i = histogram_next(&histogram, i + 1)) {
        count += histogram_bucket_count(&histogram, i);
        steps++;
    }
    assert_int_equal(count, 6);
    assert_int_equal(steps, 3);
    assert_int_equal(histogram_sum(&histogram), 2000 + HISTOGRAM_VALUE_MAX);
}

static void *record_all(void *argument)
{
    struct histogram *histogram = argument;
    for (uint64_t i = 1; i <= THREAD_VALUE_COUNT; i++) {
        histogram_record(histogram, i);
    }
    return NULL;
}

/* For ThreadSanitizer, and: what a reader sees only grows. */
static void test_another_thread_may_read(void **state)
{
    (void)state;
    static struct histogram shared, copy;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, record_all, &shared), 0);
    uint64_t before = 0;
    while (before < THREAD_VALUE_COUNT) {
        histogram_reset(&copy);
        histogram_merge(&copy, &shared);
        const uint64_t count = histogram_count(&copy);
        assert_true(count >= before);
        assert_true(histogram_percentile(&copy, 99) <= THREAD_VALUE_COUNT);
        before = count;
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(histogram_max(&shared), THREAD_VALUE_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets_cover_the_range_without_holes),
        cmocka_unit_test(test_an_empty_histogram_answers_zero),
        cmocka_unit_test(test_a_value_too_large_keeps_the_maximum_exact),
        cmocka_unit_test(test_percentiles_are_those_of_the_sorted_values),
        cmocka_unit_test(test_walking_meets_every_value_once),
        cmocka_unit_test(test_another_thread_may_read),
    };
    run_seed = seed_of_run();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
