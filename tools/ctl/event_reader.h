/*
 * A reader of event streams, as the WHATWG HTML standard wants it (9.2.6, "Interpreting an event
 * stream"): CR, LF and CRLF end a line, a byte order mark is passed over, an event without data is
 * none, and one that the stream breaks off is lost.
 *
 * What it keeps is bounded: an event, or a line, of more than EVENT_BYTES_MAX ends the reading.
 *
 * Owned by one thread. Pure but for the callbacks.
 */
#ifndef SPATE_CTL_EVENT_READER_H
#define SPATE_CTL_EVENT_READER_H

#include "core/base/buffer.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EVENT_BYTES_MAX ((size_t)64 << 20)

struct event {
    struct span id;   /* the last that the stream gave; empty: none yet */
    struct span type; /* "message" if the stream does not say */
    struct span data; /* lines joined with LF */
};

struct event_reader {
    /* Both may be NULL. False stops the reading. */
    bool (*on_event)(void *context, const struct event *event);
    bool (*on_line)(void *context, struct span line); /* each as it came, without its end */
    void *context;

    struct buffer line, type, data;
    struct buffer id;      /* of the last whole event */
    struct buffer next_id; /* becomes `id` with the next empty line */
    uint64_t retry_ms;     /* UINT64_MAX: the stream has not said */
    uint64_t heard;        /* events and comments: a stream with neither has only greeted */
    bool has_data, has_next_id, after_cr, is_begun;
};

void event_reader_init(struct event_reader *reader);
void event_reader_fini(struct event_reader *reader);
/* A new connection: forgets what was left unfinished. The id and the retry time stay. */
void event_reader_restart(struct event_reader *reader);
/* As if an event with this id had been read. */
void event_reader_set_id(struct event_reader *reader, struct span id);

enum event_reader_result {
    EVENT_READER_MORE,
    EVENT_READER_STOPPED,
    EVENT_READER_TOO_LONG,
};

enum event_reader_result event_reader_feed(struct event_reader *reader, struct span bytes);

#ifdef __cplusplus
}
#endif
#endif
