/*
 * A fiber: a second stack in the same thread. The main stack resumes it; it runs until it yields.
 * So a shard can sleep in the middle of a turn while the others go on, and all of it is one thread.
 */
#ifndef SPATE_TESTS_SIM_FIBER_H
#define SPATE_TESTS_SIM_FIBER_H

#include <stdbool.h>
#include <stddef.h>
#include <ucontext.h>

struct fiber {
    ucontext_t context;
    ucontext_t resumed_from;
    void *stack;
    void (*run)(void *argument);
    void *argument;
    bool ended;
    /* The sanitizers want to know which stack is in use. */
    void *shadow_inside;
    void *shadow_outside;
    const void *outside_stack;
    size_t outside_size;
};

/* It runs first when it is resumed. A stack that was used before is used again. */
void fiber_init(struct fiber *fiber, void (*run)(void *argument), void *argument);
/* From the main stack: until the fiber yields or its function returns (`ended`). */
void fiber_resume(struct fiber *fiber);
/* From inside the fiber that is running. */
void fiber_yield(void);
/* The one that is running; NULL on the main stack. */
struct fiber *fiber_running(void);

#endif
