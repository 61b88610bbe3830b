#include "tools/ctl/event_reader.h"

void event_reader_init(struct event_reader *reader)
{
    *reader = (struct event_reader){.retry_ms = UINT64_MAX};
    buffer_init(&reader->line, EVENT_BYTES_MAX);
    buffer_init(&reader->type, EVENT_BYTES_MAX);
    buffer_init(&reader->data, EVENT_BYTES_MAX);
    buffer_init(&reader->id, EVENT_BYTES_MAX);
    buffer_init(&reader->next_id, EVENT_BYTES_MAX);
}

void event_reader_fini(struct event_reader *reader)
{
    buffer_fini(&reader->line);
    buffer_fini(&reader->type);
    buffer_fini(&reader->data);
    buffer_fini(&reader->id);
    buffer_fini(&reader->next_id);
}

void event_reader_restart(struct event_reader *reader)
{
    reader->line.len = reader->type.len = reader->data.len = 0;
    reader->has_data = reader->has_next_id = reader->after_cr = reader->is_begun = false;
    reader->heard = 0;
}

static void replace(struct buffer *buffer, struct span text)
{
    buffer->len = 0;
    buffer_append_span(buffer, text);
}

void event_reader_set_id(struct event_reader *reader, struct span id)
{
    replace(&reader->id, id);
}

static bool all_digits(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.bytes[i] < '0' || text.bytes[i] > '9') {
            return false;
        }
    }
    return text.len > 0;
}

static void set_retry(struct event_reader *reader, struct span value)
{
    /* More than 11 days is as good as never, and no number to multiply. */
    uint64_t ms = 0;
    for (size_t i = 0; all_digits(value) && i < value.len && ms < 1000000000; i++) {
        ms = ms * 10 + (uint64_t)(value.bytes[i] - '0');
    }
    reader->retry_ms = all_digits(value) ? ms : reader->retry_ms;
}

static void read_field(struct event_reader *reader, struct span line)
{
    const char *colon = memchr(line.bytes, ':', line.len);
    struct span name =
        span_make(line.bytes, colon == NULL ? line.len : (size_t)(colon - line.bytes));
    struct span value = {NULL, 0};
    if (colon != NULL) {
        value = span_make(colon + 1, line.len - name.len - 1);
        if (value.len > 0 && value.bytes[0] == ' ') {
            value = span_make(value.bytes + 1, value.len - 1);
        }
    }
    if (colon == line.bytes) {
        reader->heard++;
    } else if (span_is(name, "data")) {
        if (reader->has_data) {
            buffer_append(&reader->data, "\n", 1);
        }
        buffer_append_span(&reader->data, value);
        reader->has_data = true;
    } else if (span_is(name, "event")) {
        replace(&reader->type, value);
    } else if (span_is(name, "id") &&
               (value.len == 0 || memchr(value.bytes, 0, value.len) == NULL)) {
        replace(&reader->next_id, value);
        reader->has_next_id = true;
    } else if (span_is(name, "retry")) {
        set_retry(reader, value);
    }
}

/* The empty line behind an event. */
static bool dispatch(struct event_reader *reader)
{
    bool goes_on = true;
    if (reader->has_next_id) {
        replace(&reader->id, buffer_span(&reader->next_id));
    }
    if (reader->has_data) {
        const struct event event = {
            .id = buffer_span(&reader->id),
            .type = reader->type.len > 0 ? buffer_span(&reader->type) : span_of("message"),
            .data = buffer_span(&reader->data),
        };
        reader->heard++;
        goes_on = reader->on_event == NULL || reader->on_event(reader->context, &event);
    }
    reader->type.len = reader->data.len = 0;
    reader->has_data = reader->has_next_id = false;
    return goes_on;
}

static bool end_line(struct event_reader *reader)
{
    struct span line = buffer_span(&reader->line);
    reader->line.len = 0;
    if (!reader->is_begun && line.len >= 3 && memcmp(line.bytes, "\xEF\xBB\xBF", 3) == 0) {
        line = span_make(line.bytes + 3, line.len - 3);
    }
    reader->is_begun = true;
    if (reader->on_line != NULL && !reader->on_line(reader->context, line)) {
        return false;
    }
    if (line.len == 0) {
        return dispatch(reader);
    }
    read_field(reader, line);
    return true;
}

static bool has_failed(const struct event_reader *reader)
{
    return reader->line.failed || reader->type.failed || reader->data.failed || reader->id.failed ||
           reader->next_id.failed;
}

enum event_reader_result event_reader_feed(struct event_reader *reader, struct span bytes)
{
    size_t begin = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        const char byte = bytes.bytes[i];
        const bool is_second = reader->after_cr && byte == '\n';
        reader->after_cr = byte == '\r';
        if (byte != '\r' && byte != '\n') {
            continue;
        }
        if (!is_second) {
            buffer_append(&reader->line, bytes.bytes + begin, i - begin);
            if (has_failed(reader)) {
                return EVENT_READER_TOO_LONG;
            }
            if (!end_line(reader)) {
                return EVENT_READER_STOPPED;
            }
        }
        begin = i + 1;
    }
    buffer_append(&reader->line, bytes.bytes + begin, bytes.len - begin);
    return has_failed(reader) ? EVENT_READER_TOO_LONG : EVENT_READER_MORE;
}
