#include "core/resume.h"

/* The histories that a subscriber reads: its channels' and the broadcast's. */
struct sources {
    unsigned count;
    const struct history *histories[SUBSCRIBER_CHANNELS_MAX + 1];
};

static void sources_of(struct sources *sources, const struct sequencer *sequencer,
                       struct subscriber *subscriber)
{
    sources->count = 0;
    for (unsigned i = 0; i < subscriber->channel_count; i++) {
        sources->histories[sources->count++] = &subscriber_feed(subscriber, i)->channel->history;
    }
    sources->histories[sources->count++] = &sequencer->broadcast->history;
}

/* The first position from which nothing is missing. */
static uint64_t earliest(const struct sources *sources)
{
    uint64_t position = 0;
    for (unsigned i = 0; i < sources->count; i++) {
        position = max_u64(position, sources->histories[i]->evicted_sequence);
    }
    return position;
}

static uint64_t first_after(const struct sources *sources, uint64_t position)
{
    uint64_t first = 0;
    for (unsigned i = 0; i < sources->count; i++) {
        uint32_t index = history_find(sources->histories[i], position);
        if (index < sources->histories[i]->count) {
            uint64_t sequence = history_at(sources->histories[i], index)->sequence;
            if (first == 0 || sequence < first) {
                first = sequence;
            }
        }
    }
    return first;
}

static uint64_t count_after(const struct sources *sources, uint64_t position)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < sources->count; i++) {
        count += sources->histories[i]->count - history_find(sources->histories[i], position);
    }
    return count;
}

/*
 * The earliest position with at most `count` events behind it. Searched by halves, because a count
 * that somebody outside chose must not hold the lock for as long as it says.
 */
static uint64_t last_events(const struct sources *sources, uint64_t count, uint64_t newest)
{
    uint64_t low = 0;
    uint64_t high = newest;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (count_after(sources, middle) <= count) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

/* Index of the first frame published at or after `since_ms`, which the clock may have stepped
 * around. */
static uint32_t find_time(const struct history *history, uint64_t since_ms)
{
    uint32_t low = 0;
    uint32_t high = history->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (history_at(history, middle)->published_ms >= since_ms) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

static uint64_t since_time(const struct sources *sources, uint64_t since_ms, uint64_t newest)
{
    uint64_t position = newest;
    for (unsigned i = 0; i < sources->count; i++) {
        uint32_t index = find_time(sources->histories[i], since_ms);
        if (index < sources->histories[i]->count) {
            position = min_u64(position, history_at(sources->histories[i], index)->sequence - 1);
        }
    }
    return position;
}

struct resume_point resume_resolve(struct sequencer *sequencer, struct subscriber *subscriber,
                                   enum resume_kind kind, uint64_t value)
{
    struct resume_point point = {.position = 0};
    struct sources sources;
    CHECK(pthread_mutex_lock(&sequencer->mutex) == 0);
    sources_of(&sources, sequencer, subscriber);
    point.complete_after = earliest(&sources);
    switch (kind) {
    case RESUME_AFTER:
        point.is_future = value > sequencer->sequence;
        point.is_expired = value < point.complete_after;
        point.position = point.is_future ? 0 : value;
        break;
    case RESUME_LAST:
        point.position = last_events(&sources, value, sequencer->sequence);
        break;
    case RESUME_SINCE:
        point.position = since_time(&sources, value, sequencer->sequence);
        break;
    case RESUME_EARLIEST:
        break;
    }
    point.first_available = first_after(&sources, point.position);
    if (point.first_available == 0) {
        /* Nothing between the two is retained: the next id that the client sees need not be old. */
        point.position = max_u64(point.position, point.complete_after);
    } else {
        /* A feed's window may reach further back; what the client is told is gone stays gone. What
         * came since it joined is not gone. */
        point.position =
            min_u64(point.first_available - 1, max_u64(point.position, subscriber->position));
    }
    CHECK(pthread_mutex_unlock(&sequencer->mutex) == 0);
    return point;
}
