#include "proto/media_type.h"

#include <errno.h>

#include "proto/http_char.h"

struct parameter {
    struct span name;
    /* Of a quoted string what is between the quotes, with its escapes. */
    struct span value;
};

enum parameter_outcome { PARAMETER_OK, PARAMETER_END, PARAMETER_BAD };

static void skip(struct span *rest, size_t len)
{
    rest->bytes += len;
    rest->len -= len;
}

static struct span take_run(struct span *rest, enum http_char_class wanted)
{
    struct span run = {rest->bytes, http_char_run(rest->bytes, rest->len, wanted)};
    rest->bytes += run.len;
    rest->len -= run.len;
    return run;
}

static bool take_char(struct span *rest, char wanted)
{
    if (rest->len == 0 || rest->bytes[0] != wanted) {
        return false;
    }
    skip(rest, 1);
    return true;
}

/* The rest begins with a quote. Returns false if the string does not end. */
static bool take_quoted(struct span *rest, struct span *ret_value)
{
    size_t at = 1;
    while (at < rest->len && rest->bytes[at] != '"') {
        at += rest->bytes[at] == '\\' ? 2 : 1;
    }
    if (at >= rest->len) {
        return false;
    }
    *ret_value = span_make(rest->bytes + 1, at - 1);
    skip(rest, at + 1);
    return true;
}

/* *rest is what follows a type/subtype or an earlier parameter: OWS ";" OWS [ name "=" value ]. */
static enum parameter_outcome parameter_next(struct span *rest, struct parameter *ret_parameter)
{
    do {
        take_run(rest, HTTP_CHAR_SPACE);
        if (rest->len == 0) {
            return PARAMETER_END;
        }
        if (!take_char(rest, ';')) {
            return PARAMETER_BAD;
        }
        take_run(rest, HTTP_CHAR_SPACE);
        ret_parameter->name = take_run(rest, HTTP_CHAR_TOKEN);
    } while (ret_parameter->name.len == 0);

    if (!take_char(rest, '=') || rest->len == 0) {
        return PARAMETER_BAD;
    }
    if (rest->bytes[0] == '"') {
        return take_quoted(rest, &ret_parameter->value) ? PARAMETER_OK : PARAMETER_BAD;
    }
    ret_parameter->value = take_run(rest, HTTP_CHAR_TOKEN);
    return ret_parameter->value.len > 0 ? PARAMETER_OK : PARAMETER_BAD;
}

/* Takes token "/" token; empty if it is not there. */
static struct span take_essence(struct span *rest)
{
    const char *start = rest->bytes;
    struct span type = take_run(rest, HTTP_CHAR_TOKEN);
    if (type.len == 0 || !take_char(rest, '/')) {
        return span_make(start, 0);
    }
    struct span subtype = take_run(rest, HTTP_CHAR_TOKEN);
    return span_make(start, subtype.len == 0 ? 0 : type.len + 1 + subtype.len);
}

int media_type_parse(struct span value, struct media_type *ret_type)
{
    if (value.len == 0) {
        return -EINVAL;
    }
    struct span rest = http_char_trim(value);
    struct media_type parsed = {.charset = MEDIA_CHARSET_NONE};
    parsed.essence = take_essence(&rest);
    if (parsed.essence.len == 0) {
        return -EINVAL;
    }
    const char *mark = rest.len == 0 ? NULL : memchr(rest.bytes, ';', rest.len);
    if (mark != NULL) {
        parsed.parameters = span_make(mark + 1, (size_t)(rest.bytes + rest.len - mark) - 1);
    }

    struct parameter parameter;
    enum parameter_outcome outcome;
    while ((outcome = parameter_next(&rest, &parameter)) == PARAMETER_OK) {
        if (!span_is_nocase(parameter.name, "charset")) {
            continue;
        }
        if (parsed.charset != MEDIA_CHARSET_NONE) {
            return -EINVAL;
        }
        bool utf8 =
            span_is_nocase(parameter.value, "utf-8") || span_is_nocase(parameter.value, "utf8");
        parsed.charset = utf8 ? MEDIA_CHARSET_UTF8 : MEDIA_CHARSET_OTHER;
    }
    if (outcome == PARAMETER_BAD) {
        return -EINVAL;
    }
    *ret_type = parsed;
    return 0;
}

bool media_type_is(const struct media_type *media_type, const char *type)
{
    return span_is_nocase(media_type->essence, type);
}

/* --- Accept --------------------------------------------------------------------------------- */

enum specificity { MATCHES_NOT, MATCHES_ALL, MATCHES_TYPE, MATCHES_NAME };

struct range {
    struct span essence;
    bool forbidden;
};

/* qvalue: 0 to 1 with at most three digits after the point. Returns false for another form. */
static bool quality_parse(struct span text, bool *ret_is_zero)
{
    if (text.len == 0 || text.len > 5 || (text.bytes[0] != '0' && text.bytes[0] != '1') ||
        (text.len > 1 && text.bytes[1] != '.')) {
        return false;
    }
    bool fraction_is_zero = true;
    for (size_t i = 2; i < text.len; i++) {
        if (!http_char_is(text.bytes[i], HTTP_CHAR_DIGIT)) {
            return false;
        }
        fraction_is_zero &= text.bytes[i] == '0';
    }
    *ret_is_zero = text.bytes[0] == '0' && fraction_is_zero;
    return text.bytes[0] == '0' || fraction_is_zero;
}

/* Cuts the first element off; commas inside quoted strings do not count. */
static struct span take_element(struct span *rest)
{
    struct span whole = *rest;
    while (rest->len > 0 && rest->bytes[0] != ',') {
        struct span ignored;
        if (rest->bytes[0] != '"') {
            skip(rest, 1);
        } else if (!take_quoted(rest, &ignored)) {
            skip(rest, rest->len);
        }
    }
    struct span element = {whole.bytes, whole.len - rest->len};
    take_char(rest, ',');
    return http_char_trim(element);
}

/* The parameters of an element; false if they have not the form. */
static bool forbidden_parse(struct span rest, bool *ret_forbidden)
{
    struct parameter parameter;
    enum parameter_outcome outcome;
    *ret_forbidden = false;
    while ((outcome = parameter_next(&rest, &parameter)) == PARAMETER_OK) {
        if (span_is_nocase(parameter.name, "q") && !quality_parse(parameter.value, ret_forbidden)) {
            return false;
        }
    }
    return outcome == PARAMETER_END;
}

static bool range_parse(struct span element, struct range *ret_range)
{
    struct span rest = element;
    ret_range->essence = take_essence(&rest);
    return ret_range->essence.len > 0 && forbidden_parse(rest, &ret_range->forbidden);
}

static enum specificity range_match(const struct range *range, struct span type)
{
    struct span essence = range->essence;
    if (span_equal_nocase(essence, type)) {
        return MATCHES_NAME;
    }
    if (span_is(essence, "*/*")) {
        return MATCHES_ALL;
    }
    if (essence.len < 3 || memcmp(essence.bytes + essence.len - 2, "/*", 2) != 0) {
        return MATCHES_NOT;
    }
    struct span prefix = {essence.bytes, essence.len - 1};
    bool same =
        type.len > prefix.len && span_equal_nocase(prefix, span_make(type.bytes, prefix.len));
    return same ? MATCHES_TYPE : MATCHES_NOT;
}

/* The most specific match; among several of one kind, one that allows wins. */
static enum specificity best_match(struct span accept, const char *type, bool *ret_allowed)
{
    enum specificity best = MATCHES_NOT;
    bool allowed = false;
    struct span rest = accept;
    while (rest.len > 0) {
        struct range range;
        if (!range_parse(take_element(&rest), &range)) {
            continue;
        }
        enum specificity match = range_match(&range, span_of(type));
        if (match == MATCHES_NOT || match < best) {
            continue;
        }
        allowed = match > best ? !range.forbidden : (allowed || !range.forbidden);
        best = match;
    }
    *ret_allowed = allowed;
    return best;
}

bool media_accepts(struct span accept, const char *type)
{
    bool allowed;
    best_match(accept, type, &allowed);
    return accept.len == 0 || allowed;
}

bool media_accepts_by_name(struct span accept, const char *type)
{
    bool allowed;
    return best_match(accept, type, &allowed) == MATCHES_NAME && allowed;
}

bool media_accepts_coding(struct span accept_encoding, const char *coding)
{
    bool named = false;
    bool allowed = false;
    struct span rest = accept_encoding;
    while (rest.len > 0) {
        struct span element = take_element(&rest);
        struct span name = take_run(&element, HTTP_CHAR_TOKEN);
        bool forbidden;
        if (name.len == 0 || !forbidden_parse(element, &forbidden)) {
            continue;
        }
        if (span_is_nocase(name, coding)) {
            allowed = named ? allowed || !forbidden : !forbidden;
            named = true;
        } else if (span_is(name, "*") && !named) {
            allowed = !forbidden;
        }
    }
    return allowed;
}
