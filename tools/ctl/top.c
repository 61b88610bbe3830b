/*
 * A live view: what the hub and each of its shards do a second, and which clients are furthest
 * behind. On a terminal it redraws; elsewhere each look is a block of lines.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tools/ctl/ctl.h"
#include "tools/ctl/pacer.h"

/* The columns, in order: a counter of /stats, as a rate, or what it is now. */
static const struct column {
    const char *title;
    const char *counter;
    bool is_rate;
    double unit; /* shown in so many */
} columns[] = {
    {"streams", "streams", false, 1},
    {"events/s", "published", true, 1},
    {"deliver/s", "deliveries", true, 1},
    {"sends/s", "sends", true, 1},
    {"MB/s", "bytes_sent", true, 1e6},
    {"short/s", "short_sends", true, 1},
    {"catch-up/s", "history_reads", true, 1},
    {"gaps/s", "gaps", true, 1},
    {"turns/s", "turns", true, 1},
    {"syscalls/s", "system_calls", true, 1},
};

#define COLUMN_COUNT countof(columns)
#define ROWS_MAX     513 /* all shards together, and each */

struct look {
    uint64_t time_ns;
    double uptime;
    size_t row_count;
    double values[ROWS_MAX][COLUMN_COUNT];
};

static void read_row(const json_t *object, double values[COLUMN_COUNT])
{
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        values[i] = json_number_value(json_object_get(object, columns[i].counter));
    }
}

static void read_look(const json_t *stats, struct look *look)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    look->time_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    look->uptime = json_number_value(json_object_get(stats, "uptime_seconds"));
    read_row(stats, look->values[0]);
    look->row_count = 1;
    size_t place;
    json_t *shard;
    json_array_foreach(json_object_get(stats, "shards"), place, shard)
    {
        if (look->row_count < ROWS_MAX) {
            read_row(shard, look->values[look->row_count++]);
        }
    }
}

static void print_row(const struct look *before, const struct look *now, size_t row)
{
    /* The time that has really passed, not the one that was meant to. */
    const double seconds = (double)(now->time_ns - before->time_ns) / 1e9;
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        double value = now->values[row][i];
        if (columns[i].is_rate) {
            value = (value - before->values[row][i]) / seconds;
        }
        printf(columns[i].unit > 1 ? " %10.2f" : " %10.0f", value / columns[i].unit);
    }
    putchar('\n');
}

static void print_heading(const struct ctl *ctl, const json_t *stats)
{
    const json_t *draining = json_object_get(stats, "draining");
    printf("%sspate %s  %s  %s  up %.0f s  channels %.0f  connections %.0f%s\n",
           isatty(STDOUT_FILENO) ? "\033[H\033[J" : "",
           json_string_value(json_object_get(stats, "version")), ctl->http.base,
           json_string_value(json_object_get(stats, "io")),
           json_number_value(json_object_get(stats, "uptime_seconds")),
           json_number_value(json_object_get(stats, "channels")),
           json_number_value(json_object_get(stats, "connections")),
           json_is_true(draining) ? "  DRAINING" : "");
    printf("%-9s", "");
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        printf(" %10s", columns[i].title);
    }
    putchar('\n');
}

static void print_look(const struct ctl *ctl, const json_t *stats, const struct look *before,
                       const struct look *now)
{
    print_heading(ctl, stats);
    for (size_t row = 0; row < now->row_count; row++) {
        const json_t *shard = json_array_get(json_object_get(stats, "shards"), row - 1);
        if (row == 0) {
            printf("%-9s", "hub");
        } else {
            printf("shard %-3.0f", json_number_value(json_object_get(shard, "shard")));
        }
        print_row(before, now, row);
    }
}

/* Those whose next event has waited longest, the slowest first. */
static int print_slowest(struct ctl *ctl)
{
    if (ctl->rows == 0) {
        return CTL_OK;
    }
    json_t *clients;
    char *path = ctl_format("/clients?slowest=%llu", (unsigned long long)ctl->rows);
    int result = ctl_ask_json(ctl, path, &clients);
    free(path);
    if (result != CTL_OK) {
        return result;
    }
    size_t place;
    json_t *client;
    json_array_foreach(clients, place, client)
    {
        if (place == 0) {
            printf("%10s %10s  %s\n", "behind", "channels", "slowest clients");
        }
        printf("%10.0f %10.0f  %s\n", json_number_value(json_object_get(client, "behind")),
               json_number_value(json_object_get(client, "channels")),
               json_string_value(json_object_get(client, "client")));
    }
    json_decref(clients);
    return CTL_OK;
}

int ctl_top(struct ctl *ctl)
{
    static struct look looks[2];
    struct pacer pacer;
    pacer_init(&pacer, ctl->interval_ms * 1000000);
    for (uint64_t shown = 0, round = 0; ctl->count == 0 || shown < ctl->count; round++) {
        const struct look *before = &looks[(round + 1) % 2];
        struct look *now = &looks[round % 2];
        pacer_wait(&pacer, 1);
        pacer_spend(&pacer, 1);
        json_t *stats;
        int result = ctl_ask_json(ctl, "/stats", &stats);
        if (result != CTL_OK) {
            return result;
        }
        read_look(stats, now);
        /* The counters of a hub that was started anew say nothing together with the old ones. */
        if (round > 0 && now->row_count == before->row_count && now->uptime >= before->uptime) {
            print_look(ctl, stats, before, now);
            result = print_slowest(ctl);
            shown++;
        }
        json_decref(stats);
        if (result != CTL_OK) {
            return result;
        }
        if (!ctl_flush()) {
            return CTL_FAILED;
        }
    }
    return CTL_OK;
}
