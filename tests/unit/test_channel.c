/*
 * A channel has as many feeds as shards listen, found by shard, and no room for more.
 * SPATE_TEST_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/channel.h"
#include "core/feed.h"
#include "core/sequencer.h"
#include "tests/unit/seeded.h"

enum { SHARDS = 64, STEPS = 20000 };

static struct channel_name name_of(const char *text)
{
    return (struct channel_name){CHANNEL_PUBLIC, span_of(text)};
}

static void assert_feeds(const struct channel *channel, struct feed *const feeds[])
{
    unsigned count = 0;
    for (unsigned i = 0; i < SHARDS; i++) {
        assert_ptr_equal(channel_feed(channel, i), feeds[i]);
        if (feeds[i] != NULL) {
            assert_ptr_equal(channel->feeds[count], feeds[i]);
            count++;
        }
    }
    assert_int_equal(channel->feed_count, count);
}

static void test_feeds_come_and_go_in_any_order(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, seed_of_run());
    struct channel *channel = channel_new(name_of("news"), 0);
    struct feed *feeds[SHARDS] = {NULL};
    assert_non_null(channel);
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned shard = (unsigned)random_below(&random, SHARDS);
        if (feeds[shard] == NULL) {
            feeds[shard] = feed_new(channel, shard, 0);
            assert_int_equal(channel_add_feed(channel, feeds[shard]), 0);
        } else {
            channel_remove_feed(channel, feeds[shard]);
            feed_free(feeds[shard]);
            feeds[shard] = NULL;
        }
        assert_feeds(channel, feeds);
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        if (feeds[i] != NULL) {
            channel_remove_feed(channel, feeds[i]);
            feed_free(feeds[i]);
        }
    }
    channel_free(channel);
}

/* Most channels are one subscriber's: no shard that has nothing to do with them costs memory. */
static void test_one_feed_needs_no_memory_of_its_own(void **state)
{
    (void)state;
    struct channel *channel = channel_new(name_of("news"), 0);
    struct feed *feed = feed_new(channel, SHARDS - 1, 0);
    assert_int_equal(channel_add_feed(channel, feed), 0);
    assert_ptr_equal(channel->feeds, &channel->only);
    assert_true(sizeof(*channel) < 256);
    channel_remove_feed(channel, feed);
    feed_free(feed);
    channel_free(channel);
}

static void test_a_set_of_shards_is_walked_in_order(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, seed_of_run());
    for (unsigned round = 0; round < 1000; round++) {
        struct shard_set set = {{0}};
        unsigned count = (unsigned)random_below(&random, 10);
        for (unsigned i = 0; i < count; i++) {
            shard_set_add(&set, (unsigned)random_below(&random, SHARD_COUNT_MAX));
        }
        unsigned next = shard_set_next(&set, 0);
        for (unsigned i = 0; i < SHARD_COUNT_MAX; i++) {
            if (shard_set_has(&set, i)) {
                assert_int_equal(next, i);
                next = shard_set_next(&set, i + 1);
            }
        }
        assert_int_equal(next, SHARD_COUNT_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_feeds_come_and_go_in_any_order),
        cmocka_unit_test(test_one_feed_needs_no_memory_of_its_own),
        cmocka_unit_test(test_a_set_of_shards_is_walked_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
