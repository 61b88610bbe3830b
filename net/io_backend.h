/*
 * What the backends of io share, and the table through which net/io.c reaches them. Internal to
 * net/.
 *
 * A backend embeds `struct io` as its first member. The decisions that must not differ between
 * backends are made here once: what an owner is told after which readiness (io_stream_next), when
 * the results of sends are handed over (io_deliver_sends), and how accepting pauses and resumes.
 *
 * Nothing is allocated per stream: the tables below are sized by `stream_count_max` at start, from
 * pages that cost nothing until they are touched.
 */
#ifndef SPATE_NET_IO_BACKEND_H
#define SPATE_NET_IO_BACKEND_H

#include "core/base/base.h"
#include "core/base/list.h"
#include "net/io.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bits of io_stream.flags. */
enum {
    IO_STREAM_OPEN = 1 << 0,
    IO_STREAM_READING = 1 << 1,
    IO_STREAM_READABLE = 1 << 2,    /* a receive may find something */
    IO_STREAM_GONE = 1 << 3,        /* the peer has finished sending, or worse */
    IO_STREAM_BROKEN = 1 << 4,      /* there is an error on the socket */
    IO_STREAM_ENDED = 1 << 5,       /* the owner was told the end of input */
    IO_STREAM_BROKEN_TOLD = 1 << 6, /* ... or the error */
    IO_STREAM_HUNG_UP_TOLD = 1 << 7,
    IO_STREAM_CLOSING = 1 << 8,
    IO_STREAM_QUEUED = 1 << 9,    /* waits in io.queue for the next turn */
    IO_STREAM_WATCHING = 1 << 10, /* `writable` is owed */
    /* epoll only */
    IO_STREAM_WRITABLE = 1 << 11,
    /* io_uring only */
    IO_STREAM_POLLED = 1 << 12,    /* the multishot poll is armed */
    IO_STREAM_RECEIVING = 1 << 13, /* a receive is in flight */
    IO_STREAM_HELD = 1 << 14,      /* bytes came in while reading was being stopped */
    IO_STREAM_BULKY = 1 << 15,     /* has sent more at a time than a small buffer holds */
};

/* Bits of io_listener.flags. */
enum {
    IO_LISTENER_LISTENING = 1 << 0,
};

enum {
    /* The kernel's own limit on a table of direct descriptors; no loop of one core wants more. */
    IO_STREAM_COUNT_LIMIT = 1 << 20,
    /* When accepting failed for want of descriptors or memory, it is tried again after this time.
     */
    IO_ACCEPT_RETRY_MS = 100,
    /* Connections taken from one listener at a time, so that a burst cannot starve the others. */
    IO_ACCEPT_BATCH_MAX = 64,
};

/* A send that fell short. */
struct io_result {
    uint32_t token;
    int32_t result;
};

/* A ring of streams that want attention in the next turn; each stream is in it at most once. */
struct io_queue {
    struct io_stream **slots;
    uint32_t mask;
    uint32_t head;
    uint32_t count;
};

/* The part of a listener's state that all backends need. Owned by the backend. */
struct io_accepting {
    struct list paused_link;
    struct io_listener *listener;
    uint64_t retry_at_ms;
    bool failure_told; /* since the last connection that was accepted */
};

struct io_backend {
    enum io_kind kind;
    void (*free)(struct io *io);
    int (*turn)(struct io *io, int timeout_ms);
    int (*listen)(struct io *io, struct io_listener *listener);
    void (*listen_stop)(struct io *io, struct io_listener *listener);
    void (*accept_resume)(struct io *io, struct io_accepting *accepting);
    int (*open)(struct io *io, struct io_stream *stream, int32_t descriptor);
    void (*reject)(struct io *io, int32_t descriptor);
    /* READING was just set and something may be waiting. */
    void (*read_resume)(struct io *io, struct io_stream *stream);
    void (*send)(struct io *io, struct io_stream *stream, const char *bytes, size_t len,
                 uint32_t token);
    void (*watch_writable)(struct io *io, struct io_stream *stream);
    void (*shutdown)(struct io *io, struct io_stream *stream);
    void (*close)(struct io *io, struct io_stream *stream);
};

struct io {
    const struct io_backend *backend;
    struct io_handler handler;
    void *owner;
    uint64_t now_ms;
    uint64_t now_ns;
    int wake_fd; /* an eventfd; written by io_wake, the rest of this struct by the owning thread
                    only */
    uint32_t stream_count;
    uint32_t stream_count_max;
    uint32_t listener_count;
    bool has_plain_descriptors; /* the owner may bring sockets of its own */
    bool in_turn;
    bool sends_pending; /* bytes are on loan: the next turn must not wait */
    bool has_more;      /* the backend's turn: see io_has_more */
    bool offering;      /* inside `accepted`, and neither io_open nor io_reject was called yet */
    int32_t offered;
    struct list paused; /* of io_accepting */
    /*
     * Two tables, because a `sent` callback may send again, and the result of that belongs to the
     * next turn. One send per stream between two turns bounds each by stream_count_max.
     */
    struct io_result *results;
    struct io_result *results_delivering;
    uint32_t result_count;
    struct io_queue queue;
    struct io_stats stats; /* other threads read it */
};

enum io_next {
    IO_NEXT_NOTHING,
    IO_NEXT_RECEIVE, /* there may be bytes, an end or an error, and the owner wants them */
    IO_NEXT_HUNG_UP, /* tell that the peer is gone */
    IO_NEXT_RESET,   /* tell the error that came after the end of input */
};

int io_uring_backend_new(const struct io_options *options, const struct io_handler *handler,
                         void *owner, struct io **ret_io, const char **ret_reason);
int io_epoll_backend_new(const struct io_options *options, const struct io_handler *handler,
                         void *owner, struct io **ret_io, const char **ret_reason);

/* The shared part of making and freeing. After a failed io_init nothing is left to free. */
int io_init(struct io *io, const struct io_backend *backend, const struct io_options *options);
void io_set_handler(struct io *io, const struct io_handler *handler, void *owner);
void io_fini(struct io *io);

void io_clock_read(struct io *io);
/* Shortens a wait so that paused listeners are tried again in time. */
int io_wait_ms(const struct io *io, int timeout_ms);

/* Notes a send that fell short; `len` is what was asked for. */
void io_result_add(struct io *io, uint32_t token, size_t len, int32_t result);
/* Runs `sent` for every noted result, then `sends_final`. */
void io_deliver_sends(struct io *io);

void io_queue_push(struct io *io, struct io_stream *stream);
struct io_stream *io_queue_take(struct io *io);

/* Notes what poll(2) bits say about the input side. */
void io_stream_note(struct io_stream *stream, unsigned events);
enum io_next io_stream_next(const struct io_stream *stream);
/* Runs `received`. A length of 0 or less is remembered as the end of input. */
void io_deliver(struct io *io, struct io_stream *stream, const char *bytes, ssize_t len);
/* Runs what io_stream_next asked for, except receiving. */
void io_tell(struct io *io, struct io_stream *stream, enum io_next next);
void io_stream_begin(struct io *io, struct io_stream *stream, int32_t descriptor);
/* The last act of a stream: zeroes it and runs `closed`. */
void io_stream_finish(struct io *io, struct io_stream *stream);

/* Runs `accepted` and checks that the owner decided. */
void io_offer(struct io *io, struct io_accepting *accepting, int32_t descriptor,
              const struct sockaddr_storage *address);
/* True for errors that concern only the connection that was about to be accepted (accept(2)). */
bool io_accept_error_is_passing(int error);
/*
 * Stops accepting for a while. Runs `accept_failed` the first time, in which the owner may stop the
 * listener: the caller must not touch `accepting` afterwards.
 */
void io_accept_pause(struct io *io, struct io_accepting *accepting, int error);
void io_accept_unpause(struct io_accepting *accepting);
/* Resumes the paused listeners whose time has come. */
void io_accept_retry(struct io *io);

static inline bool io_stream_has(const struct io_stream *stream, unsigned bits)
{
    return (stream->flags & bits) != 0;
}

static inline void io_stream_set(struct io_stream *stream, unsigned bits)
{
    stream->flags = (uint16_t)(stream->flags | bits);
}

static inline void io_stream_clear(struct io_stream *stream, unsigned bits)
{
    stream->flags = (uint16_t)(stream->flags & ~bits);
}

/*
 * Counters have one writer, so adding needs no locked instruction. Relaxed stores pair with the
 * relaxed loads of whoever shows the numbers; they order nothing.
 */
static inline void io_count(uint64_t *counter, uint64_t amount)
{
    __atomic_store_n(counter, *counter + amount, __ATOMIC_RELAXED);
}

#ifdef __cplusplus
}
#endif

#endif
