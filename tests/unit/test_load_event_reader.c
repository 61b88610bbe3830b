/*
 * The reader of event streams: the same events come out however the bytes are cut. SPATE_TEST_SEED
 * repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/base/buffer.h"
#include "core/base/memory.h"
#include "tests/unit/seeded.h"
#include "tools/load/event_reader.h"
#include "tools/load/frame_ring.h"

static uint64_t run_seed;

/* What the sink was told, as text. */
struct told {
    struct buffer text;
    int status;
};

static void on_head(void *owner, const struct http1_head *head)
{
    struct told *told = owner;
    told->status = head->status;
    buffer_printf(&told->text, "head %d %d\n", head->status, head->is_event_stream);
}

static void on_event(void *owner, const struct event *event)
{
    struct told *told = owner;
    buffer_printf(&told->text, "event data=%d id=%.*s%s gap=%d", event->has_data, event->id_len,
                  event->id, event->has_id ? "" : "none", event->is_gap);
    if (event->outcome == MESSAGE_OK) {
        buffer_printf(&told->text, " %llu", (unsigned long long)event->message.sequence);
    }
    buffer_printf(&told->text, " %d\n", event->outcome);
}

static void on_retry(void *owner, uint64_t retry_ms)
{
    struct told *told = owner;
    buffer_printf(&told->text, "retry %llu\n", (unsigned long long)retry_ms);
}

static const struct event_sink sink = {.head = on_head, .event = on_event, .retry = on_retry};

/* Reads in pieces of at most `piece_max` bytes; returns the last outcome. */
static enum event_reader_outcome read_all(struct span bytes, size_t piece_max,
                                          struct random *random, struct told *told)
{
    struct event_reader reader = {0};
    enum event_reader_outcome outcome = EVENT_READER_MORE;
    buffer_init(&told->text, 1 << 20);
    while (bytes.len > 0 && outcome <= EVENT_READER_CLEAN) {
        const size_t piece = 1 + random_below(random, min_size(piece_max, bytes.len));
        struct span rest = span_make(bytes.bytes, piece);
        while (rest.len > 0 && outcome <= EVENT_READER_CLEAN) {
            size_t consumed = 0;
            outcome = event_reader_take(&reader, rest, &sink, told, &consumed);
            if (outcome <= EVENT_READER_CLEAN) {
                assert_true(consumed > 0);
            }
            assert_true(consumed <= rest.len);
            rest = span_make(rest.bytes + consumed, rest.len - consumed);
            if (outcome == EVENT_READER_CLEAN) {
                assert_null(reader.partial); /* and holds no memory */
            }
        }
        bytes = span_make(bytes.bytes + piece, bytes.len - piece);
    }
    event_reader_reset(&reader);
    return outcome;
}

static void append_chunked(struct buffer *out, struct span text, struct random *random)
{
    while (text.len > 0) {
        const size_t len = 1 + random_below(random, min_size(text.len, 60));
        buffer_printf(out, one_in(random, 4) ? "%zX;a=b\r\n" : "%zx\r\n", len);
        buffer_append(out, text.bytes, len);
        buffer_append_string(out, "\r\n");
        text = span_make(text.bytes + len, text.len - len);
    }
}

static void append_with_ends(struct buffer *out, const char *text, const char *end)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n') {
            buffer_append_string(out, end);
        } else {
            buffer_append(out, text, 1);
        }
    }
}

static void test_every_cut_and_every_framing_tells_the_same(void **state)
{
    (void)state;
    static const char *const ends[] = {"\n", "\r\n", "\r"};
    char message[101] = "";
    const struct message said = {.run = 7, .channel = 1, .slot = 2, .sequence = 77};
    char text[700];
    const char *expected = "head 200 1\nretry 1500\n"
                           "event data=0 id=none gap=0 0\n"
                           "event data=1 id=a-1 gap=0 77 1\n"
                           "event data=1 id= gap=1 0\n"
                           "event data=1 id=none gap=0 2\n";
    struct random random;
    random_init(&random, run_seed);
    message_write(&said, message, 100);
    (void)snprintf(text, sizeof text,
                   ": hi\nretry: 1500\nretry: x\n\n"
                   "event: e\nid: a-1\ndata:more\ndata: {\"m\":\"%s\"}\n: c\n\n\n"
                   "event:spate.gap\nid\ndata\n\n"
                   "odd: x\ndata: SPL.broken\n\n"
                   "data: never ended",
                   message);
    for (int round = 0; round < 600; round++) {
        struct buffer body, stream;
        struct told told;
        const bool is_chunked = one_in(&random, 2);
        buffer_init(&body, 1 << 20);
        buffer_init(&stream, 1 << 20);
        append_with_ends(&body, text, ends[round % 3]);
        buffer_printf(&stream,
                      "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream;charset=utf-8\r\n"
                      "%s\r\n",
                      is_chunked ? "Transfer-Encoding: chunked\r\n" : "");
        if (is_chunked) {
            append_chunked(&stream, buffer_span(&body), &random);
        } else {
            buffer_append_span(&stream, buffer_span(&body));
        }
        const size_t piece_max = round % 5 == 0 ? 1 : 1 + random_below(&random, 900);
        assert_int_equal(read_all(buffer_span(&stream), piece_max, &random, &told),
                         EVENT_READER_MORE);
        buffer_append(&told.text, "", 1);
        assert_string_equal(told.text.bytes, expected);
        buffer_fini(&told.text);
        buffer_fini(&stream);
        buffer_fini(&body);
    }
}

static void test_what_is_not_http_is_bad(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "SSH-2.0-OpenSSH\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n", /* and it waits for what we say */
        "HTTP/1.1 20\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    };
    struct random random;
    random_init(&random, run_seed);
    for (size_t i = 0; i < countof(bad); i++) {
        for (size_t piece_max = 1; piece_max < 100; piece_max += 49) {
            struct told told;
            assert_int_equal(read_all(span_of(bad[i]), piece_max, &random, &told),
                             EVENT_READER_BAD);
            buffer_fini(&told.text);
        }
    }
}

/* A peer that never ends its head, or a line, is told from one that speaks no HTTP. */
static void test_what_is_too_long_is_told(void **state)
{
    (void)state;
    static const char *const begin[] = {"HTTP/1.1 200 OK\r\nx: ", "HTTP/1.1 200 OK\r\n\r\n: "};
    static const size_t len[] = {HTTP1_HEAD_LEN_MAX, EVENT_LINE_LEN_MAX};
    struct random random;
    random_init(&random, run_seed);
    for (size_t i = 0; i < countof(begin); i++) {
        struct told told;
        struct buffer text;
        buffer_init(&text, 2 * len[i]);
        buffer_append_span(&text, span_of(begin[i]));
        while (text.len < len[i] + 64) {
            buffer_append(&text, "xxxxxxxxxxxxxxxx", 16);
        }
        const struct span less = span_make(text.bytes, len[i] - 1);
        assert_int_equal(read_all(less, len[i], &random, &told), EVENT_READER_MORE);
        buffer_fini(&told.text);
        assert_int_equal(read_all(buffer_span(&text), len[i], &random, &told), EVENT_READER_LONG);
        buffer_fini(&told.text);
        buffer_fini(&text);
    }
}

static void test_the_last_chunk_ends_it(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, run_seed);
    struct told told;
    assert_int_equal(read_all(span_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                      "3\r\na\n\n\r\n0\r\nTrailer: x\r\n\r\n"),
                              7, &random, &told),
                     EVENT_READER_END);
    buffer_fini(&told.text);
}

/* --- Frames ----------------------------------------------------------------------------------- */

static struct ring_frame frame_with(uint64_t sequence, char *text)
{
    struct ring_frame frame = {.len = (uint32_t)strlen(text), .event_count = 1, .bytes = text};
    frame.messages[0].sequence = sequence;
    return frame;
}

static void test_a_ring_knows_what_it_was_given(void **state)
{
    (void)state;
    struct frame_ring ring;
    const struct ring_frame *known = NULL;
    char text[32];
    assert_int_equal(frame_ring_init(&ring, 4), 0);
    assert_null(frame_ring_match(&ring, 0, "a", 1));
    for (uint64_t i = 1; i <= 10; i++) {
        (void)snprintf(text, sizeof text, "frame %llu.", (unsigned long long)i);
        const struct ring_frame frame = frame_with(i, text);
        assert_int_equal(frame_ring_add(&ring, &frame, &known), i);
        assert_null(known);
    }
    /* The last four are there, at their place only, and longer input begins with them. */
    assert_null(frame_ring_match(&ring, 10, "frame 10.", 9));
    assert_non_null(frame_ring_match(&ring, 9, "frame 10.more", 13));
    assert_null(frame_ring_match(&ring, 9, "frame 10", 8));
    assert_null(frame_ring_match(&ring, 9, "frame 9..", 9));
    assert_non_null(frame_ring_match(&ring, 6, "frame 7.", 8));
    assert_null(frame_ring_match(&ring, 5, "frame 6.", 8));

    /* What comes again is known, wherever the reader stood; what is long gone is not kept. */
    (void)snprintf(text, sizeof text, "other bytes");
    struct ring_frame again = frame_with(8, text);
    assert_int_equal(frame_ring_add(&ring, &again, &known), 8);
    assert_non_null(known);
    assert_memory_equal(known->bytes, "frame 8.", 8);
    again = frame_with(3, text);
    assert_int_equal(frame_ring_add(&ring, &again, &known), 10);
    assert_null(known);
    assert_non_null(frame_ring_match(&ring, 9, "frame 10.", 9));
    for (size_t i = 0; i < 4; i++) {
        memory_free(ring.frames[i].bytes);
    }
    memory_free(ring.frames);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut_and_every_framing_tells_the_same),
        cmocka_unit_test(test_what_is_not_http_is_bad),
        cmocka_unit_test(test_what_is_too_long_is_told),
        cmocka_unit_test(test_the_last_chunk_ends_it),
        cmocka_unit_test(test_a_ring_knows_what_it_was_given),
    };
    run_seed = seed_of_run();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
