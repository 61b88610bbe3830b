/*
 * The vocabulary under everything: checks, spans and the few macros that C lacks.
 *
 * CHECK is for programmer errors and is always on; DCHECK is for checks that cost too much for a
 * release build. Neither is ever used on something a peer can influence: that is parsed and
 * refused.
 */
#ifndef SPATE_CORE_BASE_BASE_H
#define SPATE_CORE_BASE_BASE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define countof(array) (sizeof(array) / sizeof((array)[0]))

#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

/* Prints the failed condition and aborts. */
__attribute__((noreturn, cold)) void check_failed(const char *condition, const char *file,
                                                  int line);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (unlikely(!(condition))) {                                                              \
            check_failed(#condition, __FILE__, __LINE__);                                          \
        }                                                                                          \
    } while (0)

#ifdef SPATE_DCHECK
#define DCHECK(condition) CHECK(condition)
#else
#define DCHECK(condition) ((void)0)
#endif

/* A run of bytes that somebody else owns; not terminated. `bytes` may be NULL only if len is 0. */
struct span {
    const char *bytes;
    size_t len;
};

static inline struct span span_of(const char *string)
{
    struct span span = {string, strlen(string)};
    return span;
}

static inline struct span span_make(const char *bytes, size_t len)
{
    struct span span = {bytes, len};
    return span;
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.bytes, b.bytes, a.len) == 0);
}

static inline bool span_is(struct span a, const char *string)
{
    return span_equal(a, span_of(string));
}

/* `len` bytes at each. */
bool bytes_equal_nocase(const char *a, const char *b, size_t len);

/* ASCII case folding only, as HTTP field names and tokens want it (RFC 9110, 5.1). */
static inline bool span_equal_nocase(struct span a, struct span b)
{
    return a.len == b.len && bytes_equal_nocase(a.bytes, b.bytes, a.len);
}

static inline bool span_is_nocase(struct span a, const char *string)
{
    return span_equal_nocase(a, span_of(string));
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static inline size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

#ifdef __cplusplus
}
#endif

#endif
