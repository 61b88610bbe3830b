#include "hub/slow_channels.h"

#include <stdlib.h>

#include "core/base/memory.h"
#include "core/channel.h"
#include "core/lag.h"
#include "hub/shard.h"

enum {
    /* Memberships that are looked at: well below a millisecond. */
    SLOW_LOOKS_MAX = 4096,
    /* Channels that can be told apart: a power of two. Of more, the first ones are. */
    SLOW_SLOTS = 512,
};

struct slow_channel {
    const struct feed *feed; /* NULL: an empty slot */
    uint32_t behind;         /* subscribers */
    struct lag lag;          /* of the slowest */
};

struct slow_search {
    const struct fanout *fanout;
    unsigned looks;
    unsigned count;
    struct slow_channel slots[SLOW_SLOTS];
};

/* NULL if there is no room for one more. */
static struct slow_channel *slot_of(struct slow_search *search, const struct feed *feed)
{
    /* Feeds are larger than 64 bytes: the lower bits tell nothing. */
    size_t index = ((uintptr_t)feed >> 6) * UINT64_C(0x9e3779b97f4a7c15) >> 32;
    for (;; index++) {
        struct slow_channel *slot = &search->slots[index % SLOW_SLOTS];
        if (slot->feed == feed) {
            return slot;
        }
        if (slot->feed == NULL) {
            if (search->count == SLOW_SLOTS / 2) {
                return NULL;
            }
            search->count++;
            slot->feed = feed;
            return slot;
        }
    }
}

static void look_at_membership(struct slow_search *search, const struct subscriber *subscriber,
                               const struct feed *feed)
{
    struct lag lag;
    struct slow_channel *slot;
    search->looks++;
    if (!lag_measure(search->fanout, subscriber, feed, &lag) ||
        (slot = slot_of(search, feed)) == NULL) {
        return;
    }
    slot->behind++;
    slot->lag.bytes = max_u64(slot->lag.bytes, lag.bytes);
    slot->lag.age_ms = max_u64(slot->lag.age_ms, lag.age_ms);
    slot->lag.is_lost |= lag.is_lost;
}

/* The subscribers of a list that are linked by `ready`. */
static void look_at_all(struct slow_search *search, const struct list *list)
{
    for (const struct list *link = list->next; link != list && search->looks < SLOW_LOOKS_MAX;
         link = link->next) {
        const struct subscriber *subscriber = container_of(link, const struct subscriber, ready);
        for (unsigned i = 0; i < subscriber->channel_count; i++) {
            look_at_membership(search, subscriber, subscriber_feed(subscriber, i));
        }
        look_at_membership(search, subscriber, search->fanout->broadcast);
    }
}

/* The slowest first, before all of which events are lost (how old, nobody knows); empty ones last.
 */
static int compare(const void *left, const void *right)
{
    const struct slow_channel *a = left;
    const struct slow_channel *b = right;
    if (a->lag.is_lost != b->lag.is_lost) {
        return a->lag.is_lost ? -1 : 1;
    }
    if (a->lag.age_ms != b->lag.age_ms) {
        return a->lag.age_ms < b->lag.age_ms ? 1 : -1;
    }
    if (a->lag.bytes != b->lag.bytes) {
        return a->lag.bytes < b->lag.bytes ? 1 : -1;
    }
    return (a->behind < b->behind) - (a->behind > b->behind);
}

static void channel_write(const struct slow_channel *slow, struct buffer *body)
{
    static const char *const kinds[] = {
        [CHANNEL_PUBLIC] = "channel",
        [CHANNEL_CLIENT] = "client",
        [CHANNEL_BROADCAST] = "broadcast",
    };
    const struct channel *channel = slow->feed->channel;
    buffer_append_string(body, "{\"channel\":\"");
    buffer_append_json(body, channel_name_of(channel));
    buffer_printf(body,
                  "\",\"kind\":\"%s\",\"subscribers\":%u,\"behind\":%u,\"age_ms\":%llu,"
                  "\"bytes\":%llu,\"lost\":%s}",
                  kinds[channel->kind], slow->feed->member_count, slow->behind,
                  (unsigned long long)slow->lag.age_ms, (unsigned long long)slow->lag.bytes,
                  slow->lag.is_lost ? "true" : "false");
}

void slow_channels_write(const struct shard *shard, struct buffer *body)
{
    const struct fanout *fanout = &shard->fanout;
    struct slow_search *search = memory_calloc(1, sizeof(*search));
    if (search == NULL) {
        body->failed = true;
        return;
    }
    search->fanout = fanout;
    look_at_all(search, &fanout->blocked);
    look_at_all(search, &fanout->ready);
    qsort(search->slots, SLOW_SLOTS, sizeof(search->slots[0]), compare);
    buffer_printf(body, "{\"shard\":%u,\"behind\":%llu,\"age_ms\":%llu,\"channels\":[",
                  shard->shard_index, (unsigned long long)fanout->stats.behind,
                  (unsigned long long)search->slots[0].lag.age_ms);
    unsigned told = 0;
    for (unsigned i = 0; i < SLOW_SLOTS && told < SLOW_CHANNELS_COUNT_MAX; i++) {
        if (search->slots[i].feed != NULL) {
            buffer_append_string(body, told++ == 0 ? "" : ",");
            channel_write(&search->slots[i], body);
        }
    }
    buffer_append_string(body, "]}");
    memory_free(search);
}
