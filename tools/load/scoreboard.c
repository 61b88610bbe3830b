#include "tools/load/scoreboard.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

struct scoreboard *scoreboard_new(unsigned worker_count, uint64_t sequence_count)
{
    const size_t workers_size = worker_count * sizeof(struct worker_score);
    const size_t size =
        sizeof(struct scoreboard) + workers_size + sequence_count * sizeof(uint64_t);
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        return NULL;
    }
    struct scoreboard *board = memory;
    board->size = size;
    board->worker_count = worker_count;
    board->workers = (struct worker_score *)(board + 1);
    board->published = (uint64_t *)((char *)board->workers + workers_size);
    return board;
}

void scoreboard_free(struct scoreboard *board)
{
    CHECK(munmap(board, board->size) == 0);
}

void scoreboard_count(const struct scoreboard *board, struct score_counts *ret_counts)
{
    *ret_counts = (struct score_counts){0};
    for (unsigned i = 0; i < board->worker_count; i++) {
        const struct worker_score *score = &board->workers[i];
        ret_counts->open += score_get(&score->open);
        ret_counts->connects += score_get(&score->connects);
        ret_counts->connect_failures += score_get(&score->connect_failures);
        ret_counts->storm_cuts += score_get(&score->storm_cuts);
        ret_counts->vanished += score_get(&score->vanished);
        ret_counts->deliveries += score_get(&score->deliveries);
        ret_counts->missing +=
            score_get(&score->lost) + score_get(&score->announced) + score_get(&score->unresumed);
    }
}

void scoreboard_give_order(struct scoreboard *board, enum load_order order, uint32_t count)
{
    board->order = order;
    board->order_count = count;
    /* Release: pairs with the acquire of the workers. */
    __atomic_store_n(&board->order_number, board->order_number + 1, __ATOMIC_RELEASE);
}

bool scoreboard_order_is_done(const struct scoreboard *board)
{
    for (unsigned i = 0; i < board->worker_count; i++) {
        /* Acquire: pairs with the worker's release; its counts are those after the order. */
        if (__atomic_load_n(&board->workers[i].orders_done, __ATOMIC_ACQUIRE) !=
            board->order_number) {
            return false;
        }
    }
    return true;
}

uint64_t scoreboard_uncertain(const struct scoreboard *board, const struct score_uncertain *first,
                              uint64_t end)
{
    uint64_t found = 0;
    /* Acquire: pairs with the release of scoreboard_add_uncertain; the entries are complete. */
    const uint32_t count = __atomic_load_n(&board->uncertain_count, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < count && i < SCORE_UNCERTAIN_COUNT_MAX; i++) {
        const struct score_uncertain *entry = &board->uncertain[i];
        found += entry->channel == first->channel && entry->slot == first->slot &&
                 entry->sequence >= first->sequence && entry->sequence < end;
    }
    return found;
}

void scoreboard_add_uncertain(struct scoreboard *board, const struct score_uncertain *uncertain)
{
    const uint32_t count = board->uncertain_count;
    if (count < SCORE_UNCERTAIN_COUNT_MAX) {
        board->uncertain[count] = *uncertain;
    }
    __atomic_store_n(&board->uncertain_count, count + 1, __ATOMIC_RELEASE);
}

void score_problem(char *problem, const char *text)
{
    if (problem[0] == '\0') {
        (void)snprintf(problem, SCORE_PROBLEM_LEN, "%s", text);
    }
}

void score_cpu_read(struct score_cpu *cpu)
{
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    const struct timeval *user = &usage.ru_utime;
    const struct timeval *system = &usage.ru_stime;
    __atomic_store_n(&cpu->user_ns,
                     (uint64_t)user->tv_sec * 1000000000U + (uint64_t)user->tv_usec * 1000U,
                     __ATOMIC_RELAXED);
    __atomic_store_n(&cpu->system_ns,
                     (uint64_t)system->tv_sec * 1000000000U + (uint64_t)system->tv_usec * 1000U,
                     __ATOMIC_RELAXED);
}

uint64_t load_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}
