#include "tools/load/progress.h"

#include <unistd.h>

enum { BAR_WIDTH = 20 };

void progress_init(struct progress *progress, bool is_shown)
{
    *progress = (struct progress){.is_shown = is_shown, .is_terminal = isatty(STDERR_FILENO) != 0};
}

/* Something a person can read at a glance: 950, 12.3k, 4.56M. */
static const char *short_number(double number, char *text, size_t size)
{
    const char *unit = "";
    if (number >= 1e6) {
        number /= 1e6;
        unit = "M";
    } else if (number >= 1e4) {
        number /= 1e3;
        unit = "k";
    }
    (void)snprintf(text, size, "%.*f%s", unit[0] == '\0' ? 0 : number < 100 ? 1 : 0, number, unit);
    return text;
}

void progress_show(struct progress *progress, const struct result *result, const char *phase,
                   double done)
{
    const struct sample *sample = &result->samples[result->sample_count - 1];
    const double passed_s = sample->at_s - progress->shown_s;
    const bool is_new_phase = phase != progress->phase;
    if (!progress->is_shown || (passed_s < (progress->is_terminal ? 0.25 : 5) && !is_new_phase) ||
        passed_s <= 0) {
        return;
    }
    char bar[BAR_WIDTH + 1];
    char open[16], connects[16], published[16], deliveries[16];
    for (int i = 0; i < BAR_WIDTH; i++) {
        bar[i] = (i + 0.5) / BAR_WIDTH < done ? '#' : '.';
    }
    bar[BAR_WIDTH] = '\0';
    if (is_new_phase && progress->phase != NULL && progress->is_terminal) {
        fputc('\n', stderr);
    }
    const double p99_ms = (double)sample->p99_ns / 1e6;
    fprintf(stderr,
            "%s%-10s [%s] %3.0f %%  open %s (+%s/s)  published %s/s  delivered %s/s  p99 %.*f "
            "ms%s",
            progress->is_terminal ? "\r" : "", phase, bar, done * 100,
            short_number((double)sample->open, open, sizeof open),
            short_number((double)(sample->connects - progress->connects) / passed_s, connects,
                         sizeof connects),
            short_number((double)(sample->published - progress->published) / passed_s, published,
                         sizeof published),
            short_number((double)(sample->deliveries - progress->deliveries) / passed_s, deliveries,
                         sizeof deliveries),
            p99_ms < 10 ? 2 : 0, p99_ms, progress->is_terminal ? "\033[K" : "\n");
    (void)fflush(stderr);
    progress->is_open = progress->is_terminal;
    progress->phase = phase;
    progress->shown_s = sample->at_s;
    progress->deliveries = sample->deliveries;
    progress->published = sample->published;
    progress->connects = sample->connects;
}

void progress_end(struct progress *progress)
{
    if (progress->is_open) {
        fputc('\n', stderr);
        progress->is_open = false;
    }
}
