#include "proto/uri.h"

#include <arpa/inet.h>
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

/* ---- URIs ------------------------------------------------------------------------------------ */

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

/* Unreserved, sub-delims, whole percent escapes, and what `more` allows at this place. */
static bool is_made_of(struct span text, const char *more)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.bytes[i];
        if (c == '%') {
            if (text.len - i < 3 || !http_char_is(text.bytes[i + 1], HTTP_CHAR_HEX) ||
                !http_char_is(text.bytes[i + 2], HTTP_CHAR_HEX)) {
                return false;
            }
            i += 2;
        } else if (!is_alpha(c) && !http_char_is(c, HTTP_CHAR_DIGIT) &&
                   !is_one_of(c, "-._~!$&'()*+,;=") && !is_one_of(c, more)) {
            return false;
        }
    }
    return true;
}

/* What stands between the brackets of a host: IPv6address or IPvFuture. */
static bool ip_literal_is_valid(struct span text)
{
    if (text.len > 0 && (text.bytes[0] == 'v' || text.bytes[0] == 'V')) {
        struct span rest = span_make(text.bytes + 1, text.len - 1);
        struct span version = cut(&rest, '.');
        return version.len > 0 && rest.len > 0 && memchr(text.bytes, '%', text.len) == NULL &&
               http_char_run(version.bytes, version.len, HTTP_CHAR_HEX) == version.len &&
               is_made_of(rest, ":");
    }
    char address[INET6_ADDRSTRLEN];
    struct in6_addr parsed;
    if (text.len == 0 || text.len >= sizeof(address) ||
        memchr(text.bytes, '\0', text.len) != NULL) {
        return false;
    }
    memcpy(address, text.bytes, text.len);
    address[text.len] = '\0';
    return inet_pton(AF_INET6, address, &parsed) == 1;
}

static bool authority_is_valid(struct span authority)
{
    const char *at = authority.len == 0 ? NULL : memchr(authority.bytes, '@', authority.len);
    if (at != NULL) {
        size_t len = (size_t)(at - authority.bytes);
        if (!is_made_of(span_make(authority.bytes, len), ":")) {
            return false;
        }
        authority = span_make(at + 1, authority.len - len - 1);
    }
    if (authority.len > 0 && authority.bytes[0] == '[') {
        const char *end = memchr(authority.bytes, ']', authority.len);
        size_t len = end == NULL ? 0 : (size_t)(end - authority.bytes);
        if (len == 0 || !ip_literal_is_valid(span_make(authority.bytes + 1, len - 1))) {
            return false;
        }
        authority = span_make(authority.bytes + len + 1, authority.len - len - 1);
        if (authority.len > 0 && authority.bytes[0] != ':') {
            return false;
        }
    }
    struct span host = cut(&authority, ':');
    return is_made_of(host, "") &&
           http_char_run(authority.bytes, authority.len, HTTP_CHAR_DIGIT) == authority.len;
}

/* Takes "scheme:" off the text. False: its first segment has a colon, and is no scheme. */
static bool scheme_take(struct span *text, bool *ret_has_scheme)
{
    size_t len = 0;
    while (len < text->len && !is_one_of(text->bytes[len], ":/?#")) {
        len++;
    }
    *ret_has_scheme = len < text->len && text->bytes[len] == ':';
    if (!*ret_has_scheme) {
        return true;
    }
    for (size_t i = 0; i < len; i++) {
        char c = text->bytes[i];
        if (!is_alpha(c) &&
            (i == 0 || (!http_char_is(c, HTTP_CHAR_DIGIT) && !is_one_of(c, "+-.")))) {
            return false;
        }
    }
    *text = span_make(text->bytes + len + 1, text->len - len - 1);
    return len > 0;
}

static bool uri_check(struct span text, bool *ret_has_scheme, bool *ret_has_fragment)
{
    *ret_has_fragment = text.len > 0 && memchr(text.bytes, '#', text.len) != NULL;
    struct span before = cut(&text, '#');
    struct span fragment = text;
    struct span path = cut(&before, '?');
    struct span query = before;
    if (!scheme_take(&path, ret_has_scheme) || !is_made_of(query, ":@/?") ||
        !is_made_of(fragment, ":@/?")) {
        return false;
    }
    if (path.len >= 2 && path.bytes[0] == '/' && path.bytes[1] == '/') {
        struct span rest = span_make(path.bytes + 2, path.len - 2);
        const char *slash = rest.len == 0 ? NULL : memchr(rest.bytes, '/', rest.len);
        size_t len = slash == NULL ? rest.len : (size_t)(slash - rest.bytes);
        if (!authority_is_valid(span_make(rest.bytes, len))) {
            return false;
        }
        path = span_make(rest.bytes + len, rest.len - len);
    }
    return is_made_of(path, ":@/");
}

bool uri_reference_is_valid(struct span text)
{
    bool has_scheme = false;
    bool has_fragment = false;
    return uri_check(text, &has_scheme, &has_fragment);
}

bool uri_is_absolute(struct span text)
{
    bool has_scheme = false;
    bool has_fragment = false;
    return uri_check(text, &has_scheme, &has_fragment) && has_scheme && !has_fragment;
}
