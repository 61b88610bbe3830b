/*
 * The simulated kernel: connections in memory, and a backend of io on top of them. The seed decides
 * who is served when, how much of a send is taken and in which pieces bytes arrive.
 *
 * Threads: one.
 */
#ifndef SPATE_TESTS_SIM_IO_SIMULATED_H
#define SPATE_TESTS_SIM_IO_SIMULATED_H

#include "core/base/random.h"
#include "net/io_backend.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SIM_CONNECTIONS_MAX = 256, SIM_PIPE_SIZE = 4096 };

struct sim_pipe {
    char bytes[SIM_PIPE_SIZE];
    size_t len;
};

struct sim_connection {
    bool used;
    bool client_gone;
    bool hub_gone; /* refused, closed or shut down: nothing more comes from the hub */
    bool hub_done; /* the hub's stream is finished */
    bool reset;
    bool waiting; /* to be accepted */
    uint64_t closed_in_turn;
    struct io *io; /* the loop that has it, or is to accept it */
    struct io_stream *stream;
    struct sim_pipe to_hub;
    struct sim_pipe to_client;
};

struct sim_net {
    struct random random;
    uint64_t now_ms;
    bool faults;
    struct sim_connection connections[SIM_CONNECTIONS_MAX];
};

extern struct sim_net sim_net;

int sim_io_new(enum io_kind kind, const struct io_options *options,
               const struct io_handler *handler, void *owner, struct io **ret_io,
               const char **ret_reason);

bool sim_chance(unsigned percent);
/* NULL when the table is full. */
struct sim_connection *sim_connect(struct io *io);
/* Both move as much as the seed likes. */
size_t sim_write(struct sim_connection *connection, const char *bytes, size_t len);
size_t sim_read(struct sim_connection *connection, char *bytes, size_t size);
/* The client lets go of it, by a reset. */
void sim_abandon(struct sim_connection *connection);

#ifdef __cplusplus
}
#endif

#endif
