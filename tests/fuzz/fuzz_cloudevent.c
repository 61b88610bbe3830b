/*
 * Any bytes as JSON to be cut, with a parser as the judge of what is found; as a CloudEvent, as the
 * value of a ce- field, as a URI and as base64.
 */
#include <jansson.h>
#include <stdlib.h>

#include "core/base/utf8.h"
#include "proto/base64.h"
#include "proto/cloudevent.h"
#include "proto/json_cut.h"
#include "proto/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { JSON_FLAGS = JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL };

/* Exactly as much room as is promised to be enough. */
static char *room_for(size_t len)
{
    char *room = malloc(len == 0 ? 1 : len);
    CHECK(room != NULL);
    return room;
}

static json_t *parse(struct span text)
{
    return json_loadb(text.len == 0 ? "" : text.bytes, text.len, JSON_FLAGS, NULL);
}

static void check_string(const json_t *value, struct span text)
{
    char *room = room_for(text.len);
    size_t len = 0;
    CHECK(json_cut_is_string(text) == json_is_string(value));
    CHECK(json_cut_unescape(text, room, &len) == json_is_string(value));
    if (json_is_string(value)) {
        CHECK(span_equal(span_make(room, len),
                         span_make(json_string_value(value), json_string_length(value))));
    }
    free(room);
}

/* Each piece is a value of its own, and there are as many as the parser has found. */
static void check_pieces(const json_t *document, struct span text)
{
    struct json_cut cut;
    struct span name;
    struct span value;
    size_t count = 0;
    json_cut_init(&cut, text);
    for (; json_cut_next(&cut, &name, &value); count++) {
        json_t *piece = parse(value);
        CHECK(piece != NULL);
        CHECK((name.len > 0) == json_is_object(document));
        CHECK(json_is_object(document) || json_equal(piece, json_array_get(document, count)));
        check_string(piece, value);
        json_decref(piece);
    }
    CHECK(!json_is_array(document) || count == json_array_size(document));
    CHECK(!json_is_object(document) || count >= json_object_size(document));
    CHECK(json_is_array(document) || json_is_object(document) || count == 0);
}

static void check_event(struct span text)
{
    struct cloudevent event;
    struct cloudevent_problem problem = {{NULL, 0}, NULL};
    struct json_cut cut;
    struct span name;
    struct span value;
    bool good = true;
    char *room = room_for(text.len);
    size_t used = 0;
    cloudevent_init(&event);
    json_cut_init(&cut, text);
    while (good && json_cut_next(&cut, &name, &value)) {
        size_t len = 0;
        if (name.len == 0 || !json_cut_unescape(name, room + used, &len)) {
            good = false;
            problem.reason = "no object";
            break;
        }
        struct span plain = span_make(room + used, len);
        used += name.len;
        good = cloudevent_set_member(&event, plain, value, room + used, &problem);
        used += value.len;
        CHECK(used <= text.len);
    }
    good = good && cloudevent_finish(&event, &problem);
    CHECK(good == (problem.reason == NULL));
    if (good) {
        CHECK(event.id.len > 0 && event.source.len > 0 && event.type.len > 0);
        CHECK(utf8_is_valid(event.type) && memchr(event.type.bytes, '\n', event.type.len) == NULL);
        CHECK(span_is(event.specversion, "1.0"));
        CHECK((event.data.bytes == NULL) == (event.data_kind == CLOUDEVENT_DATA_NONE));
    }
    free(room);
}

static void check_compact(const json_t *document, struct span text)
{
    char *room = room_for(text.len);
    size_t len = json_cut_compact(text, room);
    CHECK(len <= text.len);
    CHECK(memchr(room, '\n', len) == NULL && memchr(room, '\r', len) == NULL);
    json_t *again = parse(span_make(room, len));
    CHECK(again != NULL && json_equal(document, again));
    json_decref(again);
    free(room);
}

static void check_any(struct span text)
{
    struct json_cut cut;
    struct span name;
    struct span value;
    size_t sum = 0;
    size_t len = 0;
    char *room = room_for(text.len);
    json_cut_init(&cut, text);
    while (json_cut_next(&cut, &name, &value)) {
        sum += name.len + value.len;
    }
    CHECK(sum <= text.len);
    CHECK(json_cut_compact(text, room) <= text.len);
    CHECK(!json_cut_unescape(text, room, &len) || len + 2 <= text.len);
    CHECK(cloudevent_decode_field(text, room, &len) != NULL || len <= text.len);
    CHECK(!uri_is_absolute(text) || uri_reference_is_valid(text));
    base64_is_valid(text);
    free(room);
    char *base64 = room_for(base64_size(text.len));
    base64_write(text, base64);
    CHECK(base64_is_valid(span_make(base64, base64_size(text.len))));
    free(base64);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = room_for(size);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    struct span text = {copy, size};
    check_any(text);
    json_t *document = parse(text);
    if (document != NULL) {
        check_pieces(document, text);
        check_event(text);
        check_compact(document, text);
        json_decref(document);
    }
    free(copy);
    return 0;
}
