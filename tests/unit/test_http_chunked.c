/*
 * Chunked bodies: transcripts cut at every point, every refusal with its status, and random bodies
 * in random chunks that come in random pieces, against what was encoded. Always at a guard page.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/base/random.h"
#include "proto/http_chunked.h"
#include "tests/unit/guard.h"

enum { WIRE_LEN_MAX = 32 * 1024, BODY_LEN_MAX = 4096 };

/* What came of feeding some bytes: the same for every way of cutting them. */
struct decoded {
    enum http_outcome outcome;
    struct http_problem problem;
    size_t consumed;
    size_t body_len;
    char body[WIRE_LEN_MAX];
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

static void decoded_append(struct decoded *decoded, struct span data)
{
    assert_true(data.len <= sizeof(decoded->body) - decoded->body_len);
    if (data.len > 0) {
        memcpy(decoded->body + decoded->body_len, data.bytes, data.len);
    }
    decoded->body_len += data.len;
}

/* Feeds one piece until it is used up or the body has ended. */
static void feed_piece(struct http_chunked *chunked, const char *bytes, size_t len,
                       struct decoded *decoded)
{
    const char *piece = guard_put(&guard, bytes, len);
    size_t at = 0;
    do {
        size_t consumed = 0;
        struct span data = {0};
        decoded->outcome =
            http_chunked_feed(chunked, piece + at, len - at, &consumed, &data, &decoded->problem);
        if (decoded->outcome == HTTP_BAD) {
            return;
        }
        assert_true(consumed <= len - at);
        assert_true(consumed > 0 || at == len);
        assert_true(data.len <= consumed);
        if (data.len > 0) {
            assert_true(data.bytes >= piece + at && data.bytes + data.len <= piece + at + consumed);
        }
        decoded_append(decoded, data);
        at += consumed;
    } while (decoded->outcome == HTTP_MORE && at < len);
    decoded->consumed += at;
}

/* The first `cut` bytes in one piece, the others `step` at a time. */
static void decode(const char *bytes, size_t len, size_t cut, size_t step, struct decoded *decoded)
{
    struct http_chunked chunked;
    http_chunked_init(&chunked);
    memset(decoded, 0, offsetof(struct decoded, body));
    feed_piece(&chunked, bytes, cut, decoded);
    for (size_t at = cut; at < len && decoded->outcome == HTTP_MORE;) {
        size_t piece_len = min_size(step, len - at);
        feed_piece(&chunked, bytes + at, piece_len, decoded);
        at += piece_len;
    }
}

static void assert_same(const struct decoded *a, const struct decoded *b)
{
    assert_int_equal(a->outcome, b->outcome);
    assert_int_equal(a->body_len, b->body_len);
    assert_memory_equal(a->body, b->body, a->body_len);
    if (a->outcome == HTTP_BAD) {
        assert_int_equal(a->problem.status, b->problem.status);
        assert_string_equal(a->problem.reason, b->problem.reason);
    } else {
        assert_int_equal(a->consumed, b->consumed);
    }
}

/* The result is valid until the next call. */
static const struct decoded *decode_every_way(const char *bytes, size_t len)
{
    static struct decoded whole;
    static struct decoded split;
    decode(bytes, len, len, 1, &whole);
    for (size_t cut = 0; cut <= len; cut++) {
        decode(bytes, len, cut, len, &split);
        assert_same(&whole, &split);
    }
    decode(bytes, len, 0, 1, &split);
    assert_same(&whole, &split);
    return &whole;
}

static void assert_body(const char *wire, const char *body)
{
    const struct decoded *decoded = decode_every_way(wire, strlen(wire));
    if (decoded->outcome != HTTP_DONE) {
        print_error("outcome %d: %s\n", (int)decoded->outcome, wire);
        fail();
    }
    assert_int_equal(decoded->consumed, strlen(wire));
    assert_int_equal(decoded->body_len, strlen(body));
    assert_memory_equal(decoded->body, body, decoded->body_len);
}

static void test_bodies(void **state)
{
    (void)state;
    assert_body("0\r\n\r\n", "");
    assert_body("0000000000000000\r\n\r\n", "");
    assert_body("5\r\nhello\r\n0\r\n\r\n", "hello");
    assert_body("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world");
    assert_body("00000000000000a\r\n0123456789\r\n0\r\n\r\n", "0123456789");
    assert_body("A\r\n0123456789\r\n1\r\nx\r\n00\r\n\r\n", "0123456789x");
    assert_body("4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n");
    assert_body("5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n");
}

static void test_extensions(void **state)
{
    (void)state;
    assert_body("1;a\r\nx\r\n0\r\n\r\n", "x");
    assert_body("1;a=b\r\nx\r\n0;c=d\r\n\r\n", "x");
    assert_body("1;a=\"\\x\\ \\\t\\\xc3\"\r\nx\r\n0\r\n\r\n", "x");
    assert_body("1;a=b;c;d=\"\"\r\nx\r\n0\r\n\r\n", "x");
    assert_body("1;a=\"q; \t\\\"\\\\ \xc3\xa9\";b\r\nx\r\n0\r\n\r\n", "x");
}

static void test_trailers(void **state)
{
    (void)state;
    assert_body("0\r\nA: b\r\n\r\n", "");
    assert_body("0\r\nA:\r\nB:\t c\xc3\xa9 \r\n\r\n", "");
    assert_body("1\r\nx\r\n0\r\nDigest: abc\r\nA-Much-Longer-Name-Than-Is-Kept: 1\r\n\r\n", "x");
    /* Only the whole names are refused. */
    assert_body("0\r\nContent-Length-X: 1\r\nX-Host: 1\r\nTransfer-Encodings: 1\r\nHos: 1\r\n\r\n",
                "");
}

static void test_what_follows_is_left(void **state)
{
    (void)state;
    static const char wire[] = "1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\n";
    const struct decoded *decoded = decode_every_way(wire, sizeof(wire) - 1);
    assert_int_equal(decoded->outcome, HTTP_DONE);
    assert_int_equal(decoded->consumed, strlen("1\r\nx\r\n0\r\n\r\n"));
}

static void test_every_beginning_is_more(void **state)
{
    (void)state;
    static const char wire[] = "5;a=\"b\"\r\nhello\r\n0\r\nA: b\r\n\r\n";
    for (size_t len = 0; len < sizeof(wire) - 1; len++) {
        const struct decoded *decoded = decode_every_way(wire, len);
        assert_int_equal(decoded->outcome, HTTP_MORE);
        assert_int_equal(decoded->consumed, len);
    }
}

static void test_huge_chunk(void **state)
{
    (void)state;
    static const char wire[] = "ffffffffffffffff\r\nabc";
    const struct decoded *decoded = decode_every_way(wire, sizeof(wire) - 1);
    assert_int_equal(decoded->outcome, HTTP_MORE);
    assert_int_equal(decoded->body_len, 3);

    struct http_chunked chunked;
    http_chunked_init(&chunked);
    size_t consumed;
    struct span data;
    struct http_problem problem;
    assert_int_equal(http_chunked_feed(&chunked, wire, 18, &consumed, &data, &problem), HTTP_MORE);
    assert_true(chunked.chunk_left == UINT64_MAX);
}

static int refusal_status(const char *wire, size_t len)
{
    const struct decoded *decoded = decode_every_way(wire, len);
    if (decoded->outcome != HTTP_BAD) {
        return 0;
    }
    size_t reason_len = strlen(decoded->problem.reason);
    assert_true(reason_len > 10);
    assert_int_equal(decoded->problem.reason[reason_len - 1], '.');
    return decoded->problem.status;
}

static const char *const refused_wires[] = {
    "\r\n",
    "\n",
    " 5\r\n",
    "+5\r\n",
    "-5\r\n",
    "g\r\n",
    ";a\r\n",
    "x5\r\n",
    "0x5\r\n",
    "5h\r\n",
    "5 \r\n",
    "5\t\r\n",
    "5 ;a\r\n",
    "5,5\r\n",
    "5.0\r\n",
    /* Too many digits, even when they are zeros. */
    "00000000000000005\r\n",
    "fffffffffffffffff\r\n",
    /* Line ends. */
    "5\nhello",
    "5\rhello",
    "5\r\r\n",
    "5\r\nhello\n",
    "5\r\nhello\r5",
    "5\r\nhello0\r\n",
    "5\r\nhello5\r\n",
    "5\r\nhello world\r\n",
    "5\r\nhell\r\n0\r\n\r\n",
    "0\r\n\n",
    "0\n\r\n",
    "0\r\n\r0",
    "5\r\nhello\r\n\r\n",
    /* Extensions. */
    "5;\r\n",
    "5;;a\r\n",
    "5; a\r\n",
    "5;a \r\n",
    "5;a =b\r\n",
    "5;a= b\r\n",
    "5;a=\r\n",
    "5;a=;b\r\n",
    "5;=b\r\n",
    "5;a=b=c\r\n",
    "5;a=\"b\r\n",
    "5;a=\"b\"c\r\n",
    "5;a=b\"c\"\r\n",
    "5;a\n",
    "5;a=\"\x01\"",
    "5;a=\"\\\r\n",
    "5;a\x7f",
    "5;a=\"b\" \r\n",
    "5;(\r\n",
    "5;a=(\r\n",
    /* Trailers. */
    "0\r\n a: b\r\n",
    "0\r\n: b\r\n",
    "0\r\na b: c\r\n",
    "0\r\na : b\r\n",
    "0\r\na\r\n",
    "0\r\na: b\n",
    "0\r\na: b\rc",
    "0\r\na: \x01",
    "0\r\na: b\r\n c\r\n",
    "0\r\n(: b\r\n",
    "0\r\nContent-Length: 5\r\n",
    "0\r\ncontent-LENGTH:",
    "0\r\nTransfer-Encoding: chunked\r\n",
    "0\r\nHost: a\r\n",
    "0\r\nA: b\r\nhost: c\r\n",
    "0\r\nGET / HTTP/1.1\r\n",
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < countof(refused_wires); i++) {
        int status = refusal_status(refused_wires[i], strlen(refused_wires[i]));
        if (status != 400) {
            print_error("%d for %s\n", status, refused_wires[i]);
            fail();
        }
    }
    assert_int_equal(refusal_status("5\0\r\n", 4), 400);
    assert_int_equal(refusal_status("0\r\na:\0\r\n", 8), 400);
}

/* An encoded body, and the body that is in it. */
struct wire {
    size_t len;
    size_t body_len;
    char bytes[WIRE_LEN_MAX];
    char body[BODY_LEN_MAX];
};

__attribute__((format(printf, 2, 3))) static void wire_printf(struct wire *wire, const char *format,
                                                              ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t room = sizeof(wire->bytes) - wire->len;
    int len = vsnprintf(wire->bytes + wire->len, room, format, arguments);
    va_end(arguments);
    assert_true(len >= 0 && (size_t)len < room);
    wire->len += (size_t)len;
}

/* Writes a run of one letter. */
static void wire_put_run(struct wire *wire, char letter, size_t len)
{
    assert_true(len <= sizeof(wire->bytes) - wire->len);
    memset(wire->bytes + wire->len, letter, len);
    wire->len += len;
}

/* Extensions of several chunks count together. */
static void wire_fill_extensions(struct wire *wire, size_t extension_len)
{
    size_t first_len = extension_len / 2;
    wire->len = 0;
    wire_printf(wire, "1;");
    wire_put_run(wire, 'a', first_len - 1);
    wire_printf(wire, "\r\nx\r\n0;");
    wire_put_run(wire, 'b', extension_len - first_len - 1);
    wire_printf(wire, "\r\n\r\n");
}

static void wire_fill_trailers(struct wire *wire, size_t trailer_len)
{
    wire->len = 0;
    wire_printf(wire, "0\r\n");
    for (size_t rest = trailer_len; rest > 0;) {
        size_t line_len = rest > 200 ? 100 : rest;
        wire_printf(wire, "a:");
        wire_put_run(wire, 'b', line_len - 4);
        wire_printf(wire, "\r\n");
        rest -= line_len;
    }
    wire_printf(wire, "\r\n");
}

static void test_limits(void **state)
{
    (void)state;
    static struct wire wire;
    /* The carriage return behind each extension counts, the semicolon before it does not. */
    wire_fill_extensions(&wire, HTTP_CHUNK_EXTENSION_LEN_MAX);
    assert_int_equal(decode_every_way(wire.bytes, wire.len)->outcome, HTTP_DONE);
    wire_fill_extensions(&wire, HTTP_CHUNK_EXTENSION_LEN_MAX + 1);
    assert_int_equal(refusal_status(wire.bytes, wire.len), 413);

    /* The empty line at the end counts with one byte. */
    wire_fill_trailers(&wire, HTTP_TRAILER_LEN_MAX - 1);
    assert_int_equal(decode_every_way(wire.bytes, wire.len)->outcome, HTTP_DONE);
    wire_fill_trailers(&wire, HTTP_TRAILER_LEN_MAX);
    assert_int_equal(refusal_status(wire.bytes, wire.len), 431);
}

/* A random body in random chunks, with some extensions and trailers. */
static void wire_put_chunk(struct wire *wire, struct random *random)
{
    static const char *const extensions[] = {"", "", "", ";a", ";a=b", ";a=\"b\\\"; c\""};
    size_t chunk_len = 1 + random_below(random, random_below(random, 4) == 0 ? 300 : 8);
    wire_printf(wire, "%0*zx%s\r\n", (int)random_below(random, 17), chunk_len,
                extensions[random_below(random, countof(extensions))]);
    for (size_t i = 0; i < chunk_len; i++) {
        char byte = (char)random_next(random);
        wire->bytes[wire->len++] = byte;
        wire->body[wire->body_len++] = byte;
    }
    wire_printf(wire, "\r\n");
}

static void wire_fill(struct wire *wire, struct random *random)
{
    wire->len = 0;
    wire->body_len = 0;
    for (size_t i = random_below(random, 12); i > 0; i--) {
        wire_put_chunk(wire, random);
    }
    wire_printf(wire, "0\r\n");
    for (size_t i = random_below(random, 3); i > 0; i--) {
        wire_printf(wire, "T-%zu: %zu\r\n", i, i);
    }
    wire_printf(wire, "\r\n");
}

static void decode_in_random_pieces(const struct wire *wire, struct random *random,
                                    struct decoded *decoded)
{
    struct http_chunked chunked;
    http_chunked_init(&chunked);
    memset(decoded, 0, offsetof(struct decoded, body));
    decoded->outcome = HTTP_MORE;
    size_t piece_len_max = 1 + random_below(random, 200);
    for (size_t at = 0; at < wire->len && decoded->outcome == HTTP_MORE;) {
        size_t piece_len = min_size(random_below(random, piece_len_max + 1), wire->len - at);
        feed_piece(&chunked, wire->bytes + at, piece_len, decoded);
        at += piece_len;
    }
}

static uint64_t seed_choose(void)
{
    const char *given = getenv("SPATE_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    print_message("SPATE_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static void test_random_bodies(void **state)
{
    (void)state;
    static struct wire wire;
    static struct decoded decoded;
    struct random random;
    random_init(&random, seed_choose());
    for (int round = 0; round < 3000; round++) {
        wire_fill(&wire, &random);
        decode_in_random_pieces(&wire, &random, &decoded);
        assert_int_equal(decoded.outcome, HTTP_DONE);
        assert_int_equal(decoded.consumed, wire.len);
        assert_int_equal(decoded.body_len, wire.body_len);
        assert_memory_equal(decoded.body, wire.body, wire.body_len);
    }
}

/* A damaged body may be refused or not, but always in the same way. */
static void test_random_damage(void **state)
{
    (void)state;
    static const char likely_bytes[] = "\r\n0;=\" :a\t\\";
    static struct wire wire;
    static struct decoded whole;
    static struct decoded split;
    struct random random;
    random_init(&random, seed_choose());
    unsigned outcome_counts[HTTP_BAD + 1] = {0};
    for (int round = 0; round < 3000; round++) {
        wire_fill(&wire, &random);
        size_t at = random_below(&random, wire.len);
        wire.bytes[at] = likely_bytes[random_below(&random, sizeof(likely_bytes))];
        decode(wire.bytes, wire.len, wire.len, 1, &whole);
        decode_in_random_pieces(&wire, &random, &split);
        assert_same(&whole, &split);
        outcome_counts[whole.outcome]++;
    }
    assert_true(outcome_counts[HTTP_DONE] > 0);
    assert_true(outcome_counts[HTTP_BAD] > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_extensions),
        cmocka_unit_test(test_trailers),
        cmocka_unit_test(test_what_follows_is_left),
        cmocka_unit_test(test_every_beginning_is_more),
        cmocka_unit_test(test_huge_chunk),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_random_bodies),
        cmocka_unit_test(test_random_damage),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
