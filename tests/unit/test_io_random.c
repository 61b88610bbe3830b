/*
 * Random work on many streams at once, on every backend, over real sockets. Each direction of a
 * stream carries an endless pattern, so that a byte lost, doubled or out of place is found where it
 * happens; and at the end every stream that was not cut must have carried all that it was given.
 */
#include "tests/unit/io_world.h"

#include "tests/unit/seeded.h"

enum { LINK_COUNT = 60, LOAN_SIZE = 64 * 1024, STEP_COUNT = 20 * 1000 };

/* What the test knows of the peer of the same number. */
struct link {
    char loan[LOAN_SIZE];
    size_t loan_len;
    bool fell_short;
    bool waiting; /* for `writable` */
    bool reading;
    bool cut; /* by whichever side, with bytes on the way: what follows is a prefix at best */
    bool server_shut; /* io_shutdown was called */
    bool client_shut;
    uint64_t server_sent; /* bytes that the kernel took */
    uint64_t client_sent;
    uint64_t client_received;
};

struct play {
    struct random random;
    struct link links[LINK_COUNT];
    unsigned reopened;
};

static struct link *link_of(struct world *world, const struct peer *peer)
{
    struct play *play = world->extra;
    return &play->links[peer->number];
}

static uint64_t seed_up(const struct peer *peer)
{
    return peer->number * 2 + 1;
}

static uint64_t seed_down(const struct peer *peer)
{
    return peer->number * 2 + 2;
}

static void on_sent(struct world *world, struct peer *peer, ssize_t result)
{
    struct link *link = link_of(world, peer);
    assert_false(link->fell_short);
    link->fell_short = true;
    if (result < 0) {
        link->cut = true;
        return;
    }
    assert_true((size_t)result < link->loan_len);
    link->server_sent += (uint64_t)result;
    if (io_stream_is_open(&peer->stream)) {
        link->waiting = true;
        io_watch_writable(world->io, &peer->stream);
    }
}

static void on_sends_final(struct world *world)
{
    struct play *play = world->extra;
    for (size_t i = 0; i < LINK_COUNT; i++) {
        struct link *link = &play->links[i];
        link->server_sent += link->fell_short ? 0 : link->loan_len;
        memset(link->loan, 'X', link->loan_len);
        link->loan_len = 0;
        link->fell_short = false;
    }
}

static void on_received(struct world *world, struct peer *peer, const char *bytes, ssize_t len)
{
    struct play *play = world->extra;
    struct link *link = link_of(world, peer);
    (void)bytes;
    assert_true(link->reading);
    if (len < 0) {
        link->cut = true;
    }
    if (len > 0 && one_in(&play->random, 10)) {
        link->reading = false;
        io_read_stop(world->io, &peer->stream);
    }
    if (len < 0 || one_in(&play->random, 100)) {
        link->cut = true;
        peer_close(world, peer);
    }
}

static void on_hung_up(struct world *world, struct peer *peer)
{
    assert_false(link_of(world, peer)->reading);
}

static void on_writable(struct world *world, struct peer *peer)
{
    struct link *link = link_of(world, peer);
    assert_true(link->waiting);
    link->waiting = false;
}

static void open_link(struct world *world, struct peer *peer)
{
    struct link *link = link_of(world, peer);
    peer_reset(peer);
    memset(link, 0, sizeof(*link));
    world_connect_peer(world, peer, 8 * 1024);
    peer->pattern_seed = seed_up(peer);
    link->reading = true;
}

static void on_closed(struct world *world, struct peer *peer)
{
    struct play *play = world->extra;
    play->reopened++;
    open_link(world, peer);
}

static void server_send(struct world *world, struct peer *peer, size_t len)
{
    struct link *link = link_of(world, peer);
    if (link->loan_len > 0 || link->waiting || link->server_shut) {
        return;
    }
    pattern_fill(link->loan, len, seed_down(peer), link->server_sent);
    link->loan_len = len;
    peer_send(world, peer, link->loan, len);
}

static void client_send(struct world *world, struct peer *peer, size_t len)
{
    struct link *link = link_of(world, peer);
    char bytes[LOAN_SIZE];
    if (link->client_shut) {
        return;
    }
    pattern_fill(bytes, len, seed_up(peer), link->client_sent);
    ssize_t n = send(peer->client, bytes, len, MSG_NOSIGNAL);
    if (n > 0) {
        link->client_sent += (uint64_t)n;
    } else if (errno != EAGAIN) {
        link->cut = true;
    }
}

/* True if something came. */
static bool client_receive(struct world *world, struct peer *peer, size_t len)
{
    struct link *link = link_of(world, peer);
    char bytes[LOAN_SIZE];
    ssize_t n = peer_read(peer, bytes, len);
    if (n > 0) {
        assert_true(pattern_matches(bytes, (size_t)n, seed_down(peer), link->client_received));
        link->client_received += (uint64_t)n;
    } else if (n != 0 && n != -EAGAIN) {
        link->cut = true;
    }
    return n > 0;
}

static void client_end(struct world *world, struct peer *peer, bool reset)
{
    struct link *link = link_of(world, peer);
    if (reset) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(peer->client, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        struct sockaddr none = {.sa_family = AF_UNSPEC};
        (void)connect(peer->client, &none, sizeof(none)); /* resets and keeps the descriptor */
        link->cut = true;
    } else if (!link->client_shut) {
        (void)shutdown(peer->client, SHUT_WR);
    }
    link->client_shut = true;
}

static void toggle_reading(struct world *world, struct peer *peer)
{
    struct link *link = link_of(world, peer);
    link->reading = !link->reading;
    if (link->reading) {
        io_read_start(world->io, &peer->stream);
    } else {
        io_read_stop(world->io, &peer->stream);
    }
}

static void step(struct world *world, struct play *play)
{
    struct random *random = &play->random;
    struct peer *peer = &world->peers[random_below(random, LINK_COUNT)];
    struct link *link = link_of(world, peer);
    size_t len = 1 + random_below(random, one_in(random, 8) ? LOAN_SIZE : 300);
    bool open = io_stream_is_open(&peer->stream);
    uint64_t kind = random_below(random, 100);
    if (kind < 25) {
        client_receive(world, peer, len);
    } else if (kind < 45) {
        client_send(world, peer, len);
    } else if (kind < 70 && open) {
        server_send(world, peer, len);
    } else if (kind < 85 && open) {
        toggle_reading(world, peer);
    } else if (kind == 85) {
        client_end(world, peer, one_in(random, 2));
    } else if (kind == 86 && open && !link->server_shut) {
        link->server_shut = true;
        io_shutdown(world->io, &peer->stream);
    } else if (kind == 87 && open) {
        link->cut = true;
        peer_close(world, peer);
    } else if (kind > 90) {
        world_turn(world, 0);
    }
}

/* Everything that is on the way arrives. */
static bool link_is_quiet(struct world *world, struct peer *peer)
{
    struct link *link = link_of(world, peer);
    while (client_receive(world, peer, LOAN_SIZE)) {
    }
    if (link->cut) {
        return true;
    }
    return io_stream_is_open(&peer->stream) && link->loan_len == 0 &&
           peer->received == link->client_sent && link->client_received == link->server_sent &&
           peer->ends == link->client_shut;
}

static void test_random(void **state)
{
    const struct variant *variant = *state;
    struct world *world = world_new_with(variant, &variant->options, 8 * 1024);
    struct play *play = calloc(1, sizeof(*play));
    assert_non_null(play);
    random_init(&play->random, seed_of_run());
    world->extra = play;
    world->hooks = (struct hooks){
        .received = on_received,
        .hung_up = on_hung_up,
        .sent = on_sent,
        .sends_final = on_sends_final,
        .writable = on_writable,
        .closed = on_closed,
    };
    world->peer_count = LINK_COUNT;
    for (uint32_t i = 0; i < LINK_COUNT; i++) {
        world->peers[i].number = i;
        world->peers[i].client = -1;
        open_link(world, &world->peers[i]);
    }
    for (unsigned i = 0; i < STEP_COUNT; i++) {
        step(world, play);
    }
    world->hooks.closed = NULL;
    WORLD_UNTIL(world, world->accepts == play->reopened + LINK_COUNT);
    for (uint32_t i = 0; i < LINK_COUNT; i++) {
        struct peer *peer = &world->peers[i];
        if (io_stream_is_open(&peer->stream) && !play->links[i].reading) {
            toggle_reading(world, peer);
        }
    }
    unsigned whole = 0;
    for (uint32_t i = 0; i < LINK_COUNT; i++) {
        struct peer *peer = &world->peers[i];
        struct link *link = &play->links[i];
        uint64_t deadline = world_clock_ms() + WORLD_DEADLINE_MS;
        while (!link_is_quiet(world, peer)) {
            assert_true(world_clock_ms() < deadline);
            if (io_stream_is_open(&peer->stream) && !link->reading) {
                toggle_reading(world, peer);
            }
            world_turn(world, 5);
        }
        whole += !link->cut;
    }
    assert_true(play->reopened > 0);
    assert_true(whole > 0);
    world->extra = play;
    world_free(world);
    free(play);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
    };
    return world_run("io_random", tests, countof(tests));
}
