#include "tests/sim/io_simulated.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "tests/sim/fiber.h"

enum {
    SIM_RECEIVE_MAX = 64 * 1024,
    /* Between two turns: one of each per connection at the most. */
    SIM_OPERATIONS_MAX = 3 * SIM_CONNECTIONS_MAX,
};

enum sim_operation_kind { SIM_SEND, SIM_SHUTDOWN, SIM_CLOSE };

/* What the owner asked for; it is done when the turn begins, as by a ring. */
struct sim_operation {
    enum sim_operation_kind kind;
    struct sim_connection *connection;
    const char *bytes;
    size_t len;
    uint32_t token;
    struct sim_stamp stamp;
};

struct sim_io {
    struct io io;
    unsigned loop;
    struct io_accepting accepting;
    bool paused;
    unsigned operation_count;
    struct sim_operation operations[SIM_OPERATIONS_MAX];
    char buffer[SIM_RECEIVE_MAX];
};

struct sim_net sim_net;

bool sim_chance(unsigned percent)
{
    return random_below(&sim_net.random, 100) < percent;
}

uint64_t sim_below(uint64_t bound)
{
    return random_below(&sim_net.random, bound);
}

void sim_net_reset(uint64_t seed)
{
    memset(&sim_net, 0, sizeof(sim_net));
    random_init(&sim_net.random, seed);
    sim_net.now_ms = 1000000;
    sim_net.faults = true;
}

/* ---- Pipes ---- */

static size_t sim_amount(size_t most)
{
    if (most > 0 && sim_net.faults && sim_chance(50)) {
        /* Mostly a few bytes more or less than all or nothing, sometimes anything. */
        switch (sim_below(4)) {
        case 0:
            return 1 + (size_t)sim_below(min_u64(most, 8));
        case 1:
            return most - (size_t)sim_below(min_u64(most, 8));
        default:
            return 1 + (size_t)sim_below(most);
        }
    }
    return most;
}

void sim_pipe_put(struct sim_pipe *pipe, const char *bytes, size_t len, struct sim_stamp stamp)
{
    if (len == 0) {
        return;
    }
    struct sim_piece *piece = malloc(sizeof(*piece) + len);
    CHECK(piece != NULL);
    *piece = (struct sim_piece){.stamp = stamp, .len = len};
    memcpy(piece->bytes, bytes, len);
    if (pipe->last != NULL) {
        pipe->last->next = piece;
    } else {
        pipe->first = piece;
    }
    pipe->last = piece;
    pipe->len += len;
}

size_t sim_pipe_take(struct sim_pipe *pipe, char *bytes, size_t size, struct sim_stamp *ret_stamp)
{
    struct sim_piece *piece = pipe->first;
    if (piece == NULL || size == 0) {
        return 0;
    }
    size_t len = min_size(size, piece->len - piece->taken);
    memcpy(bytes, piece->bytes + piece->taken, len);
    if (ret_stamp != NULL) {
        *ret_stamp = piece->stamp;
    }
    piece->taken += len;
    pipe->len -= len;
    if (piece->taken == piece->len) {
        pipe->first = piece->next;
        pipe->last = pipe->first == NULL ? NULL : pipe->last;
        free(piece);
    }
    return len;
}

void sim_pipe_clear(struct sim_pipe *pipe)
{
    while (pipe->first != NULL) {
        struct sim_piece *piece = pipe->first;
        pipe->first = piece->next;
        free(piece);
    }
    pipe->last = NULL;
    pipe->len = 0;
}

void sim_net_clear(void)
{
    for (unsigned i = 0; i < SIM_CONNECTIONS_MAX; i++) {
        sim_pipe_clear(&sim_net.connections[i].to_hub);
        sim_pipe_clear(&sim_net.connections[i].to_client);
    }
}

/* ---- The client's side ---- */

struct sim_connection *sim_connect(unsigned loop, size_t capacity)
{
    for (unsigned i = 0; i < SIM_CONNECTIONS_MAX; i++) {
        struct sim_connection *connection = &sim_net.connections[i];
        if (!connection->used) {
            *connection = (struct sim_connection){.used = true, .waiting = true, .loop = loop};
            connection->to_hub.capacity = capacity;
            connection->to_client.capacity = capacity;
            sim_net.connection_top =
                i + 1 > sim_net.connection_top ? i + 1 : sim_net.connection_top;
            return connection;
        }
    }
    return NULL;
}

static void sim_release(struct sim_connection *connection)
{
    if (connection->client_gone && connection->hub_closed && connection->stream == NULL) {
        sim_pipe_clear(&connection->to_hub);
        sim_pipe_clear(&connection->to_client);
        connection->used = false;
    }
}

size_t sim_write(struct sim_connection *connection, const char *bytes, size_t len)
{
    struct sim_pipe *pipe = &connection->to_hub;
    if (connection->reset || connection->hub_closed) {
        return len;
    }
    size_t amount = sim_amount(min_size(len, pipe->capacity - pipe->len));
    sim_pipe_put(pipe, bytes, amount, (struct sim_stamp){0});
    connection->events |= amount > 0 ? POLLIN : 0;
    return amount;
}

size_t sim_read(struct sim_connection *connection, char *bytes, size_t size,
                struct sim_stamp *ret_stamp)
{
    if (connection->reset) {
        return 0;
    }
    size_t wanted = sim_amount(min_size(size, connection->to_client.len));
    size_t len = sim_pipe_take(&connection->to_client, bytes, wanted, ret_stamp);
    if (len > 0 && connection->wants_room) {
        connection->wants_room = false;
        connection->events |= POLLOUT;
    }
    return len;
}

bool sim_is_at_end(const struct sim_connection *connection)
{
    return connection->reset || (connection->hub_done && connection->to_client.len == 0);
}

void sim_finish(struct sim_connection *connection)
{
    connection->client_done = true;
    connection->events |= POLLIN | POLLRDHUP;
}

static void sim_break(struct sim_connection *connection)
{
    connection->reset = true;
    connection->events |= POLLIN | POLLOUT | POLLRDHUP | POLLHUP | POLLERR;
}

void sim_abandon(struct sim_connection *connection, bool hard)
{
    connection->client_gone = true;
    connection->client_done = true;
    if (hard || connection->to_client.len > 0) {
        sim_break(connection);
    } else {
        connection->events |= POLLIN | POLLRDHUP;
    }
    sim_release(connection);
}

/* ---- Sleeping ---- */

bool sim_loop_is_woken(unsigned loop)
{
    struct pollfd poller = {.fd = sim_net.loops[loop].io->wake_fd, .events = POLLIN};
    return poll(&poller, 1, 0) == 1;
}

static bool loop_has_news(const struct sim_io *sim)
{
    for (unsigned i = 0; i < sim_net.connection_top; i++) {
        const struct sim_connection *connection = &sim_net.connections[i];
        if (!connection->used || connection->loop != sim->loop) {
            continue;
        }
        bool can_accept = sim->accepting.listener != NULL && !sim->paused;
        if (connection->waiting ? can_accept
                                : connection->stream != NULL && connection->events != 0) {
            return true;
        }
    }
    return false;
}

bool sim_loop_is_ready(unsigned loop)
{
    const struct sim_loop *state = &sim_net.loops[loop];
    return !state->asleep || state->wake_at_ms <= sim_net.now_ms || sim_loop_is_woken(loop) ||
           loop_has_news(container_of(state->io, struct sim_io, io));
}

/* ---- The backend: streams ---- */

static struct sim_io *sim_of(struct io *io)
{
    return container_of(io, struct sim_io, io);
}

static struct sim_connection *connection_of(const struct io_stream *stream)
{
    return &sim_net.connections[stream->descriptor];
}

static void sim_queue(struct io *io, struct io_stream *stream)
{
    if (!io_stream_has(stream, IO_STREAM_QUEUED)) {
        io_queue_push(io, stream);
    }
}

static int sim_open(struct io *io, struct io_stream *stream, int32_t descriptor)
{
    struct sim_connection *connection = &sim_net.connections[descriptor];
    if (sim_net.accept_faults && sim_chance(2)) {
        connection->hub_done = connection->hub_closed = true;
        sim_release(connection);
        return -ENOMEM;
    }
    connection->stream = stream;
    connection->events |= POLLOUT;
    io_stream_begin(io, stream, descriptor);
    return 0;
}

static void sim_reject(struct io *io, int32_t descriptor)
{
    (void)io;
    struct sim_connection *connection = &sim_net.connections[descriptor];
    connection->hub_done = connection->hub_closed = true;
    sim_release(connection);
}

static void sim_operate(struct io *io, struct sim_operation operation)
{
    struct sim_io *sim = sim_of(io);
    CHECK(sim->operation_count < SIM_OPERATIONS_MAX);
    operation.stamp = (struct sim_stamp){sim_net.step, sim_net.step, sim_net.now_ms};
    if (operation.connection->was_cut) {
        operation.stamp.since = operation.connection->cut_since;
    }
    sim->operations[sim->operation_count++] = operation;
}

static void sim_send(struct io *io, struct io_stream *stream, const char *bytes, size_t len,
                     uint32_t token)
{
    struct sim_connection *connection = connection_of(stream);
    const struct sim_io *sim = sim_of(io);
    for (unsigned i = 0; i < sim->operation_count; i++) {
        CHECK(sim->operations[i].connection != connection && "one send per stream and turn");
    }
    sim_operate(io, (struct sim_operation){SIM_SEND, connection, bytes, len, token, {0}});
}

static void sim_shutdown(struct io *io, struct io_stream *stream)
{
    sim_operate(io,
                (struct sim_operation){.kind = SIM_SHUTDOWN, .connection = connection_of(stream)});
}

static void sim_close(struct io *io, struct io_stream *stream)
{
    sim_operate(io, (struct sim_operation){.kind = SIM_CLOSE, .connection = connection_of(stream)});
    sim_queue(io, stream);
}

static void sim_watch_writable(struct io *io, struct io_stream *stream)
{
    if (io_stream_has(stream, IO_STREAM_WRITABLE)) {
        sim_queue(io, stream);
    }
}

static void send_fell_short(struct io *io, const struct sim_operation *send, int32_t result)
{
    struct sim_connection *connection = send->connection;
    io_stream_clear(connection->stream, IO_STREAM_WRITABLE);
    io_result_add(io, send->token, send->len, result);
    connection->was_cut = true;
    connection->cut_since = send->stamp.since;
    connection->wants_room = true;
    if (result < 0 || connection->to_client.len == 0) {
        connection->wants_room = false;
        connection->events |= POLLOUT;
    }
}

static void sim_send_now(struct io *io, const struct sim_operation *send)
{
    struct sim_connection *connection = send->connection;
    struct sim_pipe *pipe = &connection->to_client;
    if (connection->reset || connection->client_gone) {
        sim_break(connection);
        send_fell_short(io, send, sim_chance(50) ? -EPIPE : -ECONNRESET);
        return;
    }
    CHECK(!connection->hub_done && "nothing is sent after the end");
    size_t taken = sim_amount(min_size(send->len, pipe->capacity - pipe->len));
    if (taken > 0 && sim_net.faults && sim_chance(2)) {
        taken = 0;
    }
    sim_pipe_put(pipe, send->bytes, taken, send->stamp);
    connection->last_said_ms = send->stamp.ms;
    connection->was_cut = taken < send->len;
    if (taken < send->len) {
        int32_t nothing = sim_chance(50) ? -EAGAIN : 0;
        send_fell_short(io, send, taken == 0 ? nothing : (int32_t)taken);
    }
}

static void sim_close_now(struct sim_connection *connection)
{
    connection->hub_done = connection->hub_closed = true;
    if (connection->to_hub.len > 0 && !connection->reset) {
        /* Unread input makes it a reset, which may overtake what was said before. */
        connection->reset = true;
    }
}

static void sim_do_operations(struct sim_io *sim)
{
    for (unsigned i = 0; i < sim->operation_count; i++) {
        struct sim_operation *operation = &sim->operations[i];
        switch (operation->kind) {
        case SIM_SEND:
            sim_send_now(&sim->io, operation);
            break;
        case SIM_SHUTDOWN:
            operation->connection->hub_done = true;
            break;
        case SIM_CLOSE:
            sim_close_now(operation->connection);
            break;
        }
    }
    sim->operation_count = 0;
}

/* One receive; see epoll_receive. */
static void sim_receive(struct io *io, struct io_stream *stream)
{
    struct sim_connection *connection = connection_of(stream);
    struct sim_io *sim = sim_of(io);
    io_stream_clear(stream, IO_STREAM_READABLE);
    if (connection->reset) {
        io_deliver(io, stream, NULL, -ECONNRESET);
        return;
    }
    size_t wanted = sim_amount(min_size(sizeof(sim->buffer), connection->to_hub.len));
    size_t len = 0;
    while (len < wanted) {
        len += sim_pipe_take(&connection->to_hub, sim->buffer + len, wanted - len, NULL);
    }
    if (connection->to_hub.len > 0 || (len > 0 && io_stream_has(stream, IO_STREAM_GONE))) {
        io_stream_set(stream, IO_STREAM_READABLE);
    }
    if (len > 0 || connection->client_done) {
        io_deliver(io, stream, sim->buffer, (ssize_t)len);
    }
}

static void sim_settle(struct io *io, struct io_stream *stream)
{
    enum io_next next = io_stream_next(stream);
    if (next == IO_NEXT_RECEIVE) {
        sim_receive(io, stream);
        next = io_stream_next(stream);
    }
    if (next == IO_NEXT_RECEIVE) {
        sim_queue(io, stream);
    } else {
        io_tell(io, stream, next);
    }
    if (!io_stream_has(stream, IO_STREAM_CLOSING) && io_stream_has(stream, IO_STREAM_WATCHING) &&
        io_stream_has(stream, IO_STREAM_WRITABLE)) {
        io_stream_clear(stream, IO_STREAM_WATCHING);
        io->handler.writable(io->owner, stream);
    }
}

/* ---- The backend: accepting ---- */

static int sim_listen(struct io *io, struct io_listener *listener)
{
    sim_of(io)->accepting.listener = listener;
    return 0;
}

static void sim_listen_stop(struct io *io, struct io_listener *listener)
{
    struct sim_io *sim = sim_of(io);
    CHECK(sim->accepting.listener == listener);
    io_accept_unpause(&sim->accepting);
    sim->accepting.listener = NULL;
}

static void sim_accept_resume(struct io *io, struct io_accepting *accepting)
{
    (void)accepting;
    sim_of(io)->paused = false;
}

static void sim_accept(struct sim_io *sim, struct sim_connection *connection)
{
    struct io *io = &sim->io;
    struct sockaddr_storage address = {.ss_family = AF_UNIX};
    if (sim->accepting.listener == NULL || sim->paused) {
        return;
    }
    bool full = io->stream_count == io->stream_count_max;
    if (full || (sim_net.accept_faults && sim_chance(3))) {
        sim->paused = true;
        io_accept_pause(io, &sim->accepting, full ? -EMFILE : -ENFILE);
        return;
    }
    connection->waiting = false;
    io_offer(io, &sim->accepting, (int32_t)(connection - sim_net.connections), &address);
}

/* ---- The backend: turns ---- */

static void sim_event(struct sim_io *sim, struct sim_connection *connection)
{
    if (connection->waiting) {
        sim_accept(sim, connection);
        return;
    }
    struct io_stream *stream = connection->stream;
    if (stream == NULL || connection->events == 0 || io_stream_has(stream, IO_STREAM_CLOSING)) {
        return;
    }
    unsigned events = connection->events;
    connection->events = 0;
    io_stream_note(stream, events);
    if ((events & (POLLOUT | POLLHUP | POLLERR)) != 0) {
        io_stream_set(stream, IO_STREAM_WRITABLE);
    }
    sim_settle(&sim->io, stream);
}

static void sim_events(struct sim_io *sim)
{
    unsigned count = sim_net.connection_top;
    unsigned first = (unsigned)sim_below(count);
    for (unsigned i = 0; i < count; i++) {
        struct sim_connection *connection = &sim_net.connections[(first + i) % count];
        if (connection->used && connection->loop == sim->loop &&
            (connection->waiting || connection->events != 0) &&
            !(sim_net.faults && sim_chance(20))) {
            sim_event(sim, connection);
        }
    }
}

static void sim_queued(struct sim_io *sim, uint32_t count)
{
    struct io *io = &sim->io;
    for (uint32_t i = 0; i < count; i++) {
        struct io_stream *stream = io_queue_take(io);
        if (!io_stream_has(stream, IO_STREAM_CLOSING)) {
            sim_settle(io, stream);
            continue;
        }
        struct sim_connection *connection = connection_of(stream);
        connection->stream = NULL;
        io_stream_finish(io, stream);
        sim_release(connection);
    }
}

/* Completions come in any order. */
static void sim_shuffle_results(struct io *io)
{
    for (uint32_t i = io->result_count; i > 1; i--) {
        uint32_t j = (uint32_t)sim_below(i);
        struct io_result result = io->results[i - 1];
        io->results[i - 1] = io->results[j];
        io->results[j] = result;
    }
}

static void sim_sleep(struct sim_io *sim, int timeout_ms)
{
    struct sim_loop *loop = &sim_net.loops[sim->loop];
    loop->asleep = timeout_ms != 0;
    loop->wake_at_ms = timeout_ms < 0 ? UINT64_MAX : sim_net.now_ms + (uint64_t)timeout_ms;
    fiber_yield();
    loop->asleep = false;
}

static void sim_wait(struct sim_io *sim, int timeout_ms)
{
    uint64_t counter;
    sim_sleep(sim, timeout_ms);
    /* Each write to it is one event, as edge-triggered. */
    ssize_t got = read(sim->io.wake_fd, &counter, sizeof(counter));
    (void)got;
}

static int sim_turn(struct io *io, int timeout_ms)
{
    struct sim_io *sim = sim_of(io);
    if (sim_net.faults && sim_chance(30)) {
        sim_sleep(sim, 0); /* the bytes stay on loan while others run */
    }
    uint32_t waiting = io->queue.count;
    bool busy = io->sends_pending || waiting > 0;
    sim_do_operations(sim);
    sim_wait(sim, busy ? 0 : io_wait_ms(io, timeout_ms));
    io->now_ms = sim_net.now_ms;
    io->now_ns = sim_net.now_ms * 1000000;
    sim_shuffle_results(io);
    io_deliver_sends(io);
    sim_events(sim);
    sim_queued(sim, waiting);
    io_accept_retry(io);
    return 0;
}

static void sim_free(struct io *io)
{
    io_fini(io);
    free(sim_of(io));
}

/* It passes for epoll: the hub has no need to know. */
static const struct io_backend sim_backend = {
    .kind = IO_KIND_EPOLL,
    .free = sim_free,
    .turn = sim_turn,
    .listen = sim_listen,
    .listen_stop = sim_listen_stop,
    .accept_resume = sim_accept_resume,
    .open = sim_open,
    .reject = sim_reject,
    .read_resume = sim_queue,
    .send = sim_send,
    .watch_writable = sim_watch_writable,
    .shutdown = sim_shutdown,
    .close = sim_close,
};

int sim_io_new(enum io_kind kind, const struct io_options *options,
               const struct io_handler *handler, void *owner, struct io **ret_io,
               const char **ret_reason)
{
    (void)kind;
    struct sim_io *sim = calloc(1, sizeof(*sim));
    CHECK(sim != NULL);
    CHECK(io_init(&sim->io, &sim_backend, options) == 0);
    io_set_handler(&sim->io, handler, owner);
    sim->io.now_ms = sim_net.now_ms;
    sim->io.now_ns = sim_net.now_ms * 1000000;
    sim->loop = sim_net.loop_count++;
    CHECK(sim->loop < SIM_LOOPS_MAX);
    sim_net.loops[sim->loop].io = &sim->io;
    *ret_io = &sim->io;
    *ret_reason = NULL;
    return 0;
}
