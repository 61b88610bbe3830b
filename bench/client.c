/*
 * The load of bench/compare: many subscribers and one publisher against any SSE server, in one
 * thread, told what to do by lines on standard input. Each line is answered by one line of JSON.
 *
 *   bench_client [OPTION]...
 *     --port PORT              where to subscribe, at 127.0.0.1
 *     --publish-port PORT      where to publish; by default the same
 *     --subscribe PATH         %u in it stands for the number of a channel
 *     --publish PATH           the same
 *     --before TEXT, --after TEXT   what the body of a publish has around the data
 *     --type TYPE              media type of the body
 *     --once 1                 publishes on a connection of its own each time, and waits
 *     --size BYTES             of the data of an event
 *     --channels N             subscriber i listens to channel i modulo N
 *     --each K                 ... and to the K - 1 after it
 *     --more TEXT              what each further channel adds to the path of --subscribe
 *     --zipf 1                 channel n has a share of the subscribers in proportion to 1 / (n +
 * 1)
 *     --pid PID                a process of the server (repeatable): its CPU time is told
 *
 *   connect N                  opens N subscribers and waits for their response heads
 *   closed all W SECONDS       publishes so that W messages are on their way to all subscribers
 *   closed first W SECONDS     the same, where a message has arrived once one subscriber has it
 *   open RATE SECONDS          publishes RATE messages a second, whatever becomes of them
 *   publish W SECONDS          publishes with W requests unanswered, to nobody
 *
 * The data of an event is '@', its channel, its number on that, the time at which it was due, and
 * filler.
 * So every subscriber notices gaps and repetitions, and latency counts from when a message was due,
 * not from when it could be sent: a stall of the server cannot hide the messages it held up.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/cpu_time.h"
#include "bench/latency.h"
#include "core/base/base.h"

enum {
    /* '@', and digits to the base of 64. */
    MARK_CHANNEL_DIGITS = 3,
    MARK_NUMBER_DIGITS = 5,
    MARK_TIME_DIGITS = 11,
    MARK_LEN = 1 + MARK_CHANNEL_DIGITS + MARK_NUMBER_DIGITS + MARK_TIME_DIGITS,
    CHANNEL_COUNT_MAX = 1 << (6 * MARK_CHANNEL_DIGITS),
    EACH_MAX = 64,
    HEAD_END_LEN = 4,
    EVENTS_MAX = 1024,
    RECEIVE_BYTES = 256 * 1024,
    SIZE_MAX_BYTES = 64 * 1024,
    PATH_MAX_BYTES = 2048,
    PUBLISH_UNSENT_MAX = 1 << 20,
    CONNECTING_MAX = 256,
    ADDRESS_PORTS = 20000, /* connections from one source address */
};

static const uint64_t GIVE_UP_NS = 5000000000ULL;

/* A channel of a subscriber. */
struct membership {
    uint32_t channel;
    uint32_t next; /* number of the next event */
};

struct subscriber {
    int fd;
    uint8_t carry_len;
    bool is_open; /* the response head is in */
    char carry[MARK_LEN];
};

struct client {
    uint16_t port;
    uint16_t publish_port;
    const char *subscribe_path;
    const char *more_path;
    const char *publish_path;
    const char *before;
    const char *after;
    const char *type;
    size_t size;
    uint32_t channel_count;
    uint32_t each; /* channels of a subscriber */
    bool zipf;
    bool once;
    struct cpu_time server;

    int epoll;
    struct subscriber *subscribers;
    struct membership *memberships; /* `each` of each subscriber */
    uint32_t subscriber_count;
    uint32_t open_count;
    uint32_t *numbers;   /* of each channel, of the next event */
    uint32_t *listeners; /* of each channel */

    int publisher;
    char *unsent; /* requests that the socket has not taken */
    size_t unsent_len;
    char answer_tail[16];
    size_t answer_tail_len;

    uint64_t published;
    uint64_t answered;
    uint64_t refused;
    uint64_t deliveries;
    uint64_t expected;
    uint64_t first_seen; /* events of which at least one copy has come; with one channel */
    uint64_t gaps;
    uint64_t repeated;
    uint64_t closed;
    uint64_t random;
    struct latency latency;
    char *buffer;
};

static struct client client = {
    .subscribe_path = "/sse/c%u",
    .publish_path = "/publish/c%u",
    .before = "",
    .after = "",
    .type = "text/plain",
    .size = 160,
    .more_path = "&channel=c%u",
    .channel_count = 1,
    .each = 1,
    .publisher = -1,
    .random = 88172645463325252ULL,
};

static void fail(const char *what)
{
    fprintf(stderr, "bench_client: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static int connect_to(uint16_t port, uint32_t place, bool wait)
{
    struct sockaddr_in from = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(0x7f000101 + place / ADDRESS_PORTS),
    };
    struct sockaddr_in to = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (wait ? 0 : SOCK_NONBLOCK), 0);
    if (fd < 0) {
        fail("socket");
    }
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0 ||
        (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)) {
        fail("connect");
    }
    return fd;
}

/* ---- Reading --------------------------------------------------------------------------------- */

static const char digits_of_64[] =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz-";

static uint64_t digits_read(const char *text, unsigned digits)
{
    static uint8_t values[256];
    if (values['1'] == 0) {
        for (uint8_t i = 0; i < 64; i++) {
            values[(unsigned char)digits_of_64[i]] = i;
        }
    }
    uint64_t value = 0;
    for (unsigned i = 0; i < digits; i++) {
        value = value << 6 | values[(unsigned char)text[i]];
    }
    return value;
}

static void digits_write(char *text, unsigned digits, uint64_t value)
{
    for (unsigned i = digits; i > 0; i--, value >>= 6) {
        text[i - 1] = digits_of_64[value & 63];
    }
}

static struct membership *membership_find(const struct subscriber *subscriber, uint32_t channel)
{
    struct membership *all =
        &client.memberships[(size_t)(subscriber - client.subscribers) * client.each];
    for (uint32_t i = 0; i < client.each; i++) {
        if (all[i].channel == channel) {
            return &all[i];
        }
    }
    fprintf(stderr, "bench_client: an event of channel %u came to a stranger\n", channel);
    exit(1);
}

static void subscriber_event(struct subscriber *subscriber, const char *mark, uint64_t now)
{
    const char *at = mark + 1;
    uint32_t channel = (uint32_t)digits_read(at, MARK_CHANNEL_DIGITS);
    at += MARK_CHANNEL_DIGITS;
    uint32_t number = (uint32_t)digits_read(at, MARK_NUMBER_DIGITS);
    at += MARK_NUMBER_DIGITS;
    uint64_t due = digits_read(at, MARK_TIME_DIGITS);
    struct membership *membership = membership_find(subscriber, channel);
    if (number < membership->next) {
        client.repeated++;
        return;
    }
    client.gaps += number - membership->next;
    membership->next = number + 1;
    client.deliveries++;
    client.first_seen = max_u64(client.first_seen, (uint64_t)number + 1);
    latency_add(&client.latency, now > due ? now - due : 0);
}

/* Looks for marks; keeps what may be the start of one. `bytes` begin with the carry. */
static void subscriber_read(struct subscriber *subscriber, const char *bytes, size_t len)
{
    uint64_t now = now_ns();
    const char *end = bytes + len;
    subscriber->carry_len = 0;
    for (;;) {
        const char *mark = memchr(bytes, '@', (size_t)(end - bytes));
        if (mark == NULL) {
            return;
        }
        if (end - mark < MARK_LEN) {
            subscriber->carry_len = (uint8_t)(end - mark);
            memcpy(subscriber->carry, mark, (size_t)(end - mark));
            return;
        }
        subscriber_event(subscriber, mark, now);
        /* The filler behind a mark need not be looked at. */
        size_t skip = min_size((size_t)(end - mark), client.size);
        bytes = mark + skip;
    }
}

static void subscriber_close(struct subscriber *subscriber)
{
    close(subscriber->fd);
    subscriber->fd = -1;
    client.closed++;
}

static void subscriber_ready(struct subscriber *subscriber)
{
    char *room = client.buffer + subscriber->carry_len;
    memcpy(client.buffer, subscriber->carry, subscriber->carry_len);
    ssize_t got = recv(subscriber->fd, room, RECEIVE_BYTES - MARK_LEN, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) {
            subscriber_close(subscriber);
        }
        return;
    }
    if (!subscriber->is_open) {
        /* Servers send the head in one piece. */
        if (memcmp(client.buffer, "HTTP/1.1 200", 12) != 0) {
            if (client.closed == 0) {
                fprintf(stderr, "bench_client: %.*s\n", (int)got, client.buffer);
            }
            subscriber_close(subscriber);
            return;
        }
        subscriber->is_open = true;
        client.open_count++;
        return;
    }
    subscriber_read(subscriber, client.buffer, subscriber->carry_len + (size_t)got);
}

/* ---- Publishing ------------------------------------------------------------------------------ */

/* Counts the status lines of the answers, wherever the stream is cut. */
static void publisher_ready(void)
{
    static const char line[] = "HTTP/1.1 ";
    enum { STATUS_LEN = sizeof(line) };
    memcpy(client.buffer, client.answer_tail, client.answer_tail_len);
    ssize_t got = recv(client.publisher, client.buffer + client.answer_tail_len,
                       RECEIVE_BYTES - STATUS_LEN, MSG_DONTWAIT);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) {
            fprintf(stderr, "bench_client: the server closed the publisher's connection\n");
            exit(1);
        }
        return;
    }
    size_t len = client.answer_tail_len + (size_t)got;
    const char *at = client.buffer;
    const char *end = client.buffer + len;
    while ((size_t)(end - at) >= STATUS_LEN) {
        const char *found = memmem(at, (size_t)(end - at) - 1, line, STATUS_LEN - 1);
        if (found == NULL) {
            at = end - STATUS_LEN + 1;
            break;
        }
        client.answered++;
        client.refused += found[STATUS_LEN - 1] != '2';
        at = found + STATUS_LEN;
    }
    client.answer_tail_len = min_size((size_t)(end - at), sizeof(client.answer_tail));
    memcpy(client.answer_tail, end - client.answer_tail_len, client.answer_tail_len);
}

/* For servers that close the connection behind every answer. */
static void publish_once(void)
{
    char answer[1024];
    int fd = connect_to(client.publish_port, 0, true);
    if (send(fd, client.unsent, client.unsent_len, MSG_NOSIGNAL) != (ssize_t)client.unsent_len) {
        fail("publish");
    }
    ssize_t got = recv(fd, answer, sizeof(answer), 0);
    close(fd);
    client.unsent_len = 0;
    client.answered++;
    client.refused += got < 10 || answer[9] != '2';
}

static void publisher_flush(void)
{
    if (client.once) {
        return;
    }
    size_t done = 0;
    while (done < client.unsent_len) {
        ssize_t sent = send(client.publisher, client.unsent + done, client.unsent_len - done,
                            MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0) {
            break;
        }
        done += (size_t)sent;
    }
    memmove(client.unsent, client.unsent + done, client.unsent_len - done);
    client.unsent_len -= done;
}

static bool publisher_has_room(void)
{
    return client.unsent_len + client.size + 4096 < PUBLISH_UNSENT_MAX;
}

static uint32_t random_channel(void)
{
    client.random ^= client.random << 13;
    client.random ^= client.random >> 7;
    client.random ^= client.random << 17;
    return (uint32_t)(client.random % client.channel_count);
}

static void mark_write(char *mark, uint32_t channel, uint64_t due)
{
    mark[0] = '@';
    char *at = mark + 1;
    digits_write(at, MARK_CHANNEL_DIGITS, channel);
    at += MARK_CHANNEL_DIGITS;
    digits_write(at, MARK_NUMBER_DIGITS, client.numbers[channel]++);
    at += MARK_NUMBER_DIGITS;
    digits_write(at, MARK_TIME_DIGITS, due);
}

static void publish(uint64_t due)
{
    uint32_t channel = client.channel_count == 1 ? 0 : random_channel();
    char path[PATH_MAX_BYTES];
    /* The path is this program's own argument. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(path, sizeof(path), client.publish_path, channel);
#pragma GCC diagnostic pop
    size_t before = strlen(client.before);
    size_t after = strlen(client.after);
    char *out = client.unsent + client.unsent_len;
    int head = snprintf(out, 2048,
                        "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\n"
                        "Content-Length: %zu\r\n\r\n%s",
                        path, client.type, before + client.size + after, client.before);
    out += head;
    memset(out, 'x', client.size);
    mark_write(out, channel, due);
    memcpy(out + client.size, client.after, after);
    client.unsent_len += (size_t)head + client.size + after;
    client.published++;
    client.expected += client.listeners[channel];
    if (client.once) {
        publish_once();
    }
}

/* ---- The loop -------------------------------------------------------------------------------- */

static void watch(int fd, uint64_t tag)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = tag};
    if (epoll_ctl(client.epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
        fail("epoll_ctl");
    }
}

static void turn(int timeout_ms)
{
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(client.epoll, events, EVENTS_MAX, timeout_ms);
    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 == UINT64_MAX) {
            publisher_ready();
        } else if (client.subscribers[events[i].data.u64].fd >= 0) {
            subscriber_ready(&client.subscribers[events[i].data.u64]);
        }
    }
    publisher_flush();
}

static void publisher_open(void)
{
    if (client.publisher < 0 && !client.once) {
        client.publisher = connect_to(client.publish_port, UINT32_C(0), true);
        watch(client.publisher, UINT64_MAX);
    }
}

/* The one with the number `place` if channel n takes up 1 / (n + 1) of all places. */
static uint32_t channel_by_share(double place)
{
    double sum = 0;
    for (uint32_t i = 0; i < client.channel_count; i++) {
        sum += 1.0 / (i + 1);
    }
    place *= sum;
    for (uint32_t i = 0; i < client.channel_count; i++) {
        place -= 1.0 / (i + 1);
        if (place < 0) {
            return i;
        }
    }
    return client.channel_count - 1;
}

static void subscriber_choose(struct membership *all, uint32_t index)
{
    uint32_t first = index % client.channel_count;
    if (client.zipf) {
        /* Steps of the golden ratio: as even as can be, and the same in every run. */
        double place = index * 0.6180339887498949;
        first = channel_by_share(place - (double)(uint64_t)place);
    }
    for (uint32_t i = 0; i < client.each; i++) {
        uint32_t channel = (first + i) % client.channel_count;
        all[i] = (struct membership){.channel = channel, .next = client.numbers[channel]};
        client.listeners[channel]++;
    }
}

static void write_path(char *path, const struct membership *all)
{
    size_t len = 0;
    /* The paths are this program's own arguments. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    for (uint32_t i = 0; i < client.each; i++) {
        len += (size_t)snprintf(path + len, PATH_MAX_BYTES - len,
                                i == 0 ? client.subscribe_path : client.more_path, all[i].channel);
        len = min_size(len, PATH_MAX_BYTES - 1);
    }
#pragma GCC diagnostic pop
}

static void subscriber_open(uint32_t index)
{
    struct subscriber *subscriber = &client.subscribers[index];
    struct membership *all = &client.memberships[(size_t)index * client.each];
    char path[PATH_MAX_BYTES];
    char request[PATH_MAX_BYTES + 128];
    *subscriber = (struct subscriber){0};
    subscriber_choose(all, index);
    write_path(path, all);
    int len =
        snprintf(request, sizeof(request),
                 "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n", path);
    subscriber->fd = connect_to(client.port, index, true);
    if (send(subscriber->fd, request, (size_t)len, MSG_NOSIGNAL) != len) {
        fail("send");
    }
    fcntl(subscriber->fd, F_SETFL, O_NONBLOCK);
    watch(subscriber->fd, index);
}

/* ---- Commands -------------------------------------------------------------------------------- */

struct run {
    uint64_t start_ns;
    uint64_t server_ns;
    uint64_t own_ns;
};

static struct run run_begin(void)
{
    client.published = client.answered = client.refused = 0;
    client.deliveries = client.expected = 0;
    client.gaps = client.repeated = client.closed = 0;
    latency_reset(&client.latency);
    return (struct run){now_ns(), cpu_time_read(&client.server), cpu_time_own()};
}

static void run_end(const struct run *run)
{
    uint64_t wall = now_ns() - run->start_ns;
    uint64_t server = cpu_time_read(&client.server) - run->server_ns;
    uint64_t own = cpu_time_own() - run->own_ns;
    const struct latency *latency = &client.latency;
    printf("{\"seconds\":%.6f,\"server_seconds\":%.6f,\"client_seconds\":%.6f,"
           "\"subscribers\":%u,\"published\":%llu,\"answered\":%llu,\"refused\":%llu,"
           "\"deliveries\":%llu,\"expected\":%llu,\"gaps\":%llu,\"repeated\":%llu,"
           "\"closed\":%llu,\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,"
           "\"max_us\":%.1f}\n",
           (double)wall / 1e9, (double)server / 1e9, (double)own / 1e9, client.open_count,
           (unsigned long long)client.published, (unsigned long long)client.answered,
           (unsigned long long)client.refused, (unsigned long long)client.deliveries,
           (unsigned long long)client.expected, (unsigned long long)client.gaps,
           (unsigned long long)client.repeated, (unsigned long long)client.closed,
           latency_percentile(latency, 0.5) / 1e3, latency_percentile(latency, 0.9) / 1e3,
           latency_percentile(latency, 0.99) / 1e3, latency_percentile(latency, 0.999) / 1e3,
           (double)latency->max / 1e3);
    fflush(stdout);
}

/* Waits until everything has come, or nothing has for a long time. */
static void finish(void)
{
    uint64_t seen = 0;
    uint64_t seen_ns = now_ns();
    while (client.deliveries + client.gaps < client.expected ||
           client.answered < client.published) {
        turn(10);
        uint64_t progress = client.deliveries + client.answered;
        uint64_t now = now_ns();
        if (progress != seen) {
            seen = progress;
            seen_ns = now;
        } else if (now - seen_ns > GIVE_UP_NS) {
            return;
        }
    }
}

static void command_connect(uint32_t count)
{
    if (client.subscribers != NULL) {
        fprintf(stderr, "bench_client: connect comes once\n");
        exit(2);
    }
    client.subscribers = calloc(count + 1, sizeof(client.subscribers[0]));
    client.memberships = calloc((size_t)count * client.each + 1, sizeof(client.memberships[0]));
    if (client.subscribers == NULL || client.memberships == NULL) {
        fail("subscribers");
    }
    struct run run = run_begin();
    uint64_t begin = now_ns();
    for (uint32_t i = 0; i < count; i++) {
        subscriber_open(i);
        client.subscriber_count++;
        do {
            turn(client.subscriber_count - client.open_count >= CONNECTING_MAX ? 10 : 0);
        } while (client.subscriber_count - client.open_count - client.closed >= CONNECTING_MAX);
    }
    while (client.open_count + client.closed < count && now_ns() - begin < 12 * GIVE_UP_NS) {
        turn(10);
    }
    run_end(&run);
    if (client.channel_count == 1) {
        /* Those that were turned away are told, once, and expect nothing. */
        client.subscriber_count = client.listeners[0] = client.open_count;
    }
}

static void command_closed(bool first, uint64_t window, double seconds)
{
    publisher_open();
    client.first_seen = client.numbers[0];
    uint64_t seen_before = client.first_seen;
    /* Deliveries that may be missing while one more message is published. */
    uint64_t ahead = (window - 1) * client.subscriber_count * client.each / client.channel_count;
    struct run run = run_begin();
    uint64_t end = run.start_ns + (uint64_t)(seconds * 1e9);
    for (uint64_t now = run.start_ns; now < end; now = now_ns()) {
        while ((first ? client.published < client.first_seen - seen_before + window
                      : client.expected <= client.deliveries + client.gaps + ahead) &&
               publisher_has_room()) {
            publish(now);
        }
        publisher_flush();
        turn(10);
    }
    finish();
    run_end(&run);
}

static void command_open(double rate, double seconds)
{
    publisher_open();
    struct run run = run_begin();
    uint64_t total = (uint64_t)(rate * seconds);
    uint64_t next = 0;
    while (next < total) {
        uint64_t now = now_ns();
        uint64_t due = run.start_ns + (uint64_t)((double)next * 1e9 / rate);
        if (now < due) {
            uint64_t wait_ms = (due - now) / 1000000;
            turn(wait_ms > 100 ? 100 : (int)wait_ms);
            continue;
        }
        if (publisher_has_room()) {
            publish(due);
            next++;
        }
        turn(0);
    }
    finish();
    run_end(&run);
}

static void command_publish(uint64_t window, double seconds)
{
    publisher_open();
    struct run run = run_begin();
    uint64_t end = run.start_ns + (uint64_t)(seconds * 1e9);
    for (uint64_t now = run.start_ns; now < end; now = now_ns()) {
        while (client.published < client.answered + window && publisher_has_room()) {
            publish(now);
            if (client.once) {
                break;
            }
        }
        publisher_flush();
        turn(10);
    }
    finish();
    run_end(&run);
}

static bool obey(const char *line)
{
    char how[8];
    double number;
    double seconds;
    if (sscanf(line, "connect %lf", &number) == 1) {
        command_connect((uint32_t)number);
    } else if (sscanf(line, "closed %7s %lf %lf", how, &number, &seconds) == 3) {
        command_closed(strcmp(how, "first") == 0, (uint64_t)number, seconds);
    } else if (sscanf(line, "open %lf %lf", &number, &seconds) == 2) {
        command_open(number, seconds);
    } else if (sscanf(line, "publish %lf %lf", &number, &seconds) == 2) {
        command_publish((uint64_t)number, seconds);
    } else {
        return false;
    }
    return true;
}

/* ---- Options --------------------------------------------------------------------------------- */

static bool option_text(const char *name, const char *value)
{
    const struct {
        const char *name;
        const char **target;
    } texts[] = {
        {"--subscribe", &client.subscribe_path},
        {"--more", &client.more_path},
        {"--publish", &client.publish_path},
        {"--before", &client.before},
        {"--after", &client.after},
        {"--type", &client.type},
    };
    for (size_t i = 0; i < countof(texts); i++) {
        if (strcmp(name, texts[i].name) == 0) {
            *texts[i].target = value;
            return true;
        }
    }
    return false;
}

static bool option_number(const char *name, const char *value)
{
    unsigned long number = strtoul(value, NULL, 10);
    if (strcmp(name, "--port") == 0) {
        client.port = (uint16_t)number;
    } else if (strcmp(name, "--publish-port") == 0) {
        client.publish_port = (uint16_t)number;
    } else if (strcmp(name, "--size") == 0) {
        client.size = number;
    } else if (strcmp(name, "--channels") == 0) {
        client.channel_count = (uint32_t)number;
    } else if (strcmp(name, "--each") == 0) {
        client.each = (uint32_t)number;
    } else if (strcmp(name, "--zipf") == 0) {
        client.zipf = number != 0;
    } else if (strcmp(name, "--once") == 0) {
        client.once = number != 0;
    } else if (strcmp(name, "--pid") == 0) {
        return cpu_time_add(&client.server, (int)number);
    } else {
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc ||
            (!option_text(argv[i], argv[i + 1]) && !option_number(argv[i], argv[i + 1]))) {
            fprintf(stderr, "bench_client: %s is not understood; see bench/client.c\n", argv[i]);
            return 2;
        }
    }
    if (client.port == 0 || client.size < MARK_LEN || client.size > SIZE_MAX_BYTES ||
        client.channel_count == 0 || client.channel_count > CHANNEL_COUNT_MAX || client.each == 0 ||
        client.each > min_u64(EACH_MAX, client.channel_count)) {
        fprintf(stderr, "bench_client: --port is missing, or --size, --channels or --each out of "
                        "range\n");
        return 2;
    }
    client.publish_port = client.publish_port == 0 ? client.port : client.publish_port;
    client.epoll = epoll_create1(EPOLL_CLOEXEC);
    client.buffer = malloc(RECEIVE_BYTES);
    client.unsent = malloc(PUBLISH_UNSENT_MAX + SIZE_MAX_BYTES);
    client.numbers = calloc(client.channel_count, sizeof(client.numbers[0]));
    client.listeners = calloc(client.channel_count, sizeof(client.listeners[0]));
    if (client.epoll < 0 || client.buffer == NULL || client.unsent == NULL ||
        client.numbers == NULL || client.listeners == NULL) {
        fail("start");
    }
    char line[256];
    while (fgets(line, sizeof(line), stdin) != NULL) {
        if (!obey(line)) {
            fprintf(stderr, "bench_client: not understood: %s", line);
            return 2;
        }
    }
    return 0;
}
