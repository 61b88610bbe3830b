#include "tools/load/usage.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The whole of a small file, terminated; false if it cannot be read. */
static bool read_file(const char *path, char *text, size_t size)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    size_t len = 0;
    ssize_t got;
    while (len + 1 < size && (got = read(fd, text + len, size - 1 - len)) > 0) {
        len += (size_t)got;
    }
    (void)close(fd);
    text[len] = '\0';
    return len > 0;
}

/* The number behind a name; 0 if there is none. */
static uint64_t number_after(const char *text, const char *name)
{
    const char *found = strstr(text, name);
    return found == NULL ? 0 : strtoull(found + strlen(name), NULL, 10);
}

static uint64_t ticks_to_ns(uint64_t ticks)
{
    return ticks * (1000000000U / (uint64_t)sysconf(_SC_CLK_TCK));
}

static void read_process(int pid, struct usage *usage)
{
    char path[64];
    char text[8192];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
    /* The name in the second field may hold anything; the last bracket ends it. */
    const char *at = read_file(path, text, sizeof text) ? strrchr(text, ')') : NULL;
    if (at == NULL || at[1] == '\0' || at[2] == 'Z') {
        usage->is_gone = true;
        return;
    }
    /* utime and stime are fields 14 and 15; the bracket ends field 2. */
    for (int field = 2; field < 14 && at != NULL; field++) {
        at = strchr(at + 1, ' ');
    }
    if (at != NULL) {
        char *end;
        usage->user_ns += ticks_to_ns(strtoull(at, &end, 10));
        usage->system_ns += ticks_to_ns(strtoull(end, NULL, 10));
    }
    (void)snprintf(path, sizeof path, "/proc/%d/status", pid);
    if (read_file(path, text, sizeof text)) {
        usage->resident_bytes += number_after(text, "VmRSS:") * 1024;
        usage->anonymous_bytes += number_after(text, "RssAnon:") * 1024;
    }
}

static void read_machine(struct usage *usage)
{
    char text[16384];
    if (read_file("/proc/meminfo", text, sizeof text)) {
        usage->kernel_bytes = (number_after(text, "\nSlab:") + number_after(text, "\nPageTables:") +
                               number_after(text, "\nKernelStack:")) *
                              1024;
    }
    if (read_file("/proc/net/sockstat", text, sizeof text)) {
        const char *tcp = strstr(text, "TCP:");
        usage->kernel_bytes +=
            tcp == NULL ? 0 : number_after(tcp, " mem") * (uint64_t)sysconf(_SC_PAGESIZE);
    }
    if (read_file("/proc/stat", text, sizeof text)) {
        char *at = text + 4;
        for (int field = 0; field < 8; field++) {
            const uint64_t ns = ticks_to_ns(strtoull(at, &at, 10));
            /* user nice system idle iowait irq softirq steal */
            if (field == 3 || field == 4) {
                usage->idle_ns += ns;
            } else {
                usage->busy_ns += ns;
            }
        }
    }
}

void usage_read(const int *pids, unsigned pid_count, struct usage *ret_usage)
{
    struct usage usage = {0};
    for (unsigned i = 0; i < pid_count; i++) {
        read_process(pids[i], &usage);
    }
    read_machine(&usage);
    *ret_usage = usage;
}
