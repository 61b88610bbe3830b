/*
 * One run as its first process sees it, the one that decides and reports. Owned by main.c; the
 * steps (tools/load/steps.h) are its other reader. One thread.
 */
#ifndef SPATE_LOAD_RUN_H
#define SPATE_LOAD_RUN_H

#include "tools/load/progress.h"
#include "tools/load/result.h"

#ifdef __cplusplus
extern "C" {
#endif

struct run {
    const struct options *options;
    struct scoreboard *board;
    struct result *result;
    struct progress progress;
    uint64_t begin_ns;
    double sampled_s;
    uint64_t steps_expected; /* deliveries, of what the steps have published so far */
    bool steps_are_wrong;    /* one of them is not understood */
    bool steps_failed;       /* one of them did not come to its end */
    bool is_broken;          /* one of the processes has ended before its time */
};

/* Since the beginning. */
double run_seconds(const struct run *run);
/*
 * A moment's wait, in which whatever is due every moment is done: progress is shown, a sample is
 * taken. `done` of the phase, from 0 to 1. False: it is time to stop.
 */
bool run_look(struct run *run, const char *phase, double done);

#ifdef __cplusplus
}
#endif

#endif
