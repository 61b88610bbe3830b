/*
 * The queue against a naive model, and the queue with its doorbell between two real threads, of
 * which one really sleeps. SPATE_TEST_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/base/random.h"
#include "core/doorbell.h"
#include "core/queue.h"

static uint64_t seed_of_run(void)
{
    const char *text = getenv("SPATE_TEST_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0)
                                 : (uint64_t)now.tv_sec * 1000000007u + (uint64_t)now.tv_nsec;
    print_message("SPATE_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

/* The queue never follows the pointers that it carries, so any numbers will do. */
static struct queue_entry entry_of(uint64_t sequence)
{
    struct queue_entry entry = {
        .frame = (struct frame *)(uintptr_t)(sequence * 2 + 1),
        .feed = (struct feed *)(uintptr_t)(sequence * 3 + 7),
        .sequence = sequence,
    };
    return entry;
}

static void assert_entry(const struct queue_entry *entry, uint64_t sequence)
{
    struct queue_entry expected = entry_of(sequence);
    assert_ptr_equal(entry->frame, expected.frame);
    assert_ptr_equal(entry->feed, expected.feed);
    assert_int_equal(entry->sequence, sequence);
}

/* The producer asks for each event, and takes the line from the consumer only when it must. */
static void test_bytes_are_read_only_when_the_copy_does_not_suffice(void **state)
{
    (void)state;
    struct queue queue;
    struct queue_entry entry = entry_of(1);
    assert_int_equal(queue_init(&queue, 8), 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(queue_is_within(&queue, 200));
        queue_push(&queue, &entry, 100);
        queue_publish(&queue);
        assert_true(queue_pop(&queue, &entry));
        queue_release(&queue);
    }
    /* 300 were pushed, and without looking all of them might still be there. */
    assert_int_equal(queue.bytes_released_seen, 0);
    assert_true(queue_is_within(&queue, 200));
    assert_int_equal(queue.bytes_released_seen, 300);
    queue_push(&queue, &entry, 201);
    assert_false(queue_is_within(&queue, 200));
    assert_int_equal(queue_bytes(&queue), 201);
    queue_fini(&queue);
}

static uint64_t bytes_of(uint64_t sequence)
{
    return sequence % 1009 + 1;
}

static void test_a_push_is_invisible_until_published(void **state)
{
    (void)state;
    struct queue queue;
    struct queue_entry entry;
    assert_int_equal(queue_init(&queue, 4), 0);
    assert_int_equal(queue_capacity(&queue), 4);
    struct queue_entry first = entry_of(1);
    struct queue_entry second = entry_of(2);
    queue_push(&queue, &first, 10);
    queue_push(&queue, &second, 20);
    assert_false(queue_pop(&queue, &entry));
    assert_true(queue_is_empty(&queue));
    assert_int_equal(queue_bytes(&queue), 30);
    queue_publish(&queue);
    assert_int_equal(queue_tail(&queue), 2);
    assert_int_equal(queue_head(&queue), 0);
    assert_true(queue_pop(&queue, &entry));
    assert_entry(&entry, 1);
    assert_true(queue_pop(&queue, &entry));
    assert_entry(&entry, 2);
    assert_false(queue_pop(&queue, &entry));
    assert_int_equal(queue_head(&queue), 2);
    queue_fini(&queue);
}

static void test_room_and_bytes_come_back_with_release(void **state)
{
    (void)state;
    struct queue queue;
    struct queue_entry entry;
    assert_int_equal(queue_init(&queue, 2), 0);
    for (uint64_t i = 0; i < 2; i++) {
        struct queue_entry pushed = entry_of(i);
        assert_true(queue_has_room(&queue, 1));
        queue_push(&queue, &pushed, 100);
    }
    queue_publish(&queue);
    assert_false(queue_has_room(&queue, 1));
    assert_true(queue_pop(&queue, &entry));
    assert_int_equal(queue_room(&queue), 0);
    assert_int_equal(queue_bytes(&queue), 200);
    queue_release(&queue);
    assert_int_equal(queue_room(&queue), 1);
    assert_true(queue_has_room(&queue, 1));
    assert_false(queue_has_room(&queue, 2));
    assert_int_equal(queue_bytes(&queue), 100);
    queue_fini(&queue);
}

/* Events that come singly use the same slots over and over, not the memory of all of them. */
static void test_a_queue_that_is_emptied_begins_anew(void **state)
{
    (void)state;
    struct queue queue;
    struct queue_entry entry;
    assert_int_equal(queue_init(&queue, 4096), 0);
    for (uint64_t sequence = 1; sequence <= 10000; sequence++) {
        struct queue_entry pushed = entry_of(sequence);
        queue_push(&queue, &pushed, 1);
        queue_publish(&queue);
        assert_true(queue_pop(&queue, &entry));
        assert_entry(&entry, sequence);
        queue_release(&queue);
    }
    for (unsigned i = 256; i < 4096; i++) {
        assert_null(queue.slots[i].entry.frame);
    }
    queue_fini(&queue);
}

static void test_no_memory_is_an_answer(void **state)
{
    (void)state;
    struct queue queue;
    memory_inject_failures(1, UINT32_MAX);
    int result = queue_init(&queue, 8);
    memory_inject_failures(0, 0);
    assert_int_equal(result, -ENOMEM);
}

/* The naive model: four counts. What is in the queue follows from them, as sequences are the
 * counts. */
struct model {
    uint64_t pushed;
    uint64_t published;
    uint64_t popped;
    uint64_t released;
};

static uint64_t model_bytes(const struct model *model)
{
    uint64_t bytes = 0;
    for (uint64_t i = model->released; i < model->pushed; i++) {
        bytes += bytes_of(i);
    }
    return bytes;
}

static void model_pop(struct queue *queue, struct model *model)
{
    struct queue_entry entry = entry_of(UINT32_MAX);
    if (model->popped == model->published) {
        assert_false(queue_pop(queue, &entry));
        assert_entry(&entry, UINT32_MAX);
    } else {
        assert_true(queue_pop(queue, &entry));
        assert_entry(&entry, model->popped);
        model->popped++;
    }
}

static void model_step(struct queue *queue, struct model *model, struct random *random)
{
    uint64_t capacity = queue_capacity(queue);
    uint64_t room = capacity - (model->pushed - model->released);
    switch (random_below(random, 8)) {
    case 0:
    case 1:
    case 2:
        if (room > 0) {
            struct queue_entry entry = entry_of(model->pushed);
            queue_push(queue, &entry, bytes_of(model->pushed));
            model->pushed++;
        }
        break;
    case 3:
        queue_publish(queue);
        model->published = model->pushed;
        break;
    case 4:
    case 5:
        model_pop(queue, model);
        break;
    case 6:
        queue_release(queue);
        model->released = model->popped;
        break;
    default: {
        uint32_t wanted = (uint32_t)random_below(random, capacity + 2);
        assert_int_equal(queue_has_room(queue, wanted), room >= wanted);
        assert_int_equal(queue_room(queue), room);
        break;
    }
    }
    assert_int_equal(queue_head(queue), model->popped);
    assert_int_equal(queue_is_empty(queue), model->popped == model->published);
    assert_int_equal(queue_tail(queue), model->published);
}

static void test_random_operations_against_a_model(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, seed_of_run());
    for (uint32_t capacity = 1; capacity <= 64; capacity *= 2) {
        struct queue queue;
        struct model model = {0};
        assert_int_equal(queue_init(&queue, capacity), 0);
        for (unsigned step = 0; step < 40000; step++) {
            model_step(&queue, &model, &random);
            if (step % 16 == 0) {
                assert_int_equal(queue_bytes(&queue), model_bytes(&model));
            }
        }
        /* The run went round the ring many times, or it has shown nothing. */
        assert_true(model.popped > 10u * capacity);
        queue_fini(&queue);
    }
}

/*
 * Two threads. The producer pushes batches of random size, publishes, and rings; when the queue is
 * full it waits on a doorbell of its own, so both directions of sleeping and waking are exercised.
 * A lost wake-up shows as a poll that runs into its deadline, which is far beyond any scheduling
 * delay.
 */
enum { WAKE_DEADLINE_MS = 60000 };

struct sleeper {
    struct doorbell doorbell;
    int eventfd;
    uint64_t sleeps;
};

struct race {
    struct queue queue;
    struct sleeper consumer;
    struct sleeper producer;
    uint64_t count; /* entries to send */
    uint64_t seed;
    const char *failure; /* set by the producer's thread, read after joining */
};

static void sleeper_init(struct sleeper *sleeper)
{
    doorbell_init(&sleeper->doorbell);
    sleeper->eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_true(sleeper->eventfd >= 0);
    sleeper->sleeps = 0;
}

static void sleeper_wake(struct sleeper *sleeper)
{
    uint64_t one = 1;
    if (doorbell_ring(&sleeper->doorbell)) {
        CHECK(write(sleeper->eventfd, &one, sizeof(one)) == (ssize_t)sizeof(one));
    }
}

/* False when nobody woke us in time. */
static bool sleeper_wait(struct sleeper *sleeper)
{
    struct pollfd pollfd = {.fd = sleeper->eventfd, .events = POLLIN};
    uint64_t count;
    int ready = poll(&pollfd, 1, WAKE_DEADLINE_MS);
    sleeper->sleeps++;
    if (ready == 1) {
        CHECK(read(sleeper->eventfd, &count, sizeof(count)) == (ssize_t)sizeof(count));
    }
    return ready == 1;
}

static bool race_wait_for_room(struct race *race, uint32_t batch)
{
    while (!queue_has_room(&race->queue, batch)) {
        bool woken = true;
        doorbell_arm(&race->producer.doorbell);
        if (!queue_has_room(&race->queue, batch)) {
            woken = sleeper_wait(&race->producer);
        }
        doorbell_disarm(&race->producer.doorbell);
        if (!woken) {
            race->failure = "the producer was not woken though there may be room";
            return false;
        }
    }
    return true;
}

static void *race_produce(void *argument)
{
    struct race *race = (struct race *)argument;
    struct random random;
    random_init(&random, race->seed);
    uint64_t sequence = 0;
    while (sequence < race->count) {
        uint32_t batch_max = (uint32_t)min_u64(queue_capacity(&race->queue), 16);
        uint32_t batch = 1 + (uint32_t)random_below(&random, batch_max);
        batch = (uint32_t)min_u64(batch, race->count - sequence);
        if (!race_wait_for_room(race, batch)) {
            break;
        }
        for (uint32_t i = 0; i < batch; i++) {
            struct queue_entry entry = entry_of(sequence);
            queue_push(&race->queue, &entry, bytes_of(sequence));
            sequence++;
        }
        queue_publish(&race->queue);
        sleeper_wake(&race->consumer);
    }
    return NULL;
}

static void race_consume(struct race *race)
{
    struct queue_entry entry;
    uint64_t sequence = 0;
    while (sequence < race->count) {
        uint64_t tail = queue_tail(&race->queue);
        while (queue_head(&race->queue) < tail) {
            assert_true(queue_pop(&race->queue, &entry));
            assert_entry(&entry, sequence);
            sequence++;
        }
        queue_release(&race->queue);
        sleeper_wake(&race->producer);
        if (sequence < race->count) {
            doorbell_arm(&race->consumer.doorbell);
            if (queue_is_empty(&race->queue)) {
                assert_true(sleeper_wait(&race->consumer));
            }
            doorbell_disarm(&race->consumer.doorbell);
        }
    }
}

static void race_run(uint32_t capacity, uint64_t count, uint64_t seed)
{
    struct race race = {.count = count, .seed = seed};
    pthread_t thread;
    assert_int_equal(queue_init(&race.queue, capacity), 0);
    sleeper_init(&race.consumer);
    sleeper_init(&race.producer);
    assert_int_equal(pthread_create(&thread, NULL, race_produce, &race), 0);
    race_consume(&race);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_null(race.failure);
    assert_true(queue_is_empty(&race.queue));
    assert_int_equal(queue_bytes(&race.queue), 0);
    assert_int_equal(queue_room(&race.queue), capacity);
    print_message("capacity %u: %llu entries, consumer slept %llu, producer %llu times\n", capacity,
                  (unsigned long long)count, (unsigned long long)race.consumer.sleeps,
                  (unsigned long long)race.producer.sleeps);
    /* A run in which nobody slept has not tested the doorbell. */
    assert_true(race.consumer.sleeps + race.producer.sleeps > 0);
    close(race.consumer.eventfd);
    close(race.producer.eventfd);
    queue_fini(&race.queue);
}

static void test_two_threads_small(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    for (uint32_t capacity = 1; capacity <= 4; capacity *= 2) {
        race_run(capacity, 30000, seed + capacity);
    }
}

static void test_two_threads_large(void **state)
{
    (void)state;
    race_run(1024, 3000000, seed_of_run());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_push_is_invisible_until_published),
        cmocka_unit_test(test_bytes_are_read_only_when_the_copy_does_not_suffice),
        cmocka_unit_test(test_room_and_bytes_come_back_with_release),
        cmocka_unit_test(test_a_queue_that_is_emptied_begins_anew),
        cmocka_unit_test(test_no_memory_is_an_answer),
        cmocka_unit_test(test_random_operations_against_a_model),
        cmocka_unit_test(test_two_threads_small),
        cmocka_unit_test(test_two_threads_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
