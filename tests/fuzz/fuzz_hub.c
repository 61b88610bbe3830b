/*
 * Any bytes from a client, to a whole hub on the simulator's network: requests with queries, bodies
 * of every kind and ids to resume from, or frames of HTTP/2. The first byte says whether the
 * preface of HTTP/2 goes before the others, and how they are cut.
 */
#include "hub/hub.h"
#include "hub/shard.h"
#include "tests/sim/fiber.h"
#include "tests/sim/io_simulated.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    PIPE_BYTES = 16 * 1024,
    TURNS_MAX = 2000, /* until all has been taken, and until the hub has drained */
    STEP_MS = 500,    /* so that every deadline passes */
};

static struct hub hub;
static struct fiber fiber;

static uint64_t fuzz_wall_ms(void)
{
    return 1700000000000 + sim_net.now_ms;
}

static uint64_t fuzz_clock_ns(void)
{
    return sim_net.now_ms * 1000000;
}

static ssize_t fuzz_random(void *bytes, size_t len, unsigned flags)
{
    (void)flags;
    memset(bytes, 7, len);
    return (ssize_t)len;
}

static const struct hub_world fuzz_world = {.io_new = sim_io_new,
                                            .wall_ms = fuzz_wall_ms,
                                            .clock_ns = fuzz_clock_ns,
                                            .random = fuzz_random};

static void run_shard(void *argument)
{
    while (shard_turn(argument)) {
    }
}

static void begin_hub(void)
{
    static char *arguments[] = {"spate", "--shards",          "1", "--log-level",
                                "error", "--connections-max", "8", "--body-bytes-max",
                                "20000", "--drain-seconds",   "1", NULL};
    static char *environment[] = {NULL};
    struct config config;
    struct buffer message;
    buffer_init(&message, 65536);
    sim_net_reset(1);
    sim_net.faults = false;
    CHECK(config_load(&config, countof(arguments) - 1, arguments, environment, &message) ==
          CONFIG_OK);
    config.listen.count = 0;
    hub_world = &fuzz_world;
    CHECK(hub_init(&hub, &config, &message) == 0);
    buffer_fini(&message);
    hub.configs[0].listen.count = 1;
    hub.listen_count = 1;
    hub.listens[0] = (struct hub_listen){.is_local = true, .is_inherited = true, .fds = {-1}};
    CHECK(shard_open(hub.shards[0]) == 0);
    fiber_init(&fiber, run_shard, hub.shards[0]);
}

/* Runs while the shard has something to do; then time goes on. */
static void turn(struct sim_connection *connection)
{
    char bytes[4096];
    for (unsigned i = 0; i < 8 && !fiber.ended && sim_loop_is_ready(0); i++) {
        fiber_resume(&fiber);
    }
    while (connection->used && sim_read(connection, bytes, sizeof(bytes), NULL) > 0) {
    }
    sim_net.step++;
}

static void end_hub(struct sim_connection *connection)
{
    hub_drain(&hub);
    for (unsigned i = 0; !fiber.ended; i++) {
        CHECK(i < TURNS_MAX && "the hub drains");
        turn(connection);
        sim_net.now_ms += STEP_MS;
    }
    if (!connection->client_gone) {
        sim_abandon(connection, true);
    }
    shard_close(hub.shards[0]);
    hub_fini(&hub);
    sim_net_clear();
}

static void say(struct sim_connection *connection, const char *bytes, size_t len, size_t piece_max)
{
    for (unsigned i = 0; len > 0 && i < TURNS_MAX && !sim_is_at_end(connection); i++) {
        size_t sent = sim_write(connection, bytes, min_size(len, piece_max));
        bytes += sent;
        len -= sent;
        turn(connection);
        sim_net.now_ms += sent == 0 ? STEP_MS : 0;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    static const size_t pieces[] = {PIPE_BYTES, 1000, 50, 9};
    if (size == 0) {
        return 0;
    }
    begin_hub();
    struct sim_connection *connection = sim_connect(0, PIPE_BYTES);
    CHECK(connection != NULL);
    if ((data[0] & 1) != 0) {
        say(connection, preface, sizeof(preface) - 1, sizeof(preface));
    }
    say(connection, (const char *)data + 1, size - 1, pieces[data[0] / 2 % countof(pieces)]);
    if ((data[0] & 16) != 0) {
        sim_finish(connection);
    }
    for (unsigned i = 0; i < 4; i++) {
        turn(connection);
        sim_net.now_ms += STEP_MS;
    }
    end_hub(connection);
    return 0;
}
