/*
 * What the commands of spatectl share: the options, one request with its answer, and the exit
 * codes.
 *
 * Each command returns the exit code. Messages go to stderr, results to stdout. One thread.
 */
#ifndef SPATE_CTL_CTL_H
#define SPATE_CTL_CTL_H

#include <stdbool.h>
#include <stddef.h>

#include "tools/ctl/http.h"

#ifdef __cplusplus
extern "C" {
#endif

enum ctl_exit { CTL_OK = 0, CTL_FAILED = 1, CTL_USAGE = 2, CTL_UNREACHABLE = 3 };

struct ctl {
    struct http http;
    const char *event;         /* NULL: none */
    const char *retry;         /* NULL: none */
    const char *last_event_id; /* NULL: none */
    const char *history;       /* NULL: none */
    unsigned long rate;        /* events a second; 0: as fast as it goes */
    unsigned long count;       /* 0: no end */
    unsigned long interval_ms;
    bool is_ndjson, is_raw, is_json;
    char **arguments; /* behind the command */
    int argument_count;
};

/*
 * Sends, and reads the whole answer into *ret_text (freed by the caller, set only on CTL_OK).
 * Failures have been told on stderr.
 */
int ctl_ask(struct ctl *ctl, const struct http_request *request, char **ret_text);
/* Tells what the problem document `text` says, or just the status. */
void ctl_tell_problem(int status, const char *text);
/* Reads the rest of a body; NULL if it breaks off or is too long. Freed by the caller. */
char *ctl_read_body(struct http *http);
/* Percent-encodes a name; freed by the caller. */
char *ctl_escape(const char *name);
void ctl_sleep_ms(unsigned long ms);
/* Publishes one body to a channel. */
int ctl_publish(struct ctl *ctl, const char *channel, const char *type, const char *body,
                size_t size);

int ctl_pub(struct ctl *ctl);
int ctl_sub(struct ctl *ctl);
int ctl_stats(struct ctl *ctl);
int ctl_list(struct ctl *ctl, const char *path);
int ctl_kick(struct ctl *ctl);
int ctl_top(struct ctl *ctl);
int ctl_feed(struct ctl *ctl);
int ctl_completion(struct ctl *ctl);

#ifdef __cplusplus
}
#endif
#endif
