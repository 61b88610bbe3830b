/*
 * The fan-out profile of one shard: where the time goes between a publisher's request and the last
 * subscriber's send, as histograms that are always on.
 *
 *   an event's way    PARSE ▸ SEQUENCE ▸ QUEUE ▸ PASS + SUBMIT + COMPLETION + OTHER
 *                     └──────────────────────── TOTAL ────────────────────────────┘
 *                      publisher's shard   each shard with subscribers of the channel
 *
 *   a turn's phases   SUBMIT or WAIT ▸ COMPLETION ▸ RECEIVE ▸ PASS ▸ REST
 *
 * The clock is read a few times a turn, once when a request comes in, and once for each publish
 * that somebody hears; never per delivery. Reading it moves the turn on to its next phase, and the
 * sums of the phases are remembered for each turn that took events from the queue. An event's
 * stages on a shard are then differences of those sums between the turn that took it and the one
 * that made its last send. They do not overlap, and they add up to what passed since the event was
 * taken.
 *
 * The last send is the last to those who keep up: who was behind (blocked, resuming) is not waited
 * for, but shows in CATCH_UP.
 *
 * Counts: PARSE and SEQUENCE are one for each event published that goes to a shard, QUEUE one for
 * each event taken, and PASS, SUBMIT, COMPLETION, OTHER and TOTAL one for each of these that
 * subscribers waited for.
 *
 * Threads: one writer, the shard. Any thread may read the histograms and the sums of the phases.
 * Compiled with SPATE_PROFILE_OFF nothing is recorded and no clock is read.
 */
#ifndef SPATE_CORE_PROFILE_H
#define SPATE_CORE_PROFILE_H

#include "core/base/histogram.h"
#include "core/feed.h"
#include "core/queue.h"

#ifdef __cplusplus
extern "C" {
#endif

#ifdef SPATE_PROFILE_OFF
enum { PROFILE_IS_ON = 0 };
#else
enum { PROFILE_IS_ON = 1 };
#endif

enum profile_measure {
    /* Of events, in nanoseconds. */
    PROFILE_PARSE,      /* from the request's last bytes in hand until the shards can see it ... */
    PROFILE_SEQUENCE,   /* ... without the wait for the sequencer's lock, which is this */
    PROFILE_QUEUE,      /* from there to the shard that takes it */
    PROFILE_PASS,       /* of the time until the last send: walks over subscribers */
    PROFILE_SUBMIT,     /* ... the kernel taking what the walks queued */
    PROFILE_COMPLETION, /* ... what became of the sends */
    PROFILE_OTHER,      /* ... requests, timers and the rest of the loop */
    PROFILE_TOTAL,      /* from the request's last bytes to the last send */
    PROFILE_STAGE_COUNT = PROFILE_TOTAL, /* the stages of an event's way come first */
    /* Of turns, in nanoseconds. */
    PROFILE_TURN, /* without the wait */
    /* Of sends to those who are behind: how old the first event is, in nanoseconds, to the ms. */
    PROFILE_CATCH_UP,
    /* Numbers. */
    PROFILE_BATCH,       /* events in a send */
    PROFILE_SENDS,       /* sends of a turn that has any */
    PROFILE_QUEUE_DEPTH, /* events that wait when the shard looks and finds any */
    PROFILE_MEASURE_COUNT,
};

enum profile_phase {
    PROFILE_PHASE_WAIT,
    PROFILE_PHASE_SUBMIT,
    PROFILE_PHASE_COMPLETION,
    PROFILE_PHASE_RECEIVE,
    PROFILE_PHASE_PASS,
    PROFILE_PHASE_REST,
    PROFILE_PHASE_COUNT,
};

/* Turns that took events and are remembered; in longer passes the oldest lose some of their time.
 */
enum { PROFILE_TAKE_COUNT = 8192, PROFILE_TAKES_KEPT = 256 };

/* A turn that took events from the queue. */
struct profile_take {
    uint64_t upto; /* the newest of them */
    uint64_t taken_ns;
    uint64_t pass_ns, submit_ns, completion_ns; /* the sums of the phases at that moment */
};

struct profile {
    uint64_t (*clock_ns)(void); /* monotonic */
    uint64_t now_ns;            /* of the last change of phase */
    uint64_t final_ns;          /* when the turn's sends had become final */
    enum profile_phase phase;
    uint64_t phase_ns[PROFILE_PHASE_COUNT]; /* sums, without the one that is under way */
    uint64_t turn_began_ns;
    uint64_t turn_waited_ns;
    uint64_t request_ns; /* the last bytes of the request being handled; 0: none is */
    uint32_t batch;      /* the last sends carried so many events ... */
    uint32_t batch_run;  /* ... and were so many */
    uint32_t taken;      /* events of this turn so far */
    uint64_t take_count;
    uint64_t take_top; /* the most there were since memory was given back */
    struct profile_take takes[PROFILE_TAKE_COUNT];
    struct histogram histograms[PROFILE_MEASURE_COUNT];
};

/* NULL when out of memory. */
struct profile *profile_new(uint64_t (*clock_ns)(void));
void profile_free(struct profile *profile);

/* ---- The loop ---- */

static inline uint64_t profile_clock(const struct profile *profile)
{
    return PROFILE_IS_ON ? profile->clock_ns() : 0;
}

/* The phase under way ended at `now_ns`, and `phase` begins. */
void profile_enter(struct profile *profile, enum profile_phase phase, uint64_t now_ns);
/* The same, and a turn ends. */
void profile_turn(struct profile *profile, enum profile_phase phase, uint64_t now_ns);

/* ---- A publisher's side ---- */

/*
 * Bytes came in that may be a request's last. What is published until profile_request_end counts
 * from here.
 */
static inline void profile_request(struct profile *profile)
{
    profile->request_ns = profile_clock(profile);
}

static inline void profile_request_end(struct profile *profile)
{
    profile->request_ns = 0;
}

/*
 * `count` events of one request were published and can be seen by the shards since `sequenced_ns`;
 * of the time before, `waited_ns` went into waiting for the lock.
 */
void profile_published(struct profile *profile, unsigned count, uint64_t sequenced_ns,
                       uint64_t waited_ns);

/* ---- The fan-out's side; `profile` may be NULL ---- */

/* Nothing that was taken before has members that wait for it: those turns can be forgotten. */
static inline void profile_at_rest(struct profile *profile)
{
    if (PROFILE_IS_ON && profile != NULL) {
        profile->take_top = max_u64(profile->take_top, profile->take_count);
        profile->take_count = 0;
    }
}

/* The same, and there is little to do: memory for many such turns goes back. */
void profile_give_back(struct profile *profile);

/* An event was taken from the queue. */
void profile_taken(struct profile *profile, const struct frame *frame);
/* That was all for this turn, up to this place in the order; `queue` is left with the others. */
void profile_taken_all(struct profile *profile, uint64_t upto, struct queue *queue);
/* A send of so many events was queued. */
static inline void profile_send(struct profile *profile, uint32_t events);
/* ... to one who is behind, and the first of them is so old. */
void profile_catch_up(struct profile *profile, uint64_t age_ms);
/* All sends of the turn are final. Reads the clock if there were any. */
void profile_sends_final(struct profile *profile, uint32_t sends);
/* The feed's pass is final: every member that keeps up has what it has passed. */
void profile_settle(struct profile *profile, struct feed *feed);

/* ---- Reading ---- */

static inline const struct histogram *profile_histogram(const struct profile *profile,
                                                        enum profile_measure measure)
{
    return &profile->histograms[measure];
}

static inline uint64_t profile_phase_ns(const struct profile *profile, enum profile_phase phase)
{
    /* Relaxed: one writer, and the sums need not agree with one another. */
    return __atomic_load_n(&profile->phase_ns[phase], __ATOMIC_RELAXED);
}

/* ---- Inline ---- */

/* The sends so far that carried as many events as each other. */
void profile_batch_flush(struct profile *profile);

static inline void profile_send(struct profile *profile, uint32_t events)
{
    if (PROFILE_IS_ON && profile != NULL) {
        if (unlikely(profile->batch != events)) {
            profile_batch_flush(profile);
            profile->batch = events;
        }
        profile->batch_run++;
    }
}

#ifdef __cplusplus
}
#endif

#endif
