/* From what a publisher said to the bytes that every subscriber is sent. */
#include "bench/micro/micro.h"
#include "core/event_id.h"
#include "core/frame.h"
#include "proto/sse.h"

static char text[4096];

static void serialise(const struct sse_event *event, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        size_t size = sse_event_size(event, EVENT_ID_LEN);
        size_t id_offset = event->type.len > 0 ? event->type.len + 12 : 4;
        struct frame *frame = frame_new(size, id_offset);
        CHECK(frame != NULL);
        sse_event_write(event, EVENT_ID_LEN, frame_text(frame), &id_offset);
        frame_stamp(frame, 12345, i + 1, 1000);
        micro_keep(frame);
        frame_unref(frame);
    }
}

static void *set_up_line(void)
{
    memset(text, 'x', sizeof(text));
    return NULL;
}

static void *set_up_lines(void)
{
    memset(text, 'x', sizeof(text));
    for (size_t i = 39; i < sizeof(text); i += 40) {
        text[i] = '\n';
    }
    return NULL;
}

static void run_160(void *world, uint64_t count)
{
    (void)world;
    serialise(&(struct sse_event){.data = span_make(text, 160)}, count);
}

static void run_4096(void *world, uint64_t count)
{
    (void)world;
    struct sse_event event = {.type = span_of("score"), .data = span_make(text, sizeof(text))};
    serialise(&event, count);
}

const struct micro micro_frame[] = {
    {.name = "frame/160_bytes", .set_up = set_up_line, .run = run_160, .batch = 100},
    {.name = "frame/4096_bytes", .set_up = set_up_line, .run = run_4096, .batch = 100},
    {.name = "frame/4096_bytes_in_100_lines", .set_up = set_up_lines, .run = run_4096, .batch = 10},
    {.name = NULL},
};
