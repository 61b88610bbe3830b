#include "core/queue.h"

#include <errno.h>

#include "core/base/memory.h"

static_assert(sizeof(struct queue_slot) == 32, "two slots share a cache line");
static_assert(offsetof(struct queue, tail) - offsetof(struct queue, mask) > QUEUE_CACHE_LINE,
              "what both sides read lies on no line that the producer writes");
static_assert(offsetof(struct queue, head) - offsetof(struct queue, head_seen) > QUEUE_CACHE_LINE,
              "the producer's words and the consumer's share no line");

/* How often the producer looks whether it may begin anew: once in a page of slots. */
enum { QUEUE_REWIND_COUNT = 128 };

int queue_init(struct queue *queue, uint32_t capacity)
{
    CHECK(capacity >= 1);
    CHECK(capacity <= QUEUE_CAPACITY_MAX);
    CHECK((capacity & (capacity - 1)) == 0);
    struct queue_slot *slots = (struct queue_slot *)memory_map(capacity * sizeof(*slots));
    if (slots == NULL) {
        return -ENOMEM;
    }
    memset(queue, 0, sizeof(*queue));
    queue->slots = slots;
    queue->mask = capacity - 1;
    return 0;
}

void queue_fini(struct queue *queue)
{
    CHECK(queue->slots != NULL);
    memory_unmap(queue->slots, (queue->mask + 1) * sizeof(*queue->slots));
    memset(queue, 0, sizeof(*queue));
}

uint32_t queue_capacity(const struct queue *queue)
{
    return (uint32_t)(queue->mask + 1);
}

static uint64_t room_seen(const struct queue *queue)
{
    return queue->mask + 1 - (queue->pushed - queue->head_seen);
}

uint32_t queue_room(struct queue *queue)
{
    /* Partner: the store of `head` in queue_release. Acquire: the consumer's reads of the slots
     * that it gave back come before our writes to them. */
    queue->head_seen = __atomic_load_n(&queue->head, __ATOMIC_ACQUIRE);
    CHECK(queue->pushed - queue->head_seen <= queue->mask + 1);
    return (uint32_t)room_seen(queue);
}

bool queue_has_room(struct queue *queue, uint32_t count)
{
    return likely(room_seen(queue) >= count) || queue_room(queue) >= count;
}

/* Begins with the first slot again if the queue is empty. */
static void queue_rewind(struct queue *queue)
{
    if (queue_room(queue) == queue_capacity(queue)) {
        /* The consumer has nothing to pop until it has read a new tail, and reads this after it. */
        queue->base = queue->pushed;
    }
}

void queue_push(struct queue *queue, const struct queue_entry *entry, uint64_t bytes)
{
    CHECK(queue_has_room(queue, 1));
    uint64_t place = queue->pushed - queue->base;
    if (place % QUEUE_REWIND_COUNT == 0 && place > 0) {
        queue_rewind(queue);
    }
    struct queue_slot *slot = &queue->slots[(queue->pushed - queue->base) & queue->mask];
    slot->entry = *entry;
    slot->bytes = bytes;
    queue->pushed++;
    queue->bytes_pushed += bytes;
}

void queue_publish(struct queue *queue)
{
    DCHECK(queue->tail <= queue->pushed);
    /* Partner: the load of `tail` in queue_tail. Release: the slots up to here, and what their
     * frames point at, are written before the consumer can know of them. */
    __atomic_store_n(&queue->tail, queue->pushed, __ATOMIC_RELEASE);
}

uint64_t queue_bytes(const struct queue *queue)
{
    /* Partner: the store in queue_release. Relaxed: a number for a limit, it orders nothing. It
     * never runs ahead of what was pushed, because the consumer adds up only what it was given. */
    return queue->bytes_pushed - __atomic_load_n(&queue->bytes_released, __ATOMIC_RELAXED);
}

bool queue_is_within(struct queue *queue, uint64_t bytes_max)
{
    if (likely(queue->bytes_pushed - queue->bytes_released_seen <= bytes_max)) {
        return true;
    }
    /* Partner and order: as in queue_bytes. */
    queue->bytes_released_seen = __atomic_load_n(&queue->bytes_released, __ATOMIC_RELAXED);
    return queue->bytes_pushed - queue->bytes_released_seen <= bytes_max;
}

uint64_t queue_tail(struct queue *queue)
{
    /* Partner: the store of `tail` in queue_publish; see there. */
    uint64_t tail = __atomic_load_n(&queue->tail, __ATOMIC_ACQUIRE);
    if (tail != queue->tail_seen) {
        /* Partner: queue_rewind, before the release of a tail that we had not seen. While there is
         * one, the queue is not empty, and nobody writes to it. */
        queue->base_seen = queue->base;
        queue->tail_seen = tail;
    }
    return tail;
}

uint64_t queue_head(const struct queue *queue)
{
    return queue->popped;
}

bool queue_is_empty(struct queue *queue)
{
    return queue_tail(queue) == queue->popped;
}

bool queue_pop(struct queue *queue, struct queue_entry *ret_entry)
{
    if (queue->popped == queue->tail_seen && queue_is_empty(queue)) {
        return false;
    }
    DCHECK(queue->popped < queue->tail_seen);
    const struct queue_slot *slot = &queue->slots[(queue->popped - queue->base_seen) & queue->mask];
    *ret_entry = slot->entry;
    queue->bytes_popped += slot->bytes;
    queue->popped++;
    return true;
}

void queue_release(struct queue *queue)
{
    /* Our own word, so a plain read. Without news, the producer's copy of the line stays valid. */
    if (queue->head == queue->popped) {
        return;
    }
    /* Partner: the load in queue_bytes. Before `head`, so that a producer that sees room also sees
     * the bytes of it gone (its load of `head` acquires this store). */
    __atomic_store_n(&queue->bytes_released, queue->bytes_popped, __ATOMIC_RELAXED);
    /* Partner: the load of `head` in queue_room. Release: our reads of the slots are over before
     * the producer may write to them. */
    __atomic_store_n(&queue->head, queue->popped, __ATOMIC_RELEASE);
}
