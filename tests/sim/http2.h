/*
 * Clients of HTTP/2 in clear text: connections that several streams share, of subscribers and of
 * publishers. A request is `carried`:
 * it goes out as a stream of one of these connections, and its answer comes back as the bytes that
 * HTTP/1.0 would have had, each with the stamp of the bytes in which it came, so that whoever reads
 * them need not know.
 *
 * nghttp2's client judges what the hub sends, and any mistake fails the world. The seed chooses how
 * large the windows are, of streams and of the connection, and when they grow: a stream whose
 * answer is not read keeps its window. It also pings, changes its settings, resets streams and
 * loses connections.
 *
 * Where a stream joined the fan-out is known exactly: fanout_join is wrapped.
 */
#ifndef SPATE_TESTS_SIM_HTTP2_H
#define SPATE_TESTS_SIM_HTTP2_H

#include "tests/sim/io_simulated.h"

enum { CARRIERS_MAX = 32, CARRIED_MAX = 16 };

struct carrier;

struct carried {
    struct carrier *carrier; /* NULL: nothing is asked */
    int32_t stream_id;
    struct sim_pipe inbox; /* of the answer, what has come and was not read */
    bool is_over;          /* nothing more will come ... */
    bool is_in_order;      /* ... and the hub has said so */
    bool was_cut;          /* ... because there was no room for it */
    bool was_lost;         /* ... because the client let go of the connection */
    bool is_headed;
    size_t head_len;       /* of the inbox, what is no DATA and has no part in the windows */
    uint64_t joined_step;  /* when the hub took it into the fan-out; 0: it has not */
    uint64_t last_said_ms; /* as the answer to it, or to whatever was there before it */
    char *body;            /* of the request, as far as it is not out */
    size_t body_len;
    size_t body_sent;
    uint64_t quiet_ms; /* is_over: how long the hub had said nothing before */
    bool was_full; /* its window, or the one that it shares: the hub had to wait for news of it */
};

/*
 * Asks; `request` is text of HTTP/1, with a body as long as it says. False: there is no room for
 * another connection.
 */
bool carried_begin(struct carried *carried, const char *request, size_t len);
size_t carried_read(struct carried *carried, char *bytes, size_t size, struct sim_stamp *ret_stamp);
/* When the hub last said something to it, or was busy saying more than its connection holds. */
uint64_t carried_said_ms(const struct carried *carried);
/* Bytes of the answer that count against its window, and were not read. */
size_t carried_unread(const struct carried *carried);
/* Whether the hub, whose connection is free, can send no more of it until some are read. */
bool carried_is_stuck(const struct carried *carried);
/* Whether all was read, and nothing more will come. */
bool carried_is_at_end(const struct carried *carried);
/* Lets go of it: by resetting the stream, or `hard`, by losing the whole connection. */
void carried_drop(struct carried *carried, bool hard);

/* Moves bytes on one connection, or on all of them. */
void carriers_step(bool all);
/* Whether one of them reads nothing, and is there until the hub has cut it off. */
bool carriers_are_gone(void);
/* At the end of the world. */
void carriers_end(void);

#endif
