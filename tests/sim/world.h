/*
 * One world: a hub on a simulated network, its clients, and what the seed made of them.
 *
 *   spate_sim.c   makes worlds, says whose turn it is, ends them
 *   model.c       what was published, and what each channel retains of it
 *   http.c        reads answers byte by byte, strictly
 *   publisher.c   clients that publish, ask and delete
 *   http2.c       connections of HTTP/2 that carry several streams
 *   subscriber.c  clients with a stream: they know what they must see, and what must be told
 *   asking.c      ... and where in the order they ask to begin
 *   patience.c    how long a client may leave unread what it was sent
 *   verify.c      looks into the hub itself: what must hold between any two turns
 *   measure.c     counts what the core does for an event
 *
 * Each of them reports the first thing that is wrong by world_fail.
 */
#ifndef SPATE_TESTS_SIM_WORLD_H
#define SPATE_TESTS_SIM_WORLD_H

#include "hub/hub.h"
#include "tests/sim/fiber.h"
#include "tests/sim/io_simulated.h"

/* Where an event can be published to: public channels, named clients, everybody. */
enum {
    PUBLIC_MAX = 6,
    CLIENTS_MAX = 4,
    SOURCE_BROADCAST = PUBLIC_MAX + CLIENTS_MAX,
    SOURCE_COUNT,
    SHARDS_USUAL = 4, /* at most, unless --shards says otherwise */
    SHARDS_MAX = 64,
    PUBLISHERS_MAX = 6,
    SUBSCRIBERS_MAX = 400,
};

/* What kind of world it is. */
struct world_options {
    unsigned shards;
    unsigned publishers;
    unsigned subscribers;
    unsigned publics;
    unsigned clients;
    unsigned messages; /* to be published */
    uint64_t data_max;
    unsigned steps;
    bool resets;        /* clients vanish */
    bool memory;        /* allocations fail */
    bool accepts;       /* so do accepts */
    bool leaps;         /* the wall clock leaps, forward and back; the other one forward */
    bool crowded;       /* fewer connections than clients */
    bool kicks;         /* clients and channels are deleted */
    bool short_history; /* channels retain little */
    bool small_budgets; /* of the fan-out */
    bool small_queues;
    bool impatient; /* short deadlines for requests */
    bool slow_readers;
    bool few_channels; /* the hub may not have as many as are asked for */
    bool big_pipes;
    bool stalls;              /* of a shard, while time goes on */
    bool fickle;              /* clients that vanish all the time */
    bool timeouts;            /* user_timeout_seconds, and clients that read nothing any more */
    bool early_drain;         /* the hub is told to stop in the midst of it */
    unsigned carried_percent; /* of the streams, over HTTP/2 */
    bool steady;              /* nothing goes wrong, and everybody has a turn in every round */
};

enum world_phase { PHASE_RUN, PHASE_SETTLE, PHASE_DRAIN };

struct world {
    struct hub hub;
    struct world_options options;
    struct fiber fibers[SHARDS_MAX];
    uint64_t seed;
    enum world_phase phase;
    bool verbose;
    bool stopping;
    uint64_t moves;         /* how often a stream has come further */
    unsigned stalled_shard; /* it does not run before that step */
    uint64_t stalled_until;
    uint64_t stall_ms;     /* time that is about to pass */
    uint32_t failure_rate; /* of the allocations of the shard that runs, of 2^32 */
    char problem[400];
};

extern struct world world;

/* Remembers the first problem of this world. */
void world_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* With --verbose: one line of the replay. */
void world_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline bool world_is_good(void)
{
    return world.problem[0] == '\0';
}
/* From now on allocations of the shard at hand fail at the world's rate of the moment, or do not.
 */
void world_fail_allocations(bool on);
/* True if a connection may be closed by the hub for no fault of the client. */
bool world_may_close(void);
/* True if the hub may refuse with 503. */
bool world_may_refuse(void);

uint64_t world_wall_ms(void);

/* ---- Sources ---- */

struct channel_name source_name(unsigned source);
const char *source_text(unsigned source);
struct channel *source_channel(unsigned source); /* NULL while the hub has none */

/* ---- Checks of the hub itself ---- */

/* What must hold while every shard is between two turns. */
void verify_hub(void);
/* How many sends the shard, which has just run, will make in a turn. */
void verify_sends(unsigned index);
/* A shard that sleeps must have nothing to do, and the one that just ran must have passed wakes on.
 */
void verify_sleepers(unsigned ran);
/* Nobody is connected any more, and everything has been delivered. */
void verify_empty(void);

/* ---- Counting ---- */

/* What this world does between the two is counted. */
void measure_begin(void);
void measure_end(void);
/* One line of JSON about all that was counted. */
void measure_tell(void);

/* ---- Publishers ---- */

void publishers_begin(void);
void publisher_step(unsigned index);
bool publishers_are_done(void);
void publishers_describe(void);
void publishers_end(void);
/* From now on each publishes only to `source`, and nothing may be refused. */
void publisher_probe(unsigned source);
void publisher_probe_end(void);

/* ---- Subscribers ---- */

void subscribers_begin(void);
void subscriber_step(unsigned index);
bool subscribers_are_done(void);
/* Whether one of them reads nothing, and is there until the hub has cut it off. */
bool subscribers_are_gone(void);
void subscribers_describe(void);
/* After `since_ms` no stream may be without a word for long. */
void subscribers_check_heartbeats(uint64_t since_ms);
/* After a while of silence the hub has noticed everybody who left. */
void subscribers_check_count(void);
void subscribers_end(void);
/* Whether some stream is called this client, as far as the streams know. */
unsigned subscribers_named(unsigned client);

#endif
