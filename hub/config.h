/*
 * The configuration: what an operator may set, where each value came from, and how it changes.
 *
 * One table (config_options) describes every option: its name, kind, default, range, unit, group
 * and one line of help. From it alone come the command line, the environment, the file, --help,
 * --check-config and the reference in the documentation, so that none of them can disagree.
 *
 * An option has one name, written three ways:
 *
 *   --drain-seconds 5          on the command line (or --drain-seconds=5)
 *   SPATE_DRAIN_SECONDS=5      in the environment
 *   drain_seconds: 5           in the YAML file
 *
 * Flags win over variables, variables over the file, the file over the default. An option that may
 * be given several times is a list; a list given at one place replaces the list of the places below
 * it as a whole. Anything unknown, given twice, of the wrong type or out of its range is an error:
 * a hub that starts runs with exactly what was written.
 *
 * The publish token is the exception to the naming: it comes from AUTH_TOKEN or out of a file,
 * never from the command line (which every user of the machine can read), and is never printed.
 *
 * A `struct config` does not change after config_load. A reload makes a second one; the caller
 * hands it to the shards and frees the first when none of them reads it any more.
 *
 * Threads: load and reload on the main thread; a loaded config may be read by any.
 * Errors: an enum; every problem is a line of text in the message, so that one start tells all of
 * them.
 */
#ifndef SPATE_HUB_CONFIG_H
#define SPATE_HUB_CONFIG_H

#include "core/base/base.h"
#include "core/base/buffer.h"
#include "core/lag.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    CONFIG_OPTION_COUNT_MAX = 96,
    CONFIG_LIST_COUNT_MAX = 256,
    CONFIG_TOKEN_COUNT_MAX = 16,
    CONFIG_TOKEN_BYTES_MAX = 4096,
    CONFIG_CPU_COUNT_MAX = 1024,
};

/* Terminated strings on the heap, owned by the config. */
struct config_list {
    char **items;
    uint32_t count;
};

/* One item of `alias`: both spans point into that item. */
struct config_alias {
    struct span path;
    struct span channel;
};

/* One item of `history_rule`; the pattern points into that item. */
struct config_history_rule {
    struct span pattern; /* a name, or the beginning of names and a `*` */
    uint64_t count;
    uint64_t bytes;
    uint64_t seconds;
};

/* One item of `lag_rule`; the pattern points into that item. */
struct config_lag_rule {
    struct span pattern; /* as above */
    enum lag_policy policy;
    uint64_t bytes;   /* 0: no limit */
    uint64_t seconds; /* 0: no limit */
};

/* One item of `cloudevent_rule`; the pattern points into that item. */
struct config_cloudevent_rule {
    struct span pattern; /* as above */
    bool is_data_only;
};

enum config_source {
    CONFIG_SOURCE_DEFAULT,
    CONFIG_SOURCE_FILE,
    CONFIG_SOURCE_VARIABLE,
    CONFIG_SOURCE_FLAG,
};

/* Where the value of an option came from. `line` is that of the file, else 0. */
struct config_origin {
    enum config_source source;
    uint32_t line;
};

struct config {
    /* Where to listen, and on what. */
    struct config_list listen; /* at least one; net/listener.h reads them */
    uint32_t shards;           /* 0: one per CPU that the process may use */
    char *cpus;                /* "" or a list such as "0-3,8"; see cpu_list */
    uint32_t io;               /* enum io_kind */
    char *config_path;         /* of the file, or "" */
    uint32_t drain_seconds;

    /* Who may do what. */
    char *publish_token_file; /* path, or "" */
    struct config_list cors_origin;
    struct config_list alias; /* "/path=channel"; see aliases */

    char *tls_certificate; /* path of a PEM file, or "" */
    char *tls_key;         /* the same; "": the key is in the certificate's file */
    char *tls_client_ca;   /* the same: who may publish with a certificate */
    uint32_t tls_self_signed;

    uint32_t log_level;  /* enum log_level */
    uint32_t log_format; /* enum log_format */

    /* Limits on everything that a peer controls. */
    uint32_t head_bytes_max;
    uint32_t body_bytes_max;
    uint32_t header_seconds;
    uint32_t body_seconds;
    uint32_t keepalive_seconds;
    uint32_t connections_max;             /* 0: as many as the descriptors allow */
    uint32_t connections_per_address_max; /* 0: no limit */
    uint32_t channels_max;
    uint32_t channel_idle_seconds;
    uint32_t subscriptions_max; /* channels of one connection */
    uint32_t http2_streams_max; /* of one connection */
    uint32_t name_bytes_max;
    uint32_t batch_count_max;
    uint32_t idempotency_seconds;
    uint32_t idempotency_count_max;

    /* Streams and their history. */
    uint32_t heartbeat_seconds;
    uint32_t stream_seconds_max; /* 0: a stream may last as long as it likes */
    uint32_t retry_ms;           /* the mean of the jittered `retry:` */
    uint32_t history_count;      /* events of one channel */
    uint64_t history_bytes;      /* of one channel */
    uint32_t history_seconds;
    uint64_t history_total_bytes;    /* of all channels */
    struct config_list history_rule; /* "pattern=count/bytes/seconds" */
    struct config_list lag_rule;     /* "pattern=policy/bytes/seconds" */
    uint64_t lag_bytes_max;
    struct config_list cloudevent_rule; /* "pattern=event" or "pattern=data" */

    /* The kernel's side. */
    uint32_t queue_length; /* of a shard's queue; a power of two */
    uint32_t backlog;
    uint32_t tcp_keepalive_idle_seconds;
    uint32_t tcp_keepalive_interval_seconds;
    uint32_t tcp_keepalive_count;
    uint32_t user_timeout_seconds; /* 0: leave to the kernel */
    uint32_t send_buffer_bytes;    /* 0: leave to the kernel */
    uint32_t unsent_bytes_max;     /* 0: as much as the send buffer holds */

    /* Derived from the above once all places have been read. */
    struct config_list tokens;    /* secrets; none: protected mode */
    bool token_from_variable;     /* AUTH_TOKEN, not the file */
    bool publish_from_any_origin; /* `*` was asked for, not only the default (which is for GET) */
    struct config_alias *aliases;
    uint32_t alias_count;
    uint16_t *cpu_list; /* in the order written */
    uint32_t cpu_count;
    struct config_origin origins[CONFIG_OPTION_COUNT_MAX]; /* by index of the option table */

    /* For config_reload: on loan from the caller of config_load for the life of the process. */
    int argc;
    char **argv;
    char **envp;
};

enum config_outcome {
    CONFIG_OK,      /* run with it */
    CONFIG_EXIT_OK, /* --help, --version or --check-config: print the message to stdout, exit 0 */
    CONFIG_BAD,     /* print the message to stderr, exit CONFIG_EXIT_STATUS_BAD */
};

/* The exit codes that --help promises. */
enum { CONFIG_EXIT_STATUS_RUNTIME = 1, CONFIG_EXIT_STATUS_BAD = 2 };

/*
 * Fills *config from all places. The message, a buffer that the caller has initialised, receives
 * what is to be printed. On CONFIG_OK the config must be released with config_fini; otherwise it is
 * already empty. argv and envp are kept, as main() got them.
 */
enum config_outcome config_load(struct config *config, int argc, char **argv, char **envp,
                                struct buffer *message);

/*
 * Reads the file and the token file again and builds *ret_config: the new value where an option may
 * change while running, the old one elsewhere. The message then says in lines what changed and what
 * waits for a restart; it stays empty when nothing did. On CONFIG_BAD the message says why,
 * *ret_config is empty and the old config stays in force. Never CONFIG_EXIT_OK.
 */
enum config_outcome config_reload(const struct config *config, struct config *ret_config,
                                  struct buffer *message);

/* Releases and wipes; an empty (zeroed) config is fine. */
void config_fini(struct config *config);

/* The effective configuration as a YAML file with a comment on where each value came from. */
void config_print(const struct config *config, struct buffer *text);

#ifdef __cplusplus
}
#endif

#endif
