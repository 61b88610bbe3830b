#include "tools/load/result.h"

#include <stdarg.h>

static void add_score(struct worker_score *all, const struct worker_score *score)
{
    all->open += score_get(&score->open);
    all->connects += score_get(&score->connects);
    all->connect_failures += score_get(&score->connect_failures);
    all->cut += score_get(&score->cut);
    all->storm_cuts += score_get(&score->storm_cuts);
    all->vanished += score_get(&score->vanished);
    all->not_open += score_get(&score->not_open);
    all->deliveries += score_get(&score->deliveries);
    all->deliveries_fast += score_get(&score->deliveries_fast);
    all->bytes += score_get(&score->bytes);
    all->foreign += score_get(&score->foreign);
    all->lost += score_get(&score->lost);
    all->announced += score_get(&score->announced);
    all->uncertain += score_get(&score->uncertain);
    all->unresumed += score_get(&score->unresumed);
    all->late += score_get(&score->late);
    all->duplicates += score_get(&score->duplicates);
    all->corrupt += score_get(&score->corrupt);
    all->differing += score_get(&score->differing);
    all->cpu.user_ns += score_get(&score->cpu.user_ns);
    all->cpu.system_ns += score_get(&score->cpu.system_ns);
    all->cpu_at_start.user_ns += score_get(&score->cpu_at_start.user_ns);
    all->cpu_at_start.system_ns += score_get(&score->cpu_at_start.system_ns);
    all->cpu_at_end.user_ns += score_get(&score->cpu_at_end.user_ns);
    all->cpu_at_end.system_ns += score_get(&score->cpu_at_end.system_ns);
    histogram_merge(&all->latency, &score->latency);
    histogram_merge(&all->latency_slow, &score->latency_slow);
    histogram_merge(&all->connect, &score->connect);
    histogram_merge(&all->recovery, &score->recovery);
}

void result_sum(struct result *result)
{
    memset(&result->all, 0, sizeof result->all);
    for (unsigned i = 0; i < result->board->worker_count; i++) {
        const struct worker_score *score = &result->board->workers[i];
        add_score(&result->all, score);
        if (score->problem[0] != '\0') {
            score_problem(result->all.problem, score->problem);
        }
    }
}

void result_histogram_since(const struct histogram *now, const struct histogram *before,
                            struct histogram *ret_recent)
{
    *ret_recent = *now;
    ret_recent->max = UINT64_MAX;
    for (unsigned i = 0; i < HISTOGRAM_BUCKET_COUNT; i++) {
        ret_recent->buckets[i] -= before->buckets[i];
    }
}

void result_sample(struct result *result, double at_s)
{
    static struct histogram recent;
    if (result->sample_count == RESULT_SAMPLE_COUNT_MAX) {
        for (unsigned i = 0; i < RESULT_SAMPLE_COUNT_MAX / 2; i++) {
            result->samples[i] = result->samples[i * 2 + 1];
        }
        result->sample_count /= 2;
        result->sample_every_s *= 2;
    }
    result_sum(result);
    const struct worker_score *all = &result->all;
    result_histogram_since(&all->latency, &result->previous_latency, &recent);
    result->previous_latency = all->latency;
    struct sample *sample = &result->samples[result->sample_count++];
    *sample = (struct sample){
        .at_s = at_s,
        .open = all->open,
        .connects = all->connects,
        .deliveries = all->deliveries,
        .bytes = all->bytes,
        .published = score_get(&result->board->publisher.sent),
        .p50_ns = histogram_percentile(&recent, 50),
        .p99_ns = histogram_percentile(&recent, 99),
    };
    usage_read(result->options->pids, result->options->pid_count, &sample->usage);
}

void result_note(struct result *result, const char *format, ...)
{
    if (result->note_count < RESULT_NOTE_COUNT_MAX) {
        va_list arguments;
        va_start(arguments, format);
        (void)vsnprintf(result->notes[result->note_count++], RESULT_NOTE_LEN, format, arguments);
        va_end(arguments);
    }
}

double result_share(const struct score_cpu *start, const struct score_cpu *end, double seconds)
{
    const uint64_t from = start->user_ns + start->system_ns;
    const uint64_t to = end->user_ns + end->system_ns;
    return seconds < 0.05 || to < from ? 0 : (double)(to - from) / 1e9 / seconds;
}

uint64_t result_odd(const struct result *result)
{
    /* Ids that count each connection's events for itself differ always, and mean no harm. */
    const struct worker_score *all = &result->all;
    return all->differing * 100 < all->deliveries ? all->differing : 0;
}

bool result_has_faults(const struct result *result)
{
    const struct worker_score *all = &result->all;
    const struct publisher_score *publisher = &result->board->publisher;
    return all->lost + all->late + all->duplicates + all->corrupt + all->not_open +
               result_odd(result) + publisher->refused + publisher->failed >
           0;
}

/* --- Judgement -------------------------------------------------------------------------------- */

static void judge_own_speed(struct result *result)
{
    const struct scoreboard *board = result->board;
    const struct publisher_score *publisher = &board->publisher;
    const double limit = 0.9;
    for (unsigned i = 0; i < board->worker_count; i++) {
        const struct worker_score *score = &board->workers[i];
        const double share =
            result_share(&score->cpu_at_start, &score->cpu_at_end, result->publish_s);
        if (share > limit) {
            result->is_bottleneck = true;
            result_note(result,
                        "spate-load was the bottleneck: worker %u used %.0f %% of a core while "
                        "publishing; give it more --workers, or a machine of its own",
                        i, share * 100);
            break;
        }
    }
    const double share =
        result_share(&publisher->cpu_at_start, &publisher->cpu_at_end, result->publish_s);
    const uint64_t late_ns = histogram_percentile(&publisher->late, 99);
    if (share > limit && result->options->window == 0) {
        result->is_bottleneck = true;
        result_note(result, "spate-load was the bottleneck: publishing used %.0f %% of a core",
                    share * 100);
    }
    if (result->options->window == 0 && late_ns > 1000000 &&
        late_ns * 10 > histogram_percentile(&result->all.latency, 99)) {
        result->is_bottleneck = true;
        result_note(result,
                    "spate-load sent its messages late by itself (p99 %.1f ms): it did not get "
                    "a CPU in time, and the latencies hold that",
                    (double)late_ns / 1e6);
    }
}

static void judge_machine(struct result *result)
{
    const struct usage *from = &result->connected;
    const struct usage *to = &result->after;
    const uint64_t busy = to->busy_ns - from->busy_ns;
    const uint64_t idle = to->idle_ns - from->idle_ns;
    if (result->publish_s >= 1 && busy + idle > 0 && idle * 20 < busy + idle) {
        result_note(result, "all CPUs of this machine were busy: what waits for a CPU here may be "
                            "the server, spate-load or something else");
    }
    if (to->is_gone) {
        result_note(result, "a process given with --pid ended during the run");
    }
}

static void judge_publishing(struct result *result)
{
    const struct publisher_score *publisher = &result->board->publisher;
    if (publisher->unsent > 0) {
        result_note(result,
                    "%llu messages were due and never sent: the answers to those before them came "
                    "too late for this rate; more --publishers may help",
                    (unsigned long long)publisher->unsent);
    }
    if (publisher->refused + publisher->failed > 0) {
        result_note(result, "%llu publications were refused and %llu not answered: %s",
                    (unsigned long long)publisher->refused, (unsigned long long)publisher->failed,
                    publisher->problem);
    }
    if (result->board->uncertain_count > SCORE_UNCERTAIN_COUNT_MAX) {
        result_note(result, "too many publications failed to tell them from losses: `lost` holds "
                            "some of them");
    }
}

void result_judge(struct result *result)
{
    const struct worker_score *all = &result->all;
    judge_own_speed(result);
    judge_machine(result);
    judge_publishing(result);
    if (all->announced > 0) {
        result_note(result, "%llu deliveries are missing that the server said it had dropped",
                    (unsigned long long)all->announced);
    }
    if (all->unresumed > 0) {
        result_note(result,
                    "%llu deliveries were missed across reconnections: the server gives no ids to "
                    "resume from",
                    (unsigned long long)all->unresumed);
    }
    if (all->cut > 0) {
        result_note(result, "the server closed %llu connections that were open",
                    (unsigned long long)all->cut);
    }
    if (all->connect_failures > 0 && all->problem[0] != '\0') {
        result_note(result, "%llu attempts to connect failed; the first: %s",
                    (unsigned long long)all->connect_failures, all->problem);
    }
    if (all->foreign > 0 && result->options->publisher_count > 0) {
        result_note(result, "%llu events were not this run's", (unsigned long long)all->foreign);
    }
    if (result->is_interrupted) {
        result_note(result, "interrupted: this is the report so far");
    }
}
