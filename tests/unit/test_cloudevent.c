/* CloudEvents, JSON cut into pieces, base64 and URIs, at a guard page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "proto/base64.h"
#include "proto/cloudevent.h"
#include "proto/json_cut.h"
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

static void assert_span(struct span span, const char *text)
{
    if (!span_is(span, text)) {
        fail_msg("%.*s is not %s", (int)span.len, span.bytes, text);
    }
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void test_cut_object(void **state)
{
    (void)state;
    static const char *const pieces[][2] = {
        {"\"a\"", "1.50"},
        {"\"b,\\\"}\"", "\"x]\\\\\""},
        {"\"c\"", "{ \"d\" : [ {} , \"}\" ] }"},
        {"\"e\"", "[1 , [2]]"},
        {"\"f\"", "null"},
    };
    struct json_cut cut;
    struct span name;
    struct span value;
    json_cut_init(&cut, guarded(" {\"a\":1.50 , \"b,\\\"}\" :\"x]\\\\\",\n\"c\":{ \"d\" : [ {} , "
                                "\"}\" ] },\"e\": [1 , [2]] , \"f\":null }\r\n"));
    for (size_t i = 0; i < countof(pieces); i++) {
        assert_true(json_cut_next(&cut, &name, &value));
        assert_span(name, pieces[i][0]);
        assert_span(value, pieces[i][1]);
    }
    assert_false(json_cut_next(&cut, &name, &value));
}

static void test_cut_array(void **state)
{
    (void)state;
    struct json_cut cut;
    struct span name;
    struct span value;
    json_cut_init(&cut, guarded("[ {\"a\":1},\"b\" ,3]"));
    assert_true(json_cut_next(&cut, &name, &value));
    assert_span(value, "{\"a\":1}");
    assert_int_equal(name.len, 0);
    assert_true(json_cut_next(&cut, &name, &value));
    assert_span(value, "\"b\"");
    assert_true(json_cut_next(&cut, &name, &value));
    assert_span(value, "3");
    assert_false(json_cut_next(&cut, &name, &value));
}

static void test_cut_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {"",  " ",   "{}",     "[ ]",     "1",     "\"[1]\"", "{",
                                        "[", "{\"", "{\"a\"", "{\"a\":", "{a:1}", "\"\\"};
    for (size_t i = 0; i < countof(texts); i++) {
        struct json_cut cut;
        struct span name;
        struct span value;
        json_cut_init(&cut, guarded(texts[i]));
        assert_false(json_cut_next(&cut, &name, &value));
    }
}

static void test_unescape(void **state)
{
    (void)state;
    static const char *const good[][2] = {
        {"\"\"", ""},
        {"\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "a\"\\/\b\f\n\r\t"},
        {"\"\\u0041\\u00E9\\u20ac\\ud83d\\ude00\"", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"\"\\uDBFF\\uDFFF\\uffff\"", "\xf4\x8f\xbf\xbf\xef\xbf\xbf"},
    };
    static const char *const bad[] = {
        "",       "\"",          "a",           "\"a",          "\"\\x\"",           "\"\\u12\"",
        "\"\\\"", "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800x\"", "\"\\ud800\\u0041\""};
    char room[64];
    size_t len;
    for (size_t i = 0; i < countof(good); i++) {
        assert_true(json_cut_unescape(guarded(good[i][0]), room, &len));
        assert_span(span_make(room, len), good[i][1]);
    }
    for (size_t i = 0; i < countof(bad); i++) {
        assert_false(json_cut_unescape(guarded(bad[i]), room, &len));
    }
}

static void test_compact(void **state)
{
    (void)state;
    char room[64];
    struct span text = guarded("\r\n{ \"a b\\\" c\" :\t[ 1.0 ,\n\"\\\\\" , 2 ] }\n");
    assert_span(span_make(room, json_cut_compact(text, room)), "{\"a b\\\" c\":[1.0,\"\\\\\",2]}");
}

/* ---- Base64 and URIs ------------------------------------------------------------------------- */

static void test_base64(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"", ""},        {"f", "Zg=="},          {"fo", "Zm8="},
        {"foo", "Zm9v"}, {"foobar", "Zm9vYmFy"}, {"\xff\xfb\xf0", "//vw"},
    };
    static const char *const bad[] = {
        "Z", "Zg", "Zg=", "Z===", "====", "Zg==Zg==", "Zm8-", "Zm 8", "Zm8=\n", "=m8="};
    char room[16];
    for (size_t i = 0; i < countof(pairs); i++) {
        struct span bytes = guarded(pairs[i][0]);
        base64_write(bytes, room);
        assert_span(span_make(room, base64_size(bytes.len)), pairs[i][1]);
        assert_true(base64_is_valid(guarded(pairs[i][1])));
    }
    for (size_t i = 0; i < countof(bad); i++) {
        assert_false(base64_is_valid(guarded(bad[i])));
    }
}

static void test_uri(void **state)
{
    (void)state;
    static const char *const absolute[] = {
        "http://example.org",
        "urn:a:b",
        "mailto:a@b.c",
        "ftp://u:p@h:21/x;y?z=/?",
        "http://[::ffff:1.2.3.4]",
        "a+b-c.d1:",
        "file:///etc/x",
        "http://[v7.a:b]/",
        "http://a%20b:",
        "news:comp.a.b",
        "ldap://[2001:db8::7]/c=GB?one?x",
    };
    static const char *const relative[] = {
        "",   "/a/b",  "a",          "./a:b",         "?q", "#f", "//host:80/x",
        "..", "a#f/?", "http://a#b", "(a)*+,;=@$&'!~"};
    static const char *const none[] = {
        "a b",
        "\xc3\xa9",
        "%",
        "%2",
        "a%zz",
        "<a>",
        "a|b",
        "\"",
        "1:a",
        ":a",
        "a^b:c",
        "http://[",
        "http://[::1",
        "http://[::g]",
        "http://[]",
        "http://a:b",
        "a#b#c",
        "http://a[b]",
        "http://[::1]x",
        "http://u[@h",
        "[a]",
        "http://[v.a]",
        "a\\b",
        "{a}",
        "http://[v1.%41]",
        "//h:1:2",
    };
    for (size_t i = 0; i < countof(absolute); i++) {
        assert_true(uri_reference_is_valid(guarded(absolute[i])));
        assert_true(uri_is_absolute(guarded(absolute[i])));
    }
    for (size_t i = 0; i < countof(relative); i++) {
        assert_true(uri_reference_is_valid(guarded(relative[i])));
        assert_false(uri_is_absolute(guarded(relative[i])));
    }
    for (size_t i = 0; i < countof(none); i++) {
        if (uri_reference_is_valid(guarded(none[i]))) {
            fail_msg("%s", none[i]);
        }
        assert_false(uri_is_absolute(guarded(none[i])));
    }
}

/* ---- Events ---------------------------------------------------------------------------------- */

/* Sets one attribute as JSON and as a field. NULL, or what is wrong with it. */
static const char *set_member(const char *name, const char *value)
{
    static char room[256];
    struct cloudevent event;
    struct cloudevent_problem problem = {{NULL, 0}, NULL};
    cloudevent_init(&event);
    cloudevent_set_member(&event, span_of(name), guarded(value), room, &problem);
    return problem.reason;
}

static const char *set_field(const char *name, const char *value)
{
    struct cloudevent event;
    struct cloudevent_problem problem = {{NULL, 0}, NULL};
    cloudevent_init(&event);
    cloudevent_set_field(&event, span_of(name), guarded(value), &problem);
    return problem.reason;
}

static void test_time(void **state)
{
    (void)state;
    static const char *const good[] = {
        "2026-11-21T06:00:00Z",           "2000-02-29t00:00:00z",
        "2024-02-29T23:59:59.123456789Z", "1937-01-01T12:00:27.87+00:20",
        "1990-12-31T23:59:60Z",           "1990-12-31T15:59:60-08:00",
        "2026-01-01T00:59:60.9+01:00",    "9999-12-31T23:59:59+23:59",
        "0000-01-01T00:00:00-00:00",
    };
    static const char *const bad[] = {
        "",
        "2026-11-21",
        "2026-11-21T06:00Z",
        "2026-11-21T06:00:00",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:61Z",
        "2026-01-01T00:00:60Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00+1",
        "2026-1-01T00:00:00Z",
        "2026-01-01 00:00:00Z",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00ZZ",
        "+026-01-01T00:00:00Z",
    };
    for (size_t i = 0; i < countof(good); i++) {
        if (set_field("time", good[i]) != NULL) {
            fail_msg("%s", good[i]);
        }
    }
    for (size_t i = 0; i < countof(bad); i++) {
        if (set_field("time", bad[i]) == NULL) {
            fail_msg("%s", bad[i]);
        }
    }
}

static void test_types(void **state)
{
    (void)state;
    static const char *const good[][2] = {
        {"ext", "0"},
        {"ext", "-0"},
        {"ext", "2147483647"},
        {"ext", "-2147483648"},
        {"ext", "true"},
        {"ext", "\"\""},
        {"ext", "null"},
        {"id", "null"},
        {"data", "{\"a\":1e999}"},
        {"data_base64", "\"AQ==\""},
        {"data_base64", "\"AQ\\/=\""},
        {"id", "\"\\ud83d\\ude00\""},
    };
    static const char *const bad[][2] = {
        {"ext", "1.0"},
        {"ext", "1e2"},
        {"ext", "2147483648"},
        {"ext", "-2147483649"},
        {"ext", "{}"},
        {"ext", "[]"},
        {"ext", "10000000000000000000000"},
        {"id", "1"},
        {"id", "\"\""},
        {"id", "\"\\u0000\""},
        {"id", "\"\\u0080\""},
        {"id", "\"\\uffff\""},
        {"id", "\"\\ud800\""},
        {"id", "\"\\ufdd0\""},
        {"id", "\"\xff\""},
        {"id", "true"},
        {"Id", "\"a\""},
        {"a_b", "1"},
        {"", "1"},
        {"data_base64", "\"A\""},
        {"data_base64", "1"},
        {"specversion", "\"1\""},
        {"datacontenttype", "\"a\""},
        {"dataschema", "\"#a\""},
        {"source", "\"\\\\\""},
    };
    for (size_t i = 0; i < countof(good); i++) {
        if (set_member(good[i][0], good[i][1]) != NULL) {
            fail_msg("%s %s", good[i][0], good[i][1]);
        }
    }
    for (size_t i = 0; i < countof(bad); i++) {
        if (set_member(bad[i][0], bad[i][1]) == NULL) {
            fail_msg("%s %s", bad[i][0], bad[i][1]);
        }
    }
    assert_string_equal(set_field("data", "x"),
                        "is the name of the data itself, which is the body");
    assert_non_null(set_field("data_base64", "x"));
    assert_null(set_field("ext", "5.5"));
}

static void test_finish(void **state)
{
    (void)state;
    static const char *const names[] = {"specversion", "id", "source", "type"};
    for (size_t missing = 0; missing <= countof(names); missing++) {
        struct cloudevent event;
        struct cloudevent_problem problem;
        cloudevent_init(&event);
        for (size_t i = 0; i < countof(names); i++) {
            const char *value = i == 0 ? "1.0" : "x";
            assert_true(i == missing ||
                        cloudevent_set_field(&event, span_of(names[i]), span_of(value), &problem));
        }
        bool finished = cloudevent_finish(&event, &problem);
        assert_int_equal(finished, missing == countof(names));
        if (!finished) {
            assert_span(problem.attribute, names[missing]);
        }
    }
}

static void test_decode_field(void **state)
{
    (void)state;
    static const char *const good[][2] = {
        {"plain", "plain"}, {"a%20b%e2%82%AC", "a b\xe2\x82\xac"},
        {"\"a b\"", "a b"}, {"\"a\\\"\\\\b\"", "a\"\\b"},
        {"a\"b\"c", "abc"}, {"%2541", "%41"},
        {"\"%22\"", "\""},  {"a\\b", "a\\b"},
        {"", ""},           {"\xc3\xa9%C3%A9", "\xc3\xa9\xc3\xa9"},
    };
    static const char *const bad[] = {"\"", "\"a", "\"a\\", "%", "%4", "%4g"};
    char room[32];
    size_t len;
    for (size_t i = 0; i < countof(good); i++) {
        assert_null(cloudevent_decode_field(guarded(good[i][0]), room, &len));
        assert_span(span_make(room, len), good[i][1]);
    }
    for (size_t i = 0; i < countof(bad); i++) {
        assert_non_null(cloudevent_decode_field(guarded(bad[i]), room, &len));
    }
}

static void test_is_json(void **state)
{
    (void)state;
    assert_true(cloudevent_is_json(span_of("application/json")));
    assert_true(cloudevent_is_json(span_of("TEXT/JSON; charset=utf-8")));
    assert_true(cloudevent_is_json(span_of("a/b+Json")));
    assert_false(cloudevent_is_json(span_of("application/jsonx")));
    assert_false(cloudevent_is_json(span_of("application/x-json")));
    assert_false(cloudevent_is_json(span_of("json")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_object),   cmocka_unit_test(test_cut_array),
        cmocka_unit_test(test_cut_nothing),  cmocka_unit_test(test_unescape),
        cmocka_unit_test(test_compact),      cmocka_unit_test(test_base64),
        cmocka_unit_test(test_uri),          cmocka_unit_test(test_time),
        cmocka_unit_test(test_types),        cmocka_unit_test(test_finish),
        cmocka_unit_test(test_decode_field), cmocka_unit_test(test_is_json),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
