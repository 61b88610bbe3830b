#include "proto/http_head.h"

#include "proto/http_authority.h"
#include "proto/http_char.h"

static enum http_outcome bad(struct http_problem *ret_problem, int status, const char *reason)
{
    ret_problem->status = status;
    ret_problem->reason = reason;
    return HTTP_BAD;
}

/* --- Finding the end of a head -------------------------------------------------------------- */

/* The length of the empty lines before the request line; one too many is counted too. */
static size_t leading_lines_len(const char *bytes, size_t len)
{
    size_t len_max = min_size(len, 2 * (HTTP_LEADING_LINE_COUNT_MAX + 1));
    size_t at = 0;
    while (at + 2 <= len_max && bytes[at] == '\r' && bytes[at + 1] == '\n') {
        at += 2;
    }
    return at;
}

/* Refuses a first line that cannot become a request line, looking at no more than a method. */
static enum http_outcome scan_method(const char *bytes, size_t len,
                                     struct http_problem *ret_problem)
{
    if (len == 0 || (len == 1 && bytes[0] == '\r')) {
        return HTTP_MORE;
    }
    size_t run = http_char_run(bytes, min_size(len, HTTP_METHOD_LEN_MAX + 1), HTTP_CHAR_TOKEN);
    if (run > HTTP_METHOD_LEN_MAX) {
        return bad(ret_problem, 501, "The request method is longer than any that is known.");
    }
    if (run == len) {
        return HTTP_MORE;
    }
    if (run == 0 || bytes[run] != ' ') {
        return bad(ret_problem, 400, "The first line is not an HTTP request line.");
    }
    return HTTP_DONE;
}

static enum http_outcome bad_byte(char byte, struct http_problem *ret_problem)
{
    if (byte == '\n') {
        return bad(ret_problem, 400, "A line of the head ends in a bare line feed.");
    }
    return bad(ret_problem, 400, "The head holds a control character.");
}

/*
 * Goes on from *scanned, line by line. HTTP_DONE leaves *scanned behind the empty line. A carriage
 * return that is the last byte so far stays unscanned, since it may still turn out to be bare.
 */
static enum http_outcome scan_lines(const char *bytes, size_t len, size_t *scanned,
                                    struct http_problem *ret_problem)
{
    size_t at = *scanned;
    for (;;) {
        at += http_char_run_text(bytes + at, len - at);
        *scanned = at;
        if (at == len) {
            return HTTP_MORE;
        }
        if (bytes[at] != '\r') {
            return bad_byte(bytes[at], ret_problem);
        }
        if (at + 1 == len) {
            return HTTP_MORE;
        }
        if (bytes[at + 1] != '\n') {
            return bad(ret_problem, 400, "The head holds a bare carriage return.");
        }
        at += 2;
        if (at >= 4 && memcmp(bytes + at - 4, "\r\n\r\n", 4) == 0) {
            *scanned = at;
            return HTTP_DONE;
        }
    }
}

enum http_outcome http_head_scan(const char *bytes, size_t len, size_t head_len_max,
                                 size_t *scanned, size_t *ret_len, struct http_problem *ret_problem)
{
    size_t visible = min_size(len, head_len_max);
    CHECK(head_len_max > 0);
    CHECK(*scanned <= visible);
    if (visible == 0) {
        return HTTP_MORE;
    }
    size_t start = leading_lines_len(bytes, visible);
    if (start > 2 * HTTP_LEADING_LINE_COUNT_MAX) {
        return bad(ret_problem, 400, "There are too many empty lines before the request.");
    }

    /* Nothing counts as scanned before there is a method, which is short enough to look at again.
     */
    enum http_outcome outcome = HTTP_DONE;
    if (*scanned == 0) {
        outcome = scan_method(bytes + start, visible - start, ret_problem);
    }
    if (outcome == HTTP_DONE) {
        *scanned = *scanned == 0 ? start : *scanned;
        outcome = scan_lines(bytes, visible, scanned, ret_problem);
    }
    if (outcome == HTTP_DONE) {
        *ret_len = *scanned;
        return HTTP_DONE;
    }
    if (outcome == HTTP_MORE && visible == head_len_max) {
        bool in_request_line =
            start == visible || memchr(bytes + start, '\n', visible - start) == NULL;
        return in_request_line ? bad(ret_problem, 414, "The request line is too long.")
                               : bad(ret_problem, 431, "The request head is too large.");
    }
    return outcome;
}

/* --- Reading a head ------------------------------------------------------------------------- */

struct head_parser {
    const char *at;
    const char *end;
    struct http_request *request;
    struct http_problem *problem;
    unsigned host_count;
    /* The authority of an absolute target, which overrides Host (RFC 9112, 3.2.2). */
    struct span target_authority;
    bool has_transfer_encoding;
    /* Status 0 if there is none. Told only after what is wrong with the framing as a whole. */
    struct http_problem transfer_encoding_problem;
    bool connection_close;
    bool connection_keep_alive;
    bool expects_continue;
};

/* For `return refuse(...)` in the functions below, all of which return whether to go on. */
static bool refuse(struct head_parser *parser, int status, const char *reason)
{
    bad(parser->problem, status, reason);
    return false;
}

static size_t bytes_left(const struct head_parser *parser)
{
    return (size_t)(parser->end - parser->at);
}

/* Takes a run of one class, perhaps empty. */
static struct span take_run(struct head_parser *parser, enum http_char_class wanted)
{
    struct span run = {parser->at, http_char_run(parser->at, bytes_left(parser), wanted)};
    parser->at += run.len;
    return run;
}

static bool take_char(struct head_parser *parser, char wanted)
{
    if (parser->at == parser->end || *parser->at != wanted) {
        return false;
    }
    parser->at++;
    return true;
}

static bool take_line_end(struct head_parser *parser)
{
    if (take_char(parser, '\r')) {
        return take_char(parser, '\n') ||
               refuse(parser, 400, "The head holds a bare carriage return.");
    }
    if (parser->at == parser->end) {
        return refuse(parser, 400, "The request head is incomplete.");
    }
    bad_byte(*parser->at, parser->problem);
    return false;
}

static enum http_method method_of(struct span text)
{
    static const char *const names[] = {
        [HTTP_GET] = "GET",     [HTTP_HEAD] = "HEAD",     [HTTP_POST] = "POST",
        [HTTP_PUT] = "PUT",     [HTTP_DELETE] = "DELETE", [HTTP_OPTIONS] = "OPTIONS",
        [HTTP_PATCH] = "PATCH",
    };
    static_assert(countof(names) == HTTP_OTHER, "every method but HTTP_OTHER has a name");
    for (unsigned method = 0; method < countof(names); method++) {
        if (span_is(text, names[method])) {
            return (enum http_method)method;
        }
    }
    return HTTP_OTHER;
}

static bool parse_version(struct head_parser *parser)
{
    static const char form[] = "HTTP/d.d";
    const char *version = parser->at;
    size_t len = sizeof(form) - 1;
    if (bytes_left(parser) < len || memcmp(version, form, 5) != 0 ||
        !http_char_is(version[5], HTTP_CHAR_DIGIT) || version[6] != '.' ||
        !http_char_is(version[7], HTTP_CHAR_DIGIT)) {
        return refuse(parser, 400, "The request line does not end in an HTTP version.");
    }
    parser->at += len;
    if (parser->at == parser->end || *parser->at != '\r') {
        return refuse(parser, 400, "There is something after the HTTP version.");
    }
    if (version[5] != '1' || version[7] > '1') {
        return refuse(parser, 505, "Only HTTP/1.0 and HTTP/1.1 are spoken here.");
    }
    parser->request->minor_version = (uint8_t)(version[7] - '0');
    return take_line_end(parser);
}

static bool escapes_are_whole(struct span text)
{
    const char *end = text.bytes + text.len;
    const char *at = text.bytes;
    while ((at = memchr(at, '%', (size_t)(end - at))) != NULL) {
        if (end - at < 3 || !http_char_is(at[1], HTTP_CHAR_HEX) ||
            !http_char_is(at[2], HTTP_CHAR_HEX)) {
            return false;
        }
        at += 3;
    }
    return true;
}

/* Splits at the '?'; `text` is the origin form, or what follows the authority. */
static void split_query(struct http_request *request, struct span text)
{
    const char *mark = memchr(text.bytes, '?', text.len);
    size_t path_len = mark == NULL ? text.len : (size_t)(mark - text.bytes);
    request->path = span_make(text.bytes, path_len);
    if (mark == NULL) {
        request->query = span_make(text.bytes + text.len, 0);
    } else {
        request->query = span_make(mark + 1, text.len - path_len - 1);
    }
}

static bool parse_absolute_target(struct head_parser *parser, size_t scheme_len)
{
    struct http_request *request = parser->request;
    struct span rest = {request->target.bytes + scheme_len, request->target.len - scheme_len};
    size_t authority_len = 0;
    while (authority_len < rest.len && rest.bytes[authority_len] != '/' &&
           rest.bytes[authority_len] != '?') {
        authority_len++;
    }
    parser->target_authority = span_make(rest.bytes, authority_len);
    if (!http_authority_is_valid(parser->target_authority)) {
        return refuse(parser, 400, "The request target names no valid host.");
    }
    split_query(request, span_make(rest.bytes + authority_len, rest.len - authority_len));
    if (request->path.len == 0) {
        /* An empty path of OPTIONS asks about the server as a whole (RFC 9112, 3.2.4). */
        bool whole_server = request->method == HTTP_OPTIONS && authority_len == rest.len;
        request->path = span_of(whole_server ? "*" : "/");
    }
    return true;
}

static bool has_prefix_nocase(struct span text, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len >= len && span_is_nocase(span_make(text.bytes, len), prefix);
}

static bool parse_target(struct head_parser *parser)
{
    struct http_request *request = parser->request;
    struct span target = request->target;
    if (!escapes_are_whole(target)) {
        return refuse(parser, 400, "The request target holds a broken percent escape.");
    }
    if (target.bytes[0] == '/') {
        split_query(request, target);
    } else if (span_is(target, "*")) {
        if (request->method != HTTP_OPTIONS) {
            return refuse(parser, 400, "The request target * is for OPTIONS only.");
        }
        request->path = target;
        request->query = span_make(target.bytes + target.len, 0);
    } else if (has_prefix_nocase(target, "http://")) {
        if (!parse_absolute_target(parser, strlen("http://"))) {
            return false;
        }
    } else if (has_prefix_nocase(target, "https://")) {
        if (!parse_absolute_target(parser, strlen("https://"))) {
            return false;
        }
    } else {
        return refuse(parser, 400, "The request target is neither a path nor an http URI.");
    }
    /* Some programs read a backslash of a path as a slash. */
    if (memchr(request->path.bytes, '\\', request->path.len) != NULL) {
        return refuse(parser, 400, "The path of the request target holds a backslash.");
    }
    return true;
}

static bool parse_request_line(struct head_parser *parser)
{
    struct http_request *request = parser->request;
    request->method_text = take_run(parser, HTTP_CHAR_TOKEN);
    if (request->method_text.len == 0 || !take_char(parser, ' ')) {
        return refuse(parser, 400, "The first line is not an HTTP request line.");
    }
    if (request->method_text.len > HTTP_METHOD_LEN_MAX) {
        return refuse(parser, 501, "The request method is longer than any that is known.");
    }
    request->method = method_of(request->method_text);
    request->target = take_run(parser, HTTP_CHAR_TARGET);
    if (request->target.len == 0) {
        return refuse(parser, 400, "The method is not followed by one space and a target.");
    }
    if (!take_char(parser, ' ')) {
        return refuse(parser, 400,
                      "The request target holds a character that it must not, or no "
                      "HTTP version follows it.");
    }
    /* The version comes first: what the rest of the line means depends on it. */
    if (!parse_version(parser)) {
        return false;
    }
    if (span_is(request->method_text, "CONNECT")) {
        return refuse(parser, 501, "CONNECT is for proxies, and this is none.");
    }
    return parse_target(parser);
}

/* --- The fields that say how to read the message -------------------------------------------- */

static bool parse_content_length(struct head_parser *parser, struct span value)
{
    struct http_request *request = parser->request;
    if (request->has_content_length) {
        return refuse(parser, 400, "There is more than one Content-Length.");
    }
    if (value.len == 0 || http_char_run(value.bytes, value.len, HTTP_CHAR_DIGIT) != value.len) {
        return refuse(parser, 400, "Content-Length is not a plain decimal number.");
    }
    uint64_t length = 0;
    for (size_t i = 0; i < value.len; i++) {
        uint64_t digit = (uint64_t)(value.bytes[i] - '0');
        if (length > (UINT64_MAX - digit) / 10) {
            return refuse(parser, 400, "Content-Length is too large to be true.");
        }
        length = length * 10 + digit;
    }
    request->has_content_length = true;
    request->content_length = length;
    return true;
}

/* Cuts the first element off a comma-separated list, trimmed; false when there is none left. */
static bool list_next(struct span *rest, struct span *ret_element)
{
    if (rest->bytes == NULL) {
        return false;
    }
    const char *comma = rest->len == 0 ? NULL : memchr(rest->bytes, ',', rest->len);
    size_t len = comma == NULL ? rest->len : (size_t)(comma - rest->bytes);
    *ret_element = http_char_trim(span_make(rest->bytes, len));
    *rest = comma == NULL ? span_make(NULL, 0) : span_make(comma + 1, rest->len - len - 1);
    return true;
}

static struct http_problem transfer_coding_problem(struct span coding, bool after_chunked)
{
    if (coding.len == 0 || http_char_run(coding.bytes, coding.len, HTTP_CHAR_TOKEN) != coding.len) {
        return (struct http_problem){400, "Transfer-Encoding is not a list of plain names."};
    }
    if (after_chunked) {
        return (struct http_problem){400, "Transfer-Encoding says chunked but not once and last."};
    }
    if (!span_is_nocase(coding, "chunked")) {
        return (struct http_problem){501, "The only transfer coding known here is chunked."};
    }
    return (struct http_problem){0, NULL};
}

/* Several fields of this name are one list, so `chunked` may have been seen in an earlier one. */
static void parse_transfer_encoding(struct head_parser *parser, struct span value)
{
    parser->has_transfer_encoding = true;
    struct span rest = value;
    struct span coding;
    while (parser->transfer_encoding_problem.status == 0 && list_next(&rest, &coding)) {
        parser->transfer_encoding_problem =
            transfer_coding_problem(coding, parser->request->chunked);
        parser->request->chunked = parser->transfer_encoding_problem.status == 0;
    }
}

static bool parse_host(struct head_parser *parser, struct span value)
{
    if (parser->host_count++ > 0) {
        return refuse(parser, 400, "There is more than one Host.");
    }
    if (!http_authority_is_valid(value)) {
        return refuse(parser, 400, "Host is not a valid host name or address.");
    }
    parser->request->host = value;
    return true;
}

static void parse_connection(struct head_parser *parser, struct span value)
{
    struct span rest = value;
    struct span option;
    while (list_next(&rest, &option)) {
        parser->connection_close |= span_is_nocase(option, "close");
        parser->connection_keep_alive |= span_is_nocase(option, "keep-alive");
    }
}

static bool parse_expect(struct head_parser *parser, struct span value)
{
    if (!span_is_nocase(value, "100-continue")) {
        return refuse(parser, 417, "The only expectation known here is 100-continue.");
    }
    parser->expects_continue = true;
    return true;
}

/* Of every other field only the form matters here. The length tells most names apart. */
static bool note_field(struct head_parser *parser, const struct http_field *field)
{
    if (span_is_nocase(field->name, "host")) {
        return parse_host(parser, field->value);
    }
    if (span_is_nocase(field->name, "content-length")) {
        return parse_content_length(parser, field->value);
    }
    if (span_is_nocase(field->name, "expect")) {
        return parse_expect(parser, field->value);
    }
    if (span_is_nocase(field->name, "transfer-encoding")) {
        parse_transfer_encoding(parser, field->value);
    } else if (span_is_nocase(field->name, "connection")) {
        parse_connection(parser, field->value);
    }
    return true;
}

static bool refuse_field_name(struct head_parser *parser, size_t name_len)
{
    const char *at = parser->at;
    if (at < parser->end && http_char_is(*at, HTTP_CHAR_SPACE)) {
        if (name_len > 0) {
            return refuse(parser, 400, "There is whitespace between a field name and its colon.");
        }
        return refuse(parser, 400, "A field line begins with whitespace.");
    }
    if (name_len == 0) {
        return refuse(parser, 400, "A field has no valid name.");
    }
    return refuse(parser, 400, "A field name holds a character that it must not.");
}

static bool parse_field(struct head_parser *parser)
{
    struct http_request *request = parser->request;
    if (request->field_count == HTTP_FIELD_COUNT_MAX) {
        return refuse(parser, 431, "The request has too many fields.");
    }
    struct http_field *field = &request->fields[request->field_count];
    field->name = take_run(parser, HTTP_CHAR_TOKEN);
    if (field->name.len == 0 || !take_char(parser, ':')) {
        return refuse_field_name(parser, field->name.len);
    }
    struct span value = {parser->at, http_char_run_text(parser->at, bytes_left(parser))};
    field->value = http_char_trim(value);
    parser->at += value.len;
    request->field_count++;
    return take_line_end(parser) && note_field(parser, field);
}

/* What only the whole of the head can tell. */
static bool conclude(struct head_parser *parser)
{
    struct http_request *request = parser->request;
    if (parser->has_transfer_encoding && request->has_content_length) {
        return refuse(parser, 400, "There are both Content-Length and Transfer-Encoding.");
    }
    if (parser->has_transfer_encoding && request->minor_version == 0) {
        return refuse(parser, 400, "HTTP/1.0 has no Transfer-Encoding.");
    }
    if (parser->transfer_encoding_problem.status != 0) {
        *parser->problem = parser->transfer_encoding_problem;
        return false;
    }
    if (parser->host_count == 0 && request->minor_version > 0) {
        return refuse(parser, 400, "There is no Host, which HTTP/1.1 demands.");
    }
    if (parser->target_authority.len > 0) {
        request->host = parser->target_authority;
    }
    bool has_body = request->chunked || request->content_length > 0;
    /* An HTTP/1.0 client does not wait, whatever it says (RFC 9110, 10.1.1). */
    request->expect_continue = parser->expects_continue && has_body && request->minor_version > 0;
    request->keep_alive =
        !parser->connection_close && (request->minor_version > 0 || parser->connection_keep_alive);
    return true;
}

enum http_outcome http_head_parse(const char *bytes, size_t len, struct http_request *ret_request,
                                  struct http_problem *ret_problem)
{
    CHECK(len > 0);
    size_t start = leading_lines_len(bytes, len);
    if (start > 2 * HTTP_LEADING_LINE_COUNT_MAX) {
        return bad(ret_problem, 400, "There are too many empty lines before the request.");
    }
    /* The fields are three kilobytes and written before they are counted: no need to clear them. */
    memset(ret_request, 0, offsetof(struct http_request, fields));
    struct head_parser parser = {
        .at = bytes + start,
        .end = bytes + len,
        .request = ret_request,
        .problem = ret_problem,
    };
    if (!parse_request_line(&parser)) {
        return HTTP_BAD;
    }
    while (parser.at < parser.end && *parser.at != '\r') {
        if (!parse_field(&parser)) {
            return HTTP_BAD;
        }
    }
    if (!take_line_end(&parser)) {
        return HTTP_BAD;
    }
    if (parser.at != parser.end) {
        return bad(ret_problem, 400, "There is something after the end of the head.");
    }
    return conclude(&parser) ? HTTP_DONE : HTTP_BAD;
}

/* --- Looking things up ---------------------------------------------------------------------- */

const struct http_field *http_request_find_span(const struct http_request *request,
                                                struct span name)
{
    for (unsigned i = 0; i < request->field_count; i++) {
        if (span_equal_nocase(request->fields[i].name, name)) {
            return &request->fields[i];
        }
    }
    return NULL;
}

bool http_field_has_token(struct span value, const char *token)
{
    struct span rest = value;
    struct span element;
    while (list_next(&rest, &element)) {
        if (span_is_nocase(element, token)) {
            return true;
        }
    }
    return false;
}
