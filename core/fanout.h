/*
 * The fan-out of one shard: from the shard's queue through its feeds to its subscribers' sockets.
 *
 *   queue ──fanout_take──▶ feeds ──fanout_run──▶ one send per subscriber per turn, with everything
 *                                                 that it has not seen yet
 *
 * A turn of the shard calls fanout_take, then fanout_run; the io layer then submits the sends,
 * reports those that fell short (fanout_sent), and says when all are final (fanout_sends_final).
 *
 *   - A pass walks the members of a feed that has something new. It is budgeted and resumes in the
 * next turn; what arrives meanwhile goes out with the next visit, so load makes sends fewer, not
 * later.
 *   - Subscribers at one position share one batch: the frame itself when it is one, one contiguous
 * copy when they are several. Nothing is allocated, locked, formatted or looked up by hash per
 * delivery.
 *   - A visit is optimistic: the cursor moves at once, and moves back if the send fell short.
 *   - A subscriber that does not keep up (blocked, held, resuming) is visited by itself through the
 *     ready list, from the feed's window if that still reaches back to it, else from history.
 *   - How far it may be behind is the channel's lag rule (core/lag.h): looked at when it is
 * visited, and, as a blocked one is not, in sweeps.
 *
 * Ownership: owns its feeds; subscribers belong to their connections. One thread: the shard's.
 */
#ifndef SPATE_CORE_FANOUT_H
#define SPATE_CORE_FANOUT_H

#include <sys/types.h>

#include "core/profile.h"
#include "core/queue.h"
#include "core/sequencer.h"
#include "core/subscriber.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    /* The most sends of one turn: the tokens given to `send` are below this. */
    FANOUT_SENDS_MAX = 1024,
    /* Of a turn's sends, at most one in so many go to those who do not keep up, and go first:
     * neither side starves. */
    FANOUT_READY_SHARE = 4,
    /* Members looked at in one turn, so that a large feed at rest does not hold the loop up. */
    FANOUT_VISITS_MAX = 2048,
    FANOUT_TAKE_MAX = 4096,
    /* What one send may carry; a single larger frame goes alone. */
    FANOUT_BATCH_FRAMES_MAX = 512,
    FANOUT_BATCH_BYTES_MAX = 64 * 1024,
    /* Copies made in one turn. */
    FANOUT_ARENA_BYTES = 1024 * 1024,
    FANOUT_ARENA_KEPT_BYTES = 64 * 1024, /* of it, while there is little to do */
    FANOUT_CACHE_SIZE = 64,
    /* Blocked subscribers looked at in one sweep. */
    FANOUT_BLOCKED_MAX = 1024,
    /* Feeds given back in one sweep: some milliseconds, and more than can come and go meanwhile. */
    FANOUT_RETIRES_MAX = 16384,
};

/* What one turn may cost besides sends: the numbers above. In the simulator smaller, to run out. */
struct fanout_limits {
    uint32_t visits;
    uint32_t take;
    uint32_t batch_frames;
    uint32_t batch_bytes;
    uint32_t arena_bytes; /* room for a few batches, or nobody is ever served from history */
};

/* What the fan-out asks of its shard. Called from fanout_run, fanout_sent and fanout_release. */
struct fanout_handler {
    /* Queue one send; the bytes stay until fanout_sends_final. */
    void (*send)(void *owner, struct subscriber *subscriber, struct span bytes, uint32_t token);
    /* The socket is full: call fanout_writable when there is room. */
    void (*blocked)(void *owner, struct subscriber *subscriber);
    /*
     * Events after `requested` are gone, the newest of them at `available`. What is retained
     * between the two, of quieter channels, is still sent. The owner tells the client (fanout_hold
     * ... fanout_release) or lets it go (fanout_leave).
     */
    void (*lapped)(void *owner, struct subscriber *subscriber, uint64_t requested,
                   uint64_t available);
    /*
     * It is further behind than it may be. LAG_SKIP: fanout_skip, and tell the client.
     * LAG_DISCONNECT: let it go.
     */
    void (*lagging)(void *owner, struct subscriber *subscriber, enum lag_policy policy);
    /* The connection is broken: -errno. The owner leaves. */
    void (*failed)(void *owner, struct subscriber *subscriber, int error);
};

/* Written by the shard, readable by any thread (relaxed). */
struct fanout_stats {
    uint64_t taken;      /* events from the queue */
    uint64_t deliveries; /* frames handed to the kernel, times subscribers */
    uint64_t sends;      /* sends that carried them */
    uint64_t short_sends;
    uint64_t lapped;
    uint64_t history_reads;
    uint64_t passes;
    uint64_t behind; /* subscribers that are behind just now */
};

struct fanout_batch;
struct fanout_delivery;

struct fanout {
    struct sequencer *sequencer;
    struct queue *queue;
    const struct fanout_handler *handler;
    void *owner;
    unsigned shard;
    uint64_t behind_bytes_max; /* what a feed keeps for those who are behind */
    struct fanout_limits limits;
    uint32_t sends_first; /* see fanout_set_sends */
    uint32_t sends_most;
    uint32_t sends_max; /* of this turn */
    struct feed *broadcast;
    uint64_t wall_ms;  /* Unix; the owner's to set before a run: lags are measured against it */
    uint64_t dequeued; /* every event up to here that concerns this shard is in its feed */
    uint64_t sweeps;   /* so far */
    uint32_t turn;
    uint32_t send_count;
    uint64_t deliveries_made; /* with the sends of this turn: not in `stats` yet */
    struct list dirty;        /* feeds with a pass under way or due */
    struct list passed;  /* feeds whose pass ended in this turn: trimmed when its sends are final */
    struct list idle;    /* feeds without members */
    struct list retired; /* detached feeds that the queue may still mention */
    struct list ready;   /* subscribers due for a visit */
    struct list blocked; /* subscribers whose sockets are full */
    struct fanout_delivery *deliveries; /* of this turn; the token is the index */
    struct fanout_batch **cache;        /* the batches of this turn, by whom they are for */
    struct fanout_batch *recent;        /* of them, or NULL: the one that was last found */
    char *arena;
    size_t arena_used;
    size_t arena_top;                     /* the most that turns used since memory was given back */
    struct fanout_batch *history_batches; /* of this turn: they hold references */
    struct frame **read_frames;
    struct fanout_stats stats;
    struct profile *profile; /* on loan from the owner, who may set it after fanout_init; or NULL */
};

/* 0 or -ENOMEM. */
int fanout_init(struct fanout *fanout, struct sequencer *sequencer, struct queue *queue,
                unsigned shard, uint64_t behind_bytes_max);
void fanout_set_handler(struct fanout *fanout, const struct fanout_handler *handler, void *owner);
/*
 * How many sends a turn makes before it looks at what has come in meanwhile: `first` when events
 * have just come, so that others that follow them closely share their sends; twice as many in each
 * turn that brings none, up to `most`, because sends are cheaper by the hundred. 1 to
 * FANOUT_SENDS_MAX, which both are at first.
 */
void fanout_set_sends(struct fanout *fanout, uint32_t first, uint32_t most);
/* No subscriber may be left. */
void fanout_fini(struct fanout *fanout);

/* Takes what the queue holds (bounded) into the feeds. */
void fanout_take(struct fanout *fanout);
/* Queues this turn's sends. */
void fanout_run(struct fanout *fanout);
/* True if fanout_run has more to do without anything new happening. */
bool fanout_has_work(const struct fanout *fanout);

/* The send with this token took only `sent` bytes, or failed with -errno. */
void fanout_sent(struct fanout *fanout, uint32_t token, ssize_t sent);
/* All other sends of the turn took everything. Once per turn, even without sends. */
void fanout_sends_final(struct fanout *fanout);

/* Joins at the present, as does a position that lies ahead of it; or at an earlier position. */
#define FANOUT_FROM_NOW UINT64_MAX

/*
 * Makes `subscriber` (zeroed, with its view set) a member of the named channels and of the
 * broadcast. It starts held: call fanout_release once the response head is out.
 */
enum subscribe_outcome fanout_join(struct fanout *fanout, struct subscriber *subscriber,
                                   struct channel_names names, uint64_t from, uint64_t now_ms);
void fanout_leave(struct fanout *fanout, struct subscriber *subscriber, uint64_t now_ms);

/*
 * Moves a held subscriber to an earlier position, or one that lies beyond what is gone; what is
 * missing up to `complete_after`, its client is told. 0 or -ENOMEM, then nothing has changed.
 */
int fanout_set_back(struct subscriber *subscriber, uint64_t position, uint64_t complete_after);

/* Keeps events back while other bytes are on their way to the subscriber. */
void fanout_hold(struct fanout *fanout, struct subscriber *subscriber);
void fanout_release(struct fanout *fanout, struct subscriber *subscriber);
void fanout_writable(struct fanout *fanout, struct subscriber *subscriber);

/* Goes on with what comes from now on, held; not in the middle of an event. */
void fanout_skip(struct fanout *fanout, struct subscriber *subscriber);

/* True if nothing is under way or due to this subscriber: other bytes may be sent between events.
 */
bool fanout_is_quiet(const struct fanout *fanout, const struct subscriber *subscriber);

/*
 * Moves the position of a quiet subscriber to the newest event of the hub that the shard knows of.
 * False if it is there.
 */
bool fanout_move_on(const struct fanout *fanout, struct subscriber *subscriber);

/*
 * How far the newest event of its channels is ahead of the subscriber, in the hub's order: 0 if it
 * has been sent everything, and at least as many as the events that it has not been sent.
 */
uint64_t fanout_behind(const struct fanout *fanout, const struct subscriber *subscriber);

/*
 * Housekeeping: feeds that have had no members for so many sweeps, this one counted, are given
 * back, and some of the blocked are looked at. By sweeps, as a clock may be set back.
 */
void fanout_sweep(struct fanout *fanout, unsigned sweeps);

#ifdef __cplusplus
}
#endif

#endif
