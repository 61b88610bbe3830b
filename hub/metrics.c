/* The counters in the text format of Prometheus, version 0.0.4. */
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "hub/profile_report.h"
#include "hub/response.h"
#include "hub/routes.h"
#include "hub/totals.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum { METRICS_BODY_MAX = 64 * 1024 * 1024 };

static bool ends_in(const char *text, const char *end)
{
    size_t len = strlen(text);
    size_t end_len = strlen(end);
    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static void family_begin(struct buffer *body, const char *name, const char *help)
{
    buffer_printf(body, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
                  ends_in(name, "_total") ? "counter" : "gauge");
}

static void write_u64(struct buffer *body, const char *name, const char *help, uint64_t value)
{
    family_begin(body, name, help);
    buffer_printf(body, "%s %llu\n", name, (unsigned long long)value);
}

static void write_seconds(struct buffer *body, const char *name, const char *help, double value)
{
    family_begin(body, name, help);
    buffer_printf(body, "%s %.6f\n", name, value);
}

/* ---- The shards ------------------------------------------------------------------------------ */

static void write_shards(struct buffer *body, const struct hub *hub)
{
    for (unsigned i = 0; i < TOTAL_COUNT; i++) {
        char name[80];
        const struct total_info *info = total_info(i);
        snprintf(name, sizeof(name), "spate_%s", info->metric);
        family_begin(body, name, info->help);
        for (unsigned j = 0; j < hub->shard_count; j++) {
            struct totals totals;
            totals_read(hub->shards[j], &totals);
            buffer_printf(body, "%s{shard=\"%u\"} %llu\n", name, j,
                          (unsigned long long)totals.values[i]);
        }
    }
}

/* ---- The profile ----------------------------------------------------------------------------- */

/* Upper bounds in microseconds. */
static const uint32_t stage_bounds_us[] = {1,     2,      5,      10,     20,      50,      100,
                                           200,   500,    1000,   2000,   5000,    10000,   20000,
                                           50000, 100000, 200000, 500000, 1000000, 10000000};

static void write_stage(struct buffer *body, const struct histogram *histogram, const char *labels)
{
    static const char name[] = "spate_event_stage_seconds";
    uint64_t count = 0;
    unsigned next = histogram_next(histogram, 0);
    for (size_t i = 0; i < countof(stage_bounds_us); i++) {
        uint64_t bound_ns = (uint64_t)stage_bounds_us[i] * 1000;
        while (next < HISTOGRAM_BUCKET_COUNT && histogram_bucket_low(next) <= bound_ns) {
            count += histogram_bucket_count(histogram, next);
            next = histogram_next(histogram, next + 1);
        }
        buffer_printf(body, "%s_bucket{%s,le=\"%g\"} %llu\n", name, labels,
                      (double)stage_bounds_us[i] / 1e6, (unsigned long long)count);
    }
    for (; next < HISTOGRAM_BUCKET_COUNT; next = histogram_next(histogram, next + 1)) {
        count += histogram_bucket_count(histogram, next);
    }
    buffer_printf(body, "%s_bucket{%s,le=\"+Inf\"} %llu\n%s_sum{%s} %.9f\n%s_count{%s} %llu\n",
                  name, labels, (unsigned long long)count, name, labels,
                  (double)histogram_sum(histogram) / 1e9, name, labels, (unsigned long long)count);
}

static void write_stages(struct buffer *body, const struct hub *hub)
{
    buffer_append_string(body,
                         "# HELP spate_event_stage_seconds Time of an event in each stage of its "
                         "way, and in total from the request to the last send of a shard.\n"
                         "# TYPE spate_event_stage_seconds histogram\n");
    for (unsigned i = 0; i < hub->shard_count; i++) {
        for (unsigned j = 0; j <= PROFILE_TOTAL; j++) {
            char labels[64];
            snprintf(labels, sizeof(labels), "shard=\"%u\",stage=\"%s\"", i,
                     profile_measure_info(j)->name);
            write_stage(body, profile_histogram(hub->shards[i]->profile, j), labels);
        }
    }
}

static void write_phases(struct buffer *body, const struct hub *hub)
{
    family_begin(body, "spate_loop_seconds_total", "Time of the event loops by what they did.");
    for (unsigned i = 0; i < hub->shard_count; i++) {
        for (unsigned j = 0; j < PROFILE_PHASE_COUNT; j++) {
            buffer_printf(body, "spate_loop_seconds_total{shard=\"%u\",phase=\"%s\"} %.6f\n", i,
                          profile_phase_info(j)->name,
                          (double)profile_phase_ns(hub->shards[i]->profile, j) / 1e9);
        }
    }
}

/* ---- The hub --------------------------------------------------------------------------------- */

static void write_hub(struct buffer *body, const struct call *call)
{
    struct hub *hub = call->shard->hub;
    struct sequencer_stats sequencer;
    sequencer_get_stats(&hub->sequencer, &sequencer);
    family_begin(body, "spate_info", "What runs: always 1.");
    buffer_printf(body, "spate_info{version=\"%s\",io=\"%s\"} 1\n", SPATE_VERSION,
                  io_kind_name(io_kind_of(call->shard->io)));
    write_u64(body, "spate_shards", "Threads with an event loop each.", hub->shard_count);
    write_u64(body, "spate_draining", "1 while the hub hands its streams to others.",
              hub_is_draining(hub) ? 1 : 0);
    write_u64(body, "spate_connections_max", "Connections that may be open at a time.",
              hub->connection_max);
    write_u64(body, "spate_channels", "Channels known to the hub.", sequencer.channels);
    write_u64(body, "spate_subscribers", "Streams that have joined their channels.",
              sequencer.subscribers);
    write_u64(body, "spate_history_bytes", "Memory of the retained events.",
              sequencer.history_bytes);
    write_u64(body, "spate_publishes_refused_total", "Publishes refused because a queue was full.",
              sequencer.refused_full);
    write_u64(body, "spate_log_lines_dropped_total", "Log lines that nobody took in time.",
              log_dropped_count(hub->log));
}

/* ---- The process, under the names that Prometheus has for all programs ------------------------
 */

/* Resident and virtual size in pages; false where /proc is not to be had. */
static bool read_statm(unsigned long long *ret_size, unsigned long long *ret_resident)
{
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) {
        return false;
    }
    int count = fscanf(file, "%llu %llu", ret_size, ret_resident);
    fclose(file);
    return count == 2;
}

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static void write_process(struct buffer *body, const struct hub *hub)
{
    struct rusage usage;
    struct rlimit limit;
    unsigned long long size;
    unsigned long long resident;
    write_seconds(body, "process_start_time_seconds",
                  "When the process started, in seconds since 1970.",
                  (double)hub->started_ms / 1000);
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        write_seconds(body, "process_cpu_seconds_total",
                      "CPU time of the process, user and kernel.",
                      seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
    }
    if (read_statm(&size, &resident)) {
        uint64_t page_size = (uint64_t)sysconf(_SC_PAGESIZE);
        write_u64(body, "process_resident_memory_bytes", "Memory of the process in RAM.",
                  resident * page_size);
        write_u64(body, "process_virtual_memory_bytes", "Address space of the process.",
                  size * page_size);
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        write_u64(body, "process_max_fds", "Descriptors that the process may have open.",
                  limit.rlim_cur);
    }
}

void look_metrics(struct call *call)
{
    struct buffer body;
    buffer_init(&body, METRICS_BODY_MAX);
    write_hub(&body, call);
    write_shards(&body, call->shard->hub);
    if (PROFILE_IS_ON) {
        write_stages(&body, call->shard->hub);
        write_phases(&body, call->shard->hub);
    }
    write_process(&body, call->shard->hub);
    if (body.failed) {
        response_problem(call, 503, "Out of memory.");
    } else {
        response_send(call, &(struct response){.status = 200,
                                               .content_type = METRICS_TYPE,
                                               .headers = span_of("Cache-Control: no-store\r\n"),
                                               .body = buffer_span(&body)});
    }
    buffer_fini(&body);
}
