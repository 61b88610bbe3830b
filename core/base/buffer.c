#include "core/base/buffer.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/base/memory.h"

enum { BUFFER_CAPACITY_MIN = 256 };

void buffer_init(struct buffer *buffer, size_t limit)
{
    *buffer = (struct buffer){.limit = limit};
}

void buffer_fini(struct buffer *buffer)
{
    memory_free(buffer->bytes);
    *buffer = (struct buffer){.limit = buffer->limit};
}

/* `spare` bytes behind them are writable, too, but not of the content and so not of the limit. */
static char *buffer_make_room(struct buffer *buffer, size_t len, size_t spare)
{
    CHECK(buffer->len <= buffer->capacity);
    if (buffer->failed || len > buffer->limit - buffer->len) {
        buffer->failed = true;
        return NULL;
    }
    size_t wanted = buffer->len + len + spare;
    if (wanted > buffer->capacity) {
        size_t capacity = buffer->capacity == 0 ? BUFFER_CAPACITY_MIN : buffer->capacity;
        while (capacity < wanted) {
            capacity *= 2;
        }
        char *bytes = memory_realloc(buffer->bytes, capacity);
        if (bytes == NULL) {
            buffer->failed = true;
            return NULL;
        }
        buffer->bytes = bytes;
        buffer->capacity = capacity;
    }
    return buffer->bytes + buffer->len;
}

char *buffer_reserve(struct buffer *buffer, size_t len)
{
    return buffer_make_room(buffer, len, 0);
}

void buffer_commit(struct buffer *buffer, size_t len)
{
    CHECK(len <= buffer->capacity - buffer->len);
    buffer->len += len;
}

void buffer_append(struct buffer *buffer, const void *bytes, size_t len)
{
    if (len == 0) {
        return;
    }
    char *room = buffer_reserve(buffer, len);
    if (room != NULL) {
        memcpy(room, bytes, len);
        buffer->len += len;
    }
}

void buffer_append_span(struct buffer *buffer, struct span span)
{
    buffer_append(buffer, span.bytes, span.len);
}

void buffer_append_u64(struct buffer *buffer, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    buffer_append(buffer, digits + at, sizeof(digits) - at);
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int len = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    CHECK(len >= 0);
    char *room = buffer_make_room(buffer, (size_t)len, 1);
    if (room != NULL) {
        vsnprintf(room, (size_t)len + 1, format, again);
        buffer->len += (size_t)len;
    }
    va_end(again);
}

void buffer_append_json(struct buffer *buffer, struct span text)
{
    static const char hex[] = "0123456789abcdef";
    if (text.len == 0) {
        return; /* its bytes may be NULL, from which nothing may be reckoned */
    }
    size_t clean = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.bytes[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        buffer_append(buffer, text.bytes + clean, i - clean);
        clean = i + 1;
        if (c == '"' || c == '\\') {
            char escape[2] = {'\\', (char)c};
            buffer_append(buffer, escape, 2);
        } else {
            char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            buffer_append(buffer, escape, 6);
        }
    }
    buffer_append(buffer, text.bytes + clean, text.len - clean);
}
