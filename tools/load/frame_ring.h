/*
 * What the subscribers of one channel have received lately, byte for byte, with what it means.
 *
 * A server sends the same bytes to every subscriber of a channel. The first one to receive a frame
 * reads it in full and adds it here; for all others a comparison of memory is proof that theirs is
 * the same and as good, which is what lets one core check millions of deliveries a second. What
 * differs is read in full.
 *
 *   frames    ... 40 41 42 43 |      `head` is 44, the next to be added
 *                       ^            a subscriber at 42 has seen 41 and is compared with 42
 *
 * Owned by one thread.
 */
#ifndef SPATE_LOAD_FRAME_RING_H
#define SPATE_LOAD_FRAME_RING_H

#include "tools/load/event_reader.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    FRAME_EVENT_COUNT_MAX = 8, /* in one frame; more are not remembered */
    FRAME_LEN_MAX = 65536,
    FRAME_RING_SIZE_MAX = 256,
};

/* The bytes from one clean place of a reader to the next. */
struct ring_frame {
    uint32_t len;
    uint32_t event_count;
    uint8_t id_len; /* of the last id in it; 0: none */
    char id[EVENT_ID_LEN_KEPT];
    struct message messages[FRAME_EVENT_COUNT_MAX];
    char *bytes;
};

struct frame_ring {
    struct ring_frame *frames; /* NULL: nothing is remembered */
    uint32_t mask;
    uint32_t head;
};

/* `size` is a power of two, or 0 for a ring that remembers nothing. -ENOMEM. */
int frame_ring_init(struct frame_ring *ring, uint32_t size);

/* What a subscriber at `position` receives next, if the bytes begin with it; else NULL. */
static inline const struct ring_frame *
frame_ring_match(const struct frame_ring *ring, uint32_t position, const char *bytes, size_t len)
{
    if (ring->head - position - 1 > ring->mask || ring->frames == NULL) {
        return NULL; /* it is the first, or too far behind */
    }
    const struct ring_frame *frame = &ring->frames[position & ring->mask];
    if (frame->len == 0 || frame->len > len || memcmp(frame->bytes, bytes, frame->len) != 0) {
        return NULL;
    }
    return frame;
}

/*
 * A frame that was read in full. Returns the position behind it; *ret_known when the same message
 * is in the ring already, in other bytes or from where the subscriber was not compared.
 */
uint32_t frame_ring_add(struct frame_ring *ring, const struct ring_frame *frame,
                        const struct ring_frame **ret_known);

#ifdef __cplusplus
}
#endif

#endif
