/* The fan-out profile: its stages add up to the whole, and its counts are exact. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/profile.h"
#include "core/sequencer.h"

static uint64_t clock_now;

static uint64_t clock_read(void)
{
    return clock_now;
}

static struct profile *profile_made(void)
{
    clock_now = 1000;
    struct profile *profile = profile_new(clock_read);
    assert_non_null(profile);
    return profile;
}

static uint64_t count_of(const struct profile *profile, enum profile_measure measure)
{
    return histogram_count(profile_histogram(profile, measure));
}

static uint64_t sum_of(const struct profile *profile, enum profile_measure measure)
{
    return histogram_sum(profile_histogram(profile, measure));
}

/* ---- The loop ---- */

static void test_phases(void **state)
{
    (void)state;
    struct profile *profile = profile_made();
    profile_turn(profile, PROFILE_PHASE_WAIT, 1010); /* 10 of rest, from the start on */
    profile_enter(profile, PROFILE_PHASE_COMPLETION, 1110);
    profile_enter(profile, PROFILE_PHASE_RECEIVE, 1113);
    profile_enter(profile, PROFILE_PHASE_PASS, 1120);
    profile_enter(profile, PROFILE_PHASE_REST, 1150);
    profile_turn(profile, PROFILE_PHASE_SUBMIT, 1155);
    profile_enter(profile, PROFILE_PHASE_COMPLETION, 1200);
    assert_int_equal(profile_phase_ns(profile, PROFILE_PHASE_WAIT), 100);
    assert_int_equal(profile_phase_ns(profile, PROFILE_PHASE_COMPLETION), 3);
    assert_int_equal(profile_phase_ns(profile, PROFILE_PHASE_RECEIVE), 7);
    assert_int_equal(profile_phase_ns(profile, PROFILE_PHASE_PASS), 30);
    assert_int_equal(profile_phase_ns(profile, PROFILE_PHASE_REST), 15);
    assert_int_equal(profile_phase_ns(profile, PROFILE_PHASE_SUBMIT), 45);
    /* Two turns: the 10 at the start, and 145 of which 100 were sleep. */
    assert_int_equal(count_of(profile, PROFILE_TURN), 2);
    assert_int_equal(sum_of(profile, PROFILE_TURN), 10 + 45);
    profile_free(profile);
}

/* A clock that went back by a hair, as between two CPUs, gives zeros and no giants. */
static void test_clock_back(void **state)
{
    (void)state;
    struct profile *profile = profile_made();
    profile_turn(profile, PROFILE_PHASE_WAIT, 990);
    profile_enter(profile, PROFILE_PHASE_RECEIVE, 980);
    clock_now = 990;
    profile_request(profile);
    profile_published(profile, 1, 960, 0);
    assert_int_equal(histogram_max(profile_histogram(profile, PROFILE_TURN)), 0);
    assert_int_equal(histogram_max(profile_histogram(profile, PROFILE_PARSE)), 0);
    assert_int_equal(profile_phase_ns(profile, PROFILE_PHASE_WAIT), 0);
    profile_free(profile);
}

/* ---- The publisher ---- */

static void test_published(void **state)
{
    (void)state;
    struct profile *profile = profile_made();
    clock_now = 2000;
    profile_request(profile);
    profile_published(profile, 3, 2600, 100);
    /* Pipelined: the next request in the same bytes counts from there. */
    profile_published(profile, 1, 2710, 10);
    profile_request_end(profile);
    /* Published by the hub itself: no request. */
    profile_published(profile, 1, 9005, 5);
    assert_int_equal(count_of(profile, PROFILE_PARSE), 5);
    assert_int_equal(sum_of(profile, PROFILE_PARSE), 3 * 500 + 100);
    assert_int_equal(count_of(profile, PROFILE_SEQUENCE), 5);
    assert_int_equal(sum_of(profile, PROFILE_SEQUENCE), 3 * 100 + 10 + 5);
    profile_free(profile);
}

/* ---- The way of events through a real sequencer, queue and feed ---- */

struct way {
    struct profile *profile;
    struct sequencer sequencer;
    struct queue queue;
    struct feed *feed;
    uint64_t sequence;
};

static void way_init(struct way *way)
{
    struct sequencer_options options = {
        .shard_count = 1,
        .clock_ns = clock_read,
        .channel_count_max = 4,
        .history = {.count_max = 10, .bytes_max = 1 << 20},
        .history_total_bytes_max = 1 << 20,
        .feed_bytes_max = 1 << 20,
        .queue_bytes_max = 1 << 20,
    };
    way->profile = profile_made();
    assert_int_equal(sequencer_init(&way->sequencer, &options), 0);
    assert_int_equal(queue_init(&way->queue, 4096), 0);
    sequencer_attach_queue(&way->sequencer, 0, &way->queue);
    way->feed = sequencer_broadcast_feed(&way->sequencer, 0);
    assert_non_null(way->feed);
}

static void release(void *context, struct frame *frame)
{
    (void)context;
    frame_unref(frame);
}

static void way_fini(struct way *way)
{
    feed_trim(way->feed, 0, release, NULL);
    sequencer_detach(&way->sequencer, 0, way->feed);
    feed_free(way->feed);
    queue_fini(&way->queue);
    sequencer_fini(&way->sequencer);
    profile_free(way->profile);
}

/* Received and handed over just now; the sequencer takes `sequence_ns`. */
static void way_publish(struct way *way, uint64_t parse_ns, uint64_t sequence_ns)
{
    struct shard_set shards;
    struct publication publication = {
        .channel = {CHANNEL_BROADCAST, {NULL, 0}},
        .frame = frame_new(40, 4),
    };
    assert_non_null(publication.frame);
    profile_enter(way->profile, PROFILE_PHASE_RECEIVE, clock_now);
    publication.frame->received_ns = clock_now;
    profile_request(way->profile);
    clock_now += parse_ns;
    clock_now += sequence_ns;
    assert_int_equal(sequencer_publish(&way->sequencer, &publication, 1, 5, &shards), PUBLISH_DONE);
    assert_int_equal(publication.sequenced_ns, clock_now);
    profile_published(way->profile, 1, publication.sequenced_ns, sequence_ns);
    profile_request_end(way->profile);
}

static void way_take(struct way *way)
{
    struct queue_entry entry;
    bool any = false;
    profile_enter(way->profile, PROFILE_PHASE_PASS, clock_now);
    while (queue_pop(&way->queue, &entry)) {
        any = true;
        way->sequence = entry.sequence;
        profile_taken(way->profile, entry.frame);
        feed_append(way->feed, entry.frame);
    }
    queue_release(&way->queue);
    if (any) {
        profile_taken_all(way->profile, way->sequence, &way->queue);
    }
}

/* The rest of a turn, with so much time in each phase. */
static void way_turn(struct way *way, uint64_t pass_ns, uint64_t submit_ns, uint64_t completion_ns)
{
    clock_now += pass_ns;
    profile_enter(way->profile, PROFILE_PHASE_REST, clock_now);
    clock_now += 7;
    profile_turn(way->profile, PROFILE_PHASE_SUBMIT, clock_now);
    clock_now += submit_ns;
    profile_enter(way->profile, PROFILE_PHASE_COMPLETION, clock_now);
    clock_now += completion_ns;
    profile_sends_final(way->profile, 1);
}

static void way_settle(struct way *way)
{
    feed_set_passed(way->feed, way->sequence);
    profile_settle(way->profile, way->feed);
}

static void assert_adds_up(const struct way *way, uint64_t events)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < PROFILE_STAGE_COUNT; i++) {
        assert_int_equal(count_of(way->profile, i), events);
        sum += sum_of(way->profile, i);
    }
    assert_int_equal(count_of(way->profile, PROFILE_TOTAL), events);
    assert_int_equal(sum, sum_of(way->profile, PROFILE_TOTAL));
}

static void test_one_turn(void **state)
{
    (void)state;
    struct way way;
    way_init(&way);
    way_publish(&way, 100, 20);
    clock_now += 3000;
    way_take(&way);
    way_turn(&way, 40, 500, 5);
    way_settle(&way);
    assert_int_equal(sum_of(way.profile, PROFILE_PARSE), 100);
    assert_int_equal(sum_of(way.profile, PROFILE_SEQUENCE), 20);
    assert_int_equal(sum_of(way.profile, PROFILE_QUEUE), 3000);
    assert_int_equal(sum_of(way.profile, PROFILE_PASS), 40);
    assert_int_equal(sum_of(way.profile, PROFILE_SUBMIT), 500);
    assert_int_equal(sum_of(way.profile, PROFILE_COMPLETION), 5);
    assert_int_equal(sum_of(way.profile, PROFILE_OTHER), 7);
    assert_adds_up(&way, 1);
    /* Settled once, however often it is asked. */
    profile_settle(way.profile, way.feed);
    assert_adds_up(&way, 1);
    way_fini(&way);
}

/* A pass over three turns; a second event comes in between and settles with the next pass. */
static void test_long_pass(void **state)
{
    (void)state;
    struct way way;
    way_init(&way);
    way_publish(&way, 10, 1);
    way_take(&way);
    uint64_t first = way.sequence;
    way_turn(&way, 40, 500, 5);
    way_publish(&way, 30, 2);
    way_take(&way);
    way_turn(&way, 50, 600, 6);
    way_take(&way);
    way_turn(&way, 60, 700, 7);
    feed_set_passed(way.feed, first);
    profile_settle(way.profile, way.feed);
    assert_int_equal(count_of(way.profile, PROFILE_TOTAL), 1);
    assert_int_equal(sum_of(way.profile, PROFILE_PASS), 40 + 50 + 60);
    assert_int_equal(sum_of(way.profile, PROFILE_SUBMIT), 500 + 600 + 700);
    assert_int_equal(sum_of(way.profile, PROFILE_COMPLETION), 5 + 6 + 7);
    /* Three turns' rest, and the second event's request. */
    assert_int_equal(sum_of(way.profile, PROFILE_OTHER), 3 * 7 + 32);
    way_settle(&way);
    assert_adds_up(&way, 2);
    assert_int_equal(sum_of(way.profile, PROFILE_PASS), 150 + 50 + 60);
    way_fini(&way);
}

/* More turns than are remembered: nothing breaks, and no stage becomes more than the whole. */
static void test_forgotten_takes(void **state)
{
    (void)state;
    struct way way;
    way_init(&way);
    const unsigned events = PROFILE_TAKE_COUNT + 10;
    for (unsigned i = 0; i < events; i++) {
        way_publish(&way, 10, 1);
        way_take(&way);
        way_turn(&way, 40, 500, 5);
    }
    way_settle(&way);
    uint64_t sum = 0;
    for (unsigned i = 0; i < PROFILE_STAGE_COUNT; i++) {
        assert_int_equal(count_of(way.profile, i), events);
        sum += sum_of(way.profile, i);
    }
    assert_true(sum <= sum_of(way.profile, PROFILE_TOTAL));
    way_fini(&way);
}

/* ---- Numbers ---- */

static void test_batches(void **state)
{
    (void)state;
    struct profile *profile = profile_made();
    const uint32_t sends[] = {1, 1, 3, 3, 3, 1, 9};
    uint64_t events = 0;
    for (size_t i = 0; i < countof(sends); i++) {
        profile_send(profile, sends[i]);
        events += sends[i];
    }
    profile_sends_final(profile, countof(sends));
    profile_sends_final(profile, 0);
    assert_int_equal(count_of(profile, PROFILE_BATCH), countof(sends));
    assert_int_equal(sum_of(profile, PROFILE_BATCH), events);
    assert_int_equal(histogram_max(profile_histogram(profile, PROFILE_BATCH)), 9);
    assert_int_equal(count_of(profile, PROFILE_SENDS), 1);
    assert_int_equal(sum_of(profile, PROFILE_SENDS), countof(sends));
    profile_free(profile);
}

static void test_catch_up(void **state)
{
    (void)state;
    struct profile *profile = profile_made();
    profile_catch_up(profile, 0);
    profile_catch_up(profile, 1500);
    assert_int_equal(count_of(profile, PROFILE_CATCH_UP), 2);
    assert_int_equal(sum_of(profile, PROFILE_CATCH_UP), 1500000000);
    profile_free(profile);
}

/* What a long time of turns needed goes back; some stays, and all goes on. */
static void test_memory_goes_back(void **state)
{
    (void)state;
    struct way way;
    way_init(&way);
    for (uint64_t i = 1; i <= 2000; i++) {
        profile_taken_all(way.profile, i, &way.queue);
    }
    assert_int_equal(way.profile->takes[1000].upto, 1001);
    profile_give_back(way.profile);
    assert_int_equal(way.profile->takes[1000].upto, 0);
    assert_int_equal(way.profile->takes[PROFILE_TAKES_KEPT - 1].upto, PROFILE_TAKES_KEPT);
    assert_int_equal(way.profile->take_count, 0);
    profile_give_back(way.profile);
    profile_give_back(NULL);
    way_publish(&way, 1, 1);
    way_take(&way);
    feed_set_passed(way.feed, way.sequence);
    profile_sends_final(way.profile, 1);
    profile_settle(way.profile, way.feed);
    assert_int_equal(count_of(way.profile, PROFILE_TOTAL), 1);
    way_fini(&way);
}

/* A fan-out without a profile is as good. */
static void test_null(void **state)
{
    (void)state;
    struct way way;
    way_init(&way);
    profile_taken(NULL, NULL);
    profile_taken_all(NULL, 0, &way.queue);
    profile_send(NULL, 1);
    profile_catch_up(NULL, 1);
    profile_sends_final(NULL, 1);
    way_publish(&way, 1, 1);
    way_take(&way);
    feed_set_passed(way.feed, way.sequence);
    profile_settle(NULL, way.feed);
    assert_int_equal(count_of(way.profile, PROFILE_TOTAL), 0);
    way_fini(&way);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_phases),    cmocka_unit_test(test_clock_back),
        cmocka_unit_test(test_published), cmocka_unit_test(test_one_turn),
        cmocka_unit_test(test_long_pass), cmocka_unit_test(test_forgotten_takes),
        cmocka_unit_test(test_batches),   cmocka_unit_test(test_catch_up),
        cmocka_unit_test(test_null),      cmocka_unit_test(test_memory_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
