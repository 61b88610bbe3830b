#include "net/io.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "net/io_backend.h"

const char *io_kind_name(enum io_kind kind)
{
    switch (kind) {
    case IO_KIND_AUTO:
        return "auto";
    case IO_KIND_URING:
        return "io_uring";
    case IO_KIND_EPOLL:
        return "epoll";
    }
    CHECK(false && "a known kind");
}

/* --- Making and freeing ----------------------------------------------------------------------- */

static void io_check_handler(const struct io_handler *handler)
{
    CHECK(handler->accepted != NULL);
    CHECK(handler->accept_failed != NULL);
    CHECK(handler->received != NULL);
    CHECK(handler->hung_up != NULL);
    CHECK(handler->sent != NULL);
    CHECK(handler->sends_final != NULL);
    CHECK(handler->writable != NULL);
    CHECK(handler->closed != NULL);
}

int io_new(enum io_kind kind, const struct io_options *options, const struct io_handler *handler,
           void *owner, struct io **ret_io, const char **ret_reason)
{
    const char *reason = NULL;
    io_check_handler(handler);
    if (kind != IO_KIND_EPOLL) {
        int r = io_uring_backend_new(options, handler, owner, ret_io, &reason);
        if (r == 0) {
            *ret_reason = NULL;
            return 0;
        }
        CHECK(reason != NULL);
        *ret_reason = reason;
        if (kind == IO_KIND_URING) {
            return r;
        }
    }
    const char *epoll_reason = NULL;
    int r = io_epoll_backend_new(options, handler, owner, ret_io, &epoll_reason);
    if (r < 0) {
        *ret_reason = epoll_reason;
        return r;
    }
    *ret_reason = reason;
    return 0;
}

void io_free(struct io *io)
{
    if (io == NULL) {
        return;
    }
    CHECK(!io->in_turn);
    CHECK(io->stream_count == 0);
    CHECK(io->listener_count == 0);
    io->backend->free(io);
}

static uint32_t io_stream_count_cap(uint32_t wanted)
{
    uint64_t cap = IO_STREAM_COUNT_LIMIT;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        cap = min_u64(cap, limit.rlim_cur);
    }
    if (wanted > 0) {
        cap = min_u64(cap, wanted);
    }
    return (uint32_t)max_u64(cap, 1);
}

static size_t io_results_size(const struct io *io)
{
    return io->stream_count_max * sizeof(struct io_result);
}

static size_t io_queue_size(const struct io *io)
{
    return (io->queue.mask + (size_t)1) * sizeof(struct io_stream *);
}

int io_init(struct io *io, const struct io_backend *backend, const struct io_options *options)
{
    *io = (struct io){.backend = backend, .wake_fd = -1};
    list_init(&io->paused);
    io->stream_count_max = io_stream_count_cap(options->stream_count_max);
    io->has_plain_descriptors = options->plain_descriptors;
    while (io->queue.mask + 1 < io->stream_count_max) {
        io->queue.mask = io->queue.mask * 2 + 1;
    }
    io->queue.slots = memory_map(io_queue_size(io));
    io->results = memory_map(io_results_size(io));
    io->results_delivering = memory_map(io_results_size(io));
    if (io->queue.slots == NULL || io->results == NULL || io->results_delivering == NULL) {
        io_fini(io);
        return -ENOMEM;
    }
    io->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (io->wake_fd < 0) {
        int error = errno;
        io_fini(io);
        return -error;
    }
    io_clock_read(io);
    return 0;
}

void io_set_handler(struct io *io, const struct io_handler *handler, void *owner)
{
    io->handler = *handler;
    io->owner = owner;
}

void io_fini(struct io *io)
{
    if (io->queue.slots != NULL) {
        memory_unmap(io->queue.slots, io_queue_size(io));
        io->queue.slots = NULL;
    }
    if (io->results != NULL) {
        memory_unmap(io->results, io_results_size(io));
        io->results = NULL;
    }
    if (io->results_delivering != NULL) {
        memory_unmap(io->results_delivering, io_results_size(io));
        io->results_delivering = NULL;
    }
    if (io->wake_fd >= 0) {
        (void)close(io->wake_fd);
        io->wake_fd = -1;
    }
}

enum io_kind io_kind_of(const struct io *io)
{
    return io->backend->kind;
}

const struct io_stats *io_stats_of(const struct io *io)
{
    return &io->stats;
}

/* --- Turns ------------------------------------------------------------------------------------ */

void io_clock_read(struct io *io)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    io->now_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    io->now_ms = io->now_ns / 1000000;
}

uint64_t io_now_ns(const struct io *io)
{
    return io->now_ns;
}

uint64_t io_now_ms(const struct io *io)
{
    return io->now_ms;
}

bool io_has_more(const struct io *io)
{
    return io->has_more;
}

int io_turn(struct io *io, int timeout_ms)
{
    CHECK(!io->in_turn);
    io->in_turn = true;
    io_count(&io->stats.turns, 1);
    int r = io->backend->turn(io, timeout_ms);
    io->in_turn = false;
    return r;
}

void io_wake(struct io *io)
{
    /* A full counter (EAGAIN) means that a wake is pending already. A signal handler's errno stays.
     */
    int saved = errno;
    uint64_t one = 1;
    ssize_t written = write(io->wake_fd, &one, sizeof(one));
    (void)written;
    errno = saved;
}

int io_wait_ms(const struct io *io, int timeout_ms)
{
    int wait_ms = timeout_ms;
    for (const struct list *link = io->paused.next; link != &io->paused; link = link->next) {
        const struct io_accepting *accepting = container_of(link, struct io_accepting, paused_link);
        uint64_t left =
            accepting->retry_at_ms > io->now_ms ? accepting->retry_at_ms - io->now_ms : 0;
        if (wait_ms < 0 || left < (uint64_t)wait_ms) {
            wait_ms = (int)left;
        }
    }
    return wait_ms;
}

/* --- Results of sends ------------------------------------------------------------------------- */

void io_result_add(struct io *io, uint32_t token, size_t len, int32_t result)
{
    CHECK(io->result_count < io->stream_count_max);
    int32_t told = result == -EAGAIN || result == -EINTR ? 0 : result;
    size_t taken = told > 0 ? (size_t)told : 0;
    CHECK(taken < len);
    io->results[io->result_count++] = (struct io_result){.token = token, .result = told};
    io_count(&io->stats.sends_short, 1);
    /* The whole length was counted when the send was queued; wrap-around makes this a subtraction.
     */
    io_count(&io->stats.bytes_sent, (uint64_t)taken - len);
}

void io_deliver_sends(struct io *io)
{
    struct io_result *results = io->results;
    uint32_t count = io->result_count;
    io->results = io->results_delivering;
    io->results_delivering = results;
    io->result_count = 0;
    io->sends_pending = false;
    for (uint32_t i = 0; i < count; i++) {
        io->handler.sent(io->owner, results[i].token, results[i].result);
    }
    io->handler.sends_final(io->owner);
}

/* --- The queue of streams that want attention ------------------------------------------------- */

void io_queue_push(struct io *io, struct io_stream *stream)
{
    CHECK(!io_stream_has(stream, IO_STREAM_QUEUED));
    CHECK(io->queue.count <= io->queue.mask);
    io_stream_set(stream, IO_STREAM_QUEUED);
    io->queue.slots[(io->queue.head + io->queue.count) & io->queue.mask] = stream;
    io->queue.count++;
}

struct io_stream *io_queue_take(struct io *io)
{
    CHECK(io->queue.count > 0);
    struct io_stream *stream = io->queue.slots[io->queue.head];
    io->queue.count--;
    /* Begun anew when it is empty, it keeps to the pages that were touched before. */
    io->queue.head = io->queue.count == 0 ? 0 : (io->queue.head + 1) & io->queue.mask;
    CHECK(io_stream_has(stream, IO_STREAM_QUEUED));
    io_stream_clear(stream, IO_STREAM_QUEUED);
    return stream;
}

/* --- Streams ---------------------------------------------------------------------------------- */

void io_stream_note(struct io_stream *stream, unsigned events)
{
    if ((events & (POLLIN | POLLRDHUP | POLLHUP | POLLERR)) != 0) {
        io_stream_set(stream, IO_STREAM_READABLE);
    }
    if ((events & (POLLRDHUP | POLLHUP | POLLERR)) != 0) {
        io_stream_set(stream, IO_STREAM_GONE);
    }
    if ((events & POLLERR) != 0) {
        io_stream_set(stream, IO_STREAM_BROKEN);
    }
}

/*
 * After the end of input was told, only an error is news: the bits of a half-closed connection stay
 * set for ever and would otherwise be told again with every event.
 */
enum io_next io_stream_next(const struct io_stream *stream)
{
    if (io_stream_has(stream, IO_STREAM_CLOSING)) {
        return IO_NEXT_NOTHING;
    }
    bool ended = io_stream_has(stream, IO_STREAM_ENDED);
    bool broken =
        io_stream_has(stream, IO_STREAM_BROKEN) && !io_stream_has(stream, IO_STREAM_BROKEN_TOLD);
    if (io_stream_has(stream, IO_STREAM_READING)) {
        if (ended) {
            return broken ? IO_NEXT_RESET : IO_NEXT_NOTHING;
        }
        return io_stream_has(stream, IO_STREAM_READABLE) ? IO_NEXT_RECEIVE : IO_NEXT_NOTHING;
    }
    if (!io_stream_has(stream, IO_STREAM_GONE) || io_stream_has(stream, IO_STREAM_HUNG_UP_TOLD)) {
        return IO_NEXT_NOTHING;
    }
    return !ended || broken ? IO_NEXT_HUNG_UP : IO_NEXT_NOTHING;
}

void io_deliver(struct io *io, struct io_stream *stream, const char *bytes, ssize_t len)
{
    CHECK(io_stream_has(stream, IO_STREAM_READING));
    CHECK(!io_stream_has(stream, IO_STREAM_CLOSING));
    if (len > 0) {
        io_count(&io->stats.bytes_received, (uint64_t)len);
    } else if (len == 0) {
        io_stream_set(stream, IO_STREAM_ENDED);
    } else {
        io_stream_set(stream, IO_STREAM_ENDED | IO_STREAM_BROKEN_TOLD);
    }
    io->handler.received(io->owner, stream, bytes, len);
}

void io_tell(struct io *io, struct io_stream *stream, enum io_next next)
{
    switch (next) {
    case IO_NEXT_NOTHING:
        return;
    case IO_NEXT_HUNG_UP:
        io_stream_set(stream, IO_STREAM_HUNG_UP_TOLD);
        io->handler.hung_up(io->owner, stream);
        return;
    case IO_NEXT_RESET:
        io_deliver(io, stream, NULL, -ECONNRESET);
        return;
    case IO_NEXT_RECEIVE:
        break;
    }
    CHECK(false && "something to tell");
}

void io_stream_begin(struct io *io, struct io_stream *stream, int32_t descriptor)
{
    *stream = (struct io_stream){
        .descriptor = descriptor,
        .flags = IO_STREAM_OPEN | IO_STREAM_READING,
    };
    io->stream_count++;
    CHECK(io->stream_count <= io->stream_count_max);
}

void io_stream_finish(struct io *io, struct io_stream *stream)
{
    CHECK(io_stream_has(stream, IO_STREAM_CLOSING));
    CHECK(!io_stream_has(stream, IO_STREAM_QUEUED));
    CHECK(stream->inflight == 0);
    *stream = (struct io_stream){0};
    CHECK(io->stream_count > 0);
    io->stream_count--;
    /* There is a free descriptor now, which is what the paused listeners may be waiting for. */
    for (struct list *link = io->paused.next; link != &io->paused; link = link->next) {
        container_of(link, struct io_accepting, paused_link)->retry_at_ms = io->now_ms;
    }
    io->handler.closed(io->owner, stream);
}

static void io_check_open(const struct io_stream *stream)
{
    CHECK(io_stream_has(stream, IO_STREAM_OPEN));
    CHECK(!io_stream_has(stream, IO_STREAM_CLOSING));
}

bool io_stream_is_open(const struct io_stream *stream)
{
    return io_stream_has(stream, IO_STREAM_OPEN) && !io_stream_has(stream, IO_STREAM_CLOSING);
}

int io_open(struct io *io, struct io_stream *stream, int32_t descriptor)
{
    CHECK(io->offering);
    CHECK(io->offered == descriptor);
    CHECK(stream->flags == 0);
    io->offering = false;
    return io->backend->open(io, stream, descriptor);
}

int io_adopt(struct io *io, struct io_stream *stream, int fd)
{
    CHECK(!io->offering);
    CHECK(io->has_plain_descriptors);
    CHECK(stream->flags == 0);
    if (io->stream_count >= io->stream_count_max) {
        (void)close(fd);
        return -EMFILE;
    }
    return io->backend->open(io, stream, fd);
}

void io_reject(struct io *io, int32_t descriptor)
{
    CHECK(io->offering);
    CHECK(io->offered == descriptor);
    io->offering = false;
    io->backend->reject(io, descriptor);
}

void io_read_start(struct io *io, struct io_stream *stream)
{
    io_check_open(stream);
    if (io_stream_has(stream, IO_STREAM_READING)) {
        return;
    }
    io_stream_set(stream, IO_STREAM_READING);
    if (io_stream_has(stream, IO_STREAM_HELD) || io_stream_next(stream) != IO_NEXT_NOTHING) {
        io->backend->read_resume(io, stream);
    }
}

void io_read_stop(struct io *io, struct io_stream *stream)
{
    (void)io;
    io_check_open(stream);
    io_stream_clear(stream, IO_STREAM_READING);
}

void io_send(struct io *io, struct io_stream *stream, const char *bytes, size_t len, uint32_t token)
{
    io_check_open(stream);
    CHECK(len > 0);
    CHECK(len <= IO_SEND_LEN_MAX);
    io->sends_pending = true;
    io_count(&io->stats.sends, 1);
    io_count(&io->stats.bytes_sent, len);
    io->backend->send(io, stream, bytes, len, token);
}

void io_watch_writable(struct io *io, struct io_stream *stream)
{
    io_check_open(stream);
    if (!io_stream_has(stream, IO_STREAM_WATCHING)) {
        io_stream_set(stream, IO_STREAM_WATCHING);
        io->backend->watch_writable(io, stream);
    }
}

void io_shutdown(struct io *io, struct io_stream *stream)
{
    io_check_open(stream);
    io->backend->shutdown(io, stream);
}

void io_close(struct io *io, struct io_stream *stream)
{
    io_check_open(stream);
    io_stream_set(stream, IO_STREAM_CLOSING);
    io->backend->close(io, stream);
}

/* --- Accepting -------------------------------------------------------------------------------- */

int io_listen(struct io *io, struct io_listener *listener)
{
    CHECK((listener->flags & IO_LISTENER_LISTENING) == 0);
    int r = io->backend->listen(io, listener);
    if (r == 0) {
        listener->flags |= IO_LISTENER_LISTENING;
        io->listener_count++;
    }
    return r;
}

void io_listen_stop(struct io *io, struct io_listener *listener)
{
    CHECK((listener->flags & IO_LISTENER_LISTENING) != 0);
    listener->flags &= ~(unsigned)IO_LISTENER_LISTENING;
    CHECK(io->listener_count > 0);
    io->listener_count--;
    io->backend->listen_stop(io, listener);
}

bool io_listener_is_idle(const struct io_listener *listener)
{
    return (listener->flags & IO_LISTENER_LISTENING) == 0 && listener->inflight == 0;
}

void io_offer(struct io *io, struct io_accepting *accepting, int32_t descriptor,
              const struct sockaddr_storage *address)
{
    CHECK(!io->offering);
    accepting->failure_told = false;
    io_count(&io->stats.accepts, 1);
    io->offering = true;
    io->offered = descriptor;
    io->handler.accepted(io->owner, accepting->listener, descriptor, address);
    CHECK(!io->offering);
}

bool io_accept_error_is_passing(int error)
{
    switch (-error) {
    case ECONNABORTED:
    case ECONNRESET:
    case EINTR:
    case EPROTO:
    case EPERM:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case ETIMEDOUT:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
        return true;
    default:
        return false;
    }
}

void io_accept_pause(struct io *io, struct io_accepting *accepting, int error)
{
    CHECK(!list_is_linked(&accepting->paused_link));
    list_append(&io->paused, &accepting->paused_link);
    accepting->retry_at_ms = io->now_ms + IO_ACCEPT_RETRY_MS;
    if (!accepting->failure_told) {
        accepting->failure_told = true;
        io->handler.accept_failed(io->owner, accepting->listener, error);
    }
}

void io_accept_unpause(struct io_accepting *accepting)
{
    list_remove_if_linked(&accepting->paused_link);
}

void io_accept_retry(struct io *io)
{
    struct list *next = NULL;
    for (struct list *link = io->paused.next; link != &io->paused; link = next) {
        struct io_accepting *accepting = container_of(link, struct io_accepting, paused_link);
        next = link->next;
        if (accepting->retry_at_ms <= io->now_ms) {
            list_remove(link);
            io->backend->accept_resume(io, accepting);
        }
    }
}
