/*
 * The fan-out profiles of all shards put together, and how they are told: as JSON for programs
 * (spatectl profile), and as a page for people.
 *
 * Made anew by the shard that tells it; it only reads what other shards write.
 */
#ifndef SPATE_HUB_PROFILE_REPORT_H
#define SPATE_HUB_PROFILE_REPORT_H

#include "core/base/buffer.h"
#include "core/profile.h"
#include "hub/totals.h"

#ifdef __cplusplus
extern "C" {
#endif

struct profile_report {
    unsigned shard_count;
    enum io_kind io;
    uint64_t uptime_seconds;
    struct totals totals;
    struct histogram histograms[PROFILE_MEASURE_COUNT]; /* of all shards */
    struct {
        int cpu;
        uint64_t deliveries;
        uint64_t phase_ns[PROFILE_PHASE_COUNT];
        uint64_t sum_ns; /* of the phases, never 0 */
    } shards[SHARD_COUNT_MAX];
};

struct profile_info {
    const char *name;   /* in the JSON, and as a Prometheus label */
    const char *unit;   /* "ns", or what is counted */
    const char *what;   /* one sentence */
    const char *advice; /* what to do if this is the slowest; NULL for what is no stage */
};

const struct profile_info *profile_measure_info(enum profile_measure measure);
const struct profile_info *profile_phase_info(enum profile_phase phase);

/* NULL when out of memory. */
struct profile_report *profile_report_new(const struct shard *shard);
void profile_report_free(struct profile_report *report);

/* Mean nanoseconds of an event's stages, and their sum. */
double profile_report_means(const struct profile_report *report, double means[PROFILE_STAGE_COUNT]);
/* The stage with the largest mean. */
enum profile_measure profile_report_slowest(const struct profile_report *report);
/* The sum of a phase over all shards, for each event that a subscriber was sent. */
double profile_report_per_delivery(const struct profile_report *report, enum profile_phase phase);

void profile_report_write_json(const struct profile_report *report, struct buffer *body);
void profile_report_write_page(const struct profile_report *report, struct buffer *body);

#ifdef __cplusplus
}
#endif

#endif
