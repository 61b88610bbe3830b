#include "tools/load/http1.h"

enum chunked_phase {
    CHUNKED_SIZE, /* 0: between two chunks, if no digit has come */
    CHUNKED_EXTENSION,
    CHUNKED_DATA,
    CHUNKED_DATA_END, /* the line end behind the data */
    CHUNKED_TRAILER,  /* at the beginning of a line */
    CHUNKED_TRAILER_LINE,
    CHUNKED_OVER,
};

enum { CHUNK_SIZE_DIGIT_COUNT_MAX = 15 };

/* --- Heads ------------------------------------------------------------------------------------ */

static struct span span_trim(struct span text)
{
    while (text.len > 0 && (*text.bytes == ' ' || *text.bytes == '\t')) {
        text = span_make(text.bytes + 1, text.len - 1);
    }
    while (text.len > 0 && (text.bytes[text.len - 1] == ' ' || text.bytes[text.len - 1] == '\t')) {
        text.len--;
    }
    return text;
}

static bool parse_length(struct span text, uint64_t *ret_length)
{
    uint64_t length = 0;
    if (text.len == 0 || text.len > 18) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.bytes[i] < '0' || text.bytes[i] > '9') {
            return false;
        }
        length = length * 10 + (uint64_t)(text.bytes[i] - '0');
    }
    *ret_length = length;
    return true;
}

static bool head_field(struct http1_head *head, struct span line)
{
    const char *colon = memchr(line.bytes, ':', line.len);
    if (colon == NULL) {
        return false;
    }
    const size_t name_len = (size_t)(colon - line.bytes);
    const struct span name = span_make(line.bytes, name_len);
    const struct span value = span_trim(span_make(colon + 1, line.len - name_len - 1));
    if (span_is_nocase(name, "transfer-encoding")) {
        head->is_chunked = span_is_nocase(value, "chunked");
        return head->is_chunked;
    }
    if (span_is_nocase(name, "content-length")) {
        head->has_length = true;
        return parse_length(value, &head->length);
    }
    if (span_is_nocase(name, "content-type")) {
        const char *end = memchr(value.bytes, ';', value.len);
        const size_t len = end == NULL ? value.len : (size_t)(end - value.bytes);
        head->is_event_stream =
            span_is_nocase(span_trim(span_make(value.bytes, len)), "text/event-stream");
    }
    if (span_is_nocase(name, "connection")) {
        head->closes = span_is_nocase(value, "close");
    }
    return true;
}

static bool head_status_line(struct http1_head *head, struct span line)
{
    if (line.len < 12 || memcmp(line.bytes, "HTTP/1.", 7) != 0 || line.bytes[8] != ' ') {
        return false;
    }
    uint64_t status;
    if (!parse_length(span_make(line.bytes + 9, 3), &status)) {
        return false;
    }
    head->status = (int)status;
    head->closes = line.bytes[7] == '0';
    return true;
}

enum http1_outcome http1_head_read(const char *bytes, size_t len, struct http1_head *ret_head)
{
    static const char version[] = "HTTP/1.";
    struct http1_head head = {0};
    if (memcmp(bytes, version, min_size(len, sizeof version - 1)) != 0) {
        return HTTP1_BAD;
    }
    const char *end = memmem(bytes, min_size(len, HTTP1_HEAD_LEN_MAX), "\r\n\r\n", 4);
    if (end == NULL) {
        return len < HTTP1_HEAD_LEN_MAX ? HTTP1_MORE : HTTP1_LONG;
    }
    const char *line = bytes;
    while (line < end) {
        const char *line_end = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
        const struct span text = span_make(line, (size_t)(line_end - line));
        if (!(line == bytes ? head_status_line(&head, text) : head_field(&head, text))) {
            return HTTP1_BAD;
        }
        line = line_end + 2;
    }
    head.len = (size_t)(end + 4 - bytes);
    if (head.status == 0) {
        return HTTP1_BAD;
    }
    *ret_head = head;
    return HTTP1_DONE;
}

/* --- Chunks ----------------------------------------------------------------------------------- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool size_byte(struct http1_chunked *chunked, char byte)
{
    const int digit = hex_value(byte);
    if (digit >= 0) {
        chunked->left = chunked->left << 4 | (uint64_t)digit;
        return ++chunked->digits <= CHUNK_SIZE_DIGIT_COUNT_MAX;
    }
    if (chunked->digits == 0) {
        return false;
    }
    if (byte == '\n') {
        chunked->digits = 0;
        chunked->phase = chunked->left == 0 ? CHUNKED_TRAILER : CHUNKED_DATA;
        return true;
    }
    if (byte == ';' || byte == ' ') {
        chunked->phase = CHUNKED_EXTENSION;
        return true;
    }
    return byte == '\r';
}

/* A byte of the framing; false if it cannot stand there. */
static bool framing_byte(struct http1_chunked *chunked, char byte)
{
    switch ((enum chunked_phase)chunked->phase) {
    case CHUNKED_SIZE:
        return size_byte(chunked, byte);
    case CHUNKED_EXTENSION:
        if (byte == '\n') {
            chunked->phase = CHUNKED_SIZE;
            return size_byte(chunked, byte);
        }
        return true;
    case CHUNKED_DATA_END:
        if (byte == '\n') {
            chunked->phase = CHUNKED_SIZE;
            return true;
        }
        return byte == '\r';
    case CHUNKED_TRAILER:
        if (byte == '\n') {
            chunked->phase = CHUNKED_OVER;
        } else if (byte != '\r') {
            chunked->phase = CHUNKED_TRAILER_LINE;
        }
        return true;
    case CHUNKED_TRAILER_LINE:
        if (byte == '\n') {
            chunked->phase = CHUNKED_TRAILER;
        }
        return true;
    case CHUNKED_DATA:
    case CHUNKED_OVER:
        break;
    }
    return false;
}

enum http1_outcome http1_chunked_take(struct http1_chunked *chunked, struct span bytes,
                                      size_t *ret_consumed, struct span *ret_data)
{
    size_t at = 0;
    *ret_data = span_make(bytes.bytes, 0);
    while (at < bytes.len) {
        if (chunked->phase == CHUNKED_DATA) {
            if (ret_data->len > 0) {
                break;
            }
            const size_t len = (size_t)min_u64(chunked->left, bytes.len - at);
            *ret_data = span_make(bytes.bytes + at, len);
            at += len;
            chunked->left -= len;
            if (chunked->left == 0) {
                chunked->phase = CHUNKED_DATA_END;
            }
            continue;
        }
        if (ret_data->len > 0 && chunked->phase == CHUNKED_SIZE) {
            break;
        }
        if (!framing_byte(chunked, bytes.bytes[at++])) {
            return HTTP1_BAD;
        }
        if (chunked->phase == CHUNKED_OVER) {
            *ret_consumed = at;
            return HTTP1_DONE;
        }
    }
    *ret_consumed = at;
    return HTTP1_MORE;
}

/* --- Whole responses -------------------------------------------------------------------------- */

enum http1_outcome http1_response_take(struct http1_response *response, struct span bytes,
                                       size_t *ret_consumed)
{
    size_t at = 0;
    *ret_consumed = 0;
    if (response->head.len == 0) {
        enum http1_outcome outcome = http1_head_read(bytes.bytes, bytes.len, &response->head);
        if (outcome != HTTP1_DONE) {
            return outcome;
        }
        at = response->head.len;
        response->left = response->head.has_length ? response->head.length : UINT64_MAX;
        if (response->head.status == 204 || response->head.status == 304) {
            response->left = 0;
        }
    }
    while (response->head.is_chunked && at < bytes.len) {
        struct span data;
        size_t consumed;
        enum http1_outcome outcome = http1_chunked_take(
            &response->chunked, span_make(bytes.bytes + at, bytes.len - at), &consumed, &data);
        if (outcome == HTTP1_BAD) {
            return HTTP1_BAD;
        }
        at += consumed;
        *ret_consumed = at;
        if (outcome == HTTP1_DONE) {
            return HTTP1_DONE;
        }
    }
    if (!response->head.is_chunked) {
        const uint64_t len = min_u64(response->left, bytes.len - at);
        response->left -= len;
        at += len;
    }
    *ret_consumed = at;
    return !response->head.is_chunked && response->left == 0 ? HTTP1_DONE : HTTP1_MORE;
}
