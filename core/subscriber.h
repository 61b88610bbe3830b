/*
 * A subscriber is a cursor: a position in the hub's total order, valid for all of its channels at
 * once. Everything of its channels up to `position` has been handed to the kernel, plus, when there
 * is a `partial` frame, the first `partial_sent` bytes of it. That one frame is all that a
 * subscriber ever pins: one that lags costs a number, not a queue.
 *
 * What only those need who are or were behind is apart (struct catch_up), so that the many who keep
 * up do not pay for it.
 *
 * Embedded in a connection; owned and touched by its shard only.
 */
#ifndef SPATE_CORE_SUBSCRIBER_H
#define SPATE_CORE_SUBSCRIBER_H

#include "core/base/list.h"
#include "core/feed.h"
#include "core/frame.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where the subscriber is in feed->members. */
struct membership {
    struct feed *feed;
    uint32_t index;
};

struct catch_up {
    /*
     * What is missing up to here, the client was told. Between `position` and this, histories are
     * read with holes: what the quiet channels still retain is sent all the same.
     */
    uint64_t complete_after;
    uint64_t joined;       /* the newest event when it did; see core/lag.h */
    struct frame *partial; /* a reference */
    uint32_t partial_sent;
};

/* The most channels that one connection may be configured to hold. */
enum { SUBSCRIBER_CHANNELS_MAX = 1024 };

enum {
    SUBSCRIBER_JOINED = 1,
    SUBSCRIBER_HELD = 2,    /* other bytes go first (response head, heartbeat): not to be visited */
    SUBSCRIBER_BLOCKED = 4, /* the socket is full: not to be visited until it is writable */
    SUBSCRIBER_BEHIND = 8,  /* counted in behind_count of its feeds */
};

struct subscriber {
    uint64_t position;
    struct catch_up *catch_up; /* NULL for nearly all */
    uint32_t turn;             /* the fan-out turn of its last send */
    uint8_t flags;
    uint8_t view; /* enum frame_view */
    uint16_t channel_count;
    union {
        struct feed *feed;       /* of a subscriber of one channel */
        struct membership *many; /* of several: channel_count of them */
    } in;
    uint32_t index;           /* of a subscriber of one channel, in feed->members */
    uint32_t broadcast_index; /* in the broadcast feed's members */
    /* Linked while it is due for a visit of its own, outside the passes, and while blocked. */
    struct list ready;
};

static_assert(sizeof(struct subscriber) == 56, "there may be a million of them");

static inline struct feed *subscriber_feed(const struct subscriber *subscriber, unsigned i)
{
    return subscriber->channel_count > 1 ? subscriber->in.many[i].feed : subscriber->in.feed;
}

/* In the members of that feed. */
static inline uint32_t *subscriber_index(struct subscriber *subscriber, unsigned i)
{
    return subscriber->channel_count > 1 ? &subscriber->in.many[i].index : &subscriber->index;
}

/* Some of the next event is sent: nothing else may be said before its rest. */
static inline bool subscriber_is_inside_event(const struct subscriber *subscriber)
{
    return subscriber->catch_up != NULL && subscriber->catch_up->partial != NULL;
}

/* What is missing up to here, the client knows. */
static inline uint64_t subscriber_complete_after(const struct subscriber *subscriber)
{
    return subscriber->catch_up != NULL ? subscriber->catch_up->complete_after : 0;
}

static inline bool subscriber_is_joined(const struct subscriber *subscriber)
{
    return (subscriber->flags & SUBSCRIBER_JOINED) != 0;
}

#ifdef __cplusplus
}
#endif

#endif
