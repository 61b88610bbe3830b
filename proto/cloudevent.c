#include "proto/cloudevent.h"

#include "core/base/utf8.h"
#include "proto/base64.h"
#include "proto/http_char.h"
#include "proto/json_cut.h"
#include "proto/media_type.h"
#include "proto/uri.h"

void cloudevent_init(struct cloudevent *event)
{
    *event = (struct cloudevent){.data_kind = CLOUDEVENT_DATA_NONE};
}

static bool refuse(struct cloudevent_problem *problem, struct span attribute, const char *reason)
{
    *problem = (struct cloudevent_problem){attribute, reason};
    return false;
}

/* ---- Types ----------------------------------------------------------------------------------- */

/* One code point of valid UTF-8, taken off the text. */
static uint32_t point_take(struct span *text)
{
    uint8_t lead = (uint8_t)text->bytes[0];
    size_t more = lead < 0x80 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    uint32_t point = more == 0 ? lead : lead & (0x3fU >> more);
    for (size_t i = 1; i <= more; i++) {
        point = point << 6 | ((uint8_t)text->bytes[i] & 0x3fU);
    }
    *text = span_make(text->bytes + more + 1, text->len - more - 1);
    return point;
}

/* The type String: no control characters, no noncharacters. */
static const char *string_problem(struct span text)
{
    if (!utf8_is_valid(text)) {
        return "is not valid UTF-8";
    }
    while (text.len > 0) {
        uint32_t point = point_take(&text);
        if (point < 0x20 || (point >= 0x7f && point < 0xa0)) {
            return "has a control character";
        }
        if ((point & 0xfffe) == 0xfffe || (point >= 0xfdd0 && point <= 0xfdef)) {
            return "has a code point that Unicode keeps from being a character";
        }
    }
    return NULL;
}

/* `count` digits at the beginning, taken off the text. */
static bool digits_take(struct span *text, size_t count, unsigned *ret_value)
{
    *ret_value = 0;
    if (text->len < count || http_char_run(text->bytes, count, HTTP_CHAR_DIGIT) < count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        *ret_value = *ret_value * 10 + (unsigned)(text->bytes[i] - '0');
    }
    *text = span_make(text->bytes + count, text->len - count);
    return true;
}

static bool char_take(struct span *text, char one, char other)
{
    if (text->len == 0 || (text->bytes[0] != one && text->bytes[0] != other)) {
        return false;
    }
    *text = span_make(text->bytes + 1, text->len - 1);
    return true;
}

static bool date_take(struct span *text)
{
    static const uint8_t days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned year;
    unsigned month;
    unsigned day;
    if (!digits_take(text, 4, &year) || !char_take(text, '-', '-') ||
        !digits_take(text, 2, &month) || !char_take(text, '-', '-') ||
        !digits_take(text, 2, &day) || month < 1 || month > 12 || day < 1 ||
        day > days[month - 1]) {
        return false;
    }
    bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return is_leap || month != 2 || day < 29;
}

/* Hours and minutes; false if they are none. */
static bool clock_take(struct span *text, unsigned *ret_minutes)
{
    unsigned hour;
    unsigned minute;
    if (!digits_take(text, 2, &hour) || !char_take(text, ':', ':') ||
        !digits_take(text, 2, &minute) || hour > 23 || minute > 59) {
        return false;
    }
    *ret_minutes = hour * 60 + minute;
    return true;
}

/* RFC 3339, 5.6: date-time. A second 60 is there only where UTC has a minute before midnight. */
static bool timestamp_is_valid(struct span text)
{
    enum { DAY_MINUTES = 24 * 60 };
    unsigned minutes;
    unsigned second;
    unsigned offset = 0;
    if (!date_take(&text) || !char_take(&text, 'T', 't') || !clock_take(&text, &minutes) ||
        !char_take(&text, ':', ':') || !digits_take(&text, 2, &second) || second > 60) {
        return false;
    }
    if (char_take(&text, '.', '.')) {
        size_t run = http_char_run(text.bytes, text.len, HTTP_CHAR_DIGIT);
        if (run == 0) {
            return false;
        }
        text = span_make(text.bytes + run, text.len - run);
    }
    if (!char_take(&text, 'Z', 'z')) {
        bool is_behind = text.len > 0 && text.bytes[0] == '-';
        if (!char_take(&text, '+', '-') || !clock_take(&text, &offset)) {
            return false;
        }
        minutes += is_behind ? offset : DAY_MINUTES - offset;
    }
    return text.len == 0 && (second < 60 || minutes % DAY_MINUTES == DAY_MINUTES - 1);
}

/* ---- Attributes ------------------------------------------------------------------------------ */

enum attribute_type {
    TYPE_STRING, /* none of the attributes that are strings may be empty */
    TYPE_VERSION,
    TYPE_URI,
    TYPE_URI_REFERENCE,
    TYPE_MEDIA_TYPE,
    TYPE_TIMESTAMP,
};

enum { NOT_KEPT = -1 };

static const struct attribute {
    const char *name;
    enum attribute_type type;
    bool is_required;
    int offset; /* of the span in struct cloudevent */
} attributes[] = {
    {"specversion", TYPE_VERSION, true, offsetof(struct cloudevent, specversion)},
    {"id", TYPE_STRING, true, offsetof(struct cloudevent, id)},
    {"source", TYPE_URI_REFERENCE, true, offsetof(struct cloudevent, source)},
    {"type", TYPE_STRING, true, offsetof(struct cloudevent, type)},
    {"datacontenttype", TYPE_MEDIA_TYPE, false, offsetof(struct cloudevent, datacontenttype)},
    {"dataschema", TYPE_URI, false, NOT_KEPT},
    {"subject", TYPE_STRING, false, NOT_KEPT},
    {"time", TYPE_TIMESTAMP, false, NOT_KEPT},
};

static const struct attribute *attribute_find(struct span name)
{
    for (size_t i = 0; i < countof(attributes); i++) {
        if (span_is(name, attributes[i].name)) {
            return &attributes[i];
        }
    }
    return NULL;
}

static struct span *attribute_place(struct cloudevent *event, const struct attribute *attribute)
{
    return (struct span *)(void *)((char *)event + attribute->offset);
}

static const char *attribute_problem(enum attribute_type type, struct span value)
{
    struct media_type media_type;
    const char *problem = string_problem(value);
    if (problem != NULL) {
        return problem;
    }
    if (value.len == 0) {
        return "must not be empty";
    }
    switch (type) {
    case TYPE_STRING:
        return NULL;
    case TYPE_VERSION:
        return span_is(value, "1.0") ? NULL : "must be 1.0, the only version that is read here";
    case TYPE_URI:
        return uri_is_absolute(value)
                   ? NULL
                   : "is not an absolute URI without a fragment (RFC 3986, section 4.3)";
    case TYPE_URI_REFERENCE:
        return uri_reference_is_valid(value)
                   ? NULL
                   : "is not a URI reference (RFC 3986, section 4.1); other characters are "
                     "percent-encoded";
    case TYPE_MEDIA_TYPE:
        return media_type_parse(value, &media_type) == 0
                   ? NULL
                   : "is not a media type such as application/json";
    case TYPE_TIMESTAMP:
        return timestamp_is_valid(value) ? NULL
                                         : "is not a time such as 2026-11-21T06:00:00Z (RFC 3339)";
    }
    return NULL;
}

static const char *name_problem(struct span name)
{
    if (name.len == 0) {
        return "has an empty name";
    }
    for (size_t i = 0; i < name.len; i++) {
        char c = name.bytes[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9')) {
            return "has a name of other characters than a-z and 0-9";
        }
    }
    return NULL;
}

/* A value that is text by now. */
static bool text_set(struct cloudevent *event, struct span name, struct span value,
                     struct cloudevent_problem *problem)
{
    const struct attribute *attribute = attribute_find(name);
    const char *reason =
        attribute == NULL ? string_problem(value) : attribute_problem(attribute->type, value);
    if (reason != NULL) {
        return refuse(problem, name, reason);
    }
    if (attribute != NULL && attribute->offset != NOT_KEPT) {
        *attribute_place(event, attribute) = value;
    }
    return true;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* An Integer has 32 bits, and neither fraction nor exponent. */
static bool integer_is_valid(struct span text)
{
    bool is_negative = text.len > 0 && text.bytes[0] == '-';
    int64_t value = 0;
    if (text.len == 0 || text.len > 11) {
        return false;
    }
    for (size_t i = is_negative ? 1 : 0; i < text.len; i++) {
        if (!http_char_is(text.bytes[i], HTTP_CHAR_DIGIT)) {
            return false;
        }
        value = value * 10 + (text.bytes[i] - '0');
    }
    return value <= (is_negative ? -(int64_t)INT32_MIN : INT32_MAX);
}

/* An extension that is not a string. */
static const char *value_problem(struct span value)
{
    if (span_is(value, "true") || span_is(value, "false")) {
        return NULL;
    }
    if (value.bytes[0] == '{' || value.bytes[0] == '[') {
        return "must be a string, an integer or a boolean";
    }
    return integer_is_valid(value) ? NULL
                                   : "must be an integer from -2147483648 to 2147483647, written "
                                     "without fraction and exponent";
}

bool cloudevent_set_member(struct cloudevent *event, struct span name, struct span value,
                           char *room, struct cloudevent_problem *ret_problem)
{
    size_t len = 0;
    bool is_base64 = span_is(name, "data_base64");
    if (span_is(name, "data")) {
        event->raw_data = value;
        return true;
    }
    const char *reason = is_base64 ? NULL : name_problem(name);
    if (reason != NULL) {
        return refuse(ret_problem, name, reason);
    }
    if (span_is(value, "null")) {
        return true; /* as if it were not there */
    }
    if (!json_cut_is_string(value)) {
        reason =
            is_base64 || attribute_find(name) != NULL ? "must be a string" : value_problem(value);
        return reason == NULL || refuse(ret_problem, name, reason);
    }
    if (!json_cut_unescape(value, room, &len)) {
        return refuse(ret_problem, name, "has half of a surrogate pair");
    }
    if (!is_base64) {
        return text_set(event, name, span_make(room, len), ret_problem);
    }
    event->raw_base64 = span_make(room, len);
    return base64_is_valid(event->raw_base64) ||
           refuse(ret_problem, name, "is not base64 with its padding (RFC 4648, section 4)");
}

bool cloudevent_is_json(struct span media_type)
{
    struct media_type type;
    if (media_type_parse(media_type, &type) < 0) {
        return false;
    }
    struct span essence = type.essence;
    return essence.len > 5 &&
           (span_is_nocase(span_make(essence.bytes + essence.len - 5, 5), "/json") ||
            span_is_nocase(span_make(essence.bytes + essence.len - 5, 5), "+json"));
}

bool cloudevent_finish(struct cloudevent *event, struct cloudevent_problem *ret_problem)
{
    for (size_t i = 0; i < countof(attributes); i++) {
        if (attributes[i].is_required && attribute_place(event, &attributes[i])->bytes == NULL) {
            return refuse(ret_problem, span_of(attributes[i].name), "is missing");
        }
    }
    if (event->raw_data.bytes != NULL && event->raw_base64.bytes != NULL) {
        return refuse(ret_problem, span_of("data"), "and data_base64 exclude each other");
    }
    if (event->raw_base64.bytes != NULL) {
        event->data_kind = CLOUDEVENT_DATA_BASE64;
        event->data = event->raw_base64;
    } else if (event->raw_data.bytes != NULL) {
        bool is_json =
            event->datacontenttype.bytes == NULL || cloudevent_is_json(event->datacontenttype);
        if (!is_json && span_is(event->raw_data, "null")) {
            return true; /* no text, hence no data */
        }
        event->data_kind = is_json ? CLOUDEVENT_DATA_JSON : CLOUDEVENT_DATA_TEXT;
        event->data = event->raw_data;
        if (!is_json && !json_cut_is_string(event->data)) {
            return refuse(ret_problem, span_of("data"),
                          "must be a string, as its datacontenttype is not JSON");
        }
    }
    return true;
}

/* ---- Header fields --------------------------------------------------------------------------- */

const char *cloudevent_decode_field(struct span value, char *out, size_t *ret_len)
{
    size_t len = 0;
    bool is_quoted = false;
    for (size_t i = 0; i < value.len; i++) {
        char c = value.bytes[i];
        if (c == '"') {
            is_quoted = !is_quoted;
        } else if (c == '\\' && is_quoted) {
            i++;
            if (i == value.len) {
                break;
            }
            out[len++] = value.bytes[i];
        } else {
            out[len++] = c;
        }
    }
    if (is_quoted) {
        return "has a quoted string without an end";
    }
    if (uri_decode(span_make(out, len), false, out, ret_len) < 0) {
        return "has a percent sign without two hexadecimal digits behind it";
    }
    return NULL;
}

bool cloudevent_set_field(struct cloudevent *event, struct span name, struct span value,
                          struct cloudevent_problem *ret_problem)
{
    const char *reason = name_problem(name);
    if (span_is(name, "data")) {
        reason = "is the name of the data itself, which is the body";
    }
    if (reason != NULL) {
        return refuse(ret_problem, name, reason);
    }
    return text_set(event, name, value, ret_problem);
}
