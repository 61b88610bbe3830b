/*
 * The inside of the io_uring backend, shared by its three files: net/uring_ring.c (the ring itself:
 * set-up, entering the kernel, taking completions), net/uring_accept.c (listeners) and
 * net/io_uring.c (streams and the turn). Internal to net/.
 *
 * user_data is a value with a kind in the low three bits: the address of the owner of the request,
 * or, for a send, its token and length. An owner's memory stays while it has requests in flight (it
 * counts them), so that no completion can be stale.
 */
#ifndef SPATE_NET_URING_H
#define SPATE_NET_URING_H

#include <liburing.h>

#include "net/io_backend.h"

#ifdef __cplusplus
extern "C" {
#endif

enum uring_kind {
    URING_MISC,    /* value: enum uring_misc */
    URING_SEND,    /* value: length << 32 | token */
    URING_POLL,    /* value: struct io_stream, as for the next but RECEIVE and ACCEPT */
    URING_RECEIVE, /* value: struct uring_buffer */
    URING_WRITABLE,
    URING_CLOSE,
    URING_SHUTDOWN,
    URING_ACCEPT, /* value: struct uring_accept */
};

enum uring_misc {
    URING_MISC_IGNORE, /* a request that reports only its failure, which is no news */
    URING_MISC_WAKE,
    URING_MISC_PROBE,
};

enum { URING_KIND_BITS = 3, URING_KIND_MASK = (1 << URING_KIND_BITS) - 1 };

enum {
    /*
     * 64 receives in one turn is more than a turn has time for. A stream uses a buffer only from
     * the queueing of its receive to the callback, so that idle streams cost no memory. Nearly all
     * requests fit into a small one, of which several share a page: a thousand that connect at once
     * touch no more of them than they need.
     */
    URING_SMALL_COUNT = 64,
    URING_SMALL_SIZE = 1024,
    URING_LARGE_COUNT = 32,
    URING_LARGE_SIZE = 16 * 1024,
    URING_BUFFER_COUNT = URING_SMALL_COUNT + URING_LARGE_COUNT,
    URING_BUFFERS_BYTES =
        URING_SMALL_COUNT * URING_SMALL_SIZE + URING_LARGE_COUNT * URING_LARGE_SIZE,
    /* Events handled in one turn: bounds how long the sends of the next one have to wait. */
    URING_EVENTS_PER_TURN = 1024,
};

/* A completion, copied out of the ring. */
struct uring_event {
    uint64_t user_data;
    int32_t result;
    uint32_t flags;
};

struct uring_buffer {
    struct uring_buffer *next;
    struct io_stream *stream;
    char *bytes;
    unsigned size;
} __attribute__((aligned(8)));

/* Bytes that were received while the owner stopped reading. One per stream at most. */
struct uring_held {
    struct list link;
    struct io_stream *stream;
    size_t len;
    char bytes[];
};

/* One accept request with its place for the peer's address, or the listener's poll. */
struct uring_accept {
    struct uring_listener *listener;
    struct sockaddr_storage address;
    socklen_t address_len;
    bool queued; /* in the kernel, or on the way there */
};

struct uring_listener {
    struct io_accepting accepting;
    bool polled;    /* the multishot poll is armed */
    bool ready;     /* the poll has fired since the batch was queued */
    bool exhausted; /* an accept of the batch found nothing */
    int error;      /* an accept of the batch failed for want of something */
    unsigned batch;
    unsigned pending;         /* accepts in flight */
    struct uring_accept poll; /* stands for the poll */
    struct uring_accept slots[IO_ACCEPT_BATCH_MAX];
};

struct uring {
    struct io io;
    struct io_uring ring;
    int enter_fd;
    unsigned enter_flags;
    unsigned wait_flags;
    unsigned sq_entries;
    unsigned sq_tail; /* ours; the kernel sees it when we enter */
    unsigned cq_entries;
    int broken;            /* -errno of a ring that does not take requests any more */
    bool direct;           /* the streams' descriptors are in the ring's own table */
    uint16_t accept_flags; /* URING_ACCEPT_DONTWAIT where the kernel knows it */
    uint32_t accepting;    /* accepts in flight: each may become a stream */
    struct io_uring_sqe scratch;

    /*
     * Events that were taken out of the ring and not handled yet, a ring of its own. While it is
     * not empty, no new completions are asked for, so each stream has at most one event of each
     * kind in it.
     */
    struct uring_event *backlog;
    uint32_t backlog_mask;
    uint32_t backlog_head;
    uint32_t backlog_count;

    struct uring_buffer *small_free;
    struct uring_buffer *large_free;
    struct uring_buffer buffers[URING_BUFFER_COUNT];
    char *buffer_bytes;
    struct list held;
};

static inline struct uring *uring_of(struct io *io)
{
    return container_of(io, struct uring, io);
}

static inline uint64_t uring_data(const void *owner, enum uring_kind kind)
{
    return (uint64_t)(uintptr_t)owner | kind;
}

static inline uint64_t uring_data_misc(enum uring_misc misc)
{
    return (uint64_t)misc << URING_KIND_BITS | URING_MISC;
}

static inline enum uring_kind uring_data_kind(uint64_t user_data)
{
    return (enum uring_kind)(user_data & URING_KIND_MASK);
}

static inline void *uring_data_owner(uint64_t user_data)
{
    return (void *)(uintptr_t)(user_data & ~(uint64_t)URING_KIND_MASK);
}

/* --- The ring (uring_ring.c) --- */

int uring_ring_init(struct uring *uring, const struct io_options *options, const char **ret_reason);
void uring_ring_fini(struct uring *uring);

/* A place in the submission queue; if that is full, it is submitted first. Never NULL. */
struct io_uring_sqe *uring_get_sqe(struct uring *uring);
/* Number of requests that the kernel has not taken yet. */
unsigned uring_unsubmitted(const struct uring *uring);
/*
 * Submits everything, waits as asked, and leaves the results of sends in io.results and the other
 * events in the backlog. Returns 0 or the error of a broken ring.
 */
int uring_enter_turn(struct uring *uring, int timeout_ms);
/* Submits everything. Runs before the ring is freed and when the submission queue is full. */
void uring_flush(struct uring *uring);
void uring_wake_arm(struct uring *uring);
/* Queues a cancellation by user_data; the cancelled request itself completes. */
void uring_cancel(struct uring *uring, uint64_t user_data);
/* Queues the closing of a descriptor that no stream owns. */
void uring_drop(struct uring *uring, int32_t descriptor);

/* --- Listeners (uring_accept.c) --- */

/* Finds out how the ring can accept. Returns 0 or a negative errno. On a new ring only. */
int uring_accept_probe(struct uring *uring, const struct io_options *options);
int uring_listen(struct io *io, struct io_listener *listener);
void uring_listen_stop(struct io *io, struct io_listener *listener);
void uring_accept_resume(struct io *io, struct io_accepting *accepting);
void uring_accept_event(struct uring *uring, const struct uring_event *event);

#ifdef __cplusplus
}
#endif

#endif
