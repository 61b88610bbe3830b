/* Content-Type and Accept fields, good and bad, at a guard page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "proto/media_type.h"
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

static void test_parse(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        const char *essence;
        const char *parameters;
        enum media_charset charset;
    } cases[] = {
        {"text/plain", "text/plain", "", MEDIA_CHARSET_NONE},
        {"TEXT/Plain", "TEXT/Plain", "", MEDIA_CHARSET_NONE},
        {"\t text/plain \t", "text/plain", "", MEDIA_CHARSET_NONE},
        {"application/cloudevents+json", "application/cloudevents+json", "", MEDIA_CHARSET_NONE},
        {"text/plain;charset=utf-8", "text/plain", "charset=utf-8", MEDIA_CHARSET_UTF8},
        {"text/plain; Charset=UTF-8", "text/plain", " Charset=UTF-8", MEDIA_CHARSET_UTF8},
        {"text/plain ; charset=\"utf-8\" ", "text/plain", " charset=\"utf-8\"", MEDIA_CHARSET_UTF8},
        {"text/plain;charset=utf8", "text/plain", "charset=utf8", MEDIA_CHARSET_UTF8},
        {"text/plain;charset=iso-8859-1", "text/plain", "charset=iso-8859-1", MEDIA_CHARSET_OTHER},
        {"text/plain;charset=\"\"", "text/plain", "charset=\"\"", MEDIA_CHARSET_OTHER},
        {"text/plain;charset=utf-16", "text/plain", "charset=utf-16", MEDIA_CHARSET_OTHER},
        {"text/plain;a=b;charset=utf-8;c=d", "text/plain", "a=b;charset=utf-8;c=d",
         MEDIA_CHARSET_UTF8},
        {"text/plain;a=\";charset=x\";b=c", "text/plain", "a=\";charset=x\";b=c",
         MEDIA_CHARSET_NONE},
        {"text/plain;a=\"\\\"\"", "text/plain", "a=\"\\\"\"", MEDIA_CHARSET_NONE},
        {"text/plain;", "text/plain", "", MEDIA_CHARSET_NONE},
        {"text/plain; ; ;a=b;", "text/plain", " ; ;a=b;", MEDIA_CHARSET_NONE},
        {"text/plain;xcharset=x", "text/plain", "xcharset=x", MEDIA_CHARSET_NONE},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        struct media_type type;
        assert_int_equal(media_type_parse(guarded(cases[i].value), &type), 0);
        assert_true(span_is(type.essence, cases[i].essence));
        assert_true(span_is(type.parameters, cases[i].parameters));
        assert_int_equal(type.charset, cases[i].charset);
    }
}

static void test_parse_refuses(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        " ",
        "text",
        "text/",
        "/plain",
        "/",
        "text /plain",
        "text/ plain",
        "text/plain x",
        "text/plain, text/html",
        "text/plain;charset",
        "text/plain;charset=",
        "text/plain;=utf-8",
        "text/plain;charset =utf-8",
        "text/plain;charset= utf-8",
        "text/plain;charset=\"utf-8",
        "text/plain;charset=\"utf-8\\",
        "text/plain;charset=\"utf-8\\\"",
        "text/plain;charset=utf-8;charset=utf-8",
        "text/plain;charset=utf-8;charset=x",
        "text/plain;a=b c",
        "text/plain;a=\"b\"c",
        "te(xt/plain",
        "text/pl\xc3\xa9",
        "text/plain;a=(",
        ";charset=utf-8",
    };
    for (size_t i = 0; i < countof(wrong); i++) {
        struct media_type type;
        if (media_type_parse(guarded(wrong[i]), &type) != -EINVAL) {
            print_error("accepted: %s\n", wrong[i]);
            fail();
        }
    }
    struct media_type type;
    assert_int_equal(media_type_parse(span_make(NULL, 0), &type), -EINVAL);
}

static void test_is(void **state)
{
    (void)state;
    struct media_type type;
    assert_int_equal(media_type_parse(guarded("Application/JSON;charset=utf-8"), &type), 0);
    assert_true(media_type_is(&type, "application/json"));
    assert_false(media_type_is(&type, "application/jso"));
    assert_false(media_type_is(&type, "application/json5"));
    assert_false(media_type_is(&type, "text/json"));
}

static void test_accepts(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        bool accepts;
        bool by_name;
    } cases[] = {
        {"", true, false},
        {"text/event-stream", true, true},
        {"TEXT/Event-Stream", true, true},
        {"*/*", true, false},
        {"text/*", true, false},
        {"Text/*", true, false},
        {"text/html", false, false},
        {"text/event", false, false},
        {"text/event-streams", false, false},
        {"tex/*", false, false},
        {"texts/*", false, false},
        {"application/*", false, false},
        {"*/event-stream", false, false},
        {"text/html, text/event-stream", true, true},
        {"text/html,application/xhtml+xml,*/*;q=0.8", true, false},
        {"text/html,,text/event-stream,", true, true},
        {",", false, false},
        {"text/event-stream;q=0", false, false},
        {"text/event-stream;q=0.000", false, false},
        {"text/event-stream; Q=0.0", false, false},
        {"text/event-stream;q=0.001", true, true},
        {"text/event-stream;q=0.", false, false},
        {"text/event-stream;q=1.000", true, true},
        {"text/event-stream;charset=utf-8;q=0.5", true, true},
        {"text/event-stream;q=0.5;ext=1", true, true},
        /* The most specific decides, in either order. */
        {"text/event-stream;q=0, */*", false, false},
        {"*/*, text/event-stream;q=0", false, false},
        {"*/*;q=0, text/event-stream", true, true},
        {"text/event-stream, */*;q=0", true, true},
        {"text/*;q=0, */*", false, false},
        {"*/*, text/*;q=0", false, false},
        {"*/*;q=0, text/*;q=0.1", true, false},
        {"text/event-stream;q=0, text/event-stream;a=b", true, true},
        {"text/event-stream;a=b, text/event-stream;q=0", true, true},
        /* What has not the form is skipped. */
        {"text/event-stream;q=2", false, false},
        {"text/event-stream;q=1.1", false, false},
        {"text/event-stream;q=0.0001", false, false},
        {"text/event-stream;q=.5", false, false},
        {"text/event-stream;q=-1", false, false},
        {"text/event-stream;q=", false, false},
        {"text/event-stream;q", false, false},
        {"text/event-stream;q=\"0.5\"", true, true},
        {"text/event-stream x", false, false},
        {"text, */*", true, false},
        {"text/html;a=\"x,text/event-stream\"", false, false},
        {"text/html;a=\"x,\\\",\", text/event-stream", true, true},
        {"text/html;a=\"x, text/event-stream", false, false},
        {"*", false, false},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        struct span accept = guarded(cases[i].accept);
        if (media_accepts(accept, "text/event-stream") != cases[i].accepts ||
            media_accepts_by_name(accept, "text/event-stream") != cases[i].by_name) {
            print_error("Accept: %s\n", cases[i].accept);
            fail();
        }
    }
    assert_true(media_accepts(span_make(NULL, 0), "text/html"));
    assert_false(media_accepts_by_name(span_make(NULL, 0), "text/html"));
}

static void test_accepts_coding(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        bool gzip;
    } cases[] = {
        {"", false},
        {"gzip", true},
        {"GZip", true},
        {"gzip, deflate, br, zstd", true},
        {"br , gzip", true},
        {"br", false},
        {"gzipped", false},
        {"x-gzip", false},
        {"identity", false},
        {"*", true},
        {"*;q=0", false},
        {"gzip;q=0", false},
        {"gzip;q=0.001", true},
        {"gzip;q=0, *", false},
        {"*, gzip;q=0", false},
        {"*;q=0, gzip", true},
        {"gzip;q=0, gzip", true},
        {"gzip;q=2", false},
        {"gzip x", false},
        {"gz ip", false},
        {",,gzip,", true},
        {"\"gzip\"", false},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        if (media_accepts_coding(guarded(cases[i].accept), "gzip") != cases[i].gzip) {
            print_error("Accept-Encoding: %s\n", cases[i].accept);
            fail();
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_refuses),
        cmocka_unit_test(test_is),
        cmocka_unit_test(test_accepts),
        cmocka_unit_test(test_accepts_coding),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
