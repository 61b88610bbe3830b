/*
 * What the commands of spatectl share: the values of the options, one request with its answer, and
 * the exit codes. The tables of commands and options are in tools/ctl/command.h.
 *
 * Each command returns the exit code. Messages go to stderr, results to stdout. One thread.
 */
#ifndef SPATE_CTL_CTL_H
#define SPATE_CTL_CTL_H

#include <jansson.h>

#include "core/base/random.h"
#include "tools/ctl/http.h"

#ifdef __cplusplus
extern "C" {
#endif

enum ctl_exit {
    CTL_OK = 0,
    CTL_FAILED = 1,      /* refused, broken, not understood */
    CTL_USAGE = 2,       /* called wrongly; nothing has been sent */
    CTL_UNREACHABLE = 3, /* no connection */
    CTL_GAP = 4,         /* sub --gap-fails */
    CTL_BROKEN = 5,      /* no whole answer: what became of the request is not known */
    CTL_MISSING = 127,   /* bench: there is no spate-load to run */
};

#define CTL_UNSET UINT64_MAX /* a number that was not given, and has no default */

struct ctl {
    struct http http;
    struct random random;
    const struct ctl_command *command;
    char **arguments; /* behind the command */
    int argument_count;

    /* The options; a text that was not given is NULL. */
    const char *url, *token, *ca_file;
    bool is_insecure;
    const char *event, *retry, *content_type, *file;
    const char *last_event_id, *history, *since, *client;
    const char *channel;
    uint64_t rate, count, interval_ms, idle_seconds, retries, seed, rows;
    bool is_ndjson, is_raw, is_json, is_quiet, gap_fails;
};

/* ---- Asking the hub */

/*
 * Sends, and wants a status below 300. Failures have been told on stderr; the answer is to be freed
 * only after CTL_OK.
 */
int ctl_ask(struct ctl *ctl, const struct http_request *request, struct http_answer *answer);
/* The same for a path that answers with JSON. */
int ctl_ask_json(struct ctl *ctl, const char *path, json_t **ret_json);
/* Tells what the server's problem document says, or just the status. */
void ctl_tell_status(const struct http_answer *answer);
/* Percent-encodes a name; freed by the caller. */
char *ctl_escape(const char *name);
/* As printf, into memory that the caller frees. */
__attribute__((format(printf, 1, 2))) char *ctl_format(const char *format, ...);
/* False, and told on stderr, if what was printed to stdout got lost. */
bool ctl_flush(void);

/* ---- Trying again */

/* The attempts in a row that came to nothing. */
struct back_off {
    uint64_t failures;
    uint64_t base_ms; /* the first wait; it doubles up to half a minute */
    uint64_t limit;   /* so many failures are too many; CTL_UNSET: none is */
};

/*
 * Tells `reason` and the wait on stderr, and waits, for `seconds` at least. False if it was one
 * failure too many.
 */
bool back_off_wait(struct ctl *ctl, struct back_off *back_off, const char *reason,
                   uint64_t seconds);

/* ---- Publishing */

struct publication {
    const char *channel;
    const char *event; /* NULL: none */
    const char *content_type;
    struct span body;
};

/*
 * Publishes, and prints the answer. Tries again only what has certainly not been published: no
 * connection, or a 429 or 503.
 */
int ctl_publish(struct ctl *ctl, struct back_off *back_off, const struct publication *publication);

/* ---- The commands */

int ctl_pub(struct ctl *ctl);
int ctl_sub(struct ctl *ctl);
int ctl_health(struct ctl *ctl);
int ctl_stats(struct ctl *ctl);
int ctl_clients(struct ctl *ctl);
int ctl_channels(struct ctl *ctl);
int ctl_kick(struct ctl *ctl);
int ctl_top(struct ctl *ctl);
int ctl_profile(struct ctl *ctl);
int ctl_feed(struct ctl *ctl);
int ctl_bench(struct ctl *ctl);
int ctl_completion(struct ctl *ctl);
int ctl_help(struct ctl *ctl);

#ifdef __cplusplus
}
#endif
#endif
