#include "hub/log_text.h"

#include "core/base/utf8.h"

/* Kept free for what log_text_end writes: `,"truncated":true}` and the newline. */
enum { END_BYTES = 24 };

static const char *const level_names[] = {"debug", "info", "warn", "error"};

/* Appends if it fits before the reserved end; sets truncated otherwise. */
static void append(struct log_text *text, const char *bytes, size_t len)
{
    if (text->truncated || len > LOG_TEXT_BYTES_MAX - END_BYTES - text->len) {
        text->truncated = true;
        return;
    }
    memcpy(text->bytes + text->len, bytes, len);
    text->len += len;
}

static void append_string(struct log_text *text, const char *string)
{
    append(text, string, strlen(string));
}

/* At least `width` digits, with leading zeros. */
static void append_digits(struct log_text *text, uint64_t value, size_t width)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0 || sizeof(digits) - at < width);
    append(text, digits + at, sizeof(digits) - at);
}

static uint64_t days_of_year(uint64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 366 : 365;
}

/* The civil date of a day counted from 1970-01-01. The calendar repeats after 400 years. */
static void date_of_day(uint64_t days, uint64_t *ret_year, uint64_t *ret_month, uint64_t *ret_day)
{
    static const uint8_t days_of_month[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    enum { DAYS_OF_400_YEARS = 146097 };
    uint64_t year = 1970 + days / DAYS_OF_400_YEARS * 400;
    uint64_t rest = days % DAYS_OF_400_YEARS;
    for (; rest >= days_of_year(year); year++) {
        rest -= days_of_year(year);
    }
    size_t month = 0;
    for (; month < 11; month++) {
        uint64_t length = days_of_month[month];
        length += month == 1 && days_of_year(year) == 366 ? 1 : 0;
        if (rest < length) {
            break;
        }
        rest -= length;
    }
    *ret_year = year;
    *ret_month = month + 1;
    *ret_day = rest + 1;
}

/* RFC 3339 in UTC. Not gmtime_r, which takes a lock of the C library. */
static void append_time(struct log_text *text, uint64_t now_ms)
{
    uint64_t year;
    uint64_t month;
    uint64_t day;
    uint64_t seconds = now_ms / 1000;
    date_of_day(seconds / 86400, &year, &month, &day);
    append_digits(text, year, 4);
    append_string(text, "-");
    append_digits(text, month, 2);
    append_string(text, "-");
    append_digits(text, day, 2);
    append_string(text, "T");
    append_digits(text, seconds / 3600 % 24, 2);
    append_string(text, ":");
    append_digits(text, seconds / 60 % 60, 2);
    append_string(text, ":");
    append_digits(text, seconds % 60, 2);
    append_string(text, ".");
    append_digits(text, now_ms % 1000, 3);
    append_string(text, "Z");
}

/* The length of the valid UTF-8 sequence at the start of the text, or 0. */
static size_t sequence_len(struct span rest)
{
    unsigned char lead = (unsigned char)rest.bytes[0];
    size_t len = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    return len <= rest.len && utf8_is_valid(span_make(rest.bytes, len)) ? len : 0;
}

/*
 * The code point of a character that must not stand in a log as it is, else 0 (and NUL is 1 past
 * the range, since 0 is taken): C0 and C1 controls and DEL, which terminals obey; the line and
 * paragraph separators; and the marks that change the direction of the text around them.
 */
static uint32_t control_of(struct span character)
{
    const unsigned char *p = (const unsigned char *)character.bytes;
    uint32_t code = 0;
    if (character.len == 1) {
        return p[0] < 0x20 || p[0] == 0x7f ? (p[0] == 0 ? 0x10000 : p[0]) : 0;
    }
    if (character.len == 2) {
        code = ((p[0] & 0x1fU) << 6) | (p[1] & 0x3fU);
        return code < 0xa0 ? code : 0;
    }
    if (character.len == 3) {
        code = ((p[0] & 0x0fU) << 12) | ((p[1] & 0x3fU) << 6) | (p[2] & 0x3fU);
        bool direction = code == 0x200e || code == 0x200f || (code >= 0x202a && code <= 0x202e) ||
                         (code >= 0x2066 && code <= 0x2069);
        return direction || code == 0x2028 || code == 0x2029 ? code : 0;
    }
    return 0;
}

static void append_escape(struct log_text *text, uint32_t code)
{
    static const char hex[] = "0123456789abcdef";
    char escape[6] = {
        '\\', 'u', hex[code >> 12 & 15], hex[code >> 8 & 15], hex[code >> 4 & 15], hex[code & 15]};
    switch (code) {
    case '\n':
        append(text, "\\n", 2);
        break;
    case '\r':
        append(text, "\\r", 2);
        break;
    case '\t':
        append(text, "\\t", 2);
        break;
    default:
        append(text, escape, sizeof(escape));
        break;
    }
}

/* The inside of a quoted value, the same for both formats. */
static void append_escaped(struct log_text *text, struct span value)
{
    bool cut = value.len > LOG_VALUE_BYTES_MAX;
    struct span rest = span_make(value.bytes, cut ? LOG_VALUE_BYTES_MAX : value.len);
    while (cut && rest.len > 0 && ((unsigned char)value.bytes[rest.len] & 0xc0) == 0x80) {
        rest.len--; /* not in the middle of a character */
    }
    while (rest.len > 0) {
        size_t len = sequence_len(rest);
        uint32_t control = len == 0 ? 0 : control_of(span_make(rest.bytes, len));
        if (len == 0) {
            append(text, "\xef\xbf\xbd", 3); /* U+FFFD */
            len = 1;
        } else if (control != 0) {
            append_escape(text, control);
        } else if (rest.bytes[0] == '"' || rest.bytes[0] == '\\') {
            append(text, "\\", 1);
            append(text, rest.bytes, 1);
        } else {
            append(text, rest.bytes, len);
        }
        rest = span_make(rest.bytes + len, rest.len - len);
    }
    if (cut) {
        append(text, "\xe2\x80\xa6", 3); /* an ellipsis */
    }
}

/* logfmt needs no quotes around plain words. */
static bool is_bare(struct span value)
{
    if (value.len == 0 || value.len > LOG_VALUE_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < value.len; i++) {
        char c = value.bytes[i];
        if (c <= ' ' || c > '~' || c == '"' || c == '=' || c == '\\') {
            return false;
        }
    }
    return true;
}

static void append_value(struct log_text *text, struct span value)
{
    if (text->format == LOG_FORMAT_LOGFMT && is_bare(value)) {
        append(text, value.bytes, value.len);
        return;
    }
    append(text, "\"", 1);
    append_escaped(text, value);
    append(text, "\"", 1);
}

static void append_key(struct log_text *text, const char *key)
{
    if (text->format == LOG_FORMAT_JSON) {
        append_string(text, text->len == 0 ? "{\"" : ",\"");
        append_string(text, key);
        append_string(text, "\":");
    } else {
        append_string(text, text->len == 0 ? "" : " ");
        append_string(text, key);
        append_string(text, "=");
    }
}

static void append_signed(struct log_text *text, int64_t value)
{
    if (value < 0) {
        append(text, "-", 1);
    }
    append_digits(text, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 1);
}

static void append_ms(struct log_text *text, double ms)
{
    if (!(ms > -9e15 && ms < 9e15)) { /* also catches what is not a number, which JSON lacks */
        append_value(text, span_of("unknown"));
        return;
    }
    double magnitude = ms < 0 ? -ms : ms;
    uint64_t micros = (uint64_t)(magnitude * 1000 + 0.5);
    append_string(text, ms < 0 && micros > 0 ? "-" : "");
    append_digits(text, micros / 1000, 1);
    append_string(text, ".");
    append_digits(text, micros % 1000, 3);
}

void log_text_begin(struct log_text *text, enum log_format format, uint64_t now_ms,
                    enum log_level level, const char *event)
{
    CHECK(level < countof(level_names));
    text->format = format;
    text->truncated = false;
    text->len = 0;
    append_key(text, "time");
    append_string(text, format == LOG_FORMAT_JSON ? "\"" : "");
    append_time(text, now_ms);
    append_string(text, format == LOG_FORMAT_JSON ? "\"" : "");
    append_key(text, "level");
    append_value(text, span_of(level_names[level]));
    append_key(text, "msg");
    append_value(text, span_of(event));
    CHECK(!text->truncated);
}

void log_text_field(struct log_text *text, const struct log_field *field)
{
    size_t before = text->len;
    append_key(text, field->key);
    switch (field->kind) {
    case LOG_FIELD_STRING:
        append_value(text, field->string);
        break;
    case LOG_FIELD_U64:
        append_digits(text, field->u64, 1);
        break;
    case LOG_FIELD_I64:
        append_signed(text, field->i64);
        break;
    case LOG_FIELD_MS:
        append_ms(text, field->ms);
        break;
    }
    if (text->truncated) {
        text->len = before;
    }
}

void log_text_end(struct log_text *text)
{
    bool json = text->format == LOG_FORMAT_JSON;
    const char *end = text->truncated ? (json ? ",\"truncated\":true}\n" : " truncated=true\n")
                                      : (json ? "}\n" : "\n");
    size_t len = strlen(end);
    CHECK(len <= LOG_TEXT_BYTES_MAX - text->len);
    memcpy(text->bytes + text->len, end, len);
    text->len += len;
}
