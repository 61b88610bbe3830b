#include "core/channel.h"

#include "core/base/memory.h"

struct channel *channel_new(struct channel_name name, unsigned shard_count,
                            uint64_t evicted_sequence)
{
    CHECK(name.name.len <= CHANNEL_NAME_LEN_MAX);
    size_t feeds_size = shard_count * sizeof(struct feed *);
    struct channel *channel = memory_calloc(1, sizeof(*channel) + feeds_size + name.name.len);
    if (channel == NULL) {
        return NULL;
    }
    channel->kind = (uint8_t)name.kind;
    channel->name_len = (uint8_t)name.name.len;
    channel->name = (char *)channel->feeds + feeds_size;
    if (name.name.len > 0) {
        memcpy(channel->name, name.name.bytes, name.name.len);
    }
    history_init(&channel->history, evicted_sequence);
    return channel;
}

void channel_free(struct channel *channel)
{
    CHECK(channel->feed_count == 0);
    CHECK(!list_is_linked(&channel->by_size));
    history_fini(&channel->history);
    memory_free(channel);
}
