/*
 * A queue carries events from the sequencer to one shard: a bounded ring of entries
 * (frame, feed, sequence).
 *
 *      head (consumer)                     tail (published)      pushed (producer's own)
 *        |                                    |                     |
 *   ...  [ entries the consumer may take     ][ pushed, not visible ][ room           ] ...
 *
 * The producer is whoever holds the sequencer's mutex: many threads, but one at a time, so the ring
 * is a single-producer single-consumer ring and needs no compare-and-swap. A batch of pushes
 * becomes visible in one go by queue_publish, so the consumer sees all of it or nothing.
 *
 * Invariants
 *   - head <= tail <= pushed <= head + capacity; positions are free-running 64-bit counts that
 *     never wrap in the life of a hub; position modulo capacity, counted from `base`, is the slot.
 *   - Now and then, when all has been taken out, the first slots are used again, so that a queue
 *     that was never full has not touched the memory of its last slots.
 *   - Entries come out in the order in which they went in, each once.
 *   - Full is an answer, asked for with queue_has_room before anything is pushed anywhere: a push
 *     into a full queue is a programmer's error.
 *
 * Ownership: the queue owns its slots, never a frame or a feed; the reference that an entry carries
 * moves from the producer to the consumer with it. Popped entries' slots and bytes go back to the
 * producer with queue_release, once per batch. queue_fini does not look at what is left inside.
 *
 * Threads: each function says `producer` (holder of the sequencer's mutex) or `consumer` (the
 * shard). The two sides' words lie on different cache lines, and each side keeps a copy of the
 * other's position, read anew only when the copy does not suffice. Waking a consumer that sleeps is
 * not the queue's matter: see doorbell.h.
 *
 * Errors: queue_init gives -ENOMEM.
 */
#ifndef SPATE_CORE_QUEUE_H
#define SPATE_CORE_QUEUE_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct feed;
struct frame;

enum { QUEUE_CACHE_LINE = 64, QUEUE_CAPACITY_MAX = 1 << 24 };

struct queue_entry {
    struct frame *frame;
    struct feed *feed;
    uint64_t sequence;
};

struct queue_slot {
    struct queue_entry entry;
    uint64_t bytes; /* what queue_push was told, for queue_bytes */
};

struct queue {
    /* Set by queue_init, then only read, by both sides. */
    struct queue_slot *slots;
    uint64_t mask; /* capacity - 1 */

    /* Apart by padding, not by alignment: a queue may be embedded in memory from any allocator. */
    char producer_apart[QUEUE_CACHE_LINE];

    /* Written by the producer. */
    uint64_t tail;                /* published: read by the consumer */
    uint64_t pushed;              /* producer's own: tail plus what is not published yet */
    uint64_t bytes_pushed;        /* producer's own */
    uint64_t head_seen;           /* producer's copy of `head`, never ahead of it */
    uint64_t bytes_released_seen; /* producer's copy of `bytes_released`, likewise */
    uint64_t base;                /* the position in the first slot; moved while it is empty */

    char consumer_apart[QUEUE_CACHE_LINE];

    /* Written by the consumer. */
    uint64_t head;           /* released: read by the producer */
    uint64_t bytes_released; /* bytes of the entries before `head`: read by the producer */
    uint64_t popped;         /* consumer's own: head plus what is not released yet */
    uint64_t bytes_popped;   /* consumer's own */
    uint64_t tail_seen;      /* consumer's copy of `tail`, never ahead of it */
    uint64_t base_seen;      /* ... and of `base` */
};

/* `capacity` entries, a power of two from 1 to QUEUE_CAPACITY_MAX. */
int queue_init(struct queue *queue, uint32_t capacity);
void queue_fini(struct queue *queue);

uint32_t queue_capacity(const struct queue *queue);

/* Producer: whether `count` more pushes fit. False is exact: asked again, only a release changes
 * it. */
bool queue_has_room(struct queue *queue, uint32_t count);
/* Producer: how many more pushes fit, read from the consumer just now. */
uint32_t queue_room(struct queue *queue);
/* Producer: appends; invisible until queue_publish. There must be room. */
void queue_push(struct queue *queue, const struct queue_entry *entry, uint64_t bytes);
/* Producer: makes all pushes so far visible at once. Ring the consumer's doorbell afterwards. */
void queue_publish(struct queue *queue);
/*
 * Producer: whether at most `bytes_max` bytes are pushed and not yet released. Asked for each
 * event, so the consumer's line is read only when the copy does not suffice. False is exact, as
 * above.
 */
bool queue_is_within(struct queue *queue, uint64_t bytes_max);
/* Producer: bytes pushed and not yet released. */
uint64_t queue_bytes(const struct queue *queue);

/* Consumer: takes the oldest entry into *ret_entry, or returns false when nothing is published. */
bool queue_pop(struct queue *queue, struct queue_entry *ret_entry);
/* Consumer: gives the slots and bytes of everything popped back to the producer. */
void queue_release(struct queue *queue);
/* Consumer: true when nothing is left to pop; always reads what is published now. */
bool queue_is_empty(struct queue *queue);

/*
 * Consumer: two positions in the run of all entries ever pushed. Everything published before the
 * call lies before queue_tail; everything popped lies before queue_head. So a shard that remembers
 * queue_tail has taken in all of it once queue_head has reached that value.
 */
uint64_t queue_tail(struct queue *queue);
uint64_t queue_head(const struct queue *queue);

#ifdef __cplusplus
}
#endif

#endif
