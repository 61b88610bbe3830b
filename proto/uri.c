#include "proto/uri.h"

#include <errno.h>

#include "proto/http_char.h"

int uri_decode(struct span in, bool plus_is_space, char *out, size_t *ret_len)
{
    size_t len = 0;
    for (size_t i = 0; i < in.len; i++) {
        char byte = in.bytes[i];
        if (byte == '%') {
            if (in.len - i < 3 || !http_char_is(in.bytes[i + 1], HTTP_CHAR_HEX) ||
                !http_char_is(in.bytes[i + 2], HTTP_CHAR_HEX)) {
                return -EINVAL;
            }
            byte = (char)(http_char_hex_value(in.bytes[i + 1]) << 4 |
                          http_char_hex_value(in.bytes[i + 2]));
            i += 2;
        } else if (byte == '+' && plus_is_space) {
            byte = ' ';
        }
        /* Never ahead of what has been read, which is why `out` may be the input. */
        out[len++] = byte;
    }
    *ret_len = len;
    return 0;
}

/* Takes the bytes before the first separator off *rest, and the separator with them. */
static struct span cut(struct span *rest, char separator)
{
    const char *mark = rest->len == 0 ? NULL : memchr(rest->bytes, separator, rest->len);
    struct span head = *rest;
    if (mark == NULL) {
        *rest = span_make(NULL, 0);
        return head;
    }
    head.len = (size_t)(mark - rest->bytes);
    *rest = span_make(mark + 1, rest->len - head.len - 1);
    return head;
}

void uri_query_init(struct uri_query *query, struct span text)
{
    query->rest = text;
}

bool uri_query_next(struct uri_query *query, struct span *ret_name_raw, struct span *ret_value_raw)
{
    while (query->rest.len > 0) {
        struct span pair = cut(&query->rest, '&');
        if (pair.len > 0) {
            *ret_name_raw = cut(&pair, '=');
            *ret_value_raw = pair;
            return true;
        }
    }
    return false;
}

bool uri_path_next(struct span *rest, struct span *ret_segment_raw)
{
    if (rest->len == 0 || rest->bytes[0] != '/') {
        return false;
    }
    struct span after = {rest->bytes + 1, rest->len - 1};
    const char *slash = memchr(after.bytes, '/', after.len);
    size_t len = slash == NULL ? after.len : (size_t)(slash - after.bytes);
    *ret_segment_raw = span_make(after.bytes, len);
    *rest = span_make(after.bytes + len, after.len - len);
    return true;
}
