/*
 * A feed's window against a naive array, and its members while a pass walks over them.
 * SPATE_TEST_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "core/base/memory.h"
#include "core/feed.h"
#include "core/subscriber.h"
#include "tests/unit/seeded.h"

static uint64_t run_seed;

/* ---- The window -------------------------------------------------------------------------------
 */

enum { ENTRIES_MAX = 4000 };

struct window_model {
    uint64_t sequences[ENTRIES_MAX];
    uint64_t sizes[ENTRIES_MAX];
    unsigned first;
    unsigned end;
    uint64_t base;
    uint64_t head;
    uint64_t passed;
    uint64_t released_bytes; /* of everything that is passed or gone */
};

static uint64_t model_bytes(const struct window_model *model)
{
    uint64_t bytes = 0;
    for (unsigned i = model->first; i < model->end; i++) {
        bytes += model->sizes[i];
    }
    return bytes;
}

static void model_drop(struct window_model *model)
{
    model->base = model->sequences[model->first++];
}

static void model_trim(struct window_model *model, bool behind, uint64_t behind_bytes_max)
{
    while (model->first < model->end && model->sequences[model->first] <= model->passed &&
           (!behind || model_bytes(model) > behind_bytes_max)) {
        model_drop(model);
    }
}

static void assert_window(const struct feed *feed, const struct window_model *model, uint64_t after)
{
    unsigned find = 0;
    feed_verify(feed);
    assert_int_equal(feed->window.count, model->end - model->first);
    assert_int_equal(feed->window.bytes, model_bytes(model));
    assert_int_equal(feed->base, model->base);
    assert_int_equal(feed->head, model->head);
    assert_int_equal(feed->released_bytes, model->released_bytes);
    for (unsigned i = 0; i < feed->window.count; i++) {
        assert_int_equal(feed_entry_at(feed, i)->sequence, model->sequences[model->first + i]);
        find += model->sequences[model->first + i] <= after;
    }
    assert_int_equal(feed_find(feed, after), find);
}

static void release_frame(void *context, struct frame *frame)
{
    unsigned *count = context;
    (*count)++;
    frame_unref(frame);
}

/* What the fan-out does with an event: remember it, or skip it when nobody is there for it. */
static void step_append(struct random *random, struct feed *feed, struct window_model *model)
{
    struct frame *frame = frame_of(EVENT_ID_LEN + random_below(random, 300), 0, 0);
    assert_non_null(frame);
    uint64_t sequence = model->head + 1 + random_below(random, 5);
    frame_stamp(frame, 0, sequence, 0);
    uint64_t size = frame_size(frame);
    model->head = sequence;
    if (feed->window.count == 0 && one_in(random, 2)) {
        feed_skip(feed, frame);
        model->base = sequence;
        model->released_bytes += size;
        return;
    }
    bool grows = feed->window.count == feed->window.capacity;
    bool fails = one_in(random, 8);
    memory_inject_failures(1, fails ? UINT32_MAX : 0);
    feed_append(feed, frame);
    memory_inject_failures(0, 0);
    if (!fails || !grows) {
        model->sequences[model->end] = sequence;
        model->sizes[model->end++] = size;
        return;
    }
    /* All of it is left to history, and counts as released once. */
    for (; model->first < model->end; model_drop(model)) {
        if (model->sequences[model->first] > model->passed) {
            model->released_bytes += model->sizes[model->first];
        }
    }
    model->released_bytes += size;
    model->base = sequence;
}

static void step_pass(struct random *random, struct feed *feed, struct window_model *model)
{
    uint64_t passed = model->passed + random_below(random, model->head - model->passed + 1);
    feed_set_passed(feed, passed);
    for (unsigned i = model->first; i < model->end; i++) {
        if (model->sequences[i] > model->passed && model->sequences[i] <= passed) {
            model->released_bytes += model->sizes[i];
        }
    }
    model->passed = passed;
}

static void test_window_is_its_model(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, run_seed);
    static struct window_model model;
    for (unsigned round = 0; round < 40; round++) {
        uint64_t base = random_below(&random, 100);
        struct feed *feed = feed_new(NULL, 3, base);
        struct subscriber member = {.position = 0};
        uint32_t index;
        assert_non_null(feed);
        assert_int_equal(feed_add_member(feed, &member, &index), 0);
        model = (struct window_model){.base = base, .head = base, .passed = base};
        uint64_t behind_bytes_max = random_below(&random, 5000);
        for (unsigned step = 0; step < 2000; step++) {
            unsigned released = 0;
            unsigned first = model.first;
            switch (random_below(&random, 4)) {
            case 0:
                step_pass(&random, feed, &model);
                break;
            case 1:
                feed->behind_count = (uint32_t)random_below(&random, 2);
                feed_trim(feed, behind_bytes_max, release_frame, &released);
                model_trim(&model, feed->behind_count > 0, behind_bytes_max);
                assert_int_equal(released, model.first - first);
                break;
            default:
                step_append(&random, feed, &model);
                break;
            }
            assert_window(feed, &model, random_below(&random, model.head + 3));
        }
        uint32_t moved[2];
        unsigned moved_count;
        feed->behind_count = 0;
        feed_remove_member(feed, 0, moved, &moved_count);
        feed_free(feed); /* with what is left in the window */
    }
}

/* ---- Members ----------------------------------------------------------------------------------
 */

enum { MEMBERS = 300 };

struct member {
    struct subscriber subscriber;
    bool in;
    bool stayed; /* since the pass began */
    unsigned visits;
};

struct crowd {
    struct feed *feed;
    struct member members[MEMBERS];
};

static struct member *member_of(struct subscriber *subscriber)
{
    return container_of(subscriber, struct member, subscriber);
}

static void crowd_add(struct crowd *crowd, struct member *member)
{
    uint32_t index;
    if (feed_add_member(crowd->feed, &member->subscriber, &index) == 0) {
        member->subscriber.index = index;
        member->in = true;
        member->stayed = false;
        member->visits = 0;
    }
}

static void crowd_remove(struct crowd *crowd, struct member *member)
{
    uint32_t moved[2];
    unsigned moved_count;
    feed_remove_member(crowd->feed, member->subscriber.index, moved, &moved_count);
    for (unsigned i = 0; i < moved_count; i++) {
        crowd->feed->members[moved[i]]->index = moved[i];
    }
    member->in = false;
}

static void crowd_verify(const struct crowd *crowd)
{
    uint32_t count = 0;
    feed_verify(crowd->feed);
    for (unsigned i = 0; i < MEMBERS; i++) {
        const struct member *member = &crowd->members[i];
        if (member->in) {
            assert_ptr_equal(crowd->feed->members[member->subscriber.index], &member->subscriber);
            count++;
        }
    }
    assert_int_equal(crowd->feed->member_count, count);
}

static void crowd_change(struct random *random, struct crowd *crowd)
{
    struct member *member = &crowd->members[random_below(random, MEMBERS)];
    memory_inject_failures(random_next(random), UINT32_MAX / 4);
    if (member->in) {
        crowd_remove(crowd, member);
    } else {
        crowd_add(crowd, member);
    }
    memory_inject_failures(0, 0);
}

/* A pass as the fan-out makes it; whoever is visited may be the one who leaves. */
static void crowd_pass(struct random *random, struct crowd *crowd, uint64_t change_one_in)
{
    struct feed *feed = crowd->feed;
    for (unsigned i = 0; i < MEMBERS; i++) {
        crowd->members[i].stayed = crowd->members[i].in;
        crowd->members[i].visits = 0;
    }
    while (feed->pass_next < feed->member_count) {
        struct member *member = member_of(feed->members[feed->pass_next]);
        feed->pass_next++;
        member->visits++;
        assert_int_equal(member->visits, 1);
        if (one_in(random, 10)) {
            crowd_remove(crowd, member);
        }
        while (one_in(random, change_one_in)) {
            crowd_change(random, crowd);
        }
        crowd_verify(crowd);
    }
    feed->pass_next = 0;
    for (unsigned i = 0; i < MEMBERS; i++) {
        const struct member *member = &crowd->members[i];
        assert_true(member->visits == 1 || !member->in || !member->stayed);
    }
}

static void test_a_pass_visits_everybody_once(void **state)
{
    (void)state;
    struct random random;
    static struct crowd crowd;
    random_init(&random, run_seed);
    memset(&crowd, 0, sizeof(crowd));
    crowd.feed = feed_new(NULL, 0, 0);
    assert_non_null(crowd.feed);
    for (unsigned round = 0; round < 100; round++) {
        for (unsigned i = 0; i < MEMBERS; i++) {
            crowd_change(&random, &crowd);
        }
        crowd_pass(&random, &crowd, 2 + round % 3);
    }
    for (unsigned i = 0; i < MEMBERS; i++) {
        if (crowd.members[i].in) {
            crowd_remove(&crowd, &crowd.members[i]);
        }
        crowd_verify(&crowd);
    }
    feed_free(crowd.feed);
}

static void test_no_memory_is_an_answer(void **state)
{
    (void)state;
    struct subscriber subscriber = {.position = 0};
    uint32_t index = 77;
    memory_inject_failures(1, UINT32_MAX);
    struct feed *none = feed_new(NULL, 0, 0);
    memory_inject_failures(0, 0);
    assert_null(none);
    struct feed *feed = feed_new(NULL, 0, 0);
    assert_non_null(feed);
    /* The first has its place in the feed. */
    memory_inject_failures(1, UINT32_MAX);
    int first = feed_add_member(feed, &subscriber, &subscriber.index);
    int second = feed_add_member(feed, &subscriber, &index);
    memory_inject_failures(0, 0);
    assert_int_equal(first, 0);
    assert_int_equal(second, -ENOMEM);
    assert_int_equal(index, 77);
    assert_int_equal(feed->member_count, 1);
    uint32_t moved[2];
    unsigned moved_count = 0;
    feed_remove_member(feed, 0, moved, &moved_count);
    assert_int_equal(moved_count, 0);
    feed_free(feed);
}

/* A channel with one subscriber and one event at a time: no allocation but the feed itself. */
static void test_one_of_each_is_in_place(void **state)
{
    (void)state;
    struct subscriber subscriber = {.position = 0};
    struct feed *feed = feed_new(NULL, 0, 0);
    assert_non_null(feed);
    uint64_t before = memory_allocation_count();
    assert_int_equal(feed_add_member(feed, &subscriber, &subscriber.index), 0);
    unsigned frames = 0;
    unsigned released = 0;
    for (uint64_t sequence = 1; sequence <= 10; sequence++) {
        struct frame *frame = frame_of(EVENT_ID_LEN, 0, sequence);
        frame_stamp(frame, 0, sequence, 0);
        frames++;
        feed_append(feed, frame);
        feed_set_passed(feed, sequence);
        feed_trim(feed, 0, release_frame, &released);
        assert_int_equal(feed->window.count, 0);
    }
    assert_int_equal(released, frames);
    assert_int_equal(memory_allocation_count() - before, frames);
    assert_true(sizeof(*feed) <= 216);
    uint32_t moved[2];
    unsigned moved_count = 0;
    feed_remove_member(feed, 0, moved, &moved_count);
    feed_free(feed);
}

int main(void)
{
    run_seed = seed_of_run();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_window_is_its_model),
        cmocka_unit_test(test_a_pass_visits_everybody_once),
        cmocka_unit_test(test_no_memory_is_an_answer),
        cmocka_unit_test(test_one_of_each_is_in_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
