/*
 * Frames: both views against wire bytes written by hand, the id's place, and who frees.
 * SPATE_TEST_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "core/base/memory.h"
#include "tests/unit/seeded.h"

static uint64_t run_seed;

/* The chunk of HTTP/1.1 (RFC 9112, 7.1), and its data alone. */
static void assert_views(const struct frame *frame, const char *text, size_t len)
{
    char size[24];
    int size_len = snprintf(size, sizeof(size), "%zx\r\n", len);
    struct span chunked = frame_view(frame, FRAME_CHUNKED);
    struct span raw = frame_view(frame, FRAME_RAW);
    assert_int_equal(chunked.len, (size_t)size_len + len + 2);
    assert_memory_equal(chunked.bytes, size, (size_t)size_len);
    assert_memory_equal(chunked.bytes + size_len, text, len);
    assert_memory_equal(chunked.bytes + chunked.len - 2, "\r\n", 2);
    assert_true(span_equal(raw, span_make(text, len)));
    assert_int_equal(frame_size(frame), sizeof(struct frame) + chunked.len);
}

static void check_frame(size_t len, size_t id_offset, uint64_t sequence)
{
    char *text = malloc(len);
    struct frame *frame = frame_of(len, id_offset, sequence);
    assert_non_null(text);
    assert_non_null(frame);
    text_fill(text, len, sequence);
    assert_views(frame, text, len);
    frame_stamp(frame, 99, sequence, 1234);
    event_id_write(text + id_offset, 99, sequence);
    assert_views(frame, text, len);
    assert_int_equal(frame->sequence, sequence);
    assert_int_equal(frame->published_ms, 1234);
    assert_null(frame->next);
    frame_unref(frame);
    free(text);
}

static void test_views_of_every_size(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, run_seed);
    /* The id first and last in the text, and every width of the chunk's size. */
    for (size_t len = EVENT_ID_LEN; len < 600; len++) {
        check_frame(len, 0, len);
        check_frame(len, len - EVENT_ID_LEN, len);
    }
    for (size_t len = 0x1000; len <= 0x1000000; len *= 16) {
        check_frame(len - 1, 5, 1);
        check_frame(len, 5, 2);
    }
    for (unsigned i = 0; i < 500; i++) {
        size_t len = EVENT_ID_LEN + random_below(&random, 20000);
        check_frame(len, random_below(&random, len - EVENT_ID_LEN + 1), random_next(&random) >> 8);
    }
}

static void test_no_memory_is_an_answer(void **state)
{
    (void)state;
    memory_inject_failures(1, UINT32_MAX);
    struct frame *frame = frame_new(100, 0);
    memory_inject_failures(0, 0);
    assert_null(frame);
}

enum { REFERENCES = 50000 };

static void *let_go_often(void *argument)
{
    struct frame *frame = argument;
    for (unsigned i = 0; i < REFERENCES; i++) {
        frame_ref(frame);
        if (i % 3 == 0) {
            frame_unref(frame_ref(frame));
        }
        frame_unref(frame);
    }
    frame_unref(frame);
    return NULL;
}

/* Three threads each let the reference go that they were given; whoever is last frees. */
static void test_the_last_owner_frees(void **state)
{
    (void)state;
    pthread_t threads[3];
    struct frame *frame = frame_of(100, 0, 1);
    assert_non_null(frame);
    for (unsigned i = 0; i < countof(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, let_go_often, frame_ref(frame)), 0);
    }
    for (unsigned i = 0; i < countof(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(frame->references, 1);
    frame_unref(frame);
}

int main(void)
{
    run_seed = seed_of_run();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views_of_every_size),
        cmocka_unit_test(test_no_memory_is_an_answer),
        cmocka_unit_test(test_the_last_owner_frees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
