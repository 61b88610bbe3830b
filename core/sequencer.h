/*
 * The sequencer gives every event of the hub its place in one total order.
 *
 *   publisher's shard                     sequencer (one lock)                      other shards
 *   build frame ──────▶ admit all or nothing: channel, history, room in every queue
 *                       commit: sequence, id, history, push to the queue of each
 *                       shard that listens                              ──────▶ queue_pop
 *   wake who sleeps ◀── which shards
 *
 * Everything that must agree on the order happens in its one short critical section: placing an
 * event, joining a channel (the position from which a subscriber hears everything), leaving it, and
 * reading history for those who are behind. Freeing, waking and formatting happen outside.
 *
 * It is the seam for durable and shared orders: such an engine would decide the sequence numbers
 * and call the same commit.
 *
 * Ownership: owns the channels and their history. Queues and feeds belong to the shards; a feed
 * is created here on a shard's behalf (sequencer_subscribe) and freed by that shard after
 * sequencer_detach. Threads: any, the lock is inside. Nothing here waits for a peer.
 */
#ifndef SPATE_CORE_SEQUENCER_H
#define SPATE_CORE_SEQUENCER_H

#include <pthread.h>

#include "core/base/hash.h"
#include "core/channel.h"
#include "core/lag.h"
#include "core/queue.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    SHARD_COUNT_MAX = 256,
    /* Histories sorted by size: four lists per power of two. */
    SEQUENCER_SIZE_CLASS_COUNT = 256,
    /* Remembered places of channels that were forgotten. */
    SEQUENCER_TOMBSTONE_COUNT = 1 << 16,
};

/* Other limits for the channels of a pattern. */
struct history_rule {
    struct channel_pattern pattern;
    struct history_limits limits;
};

struct sequencer_options {
    unsigned shard_count;
    uint64_t epoch;
    struct hash_key hash_key;
    uint64_t (*clock_ns)(void); /* monotonic, for the profile; NULL: no times are wanted */
    uint64_t channel_count_max;
    uint64_t channel_idle_ms;
    struct history_limits history;            /* of a channel that no rule names */
    const struct history_rule *history_rules; /* the first that fits counts; on loan for good */
    unsigned history_rule_count;
    const struct lag_rule *lag_rules; /* likewise */
    unsigned lag_rule_count;
    uint64_t history_total_bytes_max; /* of all channels together */
    uint64_t feed_bytes_max;  /* events of one channel under way to one shard's subscribers */
    uint64_t queue_bytes_max; /* events under way to one shard */
};

struct tombstone {
    uint64_t hash;
    uint64_t evicted_sequence;
};

struct sequencer {
    pthread_mutex_t mutex;
    struct sequencer_options options;
    struct queue *queues[SHARD_COUNT_MAX];
    struct table channels;
    struct channel *broadcast;
    uint64_t sequence; /* of the newest event */
    uint64_t history_bytes;
    uint64_t subscribers; /* connections with at least the broadcast */
    uint64_t published;
    uint64_t refused_full;
    /* A resume from below this, on a channel nobody remembers, may have missed something. */
    uint64_t forgotten_sequence;
    struct tombstone *tombstones;
    unsigned size_class_top; /* no list above this one has a member */
    struct list size_classes[SEQUENCER_SIZE_CLASS_COUNT];
};

struct shard_set {
    uint64_t bits[SHARD_COUNT_MAX / 64];
};

static inline bool shard_set_has(const struct shard_set *set, unsigned shard)
{
    return (set->bits[shard / 64] >> (shard % 64) & 1) != 0;
}

static inline void shard_set_add(struct shard_set *set, unsigned shard)
{
    set->bits[shard / 64] |= 1ULL << (shard % 64);
}

static inline void shard_set_remove(struct shard_set *set, unsigned shard)
{
    set->bits[shard / 64] &= ~(1ULL << (shard % 64));
}

/* Adds the members of `more`. */
static inline void shard_set_merge(struct shard_set *set, const struct shard_set *more)
{
    for (unsigned i = 0; i < SHARD_COUNT_MAX / 64; i++) {
        set->bits[i] |= more->bits[i];
    }
}

/* The first member from `shard` on; SHARD_COUNT_MAX if there is none. */
static inline unsigned shard_set_next(const struct shard_set *set, unsigned shard)
{
    for (unsigned i = shard / 64; i < SHARD_COUNT_MAX / 64; i++) {
        uint64_t bits = set->bits[i];
        if (i == shard / 64) {
            bits &= ~0ULL << (shard % 64);
        }
        if (bits != 0) {
            return i * 64 + (unsigned)__builtin_ctzll(bits);
        }
    }
    return SHARD_COUNT_MAX;
}

static inline bool shard_set_is_empty(const struct shard_set *set)
{
    uint64_t any = 0;
    for (unsigned i = 0; i < SHARD_COUNT_MAX / 64; i++) {
        any |= set->bits[i];
    }
    return any == 0;
}

int sequencer_init(struct sequencer *sequencer, const struct sequencer_options *options);
/* All feeds must be detached. */
void sequencer_fini(struct sequencer *sequencer);

/* At start, before any event: where shard `shard` takes its events from. */
void sequencer_attach_queue(struct sequencer *sequencer, unsigned shard, struct queue *queue);

uint64_t sequencer_hash(const struct sequencer *sequencer, struct channel_name name);

/* One event to publish. */
struct publication {
    struct channel_name channel;
    struct frame *frame; /* one reference, taken over only when published */
    bool needs_subscriber;
    /* Set when published: */
    uint64_t sequence;
    uint64_t subscribers;
    /* Of the first of a batch, with a clock and if anybody hears one of them; else 0: */
    uint64_t sequenced_ns; /* when the shards could see them */
    uint64_t waited_ns;    /* for the sequencer's lock */
};

enum publish_outcome {
    PUBLISH_DONE,
    PUBLISH_FULL,          /* a queue or a channel's way to a shard is full: try again shortly */
    PUBLISH_NO_SUBSCRIBER, /* needs_subscriber, and there is none */
    PUBLISH_CHANNEL_LIMIT, /* one more channel than channel_count_max */
    PUBLISH_NO_MEMORY,
};

/*
 * Publishes all `count` events, next to each other in the order, or none. *ret_shards says which
 * queues have something new: the caller rings their doorbells.
 */
enum publish_outcome sequencer_publish(struct sequencer *sequencer,
                                       struct publication *publications, unsigned count,
                                       uint64_t now_ms, struct shard_set *ret_shards);

enum subscribe_outcome { SUBSCRIBE_DONE, SUBSCRIBE_CHANNEL_LIMIT, SUBSCRIBE_NO_MEMORY };

/*
 * Counts one subscriber of shard `shard` in on all `count` channels and on the broadcast, and gives
 * the feeds of the channels. Everything after *ret_sequence will come through the shard's queue;
 * everything up to it that is retained is in history. All or nothing. Count may be 0: only the
 * broadcast.
 */
enum subscribe_outcome sequencer_subscribe(struct sequencer *sequencer, unsigned shard,
                                           struct channel_names names, uint64_t now_ms,
                                           struct feed *ret_feeds[], uint64_t *ret_sequence);
void sequencer_unsubscribe(struct sequencer *sequencer, struct feed *const feeds[], unsigned count,
                           uint64_t now_ms);

/* The shard's feed of the broadcast, made at start. NULL when out of memory. */
struct feed *sequencer_broadcast_feed(struct sequencer *sequencer, unsigned shard);

/*
 * Detaches a feed without members from its channel. No event is pushed for it any more; the shard
 * may free it once its queue has been emptied up to what queue_tail says after this call.
 */
void sequencer_detach(struct sequencer *sequencer, unsigned shard, struct feed *feed);

enum read_outcome {
    READ_MORE,   /* `ret_count` frames; there may be more up to `upto` */
    READ_END,    /* `ret_count` frames, and that is all up to `upto` */
    READ_LAPPED, /* something after both marks is no longer retained: see ret_available */
};

struct history_read {
    /* In: which channels (feeds), and the range (after, upto]. The broadcast is always read too. */
    struct feed *const *feeds;
    unsigned feed_count;
    uint64_t after;
    uint64_t complete_after; /* what is missing up to here is known to the reader: no lapping */
    uint64_t upto;
    unsigned frame_count_max;
    uint64_t bytes_max; /* stops after the frame that reaches it */
    /* Out: references that the caller must let go. */
    struct frame **frames; /* room for frame_count_max */
    unsigned ret_count;
    uint64_t ret_available; /* READ_LAPPED: the least complete_after with which a read succeeds */
};

/* Merges the histories of several channels in hub order. */
enum read_outcome sequencer_read(struct sequencer *sequencer, struct history_read *read);

/* Calls `visit` for channels in hash order after `after`, `limit` at most; false when at the end.
 */
struct channel_info {
    enum channel_kind kind;
    struct span name; /* valid during the call */
    uint64_t hash;
    uint64_t subscribers;
    uint64_t published;
    uint64_t retained_count;
    uint64_t retained_bytes;
};

/* Where a walk is; zeroed to begin with the first channel. */
struct channel_walk {
    uint64_t after; /* hash of the last channel visited */
    bool started;   /* false: `after` is not set, the very first hash counts too */
};

bool sequencer_walk(struct sequencer *sequencer, struct channel_walk *walk, unsigned limit,
                    void (*visit)(void *context, const struct channel_info *info), void *context);

/* Forgets what a channel retains. False if there is no such channel. */
bool sequencer_forget(struct sequencer *sequencer, struct channel_name name);

/*
 * Housekeeping in slices: looks at some channels from *after on, lets aged events go and forgets
 * channels that nobody uses. Call it every so often from one shard.
 */
void sequencer_sweep(struct sequencer *sequencer, uint64_t now_ms, uint64_t *after, unsigned limit);

struct sequencer_stats {
    uint64_t sequence;
    uint64_t channels;
    uint64_t subscribers;
    uint64_t published;
    uint64_t refused_full;
    uint64_t history_bytes;
};

void sequencer_get_stats(struct sequencer *sequencer, struct sequencer_stats *ret_stats);

#ifdef __cplusplus
}
#endif

#endif
