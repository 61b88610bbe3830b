/*
 * Waking many shards as a tree. A wake is a system call of some microseconds: a publisher that woke
 * 64 sleepers one after the other would do nothing else for 0.2 ms. So it wakes RELAY_WIDTH of them
 * at most and hands each a share of the others, which does the same with its share.
 *
 *      publisher ──▶ 0 ──▶ 8, 16, 24 ...      each arrow one wake; the shares lie in the
 *                ──▶ 1 ──▶ 9, 17, 25 ...      relays of 0, 1, ...
 *                    ...
 *
 * A share is left only with a shard that sleeps, since that one begins a turn at once; one that is
 * awake may be in the middle of a long one. Whether it sleeps is known by ringing its doorbell,
 * before which the share must lie there. If it was awake, the share is taken back, unless the shard
 * has found it by then. So: whoever takes shards out of a relay owes them a wake.
 *
 * Invariant: a relay is a source of its shard's doorbell (core/doorbell.h): it is looked at between
 * arming and waiting, as a share may be in it for the moment until it is taken back.
 *
 * Threads: any, but relay_is_empty, which is the owner's. A relay is all zero at first.
 */
#ifndef SPATE_CORE_RELAY_H
#define SPATE_CORE_RELAY_H

#include "core/doorbell.h"
#include "core/sequencer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* 64 sleepers are two steps away then, 256 three. */
enum { RELAY_WIDTH = 8 };

/* Shards that its owner is to wake. */
struct relay {
    struct shard_set shards; /* atomic, word by word */
};

/* How relay_wake reaches the shards. */
struct relay_shards {
    void *owner;
    struct doorbell *(*doorbell)(void *owner, unsigned shard);
    struct relay *(*relay)(void *owner, unsigned shard);
    void (*wake)(void *owner, unsigned shard); /* its doorbell was rung and said that it sleeps */
};

/* Whether nothing is in it. Between doorbell_arm and waiting, and whenever the owner likes. */
bool relay_is_empty(const struct relay *relay);
/* Moves what is in it to `shards`. */
void relay_take(struct relay *relay, struct shard_set *shards);

/* Sees to it that each of these shards that sleeps is woken. What they wake for is published. */
void relay_wake(const struct relay_shards *world, const struct shard_set *shards);

#ifdef __cplusplus
}
#endif

#endif
