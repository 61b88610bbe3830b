/*
 * The encoder of events against a naive parser written from the rules of the standard ("Parsing an
 * event stream" and "Interpreting an event stream"): what a client dispatches must be what was
 * published, with CR, CRLF and LF all read as LF. SPATE_TEST_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/sse.h"
#include "tests/unit/guard.h"
#include "tests/unit/seeded.h"

static uint64_t run_seed;

enum { TEXT_MAX = 1 << 14 };

/* ---- A naive client ---------------------------------------------------------------------------
 */

struct text {
    char bytes[TEXT_MAX];
    size_t len;
};

struct client {
    struct text data;
    struct text type;
    struct text last_id;
    uint32_t retry_ms;
    unsigned retries;
    /* Of the last event that was dispatched: */
    struct text event_data;
    struct text event_type;
    unsigned dispatched;
};

static void text_set(struct text *text, const char *bytes, size_t len)
{
    assert_true(len <= TEXT_MAX);
    memmove(text->bytes, bytes, len);
    text->len = len;
}

static void text_add(struct text *text, const char *bytes, size_t len)
{
    assert_true(text->len + len <= TEXT_MAX);
    memcpy(text->bytes + text->len, bytes, len);
    text->len += len;
}

static void client_dispatch(struct client *client)
{
    if (client->data.len > 0) {
        /* The last LF goes. */
        text_set(&client->event_data, client->data.bytes, client->data.len - 1);
        text_set(&client->event_type, client->type.bytes, client->type.len);
        client->dispatched++;
    }
    client->data.len = 0;
    client->type.len = 0;
}

static void client_field(struct client *client, struct span name, struct span value)
{
    if (span_is(name, "event")) {
        text_set(&client->type, value.bytes, value.len);
    } else if (span_is(name, "data")) {
        text_add(&client->data, value.bytes, value.len);
        text_add(&client->data, "\n", 1);
    } else if (span_is(name, "id")) {
        if (memchr(value.bytes, '\0', value.len) == NULL) {
            text_set(&client->last_id, value.bytes, value.len);
        }
    } else if (span_is(name, "retry")) {
        uint64_t number = 0;
        for (size_t i = 0; i < value.len; i++) {
            assert_true(value.bytes[i] >= '0' && value.bytes[i] <= '9');
            number = number * 10 + (uint64_t)(value.bytes[i] - '0');
        }
        assert_true(number <= UINT32_MAX);
        client->retry_ms = (uint32_t)number;
        client->retries++;
    } else {
        /* Our encoder writes nothing else. */
        fail();
    }
}

static void client_line(struct client *client, const char *line, size_t len)
{
    if (len == 0) {
        client_dispatch(client);
        return;
    }
    if (line[0] == ':') {
        return;
    }
    const char *colon = memchr(line, ':', len);
    if (colon == NULL) {
        client_field(client, span_make(line, len), span_of(""));
        return;
    }
    struct span value = span_make(colon + 1, len - (size_t)(colon - line) - 1);
    if (value.len > 0 && value.bytes[0] == ' ') {
        value = span_make(value.bytes + 1, value.len - 1);
    }
    client_field(client, span_make(line, (size_t)(colon - line)), value);
}

/* Every CRLF, lone CR and lone LF ends a line; what follows the last end is no line yet. */
static void client_read(struct client *client, const char *stream, size_t len)
{
    size_t begin = 0;
    for (size_t i = 0; i < len; i++) {
        if (stream[i] != '\r' && stream[i] != '\n') {
            continue;
        }
        client_line(client, stream + begin, i - begin);
        if (stream[i] == '\r' && i + 1 < len && stream[i + 1] == '\n') {
            i++;
        }
        begin = i + 1;
    }
    assert_int_equal(begin, len);
}

/* ---- Both ways --------------------------------------------------------------------------------
 */

/* What the client must see of the data. */
static void normalise(struct span data, struct text *ret_text)
{
    ret_text->len = 0;
    for (size_t i = 0; i < data.len; i++) {
        if (data.bytes[i] == '\r') {
            text_add(ret_text, "\n", 1);
            i += i + 1 < data.len && data.bytes[i + 1] == '\n';
        } else {
            text_add(ret_text, data.bytes + i, 1);
        }
    }
}

static struct span text_span(const struct text *text)
{
    return span_make(text->bytes, text->len);
}

static struct client client;
static struct guard guard;

static void check_event(const struct sse_event *event)
{
    static char stream[4 * TEXT_MAX];
    static struct text expected;
    size_t size = sse_event_size(event, 20);
    assert_true(size + 8 <= sizeof(stream));
    memset(stream, '#', sizeof(stream));
    size_t id_offset = 0;
    sse_event_write(event, 20, stream, &id_offset);
    for (size_t i = size; i < size + 8; i++) {
        assert_int_equal(stream[i], '#');
    }
    /* The id's place has been left as it was. */
    assert_true(id_offset + 20 < size);
    assert_memory_equal(stream + id_offset, "####################", 20);
    memcpy(stream + id_offset, "abcdefg-000000000001", 20);
    client.dispatched = 0;
    client.retries = 0;
    client.last_id.len = 0;
    client_read(&client, stream, size);
    normalise(event->data, &expected);
    assert_int_equal(client.dispatched, 1);
    assert_true(span_equal(text_span(&client.event_data), text_span(&expected)));
    assert_true(span_equal(text_span(&client.event_type), event->type));
    assert_true(span_is(text_span(&client.last_id), "abcdefg-000000000001"));
    assert_int_equal(client.retries, event->has_retry ? 1 : 0);
    assert_true(!event->has_retry || client.retry_ms == event->retry_ms);
}

static void check_data(const char *data, size_t len)
{
    struct sse_event event = {.data = span_make(guard_put(&guard, data, len), len)};
    check_event(&event);
}

static void test_written_by_hand(void **state)
{
    (void)state;
    struct sse_event event = {
        .type = span_of("push"),
        .data = span_of(" one\r\ntwo\n\rthree\r"),
        .has_retry = true,
        .retry_ms = 3000,
    };
    static const char expected[] = "event: push\nid: #####\nretry: 3000\ndata:  one\ndata: two\n"
                                   "data: \ndata: three\ndata: \n\n";
    char out[200];
    size_t id_offset;
    memset(out, '#', sizeof(out));
    assert_int_equal(sse_event_size(&event, 5), sizeof(expected) - 1);
    sse_event_write(&event, 5, out, &id_offset);
    assert_memory_equal(out, expected, sizeof(expected) - 1);
    assert_int_equal(id_offset, 16);
}

static void test_every_run_of_line_ends(void **state)
{
    (void)state;
    static const char alphabet[] = {'\r', '\n', 'a', ' ', ':'};
    const unsigned n = countof(alphabet);
    check_event(&(struct sse_event){.data = {NULL, 0}});
    unsigned count = 1;
    for (size_t len = 0; len <= 7; len++, count *= n) {
        for (unsigned i = 0; i < count; i++) {
            char data[7];
            unsigned left = i;
            for (size_t j = 0; j < len; j++, left /= n) {
                data[j] = alphabet[left % n];
            }
            check_data(data, len);
        }
    }
}

static void test_data_that_looks_like_something_else(void **state)
{
    (void)state;
    static const char *const samples[] = {
        ("\xef\xbb\xbf"
         "begins with a BOM"),
        "id: 7\n\ndata: x",
        ": comment",
        "retry: 1\n",
        "   leading spaces",
        "trailing \n spaces ",
        "event",
        "\n",
        "\r",
        "\r\n",
        "\n\n\n",
        "data",
    };
    for (unsigned i = 0; i < countof(samples); i++) {
        check_data(samples[i], strlen(samples[i]));
    }
    check_data("a\0b\n\0", 5);
}

static void test_random_events(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, run_seed);
    static char data[3000];
    for (unsigned round = 0; round < 20000; round++) {
        char type[40];
        size_t type_len = one_in(&random, 2) ? 0 : random_below(&random, sizeof(type));
        size_t len = random_below(&random, one_in(&random, 20) ? sizeof(data) : 40);
        uint64_t ends = random_below(&random, 4);
        for (size_t i = 0; i < len; i++) {
            data[i] = random_below(&random, 8) < ends ? "\r\n"[random_below(&random, 2)]
                                                      : (char)random_below(&random, 128);
        }
        for (size_t i = 0; i < type_len; i++) {
            type[i] = (char)(' ' + random_below(&random, 90));
        }
        struct sse_event event = {
            .type = span_make(type, type_len),
            .data = span_make(guard_put(&guard, data, len), len),
            .has_retry = one_in(&random, 3),
            .retry_ms = (uint32_t)(random_next(&random) >> (32 + random_below(&random, 32))),
        };
        check_event(&event);
    }
}

static void test_fields_that_would_break_a_line(void **state)
{
    (void)state;
    assert_true(sse_field_is_valid(span_make(NULL, 0)));
    assert_true(sse_field_is_valid(span_of("any thing: \t\x7f\xc3\xa9")));
    for (unsigned c = 0; c < 256; c++) {
        for (size_t at = 0; at < 3; at++) {
            char text[3] = {'a', 'b', 'c'};
            text[at] = (char)c;
            assert_int_equal(sse_field_is_valid(span_make(text, 3)),
                             c != '\r' && c != '\n' && c != '\0');
        }
    }
}

int main(void)
{
    run_seed = seed_of_run();
    guard_init(&guard);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_by_hand),
        cmocka_unit_test(test_every_run_of_line_ends),
        cmocka_unit_test(test_data_that_looks_like_something_else),
        cmocka_unit_test(test_random_events),
        cmocka_unit_test(test_fields_that_would_break_a_line),
    };
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    guard_fini(&guard);
    return r;
}
