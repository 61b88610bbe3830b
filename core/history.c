#include "core/history.h"

#include <errno.h>

#include "core/base/memory.h"

static struct frame **history_ring(const struct history *history)
{
    return history->capacity == 1 ? (struct frame **)&history->frames.one : history->frames.ring;
}

void history_init(struct history *history, uint64_t evicted_sequence)
{
    *history = (struct history){.capacity = 1, .evicted_sequence = evicted_sequence};
}

void history_fini(struct history *history)
{
    struct frame *released = NULL;
    while (history->count > 0) {
        history_evict_oldest(history, &released);
    }
    history_release(released);
    history_shrink(history);
}

struct frame *history_at(const struct history *history, uint32_t index)
{
    DCHECK(index < history->count);
    return history_ring(history)[(history->first + index) & (history->capacity - 1)];
}

int history_reserve(struct history *history, uint32_t count, const struct history_limits *limits)
{
    /* One more than the limit: the newest is appended before the oldest is evicted. */
    uint64_t wanted =
        min_u64((uint64_t)history->count + count, (uint64_t)limits->count_max + count);
    if (wanted <= history->capacity) {
        return 0;
    }
    uint32_t capacity = history->capacity;
    while (capacity < wanted) {
        capacity *= 2;
    }
    struct frame **ring = memory_alloc(capacity * sizeof(struct frame *));
    if (ring == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < history->count; i++) {
        ring[i] = history_at(history, i);
    }
    if (history->capacity > 1) {
        memory_free(history->frames.ring);
    }
    history->frames.ring = ring;
    history->capacity = capacity;
    history->first = 0;
    return 0;
}

void history_append(struct history *history, struct frame *frame)
{
    CHECK(history->count < history->capacity);
    DCHECK(history->count == 0 ||
           history_at(history, history->count - 1)->sequence < frame->sequence);
    history_ring(history)[(history->first + history->count) & (history->capacity - 1)] = frame;
    history->count++;
    history->bytes += frame_size(frame);
}

void history_evict_oldest(struct history *history, struct frame **released)
{
    CHECK(history->count > 0);
    struct frame *frame = history_at(history, 0);
    history->first = (history->first + 1) & (history->capacity - 1);
    history->count--;
    history->bytes -= frame_size(frame);
    history->evicted_sequence = frame->sequence;
    frame->next = *released;
    *released = frame;
}

static bool history_exceeds(const struct history *history, const struct history_limits *limits,
                            uint64_t now_ms)
{
    if (history->count > limits->count_max || history->bytes > limits->bytes_max) {
        return true;
    }
    /* A clock that steps back must not make the difference wrap: nothing is then too old. */
    uint64_t published_ms = history_at(history, 0)->published_ms;
    return now_ms > published_ms && now_ms - published_ms > limits->age_ms_max;
}

void history_trim(struct history *history, const struct history_limits *limits, uint64_t now_ms,
                  struct frame **released)
{
    while (history->count > 0 && history_exceeds(history, limits, now_ms)) {
        history_evict_oldest(history, released);
    }
}

void history_shrink(struct history *history)
{
    if (history->count == 0) {
        if (history->capacity > 1) {
            memory_free(history->frames.ring);
        }
        history->capacity = 1;
        history->first = 0;
    }
}

uint32_t history_find(const struct history *history, uint64_t after)
{
    uint32_t low = 0;
    uint32_t high = history->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (history_at(history, middle)->sequence > after) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

void history_release(struct frame *released)
{
    while (released != NULL) {
        struct frame *next = released->next;
        released->next = NULL;
        frame_unref(released);
        released = next;
    }
}
