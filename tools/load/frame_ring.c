#include "tools/load/frame_ring.h"

#include <errno.h>

#include "core/base/memory.h"

int frame_ring_init(struct frame_ring *ring, uint32_t size)
{
    CHECK((size & (size - 1)) == 0 || size == 0);
    *ring = (struct frame_ring){0};
    if (size > 0) {
        ring->frames = memory_calloc(size, sizeof(struct ring_frame));
        if (ring->frames == NULL) {
            return -ENOMEM;
        }
        ring->mask = size - 1;
    }
    return 0;
}

static bool same_message(const struct message *a, const struct message *b)
{
    return a->sequence == b->sequence && a->slot == b->slot && a->run == b->run;
}

uint32_t frame_ring_add(struct frame_ring *ring, const struct ring_frame *frame,
                        const struct ring_frame **ret_known)
{
    *ret_known = NULL;
    if (ring->frames == NULL || frame->event_count == 0 || frame->len > FRAME_LEN_MAX) {
        return ring->head;
    }
    const struct ring_frame *newest = &ring->frames[(ring->head - 1) & ring->mask];
    const bool is_behind = newest->len > 0 && newest->messages[0].slot == frame->messages[0].slot &&
                           newest->messages[0].sequence > frame->messages[0].sequence;
    if (is_behind &&
        newest->messages[0].sequence - frame->messages[0].sequence > ring->mask + UINT64_C(1)) {
        return ring->head; /* long gone */
    }
    for (uint32_t age = 1; age <= ring->mask + 1 && age <= ring->head; age++) {
        const struct ring_frame *old = &ring->frames[(ring->head - age) & ring->mask];
        if (old->len > 0 && same_message(&old->messages[0], &frame->messages[0])) {
            *ret_known = old;
            return ring->head - age + 1;
        }
    }
    if (is_behind) {
        return ring->head; /* remembering it would push out what more subscribers wait for */
    }
    struct ring_frame *place = &ring->frames[ring->head & ring->mask];
    char *bytes = memory_realloc(place->bytes, frame->len);
    if (bytes == NULL) {
        return ring->head;
    }
    *place = *frame;
    place->bytes = bytes;
    memcpy(bytes, frame->bytes, frame->len);
    return ++ring->head;
}
