/* Any bytes as something percent-encoded, as a query, as a path, and as media type fields. */
#include <errno.h>
#include <stdlib.h>

#include "proto/media_type.h"
#include "proto/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_decode(struct span text, bool plus_is_space)
{
    /* Exactly as much room as is promised to be enough. */
    char *out = malloc(text.len == 0 ? 1 : text.len);
    char *in_place = malloc(text.len == 0 ? 1 : text.len);
    CHECK(out != NULL && in_place != NULL);
    memcpy(in_place, text.bytes, text.len);
    size_t len = 0;
    size_t in_place_len = 0;
    int result = uri_decode(text, plus_is_space, out, &len);
    int in_place_result =
        uri_decode(span_make(in_place, text.len), plus_is_space, in_place, &in_place_len);
    CHECK(result == 0 || result == -EINVAL);
    CHECK(result == in_place_result);
    if (result == 0) {
        CHECK(len <= text.len);
        CHECK(span_equal(span_make(out, len), span_make(in_place, in_place_len)));
    }
    free(out);
    free(in_place);
}

static void check_query(struct span text)
{
    struct uri_query query;
    struct span name;
    struct span value;
    size_t sum = 0;
    uri_query_init(&query, text);
    while (uri_query_next(&query, &name, &value)) {
        CHECK(name.len == 0 || memchr(name.bytes, '=', name.len) == NULL);
        CHECK(name.len == 0 || memchr(name.bytes, '&', name.len) == NULL);
        CHECK(value.len == 0 || memchr(value.bytes, '&', value.len) == NULL);
        sum += name.len + value.len;
    }
    CHECK(sum <= text.len);
}

static void check_path(struct span path)
{
    size_t slash_count = 0;
    for (size_t i = 0; i < path.len; i++) {
        slash_count += path.bytes[i] == '/';
    }
    size_t segment_count = 0;
    size_t sum = 0;
    struct span rest = path;
    struct span segment;
    while (uri_path_next(&rest, &segment)) {
        CHECK(segment.len == 0 || memchr(segment.bytes, '/', segment.len) == NULL);
        segment_count++;
        sum += segment.len + 1;
    }
    if (path.len > 0 && path.bytes[0] == '/') {
        CHECK(segment_count == slash_count);
        CHECK(sum == path.len);
    } else {
        CHECK(segment_count == 0);
    }
}

static void check_media(struct span text)
{
    struct media_type type;
    if (media_type_parse(text, &type) == 0) {
        CHECK(type.essence.len >= 3);
        CHECK(memchr(type.essence.bytes, '/', type.essence.len) != NULL);
        CHECK(!media_type_is(&type, ""));
    }
    /* What is asked for by name is allowed. */
    CHECK(!media_accepts_by_name(text, "text/html") || media_accepts(text, "text/html"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size == 0 ? 1 : size);
    CHECK(copy != NULL);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    struct span text = {copy, size};
    check_decode(text, false);
    check_decode(text, true);
    check_query(text);
    check_path(text);
    check_media(text);
    free(copy);
    return 0;
}
