/*
 * The fan-out in a random world (fanout_world.h), in a few plain situations, and what it costs:
 * counted in allocations and sends, never timed. SPATE_TEST_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/resume.h"
#include "tests/unit/fanout_world.h"

#define HISTORY_OFF                                                                                \
    {                                                                                              \
        0, 0, 0                                                                                    \
    }

/* What run_ready may send, with the budget of fanout_init. */
enum { FANOUT_READY_MAX = FANOUT_SENDS_MAX / FANOUT_READY_SHARE };

static uint64_t run_seed;

/* ---- Random worlds ------------------------------------------------------------------------------
 */

/* Of the names of the world: see name_of. */
static const struct lag_rule lag_rules[] = {
    {{{"third", 5}, true}, {LAG_DISCONNECT, 3000, 300}},
    {{{"new", 3}, false}, {LAG_SKIP, 2000, 200}},
};

static const struct setup setups[] = {
    {
        .name = "one shard, no history",
        .shard_count = 1,
        .peer_max = 12,
        .step_count = 6000,
        .queue_capacity = 64,
        .short_percent = 30,
        .large_one_in = 60,
        .behind_bytes_max = 20000,
        .feed_bytes_max = 1 << 20,
        .history = HISTORY_OFF,
    },
    {
        .name = "three shards, a long history",
        .shard_count = 3,
        .peer_max = 40,
        .step_count = 8000,
        .queue_capacity = 128,
        .short_percent = 40,
        .large_one_in = 100,
        .behind_bytes_max = 3000,
        .feed_bytes_max = 1 << 20,
        .history_total = 1 << 30,
        .history = {1 << 20, 1 << 30, 1 << 30},
    },
    {
        .name = "a short history, tiny queues and feeds",
        .shard_count = 2,
        .peer_max = 20,
        .step_count = 8000,
        .queue_capacity = 8,
        .short_percent = 50,
        .large_one_in = 40,
        .behind_bytes_max = 0,
        .feed_bytes_max = 4000,
        .history_total = 40000,
        .history = {12, 30000, 2000},
    },
    {
        .name = "memory fails, with history",
        .shard_count = 2,
        .peer_max = 20,
        .step_count = 8000,
        .queue_capacity = 64,
        .short_percent = 20,
        .large_one_in = 200,
        .failure_one_in = 6,
        .behind_bytes_max = 50000,
        .feed_bytes_max = 1 << 20,
        .history_total = 1 << 20,
        .history = {100, 1 << 20, 1 << 20},
    },
    {
        .name = "memory fails, no history",
        .shard_count = 2,
        .peer_max = 20,
        .step_count = 8000,
        .queue_capacity = 64,
        .short_percent = 20,
        .large_one_in = 200,
        .failure_one_in = 3,
        .behind_bytes_max = 50000,
        .feed_bytes_max = 1 << 20,
        .history = HISTORY_OFF,
    },
    {
        .name = "fewer channels than names",
        .shard_count = 2,
        .peer_max = 10,
        .step_count = 5000,
        .queue_capacity = 32,
        .short_percent = 20,
        .channel_max = 3,
        .behind_bytes_max = 1000,
        .feed_bytes_max = 1 << 20,
        .history_total = 1 << 20,
        .history = {20, 1 << 20, 300},
    },
    {
        .name = "limits on how far anybody may be behind",
        .shard_count = 2,
        .peer_max = 20,
        .step_count = 8000,
        .queue_capacity = 64,
        .short_percent = 40,
        .large_one_in = 100,
        .failure_one_in = 20,
        .behind_bytes_max = 1000,
        .feed_bytes_max = 1 << 20,
        .history_total = 1 << 20,
        .history = {30, 1 << 20, 400},
        .lag_rules = lag_rules,
        .lag_rule_count = countof(lag_rules),
    },
    {
        .name = "more subscribers than one turn can serve",
        .shard_count = 1,
        .peer_max = 3000,
        .step_count = 0,
        .queue_capacity = 64,
        .short_percent = 10,
        .large_one_in = 30,
        .behind_bytes_max = 100000,
        .feed_bytes_max = 1 << 20,
        .history_total = 1 << 24,
        .history = {200, 1 << 22, 1 << 20},
    },
};

static void run_world(const struct setup *setup, unsigned round)
{
    struct world *world = calloc(1, sizeof(*world));
    assert_non_null(world);
    world_init(world, setup, run_seed + round);
    for (unsigned i = 0; i < setup->shard_count; i++) {
        if (one_in(&world->random, 2)) {
            /* Passes that take several turns. */
            uint32_t first = 1 + (uint32_t)random_below(&world->random, 4);
            fanout_set_sends(&world->shards[i].fanout, first,
                             first + (uint32_t)random_below(&world->random, 8));
        }
    }
    for (unsigned step = 0; step < setup->step_count; step++) {
        world_step(world);
        if (one_in(&world->random, 1000)) {
            world_settle(world);
        }
    }
    world_settle(world);
    const struct fanout_stats *stats = &world->shards[0].fanout.stats;
    print_message("%s: %zu events; in shard 0 %llu sends, %llu short, %llu history reads, %llu "
                  "gaps\n",
                  setup->name, world->event_count, (unsigned long long)stats->sends,
                  (unsigned long long)stats->short_sends, (unsigned long long)stats->history_reads,
                  (unsigned long long)stats->lapped);
    /* The world was not an idle one. */
    assert_true(world->event_count > 100);
    assert_true(stats->sends > 100);
    assert_true(stats->deliveries > stats->sends);
    assert_true(stats->short_sends > 10);
    assert_true(setup->lag_rule_count == 0 || world->shards[0].skipped > 10);
    assert_true(setup->lag_rule_count == 0 || world->shards[0].disconnected > 10);
    world_fini(world);
    free(world);
}

static void test_every_subscriber_gets_its_events(void **state)
{
    (void)state;
    for (unsigned i = 0; i < countof(setups); i++) {
        for (unsigned round = 0; round < 3 && setups[i].step_count > 0; round++) {
            run_world(&setups[i], round);
        }
    }
}

/* Thousands of members: passes that take several turns, while members come and go. */
static void test_passes_over_many_turns(void **state)
{
    (void)state;
    const struct setup *setup = &setups[countof(setups) - 1];
    struct world *world = calloc(1, sizeof(*world));
    assert_non_null(world);
    world_init(world, setup, run_seed);
    while (world->peer_count < setup->peer_max) {
        peer_join(world, &world->shards[0]);
    }
    for (unsigned step = 0; step < 60; step++) {
        for (unsigned i = 0; i < 400; i++) {
            step_peer(world, some_peer(world));
        }
        for (unsigned i = 0; i < 20 && world->peer_count < setup->peer_max; i++) {
            peer_join(world, &world->shards[0]);
        }
        (void)world_publish(world, (unsigned)random_below(&world->random, 4));
        shard_turn(world, &world->shards[0]);
    }
    world_settle(world);
    assert_true(world->shards[0].fanout.stats.passes > 0);
    world_fini(world);
    free(world);
}

/* ---- Plain situations and counts ----------------------------------------------------------------
 */

/* One shard, willing sockets, `count` subscribers of the channel "news". */
static struct world *audience_under(unsigned count, const struct history_limits *history,
                                    const struct lag_rule *rule)
{
    static struct setup setup = {
        .name = "an audience",
        .shard_count = 1,
        .peer_max = 25000,
        .queue_capacity = 1024,
        .behind_bytes_max = 1 << 20,
        .feed_bytes_max = 1 << 22,
        .history_total = 1 << 24,
    };
    struct world *world = calloc(1, sizeof(*world));
    assert_non_null(world);
    setup.history = *history;
    setup.lag_rules = rule;
    setup.lag_rule_count = rule != NULL;
    world_init(world, &setup, run_seed);
    world->sockets_take_all = true;
    struct channel_name news = name_of(0);
    for (unsigned i = 0; i < count; i++) {
        struct peer *peer = calloc(1, sizeof(*peer));
        assert_non_null(peer);
        *peer = (struct peer){.world = world, .shard = world->shards, .place = i};
        peer->channel_count = 1;
        assert_int_equal(fanout_join(&world->shards->fanout, &peer->subscriber,
                                     channel_names(&news, 1), FANOUT_FROM_NOW, 0),
                         SUBSCRIBE_DONE);
        world->peers[world->peer_count++] = peer;
        fanout_release(&world->shards->fanout, &peer->subscriber);
    }
    return world;
}

static struct world *audience_new(unsigned count, const struct history_limits *history)
{
    return audience_under(count, history, NULL);
}

static void audience_free(struct world *world)
{
    world_fini(world);
    free(world);
}

static const struct history_limits no_history = HISTORY_OFF;
static const struct history_limits some_history = {1000, 1 << 22, 1 << 20};

static void publish_news(struct world *world, unsigned channel, size_t text_len)
{
    uint64_t sequence = world->event_count + 1;
    struct frame *frame = frame_of(text_len, 0, sequence);
    assert_non_null(frame);
    struct publication publication = {.channel = name_of(channel), .frame = frame};
    struct shard_set shards;
    assert_int_equal(sequencer_publish(&world->sequencer, &publication, 1, world->now_ms, &shards),
                     PUBLISH_DONE);
    world_remember(world, channel, sequence, text_len, 0);
}

static void test_a_delivery_allocates_nothing(void **state)
{
    (void)state;
    struct world *world = audience_new(1000, &no_history);
    struct shard *shard = world->shards;
    for (unsigned i = 0; i < 20; i++) {
        publish_news(world, 0, 100);
        uint64_t before = memory_allocation_count();
        fanout_take(&shard->fanout);
        fanout_run(&shard->fanout);
        shard_finish(world, shard);
        /* The window's ring, once. */
        assert_true(memory_allocation_count() - before <= 1);
        assert_int_equal(shard->total_sends, 1000 * (i + 1));
    }
    assert_int_equal(shard->fanout.stats.deliveries, 20000);
    assert_int_equal(shard->fanout.stats.taken, 20);
    audience_free(world);
}

static void test_one_event_is_sent_from_the_frame_itself(void **state)
{
    (void)state;
    struct world *world = audience_new(500, &some_history);
    struct shard *shard = world->shards;
    publish_news(world, 0, 3000);
    fanout_take(&shard->fanout);
    fanout_run(&shard->fanout);
    assert_int_equal(shard->send_count, 500);
    for (unsigned i = 1; i < 500; i++) {
        assert_ptr_equal(shard->sends[i].bytes.bytes, shard->sends[0].bytes.bytes);
    }
    shard_finish(world, shard);
    audience_free(world);
}

static void test_pending_events_go_out_in_one_send(void **state)
{
    (void)state;
    struct world *world = audience_new(300, &no_history);
    struct shard *shard = world->shards;
    for (unsigned i = 0; i < 40; i++) {
        publish_news(world, i % 10 == 0 ? EVERYBODY : 0, 64);
    }
    shard_turn(world, shard);
    shard_finish(world, shard);
    assert_int_equal(shard->fanout.stats.sends, 300);
    assert_int_equal(shard->fanout.stats.deliveries, 300 * 40);
    assert_false(fanout_has_work(&shard->fanout));
    audience_free(world);
}

static void test_memory_for_copies_goes_back_when_they_are_gone(void **state)
{
    (void)state;
    struct world *world = audience_new(2, &some_history);
    struct shard *shard = world->shards;
    struct fanout *fanout = &shard->fanout;
    publish_news(world, 0, 20000);
    fanout_hold(fanout, &world->peers[0]->subscriber);
    shard_turn(world, shard);
    shard_finish(world, shard);
    /* Two at different places need two copies, together more than what is kept. */
    fanout_release(fanout, &world->peers[0]->subscriber);
    publish_news(world, 0, 20000);
    publish_news(world, 0, 20000);
    fanout_take(fanout);
    fanout_run(fanout);
    assert_int_equal(shard->send_count, 2);
    size_t used = fanout->arena_used;
    assert_true(used > FANOUT_ARENA_KEPT_BYTES + 8192);
    fanout_sweep(fanout, 0); /* they are on loan */
    assert_int_equal(fanout->arena_used, used);
    shard_finish(world, shard);
    assert_int_equal(fanout->arena_top, used);
    fanout_sweep(fanout, 0);
    assert_int_equal(fanout->arena_top, 0);
    for (size_t i = FANOUT_ARENA_KEPT_BYTES; i + 4096 < used; i += 4096) {
        assert_int_equal(fanout->arena[i], 0);
    }
    audience_free(world);
}

/* More members than one turn may look at: the pass goes on in the next turns, and ends. */
static void test_a_pass_is_budgeted(void **state)
{
    (void)state;
    struct world *world = audience_new(FANOUT_VISITS_MAX + FANOUT_VISITS_MAX / 2, &no_history);
    struct shard *shard = world->shards;
    for (unsigned i = 0; i < world->peer_count; i++) {
        if (i % 64 != 0) {
            world->peers[i]->held = true;
            fanout_hold(&shard->fanout, &world->peers[i]->subscriber);
        }
    }
    publish_news(world, EVERYBODY, 64);
    shard_turn(world, shard);
    assert_int_equal(shard->fanout.stats.passes, 0);
    shard_turn(world, shard);
    assert_int_equal(shard->fanout.stats.passes, 1);
    world_settle(world);
    audience_free(world);
}

static uint32_t window_count(struct peer *peer)
{
    return subscriber_feed(&peer->subscriber, 0)->window.count;
}

/* One pass over several turns: nobody is left out, and what came in meanwhile goes out as well. */
static void test_a_pass_over_several_turns_leaves_nobody_out(void **state)
{
    (void)state;
    struct world *world = audience_new(2 * FANOUT_SENDS_MAX + 500, &no_history);
    struct shard *shard = world->shards;
    publish_news(world, 0, 64);
    shard_turn(world, shard);
    assert_int_equal(shard->send_count, FANOUT_SENDS_MAX);
    world_settle(world);
    assert_int_equal(shard->total_sends, 2 * FANOUT_SENDS_MAX + 500);
    /* Those visited first hear of the second event only by another pass. */
    publish_news(world, 0, 64);
    shard_turn(world, shard);
    publish_news(world, 0, 64);
    world_settle(world);
    assert_int_equal(shard->fanout.stats.deliveries, 3 * (2 * FANOUT_SENDS_MAX + 500));
    audience_free(world);
}

/* Turns grow while nothing comes in, and are small again when something does. */
static void test_turns_grow_while_no_event_comes(void **state)
{
    (void)state;
    struct world *world = audience_new(100, &no_history);
    struct shard *shard = world->shards;
    fanout_set_sends(&shard->fanout, 2, 11);
    static const unsigned expected[] = {2, 4, 8, 11, 11};
    for (unsigned event = 0; event < 2; event++) {
        publish_news(world, 0, 64);
        for (unsigned i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
            shard_turn(world, shard);
            assert_int_equal(shard->send_count, expected[i]);
        }
    }
    world_settle(world);
    audience_free(world);
}

/* Without history, the window serves one who is blocked, up to the limit, and then tells it. */
static void test_the_window_waits_for_those_behind(void **state)
{
    (void)state;
    struct world *world = audience_new(20, &no_history);
    struct shard *shard = world->shards;
    struct peer *slow = world->peers[7];
    world->sockets_take_all = true;
    publish_news(world, 0, 64);
    fanout_take(&shard->fanout);
    fanout_run(&shard->fanout);
    assert_ptr_equal(shard->sends[7].peer, slow);
    slow->sending = false;
    shard->short_sends++;
    fanout_sent(&shard->fanout, 7, 0);
    shard->sends[7] = (struct send){.bytes = {"", 0}, .hash = hash_bytes(&key, "", 0)};
    for (unsigned i = 0; i < 50; i++) {
        publish_news(world, 0, 64);
        shard_turn(world, shard);
    }
    shard_finish(world, shard);
    assert_true(slow->blocked);
    assert_int_equal(slow->next, 0);
    assert_int_equal(window_count(slow), 51);
    world_settle(world);
    assert_int_equal(slow->next, 51);
    assert_int_equal(shard->fanout.stats.lapped, 0);
    assert_int_equal(window_count(slow), 0);
    audience_free(world);
}

/* One turn in which the first of the audience takes only `taken` bytes. */
static void turn_with_a_short_send(struct world *world, size_t taken)
{
    struct shard *shard = world->shards;
    struct peer *slow = world->peers[0];
    shard_turn(world, shard);
    assert_ptr_equal(shard->sends[0].peer, slow);
    slow->sending = false;
    shard->short_sends++;
    shard->deliveries += peer_follow(slow, shard->sends[0].bytes, taken);
    fanout_sent(&shard->fanout, 0, (ssize_t)taken);
    shard->sends[0] = (struct send){.bytes = {"", 0}, .hash = hash_bytes(&key, "", 0)};
    shard_finish(world, shard);
}

/* What only those need who are behind is there only while they are. */
static void test_catching_up_ends(void **state)
{
    (void)state;
    struct world *world = audience_under(2, &some_history, NULL);
    struct shard *shard = world->shards;
    struct subscriber *slow = &world->peers[0]->subscriber;
    assert_null(slow->catch_up);
    publish_news(world, 0, 64);
    turn_with_a_short_send(world, 10);
    assert_int_equal(slow->catch_up->partial_sent, 10);
    peer_writable(world->peers[0]);
    for (unsigned i = 0; i < 2; i++) {
        publish_news(world, 0, 64);
        shard_turn(world, shard);
        shard_finish(world, shard);
    }
    shard_turn(world, shard);
    shard_finish(world, shard);
    assert_int_equal(world->peers[0]->next, 3);
    assert_true(fanout_is_quiet(&shard->fanout, slow));
    assert_null(slow->catch_up);
    assert_null(world->peers[1]->subscriber.catch_up);
    /* Set back with nothing missing, until it is where it was. */
    fanout_hold(&shard->fanout, slow);
    assert_int_equal(fanout_set_back(slow, slow->position, 0), 0);
    assert_null(slow->catch_up);
    assert_int_equal(fanout_set_back(slow, slow->position, slow->position + 1), 0);
    assert_int_equal(subscriber_complete_after(slow), slow->position + 1);
    fanout_release(&shard->fanout, slow);
    assert_non_null(slow->catch_up);
    publish_news(world, 0, 64);
    publish_news(world, 0, 64);
    for (unsigned i = 0; i < 3; i++) {
        shard_turn(world, shard);
        shard_finish(world, shard);
    }
    publish_news(world, 0, 64);
    shard_turn(world, shard);
    shard_finish(world, shard);
    assert_null(slow->catch_up);
    audience_free(world);
}

static void sweep_at(struct world *world, uint64_t now_ms)
{
    world->now_ms = now_ms;
    world->shards->fanout.wall_ms = now_ms;
    fanout_sweep(&world->shards->fanout, 3);
}

/* The age of what a stalled one has not taken counts, and traffic that follows does not reset it.
 */
static void test_a_stalled_one_is_let_go_by_age(void **state)
{
    (void)state;
    static const struct lag_rule rule = {{{"news", 4}, true}, {LAG_DISCONNECT, 0, 100}};
    struct world *world = audience_under(2, &some_history, &rule);
    struct shard *shard = world->shards;
    world->now_ms = 1000;
    publish_news(world, 0, 64);
    turn_with_a_short_send(world, 10);
    for (uint64_t now_ms = 1010; now_ms <= 1100; now_ms += 10) {
        sweep_at(world, now_ms);
        publish_news(world, 0, 64);
        shard_turn(world, shard);
        shard_finish(world, shard);
    }
    assert_int_equal(shard->disconnected, 0);
    sweep_at(world, 1101);
    assert_int_equal(shard->disconnected, 1);
    assert_int_equal(world->peer_count, 1);
    assert_int_equal(world->peers[0]->next, 11);
    audience_free(world);
}

/* What is no longer kept counts too: the limit may be beyond what the history holds. */
static void test_a_stalled_one_is_let_go_when_its_next_event_is_gone(void **state)
{
    (void)state;
    static const struct lag_rule rule = {{{"news", 4}, true}, {LAG_DISCONNECT, 1 << 22, 0}};
    static const struct history_limits short_history = {5, 1 << 22, 1 << 20};
    struct world *world = audience_under(2, &short_history, &rule);
    struct shard *shard = world->shards;
    publish_news(world, 0, 64);
    turn_with_a_short_send(world, 10);
    for (unsigned i = 0; i < 20; i++) {
        publish_news(world, 0, 100000);
        shard_turn(world, shard);
        shard_finish(world, shard);
    }
    sweep_at(world, world->now_ms);
    assert_int_equal(shard->disconnected, 1);
    assert_int_equal(world->peer_count, 1);
    audience_free(world);
}

/* Who is over the limit when its socket has room again gets the rest of its event, then the newest.
 */
static void test_one_that_lags_skips_to_the_newest(void **state)
{
    (void)state;
    static const struct lag_rule rule = {{{"news", 4}, true}, {LAG_SKIP, 2000, 1000000}};
    struct world *world = audience_under(1, &some_history, &rule);
    struct shard *shard = world->shards;
    struct peer *slow = world->peers[0];
    publish_news(world, 0, 300);
    turn_with_a_short_send(world, 10);
    for (unsigned i = 0; i < 9; i++) {
        publish_news(world, 0, 300);
        shard_turn(world, shard);
    }
    sweep_at(world, 2000);
    assert_int_equal(shard->skipped, 0);
    peer_writable(slow);
    shard_turn(world, shard);
    shard_finish(world, shard);
    assert_int_equal(slow->next, 1);
    assert_int_equal(slow->offset, 0);
    shard_turn(world, shard);
    assert_int_equal(shard->skipped, 1);
    assert_int_equal(shard->send_count, 0);
    assert_int_equal(slow->next, 10);
    publish_news(world, 0, 300);
    world_settle(world);
    assert_int_equal(slow->next, 11);
    assert_int_equal(shard->skipped, 1);
    audience_free(world);
}

/* Under its limits, it gets everything. */
static void test_one_that_lags_a_little_misses_nothing(void **state)
{
    (void)state;
    static const struct lag_rule rule = {{{"news", 4}, true}, {LAG_SKIP, 1 << 20, 1000}};
    struct world *world = audience_under(1, &some_history, &rule);
    struct shard *shard = world->shards;
    publish_news(world, 0, 300);
    turn_with_a_short_send(world, 10);
    for (unsigned i = 0; i < 9; i++) {
        publish_news(world, 0, 300);
        shard_turn(world, shard);
    }
    sweep_at(world, world->now_ms + 1000);
    world_settle(world);
    assert_int_equal(shard->skipped, 0);
    assert_int_equal(world->peers[0]->next, 10);
    audience_free(world);
}

/* What somebody asked to have replayed is old and much, and no lag. */
static void test_a_replay_is_no_lag(void **state)
{
    (void)state;
    static const struct lag_rule rule = {{{"news", 4}, true}, {LAG_DISCONNECT, 2000, 100}};
    struct world *world = audience_under(1, &some_history, &rule);
    struct shard *shard = world->shards;
    struct peer *peer = world->peers[0];
    fanout_leave(&shard->fanout, &peer->subscriber, 0);
    for (unsigned i = 0; i < 20; i++) {
        publish_news(world, 0, 300);
    }
    world->now_ms += 10000;
    struct channel_name news = name_of(0);
    assert_int_equal(fanout_join(&shard->fanout, &peer->subscriber, channel_names(&news, 1), 0, 0),
                     SUBSCRIBE_DONE);
    peer->joined = 20;
    peer->held = true;
    publish_news(world, 0, 300);
    world_settle(world);
    assert_int_equal(shard->disconnected, 0);
    assert_int_equal(peer->next, 21);
    audience_free(world);
}

/* Somebody who waits does not hold up those who came first: the budget goes round. */
static void test_those_behind_are_served_in_turn(void **state)
{
    (void)state;
    struct world *world = audience_new(3 * FANOUT_READY_MAX, &some_history);
    struct shard *shard = world->shards;
    for (unsigned i = 0; i < world->peer_count; i++) {
        fanout_hold(&shard->fanout, &world->peers[i]->subscriber);
    }
    publish_news(world, 0, 64);
    shard_turn(world, shard);
    for (unsigned i = 0; i < world->peer_count; i++) {
        fanout_release(&shard->fanout, &world->peers[i]->subscriber);
    }
    for (unsigned turn = 0; turn < 3; turn++) {
        shard_turn(world, shard);
        assert_int_equal(shard->send_count, FANOUT_READY_MAX);
        assert_ptr_equal(shard->sends[0].peer, world->peers[turn * FANOUT_READY_MAX]);
    }
    world_settle(world);
    audience_free(world);
}

static void test_due_events_are_not_quiet(void **state)
{
    (void)state;
    struct world *world = audience_new(1, &no_history);
    struct shard *shard = world->shards;
    struct subscriber *subscriber = &world->peers[0]->subscriber;
    assert_true(fanout_is_quiet(&shard->fanout, subscriber));
    publish_news(world, 0, 64);
    fanout_take(&shard->fanout);
    assert_false(fanout_is_quiet(&shard->fanout, subscriber));
    fanout_run(&shard->fanout);
    assert_false(fanout_is_quiet(&shard->fanout, subscriber));
    shard_finish(world, shard);
    assert_true(fanout_is_quiet(&shard->fanout, subscriber));
    audience_free(world);
}

/* A position that the hub has not reached is nobody's: such a subscriber joins at the present. */
static void test_a_position_from_the_future_is_now(void **state)
{
    (void)state;
    struct world *world = audience_new(1, &no_history);
    struct shard *shard = world->shards;
    struct peer *peer = world->peers[0];
    fanout_leave(&shard->fanout, &peer->subscriber, 0);
    struct channel_name news = name_of(0);
    assert_int_equal(
        fanout_join(&shard->fanout, &peer->subscriber, channel_names(&news, 1), 1000000, 0),
        SUBSCRIBE_DONE);
    peer->held = true;
    publish_news(world, 0, 64);
    world_settle(world);
    assert_int_equal(peer->next, 1);
    audience_free(world);
}

/* Who resumes from long ago, on a channel where nothing has happened since, has missed nothing. */
static void test_resuming_where_nothing_happened(void **state)
{
    (void)state;
    struct world *world = audience_new(1, &no_history);
    struct shard *shard = world->shards;
    struct peer *peer = world->peers[0];
    fanout_leave(&shard->fanout, &peer->subscriber, 0);
    for (unsigned i = 0; i < 5; i++) {
        publish_news(world, 0, 64);
    }
    struct channel_name third = name_of(4);
    assert_int_equal(fanout_join(&shard->fanout, &peer->subscriber, channel_names(&third, 1), 0, 0),
                     SUBSCRIBE_DONE);
    peer->channels[0] = 4;
    peer->held = true;
    world_settle(world);
    assert_true(fanout_is_quiet(&shard->fanout, &peer->subscriber));
    publish_news(world, 4, 64);
    world_settle(world);
    assert_int_equal(peer->next, 6);
    assert_int_equal(shard->fanout.stats.lapped, 0);
    audience_free(world);
}

/* Somebody who is held keeps the window; histories have less. What is told gone is not sent. */
static void test_resuming_begins_where_history_does(void **state)
{
    (void)state;
    static const struct history_limits two = {2, 1 << 20, 1 << 20};
    struct world *world = audience_new(2, &two);
    struct shard *shard = world->shards;
    struct peer *peer = world->peers[1];
    struct channel_name news = name_of(0);
    fanout_leave(&shard->fanout, &peer->subscriber, 0);
    fanout_hold(&shard->fanout, &world->peers[0]->subscriber);
    for (unsigned i = 0; i < 5; i++) {
        publish_news(world, 0, 64);
    }
    fanout_take(&shard->fanout);
    assert_int_equal(
        fanout_join(&shard->fanout, &peer->subscriber, channel_names(&news, 1), FANOUT_FROM_NOW, 0),
        SUBSCRIBE_DONE);
    struct resume_point point =
        resume_resolve(&world->sequencer, &peer->subscriber, RESUME_EARLIEST, 0);
    assert_int_equal(point.first_available, 4);
    assert_int_equal(point.position, 3);
    fanout_release(&shard->fanout, &world->peers[0]->subscriber);
    peer->subscriber.position = 5;
    fanout_release(&shard->fanout, &peer->subscriber);
    peer->next = 5;
    world_settle(world);
    audience_free(world);
}

/* The window cannot grow: everybody is told of the gap, those who keep up as well. */
static void test_no_memory_for_the_window_is_a_told_gap(void **state)
{
    (void)state;
    struct world *world = audience_new(50, &no_history);
    struct shard *shard = world->shards;
    /* One has its place in the feed. */
    publish_news(world, 0, 64);
    publish_news(world, 0, 64);
    memory_inject_failures(1, UINT32_MAX);
    fanout_take(&shard->fanout);
    memory_inject_failures(0, 0);
    fanout_run(&shard->fanout);
    assert_int_equal(shard->send_count, 0);
    assert_int_equal(shard->fanout.stats.lapped, 50);
    publish_news(world, 0, 64);
    world_settle(world);
    audience_free(world);
}

static void test_start_without_memory(void **state)
{
    (void)state;
    struct sequencer_options options = {.shard_count = 1, .channel_count_max = 4};
    struct sequencer sequencer;
    struct queue queue;
    struct fanout fanout;
    unsigned failures = 0;
    assert_int_equal(queue_init(&queue, 8), 0);
    for (uint64_t seed = 0; seed < 200; seed++) {
        memory_inject_failures(seed + run_seed, UINT32_MAX / 6);
        int r = sequencer_init(&sequencer, &options);
        if (r == 0) {
            sequencer_attach_queue(&sequencer, 0, &queue);
            r = fanout_init(&fanout, &sequencer, &queue, 0, 0);
            if (r == 0) {
                fanout_fini(&fanout);
            }
            sequencer_fini(&sequencer);
        }
        assert_true(r == 0 || r == -ENOMEM);
        failures += r != 0;
    }
    memory_inject_failures(0, 0);
    assert_in_range(failures, 1, 199);
    queue_fini(&queue);
}

int main(void)
{
    run_seed = seed_of_run();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_without_memory),
        cmocka_unit_test(test_a_delivery_allocates_nothing),
        cmocka_unit_test(test_one_event_is_sent_from_the_frame_itself),
        cmocka_unit_test(test_pending_events_go_out_in_one_send),
        cmocka_unit_test(test_memory_for_copies_goes_back_when_they_are_gone),
        cmocka_unit_test(test_a_pass_is_budgeted),
        cmocka_unit_test(test_a_pass_over_several_turns_leaves_nobody_out),
        cmocka_unit_test(test_turns_grow_while_no_event_comes),
        cmocka_unit_test(test_the_window_waits_for_those_behind),
        cmocka_unit_test(test_catching_up_ends),
        cmocka_unit_test(test_a_stalled_one_is_let_go_by_age),
        cmocka_unit_test(test_a_stalled_one_is_let_go_when_its_next_event_is_gone),
        cmocka_unit_test(test_one_that_lags_skips_to_the_newest),
        cmocka_unit_test(test_one_that_lags_a_little_misses_nothing),
        cmocka_unit_test(test_a_replay_is_no_lag),
        cmocka_unit_test(test_those_behind_are_served_in_turn),
        cmocka_unit_test(test_due_events_are_not_quiet),
        cmocka_unit_test(test_a_position_from_the_future_is_now),
        cmocka_unit_test(test_resuming_where_nothing_happened),
        cmocka_unit_test(test_resuming_begins_where_history_does),
        cmocka_unit_test(test_no_memory_for_the_window_is_a_told_gap),
        cmocka_unit_test(test_every_subscriber_gets_its_events),
        cmocka_unit_test(test_passes_over_many_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
