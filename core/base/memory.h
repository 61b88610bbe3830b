/*
 * The one door to the heap. Every allocation of the hub comes through here, so that a test can make
 * any of them fail and count all of them. Running out of memory is an operating error: each
 * function returns NULL and the caller refuses, drops or closes by its own policy.
 *
 * Threads: any. memory_fail_after and the counters are per thread, for tests.
 */
#ifndef SPATE_CORE_BASE_MEMORY_H
#define SPATE_CORE_BASE_MEMORY_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

void *memory_alloc(size_t size) __attribute__((malloc));
void *memory_calloc(size_t count, size_t size) __attribute__((malloc));
/* Like realloc: on failure the old block stays as it was. */
void *memory_realloc(void *block, size_t size);
void memory_free(void *block);
/* A terminated copy of the span. */
char *memory_copy(struct span span) __attribute__((malloc));

/* Zeroed pages that cost nothing until touched, for tables sized by their limit. */
void *memory_map(size_t size);
void memory_unmap(void *block, size_t size);
/*
 * Gives back the pages that lie whole in `block`, a part of what memory_map gave: they are zero and
 * cost nothing again until touched.
 */
void memory_discard(void *block, size_t size);
/*
 * Brings the pages of `block` in, whose content stays: for what its owner will use whatever comes,
 * so that nobody waits for a page later, and memory that grows has a reason in the load.
 */
void memory_touch(void *block, size_t size);

/*
 * For those who keep free memory to themselves: AddressSanitizer, where it is built in, reports
 * whoever touches what has been let go. memory_unmap takes back what was let go.
 */
void memory_let_go(void *bytes, size_t size);
void memory_take_back(void *bytes, size_t size);

/* Number of allocations this thread has made. */
uint64_t memory_allocation_count(void);

/*
 * Fault injection: of this thread's next allocations, each fails with probability
 * `numerator` / 2^32, decided by a generator seeded with `seed`. Zero switches it off.
 */
void memory_inject_failures(uint64_t seed, uint32_t numerator);

#ifdef __cplusplus
}
#endif

#endif
