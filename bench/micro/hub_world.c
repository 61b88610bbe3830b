#include "bench/micro/hub_world.h"

#include <stdio.h>

#include "core/base/memory.h"

static void send_nothing(void *owner, struct subscriber *subscriber, struct span bytes,
                         uint32_t token)
{
    (void)owner;
    (void)subscriber;
    (void)bytes;
    (void)token;
}

static const struct fanout_handler handler = {.send = send_nothing};

struct channel_name hub_world_name(unsigned channel, char *room)
{
    int len = snprintf(room, 32, "channel-%u", channel);
    return (struct channel_name){CHANNEL_PUBLIC, span_make(room, (size_t)len)};
}

struct hub_world *hub_world_new(unsigned subscriber_count, unsigned channel_count)
{
    struct hub_world *world = memory_calloc(1, sizeof(*world));
    CHECK(world != NULL);
    world->subscriber_count = subscriber_count;
    world->channel_count = channel_count;
    world->now_ms = 1000;
    world->random = 88172645463325252ULL;
    world->subscribers = memory_calloc(subscriber_count, sizeof(world->subscribers[0]));
    CHECK(world->subscribers != NULL);
    struct sequencer_options options = {
        .shard_count = 1,
        .epoch = 12345,
        .hash_key = {1, 2},
        .channel_count_max = channel_count,
        .channel_idle_ms = 60000,
        .history = {1000, 1 << 20, 300000},
        .history_total_bytes_max = 256 << 20,
        .feed_bytes_max = 1 << 26,
        .queue_bytes_max = 1 << 26,
    };
    CHECK(sequencer_init(&world->sequencer, &options) == 0);
    CHECK(queue_init(&world->queue, 1 << 14) == 0);
    sequencer_attach_queue(&world->sequencer, 0, &world->queue);
    CHECK(fanout_init(&world->fanout, &world->sequencer, &world->queue, 0, 1 << 20) == 0);
    fanout_set_handler(&world->fanout, &handler, world);
    for (unsigned i = 0; i < subscriber_count; i++) {
        char room[32];
        struct channel_name name = hub_world_name(i % channel_count, room);
        CHECK(fanout_join(&world->fanout, &world->subscribers[i], channel_names(&name, 1),
                          FANOUT_FROM_NOW, world->now_ms) == SUBSCRIBE_DONE);
        fanout_release(&world->fanout, &world->subscribers[i]);
    }
    hub_world_settle(world);
    return world;
}

void hub_world_free(struct hub_world *world)
{
    for (unsigned i = 0; i < world->subscriber_count; i++) {
        fanout_leave(&world->fanout, &world->subscribers[i], world->now_ms);
    }
    hub_world_settle(world);
    fanout_fini(&world->fanout);
    queue_fini(&world->queue);
    sequencer_fini(&world->sequencer);
    memory_free(world->subscribers);
    memory_free(world);
}

void hub_world_publish(struct hub_world *world, unsigned channel)
{
    char room[32];
    struct publication publication = {
        .channel = hub_world_name(channel, room),
        .frame = frame_new(200, 4),
    };
    struct shard_set shards;
    CHECK(publication.frame != NULL);
    CHECK(sequencer_publish(&world->sequencer, &publication, 1, world->now_ms, &shards) ==
          PUBLISH_DONE);
}

void hub_world_settle(struct hub_world *world)
{
    do {
        fanout_take(&world->fanout);
        fanout_run(&world->fanout);
        fanout_sends_final(&world->fanout);
    } while (fanout_has_work(&world->fanout));
}

unsigned hub_world_random(struct hub_world *world, unsigned below)
{
    world->random ^= world->random << 13;
    world->random ^= world->random >> 7;
    world->random ^= world->random << 17;
    return (unsigned)(world->random % below);
}
