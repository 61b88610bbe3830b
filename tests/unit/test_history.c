/*
 * A channel's history against a naive one: an array that forgets from the front.
 * SPATE_TEST_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "core/base/memory.h"
#include "core/history.h"
#include "tests/unit/seeded.h"

enum { MODEL_MAX = 6000 };

struct model {
    uint64_t sequences[MODEL_MAX];
    uint64_t sizes[MODEL_MAX];
    uint64_t times_ms[MODEL_MAX];
    unsigned first;
    unsigned end;
    uint64_t evicted;
};

static uint64_t run_seed;

static uint64_t model_bytes(const struct model *model)
{
    uint64_t bytes = 0;
    for (unsigned i = model->first; i < model->end; i++) {
        bytes += model->sizes[i];
    }
    return bytes;
}

static void model_evict(struct model *model)
{
    model->evicted = model->sequences[model->first++];
}

static void model_trim(struct model *model, const struct history_limits *limits, uint64_t now_ms)
{
    while (model->first < model->end &&
           (model->end - model->first > limits->count_max ||
            model_bytes(model) > limits->bytes_max ||
            now_ms > model->times_ms[model->first] + limits->age_ms_max)) {
        model_evict(model);
    }
}

static void assert_same(const struct history *history, const struct model *model, uint64_t after)
{
    unsigned find = 0;
    assert_int_equal(history->count, model->end - model->first);
    assert_int_equal(history->bytes, model_bytes(model));
    assert_int_equal(history->evicted_sequence, model->evicted);
    for (unsigned i = 0; i < history->count; i++) {
        assert_int_equal(history_at(history, i)->sequence, model->sequences[model->first + i]);
        find += model->sequences[model->first + i] <= after;
    }
    assert_int_equal(history_find(history, after), find);
}

static unsigned chain_length(const struct frame *released)
{
    unsigned length = 0;
    for (; released != NULL; released = released->next) {
        length++;
    }
    return length;
}

struct step {
    struct random *random;
    const struct history_limits *limits;
    uint64_t now_ms;
    uint64_t sequence;
};

/* A batch as the sequencer does it: room for all of it first, then one by one. */
static void step_append(struct step *step, struct history *history, struct model *model,
                        struct frame **released)
{
    uint32_t count = 1 + (uint32_t)random_below(step->random, 6);
    memory_inject_failures(random_next(step->random), UINT32_MAX / 3);
    int r = history_reserve(history, count, step->limits);
    memory_inject_failures(0, 0);
    if (r < 0) {
        assert_int_equal(r, -ENOMEM);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        size_t len = EVENT_ID_LEN + random_below(step->random, 200);
        struct frame *frame = frame_of(len, 0, 0);
        assert_non_null(frame);
        step->sequence += 1 + random_below(step->random, 3);
        frame_stamp(frame, 0, step->sequence, step->now_ms);
        history_append(history, frame);
        model->sequences[model->end] = step->sequence;
        model->sizes[model->end] = frame_size(frame);
        model->times_ms[model->end++] = step->now_ms;
        assert_true(model->end < MODEL_MAX);
        history_trim(history, step->limits, step->now_ms, released);
        model_trim(model, step->limits, step->now_ms);
    }
}

static void run(struct random *random, const struct history_limits *limits)
{
    struct model *model = calloc(1, sizeof(*model));
    struct history history;
    struct step step = {.random = random, .limits = limits, .now_ms = 5000, .sequence = 10};
    assert_non_null(model);
    model->evicted = random_below(random, 10);
    history_init(&history, model->evicted);
    for (unsigned i = 0; i < 800; i++) {
        struct frame *released = NULL;
        unsigned first = model->first;
        switch (random_below(random, 6)) {
        case 0:
            history_trim(&history, limits, step.now_ms, &released);
            model_trim(model, limits, step.now_ms);
            break;
        case 1:
            if (history.count > 0 && one_in(random, 3)) {
                history_evict_oldest(&history, &released);
                model_evict(model);
            }
            history_shrink(&history);
            assert_true(history.count > 0 || history.capacity == 1);
            break;
        case 2:
            /* The wall clock may step back; nothing becomes too old by that. */
            step.now_ms = one_in(random, 10) ? step.now_ms - 50 : step.now_ms + 20;
            break;
        default:
            step_append(&step, &history, model, &released);
            break;
        }
        assert_int_equal(chain_length(released), model->first - first);
        history_release(released);
        assert_same(&history, model, random_below(random, step.sequence + 5));
    }
    history_fini(&history);
    free(model);
}

static void test_history_is_its_model(void **state)
{
    (void)state;
    static const struct history_limits limits[] = {
        {1, 1 << 20, 1 << 20},     {5, 1 << 20, 1 << 20}, {1000, 2000, 1 << 20},
        {1000, 150, 1 << 20},      {1000, 1 << 20, 100},  {7, 1500, 60},
        {UINT32_MAX / 4, 4000, 1},
    };
    struct random random;
    random_init(&random, run_seed);
    for (unsigned i = 0; i < 4 * countof(limits); i++) {
        run(&random, &limits[i % countof(limits)]);
    }
}

static void test_any_zero_limit_retains_nothing(void **state)
{
    (void)state;
    struct history_limits limits = {1, 1, 1};
    assert_true(history_is_enabled(&limits));
    assert_false(history_is_enabled(&(struct history_limits){0, 1, 1}));
    assert_false(history_is_enabled(&(struct history_limits){1, 0, 1}));
    assert_false(history_is_enabled(&(struct history_limits){1, 1, 0}));
}

int main(void)
{
    run_seed = seed_of_run();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_history_is_its_model),
        cmocka_unit_test(test_any_zero_limit_retains_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
