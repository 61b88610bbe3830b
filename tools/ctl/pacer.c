#include "tools/ctl/pacer.h"

#include <errno.h>
#include <time.h>

static uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void pacer_init(struct pacer *pacer, uint64_t interval_ns)
{
    *pacer = (struct pacer){.interval_ns = interval_ns, .due_ns = monotonic_ns()};
}

size_t pacer_wait(struct pacer *pacer, size_t most)
{
    if (pacer->interval_ns == 0) {
        return most;
    }
    uint64_t now = monotonic_ns();
    if (pacer->due_ns > now) {
        const struct timespec due = {.tv_sec = (time_t)(pacer->due_ns / 1000000000),
                                     .tv_nsec = (long)(pacer->due_ns % 1000000000)};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) {
        }
        now = monotonic_ns();
    }
    if (now - pacer->due_ns > PACER_CATCH_UP_NS) {
        pacer->due_ns = now - PACER_CATCH_UP_NS;
    }
    const uint64_t count = (now - pacer->due_ns) / pacer->interval_ns + 1;
    return count < most ? (size_t)count : most;
}

void pacer_spend(struct pacer *pacer, size_t count)
{
    pacer->due_ns += pacer->interval_ns * count;
}
