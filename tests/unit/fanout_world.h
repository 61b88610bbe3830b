/*
 * The fan-out against a naive model that knows every event ever published: whatever a subscriber's
 * socket takes must be, byte for byte, the events of its channels in hub order, without a gap and
 * without a repetition, except where the fan-out said "lapped" or "lagging".
 *
 * One thread plays publishers, shards, sockets and owners in a random order. The sockets take all,
 * some or none of a send, fail, and become writable late; owners join, leave, hold and release at
 * any moment, also between a send and its result. Included by one test program.
 */
#ifndef SPATE_TESTS_UNIT_FANOUT_WORLD_H
#define SPATE_TESTS_UNIT_FANOUT_WORLD_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/base/memory.h"
#include "core/fanout.h"
#include "tests/unit/seeded.h"

enum {
    CHANNEL_COUNT = 6,
    EVERYBODY = CHANNEL_COUNT,
    CHANNELS_PER_PEER_MAX = 4,
    SHARDS_MAX = 3,
    EPOCH = 12345,
};

struct setup {
    const char *name;
    unsigned shard_count;
    unsigned peer_max;
    unsigned step_count;
    uint32_t queue_capacity;
    uint32_t short_percent;  /* of the sends */
    uint32_t large_one_in;   /* frames larger than a batch */
    uint32_t failure_one_in; /* of the allocations; 0: none fail */
    uint32_t channel_max;    /* 0: as many as there are names */
    uint64_t behind_bytes_max;
    uint64_t feed_bytes_max;
    uint64_t history_total;
    struct history_limits history;
    const struct lag_rule *lag_rules;
    unsigned lag_rule_count;
};

/* An event as the model remembers it: the text with its id, between the marks of its chunk. */
struct event {
    unsigned channel;
    uint64_t sequence;
    uint64_t published_ms;
    char *bytes;
    size_t text_offset;
    size_t text_len;
};

struct peer {
    struct subscriber subscriber;
    struct world *world;
    struct shard *shard;
    unsigned channels[CHANNELS_PER_PEER_MAX];
    unsigned channel_count;
    size_t next;     /* in the model's events: the first that has not been taken completely */
    size_t offset;   /* bytes of it that the socket has taken */
    uint64_t joined; /* the newest event then */
    uint64_t told;   /* events up to here may be missing: the peer knows */
    bool held;
    bool blocked;
    bool sending;
    unsigned place; /* in world->peers */
};

struct send {
    struct peer *peer; /* NULL: left meanwhile */
    struct span bytes;
    uint64_t hash;
    uint64_t frames; /* that it would complete */
};

struct shard {
    struct queue queue;
    struct fanout fanout;
    struct send sends[FANOUT_SENDS_MAX];
    uint32_t send_count;
    /* What the statistics should say. */
    uint64_t deliveries;
    uint64_t total_sends;
    uint64_t short_sends;
    uint64_t lapped;
    uint64_t skipped;
    uint64_t disconnected;
};

struct world {
    const struct setup *setup;
    struct random random;
    struct sequencer sequencer;
    struct shard *shards;
    struct event *events;
    size_t event_count;
    size_t event_capacity;
    struct peer **peers;
    unsigned peer_count;
    uint64_t now_ms;
    uint64_t sweep_after;
    bool sockets_take_all;
    uint64_t gaps;
};

static const struct hash_key key = {1, 2};

/* ---- The model --------------------------------------------------------------------------------
 */

/* Two names, each as a channel and as a client, and two more. */
static struct channel_name name_of(unsigned channel)
{
    static const char *const names[CHANNEL_COUNT] = {"news", "news", "b", "b", "third", "4"};
    if (channel == EVERYBODY) {
        return (struct channel_name){CHANNEL_BROADCAST, {NULL, 0}};
    }
    enum channel_kind kind = channel % 2 == 0 ? CHANNEL_PUBLIC : CHANNEL_CLIENT;
    return (struct channel_name){kind, span_of(names[channel])};
}

static bool event_concerns(const struct event *event, const struct peer *peer)
{
    if (event->channel == EVERYBODY) {
        return true;
    }
    for (unsigned i = 0; i < peer->channel_count; i++) {
        if (peer->channels[i] == event->channel) {
            return true;
        }
    }
    return false;
}

static struct span event_wire(const struct event *event, uint8_t view)
{
    return view == FRAME_RAW ? span_make(event->bytes + event->text_offset, event->text_len)
                             : span_make(event->bytes, event->text_offset + event->text_len + 2);
}

/* The first event from `from` on that concerns the peer; event_count if there is none. */
static size_t event_next(const struct world *world, const struct peer *peer, size_t from)
{
    while (from < world->event_count && !event_concerns(&world->events[from], peer)) {
        from++;
    }
    return from;
}

static size_t event_after(const struct world *world, uint64_t sequence)
{
    size_t i = world->event_count;
    while (i > 0 && world->events[i - 1].sequence > sequence) {
        i--;
    }
    return i;
}

/*
 * Compares bytes offered to the peer with what it must get, and moves the peer by the `taken` of
 * them that its socket took. Returns how many events those complete.
 */
static uint64_t peer_follow(struct peer *peer, struct span bytes, size_t taken)
{
    struct world *world = peer->world;
    size_t next = peer->next;
    size_t offset = peer->offset;
    uint64_t completed = 0;
    for (size_t at = 0; at < bytes.len;) {
        next = event_next(world, peer, next);
        assert_true(next < world->event_count);
        struct span wire = event_wire(&world->events[next], peer->subscriber.view);
        size_t len = min_size(wire.len - offset, bytes.len - at);
        if (offset == 0 && world->events[next].sequence <= peer->told &&
            memcmp(bytes.bytes + at, wire.bytes, len) != 0) {
            /* One that the peer was told is missing. */
            next++;
            continue;
        }
        assert_memory_equal(bytes.bytes + at, wire.bytes + offset, len);
        if (at < taken) {
            size_t took = min_size(len, taken - at);
            peer->next = next + (offset + took == wire.len);
            peer->offset = offset + took == wire.len ? 0 : offset + took;
            completed += offset + took == wire.len;
        }
        at += len;
        offset = offset + len == wire.len ? 0 : offset + len;
        next += offset == 0;
    }
    return completed;
}

/* How many events these bytes would complete, if they were all taken. */
static uint64_t peer_frames(struct peer *peer, struct span bytes)
{
    size_t next = peer->next;
    size_t offset = peer->offset;
    uint64_t completed = peer_follow(peer, bytes, bytes.len);
    peer->next = next;
    peer->offset = offset;
    return completed;
}

/* Everything up to `sequence` that concerns the peer has been taken by its socket. */
static void assert_peer_complete(const struct peer *peer, uint64_t sequence)
{
    const struct world *world = peer->world;
    size_t next = event_next(world, peer, max_u64(peer->next, event_after(world, peer->told)));
    assert_int_equal(peer->offset, 0);
    assert_true(next == world->event_count || world->events[next].sequence > sequence);
}

/* ---- Owners -----------------------------------------------------------------------------------
 */

static void peer_free(struct peer *peer)
{
    struct world *world = peer->world;
    struct shard *shard = peer->shard;
    for (uint32_t i = 0; i < shard->send_count; i++) {
        if (shard->sends[i].peer == peer) {
            shard->sends[i].peer = NULL;
        }
    }
    world->peers[peer->place] = world->peers[--world->peer_count];
    world->peers[peer->place]->place = peer->place;
    free(peer);
}

static void peer_leave(struct peer *peer)
{
    fanout_leave(&peer->shard->fanout, &peer->subscriber, peer->world->now_ms);
    peer_free(peer);
}

static void peer_join(struct world *world, struct shard *shard)
{
    struct peer *peer = calloc(1, sizeof(*peer));
    assert_non_null(peer);
    struct channel_name names[CHANNELS_PER_PEER_MAX];
    *peer = (struct peer){.world = world, .shard = shard, .held = true};
    peer->subscriber.view = one_in(&world->random, 3) ? FRAME_RAW : FRAME_CHUNKED;
    unsigned wanted = (unsigned)random_below(&world->random, CHANNELS_PER_PEER_MAX + 1);
    unsigned channel = (unsigned)random_below(&world->random, CHANNEL_COUNT);
    for (; peer->channel_count < wanted; channel = (channel + 1) % CHANNEL_COUNT) {
        names[peer->channel_count] = name_of(channel);
        peer->channels[peer->channel_count++] = channel;
    }
    uint64_t sequence = world->event_count;
    uint64_t from = FANOUT_FROM_NOW;
    if (one_in(&world->random, 3)) {
        /* Often so little ago that nothing has happened since on these channels. */
        uint64_t ago = one_in(&world->random, 2) ? 8 : sequence;
        from = sequence - random_below(&world->random, min_u64(ago, sequence) + 1);
    }
    peer->place = world->peer_count;
    enum subscribe_outcome outcome =
        fanout_join(&shard->fanout, &peer->subscriber, channel_names(names, peer->channel_count),
                    from, world->now_ms);
    if (outcome != SUBSCRIBE_DONE) {
        assert_true(outcome == SUBSCRIBE_NO_MEMORY ? world->setup->failure_one_in > 0
                                                   : world->setup->channel_max > 0);
        assert_false(subscriber_is_joined(&peer->subscriber));
        free(peer);
        return;
    }
    world->peers[world->peer_count++] = peer;
    peer->joined = sequence;
    peer->next = from == FANOUT_FROM_NOW ? world->event_count : event_after(world, from);
}

static void peer_release(struct peer *peer)
{
    peer->held = false;
    fanout_release(&peer->shard->fanout, &peer->subscriber);
}

static void peer_hold(struct peer *peer)
{
    const struct fanout *fanout = &peer->shard->fanout;
    if (fanout_is_quiet(fanout, &peer->subscriber)) {
        /* Other bytes could go out right now. */
        assert_false(peer->sending);
        assert_false(peer->blocked);
        assert_peer_complete(peer, fanout->dequeued);
    } else if (!one_in(&peer->world->random, 3)) {
        return;
    }
    peer->held = true;
    fanout_hold(&peer->shard->fanout, &peer->subscriber);
}

static void peer_writable(struct peer *peer)
{
    peer->blocked = false;
    fanout_writable(&peer->shard->fanout, &peer->subscriber);
}

/* ---- What the fan-out asks for ------------------------------------------------------------------
 */

static struct peer *peer_of(struct subscriber *subscriber)
{
    return container_of(subscriber, struct peer, subscriber);
}

static void handle_send(void *owner, struct subscriber *subscriber, struct span bytes,
                        uint32_t token)
{
    struct shard *shard = owner;
    struct peer *peer = peer_of(subscriber);
    assert_ptr_equal(peer->shard, shard);
    assert_false(peer->sending);
    assert_false(peer->held);
    assert_false(peer->blocked);
    assert_true(bytes.len > 0);
    assert_int_equal(token, shard->send_count);
    assert_true(token < FANOUT_SENDS_MAX);
    peer->sending = true;
    shard->sends[shard->send_count++] = (struct send){
        .peer = peer,
        .bytes = bytes,
        .hash = hash_bytes(&key, bytes.bytes, bytes.len),
        .frames = peer_frames(peer, bytes),
    };
    shard->total_sends++;
}

static void handle_blocked(void *owner, struct subscriber *subscriber)
{
    struct peer *peer = peer_of(subscriber);
    assert_ptr_equal(peer->shard, owner);
    assert_false(peer->blocked);
    peer->blocked = true;
}

static void handle_lapped(void *owner, struct subscriber *subscriber, uint64_t requested,
                          uint64_t available)
{
    struct peer *peer = peer_of(subscriber);
    struct world *world = peer->world;
    struct shard *shard = owner;
    assert_ptr_equal(peer->shard, shard);
    shard->lapped++;
    world->gaps++;
    /* The gap begins where the peer stands, between two events, and something is really lost. */
    assert_false(peer->sending);
    assert_int_equal(peer->offset, 0);
    assert_int_equal(subscriber->position, requested);
    assert_int_equal(subscriber_complete_after(subscriber), available);
    assert_true(available > peer->told);
    uint64_t known = max_u64(requested, peer->told);
    size_t next = event_next(world, peer, max_u64(peer->next, event_after(world, known)));
    assert_true(next < world->event_count);
    assert_true(world->events[next].sequence <= available);
    peer->told = available;
    switch (random_below(&world->random, 4)) {
    case 0:
        peer_leave(peer);
        break;
    case 1:
        peer->held = true;
        fanout_hold(&shard->fanout, subscriber);
        peer_release(peer);
        break;
    default:
        peer->held = true;
        fanout_hold(&shard->fanout, subscriber);
        break;
    }
}

/* Whether the peer is over a limit of this severity, as far as the shard can know. */
static bool peer_is_over(struct peer *peer, enum lag_policy policy)
{
    const struct world *world = peer->world;
    const struct fanout *fanout = &peer->shard->fanout;
    for (unsigned i = 0; i < world->setup->lag_rule_count; i++) {
        const struct lag_rule *rule = &world->setup->lag_rules[i];
        for (unsigned j = 0; j < peer->channel_count && rule->limits.policy == policy; j++) {
            if (!channel_pattern_fits(&rule->pattern, name_of(peer->channels[j]))) {
                continue;
            }
            uint64_t after = max_u64(peer->subscriber.position, peer->joined);
            uint64_t bytes = 0;
            uint64_t age_ms = 0;
            for (size_t k = event_after(world, after); k < world->event_count; k++) {
                const struct event *event = &world->events[k];
                if (event->channel == peer->channels[j] && event->sequence <= fanout->dequeued) {
                    age_ms = max_u64(age_ms, world->now_ms - event->published_ms);
                    bytes += sizeof(struct frame) + event->text_offset + event->text_len + 2;
                }
            }
            /* Further back than the shard remembers: perhaps nobody knows by how much. */
            bool is_far = after < subscriber_feed(&peer->subscriber, j)->base;
            if (bytes > rule->limits.bytes_max || age_ms > rule->limits.age_ms_max || is_far) {
                return true;
            }
        }
    }
    return false;
}

static void handle_lagging(void *owner, struct subscriber *subscriber, enum lag_policy policy)
{
    struct peer *peer = peer_of(subscriber);
    struct world *world = peer->world;
    struct shard *shard = owner;
    assert_ptr_equal(peer->shard, shard);
    assert_false(peer->sending);
    assert_true(peer_is_over(peer, policy));
    if (policy == LAG_DISCONNECT) {
        shard->disconnected++;
        peer_leave(peer);
        return;
    }
    assert_int_equal(policy, LAG_SKIP);
    assert_int_equal(peer->offset, 0);
    shard->skipped++;
    peer->held = true;
    fanout_skip(&shard->fanout, subscriber);
    assert_true(subscriber->position <= shard->fanout.dequeued);
    peer->told = subscriber->position;
    peer->next = max_u64(peer->next, event_after(world, subscriber->position));
    if (one_in(&world->random, 2)) {
        peer_release(peer);
    }
}

static void handle_failed(void *owner, struct subscriber *subscriber, int error)
{
    struct peer *peer = peer_of(subscriber);
    assert_ptr_equal(peer->shard, owner);
    assert_true(error == -ECONNRESET || peer->world->setup->failure_one_in > 0);
    peer_leave(peer);
}

static const struct fanout_handler handler = {
    .send = handle_send,
    .blocked = handle_blocked,
    .lapped = handle_lapped,
    .lagging = handle_lagging,
    .failed = handle_failed,
};

/* ---- One turn of a shard ------------------------------------------------------------------------
 */

static void memory_may_fail(struct world *world, bool may)
{
    uint32_t one_in = world->setup->failure_one_in;
    memory_inject_failures(random_next(&world->random),
                           may && one_in > 0 ? UINT32_MAX / one_in : 0);
}

/* How much of this send the socket takes; -errno if it is broken. */
static ssize_t socket_takes(struct world *world, size_t len)
{
    if (world->sockets_take_all ||
        random_below(&world->random, 100) >= world->setup->short_percent) {
        return (ssize_t)len;
    }
    if (one_in(&world->random, 20)) {
        return -ECONNRESET;
    }
    return one_in(&world->random, 4) ? 0 : (ssize_t)random_below(&world->random, len);
}

static void shard_finish_send(struct world *world, struct shard *shard, uint32_t token)
{
    struct send *send = &shard->sends[token];
    /* The bytes stayed as they were until now, whoever has left. */
    assert_int_equal(hash_bytes(&key, send->bytes.bytes, send->bytes.len), send->hash);
    ssize_t taken = socket_takes(world, send->bytes.len);
    struct peer *peer = send->peer;
    if (peer == NULL) {
        shard->deliveries += send->frames;
    } else {
        peer->sending = false;
        size_t len = taken > 0 ? (size_t)taken : 0;
        shard->deliveries += peer_follow(peer, send->bytes, len);
    }
    if (taken != (ssize_t)send->bytes.len) {
        shard->short_sends++;
        fanout_sent(&shard->fanout, token, taken);
    }
}

static void verify_feed(const struct feed *feed)
{
    uint32_t behind = 0;
    feed_verify(feed);
    for (uint32_t i = 0; i < feed->member_count; i++) {
        behind += (feed->members[i]->flags & SUBSCRIBER_BEHIND) != 0;
    }
    assert_int_equal(feed->behind_count, behind);
}

static void shard_verify(const struct world *world, const struct shard *shard)
{
    const struct fanout_stats *stats = &shard->fanout.stats;
    assert_int_equal(stats->sends, shard->total_sends);
    assert_int_equal(stats->short_sends, shard->short_sends);
    assert_int_equal(stats->deliveries, shard->deliveries);
    assert_int_equal(stats->lapped, shard->lapped);
    if (world->setup->peer_max > 100) {
        return;
    }
    verify_feed(shard->fanout.broadcast);
    for (unsigned i = 0; i < world->peer_count; i++) {
        struct subscriber *subscriber = &world->peers[i]->subscriber;
        if (world->peers[i]->shard != shard) {
            continue;
        }
        assert_ptr_equal(shard->fanout.broadcast->members[subscriber->broadcast_index], subscriber);
        for (unsigned j = 0; j < subscriber->channel_count; j++) {
            verify_feed(subscriber_feed(subscriber, j));
            assert_ptr_equal(
                subscriber_feed(subscriber, j)->members[*subscriber_index(subscriber, j)],
                subscriber);
        }
    }
}

static void shard_finish(struct world *world, struct shard *shard)
{
    for (uint32_t i = 0; i < shard->send_count; i++) {
        shard_finish_send(world, shard, i);
    }
    shard->send_count = 0;
    fanout_sends_final(&shard->fanout);
    shard_verify(world, shard);
}

static void shard_turn(struct world *world, struct shard *shard)
{
    shard_finish(world, shard);
    memory_may_fail(world, true);
    fanout_take(&shard->fanout);
    shard->fanout.wall_ms = world->now_ms;
    fanout_run(&shard->fanout);
    memory_may_fail(world, false);
}

/* ---- Publishing ---------------------------------------------------------------------------------
 */

enum { BATCH_MAX = 24 };

static size_t text_len_of(struct world *world)
{
    uint32_t large_one_in = world->setup->large_one_in;
    if (large_one_in > 0 && one_in(&world->random, large_one_in)) {
        return FANOUT_BATCH_BYTES_MAX - 50 + random_below(&world->random, 100);
    }
    uint64_t extra_max = one_in(&world->random, 10) ? 5000 : 100;
    return EVENT_ID_LEN + random_below(&world->random, extra_max);
}

/* The model writes the wire bytes itself. */
static void world_remember(struct world *world, unsigned channel, uint64_t sequence,
                           size_t text_len, size_t id_offset)
{
    if (world->event_count == world->event_capacity) {
        world->event_capacity = world->event_capacity * 2 + 64;
        world->events = realloc(world->events, world->event_capacity * sizeof(struct event));
        assert_non_null(world->events);
    }
    char size[20];
    int size_len = snprintf(size, sizeof(size), "%zx\r\n", text_len);
    struct event event = {.channel = channel, .sequence = sequence, .text_len = text_len};
    event.published_ms = world->now_ms;
    event.text_offset = (size_t)size_len;
    event.bytes = malloc(event.text_offset + text_len + 2);
    assert_non_null(event.bytes);
    memcpy(event.bytes, size, event.text_offset);
    text_fill(event.bytes + event.text_offset, text_len, sequence);
    event_id_write(event.bytes + event.text_offset + id_offset, EPOCH, sequence);
    memcpy(event.bytes + event.text_offset + text_len, "\r\n", 2);
    world->events[world->event_count++] = event;
}

static uint64_t subscribers_of(const struct world *world, unsigned channel)
{
    uint64_t count = 0;
    struct event event = {.channel = channel};
    for (unsigned i = 0; i < world->peer_count; i++) {
        count += event_concerns(&event, world->peers[i]);
    }
    return count;
}

static enum publish_outcome world_publish(struct world *world, unsigned wanted)
{
    struct publication publications[BATCH_MAX];
    unsigned channels[BATCH_MAX];
    unsigned count = 0;
    memory_may_fail(world, true);
    for (; count < wanted; count++) {
        channels[count] = (unsigned)random_below(&world->random, CHANNEL_COUNT + 1);
        size_t text_len = text_len_of(world);
        size_t id_offset = random_below(&world->random, text_len - EVENT_ID_LEN + 1);
        struct frame *frame = frame_of(text_len, id_offset, world->event_count + 1 + count);
        if (frame == NULL) {
            break;
        }
        publications[count] =
            (struct publication){.channel = name_of(channels[count]), .frame = frame};
    }
    size_t lens[BATCH_MAX];
    size_t offsets[BATCH_MAX];
    for (unsigned i = 0; i < count; i++) {
        lens[i] = publications[i].frame->text_len;
        offsets[i] = publications[i].frame->id_offset;
    }
    struct shard_set shards;
    enum publish_outcome outcome =
        sequencer_publish(&world->sequencer, publications, count, world->now_ms, &shards);
    memory_may_fail(world, false);
    for (unsigned i = 0; i < count; i++) {
        if (outcome != PUBLISH_DONE) {
            frame_unref(publications[i].frame);
            continue;
        }
        assert_int_equal(publications[i].sequence, world->event_count + 1);
        assert_int_equal(publications[i].subscribers, subscribers_of(world, channels[i]));
        world_remember(world, channels[i], publications[i].sequence, lens[i], offsets[i]);
    }
    return outcome;
}

/* ---- The world ----------------------------------------------------------------------------------
 */

static void world_init(struct world *world, const struct setup *setup, uint64_t seed)
{
    *world = (struct world){.setup = setup, .now_ms = 1000};
    random_init(&world->random, seed);
    struct sequencer_options options = {
        .shard_count = setup->shard_count,
        .epoch = EPOCH,
        .hash_key = key,
        .channel_count_max = setup->channel_max > 0 ? setup->channel_max : CHANNEL_COUNT,
        .channel_idle_ms = 50,
        .history = setup->history,
        .history_total_bytes_max = setup->history_total,
        .lag_rules = setup->lag_rules,
        .lag_rule_count = setup->lag_rule_count,
        .feed_bytes_max = setup->feed_bytes_max,
        .queue_bytes_max = 1 << 22,
    };
    assert_int_equal(sequencer_init(&world->sequencer, &options), 0);
    world->shards = calloc(setup->shard_count, sizeof(struct shard));
    world->peers = calloc(setup->peer_max, sizeof(struct peer *));
    assert_non_null(world->shards);
    assert_non_null(world->peers);
    for (unsigned i = 0; i < setup->shard_count; i++) {
        struct shard *shard = &world->shards[i];
        assert_int_equal(queue_init(&shard->queue, setup->queue_capacity), 0);
        sequencer_attach_queue(&world->sequencer, i, &shard->queue);
        assert_int_equal(fanout_init(&shard->fanout, &world->sequencer, &shard->queue, i,
                                     setup->behind_bytes_max),
                         0);
        fanout_set_handler(&shard->fanout, &handler, shard);
    }
}

static void world_fini(struct world *world)
{
    while (world->peer_count > 0) {
        peer_leave(world->peers[0]);
    }
    for (unsigned i = 0; i < world->setup->shard_count; i++) {
        fanout_fini(&world->shards[i].fanout);
        queue_fini(&world->shards[i].queue);
    }
    sequencer_fini(&world->sequencer);
    for (size_t i = 0; i < world->event_count; i++) {
        free(world->events[i].bytes);
    }
    free(world->events);
    free(world->peers);
    free(world->shards);
}

static struct peer *some_peer(struct world *world)
{
    return world->peer_count == 0 ? NULL
                                  : world->peers[random_below(&world->random, world->peer_count)];
}

static struct shard *some_shard(struct world *world)
{
    return &world->shards[random_below(&world->random, world->setup->shard_count)];
}

static void step_peer(struct world *world, struct peer *peer)
{
    if (peer == NULL) {
        return;
    }
    switch (random_below(&world->random, 8)) {
    case 0:
        if (one_in(&world->random, 4)) {
            peer_leave(peer);
        }
        break;
    case 1:
        if (!peer->held) {
            peer_hold(peer);
        }
        break;
    case 2:
    case 3:
    case 4:
        if (peer->held) {
            peer_release(peer);
        }
        break;
    default:
        if (peer->blocked) {
            peer_writable(peer);
        }
        break;
    }
}

static void step_housekeeping(struct world *world)
{
    world->now_ms += random_below(&world->random, 100);
    struct shard *shard = some_shard(world);
    shard->fanout.wall_ms = world->now_ms;
    fanout_sweep(&shard->fanout, 2);
    sequencer_sweep(&world->sequencer, world->now_ms, &world->sweep_after, 3);
    if (one_in(&world->random, 20)) {
        sequencer_forget(&world->sequencer,
                         name_of((unsigned)random_below(&world->random, CHANNEL_COUNT + 1)));
    }
}

static void world_step(struct world *world)
{
    enum publish_outcome outcome;
    switch (random_below(&world->random, 16)) {
    case 0:
    case 1:
    case 2:
        outcome = world_publish(world, 1 + (unsigned)random_below(&world->random, 3));
        assert_true(outcome != PUBLISH_NO_SUBSCRIBER);
        assert_true(outcome != PUBLISH_NO_MEMORY || world->setup->failure_one_in > 0);
        assert_true(outcome != PUBLISH_CHANNEL_LIMIT || world->setup->channel_max > 0);
        break;
    case 3:
        (void)world_publish(world, (unsigned)random_below(&world->random, BATCH_MAX + 1));
        break;
    case 4:
        if (world->peer_count < world->setup->peer_max) {
            memory_may_fail(world, true);
            peer_join(world, some_shard(world));
            memory_may_fail(world, false);
        }
        break;
    case 5:
        step_housekeeping(world);
        break;
    case 6:
    case 7:
    case 8:
    case 9:
        shard_turn(world, some_shard(world));
        break;
    default:
        step_peer(world, some_peer(world));
        break;
    }
}

/* True when nothing is left to do: everybody is writable and released, and nothing is due. */
static bool settle_once(struct world *world)
{
    for (unsigned i = 0; i < world->peer_count; i++) {
        struct peer *peer = world->peers[i];
        if (peer->blocked) {
            peer_writable(peer);
        }
        if (peer->held) {
            peer_release(peer);
        }
    }
    bool settled = true;
    for (unsigned i = 0; i < world->setup->shard_count; i++) {
        shard_turn(world, &world->shards[i]);
        settled = settled && !fanout_has_work(&world->shards[i].fanout);
    }
    /* Who was told of a gap in this turn may have been held on that occasion. */
    for (unsigned i = 0; i < world->peer_count; i++) {
        settled = settled && !world->peers[i]->held;
    }
    return settled;
}

/* With willing sockets everybody gets everything, in a bounded number of turns. */
static void world_settle(struct world *world)
{
    const struct setup *setup = world->setup;
    struct setup calm = *setup;
    calm.failure_one_in = 0;
    world->setup = &calm;
    world->sockets_take_all = true;
    unsigned turns = 0;
    while (!settle_once(world)) {
        assert_true(++turns < 20000);
    }
    for (unsigned i = 0; i < world->peer_count; i++) {
        struct peer *peer = world->peers[i];
        assert_peer_complete(peer, world->event_count);
        assert_true(fanout_is_quiet(&peer->shard->fanout, &peer->subscriber));
        assert_false((peer->subscriber.flags & SUBSCRIBER_BEHIND) != 0);
    }
    for (unsigned i = 0; i < setup->shard_count; i++) {
        /* With nobody behind, nothing is kept for anybody. */
        assert_int_equal(world->shards[i].fanout.broadcast->window.count, 0);
        assert_int_equal(queue_bytes(&world->shards[i].queue), 0);
    }
    world->sockets_take_all = false;
    world->setup = setup;
}

#endif
