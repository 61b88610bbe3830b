/*
 * The whole hub in one thread, on a simulated network, against a naive model.
 *
 *     spate_sim [--seed N] [--seeds N] [--seconds S] [--verbose]
 *
 * A seed decides everything: whose turn it is, what the network does, what is published. Every
 * subscriber begins at `earliest` and resumes after resets; nothing expires, so that each must get
 * every event of its channels once, in the order of ids, byte for byte.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "hub/shard.h"
#include "tests/sim/io_simulated.h"

enum {
    SHARDS = 3,
    CHANNELS = 3,
    PUBLISHERS = 2,
    SUBSCRIBERS = 6,
    EVENTS = 40,
    DATA_MAX = 3000,
    ID_LEN = 20,
    STEPS_MAX = 400000,
};

struct event {
    unsigned channel;
    char data[DATA_MAX + 1];
    char id[ID_LEN + 1]; /* empty until it is known to have happened */
};

struct client {
    struct sim_connection *connection;
    char request[DATA_MAX + 512];
    size_t request_len;
    size_t request_sent;
    char line[DATA_MAX + 512]; /* a publisher's answer, or a subscriber's line */
    size_t line_len;
    unsigned event;    /* a publisher's */
    unsigned channels; /* a subscriber's, as bits */
    bool in_body;
    bool in_chunk;
    size_t chunk_left;
    char size_line[32];
    size_t size_len;
    char sse[DATA_MAX + 512];
    size_t sse_len;
    char data[DATA_MAX + 512];
    char id[ID_LEN + 1];
    char last_id[ID_LEN + 1];
    bool seen[EVENTS];
};

static struct hub hub;
static struct event events[EVENTS];
static unsigned event_count;
static struct client publishers[PUBLISHERS];
static struct client subscribers[SUBSCRIBERS];
static uint64_t seed;
static uint64_t step;
static char problem[256];
static bool verbose;

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void fail(const char *format, ...)
{
    va_list arguments;
    if (problem[0] == '\0') {
        va_start(arguments, format);
        vsnprintf(problem, sizeof(problem), format, arguments);
        va_end(arguments);
    }
}

static uint64_t sim_wall_ms(void)
{
    return 1700000000000 + sim_net.now_ms;
}

static uint64_t sim_clock_ns(void)
{
    return sim_net.now_ms * 1000000;
}

static ssize_t sim_random(void *bytes, size_t len, unsigned flags)
{
    (void)flags;
    for (size_t i = 0; i < len; i++) {
        ((char *)bytes)[i] = (char)random_next(&sim_net.random);
    }
    return (ssize_t)len;
}

static const struct hub_world sim_world = {
    .io_new = sim_io_new, .wall_ms = sim_wall_ms, .clock_ns = sim_clock_ns, .random = sim_random};

/* ---- Clients ---- */

static void client_drop(struct client *client)
{
    sim_abandon(client->connection);
    client->connection = NULL;
}

static void client_begin(struct client *client)
{
    client->connection = sim_connect(hub.shards[random_below(&sim_net.random, SHARDS)]->io);
    client->request_sent = client->line_len = client->size_len = client->sse_len = 0;
    client->in_body = client->in_chunk = false;
    client->chunk_left = 0;
    client->data[0] = client->id[0] = '\0';
}

static void event_happened(struct event *event, const char *id)
{
    if (event->id[0] == '\0') {
        snprintf(event->id, sizeof(event->id), "%s", id);
    } else if (strcmp(event->id, id) != 0) {
        fail("one event has two ids, %s and %s", event->id, id);
    }
}

static void publisher_request(struct client *client)
{
    struct event *event = &events[event_count];
    client->event = event_count++;
    event->channel = (unsigned)random_below(&sim_net.random, CHANNELS);
    size_t len = (size_t)random_below(&sim_net.random, sim_chance(20) ? DATA_MAX - 20 : 100);
    int head = snprintf(event->data, sizeof(event->data), "%u ", client->event);
    for (size_t i = 0; i < len; i++) {
        event->data[(size_t)head + i] = (char)('a' + random_below(&sim_net.random, 26));
    }
    event->data[(size_t)head + len] = '\0';
    client->request_len =
        (size_t)snprintf(client->request, sizeof(client->request),
                         "POST /publish/c%u HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\n"
                         "Content-Length: %zu\r\n\r\n%s",
                         event->channel, strlen(event->data), event->data);
}

static void publisher_input(struct client *client, const char *bytes, size_t len)
{
    if (client->line_len + len >= sizeof(client->line)) {
        fail("an endless answer to a publisher");
        return;
    }
    memcpy(client->line + client->line_len, bytes, len);
    client->line_len += len;
    client->line[client->line_len] = '\0';
    const char *body = strstr(client->line, "\r\n\r\n");
    if (body == NULL || strchr(body, '}') == NULL) {
        return;
    }
    char id[ID_LEN + 1] = "";
    if (strncmp(client->line, "HTTP/1.1 200 ", 13) != 0 ||
        sscanf(body, "\r\n\r\n{\"id\":\"%20[^\"]", id) != 1) {
        fail("a publisher was answered %.40s", client->line);
        return;
    }
    event_happened(&events[client->event], id);
    client_drop(client);
}

static void subscriber_request(struct client *client)
{
    char query[64] = "";
    for (unsigned i = 0; i < CHANNELS; i++) {
        if ((client->channels & 1U << i) != 0) {
            snprintf(query + strlen(query), sizeof(query) - strlen(query), "channel=c%u&", i);
        }
    }
    client->request_len =
        (size_t)snprintf(client->request, sizeof(client->request),
                         "GET /sse?%s HTTP/1.1\r\nHost: h\r\nLast-Event-ID: %s\r\n\r\n", query,
                         client->last_id[0] != '\0' ? client->last_id : "earliest");
}

static void subscriber_event(struct client *client)
{
    unsigned number = (unsigned)strtoul(client->data, NULL, 10);
    if (number >= event_count || strcmp(client->data, events[number].data) != 0) {
        fail("a subscriber got what nobody sent: %.60s", client->data);
    } else if ((client->channels & 1U << events[number].channel) == 0) {
        fail("event %u is of another channel", number);
    } else if (strcmp(client->id, client->last_id) <= 0) {
        fail("id %s came after %s", client->id, client->last_id);
    } else {
        event_happened(&events[number], client->id);
        client->seen[number] = true;
        memcpy(client->last_id, client->id, sizeof(client->id));
    }
}

static void subscriber_line(struct client *client, const char *line)
{
    if (line[0] == '\0') {
        if (client->id[0] != '\0' && client->data[0] != '\0') {
            subscriber_event(client);
        } else if (client->id[0] != '\0' && strcmp(client->id, client->last_id) < 0) {
            fail("the place %s came after %s", client->id, client->last_id);
        } else if (client->id[0] != '\0') {
            memcpy(client->last_id, client->id, sizeof(client->id));
        }
        client->data[0] = client->id[0] = '\0';
    } else if (strncmp(line, "data: ", 6) == 0) {
        snprintf(client->data, sizeof(client->data), "%s", line + 6);
    } else if (strncmp(line, "id: ", 4) == 0) {
        snprintf(client->id, sizeof(client->id), "%.20s", line + 4);
    } else if (line[0] != ':' && strncmp(line, "retry: ", 7) != 0) {
        fail("a strange line: %.60s", line);
    }
}

static bool line_add(char *line, size_t *len, size_t size, char c)
{
    if (c == '\n') {
        *len -= *len > 0 && line[*len - 1] == '\r' ? 1 : 0;
        line[*len] = '\0';
        *len = 0;
        return true;
    }
    if (*len + 1 < size) {
        line[(*len)++] = c;
    } else {
        fail("an endless line");
    }
    return false;
}

static void subscriber_byte(struct client *client, char c)
{
    if (!client->in_body) {
        if (line_add(client->line, &client->line_len, sizeof(client->line), c)) {
            client->in_body = client->line[0] == '\0';
            if (strncmp(client->line, "HTTP/1.1 ", 9) == 0 &&
                strncmp(client->line + 9, "200 ", 4) != 0) {
                fail("a subscriber was answered %.40s", client->line);
            }
        }
    } else if (client->chunk_left > 0) {
        client->chunk_left--;
        if (line_add(client->sse, &client->sse_len, sizeof(client->sse), c)) {
            subscriber_line(client, client->sse);
        }
    } else if (line_add(client->size_line, &client->size_len, sizeof(client->size_line), c)) {
        /* The line after a chunk is empty and stands for no size. */
        client->chunk_left = strtoul(client->size_line, NULL, 16);
    }
}

/* A step of either kind. */
static void client_step(struct client *client, bool is_publisher)
{
    char bytes[SIM_PIPE_SIZE];
    if (client->connection == NULL) {
        if (is_publisher && (event_count == EVENTS || !sim_net.faults)) {
            return;
        }
        client_begin(client);
        if (client->connection != NULL) {
            (is_publisher ? publisher_request : subscriber_request)(client);
        }
        return;
    }
    if (sim_net.faults && random_below(&sim_net.random, 200) == 0) {
        client_drop(client); /* a publisher may never know whether its event happened */
        return;
    }
    client->request_sent += sim_write(client->connection, client->request + client->request_sent,
                                      client->request_len - client->request_sent);
    size_t len = sim_read(client->connection, bytes, sizeof(bytes));
    if (is_publisher && len > 0) {
        publisher_input(client, bytes, len);
    }
    for (size_t i = 0; !is_publisher && i < len; i++) {
        subscriber_byte(client, bytes[i]);
    }
    if (client->connection != NULL && client->connection->hub_gone &&
        client->connection->to_client.len == 0) {
        client_drop(client);
    }
}

/* ---- A run ---- */

static void world_step(bool *running)
{
    step++;
    uint64_t choice = random_below(&sim_net.random, 100);
    if (choice < 45) {
        uint64_t i = random_below(&sim_net.random, SHARDS);
        running[i] = running[i] && shard_turn(hub.shards[i]);
    } else if (choice < 55) {
        client_step(&publishers[random_below(&sim_net.random, PUBLISHERS)], true);
    } else if (choice < 95) {
        client_step(&subscribers[random_below(&sim_net.random, SUBSCRIBERS)], false);
    } else {
        sim_net.now_ms += random_below(&sim_net.random, 20);
    }
}

static bool all_seen(void)
{
    for (unsigned i = 0; i < SUBSCRIBERS; i++) {
        for (unsigned j = 0; j < event_count; j++) {
            bool wanted = (subscribers[i].channels & 1U << events[j].channel) != 0;
            if (wanted && events[j].id[0] != '\0' && !subscribers[i].seen[j]) {
                return false;
            }
        }
    }
    return true;
}

static void world_begin(void)
{
    static char *arguments[] = {"spate", NULL};
    static char *environment[] = {NULL};
    struct config config;
    struct buffer message;
    memset(&sim_net, 0, sizeof(sim_net));
    memset(events, 0, sizeof(events));
    memset(publishers, 0, sizeof(publishers));
    memset(subscribers, 0, sizeof(subscribers));
    random_init(&sim_net.random, seed);
    sim_net.now_ms = 1000000;
    sim_net.faults = true;
    event_count = 0;
    step = 0;
    problem[0] = '\0';
    buffer_init(&message, 1024 * 1024);
    CHECK(config_load(&config, 1, arguments, environment, &message) == CONFIG_OK);
    uint32_t listen_count = config.listen.count;
    config.listen.count = 0;
    config.shards = SHARDS;
    config.connections_max = SIM_CONNECTIONS_MAX;
    config.history_count = 1000;
    config.log_level = LOG_LEVEL_ERROR;
    hub_world = &sim_world;
    CHECK(hub_init(&hub, &config, &message) == 0);
    buffer_fini(&message);
    hub.configs[0].listen.count = listen_count;
    hub.listen_count = 1;
    hub.listens[0] = (struct hub_listen){.is_local = true, .is_inherited = true};
    for (unsigned i = 0; i < SHARDS; i++) {
        hub.listens[0].fds[i] = -1;
        CHECK(shard_open(hub.shards[i]) == 0);
    }
    for (unsigned i = 0; i < SUBSCRIBERS; i++) {
        subscribers[i].channels = 1 + (unsigned)random_below(&sim_net.random, 7);
    }
}

static void world_end(bool *running)
{
    sim_net.faults = false;
    hub_drain(&hub);
    for (unsigned i = 0; i < SUBSCRIBERS + PUBLISHERS; i++) {
        struct client *client = i < SUBSCRIBERS ? &subscribers[i] : &publishers[i - SUBSCRIBERS];
        if (client->connection != NULL) {
            client_drop(client);
        }
    }
    for (unsigned i = 0; i < STEPS_MAX && (running[0] || running[1] || running[2]); i++) {
        unsigned j = i % SHARDS;
        running[j] = running[j] && shard_turn(hub.shards[j]);
        sim_net.now_ms++;
    }
    CHECK(!running[0] && !running[1] && !running[2] && "the drain ends");
    for (unsigned i = 0; i < SHARDS; i++) {
        shard_close(hub.shards[i]);
    }
    hub_fini(&hub);
}

static bool world_run(void)
{
    bool running[SHARDS] = {true, true, true};
    world_begin();
    while (problem[0] == '\0' && event_count < EVENTS && step < STEPS_MAX) {
        world_step(running);
    }
    sim_net.faults = false;
    for (unsigned i = 0; problem[0] == '\0' && i < STEPS_MAX; i++) {
        bool answered = publishers[0].connection == NULL && publishers[1].connection == NULL;
        if (answered && all_seen()) {
            break;
        }
        world_step(running);
    }
    if (!all_seen()) {
        fail("an event did not reach a subscriber");
    }
    bool good = problem[0] == '\0';
    if (!good) {
        printf("seed %llu, step %llu: %s\n", (unsigned long long)seed, (unsigned long long)step,
               problem);
    } else if (verbose) {
        printf("seed %llu: %llu steps\n", (unsigned long long)seed, (unsigned long long)step);
    }
    fflush(stdout);
    world_end(running);
    return good;
}

int main(int argc, char **argv)
{
    uint64_t count = 1;
    time_t end = 0;
    unsigned passed = 0;
    unsigned failed = 0;
    seed = (uint64_t)time(NULL) * 1000;
    for (int i = 1; i < argc; i++) {
        bool has_value = i + 1 < argc;
        if (strcmp(argv[i], "--verbose") == 0) {
            verbose = true;
        } else if (has_value && strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(argv[++i], NULL, 10);
        } else if (has_value && strcmp(argv[i], "--seeds") == 0) {
            count = strtoull(argv[++i], NULL, 10);
        } else if (has_value && strcmp(argv[i], "--seconds") == 0) {
            end = time(NULL) + (time_t)strtoull(argv[++i], NULL, 10);
        } else {
            fprintf(stderr, "usage: spate_sim [--seed N] [--seeds N] [--seconds S] [--verbose]\n");
            return 2;
        }
    }
    printf("seeds from %llu\n", (unsigned long long)seed);
    fflush(stdout);
    for (uint64_t i = 0; end != 0 ? time(NULL) < end : i < count; i++, seed++) {
        world_run() ? passed++ : failed++;
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed > 0 || passed == 0;
}
