#include "core/channel.h"

#include <errno.h>

#include "core/base/memory.h"
#include "core/feed.h"

enum { CHANNEL_FEEDS_MIN = 4 };

struct channel *channel_new(struct channel_name name, uint64_t evicted_sequence)
{
    CHECK(name.name.len <= CHANNEL_NAME_LEN_MAX);
    struct channel *channel = memory_calloc(1, sizeof(*channel) + name.name.len);
    if (channel == NULL) {
        return NULL;
    }
    channel->kind = (uint8_t)name.kind;
    channel->name_len = (uint8_t)name.name.len;
    channel->feeds = &channel->only;
    channel->feed_capacity = 1;
    if (name.name.len > 0) {
        memcpy(channel->name, name.name.bytes, name.name.len);
    }
    history_init(&channel->history, evicted_sequence);
    return channel;
}

static void channel_free_feeds(struct channel *channel)
{
    if (channel->feeds != &channel->only) {
        memory_free(channel->feeds);
    }
    channel->feeds = &channel->only;
    channel->feed_capacity = 1;
}

void channel_free(struct channel *channel)
{
    CHECK(channel->feed_count == 0);
    CHECK(!list_is_linked(&channel->by_size));
    channel_free_feeds(channel);
    history_fini(&channel->history);
    memory_free(channel);
}

/* Where the feed of `shard` is, or belongs. */
static unsigned feed_place(const struct channel *channel, unsigned shard)
{
    unsigned low = 0;
    unsigned high = channel->feed_count;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (channel->feeds[middle]->shard < shard) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct feed *channel_feed(const struct channel *channel, unsigned shard)
{
    unsigned place = feed_place(channel, shard);
    bool found = place < channel->feed_count && channel->feeds[place]->shard == shard;
    return found ? channel->feeds[place] : NULL;
}

static int channel_grow_feeds(struct channel *channel)
{
    unsigned capacity =
        channel->feeds == &channel->only ? CHANNEL_FEEDS_MIN : channel->feed_capacity * 2U;
    struct feed **feeds = memory_alloc(capacity * sizeof(struct feed *));
    if (feeds == NULL) {
        return -ENOMEM;
    }
    memcpy(feeds, channel->feeds, channel->feed_count * sizeof(struct feed *));
    channel_free_feeds(channel);
    channel->feeds = feeds;
    channel->feed_capacity = (uint16_t)capacity;
    return 0;
}

int channel_add_feed(struct channel *channel, struct feed *feed)
{
    if (channel->feed_count == channel->feed_capacity && channel_grow_feeds(channel) < 0) {
        return -ENOMEM;
    }
    unsigned place = feed_place(channel, feed->shard);
    CHECK(place == channel->feed_count || channel->feeds[place]->shard > feed->shard);
    memmove(&channel->feeds[place + 1], &channel->feeds[place],
            (channel->feed_count - place) * sizeof(struct feed *));
    channel->feeds[place] = feed;
    channel->feed_count++;
    return 0;
}

void channel_remove_feed(struct channel *channel, const struct feed *feed)
{
    unsigned place = feed_place(channel, feed->shard);
    CHECK(place < channel->feed_count);
    CHECK(channel->feeds[place] == feed);
    channel->feed_count--;
    memmove(&channel->feeds[place], &channel->feeds[place + 1],
            (channel->feed_count - place) * sizeof(struct feed *));
    if (channel->feed_count == 0) {
        channel_free_feeds(channel);
    }
}
