#include "tests/sim/fiber.h"

#include <stdint.h>
#include <stdlib.h>

#include "core/base/base.h"

#ifdef __SANITIZE_ADDRESS__
#define FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#endif
#ifndef FIBER_ASAN
#define FIBER_ASAN 0
#endif
#ifdef __SANITIZE_THREAD__
#define FIBER_TSAN 1
#else
#define FIBER_TSAN 0
#endif

#if FIBER_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#if FIBER_TSAN
#include <sanitizer/tsan_interface.h>
#endif

enum { FIBER_STACK_SIZE = 1024 * 1024 };

static struct fiber *running;

struct fiber *fiber_running(void)
{
    return running;
}

static void leave_inside(struct fiber *fiber)
{
#if FIBER_ASAN
    __sanitizer_start_switch_fiber(fiber->ended ? NULL : &fiber->shadow_inside,
                                   fiber->outside_stack, fiber->outside_size);
#elif FIBER_TSAN
    __tsan_switch_to_fiber(fiber->shadow_outside, 0);
#endif
    CHECK(swapcontext(&fiber->context, &fiber->resumed_from) == 0);
}

static void arrive_inside(struct fiber *fiber)
{
#if FIBER_ASAN
    __sanitizer_finish_switch_fiber(fiber->shadow_inside, &fiber->outside_stack,
                                    &fiber->outside_size);
#endif
    (void)fiber;
}

static void fiber_main(unsigned high, unsigned low)
{
    /* makecontext passes only ints. */
    struct fiber *fiber = (struct fiber *)(uintptr_t)((uint64_t)high << 32 | low);
    arrive_inside(fiber);
    fiber->run(fiber->argument);
    fiber->ended = true;
    leave_inside(fiber);
    CHECK(false && "a fiber that has ended is not resumed");
}

void fiber_init(struct fiber *fiber, void (*run)(void *argument), void *argument)
{
    void *stack = fiber->stack != NULL ? fiber->stack : malloc(FIBER_STACK_SIZE);
    CHECK(stack != NULL);
    *fiber = (struct fiber){.stack = stack, .run = run, .argument = argument};
    CHECK(getcontext(&fiber->context) == 0);
    fiber->context.uc_stack.ss_sp = stack;
    fiber->context.uc_stack.ss_size = FIBER_STACK_SIZE;
    uint64_t address = (uint64_t)(uintptr_t)fiber;
    makecontext(&fiber->context, (void (*)(void))(uintptr_t)fiber_main, 2,
                (unsigned)(address >> 32), (unsigned)address);
}

void fiber_resume(struct fiber *fiber)
{
    CHECK(running == NULL);
    CHECK(!fiber->ended);
    running = fiber;
#if FIBER_ASAN
    __sanitizer_start_switch_fiber(&fiber->shadow_outside, fiber->stack, FIBER_STACK_SIZE);
#elif FIBER_TSAN
    if (fiber->shadow_inside == NULL) {
        fiber->shadow_inside = __tsan_create_fiber(0);
    }
    fiber->shadow_outside = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(fiber->shadow_inside, 0);
#endif
    CHECK(swapcontext(&fiber->resumed_from, &fiber->context) == 0);
#if FIBER_ASAN
    __sanitizer_finish_switch_fiber(fiber->shadow_outside, NULL, NULL);
#elif FIBER_TSAN
    if (fiber->ended) {
        __tsan_destroy_fiber(fiber->shadow_inside);
        fiber->shadow_inside = NULL;
    }
#endif
    running = NULL;
}

void fiber_yield(void)
{
    struct fiber *fiber = running;
    CHECK(fiber != NULL);
    leave_inside(fiber);
    arrive_inside(fiber);
}
