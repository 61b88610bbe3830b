/*
 * A shard: one thread on one core, its event loop, its connections, its feeds, its timers.
 *
 * It shares nothing hot but its queue. Other threads reach it in three ways only: events through
 * the queue, errands through the mailbox, and the wake through io_wake, after ringing the doorbell.
 *
 * shard_turn is one turn of the loop and fits on one screen; read it first.
 *
 * Threads: shard_new and shard_free on the main thread; everything else on the shard's own, except
 * shard_post, shard_wake and the reading of stats.
 */
#ifndef SPATE_HUB_SHARD_H
#define SPATE_HUB_SHARD_H

#include <pthread.h>

#include "core/base/random.h"
#include "core/base/table.h"
#include "core/base/wheel.h"
#include "core/doorbell.h"
#include "core/fanout.h"
#include "core/mailbox.h"
#include "core/profile.h"
#include "core/relay.h"
#include "hub/connection.h"
#include "hub/http2_memory.h"
#include "hub/hub.h"
#include "hub/system_channel.h"
#include "net/io.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    /* Connections are allocated in blocks of this many. */
    SHARD_SLAB_COUNT = 64,
    /* Sends of control bytes (answers, heartbeats) in one turn; tokens follow the fan-out's. */
    SHARD_CONTROL_SENDS_MAX = 4096,
    /*
     * Events sent in one turn: about 0.15 ms of it. So the event that was published when the first
     * subscriber had the last one is taken in soon, and all the others are sent both at once. While
     * none comes, turns grow to some 1 ms: system calls and completions are then shared by more.
     */
    SHARD_FANOUT_SENDS_FIRST = 32,
    SHARD_FANOUT_SENDS_MOST = 256,
    SHARD_TIMERS_PER_TURN = 1024,
    /*
     * After a standstill the first turn lets time go on for the timers by so much, and each that
     * follows by twice as much as the one before: what peers sent meanwhile, which may take some
     * turns, is read before they are told that their time is up.
     */
    SHARD_TIMER_STEP_MS = 50,
    SHARD_SWEEP_MS = 500,
    /* A feed without members is kept for a while: who reconnects finds it. */
    SHARD_FEED_IDLE_SWEEPS = 3,
    /* One receive, and half a record from before. */
    SHARD_PLAIN_MAX_BYTES = 256 * 1024,
    /* Refused connections that are answered at one time; more are dropped without an answer. */
    SHARD_REFUSED_MAX = 64,
};

/* Counters: written by the shard, readable by any thread (relaxed). */
struct shard_stats {
    uint64_t connections;
    uint64_t streams;
    uint64_t accepted;
    uint64_t refused;
    uint64_t requests;
    uint64_t published;
    uint64_t heartbeats;
    uint64_t gaps;
    uint64_t skips;
    uint64_t slow_disconnects;
    uint64_t aged_out;
    uint64_t bad_requests;
    uint64_t evicted_half_open;
    uint64_t accept_failures;
    uint64_t tls_handshakes;
    uint64_t tls_resumptions; /* of them, with a ticket */
    uint64_t tls_handshake_failures;
    uint64_t tls_handshake_timeouts;
    uint64_t http2_connections;
    uint64_t http2_streams; /* requests, of whatever kind */
    uint64_t http2_floods;  /* connections that were ended for making work in vain */
};

/* What a transport did not take of one of the turn's deliveries. */
struct shard_short {
    uint32_t token;
    ssize_t taken;
};

struct shard_listener {
    struct io_listener listener;
    bool is_local;
    bool is_tls;
};

struct shard {
    struct hub *hub;
    unsigned shard_index;
    int cpu; /* pinned to it, or -1 */
    pthread_t thread;
    struct io *io;
    struct doorbell doorbell;
    struct relay relay; /* others that this one is to wake */
    struct mailbox mailbox;
    struct queue queue;
    struct fanout fanout;
    struct shard_set to_wake; /* who has something new in its queue since the turn began */
    const struct config *config;
    struct tls_context *tls;    /* that of the configuration, or NULL */
    uint32_t config_generation; /* atomic: main reads it before it frees an old configuration */
    struct log_ring *log;
    struct random random;
    uint64_t now_ms;  /* monotonic, of this turn */
    uint64_t wall_ms; /* Unix, of this turn */
    struct wheel wheel;
    uint64_t wheel_ms;      /* up to then the timers have been served */
    uint64_t timer_step_ms; /* by how much that may go on in the next turn */
    uint64_t sweep_due_ms;
    uint64_t sweep_after; /* the sequencer's place in its sweep (shard 0) */
    bool draining;
    uint64_t drain_end_ms;
    unsigned listener_count;
    unsigned listening_count; /* of them, the first this many accept connections */
    struct shard_listener listeners[HUB_LISTEN_COUNT_MAX];
    uint64_t accepted_before; /* while draining: up to the last turn */
    bool has_left_ports;      /* draining, and nobody new can come */
    /* Connections. */
    struct connection **slabs;
    uint32_t slab_count;
    uint32_t slab_capacity;
    struct connection *free_slots;
    uint32_t refused_count;
    struct list waiting;        /* connections without a whole request yet, oldest first */
    uint32_t outbox_count;      /* of connections and streams that have one */
    struct list outgoing;       /* outboxes with something to send */
    struct list pumping;        /* HTTP/2 connections that may have something to frame */
    struct list closed_streams; /* of HTTP/2, by `waiting`; free from the next turn on */
    struct table clients;       /* streams by the hash of their id */
    struct system_notices notices;
    uint64_t client_number_next;
    struct connection **control_sends; /* of this turn; NULL where a send fell short */
    uint32_t control_send_count;
    struct shard_short *shorts; /* of this turn */
    uint32_t short_count;
    struct buffer plain;  /* scratch of the transports: what was just received, and ... */
    struct buffer sealed; /* ... records that answer it */
    struct http2_memory http2_memory;
    /* Scratch memory of the call being answered (hub/call.h). */
    char *scratch;
    size_t scratch_size;
    uint64_t date_second; /* the second that `date` says */
    char date[40];
    struct shard_stats stats;
    struct profile *profile;
    /* Start-up: what became of it. */
    int start_result;
    const char *start_problem;
    const char *io_reason;
};

struct shard *shard_new(struct hub *hub, unsigned shard_index);
void shard_free(struct shard *shard);

/* On the shard's thread: makes the loop and listens. 0 or a negative errno with start_problem. */
int shard_open(struct shard *shard);
/* One turn. False when the shard has nothing left to do and the hub is stopping. */
bool shard_turn(struct shard *shard);
/* Stops listening. The loop itself stays until shard_free: others may still wake it. */
void shard_close(struct shard *shard);

/* Any thread. */
void shard_post(struct shard *shard, struct mail *mail);
void shard_wake(struct shard *shard);

void shard_count(uint64_t *counter, int64_t by);

struct connection *shard_connection_get(struct shard *shard);
void shard_connection_put(struct shard *shard, struct connection *connection);

/* Publishes, and wakes when the turn's input has been dealt with; see sequencer_publish. */
enum publish_outcome shard_publish(struct shard *shard, struct publication *publications,
                                   unsigned count);

uint64_t shard_hash_id(const struct shard *shard, struct span id);

#ifdef __cplusplus
}
#endif

#endif
