/*
 * What the server's processes have used, as far as /proc tells: their CPU time, user and kernel
 * apart, and their memory. Kernel memory belongs to no process; it is the whole machine's, so that
 * only a difference over the run means something, and it holds this side's sockets too when both
 * ends are on one machine.
 */
#ifndef SPATE_LOAD_USAGE_H
#define SPATE_LOAD_USAGE_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct usage {
    uint64_t user_ns;
    uint64_t system_ns;
    uint64_t resident_bytes;  /* VmRSS, with the files that are mapped */
    uint64_t anonymous_bytes; /* RssAnon: the heap and stacks */
    uint64_t kernel_bytes;    /* machine: slabs, page tables, stacks, socket buffers */
    uint64_t busy_ns;         /* machine: CPU time of everything but idle */
    uint64_t idle_ns;
    bool is_gone; /* one of the processes has ended */
};

/* Sums over the processes; without any, only the machine's numbers. */
void usage_read(const int *pids, unsigned pid_count, struct usage *ret_usage);

#ifdef __cplusplus
}
#endif

#endif
