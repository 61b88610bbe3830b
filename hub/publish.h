/*
 * Publishing: from a request to frames in the sequencer. The handlers are in hub/routes.h; here is
 * what the formats of events have in common.
 *
 * A function that returns bool and may refuse has sent the refusal when it returns false.
 * Owned by the shard's thread.
 */
#ifndef SPATE_HUB_PUBLISH_H
#define SPATE_HUB_PUBLISH_H

#include "core/sequencer.h"
#include "hub/call.h"
#include "proto/sse.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One event as the publisher said it. */
struct event {
    struct channel_name channel;
    struct sse_event sse;
};

/* The fields that a query or a form may hold; those that it did not have NULL bytes. */
struct publish_fields {
    struct span channel;
    struct span msg;
    struct span event;
    struct span retry;
};

/* What has become of a request. */
struct publish_result {
    const struct publication *publications; /* in the request's order; a sequence of 0 is unknown */
    unsigned count;
    unsigned duplicate_count; /* of them, those that had been published before */
    bool is_batch;
    struct channel_name channel; /* of a batch without events */
};

bool event_set_channel(struct call *call, struct event *event, struct span name);
bool event_set_retry(struct call *call, struct event *event, struct span text);

/* The most events of a batch. */
unsigned publish_batch_max(const struct config *config);

/* Sends what an outcome other than PUBLISH_DONE means. */
void publish_refuse(struct call *call, enum publish_outcome outcome);
/* {"id":…,"channel":…,"subscribers":…} of the last event; of a batch also all ids. */
void publish_answer(struct call *call, const struct publish_result *result);
void publish_log(const struct call *call, const struct publication *publication, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
