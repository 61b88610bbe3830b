/*
 * Waking many shards: each sleeper once, nobody more than a few, whatever wakes by itself
 * meanwhile. SPATE_TEST_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

#include "core/base/random.h"
#include "core/relay.h"
#include "tests/unit/seeded.h"

static uint64_t run_seed;

/* ---- One thread: shards that take turns ------------------------------------------------------ */

struct model_shard {
    struct doorbell doorbell;
    struct relay relay;
    unsigned wakes; /* that it got */
    unsigned depth; /* wakes between the publisher and this one */
};

struct model {
    struct model_shard shards[SHARD_COUNT_MAX];
    struct random random;
    uint64_t
        stirs; /* of 256 shards that are given a share, so many awake by themselves just then */
    unsigned giver;                  /* how far the one who wakes is from the publisher */
    unsigned gave;                   /* wakes that it has made */
    unsigned queue[SHARD_COUNT_MAX]; /* who was woken and has not had its turn */
    unsigned queued;
};

static struct doorbell *model_doorbell(void *owner, unsigned shard)
{
    struct model *model = owner;
    return &model->shards[shard].doorbell;
}

static struct relay *model_relay(void *owner, unsigned shard)
{
    struct model *model = owner;
    if (random_below(&model->random, 256) < model->stirs) {
        doorbell_disarm(&model->shards[shard].doorbell);
    }
    return &model->shards[shard].relay;
}

static void model_wake(void *owner, unsigned shard)
{
    struct model *model = owner;
    model->shards[shard].wakes++;
    model->shards[shard].depth = model->giver + 1;
    model->gave++;
    model->queue[model->queued++] = shard;
}

static void model_relay_wake(struct model *model, unsigned depth, const struct shard_set *set)
{
    struct relay_shards world = {model, model_doorbell, model_relay, model_wake};
    model->giver = depth;
    model->gave = 0;
    relay_wake(&world, set);
    assert_true(model->gave <= RELAY_WIDTH);
}

/* Wakes some of `count` shards, of which some sleep, and lets the woken have their turns. */
static void model_run(struct model *model, unsigned count, uint64_t stirs, unsigned depth_max)
{
    struct shard_set set = {0};
    bool slept[SHARD_COUNT_MAX];
    *model = (struct model){.random = model->random, .stirs = stirs};
    uint64_t asleep = 1 + random_below(&model->random, 256);
    uint64_t wanted = 1 + random_below(&model->random, 256);
    for (unsigned i = 0; i < count; i++) {
        slept[i] = random_below(&model->random, 256) < asleep;
        if (slept[i]) {
            doorbell_arm(&model->shards[i].doorbell);
        }
        if (random_below(&model->random, 256) < wanted) {
            shard_set_add(&set, i);
        }
    }
    model_relay_wake(model, 0, &set);
    while (model->queued > 0) {
        unsigned pick = (unsigned)random_below(&model->random, model->queued);
        unsigned shard = model->queue[pick];
        struct shard_set more = {0};
        model->queue[pick] = model->queue[--model->queued];
        doorbell_disarm(&model->shards[shard].doorbell);
        relay_take(&model->shards[shard].relay, &more);
        model_relay_wake(model, model->shards[shard].depth, &more);
    }
    for (unsigned i = 0; i < count; i++) {
        const struct model_shard *shard = &model->shards[i];
        assert_true(relay_is_empty(&shard->relay));
        assert_true(shard->depth <= depth_max);
        if (shard_set_has(&set, i)) {
            assert_int_equal(shard->doorbell.sleeping, 0);
        }
        if (stirs == 0) {
            assert_int_equal(shard->wakes, shard_set_has(&set, i) && slept[i]);
        } else {
            assert_true(shard->wakes <= (shard_set_has(&set, i) && slept[i]));
        }
    }
}

static void test_each_sleeper_is_woken_once(void **state)
{
    (void)state;
    struct model model;
    random_init(&model.random, run_seed);
    for (unsigned i = 0; i < 2000; i++) {
        model_run(&model, 64, 0, 2);
        model_run(&model, SHARD_COUNT_MAX, 0, 3);
        model_run(&model, 1 + (unsigned)random_below(&model.random, SHARD_COUNT_MAX), 0, 3);
    }
}

static void test_a_share_is_not_left_with_one_who_is_awake(void **state)
{
    (void)state;
    struct model model;
    random_init(&model.random, run_seed);
    for (unsigned i = 0; i < 2000; i++) {
        model_run(&model, 1 + (unsigned)random_below(&model.random, SHARD_COUNT_MAX),
                  random_below(&model.random, 256), 3);
    }
}

/* ---- Threads that really sleep ----------------------------------------------------------------
 */

enum { SLEEPER_COUNT = 24, ROUND_COUNT = 200 };

struct sleeper {
    pthread_t thread;
    unsigned number;
    struct doorbell doorbell;
    struct relay relay;
    sem_t woken;
    uint32_t seen; /* atomic: the last round that it has noticed */
};

struct dormitory {
    struct sleeper sleepers[SLEEPER_COUNT];
    uint32_t round; /* atomic: what they are woken for */
    uint32_t over;  /* atomic: all have seen the last */
};

static struct dormitory dormitory;

static struct doorbell *sleeper_doorbell(void *owner, unsigned shard)
{
    (void)owner;
    return &dormitory.sleepers[shard].doorbell;
}

static struct relay *sleeper_relay(void *owner, unsigned shard)
{
    (void)owner;
    return &dormitory.sleepers[shard].relay;
}

static void sleeper_wake(void *owner, unsigned shard)
{
    (void)owner;
    assert_int_equal(sem_post(&dormitory.sleepers[shard].woken), 0);
}

static const struct relay_shards sleepers_world = {NULL, sleeper_doorbell, sleeper_relay,
                                                   sleeper_wake};

static void *sleeper_run(void *context)
{
    struct sleeper *sleeper = context;
    while (__atomic_load_n(&dormitory.over, __ATOMIC_ACQUIRE) == 0) {
        doorbell_arm(&sleeper->doorbell);
        if (relay_is_empty(&sleeper->relay) &&
            __atomic_load_n(&dormitory.round, __ATOMIC_ACQUIRE) == sleeper->seen) {
            sem_wait(&sleeper->woken);
        }
        doorbell_disarm(&sleeper->doorbell);
        struct shard_set more = {0};
        relay_take(&sleeper->relay, &more);
        relay_wake(&sleepers_world, &more);
        __atomic_store_n(&sleeper->seen, __atomic_load_n(&dormitory.round, __ATOMIC_ACQUIRE),
                         __ATOMIC_RELEASE);
    }
    return NULL;
}

/* The next round begins when all have seen the last: one wake lost, and the test never ends. */
static void test_threads_wake_one_another(void **state)
{
    (void)state;
    struct shard_set all = {0};
    for (unsigned i = 0; i < SLEEPER_COUNT; i++) {
        struct sleeper *sleeper = &dormitory.sleepers[i];
        shard_set_add(&all, i);
        sleeper->number = i;
        assert_int_equal(sem_init(&sleeper->woken, 0, 0), 0);
        assert_int_equal(pthread_create(&sleeper->thread, NULL, sleeper_run, sleeper), 0);
    }
    for (uint32_t round = 1; round <= ROUND_COUNT; round++) {
        __atomic_store_n(&dormitory.round, round, __ATOMIC_RELEASE);
        relay_wake(&sleepers_world, &all);
        for (unsigned i = 0; i < SLEEPER_COUNT; i++) {
            while (__atomic_load_n(&dormitory.sleepers[i].seen, __ATOMIC_ACQUIRE) != round) {
                sched_yield();
            }
        }
    }
    __atomic_store_n(&dormitory.over, 1, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < SLEEPER_COUNT; i++) {
        sleeper_wake(NULL, i);
        assert_int_equal(pthread_join(dormitory.sleepers[i].thread, NULL), 0);
        sem_destroy(&dormitory.sleepers[i].woken);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_sleeper_is_woken_once),
        cmocka_unit_test(test_a_share_is_not_left_with_one_who_is_awake),
        cmocka_unit_test(test_threads_wake_one_another),
    };
    run_seed = seed_of_run();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
