/*
 * The quick look at JSON against jansson, which has the last word: what is surely valid, jansson
 * reads. The texts lie before a guard page.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "proto/json.h"
#include "tests/unit/guard.h"
#include "tests/unit/seeded.h"

static struct guard guard;
static uint64_t run_seed;

static bool jansson_reads(struct span text)
{
    json_error_t error;
    json_t *document = json_loadb(
        text.bytes, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
    json_decref(document);
    return document != NULL;
}

static bool is_sure(const char *bytes, size_t len)
{
    struct span text = span_make(guard_put(&guard, bytes, len), len);
    bool sure = json_is_surely_valid(text);
    if (sure && !jansson_reads(text)) {
        print_error("surely valid, and not to jansson: %.*s\n", (int)len, bytes);
        fail();
    }
    return sure;
}

/* What publishers send is known without the parser: that is what the quick look is for. */
static const char *const common[] = {
    "{}",
    "[]",
    "null",
    "true",
    " false ",
    "0",
    "-12.50",
    "\"\"",
    "\"text \xc3\xa9\"",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uFFFD\"",
    "{\"home\":1,\"away\":2}",
    "\r\n{ \"a\" : [ 1 , { \"b\" : null } , [ ] , { } ] , \"c\" : \"d\" }\t",
    "[[[[[[1,2],[3]],[]],{\"x\":{\"y\":[true,false]}}]]]",
};

static const char *const never[] = {
    "",          " ",          "{",          "}",     "[",           "]",
    "{]",        "[}",         "[1,]",       "[,1]",  "[1 2]",       "{\"a\"}",
    "{\"a\":}",  "{\"a\":1,}", "{a:1}",      "{1:1}", "01",          "-",
    "1.",        ".1",         "+1",         "--1",   "tru",         "truex",
    "nul",       "True",       "\"",         "\"a",   "\"\\\"",      "\"\\x\"",
    "\"\\u12\"", "\"\n\"",     "\"\xff\"",   "1 1",   "[] []",       "\"\\u12g4\"",
    "'a'",       "[1]]",       "{\"a\":1}}", "//",    "\"\\ud800\"", "NaN",
};

static void test_common(void **state)
{
    (void)state;
    for (size_t i = 0; i < countof(common); i++) {
        if (!is_sure(common[i], strlen(common[i]))) {
            fail_msg("not known to be valid: %s", common[i]);
        }
    }
}

static void test_never(void **state)
{
    (void)state;
    for (size_t i = 0; i < countof(never); i++) {
        struct span text = span_of(never[i]);
        assert_false(is_sure(text.bytes, text.len));
        assert_false(jansson_reads(text));
    }
    assert_false(is_sure("1\0", 2));
    assert_false(is_sure("\"\0\"", 3));
}

/* Valid or not, these are left to the parser. */
static void test_unsure(void **state)
{
    (void)state;
    static const char *const texts[] = {"1e5", "1e999", "\"\\ud83d\\ude00\"", "\"\\u0000\"",
                                        "{\"\\u0000\":1}"};
    for (size_t i = 0; i < countof(texts); i++) {
        assert_false(is_sure(texts[i], strlen(texts[i])));
    }
    char digits[JSON_DIGITS_MAX + 1];
    memset(digits, '9', sizeof(digits));
    assert_true(is_sure(digits, JSON_DIGITS_MAX));
    assert_false(is_sure(digits, JSON_DIGITS_MAX + 1));
    char nested[2 * (JSON_DEPTH_MAX + 2)];
    for (size_t depth = 1; depth <= JSON_DEPTH_MAX + 2; depth++) {
        memset(nested, '[', depth);
        memset(nested + depth, ']', depth);
        /* The innermost is empty and takes no level. */
        assert_int_equal(is_sure(nested, 2 * depth), depth <= JSON_DEPTH_MAX + 1);
    }
}

/* Texts with some bytes changed, taken out or doubled. */
static void test_mutations(void **state)
{
    (void)state;
    static const char bytes[] = "{}[]\",:\\u0019.-+eE \n\ttrufalsn/\x01\x7f\xc3\xa9";
    struct random random;
    random_init(&random, run_seed);
    unsigned sure_count = 0;
    for (unsigned round = 0; round < 200000; round++) {
        char text[256];
        const char *from = common[random_below(&random, countof(common))];
        size_t len = strlen(from);
        memcpy(text, from, len);
        for (uint64_t changes = 1 + random_below(&random, 4); changes > 0 && len > 0; changes--) {
            size_t at = (size_t)random_below(&random, len);
            switch (random_below(&random, 3)) {
            case 0:
                text[at] = bytes[random_below(&random, sizeof(bytes))];
                break;
            case 1:
                memmove(text + at, text + at + 1, len - at - 1);
                len--;
                break;
            default:
                memmove(text + at + 1, text + at, len - at);
                text[at] = bytes[random_below(&random, sizeof(bytes))];
                len++;
                break;
            }
        }
        sure_count += is_sure(text, len);
    }
    assert_true(sure_count > 10000);
}

static int group_setup(void **state)
{
    (void)state;
    guard_init(&guard);
    run_seed = seed_of_run();
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    guard_fini(&guard);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_common),
        cmocka_unit_test(test_never),
        cmocka_unit_test(test_unsure),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
