#include "core/frame.h"

#include "core/base/memory.h"
#include "core/event_id.h"

static const char hex_digits[] = "0123456789abcdef";

static uint32_t hex_width(size_t value)
{
    uint32_t width = 1;
    for (; value >= 16; value >>= 4) {
        width++;
    }
    return width;
}

struct frame *frame_new(size_t text_len, size_t id_offset)
{
    CHECK(text_len > 0);
    CHECK(text_len <= UINT32_MAX / 2);
    CHECK(id_offset + EVENT_ID_LEN <= text_len);
    uint32_t width = hex_width(text_len);
    uint32_t text_offset = width + 2;
    struct frame *frame = memory_alloc(sizeof(*frame) + text_offset + text_len + 2);
    if (frame == NULL) {
        return NULL;
    }
    *frame = (struct frame){
        .references = 1,
        .text_offset = text_offset,
        .text_len = (uint32_t)text_len,
        .id_offset = (uint32_t)id_offset,
    };
    size_t left = text_len;
    for (uint32_t i = width; i > 0; i--) {
        frame->bytes[i - 1] = hex_digits[left & 15];
        left >>= 4;
    }
    memcpy(frame->bytes + width, "\r\n", 2);
    memcpy(frame->bytes + text_offset + text_len, "\r\n", 2);
    return frame;
}

char *frame_text(struct frame *frame)
{
    return frame->bytes + frame->text_offset;
}

void frame_stamp(struct frame *frame, uint64_t epoch, uint64_t sequence, uint64_t now_ms)
{
    DCHECK(frame->references == 1);
    frame->sequence = sequence;
    frame->published_ms = now_ms;
    event_id_write(frame_text(frame) + frame->id_offset, epoch, sequence);
}

struct frame *frame_ref(struct frame *frame)
{
    /* Relaxed: whoever adds a reference already holds one. */
    __atomic_fetch_add(&frame->references, 1, __ATOMIC_RELAXED);
    return frame;
}

void frame_ref_times(struct frame *frame, uint32_t times)
{
    /* Relaxed: as above. */
    __atomic_fetch_add(&frame->references, times, __ATOMIC_RELAXED);
}

void frame_unref(struct frame *frame)
{
    /*
     * Release, so that this owner's reads happen before the free; acquire, so that the owner who
     * frees sees that every other owner is done. The partner is the same line in the other threads.
     */
    uint32_t before = __atomic_fetch_sub(&frame->references, 1, __ATOMIC_ACQ_REL);
    CHECK(before > 0);
    if (before == 1) {
        memory_free(frame);
    }
}

struct span frame_view(const struct frame *frame, enum frame_view view)
{
    if (view == FRAME_RAW) {
        return span_make(frame->bytes + frame->text_offset, frame->text_len);
    }
    return span_make(frame->bytes, (size_t)frame->text_offset + frame->text_len + 2);
}

size_t frame_size(const struct frame *frame)
{
    return sizeof(*frame) + frame->text_offset + frame->text_len + 2;
}
