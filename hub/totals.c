#include "hub/totals.h"

static const struct total_info infos[TOTAL_COUNT] = {
    [TOTAL_CONNECTIONS] = {"connections", "connections", "Open connections."},
    [TOTAL_STREAMS] = {"streams", "streams", "Connections that are subscribed."},
    [TOTAL_BEHIND] = {"behind", "streams_behind",
                      "Streams that have not been sent everything: starting, resuming or slow."},
    [TOTAL_ACCEPTED] = {"accepted", "connections_accepted_total", "Connections taken."},
    [TOTAL_REFUSED] = {"refused", "connections_refused_total", "Connections refused by a limit."},
    [TOTAL_REQUESTS] = {"requests", "requests_total", "Whole requests."},
    [TOTAL_PUBLISHED] = {"published", "events_published_total",
                         "Events published through requests to this shard."},
    [TOTAL_HEARTBEATS] = {"heartbeats", "heartbeats_total", "Comments sent on idle streams."},
    [TOTAL_GAPS] = {"gaps", "gaps_total", "Gaps told to subscribers."},
    [TOTAL_SKIPS] = {"skips", "skips_total",
                     "Times that a slow subscriber was moved on past what it missed."},
    [TOTAL_SLOW_DISCONNECTS] = {"slow_disconnects", "slow_disconnects_total",
                                "Streams ended because they were too slow."},
    [TOTAL_AGED_OUT] = {"aged_out", "streams_aged_out_total",
                        "Streams ended because they had lasted as long as they may."},
    [TOTAL_BAD_REQUESTS] = {"bad_requests", "bad_requests_total",
                            "Requests that were not well-formed HTTP or came too late."},
    [TOTAL_EVICTED_HALF_OPEN] = {"evicted_half_open", "connections_evicted_total",
                                 "Connections without a request that were closed to make room."},
    [TOTAL_ACCEPT_FAILURES] = {"accept_failures", "accept_failures_total",
                               "Times that the kernel could not accept a connection."},
    [TOTAL_TLS_HANDSHAKES] = {"tls_handshakes", "tls_handshakes_total",
                              "TLS handshakes that were completed."},
    [TOTAL_TLS_RESUMPTIONS] = {"tls_resumptions", "tls_resumptions_total",
                               "Of them, those that resumed a session."},
    [TOTAL_TLS_HANDSHAKE_FAILURES] = {"tls_handshake_failures", "tls_handshake_failures_total",
                                      "TLS handshakes that failed."},
    [TOTAL_TLS_HANDSHAKE_TIMEOUTS] = {"tls_handshake_timeouts", "tls_handshake_timeouts_total",
                                      "TLS handshakes that took too long."},
    [TOTAL_HTTP2_CONNECTIONS] = {"http2_connections", "http2_connections_total",
                                 "Connections that spoke HTTP/2."},
    [TOTAL_HTTP2_STREAMS] = {"http2_streams", "http2_streams_total", "Requests over HTTP/2."},
    [TOTAL_HTTP2_FLOODS] = {"http2_floods", "http2_floods_total",
                            "HTTP/2 connections ended for abuse."},
    [TOTAL_TAKEN] = {"taken", "events_taken_total", "Events taken from the shard's queue."},
    [TOTAL_DELIVERIES] = {"deliveries", "deliveries_total",
                          "Events handed over, counted for each subscriber."},
    [TOTAL_EVENT_SENDS] = {"event_sends", "event_sends_total", "Hand-overs that carried events."},
    [TOTAL_SHORT_SENDS] = {"short_sends", "short_sends_total",
                           "Of them, those that were not taken whole."},
    [TOTAL_HISTORY_READS] = {"history_reads", "history_reads_total",
                             "Reads from history for subscribers that are behind."},
    [TOTAL_PASSES] = {"passes", "passes_total", "Walks over a channel's subscribers."},
    [TOTAL_SENDS] = {"sends", "sends_total", "Sends of the kernel's, of any kind."},
    [TOTAL_BYTES_SENT] = {"bytes_sent", "sent_bytes_total", "Bytes taken by the kernel."},
    [TOTAL_BYTES_RECEIVED] = {"bytes_received", "received_bytes_total", "Bytes received."},
    [TOTAL_TURNS] = {"turns", "loop_turns_total", "Turns of the event loop."},
    [TOTAL_SYSTEM_CALLS] = {"system_calls", "system_calls_total",
                            "System calls of the event loop."},
    [TOTAL_CQ_OVERFLOWS] = {"cq_overflows", "cq_overflows_total",
                            "Times that the completion queue of io_uring was found overflowed."},
};

const struct total_info *total_info(enum total total)
{
    CHECK(total < TOTAL_COUNT);
    CHECK(infos[total].name != NULL);
    return &infos[total];
}

/* Relaxed: each counter has one writer, and statistics need not agree to the event. */
static uint64_t counter_read(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

void totals_read(const struct shard *shard, struct totals *ret_totals)
{
    const struct shard_stats *stats = &shard->stats;
    const struct fanout_stats *fanout = &shard->fanout.stats;
    const struct io_stats *io = io_stats_of(shard->io);
    *ret_totals = (struct totals){
        .values =
            {
                [TOTAL_CONNECTIONS] = counter_read(&stats->connections),
                [TOTAL_STREAMS] = counter_read(&stats->streams),
                [TOTAL_BEHIND] = counter_read(&fanout->behind),
                [TOTAL_ACCEPTED] = counter_read(&stats->accepted),
                [TOTAL_REFUSED] = counter_read(&stats->refused),
                [TOTAL_REQUESTS] = counter_read(&stats->requests),
                [TOTAL_PUBLISHED] = counter_read(&stats->published),
                [TOTAL_HEARTBEATS] = counter_read(&stats->heartbeats),
                [TOTAL_GAPS] = counter_read(&stats->gaps),
                [TOTAL_SKIPS] = counter_read(&stats->skips),
                [TOTAL_SLOW_DISCONNECTS] = counter_read(&stats->slow_disconnects),
                [TOTAL_AGED_OUT] = counter_read(&stats->aged_out),
                [TOTAL_BAD_REQUESTS] = counter_read(&stats->bad_requests),
                [TOTAL_EVICTED_HALF_OPEN] = counter_read(&stats->evicted_half_open),
                [TOTAL_ACCEPT_FAILURES] = counter_read(&stats->accept_failures),
                [TOTAL_TLS_HANDSHAKES] = counter_read(&stats->tls_handshakes),
                [TOTAL_TLS_RESUMPTIONS] = counter_read(&stats->tls_resumptions),
                [TOTAL_TLS_HANDSHAKE_FAILURES] = counter_read(&stats->tls_handshake_failures),
                [TOTAL_TLS_HANDSHAKE_TIMEOUTS] = counter_read(&stats->tls_handshake_timeouts),
                [TOTAL_HTTP2_CONNECTIONS] = counter_read(&stats->http2_connections),
                [TOTAL_HTTP2_STREAMS] = counter_read(&stats->http2_streams),
                [TOTAL_HTTP2_FLOODS] = counter_read(&stats->http2_floods),
                [TOTAL_TAKEN] = counter_read(&fanout->taken),
                [TOTAL_DELIVERIES] = counter_read(&fanout->deliveries),
                [TOTAL_EVENT_SENDS] = counter_read(&fanout->sends),
                [TOTAL_SHORT_SENDS] = counter_read(&fanout->short_sends),
                [TOTAL_HISTORY_READS] = counter_read(&fanout->history_reads),
                [TOTAL_PASSES] = counter_read(&fanout->passes),
                [TOTAL_SENDS] = counter_read(&io->sends),
                [TOTAL_BYTES_SENT] = counter_read(&io->bytes_sent),
                [TOTAL_BYTES_RECEIVED] = counter_read(&io->bytes_received),
                [TOTAL_TURNS] = counter_read(&io->turns),
                [TOTAL_SYSTEM_CALLS] = counter_read(&io->system_calls),
                [TOTAL_CQ_OVERFLOWS] = counter_read(&io->cq_overflows),
            },
    };
}

void totals_add(struct totals *totals, const struct totals *more)
{
    for (unsigned i = 0; i < TOTAL_COUNT; i++) {
        totals->values[i] += more->values[i];
    }
}
