/*
 * The streams that are furthest behind: `GET /clients?slowest=N`. Every shard looks at its streams,
 * a bounded number a turn, and the farthest of all are answered.
 *
 * Threads: the origin shard's, but for the work that each shard does on its own streams.
 */
#ifndef SPATE_HUB_SLOWEST_H
#define SPATE_HUB_SLOWEST_H

#include "hub/errand.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SLOWEST_COUNT_MAX = 100 };

/*
 * Answers with `count` streams at most; the response head has been written. False without memory:
 * then nothing has begun.
 */
bool slowest_begin(struct connection *connection, unsigned count);

#ifdef __cplusplus
}
#endif

#endif
