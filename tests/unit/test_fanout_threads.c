/*
 * Two publishers and two shards in four real threads, for ThreadSanitizer as much as for the
 * asserts: each subscriber sees each publisher's numbers without a hole, in the hub's order,
 * however joins, leaves and short sends fall between them. SPATE_TEST_SEED repeats the random
 * choices, though not the schedule.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>

#include "core/fanout.h"
#include "tests/unit/seeded.h"

enum {
    PUBLISHERS = 2,
    SHARDS = 2,
    PEERS = 12,
    EVENTS = 3000,
    DIGITS = 8,
    /* "p nnnnnnnn <id>" */
    TEXT_LEN = 2 + DIGITS + 1 + EVENT_ID_LEN,
};

/* Threads may not use cmocka's asserts, which jump: they CHECK. */
struct peer {
    struct subscriber subscriber;
    struct channel_name names[PUBLISHERS];
    unsigned count;
    bool blocked;
    bool fresh[PUBLISHERS]; /* has not seen anything of this publisher yet */
    uint64_t numbers[PUBLISHERS];
    uint64_t sequence;
    char text[TEXT_LEN];
    size_t text_len;
};

struct shard {
    struct fanout fanout;
    struct queue queue;
    struct random random;
    struct peer peers[PEERS];
    struct {
        struct peer *peer;
        struct span bytes;
    } sends[FANOUT_SENDS_MAX];
    uint32_t send_count;
    uint64_t received;
    pthread_t thread;
};

struct publisher {
    unsigned number;
    pthread_t thread;
};

static struct sequencer sequencer;
static struct shard shards[SHARDS];
static struct publisher publishers[PUBLISHERS];
static unsigned publishers_done;
static uint64_t run_seed;

static struct channel_name name_of(unsigned publisher)
{
    return (struct channel_name){CHANNEL_PUBLIC, span_of(publisher == 0 ? "zero" : "one")};
}

/* ---- Publishers -------------------------------------------------------------------------------
 */

static void *publisher_main(void *argument)
{
    const struct publisher *publisher = argument;
    for (unsigned i = 0; i < EVENTS;) {
        struct publication publications[3];
        unsigned count = 0;
        for (; count < countof(publications) && i + count < EVENTS; count++) {
            struct frame *frame = frame_new(TEXT_LEN, TEXT_LEN - EVENT_ID_LEN);
            CHECK(frame != NULL);
            char text[TEXT_LEN + 1];
            snprintf(text, sizeof(text), "%u %0*u ", publisher->number, DIGITS, i + count);
            memcpy(frame_text(frame), text, TEXT_LEN - EVENT_ID_LEN);
            publications[count] =
                (struct publication){.channel = name_of(publisher->number), .frame = frame};
        }
        struct shard_set set;
        enum publish_outcome outcome;
        while ((outcome = sequencer_publish(&sequencer, publications, count, 1, &set)) ==
               PUBLISH_FULL) {
            sched_yield();
        }
        CHECK(outcome == PUBLISH_DONE);
        i += count;
    }
    /* Partner: the load in shard_main. Release: what was published comes before. */
    __atomic_fetch_add(&publishers_done, 1, __ATOMIC_RELEASE);
    return NULL;
}

/* ---- Subscribers ------------------------------------------------------------------------------
 */

static void peer_event(struct peer *peer)
{
    uint64_t epoch;
    uint64_t sequence;
    struct span id = span_make(peer->text + TEXT_LEN - EVENT_ID_LEN, EVENT_ID_LEN);
    unsigned publisher = (unsigned)(peer->text[0] - '0');
    CHECK(publisher < PUBLISHERS);
    CHECK(event_id_parse(id, &epoch, &sequence));
    CHECK(sequence > peer->sequence);
    peer->sequence = sequence;
    uint64_t number = strtoull(peer->text + 2, NULL, 10);
    CHECK(peer->fresh[publisher] || number == peer->numbers[publisher] + 1);
    peer->fresh[publisher] = false;
    peer->numbers[publisher] = number;
}

static uint64_t peer_take(struct peer *peer, struct span bytes)
{
    uint64_t events = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        peer->text[peer->text_len++] = bytes.bytes[i];
        if (peer->text_len == TEXT_LEN) {
            peer_event(peer);
            peer->text_len = 0;
            events++;
        }
    }
    return events;
}

static void peer_join(struct shard *shard, struct peer *peer)
{
    *peer = (struct peer){.fresh = {true, true}};
    peer->subscriber.view = FRAME_RAW;
    unsigned first = (unsigned)random_below(&shard->random, PUBLISHERS);
    peer->count = 1 + (unsigned)random_below(&shard->random, PUBLISHERS);
    for (unsigned i = 0; i < peer->count; i++) {
        peer->names[i] = name_of((first + i) % PUBLISHERS);
    }
    CHECK(fanout_join(&shard->fanout, &peer->subscriber, channel_names(peer->names, peer->count),
                      FANOUT_FROM_NOW, 1) == SUBSCRIBE_DONE);
    fanout_release(&shard->fanout, &peer->subscriber);
}

/* Also between a turn's sends and their results. */
static void peer_leave(struct shard *shard, struct peer *peer)
{
    fanout_leave(&shard->fanout, &peer->subscriber, 1);
    for (uint32_t i = 0; i < shard->send_count; i++) {
        if (shard->sends[i].peer == peer) {
            shard->sends[i].peer = NULL;
        }
    }
}

/* ---- Shards -----------------------------------------------------------------------------------
 */

static void handle_send(void *owner, struct subscriber *subscriber, struct span bytes,
                        uint32_t token)
{
    struct shard *shard = owner;
    CHECK(token == shard->send_count);
    shard->sends[token].peer = container_of(subscriber, struct peer, subscriber);
    shard->sends[token].bytes = bytes;
    shard->send_count++;
}

static void handle_blocked(void *owner, struct subscriber *subscriber)
{
    (void)owner;
    container_of(subscriber, struct peer, subscriber)->blocked = true;
}

static void handle_lapped(void *owner, struct subscriber *subscriber, uint64_t requested,
                          uint64_t available)
{
    (void)owner;
    (void)subscriber;
    (void)requested;
    (void)available;
    /* Nobody falls behind that far. */
    CHECK(false);
}

static void handle_failed(void *owner, struct subscriber *subscriber, int error)
{
    (void)owner;
    (void)subscriber;
    CHECK(error == 0);
}

static const struct fanout_handler handler = {
    .send = handle_send,
    .blocked = handle_blocked,
    .lapped = handle_lapped,
    .failed = handle_failed,
};

static void shard_finish(struct shard *shard)
{
    for (uint32_t token = 0; token < shard->send_count; token++) {
        struct peer *peer = shard->sends[token].peer;
        struct span bytes = shard->sends[token].bytes;
        if (one_in(&shard->random, 5)) {
            bytes.len = random_below(&shard->random, bytes.len);
            fanout_sent(&shard->fanout, token, (ssize_t)bytes.len);
        }
        if (peer != NULL) {
            shard->received += peer_take(peer, bytes);
        }
    }
    shard->send_count = 0;
    fanout_sends_final(&shard->fanout);
}

static bool shard_is_idle(struct shard *shard)
{
    bool blocked = false;
    for (unsigned i = 0; i < PEERS; i++) {
        blocked = blocked || shard->peers[i].blocked;
    }
    return !blocked && !fanout_has_work(&shard->fanout);
}

static void *shard_main(void *argument)
{
    struct shard *shard = argument;
    for (;;) {
        /* Partner: the addition in publisher_main. Before the queue is looked at for the last time.
         */
        bool done = __atomic_load_n(&publishers_done, __ATOMIC_ACQUIRE) == PUBLISHERS;
        shard_finish(shard);
        if (done && shard_is_idle(shard)) {
            break;
        }
        fanout_take(&shard->fanout);
        fanout_run(&shard->fanout);
        fanout_sweep(&shard->fanout, 0);
        struct peer *peer = &shard->peers[random_below(&shard->random, PEERS)];
        if (subscriber_is_joined(&peer->subscriber) && one_in(&shard->random, 20)) {
            peer_leave(shard, peer);
            peer->blocked = false;
        } else if (!subscriber_is_joined(&peer->subscriber)) {
            peer_join(shard, peer);
        }
        for (unsigned i = 0; i < PEERS; i++) {
            if (shard->peers[i].blocked) {
                shard->peers[i].blocked = false;
                fanout_writable(&shard->fanout, &shard->peers[i].subscriber);
            }
        }
        sched_yield();
    }
    for (unsigned i = 0; i < PEERS; i++) {
        if (subscriber_is_joined(&shard->peers[i].subscriber)) {
            peer_leave(shard, &shard->peers[i]);
        }
    }
    return NULL;
}

static void test_publishers_and_shards(void **state)
{
    (void)state;
    struct sequencer_options options = {
        .shard_count = SHARDS,
        .channel_count_max = PUBLISHERS,
        .channel_idle_ms = 1,
        .feed_bytes_max = 1 << 20,
        .queue_bytes_max = 1 << 20,
    };
    assert_int_equal(sequencer_init(&sequencer, &options), 0);
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *shard = &shards[i];
        assert_int_equal(queue_init(&shard->queue, 64), 0);
        sequencer_attach_queue(&sequencer, i, &shard->queue);
        assert_int_equal(fanout_init(&shard->fanout, &sequencer, &shard->queue, i, 1 << 24), 0);
        fanout_set_handler(&shard->fanout, &handler, shard);
        random_init(&shard->random, run_seed + i);
        for (unsigned j = 0; j < PEERS; j++) {
            peer_join(shard, &shard->peers[j]);
        }
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        assert_int_equal(pthread_create(&shards[i].thread, NULL, shard_main, &shards[i]), 0);
    }
    for (unsigned i = 0; i < PUBLISHERS; i++) {
        publishers[i].number = i;
        assert_int_equal(
            pthread_create(&publishers[i].thread, NULL, publisher_main, &publishers[i]), 0);
    }
    /* Meanwhile somebody looks. */
    uint64_t after = 0;
    struct sequencer_stats stats;
    do {
        sequencer_sweep(&sequencer, 1000, &after, 10);
        sequencer_get_stats(&sequencer, &stats);
        sched_yield();
    } while (stats.published < PUBLISHERS * EVENTS);
    for (unsigned i = 0; i < PUBLISHERS; i++) {
        assert_int_equal(pthread_join(publishers[i].thread, NULL), 0);
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        assert_int_equal(pthread_join(shards[i].thread, NULL), 0);
        assert_true(shards[i].received > EVENTS);
        fanout_fini(&shards[i].fanout);
        queue_fini(&shards[i].queue);
    }
    sequencer_fini(&sequencer);
}

int main(void)
{
    run_seed = seed_of_run();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_publishers_and_shards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
