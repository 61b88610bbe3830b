/* Percent-decoding against a naive model, and the iterators over queries and paths, at a guard
 * page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/base/random.h"
#include "proto/uri.h"
#include "tests/unit/guard.h"

static struct guard guard;

static int group_setup(void **state)
{
    (void)state;
    guard_init(&guard);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    guard_fini(&guard);
    return 0;
}

static struct span guarded(const char *text)
{
    return span_make(guard_put(&guard, text, strlen(text)), strlen(text));
}

static void assert_decodes(const char *in, bool plus_is_space, const char *expected, size_t len)
{
    char out[64];
    size_t out_len = 99;
    assert_int_equal(uri_decode(guarded(in), plus_is_space, out, &out_len), 0);
    assert_int_equal(out_len, len);
    assert_memory_equal(out, expected, len);
}

static void test_decode(void **state)
{
    (void)state;
    assert_decodes("", false, "", 0);
    assert_decodes("abc", false, "abc", 3);
    assert_decodes("a%2Fb%2fc", false, "a/b/c", 5);
    assert_decodes("%00", false, "\0", 1);
    assert_decodes("%fF%C3%a9", false, "\xff\xc3\xa9", 3);
    assert_decodes("%2541", false, "%41", 3);
    assert_decodes("a+b%2B", false, "a+b+", 4);
    assert_decodes("a+b%2B+", true, "a b+ ", 5);
    assert_decodes("\xc3\xa9", false, "\xc3\xa9", 2);
}

static void test_decode_refuses(void **state)
{
    (void)state;
    static const char *const broken[] = {"%",   "a%",    "%4",   "a%4",    "%g0",
                                         "%0g", "%%41",  "% 41", "%4 1",   "%-1",
                                         "%+1", "%0x41", "%41%", "%u0041", "%\xff\xff"};
    for (size_t i = 0; i < countof(broken); i++) {
        char out[64];
        size_t len = 99;
        assert_int_equal(uri_decode(guarded(broken[i]), true, out, &len), -EINVAL);
        /* What is returned is set on success only. */
        assert_int_equal(len, 99);
    }
    size_t len;
    assert_int_equal(uri_decode(span_make(NULL, 0), false, NULL, &len), 0);
    assert_int_equal(len, 0);
}

static void test_decode_in_place(void **state)
{
    (void)state;
    char text[] = "%41b%43+";
    size_t len;
    assert_int_equal(uri_decode(span_of(text), true, text, &len), 0);
    assert_int_equal(len, 4);
    assert_memory_equal(text, "AbC ", 4);
}

/* The same by way of the C library, one character at a time; returns -1 for a broken escape. */
static int model_decode(const char *in, size_t len, bool plus_is_space, char *out)
{
    int out_len = 0;
    for (size_t i = 0; i < len; i++) {
        if (in[i] != '%') {
            out[out_len++] = plus_is_space && in[i] == '+' ? ' ' : in[i];
            continue;
        }
        static const char digits[] = "0123456789abcdefABCDEF";
        char pair[3] = {0};
        if (i + 2 >= len) {
            return -1;
        }
        memcpy(pair, in + i + 1, 2);
        if (strspn(pair, digits) != 2) {
            return -1;
        }
        out[out_len++] = (char)strtol(pair, NULL, 16);
        i += 2;
    }
    return out_len;
}

static void test_decode_random(void **state)
{
    (void)state;
    static const char alphabet[] = "%%%%%0123456789abcdefABCDEFgG+/&= \xff";
    const char *given = getenv("SPATE_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    print_message("SPATE_TEST_SEED=%llu\n", (unsigned long long)seed);
    struct random random;
    random_init(&random, seed);
    unsigned good_count = 0;
    unsigned broken_count = 0;
    for (int round = 0; round < 50000; round++) {
        char in[24];
        size_t len = random_below(&random, sizeof(in) + 1);
        for (size_t i = 0; i < len; i++) {
            /* The terminator of the alphabet is a legal choice. */
            in[i] = alphabet[random_below(&random, sizeof(alphabet))];
            if (in[i] == '%' && i + 2 < len && random_below(&random, 8) != 0) {
                char escape[4];
                snprintf(escape, sizeof(escape), "%%%02x", (unsigned)random_below(&random, 256));
                memcpy(in + i, escape, 3);
                i += 2;
            }
        }
        bool plus_is_space = random_below(&random, 2) == 0;
        char expected[sizeof(in)];
        int expected_len = model_decode(in, len, plus_is_space, expected);
        char out[sizeof(in)];
        size_t out_len = 0;
        struct span span = {guard_put(&guard, in, len), len};
        int result = uri_decode(span, plus_is_space, out, &out_len);
        if (expected_len < 0) {
            assert_int_equal(result, -EINVAL);
            broken_count++;
        } else {
            assert_int_equal(result, 0);
            assert_int_equal(out_len, expected_len);
            assert_memory_equal(out, expected, out_len);
            good_count++;
        }
    }
    assert_true(good_count > 1000);
    assert_true(broken_count > 1000);
}

/* Writes "name=value;" for each pair; names and values of the cases hold no such characters. */
static void assert_pairs(const char *text, const char *expected)
{
    char got[256] = "";
    size_t len = 0;
    struct uri_query query;
    struct span name;
    struct span value;
    uri_query_init(&query, guarded(text));
    while (uri_query_next(&query, &name, &value)) {
        len += (size_t)snprintf(got + len, sizeof(got) - len, "%.*s:%.*s;", (int)name.len,
                                name.bytes, (int)value.len, value.len == 0 ? "" : value.bytes);
    }
    assert_string_equal(got, expected);
    assert_false(uri_query_next(&query, &name, &value));
}

static void test_query(void **state)
{
    (void)state;
    assert_pairs("", "");
    assert_pairs("&", "");
    assert_pairs("&&&", "");
    assert_pairs("a", "a:;");
    assert_pairs("a=", "a:;");
    assert_pairs("=", ":;");
    assert_pairs("=b", ":b;");
    assert_pairs("a=b", "a:b;");
    assert_pairs("a=b=c", "a:b=c;");
    assert_pairs("a=b&c=d", "a:b;c:d;");
    assert_pairs("&a=b&&c=d&", "a:b;c:d;");
    assert_pairs("a&a=1&a=2", "a:;a:1;a:2;");
    assert_pairs("a=b;c=d", "a:b;c=d;");
    assert_pairs("a%3Db=c%26d&e+f", "a%3Db:c%26d;e+f:;");
    assert_pairs("a=/?b", "a:/?b;");

    struct uri_query query;
    struct span name;
    struct span value;
    uri_query_init(&query, span_make(NULL, 0));
    assert_false(uri_query_next(&query, &name, &value));
}

static void assert_segments(const char *path, const char *expected)
{
    char got[256] = "";
    size_t len = 0;
    struct span rest = guarded(path);
    struct span segment;
    while (uri_path_next(&rest, &segment)) {
        len += (size_t)snprintf(got + len, sizeof(got) - len, "%.*s;", (int)segment.len,
                                segment.bytes);
    }
    assert_string_equal(got, expected);
    assert_false(uri_path_next(&rest, &segment));
}

static void test_path(void **state)
{
    (void)state;
    assert_segments("", "");
    assert_segments("*", "");
    assert_segments("a/b", "");
    assert_segments("/", ";");
    assert_segments("//", ";;");
    assert_segments("/a", "a;");
    assert_segments("/a/", "a;;");
    assert_segments("/a/b", "a;b;");
    assert_segments("//a", ";a;");
    assert_segments("/sse/a%2Fb", "sse;a%2Fb;");
    assert_segments("/a/../b/.", "a;..;b;.;");
    struct span rest = {NULL, 0};
    struct span segment;
    assert_false(uri_path_next(&rest, &segment));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),          cmocka_unit_test(test_decode_refuses),
        cmocka_unit_test(test_decode_in_place), cmocka_unit_test(test_decode_random),
        cmocka_unit_test(test_query),           cmocka_unit_test(test_path),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
