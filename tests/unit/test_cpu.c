#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "net/cpu.h"

static const struct cpu_list eight = {.count = 8, .cpus = {0, 1, 2, 3, 4, 5, 6, 7}};
static const struct cpu_list holes = {.count = 3, .cpus = {2, 5, 1023}};

static void expect_list(const char *text, const struct cpu_list *allowed, unsigned count,
                        const unsigned cpus[])
{
    struct cpu_list list = {.count = 99};
    const char *problem = "unset";
    assert_int_equal(cpu_parse(text, allowed, &list, &problem), 0);
    assert_null(problem);
    assert_int_equal(list.count, count);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(list.cpus[i], cpus[i]);
    }
}

static void expect_problem(const char *text, const struct cpu_list *allowed, const char *part)
{
    struct cpu_list list = {.count = 99};
    const char *problem = NULL;
    assert_int_equal(cpu_parse(text, allowed, &list, &problem), -EINVAL);
    assert_non_null(problem);
    if (strstr(problem, part) == NULL) {
        fail_msg("\"%s\": the problem is \"%s\"", text, problem);
    }
    assert_int_equal(list.count, 99);
}

static void test_parse(void **state)
{
    (void)state;
    expect_list("0", &eight, 1, (const unsigned[]){0});
    expect_list("7", &eight, 1, (const unsigned[]){7});
    expect_list("0-3,6", &eight, 5, (const unsigned[]){0, 1, 2, 3, 6});
    expect_list("6,0-3", &eight, 5, (const unsigned[]){6, 0, 1, 2, 3});
    expect_list("3-3", &eight, 1, (const unsigned[]){3});
    expect_list("0-7", &eight, 8, (const unsigned[]){0, 1, 2, 3, 4, 5, 6, 7});
    expect_list("1023,2", &holes, 2, (const unsigned[]){1023, 2});
    expect_list("007", &eight, 1, (const unsigned[]){7});
}

static void test_parse_problems(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      ",",
                                      "0,",
                                      ",0",
                                      "0,,1",
                                      "-",
                                      "-1",
                                      "0-",
                                      "0--1",
                                      "a",
                                      "0a",
                                      "0 ",
                                      " 0",
                                      "0-1-2",
                                      "0;1",
                                      "+1",
                                      "1024",
                                      "0-1024",
                                      "99999999999999999999",
                                      "4294967296"};
    for (size_t i = 0; i < countof(bad); i++) {
        expect_problem(bad[i], &eight, "looks like");
    }
    expect_problem("3-1", &eight, "backwards");
    expect_problem("1,1", &eight, "twice");
    expect_problem("0-3,2", &eight, "twice");
    expect_problem("8", &eight, "may not use");
    expect_problem("0-8", &eight, "may not use");
    expect_problem("2-5", &holes, "may not use");
    expect_problem("0-1023", &holes, "may not use");
}

static void test_allowed(void **state)
{
    (void)state;
    cpu_set_t set;
    struct cpu_list list;
    assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
    assert_int_equal(cpu_allowed(&list), 0);
    assert_int_equal(list.count, CPU_COUNT(&set));
    for (unsigned i = 0; i < list.count; i++) {
        assert_true(CPU_ISSET(list.cpus[i], &set));
        assert_true(i == 0 || list.cpus[i] > list.cpus[i - 1]);
        assert_true(cpu_list_has(&list, list.cpus[i]));
    }
}

/* In a thread, because a thread that is pinned stays so. */
static void *pin_to_each(void *argument)
{
    const struct cpu_list *list = argument;
    for (unsigned i = 0; i < list->count; i++) {
        struct cpu_list now;
        if (cpu_pin(list->cpus[i]) != 0 || cpu_allowed(&now) != 0 || now.count != 1 ||
            now.cpus[0] != list->cpus[i] || (unsigned)sched_getcpu() != list->cpus[i]) {
            return argument;
        }
    }
    return NULL;
}

static void test_pin(void **state)
{
    (void)state;
    struct cpu_list list;
    struct cpu_list after;
    pthread_t thread;
    void *failed = &list;
    assert_int_equal(cpu_allowed(&list), 0);
    assert_int_equal(pthread_create(&thread, NULL, pin_to_each, &list), 0);
    assert_int_equal(pthread_join(thread, &failed), 0);
    assert_null(failed);
    /* Only that thread was pinned. */
    assert_int_equal(cpu_allowed(&after), 0);
    assert_int_equal(after.count, list.count);
    assert_int_equal(cpu_pin(CPU_COUNT_MAX), -EINVAL);
    assert_int_equal(cpu_pin(CPU_COUNT_MAX - 1), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_problems),
        cmocka_unit_test(test_allowed),
        cmocka_unit_test(test_pin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
