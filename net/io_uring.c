/*
 * The io_uring backend: streams and the turn. See net/uring.h for the parts and net/uring_ring.c
 * for the set-up flags and their reasons.
 *
 * Watching.  An open stream is watched by one multishot poll, the cheapest request that can stay
 * (an armed receive holds three times the kernel memory). When it fires and the owner is reading,
 *            a one-shot receive fetches the bytes into a buffer of a small pool. The poll reports
 *            changes, so a receive follows until the socket is known to be empty.
 * Sending.   A send is non-blocking (MSG_DONTWAIT), so it finishes while it is submitted and its
 * bytes are free when the kernel returns. With MSG_WAITALL a short send counts as failed, so that
 *            IOSQE_CQE_SKIP_SUCCESS silences exactly the sends that took everything. (Without
 *            MSG_WAITALL, short sends would be silent too.)
 * Order.     Requests start in the order of the queue, so closing and shutting down, queued later,
 * come behind the sends. A shutdown is done by a kernel worker thread; it is rare, and the socket
 *            is closed only after its completion.
 * Closing.   Cancel the polls; wait until nothing is in flight; close the descriptor; tell. So the
 *            stream's memory may be reused then, and no completion can find it gone.
 */
#include <errno.h>
#include <poll.h>

#include "core/base/memory.h"
#include "net/uring.h"

static void uring_target(const struct uring *uring, struct io_uring_sqe *sqe, unsigned flags)
{
    io_uring_sqe_set_flags(sqe, (uring->direct ? IOSQE_FIXED_FILE : 0) | flags);
}

/* --- Watching and receiving ------------------------------------------------------------------- */

static void uring_poll(struct uring *uring, struct io_stream *stream)
{
    CHECK(!io_stream_has(stream, IO_STREAM_POLLED));
    struct io_uring_sqe *sqe = uring_get_sqe(uring);
    io_uring_prep_poll_multishot(sqe, stream->descriptor, POLLIN | POLLRDHUP);
    uring_target(uring, sqe, 0);
    io_uring_sqe_set_data64(sqe, uring_data(stream, URING_POLL));
    io_stream_set(stream, IO_STREAM_POLLED);
    stream->inflight++;
}

/* Being in the queue counts as a request in flight: the stream must not go while it is there. */
static void uring_queue(struct uring *uring, struct io_stream *stream)
{
    if (!io_stream_has(stream, IO_STREAM_QUEUED)) {
        io_queue_push(&uring->io, stream);
        stream->inflight++;
    }
}

static struct uring_buffer **uring_buffers(struct uring *uring, bool large)
{
    return large ? &uring->large_free : &uring->small_free;
}

/* NULL if none is free. */
static struct uring_buffer *uring_buffer_get(struct uring *uring, const struct io_stream *stream)
{
    bool large = io_stream_has(stream, IO_STREAM_BULKY) && uring->large_free != NULL;
    struct uring_buffer **list = uring_buffers(uring, large);
    struct uring_buffer *buffer = *list;
    if (buffer != NULL) {
        *list = buffer->next;
        buffer->next = NULL;
    }
    return buffer;
}

static void uring_buffer_put(struct uring *uring, struct uring_buffer *buffer)
{
    struct uring_buffer **list = uring_buffers(uring, buffer->size == URING_LARGE_SIZE);
    buffer->stream = NULL;
    buffer->next = *list;
    *list = buffer;
}

static void uring_receive(struct uring *uring, struct io_stream *stream)
{
    if (io_stream_has(stream, IO_STREAM_RECEIVING | IO_STREAM_QUEUED)) {
        return;
    }
    CHECK(!io_stream_has(stream, IO_STREAM_HELD));
    struct uring_buffer *buffer = uring_buffer_get(uring, stream);
    if (buffer == NULL) {
        uring_queue(uring, stream);
        return;
    }
    buffer->stream = stream;
    struct io_uring_sqe *sqe = uring_get_sqe(uring);
    io_uring_prep_recv(sqe, stream->descriptor, buffer->bytes, buffer->size, MSG_DONTWAIT);
    uring_target(uring, sqe, 0);
    io_uring_sqe_set_data64(sqe, uring_data(buffer, URING_RECEIVE));
    /* Bytes that come from now on set it again by the poll. */
    io_stream_clear(stream, IO_STREAM_READABLE);
    io_stream_set(stream, IO_STREAM_RECEIVING);
    stream->inflight++;
}

/* Does what the state of the stream calls for after something has happened to it. */
static void uring_settle(struct uring *uring, struct io_stream *stream)
{
    enum io_next next = io_stream_next(stream);
    if (next == IO_NEXT_RECEIVE) {
        uring_receive(uring, stream);
    } else {
        io_tell(&uring->io, stream, next);
    }
}

static void uring_read_resume(struct io *io, struct io_stream *stream)
{
    struct uring *uring = uring_of(io);
    if (io_stream_has(stream, IO_STREAM_HELD) || io_stream_next(stream) != IO_NEXT_RECEIVE) {
        uring_queue(uring, stream);
    } else {
        uring_receive(uring, stream);
    }
}

/*
 * The owner stopped reading after the receive was queued. The bytes are out of the kernel, so they
 * are kept until reading starts again. Without memory for them the stream is as good as reset.
 */
static void uring_hold(struct uring *uring, struct io_stream *stream, const char *bytes, size_t len)
{
    CHECK(!io_stream_has(stream, IO_STREAM_HELD));
    struct uring_held *held = memory_alloc(sizeof(*held) + len);
    if (held == NULL) {
        io_stream_set(stream, IO_STREAM_GONE | IO_STREAM_BROKEN | IO_STREAM_ENDED);
        return;
    }
    *held = (struct uring_held){.stream = stream, .len = len};
    memcpy(held->bytes, bytes, len);
    list_append(&uring->held, &held->link);
    io_stream_set(stream, IO_STREAM_HELD);
}

/* The list is almost always empty and never longer than the pool of buffers allows in one turn. */
static struct uring_held *uring_hold_take(struct uring *uring, struct io_stream *stream)
{
    CHECK(io_stream_has(stream, IO_STREAM_HELD));
    io_stream_clear(stream, IO_STREAM_HELD);
    for (struct list *link = uring->held.next; link != &uring->held; link = link->next) {
        struct uring_held *held = container_of(link, struct uring_held, link);
        if (held->stream == stream) {
            list_remove(link);
            return held;
        }
    }
    CHECK(false && "the bytes held for a stream");
}

static void uring_received(struct uring *uring, struct io_stream *stream, const char *bytes,
                           int32_t result, bool more)
{
    if (result == -EAGAIN) {
        return;
    }
    if (result == -EINTR) {
        io_stream_set(stream, IO_STREAM_READABLE);
        return;
    }
    if (result > 0 && (more || io_stream_has(stream, IO_STREAM_GONE))) {
        io_stream_set(stream, IO_STREAM_READABLE);
    }
    if (io_stream_has(stream, IO_STREAM_READING)) {
        io_deliver(&uring->io, stream, bytes, result);
    } else if (result > 0) {
        uring_hold(uring, stream, bytes, (size_t)result);
    } else if (result == 0) {
        io_stream_set(stream, IO_STREAM_GONE | IO_STREAM_READABLE);
    } else {
        io_stream_set(stream, IO_STREAM_GONE | IO_STREAM_BROKEN | IO_STREAM_ENDED);
    }
}

/* --- Closing ---------------------------------------------------------------------------------- */

static void uring_close_join(struct uring *uring, struct io_stream *stream)
{
    CHECK(io_stream_has(stream, IO_STREAM_CLOSING));
    if (stream->inflight > 0) {
        return;
    }
    struct io_uring_sqe *sqe = uring_get_sqe(uring);
    if (uring->direct) {
        io_uring_prep_close_direct(sqe, (unsigned)stream->descriptor);
    } else {
        io_uring_prep_close(sqe, stream->descriptor);
    }
    io_uring_sqe_set_data64(sqe, uring_data(stream, URING_CLOSE));
    stream->inflight++;
}

static void uring_close(struct io *io, struct io_stream *stream)
{
    struct uring *uring = uring_of(io);
    if (io_stream_has(stream, IO_STREAM_HELD)) {
        memory_free(uring_hold_take(uring, stream));
    }
    if (io_stream_has(stream, IO_STREAM_POLLED)) {
        uring_cancel(uring, uring_data(stream, URING_POLL));
    }
    if (io_stream_has(stream, IO_STREAM_WATCHING)) {
        uring_cancel(uring, uring_data(stream, URING_WRITABLE));
    }
    uring_close_join(uring, stream);
}

/* A request of the stream is over. True if the stream lives on. */
static bool uring_landed(struct uring *uring, struct io_stream *stream)
{
    CHECK(io_stream_has(stream, IO_STREAM_OPEN));
    CHECK(stream->inflight > 0);
    stream->inflight--;
    if (io_stream_has(stream, IO_STREAM_CLOSING)) {
        uring_close_join(uring, stream);
        return false;
    }
    return true;
}

/* --- Events ----------------------------------------------------------------------------------- */

static void uring_poll_event(struct uring *uring, const struct uring_event *event)
{
    struct io_stream *stream = uring_data_owner(event->user_data);
    CHECK(io_stream_has(stream, IO_STREAM_OPEN));
    CHECK(io_stream_has(stream, IO_STREAM_POLLED));
    if (event->result >= 0) {
        io_stream_note(stream, (unsigned)event->result);
    }
    if ((event->flags & IORING_CQE_F_MORE) == 0) {
        io_stream_clear(stream, IO_STREAM_POLLED);
        if (!uring_landed(uring, stream)) {
            return;
        }
        if (event->result >= 0) {
            uring_poll(uring, stream);
        } else {
            /* Unwatched (no memory), it would never be heard of again. */
            io_stream_set(stream, IO_STREAM_GONE | IO_STREAM_BROKEN | IO_STREAM_ENDED);
        }
    }
    uring_settle(uring, stream);
}

static void uring_receive_event(struct uring *uring, const struct uring_event *event)
{
    struct uring_buffer *buffer = uring_data_owner(event->user_data);
    struct io_stream *stream = buffer->stream;
    CHECK(io_stream_has(stream, IO_STREAM_RECEIVING));
    io_stream_clear(stream, IO_STREAM_RECEIVING);
    if (uring_landed(uring, stream)) {
        bool full = event->result == (int32_t)buffer->size;
        bool more = full || (event->flags & IORING_CQE_F_SOCK_NONEMPTY) != 0;
        if (full) {
            io_stream_set(stream, IO_STREAM_BULKY);
        }
        uring_received(uring, stream, buffer->bytes, event->result, more);
        uring_settle(uring, stream);
    }
    uring_buffer_put(uring, buffer);
}

static void uring_writable_event(struct uring *uring, const struct uring_event *event)
{
    struct io_stream *stream = uring_data_owner(event->user_data);
    CHECK(io_stream_has(stream, IO_STREAM_WATCHING));
    io_stream_clear(stream, IO_STREAM_WATCHING);
    if (uring_landed(uring, stream)) {
        uring->io.handler.writable(uring->io.owner, stream);
    }
}

static void uring_close_event(struct uring *uring, const struct uring_event *event)
{
    struct io_stream *stream = uring_data_owner(event->user_data);
    CHECK(io_stream_has(stream, IO_STREAM_CLOSING));
    CHECK(stream->inflight == 1);
    stream->inflight = 0;
    io_stream_finish(&uring->io, stream);
}

static void uring_event(struct uring *uring, const struct uring_event *event)
{
    switch (uring_data_kind(event->user_data)) {
    case URING_MISC:
        if (event->user_data == uring_data_misc(URING_MISC_WAKE) &&
            (event->flags & IORING_CQE_F_MORE) == 0) {
            uring_wake_arm(uring);
        }
        return;
    case URING_POLL:
        uring_poll_event(uring, event);
        return;
    case URING_RECEIVE:
        uring_receive_event(uring, event);
        return;
    case URING_WRITABLE:
        uring_writable_event(uring, event);
        return;
    case URING_CLOSE:
        uring_close_event(uring, event);
        return;
    case URING_SHUTDOWN:
        (void)uring_landed(uring, uring_data_owner(event->user_data));
        return;
    case URING_ACCEPT:
        uring_accept_event(uring, event);
        return;
    case URING_SEND: /* taken out earlier */
        break;
    }
    CHECK(false && "a known kind of event");
}

static void uring_queue_serve(struct uring *uring, struct io_stream *stream)
{
    if (!uring_landed(uring, stream)) {
        return;
    }
    if (io_stream_has(stream, IO_STREAM_HELD) && io_stream_has(stream, IO_STREAM_READING)) {
        struct uring_held *held = uring_hold_take(uring, stream);
        io_deliver(&uring->io, stream, held->bytes, (ssize_t)held->len);
        memory_free(held);
    }
    uring_settle(uring, stream);
}

static int uring_turn(struct io *io, int timeout_ms)
{
    struct uring *uring = uring_of(io);
    uint32_t waiting = io->queue.count;
    int r = uring_enter_turn(uring, io_wait_ms(io, timeout_ms));
    if (r < 0) {
        return r;
    }
    io_clock_read(io);
    io_deliver_sends(io);
    uint32_t served = 0;
    for (; served < URING_EVENTS_PER_TURN && uring->backlog_count > 0; served++) {
        struct uring_event event = uring->backlog[uring->backlog_head];
        uring->backlog_head = (uring->backlog_head + 1) & uring->backlog_mask;
        uring->backlog_count--;
        uring_event(uring, &event);
    }
    for (uint32_t i = 0; i < waiting; i++) {
        uring_queue_serve(uring, io_queue_take(io));
    }
    io->has_more = served == URING_EVENTS_PER_TURN || io->queue.count > 0;
    if (uring->backlog_count == 0) {
        uring->backlog_head = 0; /* keeps to the pages that were touched before */
    }
    io_accept_retry(io);
    return uring->broken;
}

/* --- The rest of the contract ----------------------------------------------------------------- */

static int uring_open(struct io *io, struct io_stream *stream, int32_t descriptor)
{
    static_assert(sizeof(struct io_stream) == 8, "an idle stream costs eight bytes");
    CHECK(((uintptr_t)stream & URING_KIND_MASK) == 0);
    io_stream_begin(io, stream, descriptor);
    uring_poll(uring_of(io), stream);
    return 0;
}

static void uring_reject(struct io *io, int32_t descriptor)
{
    uring_drop(uring_of(io), descriptor);
}

static void uring_send(struct io *io, struct io_stream *stream, const char *bytes, size_t len,
                       uint32_t token)
{
    struct uring *uring = uring_of(io);
    struct io_uring_sqe *sqe = uring_get_sqe(uring);
    io_uring_prep_send(sqe, stream->descriptor, bytes, len,
                       MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL);
    uring_target(uring, sqe, IOSQE_CQE_SKIP_SUCCESS);
    io_uring_sqe_set_data64(sqe, ((uint64_t)len << 32 | token) << URING_KIND_BITS | URING_SEND);
}

static void uring_watch_writable(struct io *io, struct io_stream *stream)
{
    struct uring *uring = uring_of(io);
    struct io_uring_sqe *sqe = uring_get_sqe(uring);
    io_uring_prep_poll_add(sqe, stream->descriptor, POLLOUT);
    uring_target(uring, sqe, 0);
    io_uring_sqe_set_data64(sqe, uring_data(stream, URING_WRITABLE));
    stream->inflight++;
}

static void uring_shutdown(struct io *io, struct io_stream *stream)
{
    struct uring *uring = uring_of(io);
    struct io_uring_sqe *sqe = uring_get_sqe(uring);
    io_uring_prep_shutdown(sqe, stream->descriptor, SHUT_WR);
    uring_target(uring, sqe, 0);
    io_uring_sqe_set_data64(sqe, uring_data(stream, URING_SHUTDOWN));
    stream->inflight++;
}

/* --- Making and freeing ----------------------------------------------------------------------- */

static void uring_free_memory(struct uring *uring)
{
    if (uring->buffer_bytes != NULL) {
        memory_unmap(uring->buffer_bytes, URING_BUFFERS_BYTES);
    }
    io_fini(&uring->io);
    memory_free(uring);
}

static void uring_free(struct io *io)
{
    struct uring *uring = uring_of(io);
    CHECK(list_is_empty(&uring->held));
    uring_flush(uring);
    uring_ring_fini(uring);
    uring_free_memory(uring);
}

static const struct io_backend uring_backend = {
    .kind = IO_KIND_URING,
    .free = uring_free,
    .turn = uring_turn,
    .listen = uring_listen,
    .listen_stop = uring_listen_stop,
    .accept_resume = uring_accept_resume,
    .open = uring_open,
    .reject = uring_reject,
    .read_resume = uring_read_resume,
    .send = uring_send,
    .watch_writable = uring_watch_writable,
    .shutdown = uring_shutdown,
    .close = uring_close,
};

static bool uring_buffers_init(struct uring *uring)
{
    uring->buffer_bytes = memory_map(URING_BUFFERS_BYTES);
    if (uring->buffer_bytes == NULL) {
        return false;
    }
    /* From the last on, so that the first are taken first. */
    char *bytes = uring->buffer_bytes + URING_BUFFERS_BYTES;
    for (size_t i = URING_BUFFER_COUNT; i > 0; i--) {
        struct uring_buffer *buffer = &uring->buffers[i - 1];
        buffer->size = i <= URING_SMALL_COUNT ? URING_SMALL_SIZE : URING_LARGE_SIZE;
        bytes -= buffer->size;
        buffer->bytes = bytes;
        uring_buffer_put(uring, buffer);
    }
    /* A few connections at once use all of the small ones. */
    memory_touch(bytes, URING_SMALL_COUNT * URING_SMALL_SIZE);
    return true;
}

int io_uring_backend_new(const struct io_options *options, const struct io_handler *handler,
                         void *owner, struct io **ret_io, const char **ret_reason)
{
    struct uring *uring = memory_calloc(1, sizeof(*uring));
    int r = uring == NULL ? -ENOMEM : io_init(&uring->io, &uring_backend, options);
    if (r < 0) {
        *ret_reason = "not enough memory or descriptors for an event loop";
        memory_free(uring);
        return r;
    }
    io_set_handler(&uring->io, handler, owner);
    list_init(&uring->held);
    if (!uring_buffers_init(uring)) {
        *ret_reason = "not enough memory for receive buffers";
        uring_free_memory(uring);
        return -ENOMEM;
    }
    r = uring_ring_init(uring, options, ret_reason);
    if (r < 0) {
        uring_free_memory(uring);
        return r;
    }
    *ret_io = &uring->io;
    return 0;
}
