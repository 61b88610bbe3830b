/* The line that shows on standard error how the run goes. On a terminal it is redrawn in place. */
#ifndef SPATE_LOAD_PROGRESS_H
#define SPATE_LOAD_PROGRESS_H

#include "tools/load/result.h"

#ifdef __cplusplus
extern "C" {
#endif

struct progress {
    bool is_shown;
    bool is_terminal;
    bool is_open;      /* a line is begun */
    double shown_s;    /* when the last one was */
    const char *phase; /* that it told of */
    uint64_t deliveries;
    uint64_t published;
    uint64_t connects;
};

void progress_init(struct progress *progress, bool is_shown);
/* `done` of the phase, from 0 to 1. Call after each sample; it draws when it is time. */
void progress_show(struct progress *progress, const struct result *result, const char *phase,
                   double done);
void progress_end(struct progress *progress);

#ifdef __cplusplus
}
#endif

#endif
