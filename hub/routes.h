/*
 * The handlers behind the routes; the table of them is in hub/call.c. Each answers its call before
 * it returns, or makes the connection wait for an errand.
 */
#ifndef SPATE_HUB_ROUTES_H
#define SPATE_HUB_ROUTES_H

#include "hub/call.h"

#ifdef __cplusplus
extern "C" {
#endif

/* hub/subscribe.c */
void subscribe_channel(struct call *call);  /* /sse/{channel} */
void subscribe_channels(struct call *call); /* /sse?channel=a&channel=b */
void subscribe_client(struct call *call);   /* /stream/{client} */
void subscribe_alias(struct call *call, struct span channel);

/* hub/publish.c */
void publish_channel(struct call *call);    /* /publish/{channel} */
void publish_query(struct call *call);      /* /publish?channel=&msg= */
void publish_status(struct call *call);     /* /publish/{client}/status/{status} */
void publish_status_all(struct call *call); /* /publish/status/{status} */

/* hub/look.c */
void look_health(struct call *call);
void look_ready(struct call *call);
void look_stats(struct call *call);
/* What it answers: one JSON object, without a line end. */
void look_write_stats(struct shard *shard, struct buffer *body);

/* hub/openapi.c */
void look_openapi(struct call *call);

/* hub/metrics.c */
void look_metrics(struct call *call);

/* hub/profile_report.c */
void look_fanout(struct call *call);

/* hub/lists.c */
void list_clients(struct call *call);
void list_channels(struct call *call);
void delete_client(struct call *call);
void delete_channel(struct call *call);

#ifdef __cplusplus
}
#endif

#endif
