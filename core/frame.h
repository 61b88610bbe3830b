/*
 * A frame is the wire bytes of one event, built once however many subscribers read it.
 *
 *   bytes:  | size in hex CRLF |  SSE text ... id: <patched by the sequencer> ...  | CRLF |
 *           '---------------- FRAME_CHUNKED: one chunk of HTTP/1.1 --------------------'
 *                              '---- FRAME_RAW: HTTP/1.0, and later HTTP/2 -----'
 *
 * Ownership: reference-counted. The publisher builds it and holds the first reference; the
 * sequencer patches the id in while nobody else can see the frame; after that it is immutable and
 * any thread may read it. History, queues and feeds hold references; a delivery to a subscriber
 * does not.
 */
#ifndef SPATE_CORE_FRAME_H
#define SPATE_CORE_FRAME_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum frame_view { FRAME_CHUNKED, FRAME_RAW };

struct frame {
    uint64_t sequence;        /* place in the hub's total order; set by the sequencer */
    uint64_t published_ms;    /* wall clock, for `since=` and ageing; set by the sequencer */
    uint64_t published_bytes; /* of its channel before it; set by the sequencer */
    uint64_t
        received_ns; /* monotonic, for the profile: set by the publisher, or 0 without a request */
    uint64_t sequenced_ns; /* ... and by the sequencer */
    struct frame *next;    /* the sequencer's list of frames to let go; NULL otherwise */
    uint32_t references;
    uint32_t text_offset; /* where the SSE text begins */
    uint32_t text_len;
    uint32_t id_offset; /* where the id's EVENT_ID_LEN characters begin, from the text's start */
    char bytes[];
};

/*
 * A frame with room for `text_len` bytes of SSE text, written by the caller through frame_text,
 * with the id's place at `id_offset`. NULL when out of memory. text_len must be at least 1.
 */
struct frame *frame_new(size_t text_len, size_t id_offset);
char *frame_text(struct frame *frame);

/* Writes the id. Only while the frame has one owner. */
void frame_stamp(struct frame *frame, uint64_t epoch, uint64_t sequence, uint64_t now_ms);

struct frame *frame_ref(struct frame *frame);
/* `times` references at once. */
void frame_ref_times(struct frame *frame, uint32_t times);
void frame_unref(struct frame *frame);

/* What a subscriber of this view is sent. */
struct span frame_view(const struct frame *frame, enum frame_view view);

/* Memory that the frame stands for in every byte limit: its wire bytes and its header. */
size_t frame_size(const struct frame *frame);

#ifdef __cplusplus
}
#endif

#endif
