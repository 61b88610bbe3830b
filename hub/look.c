/* Health and statistics. */
#include <stdio.h>

#include "core/event_id.h"
#include "hub/response.h"
#include "hub/routes.h"

enum { LOOK_BODY_MAX = 256 * 1024 };

static void look_status(struct call *call, int status, const char *word)
{
    struct buffer body;
    buffer_init(&body, LOOK_BODY_MAX);
    buffer_printf(
        &body, "{\"status\":\"%s\",\"version\":\"%s\",\"uptime_seconds\":%llu}\n", word,
        SPATE_VERSION,
        (unsigned long long)((call->shard->wall_ms - call->shard->hub->started_ms) / 1000));
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

/* Relaxed: each counter has one writer, and statistics need not agree to the event. */
static uint64_t counter_read(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

struct shard_totals {
    uint64_t connections, streams, accepted, refused, requests, published, heartbeats, gaps;
    uint64_t slow_disconnects, bad_requests, evicted_half_open, accept_failures;
    uint64_t taken, deliveries, event_sends, short_sends, history_reads, passes;
    uint64_t sends, bytes_sent, bytes_received, turns, system_calls, cq_overflows;
};

/* The names in the answer, and where in the totals each is. */
static const struct {
    const char *name;
    size_t offset;
} total_fields[] = {
#define TOTAL(field)                                                                               \
    {                                                                                              \
#field, offsetof(struct shard_totals, field)                                               \
    }
    TOTAL(connections),
    TOTAL(streams),
    TOTAL(accepted),
    TOTAL(refused),
    TOTAL(requests),
    TOTAL(published),
    TOTAL(heartbeats),
    TOTAL(gaps),
    TOTAL(slow_disconnects),
    TOTAL(bad_requests),
    TOTAL(evicted_half_open),
    TOTAL(accept_failures),
    TOTAL(taken),
    TOTAL(deliveries),
    TOTAL(event_sends),
    TOTAL(short_sends),
    TOTAL(history_reads),
    TOTAL(passes),
    TOTAL(sends),
    TOTAL(bytes_sent),
    TOTAL(bytes_received),
    TOTAL(turns),
    TOTAL(system_calls),
    TOTAL(cq_overflows),
#undef TOTAL
};

static void totals_read(const struct shard *shard, struct shard_totals *totals)
{
    const struct shard_stats *stats = &shard->stats;
    const struct fanout_stats *fanout = &shard->fanout.stats;
    const struct io_stats *io = io_stats_of(shard->io);
    *totals = (struct shard_totals){
        .connections = counter_read(&stats->connections),
        .streams = counter_read(&stats->streams),
        .accepted = counter_read(&stats->accepted),
        .refused = counter_read(&stats->refused),
        .requests = counter_read(&stats->requests),
        .published = counter_read(&stats->published),
        .heartbeats = counter_read(&stats->heartbeats),
        .gaps = counter_read(&stats->gaps),
        .slow_disconnects = counter_read(&stats->slow_disconnects),
        .bad_requests = counter_read(&stats->bad_requests),
        .evicted_half_open = counter_read(&stats->evicted_half_open),
        .accept_failures = counter_read(&stats->accept_failures),
        .taken = counter_read(&fanout->taken),
        .deliveries = counter_read(&fanout->deliveries),
        .event_sends = counter_read(&fanout->sends),
        .short_sends = counter_read(&fanout->short_sends),
        .history_reads = counter_read(&fanout->history_reads),
        .passes = counter_read(&fanout->passes),
        .sends = counter_read(&io->sends),
        .bytes_sent = counter_read(&io->bytes_sent),
        .bytes_received = counter_read(&io->bytes_received),
        .turns = counter_read(&io->turns),
        .system_calls = counter_read(&io->system_calls),
        .cq_overflows = counter_read(&io->cq_overflows),
    };
}

static uint64_t *total_at(struct shard_totals *totals, size_t field)
{
    return (uint64_t *)(void *)((char *)totals + total_fields[field].offset);
}

static void totals_write(struct buffer *body, struct shard_totals *totals)
{
    for (size_t i = 0; i < countof(total_fields); i++) {
        buffer_printf(body, "\"%s\":%llu,", total_fields[i].name,
                      (unsigned long long)*total_at(totals, i));
    }
}

void look_stats(struct call *call)
{
    struct hub *hub = call->shard->hub;
    struct sequencer_stats sequencer;
    struct shard_totals sum = {0};
    struct buffer body;
    buffer_init(&body, LOOK_BODY_MAX);
    sequencer_get_stats(&hub->sequencer, &sequencer);
    for (unsigned i = 0; i < hub->shard_count; i++) {
        struct shard_totals totals;
        totals_read(hub->shards[i], &totals);
        for (size_t j = 0; j < countof(total_fields); j++) {
            *total_at(&sum, j) += *total_at(&totals, j);
        }
    }
    buffer_printf(&body, "{\"channels\":%llu,\"clients\":%llu,",
                  (unsigned long long)sequencer.channels,
                  (unsigned long long)sequencer.subscribers);
    totals_write(&body, &sum);
    char id[EVENT_ID_LEN + 1] = {0};
    event_id_write(id, hub->epoch, sequencer.sequence);
    buffer_printf(&body,
                  "\"deliveries_per_send\":%.3f,\"refused_full\":%llu,\"history_bytes\":%llu,"
                  "\"log_lines_dropped\":%llu,\"last_event_id\":\"%s\",\"draining\":%s,"
                  "\"version\":\"%s\",\"uptime_seconds\":%llu,\"io\":\"%s\",\"shards\":[",
                  sum.event_sends == 0 ? 0.0 : (double)sum.deliveries / (double)sum.event_sends,
                  (unsigned long long)sequencer.refused_full,
                  (unsigned long long)sequencer.history_bytes,
                  (unsigned long long)log_dropped_count(hub->log), id,
                  hub_is_draining(hub) ? "true" : "false", SPATE_VERSION,
                  (unsigned long long)((call->shard->wall_ms - hub->started_ms) / 1000),
                  io_kind_name(io_kind_of(call->shard->io)));
    for (unsigned i = 0; i < hub->shard_count; i++) {
        struct shard_totals totals;
        totals_read(hub->shards[i], &totals);
        buffer_append_string(&body, i == 0 ? "{" : ",{");
        totals_write(&body, &totals);
        buffer_printf(&body, "\"shard\":%u,\"cpu\":%d}", i, hub->shards[i]->cpu);
    }
    buffer_append_string(&body, "]}\n");
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
