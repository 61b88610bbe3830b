/* Finding things: a channel by its name among many, and where to resume in a long history. */
#include "bench/micro/hub_world.h"
#include "bench/micro/micro.h"
#include "core/resume.h"

enum { CHANNELS = 100000, EVENTS = 1000 };

static void tear_down(void *world)
{
    hub_world_free(world);
}

static void *set_up_channels(void)
{
    struct hub_world *world = hub_world_new(0, CHANNELS);
    for (unsigned i = 0; i < CHANNELS; i++) {
        hub_world_publish(world, i);
    }
    return world;
}

static void run_lookup(void *context, uint64_t count)
{
    struct hub_world *world = context;
    for (uint64_t i = 0; i < count; i++) {
        char room[32];
        struct channel_name name = hub_world_name(hub_world_random(world, CHANNELS), room);
        uint64_t hash = sequencer_hash(&world->sequencer, name);
        struct table_node *node = table_find(&world->sequencer.channels, hash);
        CHECK(node != NULL);
        struct channel *channel = container_of(node, struct channel, node);
        CHECK(span_equal(channel_name_of(channel), name.name));
    }
}

static void *set_up_history(void)
{
    struct hub_world *world = hub_world_new(1, 1);
    for (unsigned i = 0; i < EVENTS; i++) {
        hub_world_publish(world, 0);
    }
    hub_world_settle(world);
    return world;
}

static void run_resume(void *context, uint64_t count)
{
    struct hub_world *world = context;
    for (uint64_t i = 0; i < count; i++) {
        struct resume_point point =
            resume_resolve(&world->sequencer, &world->subscribers[0], RESUME_AFTER,
                           1 + hub_world_random(world, EVENTS));
        micro_keep(&point);
    }
}

const struct micro micro_channel[] = {
    {.name = "channel/one_of_100000",
     .set_up = set_up_channels,
     .run = run_lookup,
     .tear_down = tear_down,
     .batch = 100},
    {.name = "resume/among_1000_events",
     .set_up = set_up_history,
     .run = run_resume,
     .tear_down = tear_down,
     .batch = 100},
    {.name = NULL},
};
