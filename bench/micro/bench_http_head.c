/* A request head, as it comes in one piece. */
#include "bench/micro/micro.h"
#include "proto/http_head.h"

static const char publish[] = "POST /publish/news HTTP/1.1\r\nHost: localhost:8080\r\n"
                              "User-Agent: curl/7.88.1\r\nAccept: */*\r\n"
                              "Content-Type: text/plain\r\nContent-Length: 160\r\n\r\n";

static const char browser[] =
    "GET /sse?channel=news&channel=weather HTTP/1.1\r\nHost: example.org\r\n"
    "Connection: keep-alive\r\nsec-ch-ua: \"Chromium\";v=\"124\", \"Not-A.Brand\";v=\"99\"\r\n"
    "Accept: text/event-stream\r\nCache-Control: no-cache\r\nsec-ch-ua-mobile: ?0\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/124.0.0.0 Safari/537.36\r\nsec-ch-ua-platform: \"Linux\"\r\n"
    "Origin: https://example.com\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\n"
    "Sec-Fetch-Dest: empty\r\nReferer: https://example.com/prices\r\n"
    "Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-GB,en;q=0.9\r\n"
    "Last-Event-ID: 0001m3f-00000000002a\r\n\r\n";

static void parse(const char *bytes, size_t len, uint64_t count)
{
    static struct http_request request;
    for (uint64_t i = 0; i < count; i++) {
        struct http_problem problem;
        size_t scanned = 0;
        size_t head_len = 0;
        CHECK(http_head_scan(bytes, len, 16384, &scanned, &head_len, &problem) == HTTP_DONE);
        CHECK(http_head_parse(bytes, head_len, &request, &problem) == HTTP_DONE);
        micro_keep(&request);
    }
}

static void run_publish(void *world, uint64_t count)
{
    (void)world;
    parse(publish, sizeof(publish) - 1, count);
}

static void run_browser(void *world, uint64_t count)
{
    (void)world;
    parse(browser, sizeof(browser) - 1, count);
}

static void run_find(void *world, uint64_t count)
{
    struct http_request *request = world;
    for (uint64_t i = 0; i < count; i++) {
        /* One that is the last, one that is not there. */
        micro_keep(http_request_find(request, "Last-Event-ID"));
        micro_keep(http_request_find(request, "Authorization"));
    }
}

static void *set_up_find(void)
{
    static struct http_request request;
    struct http_problem problem;
    CHECK(http_head_parse(browser, sizeof(browser) - 1, &request, &problem) == HTTP_DONE);
    return &request;
}

const struct micro micro_http_head[] = {
    {.name = "http_head/publish", .run = run_publish, .batch = 100},
    {.name = "http_head/browser", .run = run_browser, .batch = 100},
    {.name = "http_head/find_two_fields", .set_up = set_up_find, .run = run_find, .batch = 100},
    {.name = NULL},
};
