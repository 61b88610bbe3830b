/*
 * What the command line asks for, checked and complete: after options_read every field has its
 * final value.
 *
 * Owned by main; strings point into argv, the environment or static text.
 */
#ifndef SPATE_LOAD_OPTIONS_H
#define SPATE_LOAD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "net/io.h"
#include "tools/load/target.h"

#ifdef __cplusplus
extern "C" {
#endif

enum load_exit { LOAD_OK = 0, LOAD_FAULTS = 1, LOAD_USAGE = 2, LOAD_UNREACHABLE = 3 };

enum { OPTIONS_PID_COUNT_MAX = 32, OPTIONS_WORKER_COUNT_MAX = 256 };

/* Addresses to connect from. */
struct source {
    uint32_t first; /* IPv4, host order */
    uint32_t count; /* 0: the kernel's choice */
};

struct options {
    struct target target;
    const char *scenario;
    uint32_t subscriber_count;
    uint32_t channel_count;
    uint32_t publisher_count; /* connections; 0: nothing is published */
    double rate;              /* messages a second, of all publishers; 0 with a window */
    uint32_t window;          /* closed loop: messages on their way at a time; 0: open loop */
    double duration_s;
    double connect_timeout_s;
    double drain_s;
    double connect_rate; /* connections a second, of all workers; 0: as fast as it goes */
    uint32_t message_len;
    double storm_percent; /* of the subscribers, cut at a time; 0: no storms */
    double storm_every_s;
    double slow_percent;
    uint32_t slow_bytes; /* a second */
    uint32_t worker_count;
    uint32_t subscribers_per_worker_max;
    enum io_kind io_kind;
    struct source source;
    struct source vanishing_source; /* of those that vanish; like the others if there is none */
    double vanishing_percent;
    const char *steps_path; /* NULL: no steps; see steps.h */
    int pids[OPTIONS_PID_COUNT_MAX];
    unsigned pid_count;
    const char *json_path;
    const char *html_path;
    const char *svg_path;
    bool is_quiet;
};

/*
 * Returns -1 to go on, or the code to exit with after everything has been said (--help, --version,
 * a mistake).
 */
int options_read(struct options *options, int argc, char **argv);

#ifdef __cplusplus
}
#endif

#endif
