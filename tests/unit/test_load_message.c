/* A message says what was put in, and nothing that was changed passes for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/seeded.h"
#include "tools/load/message.h"

static uint64_t run_seed;

static struct message random_message(struct random *random)
{
    return (struct message){
        .run = (uint32_t)random_next(random),
        .channel = (uint32_t)random_below(random, MESSAGE_CHANNEL_COUNT_MAX + 1),
        .slot = (uint32_t)random_below(random, MESSAGE_SLOT_COUNT_MAX),
        .sequence = random_below(random, UINT64_C(1) << 40),
        .due_ns = random_below(random, UINT64_C(1) << 56),
    };
}

static void test_it_comes_back_from_anywhere_in_a_line(void **state)
{
    (void)state;
    static char line[2100];
    struct random random;
    random_init(&random, run_seed);
    for (int i = 0; i < 2000; i++) {
        const struct message in = random_message(&random);
        const size_t len = MESSAGE_LEN_MIN + random_below(&random, 1000);
        const size_t before = random_below(&random, 500);
        const size_t after = random_below(&random, 500);
        struct message out;
        memset(line, 'S', sizeof line);
        message_write(&in, line + before, len);
        assert_int_equal(message_read(span_make(line, before + len + after), &out), MESSAGE_OK);
        assert_int_equal(in.run, out.run);
        assert_int_equal(in.channel, out.channel);
        assert_int_equal(in.slot, out.slot);
        assert_int_equal(in.sequence, out.sequence);
        assert_int_equal(in.due_ns, out.due_ns);
    }
}

static void test_every_changed_byte_is_seen(void **state)
{
    (void)state;
    enum { LEN = 200 };
    char bytes[LEN];
    struct random random;
    random_init(&random, run_seed);
    const struct message in = random_message(&random);
    message_write(&in, bytes, LEN);
    for (size_t at = 0; at < LEN; at++) {
        for (unsigned value = 0; value < 256; value++) {
            const char right = bytes[at];
            struct message out;
            if ((char)value == right) {
                continue;
            }
            bytes[at] = (char)value;
            const enum message_outcome outcome = message_read(span_make(bytes, LEN), &out);
            /* Without its first letters it is not recognised, and so is missed as a sequence. */
            assert_int_equal(outcome, at < 4 ? MESSAGE_FOREIGN : MESSAGE_CORRUPT);
            bytes[at] = right;
        }
    }
}

static void test_what_is_cut_short_is_corrupt(void **state)
{
    (void)state;
    char bytes[MESSAGE_LEN_MIN + 10];
    const struct message in = {.run = 1, .sequence = 1};
    struct message out;
    message_write(&in, bytes, sizeof bytes);
    for (size_t len = 4; len < sizeof bytes; len++) {
        assert_int_equal(message_read(span_make(bytes, len), &out), MESSAGE_CORRUPT);
    }
    assert_int_equal(message_read(span_of("{\"temperature\":21}"), &out), MESSAGE_FOREIGN);
    assert_int_equal(message_read(span_make(NULL, 0), &out), MESSAGE_FOREIGN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_comes_back_from_anywhere_in_a_line),
        cmocka_unit_test(test_every_changed_byte_is_seen),
        cmocka_unit_test(test_what_is_cut_short_is_corrupt),
    };
    run_seed = seed_of_run();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
