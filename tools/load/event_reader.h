/*
 * Reads the response to a subscription: its head, and then Server-Sent Events (WHATWG HTML, 9.2),
 * chunked or not, in whatever pieces they come.
 *
 * A reader is clean between two events, when no byte has been taken of what comes next. From one
 * clean place to the next the same bytes always mean the same, so that what has been read once may
 * be recognised by comparing (tools/load/frame_ring.h). A clean reader holds no memory.
 *
 * Owned by one thread. Allocates only while an event or a head is incomplete.
 */
#ifndef SPATE_LOAD_EVENT_READER_H
#define SPATE_LOAD_EVENT_READER_H

#include "core/base/buffer.h"
#include "tools/load/http1.h"
#include "tools/load/message.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    EVENT_ID_LEN_KEPT = 63, /* a longer id is not kept, and cannot be resumed from */
    EVENT_LINE_LEN_MAX = 16 << 20,
};

/* What one event said. */
struct event {
    bool is_begun; /* a line of it has come */
    bool has_data;
    bool has_id;
    bool is_gap; /* the server tells that something is missing (event: spate.gap) */
    uint8_t id_len;
    char id[EVENT_ID_LEN_KEPT];
    enum message_outcome outcome; /* of its data */
    struct message message;       /* on MESSAGE_OK */
};

/* An event, or a head, of which a part has come. */
struct event_partial {
    struct event event;
    struct buffer line; /* the incomplete line, or the head so far */
};

/* Zeroed: before the head. */
struct event_reader {
    struct http1_chunked chunked;
    struct event_partial *partial; /* NULL: nothing begun */
    bool is_headed;
    bool is_chunked;
    bool after_cr; /* a line feed that comes next belongs to the line before */
};

struct event_sink {
    void (*head)(void *owner, const struct http1_head *head);
    void (*event)(void *owner, const struct event *event);
    void (*retry)(void *owner, uint64_t retry_ms);
};

enum event_reader_outcome {
    EVENT_READER_MORE, /* everything is taken and something is begun */
    EVENT_READER_CLEAN,
    EVENT_READER_END,  /* of the response */
    EVENT_READER_BAD,  /* not HTTP, or not chunked as it should be */
    EVENT_READER_LONG, /* a head or a line that is too long, or no memory for it */
};

/*
 * Reads up to the next clean place. A head that is not 200 text/event-stream is told, and then the
 * owner is expected not to go on. The sink may not touch the reader.
 */
enum event_reader_outcome event_reader_take(struct event_reader *reader, struct span bytes,
                                            const struct event_sink *sink, void *owner,
                                            size_t *ret_consumed);

static inline bool event_reader_is_clean(const struct event_reader *reader)
{
    return reader->is_headed && reader->partial == NULL && !reader->after_cr &&
           http1_chunked_is_between(&reader->chunked);
}

/* Back to before the head. */
void event_reader_reset(struct event_reader *reader);

#ifdef __cplusplus
}
#endif

#endif
