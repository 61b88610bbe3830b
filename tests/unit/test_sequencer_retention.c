/*
 * What the sequencer retains and forgets: the budget of all histories together, and that channels
 * which nobody uses are forgotten without anybody missing an event unawares. SPATE_TEST_SEED
 * repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/feed.h"
#include "core/sequencer.h"
#include "tests/unit/seeded.h"

static uint64_t run_seed;

/* ---- Single properties ------------------------------------------------------------------------
 */

static struct sequencer_options plain_options(const struct history_limits *history)
{
    return (struct sequencer_options){
        .shard_count = 1,
        .hash_key = {5, 6},
        .channel_count_max = 1 << 17,
        .channel_idle_ms = 10,
        .history = *history,
        .history_total_bytes_max = UINT64_MAX,
        .feed_bytes_max = 1 << 20,
        .queue_bytes_max = 1 << 20,
    };
}

static enum publish_outcome publish(struct sequencer *sequencer, struct channel_name name,
                                    size_t len, bool needs_subscriber)
{
    struct shard_set shards;
    struct publication publication = {
        .channel = name,
        .frame = frame_of(len, 0, 0),
        .needs_subscriber = needs_subscriber,
    };
    assert_non_null(publication.frame);
    enum publish_outcome outcome = sequencer_publish(sequencer, &publication, 1, 5, &shards);
    if (outcome != PUBLISH_DONE) {
        frame_unref(publication.frame);
    }
    return outcome;
}

static struct channel_name numbered(char text[16], unsigned number)
{
    int len = snprintf(text, 16, "n%u", number);
    return (struct channel_name){CHANNEL_PUBLIC, span_make(text, (size_t)len)};
}

static void test_a_broadcast_has_every_connection(void **state)
{
    (void)state;
    struct sequencer_options options = plain_options(&(struct history_limits){0, 0, 0});
    struct sequencer sequencer;
    uint64_t sequence;
    assert_int_equal(sequencer_init(&sequencer, &options), 0);
    struct channel_name everybody = {CHANNEL_BROADCAST, {NULL, 0}};
    assert_int_equal(publish(&sequencer, everybody, 50, true), PUBLISH_NO_SUBSCRIBER);
    assert_int_equal(sequencer_subscribe(&sequencer, 0, channel_names(NULL, 0), 0, NULL, &sequence),
                     SUBSCRIBE_DONE);
    assert_int_equal(publish(&sequencer, everybody, 50, true), PUBLISH_DONE);
    sequencer_unsubscribe(&sequencer, NULL, 0, 0);
    assert_int_equal(publish(&sequencer, everybody, 50, true), PUBLISH_NO_SUBSCRIBER);
    sequencer_fini(&sequencer);
}

/* Whether a reader of the channel at `after` is told that it missed something. */
static bool is_lapped(struct sequencer *sequencer, struct channel_name name, uint64_t after)
{
    struct feed *feed = NULL;
    struct frame *frames[1];
    uint64_t sequence;
    assert_int_equal(
        sequencer_subscribe(sequencer, 0, channel_names(&name, 1), 5, &feed, &sequence),
        SUBSCRIBE_DONE);
    struct history_read read = {
        .feeds = &feed,
        .feed_count = 1,
        .after = after,
        .upto = after,
        .frame_count_max = 1,
        .bytes_max = 1,
        .frames = frames,
    };
    enum read_outcome outcome = sequencer_read(sequencer, &read);
    assert_int_equal(read.ret_count, 0);
    sequencer_unsubscribe(sequencer, &feed, 1, 5);
    sequencer_detach(sequencer, 0, feed);
    feed_free(feed);
    return outcome == READ_LAPPED;
}

/* Nothing is retained, and far more channels are forgotten than there are tombstones. */
static void test_a_forgotten_channel_is_remembered_to_have_lost(void **state)
{
    (void)state;
    struct sequencer_options options = plain_options(&(struct history_limits){0, 0, 0});
    struct sequencer sequencer;
    char text[16];
    enum { FORGOTTEN = SEQUENCER_TOMBSTONE_COUNT + 5000 };
    assert_int_equal(sequencer_init(&sequencer, &options), 0);
    assert_false(is_lapped(&sequencer, numbered(text, 0), 0));
    for (unsigned i = 0; i < FORGOTTEN; i++) {
        assert_int_equal(publish(&sequencer, numbered(text, i), EVENT_ID_LEN, false), PUBLISH_DONE);
    }
    for (unsigned i = 0; i < FORGOTTEN; i += 101) {
        /* Its event had the sequence i + 1. */
        assert_true(is_lapped(&sequencer, numbered(text, i), i));
    }
    assert_false(is_lapped(&sequencer, numbered(text, FORGOTTEN - 1), FORGOTTEN));
    assert_false(is_lapped(&sequencer, numbered(text, 0), FORGOTTEN));
    sequencer_fini(&sequencer);
}

/* The same for channels that were retained, aged, and were swept away. */
static void test_a_swept_channel_is_remembered_to_have_lost(void **state)
{
    (void)state;
    struct sequencer_options options = plain_options(&(struct history_limits){10, 10000, 100});
    struct sequencer sequencer;
    struct sequencer_stats stats;
    char text[16];
    uint64_t after = 0;
    assert_int_equal(sequencer_init(&sequencer, &options), 0);
    for (unsigned i = 0; i < 300; i++) {
        assert_int_equal(publish(&sequencer, numbered(text, i % 100), 50, false), PUBLISH_DONE);
    }
    sequencer_sweep(&sequencer, 105, &after, 1000);
    sequencer_get_stats(&sequencer, &stats);
    assert_int_equal(stats.channels, 100); /* not too old yet: published at 5 */
    assert_false(is_lapped(&sequencer, numbered(text, 0), 0));
    for (unsigned i = 0; i < 100; i++) {
        sequencer_sweep(&sequencer, 106, &after, 3);
    }
    sequencer_get_stats(&sequencer, &stats);
    assert_int_equal(stats.channels, 0);
    assert_int_equal(stats.history_bytes, 0);
    for (unsigned i = 0; i < 100; i++) {
        assert_true(is_lapped(&sequencer, numbered(text, i), 200 + i));
        assert_false(is_lapped(&sequencer, numbered(text, i), 201 + i));
    }
    sequencer_fini(&sequencer);
}

/* ---- The budget of all histories together -----------------------------------------------------
 */

enum { GREEDY_CHANNELS = 40, FRAME_SIZE_MAX = 200 };

struct sizes {
    uint64_t bytes[GREEDY_CHANNELS];
    uint64_t sum;
    uint64_t most;
};

static void visit_size(void *context, const struct channel_info *info)
{
    struct sizes *sizes = context;
    char text[CHANNEL_NAME_LEN_MAX + 1];
    memcpy(text, info->name.bytes, info->name.len);
    text[info->name.len] = '\0';
    unsigned long number = strtoul(text + 1, NULL, 10);
    assert_true(number < GREEDY_CHANNELS);
    sizes->bytes[number] = info->retained_bytes;
    sizes->sum += info->retained_bytes;
    sizes->most = max_u64(sizes->most, info->retained_bytes);
}

static struct sizes all_sizes(struct sequencer *sequencer)
{
    struct sizes sizes = {.sum = 0};
    struct channel_walk walk = {0};
    while (sequencer_walk(sequencer, &walk, 7, visit_size, &sizes)) {
    }
    return sizes;
}

static void test_the_greediest_channel_pays(void **state)
{
    (void)state;
    struct random random;
    struct sequencer sequencer;
    struct sequencer_options options =
        plain_options(&(struct history_limits){1 << 20, 1 << 30, 1 << 30});
    options.history_total_bytes_max = 60000;
    random_init(&random, run_seed);
    assert_int_equal(sequencer_init(&sequencer, &options), 0);
    struct sizes before = {.sum = 0};
    unsigned evictions = 0;
    for (unsigned step = 0; step < 4000; step++) {
        char text[16];
        /* Some publish much more than others. */
        uint64_t bound = 1 + random_below(&random, GREEDY_CHANNELS);
        unsigned number = (unsigned)random_below(&random, bound);
        size_t len = EVENT_ID_LEN + random_below(&random, 80);
        assert_int_equal(publish(&sequencer, numbered(text, number), len, false), PUBLISH_DONE);
        struct sizes now = all_sizes(&sequencer);
        assert_true(now.sum <= options.history_total_bytes_max);
        for (unsigned i = 0; i < GREEDY_CHANNELS; i++) {
            if (i != number && now.bytes[i] < before.bytes[i]) {
                /* When it paid last, it was within a quarter of the greediest. */
                assert_true((now.bytes[i] + FRAME_SIZE_MAX) * 5 >= now.most * 4);
                evictions++;
            }
        }
        before = now;
    }
    assert_true(evictions > 100);
    sequencer_fini(&sequencer);
}

static void test_no_budget_at_all(void **state)
{
    (void)state;
    struct sequencer sequencer;
    struct sequencer_options options =
        plain_options(&(struct history_limits){1 << 20, 1 << 30, 1 << 30});
    char text[16];
    options.history_total_bytes_max = 0;
    assert_int_equal(sequencer_init(&sequencer, &options), 0);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(publish(&sequencer, numbered(text, i % 3), 50, false), PUBLISH_DONE);
        assert_int_equal(all_sizes(&sequencer).sum, 0);
        assert_true(is_lapped(&sequencer, numbered(text, i % 3), i));
    }
    sequencer_fini(&sequencer);
}

/* A channel that was used at 5 is idle, at the latest, from when a sweep found the clock set back.
 */
static void test_a_clock_that_is_set_back_keeps_no_channel(void **state)
{
    (void)state;
    struct sequencer_options options = plain_options(&(struct history_limits){0, 0, 0});
    struct sequencer sequencer;
    struct sequencer_stats stats;
    char text[16];
    uint64_t after = 0;
    assert_int_equal(sequencer_init(&sequencer, &options), 0);
    assert_false(is_lapped(&sequencer, numbered(text, 0), 0));
    sequencer_sweep(&sequencer, 2, &after, 10);
    sequencer_sweep(&sequencer, 11, &after, 10);
    sequencer_get_stats(&sequencer, &stats);
    assert_int_equal(stats.channels, 1);
    sequencer_sweep(&sequencer, 12, &after, 10);
    sequencer_get_stats(&sequencer, &stats);
    assert_int_equal(stats.channels, 0);
    sequencer_fini(&sequencer);
}

int main(void)
{
    run_seed = seed_of_run();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_broadcast_has_every_connection),
        cmocka_unit_test(test_a_forgotten_channel_is_remembered_to_have_lost),
        cmocka_unit_test(test_a_swept_channel_is_remembered_to_have_lost),
        cmocka_unit_test(test_a_clock_that_is_set_back_keeps_no_channel),
        cmocka_unit_test(test_the_greediest_channel_pays),
        cmocka_unit_test(test_no_budget_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
