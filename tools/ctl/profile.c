/*
 * Draws the hub's fan-out profile: what each stage of an event's way takes, and what the shards do
 * with their time; since the hub's start, or between two looks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/ctl/ctl.h"
#include "tools/ctl/pacer.h"

enum { MEASURES_MAX = 32, BUCKETS_MAX = 256, BAR_WIDTH = 40, LOOP_WIDTH = 60 };

struct bucket {
    double bound; /* the largest value in it */
    double count;
};

/* One histogram. */
struct measure {
    const char *name, *unit, *what; /* in the look's JSON */
    double count, sum, max;
    size_t bucket_count;
    struct bucket buckets[BUCKETS_MAX];
};

struct look {
    json_t *json;
    double uptime;
    size_t stage_count, measure_count; /* the stages come first */
    struct measure measures[MEASURES_MAX];
};

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value != NULL ? value : "";
}

/* ---- Reading --------------------------------------------------------------------------------- */

static void read_measure(const json_t *json, struct measure *measure)
{
    size_t place;
    json_t *pair;
    *measure = (struct measure){
        .name = text(json, "name"),
        .unit = text(json, "unit"),
        .what = text(json, "what"),
        .count = number(json, "count"),
        .sum = number(json, "sum"),
        .max = number(json, "max"),
    };
    json_array_foreach(json_object_get(json, "buckets"), place, pair)
    {
        if (place < BUCKETS_MAX) {
            measure->buckets[measure->bucket_count++] =
                (struct bucket){.bound = json_number_value(json_array_get(pair, 0)),
                                .count = json_number_value(json_array_get(pair, 1))};
        }
    }
}

static void read_measures(const json_t *list, struct look *look)
{
    size_t place;
    json_t *one;
    json_array_foreach(list, place, one)
    {
        if (look->measure_count < MEASURES_MAX) {
            read_measure(one, &look->measures[look->measure_count++]);
        }
    }
}

static int look_read(struct ctl *ctl, struct look *look)
{
    int result = ctl_ask_json(ctl, "/debug/fanout?format=json", &look->json);
    if (result != CTL_OK) {
        return result;
    }
    if (!json_is_true(json_object_get(look->json, "profile"))) {
        fprintf(stderr, "spatectl: this hub was built without its profile\n");
        json_decref(look->json);
        return CTL_FAILED;
    }
    look->uptime = number(look->json, "uptime_seconds");
    look->measure_count = 0;
    read_measures(json_object_get(look->json, "stages"), look);
    look->stage_count = look->measure_count;
    read_measures(json_object_get(look->json, "measures"), look);
    return CTL_OK;
}

/* What has been recorded since `before`. The largest is known to its bucket only. */
static void measure_subtract(struct measure *measure, const struct measure *before)
{
    size_t place = 0;
    measure->count -= before->count;
    measure->sum -= before->sum;
    double max = 0;
    for (size_t i = 0; i < measure->bucket_count; i++) {
        struct bucket *bucket = &measure->buckets[i];
        while (place < before->bucket_count && before->buckets[place].bound < bucket->bound) {
            place++;
        }
        if (place < before->bucket_count && before->buckets[place].bound == bucket->bound) {
            bucket->count -= before->buckets[place].count;
        }
        max = bucket->count > 0 ? bucket->bound : max;
    }
    measure->max = max < measure->max ? max : measure->max;
}

static double measure_mean(const struct measure *measure)
{
    return measure->count > 0 ? measure->sum / measure->count : 0;
}

static double measure_percentile(const struct measure *measure, double percent)
{
    double seen = 0;
    for (size_t i = 0; i < measure->bucket_count; i++) {
        seen += measure->buckets[i].count;
        if (seen > 0 && seen >= measure->count * percent / 100) {
            double bound = measure->buckets[i].bound;
            return bound < measure->max ? bound : measure->max;
        }
    }
    return 0;
}

/* ---- Drawing --------------------------------------------------------------------------------- */

static void print_value(const char *unit, double value)
{
    static const char *const units[] = {"ns", "us", "ms", "s "};
    size_t i = 0;
    if (strcmp(unit, "ns") != 0) {
        printf(" %7.*f   ", value < 10 && value != (double)(long)value ? 1 : 0, value);
        return;
    }
    while (value >= 999.5 && i < 3) {
        value /= 1000;
        i++;
    }
    printf(" %7.*f %s", value < 9.95 && i > 0 ? 1 : 0, value, units[i]);
}

static void print_bar(double share, int width)
{
    int length = (int)(share * width + 0.5);
    for (int i = 0; i < width; i++) {
        putchar(i < length ? '#' : ' ');
    }
}

static void print_row(const struct measure *measure, double share)
{
    printf("%-11s", measure->name);
    if (share >= 0) {
        printf(" %5.1f %% ", 100 * share);
        print_bar(share, BAR_WIDTH);
    }
    print_value(measure->unit, measure_mean(measure));
    print_value(measure->unit, measure_percentile(measure, 50));
    print_value(measure->unit, measure_percentile(measure, 99));
    print_value(measure->unit, measure->max);
    putchar('\n');
}

static void print_stages(const struct look *look)
{
    double sum = 0;
    const struct measure *slowest = &look->measures[0];
    for (size_t i = 0; i < look->stage_count; i++) {
        double mean = measure_mean(&look->measures[i]);
        sum += mean;
        slowest = mean > measure_mean(slowest) ? &look->measures[i] : slowest;
    }
    if (sum <= 0 || look->measures[look->stage_count].count <= 0) {
        puts("no event has been sent to a subscriber in this time");
        return;
    }
    printf("slowest: %s, %.0f %% of the time. %s\n\n", slowest->name,
           100 * measure_mean(slowest) / sum, slowest->what);
    printf("%-11s %7s %-*s %10s %10s %10s %10s\n", "stage", "share", BAR_WIDTH, "", "mean   ",
           "p50   ", "p99   ", "max   ");
    for (size_t i = 0; i < look->stage_count; i++) {
        print_row(&look->measures[i], measure_mean(&look->measures[i]) / sum);
    }
    print_row(&look->measures[look->stage_count], 1);
}

static void print_others(const struct look *look)
{
    printf("\n%-11s %10s %10s %10s %10s\n", "", "mean   ", "p50   ", "p99   ", "max   ");
    for (size_t i = look->stage_count + 1; i < look->measure_count; i++) {
        const struct measure *measure = &look->measures[i];
        if (measure->count > 0) {
            print_row(measure, -1);
        }
    }
}

/* How long the shard was in a phase since `before`, which may be NULL. */
static double phase_ns(const json_t *shard, const json_t *before, const char *name)
{
    double ns = number(json_object_get(shard, "phases_ns"), name);
    return ns - (before == NULL ? 0 : number(json_object_get(before, "phases_ns"), name));
}

static void print_shards(const struct look *look, const struct look *before)
{
    size_t place;
    json_t *shard;
    json_array_foreach(json_object_get(look->json, "shards"), place, shard)
    {
        const json_t *old =
            before == NULL ? NULL : json_array_get(json_object_get(before->json, "shards"), place);
        const char *name;
        json_t *value;
        double sum = 0;
        json_object_foreach(json_object_get(shard, "phases_ns"), name, value)
        {
            sum += phase_ns(shard, old, name);
        }
        sum = sum > 0 ? sum : 1;
        double busy = 1 - phase_ns(shard, old, "wait") / sum;
        printf("%sshard %-3zu %5.1f %% busy [", place == 0 ? "\n" : "", place, 100 * busy);
        print_bar(busy, LOOP_WIDTH);
        printf("]\n         ");
        json_object_foreach(json_object_get(shard, "phases_ns"), name, value)
        {
            if (strcmp(name, "wait") != 0) {
                printf(" %s %.1f %%", name, 100 * phase_ns(shard, old, name) / sum);
            }
        }
        putchar('\n');
    }
}

/* `before` NULL: since the start. Changes the look's measures into differences. */
static void look_print(struct look *look, const struct look *before)
{
    static const char *const names[] = {"published", "deliveries", "event_sends", "short_sends"};
    double values[4];
    for (size_t i = 0; i < 4; i++) {
        values[i] =
            number(look->json, names[i]) - (before == NULL ? 0 : number(before->json, names[i]));
    }
    for (size_t i = 0; before != NULL && i < look->measure_count; i++) {
        measure_subtract(&look->measures[i], &before->measures[i]);
    }
    printf("%s %s, %s, ", "spate", text(look->json, "version"), text(look->json, "io"));
    if (before == NULL) {
        printf("%.0f s since the start: ", look->uptime);
    }
    printf("%.0f events, %.0f deliveries in %.0f sends, %.0f of them short\n", values[0], values[1],
           values[2], values[3]);
    print_stages(look);
    print_others(look);
    print_shards(look, before);
}

int ctl_profile(struct ctl *ctl)
{
    static struct look looks[3];
    int result = look_read(ctl, &looks[0]);
    if (result != CTL_OK) {
        return result;
    }
    if (ctl->is_json) {
        json_dumpf(looks[0].json, stdout, JSON_COMPACT);
        putchar('\n');
    } else if (ctl->count == 0) {
        look_print(&looks[0], NULL);
    }
    struct pacer pacer;
    pacer_init(&pacer, ctl->interval_ms * 1000000);
    pacer_wait(&pacer, 1);
    pacer_spend(&pacer, 1);
    for (uint64_t shown = 0; !ctl->is_json && shown < ctl->count; shown++) {
        pacer_wait(&pacer, 1);
        pacer_spend(&pacer, 1);
        result = look_read(ctl, &looks[1]);
        if (result != CTL_OK) {
            break;
        }
        /* The numbers of a hub that was started anew are all since then. */
        bool is_same =
            looks[1].uptime >= looks[0].uptime && looks[1].measure_count == looks[0].measure_count;
        looks[2] = looks[1];
        printf("%s", shown > 0 ? "\n" : "");
        look_print(&looks[2], is_same ? &looks[0] : NULL);
        json_decref(looks[0].json);
        looks[0] = looks[1];
        if (!ctl_flush()) {
            result = CTL_FAILED;
            break;
        }
    }
    json_decref(looks[0].json);
    return result == CTL_OK && !ctl_flush() ? CTL_FAILED : result;
}
