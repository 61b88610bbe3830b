/*
 * --steps: what happens once everybody is connected, told line by line instead of by --duration. So
 * another program can decide when to go on, and what it does between two steps is in the run, too.
 *
 *   publish [COUNT [EVERY_S]]  messages (1), one every so often (0); until everybody there has them
 *   hold SECONDS               nothing
 *   cut COUNT                  so many connections are closed at one moment, and stay away
 *   return [COUNT]             they come back with Last-Event-ID; COUNT (0) messages are published
 *                              meanwhile; until everybody has everything
 *   vanish                     those of --vanishing are not counted on any more: their network is
 *                              about to be cut
 *
 * Each step ends with a line of JSON on standard output. One fails if it takes too long or if
 * something went missing in it. The first that fails ends the run, and so does the end of the
 * input. Empty lines, and lines that begin with #, are nothing.
 *
 * Runs in the process that reports.
 */
#ifndef SPATE_LOAD_STEPS_H
#define SPATE_LOAD_STEPS_H

#include "tools/load/run.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Reads run->options->steps_path and does what it says. */
void steps_run(struct run *run);

#ifdef __cplusplus
}
#endif

#endif
