/*
 * A small world for the tests of io: one loop on one backend, listeners on loopback, and clients
 * that are ordinary sockets of the same process. The callbacks check the rules of net/io.h every
 * time they run and write down what happened to each connection.
 */
#ifndef SPATE_TESTS_UNIT_IO_WORLD_H
#define SPATE_TESTS_UNIT_IO_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "core/base/base.h"
#include "net/io.h"

enum { WORLD_PEER_MAX = 8192, WORLD_DEADLINE_MS = 20 * 1000 };

struct variant {
    const char *name;
    enum io_kind kind;
    struct io_options options;
};

static const struct variant variants[] = {
    {"epoll", IO_KIND_EPOLL, {.stream_count_max = WORLD_PEER_MAX}},
    {"io_uring", IO_KIND_URING, {.stream_count_max = WORLD_PEER_MAX}},
    {"io_uring, plain descriptors",
     IO_KIND_URING,
     {.stream_count_max = WORLD_PEER_MAX, .plain_descriptors = true}},
    {"io_uring, tiny rings",
     IO_KIND_URING,
     {.stream_count_max = WORLD_PEER_MAX, .sq_entries = 8, .cq_entries = 16}},
    {"io_uring, accepting as before Linux 6.10",
     IO_KIND_URING,
     {.stream_count_max = WORLD_PEER_MAX, .accept_waits = true}},
};

/* One connection as both ends see it. */
struct peer {
    struct io_stream stream;
    uint32_t number; /* its token, too */
    int client;      /* the other end, or -1 */
    bool closing;
    uint64_t received; /* bytes */
    unsigned received_calls;
    uint64_t pattern_seed; /* if set, what is received must be this pattern */
    unsigned ends;         /* received(0) */
    unsigned errors;       /* received(< 0) */
    int error;
    unsigned hang_ups;
    unsigned writables;
    unsigned closes;
    unsigned sents; /* short sends */
    ssize_t sent;   /* the last result */
    struct sockaddr_storage address;
};

struct world;

/* What a test adds to a callback; each may be NULL. */
struct hooks {
    void (*accepted)(struct world *world, struct peer *peer);
    void (*received)(struct world *world, struct peer *peer, const char *bytes, ssize_t len);
    void (*hung_up)(struct world *world, struct peer *peer);
    void (*sent)(struct world *world, struct peer *peer, ssize_t result);
    void (*sends_final)(struct world *world);
    void (*writable)(struct world *world, struct peer *peer);
    void (*closed)(struct world *world, struct peer *peer);
};

struct world {
    const struct variant *variant;
    struct io *io;
    struct hooks hooks;
    struct io_listener listener;
    uint16_t port;
    bool in_turn;
    bool final; /* sends_final has run in this turn */
    bool reject;
    /*
     * Clients have a port of their own even if they connect to different listeners. (Otherwise the
     * kernel may give the same one twice, and a peer is found by it.)
     */
    bool bound_clients;
    unsigned accepts;
    unsigned rejects;
    unsigned accept_failures;
    int accept_error;
    unsigned closes;
    struct peer *peers;
    uint32_t peer_count;
    struct peer *by_port[65536];
    void *extra;
};

/* The byte at `offset` of an endless stream of bytes that repeats nowhere near. */
static inline char pattern_at(uint64_t seed, uint64_t offset)
{
    uint64_t z = (offset >> 3) + seed * 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return (char)((z ^ (z >> 31)) >> ((offset & 7) * 8));
}

static inline void pattern_fill(char *bytes, size_t len, uint64_t seed, uint64_t offset)
{
    for (size_t i = 0; i < len; i++) {
        bytes[i] = pattern_at(seed, offset + i);
    }
}

static inline bool pattern_matches(const char *bytes, size_t len, uint64_t seed, uint64_t offset)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != pattern_at(seed, offset + i)) {
            return false;
        }
    }
    return true;
}

static inline uint64_t world_clock_ms(void)
{
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static inline struct peer *world_peer_of(struct io_stream *stream)
{
    return container_of(stream, struct peer, stream);
}

/* --- Callbacks: each checks the rules first --- */

static inline void world_check(const struct world *world)
{
    assert_true(world->in_turn); /* rule 1 */
    assert_true(world->final);   /* rule 2 */
}

static inline void world_check_peer(const struct world *world, const struct peer *peer)
{
    world_check(world);
    assert_false(peer->closing); /* rule 5 */
    assert_true(io_stream_is_open(&peer->stream));
}

static inline uint16_t world_port_of(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET) {
        return ntohs(((const struct sockaddr_in *)address)->sin_port);
    }
    if (address->ss_family == AF_INET6) {
        return ntohs(((const struct sockaddr_in6 *)address)->sin6_port);
    }
    return 0; /* a Unix socket: one client at a time */
}

static inline void world_accepted(void *owner, struct io_listener *listener, int32_t descriptor,
                                  const struct sockaddr_storage *address)
{
    struct world *world = owner;
    (void)listener;
    world_check(world);
    if (world->reject) {
        world->rejects++;
        io_reject(world->io, descriptor);
        return;
    }
    struct peer *peer = world->by_port[world_port_of(address)];
    assert_non_null(peer);
    peer->address = *address;
    assert_int_equal(io_open(world->io, &peer->stream, descriptor), 0);
    world->accepts++;
    if (world->hooks.accepted != NULL) {
        world->hooks.accepted(world, peer);
    }
}

static inline void world_accept_failed(void *owner, struct io_listener *listener, int error)
{
    struct world *world = owner;
    (void)listener;
    world_check(world);
    assert_true(error < 0);
    world->accept_failures++;
    world->accept_error = error;
}

static inline void world_received(void *owner, struct io_stream *stream, const char *bytes,
                                  ssize_t len)
{
    struct world *world = owner;
    struct peer *peer = world_peer_of(stream);
    world_check_peer(world, peer);
    assert_int_equal(peer->errors, 0); /* nothing comes after an error */
    peer->received_calls++;
    if (len > 0) {
        assert_int_equal(peer->ends, 0);
        if (peer->pattern_seed != 0) {
            assert_true(pattern_matches(bytes, (size_t)len, peer->pattern_seed, peer->received));
        }
        peer->received += (uint64_t)len;
    } else if (len == 0) {
        peer->ends++;
        assert_int_equal(peer->ends, 1);
    } else {
        peer->errors++;
        peer->error = (int)len;
    }
    if (world->hooks.received != NULL) {
        world->hooks.received(world, peer, bytes, len);
    }
}

static inline void world_hung_up(void *owner, struct io_stream *stream)
{
    struct world *world = owner;
    struct peer *peer = world_peer_of(stream);
    world_check_peer(world, peer);
    peer->hang_ups++;
    assert_int_equal(peer->hang_ups, 1);
    if (world->hooks.hung_up != NULL) {
        world->hooks.hung_up(world, peer);
    }
}

static inline void world_sent(void *owner, uint32_t token, ssize_t result)
{
    struct world *world = owner;
    assert_true(world->in_turn);
    assert_false(world->final);
    assert_true(token < world->peer_count);
    struct peer *peer = &world->peers[token];
    assert_int_equal(peer->closes, 0); /* before `closed` */
    peer->sents++;
    peer->sent = result;
    if (world->hooks.sent != NULL) {
        world->hooks.sent(world, peer, result);
    }
}

static inline void world_sends_final(void *owner)
{
    struct world *world = owner;
    assert_true(world->in_turn);
    assert_false(world->final); /* once */
    world->final = true;
    if (world->hooks.sends_final != NULL) {
        world->hooks.sends_final(world);
    }
}

static inline void world_writable(void *owner, struct io_stream *stream)
{
    struct world *world = owner;
    struct peer *peer = world_peer_of(stream);
    world_check_peer(world, peer);
    peer->writables++;
    if (world->hooks.writable != NULL) {
        world->hooks.writable(world, peer);
    }
}

static inline void world_closed(void *owner, struct io_stream *stream)
{
    struct world *world = owner;
    struct peer *peer = world_peer_of(stream);
    world_check(world);
    assert_true(peer->closing);
    assert_int_equal(stream->flags, 0);
    assert_int_equal(stream->descriptor, 0);
    assert_int_equal(stream->inflight, 0);
    peer->closing = false;
    peer->closes++;
    world->closes++;
    if (world->hooks.closed != NULL) {
        world->hooks.closed(world, peer);
    }
}

static const struct io_handler world_handler = {
    .accepted = world_accepted,
    .accept_failed = world_accept_failed,
    .received = world_received,
    .hung_up = world_hung_up,
    .sent = world_sent,
    .sends_final = world_sends_final,
    .writable = world_writable,
    .closed = world_closed,
};

/* --- Steps of a test --- */

static inline void world_turn(struct world *world, int timeout_ms)
{
    world->in_turn = true;
    world->final = false;
    assert_int_equal(io_turn(world->io, timeout_ms), 0);
    world->in_turn = false;
    assert_true(world->final);
}

/* Turns until the condition holds; fails when it does not within the deadline. */
#define WORLD_UNTIL(world, condition)                                                              \
    do {                                                                                           \
        uint64_t world_deadline = world_clock_ms() + WORLD_DEADLINE_MS;                            \
        while (!(condition)) {                                                                     \
            if (world_clock_ms() > world_deadline) {                                               \
                fail_msg("never came true: %s", #condition);                                       \
            }                                                                                      \
            world_turn(world, 20);                                                                 \
        }                                                                                          \
    } while (0)

static inline int world_listen_fd(uint16_t *ret_port, int send_buffer)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    /* The many connections of earlier tests may still be in TIME_WAIT on any port. */
    int one = 1;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    if (send_buffer > 0) {
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(send_buffer)),
                         0);
    }
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, 4096), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static inline void world_open_listener(struct world *world, int send_buffer)
{
    world->listener = (struct io_listener){.fd = world_listen_fd(&world->port, send_buffer)};
    assert_int_equal(io_listen(world->io, &world->listener), 0);
}

static inline struct world *world_new_with(const struct variant *variant,
                                           const struct io_options *options, int send_buffer)
{
    struct world *world = calloc(1, sizeof(*world));
    assert_non_null(world);
    world->variant = variant;
    world->peers = calloc(WORLD_PEER_MAX, sizeof(*world->peers));
    assert_non_null(world->peers);
    const char *reason = "unset";
    int r = io_new(variant->kind, options, &world_handler, world, &world->io, &reason);
    if (r < 0) {
        fail_msg("%s: %s", variant->name, reason);
    }
    assert_null(reason);
    assert_int_equal(io_kind_of(world->io), variant->kind);
    world_open_listener(world, send_buffer);
    return world;
}

static inline struct world *world_new(void **state)
{
    const struct variant *variant = *state;
    return world_new_with(variant, &variant->options, 0);
}

static inline int world_client_fd(const struct world *world, int receive_buffer,
                                  struct sockaddr_in *ret_local)
{
    uint16_t port = world->port;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (receive_buffer > 0) {
        assert_int_equal(
            setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer)), 0);
    }
    if (world->bound_clients) {
        struct sockaddr_in local = {.sin_family = AF_INET, .sin_addr = address.sin_addr};
        assert_int_equal(bind(fd, (struct sockaddr *)&local, len), 0);
    }
    assert_int_equal(connect(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)ret_local, &len), 0);
    int one = 1;
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

/* Connects a client to the peer's place, which must be free. */
static inline void world_connect_peer(struct world *world, struct peer *peer, int receive_buffer)
{
    struct sockaddr_in local;
    *peer = (struct peer){.number = (uint32_t)(peer - world->peers)};
    peer->client = world_client_fd(world, receive_buffer, &local);
    world->by_port[ntohs(local.sin_port)] = peer;
}

static inline void world_connect_start(struct world *world, uint32_t count, int receive_buffer)
{
    for (uint32_t i = 0; i < count; i++) {
        assert_true(world->peer_count < WORLD_PEER_MAX);
        world_connect_peer(world, &world->peers[world->peer_count++], receive_buffer);
        /* The kernel's queue of connections is bounded. */
        if (i % 500 == 499) {
            WORLD_UNTIL(world, world->accepts + world->rejects + 500 > i);
        }
    }
}

static inline void world_connect(struct world *world, uint32_t count)
{
    unsigned wanted = world->accepts + count;
    world_connect_start(world, count, 0);
    WORLD_UNTIL(world, world->accepts == wanted);
}

/* Closes with a reset, which leaves no TIME_WAIT behind. */
static inline void peer_reset(struct peer *peer)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    if (peer->client >= 0) {
        (void)setsockopt(peer->client, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        (void)close(peer->client);
        peer->client = -1;
    }
}

static inline void peer_write(struct peer *peer, const void *bytes, size_t len)
{
    assert_int_equal(send(peer->client, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* Reads what there is into `bytes`: the length, 0 at the end, or -errno. */
static inline ssize_t peer_read(struct peer *peer, void *bytes, size_t len)
{
    ssize_t n = recv(peer->client, bytes, len, MSG_DONTWAIT);
    return n < 0 ? -errno : n;
}

/* Reads exactly `len` bytes, turning meanwhile. */
static inline void peer_read_all(struct world *world, struct peer *peer, char *bytes, size_t len)
{
    size_t done = 0;
    uint64_t deadline = world_clock_ms() + WORLD_DEADLINE_MS;
    while (done < len) {
        ssize_t n = peer_read(peer, bytes + done, len - done);
        if (n > 0) {
            done += (size_t)n;
            continue;
        }
        assert_int_equal(n, -EAGAIN);
        assert_true(world_clock_ms() < deadline);
        world_turn(world, 5);
    }
}

/*
 * For what must not happen: the loop has had every occasion to do it when a byte that `marker`
 * writes now has come through, three times over.
 */
static inline void world_settle(struct world *world, struct peer *marker)
{
    for (int i = 0; i < 3; i++) {
        uint64_t before = marker->received;
        peer_write(marker, "m", 1);
        WORLD_UNTIL(world, marker->received == before + 1);
    }
}

static inline void peer_close(struct world *world, struct peer *peer)
{
    assert_false(peer->closing);
    peer->closing = true;
    io_close(world->io, &peer->stream);
    assert_false(io_stream_is_open(&peer->stream));
}

static inline void peer_send(struct world *world, struct peer *peer, const char *bytes, size_t len)
{
    io_send(world->io, &peer->stream, bytes, len, peer->number);
}

/* Closes everything, checks that it is closed exactly once, and frees. */
static inline void world_free(struct world *world)
{
    world->hooks = (struct hooks){0};
    for (uint32_t i = 0; i < world->peer_count; i++) {
        struct peer *peer = &world->peers[i];
        /* First, so that the closing leaves no TIME_WAIT on either side. */
        peer_reset(peer);
        if (io_stream_is_open(&peer->stream)) {
            peer_close(world, peer);
        }
    }
    if ((world->listener.flags & 1) != 0) {
        io_listen_stop(world->io, &world->listener);
    }
    WORLD_UNTIL(world, world->closes == world->accepts);
    WORLD_UNTIL(world, io_listener_is_idle(&world->listener));
    assert_null(world->listener.backend);
    assert_int_equal(io_stats_of(world->io)->accepts, world->accepts + world->rejects);
    io_free(world->io);
    (void)close(world->listener.fd);
    free(world->peers);
    free(world);
}

/* Runs every test of the table on every variant. */
static inline int world_run(const char *group, const struct CMUnitTest *tests, size_t count)
{
    struct CMUnitTest *all = calloc(count * countof(variants), sizeof(*all));
    if (all == NULL) {
        return 1;
    }
    size_t n = 0;
    for (size_t v = 0; v < countof(variants); v++) {
        for (size_t i = 0; i < count; i++) {
            char *name = NULL;
            if (asprintf(&name, "%s: %s", variants[v].name, tests[i].name) < 0) {
                return 1;
            }
            all[n] = tests[i];
            all[n].name = name;
            all[n].initial_state = (void *)(uintptr_t)&variants[v];
            n++;
        }
    }
    int failed = _cmocka_run_group_tests(group, all, n, NULL, NULL);
    for (size_t i = 0; i < n; i++) {
        free((void *)(uintptr_t)all[i].name);
    }
    free(all);
    return failed;
}

#endif
