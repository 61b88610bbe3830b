/*
 * CPU time of processes, from /proc/PID/task/TID/schedstat: nanoseconds, where getrusage(2) of
 * another process would give hundredths of a second. It holds what the process spends in system
 * calls, and with them the kernel's work on loopback packets, which is done in the sender's name.
 */
#ifndef SPATE_BENCH_CPU_TIME_H
#define SPATE_BENCH_CPU_TIME_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { CPU_TIME_THREADS_MAX = 64 };

/* Zeroed to begin with. */
struct cpu_time {
    int files[CPU_TIME_THREADS_MAX];
    unsigned count;
};

/* Counts all threads that the process has now. False if there is no such process. */
bool cpu_time_add(struct cpu_time *time, int pid);
uint64_t cpu_time_read(const struct cpu_time *time);
/* Of the calling process. */
uint64_t cpu_time_own(void);

#ifdef __cplusplus
}
#endif

#endif
