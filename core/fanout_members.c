/* Joining the feeds of a shard, leaving them, and what becomes of those that nobody is in. */
#include <errno.h>

#include "core/base/memory.h"
#include "core/fanout_parts.h"

static void member_moved(struct fanout *fanout, struct feed *feed, uint32_t index)
{
    struct subscriber *subscriber = feed->members[index];
    if (feed == fanout->broadcast) {
        subscriber->broadcast_index = index;
        return;
    }
    for (unsigned i = 0; i < subscriber->channel_count; i++) {
        if (subscriber_feed(subscriber, i) == feed) {
            *subscriber_index(subscriber, i) = index;
            return;
        }
    }
    /* A member of a feed knows that it is one. */
    CHECK(false);
}

/* Nobody needs the feed: a sweep gives it back, unless somebody comes before. */
static void feed_set_idle(struct fanout *fanout, struct feed *feed)
{
    feed->idle_since = fanout->sweeps;
    list_append(&fanout->idle, &feed->idle);
}

static void feed_leave(struct fanout *fanout, struct feed *feed, uint32_t index)
{
    uint32_t moved[2];
    unsigned moved_count;
    feed_remove_member(feed, index, moved, &moved_count);
    for (unsigned i = 0; i < moved_count; i++) {
        member_moved(fanout, feed, moved[i]);
    }
    if (feed->member_count == 0 && feed != fanout->broadcast) {
        feed_set_idle(fanout, feed);
        fanout_mark_dirty(fanout, feed);
    }
}

/* Takes the subscriber out of its first `count` feeds, and of the broadcast if `all`. */
static void leave_feeds(struct fanout *fanout, struct subscriber *subscriber, unsigned count,
                        bool all)
{
    for (unsigned i = 0; i < count; i++) {
        feed_leave(fanout, subscriber_feed(subscriber, i), *subscriber_index(subscriber, i));
    }
    if (all) {
        feed_leave(fanout, fanout->broadcast, subscriber->broadcast_index);
    }
}

static int join_feeds(struct fanout *fanout, struct subscriber *subscriber,
                      struct feed *const feeds[], unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (count > 1) {
            subscriber->in.many[i].feed = feeds[i];
        } else {
            subscriber->in.feed = feeds[i];
        }
        if (feed_add_member(feeds[i], subscriber, subscriber_index(subscriber, i)) < 0) {
            leave_feeds(fanout, subscriber, i, false);
            return -ENOMEM;
        }
        list_remove_if_linked(&feeds[i]->idle);
    }
    if (feed_add_member(fanout->broadcast, subscriber, &subscriber->broadcast_index) < 0) {
        leave_feeds(fanout, subscriber, count, false);
        return -ENOMEM;
    }
    return 0;
}

/* Feeds that were made for a subscriber who then could not join must not be forgotten. */
static void feeds_without_members(struct fanout *fanout, struct feed *const feeds[], unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (feeds[i]->member_count == 0 && !list_is_linked(&feeds[i]->idle)) {
            feed_set_idle(fanout, feeds[i]);
        }
    }
}

/* Lets go of what is not in the struct itself. */
static void subscriber_reset(struct subscriber *subscriber)
{
    if (subscriber->channel_count > 1) {
        memory_free(subscriber->in.many);
    }
    if (subscriber_is_inside_event(subscriber)) {
        frame_unref(subscriber->catch_up->partial);
    }
    memory_free(subscriber->catch_up);
    subscriber->catch_up = NULL;
    subscriber->in.feed = NULL;
    subscriber->channel_count = 0;
    subscriber->flags = 0;
}

enum subscribe_outcome fanout_join(struct fanout *fanout, struct subscriber *subscriber,
                                   struct channel_names names, uint64_t from, uint64_t now_ms)
{
    CHECK(!subscriber_is_joined(subscriber));
    CHECK(names.count <= SUBSCRIBER_CHANNELS_MAX);
    struct feed *feeds[SUBSCRIBER_CHANNELS_MAX];
    uint64_t sequence = 0;
    memset(feeds, 0, names.count * sizeof(feeds[0]));
    subscriber->catch_up = NULL;
    if (names.count > 1) {
        subscriber->in.many = memory_calloc(names.count, sizeof(subscriber->in.many[0]));
        if (subscriber->in.many == NULL) {
            return SUBSCRIBE_NO_MEMORY;
        }
    }
    subscriber->channel_count = (uint16_t)names.count;
    enum subscribe_outcome outcome =
        sequencer_subscribe(fanout->sequencer, fanout->shard, names, now_ms, feeds, &sequence);
    /* Also for a position that has not been reached: it would swallow the events up to it. */
    subscriber->position = sequence;
    if (outcome == SUBSCRIBE_DONE && (fanout_set_back(subscriber, min_u64(from, sequence), 0) < 0 ||
                                      join_feeds(fanout, subscriber, feeds, names.count) < 0)) {
        sequencer_unsubscribe(fanout->sequencer, feeds, names.count, now_ms);
        outcome = SUBSCRIBE_NO_MEMORY;
    }
    if (outcome != SUBSCRIBE_DONE) {
        unsigned obtained = 0;
        while (obtained < names.count && feeds[obtained] != NULL) {
            obtained++;
        }
        feeds_without_members(fanout, feeds, obtained);
        subscriber_reset(subscriber);
        return outcome;
    }
    subscriber->flags = SUBSCRIBER_JOINED | SUBSCRIBER_HELD;
    fanout_set_behind(fanout, subscriber, true);
    return SUBSCRIBE_DONE;
}

void fanout_leave(struct fanout *fanout, struct subscriber *subscriber, uint64_t now_ms)
{
    CHECK(subscriber_is_joined(subscriber));
    fanout_set_behind(fanout, subscriber, false);
    list_remove_if_linked(&subscriber->ready);
    fanout_forget_sends(fanout, subscriber);
    struct feed *feeds[SUBSCRIBER_CHANNELS_MAX];
    for (unsigned i = 0; i < subscriber->channel_count; i++) {
        feeds[i] = subscriber_feed(subscriber, i);
    }
    leave_feeds(fanout, subscriber, subscriber->channel_count, true);
    sequencer_unsubscribe(fanout->sequencer, feeds, subscriber->channel_count, now_ms);
    subscriber_reset(subscriber);
}

/* ---- Housekeeping ---------------------------------------------------------------------------- */

/* What only much traffic needs goes back when there is none. */
static void give_back_memory(struct fanout *fanout)
{
    if (fanout->arena_used == 0 && fanout->arena_top > FANOUT_ARENA_KEPT_BYTES) {
        memory_discard(fanout->arena + FANOUT_ARENA_KEPT_BYTES,
                       fanout->arena_top - FANOUT_ARENA_KEPT_BYTES);
        fanout->arena_top = 0;
    }
    if (list_is_empty(&fanout->dirty) && list_is_empty(&fanout->passed)) {
        profile_give_back(fanout->profile);
    }
}

void fanout_sweep(struct fanout *fanout, unsigned sweeps)
{
    fanout->sweeps++;
    give_back_memory(fanout);
    lag_sweep(fanout);
    for (unsigned i = 0; i < FANOUT_RETIRES_MAX && !list_is_empty(&fanout->idle); i++) {
        struct feed *feed = container_of(fanout->idle.next, struct feed, idle);
        if (fanout->sweeps - feed->idle_since < sweeps) {
            break;
        }
        list_remove(&feed->idle);
        sequencer_detach(fanout->sequencer, fanout->shard, feed);
        feed->retired_tail = queue_tail(fanout->queue);
        list_append(&fanout->retired, &feed->idle);
    }
    for (unsigned i = 0; i < FANOUT_RETIRES_MAX && !list_is_empty(&fanout->retired); i++) {
        struct feed *feed = container_of(fanout->retired.next, struct feed, idle);
        if (feed->retired_tail > queue_head(fanout->queue) || list_is_linked(&feed->dirty)) {
            break;
        }
        list_remove(&feed->idle);
        feed_free(feed);
    }
}
