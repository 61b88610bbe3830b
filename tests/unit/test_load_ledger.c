/* What an arrival means, against a naive list of what was seen. SPATE_TEST_SEED repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/seeded.h"
#include "tools/load/ledger.h"

enum { SEQUENCE_COUNT = 100000, WINDOW = 64 };

static uint64_t run_seed;

static void test_the_first_decides_where_it_begins(void **state)
{
    (void)state;
    struct ledger ledger = {0};
    uint64_t first = 0;
    assert_int_equal(ledger_take(&ledger, 41, &first), LEDGER_NEXT);
    assert_int_equal(ledger_take(&ledger, 42, &first), LEDGER_NEXT);
    assert_int_equal(ledger_take(&ledger, 41, &first), LEDGER_DUPLICATE);
    assert_int_equal(ledger_take(&ledger, 40, &first), LEDGER_DUPLICATE);
    ledger = (struct ledger){.next = 1};
    assert_int_equal(ledger_take(&ledger, 3, &first), LEDGER_GAP);
    assert_int_equal(first, 1);
    assert_int_equal(ledger_take(&ledger, 1, &first), LEDGER_LATE);
    assert_int_equal(ledger_take(&ledger, 1, &first), LEDGER_DUPLICATE);
}

static void test_gaps_of_every_length(void **state)
{
    (void)state;
    for (uint64_t gap = 1; gap < 200; gap++) {
        struct ledger ledger = {.next = 1};
        uint64_t first = 0;
        assert_int_equal(ledger_take(&ledger, 1, &first), LEDGER_NEXT);
        assert_int_equal(ledger_take(&ledger, 2 + gap, &first), LEDGER_GAP);
        assert_int_equal(first, 2);
        assert_int_equal(ledger_take(&ledger, 2 + gap, &first), LEDGER_DUPLICATE);
        for (uint64_t i = 1; i <= gap; i++) {
            const uint64_t sequence = 2 + gap - i;
            assert_int_equal(ledger_take(&ledger, sequence, &first),
                             i < WINDOW ? LEDGER_LATE : LEDGER_DUPLICATE);
        }
        assert_int_equal(ledger_take(&ledger, 3 + gap, &first), LEDGER_NEXT);
    }
}

static void test_against_a_naive_model(void **state)
{
    (void)state;
    static bool seen[SEQUENCE_COUNT + 1];
    struct ledger ledger = {.next = 1};
    struct random random;
    random_init(&random, run_seed);
    uint64_t next = 1;
    while (next < SEQUENCE_COUNT) {
        uint64_t sequence = next;
        if (one_in(&random, 5)) {
            sequence += random_below(&random, 10);
        } else if (one_in(&random, 5)) {
            sequence -= random_below(&random, min_u64(next, WINDOW - 1));
        }
        sequence = min_u64(sequence, SEQUENCE_COUNT);
        uint64_t first = 0;
        const enum ledger_outcome outcome = ledger_take(&ledger, sequence, &first);
        if (sequence == next) {
            assert_int_equal(outcome, LEDGER_NEXT);
        } else if (sequence > next) {
            assert_int_equal(outcome, LEDGER_GAP);
            assert_int_equal(first, next);
        } else {
            assert_int_equal(outcome, seen[sequence] ? LEDGER_DUPLICATE : LEDGER_LATE);
        }
        seen[sequence] = true;
        next = max_u64(next, sequence + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_decides_where_it_begins),
        cmocka_unit_test(test_gaps_of_every_length),
        cmocka_unit_test(test_against_a_naive_model),
    };
    run_seed = seed_of_run();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
