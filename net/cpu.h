/*
 * Which CPUs the hub may use, and pinning a shard's thread to one of them.
 *
 * The CPUs allowed are those of the process's affinity mask, which containers and taskset(1) set; a
 * CPU that exists and is not allowed is refused at the start and not when a thread is pinned.
 *
 * Threads: any. Errors: 0 or a negative errno.
 */
#ifndef SPATE_NET_CPU_H
#define SPATE_NET_CPU_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { CPU_COUNT_MAX = 1024 };

/* CPU numbers, without duplicates. As from cpu_allowed, ascending; as from cpu_parse, as written.
 */
struct cpu_list {
    unsigned count;
    unsigned cpus[CPU_COUNT_MAX];
};

/* The CPUs that this thread may run on (those above CPU_COUNT_MAX - 1 are not seen). */
int cpu_allowed(struct cpu_list *ret_list);

/*
 * Reads a list as "0-3,6". The order is kept: shard n runs on the nth CPU. -EINVAL with a static
 * problem text for a bad form, a CPU named twice, or one that is not in `allowed`.
 */
int cpu_parse(const char *text, const struct cpu_list *allowed, struct cpu_list *ret_list,
              const char **ret_problem);

bool cpu_list_has(const struct cpu_list *list, unsigned cpu);

/* Binds the calling thread to one CPU. */
int cpu_pin(unsigned cpu);

#ifdef __cplusplus
}
#endif

#endif
