#include "bench/cpu_time.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

bool cpu_time_add(struct cpu_time *time, int pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL) {
        return false;
    }
    for (struct dirent *task = readdir(tasks); task != NULL; task = readdir(tasks)) {
        long id = strtol(task->d_name, NULL, 10);
        if (id > 0 && time->count < CPU_TIME_THREADS_MAX) {
            snprintf(path, sizeof(path), "/proc/%d/task/%ld/schedstat", pid, id);
            int fd = open(path, O_RDONLY | O_CLOEXEC);
            if (fd >= 0) {
                time->files[time->count++] = fd;
            }
        }
    }
    closedir(tasks);
    return true;
}

uint64_t cpu_time_read(const struct cpu_time *time)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < time->count; i++) {
        char text[64];
        ssize_t len = pread(time->files[i], text, sizeof(text) - 1, 0);
        if (len > 0) {
            text[len] = '\0';
            sum += strtoull(text, NULL, 10);
        }
    }
    return sum;
}

uint64_t cpu_time_own(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}
