#include "net/uring.h"

#include <errno.h>
#include <poll.h>

#include "core/base/memory.h"

/*
 * Accepting with io_uring.
 *
 * A multishot accept would be one request for all connections, but it has one place for the peer's
 * address, and getpeername(2) cannot ask a direct descriptor for it later. So the listener is
 * watched by a multishot poll, and when it fires, batches of one-shot accepts follow, each with its
 * own place.
 *
 *   poll fires -> batch of 1 -> all succeeded -> batch of 2 ... 64 -> one found nothing -> wait
 *
 * The poll reports changes, not states: a batch must follow until one finds nothing, and a report
 * that comes while a batch is in flight (`ready`) asks for one more.
 *
 * That the socket is non-blocking means nothing to the ring: without IORING_ACCEPT_DONTWAIT (Linux
 * 6.10) an accept that finds nothing waits in the kernel for the next connection. That works, too,
 * only that a listener that stops has to take back what it has in flight.
 */

/* Came to the kernel's headers after those of liburing 2.3. */
enum { URING_ACCEPT_DONTWAIT = 1U << 1 };

static struct uring_listener *uring_listener_of(const struct io_listener *listener)
{
    return listener->backend;
}

static bool uring_listener_is_on(const struct uring_listener *state)
{
    return (state->accepting.listener->flags & IO_LISTENER_LISTENING) != 0;
}

static bool uring_listener_is_paused(const struct uring_listener *state)
{
    return list_is_linked(&state->accepting.paused_link);
}

static void uring_listener_poll(struct uring *uring, struct uring_listener *state)
{
    CHECK(!state->polled);
    struct io_uring_sqe *sqe = uring_get_sqe(uring);
    io_uring_prep_poll_multishot(sqe, state->accepting.listener->fd, POLLIN);
    io_uring_sqe_set_data64(sqe, uring_data(&state->poll, URING_ACCEPT));
    state->polled = true;
    state->accepting.listener->inflight++;
}

static void uring_listener_accept(struct uring *uring, struct uring_listener *state, unsigned slot)
{
    struct uring_accept *accept = &state->slots[slot];
    accept->address = (struct sockaddr_storage){0};
    accept->address_len = sizeof(accept->address);
    struct io_uring_sqe *sqe = uring_get_sqe(uring);
    struct sockaddr *address = (struct sockaddr *)&accept->address;
    int fd = state->accepting.listener->fd;
    if (uring->direct) {
        io_uring_prep_accept(sqe, fd, address, &accept->address_len, 0);
        sqe->file_index = IORING_FILE_INDEX_ALLOC;
    } else {
        io_uring_prep_accept(sqe, fd, address, &accept->address_len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }
    sqe->ioprio |= uring->accept_flags;
    io_uring_sqe_set_data64(sqe, uring_data(accept, URING_ACCEPT));
    accept->queued = true;
    state->pending++;
    state->accepting.listener->inflight++;
    uring->accepting++;
}

/* No stream is free. That is a failure only if anybody is waiting; the poll tells when one comes.
 */
static void uring_listener_full(struct uring *uring, struct uring_listener *state)
{
    struct pollfd waiting = {.fd = state->accepting.listener->fd, .events = POLLIN};
    state->ready = false;
    io_count(&uring->io.stats.system_calls, 1);
    if (poll(&waiting, 1, 0) != 0) {
        io_accept_pause(&uring->io, &state->accepting, -EMFILE);
    }
}

/*
 * Queues the next batch if there is room for what it may bring. The room is counted here because
 * the kernel looks for a direct descriptor only after it has taken the connection from the
 * listener, and then has to throw it away.
 */
static void uring_listener_kick(struct uring *uring, struct uring_listener *state)
{
    if (state->pending > 0 || !uring_listener_is_on(state) || uring_listener_is_paused(state)) {
        return;
    }
    unsigned room = uring->io.stream_count_max - uring->io.stream_count - uring->accepting;
    unsigned count = (unsigned)min_u64(state->batch, room);
    if (count == 0) {
        uring_listener_full(uring, state);
        return;
    }
    state->ready = false;
    state->exhausted = false;
    state->error = 0;
    for (unsigned i = 0; i < count; i++) {
        uring_listener_accept(uring, state, i);
    }
}

static void uring_listener_release(struct uring_listener *state)
{
    struct io_listener *listener = state->accepting.listener;
    if (!uring_listener_is_on(state) && listener->inflight == 0) {
        CHECK(state->pending == 0);
        CHECK(!uring_listener_is_paused(state));
        listener->backend = NULL;
        memory_free(state);
    }
}

int uring_accept_probe(struct uring *uring, const struct io_options *options)
{
    struct io_uring_sqe *sqe = uring_get_sqe(uring);
    io_uring_prep_accept(sqe, -1, NULL, NULL, 0);
    sqe->ioprio |= URING_ACCEPT_DONTWAIT;
    io_uring_sqe_set_data64(sqe, uring_data_misc(URING_MISC_PROBE));
    int r = uring_enter_turn(uring, 0);
    if (r < 0) {
        return r;
    }
    /* An unknown flag is EINVAL; a known one gets as far as to find the descriptor bad. */
    CHECK(uring->backlog_count == 1);
    const struct uring_event *event = &uring->backlog[uring->backlog_head];
    CHECK(event->user_data == uring_data_misc(URING_MISC_PROBE));
    if (event->result == -EBADF && !options->accept_waits) {
        uring->accept_flags = URING_ACCEPT_DONTWAIT;
    }
    uring->backlog_count = 0;
    return 0;
}

int uring_listen(struct io *io, struct io_listener *listener)
{
    struct uring *uring = uring_of(io);
    struct uring_listener *state = uring_listener_of(listener);
    if (state == NULL) {
        CHECK(listener->inflight == 0);
        state = memory_calloc(1, sizeof(*state));
        if (state == NULL) {
            return -ENOMEM;
        }
        state->accepting.listener = listener;
        state->poll.listener = state;
        for (unsigned i = 0; i < IO_ACCEPT_BATCH_MAX; i++) {
            state->slots[i].listener = state;
        }
        listener->backend = state;
    }
    state->batch = 1;
    state->accepting.failure_told = false;
    /* Otherwise the old poll is being cancelled, and its end arms the new one. */
    if (!state->polled) {
        uring_listener_poll(uring, state);
    }
    return 0;
}

/*
 * Accepts that the kernel has not seen yet become no-operations: a listener that stops because of
 * too many connections must not take more of them only to throw them away.
 */
static void uring_listener_withdraw(struct uring *uring, struct uring_listener *state)
{
    for (unsigned i = uring->sq_tail - uring_unsubmitted(uring); i != uring->sq_tail; i++) {
        struct io_uring_sqe *sqe = &uring->ring.sq.sqes[i & (uring->sq_entries - 1)];
        if (sqe->opcode != IORING_OP_ACCEPT) {
            continue;
        }
        struct uring_accept *accept = uring_data_owner(sqe->user_data);
        if (accept->listener == state) {
            accept->queued = false;
            io_uring_prep_nop(sqe);
            io_uring_sqe_set_flags(sqe, IOSQE_CQE_SKIP_SUCCESS);
            io_uring_sqe_set_data64(sqe, uring_data_misc(URING_MISC_IGNORE));
            state->pending--;
            state->accepting.listener->inflight--;
            uring->accepting--;
            state->ready = true;
        }
    }
}

void uring_listen_stop(struct io *io, struct io_listener *listener)
{
    struct uring *uring = uring_of(io);
    struct uring_listener *state = uring_listener_of(listener);
    io_accept_unpause(&state->accepting);
    uring_listener_withdraw(uring, state);
    if (state->polled) {
        uring_cancel(uring, uring_data(&state->poll, URING_ACCEPT));
    }
    for (unsigned i = 0; i < IO_ACCEPT_BATCH_MAX; i++) {
        if (state->slots[i].queued) {
            uring_cancel(uring, uring_data(&state->slots[i], URING_ACCEPT));
        }
    }
    uring_listener_release(state);
}

void uring_accept_resume(struct io *io, struct io_accepting *accepting)
{
    struct uring *uring = uring_of(io);
    struct uring_listener *state = container_of(accepting, struct uring_listener, accepting);
    if (!state->polled) {
        uring_listener_poll(uring, state);
    }
    uring_listener_kick(uring, state);
}

static void uring_listener_poll_event(struct uring *uring, struct uring_listener *state,
                                      const struct uring_event *event)
{
    if ((event->flags & IORING_CQE_F_MORE) == 0) {
        state->polled = false;
        state->accepting.listener->inflight--;
        if (!uring_listener_is_on(state)) {
            uring_listener_release(state);
            return;
        }
        if (event->result < 0 && event->result != -ECANCELED) {
            if (!uring_listener_is_paused(state)) {
                io_accept_pause(&uring->io, &state->accepting, event->result);
            }
            return;
        }
        uring_listener_poll(uring, state);
    }
    if (event->result > 0) {
        state->ready = true;
        uring_listener_kick(uring, state);
    }
}

static void uring_listener_batch_end(struct uring *uring, struct uring_listener *state)
{
    if (!uring_listener_is_on(state)) {
        uring_listener_release(state);
        return;
    }
    if (state->error < 0) {
        state->batch = 1;
        if (!uring_listener_is_paused(state)) {
            io_accept_pause(&uring->io, &state->accepting, state->error);
        }
        return;
    }
    state->batch = state->exhausted ? 1 : (unsigned)min_u64(state->batch * 2, IO_ACCEPT_BATCH_MAX);
    if (!state->exhausted || state->ready) {
        uring_listener_kick(uring, state);
    }
}

void uring_accept_event(struct uring *uring, const struct uring_event *event)
{
    struct uring_accept *accept = uring_data_owner(event->user_data);
    struct uring_listener *state = accept->listener;
    CHECK(state->accepting.listener->inflight > 0);
    if (accept == &state->poll) {
        uring_listener_poll_event(uring, state, event);
        return;
    }
    CHECK(state->pending > 0);
    accept->queued = false;
    uring->accepting--;
    if (event->result == -EAGAIN || event->result == -ECANCELED) {
        state->exhausted = true;
    } else if (event->result < 0 && !io_accept_error_is_passing(event->result)) {
        state->error = event->result;
    } else if (event->result >= 0 && uring_listener_is_on(state)) {
        io_offer(&uring->io, &state->accepting, event->result, &accept->address);
    } else if (event->result >= 0) {
        uring_drop(uring, event->result);
    }
    /* Counted only now, so that the state outlives a listener that was stopped by the owner above.
     */
    state->pending--;
    state->accepting.listener->inflight--;
    if (state->pending == 0) {
        uring_listener_batch_end(uring, state);
    }
}
