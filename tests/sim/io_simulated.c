#include "tests/sim/io_simulated.h"

#include <errno.h>
#include <poll.h>

#include "core/base/memory.h"

struct sim_io {
    struct io io;
    struct io_accepting accepting;
};

struct sim_net sim_net;

bool sim_chance(unsigned percent)
{
    return random_below(&sim_net.random, 100) < percent;
}

/* ---- Pipes ---- */

static size_t sim_amount(size_t most)
{
    if (most > 0 && sim_net.faults && sim_chance(60)) {
        return (size_t)random_below(&sim_net.random, most + 1);
    }
    return most;
}

static size_t pipe_put(struct sim_pipe *pipe, const char *bytes, size_t len)
{
    size_t amount = sim_amount((size_t)min_u64(len, SIM_PIPE_SIZE - pipe->len));
    memcpy(pipe->bytes + pipe->len, bytes, amount);
    pipe->len += amount;
    return amount;
}

static size_t pipe_take(struct sim_pipe *pipe, char *bytes, size_t size)
{
    size_t amount = sim_amount((size_t)min_u64(size, pipe->len));
    memcpy(bytes, pipe->bytes, amount);
    memmove(pipe->bytes, pipe->bytes + amount, pipe->len - amount);
    pipe->len -= amount;
    return amount;
}

/* ---- The client's side ---- */

struct sim_connection *sim_connect(struct io *io)
{
    for (unsigned i = 0; i < SIM_CONNECTIONS_MAX; i++) {
        struct sim_connection *connection = &sim_net.connections[i];
        if (!connection->used) {
            *connection = (struct sim_connection){.used = true, .waiting = true, .io = io};
            return connection;
        }
    }
    return NULL;
}

static void sim_release(struct sim_connection *connection)
{
    if (connection->client_gone && connection->hub_done) {
        connection->used = false;
    }
}

size_t sim_write(struct sim_connection *connection, const char *bytes, size_t len)
{
    return connection->hub_gone ? len : pipe_put(&connection->to_hub, bytes, len);
}

size_t sim_read(struct sim_connection *connection, char *bytes, size_t size)
{
    return pipe_take(&connection->to_client, bytes, size);
}

void sim_abandon(struct sim_connection *connection)
{
    connection->client_gone = true;
    connection->reset = true;
    sim_release(connection);
}

/* ---- The backend ---- */

static int sim_listen(struct io *io, struct io_listener *listener)
{
    struct sim_io *sim = container_of(io, struct sim_io, io);
    sim->accepting.listener = listener;
    return 0;
}

static void sim_listen_stop(struct io *io, struct io_listener *listener)
{
    struct sim_io *sim = container_of(io, struct sim_io, io);
    CHECK(sim->accepting.listener == listener);
    sim->accepting.listener = NULL;
}

static void sim_accept_resume(struct io *io, struct io_accepting *accepting)
{
    (void)io;
    (void)accepting;
}

static struct sim_connection *sim_of(const struct io_stream *stream)
{
    return &sim_net.connections[stream->descriptor];
}

static int sim_open(struct io *io, struct io_stream *stream, int32_t descriptor)
{
    sim_net.connections[descriptor].stream = stream;
    io_stream_begin(io, stream, descriptor);
    return 0;
}

static void sim_reject(struct io *io, int32_t descriptor)
{
    (void)io;
    struct sim_connection *connection = &sim_net.connections[descriptor];
    connection->hub_gone = true;
    connection->hub_done = true;
    sim_release(connection);
}

static void sim_read_resume(struct io *io, struct io_stream *stream)
{
    (void)io; /* every turn looks at every stream */
    (void)stream;
}

static void sim_send(struct io *io, struct io_stream *stream, const char *bytes, size_t len,
                     uint32_t token)
{
    struct sim_connection *connection = sim_of(stream);
    if (connection->reset) {
        io_result_add(io, token, len, -EPIPE);
        return;
    }
    size_t taken = pipe_put(&connection->to_client, bytes, len);
    if (taken < len) {
        io_result_add(io, token, len, (int32_t)taken);
    }
}

static void sim_shutdown(struct io *io, struct io_stream *stream)
{
    (void)io;
    sim_of(stream)->hub_gone = true;
}

static void sim_close(struct io *io, struct io_stream *stream)
{
    sim_of(stream)->hub_gone = true;
    sim_of(stream)->closed_in_turn = io->stats.turns;
}

static void sim_serve(struct io *io, struct sim_connection *connection)
{
    struct io_stream *stream = connection->stream;
    char bytes[SIM_PIPE_SIZE];
    if (connection->reset) {
        io_stream_note(stream, POLLERR | POLLHUP);
    } else if (connection->to_hub.len > 0) {
        io_stream_note(stream, POLLIN);
    }
    enum io_next next = io_stream_next(stream);
    if (next == IO_NEXT_RECEIVE) {
        size_t len = pipe_take(&connection->to_hub, bytes, sizeof(bytes));
        io_stream_clear(stream, IO_STREAM_READABLE);
        if (len > 0) {
            io_deliver(io, stream, bytes, (ssize_t)len);
        } else if (connection->reset) {
            io_deliver(io, stream, NULL, -ECONNRESET);
        }
    } else {
        io_tell(io, stream, next);
    }
    bool has_room = connection->reset || connection->to_client.len < SIM_PIPE_SIZE;
    if (!io_stream_has(stream, IO_STREAM_CLOSING) && io_stream_has(stream, IO_STREAM_WATCHING) &&
        has_room) {
        io_stream_clear(stream, IO_STREAM_WATCHING);
        io->handler.writable(io->owner, stream);
    }
}

static void sim_attend(struct sim_io *sim, struct sim_connection *connection)
{
    struct io *io = &sim->io;
    if (connection->waiting) {
        struct sockaddr_storage address = {.ss_family = AF_UNIX};
        if (sim->accepting.listener != NULL) {
            connection->waiting = false;
            io_offer(io, &sim->accepting, (int32_t)(connection - sim_net.connections), &address);
        }
    } else if (connection->hub_done) {
        return;
    } else if (!io_stream_has(connection->stream, IO_STREAM_CLOSING)) {
        sim_serve(io, connection);
    } else if (connection->closed_in_turn < io->stats.turns) {
        io_stream_finish(io, connection->stream);
        connection->stream = NULL;
        connection->hub_done = true;
        sim_release(connection);
    }
}

static int sim_turn(struct io *io, int timeout_ms)
{
    (void)timeout_ms;
    struct sim_io *sim = container_of(io, struct sim_io, io);
    io->now_ms = sim_net.now_ms;
    io->now_ns = sim_net.now_ms * 1000000;
    io_deliver_sends(io);
    uint64_t first = random_below(&sim_net.random, SIM_CONNECTIONS_MAX);
    for (unsigned i = 0; i < SIM_CONNECTIONS_MAX; i++) {
        struct sim_connection *connection = &sim_net.connections[(first + i) % SIM_CONNECTIONS_MAX];
        if (connection->used && connection->io == io && !(sim_net.faults && sim_chance(30))) {
            sim_attend(sim, connection);
        }
    }
    return 0;
}

static void sim_free(struct io *io)
{
    io_fini(io);
    memory_free(container_of(io, struct sim_io, io));
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
    .read_resume = sim_read_resume,
    .send = sim_send,
    .watch_writable = sim_read_resume,
    .shutdown = sim_shutdown,
    .close = sim_close,
};

int sim_io_new(enum io_kind kind, const struct io_options *options,
               const struct io_handler *handler, void *owner, struct io **ret_io,
               const char **ret_reason)
{
    (void)kind;
    struct sim_io *sim = memory_calloc(1, sizeof(*sim));
    CHECK(sim != NULL);
    CHECK(io_init(&sim->io, &sim_backend, options) == 0);
    io_set_handler(&sim->io, handler, owner);
    sim->io.now_ms = sim_net.now_ms;
    sim->io.now_ns = sim_net.now_ms * 1000000;
    *ret_io = &sim->io;
    *ret_reason = NULL;
    return 0;
}
