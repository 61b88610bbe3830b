/*
 * Idempotency keys: a publisher that did not hear the answer asks again with the same key, and gets
 * the first answer again; nothing is published twice.
 *
 *   idempotency_begin ──NEW──▶ publish ──▶ idempotency_commit (with the answer)
 *                     │                └─▶ idempotency_abort  (refused: the key is free again)
 *                     └─REPLAY, OTHER_REQUEST, BUSY, NO_MEMORY: answer without publishing
 *
 * Bounded by age, count and bytes; the oldest go first. A key that is gone counts as new.
 *
 * Follows draft-ietf-httpapi-idempotency-key-header: a key with another request is refused, as is
 * one whose request is still being answered (by another shard).
 *
 * Threads: any; a mutex is inside, held for one lookup. An entry in progress is its shard's alone.
 */
#ifndef SPATE_HUB_IDEMPOTENCY_H
#define SPATE_HUB_IDEMPOTENCY_H

#include <pthread.h>

#include "core/base/buffer.h"
#include "core/base/hash.h"
#include "core/base/list.h"
#include "core/base/table.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    IDEMPOTENCY_KEY_LEN_MAX = 255,
    /* Of all keys and answers together. */
    IDEMPOTENCY_BYTES_MAX = 64 * 1024 * 1024,
};

struct idempotency_entry;

struct idempotency {
    pthread_mutex_t mutex;
    struct hash_key hash_key;
    struct table entries;
    struct list by_age; /* oldest first */
    uint64_t bytes;
    uint32_t count_max;
    uint64_t age_ms_max;
};

enum idempotency_outcome {
    IDEMPOTENCY_NEW,           /* publish, then commit or abort */
    IDEMPOTENCY_REPLAY,        /* the answer is in *answer */
    IDEMPOTENCY_OTHER_REQUEST, /* the key stands for another request */
    IDEMPOTENCY_BUSY,          /* the first request is still being answered */
    IDEMPOTENCY_NO_MEMORY,
};

/* 0 or -ENOMEM. */
int idempotency_init(struct idempotency *idempotency, const struct hash_key *hash_key,
                     uint32_t count_max, uint64_t age_ms_max);
void idempotency_fini(struct idempotency *idempotency);

/*
 * Looks a key up; `fingerprint` is a hash of everything that makes the request what it is.
 * NEW: *ret_entry is the caller's until it commits or aborts. REPLAY: the answer is appended.
 */
enum idempotency_outcome idempotency_begin(struct idempotency *idempotency, struct span key,
                                           uint64_t fingerprint, uint64_t now_ms,
                                           struct buffer *answer,
                                           struct idempotency_entry **ret_entry);
/* Remembers the answer. Without memory for it, later ones get an empty answer, never a second
 * event. */
void idempotency_commit(struct idempotency *idempotency, struct idempotency_entry *entry,
                        struct span answer);
void idempotency_abort(struct idempotency *idempotency, struct idempotency_entry *entry);

#ifdef __cplusplus
}
#endif

#endif
