#include "net/uring.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/memory.h"

enum {
    URING_SQ_ENTRIES = 1024, /* a batch beyond 256 gains nothing, below it costs system calls */
    /*
     * A burst of events of this size is kept in the ring itself. Beyond it the kernel allocates
     * memory for each completion, which is slow but loses nothing (IORING_FEAT_NODROP).
     */
    URING_CQ_ENTRIES_MAX = 32768,
    URING_CQ_ENTRIES_MIN = 4096,
    /* Requests that one stream can have in the backlog: see struct uring. Rounded up. */
    URING_EVENTS_PER_STREAM = 8,
    /*
     * Linux 6.13 and later run at most 20 deferred completions in one call. Getting about that many
     * means that more are waiting, and asking again is cheaper than a whole turn.
     */
    URING_EVENTS_PER_ENTER = 16,
    /* Rounds without progress before a ring that refuses requests counts as broken. */
    URING_TRIES_MAX = 1000,
};

/* Names that came to the kernel after liburing 2.3. */
enum {
    URING_ENTER_NO_IOWAIT = 1U << 7,
    URING_FEATURE_NO_IOWAIT = 1U << 17,
};

/*
 * SINGLE_ISSUER   only the loop's thread submits: the kernel may skip locking.
 * DEFER_TASKRUN   completions are produced only when a turn asks for them, not by interrupting the
 *                 owner's work at any system call. The order of events in a turn rests on it, so
 * that there is no falling back to less: before Linux 6.1 epoll does as well. SUBMIT_ALL      one
 * bad request does not hold up those behind it. CQSIZE          completions outnumber a batch: a
 * mass disconnect is one for each stream. CLAMP           sizes beyond the kernel's limits are cut,
 * not refused.
 */
static const unsigned uring_setup_flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                          IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE |
                                          IORING_SETUP_CLAMP;

/*
 * NODROP     completions are never lost silently.
 * EXT_ARG    waiting with a timeout needs no request of its own.
 * CQE_SKIP   a send that took everything reports nothing.
 */
static const unsigned uring_features_needed =
    IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP;

/* --- Set-up ----------------------------------------------------------------------------------- */

/* The value of the sysctl, or -1 where there is none (before Linux 6.6). */
static int uring_disabled_level(void)
{
    FILE *file = fopen("/proc/sys/kernel/io_uring_disabled", "re");
    if (file == NULL) {
        return -1;
    }
    int level = -1;
    if (fscanf(file, "%d", &level) != 1) {
        level = -1;
    }
    (void)fclose(file);
    return level;
}

static const char *uring_reason(int error)
{
    switch (-error) {
    case EPERM:
    case EACCES:
        switch (uring_disabled_level()) {
        case 1:
            return "io_uring is kept to one group by sysctl kernel.io_uring_disabled=1";
        case 2:
            return "io_uring is switched off by sysctl kernel.io_uring_disabled=2";
        default:
            return "a seccomp filter forbids io_uring (containers' default profile does)";
        }
    case ENOSYS:
        return "this kernel has no io_uring, or a sandbox hides it";
    case EINVAL:
    case EOPNOTSUPP:
        return "this kernel's io_uring lacks DEFER_TASKRUN or direct descriptors (Linux 6.1)";
    case ENOMEM:
        return "not enough memory for io_uring, or the locked-memory limit (ulimit -l) is too low";
    case EMFILE:
    case ENFILE:
        return "no file descriptors left for io_uring (ulimit -n)";
    default:
        return "io_uring could not be set up";
    }
}

static unsigned uring_cq_entries(const struct uring *uring, const struct io_options *options)
{
    if (options->cq_entries > 0) {
        return options->cq_entries;
    }
    unsigned entries = URING_CQ_ENTRIES_MIN;
    while (entries < URING_CQ_ENTRIES_MAX && entries / 2 < uring->io.stream_count_max) {
        entries *= 2;
    }
    return entries;
}

static int uring_ring_create(struct uring *uring, const struct io_options *options)
{
    unsigned sq_entries = options->sq_entries > 0 ? options->sq_entries : URING_SQ_ENTRIES;
    unsigned cq_entries = uring_cq_entries(uring, options);
    for (;;) {
        struct io_uring_params params = {.flags = uring_setup_flags, .cq_entries = cq_entries};
        int r = io_uring_queue_init_params(sq_entries, &uring->ring, &params);
        if (r == -ENOMEM && cq_entries / 2 > sq_entries) {
            cq_entries /= 2;
            continue;
        }
        if (r < 0) {
            return r;
        }
        if ((params.features & uring_features_needed) != uring_features_needed) {
            io_uring_queue_exit(&uring->ring);
            return -EOPNOTSUPP;
        }
        uring->sq_entries = params.sq_entries;
        uring->cq_entries = params.cq_entries;
        /* An idle loop that waits for its peers is not waiting for a disk. */
        if ((params.features & URING_FEATURE_NO_IOWAIT) != 0) {
            uring->wait_flags = URING_ENTER_NO_IOWAIT;
        }
        return 0;
    }
}

static int uring_ring_memory(struct uring *uring)
{
    size_t wanted =
        (size_t)uring->io.stream_count_max * URING_EVENTS_PER_STREAM + (size_t)uring->cq_entries;
    size_t count = 1;
    while (count < wanted) {
        count *= 2;
    }
    uring->backlog_mask = (uint32_t)(count - 1);
    uring->backlog = memory_map(count * sizeof(struct uring_event));
    if (uring->backlog == NULL) {
        return -ENOMEM;
    }
    memory_touch(uring->backlog,
                 min_size(count, URING_EVENTS_PER_TURN) * sizeof(struct uring_event));
    return 0;
}

int uring_ring_init(struct uring *uring, const struct io_options *options, const char **ret_reason)
{
    int r = uring_ring_create(uring, options);
    if (r < 0) {
        *ret_reason = uring_reason(r);
        return r;
    }
    /* Place n of the queue always holds entry n, so that submitting is only moving the tail. */
    CHECK(*uring->ring.sq.ktail == 0);
    for (unsigned i = 0; i < uring->sq_entries; i++) {
        uring->ring.sq.array[i] = i;
    }
    uring->enter_fd = uring->ring.ring_fd;
    /* A registered ring spares a table look-up per call. Doing without it costs only that. */
    if (io_uring_register_ring_fd(&uring->ring) == 1) {
        uring->enter_fd = uring->ring.enter_ring_fd;
        uring->enter_flags = IORING_ENTER_REGISTERED_RING;
    }
    r = uring_ring_memory(uring);
    if (r == 0) {
        /* The first real call: a filter may have let the set-up pass and forbid this. */
        r = uring_accept_probe(uring, options);
    }
    if (r == 0 && !options->plain_descriptors) {
        r = io_uring_register_files_sparse(&uring->ring, uring->io.stream_count_max);
        uring->direct = r == 0;
    }
    if (r == 0) {
        uring_wake_arm(uring);
        uring_flush(uring);
        r = uring->broken;
    }
    if (r < 0) {
        *ret_reason = uring_reason(r);
        uring_ring_fini(uring);
    }
    return r;
}

void uring_ring_fini(struct uring *uring)
{
    if (uring->direct) {
        /* Leaving it to the end of the ring would close what is in it at some later time. */
        (void)io_uring_unregister_files(&uring->ring);
    }
    io_uring_queue_exit(&uring->ring);
    if (uring->backlog != NULL) {
        memory_unmap(uring->backlog,
                     (uring->backlog_mask + (size_t)1) * sizeof(struct uring_event));
        uring->backlog = NULL;
    }
}

/* --- Entering the kernel ---------------------------------------------------------------------- */

/* The kernel moves the head when it takes requests; we are the only writer of the tail. */
unsigned uring_unsubmitted(const struct uring *uring)
{
    return uring->sq_tail - __atomic_load_n(uring->ring.sq.khead, __ATOMIC_ACQUIRE);
}

/*
 * Without `events` no deferred completion is run: only what the submitted requests finish with at
 * once appears, such as the results of sends.
 */
static int uring_enter(struct uring *uring, unsigned wait_count, int timeout_ms, bool events)
{
    struct __kernel_timespec timeout;
    struct io_uring_getevents_arg argument = {0};
    unsigned flags = uring->enter_flags;
    if (events) {
        flags |= IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG | uring->wait_flags;
    }
    if (wait_count > 0 && timeout_ms >= 0) {
        timeout.tv_sec = timeout_ms / 1000;
        timeout.tv_nsec = (long long)(timeout_ms % 1000) * 1000000;
        argument.ts = (uint64_t)(uintptr_t)&timeout;
    }
    unsigned count = uring_unsubmitted(uring);
    /* Release: the kernel must see the requests that the tail covers. */
    __atomic_store_n(uring->ring.sq.ktail, uring->sq_tail, __ATOMIC_RELEASE);
    io_count(&uring->io.stats.system_calls, 1);
    return io_uring_enter2((unsigned)uring->enter_fd, count, wait_count, flags,
                           events ? (sigset_t *)&argument : NULL, events ? sizeof(argument) : 0);
}

static void uring_harvest_send(struct uring *uring, uint64_t user_data, int32_t result)
{
    uint64_t value = user_data >> URING_KIND_BITS;
    io_result_add(&uring->io, (uint32_t)value, (size_t)(value >> 32), result);
}

/*
 * Takes completions out of the ring, so that it cannot fill up in the middle of the owner's work
 * and so that the results of sends come first whatever else is there.
 */
static void uring_harvest(struct uring *uring)
{
    struct io_uring_cq *cq = &uring->ring.cq;
    unsigned head = *cq->khead;
    /* Acquire: pairs with the kernel's release of the completions that the tail covers. */
    unsigned tail = __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE);
    for (; head != tail; head++) {
        const struct io_uring_cqe *cqe = &cq->cqes[head & (uring->cq_entries - 1)];
        if (uring_data_kind(cqe->user_data) == URING_SEND) {
            uring_harvest_send(uring, cqe->user_data, cqe->res);
            continue;
        }
        if (uring->backlog_count > uring->backlog_mask) {
            break;
        }
        uint32_t place = (uring->backlog_head + uring->backlog_count++) & uring->backlog_mask;
        uring->backlog[place] = (struct uring_event){
            .user_data = cqe->user_data,
            .result = cqe->res,
            .flags = cqe->flags,
        };
    }
    /* Release: the kernel may reuse the places once it sees the head. */
    __atomic_store_n(cq->khead, head, __ATOMIC_RELEASE);
}

static bool uring_overflowed(const struct uring *uring)
{
    return (__atomic_load_n(uring->ring.sq.kflags, __ATOMIC_RELAXED) & IORING_SQ_CQ_OVERFLOW) != 0;
}

void uring_flush(struct uring *uring)
{
    unsigned tries = 0;
    while (uring->broken == 0 && uring_unsubmitted(uring) > 0) {
        int r = uring_enter(uring, 0, -1, false);
        uring_harvest(uring);
        if (r > 0) {
            tries = 0;
            continue;
        }
        bool passing = r == 0 || r == -EINTR || r == -EAGAIN || r == -EBUSY;
        if (!passing || ++tries > URING_TRIES_MAX) {
            uring->broken = r == 0 ? -EIO : r;
        } else if (r == -EAGAIN || r == -EBUSY) {
            /* The kernel is out of memory for requests, or holds completions that want a place. */
            (void)uring_enter(uring, 0, -1, true);
            uring_harvest(uring);
            (void)sched_yield();
        }
    }
}

/* True if `r`, from entering for events, does not speak against going on. */
static bool uring_enter_went_well(int r)
{
    return r >= 0 || r == -ETIME || r == -EINTR || r == -EAGAIN || r == -EBUSY;
}

int uring_enter_turn(struct uring *uring, int timeout_ms)
{
    if (uring->backlog_count > 0) {
        uring_flush(uring);
        return uring->broken;
    }
    bool busy = uring->io.sends_pending || uring->io.queue.count > 0 || uring->broken < 0;
    unsigned wait_count = busy || timeout_ms == 0 ? 0 : 1;
    unsigned tries = 0;
    for (;;) {
        uint32_t before = uring->backlog_count;
        int r = uring_enter(uring, wait_count, timeout_ms, true);
        wait_count = 0;
        uring_harvest(uring);
        if (!uring_enter_went_well(r)) {
            uring->broken = r;
        }
        if (uring->broken < 0) {
            return uring->broken;
        }
        bool full = uring->backlog_count > uring->backlog_mask;
        bool overflowed = uring_overflowed(uring);
        if (overflowed) {
            io_count(&uring->io.stats.cq_overflows, 1);
        }
        if (uring_unsubmitted(uring) > 0 || (overflowed && !full)) {
            /* Both end by the kernel's progress; a kernel that makes none is not waited for. */
            if (r <= 0 && uring->backlog_count == before && ++tries > URING_TRIES_MAX) {
                uring->broken = r < 0 ? r : -EIO;
            }
            continue;
        }
        uint32_t gained = uring->backlog_count - before;
        if (gained < URING_EVENTS_PER_ENTER || uring->backlog_count >= URING_EVENTS_PER_TURN) {
            return 0;
        }
    }
}

/* --- Requests --------------------------------------------------------------------------------- */

struct io_uring_sqe *uring_get_sqe(struct uring *uring)
{
    if (uring_unsubmitted(uring) == uring->sq_entries) {
        uring_flush(uring);
        if (uring->broken < 0) {
            /* The next turn will tell. Until then requests go nowhere. */
            return &uring->scratch;
        }
    }
    return &uring->ring.sq.sqes[uring->sq_tail++ & (uring->sq_entries - 1)];
}

void uring_wake_arm(struct uring *uring)
{
    /*
     * Nobody reads the eventfd: each write is an event, whatever its value, and 2^64 of them will
     * not come.
     */
    struct io_uring_sqe *sqe = uring_get_sqe(uring);
    io_uring_prep_poll_multishot(sqe, uring->io.wake_fd, POLLIN);
    io_uring_sqe_set_data64(sqe, uring_data_misc(URING_MISC_WAKE));
}

/*
 * By ASYNC_CANCEL and not POLL_REMOVE, which leaves a poll armed that is just about to report
 * (EALREADY). By user_data and not by descriptor, which would look at every poll of the ring.
 */
void uring_cancel(struct uring *uring, uint64_t user_data)
{
    struct io_uring_sqe *sqe = uring_get_sqe(uring);
    io_uring_prep_cancel64(sqe, user_data, 0);
    io_uring_sqe_set_flags(sqe, IOSQE_CQE_SKIP_SUCCESS);
    io_uring_sqe_set_data64(sqe, uring_data_misc(URING_MISC_IGNORE));
}

void uring_drop(struct uring *uring, int32_t descriptor)
{
    struct io_uring_sqe *sqe = uring_get_sqe(uring);
    if (uring->direct) {
        io_uring_prep_close_direct(sqe, (unsigned)descriptor);
    } else {
        io_uring_prep_close(sqe, descriptor);
    }
    io_uring_sqe_set_flags(sqe, IOSQE_CQE_SKIP_SUCCESS);
    io_uring_sqe_set_data64(sqe, uring_data_misc(URING_MISC_IGNORE));
}
