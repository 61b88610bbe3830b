#include "proto/json.h"

#include "core/base/utf8.h"

struct json_scan {
    const char *at;
    const char *end;
    uint64_t objects; /* a bit for each level: an object, else an array; the innermost is lowest */
    unsigned depth;
};

/* The next character, or NUL, which is no part of JSON, at the end. */
static char scan_peek(const struct json_scan *scan)
{
    return scan->at < scan->end ? *scan->at : '\0';
}

static bool scan_take(struct json_scan *scan, char wanted)
{
    if (scan_peek(scan) != wanted) {
        return false;
    }
    scan->at++;
    return true;
}

static void scan_space(struct json_scan *scan)
{
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\r' || *scan->at == '\t')) {
        scan->at++;
    }
}

static bool scan_word(struct json_scan *scan, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(scan->end - scan->at) < len || memcmp(scan->at, word, len) != 0) {
        return false;
    }
    scan->at += len;
    return true;
}

/* What follows a backslash. */
static bool scan_escape(struct json_scan *scan)
{
    char c = scan_peek(scan);
    if (c == '\0') {
        return false;
    }
    scan->at++;
    if (c != 'u') {
        return strchr("\"\\/bfnrt", c) != NULL;
    }
    unsigned value = 0;
    for (unsigned i = 0; i < 4; i++) {
        char digit = scan_peek(scan);
        char letter = (char)(digit | 0x20);
        if (digit >= '0' && digit <= '9') {
            value = value * 16 + (unsigned)(digit - '0');
        } else if (letter >= 'a' && letter <= 'f') {
            value = value * 16 + (unsigned)(letter - 'a') + 10;
        } else {
            return false;
        }
        scan->at++;
    }
    return value != 0 && (value < 0xd800 || value > 0xdfff);
}

/* Behind the opening quote. */
static bool scan_string(struct json_scan *scan)
{
    const char *at = scan->at;
    while (at < scan->end) {
        unsigned char c = (unsigned char)*at++;
        if (c == '"') {
            scan->at = at;
            return true;
        }
        if (c < 0x20) {
            return false;
        }
        if (c == '\\') {
            scan->at = at;
            if (!scan_escape(scan)) {
                return false;
            }
            at = scan->at;
        }
    }
    return false;
}

static size_t scan_digits(struct json_scan *scan)
{
    const char *begin = scan->at;
    while (scan_peek(scan) >= '0' && scan_peek(scan) <= '9') {
        scan->at++;
    }
    return (size_t)(scan->at - begin);
}

static bool scan_number(struct json_scan *scan)
{
    scan_take(scan, '-');
    bool zero = scan_peek(scan) == '0';
    size_t digits = scan_digits(scan);
    if (digits == 0 || digits > JSON_DIGITS_MAX || (zero && digits > 1)) {
        return false;
    }
    if (scan_take(scan, '.')) {
        digits = scan_digits(scan);
        if (digits == 0 || digits > JSON_DIGITS_MAX) {
            return false;
        }
    }
    return scan_peek(scan) != 'e' && scan_peek(scan) != 'E';
}

static bool scan_scalar(struct json_scan *scan)
{
    switch (scan_peek(scan)) {
    case '"':
        scan->at++;
        return scan_string(scan);
    case 't':
        return scan_word(scan, "true");
    case 'f':
        return scan_word(scan, "false");
    case 'n':
        return scan_word(scan, "null");
    default:
        return scan_number(scan);
    }
}

static bool scan_key(struct json_scan *scan)
{
    scan_space(scan);
    if (!scan_take(scan, '"') || !scan_string(scan)) {
        return false;
    }
    scan_space(scan);
    return scan_take(scan, ':');
}

enum scan_outcome { SCAN_OPENED, SCAN_VALUE, SCAN_UNSURE };

/* One value, or the beginning of one that holds others. */
static enum scan_outcome scan_value(struct json_scan *scan)
{
    scan_space(scan);
    bool is_object = scan_peek(scan) == '{';
    if (!is_object && scan_peek(scan) != '[') {
        return scan_scalar(scan) ? SCAN_VALUE : SCAN_UNSURE;
    }
    scan->at++;
    scan_space(scan);
    if (scan_take(scan, is_object ? '}' : ']')) {
        return SCAN_VALUE;
    }
    if (scan->depth == JSON_DEPTH_MAX || (is_object && !scan_key(scan))) {
        return SCAN_UNSURE;
    }
    scan->depth++;
    scan->objects = scan->objects << 1 | is_object;
    return SCAN_OPENED;
}

bool json_is_surely_valid(struct span text)
{
    if (text.len == 0 || !utf8_is_valid(text)) {
        return false;
    }
    struct json_scan scan = {.at = text.bytes, .end = text.bytes + text.len};
    for (;;) {
        enum scan_outcome outcome = scan_value(&scan);
        if (outcome == SCAN_UNSURE) {
            return false;
        }
        if (outcome == SCAN_OPENED) {
            continue;
        }
        /* Behind a value: the ends of those around it, then the next one. */
        scan_space(&scan);
        while (scan.depth > 0 && scan_take(&scan, (scan.objects & 1) != 0 ? '}' : ']')) {
            scan.depth--;
            scan.objects >>= 1;
            scan_space(&scan);
        }
        if (scan.depth == 0) {
            return scan.at == scan.end;
        }
        if (!scan_take(&scan, ',') || ((scan.objects & 1) != 0 && !scan_key(&scan))) {
            return false;
        }
    }
}
