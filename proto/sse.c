#include "proto/sse.h"

bool sse_field_is_valid(struct span text)
{
    return text.len == 0 || (memchr(text.bytes, '\n', text.len) == NULL &&
                             memchr(text.bytes, '\r', text.len) == NULL &&
                             memchr(text.bytes, '\0', text.len) == NULL);
}

static const char *find_or_end(const char *begin, const char *end, char c)
{
    const char *found = begin == end ? NULL : memchr(begin, c, (size_t)(end - begin));
    return found == NULL ? end : found;
}

void sse_lines_init(struct sse_lines *lines, struct span data)
{
    /* The bytes of an empty span may be NULL, from which no end could be reckoned. */
    lines->rest = data.len == 0 ? span_of("") : data;
    /* CR is rare: it is looked for ahead, once, and not again at each line. */
    lines->next_cr = find_or_end(lines->rest.bytes, lines->rest.bytes + data.len, '\r');
    lines->done = false;
}

bool sse_lines_next(struct sse_lines *lines, struct span *ret_line)
{
    if (lines->done) {
        return false;
    }
    const char *begin = lines->rest.bytes;
    const char *end = begin + lines->rest.len;
    if (lines->next_cr < begin) {
        lines->next_cr = find_or_end(begin, end, '\r');
    }
    const char *stop = find_or_end(begin, lines->next_cr, '\n');
    *ret_line = span_make(begin, (size_t)(stop - begin));
    if (stop == end) {
        lines->done = true;
        return true;
    }
    size_t end_len = (*stop == '\r' && stop + 1 < end && stop[1] == '\n') ? 2 : 1;
    lines->rest = span_make(stop + end_len, (size_t)(end - stop) - end_len);
    return true;
}

static size_t decimal_width(uint32_t value)
{
    size_t width = 1;
    for (; value >= 10; value /= 10) {
        width++;
    }
    return width;
}

#define FIELD_EVENT "event: "
#define FIELD_ID    "id: "
#define FIELD_RETRY "retry: "
#define FIELD_DATA  "data: "

#define LEN(literal) (sizeof(literal) - 1)

size_t sse_event_size(const struct sse_event *event, size_t id_len)
{
    size_t size = LEN(FIELD_ID) + id_len + 1 + 1;
    if (event->type.len > 0) {
        size += LEN(FIELD_EVENT) + event->type.len + 1;
    }
    if (event->has_retry) {
        size += LEN(FIELD_RETRY) + decimal_width(event->retry_ms) + 1;
    }
    struct sse_lines lines;
    struct span line;
    sse_lines_init(&lines, event->data);
    while (sse_lines_next(&lines, &line)) {
        size += LEN(FIELD_DATA) + line.len + 1;
    }
    return size;
}

static char *put(char *out, const char *bytes, size_t len)
{
    if (len > 0) {
        memcpy(out, bytes, len);
    }
    return out + len;
}

static char *put_decimal(char *out, uint32_t value)
{
    size_t width = decimal_width(value);
    for (size_t i = width; i > 0; i--) {
        out[i - 1] = (char)('0' + value % 10);
        value /= 10;
    }
    return out + width;
}

void sse_event_write(const struct sse_event *event, size_t id_len, char *out, size_t *ret_id_offset)
{
    char *at = out;
    if (event->type.len > 0) {
        at = put(at, FIELD_EVENT, LEN(FIELD_EVENT));
        at = put(at, event->type.bytes, event->type.len);
        *at++ = '\n';
    }
    at = put(at, FIELD_ID, LEN(FIELD_ID));
    *ret_id_offset = (size_t)(at - out);
    at += id_len;
    *at++ = '\n';
    if (event->has_retry) {
        at = put(at, FIELD_RETRY, LEN(FIELD_RETRY));
        at = put_decimal(at, event->retry_ms);
        *at++ = '\n';
    }
    struct sse_lines lines;
    struct span line;
    sse_lines_init(&lines, event->data);
    while (sse_lines_next(&lines, &line)) {
        at = put(at, FIELD_DATA, LEN(FIELD_DATA));
        at = put(at, line.bytes, line.len);
        *at++ = '\n';
    }
    *at = '\n';
}
