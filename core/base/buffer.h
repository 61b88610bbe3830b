/*
 * A growable run of bytes with one owner. `limit` bounds it: an append past the limit, or one that
 * finds no memory, changes nothing but sets `failed`, so that a writer may append many times and
 * ask once at the end. An empty buffer owns no memory.
 */
#ifndef SPATE_CORE_BASE_BUFFER_H
#define SPATE_CORE_BASE_BUFFER_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct buffer {
    char *bytes;
    size_t len;
    size_t capacity;
    size_t limit;
    bool failed;
};

void buffer_init(struct buffer *buffer, size_t limit);
void buffer_fini(struct buffer *buffer);

/* Room for `len` more bytes at the end, or NULL; buffer_commit makes them part of the content. */
char *buffer_reserve(struct buffer *buffer, size_t len);
void buffer_commit(struct buffer *buffer, size_t len);

void buffer_append(struct buffer *buffer, const void *bytes, size_t len);
void buffer_append_span(struct buffer *buffer, struct span span);
static inline void buffer_append_string(struct buffer *buffer, const char *string)
{
    buffer_append(buffer, string, strlen(string));
}
void buffer_append_u64(struct buffer *buffer, uint64_t value);
__attribute__((format(printf, 2, 3))) void buffer_printf(struct buffer *buffer, const char *format,
                                                         ...);
/* The text between the quotes of a JSON string (RFC 8259, 7). The bytes must be valid UTF-8. */
void buffer_append_json(struct buffer *buffer, struct span text);

static inline struct span buffer_span(const struct buffer *buffer)
{
    return span_make(buffer->bytes, buffer->len);
}

#ifdef __cplusplus
}
#endif

#endif
