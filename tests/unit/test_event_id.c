/*
 * Event ids: both ways, against digits looked up by hand, and every text that is not one.
 * SPATE_TEST_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/seeded.h"

static uint64_t run_seed;

static void test_known_ids(void **state)
{
    (void)state;
    static const struct {
        uint64_t epoch;
        uint64_t sequence;
        const char *text;
    } known[] = {
        {0, 0, "0000000-000000000000"},
        {31, 32, "000000v-000000000010"},
        {EVENT_ID_EPOCH_MASK, EVENT_ID_SEQUENCE_MAX, "vvvvvvv-vvvvvvvvvvvv"},
        {1ULL << 30, 1ULL << 55, "1000000-100000000000"},
        /* 1000 is 31 * 32 + 8, 33825 is 1 * 32768 + 1 * 1024 + 1 * 32 + 1. */
        {1000, 33825, "00000v8-000000001111"},
    };
    for (unsigned i = 0; i < countof(known); i++) {
        char text[EVENT_ID_LEN];
        uint64_t epoch;
        uint64_t sequence;
        event_id_write(text, known[i].epoch, known[i].sequence);
        assert_memory_equal(text, known[i].text, EVENT_ID_LEN);
        assert_true(event_id_parse(span_of(known[i].text), &epoch, &sequence));
        assert_int_equal(epoch, known[i].epoch);
        assert_int_equal(sequence, known[i].sequence);
    }
}

static void test_ids_come_back_and_sort(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, run_seed);
    char previous[EVENT_ID_LEN];
    uint64_t previous_sequence = 0;
    event_id_write(previous, 7, 0);
    for (unsigned i = 0; i < 100000; i++) {
        char text[EVENT_ID_LEN + 1];
        uint64_t epoch = random_next(&random) & EVENT_ID_EPOCH_MASK;
        uint64_t sequence = random_next(&random) & EVENT_ID_SEQUENCE_MAX;
        sequence >>= random_below(&random, 60);
        text[EVENT_ID_LEN] = '#';
        event_id_write(text, epoch, sequence);
        assert_int_equal(text[EVENT_ID_LEN], '#');
        uint64_t parsed_epoch;
        uint64_t parsed_sequence;
        assert_true(event_id_parse(span_make(text, EVENT_ID_LEN), &parsed_epoch, &parsed_sequence));
        assert_int_equal(parsed_epoch, epoch);
        assert_int_equal(parsed_sequence, sequence);
        /* Of one epoch, they sort as text like their numbers. */
        event_id_write(text, 7, sequence);
        int order = memcmp(text, previous, EVENT_ID_LEN);
        assert_int_equal(order > 0, sequence > previous_sequence);
        assert_int_equal(order == 0, sequence == previous_sequence);
        memcpy(previous, text, EVENT_ID_LEN);
        previous_sequence = sequence;
    }
}

static void test_what_is_not_an_id(void **state)
{
    (void)state;
    static const char good[] = "abc0129-v00000000001";
    uint64_t epoch = 42;
    uint64_t sequence = 43;
    assert_false(event_id_parse(span_make(NULL, 0), &epoch, &sequence));
    for (size_t len = 0; len < EVENT_ID_LEN; len++) {
        assert_false(event_id_parse(span_make(good, len), &epoch, &sequence));
    }
    assert_false(event_id_parse(span_of("abc0129-v000000000010"), &epoch, &sequence));
    /* Any other character, anywhere. */
    for (size_t at = 0; at < EVENT_ID_LEN; at++) {
        for (unsigned c = 0; c < 256; c++) {
            char text[EVENT_ID_LEN];
            memcpy(text, good, EVENT_ID_LEN);
            text[at] = (char)c;
            bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'v');
            uint64_t ignored[2];
            assert_int_equal(
                event_id_parse(span_make(text, EVENT_ID_LEN), &ignored[0], &ignored[1]),
                at == EVENT_ID_EPOCH_DIGITS ? c == '-' : digit);
        }
    }
    assert_int_equal(epoch, 42);
    assert_int_equal(sequence, 43);
}

int main(void)
{
    run_seed = seed_of_run();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_ids),
        cmocka_unit_test(test_ids_come_back_and_sort),
        cmocka_unit_test(test_what_is_not_an_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
