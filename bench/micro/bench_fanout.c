/*
 * Turns of the fan-out: all that the hub does for a delivery but the system call and its own io
 * layer. One operation is what the name says, for all subscribers.
 */
#include "bench/micro/hub_world.h"
#include "bench/micro/micro.h"

enum { SUBSCRIBERS = 1000 };

static void *set_up(void)
{
    return hub_world_new(SUBSCRIBERS, 1);
}

static void tear_down(void *world)
{
    hub_world_free(world);
}

static void run_events(void *context, uint64_t count, unsigned events)
{
    struct hub_world *world = context;
    for (uint64_t i = 0; i < count; i++) {
        for (unsigned j = 0; j < events; j++) {
            hub_world_publish(world, 0);
        }
        hub_world_settle(world);
    }
}

static void run_one(void *world, uint64_t count)
{
    run_events(world, count, 1);
}

static void run_16(void *world, uint64_t count)
{
    run_events(world, count, 16);
}

static void *set_up_small_turns(void)
{
    struct hub_world *world = hub_world_new(SUBSCRIBERS, 1);
    fanout_set_sends(&world->fanout, 32, 32);
    return world;
}

static void *set_up_channels(void)
{
    return hub_world_new(10000, 10000);
}

static void run_unicast(void *context, uint64_t count)
{
    struct hub_world *world = context;
    for (uint64_t i = 0; i < count; i++) {
        hub_world_publish(world, hub_world_random(world, world->channel_count));
        hub_world_settle(world);
    }
}

const struct micro micro_fanout[] = {
    {.name = "fanout/1_event_to_1000",
     .set_up = set_up,
     .run = run_one,
     .tear_down = tear_down,
     .items = SUBSCRIBERS,
     .batch = 1},
    {.name = "fanout/16_events_to_1000",
     .set_up = set_up,
     .run = run_16,
     .tear_down = tear_down,
     .items = 16 * SUBSCRIBERS,
     .batch = 1},
    {.name = "fanout/1_event_to_1000_in_turns_of_32",
     .set_up = set_up_small_turns,
     .run = run_one,
     .tear_down = tear_down,
     .items = SUBSCRIBERS,
     .batch = 1},
    {.name = "fanout/1_event_to_one_of_10000_channels",
     .set_up = set_up_channels,
     .run = run_unicast,
     .tear_down = tear_down,
     .batch = 10},
    {.name = NULL},
};
