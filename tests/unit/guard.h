/*
 * Memory whose last byte is followed by a page that nobody may touch: a parser that reads one byte
 * too far crashes the test. One guard belongs to one test; guard_put replaces what it held.
 */
#ifndef SPATE_TESTS_UNIT_GUARD_H
#define SPATE_TESTS_UNIT_GUARD_H

#include <sys/mman.h>
#include <unistd.h>

#include "core/base/base.h"

enum { GUARD_SIZE = 1 << 16 };

struct guard {
    char *base;
    size_t size;
};

static inline void guard_init(struct guard *guard)
{
    size_t page_size = (size_t)sysconf(_SC_PAGESIZE);
    guard->size = GUARD_SIZE + page_size;
    guard->base =
        (char *)mmap(NULL, guard->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(guard->base != MAP_FAILED);
    CHECK(mprotect(guard->base + GUARD_SIZE, page_size, PROT_NONE) == 0);
}

static inline void guard_fini(struct guard *guard)
{
    CHECK(munmap(guard->base, guard->size) == 0);
    guard->base = NULL;
}

/* A copy that ends where the forbidden page begins. */
static inline const char *guard_put(struct guard *guard, const char *bytes, size_t len)
{
    CHECK(len <= GUARD_SIZE);
    char *at = guard->base + GUARD_SIZE - len;
    if (len > 0) {
        memcpy(at, bytes, len);
    }
    return at;
}

#endif
