/*
 * A client with a stream; what subscriber.c and asking.c share. The rest of the simulator knows
 * streams by their numbers only.
 */
#ifndef SPATE_TESTS_SIM_STREAM_H
#define SPATE_TESTS_SIM_STREAM_H

#include "core/event_id.h"
#include "tests/sim/http.h"
#include "tests/sim/http2.h"
#include "tests/sim/io_simulated.h"
#include "tests/sim/patience.h"

/* Where a stream asks to begin. */
enum ask {
    ASK_NOW,
    ASK_AFTER,
    ASK_EARLIEST,
    ASK_LAST,
    ASK_SINCE,
    ASK_MALFORMED,
    ASK_EPOCH,
    ASK_FUTURE
};

struct stream {
    unsigned number;
    struct sim_connection *connection; /* HTTP/1: its own; NULL while there is none */
    struct carried carried;            /* HTTP/2: */
    bool is_carried;                   /* ... this is used */
    char request[512];
    size_t request_len;
    size_t request_sent;
    struct answer answer;
    uint64_t set; /* of sources: its channels, its name, and the broadcast */
    int client;   /* its name, or -1 */
    bool is_old;  /* HTTP/1.0 */
    enum ask ask;
    uint64_t ask_value;
    uint64_t last_seen; /* of the last id it got, over all connections; 0: none */
    uint64_t stalled_until;
    struct patience patience;
    bool leaving; /* it has finished sending, and waits for the hub to close */
    /* This connection. */
    bool joined;
    uint64_t joined_step;
    uint64_t cursor;         /* everything of the set after this must come, or be told */
    bool cursor_unknown;     /* the first event says where it begins */
    bool same_step_optional; /* what was published in the very step of joining may come or not */
    uint64_t told;           /* up to here the client knows that there may be holes */
    uint64_t told_least;     /* the same, if the hub knew no more than when it first spoke of it */
    uint64_t not_before;     /* the gap event said that the next one would be this */
    char gap[16];            /* the head announced a gap that has not come */
    unsigned words;          /* lines of the hub's own so far */
    struct sim_stamp stamp;  /* of the byte at hand */
    struct sim_stamp block_stamp; /* of the first byte of the block at hand */
    uint64_t said_ms;             /* of the last byte before the block at hand */
    char *line;
    size_t line_len;
    /* The block at hand. */
    char *data;
    size_t data_len;
    unsigned data_lines;
    char id[EVENT_ID_LEN + 1];
    char type[16];
    int64_t retry_ms;
};

/* Chooses where it begins this time, and writes the request. */
void stream_ask(struct stream *stream);

#endif
