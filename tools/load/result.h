/*
 * What a run has come to: the sums of all scores, the course of the run, and what to think of it.
 * Filled by main.c; read by report.c and picture.c. One thread.
 */
#ifndef SPATE_LOAD_RESULT_H
#define SPATE_LOAD_RESULT_H

#include <stdio.h>

#include "core/base/buffer.h"
#include "tools/load/options.h"
#include "tools/load/scoreboard.h"
#include "tools/load/usage.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { RESULT_SAMPLE_COUNT_MAX = 1024, RESULT_NOTE_COUNT_MAX = 16, RESULT_NOTE_LEN = 240 };

/* The state of the run at one moment. */
struct sample {
    double at_s; /* from the beginning of the run */
    uint64_t open;
    uint64_t connects;
    uint64_t deliveries;
    uint64_t bytes;
    uint64_t published;
    uint64_t p50_ns; /* of the deliveries since the sample before */
    uint64_t p99_ns;
    struct usage usage;
};

struct result {
    const struct options *options;
    const struct scoreboard *board;
    bool is_interrupted;

    struct worker_score all; /* the sum over the workers */
    struct histogram previous_latency;
    struct sample samples[RESULT_SAMPLE_COUNT_MAX];
    unsigned sample_count;
    double sample_every_s;

    uint64_t opened;        /* connections when publishing began */
    double connect_s;       /* until everybody was connected */
    double publish_s;       /* from the first message due to the last one delivered */
    uint64_t expected;      /* deliveries, if everybody gets everything */
    struct usage before;    /* any connection */
    struct usage connected; /* nothing published yet */
    struct usage after;

    char notes[RESULT_NOTE_COUNT_MAX][RESULT_NOTE_LEN];
    unsigned note_count;
    bool is_bottleneck; /* this side was, and the numbers are too low */
};

/* Sums up the scores as they are now. */
void result_sum(struct result *result);
/* What a histogram has got since it was as before. Its greatest value is known to a bucket. */
void result_histogram_since(const struct histogram *now, const struct histogram *before,
                            struct histogram *ret_recent);
/* Adds a sample; when there are too many, every other one goes. */
void result_sample(struct result *result, double at_s);
/* Finds what has to be said about the run. */
void result_judge(struct result *result);
/* Silent losses, duplicates, disorder, corruption, connections or publications that failed. */
bool result_has_faults(const struct result *result);
/* Events whose id or bytes differ between subscribers, though it is not the server's habit. */
uint64_t result_odd(const struct result *result);

__attribute__((format(printf, 2, 3))) void result_note(struct result *result, const char *format,
                                                       ...);

/* Share of one core that a process used while publishing; 0 if it was not long enough to tell. */
double result_share(const struct score_cpu *start, const struct score_cpu *end, double seconds);

/* report.c */
void report_table(const struct result *result, FILE *file);
int report_json(const struct result *result, FILE *file);

/* picture.c: SVG, or the same in an HTML page. */
void picture_svg(const struct result *result, struct buffer *buffer);
void picture_html(const struct result *result, struct buffer *buffer);

#ifdef __cplusplus
}
#endif

#endif
