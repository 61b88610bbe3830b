/* Health and statistics. */
#include <stdio.h>

#include "core/event_id.h"
#include "hub/response.h"
#include "hub/routes.h"
#include "hub/totals.h"

enum { LOOK_BODY_MAX = 256 * 1024 };

static void look_status(struct call *call, int status, const char *word)
{
    struct buffer body;
    buffer_init(&body, LOOK_BODY_MAX);
    buffer_printf(&body, "{\"status\":\"%s\",\"version\":\"%s\",\"uptime_seconds\":%llu}\n", word,
                  SPATE_VERSION, (unsigned long long)hub_uptime_seconds(call->shard->hub));
    if (body.failed) {
        response_problem(call, 503, "Out of memory.");
    } else {
        response_send(call, &(struct response){.status = status,
                                               .content_type = RESPONSE_JSON,
                                               .headers = span_of("Cache-Control: no-store\r\n"),
                                               .body = buffer_span(&body)});
    }
    buffer_fini(&body);
}

void look_health(struct call *call)
{
    look_status(call, 200, "ok");
}

void look_ready(struct call *call)
{
    if (hub_is_draining(call->shard->hub)) {
        look_status(call, 503, "draining");
    } else {
        look_status(call, 200, "ok");
    }
}

static void totals_write(struct buffer *body, const struct totals *totals)
{
    for (unsigned i = 0; i < TOTAL_COUNT; i++) {
        buffer_printf(body, "\"%s\":%llu,", total_info(i)->name,
                      (unsigned long long)totals->values[i]);
    }
}

void look_write_stats(struct shard *shard, struct buffer *body)
{
    struct hub *hub = shard->hub;
    struct sequencer_stats sequencer;
    struct totals sum = {0};
    sequencer_get_stats(&hub->sequencer, &sequencer);
    for (unsigned i = 0; i < hub->shard_count; i++) {
        struct totals totals;
        totals_read(hub->shards[i], &totals);
        totals_add(&sum, &totals);
    }
    buffer_printf(body, "{\"channels\":%llu,\"clients\":%llu,",
                  (unsigned long long)sequencer.channels,
                  (unsigned long long)sequencer.subscribers);
    totals_write(body, &sum);
    uint64_t sends = sum.values[TOTAL_EVENT_SENDS];
    char id[EVENT_ID_LEN + 1] = {0};
    event_id_write(id, hub->epoch, sequencer.sequence);
    buffer_printf(body,
                  "\"deliveries_per_send\":%.3f,\"refused_full\":%llu,\"history_bytes\":%llu,"
                  "\"log_lines_dropped\":%llu,\"last_event_id\":\"%s\",\"draining\":%s,"
                  "\"version\":\"%s\",\"uptime_seconds\":%llu,\"io\":\"%s\",\"shards\":[",
                  sends == 0 ? 0.0 : (double)sum.values[TOTAL_DELIVERIES] / (double)sends,
                  (unsigned long long)sequencer.refused_full,
                  (unsigned long long)sequencer.history_bytes,
                  (unsigned long long)log_dropped_count(hub->log), id,
                  hub_is_draining(hub) ? "true" : "false", SPATE_VERSION,
                  (unsigned long long)hub_uptime_seconds(hub), io_kind_name(io_kind_of(shard->io)));
    for (unsigned i = 0; i < hub->shard_count; i++) {
        struct totals totals;
        totals_read(hub->shards[i], &totals);
        buffer_append_string(body, i == 0 ? "{" : ",{");
        totals_write(body, &totals);
        buffer_printf(body, "\"shard\":%u,\"cpu\":%d}", i, hub->shards[i]->cpu);
    }
    buffer_append_string(body, "]}");
}

void look_stats(struct call *call)
{
    struct buffer body;
    buffer_init(&body, LOOK_BODY_MAX);
    look_write_stats(call->shard, &body);
    buffer_append_string(&body, "\n");
    if (body.failed) {
        response_problem(call, 503, "Out of memory.");
    } else {
        response_send(call, &(struct response){.status = 200,
                                               .content_type = RESPONSE_JSON,
                                               .headers = span_of("Cache-Control: no-store\r\n"),
                                               .body = buffer_span(&body)});
    }
    buffer_fini(&body);
}
