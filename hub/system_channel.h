/*
 * The hub's own channels, which it alone publishes to. They are subscribed to like any other, by
 * those who may publish (hub/access.h).
 *
 *   $presence   connect, disconnect: a stream has begun or ended, with its client, address and
 *               channels; lost: how many of these could not be published.
 *   $stats      every second. stats: what GET /stats says; profile: what GET /debug/fanout says;
 * lag: for each shard, who is behind, and in which channels (hub/slow_channels.h).
 *
 * Nothing is published, and nothing is made, while nobody listens.
 *
 * Streams come and go in the middle of a turn, also while the fan-out is at work: what is to be
 * said of them is collected, and published in the shard's next turn.
 *
 * Threads: each shard's own, but for the counts of watchers, which are atomic.
 */
#ifndef SPATE_HUB_SYSTEM_CHANNEL_H
#define SPATE_HUB_SYSTEM_CHANNEL_H

#include "core/frame.h"

#ifdef __cplusplus
extern "C" {
#endif

struct connection;
struct shard;

enum system_channel {
    SYSTEM_CHANNEL_NONE,
    SYSTEM_CHANNEL_PRESENCE,
    SYSTEM_CHANNEL_STATS,
};

/* Of one shard: zeroed to begin with. */
struct system_notices {
    struct frame **frames; /* not published yet */
    uint32_t count;
    uint32_t capacity;
    uint64_t lost;   /* for want of memory, or too many at once */
    uint64_t due_ms; /* not before then: there was no room for them */
    uint64_t stats_due_ms;
};

void system_notices_fini(struct system_notices *notices);

/* Which of them this is the name of. */
enum system_channel system_channel_named(struct span name);

/* The connection, whose stream is about to begin, has subscribed; it is counted until it ends. */
void system_channel_watch(struct connection *connection, enum system_channel channel);
/* The stream has ended, whether it watched or not. */
void system_channel_unwatch(struct connection *connection);

/* A stream has begun (`reason` NULL), or is ending. */
void system_presence(struct connection *connection, const char *reason);

/* Once a turn: publishes what has been collected, and the statistics when they are due. */
void system_publish(struct shard *shard);

/* Whether there is something collected that can be published by now. */
bool system_has_work(const struct shard *shard);

#ifdef __cplusplus
}
#endif

#endif
