/*
 * The simulated kernel: connections in memory, and a backend of io on top of them.
 *
 * It keeps the rules of net/io.h as narrowly as the real backends do, and no better: readiness is
 * edge-triggered, what was not asked for is not told, bytes on loan are read only when the turn is
 * over, results come in any order, a loop that has nothing to do sleeps until it is woken. The seed
 * decides how much of a send is taken, in which pieces bytes arrive, and what is looked at when.
 *
 * Threads: one. A shard runs as a fiber that yields inside io_turn.
 */
#ifndef SPATE_TESTS_SIM_IO_SIMULATED_H
#define SPATE_TESTS_SIM_IO_SIMULATED_H

#include "core/base/random.h"
#include "net/io_backend.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SIM_CONNECTIONS_MAX = 768, SIM_LOOPS_MAX = 64 };

/* When the hub said something. */
struct sim_stamp {
    uint64_t step;  /* in which step io_send was called */
    uint64_t since; /* in which it was called first, if it had fallen short before */
    uint64_t ms;    /* monotonic */
};

/* Bytes as they were given to the network in one piece. */
struct sim_piece {
    struct sim_piece *next;
    struct sim_stamp stamp;
    size_t len;
    size_t taken;
    char bytes[];
};

struct sim_pipe {
    struct sim_piece *first;
    struct sim_piece *last;
    size_t len;
    size_t capacity;
};

struct sim_connection {
    bool used;
    bool waiting;       /* to be accepted */
    bool client_done;   /* the client has finished sending */
    bool client_gone;   /* ... and will read nothing more */
    bool reset;         /* by either side: nothing that is under way arrives */
    bool hub_done;      /* the hub has finished sending: shut down, closed or refused */
    bool hub_closed;    /* the hub has let go of it */
    bool wants_room;    /* a send fell short: room will be news */
    bool was_cut;       /* the hub's last send fell short */
    uint64_t cut_since; /* was_cut: in which step it was tried first */
    unsigned events;    /* poll(2) bits that the hub has not been told */
    unsigned loop;      /* which loop has it, or is to accept it */
    struct io_stream *stream;
    struct sim_pipe to_hub;
    struct sim_pipe to_client;
    uint64_t last_said_ms; /* when the hub last gave bytes to this connection */
};

/* One of the loops, as the world's scheduler sees it. */
struct sim_loop {
    struct io *io;
    bool asleep;         /* yielded with nothing to do */
    uint64_t wake_at_ms; /* asleep: until then */
};

struct sim_net {
    struct random random;
    uint64_t now_ms;
    uint64_t step;
    int64_t wall_offset_ms;
    bool faults; /* short sends and reads, delays */
    bool accept_faults;
    unsigned connection_top; /* no connection from here on was ever used */
    unsigned loop_count;
    struct sim_loop loops[SIM_LOOPS_MAX];
    struct sim_connection connections[SIM_CONNECTIONS_MAX];
};

extern struct sim_net sim_net;

int sim_io_new(enum io_kind kind, const struct io_options *options,
               const struct io_handler *handler, void *owner, struct io **ret_io,
               const char **ret_reason);

bool sim_chance(unsigned percent);
uint64_t sim_below(uint64_t bound);

void sim_net_reset(uint64_t seed);
/* Lets go of what is left in the pipes. */
void sim_net_clear(void);

/* Whether the loop would return from its wait now. */
bool sim_loop_is_ready(unsigned loop);
/* Whether a wake is pending: it will run. */
bool sim_loop_is_woken(unsigned loop);

/* NULL when the table is full. */
struct sim_connection *sim_connect(unsigned loop, size_t capacity);
/* Both move as much as the seed likes; a read never crosses the bytes of two sends. */
size_t sim_write(struct sim_connection *connection, const char *bytes, size_t len);
size_t sim_read(struct sim_connection *connection, char *bytes, size_t size,
                struct sim_stamp *ret_stamp);
/* True when nothing will come any more. */
bool sim_is_at_end(const struct sim_connection *connection);
/* The client has finished sending. */
void sim_finish(struct sim_connection *connection);
/* The client closes it: with a reset if something is unread or `hard`. */
void sim_abandon(struct sim_connection *connection, bool hard);

#ifdef __cplusplus
}
#endif

#endif
