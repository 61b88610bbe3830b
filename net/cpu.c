#include "net/cpu.h"

#include <errno.h>
#include <sched.h>

int cpu_allowed(struct cpu_list *ret_list)
{
    cpu_set_t set;
    static_assert(CPU_SETSIZE >= CPU_COUNT_MAX, "one fixed set is enough");
    if (sched_getaffinity(0, sizeof(set), &set) != 0) {
        return -errno;
    }
    ret_list->count = 0;
    for (unsigned cpu = 0; cpu < CPU_COUNT_MAX; cpu++) {
        if (CPU_ISSET(cpu, &set)) {
            ret_list->cpus[ret_list->count++] = cpu;
        }
    }
    return ret_list->count > 0 ? 0 : -ENXIO;
}

bool cpu_list_has(const struct cpu_list *list, unsigned cpu)
{
    for (unsigned i = 0; i < list->count; i++) {
        if (list->cpus[i] == cpu) {
            return true;
        }
    }
    return false;
}

/* Reads one number and moves past it. False if there is none or it is too large. */
static bool cpu_parse_number(const char **cursor, unsigned *ret_number)
{
    const char *at = *cursor;
    unsigned number = 0;
    if (*at < '0' || *at > '9') {
        return false;
    }
    for (; *at >= '0' && *at <= '9'; at++) {
        number = number * 10 + (unsigned)(*at - '0');
        if (number >= CPU_COUNT_MAX) {
            return false;
        }
    }
    *cursor = at;
    *ret_number = number;
    return true;
}

static const char *cpu_list_add(struct cpu_list *list, const struct cpu_list *allowed, unsigned cpu)
{
    if (cpu_list_has(list, cpu)) {
        return "a CPU is named twice";
    }
    if (!cpu_list_has(allowed, cpu)) {
        return "a CPU does not exist or this process may not use it (taskset, cpuset)";
    }
    CHECK(list->count < CPU_COUNT_MAX);
    list->cpus[list->count++] = cpu;
    return NULL;
}

/* Reads "3" or "0-3" and moves past it. NULL, or what is wrong. */
static const char *cpu_parse_range(const char **cursor, const struct cpu_list *allowed,
                                   struct cpu_list *list)
{
    static const char form[] = "a list of CPUs looks like 0-3,6";
    unsigned first = 0;
    unsigned last = 0;
    if (!cpu_parse_number(cursor, &first)) {
        return form;
    }
    last = first;
    if (**cursor == '-') {
        (*cursor)++;
        if (!cpu_parse_number(cursor, &last)) {
            return form;
        }
        if (last < first) {
            return "a range of CPUs runs backwards";
        }
    }
    if (**cursor != ',' && **cursor != '\0') {
        return form;
    }
    const char *problem = NULL;
    for (unsigned cpu = first; cpu <= last && problem == NULL; cpu++) {
        problem = cpu_list_add(list, allowed, cpu);
    }
    return problem;
}

int cpu_parse(const char *text, const struct cpu_list *allowed, struct cpu_list *ret_list,
              const char **ret_problem)
{
    struct cpu_list list = {.count = 0};
    const char *cursor = text;
    for (;;) {
        const char *problem = cpu_parse_range(&cursor, allowed, &list);
        if (problem != NULL) {
            *ret_problem = problem;
            return -EINVAL;
        }
        if (*cursor == '\0') {
            break;
        }
        cursor++;
    }
    *ret_list = list;
    *ret_problem = NULL;
    return 0;
}

int cpu_pin(unsigned cpu)
{
    cpu_set_t set;
    if (cpu >= CPU_SETSIZE) {
        return -EINVAL;
    }
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof(set), &set) == 0 ? 0 : -errno;
}
