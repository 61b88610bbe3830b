#include "core/sequencer.h"

#include <errno.h>

#include "core/base/memory.h"
#include "core/feed.h"
#include "core/profile.h"

/* Of channels that no rule names. */
static const struct lag_limits lag_unlimited = {.policy = LAG_CATCH_UP};

static void sequencer_lock(struct sequencer *sequencer)
{
    CHECK(pthread_mutex_lock(&sequencer->mutex) == 0);
}

/* The same; tells how long that took if it was held. */
static uint64_t sequencer_lock_timed(struct sequencer *sequencer)
{
    uint64_t (*clock_ns)(void) = sequencer->options.clock_ns;
    if (!PROFILE_IS_ON || clock_ns == NULL) {
        sequencer_lock(sequencer);
        return 0;
    }
    if (pthread_mutex_trylock(&sequencer->mutex) == 0) {
        return 0;
    }
    uint64_t began_ns = clock_ns();
    sequencer_lock(sequencer);
    return clock_ns() - began_ns;
}

static void sequencer_unlock(struct sequencer *sequencer)
{
    CHECK(pthread_mutex_unlock(&sequencer->mutex) == 0);
}

uint64_t sequencer_hash(const struct sequencer *sequencer, struct channel_name name)
{
    /* The kind stirs the hash, so that a client and a channel of one name part ways. */
    return hash_bytes(&sequencer->options.hash_key, name.name.bytes, name.name.len) +
           (uint64_t)name.kind * 0x9e3779b97f4a7c15ULL;
}

int sequencer_init(struct sequencer *sequencer, const struct sequencer_options *options)
{
    CHECK(options->shard_count > 0);
    CHECK(options->shard_count <= SHARD_COUNT_MAX);
    *sequencer = (struct sequencer){.options = *options};
    for (unsigned i = 0; i < SEQUENCER_SIZE_CLASS_COUNT; i++) {
        list_init(&sequencer->size_classes[i]);
    }
    int r = table_init(&sequencer->channels, options->channel_count_max + 1);
    if (r < 0) {
        return r;
    }
    struct channel_name everybody = {CHANNEL_BROADCAST, {NULL, 0}};
    sequencer->broadcast = channel_new(everybody, 0);
    sequencer->tombstones = memory_map(SEQUENCER_TOMBSTONE_COUNT * sizeof(struct tombstone));
    pthread_mutexattr_t attributes;
    CHECK(pthread_mutexattr_init(&attributes) == 0);
    /* Held for less than a system call takes: spin a little before sleeping. */
    CHECK(pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ADAPTIVE_NP) == 0);
    CHECK(pthread_mutex_init(&sequencer->mutex, &attributes) == 0);
    CHECK(pthread_mutexattr_destroy(&attributes) == 0);
    if (sequencer->broadcast == NULL || sequencer->tombstones == NULL) {
        sequencer_fini(sequencer);
        return -ENOMEM;
    }
    sequencer->broadcast->limits = &sequencer->options.history;
    sequencer->broadcast->lag = &lag_unlimited;
    return 0;
}

static void size_class_lower_top(struct sequencer *sequencer)
{
    while (sequencer->size_class_top > 0 &&
           list_is_empty(&sequencer->size_classes[sequencer->size_class_top])) {
        sequencer->size_class_top--;
    }
}

static void size_class_leave(struct sequencer *sequencer, struct channel *channel)
{
    list_remove_if_linked(&channel->by_size);
    size_class_lower_top(sequencer);
}

static void channel_drop(struct sequencer *sequencer, struct channel *channel)
{
    sequencer->history_bytes -= channel->history.bytes;
    size_class_leave(sequencer, channel);
    channel_free(channel);
}

void sequencer_fini(struct sequencer *sequencer)
{
    for (;;) {
        struct table_node *node = table_next(&sequencer->channels, 0, true);
        if (node == NULL) {
            break;
        }
        table_remove(&sequencer->channels, node);
        channel_drop(sequencer, container_of(node, struct channel, node));
    }
    table_fini(&sequencer->channels);
    if (sequencer->broadcast != NULL) {
        channel_drop(sequencer, sequencer->broadcast);
        sequencer->broadcast = NULL;
    }
    if (sequencer->tombstones != NULL) {
        memory_unmap(sequencer->tombstones, SEQUENCER_TOMBSTONE_COUNT * sizeof(struct tombstone));
        sequencer->tombstones = NULL;
    }
    CHECK(pthread_mutex_destroy(&sequencer->mutex) == 0);
}

void sequencer_attach_queue(struct sequencer *sequencer, unsigned shard, struct queue *queue)
{
    CHECK(shard < sequencer->options.shard_count);
    sequencer->queues[shard] = queue;
}

/* ---- Channels by name --------------------------------------------------------------------- */

static struct channel *channel_find(const struct sequencer *sequencer, struct channel_name name,
                                    uint64_t hash)
{
    if (name.kind == CHANNEL_BROADCAST) {
        return sequencer->broadcast;
    }
    struct table_node *node = table_find(&sequencer->channels, hash);
    for (; node != NULL; node = table_find_next(node)) {
        struct channel *channel = container_of(node, struct channel, node);
        if (channel->kind == name.kind && span_equal(channel_name_of(channel), name.name)) {
            return channel;
        }
    }
    return NULL;
}

static struct tombstone *tombstone_for(const struct sequencer *sequencer, uint64_t hash)
{
    return &sequencer->tombstones[hash % SEQUENCER_TOMBSTONE_COUNT];
}

/* What a channel that is new, or was forgotten, may have held without anybody knowing. */
static uint64_t tombstone_read(const struct sequencer *sequencer, uint64_t hash)
{
    const struct tombstone *tombstone = tombstone_for(sequencer, hash);
    return tombstone->hash == hash ? tombstone->evicted_sequence : sequencer->forgotten_sequence;
}

static void tombstone_write(struct sequencer *sequencer, uint64_t hash, uint64_t evicted_sequence)
{
    if (evicted_sequence == 0) {
        return;
    }
    struct tombstone *tombstone = tombstone_for(sequencer, hash);
    if (tombstone->hash != hash && tombstone->evicted_sequence > sequencer->forgotten_sequence) {
        sequencer->forgotten_sequence = tombstone->evicted_sequence;
    }
    *tombstone = (struct tombstone){hash, evicted_sequence};
}

/* What a channel of this name may retain. */
static const struct history_limits *limits_of(const struct sequencer *sequencer,
                                              struct channel_name name)
{
    for (unsigned i = 0; i < sequencer->options.history_rule_count; i++) {
        if (channel_pattern_fits(&sequencer->options.history_rules[i].pattern, name)) {
            return &sequencer->options.history_rules[i].limits;
        }
    }
    return &sequencer->options.history;
}

/* How far its subscribers may be behind. */
static const struct lag_limits *lag_of(const struct sequencer *sequencer, struct channel_name name)
{
    for (unsigned i = 0; i < sequencer->options.lag_rule_count; i++) {
        if (channel_pattern_fits(&sequencer->options.lag_rules[i].pattern, name)) {
            return &sequencer->options.lag_rules[i].limits;
        }
    }
    return &lag_unlimited;
}

static struct channel *channel_make(struct sequencer *sequencer, struct channel_name name,
                                    uint64_t hash)
{
    struct channel *channel = channel_new(name, tombstone_read(sequencer, hash));
    if (channel != NULL) {
        channel->limits = limits_of(sequencer, name);
        channel->lag = lag_of(sequencer, name);
        table_add(&sequencer->channels, &channel->node, hash);
    }
    return channel;
}

/* ---- Retained bytes ------------------------------------------------------------------------ */

/* Four classes per power of two, so that "the greediest" is exact to within a quarter. */
static unsigned size_class_of(uint64_t bytes)
{
    unsigned bits = 63U - (unsigned)__builtin_clzll(bytes | 1);
    unsigned fraction = bits >= 2 ? (unsigned)(bytes >> (bits - 2)) & 3 : 0;
    return bits * 4 + fraction;
}

static void size_class_update(struct sequencer *sequencer, struct channel *channel)
{
    if (channel->history.count == 0) {
        size_class_leave(sequencer, channel);
        return;
    }
    unsigned size_class = size_class_of(channel->history.bytes);
    if (list_is_linked(&channel->by_size)) {
        if (channel->size_class == size_class) {
            return;
        }
        list_remove(&channel->by_size);
    }
    channel->size_class = (uint8_t)size_class;
    list_append(&sequencer->size_classes[size_class], &channel->by_size);
    if (size_class > sequencer->size_class_top) {
        sequencer->size_class_top = size_class;
    }
    size_class_lower_top(sequencer);
}

static void channel_trim(struct sequencer *sequencer, struct channel *channel, uint64_t now_ms,
                         struct frame **released)
{
    uint64_t before = channel->history.bytes;
    history_trim(&channel->history, channel->limits, now_ms, released);
    sequencer->history_bytes -= before - channel->history.bytes;
}

/* The whole hub is over its budget: the greediest channel gives its oldest. */
static void sequencer_evict(struct sequencer *sequencer, struct frame **released)
{
    while (sequencer->history_bytes > sequencer->options.history_total_bytes_max) {
        struct list *list = &sequencer->size_classes[sequencer->size_class_top];
        CHECK(!list_is_empty(list));
        struct channel *channel = container_of(list->next, struct channel, by_size);
        uint64_t before = channel->history.bytes;
        history_evict_oldest(&channel->history, released);
        sequencer->history_bytes -= before - channel->history.bytes;
        size_class_update(sequencer, channel);
    }
}

/* ---- Publishing ---------------------------------------------------------------------------- */

struct admission {
    struct channel *channel; /* NULL: nobody listens and nothing is retained */
    uint64_t hash;
    bool made; /* the channel, for this event */
};

enum { BATCH_ON_STACK = 16 };

static bool feed_exceeds(const struct feed *feed, size_t size, uint64_t bytes_max)
{
    uint64_t under_way = feed->pushed_bytes - feed->released_seen;
    return under_way > 0 && under_way + size > bytes_max;
}

/* Asked for each event, so the shard's line is read only when the copy does not suffice. */
static bool feed_is_full(const struct sequencer *sequencer, struct feed *feed, size_t size)
{
    if (likely(!feed_exceeds(feed, size, sequencer->options.feed_bytes_max))) {
        return false;
    }
    /* Relaxed: see feed_release_bytes; an old value only refuses a little early. */
    feed->released_seen = __atomic_load_n(&feed->released_bytes, __ATOMIC_RELAXED);
    return feed_exceeds(feed, size, sequencer->options.feed_bytes_max);
}

/* Whether every shard that listens can take one more event of this channel, and count it. */
static bool channel_has_room(struct sequencer *sequencer, struct channel *channel, size_t size,
                             uint32_t needed[])
{
    for (unsigned i = 0; i < channel->feed_count; i++) {
        struct feed *feed = channel->feeds[i];
        struct queue *queue = sequencer->queues[feed->shard];
        needed[feed->shard]++;
        if (!queue_has_room(queue, needed[feed->shard]) ||
            !queue_is_within(queue, sequencer->options.queue_bytes_max) ||
            feed_is_full(sequencer, feed, size)) {
            return false;
        }
    }
    return true;
}

/* The broadcast has every connection, though none is counted in on it by name. */
static uint64_t subscribers_of(const struct sequencer *sequencer, const struct channel *channel)
{
    if (channel == sequencer->broadcast) {
        return sequencer->subscribers;
    }
    return channel == NULL ? 0 : channel->subscribers;
}

static enum publish_outcome admit_one(struct sequencer *sequencer, struct publication *publication,
                                      uint32_t needed[], struct admission *admission)
{
    struct channel *channel = channel_find(sequencer, publication->channel, admission->hash);
    if (publication->needs_subscriber && subscribers_of(sequencer, channel) == 0) {
        return PUBLISH_NO_SUBSCRIBER;
    }
    bool retained = history_is_enabled(
        channel != NULL ? channel->limits : limits_of(sequencer, publication->channel));
    if (channel == NULL && retained) {
        if (sequencer->channels.count >= sequencer->options.channel_count_max) {
            return PUBLISH_CHANNEL_LIMIT;
        }
        channel = channel_make(sequencer, publication->channel, admission->hash);
        if (channel == NULL) {
            return PUBLISH_NO_MEMORY;
        }
        admission->made = true;
    }
    admission->channel = channel;
    if (channel == NULL) {
        return PUBLISH_DONE;
    }
    if (!channel_has_room(sequencer, channel, frame_size(publication->frame), needed)) {
        sequencer->refused_full++;
        return PUBLISH_FULL;
    }
    if (retained) {
        channel->reserved++;
        if (history_reserve(&channel->history, channel->reserved, channel->limits) < 0) {
            return PUBLISH_NO_MEMORY;
        }
    }
    return PUBLISH_DONE;
}

static void push_to_shards(struct sequencer *sequencer, struct channel *channel,
                           struct frame *frame, struct shard_set *shards)
{
    frame_ref_times(frame, channel->feed_count);
    for (unsigned i = 0; i < channel->feed_count; i++) {
        struct feed *feed = channel->feeds[i];
        struct queue_entry entry = {frame, feed, frame->sequence};
        queue_push(sequencer->queues[feed->shard], &entry, frame_size(frame));
        feed->pushed_bytes += frame_size(frame);
        shard_set_add(shards, feed->shard);
    }
}

/* What the events of one call have in common. */
struct commit {
    uint64_t now_ms;
    struct shard_set *shards; /* who is to be woken */
    struct frame *released;   /* to be let go outside the lock */
};

static void commit_one(struct sequencer *sequencer, struct publication *publication,
                       const struct admission *admission, struct commit *commit)
{
    struct frame *frame = publication->frame;
    struct channel *channel = admission->channel;
    uint64_t sequence = ++sequencer->sequence;
    frame_stamp(frame, sequencer->options.epoch, sequence, commit->now_ms);
    publication->sequence = sequence;
    publication->subscribers = subscribers_of(sequencer, channel);
    sequencer->published++;
    if (channel == NULL) {
        tombstone_write(sequencer, admission->hash, sequence);
        frame->next = commit->released;
        commit->released = frame;
        return;
    }
    channel->published++;
    frame->published_bytes = channel->published_bytes;
    channel->published_bytes += frame_size(frame);
    channel->last_used_ms = commit->now_ms;
    if (channel->feed_count > 0) {
        push_to_shards(sequencer, channel, frame, commit->shards);
    }
    if (channel->reserved > 0) {
        channel->reserved--;
        history_append(&channel->history, frame);
        sequencer->history_bytes += frame_size(frame);
        channel_trim(sequencer, channel, commit->now_ms, &commit->released);
        size_class_update(sequencer, channel);
    } else {
        channel->history.evicted_sequence = sequence;
        frame->next = commit->released;
        commit->released = frame;
    }
}

/*
 * The moment from which the shards may see the events. Nobody asks for that of events that nobody
 * hears, so the clock is not read for them.
 */
static void stamp_time(const struct sequencer *sequencer, struct publication *publications,
                       unsigned count)
{
    uint64_t now_ns = sequencer->options.clock_ns();
    for (unsigned i = 0; i < count; i++) {
        publications[i].frame->sequenced_ns = now_ns;
    }
    publications[0].sequenced_ns = now_ns;
}

static void publish_queues(struct sequencer *sequencer, const struct shard_set *shards)
{
    for (unsigned i = shard_set_next(shards, 0); i < SHARD_COUNT_MAX;
         i = shard_set_next(shards, i + 1)) {
        queue_publish(sequencer->queues[i]);
    }
}

/* Undoes the reservations of a batch that was refused, and the channels made for it. */
static void admission_undo(struct sequencer *sequencer, const struct admission admissions[],
                           unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (admissions[i].channel != NULL) {
            admissions[i].channel->reserved = 0;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        if (admissions[i].made) {
            table_remove(&sequencer->channels, &admissions[i].channel->node);
            channel_drop(sequencer, admissions[i].channel);
        }
    }
}

enum publish_outcome sequencer_publish(struct sequencer *sequencer,
                                       struct publication *publications, unsigned count,
                                       uint64_t now_ms, struct shard_set *ret_shards)
{
    struct admission on_stack[BATCH_ON_STACK];
    struct admission *admissions = on_stack;
    uint32_t needed[SHARD_COUNT_MAX];
    *ret_shards = (struct shard_set){0};
    if (count > BATCH_ON_STACK) {
        admissions = memory_alloc(count * sizeof(*admissions));
        if (admissions == NULL) {
            return PUBLISH_NO_MEMORY;
        }
    }
    memset(needed, 0, sequencer->options.shard_count * sizeof(needed[0]));
    for (unsigned i = 0; i < count; i++) {
        admissions[i] =
            (struct admission){.hash = sequencer_hash(sequencer, publications[i].channel)};
    }
    struct commit commit = {.now_ms = now_ms, .shards = ret_shards};
    enum publish_outcome outcome = PUBLISH_DONE;
    uint64_t waited_ns = sequencer_lock_timed(sequencer);
    for (unsigned i = 0; i < count && outcome == PUBLISH_DONE; i++) {
        outcome = admit_one(sequencer, &publications[i], needed, &admissions[i]);
    }
    if (outcome == PUBLISH_DONE) {
        for (unsigned i = 0; i < count; i++) {
            commit_one(sequencer, &publications[i], &admissions[i], &commit);
        }
        if (PROFILE_IS_ON && sequencer->options.clock_ns != NULL &&
            !shard_set_is_empty(ret_shards)) {
            stamp_time(sequencer, publications, count);
            publications[0].waited_ns = waited_ns;
        }
        publish_queues(sequencer, ret_shards);
        sequencer_evict(sequencer, &commit.released);
    } else {
        admission_undo(sequencer, admissions, count);
    }
    sequencer_unlock(sequencer);
    history_release(commit.released);
    if (admissions != on_stack) {
        memory_free(admissions);
    }
    return outcome;
}

/* ---- Joining and leaving ------------------------------------------------------------------- */

/* The channel and its feed on this shard, made where missing; nothing is counted yet. */
static enum subscribe_outcome feed_obtain(struct sequencer *sequencer, unsigned shard,
                                          struct channel_name name, struct feed **ret_feed)
{
    uint64_t hash = sequencer_hash(sequencer, name);
    struct channel *channel = channel_find(sequencer, name, hash);
    if (channel == NULL) {
        if (sequencer->channels.count >= sequencer->options.channel_count_max) {
            return SUBSCRIBE_CHANNEL_LIMIT;
        }
        channel = channel_make(sequencer, name, hash);
        if (channel == NULL) {
            return SUBSCRIBE_NO_MEMORY;
        }
    }
    struct feed *feed = channel_feed(channel, shard);
    if (feed == NULL) {
        feed = feed_new(channel, shard, sequencer->sequence);
        if (feed == NULL) {
            return SUBSCRIBE_NO_MEMORY;
        }
        if (channel_add_feed(channel, feed) < 0) {
            feed_free(feed);
            return SUBSCRIBE_NO_MEMORY;
        }
    }
    *ret_feed = feed;
    return SUBSCRIBE_DONE;
}

enum subscribe_outcome sequencer_subscribe(struct sequencer *sequencer, unsigned shard,
                                           struct channel_names names, uint64_t now_ms,
                                           struct feed *ret_feeds[], uint64_t *ret_sequence)
{
    enum subscribe_outcome outcome = SUBSCRIBE_DONE;
    sequencer_lock(sequencer);
    for (unsigned i = 0; i < names.count && outcome == SUBSCRIBE_DONE; i++) {
        outcome = feed_obtain(sequencer, shard, names.names[i], &ret_feeds[i]);
    }
    if (outcome == SUBSCRIBE_DONE) {
        for (unsigned i = 0; i < names.count; i++) {
            ret_feeds[i]->channel->subscribers++;
            ret_feeds[i]->channel->last_used_ms = now_ms;
        }
        sequencer->subscribers++;
        *ret_sequence = sequencer->sequence;
    }
    sequencer_unlock(sequencer);
    return outcome;
}

void sequencer_unsubscribe(struct sequencer *sequencer, struct feed *const feeds[], unsigned count,
                           uint64_t now_ms)
{
    sequencer_lock(sequencer);
    for (unsigned i = 0; i < count; i++) {
        struct channel *channel = feeds[i]->channel;
        CHECK(channel->subscribers > 0);
        channel->subscribers--;
        channel->last_used_ms = now_ms;
    }
    CHECK(sequencer->subscribers > 0);
    sequencer->subscribers--;
    sequencer_unlock(sequencer);
}

struct feed *sequencer_broadcast_feed(struct sequencer *sequencer, unsigned shard)
{
    struct feed *feed = NULL;
    struct channel_name everybody = {CHANNEL_BROADCAST, {NULL, 0}};
    sequencer_lock(sequencer);
    enum subscribe_outcome outcome = feed_obtain(sequencer, shard, everybody, &feed);
    sequencer_unlock(sequencer);
    return outcome == SUBSCRIBE_DONE ? feed : NULL;
}

void sequencer_detach(struct sequencer *sequencer, unsigned shard, struct feed *feed)
{
    CHECK(feed->member_count == 0);
    sequencer_lock(sequencer);
    CHECK(feed->shard == shard);
    channel_remove_feed(feed->channel, feed);
    feed->channel = NULL;
    sequencer_unlock(sequencer);
}

/* ---- Reading history ----------------------------------------------------------------------- */

static struct channel *read_source(const struct sequencer *sequencer,
                                   const struct history_read *read, unsigned index)
{
    return index < read->feed_count ? read->feeds[index]->channel : sequencer->broadcast;
}

enum { READ_SOURCES_MAX = 1025 };

/* The merge proper; under the lock. What the sources miss after `after`, the reader knows. */
static enum read_outcome read_merge(const struct sequencer *sequencer, struct history_read *read)
{
    uint32_t next[READ_SOURCES_MAX];
    unsigned source_count = read->feed_count + 1;
    for (unsigned i = 0; i < source_count; i++) {
        next[i] = history_find(&read_source(sequencer, read, i)->history, read->after);
    }
    uint64_t bytes = 0;
    while (read->ret_count < read->frame_count_max && bytes < read->bytes_max) {
        struct frame *oldest = NULL;
        unsigned oldest_source = 0;
        for (unsigned i = 0; i < source_count; i++) {
            const struct history *history = &read_source(sequencer, read, i)->history;
            if (next[i] == history->count) {
                continue;
            }
            struct frame *frame = history_at(history, next[i]);
            if (frame->sequence <= read->upto &&
                (oldest == NULL || frame->sequence < oldest->sequence)) {
                oldest = frame;
                oldest_source = i;
            }
        }
        if (oldest == NULL) {
            return READ_END;
        }
        next[oldest_source]++;
        read->frames[read->ret_count++] = frame_ref(oldest);
        bytes += frame_size(oldest);
    }
    return READ_MORE;
}

enum read_outcome sequencer_read(struct sequencer *sequencer, struct history_read *read)
{
    CHECK(read->feed_count < READ_SOURCES_MAX);
    read->ret_count = 0;
    uint64_t known = max_u64(read->after, read->complete_after);
    read->ret_available = known;
    sequencer_lock(sequencer);
    for (unsigned i = 0; i <= read->feed_count; i++) {
        const struct channel *channel = read_source(sequencer, read, i);
        read->ret_available = max_u64(read->ret_available, channel->history.evicted_sequence);
    }
    enum read_outcome outcome = READ_LAPPED;
    if (read->ret_available == known) {
        outcome = read_merge(sequencer, read);
    }
    sequencer_unlock(sequencer);
    return outcome;
}

/* ---- Looking and housekeeping -------------------------------------------------------------- */

bool sequencer_walk(struct sequencer *sequencer, struct channel_walk *walk, unsigned limit,
                    void (*visit)(void *context, const struct channel_info *info), void *context)
{
    struct table_node *node = NULL;
    sequencer_lock(sequencer);
    for (unsigned i = 0; i < limit; i++) {
        node = table_next(&sequencer->channels, walk->after, !walk->started);
        if (node == NULL) {
            break;
        }
        walk->started = true;
        walk->after = node->hash;
        node = table_find(&sequencer->channels, node->hash);
        for (; node != NULL; node = table_find_next(node)) {
            const struct channel *channel = container_of(node, struct channel, node);
            struct channel_info info = {
                .kind = (enum channel_kind)channel->kind,
                .name = channel_name_of(channel),
                .hash = node->hash,
                .subscribers = channel->subscribers,
                .published = channel->published,
                .retained_count = channel->history.count,
                .retained_bytes = channel->history.bytes,
            };
            visit(context, &info);
        }
    }
    bool more = table_next(&sequencer->channels, walk->after, !walk->started) != NULL;
    sequencer_unlock(sequencer);
    return more;
}

static void channel_empty(struct sequencer *sequencer, struct channel *channel,
                          struct frame **released)
{
    sequencer->history_bytes -= channel->history.bytes;
    while (channel->history.count > 0) {
        history_evict_oldest(&channel->history, released);
    }
    history_shrink(&channel->history);
    size_class_update(sequencer, channel);
}

static bool channel_is_unused(const struct sequencer *sequencer, const struct channel *channel,
                              uint64_t now_ms)
{
    return channel->subscribers == 0 && channel->feed_count == 0 && channel->history.count == 0 &&
           now_ms - min_u64(now_ms, channel->last_used_ms) >= sequencer->options.channel_idle_ms;
}

static void channel_forget(struct sequencer *sequencer, struct channel *channel)
{
    tombstone_write(sequencer, channel->node.hash, channel->history.evicted_sequence);
    table_remove(&sequencer->channels, &channel->node);
    channel_drop(sequencer, channel);
}

bool sequencer_forget(struct sequencer *sequencer, struct channel_name name)
{
    struct frame *released = NULL;
    sequencer_lock(sequencer);
    struct channel *channel = channel_find(sequencer, name, sequencer_hash(sequencer, name));
    if (channel != NULL) {
        channel_empty(sequencer, channel, &released);
        channel->last_used_ms = 0;
        if (channel != sequencer->broadcast && channel_is_unused(sequencer, channel, UINT64_MAX)) {
            channel_forget(sequencer, channel);
        }
    }
    sequencer_unlock(sequencer);
    history_release(released);
    return channel != NULL;
}

void sequencer_sweep(struct sequencer *sequencer, uint64_t now_ms, uint64_t *after, unsigned limit)
{
    struct frame *released = NULL;
    sequencer_lock(sequencer);
    channel_trim(sequencer, sequencer->broadcast, now_ms, &released);
    size_class_update(sequencer, sequencer->broadcast);
    for (unsigned i = 0; i < limit; i++) {
        struct table_node *node = table_next(&sequencer->channels, *after, *after == 0);
        if (node == NULL) {
            *after = 0;
            break;
        }
        *after = node->hash;
        struct channel *channel = container_of(node, struct channel, node);
        /* After a clock was set back: a channel is idle from now on, not from then. */
        channel->last_used_ms = min_u64(channel->last_used_ms, now_ms);
        channel_trim(sequencer, channel, now_ms, &released);
        size_class_update(sequencer, channel);
        history_shrink(&channel->history);
        if (channel_is_unused(sequencer, channel, now_ms)) {
            channel_forget(sequencer, channel);
        }
    }
    sequencer_unlock(sequencer);
    history_release(released);
}

void sequencer_get_stats(struct sequencer *sequencer, struct sequencer_stats *ret_stats)
{
    sequencer_lock(sequencer);
    *ret_stats = (struct sequencer_stats){
        .sequence = sequencer->sequence,
        .channels = sequencer->channels.count,
        .subscribers = sequencer->subscribers,
        .published = sequencer->published,
        .refused_full = sequencer->refused_full,
        .history_bytes = sequencer->history_bytes,
    };
    sequencer_unlock(sequencer);
}
