#include <jansson.h>

#include "tools/load/result.h"

static const double percents[] = {50, 90, 99, 99.9, 99.99, 100};
static const char *const percent_names[] = {"p50", "p90", "p99", "p99_9", "p99_99", "max"};

/* With fewer connections the rest of the machine makes more of a difference than they do. */
enum { KERNEL_MEMORY_TOLD_FROM = 5000 };

static double ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

static double per(double amount, double count)
{
    return count > 0 ? amount / count : 0;
}

/* --- The table -------------------------------------------------------------------------------- */

/* Digits in groups of three. */
static const char *grouped(uint64_t number, char text[32])
{
    char digits[24];
    const int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    size_t at = 0;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0) {
            text[at++] = ',';
        }
        text[at++] = digits[i];
    }
    text[at] = '\0';
    return text;
}

static void table_times(FILE *file, const char *name, const struct histogram *histogram)
{
    fprintf(file, "  %-22s", name);
    for (size_t i = 0; i < countof(percents); i++) {
        const double value = ms(histogram_percentile(histogram, percents[i]));
        fprintf(file, " %9.*f", value < 10 ? 3 : value < 100 ? 2 : 1, value);
    }
    fprintf(file, " %9.3f\n", histogram_mean(histogram) / 1e6);
}

static void table_head(const struct result *result, FILE *file)
{
    const struct options *options = result->options;
    char subscribers[32];
    fprintf(file, "\nspate-load %s: %s subscribers of %u channel%s at %s%s\n", options->scenario,
            grouped(options->subscriber_count, subscribers), options->channel_count,
            options->channel_count == 1 ? "" : "s", options->target.subscribe_at.host,
            options->target.subscribe_path);
    if (options->publisher_count == 0) {
        fprintf(file, "  nothing was published");
    } else if (options->steps_path != NULL) {
        fprintf(file, "  in steps");
    } else if (options->window > 0) {
        fprintf(file, "  closed loop, %u messages on their way", options->window);
    } else {
        fprintf(file, "  open loop, %g messages a second", options->rate);
    }
    fprintf(file, ", %u bytes, %u publisher%s, %g s\n", options->message_len,
            options->publisher_count, options->publisher_count == 1 ? "" : "s",
            options->steps_path != NULL ? result->publish_s : options->duration_s);
}

static void table_counts(const struct result *result, FILE *file)
{
    const struct worker_score *all = &result->all;
    const struct publisher_score *publisher = &result->board->publisher;
    char a[32], b[32], c[32];
    fprintf(file, "\nconnections  %s opened in %.2f s (%s/s)", grouped(result->opened, a),
            result->connect_s,
            grouped((uint64_t)per((double)result->opened, result->connect_s), b));
    fprintf(file, ", %s attempts failed, %s cut by the server\n", grouped(all->connect_failures, a),
            grouped(all->cut, b));
    if (all->storm_cuts > 0) {
        fprintf(file, "storms       %u, %s reconnections\n", result->board->storm_count,
                grouped(all->storm_cuts, a));
    }
    if (result->options->publisher_count > 0) {
        fprintf(file, "published    %s sent, %s acknowledged", grouped(publisher->sent, a),
                grouped(publisher->acknowledged, b));
        fprintf(file, ", %s refused, %s unanswered, %s never sent\n",
                grouped(publisher->refused, a), grouped(publisher->failed, b),
                grouped(publisher->unsent, c));
    }
    const uint64_t delivered = all->deliveries + all->foreign;
    fprintf(file, "delivered    %s", grouped(delivered, a));
    if (result->expected > 0) {
        fprintf(file, " of %s", grouped(result->expected, b));
    }
    fprintf(file, ", %s/s", grouped((uint64_t)per((double)delivered, result->publish_s), a));
    fprintf(file, ", %.1f MB/s\n", per((double)all->bytes, result->publish_s) / 1e6);
}

static void table_checks(const struct result *result, FILE *file)
{
    const struct worker_score *all = &result->all;
    char a[32], b[32], c[32], d[32];
    if (result->options->publisher_count == 0) {
        return;
    }
    fprintf(file, "checked      lost %s, duplicates %s, out of order %s, corrupt %s",
            grouped(all->lost, a), grouped(all->duplicates, b), grouped(all->late, c),
            grouped(all->corrupt, d));
    if (result_odd(result) > 0) {
        fprintf(file, ", with another id %s", grouped(result_odd(result), a));
    }
    if (all->announced > 0) {
        fprintf(file, ", announced gaps %s", grouped(all->announced, a));
    }
    if (all->uncertain > 0) {
        fprintf(file, ", of unacknowledged messages %s", grouped(all->uncertain, a));
    }
    if (all->not_open > 0) {
        fprintf(file, ", not connected at the end %s", grouped(all->not_open, a));
    }
    fputs(result_has_faults(result) ? "  FAULTS\n" : "  no faults\n", file);
}

static void table_all_times(const struct result *result, FILE *file)
{
    const struct worker_score *all = &result->all;
    const struct publisher_score *publisher = &result->board->publisher;
    fprintf(file, "\n  %-22s %9s %9s %9s %9s %9s %9s %9s\n", "milliseconds", "p50", "p90", "p99",
            "p99.9", "p99.99", "max", "mean");
    table_times(file, "connect to head", &all->connect);
    if (histogram_count(&all->recovery) > 0) {
        table_times(file, "cut to head again", &all->recovery);
    }
    if (histogram_count(&all->latency) > 0) {
        table_times(file, "due to delivered", &all->latency);
    }
    if (histogram_count(&all->latency_slow) > 0) {
        table_times(file, "... to slow readers", &all->latency_slow);
    }
    if (histogram_count(&publisher->answer) > 0) {
        table_times(file, "due to acknowledged", &publisher->answer);
        table_times(file, "our own lateness", &publisher->late);
    }
}

static double usage_share(uint64_t from, uint64_t to, double seconds)
{
    return per((double)(to - from) / 1e7, seconds);
}

static void table_cost(const struct result *result, FILE *file)
{
    const struct usage *before = &result->before;
    const struct usage *connected = &result->connected;
    const struct usage *after = &result->after;
    const struct worker_score *all = &result->all;
    const double deliveries = (double)(all->deliveries + all->foreign);
    const double user_ns = (double)(all->cpu_at_end.user_ns - all->cpu_at_start.user_ns);
    const double system_ns = (double)(all->cpu_at_end.system_ns - all->cpu_at_start.system_ns);
    const double connections = (double)result->options->subscriber_count;
    fputc('\n', file);
    if (result->options->pid_count > 0) {
        fprintf(file, "server       CPU %.0f %% user, %.0f %% kernel of a core",
                usage_share(connected->user_ns, after->user_ns, result->publish_s),
                usage_share(connected->system_ns, after->system_ns, result->publish_s));
        if (deliveries > 0) {
            fprintf(file, "; per delivery %.2f us user, %.2f us kernel",
                    per((double)(after->user_ns - connected->user_ns) / 1e3, deliveries),
                    per((double)(after->system_ns - connected->system_ns) / 1e3, deliveries));
        }
        fprintf(
            file,
            "\n             connecting %.1f us user, %.1f us kernel a connection\n"
            "             memory per connection %.0f B resident (%.0f B anonymous), at most "
            "%.1f MB resident\n",
            per((double)(connected->user_ns - before->user_ns) / 1e3, connections),
            per((double)(connected->system_ns - before->system_ns) / 1e3, connections),
            per((double)connected->resident_bytes - (double)before->resident_bytes, connections),
            per((double)connected->anonymous_bytes - (double)before->anonymous_bytes, connections),
            (double)after->resident_bytes / 1e6);
    }
    if (result->options->subscriber_count >= KERNEL_MEMORY_TOLD_FROM) {
        fprintf(file,
                "kernel       %.0f B of memory per connection on this machine, with this side's\n",
                per((double)connected->kernel_bytes - (double)before->kernel_bytes, connections));
    }
    fprintf(file, "spate-load   %u worker%s, CPU %.0f %% of a core", result->board->worker_count,
            result->board->worker_count == 1 ? "" : "s",
            per((user_ns + system_ns) / 1e7, result->publish_s));
    if (all->deliveries > 0) {
        fprintf(file, "; per delivery %.2f us user, %.2f us kernel; %.1f %% compared, not parsed",
                per(user_ns / 1e3, deliveries), per(system_ns / 1e3, deliveries),
                per(100 * (double)all->deliveries_fast, (double)all->deliveries));
    }
    fputc('\n', file);
}

void report_table(const struct result *result, FILE *file)
{
    table_head(result, file);
    table_counts(result, file);
    table_checks(result, file);
    table_all_times(result, file);
    table_cost(result, file);
    for (unsigned i = 0; i < result->note_count; i++) {
        fprintf(file, "%s! %s\n", i == 0 ? "\n" : "", result->notes[i]);
    }
    fputc('\n', file);
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void set_count(json_t *object, const char *name, uint64_t count)
{
    (void)json_object_set_new(object, name, json_integer((json_int_t)count));
}

static void set_real(json_t *object, const char *name, double number)
{
    (void)json_object_set_new(object, name, json_real(number));
}

static json_t *json_times(const struct histogram *histogram)
{
    json_t *object = json_object();
    set_count(object, "count", histogram_count(histogram));
    set_real(object, "mean", histogram_mean(histogram) / 1e6);
    for (size_t i = 0; i < countof(percents); i++) {
        set_real(object, percent_names[i], ms(histogram_percentile(histogram, percents[i])));
    }
    return object;
}

/* Each bucket's upper end in ms with the count up to it: enough to draw any curve. */
static json_t *json_buckets(const struct histogram *histogram)
{
    json_t *array = json_array();
    uint64_t seen = 0;
    for (unsigned i = histogram_next(histogram, 0); i < HISTOGRAM_BUCKET_COUNT;
         i = histogram_next(histogram, i + 1)) {
        seen += histogram_bucket_count(histogram, i);
        (void)json_array_append_new(
            array, json_pack("[f,I]", ms(min_u64(histogram_bucket_high(i), histogram->max)),
                             (json_int_t)seen));
    }
    return array;
}

static json_t *json_options(const struct options *options)
{
    json_t *object = json_object();
    (void)json_object_set_new(object, "scenario", json_string(options->scenario));
    (void)json_object_set_new(object, "host", json_string(options->target.subscribe_at.host));
    (void)json_object_set_new(object, "path", json_string(options->target.subscribe_path));
    set_count(object, "subscribers", options->subscriber_count);
    set_count(object, "channels", options->channel_count);
    set_count(object, "publishers", options->publisher_count);
    set_count(object, "workers", options->worker_count);
    set_real(object, "rate", options->rate);
    set_count(object, "window", options->window);
    set_real(object, "duration_seconds", options->duration_s);
    set_count(object, "size", options->message_len);
    return object;
}

static json_t *json_checks(const struct result *result)
{
    const struct worker_score *all = &result->all;
    json_t *object = json_object();
    set_count(object, "lost", all->lost);
    set_count(object, "duplicates", all->duplicates);
    set_count(object, "out_of_order", all->late);
    set_count(object, "corrupt", all->corrupt);
    set_count(object, "other_id", result_odd(result));
    set_count(object, "announced", all->announced);
    set_count(object, "unacknowledged", all->uncertain);
    set_count(object, "unresumed", all->unresumed);
    set_count(object, "vanished", all->vanished);
    set_count(object, "not_connected", all->not_open);
    (void)json_object_set_new(object, "ok", json_boolean(!result_has_faults(result)));
    return object;
}

static json_t *json_counts(const struct result *result)
{
    const struct worker_score *all = &result->all;
    const struct publisher_score *publisher = &result->board->publisher;
    json_t *object = json_object();
    set_count(object, "connects", all->connects);
    set_count(object, "connect_failures", all->connect_failures);
    set_count(object, "cut", all->cut);
    set_count(object, "storms", result->board->storm_count);
    set_count(object, "storm_cuts", all->storm_cuts);
    set_real(object, "connect_seconds", result->connect_s);
    set_count(object, "opened", result->opened);
    set_real(object, "publish_seconds", result->publish_s);
    set_count(object, "published", publisher->sent);
    set_count(object, "acknowledged", publisher->acknowledged);
    set_count(object, "refused", publisher->refused);
    set_count(object, "unanswered", publisher->failed);
    set_count(object, "unsent", publisher->unsent);
    set_count(object, "expected", result->expected);
    set_count(object, "deliveries", all->deliveries);
    set_count(object, "deliveries_compared", all->deliveries_fast);
    set_count(object, "foreign", all->foreign);
    set_count(object, "bytes", all->bytes);
    return object;
}

static json_t *json_usage(const struct result *result)
{
    const struct usage *before = &result->before;
    const struct usage *connected = &result->connected;
    const struct usage *after = &result->after;
    const double deliveries = (double)(result->all.deliveries + result->all.foreign);
    const double connections = (double)result->options->subscriber_count;
    json_t *object = json_object();
    set_real(object, "cpu_user_seconds", (double)(after->user_ns - connected->user_ns) / 1e9);
    set_real(object, "cpu_kernel_seconds", (double)(after->system_ns - connected->system_ns) / 1e9);
    set_real(object, "cpu_user_us_per_delivery",
             per((double)(after->user_ns - connected->user_ns) / 1e3, deliveries));
    set_real(object, "cpu_kernel_us_per_delivery",
             per((double)(after->system_ns - connected->system_ns) / 1e3, deliveries));
    set_real(object, "cpu_user_us_per_connection",
             per((double)(connected->user_ns - before->user_ns) / 1e3, connections));
    set_real(object, "cpu_kernel_us_per_connection",
             per((double)(connected->system_ns - before->system_ns) / 1e3, connections));
    set_count(object, "resident_bytes", connected->resident_bytes);
    set_real(object, "resident_bytes_per_connection",
             per((double)connected->resident_bytes - (double)before->resident_bytes, connections));
    set_real(
        object, "anonymous_bytes_per_connection",
        per((double)connected->anonymous_bytes - (double)before->anonymous_bytes, connections));
    set_real(object, "machine_kernel_bytes_per_connection",
             per((double)connected->kernel_bytes - (double)before->kernel_bytes, connections));
    return object;
}

static json_t *json_own(const struct result *result)
{
    const struct worker_score *all = &result->all;
    const struct publisher_score *publisher = &result->board->publisher;
    const double user_us = (double)(all->cpu_at_end.user_ns - all->cpu_at_start.user_ns) / 1e3;
    const double system_us =
        (double)(all->cpu_at_end.system_ns - all->cpu_at_start.system_ns) / 1e3;
    const double deliveries = (double)(all->deliveries + all->foreign);
    json_t *object = json_object();
    set_real(object, "cpu_user_us_per_delivery", per(user_us, deliveries));
    set_real(object, "cpu_kernel_us_per_delivery", per(system_us, deliveries));
    set_real(object, "cpu_share", per((user_us + system_us) / 1e6, result->publish_s));
    set_real(object, "publisher_cpu_share",
             result_share(&publisher->cpu_at_start, &publisher->cpu_at_end, result->publish_s));
    (void)json_object_set_new(object, "bottleneck", json_boolean(result->is_bottleneck));
    return object;
}

static json_t *json_samples(const struct result *result)
{
    json_t *array = json_array();
    for (unsigned i = 0; i < result->sample_count; i++) {
        const struct sample *sample = &result->samples[i];
        json_t *object = json_object();
        set_real(object, "at_seconds", sample->at_s);
        set_count(object, "open", sample->open);
        set_count(object, "connects", sample->connects);
        set_count(object, "published", sample->published);
        set_count(object, "deliveries", sample->deliveries);
        set_real(object, "p50_ms", ms(sample->p50_ns));
        set_real(object, "p99_ms", ms(sample->p99_ns));
        set_real(object, "machine_busy_seconds", (double)sample->usage.busy_ns / 1e9);
        set_count(object, "machine_kernel_bytes", sample->usage.kernel_bytes);
        if (result->options->pid_count > 0) {
            set_real(object, "server_user_seconds", (double)sample->usage.user_ns / 1e9);
            set_real(object, "server_kernel_seconds", (double)sample->usage.system_ns / 1e9);
            set_count(object, "server_resident_bytes", sample->usage.resident_bytes);
        }
        (void)json_array_append_new(array, object);
    }
    return array;
}

int report_json(const struct result *result, FILE *file)
{
    const struct worker_score *all = &result->all;
    const struct publisher_score *publisher = &result->board->publisher;
    json_t *root = json_object();
    json_t *times = json_object();
    json_t *notes = json_array();
    (void)json_object_set_new(times, "connect", json_times(&all->connect));
    (void)json_object_set_new(times, "recovery", json_times(&all->recovery));
    (void)json_object_set_new(times, "latency", json_times(&all->latency));
    (void)json_object_set_new(times, "latency_slow", json_times(&all->latency_slow));
    (void)json_object_set_new(times, "answer", json_times(&publisher->answer));
    (void)json_object_set_new(times, "own_lateness", json_times(&publisher->late));
    for (unsigned i = 0; i < result->note_count; i++) {
        (void)json_array_append_new(notes, json_string(result->notes[i]));
    }
    (void)json_object_set_new(root, "options", json_options(result->options));
    (void)json_object_set_new(root, "interrupted", json_boolean(result->is_interrupted));
    (void)json_object_set_new(root, "checks", json_checks(result));
    (void)json_object_set_new(root, "counts", json_counts(result));
    (void)json_object_set_new(root, "milliseconds", times);
    if (result->options->pid_count > 0) {
        (void)json_object_set_new(root, "server", json_usage(result));
    }
    (void)json_object_set_new(root, "spate_load", json_own(result));
    (void)json_object_set_new(root, "notes", notes);
    (void)json_object_set_new(root, "latency_cumulative", json_buckets(&all->latency));
    (void)json_object_set_new(root, "samples", json_samples(result));
    int r = json_dumpf(root, file, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    fputc('\n', file);
    json_decref(root);
    return r;
}
