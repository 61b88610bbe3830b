#include "core/base/memory.h"

#include <sanitizer/asan_interface.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* The smallest there are: larger ones are touched several times. */
enum { MEMORY_PAGE_BYTES = 4096 };

static __thread uint64_t allocation_count;
static __thread uint64_t failure_state;
static __thread uint32_t failure_numerator;

static bool allocation_fails(void)
{
    allocation_count++;
    if (likely(failure_numerator == 0)) {
        return false;
    }
    /* A 64-bit linear congruential step; only the high half is looked at. */
    failure_state = failure_state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(failure_state >> 32) < failure_numerator;
}

void *memory_alloc(size_t size)
{
    return allocation_fails() ? NULL : malloc(size);
}

void *memory_calloc(size_t count, size_t size)
{
    return allocation_fails() ? NULL : calloc(count, size);
}

void *memory_realloc(void *block, size_t size)
{
    return allocation_fails() ? NULL : realloc(block, size);
}

void memory_free(void *block)
{
    free(block);
}

char *memory_copy(struct span span)
{
    char *copy = memory_alloc(span.len + 1);
    if (copy != NULL) {
        if (span.len > 0) {
            memcpy(copy, span.bytes, span.len);
        }
        copy[span.len] = '\0';
    }
    return copy;
}

void *memory_map(size_t size)
{
    if (allocation_fails()) {
        return NULL;
    }
    void *block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return block == MAP_FAILED ? NULL : block;
}

void memory_unmap(void *block, size_t size)
{
    memory_take_back(block, size);
    CHECK(munmap(block, size) == 0);
}

void memory_discard(void *block, size_t size)
{
    size_t page = (size_t)getpagesize();
    size_t before = (page - (uintptr_t)block % page) % page;
    if (size >= before + page) {
        CHECK(madvise((char *)block + before, (size - before) / page * page, MADV_DONTNEED) == 0);
    }
}

void memory_let_go(void *bytes, size_t size)
{
    ASAN_POISON_MEMORY_REGION(bytes, size);
}

void memory_take_back(void *bytes, size_t size)
{
    ASAN_UNPOISON_MEMORY_REGION(bytes, size);
}

void memory_touch(void *block, size_t size)
{
    volatile char *bytes = block;
    for (size_t at = 0; at < size; at += MEMORY_PAGE_BYTES) {
        bytes[at] = bytes[at];
    }
    if (size > 0) {
        bytes[size - 1] = bytes[size - 1];
    }
}

uint64_t memory_allocation_count(void)
{
    return allocation_count;
}

void memory_inject_failures(uint64_t seed, uint32_t numerator)
{
    failure_state = seed;
    failure_numerator = numerator;
}
