/*
 * A feed is a channel as one shard sees it: the frames that not all of its local subscribers have
 * been sent yet (the window), and those subscribers (the members).
 *
 *              base                                  head
 *   hub order ──┼──[ f ]────[ f ]──[ f ]──────[ f ]───┤
 *               '------------- window ---------------'
 *
 * Every event of the channel with base < sequence <= head is in the window. A member whose position
 * is at or above `base` is served from here; one below it reads history until it has come up to
 * `base`.
 *
 * Threads: the shard's, except the fields `channel`, `pushed_bytes` and `released_seen`, which are
 * the sequencer's (under its lock), and `released_bytes`, written by the shard and read by the
 * sequencer.
 */
#ifndef SPATE_CORE_FEED_H
#define SPATE_CORE_FEED_H

#include "core/base/list.h"
#include "core/frame.h"

#ifdef __cplusplus
extern "C" {
#endif

struct channel;
struct subscriber;

struct feed_entry {
    uint64_t sequence;
    struct frame *frame;
};

/* Frames in hub order; a growing ring. The first is in place: most feeds never have two at a time.
 */
struct feed_window {
    struct feed_entry *ring; /* `one`, or allocated */
    struct feed_entry one;
    uint32_t capacity; /* a power of two */
    uint32_t first;
    uint32_t count;
    uint64_t bytes;
};

struct feed {
    /* The sequencer's. */
    struct channel *channel;
    uint64_t pushed_bytes;
    uint64_t released_seen; /* its copy of `released_bytes`, never ahead of it */

    /* Rarely written: what the sequencer and the shard write for each event is a line apart. */
    struct list idle;            /* linked while there are no members, and while retired */
    uint64_t idle_since;         /* the fan-out's count of sweeps then */
    uint64_t retired_tail;       /* once detached: free when the queue's head has come this far */
    struct subscriber **members; /* `member`, or allocated */
    struct subscriber *member;   /* the one of a feed that has one */
    uint32_t member_count;
    uint32_t member_capacity;
    uint16_t shard; /* never changed */

    /* Written by the shard, read by the sequencer: bytes that no pass will need again. */
    uint64_t released_bytes;

    /* The shard's. */
    uint64_t base;
    uint64_t head;
    uint64_t head_bytes; /* what the channel has published up to there, in frame_size */
    uint64_t passed;     /* every member that keeps up is at or above this */
    uint64_t settled;    /* ... and the sends up to here are final */
    struct feed_window window;
    uint32_t behind_count; /* members that do not keep up: they may need the window later */
    uint32_t pass_next;    /* the pass under way: the next member to visit */
    uint64_t pass_head;    /* ... and the head when it began */
    struct list dirty;     /* linked while a pass is under way or due */
};

struct feed *feed_new(struct channel *channel, unsigned shard, uint64_t base);
/* Lets the window go. There must be no members. */
void feed_free(struct feed *feed);

/* 0 or -ENOMEM. Returns the member's index through *ret_index. */
int feed_add_member(struct feed *feed, struct subscriber *subscriber, uint32_t *ret_index);
/*
 * Takes out the member at `index`. Up to two other members move: *ret_moved are their new indices
 * (their subscribers must be told), *ret_moved_count how many. A pass under way skips nobody.
 */
void feed_remove_member(struct feed *feed, uint32_t index, uint32_t ret_moved[2],
                        unsigned *ret_moved_count);

/*
 * Takes over one reference to a frame that is newer than everything here. If there is no memory to
 * remember it, members will find it in history: base moves up.
 */
void feed_append(struct feed *feed, struct frame *frame);

/* The same for a feed whose window is empty and that nobody needs the frame from: it is let go. */
void feed_skip(struct feed *feed, struct frame *frame);

/* A pass has ended: every member that keeps up is at or above `passed`. */
void feed_set_passed(struct feed *feed, uint64_t passed);

/* Index of the first entry in the window after `after`. */
uint32_t feed_find(const struct feed *feed, uint64_t after);
struct feed_entry *feed_entry_at(const struct feed *feed, uint32_t index);

/*
 * Lets the oldest entries go: those up to `passed`, or, while members are behind, only as many as
 * keep the window within `behind_bytes_max`. Frames are given to `release`, one reference each.
 */
void feed_trim(struct feed *feed, uint64_t behind_bytes_max,
               void (*release)(void *context, struct frame *frame), void *context);

/* O(n) self-check. */
void feed_verify(const struct feed *feed);

#ifdef __cplusplus
}
#endif

#endif
