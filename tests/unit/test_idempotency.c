/* Keys: new, again, for another request, in progress, too old, too many, without memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/base/memory.h"
#include "hub/idempotency.h"

static const struct hash_key hash_key = {1, 2};

enum { AGE_MS = 1000 };

static struct idempotency_entry *begin_new(struct idempotency *idempotency, const char *key,
                                           uint64_t now_ms)
{
    struct idempotency_entry *entry = NULL;
    assert_int_equal(idempotency_begin(idempotency, span_of(key), 7, now_ms, NULL, &entry),
                     IDEMPOTENCY_NEW);
    assert_non_null(entry);
    return entry;
}

static void publish(struct idempotency *idempotency, const char *key, uint64_t now_ms)
{
    idempotency_commit(idempotency, begin_new(idempotency, key, now_ms), span_of(key));
}

/* Asks again; a key that turns out to be new is given up. */
static enum idempotency_outcome again(struct idempotency *idempotency, const char *key,
                                      uint64_t fingerprint, uint64_t now_ms)
{
    struct idempotency_entry *entry = NULL;
    struct buffer answer;
    buffer_init(&answer, 1024);
    enum idempotency_outcome outcome =
        idempotency_begin(idempotency, span_of(key), fingerprint, now_ms, &answer, &entry);
    if (outcome == IDEMPOTENCY_REPLAY) {
        assert_true(span_is(buffer_span(&answer), key));
    } else {
        assert_int_equal(answer.len, 0);
    }
    if (outcome == IDEMPOTENCY_NEW) {
        idempotency_abort(idempotency, entry);
    }
    buffer_fini(&answer);
    return outcome;
}

static void test_outcomes(void **state)
{
    (void)state;
    struct idempotency idempotency;
    assert_int_equal(idempotency_init(&idempotency, &hash_key, 10, AGE_MS), 0);
    struct idempotency_entry *entry = begin_new(&idempotency, "k", 5);
    assert_int_equal(again(&idempotency, "k", 7, 5), IDEMPOTENCY_BUSY);
    assert_int_equal(again(&idempotency, "k", 8, 5), IDEMPOTENCY_OTHER_REQUEST);
    idempotency_abort(&idempotency, entry);
    publish(&idempotency, "k", 5);
    assert_int_equal(again(&idempotency, "k", 7, 5), IDEMPOTENCY_REPLAY);
    assert_int_equal(again(&idempotency, "k", 8, 5), IDEMPOTENCY_OTHER_REQUEST);
    assert_int_equal(again(&idempotency, "k2", 7, 5), IDEMPOTENCY_NEW);
    idempotency_fini(&idempotency);
}

static void test_age(void **state)
{
    (void)state;
    struct idempotency idempotency;
    assert_int_equal(idempotency_init(&idempotency, &hash_key, 10, AGE_MS), 0);
    publish(&idempotency, "k", 5000);
    assert_int_equal(again(&idempotency, "k", 7, 5000 + AGE_MS), IDEMPOTENCY_REPLAY);
    /* A clock that steps back makes nothing old. */
    assert_int_equal(again(&idempotency, "k", 7, 1), IDEMPOTENCY_REPLAY);
    /* Not the oldest, but too old all the same. */
    struct idempotency_entry *held = begin_new(&idempotency, "held", 5000);
    publish(&idempotency, "k2", 5000);
    assert_int_equal(again(&idempotency, "k2", 7, 5001 + AGE_MS), IDEMPOTENCY_NEW);
    idempotency_abort(&idempotency, held);
    assert_int_equal(again(&idempotency, "k", 7, 5001 + AGE_MS), IDEMPOTENCY_NEW);
    assert_int_equal(idempotency.entries.count, 0);
    assert_int_equal(idempotency.bytes, 0);
    idempotency_fini(&idempotency);
}

static void test_count(void **state)
{
    (void)state;
    struct idempotency idempotency;
    assert_int_equal(idempotency_init(&idempotency, &hash_key, 3, AGE_MS), 0);
    const char *keys[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < countof(keys); i++) {
        publish(&idempotency, keys[i], 1);
        assert_true(idempotency.entries.count <= 3);
    }
    /* Asking for one that is there costs none, the oldest included. */
    assert_int_equal(again(&idempotency, "b", 7, 1), IDEMPOTENCY_REPLAY);
    assert_int_equal(again(&idempotency, "c", 7, 1), IDEMPOTENCY_REPLAY);
    assert_int_equal(again(&idempotency, "d", 7, 1), IDEMPOTENCY_REPLAY);
    assert_int_equal(idempotency.entries.count, 3);
    assert_int_equal(again(&idempotency, "a", 7, 1), IDEMPOTENCY_NEW);
    /* One in progress is never taken away. */
    struct idempotency_entry *held = begin_new(&idempotency, "held", 1);
    for (size_t i = 0; i < countof(keys); i++) {
        (void)again(&idempotency, "x", 7, 1);
    }
    idempotency_commit(&idempotency, held, span_of("held"));
    assert_int_equal(again(&idempotency, "held", 7, 1), IDEMPOTENCY_REPLAY);
    idempotency_fini(&idempotency);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct idempotency idempotency;
    assert_int_equal(idempotency_init(&idempotency, &hash_key, 10, AGE_MS), 0);
    memory_inject_failures(1, UINT32_MAX);
    struct idempotency_entry *entry = NULL;
    assert_int_equal(idempotency_begin(&idempotency, span_of("k"), 7, 1, NULL, &entry),
                     IDEMPOTENCY_NO_MEMORY);
    memory_inject_failures(0, 0);
    entry = begin_new(&idempotency, "k", 1);
    memory_inject_failures(1, UINT32_MAX);
    idempotency_commit(&idempotency, entry, span_of("lost"));
    memory_inject_failures(0, 0);
    /* The answer is lost, but the key still keeps a second event away. */
    struct buffer answer;
    buffer_init(&answer, 64);
    assert_int_equal(idempotency_begin(&idempotency, span_of("k"), 7, 1, &answer, &entry),
                     IDEMPOTENCY_REPLAY);
    assert_int_equal(answer.len, 0);
    buffer_fini(&answer);
    idempotency_fini(&idempotency);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_age),
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
