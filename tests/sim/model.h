/*
 * The model: what publishers meant, what the hub made of it, and what each channel retains.
 *
 * A message is what a publisher asks for; its data begins with its number, so that it can be told
 * from every other. An event is a message that the hub has given a place in its order. The model
 * learns of events where the sequencer returns (sequencer_publish is wrapped), and of evictions by
 * looking at the histories after each turn.
 */
#ifndef SPATE_TESTS_SIM_MODEL_H
#define SPATE_TESTS_SIM_MODEL_H

#include "core/event_id.h"
#include "tests/sim/world.h"

enum { MESSAGES_MAX = 6000, EVENTS_MAX = 8000, BATCH_MAX = 64 };

struct message {
    unsigned source;
    char *data;        /* as a reader puts it together */
    char type[16];     /* empty: none */
    int64_t retry_ms;  /* -1: none */
    uint64_t sequence; /* 0: it has not happened */
    bool refused;      /* the publisher was told that it did not happen */
    unsigned batch;    /* messages of one request have one number */
};

struct event {
    unsigned source;  /* SOURCE_COUNT: one that nobody here can hear of */
    unsigned message; /* index */
    uint64_t step;    /* when it was published */
    uint64_t wall_ms;
    uint64_t size;         /* of its frame */
    uint64_t evicted_step; /* when it was no longer retained; UINT64_MAX while it is */
};

struct model {
    unsigned message_count;
    struct message messages[MESSAGES_MAX];
    uint64_t sequence;                          /* of the newest event */
    struct event events[EVENTS_MAX];            /* by sequence */
    uint64_t sources[SOURCE_COUNT][EVENTS_MAX]; /* sequences, in order */
    unsigned source_counts[SOURCE_COUNT];
    unsigned retained_from[SOURCE_COUNT]; /* index into `sources` */
    uint64_t changed_step[SOURCE_COUNT];  /* published to, or evicted from, last */
    bool wall_went_back;
    uint64_t deleted_step[SOURCE_COUNT]; /* DELETE was last asked for */
};

extern struct model model;

void model_reset(void);
/* A new message for `source`; its data is made by the seed. */
struct message *model_message(unsigned source, unsigned batch);
struct history_limits model_limits(unsigned source);
/* Looks at what every channel retains now. */
void model_look(void);

static inline bool set_has(uint64_t set, unsigned source)
{
    return source < SOURCE_COUNT && (set >> source & 1) != 0;
}

static inline bool event_is_retained(const struct event *event, uint64_t step)
{
    return event->evicted_step > step;
}

/* The newest event of the set that was no longer retained at the end of that step; 0: none. */
uint64_t model_evicted(uint64_t set, uint64_t step);
/* The first event of the set after `after` that was retained then; 0: none. */
uint64_t model_first_retained(uint64_t set, uint64_t after, uint64_t step);
/* Whether anything was published to the set, or evicted from it, in that step. */
bool model_was_changed(uint64_t set, uint64_t step);

/* Ids as the hub writes them. */
void model_id(char text[EVENT_ID_LEN + 1], uint64_t sequence);
/* The sequence of an id of this hub, or UINT64_MAX. */
uint64_t model_parse_id(const char *text);

#endif
