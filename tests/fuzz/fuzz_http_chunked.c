/* Any bytes as a chunked body: whole, in pieces and byte by byte must come to the same. */
#include <stdlib.h>

#include "core/base/random.h"
#include "proto/http_chunked.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct decoded {
    enum http_outcome outcome;
    struct http_problem problem;
    size_t consumed;
    size_t body_len;
    char *body;
};

static void feed_piece(struct http_chunked *chunked, const uint8_t *bytes, size_t len,
                       struct decoded *decoded)
{
    /* A block of the exact length, so that the sanitizer sees a read behind it. */
    char *piece = malloc(len);
    CHECK(piece != NULL);
    memcpy(piece, bytes, len);
    size_t at = 0;
    while (at < len && decoded->outcome == HTTP_MORE) {
        size_t consumed = 0;
        struct span body = {NULL, 0};
        decoded->outcome =
            http_chunked_feed(chunked, piece + at, len - at, &consumed, &body, &decoded->problem);
        if (decoded->outcome == HTTP_BAD) {
            break;
        }
        CHECK(consumed > 0 && consumed <= len - at);
        CHECK(body.bytes >= piece + at && body.bytes + body.len <= piece + at + consumed);
        memcpy(decoded->body + decoded->body_len, body.bytes, body.len);
        decoded->body_len += body.len;
        decoded->consumed += consumed;
        at += consumed;
    }
    free(piece);
}

/* Pieces of up to `step_max` bytes; 0 means all at once. The caller frees the body. */
static struct decoded decode(const uint8_t *data, size_t size, size_t step_max,
                             struct random *random)
{
    struct decoded decoded = {.outcome = HTTP_MORE, .body = malloc(size + 1)};
    CHECK(decoded.body != NULL);
    struct http_chunked chunked;
    http_chunked_init(&chunked);
    for (size_t at = 0; at < size && decoded.outcome == HTTP_MORE;) {
        size_t len = step_max == 0 ? size : 1 + random_below(random, step_max);
        len = min_size(len, size - at);
        feed_piece(&chunked, data + at, len, &decoded);
        at += len;
    }
    return decoded;
}

static void check_same(const struct decoded *a, const struct decoded *b)
{
    CHECK(a->outcome == b->outcome);
    CHECK(a->body_len == b->body_len);
    CHECK(memcmp(a->body, b->body, a->body_len) == 0);
    CHECK(a->outcome == HTTP_BAD || a->consumed == b->consumed);
    CHECK(a->outcome != HTTP_BAD || a->problem.status == b->problem.status);
    CHECK(a->outcome != HTTP_BAD || a->problem.reason == b->problem.reason);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct random random;
    random_init(&random, size * 31 + (size > 0 ? data[size / 2] : 0));
    struct decoded whole = decode(data, size, 0, &random);
    struct decoded pieces = decode(data, size, 1 + size / 3, &random);
    struct decoded dribble = decode(data, size, 1, &random);
    check_same(&whole, &pieces);
    check_same(&whole, &dribble);
    CHECK(whole.outcome != HTTP_MORE || whole.consumed == size);
    free(whole.body);
    free(pieces.body);
    free(dribble.body);
    return 0;
}
