/*
 * A worker: one process with one event loop and its share of the subscribers.
 *
 * Processes rather than threads, because a process has descriptors of its own: the number of
 * subscribers is bounded by memory alone. Subscriber i reads channel i mod channel_count, and the
 * workers hold consecutive ranges.
 *
 *   worker.c   the loop; connecting, slow reading
 *   orders.c   storms, and what else all workers are told to do at one moment
 *   receive.c  what the bytes that come in mean
 *
 * Everything here belongs to the worker's one thread; what others may see is on the scoreboard.
 */
#ifndef SPATE_LOAD_WORKER_H
#define SPATE_LOAD_WORKER_H

#include "core/base/list.h"
#include "core/base/random.h"
#include "core/base/wheel.h"
#include "net/io.h"
#include "tools/load/event_reader.h"
#include "tools/load/frame_ring.h"
#include "tools/load/ledger.h"
#include "tools/load/options.h"
#include "tools/load/scoreboard.h"

#ifdef __cplusplus
extern "C" {
#endif

enum subscriber_state {
    SUBSCRIBER_IDLE,      /* waits in the queue to connect, or for its timer */
    SUBSCRIBER_REQUESTED, /* connecting, or waiting for the head */
    SUBSCRIBER_OPEN,
    SUBSCRIBER_CLOSING,
    SUBSCRIBER_VANISHED, /* nobody counts on it; its connection stays, as far as it knows */
};

struct subscriber {
    struct io_stream stream;
    struct event_reader reader;
    uint32_t position; /* in the channel's ring */
    uint8_t state;     /* enum subscriber_state */
    bool is_slow;
    bool is_vanishing; /* of those that will vanish if told so */
    bool is_known;     /* it was open once: its ledgers are under way */
    bool is_stormed;
    uint8_t id_len; /* of the last event; 0: none */
    char id[EVENT_ID_LEN_KEPT];
    uint32_t request_sent;
    uint64_t begin_ns;        /* of the attempt to connect */
    uint64_t cut_ns;          /* of the storm that it comes back from */
    uint64_t announced_slots; /* the next gap in these was announced */
    uint64_t unresumed_slots; /* ... or follows a reconnection without an id */
    struct list queue_link;
    struct wheel_node timer; /* to connect again, or for a slow one to read on */
};

struct worker {
    const struct options *options;
    struct scoreboard *board;
    struct worker_score *score;
    struct io *io;
    uint32_t first; /* number of its first subscriber in the whole run */
    uint32_t count;
    uint32_t ring_count;
    uint32_t slot_count;
    struct subscriber *subscribers;
    struct ledger *ledgers; /* slot_count for each subscriber */
    struct frame_ring *rings;

    struct list connect_queue;
    uint32_t in_flight;          /* have not got their head yet */
    uint64_t in_flight_since_ns; /* the last one got it */
    uint64_t connect_begin_ns;
    uint64_t connect_begun; /* attempts, for the rate */
    struct wheel wheel;
    struct random random;
    uint64_t retry_ms; /* as the server wishes */
    struct list away;  /* cut, and not to come back yet */
    bool keeps_away;
    uint64_t orders_seen;
    enum load_phase phase; /* as last seen */

    struct buffer request;
    char *loaned; /* requests on the way to the kernel, until the sends are final */
    size_t loaned_len;

    /* While bytes are being received: */
    struct subscriber *receiving;
    uint64_t now_ns;
    bool head_is_bad;
    struct ring_frame unit; /* what was read since the last clean place */
};

/* Runs in a process of its own until the run is done, and ends it. */
__attribute__((noreturn)) void worker_run(const struct options *options, struct scoreboard *board,
                                          unsigned worker_index);

/* receive.c: the io layer's callback for bytes and ends. */
void worker_received(void *owner, struct io_stream *stream, const char *bytes, ssize_t len);
/* What is missing at the end of the run. */
void worker_sum_up(struct worker *worker);

/* orders.c: does what all workers have been told to do. */
void worker_serve_orders(struct worker *worker);

/* worker.c: the response is of no use any more; the subscriber will connect again. */
void worker_drop(struct worker *worker, struct subscriber *subscriber, const char *problem);
/* worker.c: the subscriber has got its head. */
void worker_opened(struct worker *worker, struct subscriber *subscriber);
/* worker.c: makes a slow reader pause after `len` bytes. */
void worker_pause(struct worker *worker, struct subscriber *subscriber, size_t len);

static inline uint32_t worker_channel(const struct worker *worker,
                                      const struct subscriber *subscriber)
{
    const uint32_t local = (uint32_t)(subscriber - worker->subscribers);
    return (worker->first + local) % worker->options->channel_count;
}

/* Subscribers of one channel share a ring. */
static inline struct frame_ring *worker_ring(const struct worker *worker,
                                             const struct subscriber *subscriber)
{
    const uint32_t local = (uint32_t)(subscriber - worker->subscribers);
    return &worker->rings[local % worker->ring_count];
}

static inline struct ledger *worker_ledger(const struct worker *worker,
                                           const struct subscriber *subscriber, uint32_t slot)
{
    const size_t local = (size_t)(subscriber - worker->subscribers);
    return &worker->ledgers[local * worker->slot_count + slot];
}

#ifdef __cplusplus
}
#endif

#endif
