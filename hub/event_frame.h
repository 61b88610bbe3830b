/* From an event to the frame that is sent: what publishers and the hub itself make. Any thread. */
#ifndef SPATE_HUB_EVENT_FRAME_H
#define SPATE_HUB_EVENT_FRAME_H

#include "core/frame.h"
#include "proto/sse.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The caller's, with room for the id that the sequencer will give it. NULL when out of memory. */
struct frame *event_frame_new(const struct sse_event *event);

#ifdef __cplusplus
}
#endif

#endif
