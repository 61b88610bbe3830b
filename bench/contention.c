/*
 * What publishing costs as shards and publishers become more: the sequencer, the queues, the
 * doorbells and the mailboxes of the hub between real threads, without sockets.
 *
 *   bench_contention [--shards N] [--publishers N] [--events N] [--to WHO] [--quiet 1]
 *     --to everybody   one channel with one subscriber on each shard
 *     --to one         each publisher has a channel, with one subscriber on one shard
 *     --to nobody      each publisher has a channel, and nobody listens
 *     --to mailbox     no events: each publisher posts mail, all of it to the first shard
 *     --burst N        events that a publisher publishes between two looks at who has to be woken,
 *                      as a shard does with what has come in for one turn
 *     --quiet 1        the next event comes when all shards sleep again
 *
 * One line of JSON: what one event costs. Threads may outnumber the CPUs, so what is told is CPU
 * time and counts, not how long it took.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/doorbell.h"
#include "core/fanout.h"
#include "core/mailbox.h"
#include "core/relay.h"

enum { SHARDS_MAX = 64, PUBLISHERS_MAX = 64, TEXT_LEN = 200, QUEUE_LENGTH = 1 << 14 };

enum audience { TO_EVERYBODY, TO_ONE, TO_NOBODY, TO_MAILBOX };

/* A shard's thread: what shard_turn does, with a socket that takes everything at no cost. */
struct listener {
    pthread_t thread;
    struct doorbell doorbell;
    struct relay relay;
    int wake_fd;
    struct queue queue;
    struct mailbox mailbox;
    struct fanout fanout;
    struct subscriber subscribers[PUBLISHERS_MAX];
    unsigned subscriber_count;
    uint64_t cpu_ns;
    uint64_t turns;
    uint64_t sleeps;
};

struct publisher {
    pthread_t thread;
    unsigned number;
    struct shard_set to_wake;
    uint64_t cpu_ns;
    uint64_t wakes;     /* shards that it had to wake itself */
    uint64_t contended; /* the lock was held */
    uint64_t sleeps;    /* ... so long that the thread slept, or a lock of the heap was */
    uint64_t refused;
};

struct world {
    unsigned shard_count;
    unsigned publisher_count;
    uint64_t events; /* of each publisher */
    uint64_t burst;
    enum audience audience;
    bool quiet;
    struct sequencer sequencer;
    struct listener *listeners;
    struct publisher publishers[PUBLISHERS_MAX];
    pthread_barrier_t start;
    uint32_t stop;       /* relaxed: each listener is woken after it is set */
    uint64_t mail_count; /* relaxed: delivered */
};

static struct world world = {
    .shard_count = 1,
    .publisher_count = 1,
    .events = 20000,
    .burst = 1,
};

/* The sequencer reads the clock for each event that is heard, and twice more when it has to wait.
 */
static _Thread_local uint64_t clock_readings;

/* Shards that this thread has woken. */
static _Thread_local uint64_t wakes_made;

static uint64_t read_clock(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static uint64_t sequencer_clock(void)
{
    clock_readings++;
    return read_clock(CLOCK_MONOTONIC);
}

static struct channel_name name_of(unsigned channel, char room[32])
{
    int len = snprintf(room, 32, "channel-%u", channel);
    return (struct channel_name){CHANNEL_PUBLIC, span_make(room, (size_t)len)};
}

/* ---- Shards ------------------------------------------------------------------------------------
 */

static void send_nothing(void *owner, struct subscriber *subscriber, struct span bytes,
                         uint32_t token)
{
    (void)owner;
    (void)subscriber;
    (void)bytes;
    (void)token;
}

static const struct fanout_handler handler = {.send = send_nothing};

static struct doorbell *doorbell_of(void *owner, unsigned shard)
{
    (void)owner;
    return &world.listeners[shard].doorbell;
}

static struct relay *relay_of(void *owner, unsigned shard)
{
    (void)owner;
    return &world.listeners[shard].relay;
}

static void wake(void *owner, unsigned shard)
{
    uint64_t one = 1;
    (void)owner;
    wakes_made++;
    CHECK(write(world.listeners[shard].wake_fd, &one, sizeof(one)) == sizeof(one));
}

static const struct relay_shards listeners_world = {NULL, doorbell_of, relay_of, wake};

static bool listener_is_idle(struct listener *listener)
{
    return !fanout_has_work(&listener->fanout) && mailbox_is_empty(&listener->mailbox) &&
           relay_is_empty(&listener->relay) && __atomic_load_n(&world.stop, __ATOMIC_RELAXED) == 0;
}

static void listener_sleep(struct listener *listener)
{
    doorbell_arm(&listener->doorbell);
    if (listener_is_idle(listener)) {
        uint64_t count = 0;
        listener->sleeps++;
        ssize_t got = read(listener->wake_fd, &count, sizeof(count));
        CHECK(got == sizeof(count) || errno == EINTR);
    }
    doorbell_disarm(&listener->doorbell);
}

static void *listener_run(void *context)
{
    struct listener *listener = context;
    pthread_barrier_wait(&world.start);
    uint64_t begin_ns = read_clock(CLOCK_THREAD_CPUTIME_ID);
    while (__atomic_load_n(&world.stop, __ATOMIC_RELAXED) == 0) {
        if (listener_is_idle(listener)) {
            listener_sleep(listener);
        }
        struct shard_set others = {0};
        relay_take(&listener->relay, &others);
        relay_wake(&listeners_world, &others);
        mailbox_deliver_all(&listener->mailbox, listener);
        fanout_take(&listener->fanout);
        fanout_run(&listener->fanout);
        fanout_sends_final(&listener->fanout);
        listener->turns++;
    }
    listener->cpu_ns = read_clock(CLOCK_THREAD_CPUTIME_ID) - begin_ns;
    return NULL;
}

static void listener_join(struct listener *listener, unsigned channel)
{
    char room[32];
    struct channel_name name = name_of(channel, room);
    struct subscriber *subscriber = &listener->subscribers[listener->subscriber_count++];
    CHECK(fanout_join(&listener->fanout, subscriber, channel_names(&name, 1), FANOUT_FROM_NOW, 0) ==
          SUBSCRIBE_DONE);
    fanout_release(&listener->fanout, subscriber);
}

static void listener_init(unsigned index)
{
    struct listener *listener = &world.listeners[index];
    doorbell_init(&listener->doorbell);
    mailbox_init(&listener->mailbox);
    listener->wake_fd = eventfd(0, EFD_CLOEXEC);
    CHECK(listener->wake_fd >= 0);
    CHECK(queue_init(&listener->queue, QUEUE_LENGTH) == 0);
    sequencer_attach_queue(&world.sequencer, index, &listener->queue);
    CHECK(fanout_init(&listener->fanout, &world.sequencer, &listener->queue, index, 1 << 28) == 0);
    fanout_set_handler(&listener->fanout, &handler, listener);
    if (world.audience == TO_EVERYBODY) {
        listener_join(listener, 0);
    }
    for (unsigned i = index; world.audience == TO_ONE && i < world.publisher_count;
         i += world.shard_count) {
        listener_join(listener, i);
    }
}

static void listener_fini(struct listener *listener)
{
    do {
        mailbox_deliver_all(&listener->mailbox, listener);
        fanout_take(&listener->fanout);
        fanout_run(&listener->fanout);
        fanout_sends_final(&listener->fanout);
    } while (fanout_has_work(&listener->fanout));
    for (unsigned i = 0; i < listener->subscriber_count; i++) {
        fanout_leave(&listener->fanout, &listener->subscribers[i], 0);
    }
    fanout_fini(&listener->fanout);
    queue_fini(&listener->queue);
    mailbox_fini(&listener->mailbox);
    close(listener->wake_fd);
}

/* ---- Publishers --------------------------------------------------------------------------------
 */

static bool publish(struct publisher *publisher)
{
    char room[32];
    struct publication publication = {
        .channel = name_of(world.audience == TO_EVERYBODY ? 0 : publisher->number, room),
        .frame = frame_new(TEXT_LEN, 4),
    };
    struct shard_set shards;
    CHECK(publication.frame != NULL);
    uint64_t readings = clock_readings;
    enum publish_outcome outcome =
        sequencer_publish(&world.sequencer, &publication, 1, 1000, &shards);
    publisher->contended += clock_readings - readings >= 2;
    if (outcome != PUBLISH_DONE) {
        CHECK(outcome == PUBLISH_FULL);
        frame_unref(publication.frame);
        return false;
    }
    shard_set_merge(&publisher->to_wake, &shards);
    return true;
}

static void wake_all(struct publisher *publisher)
{
    relay_wake(&listeners_world, &publisher->to_wake);
    publisher->to_wake = (struct shard_set){0};
}

static void mail_arrived(struct mail *mail, void *context)
{
    (void)context;
    memory_free(mail);
    /* Relaxed: the consumer alone writes it. */
    __atomic_store_n(&world.mail_count, world.mail_count + 1, __ATOMIC_RELAXED);
}

static bool post(void)
{
    struct mail *mail = memory_alloc(sizeof(*mail));
    CHECK(mail != NULL);
    mail->deliver = mail_arrived;
    mailbox_post(&world.listeners[0].mailbox, mail);
    if (doorbell_ring(&world.listeners[0].doorbell)) {
        wake(NULL, 0);
    }
    return true;
}

static bool listener_sleeps(const struct listener *listener)
{
    /* Acquire: pairs with the consumer's release. Whoever is yet to be woken has something left. */
    return __atomic_load_n(&listener->queue.head, __ATOMIC_ACQUIRE) ==
               __atomic_load_n(&listener->queue.tail, __ATOMIC_ACQUIRE) &&
           relay_is_empty(&listener->relay) && doorbell_is_armed(&listener->doorbell);
}

/* Every shard has taken everything, and said that it sleeps: asked again and again, not waited for.
 */
static void wait_until_all_sleep(void)
{
    for (unsigned i = 0; i < world.shard_count; i++) {
        while (!listener_sleeps(&world.listeners[i])) {
            struct timespec moment = {0, 20000};
            nanosleep(&moment, NULL);
        }
    }
}

static uint64_t voluntary_switches(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return (uint64_t)usage.ru_nvcsw;
}

static void *publisher_run(void *context)
{
    struct publisher *publisher = context;
    pthread_barrier_wait(&world.start);
    uint64_t switches = voluntary_switches();
    uint64_t begin_ns = read_clock(CLOCK_THREAD_CPUTIME_ID);
    for (uint64_t i = 0; i < world.events; i++) {
        if (world.quiet) {
            wait_until_all_sleep();
            begin_ns = read_clock(CLOCK_THREAD_CPUTIME_ID);
        }
        while (!(world.audience == TO_MAILBOX ? post() : publish(publisher))) {
            publisher->refused++;
            wake_all(publisher);
            sched_yield();
        }
        if ((i + 1) % world.burst == 0 || i + 1 == world.events) {
            wake_all(publisher);
        }
        if (world.quiet) {
            publisher->cpu_ns += read_clock(CLOCK_THREAD_CPUTIME_ID) - begin_ns;
        }
    }
    if (!world.quiet) {
        publisher->cpu_ns = read_clock(CLOCK_THREAD_CPUTIME_ID) - begin_ns;
        publisher->sleeps = voluntary_switches() - switches;
    }
    publisher->wakes = wakes_made;
    return NULL;
}

/* ---- The run ------------------------------------------------------------------------------------
 */

static void world_init(void)
{
    struct sequencer_options options = {
        .shard_count = world.shard_count,
        .epoch = 12345,
        .hash_key = {1, 2},
        .clock_ns = sequencer_clock,
        .channel_count_max = PUBLISHERS_MAX,
        .channel_idle_ms = 60000,
        .history = {1000, 1 << 20, 300000},
        .history_total_bytes_max = 256 << 20,
        .feed_bytes_max = 4 << 20,
        .queue_bytes_max = 64 << 20,
    };
    CHECK(sequencer_init(&world.sequencer, &options) == 0);
    world.listeners = memory_calloc(world.shard_count, sizeof(world.listeners[0]));
    CHECK(world.listeners != NULL);
    CHECK(pthread_barrier_init(&world.start, NULL, world.shard_count + world.publisher_count) == 0);
    for (unsigned i = 0; i < world.shard_count; i++) {
        listener_init(i);
    }
}

static void world_run(void)
{
    for (unsigned i = 0; i < world.shard_count; i++) {
        struct listener *listener = &world.listeners[i];
        CHECK(pthread_create(&listener->thread, NULL, listener_run, listener) == 0);
    }
    for (unsigned i = 0; i < world.publisher_count; i++) {
        struct publisher *publisher = &world.publishers[i];
        publisher->number = i;
        CHECK(pthread_create(&publisher->thread, NULL, publisher_run, publisher) == 0);
    }
    for (unsigned i = 0; i < world.publisher_count; i++) {
        CHECK(pthread_join(world.publishers[i].thread, NULL) == 0);
    }
    wait_until_all_sleep();
    __atomic_store_n(&world.stop, 1, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < world.shard_count; i++) {
        wake(NULL, i);
        CHECK(pthread_join(world.listeners[i].thread, NULL) == 0);
    }
}

static void world_tell(void)
{
    struct publisher sum = {0};
    struct listener all = {0};
    uint64_t taken = 0;
    for (unsigned i = 0; i < world.publisher_count; i++) {
        sum.cpu_ns += world.publishers[i].cpu_ns;
        sum.wakes += world.publishers[i].wakes;
        sum.contended += world.publishers[i].contended;
        sum.sleeps += world.publishers[i].sleeps;
        sum.refused += world.publishers[i].refused;
    }
    for (unsigned i = 0; i < world.shard_count; i++) {
        all.cpu_ns += world.listeners[i].cpu_ns;
        all.turns += world.listeners[i].turns;
        taken += world.listeners[i].fanout.stats.taken;
    }
    double events = (double)(world.events * world.publisher_count);
    double expected = world.audience == TO_EVERYBODY ? events * world.shard_count
                      : world.audience == TO_ONE     ? events
                                                     : 0;
    CHECK((double)taken == expected);
    CHECK(world.audience != TO_MAILBOX || (double)world.mail_count == events);
    printf("{\"shards\":%u,\"publishers\":%u,\"events\":%.0f,\"publisher_ns\":%.1f,"
           "\"shards_ns\":%.1f,\"wakes\":%.4f,\"contended\":%.4f,\"sleeps\":%.4f,\"turns\":%.4f,"
           "\"refused\":%.4f}\n",
           world.shard_count, world.publisher_count, events, (double)sum.cpu_ns / events,
           (double)all.cpu_ns / events, (double)sum.wakes / events, (double)sum.contended / events,
           (double)sum.sleeps / events, (double)all.turns / events, (double)sum.refused / events);
}

static bool option(const char *name, const char *value)
{
    static const char *const audiences[] = {"everybody", "one", "nobody", "mailbox"};
    unsigned long number = strtoul(value, NULL, 10);
    if (strcmp(name, "--shards") == 0 && number >= 1 && number <= SHARDS_MAX) {
        world.shard_count = (unsigned)number;
    } else if (strcmp(name, "--publishers") == 0 && number >= 1 && number <= PUBLISHERS_MAX) {
        world.publisher_count = (unsigned)number;
    } else if (strcmp(name, "--events") == 0 && number >= 1) {
        world.events = number;
    } else if (strcmp(name, "--burst") == 0 && number >= 1) {
        world.burst = number;
    } else if (strcmp(name, "--quiet") == 0) {
        world.quiet = number != 0;
    } else if (strcmp(name, "--to") == 0) {
        for (unsigned i = 0; i < countof(audiences); i++) {
            if (strcmp(value, audiences[i]) == 0) {
                world.audience = (enum audience)i;
                return true;
            }
        }
        return false;
    } else {
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc || !option(argv[i], argv[i + 1])) {
            fprintf(stderr, "bench_contention: %s is not understood; see bench/contention.c\n",
                    argv[i]);
            return 2;
        }
    }
    world.events = max_u64(1, world.events / world.publisher_count);
    if (world.quiet && world.publisher_count > 1) {
        fprintf(stderr, "bench_contention: --quiet is for one publisher\n");
        return 2;
    }
    world_init();
    world_run();
    for (unsigned i = 0; i < world.shard_count; i++) {
        listener_fini(&world.listeners[i]);
    }
    world_tell();
    sequencer_fini(&world.sequencer);
    memory_free(world.listeners);
    return 0;
}
