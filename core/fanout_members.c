/* Joining the feeds of a shard, and leaving them. */
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
    struct membership *memberships = subscriber_memberships(subscriber);
    for (unsigned i = 0; i < subscriber->channel_count; i++) {
        if (memberships[i].feed == feed) {
            memberships[i].index = index;
            return;
        }
    }
    /* A member of a feed knows that it is one. */
    CHECK(false);
}

static void feed_leave(struct fanout *fanout, struct feed *feed, uint32_t index, uint64_t now_ms)
{
    uint32_t moved[2];
    unsigned moved_count;
    feed_remove_member(feed, index, moved, &moved_count);
    for (unsigned i = 0; i < moved_count; i++) {
        member_moved(fanout, feed, moved[i]);
    }
    if (feed->member_count == 0 && feed != fanout->broadcast) {
        feed->idle_since_ms = now_ms;
        list_append(&fanout->idle, &feed->idle);
        fanout_mark_dirty(fanout, feed);
    }
}

/* Takes the subscriber out of its first `count` feeds, and of the broadcast if `all`. */
static void leave_feeds(struct fanout *fanout, struct subscriber *subscriber, unsigned count,
                        bool all, uint64_t now_ms)
{
    struct membership *memberships = subscriber_memberships(subscriber);
    for (unsigned i = 0; i < count; i++) {
        feed_leave(fanout, memberships[i].feed, memberships[i].index, now_ms);
    }
    if (all) {
        feed_leave(fanout, fanout->broadcast, subscriber->broadcast_index, now_ms);
    }
}

static int join_feeds(struct fanout *fanout, struct subscriber *subscriber,
                      struct feed *const feeds[], unsigned count, uint64_t now_ms)
{
    struct membership *memberships = subscriber_memberships(subscriber);
    for (unsigned i = 0; i < count; i++) {
        memberships[i].feed = feeds[i];
        if (feed_add_member(feeds[i], subscriber, &memberships[i].index) < 0) {
            leave_feeds(fanout, subscriber, i, false, now_ms);
            return -ENOMEM;
        }
        list_remove_if_linked(&feeds[i]->idle);
    }
    if (feed_add_member(fanout->broadcast, subscriber, &subscriber->broadcast_index) < 0) {
        leave_feeds(fanout, subscriber, count, false, now_ms);
        return -ENOMEM;
    }
    return 0;
}

/* Feeds that were made for a subscriber who then could not join must not be forgotten. */
static void feeds_without_members(struct fanout *fanout, struct feed *const feeds[], unsigned count,
                                  uint64_t now_ms)
{
    for (unsigned i = 0; i < count; i++) {
        if (feeds[i]->member_count == 0 && !list_is_linked(&feeds[i]->idle)) {
            feeds[i]->idle_since_ms = now_ms;
            list_append(&fanout->idle, &feeds[i]->idle);
        }
    }
}

enum subscribe_outcome fanout_join(struct fanout *fanout, struct subscriber *subscriber,
                                   struct channel_names names, uint64_t from, uint64_t now_ms)
{
    CHECK(!subscriber_is_joined(subscriber));
    CHECK(names.count <= SUBSCRIBER_CHANNELS_MAX);
    struct feed *feeds[SUBSCRIBER_CHANNELS_MAX] = {NULL};
    uint64_t sequence = 0;
    subscriber->many = NULL;
    if (names.count > 1) {
        subscriber->many = memory_calloc(names.count, sizeof(subscriber->many[0]));
        if (subscriber->many == NULL) {
            return SUBSCRIBE_NO_MEMORY;
        }
    }
    enum subscribe_outcome outcome =
        sequencer_subscribe(fanout->sequencer, fanout->shard, names, now_ms, feeds, &sequence);
    if (outcome == SUBSCRIBE_DONE) {
        subscriber->channel_count = (uint16_t)names.count;
        if (join_feeds(fanout, subscriber, feeds, names.count, now_ms) < 0) {
            sequencer_unsubscribe(fanout->sequencer, feeds, names.count, now_ms);
            outcome = SUBSCRIBE_NO_MEMORY;
        }
    }
    if (outcome != SUBSCRIBE_DONE) {
        unsigned obtained = 0;
        while (obtained < names.count && feeds[obtained] != NULL) {
            obtained++;
        }
        feeds_without_members(fanout, feeds, obtained, now_ms);
        memory_free(subscriber->many);
        subscriber->many = NULL;
        subscriber->channel_count = 0;
        return outcome;
    }
    /* Also for a position that has not been reached: it would swallow the events up to it. */
    subscriber->position = min_u64(from, sequence);
    subscriber->complete_after = 0;
    subscriber->joined = sequence;
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
    struct membership *memberships = subscriber_memberships(subscriber);
    for (unsigned i = 0; i < subscriber->channel_count; i++) {
        feeds[i] = memberships[i].feed;
    }
    leave_feeds(fanout, subscriber, subscriber->channel_count, true, now_ms);
    sequencer_unsubscribe(fanout->sequencer, feeds, subscriber->channel_count, now_ms);
    if (subscriber->partial != NULL) {
        frame_unref(subscriber->partial);
        subscriber->partial = NULL;
    }
    memory_free(subscriber->many);
    subscriber->many = NULL;
    subscriber->channel_count = 0;
    subscriber->flags = 0;
}
