/*
 * The process that publishes: one event loop, a few kept-alive connections.
 *
 * Open loop: message n is due at start + n / rate, whatever the server does, and its age counts
 * from there. A connection carries one request at a time, so that its messages have an order; when
 * it is busy the messages behind it wait, and grow older. Closed loop: a message is due as soon as
 * fewer than `window` messages are on their way to all their subscribers.
 *
 * With more channels than connections, connection p serves the channels p, p + count, ...; with
 * more connections than channels, several serve one channel, each with a slot, and so a sequence,
 * of its own.
 */
#ifndef SPATE_LOAD_PUBLISHER_H
#define SPATE_LOAD_PUBLISHER_H

#include "tools/load/options.h"
#include "tools/load/scoreboard.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How many publishers one channel has. */
uint32_t publisher_slot_count(const struct options *options);

/* Runs in a process of its own until the run is done, and ends it. */
__attribute__((noreturn)) void publisher_run(const struct options *options,
                                             struct scoreboard *board);

#ifdef __cplusplus
}
#endif

#endif
