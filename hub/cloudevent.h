/*
 * Publishing CloudEvents (docs/http.md): in the JSON format, in batches of it, and in binary mode.
 * What makes one valid is proto/cloudevent.h's.
 *
 * An event goes out in the JSON format on one line, under its type; or as its data alone where the
 * configuration says so for the channel. Its bytes are the publisher's, but for white space that
 * would break the line. A second event of the same source and id on the same channel is answered
 * like the first and not published, as long as the window of hub/idempotency.h remembers it.
 *
 * Owned by the shard's thread.
 */
#ifndef SPATE_HUB_CLOUDEVENT_H
#define SPATE_HUB_CLOUDEVENT_H

#include "hub/publish.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whether the request's header has one of the attributes that every CloudEvent has. */
bool cloudevent_is_binary(const struct call *call);

/* Publish what the body holds, and answer. */
void cloudevent_publish(struct call *call, const struct publish_fields *fields);
void cloudevent_publish_batch(struct call *call, const struct publish_fields *fields);
void cloudevent_publish_binary(struct call *call, const struct publish_fields *fields);

#ifdef __cplusplus
}
#endif

#endif
