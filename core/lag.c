#include "core/lag.h"

#include "core/fanout.h"
#include "core/feed.h"

/* The first event of a feed's channel after a position. */
struct first_event {
    uint64_t published_bytes;
    uint64_t published_ms;
};

/*
 * The oldest of them that there still is, if there is any. False if older ones are gone: neither
 * the shard nor the history has them.
 */
static bool first_after(struct sequencer *sequencer, const struct feed *feed, uint64_t after,
                        struct first_event *ret_first)
{
    const struct frame *frame = NULL;
    if (after >= feed->base) {
        uint32_t index = feed_find(feed, after);
        if (index < feed->window.count) {
            frame = feed_entry_at(feed, index)->frame;
            *ret_first = (struct first_event){frame->published_bytes, frame->published_ms};
        }
        return frame != NULL;
    }
    CHECK(pthread_mutex_lock(&sequencer->mutex) == 0);
    const struct history *history = &feed->channel->history;
    uint32_t index = history_find(history, after);
    bool is_whole = index < history->count && history->evicted_sequence <= after;
    if (index < history->count) {
        frame = history_at(history, index);
        *ret_first = (struct first_event){frame->published_bytes, frame->published_ms};
    }
    CHECK(pthread_mutex_unlock(&sequencer->mutex) == 0);
    return is_whole;
}

/* Never changed, and a feed with members has its channel. */
static const struct lag_limits *lag_of(const struct feed *feed)
{
    return feed->channel->lag;
}

bool lag_measure(const struct fanout *fanout, const struct subscriber *subscriber,
                 const struct feed *feed, struct lag *ret_lag)
{
    const struct catch_up *catch_up = subscriber->catch_up;
    uint64_t after = max_u64(subscriber->position, catch_up != NULL ? catch_up->joined : 0);
    struct first_event first = {feed->head_bytes, fanout->wall_ms};
    if (feed->head <= after) {
        return false;
    }
    ret_lag->is_lost = !first_after(fanout->sequencer, feed, after, &first);
    /* The history may already have more than has come to the shard. */
    ret_lag->bytes = feed->head_bytes - min_u64(feed->head_bytes, first.published_bytes);
    ret_lag->age_ms = fanout->wall_ms - min_u64(fanout->wall_ms, first.published_ms);
    return true;
}

static bool is_over(const struct fanout *fanout, const struct subscriber *subscriber,
                    const struct feed *feed)
{
    struct lag lag;
    return lag_measure(fanout, subscriber, feed, &lag) &&
           (lag.is_lost || (lag_of(feed)->bytes_max > 0 && lag.bytes > lag_of(feed)->bytes_max) ||
            (lag_of(feed)->age_ms_max > 0 && lag.age_ms > lag_of(feed)->age_ms_max));
}

/* What is to be done with the subscriber. */
static enum lag_policy lag_check(const struct fanout *fanout, const struct subscriber *subscriber)
{
    enum lag_policy policy = LAG_CATCH_UP;
    for (unsigned i = 0; i < subscriber->channel_count; i++) {
        const struct feed *feed = subscriber_feed(subscriber, i);
        if (lag_of(feed)->policy > policy && is_over(fanout, subscriber, feed)) {
            policy = lag_of(feed)->policy;
        }
    }
    return policy;
}

bool lag_allows(struct fanout *fanout, struct subscriber *subscriber)
{
    if (fanout->sequencer->options.lag_rule_count == 0) {
        return true;
    }
    enum lag_policy policy = lag_check(fanout, subscriber);
    /* What is in the middle of an event can be cut, but not go on elsewhere. */
    if (policy == LAG_CATCH_UP || (policy == LAG_SKIP && subscriber_is_inside_event(subscriber))) {
        return true;
    }
    fanout->handler->lagging(fanout->owner, subscriber, policy);
    return false;
}

void lag_sweep(struct fanout *fanout)
{
    struct list round;
    if (fanout->sequencer->options.lag_rule_count == 0) {
        return;
    }
    list_init(&round);
    list_splice(&round, &fanout->blocked);
    for (unsigned i = 0; i < FANOUT_BLOCKED_MAX; i++) {
        struct list *link = list_take(&round);
        if (link == NULL) {
            return;
        }
        list_append(&fanout->blocked, link);
        struct subscriber *subscriber = container_of(link, struct subscriber, ready);
        if (lag_check(fanout, subscriber) == LAG_DISCONNECT) {
            fanout->handler->lagging(fanout->owner, subscriber, LAG_DISCONNECT);
        }
    }
    /* Those that were not reached come first next time. */
    list_splice(&round, &fanout->blocked);
    list_splice(&fanout->blocked, &round);
}
