#include <math.h>
#include <stdlib.h>

#include "tools/load/result.h"

/*
 * Four charts in one picture:
 *
 *   latency by percentile (as HdrHistogram draws it) | deliveries and publications over time
 *   latency over time                                | connections over time
 */
enum {
    PICTURE_WIDTH = 1200,
    PICTURE_HEIGHT = 850,
    CHART_WIDTH = 520,
    CHART_HEIGHT = 290,
    CHART_LEFT = 65,
    CHART_TOP = 110,
    CHART_STEP_X = 590,
    CHART_STEP_Y = 380,
    POINT_COUNT_MAX = 4096,
    TICK_COUNT_MAX = 16,
};

struct point {
    double x, y;
};

struct series {
    const char *name;
    const char *colour;
    unsigned count;
    struct point points[POINT_COUNT_MAX];
};

struct chart {
    double left, top;
    const char *title;
    bool is_log;        /* its y axis */
    bool is_percentile; /* its x axis holds log10 of 100 / (100 - percent) */
    double x_min, x_max, y_min, y_max;
};

/* --- Text ------------------------------------------------------------------------------------- */

static void append_escaped(struct buffer *buffer, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '<':
            buffer_append_string(buffer, "&lt;");
            break;
        case '&':
            buffer_append_string(buffer, "&amp;");
            break;
        case '"':
            buffer_append_string(buffer, "&quot;");
            break;
        default:
            buffer_append(buffer, text, 1);
        }
    }
}

static void append_number(struct buffer *buffer, double number)
{
    if (number >= 1e6) {
        buffer_printf(buffer, "%gM", number / 1e6);
    } else if (number >= 1e4) {
        buffer_printf(buffer, "%gk", number / 1e3);
    } else {
        buffer_printf(buffer, "%.4g", number);
    }
}

/* --- Charts ----------------------------------------------------------------------------------- */

static double chart_x(const struct chart *chart, double x)
{
    return chart->left + (x - chart->x_min) / (chart->x_max - chart->x_min) * CHART_WIDTH;
}

static double chart_y(const struct chart *chart, double y)
{
    double part = (y - chart->y_min) / (chart->y_max - chart->y_min);
    if (chart->is_log) {
        part = log10(fmax(y, chart->y_min) / chart->y_min) / log10(chart->y_max / chart->y_min);
    }
    return chart->top + CHART_HEIGHT - part * CHART_HEIGHT;
}

/* 1, 2 or 5 times a power of ten, so that about `count` of them fit. */
static double round_step(double range, int count)
{
    const double rough = range / count;
    const double power = pow(10, floor(log10(rough)));
    const double first = rough / power;
    return power * (first <= 1 ? 1 : first <= 2 ? 2 : first <= 5 ? 5 : 10);
}

static void chart_fit(struct chart *chart, const struct series *const *series, unsigned count)
{
    double low = INFINITY, high = 0;
    chart->x_max = chart->x_min;
    for (unsigned i = 0; i < count; i++) {
        for (unsigned j = 0; j < series[i]->count; j++) {
            const struct point *point = &series[i]->points[j];
            chart->x_max = fmax(chart->x_max, point->x);
            high = fmax(high, point->y);
            low = point->y > 0 ? fmin(low, point->y) : low;
        }
    }
    if (chart->x_max <= chart->x_min) {
        chart->x_max = chart->x_min + 1;
    }
    if (chart->is_log) {
        low = isinf(low) ? 0.1 : low;
        chart->y_min = pow(10, floor(log10(low)));
        chart->y_max = pow(10, ceil(log10(fmax(high, low * 1.01))));
    } else {
        const double step = high > 0 ? round_step(high, 5) : 0.2;
        chart->y_min = 0;
        chart->y_max = high > 0 ? ceil(high / step) * step : 1;
    }
}

static void draw_y_tick(struct buffer *buffer, const struct chart *chart, double value)
{
    const double y = chart_y(chart, value);
    buffer_printf(buffer,
                  "<line class='grid' x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f'/>"
                  "<text class='tick' text-anchor='end' x='%.1f' y='%.1f'>",
                  chart->left, chart->left + CHART_WIDTH, y, y, chart->left - 7, y + 4);
    append_number(buffer, value);
    buffer_append_string(buffer, "</text>\n");
}

static void draw_x_tick(struct buffer *buffer, const struct chart *chart, double value,
                        const char *label)
{
    const double x = chart_x(chart, value);
    buffer_printf(buffer,
                  "<line class='grid' x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f'/>"
                  "<text class='tick' text-anchor='middle' x='%.1f' y='%.1f'>%s</text>\n",
                  x, x, chart->top, chart->top + CHART_HEIGHT, x, chart->top + CHART_HEIGHT + 18,
                  label);
}

static void draw_axes(struct buffer *buffer, const struct chart *chart)
{
    static const char *const nines[] = {"0 %",     "90 %",     "99 %",     "99.9 %",
                                        "99.99 %", "99.999 %", "99.9999 %"};
    buffer_printf(buffer, "<text class='title' x='%.1f' y='%.1f'>%s</text>\n", chart->left,
                  chart->top - 14, chart->title);
    if (chart->is_log) {
        for (double value = chart->y_min; value <= chart->y_max * 1.01; value *= 10) {
            draw_y_tick(buffer, chart, value);
        }
    } else {
        const double step = round_step(chart->y_max, 5);
        for (double value = 0; value <= chart->y_max * 1.001; value += step) {
            draw_y_tick(buffer, chart, value);
        }
    }
    if (chart->is_percentile) {
        for (size_t i = 0; i < countof(nines) && (double)i <= chart->x_max; i++) {
            draw_x_tick(buffer, chart, (double)i, nines[i]);
        }
        return;
    }
    const double step = round_step(chart->x_max - chart->x_min, 8);
    for (double value = chart->x_min; value <= chart->x_max * 1.001; value += step) {
        char label[32];
        (void)snprintf(label, sizeof label, "%g s", value);
        draw_x_tick(buffer, chart, value, label);
    }
}

static void draw_series(struct buffer *buffer, const struct chart *chart,
                        const struct series *series)
{
    if (series->count == 0) {
        return;
    }
    buffer_printf(buffer, "<polyline style='stroke:%s' points='", series->colour);
    for (unsigned i = 0; i < series->count; i++) {
        buffer_printf(buffer, "%.1f,%.1f ", chart_x(chart, series->points[i].x),
                      chart_y(chart, series->points[i].y));
    }
    buffer_append_string(buffer, "'/>\n");
}

static void draw_names(struct buffer *buffer, const struct chart *chart,
                       const struct series *const *series, unsigned count)
{
    buffer_printf(buffer, "<text class='name' text-anchor='end' x='%.1f' y='%.1f'>",
                  chart->left + CHART_WIDTH, chart->top - 14);
    for (unsigned i = 0; i < count; i++) {
        buffer_printf(buffer, "<tspan style='fill:%s' dx='%d'>%s</tspan>", series[i]->colour,
                      i == 0 ? 0 : 12, series[i]->name);
    }
    buffer_append_string(buffer, "</text>\n");
}

static void draw_chart(struct buffer *buffer, struct chart *chart, unsigned place,
                       const struct series *const *series, unsigned count)
{
    chart->left = CHART_LEFT + CHART_STEP_X * (place % 2);
    chart->top = CHART_TOP + CHART_STEP_Y * (place / 2);
    chart_fit(chart, series, count);
    draw_axes(buffer, chart);
    for (unsigned i = 0; i < count; i++) {
        draw_series(buffer, chart, series[i]);
    }
    draw_names(buffer, chart, series, count);
}

static void add_point(struct series *series, double x, double y)
{
    if (series->count < POINT_COUNT_MAX) {
        series->points[series->count++] = (struct point){x, y};
    }
}

/* --- The four --------------------------------------------------------------------------------- */

static void percentile_series(struct series *series, const struct histogram *histogram)
{
    const uint64_t total = histogram_count(histogram);
    uint64_t seen = 0;
    for (unsigned i = histogram_next(histogram, 0); i < HISTOGRAM_BUCKET_COUNT;
         i = histogram_next(histogram, i + 1)) {
        const double ms = (double)min_u64(histogram_bucket_high(i), histogram->max) / 1e6;
        /* Between the last value below a bucket and the last one in it the line is level. */
        add_point(series, log10((double)total / (double)(total - seen)), ms);
        seen += histogram_bucket_count(histogram, i);
        const double left = total > seen ? (double)(total - seen) : 0.5;
        add_point(series, log10((double)total / left), ms);
    }
}

static void draw_percentiles(const struct result *result, struct buffer *buffer)
{
    static struct series latency, slow, connect;
    latency = (struct series){.name = "due to delivered", .colour = "#1465c0"};
    slow = (struct series){.name = "to slow readers", .colour = "#c05a14"};
    connect = (struct series){.name = "connect to head", .colour = "#7a7a7a"};
    percentile_series(&latency, &result->all.latency);
    percentile_series(&slow, &result->all.latency_slow);
    percentile_series(&connect, &result->all.connect);
    const struct series *all[3] = {&latency, &connect, &slow};
    struct chart chart = {
        .title = "Latency by percentile, ms", .is_log = true, .is_percentile = true};
    draw_chart(buffer, &chart, 0, all, slow.count > 0 ? 3 : 2);
}

static void draw_rates(const struct result *result, struct buffer *buffer)
{
    static struct series deliveries, published;
    deliveries = (struct series){.name = "deliveries", .colour = "#1465c0"};
    published = (struct series){.name = "published, times the fan-out", .colour = "#2c8a3d"};
    const struct options *options = result->options;
    const double fan_out = (double)options->subscriber_count / options->channel_count;
    for (unsigned i = 1; i < result->sample_count; i++) {
        const struct sample *from = &result->samples[i - 1];
        const struct sample *to = &result->samples[i];
        const double seconds = to->at_s - from->at_s;
        if (seconds > 0.01) {
            add_point(&deliveries, to->at_s, (double)(to->deliveries - from->deliveries) / seconds);
            add_point(&published, to->at_s,
                      (double)(to->published - from->published) / seconds * fan_out);
        }
    }
    const struct series *both[2] = {&published, &deliveries};
    struct chart chart = {.title = "Deliveries a second"};
    draw_chart(buffer, &chart, 1, both, 2);
}

static void draw_latency_over_time(const struct result *result, struct buffer *buffer)
{
    static struct series p50, p99;
    p50 = (struct series){.name = "p50", .colour = "#2c8a3d"};
    p99 = (struct series){.name = "p99", .colour = "#b3261e"};
    for (unsigned i = 0; i < result->sample_count; i++) {
        const struct sample *sample = &result->samples[i];
        if (sample->p99_ns > 0) {
            add_point(&p50, sample->at_s, (double)sample->p50_ns / 1e6);
            add_point(&p99, sample->at_s, (double)sample->p99_ns / 1e6);
        }
    }
    const struct series *both[2] = {&p50, &p99};
    struct chart chart = {.title = "Latency over time, ms", .is_log = true};
    draw_chart(buffer, &chart, 2, both, 2);
}

static void draw_connections(const struct result *result, struct buffer *buffer)
{
    static struct series open;
    open = (struct series){.name = "open", .colour = "#1465c0"};
    for (unsigned i = 0; i < result->sample_count; i++) {
        add_point(&open, result->samples[i].at_s, (double)result->samples[i].open);
    }
    const struct series *one[1] = {&open};
    struct chart chart = {.title = "Connections"};
    draw_chart(buffer, &chart, 3, one, 1);
}

void picture_svg(const struct result *result, struct buffer *buffer)
{
    const struct options *options = result->options;
    const struct worker_score *all = &result->all;
    buffer_printf(buffer,
                  "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' width='%d' "
                  "height='%d'>\n<style>\n"
                  "text{font:13px system-ui,sans-serif;fill:#333}"
                  ".title{font-size:15px;font-weight:600}.head{font-size:20px;font-weight:600}"
                  ".tick{font-size:11px;fill:#666}.grid{stroke:#e3e3e3}"
                  ".name{font-size:12px;font-weight:600}"
                  "polyline{fill:none;stroke-width:1.6;stroke-linejoin:round}\n"
                  "</style>\n<rect width='100%%' height='100%%' fill='#fff'/>\n",
                  PICTURE_WIDTH, PICTURE_HEIGHT, PICTURE_WIDTH, PICTURE_HEIGHT);
    buffer_printf(buffer, "<text class='head' x='%d' y='36'>spate-load %s: %u subscribers of ",
                  CHART_LEFT, options->scenario, options->subscriber_count);
    append_escaped(buffer, options->target.subscribe_at.host);
    append_escaped(buffer, options->target.subscribe_path);
    buffer_printf(
        buffer,
        "</text>\n<text x='%d' y='60'>%llu published, %llu delivered; latency p50 %.2f, "
        "p99 %.2f, p99.99 %.2f, max %.2f ms; lost %llu, duplicates %llu, out of order "
        "%llu, corrupt %llu</text>\n",
        CHART_LEFT, (unsigned long long)result->board->publisher.sent,
        (unsigned long long)all->deliveries, (double)histogram_percentile(&all->latency, 50) / 1e6,
        (double)histogram_percentile(&all->latency, 99) / 1e6,
        (double)histogram_percentile(&all->latency, 99.99) / 1e6, (double)all->latency.max / 1e6,
        (unsigned long long)all->lost, (unsigned long long)all->duplicates,
        (unsigned long long)all->late, (unsigned long long)all->corrupt);
    draw_percentiles(result, buffer);
    draw_rates(result, buffer);
    draw_latency_over_time(result, buffer);
    draw_connections(result, buffer);
    buffer_append_string(buffer, "</svg>\n");
}

/* The table as text, so that the page says everything that the terminal said. */
static void append_table(const struct result *result, struct buffer *buffer)
{
    char *text = NULL;
    size_t len = 0;
    FILE *file = open_memstream(&text, &len);
    if (file == NULL) {
        buffer->failed = true;
        return;
    }
    report_table(result, file);
    if (fclose(file) == 0) {
        append_escaped(buffer, text);
    }
    free(text);
}

void picture_html(const struct result *result, struct buffer *buffer)
{
    buffer_append_string(buffer, "<!doctype html>\n<html lang='en'>\n<meta charset='utf-8'>\n"
                                 "<title>spate-load ");
    append_escaped(buffer, result->options->scenario);
    buffer_append_string(buffer, "</title>\n<style>body{margin:24px;background:#fff}"
                                 "svg{max-width:100%;height:auto}"
                                 "pre{font:13px/1.5 ui-monospace,monospace;color:#333;"
                                 "overflow-x:auto;margin:24px 40px}</style>\n");
    picture_svg(result, buffer);
    buffer_append_string(buffer, "<pre>");
    append_table(result, buffer);
    buffer_append_string(buffer, "</pre>\n</html>\n");
}
