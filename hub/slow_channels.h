/*
 * The channels of a shard whose subscribers wait longest for what was published to them, as a JSON
 * object. Only those who do not keep up are looked at, and a bounded number of them.
 *
 * Threads: the shard's.
 */
#ifndef SPATE_HUB_SLOW_CHANNELS_H
#define SPATE_HUB_SLOW_CHANNELS_H

#include "core/base/buffer.h"

#ifdef __cplusplus
extern "C" {
#endif

struct shard;

enum { SLOW_CHANNELS_COUNT_MAX = 10 };

void slow_channels_write(const struct shard *shard, struct buffer *body);

#ifdef __cplusplus
}
#endif

#endif
