/*
 * A channel: a name that events are published to, what it retains, and which shards listen.
 *
 * Channels live in the sequencer's table and are touched only under its lock. A channel comes into
 * being with its first subscriber, or with the first event that it retains, and is forgotten when
 * it has had neither for a while. A feed is the channel as one shard sees it (core/feed.h): there
 * is one for each shard that listens and none for the others, so that neither the memory of a
 * channel nor the cost of an event grows with shards that have nothing to do with it. A channel is
 * never freed while a feed points at it.
 */
#ifndef SPATE_CORE_CHANNEL_H
#define SPATE_CORE_CHANNEL_H

#include "core/base/list.h"
#include "core/base/table.h"
#include "core/history.h"

#ifdef __cplusplus
extern "C" {
#endif

struct feed;

/* Names are unique per kind: a client called "news" is not the channel "news". */
enum channel_kind {
    CHANNEL_PUBLIC,    /* /sse/{channel} */
    CHANNEL_CLIENT,    /* the private stream of a named client */
    CHANNEL_BROADCAST, /* exactly one: everybody's */
};

enum { CHANNEL_NAME_LEN_MAX = 255 };

/* The public channels of a name, or all whose names begin so. */
struct channel_pattern {
    struct span prefix;
    bool is_whole; /* `prefix` is the whole name */
};

struct lag_limits;

struct channel {
    struct table_node node;
    struct list
        by_size; /* the sequencer's lists of histories by size; linked while one is retained */
    struct history history;
    const struct history_limits *limits; /* the sequencer's; by name pattern */
    const struct lag_limits *lag;        /* likewise */
    uint64_t subscribers;                /* over all shards */
    uint64_t published;                  /* events */
    uint64_t published_bytes;            /* their frame_size */
    uint64_t last_used_ms;               /* last publish, subscribe or unsubscribe */
    uint32_t reserved;                   /* of a batch being admitted: events for this channel */
    uint16_t feed_count;
    uint16_t feed_capacity;
    uint8_t size_class; /* index of the list that by_size is in */
    uint8_t kind;       /* enum channel_kind */
    uint8_t name_len;
    struct feed *only;   /* room for the first feed */
    struct feed **feeds; /* in the order of their shards */
    char name[];
};

struct channel_name {
    enum channel_kind kind;
    struct span name; /* 1 to CHANNEL_NAME_LEN_MAX bytes; empty only for CHANNEL_BROADCAST */
};

/* Several names, on loan. */
struct channel_names {
    const struct channel_name *names;
    unsigned count;
};

static inline struct channel_names channel_names(const struct channel_name *names, unsigned count)
{
    struct channel_names result = {names, count};
    return result;
}

static inline bool channel_pattern_fits(const struct channel_pattern *pattern,
                                        struct channel_name name)
{
    size_t len = pattern->prefix.len;
    return name.kind == CHANNEL_PUBLIC &&
           (pattern->is_whole
                ? span_equal(pattern->prefix, name.name)
                : name.name.len >= len && memcmp(name.name.bytes, pattern->prefix.bytes, len) == 0);
}

static inline struct span channel_name_of(const struct channel *channel)
{
    return span_make(channel->name, channel->name_len);
}

/* NULL when out of memory. The name is copied. */
struct channel *channel_new(struct channel_name name, uint64_t evicted_sequence);
/* There must be no feed. */
void channel_free(struct channel *channel);

/* The feed of a shard, or NULL. */
struct feed *channel_feed(const struct channel *channel, unsigned shard);
/* 0 or -ENOMEM. The feed's shard must have none yet. */
int channel_add_feed(struct channel *channel, struct feed *feed);
void channel_remove_feed(struct channel *channel, const struct feed *feed);

#ifdef __cplusplus
}
#endif

#endif
