/*
 * The epoll backend.
 *
 * A stream is registered once, edge-triggered, for everything; what was reported is remembered in
 * its flags, so that starting and stopping to read, and waiting for room, cost no system call. A
 * stream that may have more input than one turn allows waits in the queue for the next turn, and so
 * does a stream that was closed, because `closed` has to come from a later turn.
 *
 * A send is done at once, inside io_send; what falls short is noted and told in the next turn, so
 * that an owner sees the same order as with io_uring.
 *
 * Listeners are level-triggered and leave the set while they are paused. Nothing that epoll
 * returned can be stale: streams keep their memory until a later turn, and stopping a listener
 * takes it out of the events at hand.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "net/io_backend.h"

enum {
    /*
     * Streams that are dealt with in one turn. What they ask for together is in memory until the
     * turn ends; so a thousand that connect at once need no more of it than these.
     */
    EPOLL_EVENT_COUNT = 64,
    /* Bytes taken from one stream in one turn. */
    EPOLL_BUFFER_SIZE = 64 * 1024,
};

/* The low bits of epoll_event.data, as streams and listeners are aligned. */
enum epoll_tag {
    EPOLL_TAG_STREAM,
    EPOLL_TAG_LISTENER,
    EPOLL_TAG_WAKE,
    EPOLL_TAG_NONE, /* a listener that was stopped in this turn */
};

enum { EPOLL_TAG_MASK = 3 };

struct epoll_io {
    struct io io;
    int epoll_fd;
    unsigned event_next;
    unsigned event_count;
    struct epoll_event events[EPOLL_EVENT_COUNT];
    char buffer[EPOLL_BUFFER_SIZE];
};

struct epoll_listener {
    struct io_accepting accepting;
} __attribute__((aligned(8)));

static struct epoll_io *epoll_of(struct io *io)
{
    return container_of(io, struct epoll_io, io);
}

static uint64_t epoll_data(const void *owner, enum epoll_tag tag)
{
    return (uint64_t)(uintptr_t)owner | tag;
}

static int epoll_add(struct epoll_io *poller, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = {.events = events, .data.u64 = data};
    io_count(&poller->io.stats.system_calls, 1);
    return epoll_ctl(poller->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static void epoll_remove(struct epoll_io *poller, int fd)
{
    io_count(&poller->io.stats.system_calls, 1);
    CHECK(epoll_ctl(poller->epoll_fd, EPOLL_CTL_DEL, fd, NULL) == 0);
}

/* --- Streams ---------------------------------------------------------------------------------- */

static void epoll_queue(struct epoll_io *poller, struct io_stream *stream)
{
    if (!io_stream_has(stream, IO_STREAM_QUEUED)) {
        io_queue_push(&poller->io, stream);
    }
}

static int epoll_open(struct io *io, struct io_stream *stream, int32_t descriptor)
{
    struct epoll_io *poller = epoll_of(io);
    uint32_t events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    CHECK(((uintptr_t)stream & EPOLL_TAG_MASK) == 0);
    int r = epoll_add(poller, descriptor, events, epoll_data(stream, EPOLL_TAG_STREAM));
    if (r < 0) {
        (void)close(descriptor);
        return r;
    }
    io_stream_begin(io, stream, descriptor);
    return 0;
}

static void epoll_reject(struct io *io, int32_t descriptor)
{
    io_count(&io->stats.system_calls, 1);
    (void)close(descriptor);
}

/* One receive. A short one means that the socket is empty, unless the end is still to be fetched.
 */
static void epoll_receive(struct epoll_io *poller, struct io_stream *stream)
{
    io_stream_clear(stream, IO_STREAM_READABLE);
    io_count(&poller->io.stats.system_calls, 1);
    ssize_t len = recv(stream->descriptor, poller->buffer, sizeof(poller->buffer), MSG_DONTWAIT);
    if (len < 0) {
        len = -errno;
    }
    if (len == -EAGAIN) {
        return;
    }
    bool more = len == EPOLL_BUFFER_SIZE || (len > 0 && io_stream_has(stream, IO_STREAM_GONE));
    if (more || len == -EINTR) {
        io_stream_set(stream, IO_STREAM_READABLE);
    }
    if (len != -EINTR) {
        io_deliver(&poller->io, stream, poller->buffer, len);
    }
}

static void epoll_settle(struct epoll_io *poller, struct io_stream *stream)
{
    enum io_next next = io_stream_next(stream);
    if (next == IO_NEXT_RECEIVE) {
        epoll_receive(poller, stream);
        next = io_stream_next(stream);
    }
    if (next == IO_NEXT_RECEIVE) {
        epoll_queue(poller, stream);
    } else {
        io_tell(&poller->io, stream, next);
    }
    if (!io_stream_has(stream, IO_STREAM_CLOSING) && io_stream_has(stream, IO_STREAM_WATCHING) &&
        io_stream_has(stream, IO_STREAM_WRITABLE)) {
        io_stream_clear(stream, IO_STREAM_WATCHING);
        poller->io.handler.writable(poller->io.owner, stream);
    }
}

static void epoll_stream_event(struct epoll_io *poller, struct io_stream *stream, uint32_t events)
{
    CHECK(io_stream_has(stream, IO_STREAM_OPEN));
    if (io_stream_has(stream, IO_STREAM_CLOSING)) {
        return;
    }
    static_assert(EPOLLIN == 0x1 && EPOLLERR == 0x8 && EPOLLHUP == 0x10 && EPOLLRDHUP == 0x2000,
                  "epoll's bits are poll's");
    io_stream_note(stream, events);
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) {
        io_stream_set(stream, IO_STREAM_WRITABLE);
    }
    epoll_settle(poller, stream);
}

static void epoll_read_resume(struct io *io, struct io_stream *stream)
{
    epoll_queue(epoll_of(io), stream);
}

static void epoll_send(struct io *io, struct io_stream *stream, const char *bytes, size_t len,
                       uint32_t token)
{
    io_count(&io->stats.system_calls, 1);
    ssize_t taken = send(stream->descriptor, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    int32_t result = taken < 0 ? -errno : (int32_t)taken;
    if (result < 0 || (size_t)result < len) {
        io_stream_clear(stream, IO_STREAM_WRITABLE);
        io_result_add(io, token, len, result);
    }
}

static void epoll_watch_writable(struct io *io, struct io_stream *stream)
{
    if (io_stream_has(stream, IO_STREAM_WRITABLE)) {
        epoll_queue(epoll_of(io), stream);
    }
}

static void epoll_shutdown(struct io *io, struct io_stream *stream)
{
    io_count(&io->stats.system_calls, 1);
    /* ENOTCONN means that the connection is gone, which is told elsewhere. */
    (void)shutdown(stream->descriptor, SHUT_WR);
}

static void epoll_close(struct io *io, struct io_stream *stream)
{
    struct epoll_io *poller = epoll_of(io);
    epoll_remove(poller, stream->descriptor);
    io_count(&io->stats.system_calls, 1);
    (void)close(stream->descriptor);
    epoll_queue(poller, stream);
}

/* --- Accepting -------------------------------------------------------------------------------- */

static int epoll_listener_add(struct epoll_io *poller, struct epoll_listener *state)
{
    /* Exclusive: of several loops that share a socket, not all have to wake up for a connection. */
    return epoll_add(poller, state->accepting.listener->fd, EPOLLIN | EPOLLEXCLUSIVE,
                     epoll_data(state, EPOLL_TAG_LISTENER));
}

static int epoll_listen(struct io *io, struct io_listener *listener)
{
    struct epoll_listener *state = memory_calloc(1, sizeof(*state));
    if (state == NULL) {
        return -ENOMEM;
    }
    state->accepting.listener = listener;
    int r = epoll_listener_add(epoll_of(io), state);
    if (r < 0) {
        memory_free(state);
        return r;
    }
    listener->backend = state;
    return 0;
}

static void epoll_listen_stop(struct io *io, struct io_listener *listener)
{
    struct epoll_io *poller = epoll_of(io);
    struct epoll_listener *state = listener->backend;
    if (list_is_linked(&state->accepting.paused_link)) {
        io_accept_unpause(&state->accepting);
    } else {
        epoll_remove(poller, listener->fd);
    }
    for (unsigned i = poller->event_next; i < poller->event_count; i++) {
        if (poller->events[i].data.u64 == epoll_data(state, EPOLL_TAG_LISTENER)) {
            poller->events[i].data.u64 = EPOLL_TAG_NONE;
        }
    }
    listener->backend = NULL;
    memory_free(state);
}

static void epoll_accept_resume(struct io *io, struct io_accepting *accepting)
{
    struct epoll_io *poller = epoll_of(io);
    struct epoll_listener *state = container_of(accepting, struct epoll_listener, accepting);
    int r = epoll_listener_add(poller, state);
    if (r < 0) {
        io_accept_pause(io, accepting, r);
    }
}

/* Leaves the set, so that the connections that wait do not wake the loop in vain. */
static void epoll_listener_pause(struct epoll_io *poller, struct epoll_listener *state, int error)
{
    epoll_remove(poller, state->accepting.listener->fd);
    io_accept_pause(&poller->io, &state->accepting, error);
}

/*
 * Takes what waits, at most a batch. Returns 0, also if the owner stopped the listener meanwhile
 * (then `state` is gone), or the negative errno for which accepting must pause.
 */
static int epoll_listener_take(struct epoll_io *poller, struct epoll_listener *state)
{
    struct io *io = &poller->io;
    struct io_listener *listener = state->accepting.listener;
    for (unsigned i = 0; i < IO_ACCEPT_BATCH_MAX; i++) {
        if (io->stream_count == io->stream_count_max) {
            /* If anybody is still waiting, the next turn will see. */
            return i == 0 ? -EMFILE : 0;
        }
        struct sockaddr_storage address = {0};
        socklen_t address_len = sizeof(address);
        io_count(&io->stats.system_calls, 1);
        int fd = accept4(listener->fd, (struct sockaddr *)&address, &address_len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        int error = fd < 0 ? -errno : 0;
        if (error == -EAGAIN) {
            return 0;
        }
        if (error < 0 && !io_accept_error_is_passing(error)) {
            return error;
        }
        if (error < 0) {
            continue;
        }
        io_offer(io, &state->accepting, fd, &address);
        if (listener->backend != state) {
            return 0;
        }
    }
    return 0;
}

static void epoll_listener_event(struct epoll_io *poller, struct epoll_listener *state)
{
    /* While it counts as in flight, an owner that stops it from `accepted` does not free it. */
    struct io_listener *listener = state->accepting.listener;
    listener->inflight++;
    int r = epoll_listener_take(poller, state);
    listener->inflight--;
    if (r < 0) {
        epoll_listener_pause(poller, state, r);
    }
}

/* --- The turn --------------------------------------------------------------------------------- */

static int epoll_collect(struct epoll_io *poller, int timeout_ms)
{
    bool busy = poller->io.sends_pending || poller->io.queue.count > 0;
    poller->event_next = 0;
    poller->event_count = 0;
    io_count(&poller->io.stats.system_calls, 1);
    int n = epoll_wait(poller->epoll_fd, poller->events, EPOLL_EVENT_COUNT, busy ? 0 : timeout_ms);
    if (n < 0) {
        return errno == EINTR ? 0 : -errno;
    }
    poller->event_count = (unsigned)n;
    return 0;
}

static void epoll_event(struct epoll_io *poller, const struct epoll_event *event)
{
    void *owner = (void *)(uintptr_t)(event->data.u64 & ~(uint64_t)EPOLL_TAG_MASK);
    switch ((enum epoll_tag)(event->data.u64 & EPOLL_TAG_MASK)) {
    case EPOLL_TAG_STREAM:
        epoll_stream_event(poller, owner, event->events);
        return;
    case EPOLL_TAG_LISTENER:
        epoll_listener_event(poller, owner);
        return;
    case EPOLL_TAG_WAKE:
    case EPOLL_TAG_NONE:
        return;
    }
}

static int epoll_turn(struct io *io, int timeout_ms)
{
    struct epoll_io *poller = epoll_of(io);
    /* What is queued from here on, by callbacks, belongs to the next turn. */
    uint32_t waiting = io->queue.count;
    int r = epoll_collect(poller, io_wait_ms(io, timeout_ms));
    if (r < 0) {
        return r;
    }
    io_clock_read(io);
    io_deliver_sends(io);
    while (poller->event_next < poller->event_count) {
        struct epoll_event event = poller->events[poller->event_next++];
        epoll_event(poller, &event);
    }
    for (uint32_t i = 0; i < waiting; i++) {
        struct io_stream *stream = io_queue_take(io);
        if (io_stream_has(stream, IO_STREAM_CLOSING)) {
            io_stream_finish(io, stream);
        } else {
            epoll_settle(poller, stream);
        }
    }
    io->has_more = poller->event_count == EPOLL_EVENT_COUNT || io->queue.count > 0;
    io_accept_retry(io);
    return 0;
}

/* --- Making and freeing ----------------------------------------------------------------------- */

static void epoll_free(struct io *io)
{
    struct epoll_io *poller = epoll_of(io);
    if (poller->epoll_fd >= 0) {
        (void)close(poller->epoll_fd);
    }
    io_fini(io);
    memory_free(poller);
}

static const struct io_backend epoll_backend = {
    .kind = IO_KIND_EPOLL,
    .free = epoll_free,
    .turn = epoll_turn,
    .listen = epoll_listen,
    .listen_stop = epoll_listen_stop,
    .accept_resume = epoll_accept_resume,
    .open = epoll_open,
    .reject = epoll_reject,
    .read_resume = epoll_read_resume,
    .send = epoll_send,
    .watch_writable = epoll_watch_writable,
    .shutdown = epoll_shutdown,
    .close = epoll_close,
};

int io_epoll_backend_new(const struct io_options *options, const struct io_handler *handler,
                         void *owner, struct io **ret_io, const char **ret_reason)
{
    struct epoll_io *poller = memory_calloc(1, sizeof(*poller));
    int r = poller == NULL ? -ENOMEM : io_init(&poller->io, &epoll_backend, options);
    if (r < 0) {
        memory_free(poller);
        *ret_reason = "not enough memory or descriptors for an event loop";
        return r;
    }
    io_set_handler(&poller->io, handler, owner);
    poller->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    r = poller->epoll_fd < 0 ? -errno : 0;
    if (r == 0) {
        /* Nobody reads the eventfd: edge-triggered, each write is an event. */
        r = epoll_add(poller, poller->io.wake_fd, EPOLLIN | EPOLLET,
                      epoll_data(NULL, EPOLL_TAG_WAKE));
    }
    if (r < 0) {
        *ret_reason = "epoll could not be set up (ulimit -n)";
        epoll_free(&poller->io);
        return r;
    }
    *ret_io = &poller->io;
    return 0;
}
