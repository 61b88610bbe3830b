/*
 * The hub: the composition root. One sequencer, some shards, their listeners, one configuration.
 *
 * main() makes a hub, starts its threads, and afterwards only forwards signals to it. Everything
 * that happens to connections and events happens on the shards.
 *
 * Threads: all functions are the main thread's, unless said otherwise. Fields are fixed once
 * hub_start has returned, except those said to be atomic.
 */
#ifndef SPATE_HUB_HUB_H
#define SPATE_HUB_HUB_H

#include "core/sequencer.h"
#include "hub/address.h"
#include "hub/config.h"
#include "hub/idempotency.h"
#include "hub/log.h"
#include "net/io.h"
#include "net/listener.h"
#include "net/tls.h"

#ifdef __cplusplus
extern "C" {
#endif

struct shard;

enum {
    HUB_LISTEN_COUNT_MAX = 32, /* listening addresses, inherited sockets included */
    HUB_CONFIG_COUNT_MAX = 2, /* the one in force and the one before, until every shard has moved */
};

/* One address as all shards listen on it. */
struct hub_listen {
    int fds[SHARD_COUNT_MAX]; /* each its shard's, once that runs; -1 when it has closed it */
    bool is_local;            /* a Unix socket: publishing needs no network address to be trusted */
    bool is_inherited;        /* handed over: its file is not ours to remove */
    bool is_tls;
    char text[160];
};

/* How a shard's thread tells main that it is ready, or why it is not. */
struct start_signal {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned reported; /* shards that have opened, or failed to */
    bool decided;      /* all have reported: `go` says whether the hub runs */
    bool go;
};

struct hub {
    struct config *config;      /* atomic pointer: the one in force */
    uint32_t config_generation; /* atomic: shards compare and move over */
    struct config configs[HUB_CONFIG_COUNT_MAX];
    struct tls_context *tls_contexts[HUB_CONFIG_COUNT_MAX]; /* of each; NULL without TLS */
    struct tls_tickets *tls_tickets;
    struct log *log;
    struct start_signal start;
    /* The sequencer's, fixed at start. */
    struct history_rule history_rules[CONFIG_LIST_COUNT_MAX];
    struct lag_rule lag_rules[CONFIG_LIST_COUNT_MAX];
    bool has_sequencer; /* the next two are made */
    bool has_addresses;
    struct sequencer sequencer;
    struct address_table addresses;
    bool has_idempotency; /* the next one is made */
    struct idempotency idempotency;
    struct shard *shards[SHARD_COUNT_MAX];
    unsigned shard_count;
    unsigned listen_count;
    struct hub_listen listens[HUB_LISTEN_COUNT_MAX];
    uint64_t epoch;
    uint64_t seed;
    uint64_t started_ms;        /* wall clock */
    uint64_t started_ns;        /* of the clock that nobody sets: see hub_uptime_seconds */
    uint32_t connection_count;  /* atomic: over all shards */
    uint32_t connection_max;    /* fixed at start */
    uint32_t presence_watchers; /* atomic: streams subscribed to $presence */
    uint32_t stats_watchers;    /* atomic: to $stats */
    uint32_t draining;          /* atomic flag */
    uint32_t stopping;          /* atomic flag: leave at once */
};

/*
 * Makes everything but threads, and takes over what `config` holds. On failure returns a negative
 * errno and a sentence in *problem; hub_fini is due all the same.
 */
int hub_init(struct hub *hub, struct config *config, struct buffer *problem);
/* Starts the shards' threads and waits until each of them accepts connections. */
int hub_start(struct hub *hub, struct buffer *problem);

/* SIGHUP: takes over what can change while running. */
void hub_reload(struct hub *hub);
/* SIGTERM: stop accepting, end the streams over drain_seconds; a second call ends them at once. */
void hub_drain(struct hub *hub);
/* Waits for the shards to end. May run on a thread of its own beside hub_reload and hub_drain. */
void hub_join(struct hub *hub);
/* Frees everything, after hub_join or after a start that failed. */
void hub_fini(struct hub *hub);

/*
 * A shard's even share of connection_max. Its tables are made for so many, and work with more: made
 * for all connections of a hub of sixty shards, they would touch sixty times as many pages.
 */
uint32_t hub_connections_per_shard(const struct hub *hub);

bool hub_is_draining(const struct hub *hub);

/* Wakes each of these shards that sleeps, or has one of them do it. Any thread. */
void hub_wake(struct hub *hub, const struct shard_set *shards);

/*
 * Where a hub takes its loops, its wall clock and its random numbers from. The simulator puts its
 * own in place before hub_init; nothing else changes it.
 */
struct hub_world {
    int (*io_new)(enum io_kind kind, const struct io_options *options,
                  const struct io_handler *handler, void *owner, struct io **ret_io,
                  const char **ret_reason);
    uint64_t (*wall_ms)(void);
    uint64_t (*clock_ns)(void); /* monotonic, as the loops' own */
    ssize_t (*random)(void *bytes, size_t len, unsigned flags);
};

extern const struct hub_world *hub_world;

/* Wall clock, Unix milliseconds. */
uint64_t hub_wall_ms(void);

/* However the wall clock was set meanwhile. Any thread. */
uint64_t hub_uptime_seconds(const struct hub *hub);

#ifdef __cplusplus
}
#endif

#endif
