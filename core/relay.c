#include "core/relay.h"

enum { RELAY_WORD_COUNT = SHARD_COUNT_MAX / 64 };

bool relay_is_empty(const struct relay *relay)
{
    uint64_t any = 0;
    for (unsigned i = 0; i < RELAY_WORD_COUNT; i++) {
        /* Relaxed: before a wait the fence of doorbell_arm orders it. */
        any |= __atomic_load_n(&relay->shards.bits[i], __ATOMIC_RELAXED);
    }
    return any == 0;
}

static void relay_give(struct relay *relay, const struct shard_set *shards)
{
    for (unsigned i = 0; i < RELAY_WORD_COUNT; i++) {
        if (shards->bits[i] != 0) {
            /* Relaxed: nothing else comes with it. Ringing the doorbell orders it for a sleeper. */
            __atomic_fetch_or(&relay->shards.bits[i], shards->bits[i], __ATOMIC_RELAXED);
        }
    }
}

void relay_take(struct relay *relay, struct shard_set *shards)
{
    for (unsigned i = 0; i < RELAY_WORD_COUNT; i++) {
        /* A load first, so that the line stays shared while nothing is there. */
        if (__atomic_load_n(&relay->shards.bits[i], __ATOMIC_RELAXED) != 0) {
            /* Relaxed: of several who take, the total order of the word gives each shard to one. */
            shards->bits[i] |= __atomic_exchange_n(&relay->shards.bits[i], 0, __ATOMIC_RELAXED);
        }
    }
}

/* Those who sleep, and how many they are. */
static unsigned sleepers_of(const struct relay_shards *world, const struct shard_set *shards,
                            struct shard_set *ret_sleepers)
{
    unsigned count = 0;
    *ret_sleepers = (struct shard_set){0};
    /* Partner: the fence in doorbell_arm, as in doorbell_ring; one for all of them. */
    doorbell_fence();
    for (unsigned i = shard_set_next(shards, 0); i < SHARD_COUNT_MAX;
         i = shard_set_next(shards, i + 1)) {
        if (doorbell_is_armed(world->doorbell(world->owner, i))) {
            shard_set_add(ret_sleepers, i);
            count++;
        }
    }
    return count;
}

/* Wakes the first that still sleeps, which wakes the others. */
static void wake_share(const struct relay_shards *world, struct shard_set *share)
{
    for (unsigned i = shard_set_next(share, 0); i < SHARD_COUNT_MAX; i = shard_set_next(share, 0)) {
        struct relay *relay = world->relay(world->owner, i);
        shard_set_remove(share, i);
        relay_give(relay, share);
        if (doorbell_ring(world->doorbell(world->owner, i))) {
            world->wake(world->owner, i);
            return;
        }
        *share = (struct shard_set){0};
        relay_take(relay, share);
    }
}

void relay_wake(const struct relay_shards *world, const struct shard_set *shards)
{
    struct shard_set sleepers;
    struct shard_set shares[RELAY_WIDTH] = {0};
    unsigned next = 0;
    if (sleepers_of(world, shards, &sleepers) == 0) {
        return;
    }
    for (unsigned i = shard_set_next(&sleepers, 0); i < SHARD_COUNT_MAX;
         i = shard_set_next(&sleepers, i + 1)) {
        shard_set_add(&shares[next++ % RELAY_WIDTH], i);
    }
    for (unsigned i = 0; i < min_u64(next, RELAY_WIDTH); i++) {
        wake_share(world, &shares[i]);
    }
}
