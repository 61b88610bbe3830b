/*
 * Transcripts of request heads. Each is scanned whole, in two pieces cut at every point, and byte
 * by byte, always against a guard page; all of these must agree to the byte and to the reason.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "proto/http_char.h"
#include "proto/http_head.h"
#include "tests/unit/guard.h"

enum { HEAD_LEN_MAX = 4096 };

struct scan {
    enum http_outcome outcome;
    size_t len;
    struct http_problem problem;
};

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

/* Shows the scanner the first `cut` bytes, then one step more each time, up to all of them. */
static struct scan scan_from(const char *bytes, size_t len, size_t cut, size_t step, size_t limit)
{
    struct scan scan = {0};
    size_t scanned = 0;
    for (size_t shown = cut;; shown = min_size(shown + step, len)) {
        const char *at = guard_put(&guard, bytes, shown);
        scan.outcome = http_head_scan(at, shown, limit, &scanned, &scan.len, &scan.problem);
        assert_true(scanned <= shown);
        if (scan.outcome != HTTP_MORE || shown == len) {
            return scan;
        }
    }
}

static void assert_same_scan(const struct scan *a, const struct scan *b)
{
    assert_int_equal(a->outcome, b->outcome);
    if (a->outcome == HTTP_DONE) {
        assert_int_equal(a->len, b->len);
    }
    if (a->outcome == HTTP_BAD) {
        assert_int_equal(a->problem.status, b->problem.status);
        assert_string_equal(a->problem.reason, b->problem.reason);
    }
}

static struct scan scan_every_way(const char *bytes, size_t len, size_t limit)
{
    struct scan whole = scan_from(bytes, len, len, 1, limit);
    for (size_t cut = 0; cut <= len; cut++) {
        struct scan split = scan_from(bytes, len, cut, len, limit);
        assert_same_scan(&whole, &split);
    }
    struct scan dribbled = scan_from(bytes, len, 0, 1, limit);
    assert_same_scan(&whole, &dribbled);
    return whole;
}

/* The request is valid until the next call. */
static const struct http_request *parse_ok_len(const char *bytes, size_t len)
{
    static struct http_request request;
    struct scan scan = scan_every_way(bytes, len, HEAD_LEN_MAX);
    if (scan.outcome == HTTP_BAD) {
        print_error("scan refused %s: %s\n", bytes, scan.problem.reason);
    }
    assert_int_equal(scan.outcome, HTTP_DONE);
    assert_int_equal(scan.len, len);
    struct http_problem problem = {0};
    memset(&request, 0xa5, sizeof(request));
    const char *at = guard_put(&guard, bytes, len);
    if (http_head_parse(at, len, &request, &problem) != HTTP_DONE) {
        print_error("parse refused %s: %s\n", bytes, problem.reason);
        fail();
    }
    return &request;
}

static const struct http_request *parse_ok(const char *head)
{
    return parse_ok_len(head, strlen(head));
}

/* What the client would be told; 0 if nothing is wrong so far. */
static int status_of(const char *bytes, size_t len)
{
    struct scan scan = scan_every_way(bytes, len, HEAD_LEN_MAX);
    if (scan.outcome == HTTP_MORE) {
        return 0;
    }
    struct http_problem problem = scan.problem;
    if (scan.outcome == HTTP_DONE) {
        struct http_request request;
        const char *at = guard_put(&guard, bytes, scan.len);
        if (http_head_parse(at, scan.len, &request, &problem) == HTTP_DONE) {
            return 0;
        }
    }
    /* A sentence fit to be shown. */
    size_t reason_len = strlen(problem.reason);
    assert_true(reason_len > 10);
    assert_int_equal(problem.reason[reason_len - 1], '.');
    return problem.status;
}

static void assert_span(struct span span, const char *expected)
{
    if (!span_is(span, expected)) {
        print_error("'%.*s' is not '%s'\n", (int)span.len, span.bytes, expected);
        fail();
    }
}

static void test_simple_get(void **state)
{
    (void)state;
    const struct http_request *request =
        parse_ok("GET /sse/news%2Fa?last_event_id=7&b=? HTTP/1.1\r\n"
                 "Host: example.org:8080\r\n"
                 "Accept:text/event-stream\r\n"
                 "X-Empty:\r\n"
                 "X-Odd: \t a \t b\xc3\xa9 \t \r\n"
                 "\r\n");
    assert_int_equal(request->method, HTTP_GET);
    assert_span(request->method_text, "GET");
    assert_span(request->target, "/sse/news%2Fa?last_event_id=7&b=?");
    assert_span(request->path, "/sse/news%2Fa");
    assert_span(request->query, "last_event_id=7&b=?");
    assert_span(request->host, "example.org:8080");
    assert_int_equal(request->minor_version, 1);
    assert_true(request->keep_alive);
    assert_false(request->chunked);
    assert_false(request->has_content_length);
    assert_false(request->expect_continue);
    assert_int_equal(request->content_length, 0);
    assert_int_equal(request->field_count, 4);
    assert_span(http_request_find(request, "ACCEPT")->value, "text/event-stream");
    assert_span(http_request_find(request, "x-empty")->value, "");
    assert_span(http_request_find(request, "x-odd")->value, "a \t b\xc3\xa9");
    assert_null(http_request_find(request, "X-Od"));
    assert_null(http_request_find(request, "Content-Length"));
}

static void test_find_returns_the_first(void **state)
{
    (void)state;
    const struct http_request *request =
        parse_ok("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nx: 2\r\n\r\n");
    assert_span(http_request_find(request, "x")->value, "1");
}

static void test_methods(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum http_method method;
    } cases[] = {
        {"GET", HTTP_GET},        {"HEAD", HTTP_HEAD},      {"POST", HTTP_POST},
        {"PUT", HTTP_PUT},        {"DELETE", HTTP_DELETE},  {"OPTIONS", HTTP_OPTIONS},
        {"PATCH", HTTP_PATCH},    {"get", HTTP_OTHER},      {"GETS", HTTP_OTHER},
        {"PROPFIND", HTTP_OTHER}, {"M-SEARCH", HTTP_OTHER}, {"!#$%&'*+-.^_`|~", HTTP_OTHER},
        {"G", HTTP_OTHER},        {"PRI", HTTP_OTHER},      {"UPDATEREDIRECTREF", HTTP_OTHER},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        char head[128];
        snprintf(head, sizeof(head), "%s /x HTTP/1.1\r\nHost: a\r\n\r\n", cases[i].text);
        const struct http_request *request = parse_ok(head);
        assert_int_equal(request->method, cases[i].method);
        assert_span(request->method_text, cases[i].text);
    }
}

static void test_targets(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *path;
        const char *query;
        const char *host;
    } cases[] = {
        {"GET / HTTP/1.1", "/", "", "field"},
        {"GET /? HTTP/1.1", "/", "", "field"},
        {"GET /?? HTTP/1.1", "/", "?", "field"},
        {"GET //a//b HTTP/1.1", "//a//b", "", "field"},
        {"GET /a/../b/. HTTP/1.1", "/a/../b/.", "", "field"},
        {"GET /a?b=/c?d HTTP/1.1", "/a", "b=/c?d", "field"},
        {"GET /%2f%2F%00%fF HTTP/1.1", "/%2f%2F%00%fF", "", "field"},
        {"GET /a|b{c}^`\"<>[] HTTP/1.1", "/a|b{c}^`\"<>[]", "", "field"},
        {"GET /a?\\ HTTP/1.1", "/a", "\\", "field"},
        {"GET /http://a/ HTTP/1.1", "/http://a/", "", "field"},
        {"OPTIONS * HTTP/1.1", "*", "", "field"},
        {"OPTIONS /x HTTP/1.1", "/x", "", "field"},
        {"GET http://other/a?b HTTP/1.1", "/a", "b", "other"},
        {"GET HTTPS://Other:443/a HTTP/1.1", "/a", "", "Other:443"},
        {"GET http://other HTTP/1.1", "/", "", "other"},
        {"GET http://other?q HTTP/1.1", "/", "q", "other"},
        {"GET http://[::1]:80/ HTTP/1.1", "/", "", "[::1]:80"},
        {"OPTIONS http://other HTTP/1.1", "*", "", "other"},
        {"OPTIONS http://other? HTTP/1.1", "/", "", "other"},
        {"OPTIONS http://other/ HTTP/1.1", "/", "", "other"},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        char head[256];
        snprintf(head, sizeof(head), "%s\r\nHost: field\r\n\r\n", cases[i].line);
        const struct http_request *request = parse_ok(head);
        assert_span(request->path, cases[i].path);
        assert_span(request->query, cases[i].query);
        assert_span(request->host, cases[i].host);
    }
}

static void test_keep_alive(void **state)
{
    (void)state;
    static const struct {
        const char *version;
        const char *fields;
        bool keep_alive;
    } cases[] = {
        {"1.1", "", true},
        {"1.1", "Connection: close\r\n", false},
        {"1.1", "connection: CLOSE\r\n", false},
        {"1.1", "Connection: upgrade, close\r\n", false},
        {"1.1", "Connection: upgrade,\t close \t, x\r\n", false},
        {"1.1", "Connection: upgrade\r\nConnection: close\r\n", false},
        {"1.1", "Connection: closed, not-close\r\n", true},
        {"1.1", "Connection: keep-alive\r\n", true},
        {"1.1", "Connection: keep-alive, close\r\n", false},
        {"1.1", "Connection:\r\n", true},
        {"1.1", "Keep-Alive: timeout=5\r\nX-Connection: close\r\n", true},
        {"1.0", "", false},
        {"1.0", "Connection: Keep-Alive\r\n", true},
        {"1.0", "Connection: x\r\nConnection: keep-alive\r\n", true},
        {"1.0", "Connection: keep-alive, close\r\n", false},
        {"1.0", "Connection: keepalive\r\n", false},
        {"1.1", "Connection: Upgrade\r\nUpgrade: h2c\r\n", true},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        char head[256];
        snprintf(head, sizeof(head), "GET / HTTP/%s\r\nHost: a\r\n%s\r\n", cases[i].version,
                 cases[i].fields);
        assert_int_equal(parse_ok(head)->keep_alive, cases[i].keep_alive);
    }
}

static void test_framing(void **state)
{
    (void)state;
    const struct http_request *request =
        parse_ok("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0042 \r\n\r\n");
    assert_true(request->has_content_length);
    assert_false(request->chunked);
    assert_int_equal(request->content_length, 42);

    request = parse_ok("POST / HTTP/1.1\r\nHost: a\r\ncontent-length:0\r\n\r\n");
    assert_true(request->has_content_length);
    assert_int_equal(request->content_length, 0);

    request =
        parse_ok("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n");
    assert_true(request->content_length == UINT64_MAX);

    request = parse_ok("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n");
    assert_true(request->chunked);
    assert_false(request->has_content_length);

    request = parse_ok("POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n");
    assert_int_equal(request->content_length, 5);
    assert_int_equal(request->minor_version, 0);
    assert_int_equal(request->host.len, 0);
}

static void test_expect(void **state)
{
    (void)state;
    assert_true(parse_ok("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                         "Expect: 100-Continue\r\n\r\n")
                    ->expect_continue);
    assert_true(parse_ok("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                         "Transfer-Encoding: chunked\r\n\r\n")
                    ->expect_continue);
    /* Nothing to wait for. */
    assert_false(parse_ok("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n"
                          "Expect: 100-continue\r\n\r\n")
                     ->expect_continue);
    assert_false(
        parse_ok("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n")->expect_continue);
    assert_false(parse_ok("POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\n"
                          "Expect: 100-continue\r\n\r\n")
                     ->expect_continue);
}

static const char *const hosts_good[] = {
    "a",
    "example.org",
    "EXAMPLE.org.",
    "a:80",
    "a:",
    "a:0",
    "a:00080",
    "a:65535",
    "127.0.0.1",
    "127.0.0.1:8080",
    "[::1]",
    "[::1]:443",
    "[2001:db8::1]",
    "[::ffff:127.0.0.1]",
    "a_b-c~d",
    "a!$&'()*+;=",
    "xn--bcher-kva.example",
    "[1:2:3:4:5:6:7:8]:1",
    "[::1]:",
    "[0000:0000:0000:0000:0000:ffff:255.255.255.255]",
};

static const char *const hosts_wrong[] = {
    "",
    ":80",
    "a:65536",
    "a:8a",
    "a:-1",
    "a: 80",
    "a b",
    "a,b",
    "a,",
    "user@a",
    "a/b",
    "a?b",
    "a#b",
    "a:80:80",
    "[::1",
    "[]",
    "[::1]a",
    "[::1]80",
    "[:::1]",
    "[1.2.3.4]",
    "[::1%25lo]",
    "[v1.a]",
    "::1",
    "a\"b",
    "a%41",
    "a\\b",
    "a<b>",
    "a\xc3\xa9",
    "http://a",
    "a:999999",
    "a:18446744073709551696",
    "[1:2:3:4:5:6:7:8:9]",
    "[",
    "]",
    "a[b]",
    "a|b",
    "a^b",
    "a{}",
    "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]",
    "[0000:0000:0000:0000:0000:ffff:255.255.255.2555]",
};

static void test_hosts(void **state)
{
    (void)state;
    char head[256];
    for (size_t i = 0; i < countof(hosts_good); i++) {
        snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", hosts_good[i]);
        assert_span(parse_ok(head)->host, hosts_good[i]);
        snprintf(head, sizeof(head), "GET http://%s/ HTTP/1.1\r\nHost: x\r\n\r\n", hosts_good[i]);
        assert_span(parse_ok(head)->host, hosts_good[i]);
    }
    for (size_t i = 0; i < countof(hosts_wrong); i++) {
        snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", hosts_wrong[i]);
        if (status_of(head, strlen(head)) != 400) {
            print_error("Host: %s\n", hosts_wrong[i]);
            fail();
        }
    }
}

struct refusal {
    int status;
    const char *head;
};

static void assert_refusals(const struct refusal *refusals, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int status = status_of(refusals[i].head, strlen(refusals[i].head));
        if (status != refusals[i].status) {
            print_error("%d, not %d, for: %s\n", status, refusals[i].status, refusals[i].head);
            fail();
        }
    }
}

static const struct refusal refused_request_lines[] = {
    {400, " GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "\tGET / HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET /  HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"},
    {400, "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET /\r\n\r\n"},
    {400, "GET / \r\n\r\n"},
    {400, "GET \r\n\r\n"},
    {400, "GET\r\n"},
    {400, "(GET) / HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "G\xc3\x89T / HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "{\"data\":1}"},
    {400, "\x16\x03\x01\x02"},
    {400, "\x80"},
    {400, "\r\n\r\n\r\n\r\n\r\n"},
    {400, "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET / http/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET / Http/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET / HTTP/1\r\nHost: a\r\n\r\n"},
    {400, "GET / HTTP/11\r\nHost: a\r\n\r\n"},
    {400, "GET / HTTP/1.10\r\nHost: a\r\n\r\n"},
    {400, "GET / HTTP/01.1\r\nHost: a\r\n\r\n"},
    {400, "GET / HTTP/1,1\r\nHost: a\r\n\r\n"},
    {400, "GET / HTTP /1.1\r\nHost: a\r\n\r\n"},
    {400, "GET / HTTPS/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET / HTTP/x.1\r\nHost: a\r\n\r\n"},
    {505, "GET / HTTP/0.9\r\nHost: a\r\n\r\n"},
    {505, "GET / HTTP/1.2\r\nHost: a\r\n\r\n"},
    {505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"},
    {505, "GET / HTTP/3.0\r\nHost: a\r\n\r\n"},
    {505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
    {501, "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"},
    {501, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
    {400, "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET a HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET ?a HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET /a?b#c HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET /a\x7f HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET /% HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET /%4g HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET /%%41 HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET /?a=%zz HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET http:/a/ HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET http:// HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET http://a:b/ HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET http://a\\b/ HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET ws://a/ HTTP/1.1\r\nHost: a\r\n\r\n"},
    {400, "GET http://a/ HTTP/1.1\r\n\r\n"},
};

static void test_refused_request_lines(void **state)
{
    (void)state;
    assert_refusals(refused_request_lines, countof(refused_request_lines));
}

static const struct refusal refused_fields[] = {
    {400, "GET / HTTP/1.1\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"},
    {400, "GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n Host: a\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost\t: a\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\nX(: b\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\nX\xc3\xa9: b\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\n\"X\": b\r\n\r\n"},
    {400, "GET / HTTP/1.1\nHost: a\n\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\n\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\n\rX"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\nX: \x0b\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[0m\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5.0\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \"5\"\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"
          "\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n"
          "\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nContent-Length: 5\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
          "Transfer-Encoding: chunked\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
          "Transfer-Encoding: identity\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;a=b\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked foo\r\n\r\n"},
    {400, "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {400, "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"},
    {501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"},
    {501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"},
    {501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n"},
    {501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"},
    {501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n"
          "Transfer-Encoding: chunked\r\n\r\n"},
    {417, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 200-ok\r\n\r\n"},
    {417, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect:\r\n\r\n"},
    {417, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue, x\r\n\r\n"},
};

static void test_refused_fields(void **state)
{
    (void)state;
    assert_refusals(refused_fields, countof(refused_fields));
}

static void test_nul_is_refused_at_once(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "", "GET", "GET /", "GET / HTTP/1.1\r\nHost: a", "GET / HTTP/1.1\r\nHost: a\r\nX", "\r\n"};
    for (size_t i = 0; i < countof(pieces); i++) {
        /* The terminator comes along. */
        assert_int_equal(status_of(pieces[i], strlen(pieces[i]) + 1), 400);
    }
}

/* Every byte at four places of a head: who is let through is spelled out anew, not by the table. */
static void test_every_byte(void **state)
{
    (void)state;
    static const char *const formats[] = {"G?T /x HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n",
                                          "GET /?x HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n",
                                          "GET /x HTTP/1.1\r\nHost: a\r\nX?X: y\r\n\r\n",
                                          "GET /x HTTP/1.1\r\nHost: a\r\nX: y?y\r\n\r\n"};
    for (unsigned byte = 0; byte < 256; byte++) {
        bool alnum = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
                     (byte >= 'A' && byte <= 'Z');
        bool token = alnum || (byte != 0 && strchr("!#$%&'*+-.^_`|~", (int)byte) != NULL);
        bool legal[] = {
            token,
            byte > 0x20 && byte < 0x7f && byte != '#' && byte != '%' && byte != '\\',
            token || byte == ':',
            byte == '\t' || (byte >= 0x20 && byte != 0x7f),
        };
        for (size_t i = 0; i < countof(formats); i++) {
            char head[64];
            size_t len = strlen(formats[i]);
            memcpy(head, formats[i], len);
            *(char *)memchr(head, '?', len) = (char)byte;
            assert_int_equal(status_of(head, len), legal[i] ? 0 : 400);
        }
    }
}

static void test_leading_empty_lines(void **state)
{
    (void)state;
    char head[128] = "";
    size_t lead_len = 0;
    for (int i = 0; i < HTTP_LEADING_LINE_COUNT_MAX; i++) {
        memcpy(head + lead_len, "\r\n", 2);
        lead_len += 2;
        snprintf(head + lead_len, sizeof(head) - lead_len,
                 "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
        const struct http_request *request = parse_ok(head);
        assert_span(request->path, "/x");
        assert_int_equal(request->content_length, 3);
    }
    /* Alone they are no request, and not the end of one. */
    assert_int_equal(status_of("\r\n\r\n", 4), 0);
    struct scan scan = scan_every_way("\r\n\r\n", 4, HEAD_LEN_MAX);
    assert_int_equal(scan.outcome, HTTP_MORE);
}

/*
 * A dribbled head costs one pass: behind the method, what has been scanned is not looked at again,
 * or it would be seen here that it has been spoilt.
 */
static void test_nothing_is_scanned_twice(void **state)
{
    (void)state;
    static const char head[] = "GET /12345678 HTTP/1.1\r\nHost: a\r\nX: yz\r\n\r\n";
    size_t len = sizeof(head) - 1;
    char bytes[sizeof(head)];
    size_t scanned = 0;
    size_t head_len = 0;
    struct http_problem problem = {0};
    for (size_t shown = 1; shown < len; shown++) {
        bytes[shown - 1] = head[shown - 1];
        assert_int_equal(http_head_scan(bytes, shown, HEAD_LEN_MAX, &scanned, &head_len, &problem),
                         HTTP_MORE);
        /* All but a carriage return at the end, and but for the method before its space has come.
         */
        assert_true(scanned + 1 >= shown || shown < 4);
        /* An empty line is known by the four bytes that end with it. */
        if (scanned > 3) {
            memset(bytes, 'x', scanned - 3);
            memset(bytes + 1, '\n', scanned - 4);
        }
    }
    bytes[len - 1] = head[len - 1];
    assert_int_equal(http_head_scan(bytes, len, HEAD_LEN_MAX, &scanned, &head_len, &problem),
                     HTTP_DONE);
    assert_int_equal(head_len, len);
}

static void test_pipelined(void **state)
{
    (void)state;
    static const char bytes[] = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
                                "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    struct scan scan = scan_every_way(bytes, sizeof(bytes) - 1, HEAD_LEN_MAX);
    assert_int_equal(scan.outcome, HTTP_DONE);
    assert_int_equal(scan.len, (sizeof(bytes) - 1) / 2);
}

static void test_too_long(void **state)
{
    (void)state;
    static const char head[] = "GET /12345678 HTTP/1.1\r\nHost: a\r\nX: yz\r\n\r\n";
    size_t len = sizeof(head) - 1;
    size_t line_len = strlen("GET /12345678 HTTP/1.1\r\n");
    for (size_t limit = 1; limit <= len + 2; limit++) {
        struct scan scan = scan_every_way(head, len, limit);
        if (limit >= len) {
            assert_int_equal(scan.outcome, HTTP_DONE);
            continue;
        }
        assert_int_equal(scan.outcome, HTTP_BAD);
        assert_int_equal(scan.problem.status, limit < line_len ? 414 : 431);
    }
    /* A head that would fit is waited for, one that cannot any more is not. */
    struct scan scan = scan_every_way(head, len - 1, len);
    assert_int_equal(scan.outcome, HTTP_MORE);
    scan = scan_every_way(head, len - 1, len - 1);
    assert_int_equal(scan.problem.status, 431);
}

static void test_field_count(void **state)
{
    (void)state;
    char head[HEAD_LEN_MAX];
    size_t len = (size_t)snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nHost: a\r\n");
    for (unsigned i = 1; i < HTTP_FIELD_COUNT_MAX; i++) {
        len += (size_t)snprintf(head + len, sizeof(head) - len, "X-%u: %u\r\n", i, i);
    }
    memcpy(head + len, "\r\n", 2);
    const struct http_request *request = parse_ok_len(head, len + 2);
    assert_int_equal(request->field_count, HTTP_FIELD_COUNT_MAX);
    assert_span(http_request_find(request, "x-99")->value, "99");

    memcpy(head + len, "Y: z\r\n\r\n", 8);
    assert_int_equal(status_of(head, len + 8), 431);
}

/* The parser is safe without the scanner: every beginning of a head, and a head with more behind.
 */
static void test_parse_alone(void **state)
{
    (void)state;
    static const char head[] =
        "\r\nGET http://[::1]:8/%41?a=%42 HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    size_t len = sizeof(head) - 1;
    struct http_request request;
    struct http_problem problem;
    for (size_t cut = 1; cut < len; cut++) {
        const char *at = guard_put(&guard, head, cut);
        assert_int_equal(http_head_parse(at, cut, &request, &problem), HTTP_BAD);
        assert_int_equal(problem.status, 400);
    }
    assert_int_equal(http_head_parse(head, len, &request, &problem), HTTP_DONE);
    assert_int_equal(http_head_parse(head, len + 1, &request, &problem), HTTP_BAD);

    static const char long_method[] =
        "OPTIONSOPTIONSOPTIONSOPTIONSOPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n";
    len = sizeof(long_method) - 1;
    assert_int_equal(http_head_parse(long_method, len, &request, &problem), HTTP_BAD);
    assert_int_equal(problem.status, 501);
    static const char many_lines[] = "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    len = sizeof(many_lines) - 1;
    assert_int_equal(http_head_parse(many_lines, len, &request, &problem), HTTP_BAD);
}

static void test_has_token(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        bool has;
    } cases[] = {
        {"close", true},    {"CLOSE", true},          {" close ", true},  {"a,close", true},
        {"close,a", true},  {"a, \tclose\t,b", true}, {"", false},        {",", false},
        {"closed", false},  {"clos", false},          {"a close", false}, {"close;x", false},
        {"x-close", false}, {",,close", true},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        size_t len = strlen(cases[i].value);
        struct span value = {guard_put(&guard, cases[i].value, len), len};
        assert_int_equal(http_field_has_token(value, "close"), cases[i].has);
    }
    assert_false(http_field_has_token(span_make(NULL, 0), "close"));
}

/* Eight bytes at a time says the same as one at a time, for every byte at every place. */
static void test_runs_of_text(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 20; len++) {
        for (size_t at = 0; at < len; at++) {
            for (unsigned byte = 0; byte < 256; byte++) {
                char text[20];
                memset(text, at % 2 == 0 ? '\t' : 0xff, len);
                text[at / 2] = ' ';
                text[at] = (char)byte;
                const char *guarded = guard_put(&guard, text, len);
                assert_int_equal(http_char_run_text(guarded, len),
                                 http_char_run(guarded, len, HTTP_CHAR_TEXT));
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simple_get),
        cmocka_unit_test(test_find_returns_the_first),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_framing),
        cmocka_unit_test(test_expect),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_refused_request_lines),
        cmocka_unit_test(test_refused_fields),
        cmocka_unit_test(test_nul_is_refused_at_once),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_leading_empty_lines),
        cmocka_unit_test(test_nothing_is_scanned_twice),
        cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_field_count),
        cmocka_unit_test(test_parse_alone),
        cmocka_unit_test(test_has_token),
        cmocka_unit_test(test_runs_of_text),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
