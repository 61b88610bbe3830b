/* Accepting, on every backend, over real sockets. See io_world.h. */
#include "tests/unit/io_world.h"

#include <sys/resource.h>

/* --- Addresses ---------------------------------------------------------------------------------
 */

static void test_address_ipv4(void **state)
{
    struct world *world = world_new(state);
    world_connect(world, 20);
    for (uint32_t i = 0; i < world->peer_count; i++) {
        struct peer *peer = &world->peers[i];
        struct sockaddr_in local;
        socklen_t len = sizeof(local);
        assert_int_equal(getsockname(peer->client, (struct sockaddr *)&local, &len), 0);
        const struct sockaddr_in *seen = (const struct sockaddr_in *)&peer->address;
        assert_int_equal(seen->sin_family, AF_INET);
        assert_int_equal(seen->sin_port, local.sin_port);
        assert_int_equal(seen->sin_addr.s_addr, local.sin_addr.s_addr);
    }
    world_free(world);
}

/* Connects one client to a listener of the test's own and returns the address that was told. */
static struct peer *connect_to(struct world *world, struct io_listener *listener, int family,
                               const void *address, socklen_t len)
{
    assert_int_equal(io_listen(world->io, listener), 0);
    struct peer *peer = &world->peers[world->peer_count++];
    unsigned accepts = world->accepts;
    *peer = (struct peer){.number = (uint32_t)(peer - world->peers)};
    peer->client = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(peer->client >= 0);
    struct sockaddr_in6 local = {0};
    if (family == AF_INET6) {
        socklen_t local_len = sizeof(local);
        local.sin6_family = AF_INET6;
        local.sin6_addr = in6addr_loopback;
        assert_int_equal(bind(peer->client, (struct sockaddr *)&local, sizeof(local)), 0);
        assert_int_equal(getsockname(peer->client, (struct sockaddr *)&local, &local_len), 0);
    }
    world->by_port[ntohs(local.sin6_port)] = peer;
    assert_int_equal(connect(peer->client, address, len), 0);
    WORLD_UNTIL(world, world->accepts == accepts + 1);
    peer_write(peer, "hello", 5);
    WORLD_UNTIL(world, peer->received == 5);
    io_listen_stop(world->io, listener);
    WORLD_UNTIL(world, io_listener_is_idle(listener));
    assert_int_equal(close(listener->fd), 0);
    return peer;
}

static void test_address_ipv6(void **state)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0) {
        if (fd >= 0) {
            (void)close(fd);
        }
        skip(); /* a machine without IPv6 */
    }
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    struct world *world = world_new(state);
    struct io_listener listener = {.fd = fd};
    struct peer *peer = connect_to(world, &listener, AF_INET6, &address, len);
    struct sockaddr_in6 local;
    assert_int_equal(getsockname(peer->client, (struct sockaddr *)&local, &len), 0);
    const struct sockaddr_in6 *seen = (const struct sockaddr_in6 *)&peer->address;
    assert_int_equal(seen->sin6_family, AF_INET6);
    assert_int_equal(seen->sin6_port, local.sin6_port);
    assert_memory_equal(&seen->sin6_addr, &local.sin6_addr, sizeof(local.sin6_addr));
    world_free(world);
}

static void test_address_unix(void **state)
{
    char folder[] = "/tmp/spate-test-io-XXXXXX";
    assert_non_null(mkdtemp(folder));
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", folder);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 16), 0);
    struct world *world = world_new(state);
    struct io_listener listener = {.fd = fd};
    struct peer *peer = connect_to(world, &listener, AF_UNIX, &address, sizeof(address));
    assert_int_equal(peer->address.ss_family, AF_UNIX);
    /* The stream works like any other. */
    char answer[6];
    peer_send(world, peer, "answer", 6);
    peer_read_all(world, peer, answer, 6);
    assert_memory_equal(answer, "answer", 6);
    io_read_stop(world->io, &peer->stream);
    peer_write(peer, "unread", 6);
    assert_int_equal(close(peer->client), 0);
    peer->client = -1;
    WORLD_UNTIL(world, peer->hang_ups == 1);
    io_read_start(world->io, &peer->stream);
    WORLD_UNTIL(world, peer->ends == 1);
    assert_int_equal(peer->received, 11);
    world_free(world);
    assert_int_equal(unlink(address.sun_path), 0);
    assert_int_equal(rmdir(folder), 0);
}

/* --- Rejecting, stopping, starting -------------------------------------------------------------
 */

/* True once the client finds that the other side is gone. */
static bool client_is_cut(struct peer *peer)
{
    char byte;
    ssize_t n = peer_read(peer, &byte, 1);
    return n == 0 || n == -ECONNRESET;
}

static void test_reject(void **state)
{
    struct world *world = world_new(state);
    world->reject = true;
    world_connect_start(world, 200, 0);
    WORLD_UNTIL(world, world->rejects == 200);
    for (uint32_t i = 0; i < 200; i++) {
        WORLD_UNTIL(world, client_is_cut(&world->peers[i]));
    }
    world->reject = false;
    world_connect(world, 10);
    world_free(world);
}

static void test_many_at_once(void **state)
{
    struct world *world = world_new(state);
    /* 2,000 wait before the first turn; then one by one. */
    for (uint32_t i = 0; i < 2000; i++) {
        world_connect_peer(world, &world->peers[world->peer_count++], 0);
    }
    WORLD_UNTIL(world, world->accepts == 2000);
    for (uint32_t i = 0; i < 20; i++) {
        world_connect(world, 1);
    }
    world_free(world);
}

static void test_stop_and_start(void **state)
{
    struct world *world = world_new(state);
    world_connect(world, 5);
    for (unsigned round = 0; round < 20; round++) {
        unsigned accepts = world->accepts;
        uint32_t first = world->peer_count;
        io_listen_stop(world->io, &world->listener);
        world_connect_start(world, 10, 0);
        world_settle(world, &world->peers[0]);
        assert_int_equal(world->accepts, accepts);
        if (round % 2 == 0) {
            WORLD_UNTIL(world, io_listener_is_idle(&world->listener));
        }
        assert_int_equal(io_listen(world->io, &world->listener), 0);
        if (round % 4 == 1) {
            /* Before it can notice. */
            io_listen_stop(world->io, &world->listener);
            assert_int_equal(io_listen(world->io, &world->listener), 0);
        }
        /* Nobody who waited is lost. */
        WORLD_UNTIL(world, world->accepts == accepts + 10);
        for (uint32_t i = first; i < world->peer_count; i++) {
            assert_true(io_stream_is_open(&world->peers[i].stream));
        }
    }
    world_free(world);
}

static void stop_accepted(struct world *world, struct peer *peer)
{
    (void)peer;
    io_listen_stop(world->io, &world->listener);
}

/* An owner that has enough stops from inside `accepted`. No other connection is told from then on.
 */
static void test_stop_from_accepted(void **state)
{
    struct world *world = world_new(state);
    world_connect(world, 1);
    for (unsigned round = 0; round < 20; round++) {
        unsigned accepts = world->accepts;
        /* Several rounds of batches. */
        world_connect_start(world, 100, 0);
        world->hooks.accepted = stop_accepted;
        WORLD_UNTIL(world, world->accepts == accepts + 1);
        WORLD_UNTIL(world, io_listener_is_idle(&world->listener));
        world_settle(world, &world->peers[0]);
        assert_int_equal(world->accepts, accepts + 1);
        world->hooks.accepted = NULL;
        assert_int_equal(io_listen(world->io, &world->listener), 0);
        /* Each of the others is either accepted now, or was closed and knows it. */
        for (uint32_t i = world->peer_count - 100; i < world->peer_count; i++) {
            struct peer *peer = &world->peers[i];
            WORLD_UNTIL(world, io_stream_is_open(&peer->stream) || client_is_cut(peer));
        }
    }
    world_free(world);
}

/* Stopping takes what the kernel was asked for back, so that the listener becomes idle without
 * help. */
static void test_stop_while_nobody_comes(void **state)
{
    struct world *world = world_new(state);
    for (unsigned round = 0; round < 10; round++) {
        world_connect(world, round);
        for (unsigned i = 0; i < round; i++) {
            world_turn(world, 1);
        }
        io_listen_stop(world->io, &world->listener);
        WORLD_UNTIL(world, io_listener_is_idle(&world->listener));
        assert_null(world->listener.backend);
        assert_int_equal(io_listen(world->io, &world->listener), 0);
    }
    world_free(world);
}

static void test_two_listeners(void **state)
{
    struct world *world = world_new(state);
    world->bound_clients = true;
    uint16_t first_port = world->port;
    uint16_t second_port = 0;
    struct io_listener second = {.fd = world_listen_fd(&second_port, 0)};
    assert_int_equal(io_listen(world->io, &second), 0);
    for (unsigned i = 0; i < 200; i++) {
        world->port = i % 2 == 0 ? first_port : second_port;
        world_connect_peer(world, &world->peers[world->peer_count++], 0);
    }
    WORLD_UNTIL(world, world->accepts == 200);
    io_listen_stop(world->io, &second);
    world->port = second_port;
    world_connect_peer(world, &world->peers[world->peer_count++], 0);
    world->port = first_port;
    world_connect(world, 1);
    world_settle(world, &world->peers[0]);
    assert_int_equal(world->accepts, 201);
    WORLD_UNTIL(world, io_listener_is_idle(&second));
    assert_int_equal(close(second.fd), 0);
    world_free(world);
}

/* --- Too many ----------------------------------------------------------------------------------
 */

static void test_stream_count_max(void **state)
{
    const struct variant *variant = *state;
    struct io_options options = variant->options;
    options.stream_count_max = 4;
    struct world *world = world_new_with(variant, &options, 0);
    world_connect(world, 4);
    assert_int_equal(world->accept_failures, 0);
    world_connect_start(world, 3, 0);
    WORLD_UNTIL(world, world->accept_failures == 1);
    assert_int_equal(world->accept_error, -EMFILE);
    /* Told once, however long it lasts: several retries go by. */
    uint64_t end = world_clock_ms() + 350;
    while (world_clock_ms() < end) {
        world_turn(world, 1000);
    }
    assert_int_equal(world->accept_failures, 1);
    assert_int_equal(world->accepts, 4);
    /* A place that becomes free goes to the next in line; nobody was thrown away meanwhile. */
    for (uint32_t i = 0; i < 3; i++) {
        peer_close(world, &world->peers[i]);
        WORLD_UNTIL(world, world->accepts == 5 + i);
        assert_true(io_stream_is_open(&world->peers[4 + i].stream));
    }
    assert_int_equal(world->accept_failures, 3);
    /* And it can be stopped while it is paused. */
    world_connect_start(world, 1, 0);
    WORLD_UNTIL(world, world->accept_failures == 4);
    io_listen_stop(world->io, &world->listener);
    WORLD_UNTIL(world, io_listener_is_idle(&world->listener));
    assert_int_equal(io_listen(world->io, &world->listener), 0);
    WORLD_UNTIL(world, world->accept_failures == 5);
    world_free(world);
}

static void test_no_descriptors_left(void **state)
{
    const struct variant *variant = *state;
    if (variant->kind == IO_KIND_URING && !variant->options.plain_descriptors) {
        skip(); /* direct descriptors do not take any */
    }
    struct world *world = world_new(state);
    world_connect(world, 2);
    world_connect_start(world, 2, 0);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = dup(0);
    assert_true(next >= 0);
    assert_int_equal(close(next), 0);
    struct rlimit none = {.rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    unsigned accepts = world->accepts;
    unsigned failures = world->accept_failures;
    uint64_t end = world_clock_ms() + 250;
    while (world_clock_ms() < end) {
        world_turn(world, 1000);
    }
    unsigned accepts_without = world->accepts;
    unsigned failures_without = world->accept_failures;
    /* The limit goes back before anything is asserted, as everything else needs descriptors, too.
     */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(accepts_without, accepts);
    assert_int_equal(failures_without, failures + 1);
    assert_int_equal(world->accept_error, -EMFILE);
    /* Resumes by itself: no stream was closed. */
    WORLD_UNTIL(world, world->accepts == 4);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address_ipv4),        cmocka_unit_test(test_address_ipv6),
        cmocka_unit_test(test_address_unix),        cmocka_unit_test(test_reject),
        cmocka_unit_test(test_many_at_once),        cmocka_unit_test(test_stop_and_start),
        cmocka_unit_test(test_stop_from_accepted),  cmocka_unit_test(test_stop_while_nobody_comes),
        cmocka_unit_test(test_two_listeners),       cmocka_unit_test(test_stream_count_max),
        cmocka_unit_test(test_no_descriptors_left),
    };
    return world_run("io_accept", tests, countof(tests));
}
