/*
 * The memory that the processes of one run share: what each has counted, and in which phase the run
 * is. Mapped before the processes are forked, so that it is at the same address in all.
 *
 * Each score is written by one process and read by the one that reports, at any time; numbers that
 * belong together may be a moment apart until the run is over. Relaxed atomics, except where a
 * comment says what is ordered.
 */
#ifndef SPATE_LOAD_SCOREBOARD_H
#define SPATE_LOAD_SCOREBOARD_H

#include "core/base/histogram.h"

#ifdef __cplusplus
extern "C" {
#endif

enum load_phase {
    LOAD_CONNECT, /* the subscribers come */
    LOAD_PUBLISH, /* from start_ns on */
    LOAD_DRAIN,   /* what is under way may still arrive */
    LOAD_DONE,    /* everybody sums up and ends */
};

/* What all workers are told to do, one order after the other; see tools/load/steps.h. */
enum load_order {
    LOAD_ORDER_STORM,  /* options.storm_percent of them are cut, and come back at once */
    LOAD_ORDER_CUT,    /* order_count of them are cut, and stay away */
    LOAD_ORDER_RETURN, /* those come back */
    LOAD_ORDER_VANISH, /* nobody counts on those of --vanishing any more */
};

enum { SCORE_PROBLEM_LEN = 160, SCORE_UNCERTAIN_COUNT_MAX = 65536 };

/* What a process cost, as getrusage(2) tells. */
struct score_cpu {
    uint64_t user_ns;
    uint64_t system_ns;
};

/* Of the subscribers of one worker. */
struct worker_score {
    int pid;
    uint64_t is_finished; /* release: after everything else */
    struct score_cpu cpu;
    struct score_cpu cpu_at_start; /* of publishing */
    struct score_cpu cpu_at_end;

    uint64_t open;             /* connections that have got their head */
    uint64_t connects;         /* how often that happened */
    uint64_t connect_failures; /* attempts that did not get so far */
    uint64_t cut;              /* closed by the server */
    uint64_t storm_cuts;       /* closed by us, to come back */
    uint64_t vanished;         /* not counted on any more */
    uint64_t not_open;         /* at the end */
    uint64_t orders_done;      /* release: what an order has changed is counted */

    uint64_t deliveries;
    uint64_t deliveries_fast; /* of them, proven by comparing */
    uint64_t bytes;
    uint64_t foreign; /* events that are none of this run's */

    uint64_t lost;
    uint64_t announced; /* lost, and the server has told so */
    uint64_t uncertain; /* left out, and their publication was not acknowledged */
    uint64_t unresumed; /* left out across a reconnection without an id */
    uint64_t late;      /* out of order */
    uint64_t duplicates;
    uint64_t corrupt;
    uint64_t differing; /* right messages in other bytes than others got */

    char problem[SCORE_PROBLEM_LEN]; /* the first failure to connect, in words */

    struct histogram latency;      /* from due to received, in ns */
    struct histogram latency_slow; /* of the slow readers */
    struct histogram connect;      /* from connect(2) to the head */
    struct histogram recovery;     /* from a storm's cut to the next head */
};

struct publisher_score {
    int pid;
    uint64_t is_finished;
    struct score_cpu cpu;
    struct score_cpu cpu_at_start;
    struct score_cpu cpu_at_end;
    uint64_t sent;         /* requests begun */
    uint64_t acknowledged; /* 2xx */
    uint64_t refused;      /* another status */
    uint64_t failed;       /* no answer */
    uint64_t unsent;       /* were due and never sent: the answers before them came too late */
    char problem[SCORE_PROBLEM_LEN];
    struct histogram answer; /* from due to the answer */
    struct histogram late;   /* from when it could have been sent to when it was: our own */
};

/* A publication that may or may not have happened. */
struct score_uncertain {
    uint32_t channel;
    uint32_t slot;
    uint64_t sequence;
};

struct scoreboard {
    uint32_t phase; /* enum load_phase; release by the one that reports */
    uint32_t run;
    uint64_t start_ns;    /* ordered by phase */
    uint64_t stop_ns;     /* no message is due from here on */
    uint32_t storm_count; /* how many storms have been called */
    uint32_t order;       /* enum load_order; both ordered by order_number */
    uint32_t order_count;
    uint64_t order_number; /* how many orders have been given; release */

    /* With --steps: the publisher's messages up to this number, one every so often. */
    uint64_t goal; /* release; the others are ordered by it */
    uint64_t goal_begin_ns;
    uint64_t goal_begin_number;
    uint64_t goal_every_ns;

    size_t size;
    unsigned worker_count;
    uint32_t slot_count; /* in each channel */
    uint64_t *published; /* the last sequence of each slot of each channel */
    struct worker_score *workers;
    struct publisher_score publisher;

    uint32_t uncertain_count; /* release: after the entry */
    struct score_uncertain uncertain[SCORE_UNCERTAIN_COUNT_MAX];
};

/* Sums over the workers that can be had often: without the histograms. */
struct score_counts {
    uint64_t open;
    uint64_t connects;
    uint64_t connect_failures;
    uint64_t storm_cuts;
    uint64_t vanished;
    uint64_t deliveries;
    uint64_t missing; /* for whatever reason */
};

void scoreboard_count(const struct scoreboard *board, struct score_counts *ret_counts);
/* Gives an order to all workers, and tells whether all have carried out the last one. */
void scoreboard_give_order(struct scoreboard *board, enum load_order order, uint32_t count);
bool scoreboard_order_is_done(const struct scoreboard *board);

/* NULL without memory. */
struct scoreboard *scoreboard_new(unsigned worker_count, uint64_t sequence_count);
void scoreboard_free(struct scoreboard *board);

static inline enum load_phase scoreboard_phase(const struct scoreboard *board)
{
    /* Pairs with scoreboard_set_phase: what was set before it is seen. */
    return (enum load_phase)__atomic_load_n(&board->phase, __ATOMIC_ACQUIRE);
}

static inline void scoreboard_set_phase(struct scoreboard *board, enum load_phase phase)
{
    __atomic_store_n(&board->phase, (uint32_t)phase, __ATOMIC_RELEASE);
}

static inline void score_add(uint64_t *counter, uint64_t amount)
{
    __atomic_store_n(counter, *counter + amount, __ATOMIC_RELAXED);
}

static inline uint64_t score_get(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* How many of the sequences from `first` to before `end` are uncertain. */
uint64_t scoreboard_uncertain(const struct scoreboard *board, const struct score_uncertain *first,
                              uint64_t end);
/* Notes one; by the publisher. What does not fit any more is counted, and not forgiven. */
void scoreboard_add_uncertain(struct scoreboard *board, const struct score_uncertain *uncertain);

/* Sets a problem unless there is one already. */
void score_problem(char *problem, const char *text);
void score_cpu_read(struct score_cpu *cpu);
uint64_t load_now_ns(void);

#ifdef __cplusplus
}
#endif

#endif
