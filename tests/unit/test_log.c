/* The log: its two formats, hostile values, the rate limit, full rings, full pipes and many
 * threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/random.h"
#include "core/base/utf8.h"
#include "hub/log.h"
#include "hub/log_text.h"

/* 2024-02-29T12:34:56.789Z */
enum { SOME_MS = 789 };
static const uint64_t some_seconds = 1709210096;

static uint64_t fake_now_ms;

static uint64_t fake_now(void *owner)
{
    (void)owner;
    return fake_now_ms;
}

struct fixture {
    struct log *log;
    struct log_ring *ring;
    struct buffer text;
};

static struct log_options options_by_hand(enum log_format format)
{
    return (struct log_options){.format = format,
                                .level = LOG_LEVEL_INFO,
                                .fd = -1,
                                .ring_count = 1,
                                .by_hand = true,
                                .now_ms = fake_now};
}

static void fixture_open(struct fixture *fixture, const struct log_options *options)
{
    fake_now_ms = some_seconds * 1000 + SOME_MS;
    fixture->log = log_new(options);
    assert_non_null(fixture->log);
    fixture->ring = log_get_ring(fixture->log, 0);
    buffer_init(&fixture->text, 16 * 1024 * 1024);
}

static void fixture_close(struct fixture *fixture)
{
    assert_int_equal(log_stop(fixture->log, 0), 0);
    buffer_fini(&fixture->text);
}

/* What was logged since the last call, terminated. */
static const char *drained(struct fixture *fixture)
{
    fixture->text.len = 0;
    assert_int_equal(log_drain(fixture->log, &fixture->text), 0);
    buffer_append(&fixture->text, "", 1);
    assert_false(fixture->text.failed);
    return fixture->text.bytes;
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++) {
        count++;
    }
    return count;
}

static void test_logfmt(void **state)
{
    (void)state;
    struct fixture fixture;
    struct log_options options = options_by_hand(LOG_FORMAT_LOGFMT);
    fixture_open(&fixture, &options);
    log_line(fixture.ring, LOG_LEVEL_INFO, "publish", LOG_TEXT("channel", "news"),
             LOG_U64("bytes", UINT64_MAX), LOG_I64("delta", INT64_MIN), LOG_MS("took_ms", 1.2345),
             LOG_MS("less_ms", -0.0004), LOG_TEXT("empty", ""), LOG_TEXT("words", "a b"),
             LOG_TEXT("pair", "a=b"), LOG_TEXT("quote", "\"\\"));
    assert_string_equal(drained(&fixture),
                        "time=2024-02-29T12:34:56.789Z level=info msg=publish channel=news "
                        "bytes=18446744073709551615 delta=-9223372036854775808 took_ms=1.235 "
                        "less_ms=0.000 empty=\"\" words=\"a b\" pair=\"a=b\" quote=\"\\\"\\\\\"\n");
    log_line(fixture.ring, LOG_LEVEL_ERROR, "no fields");
    assert_string_equal(drained(&fixture),
                        "time=2024-02-29T12:34:56.789Z level=error msg=\"no fields\"\n");
    assert_string_equal(drained(&fixture), "");
    fixture_close(&fixture);
}

static void test_json(void **state)
{
    (void)state;
    struct fixture fixture;
    struct log_options options = options_by_hand(LOG_FORMAT_JSON);
    fixture_open(&fixture, &options);
    log_line(fixture.ring, LOG_LEVEL_WARN, "slow client", LOG_TEXT("client", "a\"b\\c\n\x01"),
             LOG_U64("bytes", 7), LOG_MS("lag_ms", 0.0 / 0.0),
             LOG_STR("nothing", span_make(NULL, 0)));
    assert_string_equal(drained(&fixture),
                        "{\"time\":\"2024-02-29T12:34:56.789Z\",\"level\":\"warn\",\"msg\":\"slow "
                        "client\",\"client\":\"a\\\"b\\\\c\\n\\u0001\",\"bytes\":7,"
                        "\"lag_ms\":\"unknown\",\"nothing\":\"\"}\n");
    fixture_close(&fixture);
}

static void test_time(void **state)
{
    (void)state;
    static const struct {
        uint64_t seconds;
        const char *text;
    } cases[] = {
        {0, "time=1970-01-01T00:00:00.789Z"},
        {951782400, "time=2000-02-29T00:00:00.789Z"},
        {951868799, "time=2000-02-29T23:59:59.789Z"},
        {951868800, "time=2000-03-01T00:00:00.789Z"},
        {1735689599, "time=2024-12-31T23:59:59.789Z"},
        {1735689600, "time=2025-01-01T00:00:00.789Z"},
        {4107542400, "time=2100-03-01T00:00:00.789Z"},
        {4107542399, "time=2100-02-28T23:59:59.789Z"},
        {13569465600, "time=2400-01-01T00:00:00.789Z"},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        struct log_text text;
        log_text_begin(&text, LOG_FORMAT_LOGFMT, cases[i].seconds * 1000 + SOME_MS, LOG_LEVEL_INFO,
                       "x");
        assert_memory_equal(text.bytes, cases[i].text, strlen(cases[i].text));
    }
}

/* Nothing that a peer sends makes a second line, a forged field or a terminal sequence. */
static void test_injection(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        const char *written;
    } cases[] = {
        {"x\ntime=2024 level=error msg=forged", "\"x\\ntime=2024 level=error msg=forged\""},
        {"x\r\ny\tz", "\"x\\r\\ny\\tz\""},
        {"\x1b[2J", "\"\\u001b[2J\""},
        {"a\x7f", "\"a\\u007f\""},
        {"\xc2\x9b"
         "31m",
         "\"\\u009b31m\""},
        {"\xc2\xa0", "\"\xc2\xa0\""},
        {"\xff\xfe", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xe2\x80\xa8|\xe2\x80\xa9", "\"\\u2028|\\u2029\""},
        {"\xe2\x80\xae"
         "abc\xe2\x81\xa6",
         "\"\\u202eabc\\u2066\""},
        {"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80", "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\""},
        {"a\" forged=\"b", "\"a\\\" forged=\\\"b\""},
        {"a forged=b", "\"a forged=b\""},
        {"\\", "\"\\\\\""},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        struct log_text text;
        log_text_begin(&text, LOG_FORMAT_LOGFMT, 0, LOG_LEVEL_INFO, "x");
        size_t start = text.len;
        struct log_field field = LOG_TEXT("k", cases[i].value);
        log_text_field(&text, &field);
        log_text_end(&text);
        char expected[128];
        snprintf(expected, sizeof(expected), " k=%s\n", cases[i].written);
        assert_int_equal(text.len - start, strlen(expected));
        assert_memory_equal(text.bytes + start, expected, strlen(expected));
    }
    struct log_text text;
    log_text_begin(&text, LOG_FORMAT_LOGFMT, 0, LOG_LEVEL_INFO, "x");
    struct log_field nul = LOG_STR("k", span_make("a\0b", 3));
    log_text_field(&text, &nul);
    log_text_end(&text);
    assert_memory_equal(text.bytes + text.len - 13, "k=\"a\\u0000b\"\n", 13);
}

/* Random bytes in every field: each JSON line parses and each text is valid, of one line, in
 * bounds. */
static void test_random_values(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, 77);
    static char bytes[700];
    for (unsigned round = 0; round < 5000; round++) {
        struct log_text text;
        enum log_format format = round % 2 == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_LOGFMT;
        log_text_begin(&text, format, random_next(&random) >> 20, LOG_LEVEL_DEBUG, "event");
        size_t fields = random_below(&random, 12);
        for (size_t i = 0; i < fields; i++) {
            size_t len = random_below(&random, sizeof(bytes));
            /* Rounds alternate between any byte and bytes that UTF-8 sequences are made of. */
            for (size_t j = 0; j < len; j++) {
                uint64_t value = random_next(&random);
                bytes[j] = (char)(round % 3 == 0     ? value
                                  : (value & 1) != 0 ? 0xc0 | (value >> 8)
                                                     : 0x80 | (value >> 9));
            }
            struct log_field field = LOG_STR("key", span_make(bytes, len));
            log_text_field(&text, &field);
        }
        log_text_end(&text);
        assert_true(text.len <= LOG_TEXT_BYTES_MAX);
        assert_true(utf8_is_valid(span_make(text.bytes, text.len)));
        assert_ptr_equal(memchr(text.bytes, '\n', text.len), text.bytes + text.len - 1);
        if (format == LOG_FORMAT_JSON) {
            json_t *parsed = json_loadb(text.bytes, text.len, JSON_ALLOW_NUL, NULL);
            assert_true(json_is_object(parsed));
            json_decref(parsed);
        }
    }
}

static void test_long_values(void **state)
{
    (void)state;
    static char bytes[8192];
    memset(bytes, 'a', sizeof(bytes));
    struct log_text text;
    log_text_begin(&text, LOG_FORMAT_JSON, 0, LOG_LEVEL_INFO, "x");
    struct log_field field = LOG_STR("k", span_make(bytes, sizeof(bytes)));
    log_text_field(&text, &field);
    assert_false(text.truncated);
    assert_memory_equal(text.bytes + text.len - 5, "a\xe2\x80\xa6\"", 5);
    for (unsigned i = 0; i < 20; i++) {
        log_text_field(&text, &field);
    }
    log_text_end(&text);
    json_t *parsed = json_loadb(text.bytes, text.len, JSON_ALLOW_NUL, NULL);
    assert_true(json_is_true(json_object_get(parsed, "truncated")));
    json_decref(parsed);

    /* The cut does not fall into a character. */
    memcpy(bytes + LOG_VALUE_BYTES_MAX - 1, "\xc3\xbc", 2);
    log_text_begin(&text, LOG_FORMAT_JSON, 0, LOG_LEVEL_INFO, "x");
    log_text_field(&text, &field);
    assert_memory_equal(text.bytes + text.len - 5, "a\xe2\x80\xa6\"", 5);
}

static void test_level(void **state)
{
    (void)state;
    struct fixture fixture;
    struct log_options options = options_by_hand(LOG_FORMAT_LOGFMT);
    fixture_open(&fixture, &options);
    log_line(fixture.ring, LOG_LEVEL_DEBUG, "hidden");
    assert_false(log_is_on(fixture.ring, LOG_LEVEL_DEBUG));
    assert_string_equal(drained(&fixture), "");
    log_set_level(fixture.log, LOG_LEVEL_DEBUG);
    log_line(fixture.ring, LOG_LEVEL_DEBUG, "shown");
    assert_int_equal(count_of(drained(&fixture), "msg=shown"), 1);
    log_set_level(fixture.log, LOG_LEVEL_ERROR);
    log_line(fixture.ring, LOG_LEVEL_WARN, "hidden");
    assert_string_equal(drained(&fixture), "");
    fixture_close(&fixture);
}

static void test_rate_limit(void **state)
{
    (void)state;
    struct fixture fixture;
    struct log_options options = options_by_hand(LOG_FORMAT_LOGFMT);
    options.burst = 10;
    fixture_open(&fixture, &options);
    for (unsigned i = 0; i < 25; i++) {
        log_line(fixture.ring, LOG_LEVEL_INFO, "connect");
        log_line(fixture.ring, LOG_LEVEL_INFO, i % 5 == 0 ? "rare" : "publish");
    }
    const char *text = drained(&fixture);
    assert_int_equal(count_of(text, "msg=connect"), 10);
    assert_int_equal(count_of(text, "msg=publish"), 10);
    assert_int_equal(count_of(text, "msg=rare"), 5);
    assert_int_equal(count_of(text, "suppressed"), 0);
    /* A tenth of a second earns one line, which tells the others. */
    fake_now_ms += 100;
    log_line(fixture.ring, LOG_LEVEL_INFO, "connect");
    log_line(fixture.ring, LOG_LEVEL_INFO, "connect");
    assert_non_null(strstr(drained(&fixture), "msg=connect suppressed=15\n"));
    /* A clock set back gives nothing, and set forward no more than a burst. */
    fake_now_ms -= 3600 * 1000;
    log_line(fixture.ring, LOG_LEVEL_INFO, "connect");
    assert_string_equal(drained(&fixture), "");
    fake_now_ms += 2 * 3600 * 1000;
    for (unsigned i = 0; i < 25; i++) {
        log_line(fixture.ring, LOG_LEVEL_INFO, "connect");
    }
    text = drained(&fixture);
    assert_int_equal(count_of(text, "msg=connect"), 10);
    assert_int_equal(count_of(text, "msg=connect suppressed=2\n"), 1);
    fixture_close(&fixture);
}

/* More kinds than buckets share some; nothing breaks and nothing is lost without a number. */
static void test_many_kinds(void **state)
{
    (void)state;
    static char names[100][8];
    struct fixture fixture;
    struct log_options options = options_by_hand(LOG_FORMAT_LOGFMT);
    fixture_open(&fixture, &options);
    for (unsigned i = 0; i < 100; i++) {
        snprintf(names[i], sizeof(names[i]), "e%u", i);
        log_event(fixture.ring, LOG_LEVEL_INFO, names[i], NULL, 0);
    }
    assert_int_equal(count_of(drained(&fixture), "\n"), 100);
    fixture_close(&fixture);
}

static void test_full_ring(void **state)
{
    (void)state;
    struct fixture fixture;
    struct log_options options = options_by_hand(LOG_FORMAT_LOGFMT);
    options.ring_bytes = 4096;
    options.burst = 100000;
    fixture_open(&fixture, &options);
    unsigned written = 0;
    while (log_dropped_count(fixture.log) < 3) {
        log_line(fixture.ring, LOG_LEVEL_INFO, "fill", LOG_U64("n", written));
        written++;
    }
    const char *text = drained(&fixture);
    assert_int_equal(count_of(text, "msg=fill"), written - 3);
    assert_non_null(strstr(text, "level=warn msg=\"log lines dropped\" count=3\n"));
    assert_string_equal(drained(&fixture), "");
    /* The ring wraps around many times without losing or mixing a byte. */
    for (unsigned i = 0; i < 1000; i++) {
        log_line(fixture.ring, LOG_LEVEL_INFO, "wrap", LOG_U64("n", i * 1234567U));
        char expected[128];
        snprintf(expected, sizeof(expected),
                 "time=2024-02-29T12:34:56.789Z level=info msg=wrap n=%u\n", i * 1234567U);
        assert_string_equal(drained(&fixture), expected);
    }
    fixture_close(&fixture);
}

/* The threaded tests */

enum { THREAD_COUNT = 4, LINES_PER_THREAD = 20000 };

struct producer {
    pthread_t thread;
    struct log_ring *ring;
    uint64_t number;
};

static void *producer_run(void *argument)
{
    struct producer *producer = argument;
    for (uint64_t i = 0; i < LINES_PER_THREAD; i++) {
        log_line(producer->ring, LOG_LEVEL_INFO, "line", LOG_U64("thread", producer->number),
                 LOG_U64("n", i));
    }
    return NULL;
}

/* Reads a pipe to its end, counting lines and checking that each thread's numbers only grow. */
struct reader {
    pthread_t thread;
    int fd;
    uint64_t lines;
    uint64_t dropped;
    uint64_t suppressed;
    bool orderly;
};

static uint64_t number_after(const char *line, const char *key)
{
    const char *at = strstr(line, key);
    return at == NULL ? 0 : strtoull(at + strlen(key), NULL, 10);
}

static void reader_line(struct reader *reader, const char *line, uint64_t *next)
{
    reader->dropped += strstr(line, "log lines dropped") != NULL ? number_after(line, "count=") : 0;
    reader->suppressed += number_after(line, "suppressed=");
    if (strstr(line, "msg=line ") == NULL) {
        return;
    }
    uint64_t thread = number_after(line, "thread=");
    uint64_t n = number_after(line, " n=");
    reader->orderly = reader->orderly && thread < THREAD_COUNT && n >= next[thread];
    if (thread < THREAD_COUNT) {
        next[thread] = n + 1;
    }
    reader->lines++;
}

static void *reader_run(void *argument)
{
    struct reader *reader = argument;
    uint64_t next[THREAD_COUNT] = {0};
    FILE *file = fdopen(reader->fd, "r");
    char *line = NULL;
    size_t size = 0;
    reader->orderly = file != NULL;
    while (file != NULL && getline(&line, &size, file) > 0) {
        reader_line(reader, line, next);
    }
    free(line);
    if (file != NULL) {
        fclose(file);
    }
    return NULL;
}

/* Every line arrives whole and in order, or is counted. */
static void run_threads(uint32_t burst, uint32_t ring_bytes, struct reader *reader)
{
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    struct log_options options = {.level = LOG_LEVEL_INFO,
                                  .fd = pipe_fds[1],
                                  .ring_count = THREAD_COUNT,
                                  .ring_bytes = ring_bytes,
                                  .burst = burst};
    struct log *log = log_new(&options);
    assert_non_null(log);
    *reader = (struct reader){.fd = pipe_fds[0]};
    assert_int_equal(pthread_create(&reader->thread, NULL, reader_run, reader), 0);
    struct producer producers[THREAD_COUNT];
    for (uint32_t i = 0; i < THREAD_COUNT; i++) {
        producers[i] = (struct producer){.ring = log_get_ring(log, i), .number = i};
        assert_int_equal(pthread_create(&producers[i].thread, NULL, producer_run, &producers[i]),
                         0);
    }
    for (uint32_t i = 0; i < THREAD_COUNT; i++) {
        assert_int_equal(pthread_join(producers[i].thread, NULL), 0);
    }
    assert_int_equal(log_stop(log, 60000), 0);
    close(pipe_fds[1]);
    assert_int_equal(pthread_join(reader->thread, NULL), 0);
    assert_true(reader->orderly);
    assert_int_equal(reader->lines + reader->dropped + reader->suppressed,
                     THREAD_COUNT * LINES_PER_THREAD);
}

static void test_threads(void **state)
{
    (void)state;
    struct reader reader;
    run_threads(1000000000, 4 * 1024 * 1024, &reader);
    assert_int_equal(reader.lines, THREAD_COUNT * LINES_PER_THREAD);
}

static void test_threads_with_small_rings(void **state)
{
    (void)state;
    struct reader reader;
    run_threads(1000000000, 4096, &reader);
    assert_true(reader.lines > 0);
}

static void test_threads_with_rate_limit(void **state)
{
    (void)state;
    struct reader reader;
    run_threads(100, 0, &reader);
    assert_true(reader.lines >= THREAD_COUNT * 100);
    assert_true(reader.suppressed > 0);
}

/* Fills a pipe until it takes no byte more. */
static void pipe_fill(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    assert_true(flags >= 0);
    assert_int_equal(fcntl(fd, F_SETFL, flags | O_NONBLOCK), 0);
    char block[4096];
    memset(block, 10, sizeof(block));
    while (write(fd, block, sizeof(block)) > 0) {
    }
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(fcntl(fd, F_SETFL, flags), 0);
}

/* Nobody reads: producers go on, lines are dropped and counted, and stopping does not wait for
 * ever. */
static void test_full_pipe(void **state)
{
    (void)state;
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    pipe_fill(pipe_fds[1]);
    struct log_options options = {
        .fd = pipe_fds[1], .ring_count = 1, .ring_bytes = 4096, .burst = 1000000000};
    struct log *log = log_new(&options);
    assert_non_null(log);
    uint64_t written = 0;
    while (log_dropped_count(log) < 1000) {
        log_line(log_get_ring(log, 0), LOG_LEVEL_INFO, "line", LOG_U64("n", written));
        written++;
    }
    assert_int_equal(log_stop(log, 20), -ETIMEDOUT);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

/* ... and once somebody reads, everything that was kept comes out, with the count of the rest. */
static void test_full_pipe_recovers(void **state)
{
    (void)state;
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    pipe_fill(pipe_fds[1]);
    struct log_options options = {
        .fd = pipe_fds[1], .ring_count = 1, .ring_bytes = 4096, .burst = 1000000000};
    struct log *log = log_new(&options);
    assert_non_null(log);
    uint64_t written = 0;
    while (log_dropped_count(log) < 1000) {
        log_line(log_get_ring(log, 0), LOG_LEVEL_INFO, "line", LOG_U64("thread", 0),
                 LOG_U64("n", written));
        written++;
    }
    struct reader reader = {.fd = pipe_fds[0]};
    assert_int_equal(pthread_create(&reader.thread, NULL, reader_run, &reader), 0);
    assert_int_equal(log_stop(log, 60000), 0);
    close(pipe_fds[1]);
    assert_int_equal(pthread_join(reader.thread, NULL), 0);
    assert_true(reader.orderly);
    assert_true(reader.lines > 0);
    assert_int_equal(reader.lines + reader.dropped, written);
}

/* The reader is gone: no signal, no spinning for ever, an error at the end. */
static void test_broken_pipe(void **state)
{
    (void)state;
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    close(pipe_fds[0]);
    struct log_options options = {.fd = pipe_fds[1], .ring_count = 1};
    struct log *log = log_new(&options);
    assert_non_null(log);
    for (unsigned i = 0; i < 100; i++) {
        log_line(log_get_ring(log, 0), LOG_LEVEL_INFO, "line");
    }
    int result = log_stop(log, 60000);
    /* 0 when the lines had all been tried before the stop and only their number was left to tell.
     */
    assert_true(result == -EPIPE || result == 0);
    close(pipe_fds[1]);
}

/* An idle writer is woken by a single line. */
static void test_wakes(void **state)
{
    (void)state;
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    struct log_options options = {.fd = pipe_fds[1], .ring_count = 2, .burst = 1000000000};
    struct log *log = log_new(&options);
    assert_non_null(log);
    for (uint32_t i = 0; i < 3000; i++) {
        log_line(log_get_ring(log, i % 2), LOG_LEVEL_INFO, "line");
        char line[256];
        size_t len = 0;
        while (len == 0 || line[len - 1] != '\n') {
            struct pollfd in = {.fd = pipe_fds[0], .events = POLLIN};
            assert_int_equal(poll(&in, 1, 60000), 1);
            ssize_t got = read(pipe_fds[0], line + len, sizeof(line) - len);
            assert_true(got > 0);
            len += (size_t)got;
        }
    }
    assert_int_equal(log_stop(log, 60000), 0);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logfmt),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_injection),
        cmocka_unit_test(test_random_values),
        cmocka_unit_test(test_long_values),
        cmocka_unit_test(test_level),
        cmocka_unit_test(test_rate_limit),
        cmocka_unit_test(test_many_kinds),
        cmocka_unit_test(test_full_ring),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_threads_with_small_rings),
        cmocka_unit_test(test_threads_with_rate_limit),
        cmocka_unit_test(test_full_pipe),
        cmocka_unit_test(test_full_pipe_recovers),
        cmocka_unit_test(test_broken_pipe),
        cmocka_unit_test(test_wakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
