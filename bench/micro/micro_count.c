/*
 * Runs one micro-benchmark a given number of times, for bench/micro/counts.
 *
 *   bench_micro_count --list         the names of those whose instructions can be counted
 *   bench_micro_count NAME COUNT     micro_counted() is what callgrind looks at
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/micro/micro.h"

void micro_counted(const struct micro *micro, void *world, uint64_t count);

__attribute__((noinline)) void micro_counted(const struct micro *micro, void *world, uint64_t count)
{
    micro->run(world, count);
}

int main(int argc, char **argv)
{
    bool list = argc == 2 && strcmp(argv[1], "--list") == 0;
    uint64_t count = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
    if (!list && count == 0) {
        fprintf(stderr, "usage: bench_micro_count --list | NAME COUNT\n");
        return 2;
    }
    for (const struct micro *micro = micro_all(); micro->name != NULL; micro++) {
        if (list && !micro->is_concurrent) {
            printf("%s\n", micro->name);
        } else if (!list && strcmp(micro->name, argv[1]) == 0) {
            void *world = micro->set_up == NULL ? NULL : micro->set_up();
            /* Caches and lazily bound functions are warm afterwards. */
            micro->run(world, 1);
            micro_counted(micro, world, count);
            if (micro->tear_down != NULL) {
                micro->tear_down(world);
            }
            return 0;
        }
    }
    if (!list) {
        fprintf(stderr, "bench_micro_count: there is no %s\n", argv[1]);
    }
    return list ? 0 : 2;
}
