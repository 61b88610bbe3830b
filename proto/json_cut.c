#include "proto/json_cut.h"

#include "proto/http_char.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The bytes of a string with its quotes, of which the first is the first byte. */
static size_t string_len(struct span text)
{
    size_t i = 1;
    while (i < text.len && text.bytes[i] != '"') {
        i += text.bytes[i] == '\\' ? 2 : 1;
    }
    return min_size(i + 1, text.len);
}

static size_t value_len(struct span text)
{
    size_t depth = 0;
    size_t i = 0;
    while (i < text.len) {
        char c = text.bytes[i];
        if (c == '"') {
            i += string_len(span_make(text.bytes + i, text.len - i));
        } else if (c == '{' || c == '[') {
            depth++;
            i++;
        } else if (c == '}' || c == ']') {
            if (depth == 0) {
                return i; /* the end of what the value is in */
            }
            depth--;
            i++;
        } else if (depth == 0 && (c == ',' || is_space(c))) {
            return i;
        } else {
            i++;
            continue; /* of a number or a word, whose end is what follows */
        }
        if (depth == 0) {
            return i;
        }
    }
    return i;
}

struct span json_cut_trim(struct span text)
{
    while (text.len > 0 && is_space(text.bytes[0])) {
        text = span_make(text.bytes + 1, text.len - 1);
    }
    while (text.len > 0 && is_space(text.bytes[text.len - 1])) {
        text.len--;
    }
    return text;
}

static void cut_skip(struct json_cut *cut, size_t len)
{
    cut->rest = span_make(cut->rest.bytes + len, cut->rest.len - len);
    while (cut->rest.len > 0 && is_space(cut->rest.bytes[0])) {
        cut->rest = span_make(cut->rest.bytes + 1, cut->rest.len - 1);
    }
}

/* Passes over a mark such as the colon; false if it is not there. */
static bool cut_mark(struct json_cut *cut, char mark)
{
    if (cut->rest.len == 0 || cut->rest.bytes[0] != mark) {
        return false;
    }
    cut_skip(cut, 1);
    return true;
}

static struct span cut_value(struct json_cut *cut)
{
    struct span value = span_make(cut->rest.bytes, value_len(cut->rest));
    cut_skip(cut, value.len);
    return value;
}

void json_cut_init(struct json_cut *cut, struct span text)
{
    cut->rest = json_cut_trim(text);
    cut->is_object = cut_mark(cut, '{');
    if (!cut->is_object && !cut_mark(cut, '[')) {
        cut->rest.len = 0;
    }
}

bool json_cut_next(struct json_cut *cut, struct span *ret_name, struct span *ret_value)
{
    *ret_name = span_make(NULL, 0);
    if (cut->is_object) {
        if (!json_cut_is_string(cut->rest)) {
            return false;
        }
        *ret_name = cut_value(cut);
        if (!cut_mark(cut, ':')) {
            return false;
        }
    }
    *ret_value = cut_value(cut);
    cut_mark(cut, ',');
    return ret_value->len > 0;
}

/* ---- Strings --------------------------------------------------------------------------------- */

/* The four digits of \uXXXX at `at`; false if they are not there. */
static bool hex_read(struct span text, size_t at, uint32_t *ret_unit)
{
    *ret_unit = 0;
    for (size_t i = at; i < at + 4; i++) {
        if (i >= text.len || !http_char_is(text.bytes[i], HTTP_CHAR_HEX)) {
            return false;
        }
        *ret_unit = *ret_unit << 4 | http_char_hex_value(text.bytes[i]);
    }
    return true;
}

static size_t utf8_write(uint32_t point, char *out)
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    unsigned more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    static const uint8_t leads[] = {0, 0xc0, 0xe0, 0xf0};
    out[0] = (char)(leads[more] | point >> (6 * more));
    for (unsigned i = 1; i <= more; i++) {
        out[i] = (char)(0x80 | (point >> (6 * (more - i)) & 0x3f));
    }
    return more + 1;
}

/* A \u escape, or two that make a pair, at *at (of the backslash). Returns bytes written, or 0. */
static size_t unicode_unescape(struct span text, size_t *at, char *out)
{
    uint32_t unit = 0;
    uint32_t low = 0;
    if (!hex_read(text, *at + 2, &unit) || (unit >= 0xdc00 && unit < 0xe000)) {
        return 0;
    }
    *at += 6;
    if (unit < 0xd800 || unit >= 0xe000) {
        return utf8_write(unit, out);
    }
    if (text.len - *at < 6 || text.bytes[*at] != '\\' || text.bytes[*at + 1] != 'u' ||
        !hex_read(text, *at + 2, &low) || low < 0xdc00 || low >= 0xe000) {
        return 0;
    }
    *at += 6;
    return utf8_write(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00), out);
}

bool json_cut_unescape(struct span string, char *out, size_t *ret_len)
{
    static const char escapes[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    if (string.len < 2 || string.bytes[0] != '"' || string.bytes[string.len - 1] != '"') {
        return false;
    }
    struct span text = span_make(string.bytes + 1, string.len - 2);
    size_t len = 0;
    for (size_t i = 0; i < text.len;) {
        if (text.bytes[i] != '\\') {
            out[len++] = text.bytes[i++];
            continue;
        }
        char kind = i + 1 < text.len ? text.bytes[i + 1] : '\0';
        if (kind == 'u') {
            size_t written = unicode_unescape(text, &i, out + len);
            if (written == 0) {
                return false;
            }
            len += written;
            continue;
        }
        const char *escape = kind == '\0' ? NULL : strchr(escapes, kind);
        if (escape == NULL) {
            return false;
        }
        out[len++] = meanings[escape - escapes];
        i += 2;
    }
    *ret_len = len;
    return true;
}

size_t json_cut_compact(struct span text, char *out)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len;) {
        size_t run = 1;
        if (text.bytes[i] == '"') {
            run = string_len(span_make(text.bytes + i, text.len - i));
        } else if (is_space(text.bytes[i])) {
            i++;
            continue;
        }
        memmove(out + len, text.bytes + i, run);
        len += run;
        i += run;
    }
    return len;
}
