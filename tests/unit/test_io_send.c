/* The rules of net/io.h for sending and closing, as test_io.c has those for the rest. */
#include "tests/unit/io_world.h"

#include "core/base/memory.h"
#include "core/base/random.h"

/* --- Sending ---------------------------------------------------------------------------------- */

/* A sender that goes on from where the kernel stopped, each time with a buffer of its own. */
struct sender {
    char *loan; /* the bytes on loan; spoilt as soon as they are not */
    size_t loan_len;
    uint64_t offset;
    uint64_t total;
    size_t piece;
    bool fell_short;
    bool waiting;
};

static void sender_send(struct world *world, struct peer *peer)
{
    struct sender *sender = world->extra;
    size_t len = (size_t)min_u64(sender->piece, sender->total - sender->offset);
    if (len == 0 || sender->loan_len > 0 || sender->waiting) {
        return;
    }
    pattern_fill(sender->loan, len, 11, sender->offset);
    sender->loan_len = len;
    sender->fell_short = false;
    peer_send(world, peer, sender->loan, len);
}

static void sender_sent(struct world *world, struct peer *peer, ssize_t result)
{
    struct sender *sender = world->extra;
    assert_true(result >= 0);
    assert_true((size_t)result < sender->loan_len);
    sender->offset += (uint64_t)result;
    sender->fell_short = true;
    sender->waiting = true;
    io_watch_writable(world->io, &peer->stream);
}

static void sender_final(struct world *world)
{
    struct sender *sender = world->extra;
    if (sender->loan_len > 0) {
        sender->offset += sender->fell_short ? 0 : sender->loan_len;
        memset(sender->loan, 'X', sender->loan_len);
        sender->loan_len = 0;
    }
}

static void sender_writable(struct world *world, struct peer *peer)
{
    struct sender *sender = world->extra;
    (void)peer;
    assert_true(sender->waiting);
    sender->waiting = false;
}

static void test_short_sends(void **state)
{
    enum { TOTAL = 6 * 1000 * 1000, PIECE = 333 * 1000, BLOCK = 4096 };
    const struct variant *variant = *state;
    struct world *world = world_new_with(variant, &variant->options, 16 * 1024);
    struct sender sender = {.total = TOTAL, .piece = PIECE, .loan = malloc(PIECE)};
    assert_non_null(sender.loan);
    world->extra = &sender;
    world->hooks.sent = sender_sent;
    world->hooks.sends_final = sender_final;
    world->hooks.writable = sender_writable;
    world_connect_start(world, 1, 8 * 1024);
    WORLD_UNTIL(world, world->accepts == 1);
    struct peer *peer = &world->peers[0];
    char block[BLOCK];
    uint64_t received = 0;
    uint64_t deadline = world_clock_ms() + WORLD_DEADLINE_MS;
    while (received < TOTAL) {
        assert_true(world_clock_ms() < deadline);
        sender_send(world, peer);
        world_turn(world, 1);
        for (ssize_t n = 1; n > 0;) {
            n = peer_read(peer, block, sizeof(block));
            if (n > 0) {
                assert_true(pattern_matches(block, (size_t)n, 11, received));
                received += (uint64_t)n;
            }
        }
    }
    world_turn(world, 0);
    assert_int_equal(received, TOTAL);
    assert_int_equal(sender.offset, TOTAL);
    assert_true(peer->sents > 0);
    assert_true(peer->writables > 0);
    const struct io_stats *stats = io_stats_of(world->io);
    assert_int_equal(stats->bytes_sent, TOTAL);
    assert_int_equal(stats->sends_short, peer->sents);
    free(sender.loan);
    world_free(world);
}

/* When nothing fits, the result is 0; one `writable` comes when the peer has read. */
static void test_send_to_a_full_socket(void **state)
{
    enum { SIZE = 8 * 1000 * 1000 };
    const struct variant *variant = *state;
    struct world *world = world_new_with(variant, &variant->options, 8 * 1024);
    char *bytes = malloc(SIZE);
    assert_non_null(bytes);
    pattern_fill(bytes, SIZE, 5, 0);
    world_connect_start(world, 1, 4 * 1024);
    WORLD_UNTIL(world, world->accepts == 1);
    struct peer *peer = &world->peers[0];
    /* The loop gets to know that there is room, so that it has something to forget. */
    world_settle(world, peer);
    uint64_t taken = 0;
    /*
     * A socket that was full may have room once more without anybody reading: an acknowledgement
     * that was under way has come. Then it is filled up again; the buffers have an end.
     */
    do {
        assert_int_equal(peer->writables, 0);
        do {
            unsigned before = peer->sents;
            peer_send(world, peer, bytes + taken, SIZE - taken);
            world_turn(world, -1);
            assert_int_equal(peer->sents, before + 1);
            taken += (uint64_t)peer->sent;
        } while (peer->sent > 0);
        assert_int_equal(peer->sent, 0);
        assert_true(taken > 0);
        io_watch_writable(world->io, &peer->stream);
        io_watch_writable(world->io, &peer->stream);
        for (int i = 0; i < 5; i++) {
            world_turn(world, 1);
        }
        assert_true(peer->writables <= 1);
    } while (peer->writables-- > 0);
    peer->writables = 0;
    char *received = malloc(SIZE);
    assert_non_null(received);
    peer_read_all(world, peer, received, (size_t)taken);
    assert_memory_equal(bytes, received, (size_t)taken);
    WORLD_UNTIL(world, peer->writables == 1);
    for (int i = 0; i < 5; i++) {
        world_turn(world, 1);
    }
    assert_int_equal(peer->writables, 1);
    /* Watching a socket that has room tells so at once, in a turn. */
    io_watch_writable(world->io, &peer->stream);
    assert_int_equal(peer->writables, 1);
    WORLD_UNTIL(world, peer->writables == 2);
    free(bytes);
    free(received);
    world_free(world);
}

/* Closing does not wait for a peer that never reads. */
static void test_close_of_a_full_socket(void **state)
{
    enum { SIZE = 8 * 1000 * 1000 };
    const struct variant *variant = *state;
    struct world *world = world_new_with(variant, &variant->options, 8 * 1024);
    char *bytes = calloc(1, SIZE);
    assert_non_null(bytes);
    world_connect_start(world, 1, 4 * 1024);
    WORLD_UNTIL(world, world->accepts == 1);
    struct peer *peer = &world->peers[0];
    do {
        peer_send(world, peer, bytes, SIZE);
        world_turn(world, -1);
    } while (peer->sent > 0);
    io_watch_writable(world->io, &peer->stream);
    world_turn(world, 0);
    unsigned writables = peer->writables;
    peer_close(world, peer);
    WORLD_UNTIL(world, peer->closes == 1);
    assert_int_equal(peer->writables, writables);
    free(bytes);
    world_free(world);
}

/* Far more sends in one turn than the ring has places, all silent, all complete. */
static void test_many_sends_in_one_turn(void **state)
{
    enum { COUNT = 5000, SIZE = 160 };
    struct world *world = world_new(state);
    char bytes[SIZE];
    char received[SIZE];
    pattern_fill(bytes, SIZE, 9, 0);
    world_connect(world, COUNT);
    for (unsigned round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            peer_send(world, &world->peers[i], bytes, SIZE);
        }
        /* Waiting for ever would never end here if the sends did not make the turn return. */
        world_turn(world, -1);
        /* The sends are final, so on loopback the bytes are there. */
        for (uint32_t i = 0; i < COUNT; i++) {
            assert_int_equal(peer_read(&world->peers[i], received, SIZE), SIZE);
            assert_memory_equal(bytes, received, SIZE);
        }
    }
    assert_int_equal(io_stats_of(world->io)->sends_short, 0);
    world_free(world);
}

/* Every one of them falls short: as many results as sends, more than the completion ring holds. */
static void test_many_short_sends_in_one_turn(void **state)
{
    enum { COUNT = 1000, SIZE = 1000 * 1000 };
    const struct variant *variant = *state;
    struct world *world = world_new_with(variant, &variant->options, 4 * 1024);
    char *bytes = malloc(SIZE);
    assert_non_null(bytes);
    pattern_fill(bytes, SIZE, 13, 0);
    world_connect_start(world, COUNT, 4 * 1024);
    WORLD_UNTIL(world, world->accepts == COUNT);
    uint64_t *taken = calloc(COUNT, sizeof(*taken));
    assert_non_null(taken);
    for (unsigned round = 1; round <= 3; round++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            peer_send(world, &world->peers[i], bytes + taken[i], SIZE - taken[i]);
        }
        world_turn(world, -1);
        for (uint32_t i = 0; i < COUNT; i++) {
            const struct peer *peer = &world->peers[i];
            assert_int_equal(peer->sents, round);
            assert_true(peer->sent >= 0);
            taken[i] += (uint64_t)peer->sent;
        }
    }
    char *received = malloc(SIZE);
    assert_non_null(received);
    for (uint32_t i = 0; i < COUNT; i++) {
        peer_read_all(world, &world->peers[i], received, (size_t)taken[i]);
        assert_memory_equal(bytes, received, (size_t)taken[i]);
        assert_int_equal(peer_read(&world->peers[i], received, 1), -EAGAIN);
    }
    free(taken);
    free(received);
    free(bytes);
    world_free(world);
}

static void again_sent(struct world *world, struct peer *peer, ssize_t result)
{
    assert_int_equal(result, 0);
    if (peer->sents < 3) {
        peer_send(world, peer, world->extra, 10);
    }
}

/* A `sent` callback may send: the result of that belongs to the next turn. */
static void test_send_from_sent(void **state)
{
    enum { COUNT = 20, SIZE = 4 * 1000 * 1000 };
    const struct variant *variant = *state;
    struct world *world = world_new_with(variant, &variant->options, 4 * 1024);
    char *bytes = calloc(1, SIZE);
    assert_non_null(bytes);
    world->extra = bytes;
    world_connect_start(world, COUNT, 4 * 1024);
    WORLD_UNTIL(world, world->accepts == COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        struct peer *peer = &world->peers[i];
        do {
            peer_send(world, peer, bytes, SIZE);
            world_turn(world, 0);
        } while (peer->sent > 0);
        peer->sents = 0;
    }
    world->hooks.sent = again_sent;
    for (uint32_t i = 0; i < COUNT; i++) {
        peer_send(world, &world->peers[i], bytes, 10);
    }
    for (unsigned turn = 1; turn <= 3; turn++) {
        world_turn(world, -1);
        for (uint32_t i = 0; i < COUNT; i++) {
            assert_int_equal(world->peers[i].sents, turn);
        }
    }
    world_turn(world, 0);
    assert_int_equal(world->peers[0].sents, 3);
    free(bytes);
    world_free(world);
}

/* --- Closing ---------------------------------------------------------------------------------- */

static void test_close_comes_behind_the_sends(void **state)
{
    enum { COUNT = 200, SIZE = 1000 };
    struct world *world = world_new(state);
    char bytes[SIZE];
    char received[SIZE];
    world_connect(world, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        /* A buffer on loan may change hands only after sends_final, so one for all is fine. */
        pattern_fill(bytes, SIZE, 21, 0);
        peer_send(world, &world->peers[i], bytes, SIZE);
        peer_close(world, &world->peers[i]);
    }
    assert_int_equal(world->closes, 0);
    WORLD_UNTIL(world, world->closes == COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        struct peer *peer = &world->peers[i];
        assert_int_equal(peer->closes, 1);
        assert_int_equal(peer->sents, 0);
        peer_read_all(world, peer, received, SIZE);
        assert_memory_equal(bytes, received, SIZE);
        ssize_t n = -EAGAIN;
        WORLD_UNTIL(world, (n = peer_read(peer, received, SIZE)) != -EAGAIN);
        assert_int_equal(n, 0);
    }
    world_free(world);
}

static void test_short_send_then_close(void **state)
{
    enum { SIZE = 8 * 1000 * 1000 };
    const struct variant *variant = *state;
    struct world *world = world_new_with(variant, &variant->options, 8 * 1024);
    char *bytes = calloc(1, SIZE);
    assert_non_null(bytes);
    world_connect(world, 1);
    struct peer *peer = &world->peers[0];
    peer_send(world, peer, bytes, SIZE);
    io_watch_writable(world->io, &peer->stream);
    peer_close(world, peer);
    world_turn(world, -1);
    assert_int_equal(peer->sents, 1);
    assert_true(peer->sent > 0);
    WORLD_UNTIL(world, peer->closes == 1);
    assert_int_equal(peer->writables, 0);
    free(bytes);
    world_free(world);
}

static void close_others(struct world *world, const struct peer *but)
{
    for (uint32_t i = 1; i < world->peer_count; i++) {
        struct peer *peer = &world->peers[i];
        if (peer != but && io_stream_is_open(&peer->stream)) {
            peer_close(world, peer);
        }
    }
}

static void close_others_received(struct world *world, struct peer *peer, const char *bytes,
                                  ssize_t len)
{
    (void)bytes;
    (void)len;
    if (peer != &world->peers[0]) {
        close_others(world, peer);
    }
}

static void close_others_hung_up(struct world *world, struct peer *peer)
{
    close_others(world, peer);
}

/* Rule 5, checked in every callback: events were at hand for all when the first closed the others.
 */
static void test_no_callback_after_close(void **state)
{
    enum { COUNT = 200 };
    struct world *world = world_new(state);
    world->hooks.received = close_others_received;
    world->hooks.hung_up = close_others_hung_up;
    for (unsigned round = 0; round < 6; round++) {
        unsigned accepted = world->accepts;
        for (uint32_t i = 0; i < COUNT; i++) {
            world_connect_peer(world, &world->peers[i], 0);
        }
        world->peer_count = COUNT;
        WORLD_UNTIL(world, world->accepts == accepted + COUNT);
        for (uint32_t i = 1; i < COUNT; i++) {
            struct peer *peer = &world->peers[i];
            if (round % 3 == 0) {
                peer_write(peer, "x", 1);
            } else if (round % 3 == 1) {
                peer_reset(peer);
            } else {
                io_read_stop(world->io, &peer->stream);
                assert_int_equal(shutdown(peer->client, SHUT_WR), 0);
            }
        }
        unsigned closes = world->closes;
        WORLD_UNTIL(world, world->closes == closes + COUNT - 2);
        world_settle(world, &world->peers[0]);
        for (uint32_t i = 0; i < COUNT; i++) {
            struct peer *peer = &world->peers[i];
            if (io_stream_is_open(&peer->stream)) {
                peer_close(world, peer);
            }
            peer_reset(peer);
        }
        WORLD_UNTIL(world, world->closes == world->accepts);
        for (uint32_t i = 0; i < COUNT; i++) {
            assert_int_equal(world->peers[i].closes, 1);
        }
    }
    world_free(world);
}

static void close_self_received(struct world *world, struct peer *peer, const char *bytes,
                                ssize_t len)
{
    (void)bytes;
    (void)len;
    peer_close(world, peer);
}

static void close_self(struct world *world, struct peer *peer)
{
    peer_close(world, peer);
}

static void close_self_sent(struct world *world, struct peer *peer, ssize_t result)
{
    (void)result;
    peer_close(world, peer);
}

static void reopen_closed(struct world *world, struct peer *peer)
{
    unsigned closes = peer->closes;
    peer_reset(peer);
    world_connect_peer(world, peer, 0);
    peer->closes = closes;
    /* From now on the next end of the same memory counts. */
    peer->closes = 0;
}

static void test_close_from_each_callback(void **state)
{
    enum { SIZE = 8 * 1000 * 1000 };
    const struct variant *variant = *state;
    struct world *world = world_new_with(variant, &variant->options, 8 * 1024);
    char *bytes = calloc(1, SIZE);
    assert_non_null(bytes);
    world->hooks.accepted = close_self;
    world_connect_start(world, 1, 0);
    WORLD_UNTIL(world, world->peers[0].closes == 1);
    world->hooks.accepted = NULL;
    world_connect(world, 4);
    world->hooks.received = close_self_received;
    world->hooks.hung_up = close_self;
    world->hooks.sent = close_self_sent;
    world->hooks.writable = close_self;
    peer_write(&world->peers[1], "x", 1);
    io_read_stop(world->io, &world->peers[2].stream);
    peer_reset(&world->peers[2]);
    peer_send(world, &world->peers[3], bytes, SIZE);
    io_watch_writable(world->io, &world->peers[4].stream);
    WORLD_UNTIL(world, world->closes == 5);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(world->peers[i].closes, 1);
    }
    free(bytes);
    world_free(world);
}

/* Thousands of connections through the same memory, closed by either side, reopened from `closed`.
 */
static void test_churn(void **state)
{
    enum { COUNT = 500, TOTAL = 4000 };
    struct world *world = world_new(state);
    struct random random;
    random_init(&random, 42);
    world->hooks.received = close_self_received;
    world->hooks.hung_up = close_self;
    world_connect(world, COUNT);
    world->hooks.closed = reopen_closed;
    uint64_t deadline = world_clock_ms() + WORLD_DEADLINE_MS;
    while (world->closes < TOTAL) {
        assert_true(world_clock_ms() < deadline);
        for (unsigned i = 0; i < 50; i++) {
            struct peer *peer = &world->peers[random_below(&random, COUNT)];
            if (peer->client < 0 || !io_stream_is_open(&peer->stream)) {
                continue;
            }
            switch (random_below(&random, 5)) {
            case 0:
                (void)send(peer->client, "x", 1, MSG_NOSIGNAL);
                break;
            case 1:
                peer_reset(peer);
                break;
            case 2:
                io_read_stop(world->io, &peer->stream);
                (void)shutdown(peer->client, SHUT_WR);
                break;
            case 3:
                peer_send(world, peer, "bye", 3);
                peer_close(world, peer);
                break;
            default:
                (void)shutdown(peer->client, SHUT_WR);
                break;
            }
            /* One send per stream between two turns. */
            if (i % 8 == 7) {
                world_turn(world, 0);
            }
        }
        world_turn(world, 1);
    }
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_short_sends),
        cmocka_unit_test(test_send_to_a_full_socket),
        cmocka_unit_test(test_close_of_a_full_socket),
        cmocka_unit_test(test_many_sends_in_one_turn),
        cmocka_unit_test(test_many_short_sends_in_one_turn),
        cmocka_unit_test(test_send_from_sent),
        cmocka_unit_test(test_close_comes_behind_the_sends),
        cmocka_unit_test(test_short_send_then_close),
        cmocka_unit_test(test_no_callback_after_close),
        cmocka_unit_test(test_close_from_each_callback),
        cmocka_unit_test(test_churn),
    };
    return world_run("io_send", tests, countof(tests));
}
