/*
 * The fan-out profile as one page: the slowest stage in words, then an event's way, the loops, and
 * the distributions as pictures. It needs nothing but itself: no script, no file, no network.
 */
#include <math.h>
#include <stdio.h>

#include "hub/profile_report.h"

enum { PAGE_WIDTH = 1040, BAR_HEIGHT = 34, PLOT_WIDTH = 280, PLOT_HEIGHT = 90, RANGE_WIDTH = 190 };

static const char page_head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Spate fan-out "
    "profile</title>\n"
    "<style>\n"
    ":root{color-scheme:light dark;--ink:#1c2733;--soft:#5b6875;--line:#d5dbe1;--back:#fff;"
    "--box:#fff4e5;--edge:#e8871e}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6ebf0;--soft:#9aa7b4;--line:#36424e;"
    "--back:#141b22;--box:#33250f}}\n"
    "body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--back);"
    "max-width:1040px;margin:24px auto;padding:0 16px}.scroll{overflow-x:auto}\n"
    "h1{font-size:22px;margin:0}h2{font-size:17px;margin:28px 0 6px}\n"
    "p{margin:4px 0}.soft{color:var(--soft)}svg{max-width:100%;height:auto;display:block}\n"
    ".verdict{background:var(--box);border-left:5px solid var(--edge);padding:10px 14px;"
    "margin:16px 0;font-size:17px}.verdict p.soft{font-size:14px}\n"
    "table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\n"
    "th,td{text-align:right;padding:5px 8px;border-bottom:1px solid var(--line);"
    "vertical-align:top;white-space:nowrap}\n"
    "th{font-weight:600;color:var(--soft);font-size:13px}\n"
    "th:first-child,th:nth-child(2),td:first-child,td.what{text-align:left}td.what{color:var(--"
    "soft);"
    "font-size:13px;white-space:normal;min-width:160px}\n"
    "tr.slowest td{background:var(--box);font-weight:600}tr.slowest td.what{font-weight:400}\n"
    ".s{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:6px}\n"
    ".plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(280px,1fr));gap:18px}\n"
    "text{font:12px system-ui,sans-serif;fill:var(--ink)}text.soft{fill:var(--soft)}\n"
    "text.in{fill:#fff;font-weight:600}rect.bar{fill:#2a78b5}rect.free{fill:var(--line)}"
    "line{stroke:var(--line)}\n"
    "</style></head><body><main>\n";

static const char *const stage_colours[PROFILE_STAGE_COUNT] = {
    [PROFILE_PARSE] = "#2a78b5", [PROFILE_SEQUENCE] = "#7b5ea7", [PROFILE_QUEUE] = "#c0392b",
    [PROFILE_PASS] = "#2e8b57",  [PROFILE_SUBMIT] = "#d9822b",   [PROFILE_COMPLETION] = "#16858f",
    [PROFILE_OTHER] = "#7a8794",
};

static const char *const phase_colours[PROFILE_PHASE_COUNT] = {
    [PROFILE_PHASE_WAIT] = NULL,
    [PROFILE_PHASE_SUBMIT] = "#d9822b",
    [PROFILE_PHASE_COMPLETION] = "#16858f",
    [PROFILE_PHASE_RECEIVE] = "#2a78b5",
    [PROFILE_PHASE_PASS] = "#2e8b57",
    [PROFILE_PHASE_REST] = "#7a8794",
};

/* "412 ns", "4.1 µs", "37 ms": three digits at most before the unit changes. */
static void write_time(struct buffer *body, double ns)
{
    static const char *const units[] = {"ns", "µs", "ms", "s"};
    size_t unit = 0;
    while (ns >= 999.5 && unit + 1 < countof(units)) {
        ns /= 1000;
        unit++;
    }
    buffer_printf(body, ns >= 9.95 || unit == 0 ? "%.0f %s" : "%.1f %s", ns, units[unit]);
}

static void write_value(struct buffer *body, const char *unit, double value)
{
    if (strcmp(unit, "ns") == 0) {
        write_time(body, value);
    } else {
        buffer_printf(body, "%.*f", value < 10 && value != floor(value) ? 1 : 0, value);
    }
}

static double percent_of(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : 0;
}

/* ---- In words -------------------------------------------------------------------------------- */

static void write_verdict(const struct profile_report *report, struct buffer *body)
{
    double means[PROFILE_STAGE_COUNT];
    double sum = profile_report_means(report, means);
    buffer_append_string(body, "<div class=\"verdict\">");
    if (!PROFILE_IS_ON) {
        buffer_append_string(body, "<p>This hub was built without its profile.</p>");
    } else if (histogram_count(&report->histograms[PROFILE_TOTAL]) == 0) {
        buffer_append_string(body, "<p>No event has been sent to a subscriber yet.</p>");
    } else {
        enum profile_measure slowest = profile_report_slowest(report);
        const struct profile_info *info = profile_measure_info(slowest);
        buffer_printf(body, "<p>The slowest stage is <strong>%s</strong>: ", info->name);
        write_time(body, means[slowest]);
        buffer_printf(body, " of ");
        write_time(body, sum);
        buffer_printf(body, " on average, %.0f&nbsp;%%. %s</p><p class=\"soft\">%s</p>",
                      percent_of(means[slowest], sum), info->what, info->advice);
    }
    buffer_append_string(body, "</div>\n");
}

/* ---- An event's way -------------------------------------------------------------------------- */

struct segment {
    double x, y, width;
    const char *colour; /* NULL: time at rest, drawn as empty */
    const char *label;
};

static void write_segment(struct buffer *body, const struct segment *segment)
{
    double x = segment->x;
    double y = segment->y;
    double width = segment->width;
    const char *colour = segment->colour;
    const char *label = segment->label;
    if (colour == NULL) {
        buffer_printf(body,
                      "<rect class=\"free\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\"/>",
                      x, y, width, BAR_HEIGHT);
    } else {
        buffer_printf(body,
                      "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" fill=\"%s\">"
                      "<title>%s</title></rect>",
                      x, y, width, BAR_HEIGHT, colour, label);
        if (width > 8.0 * (double)strlen(label) + 8) {
            buffer_printf(body, "<text class=\"in\" x=\"%.1f\" y=\"%.1f\">%s</text>", x + 6, y + 21,
                          label);
        }
    }
}

static void write_way_bar(const struct profile_report *report, struct buffer *body)
{
    double means[PROFILE_STAGE_COUNT];
    double sum = profile_report_means(report, means);
    double x = 0;
    buffer_printf(body, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"mean times\">",
                  PAGE_WIDTH, BAR_HEIGHT);
    for (unsigned i = 0; i < PROFILE_STAGE_COUNT && sum > 0; i++) {
        double width = means[i] / sum * PAGE_WIDTH;
        write_segment(body, &(struct segment){.x = x,
                                              .width = width,
                                              .colour = stage_colours[i],
                                              .label = profile_measure_info(i)->name});
        x += width;
    }
    buffer_append_string(body, "</svg>\n");
}

/* Where a time lies between 100 ns and 10 s, on a logarithmic scale. */
static double range_x(uint64_t ns)
{
    double decades = ns <= 100 ? 0 : log10((double)ns / 100);
    return fmin(decades / 8, 1) * (RANGE_WIDTH - 8) + 4;
}

/* From the median to the 99th percentile as a bar, the largest as a mark. */
static void write_range(struct buffer *body, const struct histogram *histogram, const char *colour)
{
    double median = range_x(histogram_percentile(histogram, 50));
    double high = range_x(histogram_percentile(histogram, 99));
    double max = range_x(histogram_max(histogram));
    buffer_printf(body, "<svg viewBox=\"0 0 %d 18\" width=\"%d\">", RANGE_WIDTH, RANGE_WIDTH);
    for (unsigned i = 0; i <= 8; i++) {
        double x = (double)i / 8 * (RANGE_WIDTH - 8) + 4;
        buffer_printf(body, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"2\" y2=\"16\"/>", x, x);
    }
    if (histogram_count(histogram) > 0) {
        buffer_printf(body,
                      "<rect x=\"%.1f\" y=\"5\" width=\"%.1f\" height=\"8\" rx=\"2\" fill=\"%s\"/>"
                      "<circle cx=\"%.1f\" cy=\"9\" r=\"2.5\" fill=\"%s\"/>",
                      median, fmax(high - median, 3), colour, max, colour);
    }
    buffer_append_string(body, "</svg>");
}

static void write_stage_row(const struct profile_report *report, struct buffer *body,
                            enum profile_measure measure, double share)
{
    const struct histogram *histogram = &report->histograms[measure];
    const struct profile_info *info = profile_measure_info(measure);
    bool is_stage = measure < PROFILE_STAGE_COUNT;
    bool is_slowest = is_stage && share > 0 && measure == profile_report_slowest(report);
    const char *colour = is_stage ? stage_colours[measure] : "#1c2733";
    buffer_printf(body,
                  "<tr%s><td><span class=\"s\" style=\"background:%s\"></span>%s</td>"
                  "<td class=\"what\">%s</td><td>%.1f %%</td>",
                  is_slowest ? " class=\"slowest\"" : "", colour, info->name, info->what, share);
    const double values[] = {
        histogram_mean(histogram),
        (double)histogram_percentile(histogram, 50),
        (double)histogram_percentile(histogram, 99),
        (double)histogram_max(histogram),
    };
    for (size_t i = 0; i < countof(values); i++) {
        buffer_append_string(body, "<td>");
        write_time(body, values[i]);
        buffer_append_string(body, "</td>");
    }
    buffer_append_string(body, "<td>");
    write_range(body, histogram, colour);
    buffer_append_string(body, "</td></tr>\n");
}

static void write_way(const struct profile_report *report, struct buffer *body)
{
    double means[PROFILE_STAGE_COUNT];
    double sum = profile_report_means(report, means);
    buffer_append_string(
        body,
        "<h2>Stages of an event</h2><p class=\"soft\">From the publisher's request to the last "
        "subscriber's send, on each shard that has subscribers. The stages follow one another "
        "and do not overlap.</p>\n");
    write_way_bar(report, body);
    buffer_append_string(body, "<div class=\"scroll\" "
                               "tabindex=\"0\"><table><tr><th>stage</th><th>meaning</th><th>share</"
                               "th><th>mean</th><th>p50</th>"
                               "<th>p99</th><th>max</th><th>100 ns &hellip; 10 s</th></tr>\n");
    for (unsigned i = 0; i < PROFILE_STAGE_COUNT; i++) {
        write_stage_row(report, body, i, percent_of(means[i], sum));
    }
    write_stage_row(report, body, PROFILE_TOTAL, sum > 0 ? 100 : 0);
    buffer_append_string(body, "</table></div>\n");
    if (report->io == IO_KIND_EPOLL) {
        buffer_append_string(body,
                             "<p class=\"soft\">With epoll each send is a system call made "
                             "during the walk: the kernel's share is in <em>pass</em>.</p>\n");
    }
}

/* ---- The loops ------------------------------------------------------------------------------- */

static void write_loop_bar(const struct profile_report *report, struct buffer *body, unsigned index)
{
    const uint64_t *phases = report->shards[index].phase_ns;
    double sum = (double)report->shards[index].sum_ns;
    double y = index * (BAR_HEIGHT + 24.0);
    double x = 0;
    buffer_printf(body, "<text x=\"0\" y=\"%.0f\">shard %u", y + 14, index);
    if (report->shards[index].cpu >= 0) {
        buffer_printf(body, " on CPU %d", report->shards[index].cpu);
    }
    buffer_printf(body, ": %.1f %% busy, %llu deliveries</text>",
                  100 - percent_of((double)phases[PROFILE_PHASE_WAIT], sum),
                  (unsigned long long)report->shards[index].deliveries);
    for (unsigned i = 0; i < PROFILE_PHASE_COUNT; i++) {
        /* The rest of the time comes last, on the right. */
        unsigned phase = (i + 1) % PROFILE_PHASE_COUNT;
        double width = (double)phases[phase] / sum * PAGE_WIDTH;
        write_segment(body, &(struct segment){.x = x,
                                              .y = y + 20,
                                              .width = width,
                                              .colour = phase_colours[phase],
                                              .label = profile_phase_info(phase)->name});
        x += width;
    }
}

static void write_loops(const struct profile_report *report, struct buffer *body)
{
    buffer_printf(body,
                  "<h2>Event loops</h2>\n<p class=\"soft\">%s</p>\n"
                  "<svg viewBox=\"0 0 %d %u\" role=\"img\" aria-label=\"time of the event loops\">",
                  "The time of each shard since the start; grey is idle.", PAGE_WIDTH,
                  report->shard_count * (BAR_HEIGHT + 24));
    for (unsigned i = 0; i < report->shard_count; i++) {
        write_loop_bar(report, body, i);
    }
    buffer_append_string(body,
                         "</svg>\n<div class=\"scroll\" tabindex=\"0\"><table><tr><th>phase</th>"
                         "<th>meaning</th><th>of busy time</th><th>per delivery</th></tr>\n");
    double busy_ns = 0;
    double phase_ns[PROFILE_PHASE_COUNT];
    for (unsigned i = 0; i < PROFILE_PHASE_COUNT; i++) {
        phase_ns[i] = 0;
        for (unsigned j = 0; j < report->shard_count; j++) {
            phase_ns[i] += (double)report->shards[j].phase_ns[i];
        }
        busy_ns += i == PROFILE_PHASE_WAIT ? 0 : phase_ns[i];
    }
    for (unsigned i = PROFILE_PHASE_WAIT + 1; i < PROFILE_PHASE_COUNT; i++) {
        buffer_printf(body,
                      "<tr><td><span class=\"s\" style=\"background:%s\"></span>%s</td>"
                      "<td class=\"what\">%s</td><td>%.1f %%</td><td>",
                      phase_colours[i], profile_phase_info(i)->name, profile_phase_info(i)->what,
                      percent_of(phase_ns[i], busy_ns));
        write_time(body, profile_report_per_delivery(report, i));
        buffer_append_string(body, "</td></tr>\n");
    }
    buffer_append_string(body, "</table></div>\n");
}

/* ---- Distributions --------------------------------------------------------------------------- */

enum { PLOT_COLUMNS = 40 };

/* The counts over columns of equal width on a logarithmic scale from `low` to `high`. */
static uint64_t plot_columns(const struct histogram *histogram, double low, double high,
                             uint64_t columns[PLOT_COLUMNS])
{
    uint64_t most = 1;
    double span = log2(high / low);
    memset(columns, 0, PLOT_COLUMNS * sizeof(columns[0]));
    for (unsigned i = histogram_next(histogram, 0); i < HISTOGRAM_BUCKET_COUNT;
         i = histogram_next(histogram, i + 1)) {
        double value = (double)histogram_bucket_low(i) + 1;
        double place = log2(value / low) / span * PLOT_COLUMNS;
        unsigned column = place < 0 ? 0 : (unsigned)fmin(place, PLOT_COLUMNS - 1);
        columns[column] += histogram_bucket_count(histogram, i);
        most = max_u64(most, columns[column]);
    }
    return most;
}

static void write_plot(const struct profile_report *report, struct buffer *body,
                       enum profile_measure measure)
{
    const struct histogram *histogram = &report->histograms[measure];
    const struct profile_info *info = profile_measure_info(measure);
    unsigned first = histogram_next(histogram, 0);
    uint64_t columns[PLOT_COLUMNS];
    buffer_printf(body, "<div><p><strong>%s</strong> <span class=\"soft\">%s</span></p>",
                  info->name, info->what);
    if (first == HISTOGRAM_BUCKET_COUNT) {
        buffer_append_string(body, "<p class=\"soft\">none yet</p></div>\n");
        return;
    }
    double low = (double)histogram_bucket_low(first) + 1;
    double high = fmax((double)histogram_max(histogram) + 2, low * 2);
    uint64_t most = plot_columns(histogram, low, high, columns);
    buffer_printf(body, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">", PLOT_WIDTH,
                  PLOT_HEIGHT + 16, info->name);
    for (unsigned i = 0; i < PLOT_COLUMNS; i++) {
        double height = (double)columns[i] / (double)most * PLOT_HEIGHT;
        if (columns[i] > 0) {
            buffer_printf(body,
                          "<rect class=\"bar\" x=\"%u\" y=\"%.1f\" width=\"%u\" height=\"%.1f\">"
                          "<title>%llu</title></rect>",
                          i * PLOT_WIDTH / PLOT_COLUMNS, PLOT_HEIGHT - fmax(height, 1),
                          PLOT_WIDTH / PLOT_COLUMNS - 1, fmax(height, 1),
                          (unsigned long long)columns[i]);
        }
    }
    buffer_printf(body,
                  "<line x1=\"0\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/><text class=\"soft\" "
                  "x=\"0\" y=\"%d\">",
                  PLOT_WIDTH, PLOT_HEIGHT, PLOT_HEIGHT, PLOT_HEIGHT + 13);
    write_value(body, info->unit, low - 1);
    buffer_printf(body, "</text><text class=\"soft\" text-anchor=\"end\" x=\"%d\" y=\"%d\">",
                  PLOT_WIDTH, PLOT_HEIGHT + 13);
    write_value(body, info->unit, (double)histogram_max(histogram));
    buffer_append_string(body, "</text></svg><p class=\"soft\">mean ");
    write_value(body, info->unit, histogram_mean(histogram));
    buffer_append_string(body, ", p50 ");
    write_value(body, info->unit, (double)histogram_percentile(histogram, 50));
    buffer_append_string(body, ", p99 ");
    write_value(body, info->unit, (double)histogram_percentile(histogram, 99));
    buffer_append_string(body, "</p></div>\n");
}

void profile_report_write_page(const struct profile_report *report, struct buffer *body)
{
    const uint64_t *totals = report->totals.values;
    buffer_append_string(body, page_head);
    buffer_printf(
        body,
        "<h1>Fan-out profile</h1>\n<p class=\"soft\">%s, %u shards, %llu s since the "
        "start: %llu events published, %llu deliveries in %llu sends (%llu short), "
        "%llu streams behind, %llu overflows of the completion queue</p>\n",
        io_kind_name(report->io), report->shard_count, (unsigned long long)report->uptime_seconds,
        (unsigned long long)totals[TOTAL_PUBLISHED], (unsigned long long)totals[TOTAL_DELIVERIES],
        (unsigned long long)totals[TOTAL_EVENT_SENDS],
        (unsigned long long)totals[TOTAL_SHORT_SENDS], (unsigned long long)totals[TOTAL_BEHIND],
        (unsigned long long)totals[TOTAL_CQ_OVERFLOWS]);
    write_verdict(report, body);
    write_way(report, body);
    write_loops(report, body);
    buffer_append_string(body, "<h2>Histograms</h2><p class=\"soft\">The horizontal axis is "
                               "logarithmic.</p>\n"
                               "<div class=\"plots\">\n");
    for (unsigned i = PROFILE_TOTAL; i < PROFILE_MEASURE_COUNT; i++) {
        write_plot(report, body, i);
    }
    buffer_append_string(body, "</div>\n<p class=\"soft\">The same as JSON: "
                               "<a href=\"?format=json\">?format=json</a>. What each number means "
                               "is in docs/profiling.md.</p>\n</main></body></html>\n");
}
