/* One entry through the queue of a shard: in one thread, and from one thread to another. */
#include <pthread.h>
#include <sched.h>

#include "bench/micro/micro.h"
#include "core/base/memory.h"
#include "core/queue.h"

enum { CAPACITY = 4096, BURST = 16 };

struct world {
    struct queue queue;
    pthread_t consumer;
    /* Relaxed, one writer each; the queue itself orders everything that matters. */
    uint64_t taken;
    uint32_t stop;
};

static void *set_up(void)
{
    struct world *world = memory_calloc(1, sizeof(*world));
    CHECK(world != NULL);
    CHECK(queue_init(&world->queue, CAPACITY) == 0);
    return world;
}

static void tear_down(void *context)
{
    struct world *world = context;
    queue_fini(&world->queue);
    memory_free(world);
}

static void run_one_thread(void *context, uint64_t count)
{
    struct world *world = context;
    struct queue_entry entry = {0};
    for (uint64_t i = 0; i < count; i++) {
        CHECK(queue_has_room(&world->queue, 1));
        entry.sequence = i + 1;
        queue_push(&world->queue, &entry, 200);
        queue_publish(&world->queue);
        CHECK(queue_pop(&world->queue, &entry));
        queue_release(&world->queue);
    }
}

static void *consume(void *context)
{
    struct world *world = context;
    struct queue_entry entry;
    uint64_t taken = 0;
    while (__atomic_load_n(&world->stop, __ATOMIC_RELAXED) == 0) {
        uint64_t before = taken;
        while (queue_pop(&world->queue, &entry)) {
            taken++;
        }
        if (taken == before) {
            sched_yield();
            continue;
        }
        queue_release(&world->queue);
        __atomic_store_n(&world->taken, taken, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void *set_up_two(void)
{
    struct world *world = set_up();
    CHECK(pthread_create(&world->consumer, NULL, consume, world) == 0);
    return world;
}

static void tear_down_two(void *context)
{
    struct world *world = context;
    __atomic_store_n(&world->stop, 1, __ATOMIC_RELAXED);
    CHECK(pthread_join(world->consumer, NULL) == 0);
    tear_down(world);
}

static void run_two_threads(void *context, uint64_t count)
{
    struct world *world = context;
    struct queue_entry entry = {0};
    for (uint64_t i = 0; i < count; i += BURST) {
        while (!queue_has_room(&world->queue, BURST)) {
            sched_yield();
        }
        for (uint64_t j = i; j < i + BURST && j < count; j++) {
            entry.sequence++;
            queue_push(&world->queue, &entry, 200);
        }
        queue_publish(&world->queue);
    }
}

const struct micro micro_queue[] = {
    {.name = "queue/one_thread",
     .set_up = set_up,
     .run = run_one_thread,
     .tear_down = tear_down,
     .batch = 1000},
    {.name = "queue/two_threads",
     .set_up = set_up_two,
     .run = run_two_threads,
     .tear_down = tear_down_two,
     .batch = 4096,
     .is_concurrent = true},
    {.name = NULL},
};
