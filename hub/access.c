#include "hub/access.h"

#include <stdarg.h>
#include <stdio.h>

#include "hub/response.h"
#include "hub/transport.h"
#include "proto/http_char.h"

enum { ORIGIN_LEN_MAX = 255 };

static bool origin_is_listed(const struct call *call, struct span origin)
{
    const struct config_list *list = &call->config->cors_origin;
    for (uint32_t i = 0; i < list->count; i++) {
        if (span_is_nocase(origin, list->items[i])) {
            return true;
        }
    }
    return false;
}

static bool any_origin_is_allowed(const struct call *call)
{
    const struct config_list *list = &call->config->cors_origin;
    for (uint32_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i], "*") == 0) {
            return true;
        }
    }
    return false;
}

void access_set_cors(struct call *call)
{
    struct span origin = call_field(call, "Origin");
    bool any = any_origin_is_allowed(call);
    int len = 0;
    if (origin.len == 0 || origin.len > ORIGIN_LEN_MAX) {
        /* A cache must not give the answer made for no origin to one that is named. */
        if (!any || call->config->cors_origin.count > 1) {
            len = snprintf(call->cors, sizeof(call->cors), "Vary: Origin\r\n");
        }
    } else if (origin_is_listed(call, origin)) {
        len = snprintf(call->cors, sizeof(call->cors),
                       "Access-Control-Allow-Origin: %.*s\r\n"
                       "Access-Control-Allow-Credentials: true\r\nVary: Origin\r\n",
                       (int)origin.len, origin.bytes);
    } else if (any) {
        len = snprintf(call->cors, sizeof(call->cors), "Access-Control-Allow-Origin: *\r\n");
    } else {
        len = snprintf(call->cors, sizeof(call->cors), "Vary: Origin\r\n");
    }
    CHECK(len >= 0);
    CHECK((size_t)len < sizeof(call->cors));
    call->cors_len = (size_t)len;
}

/* A proxy on this machine speaks for others, who are not local. */
static bool call_is_forwarded(const struct call *call)
{
    return call_field(call, "Forwarded").bytes != NULL ||
           call_field(call, "X-Forwarded-For").bytes != NULL;
}

static bool call_is_local(const struct call *call)
{
    if (call_is_forwarded(call)) {
        return false;
    }
    return (call->connection->flags & CONNECTION_LOCAL_SOCKET) != 0 ||
           address_is_local(connection_address(call->connection));
}

/* "http://host:port" against the Host that the request was sent to. */
static bool origin_is_own(const struct call *call, struct span origin)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < countof(schemes); i++) {
        struct span scheme = span_of(schemes[i]);
        if (origin.len > scheme.len &&
            span_equal_nocase(span_make(origin.bytes, scheme.len), scheme)) {
            return span_equal_nocase(span_make(origin.bytes + scheme.len, origin.len - scheme.len),
                                     call->request->host);
        }
    }
    return false;
}

/* A name that resolves to this machine today may be anybody's tomorrow (DNS rebinding). */
static bool host_is_loopback(struct span host)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    if (host.len == 0) {
        return true; /* HTTP/1.0 without Host: no browser */
    }
    size_t digits = 0;
    while (digits < host.len && strchr("0123456789.", host.bytes[digits]) != NULL) {
        digits++;
    }
    if (digits > 4 && memcmp(host.bytes, "127.", 4) == 0 &&
        (digits == host.len || host.bytes[digits] == ':')) {
        return true;
    }
    for (size_t i = 0; i < countof(names); i++) {
        size_t len = strlen(names[i]);
        if (host.len >= len && span_is_nocase(span_make(host.bytes, len), names[i]) &&
            (host.len == len || host.bytes[len] == ':')) {
            return true;
        }
    }
    return false;
}

/* Whether a browser sent this for a page that has no business here. */
static bool origin_is_foreign(const struct call *call)
{
    struct span origin = call_field(call, "Origin");
    struct span site = call_field(call, "Sec-Fetch-Site");
    if (call->config->publish_from_any_origin ||
        (origin.bytes != NULL && origin_is_listed(call, origin))) {
        return false;
    }
    if (site.bytes != NULL && !span_is_nocase(site, "same-origin") &&
        !span_is_nocase(site, "none")) {
        return true;
    }
    return origin.bytes != NULL && !origin_is_own(call, origin);
}

/* It has nothing that a browser would not write, and nothing that a shell would read (RFC 6454). */
static bool origin_is_plain(struct span origin)
{
    for (size_t i = 0; i < origin.len; i++) {
        char c = origin.bytes[i];
        bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_word && (c == '\0' || strchr(":/.-_[]", c) == NULL)) {
            return false;
        }
    }
    return origin.len > 0 && origin.len <= ORIGIN_LEN_MAX && !span_is(origin, "null");
}

/* Says in the log what its operator can do: what the page is told, hardly anybody sees. */
static void log_foreign(const struct call *call)
{
    struct span origin = call_field(call, "Origin");
    bool has_name = origin_is_plain(origin);
    char hint[ORIGIN_LEN_MAX + 32];
    snprintf(hint, sizeof(hint), "--cors-origin %.*s", has_name ? (int)origin.len : 3,
             has_name ? origin.bytes : "'*'");
    log_line(call->shard->log, LOG_LEVEL_WARN, "page of another origin refused",
             LOG_STR("origin", origin), LOG_STR("path", call->request->path),
             LOG_TEXT("to_allow_it", hint));
}

static bool token_equal(struct span given, struct span expected)
{
    /* Every byte of what was given is looked at, wherever the first difference lies. */
    unsigned difference = given.len != expected.len;
    for (size_t i = 0; i < given.len; i++) {
        unsigned char other =
            expected.len == 0 ? 0xff : (unsigned char)expected.bytes[i % expected.len];
        difference |= (unsigned)((unsigned char)given.bytes[i] ^ other);
    }
    return difference == 0;
}

static bool token_is_valid(const struct call *call, struct span given)
{
    bool valid = false;
    for (uint32_t i = 0; i < call->config->tokens.count; i++) {
        valid |= token_equal(given, span_of(call->config->tokens.items[i]));
    }
    return valid;
}

static bool bearer_token(struct span authorization, struct span *ret_token)
{
    static const char scheme[] = "Bearer ";
    size_t len = sizeof(scheme) - 1;
    if (authorization.len <= len || !span_is_nocase(span_make(authorization.bytes, len), scheme)) {
        return false;
    }
    while (len < authorization.len && authorization.bytes[len] == ' ') {
        len++;
    }
    *ret_token = span_make(authorization.bytes + len, authorization.len - len);
    return true;
}

/* 401 with what RFC 6750, section 3 asks for. */
__attribute__((format(printf, 3, 4))) static void refuse_token(struct call *call, const char *error,
                                                               const char *format, ...)
{
    char headers[128];
    char detail[320];
    va_list arguments;
    int len =
        snprintf(headers, sizeof(headers), "WWW-Authenticate: Bearer realm=\"spate\"%s\r\n", error);
    va_start(arguments, format);
    vsnprintf(detail, sizeof(detail), format, arguments);
    va_end(arguments);
    response_problem_with(call, 401, span_make(headers, (size_t)len), detail);
}

/* `what` is what needs a token, as the first word of a sentence. */
static bool access_check(struct call *call, const char *what)
{
    if (origin_is_foreign(call)) {
        log_foreign(call);
        response_problem(call, 403,
                         "%s from a page of another origin is not allowed. "
                         "Allow the origin with --cors-origin.",
                         what);
        return false;
    }
    if (transport_knows_peer(call->connection)) {
        return true;
    }
    if (call->config->tokens.count == 0) {
        bool is_socket = (call->connection->flags & CONNECTION_LOCAL_SOCKET) != 0;
        /* A browser says where a POST comes from, but a GET may come from any page unmarked. */
        bool from_page = call->request->method == HTTP_GET ||
                         call_field(call, "Origin").bytes != NULL ||
                         call_field(call, "Sec-Fetch-Site").bytes != NULL;
        if (call_is_local(call) && !is_socket && from_page &&
            !host_is_loopback(call->request->host)) {
            response_problem(call, 403,
                             "%s without a publish token works at localhost or 127.0.0.1 by that "
                             "name: a page elsewhere could give this machine another one.",
                             what);
            return false;
        }
        if (call_is_local(call)) {
            return true;
        }
        refuse_token(call, "",
                     "%s works from the hub's own machine only, as it has no publish token "
                     "(protected mode). Set AUTH_TOKEN or --publish-token-file to do so from "
                     "elsewhere.",
                     what);
        return false;
    }
    struct span token;
    if (!bearer_token(call_field(call, "Authorization"), &token)) {
        refuse_token(call, "", "%s needs the header Authorization: Bearer <token>.", what);
        return false;
    }
    if (!token_is_valid(call, token)) {
        refuse_token(call, ", error=\"invalid_token\"", "The publish token is wrong.");
        return false;
    }
    return true;
}

/*
 * Of the fields that a preflight asks for, those of a CloudEvent: extensions may have any name, so
 * no list has them all. Writes a terminated list that begins with a comma, as far as there is room.
 */
static void cloudevent_fields_write(struct span wanted, char *out, size_t size)
{
    size_t len = 0;
    while (wanted.len > 0) {
        const char *comma = memchr(wanted.bytes, ',', wanted.len);
        size_t item_len = comma == NULL ? wanted.len : (size_t)(comma - wanted.bytes);
        struct span item = http_char_trim(span_make(wanted.bytes, item_len));
        if (item.len > 3 && span_is_nocase(span_make(item.bytes, 3), "ce-") &&
            http_char_run(item.bytes, item.len, HTTP_CHAR_TOKEN) == item.len &&
            len + item.len + 3 <= size) {
            len += (size_t)snprintf(out + len, size - len, ", %.*s", (int)item.len, item.bytes);
        }
        size_t used = min_size(item_len + 1, wanted.len);
        wanted = span_make(wanted.bytes + used, wanted.len - used);
    }
    out[len] = '\0';
}

bool access_may_publish(struct call *call)
{
    return access_check(call, "Publishing");
}

bool access_may_watch(struct call *call)
{
    return access_check(call, "Watching the hub");
}

void access_answer_options(struct call *call, const char *methods)
{
    char fields[CALL_HEADERS_MAX / 2];
    char headers[CALL_HEADERS_MAX];
    struct span wanted = call_field(call, "Access-Control-Request-Method");
    int len = snprintf(headers, sizeof(headers), "Allow: %s, OPTIONS\r\n", methods);
    struct span origin = call_field(call, "Origin");
    if (wanted.len > 0 && origin.len > 0) {
        bool may_publish = call->config->publish_from_any_origin || origin_is_listed(call, origin);
        /* Of the methods that publish, POST comes all the same, and is refused then. */
        if (!may_publish && span_is(wanted, "DELETE")) {
            log_foreign(call);
        }
        cloudevent_fields_write(call_field(call, "Access-Control-Request-Headers"), fields,
                                sizeof(fields));
        len += snprintf(headers + len, sizeof(headers) - (size_t)len,
                        "Access-Control-Allow-Methods: %s\r\n"
                        "Access-Control-Allow-Headers: Authorization, Content-Type, "
                        "Idempotency-Key, Last-Event-ID, Cache-Control%s\r\n"
                        "Access-Control-Max-Age: 86400\r\n",
                        may_publish ? methods : "GET, HEAD", fields);
    }
    CHECK(len > 0 && (size_t)len < sizeof(headers));
    response_send(call,
                  &(struct response){.status = 204, .headers = span_make(headers, (size_t)len)});
}
