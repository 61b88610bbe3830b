#include "core/feed.h"

#include <errno.h>

#include "core/base/memory.h"

enum { FEED_WINDOW_MIN = 4, FEED_MEMBERS_MIN = 2 };

static_assert(offsetof(struct feed, released_bytes) - offsetof(struct feed, idle) >= 64,
              "what the sequencer writes shares no cache line with what the shard writes");

struct feed *feed_new(struct channel *channel, unsigned shard, uint64_t base)
{
    struct feed *feed = memory_calloc(1, sizeof(*feed));
    if (feed != NULL) {
        feed->channel = channel;
        feed->shard = (uint16_t)shard;
        feed->base = base;
        feed->head = base;
        feed->passed = base;
        feed->settled = base;
        feed->pass_head = base;
        feed->window.ring = &feed->window.one;
        feed->window.capacity = 1;
        feed->members = &feed->member;
        feed->member_capacity = 1;
    }
    return feed;
}

struct feed_entry *feed_entry_at(const struct feed *feed, uint32_t index)
{
    DCHECK(index < feed->window.count);
    return &feed->window.ring[(feed->window.first + index) & (feed->window.capacity - 1)];
}

/* Bytes count as released when no pass will need them; the sequencer then admits as many more. */
static void feed_release_bytes(struct feed *feed, uint64_t bytes)
{
    /* Relaxed: a count for admission, it orders no data. Its partner is the sequencer's load. */
    __atomic_store_n(&feed->released_bytes, feed->released_bytes + bytes, __ATOMIC_RELAXED);
}

static struct frame *feed_drop_oldest(struct feed *feed)
{
    struct feed_entry *entry = feed_entry_at(feed, 0);
    struct frame *frame = entry->frame;
    feed->window.bytes -= frame_size(frame);
    feed->window.first = (feed->window.first + 1) & (feed->window.capacity - 1);
    feed->window.count--;
    feed->base = entry->sequence;
    return frame;
}

/* Back to the place for one, if there is none in the window. */
static void feed_window_reset(struct feed_window *window)
{
    CHECK(window->count == 0);
    if (window->ring != &window->one) {
        memory_free(window->ring);
        window->ring = &window->one;
        window->capacity = 1;
    }
    window->first = 0;
}

void feed_free(struct feed *feed)
{
    CHECK(feed->member_count == 0);
    CHECK(!list_is_linked(&feed->dirty));
    CHECK(!list_is_linked(&feed->idle));
    while (feed->window.count > 0) {
        frame_unref(feed_drop_oldest(feed));
    }
    feed_window_reset(&feed->window);
    if (feed->members != &feed->member) {
        memory_free(feed->members);
    }
    memory_free(feed);
}

int feed_add_member(struct feed *feed, struct subscriber *subscriber, uint32_t *ret_index)
{
    if (feed->member_count == feed->member_capacity) {
        bool in_place = feed->members == &feed->member;
        uint32_t capacity = in_place ? FEED_MEMBERS_MIN : feed->member_capacity * 2;
        struct subscriber **members =
            memory_realloc(in_place ? NULL : feed->members, capacity * sizeof(struct subscriber *));
        if (members == NULL) {
            return -ENOMEM;
        }
        members[0] = in_place ? feed->member : members[0];
        feed->members = members;
        feed->member_capacity = capacity;
    }
    *ret_index = feed->member_count;
    feed->members[feed->member_count++] = subscriber;
    return 0;
}

static void feed_shrink_members(struct feed *feed)
{
    if (feed->member_capacity < 64 || feed->member_count > feed->member_capacity / 4) {
        return;
    }
    uint32_t capacity = feed->member_capacity / 2;
    struct subscriber **members =
        memory_realloc(feed->members, capacity * sizeof(struct subscriber *));
    if (members != NULL) {
        feed->members = members;
        feed->member_capacity = capacity;
    }
}

void feed_remove_member(struct feed *feed, uint32_t index, uint32_t ret_moved[2],
                        unsigned *ret_moved_count)
{
    CHECK(index < feed->member_count);
    *ret_moved_count = 0;
    uint32_t hole = index;
    if (hole < feed->pass_next) {
        /* Fill the hole with the last visited one, so that nobody unvisited slips behind the pass.
         */
        feed->pass_next--;
        if (hole != feed->pass_next) {
            feed->members[hole] = feed->members[feed->pass_next];
            ret_moved[(*ret_moved_count)++] = hole;
        }
        hole = feed->pass_next;
    }
    feed->member_count--;
    if (hole != feed->member_count) {
        feed->members[hole] = feed->members[feed->member_count];
        ret_moved[(*ret_moved_count)++] = hole;
    }
    feed_shrink_members(feed);
}

static int feed_window_grow(struct feed *feed)
{
    struct feed_window *window = &feed->window;
    uint32_t capacity = window->capacity == 1 ? FEED_WINDOW_MIN : window->capacity * 2;
    struct feed_entry *ring = memory_alloc(capacity * sizeof(*ring));
    if (ring == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < window->count; i++) {
        ring[i] = *feed_entry_at(feed, i);
    }
    if (window->ring != &window->one) {
        memory_free(window->ring);
    }
    window->ring = ring;
    window->capacity = capacity;
    window->first = 0;
    return 0;
}

void feed_skip(struct feed *feed, struct frame *frame)
{
    CHECK(feed->window.count == 0);
    feed->head = frame->sequence;
    feed->head_bytes = frame->published_bytes + frame_size(frame);
    feed->base = frame->sequence;
    feed_release_bytes(feed, frame_size(frame));
    frame_unref(frame);
}

void feed_append(struct feed *feed, struct frame *frame)
{
    struct feed_window *window = &feed->window;
    CHECK(frame->sequence > feed->head);
    feed->head = frame->sequence;
    feed->head_bytes = frame->published_bytes + frame_size(frame);
    int r = 0;
    if (window->count == window->capacity) {
        r = feed_window_grow(feed);
    }
    if (r < 0) {
        /* Nothing may be missing between base and head, so all of it is left to history. */
        while (window->count > 0) {
            struct frame *old = feed_drop_oldest(feed);
            if (old->sequence > feed->passed) {
                feed_release_bytes(feed, frame_size(old));
            }
            frame_unref(old);
        }
        feed_skip(feed, frame);
        return;
    }
    window->count++;
    window->bytes += frame_size(frame);
    *feed_entry_at(feed, window->count - 1) = (struct feed_entry){frame->sequence, frame};
}

uint32_t feed_find(const struct feed *feed, uint64_t after)
{
    uint32_t low = 0;
    uint32_t high = feed->window.count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (feed_entry_at(feed, middle)->sequence > after) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

void feed_set_passed(struct feed *feed, uint64_t passed)
{
    CHECK(passed >= feed->passed);
    uint64_t bytes = 0;
    uint32_t end = feed_find(feed, passed);
    for (uint32_t i = feed_find(feed, feed->passed); i < end; i++) {
        bytes += frame_size(feed_entry_at(feed, i)->frame);
    }
    feed_release_bytes(feed, bytes);
    feed->passed = passed;
}

void feed_trim(struct feed *feed, uint64_t behind_bytes_max,
               void (*release)(void *context, struct frame *frame), void *context)
{
    struct feed_window *window = &feed->window;
    while (window->count > 0 && feed_entry_at(feed, 0)->sequence <= feed->passed) {
        if (feed->behind_count > 0 && window->bytes <= behind_bytes_max) {
            break;
        }
        struct frame *frame = feed_drop_oldest(feed);
        release(context, frame);
    }
    if (window->count == 0) {
        feed_window_reset(window);
    }
}

void feed_verify(const struct feed *feed)
{
    uint64_t previous = feed->base;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < feed->window.count; i++) {
        const struct feed_entry *entry = feed_entry_at(feed, i);
        CHECK(entry->sequence > previous);
        CHECK(entry->sequence == entry->frame->sequence);
        previous = entry->sequence;
        bytes += frame_size(entry->frame);
    }
    CHECK(previous <= feed->head);
    CHECK(bytes == feed->window.bytes);
    CHECK(feed->member_count <= feed->member_capacity);
    CHECK(feed->behind_count <= feed->member_count);
    CHECK(feed->pass_next <= feed->member_count);
}
