#include "hub/event_frame.h"

#include "core/event_id.h"

struct frame *event_frame_new(const struct sse_event *event)
{
    size_t size = sse_event_size(event, EVENT_ID_LEN);
    /* The id comes behind the type, wherever that ends: write first, then tell the frame. */
    size_t id_offset = event->type.len > 0 ? event->type.len + 12 : 4;
    struct frame *frame = frame_new(size, id_offset);
    if (frame != NULL) {
        size_t written_at = 0;
        sse_event_write(event, EVENT_ID_LEN, frame_text(frame), &written_at);
        CHECK(written_at == id_offset);
    }
    return frame;
}
