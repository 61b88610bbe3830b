#include "hub/profile_report.h"

#include "core/base/memory.h"
#include "hub/call.h"
#include "hub/response.h"
#include "hub/routes.h"

enum { PROFILE_BODY_MAX = 16 * 1024 * 1024 };

static const struct profile_info measure_infos[PROFILE_MEASURE_COUNT] = {
    [PROFILE_PARSE] = {"parse", "ns", "Reading and checking the request, and building the frame.",
                       "Publish in batches (application/x-ndjson); spread publishers over more "
                       "connections, so that more shards share the work."},
    [PROFILE_SEQUENCE] = {"sequence", "ns",
                          "Waiting for the lock of the sequencer, which orders all events.",
                          "Many shards publish at once: publish in batches, which take the "
                          "sequencer's lock once."},
    [PROFILE_QUEUE] = {"queue", "ns",
                       "Waiting in the queue of the shard that serves the subscribers.",
                       "That shard is asleep (the kernel takes a few microseconds to wake it) or "
                       "busy: look at the event loops below, and give it a CPU of its own, or the "
                       "hub more shards."},
    [PROFILE_PASS] = {"pass", "ns", "Walking over the subscribers and preparing a send for each.",
                      "With epoll the sends themselves are in here; io_uring makes them cheaper. "
                      "More shards share the subscribers."},
    [PROFILE_SUBMIT] = {"submit", "ns", "Handing the queued sends to the kernel.",
                        "This is TCP: 4 to 5 microseconds a send. More shards share the "
                        "subscribers, if there are CPUs for them."},
    [PROFILE_COMPLETION] = {"completion", "ns", "Handling the results of the sends.",
                            "Many sends are short: see which subscribers are behind."},
    [PROFILE_OTHER] = {"other", "ns",
                       "Other work of the shard during a long pass: requests, timers, new "
                       "connections.",
                       "Connect storms and publishers on the same shard take its time: give the "
                       "hub more shards."},
    [PROFILE_TOTAL] = {"total", "ns",
                       "From the last byte of the request to the last subscriber's send.", NULL},
    [PROFILE_TURN] = {"turn", "ns", "One turn of a shard's event loop, without the time asleep.",
                      NULL},
    [PROFILE_CATCH_UP] = {"catch_up", "ns",
                          "Age of an event when it is sent to a subscriber that was behind.", NULL},
    [PROFILE_BATCH] = {"batch", "events", "Events per send.", NULL},
    [PROFILE_SENDS] = {"sends", "sends", "Sends per turn.", NULL},
    [PROFILE_QUEUE_DEPTH] = {"queue_depth", "events",
                             "Events waiting when a shard looks into its queue.", NULL},
};

static const struct profile_info phase_infos[PROFILE_PHASE_COUNT] = {
    [PROFILE_PHASE_WAIT] = {"wait", "ns", "asleep", NULL},
    [PROFILE_PHASE_SUBMIT] = {"submit", "ns", "handing queued sends to the kernel", NULL},
    [PROFILE_PHASE_COMPLETION] = {"completion", "ns", "handling the results of sends", NULL},
    [PROFILE_PHASE_RECEIVE] = {"receive", "ns", "requests, new and closed connections", NULL},
    [PROFILE_PHASE_PASS] = {"pass", "ns", "walking over the subscribers", NULL},
    [PROFILE_PHASE_REST] = {"rest", "ns", "timers, answers, housekeeping", NULL},
};

const struct profile_info *profile_measure_info(enum profile_measure measure)
{
    CHECK(measure < PROFILE_MEASURE_COUNT);
    return &measure_infos[measure];
}

const struct profile_info *profile_phase_info(enum profile_phase phase)
{
    CHECK(phase < PROFILE_PHASE_COUNT);
    return &phase_infos[phase];
}

/* ---- Putting together ------------------------------------------------------------------------ */

static void report_add_shard(struct profile_report *report, const struct shard *shard)
{
    unsigned index = report->shard_count++;
    struct totals totals;
    totals_read(shard, &totals);
    totals_add(&report->totals, &totals);
    report->shards[index].cpu = shard->cpu;
    report->shards[index].deliveries = totals.values[TOTAL_DELIVERIES];
    report->shards[index].sum_ns = 1;
    for (unsigned i = 0; i < PROFILE_PHASE_COUNT; i++) {
        uint64_t phase_ns = profile_phase_ns(shard->profile, i);
        report->shards[index].phase_ns[i] = phase_ns;
        report->shards[index].sum_ns += phase_ns;
    }
    for (unsigned i = 0; i < PROFILE_MEASURE_COUNT; i++) {
        histogram_merge(&report->histograms[i], profile_histogram(shard->profile, i));
    }
}

struct profile_report *profile_report_new(const struct shard *shard)
{
    struct profile_report *report = memory_map(sizeof(*report));
    if (report != NULL) {
        const struct hub *hub = shard->hub;
        report->io = io_kind_of(shard->io);
        report->uptime_seconds = hub_uptime_seconds(hub);
        for (unsigned i = 0; i < hub->shard_count; i++) {
            report_add_shard(report, hub->shards[i]);
        }
    }
    return report;
}

void profile_report_free(struct profile_report *report)
{
    memory_unmap(report, sizeof(*report));
}

double profile_report_means(const struct profile_report *report, double means[PROFILE_STAGE_COUNT])
{
    double sum = 0;
    for (unsigned i = 0; i < PROFILE_STAGE_COUNT; i++) {
        means[i] = histogram_mean(&report->histograms[i]);
        sum += means[i];
    }
    return sum;
}

enum profile_measure profile_report_slowest(const struct profile_report *report)
{
    double means[PROFILE_STAGE_COUNT];
    unsigned slowest = 0;
    profile_report_means(report, means);
    for (unsigned i = 1; i < PROFILE_STAGE_COUNT; i++) {
        if (means[i] > means[slowest]) {
            slowest = i;
        }
    }
    return slowest;
}

double profile_report_per_delivery(const struct profile_report *report, enum profile_phase phase)
{
    uint64_t sum_ns = 0;
    uint64_t deliveries = report->totals.values[TOTAL_DELIVERIES];
    for (unsigned i = 0; i < report->shard_count; i++) {
        sum_ns += report->shards[i].phase_ns[phase];
    }
    return deliveries == 0 ? 0 : (double)sum_ns / (double)deliveries;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* Four bounds to each octave are fine enough for whoever subtracts two reports. */
static uint64_t coarse_bound(uint64_t value)
{
    if (value < 8) {
        return value;
    }
    unsigned shift = 61 - (unsigned)__builtin_clzll(value);
    return ((value >> shift) + 1) * (UINT64_C(1) << shift) - 1;
}

static void write_buckets(struct buffer *body, const struct histogram *histogram)
{
    const char *separator = "";
    unsigned i = histogram_next(histogram, 0);
    buffer_append_string(body, ",\"buckets\":[");
    while (i < HISTOGRAM_BUCKET_COUNT) {
        uint64_t bound = coarse_bound(histogram_bucket_low(i));
        uint64_t count = 0;
        for (; i < HISTOGRAM_BUCKET_COUNT && histogram_bucket_low(i) <= bound;
             i = histogram_next(histogram, i + 1)) {
            count += histogram_bucket_count(histogram, i);
        }
        buffer_printf(body, "%s[%llu,%llu]", separator, (unsigned long long)bound,
                      (unsigned long long)count);
        separator = ",";
    }
    buffer_append_string(body, "]");
}

static void write_measure(struct buffer *body, const struct profile_report *report,
                          enum profile_measure measure)
{
    static const double percents[] = {50, 90, 99, 99.9};
    static const char *const names[] = {"p50", "p90", "p99", "p999"};
    const struct histogram *histogram = &report->histograms[measure];
    const struct profile_info *info = profile_measure_info(measure);
    buffer_printf(body,
                  "{\"name\":\"%s\",\"unit\":\"%s\",\"what\":\"%s\",\"count\":%llu,\"sum\":%llu,"
                  "\"mean\":%.1f",
                  info->name, info->unit, info->what,
                  (unsigned long long)histogram_count(histogram),
                  (unsigned long long)histogram_sum(histogram), histogram_mean(histogram));
    for (size_t i = 0; i < countof(percents); i++) {
        buffer_printf(body, ",\"%s\":%llu", names[i],
                      (unsigned long long)histogram_percentile(histogram, percents[i]));
    }
    buffer_printf(body, ",\"max\":%llu", (unsigned long long)histogram_max(histogram));
    write_buckets(body, histogram);
    buffer_append_string(body, "}");
}

static void write_shard(struct buffer *body, const struct profile_report *report, unsigned index)
{
    buffer_printf(body, "{\"shard\":%u,\"cpu\":%d,\"deliveries\":%llu,\"phases_ns\":{", index,
                  report->shards[index].cpu, (unsigned long long)report->shards[index].deliveries);
    for (unsigned i = 0; i < PROFILE_PHASE_COUNT; i++) {
        buffer_printf(body, "%s\"%s\":%llu", i == 0 ? "" : ",", profile_phase_info(i)->name,
                      (unsigned long long)report->shards[index].phase_ns[i]);
    }
    buffer_append_string(body, "}}");
}

void profile_report_write_json(const struct profile_report *report, struct buffer *body)
{
    static const enum total counters[] = {TOTAL_PUBLISHED,   TOTAL_TAKEN,       TOTAL_DELIVERIES,
                                          TOTAL_EVENT_SENDS, TOTAL_SHORT_SENDS, TOTAL_PASSES,
                                          TOTAL_BEHIND,      TOTAL_CQ_OVERFLOWS};
    buffer_printf(body, "{\"profile\":%s,\"version\":\"%s\",\"io\":\"%s\",\"uptime_seconds\":%llu",
                  PROFILE_IS_ON ? "true" : "false", SPATE_VERSION, io_kind_name(report->io),
                  (unsigned long long)report->uptime_seconds);
    for (size_t i = 0; i < countof(counters); i++) {
        buffer_printf(body, ",\"%s\":%llu", total_info(counters[i])->name,
                      (unsigned long long)report->totals.values[counters[i]]);
    }
    buffer_printf(body, ",\"slowest\":\"%s\",\"stages\":[",
                  profile_measure_info(profile_report_slowest(report))->name);
    for (unsigned i = 0; i < PROFILE_MEASURE_COUNT; i++) {
        if (i == PROFILE_STAGE_COUNT) {
            buffer_append_string(body, "],\"measures\":[");
        } else if (i > 0) {
            buffer_append_string(body, ",");
        }
        write_measure(body, report, i);
    }
    buffer_append_string(body, "],\"shards\":[");
    for (unsigned i = 0; i < report->shard_count; i++) {
        buffer_append_string(body, i == 0 ? "" : ",");
        write_shard(body, report, i);
    }
    buffer_append_string(body, "]}");
}

static void write_json_line(const struct profile_report *report, struct buffer *body)
{
    profile_report_write_json(report, body);
    buffer_append_string(body, "\n");
}

/* ---- The route ------------------------------------------------------------------------------- */

/* A browser says text/html; anything else gets what programs read. -1: the refusal has been sent.
 */
static int wants_page(struct call *call)
{
    struct uri_query query;
    struct span name;
    struct span value;
    struct span accept = call_field(call, "Accept");
    int page = accept.len > 0 && memmem(accept.bytes, accept.len, "text/html", 9) != NULL;
    int r;
    uri_query_init(&query, call->request->query);
    while ((r = call_parameter(call, &query, &name, &value)) > 0) {
        if (!span_is(name, "format")) {
            continue;
        }
        page = span_is(value, "html");
        if (!page && !span_is(value, "json")) {
            response_problem(call, 400, "format is html or json.");
            return -1;
        }
    }
    if (r < 0) {
        response_problem(call, 400, "The query has a broken percent escape.");
        return -1;
    }
    return page;
}

void look_fanout(struct call *call)
{
    int page = wants_page(call);
    if (page < 0) {
        return;
    }
    struct buffer body;
    struct profile_report *report = profile_report_new(call->shard);
    buffer_init(&body, PROFILE_BODY_MAX);
    if (report != NULL) {
        (page ? profile_report_write_page : write_json_line)(report, &body);
        profile_report_free(report);
    }
    if (report == NULL || body.failed) {
        response_problem(call, 503, "Out of memory.");
    } else {
        /* The page needs nothing from anywhere and runs no script. */
        struct response response = {
            .status = 200,
            .content_type = page ? "text/html; charset=utf-8" : RESPONSE_JSON,
            .headers = span_of("Cache-Control: no-store\r\nVary: Accept\r\n"
                               "X-Content-Type-Options: nosniff\r\n"
                               "Content-Security-Policy: default-src 'none'; "
                               "style-src 'unsafe-inline'; frame-ancestors 'none'\r\n"),
            .body = buffer_span(&body),
        };
        response_send(call, &response);
    }
    buffer_fini(&body);
}
