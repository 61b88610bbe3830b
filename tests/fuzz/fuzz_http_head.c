/*
 * Any bytes as a request head. The scan must answer the same however the bytes are cut, and a
 * request that is accepted must hold what the header promises.
 */
#include <stdlib.h>

#include "core/base/random.h"
#include "proto/http_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct scan {
    enum http_outcome outcome;
    size_t len;
    struct http_problem problem;
};

/* A block of the exact length, so that the sanitizer sees a read behind it. */
static char *exact_copy(const char *bytes, size_t len)
{
    char *copy = malloc(len == 0 ? 1 : len);
    CHECK(copy != NULL);
    if (len > 0) {
        memcpy(copy, bytes, len);
    }
    return copy;
}

/* Shows more and more of the bytes, up to `step_max` more each time; 0 shows them at once. */
static struct scan scan_in_steps(const char *bytes, size_t len, size_t limit, size_t step_max,
                                 struct random *random)
{
    struct scan scan = {0};
    size_t scanned = 0;
    size_t shown = step_max == 0 ? len : 0;
    for (;;) {
        char *copy = exact_copy(bytes, shown);
        scan.outcome = http_head_scan(copy, shown, limit, &scanned, &scan.len, &scan.problem);
        free(copy);
        CHECK(scanned <= shown);
        if (scan.outcome != HTTP_MORE || shown == len) {
            return scan;
        }
        shown = min_size(len, shown + 1 + random_below(random, step_max));
    }
}

static void check_same(const struct scan *a, const struct scan *b)
{
    CHECK(a->outcome == b->outcome);
    CHECK(a->outcome != HTTP_DONE || a->len == b->len);
    CHECK(a->outcome != HTTP_BAD || a->problem.status == b->problem.status);
    CHECK(a->outcome != HTTP_BAD || a->problem.reason == b->problem.reason);
}

static void check_inside(struct span span, const char *bytes, size_t len)
{
    CHECK(span.bytes >= bytes);
    CHECK(span.bytes + span.len <= bytes + len);
    for (size_t i = 0; i < span.len; i++) {
        uint8_t byte = (uint8_t)span.bytes[i];
        CHECK(byte == '\t' || (byte >= 0x20 && byte != 0x7f));
    }
}

static void check_request(const struct http_request *request, const char *bytes, size_t len)
{
    check_inside(request->method_text, bytes, len);
    check_inside(request->target, bytes, len);
    check_inside(request->query, bytes, len);
    CHECK(request->path.len > 0);
    CHECK(request->path.bytes[0] == '/' || span_is(request->path, "*"));
    CHECK(memchr(request->path.bytes, '?', request->path.len) == NULL);
    CHECK(request->minor_version <= 1);
    CHECK(request->minor_version == 0 || request->host.len > 0);
    CHECK(!request->chunked || !request->has_content_length);
    CHECK(request->has_content_length || request->content_length == 0);
    CHECK(request->field_count <= HTTP_FIELD_COUNT_MAX);
    for (unsigned i = 0; i < request->field_count; i++) {
        const struct http_field *field = &request->fields[i];
        CHECK(field->name.len > 0);
        check_inside(field->name, bytes, len);
        check_inside(field->value, bytes, len);
        http_field_has_token(field->value, "close");
    }
    CHECK((http_request_find(request, "Content-Length") != NULL) == request->has_content_length);
    CHECK((http_request_find(request, "Transfer-Encoding") != NULL) == request->chunked);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    struct random random;
    random_init(&random, size * 31 + (size > 0 ? data[size / 2] : 0));
    size_t limit = random_below(&random, 4) == 0 ? 1 + random_below(&random, size + 8) : 8192;

    struct scan whole = scan_in_steps(bytes, size, limit, 0, &random);
    struct scan pieces = scan_in_steps(bytes, size, limit, 1 + size / 3, &random);
    struct scan dribble = scan_in_steps(bytes, size, limit, 1, &random);
    check_same(&whole, &pieces);
    check_same(&whole, &dribble);

    struct http_request request;
    struct http_problem problem = {0};
    if (whole.outcome == HTTP_DONE) {
        CHECK(whole.len <= size && whole.len <= limit);
        char *copy = exact_copy(bytes, whole.len);
        if (http_head_parse(copy, whole.len, &request, &problem) == HTTP_DONE) {
            check_request(&request, copy, whole.len);
        } else {
            CHECK(problem.status >= 400 && problem.reason != NULL);
        }
        free(copy);
    }
    /* The parser alone must not need the scanner to be safe. */
    if (size > 0) {
        char *copy = exact_copy(bytes, size);
        bool accepted = http_head_parse(copy, size, &request, &problem) == HTTP_DONE;
        CHECK(!accepted || limit < 8192 || size > limit ||
              (whole.outcome == HTTP_DONE && whole.len == size));
        free(copy);
    }
    return 0;
}
