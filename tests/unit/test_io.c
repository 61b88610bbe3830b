/* The rules of net/io.h for streams, on every backend, over real sockets. See io_world.h. */
#include "tests/unit/io_world.h"

#include <pthread.h>

#include "core/base/memory.h"

/* --- Receiving -------------------------------------------------------------------------------- */

static void echo_received(struct world *world, struct peer *peer, const char *bytes, ssize_t len)
{
    if (len > 0) {
        char *buffer = world->extra;
        memcpy(buffer, bytes, (size_t)len);
        peer_send(world, peer, buffer, (size_t)len);
    }
}

static void test_echo(void **state)
{
    struct world *world = world_new(state);
    char buffer[128 * 1024];
    world->extra = buffer;
    world->hooks.received = echo_received;
    world_connect(world, 1);
    struct peer *peer = &world->peers[0];
    for (uint64_t i = 1; i <= 200; i++) {
        char message[64];
        char answer[64];
        pattern_fill(message, sizeof(message), i, 0);
        peer_write(peer, message, sizeof(message));
        peer_read_all(world, peer, answer, sizeof(answer));
        assert_memory_equal(message, answer, sizeof(message));
    }
    const struct io_stats *stats = io_stats_of(world->io);
    assert_int_equal(stats->bytes_received, 200 * 64);
    assert_int_equal(stats->bytes_sent, 200 * 64);
    assert_true(stats->sends >= 200);
    assert_int_equal(stats->sends_short, 0);
    assert_int_equal(peer->sents, 0);
    assert_int_equal(peer->hang_ups, 0);
    world_free(world);
}

/* Who sends more than a small buffer holds is received in one piece from then on. */
static void test_receive_in_one_piece(void **state)
{
    struct world *world = world_new(state);
    char message[1500];
    world_connect(world, 1);
    struct peer *peer = &world->peers[0];
    unsigned calls = 0;
    for (uint64_t i = 1; i <= 10; i++) {
        pattern_fill(message, sizeof(message), 1, 0);
        peer_write(peer, message, sizeof(message));
        WORLD_UNTIL(world, peer->received == i * sizeof(message));
        calls = i == 1 ? peer->received_calls : calls + 1;
        assert_int_equal(peer->received_calls, calls);
    }
    world_free(world);
}

/* More bytes than any buffer, from more clients than the pool has buffers. */
static void test_receive_from_many(void **state)
{
    enum { COUNT = 300, SIZE = 150 * 1000 };
    struct world *world = world_new(state);
    char *bytes = malloc(SIZE);
    assert_non_null(bytes);
    world_connect(world, COUNT);
    uint64_t deadline = world_clock_ms() + WORLD_DEADLINE_MS;
    size_t written[COUNT] = {0};
    for (size_t done = 0; done < COUNT;) {
        assert_true(world_clock_ms() < deadline);
        for (uint32_t i = 0; i < COUNT; i++) {
            struct peer *peer = &world->peers[i];
            if (written[i] == SIZE) {
                continue;
            }
            peer->pattern_seed = i + 1;
            pattern_fill(bytes, SIZE - written[i], i + 1, written[i]);
            ssize_t n = send(peer->client, bytes, SIZE - written[i], MSG_NOSIGNAL);
            assert_true(n > 0 || errno == EAGAIN);
            written[i] += n > 0 ? (size_t)n : 0;
            if (written[i] == SIZE) {
                assert_int_equal(shutdown(peer->client, SHUT_WR), 0);
                done++;
            }
        }
        world_turn(world, 0);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        WORLD_UNTIL(world, world->peers[i].ends == 1);
        assert_int_equal(world->peers[i].received, SIZE);
    }
    free(bytes);
    world_free(world);
}

static void test_read_stop_holds_the_peer_back(void **state)
{
    struct world *world = world_new(state);
    world_connect(world, 2);
    struct peer *peer = &world->peers[0];
    char bytes[4096];
    io_read_stop(world->io, &peer->stream);
    peer->pattern_seed = 7;
    uint64_t written = 0;
    unsigned refused = 0;
    /* Until the kernel takes no more, and still does not after everybody had time. */
    while (refused < 3) {
        pattern_fill(bytes, sizeof(bytes), 7, written);
        ssize_t n = send(peer->client, bytes, sizeof(bytes), MSG_NOSIGNAL);
        if (n > 0) {
            written += (uint64_t)n;
            refused = 0;
        } else {
            assert_int_equal(errno, EAGAIN);
            world_settle(world, &world->peers[1]);
            refused++;
        }
    }
    assert_int_equal(peer->received, 0);
    assert_int_equal(peer->hang_ups, 0);
    io_read_start(world->io, &peer->stream);
    WORLD_UNTIL(world, peer->received == written);
    /* And again, with bytes that came while reading was stopped and none after. */
    io_read_stop(world->io, &peer->stream);
    pattern_fill(bytes, 100, 7, written);
    peer_write(peer, bytes, 100);
    world_settle(world, &world->peers[1]);
    assert_int_equal(peer->received, written);
    io_read_start(world->io, &peer->stream);
    WORLD_UNTIL(world, peer->received == written + 100);
    /* Starting and stopping with nothing to read is harmless. */
    io_read_stop(world->io, &peer->stream);
    io_read_start(world->io, &peer->stream);
    io_read_start(world->io, &peer->stream);
    world_settle(world, &world->peers[1]);
    assert_int_equal(peer->received, written + 100);
    world_free(world);
}

static void stop_others_received(struct world *world, struct peer *peer, const char *bytes,
                                 ssize_t len)
{
    (void)bytes;
    (void)len;
    for (uint32_t i = 1; i < world->peer_count; i++) {
        if (&world->peers[i] != peer) {
            io_read_stop(world->io, &world->peers[i].stream);
        }
    }
    world->hooks.received = NULL;
}

/* Bytes that were on their way to the owner when it stopped reading are neither told nor lost. */
static void test_read_stop_of_others(void **state)
{
    enum { COUNT = 40, SIZE = 5000 };
    struct world *world = world_new(state);
    char bytes[SIZE];
    world_connect(world, COUNT);
    for (unsigned round = 0; round < 20; round++) {
        for (uint32_t i = 1; i < COUNT; i++) {
            world->peers[i].pattern_seed = i;
            pattern_fill(bytes, SIZE, i, (uint64_t)round * SIZE);
            peer_write(&world->peers[i], bytes, SIZE);
        }
        world->hooks.received = stop_others_received;
        WORLD_UNTIL(world, world->hooks.received == NULL);
        uint64_t received[COUNT];
        for (uint32_t i = 1; i < COUNT; i++) {
            received[i] = world->peers[i].received;
        }
        world_settle(world, &world->peers[0]);
        unsigned stopped = 0;
        for (uint32_t i = 1; i < COUNT; i++) {
            stopped += received[i] == (uint64_t)round * SIZE;
            if (stopped > 0 && received[i] == (uint64_t)round * SIZE) {
                assert_int_equal(world->peers[i].received, received[i]);
            }
        }
        assert_true(stopped > 0);
        /* Some are stopped and started again before they can notice. */
        for (uint32_t i = 1; i < COUNT; i++) {
            io_read_start(world->io, &world->peers[i].stream);
            if (i % 3 == 0) {
                io_read_stop(world->io, &world->peers[i].stream);
                io_read_start(world->io, &world->peers[i].stream);
            }
        }
        for (uint32_t i = 1; i < COUNT; i++) {
            WORLD_UNTIL(world, world->peers[i].received == (uint64_t)(round + 1) * SIZE);
        }
    }
    world_free(world);
}

static void no_memory_received(struct world *world, struct peer *peer, const char *bytes,
                               ssize_t len)
{
    stop_others_received(world, peer, bytes, len);
    memory_inject_failures(1, UINT32_MAX);
}

/* Without memory to keep them, the stream is told as gone, never silently short of bytes. */
static void test_read_stop_without_memory(void **state)
{
    enum { COUNT = 20 };
    struct world *world = world_new(state);
    world_connect(world, COUNT);
    for (uint32_t i = 1; i < COUNT; i++) {
        peer_write(&world->peers[i], "0123456789", 10);
    }
    world->hooks.received = no_memory_received;
    WORLD_UNTIL(world, world->hooks.received == NULL);
    for (uint32_t i = 1; i < COUNT; i++) {
        io_read_stop(world->io, &world->peers[i].stream);
    }
    world_settle(world, &world->peers[0]);
    memory_inject_failures(0, 0);
    for (uint32_t i = 1; i < COUNT; i++) {
        io_read_start(world->io, &world->peers[i].stream);
    }
    for (uint32_t i = 1; i < COUNT; i++) {
        const struct peer *peer = &world->peers[i];
        WORLD_UNTIL(world, peer->received == 10 || peer->errors == 1);
        assert_true(peer->errors == 0 || peer->hang_ups == 1);
    }
    world_free(world);
}

/* --- The end of the peer ---------------------------------------------------------------------- */

static void test_half_close(void **state)
{
    struct world *world = world_new(state);
    world_connect(world, 2);
    struct peer *peer = &world->peers[0];
    char answer[5];
    peer_write(peer, "last", 4);
    assert_int_equal(shutdown(peer->client, SHUT_WR), 0);
    WORLD_UNTIL(world, peer->ends == 1);
    assert_int_equal(peer->received, 4);
    /* The other direction still works, and the end is not told again. */
    peer_send(world, peer, "hello", 5);
    peer_read_all(world, peer, answer, 5);
    assert_memory_equal(answer, "hello", 5);
    io_read_stop(world->io, &peer->stream);
    io_read_start(world->io, &peer->stream);
    io_read_stop(world->io, &peer->stream);
    world_settle(world, &world->peers[1]);
    assert_int_equal(peer->ends, 1);
    assert_int_equal(peer->hang_ups, 0);
    assert_int_equal(peer->errors, 0);
    /* A reset after the end is news. */
    peer_reset(peer);
    WORLD_UNTIL(world, peer->hang_ups == 1);
    peer = &world->peers[1];
    assert_int_equal(shutdown(peer->client, SHUT_WR), 0);
    WORLD_UNTIL(world, peer->ends == 1);
    peer_reset(peer);
    WORLD_UNTIL(world, peer->errors == 1);
    assert_true(peer->error < 0);
    world_free(world);
}

static void test_hung_up(void **state)
{
    struct world *world = world_new(state);
    world_connect(world, 4);
    struct peer *closed = &world->peers[0];
    struct peer *reset = &world->peers[1];
    struct peer *unread = &world->peers[2];
    io_read_stop(world->io, &closed->stream);
    io_read_stop(world->io, &reset->stream);
    io_read_stop(world->io, &unread->stream);
    peer_write(unread, "unread", 6);
    assert_int_equal(close(closed->client), 0);
    assert_int_equal(close(unread->client), 0);
    closed->client = -1;
    unread->client = -1;
    peer_reset(reset);
    WORLD_UNTIL(world, closed->hang_ups == 1);
    WORLD_UNTIL(world, reset->hang_ups == 1);
    WORLD_UNTIL(world, unread->hang_ups == 1);
    world_settle(world, &world->peers[3]);
    assert_int_equal(closed->received_calls, 0);
    assert_int_equal(reset->received_calls, 0);
    assert_int_equal(unread->received_calls, 0);
    /* Reading on tells the rest. */
    io_read_start(world->io, &closed->stream);
    io_read_start(world->io, &reset->stream);
    io_read_start(world->io, &unread->stream);
    WORLD_UNTIL(world, closed->ends == 1);
    WORLD_UNTIL(world, reset->errors == 1);
    WORLD_UNTIL(world, unread->ends == 1);
    assert_int_equal(unread->received, 6);
    assert_int_equal(reset->error, -ECONNRESET);
    world_free(world);
}

static void stop_received(struct world *world, struct peer *peer, const char *bytes, ssize_t len)
{
    (void)bytes;
    if (len > 0) {
        io_read_stop(world->io, &peer->stream);
    }
}

/* The end comes together with bytes whose owner then stops reading. */
static void test_hung_up_after_read_stop_in_callback(void **state)
{
    struct world *world = world_new(state);
    world->hooks.received = stop_received;
    world_connect(world, 1);
    struct peer *peer = &world->peers[0];
    peer_write(peer, "request", 7);
    assert_int_equal(shutdown(peer->client, SHUT_WR), 0);
    WORLD_UNTIL(world, peer->hang_ups == 1);
    assert_int_equal(peer->received, 7);
    assert_int_equal(peer->ends, 0);
    io_read_start(world->io, &peer->stream);
    WORLD_UNTIL(world, peer->ends == 1);
    world_free(world);
}

static void test_reset_while_reading(void **state)
{
    struct world *world = world_new(state);
    world_connect(world, 1);
    struct peer *peer = &world->peers[0];
    peer_reset(peer);
    WORLD_UNTIL(world, peer->errors == 1);
    assert_int_equal(peer->error, -ECONNRESET);
    assert_int_equal(peer->hang_ups, 0);
    /* Sending to it tells an error by token and raises no signal. */
    peer_send(world, peer, "x", 1);
    WORLD_UNTIL(world, peer->sents == 1);
    assert_true(peer->sent < 0);
    world_free(world);
}

static void test_shutdown(void **state)
{
    enum { SIZE = 100 * 1000 };
    struct world *world = world_new(state);
    char *sent = malloc(SIZE);
    char *received = malloc(SIZE);
    assert_non_null(sent);
    assert_non_null(received);
    world_connect(world, 1);
    struct peer *peer = &world->peers[0];
    pattern_fill(sent, SIZE, 3, 0);
    peer_send(world, peer, sent, SIZE);
    io_shutdown(world->io, &peer->stream);
    peer_read_all(world, peer, received, SIZE);
    assert_memory_equal(sent, received, SIZE);
    ssize_t n = -EAGAIN;
    WORLD_UNTIL(world, (n = peer_read(peer, received, SIZE)) != -EAGAIN);
    assert_int_equal(n, 0);
    assert_int_equal(peer->sents, 0);
    /* Receiving goes on. */
    peer_write(peer, "still", 5);
    WORLD_UNTIL(world, peer->received == 5);
    assert_int_equal(close(peer->client), 0);
    peer->client = -1;
    WORLD_UNTIL(world, peer->ends == 1);
    assert_int_equal(peer->hang_ups, 0);
    free(sent);
    free(received);
    world_free(world);
}

static void test_shutdown_then_close(void **state)
{
    struct world *world = world_new(state);
    world_connect(world, 50);
    for (uint32_t i = 0; i < world->peer_count; i++) {
        peer_send(world, &world->peers[i], "bye", 3);
        io_shutdown(world->io, &world->peers[i].stream);
        peer_close(world, &world->peers[i]);
    }
    WORLD_UNTIL(world, world->closes == 50);
    for (uint32_t i = 0; i < world->peer_count; i++) {
        char bytes[8];
        peer_read_all(world, &world->peers[i], bytes, 3);
        assert_memory_equal(bytes, "bye", 3);
        ssize_t n = -EAGAIN;
        WORLD_UNTIL(world, (n = peer_read(&world->peers[i], bytes, 8)) != -EAGAIN);
        assert_int_equal(n, 0);
    }
    world_free(world);
}

/* --- The turn --------------------------------------------------------------------------------- */

static void test_timeouts(void **state)
{
    struct world *world = world_new(state);
    world_turn(world, 0);
    world_turn(world, 0);
    uint64_t before = world_clock_ms();
    world_turn(world, 50);
    assert_true(world_clock_ms() - before >= 49);
    assert_true(io_now_ms(world->io) >= before + 49);
    assert_true(io_now_ms(world->io) <= world_clock_ms());
    uint64_t turns = io_stats_of(world->io)->turns;
    world_turn(world, 0);
    assert_int_equal(io_stats_of(world->io)->turns, turns + 1);
    world_free(world);
}

struct waker {
    struct io *io;
    unsigned rung;    /* wakes done; written by the waker, read by the test */
    unsigned allowed; /* wakes asked for; the other way */
};

static void *waker_run(void *argument)
{
    struct waker *waker = argument;
    for (unsigned i = 1; i <= 200; i++) {
        /* Acquire: pairs with the release in the test. */
        while (__atomic_load_n(&waker->allowed, __ATOMIC_ACQUIRE) < i) {
            struct timespec pause = {.tv_nsec = 20 * 1000};
            (void)nanosleep(&pause, NULL);
        }
        /* Release: the test that sees it was woken by this or a later wake. */
        __atomic_store_n(&waker->rung, i, __ATOMIC_RELEASE);
        io_wake(waker->io);
    }
    return NULL;
}

static void test_wake_from_another_thread(void **state)
{
    struct world *world = world_new(state);
    struct waker waker = {.io = world->io};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, waker_run, &waker), 0);
    for (unsigned i = 1; i <= 200; i++) {
        __atomic_store_n(&waker.allowed, i, __ATOMIC_RELEASE);
        while (__atomic_load_n(&waker.rung, __ATOMIC_ACQUIRE) < i) {
            /* Nothing else can end this turn; without the wake the test would hang. */
            world_turn(world, -1);
        }
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    world_free(world);
}

static void test_wake_before_the_turn(void **state)
{
    struct world *world = world_new(state);
    for (unsigned i = 0; i < 100; i++) {
        io_wake(world->io);
        if (i % 3 == 0) {
            io_wake(world->io);
        }
        world_turn(world, -1);
    }
    world_free(world);
}

/* --- Clients ---------------------------------------------------------------------------------- */

static int connecting_fd(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    int r = connect(fd, (struct sockaddr *)&address, sizeof(address));
    assert_true(r == 0 || errno == EINPROGRESS);
    return fd;
}

/* A loop that connects to somebody else's listener is told of everything as for an accepted one. */
static void test_adopted_client(void **state)
{
    const struct variant *variant = *state;
    struct io_options options = variant->options;
    options.plain_descriptors = true;
    options.stream_count_max = 2;
    struct world *world = world_new_with(variant, &options, 0);
    uint16_t port;
    int listener = world_listen_fd(&port, 0);
    struct peer *peer = &world->peers[0];
    *peer = (struct peer){.number = 0, .client = -1};
    world->peer_count = 2;
    world->peers[1] = (struct peer){.number = 1, .client = -1};

    assert_int_equal(io_adopt(world->io, &peer->stream, connecting_fd(port)), 0);
    io_watch_writable(world->io, &peer->stream);
    WORLD_UNTIL(world, peer->writables == 1);
    WORLD_UNTIL(world, (peer->client = accept(listener, NULL, NULL)) >= 0);
    char answer[6] = "";
    peer_send(world, peer, "hello", 5);
    peer_read_all(world, peer, answer, 5);
    assert_string_equal(answer, "hello");
    peer_write(peer, "world", 5);
    WORLD_UNTIL(world, peer->received == 5);
    assert_int_equal(shutdown(peer->client, SHUT_WR), 0);
    WORLD_UNTIL(world, peer->ends == 1);

    /* Nobody listens there any more. */
    assert_int_equal(close(listener), 0);
    struct peer *refused = &world->peers[1];
    int fd = connecting_fd(port);
    assert_int_equal(io_adopt(world->io, &refused->stream, fd), 0);
    /* One more than may be open. */
    struct io_stream third = {0};
    assert_int_equal(io_adopt(world->io, &third, socket(AF_INET, SOCK_STREAM, 0)), -EMFILE);
    assert_int_equal(third.flags, 0);
    WORLD_UNTIL(world, refused->errors == 1);
    assert_int_equal(refused->error, -ECONNREFUSED);
    peer_reset(peer);
    peer_close(world, peer);
    peer_close(world, refused);
    WORLD_UNTIL(world, world->closes == 2);
    world->closes = 0; /* of accepted ones, as world_free counts */
    world_free(world);
}

static void test_kind_names(void **state)
{
    (void)state;
    assert_string_equal(io_kind_name(IO_KIND_AUTO), "auto");
    assert_string_equal(io_kind_name(IO_KIND_URING), "io_uring");
    assert_string_equal(io_kind_name(IO_KIND_EPOLL), "epoll");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_receive_in_one_piece),
        cmocka_unit_test(test_receive_from_many),
        cmocka_unit_test(test_read_stop_holds_the_peer_back),
        cmocka_unit_test(test_read_stop_of_others),
        cmocka_unit_test(test_read_stop_without_memory),
        cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_hung_up),
        cmocka_unit_test(test_hung_up_after_read_stop_in_callback),
        cmocka_unit_test(test_reset_while_reading),
        cmocka_unit_test(test_shutdown),
        cmocka_unit_test(test_shutdown_then_close),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_wake_from_another_thread),
        cmocka_unit_test(test_wake_before_the_turn),
        cmocka_unit_test(test_adopted_client),
        cmocka_unit_test(test_kind_names),
    };
    return world_run("io", tests, countof(tests));
}
