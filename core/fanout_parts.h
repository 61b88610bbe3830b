/* What the two files of the fan-out (core/fanout.h) share: nobody else's. */
#ifndef SPATE_CORE_FANOUT_PARTS_H
#define SPATE_CORE_FANOUT_PARTS_H

#include "core/fanout.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The feed gets a pass. */
void fanout_mark_dirty(struct fanout *fanout, struct feed *feed);
/* Counts the subscriber as one who does not keep up, or no longer, in each of its feeds. */
void fanout_set_behind(struct fanout *fanout, struct subscriber *subscriber, bool behind);

/* Somebody leaves between a turn's sends and their results: rare. */
void fanout_forget_sends(struct fanout *fanout, const struct subscriber *subscriber);

#ifdef __cplusplus
}
#endif

#endif
