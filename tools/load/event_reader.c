#include "tools/load/event_reader.h"

#include "core/base/memory.h"

/* One call's view: where events go, and what is begun. */
struct reading {
    struct event_reader *reader;
    const struct event_sink *sink;
    void *owner;
    struct event_partial *partial; /* the reader's, or one on the stack */
};

static void partial_init(struct event_partial *partial)
{
    memset(&partial->event, 0, sizeof(partial->event));
    buffer_init(&partial->line, EVENT_LINE_LEN_MAX);
}

static bool partial_is_begun(const struct event_partial *partial)
{
    return partial->event.is_begun || partial->line.len > 0;
}

/* --- Lines ------------------------------------------------------------------------------------ */

static void take_retry(const struct reading *reading, struct span value)
{
    uint64_t retry_ms = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (value.bytes[i] < '0' || value.bytes[i] > '9' || retry_ms > UINT32_MAX) {
            return;
        }
        retry_ms = retry_ms * 10 + (uint64_t)(value.bytes[i] - '0');
    }
    if (value.len > 0) {
        reading->sink->retry(reading->owner, retry_ms);
    }
}

static void take_data(struct event *event, struct span value)
{
    event->has_data = true;
    /* A message is one line; further lines of the same event are somebody else's. */
    if (event->outcome == MESSAGE_FOREIGN) {
        event->outcome = message_read(value, &event->message);
    }
}

static void take_id(struct event *event, struct span value)
{
    if (memchr(value.bytes, '\0', value.len) != NULL) {
        return;
    }
    event->has_id = true;
    event->id_len = value.len <= EVENT_ID_LEN_KEPT ? (uint8_t)value.len : 0;
    memcpy(event->id, value.bytes, event->id_len);
}

static void take_line(const struct reading *reading, struct span line)
{
    struct event *event = &reading->partial->event;
    const char *colon = memchr(line.bytes, ':', line.len);
    const size_t name_len = colon == NULL ? line.len : (size_t)(colon - line.bytes);
    struct span value = span_make(line.bytes + line.len, 0);
    if (colon != NULL) {
        const size_t skip = name_len + 1 < line.len && colon[1] == ' ' ? 2 : 1;
        value = span_make(line.bytes + name_len + skip, line.len - name_len - skip);
    }
    const struct span name = span_make(line.bytes, name_len);
    event->is_begun = true;
    if (span_is(name, "data")) {
        take_data(event, value);
    } else if (span_is(name, "id")) {
        take_id(event, value);
    } else if (span_is(name, "event")) {
        event->is_gap = span_is(value, "spate.gap");
    } else if (span_is(name, "retry")) {
        take_retry(reading, value);
    }
}

/* The position of the first CR or LF, or the length if there is none. */
static size_t find_line_end(struct span text)
{
    const char *feed = memchr(text.bytes, '\n', text.len);
    const size_t len = feed == NULL ? text.len : (size_t)(feed - text.bytes);
    const char *carriage = memchr(text.bytes, '\r', len);
    return carriage == NULL ? len : (size_t)(carriage - text.bytes);
}

/* --- Events ----------------------------------------------------------------------------------- */

/*
 * Reads text up to the end of an event, or all of it. Returns the length taken; *ret_failed when a
 * line is too long or there is no memory.
 */
static size_t take_text(const struct reading *reading, struct span text, bool *ret_failed)
{
    struct event_reader *reader = reading->reader;
    struct event_partial *partial = reading->partial;
    size_t at = 0;
    if (reader->after_cr && text.len > 0) {
        reader->after_cr = false;
        at = text.bytes[0] == '\n' ? 1 : 0;
    }
    while (at < text.len) {
        struct span line = span_make(text.bytes + at, text.len - at);
        line.len = find_line_end(line);
        const size_t end = at + line.len;
        if (end == text.len || partial->line.len > 0) {
            buffer_append_span(&partial->line, line);
            if (partial->line.failed) {
                *ret_failed = true;
                return text.len;
            }
            line = buffer_span(&partial->line);
        }
        if (end == text.len) {
            return text.len;
        }
        at = end + 1;
        if (text.bytes[end] == '\r' && at == text.len) {
            reader->after_cr = true;
        } else if (text.bytes[end] == '\r' && text.bytes[at] == '\n') {
            at++;
        }
        const bool is_event_end = line.len == 0;
        if (!is_event_end) {
            take_line(reading, line);
        }
        partial->line.len = 0;
        if (is_event_end) {
            if (partial->event.is_begun) {
                reading->sink->event(reading->owner, &partial->event);
                memset(&partial->event, 0, sizeof(partial->event));
            }
            return at;
        }
    }
    return at;
}

/* What is begun outlives the call only in memory of its own. */
static bool keep_partial(const struct reading *reading)
{
    struct event_reader *reader = reading->reader;
    struct event_partial *partial = reading->partial;
    const bool is_begun = partial_is_begun(partial);
    if (partial == reader->partial) {
        if (!is_begun) {
            buffer_fini(&partial->line);
            memory_free(partial);
            reader->partial = NULL;
        }
        return true;
    }
    if (is_begun) {
        reader->partial = memory_alloc(sizeof(*partial));
        if (reader->partial == NULL) {
            buffer_fini(&partial->line);
            return false;
        }
        *reader->partial = *partial;
        return true;
    }
    buffer_fini(&partial->line);
    return true;
}

static enum event_reader_outcome take_body(const struct reading *reading, struct span bytes,
                                           size_t *ret_consumed)
{
    struct event_reader *reader = reading->reader;
    size_t at = 0;
    bool failed = false;
    while (at < bytes.len && !failed) {
        struct span data = span_make(bytes.bytes + at, bytes.len - at);
        size_t consumed = 0;
        enum http1_outcome framing = HTTP1_MORE;
        if (reader->is_chunked) {
            framing = http1_chunked_take(&reader->chunked, data, &consumed, &data);
            if (framing == HTTP1_BAD) {
                return EVENT_READER_BAD;
            }
            size_t taken = 0;
            while (taken < data.len && !failed) {
                taken +=
                    take_text(reading, span_make(data.bytes + taken, data.len - taken), &failed);
            }
        } else {
            consumed = take_text(reading, data, &failed);
        }
        at += consumed;
        *ret_consumed = at;
        if (framing == HTTP1_DONE) {
            return EVENT_READER_END;
        }
        if (!failed && !partial_is_begun(reading->partial) && !reader->after_cr &&
            http1_chunked_is_between(&reader->chunked)) {
            return EVENT_READER_CLEAN;
        }
    }
    return failed ? EVENT_READER_LONG : EVENT_READER_MORE;
}

static enum event_reader_outcome take_head(const struct reading *reading, struct span bytes,
                                           size_t *ret_consumed)
{
    struct event_reader *reader = reading->reader;
    struct buffer *text = &reading->partial->line;
    const size_t before = text->len;
    struct http1_head head;
    buffer_append_span(text, bytes);
    *ret_consumed = bytes.len;
    if (text->failed) {
        return EVENT_READER_LONG;
    }
    switch (http1_head_read(text->bytes, text->len, &head)) {
    case HTTP1_MORE:
        return EVENT_READER_MORE;
    case HTTP1_BAD:
        return EVENT_READER_BAD;
    case HTTP1_LONG:
        return EVENT_READER_LONG;
    case HTTP1_DONE:
        break;
    }
    CHECK(head.len > before);
    *ret_consumed = head.len - before;
    text->len = 0;
    reader->is_headed = true;
    reader->is_chunked = head.is_chunked;
    reading->sink->head(reading->owner, &head);
    return EVENT_READER_CLEAN;
}

enum event_reader_outcome event_reader_take(struct event_reader *reader, struct span bytes,
                                            const struct event_sink *sink, void *owner,
                                            size_t *ret_consumed)
{
    struct event_partial fresh;
    struct reading reading = {reader, sink, owner, reader->partial};
    if (reading.partial == NULL) {
        partial_init(&fresh);
        reading.partial = &fresh;
    }
    *ret_consumed = 0;
    enum event_reader_outcome outcome = reader->is_headed
                                            ? take_body(&reading, bytes, ret_consumed)
                                            : take_head(&reading, bytes, ret_consumed);
    return keep_partial(&reading) ? outcome : EVENT_READER_LONG;
}

void event_reader_reset(struct event_reader *reader)
{
    if (reader->partial != NULL) {
        buffer_fini(&reader->partial->line);
        memory_free(reader->partial);
    }
    memset(reader, 0, sizeof(*reader));
}
