/*
 * The io contract: what a shard asks of the kernel, and nothing more.
 *
 * A `struct io` is the event loop of one thread. It owns the readiness and completion machinery
 * (an io_uring or an epoll instance) and knows neither HTTP nor channels. Several backends stand
 * behind this one page and pass the same tests:
 *
 *   io_uring  the default; see net/io_uring.c for each setup flag and its reason
 *   epoll     where io_uring is switched off, or on request
 *   simulated (tests) a seed decides every short write, stall, reset and reordering
 *
 * The rules
 *   1. Callbacks run only from io_turn, never from inside any other call.
 *   2. In one turn the results of the sends queued before it come first; then `sends_final` is
 * called once; then everything else. So when any other callback runs, no bytes are on loan any
 * more.
 *   3. A send tries once and never waits: it takes what the kernel takes. Only a send that did not
 *      take everything is reported (`sent`); silence until `sends_final` means all bytes went out.
 *      The bytes are on loan to io from io_send until `sends_final`.
 *   4. At most one send per stream between two turns.
 *   5. After io_close(stream) no callback comes for that stream but one `closed`, which always
 * comes, from a later turn. Only after it may the stream's memory be reused. Bytes given to io_send
 *      before io_close in the same turn are still sent (closing orders behind sending).
 *      If such a send falls short, its `sent` still comes, by token, in the next turn and so before
 *      `closed`: it is news about the loan, not about the stream.
 *   6. A stream's received bytes are valid only during the callback.
 *
 * Threads: an io belongs to the thread that calls io_turn first; everything is called from there,
 * except io_wake, which any thread may call.
 *
 * Errors: functions return 0 or a negative errno.
 */
#ifndef SPATE_NET_IO_H
#define SPATE_NET_IO_H

#include <sys/socket.h>

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct io;

enum io_kind {
    IO_KIND_AUTO, /* io_uring where it works, else epoll */
    IO_KIND_URING,
    IO_KIND_EPOLL,
};

/* "auto", "io_uring", "epoll" */
const char *io_kind_name(enum io_kind kind);

/*
 * A connected socket. Embedded in its owner; zeroed while closed; written by io alone while open.
 * `descriptor` is a plain file descriptor under epoll and an index into the ring's own table of
 * direct descriptors under io_uring: it means nothing to other threads or to system calls.
 */
struct io_stream {
    int32_t descriptor;
    uint16_t flags;            /* io's */
    uint16_t inflight;         /* kernel requests that have not had their final completion */
} __attribute__((aligned(8))); /* io keeps tags in the low bits of its address */

/* A listening socket being accepted from. Embedded in its owner. `fd` is a plain descriptor. */
struct io_listener {
    int fd;
    uint32_t flags;    /* io's */
    uint32_t inflight; /* io's */
    void *backend;     /* io's */
};

/* What io tells its owner. `owner` is the pointer given to io_new. */
struct io_handler {
    /*
     * A connection was accepted. Exactly one of io_open(stream, descriptor) and
     * io_reject(descriptor) must be called before returning. `address` is valid during the
     * callback.
     */
    void (*accepted)(void *owner, struct io_listener *listener, int32_t descriptor,
                     const struct sockaddr_storage *address);
    /*
     * Accepting stopped by itself: -EMFILE (also when stream_count_max streams are open), -ENFILE,
     * -ENOBUFS, -ENOMEM. It resumes by itself too. Told once, and again only after an accepted one.
     */
    void (*accept_failed)(void *owner, struct io_listener *listener, int error);
    /*
     * len > 0: bytes; 0: the peer has finished sending; < 0: -errno. While reading is started.
     * After the 0 only an error may follow, after an error nothing.
     */
    void (*received)(void *owner, struct io_stream *stream, const char *bytes, ssize_t len);
    /*
     * The peer closed or reset while reading was stopped. At most once. Bytes may still be unread:
     * starting to read again delivers them, and then the end or the error.
     */
    void (*hung_up)(void *owner, struct io_stream *stream);
    /* A send fell short: `result` bytes (possibly 0 when nothing fitted) were taken, or -errno. */
    void (*sent)(void *owner, uint32_t token, ssize_t result);
    /* Rule 2: the sends of before this turn are final. */
    void (*sends_final)(void *owner);
    /* After io_watch_writable: there is room again. */
    void (*writable)(void *owner, struct io_stream *stream);
    void (*closed)(void *owner, struct io_stream *stream);
};

struct io_options {
    /*
     * Streams that may be open at a time, under every backend; capped by RLIMIT_NOFILE, and 0 means
     * as many as that allows. With io_uring this is the number of direct descriptors reserved.
     */
    uint32_t stream_count_max;
    bool plain_descriptors; /* io_uring: keep ordinary descriptors (clients; measurements) */
    /* io_uring: ring sizes, powers of two; 0 for the defaults. Tests make them small. */
    uint32_t sq_entries;
    uint32_t cq_entries;
    bool accept_waits; /* io_uring: accept as before Linux 6.10; tests */
};

/* The most bytes that one io_send may carry. */
enum { IO_SEND_LEN_MAX = (1 << 29) - 1 };

/* Counters: written by the owning thread, readable by any (relaxed, one writer). */
struct io_stats {
    uint64_t sends;       /* send attempts */
    uint64_t sends_short; /* of them, not complete */
    uint64_t bytes_sent;  /* taken by the kernel */
    uint64_t bytes_received;
    uint64_t accepts;
    uint64_t turns;
    uint64_t system_calls; /* io_uring_enter, or epoll_wait + send + recv + accept ... */
    uint64_t cq_overflows; /* io_uring only */
};

/*
 * Makes a loop. With IO_KIND_AUTO, io_uring is tried first; if that fails, *ret_reason (never NULL
 * then) says in one phrase why (seccomp, sysctl, kernel, memory) and epoll is used.
 * *ret_reason is NULL when the wanted backend was used, and also set when a wanted backend fails.
 * Must be called on the thread that will run the loop.
 */
int io_new(enum io_kind kind, const struct io_options *options, const struct io_handler *handler,
           void *owner, struct io **ret_io, const char **ret_reason);
/*
 * All streams must be closed, listeners stopped and idle. On the loop's thread, or after it has
 * ended.
 */
void io_free(struct io *io);

/* IO_KIND_URING or IO_KIND_EPOLL, never AUTO. */
enum io_kind io_kind_of(const struct io *io);
const struct io_stats *io_stats_of(const struct io *io);

/*
 * One turn: submits what was queued, waits at most timeout_ms for something to happen (0: not at
 * all, < 0: for ever), then runs the callbacks. Returns 0, or a negative errno when the loop is
 * broken.
 */
int io_turn(struct io *io, int timeout_ms);

/* True if the last turn has left something that came before it to the next one: input, an end. */
bool io_has_more(const struct io *io);

/* Monotonic milliseconds, read once per turn after the wait. */
uint64_t io_now_ms(const struct io *io);
/* The same reading in nanoseconds. */
uint64_t io_now_ns(const struct io *io);

/* Makes the current or the next io_turn return at once. Any thread; async-signal-safe. */
void io_wake(struct io *io);

/*
 * Accepting. The listening socket must be non-blocking; its ownership stays with the caller.
 * Listening may be started again before io_listener_is_idle.
 */
int io_listen(struct io *io, struct io_listener *listener);
/*
 * After it returns no `accepted` comes until io_listen is called again. Called from inside a
 * callback, connections that the kernel has handed over in the same batch (at most 63) are closed.
 */
void io_listen_stop(struct io *io, struct io_listener *listener);
/*
 * True once nothing is in flight on the stopped listener: only then may its memory go, and its fd
 * be closed. It takes some turns.
 */
bool io_listener_is_idle(const struct io_listener *listener);

/*
 * Starts life with reading started. `stream` must be zeroed. On failure (-ENOMEM, -ENOSPC) the
 * connection is closed already and the stream stays zeroed.
 */
int io_open(struct io *io, struct io_stream *stream, int32_t descriptor);
void io_reject(struct io *io, int32_t descriptor);
/*
 * Like io_open, at any time, for a socket that did not come from accepting: a client's, connecting
 * or connected. `fd` is non-blocking and io's from here on; the loop must have been made with
 * plain_descriptors. While it is connecting a send takes nothing (-EAGAIN or -ENOTCONN), and
 * `writable` tells when to try again. -EMFILE when stream_count_max streams are open.
 */
int io_adopt(struct io *io, struct io_stream *stream, int fd);

/*
 * Reading delivers bytes as they come. Stopping it leaves unread bytes in the kernel, so that the
 * peer is held back by flow control; closing and resets are still noticed (`hung_up`).
 */
void io_read_start(struct io *io, struct io_stream *stream);
void io_read_stop(struct io *io, struct io_stream *stream);

/* `len` is from 1 to IO_SEND_LEN_MAX. */
void io_send(struct io *io, struct io_stream *stream, const char *bytes, size_t len,
             uint32_t token);
/* One `writable` when the socket has room after a short send, or when sending has become hopeless.
 */
void io_watch_writable(struct io *io, struct io_stream *stream);
/* Sends FIN behind what was sent; receiving goes on. */
void io_shutdown(struct io *io, struct io_stream *stream);
void io_close(struct io *io, struct io_stream *stream);
bool io_stream_is_open(const struct io_stream *stream);

#ifdef __cplusplus
}
#endif

#endif
