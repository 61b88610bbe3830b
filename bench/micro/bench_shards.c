/*
 * Publishing on a hub of 64 shards of which some listen: what one event costs its publisher. The
 * queues are emptied in between, which is counted too, as each listening shard has to do it.
 */
#include "bench/micro/hub_world.h"
#include "bench/micro/micro.h"
#include "core/base/memory.h"
#include "core/feed.h"

enum { SHARDS = 64, QUEUE_LENGTH = 1024, QUEUE_EMPTIED = 500 };

struct shards_world {
    struct sequencer sequencer;
    struct queue queues[SHARDS];
    struct feed *feeds[SHARDS];
    unsigned listening;
};

static void *set_up(unsigned listening)
{
    struct shards_world *world = memory_calloc(1, sizeof(*world));
    CHECK(world != NULL);
    struct sequencer_options options = {
        .shard_count = SHARDS,
        .epoch = 12345,
        .hash_key = {1, 2},
        .channel_count_max = 1,
        .channel_idle_ms = 60000,
        .history = {1000, 1 << 20, 300000},
        .history_total_bytes_max = 256 << 20,
        .feed_bytes_max = 1ULL << 40, /* nobody releases them here */
        .queue_bytes_max = 1 << 26,
    };
    CHECK(sequencer_init(&world->sequencer, &options) == 0);
    world->listening = listening;
    for (unsigned i = 0; i < SHARDS; i++) {
        char room[32];
        uint64_t sequence;
        struct channel_name name = hub_world_name(0, room);
        CHECK(queue_init(&world->queues[i], QUEUE_LENGTH) == 0);
        sequencer_attach_queue(&world->sequencer, i, &world->queues[i]);
        CHECK(i >= listening ||
              sequencer_subscribe(&world->sequencer, i, channel_names(&name, 1), 0,
                                  &world->feeds[i], &sequence) == SUBSCRIBE_DONE);
    }
    return world;
}

static void *set_up_1(void)
{
    return set_up(1);
}

static void *set_up_8(void)
{
    return set_up(8);
}

static void *set_up_64(void)
{
    return set_up(SHARDS);
}

static void empty_queues(struct shards_world *world)
{
    for (unsigned i = 0; i < world->listening; i++) {
        struct queue_entry entry;
        while (queue_pop(&world->queues[i], &entry)) {
            frame_unref(entry.frame);
        }
        queue_release(&world->queues[i]);
    }
}

static void run(void *context, uint64_t count)
{
    struct shards_world *world = context;
    for (uint64_t i = 0; i < count; i++) {
        char room[32];
        struct publication publication = {.channel = hub_world_name(0, room),
                                          .frame = frame_new(200, 4)};
        struct shard_set shards;
        CHECK(publication.frame != NULL);
        CHECK(sequencer_publish(&world->sequencer, &publication, 1, 1000, &shards) == PUBLISH_DONE);
        if (i % QUEUE_EMPTIED == QUEUE_EMPTIED - 1) {
            empty_queues(world);
        }
    }
    empty_queues(world);
}

static void tear_down(void *context)
{
    struct shards_world *world = context;
    for (unsigned i = 0; i < world->listening; i++) {
        sequencer_unsubscribe(&world->sequencer, &world->feeds[i], 1, 0);
        sequencer_detach(&world->sequencer, i, world->feeds[i]);
        feed_free(world->feeds[i]);
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        queue_fini(&world->queues[i]);
    }
    sequencer_fini(&world->sequencer);
    memory_free(world);
}

const struct micro micro_shards[] = {
    {.name = "shards/publish_to_1_of_64",
     .set_up = set_up_1,
     .run = run,
     .tear_down = tear_down,
     .batch = 100},
    {.name = "shards/publish_to_8_of_64",
     .set_up = set_up_8,
     .run = run,
     .tear_down = tear_down,
     .batch = 100},
    {.name = "shards/publish_to_64_of_64",
     .set_up = set_up_64,
     .run = run,
     .tear_down = tear_down,
     .batch = 100},
    {.name = NULL},
};
