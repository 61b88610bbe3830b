/*
 * The whole hub in one thread, on a simulated network, against a model.
 *
 *     spate_sim [--seed N] [--seeds N] [--seconds S] [--shards N] [--measure N] [--verbose]
 *
 *     --shards N    all worlds have so many; without it, one to four
 *     --measure N   nothing goes wrong, N clients publish to one channel, everybody has a turn in
 *                   every round as if there were a CPU for each shard, and at the end it is told
 *                   what an event has cost: the counts are the same wherever it runs
 *
 * A seed decides everything: what kind of world it is, whose turn it is, what the network does,
 * what is published, what fails. tests/sim/world.h says who checks what.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "hub/shard.h"
#include "tests/sim/http2.h"
#include "tests/sim/model.h"
#include "tests/sim/world.h"

enum {
    /* Rounds in which everybody has a turn and no stream comes further, until it is a failure that
     * something is missing; and all in all. Streams that share windows of a few bytes take long. */
    SETTLE_ROUNDS_MAX = 30000,
    SETTLE_ROUNDS_ALL = 1000000,
    DRAIN_SECONDS = 2,
    HEARTBEAT_SECONDS = 3,
    USER_TIMEOUT_SECONDS = 9,
    VERIFY_EVERY = 4,
    STEADY_ROUNDS = 200, /* in which everybody connects, before something is measured */
};

struct world world;

/* What the command line says of all worlds; 0: the seed decides, and nothing is measured. */
static unsigned shards_wanted;
static unsigned publishers_measured;

void world_fail(const char *format, ...)
{
    va_list arguments;
    if (world_is_good()) {
        va_start(arguments, format);
        vsnprintf(world.problem, sizeof(world.problem), format, arguments);
        va_end(arguments);
        world_trace("PROBLEM: %s", world.problem);
    }
}

void world_trace(const char *format, ...)
{
    va_list arguments;
    if (!world.verbose) {
        return;
    }
    printf("%8llu %9.3f  ", (unsigned long long)sim_net.step, (double)sim_net.now_ms / 1000);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

bool world_may_close(void)
{
    const struct world_options *options = &world.options;
    return options->memory || options->accepts || options->crowded || options->kicks ||
           options->impatient || options->leaps;
}

void world_fail_allocations(bool on)
{
    if (on && world.failure_rate > 0) {
        memory_inject_failures(random_next(&sim_net.random), world.failure_rate);
    } else {
        memory_inject_failures(0, 0);
    }
}

bool world_may_refuse(void)
{
    const struct world_options *options = &world.options;
    return options->memory || options->crowded || options->few_channels ||
           world.phase == PHASE_DRAIN;
}

/* ---- What the hub takes from the world ---- */

uint64_t world_wall_ms(void)
{
    return 1700000000000 + sim_net.now_ms + (uint64_t)sim_net.wall_offset_ms;
}

static uint64_t world_clock_ns(void)
{
    return sim_net.now_ms * 1000000;
}

static ssize_t world_random(void *bytes, size_t len, unsigned flags)
{
    (void)flags;
    for (size_t i = 0; i < len; i++) {
        ((char *)bytes)[i] = (char)random_next(&sim_net.random);
    }
    return (ssize_t)len;
}

static const struct hub_world simulated = {.io_new = sim_io_new,
                                           .wall_ms = world_wall_ms,
                                           .clock_ns = world_clock_ns,
                                           .random = world_random};

/* ---- Sources ---- */

const char *source_text(unsigned source)
{
    static const char *const texts[SOURCE_COUNT + 1] = {
        "c0", "c1", "c2", "c3", "c4",        "c5",
        "k0", "k1", "k2", "k3", "broadcast", "nobody's channel"};
    return texts[source];
}

struct channel_name source_name(unsigned source)
{
    if (source == SOURCE_BROADCAST) {
        return (struct channel_name){CHANNEL_BROADCAST, {NULL, 0}};
    }
    return (struct channel_name){source < PUBLIC_MAX ? CHANNEL_PUBLIC : CHANNEL_CLIENT,
                                 span_of(source_text(source))};
}

struct channel *source_channel(unsigned source)
{
    static uint64_t hashes[SOURCE_COUNT];
    static uint64_t seed;
    const struct sequencer *sequencer = &world.hub.sequencer;
    if (source == SOURCE_BROADCAST) {
        return sequencer->broadcast;
    }
    if (seed != world.hub.seed) {
        seed = world.hub.seed;
        for (unsigned i = 0; i < SOURCE_BROADCAST; i++) {
            hashes[i] = sequencer_hash(sequencer, source_name(i));
        }
    }
    struct table_node *node = table_find(&sequencer->channels, hashes[source]);
    return node == NULL ? NULL : container_of(node, struct channel, node);
}

/* ---- The kind of world ---- */

static void choose_faults(struct world_options *options)
{
    /* A third of all worlds are fair: whatever goes wrong there is a fault of the hub. */
    bool fair = sim_chance(33);
    options->resets = sim_chance(60);
    options->memory = !fair && sim_chance(30);
    options->accepts = !fair && sim_chance(20);
    options->leaps = !fair && sim_chance(30);
    options->crowded = !fair && sim_chance(15);
    options->kicks = !fair && sim_chance(25);
    options->impatient = !fair && sim_chance(15);
    options->few_channels = !fair && sim_chance(10);
    options->short_history = sim_chance(60);
    options->small_budgets = sim_chance(70);
    options->small_queues = sim_chance(40);
    options->slow_readers = sim_chance(60);
    options->big_pipes = sim_chance(50);
    options->early_drain = sim_chance(25);
    options->stalls = sim_chance(40);
    options->fickle = options->resets && sim_chance(40);
    /* A hub that stands still may take others for slow. */
    options->timeouts = !options->stalls && sim_chance(50);
    static const unsigned shares[] = {0, 50, 100, 100};
    options->carried_percent = shares[sim_below(countof(shares))];
}

static void choose_options(struct world_options *options)
{
    *options = (struct world_options){
        .shards = 1 + (unsigned)sim_below(SHARDS_USUAL),
        .publishers = 1 + (unsigned)sim_below(PUBLISHERS_MAX),
        .subscribers = 1 + (unsigned)sim_below(12),
        .publics = 1 + (unsigned)sim_below(PUBLIC_MAX),
        .clients = 1 + (unsigned)sim_below(CLIENTS_MAX),
        .messages = 20 + (unsigned)sim_below(150),
        .data_max = sim_chance(80) ? 400 : 6000,
    };
    choose_faults(options);
    if (sim_chance(8)) {
        options->shards = sim_chance(50) ? 1 : options->shards; /* its tables grow */
        options->subscribers = 40 + (unsigned)sim_below(120);
        options->messages = 60;
        options->data_max = 400;
    }
    if (sim_chance(12)) {
        /* Many on one shard whose passes take many turns, and they come and go. */
        options->shards = 1;
        options->subscribers = 15 + (unsigned)sim_below(25);
        options->messages = 60;
        options->small_budgets = options->resets = options->fickle = true;
    }
    if (sim_chance(4)) {
        /* Enough of them asleep that they wake one another. */
        options->shards = RELAY_WIDTH + 1 + (unsigned)sim_below(16);
        options->subscribers = 2 * options->shards;
        options->messages = 60;
        options->data_max = 400;
    }
    if (shards_wanted > 0) {
        options->shards = shards_wanted;
        options->subscribers = (unsigned)max_u64(options->subscribers, 2 * shards_wanted);
    }
    options->steps = 40 * options->messages * (1 + options->subscribers / 12) + 2000;
}

/* A world in which nothing goes wrong: four subscribers on a shard, all of one channel. */
static void choose_steady_options(struct world_options *options)
{
    *options = (struct world_options){
        .shards = shards_wanted > 0 ? shards_wanted : 1,
        .publishers = publishers_measured,
        .publics = 1,
        .clients = 1,
        .messages = 200,
        .data_max = 400,
        .big_pipes = true,
        .steady = true,
    };
    options->subscribers = 4 * options->shards;
}

static void limit_history(struct config *config)
{
    static char rules[2][40];
    config->history_count = 1 + (uint32_t)sim_below(sim_chance(50) ? 4 : 40);
    config->history_bytes = sim_chance(50) ? 1024 * 1024 : 200 + sim_below(4000);
    config->history_seconds = sim_chance(70) ? 1000 : 1 + (uint32_t)sim_below(5);
    config->history_total_bytes = sim_chance(70) ? 1024 * 1024 : 1000 + sim_below(8000);
    snprintf(rules[0], sizeof(rules[0]), "c1=0/0/0");
    snprintf(rules[1], sizeof(rules[1]), "c2=%u/100000/1000", 1 + (unsigned)sim_below(100));
    config->history_rule.count = (uint32_t)sim_below(3);
    config->history_rule.items = memory_calloc(2, sizeof(char *));
    for (uint32_t i = 0; i < config->history_rule.count; i++) {
        config->history_rule.items[i] = memory_copy(span_of(rules[i]));
    }
}

static void choose_config(struct config *config)
{
    const struct world_options *options = &world.options;
    config->shards = options->shards;
    config->connections_max = SIM_CONNECTIONS_MAX;
    config->log_level = LOG_LEVEL_ERROR;
    config->heartbeat_seconds = HEARTBEAT_SECONDS;
    config->drain_seconds = DRAIN_SECONDS;
    if (options->timeouts) {
        config->user_timeout_seconds = USER_TIMEOUT_SECONDS;
    }
    config->header_seconds = config->body_seconds = config->keepalive_seconds = 3600;
    config->history_seconds = 100000;
    config->history_count = MESSAGES_MAX;
    config->history_bytes = config->history_total_bytes = 1024 * 1024 * 1024;
    config->channel_idle_seconds = 1 + (uint32_t)sim_below(30);
    config->idempotency_seconds = 100000;
    config->lag_bytes_max = sim_chance(50) ? 1024 * 1024 : sim_below(5000);
    config->body_bytes_max = 1000000;
    if (options->short_history) {
        limit_history(config);
    }
    if (options->crowded) {
        config->connections_max = 1 + options->subscribers / 2 + options->publishers;
    }
    if (options->impatient) {
        config->header_seconds = config->body_seconds = config->keepalive_seconds = 1;
    }
    if (options->few_channels) {
        config->channels_max = 1 + (uint32_t)sim_below(4);
    }
    if (options->small_queues) {
        config->queue_length = 1U << (2 + sim_below(5));
    }
}

static void limit_budgets(void)
{
    for (unsigned i = 0; i < world.options.shards; i++) {
        struct fanout_limits *limits = &world.hub.shards[i]->fanout.limits;
        uint32_t first = 1 + (uint32_t)sim_below(6);
        fanout_set_sends(&world.hub.shards[i]->fanout, first, first + (uint32_t)sim_below(6));
        limits->visits = 1 + (uint32_t)sim_below(8);
        limits->take = 1 + (uint32_t)sim_below(8);
        limits->batch_frames = 1 + (uint32_t)sim_below(6);
        limits->batch_bytes = 400 + (uint32_t)sim_below(2000);
        limits->arena_bytes = limits->batch_bytes * (3 + (uint32_t)sim_below(4));
    }
}

static void describe_options(void)
{
    const struct world_options *o = &world.options;
    world_trace(
        "world: %u shards, %u publishers, %u streams, %u channels, %u messages%s%s%s%s%s%s%s"
        "%s%s%s%s%s%s%s",
        o->shards, o->publishers, o->subscribers, o->publics, o->messages,
        o->resets ? ", resets" : "", o->memory ? ", failing allocations" : "",
        o->accepts ? ", failing accepts" : "", o->leaps ? ", leaping clocks" : "",
        o->crowded ? ", crowded" : "", o->kicks ? ", kicks" : "",
        o->impatient ? ", short deadlines" : "", o->few_channels ? ", few channels" : "",
        o->short_history ? ", short histories" : "", o->small_budgets ? ", small budgets" : "",
        o->small_queues ? ", small queues" : "", o->slow_readers ? ", slow readers" : "",
        o->timeouts ? ", clients that are gone" : "", o->early_drain ? ", early drain" : "");
    world_trace("world: %u %% of the streams over HTTP/2", o->carried_percent);
}

/* ---- Its beginning ---- */

static void shard_run(void *argument)
{
    struct shard *shard = argument;
    while (shard_turn(shard)) {
    }
}

static void hub_begin(void)
{
    static char *arguments[] = {"spate", NULL};
    static char *environment[] = {NULL};
    struct config config;
    struct buffer message;
    buffer_init(&message, 1024 * 1024);
    CHECK(config_load(&config, 1, arguments, environment, &message) == CONFIG_OK);
    uint32_t listen_count = config.listen.count;
    config.listen.count = 0;
    choose_config(&config);
    hub_world = &simulated;
    CHECK(hub_init(&world.hub, &config, &message) == 0);
    buffer_fini(&message);
    world.hub.configs[0].listen.count = listen_count;
    world.hub.listen_count = 1;
    world.hub.listens[0] = (struct hub_listen){.is_local = true, .is_inherited = true};
    for (unsigned i = 0; i < world.options.shards; i++) {
        world.hub.listens[0].fds[i] = -1;
        CHECK(shard_open(world.hub.shards[i]) == 0);
        fiber_init(&world.fibers[i], shard_run, world.hub.shards[i]);
    }
    if (world.options.small_queues) {
        world.hub.sequencer.options.feed_bytes_max = 1000 + sim_below(20000);
        world.hub.sequencer.options.queue_bytes_max = 1000 + sim_below(20000);
    }
    if (world.options.small_budgets) {
        limit_budgets();
    }
}

static void world_begin(uint64_t seed)
{
    world.seed = seed;
    world.phase = PHASE_RUN;
    world.stopping = false;
    world.stalled_until = world.stall_ms = 0;
    world.problem[0] = '\0';
    sim_net_reset(seed);
    model_reset();
    if (publishers_measured > 0) {
        choose_steady_options(&world.options);
    } else {
        choose_options(&world.options);
    }
    describe_options();
    hub_begin();
    sim_net.accept_faults = world.options.accepts;
    publishers_begin();
    subscribers_begin();
}

/* ---- Its steps ---- */

/* Runs the shard until it yields. Only what happens there may find no memory. */
static void shard_step(unsigned index)
{
    static const uint32_t rates[] = {0, 0, 1U << 24, 1U << 27, 1U << 30};
    bool failing = world.options.memory && world.phase == PHASE_RUN;
    world.failure_rate = failing ? rates[sim_below(countof(rates))] : 0;
    world_fail_allocations(true);
    fiber_resume(&world.fibers[index]);
    world.failure_rate = 0;
    world_fail_allocations(false);
    model_look();
    verify_sends(index);
    verify_sleepers(index);
    if (sim_below(VERIFY_EVERY) == 0 && world_is_good()) {
        verify_hub();
    }
}

/* One shard that has something to do, if there is one. */
static void some_shard_step(void)
{
    unsigned first = (unsigned)sim_below(world.options.shards);
    for (unsigned i = 0; i < world.options.shards; i++) {
        unsigned index = (first + i) % world.options.shards;
        if (index == world.stalled_shard && sim_net.step < world.stalled_until) {
            continue;
        }
        if (!world.fibers[index].ended && sim_loop_is_ready(index)) {
            shard_step(index);
            return;
        }
    }
}

static void clock_step(void)
{
    sim_net.now_ms += 1 + sim_below(sim_chance(10) ? 300 : 10);
    if (world.options.stalls && sim_below(20) == 0) {
        /* One shard has no processor for a while, and time goes on. */
        world.stalled_shard = (unsigned)sim_below(world.options.shards);
        world.stalled_until = sim_net.step + sim_below(600);
        world.stall_ms = 500 + sim_below(1500);
        world_trace("clock: shard %u stands still", world.stalled_shard);
    }
    if (world.stall_ms > 0 && sim_chance(30)) {
        sim_net.now_ms += world.stall_ms;
        world.stall_ms = 0;
    }
    if (world.options.leaps && sim_below(20) == 0) {
        int64_t leap_ms = (int64_t)sim_below(20000) - 10000;
        sim_net.wall_offset_ms += leap_ms;
        model.wall_went_back |= leap_ms < 0;
        world_trace("clock: the wall clock leaps by %lld ms", (long long)leap_ms);
    }
    if (world.options.leaps && sim_below(100) == 0) {
        sim_net.now_ms += 5000;
        world_trace("clock: five seconds are gone");
    }
}

static void world_step(void)
{
    sim_net.step++;
    uint64_t choice = sim_below(100);
    if (choice < 45) {
        some_shard_step();
    } else if (choice < 60) {
        publisher_step((unsigned)sim_below(world.options.publishers));
    } else if (choice < 66) {
        carriers_step(false);
    } else if (choice < 96) {
        subscriber_step((unsigned)sim_below(world.options.subscribers));
    } else {
        clock_step();
    }
}

/* Everybody has a turn, and time goes on when nobody has anything to do. */
static void world_round(void)
{
    bool idle = true;
    for (unsigned i = 0; i < world.options.shards && world_is_good(); i++) {
        sim_net.step++;
        if (!world.fibers[i].ended && sim_loop_is_ready(i)) {
            shard_step(i);
            idle = false;
        }
    }
    for (unsigned i = 0; i < world.options.publishers && world_is_good(); i++) {
        publisher_step(i);
    }
    carriers_step(true);
    for (unsigned i = 0; i < world.options.subscribers && world_is_good(); i++) {
        subscriber_step(i);
    }
    sim_net.now_ms += idle ? 5 : sim_below(2);
}

static bool everything_has_come(void)
{
    return publishers_are_done() && subscribers_are_done() && !carriers_are_gone();
}

static void settle(void)
{
    world.phase = PHASE_SETTLE;
    sim_net.faults = sim_net.accept_faults = false;
    world_trace("world: settles");
    unsigned still = 0;
    for (unsigned i = 0; world_is_good() && still < SETTLE_ROUNDS_MAX && i < SETTLE_ROUNDS_ALL;
         i++) {
        uint64_t moves = world.moves;
        if (everything_has_come()) {
            return;
        }
        world_round();
        still = world.moves == moves ? still + 1 : 0;
        sim_net.now_ms += subscribers_are_gone() || carriers_are_gone() ? 50 : 0;
    }
    publishers_describe();
    subscribers_describe();
}

/* A while of silence: every stream is kept alive. */
static void keep_quiet(void)
{
    uint64_t begin_ms = sim_net.now_ms;
    uint64_t end_ms = begin_ms + 3ULL * HEARTBEAT_SECONDS * 1000;
    while (world_is_good() && sim_net.now_ms < end_ms) {
        sim_net.now_ms += 50;
        world_round();
        subscribers_check_heartbeats(begin_ms);
    }
    if (world_is_good()) {
        subscribers_check_count();
    }
}

static void drain(void)
{
    uint64_t end_ms = sim_net.now_ms + DRAIN_SECONDS * 1000ULL + 1000;
    bool ended = false;
    world.phase = PHASE_DRAIN;
    world_trace("world: the hub is told to drain");
    hub_drain(&world.hub);
    while (world_is_good() && !ended) {
        world_round();
        if (sim_below(2000) == 0) {
            world_trace("world: the hub is told to stop");
            world.stopping = true;
            hub_drain(&world.hub);
        }
        ended = true;
        for (unsigned i = 0; i < world.options.shards; i++) {
            ended &= world.fibers[i].ended;
        }
        if (!ended && sim_net.now_ms > end_ms) {
            world_fail("the drain does not end");
        }
    }
    if (world_is_good()) {
        verify_empty();
    }
}

static void world_end(void)
{
    subscribers_end();
    publishers_end();
    for (unsigned i = 0; i < world.options.shards; i++) {
        shard_close(world.hub.shards[i]);
    }
    hub_fini(&world.hub);
    sim_net_clear();
}

/* All subscribers are there; then everything is published, and everything arrives. */
static void run_steadily(void)
{
    sim_net.faults = false;
    world.options.publishers = 0;
    for (unsigned i = 0; world_is_good() && i < STEADY_ROUNDS; i++) {
        world_round();
    }
    world.options.publishers = publishers_measured;
    publisher_probe(0);
    measure_begin();
    while (world_is_good() && model.message_count < world.options.messages) {
        world_round();
    }
    publisher_probe_end();
    if (world_is_good()) {
        settle();
        measure_end();
    }
}

/* What is wrong leaves the hub in the midst of something: the program ends then. */
static bool world_run(uint64_t seed)
{
    world_begin(seed);
    if (world.options.steady) {
        run_steadily();
    }
    while (world_is_good() && sim_net.step < world.options.steps) {
        world_step();
    }
    if (!world.options.early_drain) {
        if (world_is_good()) {
            settle();
        }
        if (world_is_good()) {
            keep_quiet();
        }
        publisher_probe((unsigned)sim_below(world.options.publics));
        for (unsigned i = 0; world_is_good() && i < 50; i++) {
            world_round();
        }
        publisher_probe_end();
        if (world_is_good()) {
            settle();
        }
    }
    if (world_is_good()) {
        verify_hub();
    }
    if (world_is_good()) {
        drain();
    }
    if (!world_is_good()) {
        printf("seed %llu, step %llu: %s\n", (unsigned long long)seed,
               (unsigned long long)sim_net.step, world.problem);
        return false;
    }
    world_end();
    return true;
}

/* ---- The program ---- */

static const char *program;

static bool option_count(const char *name, const char *wanted, const char *value, unsigned max,
                         unsigned *ret_count)
{
    unsigned long count = strtoul(value, NULL, 10);
    if (strcmp(name, wanted) != 0 || count < 1 || count > max) {
        return false;
    }
    *ret_count = (unsigned)count;
    return true;
}

static void say_how_to_replay(void)
{
    printf("replay: %s --seed %llu", program, (unsigned long long)world.seed);
    if (shards_wanted > 0) {
        printf(" --shards %u", shards_wanted);
    }
    if (publishers_measured > 0) {
        printf(" --measure %u", publishers_measured);
    }
    printf(" --verbose\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    uint64_t count = 1;
    time_t end = 0;
    uint64_t seed = (uint64_t)time(NULL) * 100000;
    program = argv[0];
    for (int i = 1; i < argc; i++) {
        bool has_value = i + 1 < argc;
        if (strcmp(argv[i], "--verbose") == 0) {
            world.verbose = true;
        } else if (has_value && strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(argv[++i], NULL, 10);
        } else if (has_value && strcmp(argv[i], "--seeds") == 0) {
            count = strtoull(argv[++i], NULL, 10);
        } else if (has_value &&
                   (option_count(argv[i], "--shards", argv[i + 1], SHARDS_MAX, &shards_wanted) ||
                    option_count(argv[i], "--measure", argv[i + 1], PUBLISHERS_MAX,
                                 &publishers_measured))) {
            i++;
        } else if (has_value && strcmp(argv[i], "--seconds") == 0) {
            end = time(NULL) + (time_t)strtoull(argv[++i], NULL, 10);
        } else {
            fprintf(stderr, "usage: spate_sim [--seed N] [--seeds N] [--seconds S] [--shards N] "
                            "[--measure N] [--verbose]\n");
            return 2;
        }
    }
    uint64_t first = seed;
    printf("seeds from %llu\n", (unsigned long long)first);
    fflush(stdout);
    time_t told = time(NULL);
    for (; end != 0 ? time(NULL) < end : seed - first < count; seed++) {
        if (!world_run(seed)) {
            say_how_to_replay();
            printf("%llu passed, 1 failed\n", (unsigned long long)(seed - first));
            fflush(stdout);
            _exit(1);
        }
        if (time(NULL) >= told + 5) {
            told = time(NULL);
            printf("%llu worlds, up to seed %llu\n", (unsigned long long)(seed - first + 1),
                   (unsigned long long)seed);
            fflush(stdout);
        }
    }
    if (publishers_measured > 0) {
        measure_tell();
    }
    printf("seeds to %llu\n%llu passed, 0 failed\n", (unsigned long long)seed - 1,
           (unsigned long long)(seed - first));
    return seed == first;
}
