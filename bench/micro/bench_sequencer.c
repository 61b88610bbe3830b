/* Giving an event its place: lock, channel, history, queue. The queue is emptied in between. */
#include "bench/micro/hub_world.h"
#include "bench/micro/micro.h"

enum { QUEUE_EMPTIED = 1000 };

static void *set_up_nobody(void)
{
    return hub_world_new(0, 10000);
}

static void *set_up_listener(void)
{
    return hub_world_new(1, 10000);
}

static void tear_down(void *world)
{
    hub_world_free(world);
}

static void run_one_channel(void *context, uint64_t count)
{
    struct hub_world *world = context;
    for (uint64_t i = 0; i < count; i++) {
        hub_world_publish(world, 0);
        if (i % QUEUE_EMPTIED == QUEUE_EMPTIED - 1) {
            hub_world_settle(world);
        }
    }
    hub_world_settle(world);
}

static void run_channels(void *context, uint64_t count)
{
    struct hub_world *world = context;
    for (uint64_t i = 0; i < count; i++) {
        hub_world_publish(world, hub_world_random(world, world->channel_count));
    }
}

const struct micro micro_sequencer[] = {
    {.name = "sequencer/publish_to_nobody",
     .set_up = set_up_nobody,
     .run = run_one_channel,
     .tear_down = tear_down,
     .batch = 100},
    {.name = "sequencer/publish_with_a_listener",
     .set_up = set_up_listener,
     .run = run_one_channel,
     .tear_down = tear_down,
     .batch = 100},
    {.name = "sequencer/publish_to_10000_channels",
     .set_up = set_up_nobody,
     .run = run_channels,
     .tear_down = tear_down,
     .batch = 100},
    {.name = NULL},
};
