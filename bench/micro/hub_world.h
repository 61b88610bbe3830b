/*
 * A sequencer, a queue and the fan-out of one shard, whose sockets take everything at no cost: what
 * is left is what the core itself costs.
 */
#ifndef SPATE_BENCH_MICRO_HUB_WORLD_H
#define SPATE_BENCH_MICRO_HUB_WORLD_H

#include "core/fanout.h"

#ifdef __cplusplus
extern "C" {
#endif

struct hub_world {
    struct sequencer sequencer;
    struct queue queue;
    struct fanout fanout;
    struct subscriber *subscribers;
    unsigned subscriber_count;
    unsigned channel_count;
    uint64_t now_ms;
    uint64_t random;
};

/* Subscriber i listens to channel i modulo `channel_count`. */
struct hub_world *hub_world_new(unsigned subscriber_count, unsigned channel_count);
void hub_world_free(struct hub_world *world);

/* Publishes an event of 200 bytes of text. */
void hub_world_publish(struct hub_world *world, unsigned channel);
/* Turns of the shard until it has nothing left to do. */
void hub_world_settle(struct hub_world *world);
unsigned hub_world_random(struct hub_world *world, unsigned below);

/* `room` is for 32 bytes; the name lies in it. */
struct channel_name hub_world_name(unsigned channel, char *room);

#ifdef __cplusplus
}
#endif

#endif
