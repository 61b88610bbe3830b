/*
 * The counters of a shard in one row: what its parts count, under the names by which /stats and
 * /metrics show it.
 *
 * Threads: any may read the totals of any shard; each counter has one writer and is read relaxed,
 * so that the numbers of a row need not agree with one another to the event.
 */
#ifndef SPATE_HUB_TOTALS_H
#define SPATE_HUB_TOTALS_H

#include "hub/shard.h"

#ifdef __cplusplus
extern "C" {
#endif

enum total {
    TOTAL_CONNECTIONS,
    TOTAL_STREAMS,
    TOTAL_BEHIND,
    TOTAL_ACCEPTED,
    TOTAL_REFUSED,
    TOTAL_REQUESTS,
    TOTAL_PUBLISHED,
    TOTAL_HEARTBEATS,
    TOTAL_GAPS,
    TOTAL_SKIPS,
    TOTAL_SLOW_DISCONNECTS,
    TOTAL_AGED_OUT,
    TOTAL_BAD_REQUESTS,
    TOTAL_EVICTED_HALF_OPEN,
    TOTAL_ACCEPT_FAILURES,
    TOTAL_TLS_HANDSHAKES,
    TOTAL_TLS_RESUMPTIONS,
    TOTAL_TLS_HANDSHAKE_FAILURES,
    TOTAL_TLS_HANDSHAKE_TIMEOUTS,
    TOTAL_HTTP2_CONNECTIONS,
    TOTAL_HTTP2_STREAMS,
    TOTAL_HTTP2_FLOODS,
    TOTAL_TAKEN,
    TOTAL_DELIVERIES,
    TOTAL_EVENT_SENDS,
    TOTAL_SHORT_SENDS,
    TOTAL_HISTORY_READS,
    TOTAL_PASSES,
    TOTAL_SENDS,
    TOTAL_BYTES_SENT,
    TOTAL_BYTES_RECEIVED,
    TOTAL_TURNS,
    TOTAL_SYSTEM_CALLS,
    TOTAL_CQ_OVERFLOWS,
    TOTAL_COUNT,
};

struct totals {
    uint64_t values[TOTAL_COUNT];
};

struct total_info {
    const char *name;   /* in /stats */
    const char *metric; /* in /metrics, without the prefix; it ends in _total unless it may fall */
    const char *help;
};

const struct total_info *total_info(enum total total);

void totals_read(const struct shard *shard, struct totals *ret_totals);
void totals_add(struct totals *totals, const struct totals *more);

#ifdef __cplusplus
}
#endif

#endif
