#include "hub/idempotency.h"

#include "core/base/memory.h"

struct idempotency_entry {
    struct table_node node;
    struct list by_age;
    uint64_t fingerprint;
    uint64_t begun_ms;
    char *answer; /* NULL while in progress, or without memory */
    size_t answer_len;
    bool in_progress;
    uint8_t key_len;
    char key[];
};

int idempotency_init(struct idempotency *idempotency, const struct hash_key *hash_key,
                     uint32_t count_max, uint64_t age_ms_max)
{
    *idempotency = (struct idempotency){
        .hash_key = *hash_key,
        .count_max = count_max,
        .age_ms_max = age_ms_max,
    };
    list_init(&idempotency->by_age);
    CHECK(pthread_mutex_init(&idempotency->mutex, NULL) == 0);
    return table_init(&idempotency->entries, count_max);
}

static size_t entry_size(const struct idempotency_entry *entry)
{
    return sizeof(*entry) + entry->key_len + entry->answer_len;
}

static void entry_free(struct idempotency *idempotency, struct idempotency_entry *entry)
{
    idempotency->bytes -= entry_size(entry);
    table_remove(&idempotency->entries, &entry->node);
    list_remove(&entry->by_age);
    memory_free(entry->answer);
    memory_free(entry);
}

void idempotency_fini(struct idempotency *idempotency)
{
    while (!list_is_empty(&idempotency->by_age)) {
        entry_free(idempotency,
                   container_of(idempotency->by_age.next, struct idempotency_entry, by_age));
    }
    table_fini(&idempotency->entries);
    CHECK(pthread_mutex_destroy(&idempotency->mutex) == 0);
}

static bool entry_is_old(const struct idempotency *idempotency,
                         const struct idempotency_entry *entry, uint64_t now_ms)
{
    /* A clock that steps back must not make the difference wrap. */
    return now_ms > entry->begun_ms && now_ms - entry->begun_ms > idempotency->age_ms_max;
}

/* Lets the oldest go, until one more fits. One that is in progress stops it: it is somebody's. */
static void make_room(struct idempotency *idempotency, uint64_t now_ms)
{
    while (!list_is_empty(&idempotency->by_age)) {
        struct idempotency_entry *oldest =
            container_of(idempotency->by_age.next, struct idempotency_entry, by_age);
        bool is_full = idempotency->entries.count >= idempotency->count_max ||
                       idempotency->bytes > IDEMPOTENCY_BYTES_MAX;
        if (oldest->in_progress || !(is_full || entry_is_old(idempotency, oldest, now_ms))) {
            return;
        }
        entry_free(idempotency, oldest);
    }
}

static struct idempotency_entry *entry_find(const struct idempotency *idempotency, struct span key,
                                            uint64_t hash)
{
    struct table_node *node = table_find(&idempotency->entries, hash);
    for (; node != NULL; node = table_find_next(node)) {
        struct idempotency_entry *entry = container_of(node, struct idempotency_entry, node);
        if (span_equal(span_make(entry->key, entry->key_len), key)) {
            return entry;
        }
    }
    return NULL;
}

static struct idempotency_entry *entry_add(struct idempotency *idempotency, struct span key,
                                           uint64_t hash)
{
    struct idempotency_entry *entry = memory_calloc(1, sizeof(*entry) + key.len);
    if (entry != NULL) {
        entry->in_progress = true;
        entry->key_len = (uint8_t)key.len;
        memcpy(entry->key, key.bytes, key.len);
        table_add(&idempotency->entries, &entry->node, hash);
        list_append(&idempotency->by_age, &entry->by_age);
        idempotency->bytes += entry_size(entry);
    }
    return entry;
}

enum idempotency_outcome idempotency_begin(struct idempotency *idempotency, struct span key,
                                           uint64_t fingerprint, uint64_t now_ms,
                                           struct buffer *answer,
                                           struct idempotency_entry **ret_entry)
{
    CHECK(key.len > 0);
    CHECK(key.len <= IDEMPOTENCY_KEY_LEN_MAX);
    uint64_t hash = hash_bytes(&idempotency->hash_key, key.bytes, key.len);
    enum idempotency_outcome outcome = IDEMPOTENCY_REPLAY;
    CHECK(pthread_mutex_lock(&idempotency->mutex) == 0);
    struct idempotency_entry *entry = entry_find(idempotency, key, hash);
    if (entry != NULL && !entry->in_progress && entry_is_old(idempotency, entry, now_ms)) {
        entry_free(idempotency, entry);
        entry = NULL;
    }
    if (entry == NULL) {
        make_room(idempotency, now_ms);
        entry = entry_add(idempotency, key, hash);
        outcome = entry == NULL ? IDEMPOTENCY_NO_MEMORY : IDEMPOTENCY_NEW;
        if (entry != NULL) {
            entry->fingerprint = fingerprint;
            entry->begun_ms = now_ms;
            *ret_entry = entry;
        }
    } else if (entry->fingerprint != fingerprint) {
        outcome = IDEMPOTENCY_OTHER_REQUEST;
    } else if (entry->in_progress) {
        outcome = IDEMPOTENCY_BUSY;
    } else {
        buffer_append(answer, entry->answer, entry->answer_len);
    }
    CHECK(pthread_mutex_unlock(&idempotency->mutex) == 0);
    return outcome;
}

void idempotency_commit(struct idempotency *idempotency, struct idempotency_entry *entry,
                        struct span answer)
{
    char *copy = memory_copy(answer);
    CHECK(pthread_mutex_lock(&idempotency->mutex) == 0);
    CHECK(entry->in_progress);
    entry->in_progress = false;
    if (copy != NULL) {
        entry->answer = copy;
        entry->answer_len = answer.len;
        idempotency->bytes += answer.len;
    }
    CHECK(pthread_mutex_unlock(&idempotency->mutex) == 0);
}

void idempotency_abort(struct idempotency *idempotency, struct idempotency_entry *entry)
{
    CHECK(pthread_mutex_lock(&idempotency->mutex) == 0);
    CHECK(entry->in_progress);
    entry_free(idempotency, entry);
    CHECK(pthread_mutex_unlock(&idempotency->mutex) == 0);
}
