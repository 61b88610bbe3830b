#include "hub/call.h"

#include <errno.h>

#include "core/base/utf8.h"
#include "hub/access.h"
#include "hub/page.h"
#include "hub/response.h"
#include "hub/routes.h"

/*
 * Which methods a route knows. HEAD goes with a GET that only looks, never with one that publishes;
 * OPTIONS goes with everything.
 */
enum { ROUTE_GET = 1, ROUTE_POST = 2, ROUTE_DELETE = 4, ROUTE_GET_ACTS = 8 };

struct route {
    unsigned methods;
    const char *segments[CALL_SEGMENTS_MAX]; /* "*" stands for any one segment */
    void (*answer)(struct call *call);
};

static const struct route routes[] = {
    {ROUTE_GET, {"sse", "*"}, subscribe_channel},
    {ROUTE_GET, {"sse"}, subscribe_channels},
    {ROUTE_GET, {"stream", "*"}, subscribe_client},
    {ROUTE_POST, {"publish", "*"}, publish_channel},
    {ROUTE_POST, {"publish"}, publish_query},
    {ROUTE_GET_ACTS | ROUTE_POST, {"publish", "status", "*"}, publish_status_all},
    {ROUTE_GET_ACTS | ROUTE_POST, {"publish", "*", "status", "*"}, publish_status},
    {ROUTE_GET, {"health"}, look_health},
    {ROUTE_GET, {"livez"}, look_health},
    {ROUTE_GET, {"readyz"}, look_ready},
    {ROUTE_GET, {"stats"}, look_stats},
    {ROUTE_GET, {"metrics"}, look_metrics},
    {ROUTE_GET, {"debug", "fanout"}, look_fanout},
    {ROUTE_GET, {"clients"}, list_clients},
    {ROUTE_DELETE, {"clients", "*"}, delete_client},
    {ROUTE_GET, {"channels"}, list_channels},
    {ROUTE_DELETE, {"channels", "*"}, delete_channel},
    {ROUTE_GET, {"openapi.json"}, look_openapi},
    {ROUTE_GET, {""}, page_answer},
    {ROUTE_GET, {"dashboard"}, page_answer},
    {ROUTE_GET, {"demos", "*"}, page_answer},
    {ROUTE_GET, {"assets", "*"}, page_answer},
};

char *call_scratch(struct call *call, size_t size)
{
    if (size > call->shard->scratch_size - call->scratch_used) {
        return NULL;
    }
    char *room = call->shard->scratch + call->scratch_used;
    call->scratch_used += size;
    return room;
}

static int call_decode(struct call *call, struct span raw, bool plus_is_space,
                       struct span *ret_text)
{
    char *room = call_scratch(call, raw.len + 1);
    size_t len = 0;
    if (room == NULL || uri_decode(raw, plus_is_space, room, &len) < 0) {
        return -EINVAL;
    }
    *ret_text = span_make(room, len);
    return 0;
}

int call_parameter(struct call *call, struct uri_query *query, struct span *ret_name,
                   struct span *ret_value)
{
    struct span name;
    struct span value;
    if (!uri_query_next(query, &name, &value)) {
        return 0;
    }
    if (call_decode(call, name, true, ret_name) < 0 ||
        call_decode(call, value, true, ret_value) < 0) {
        return -EINVAL;
    }
    return 1;
}

bool call_name_is_valid(const struct call *call, struct span name)
{
    if (name.len == 0 || name.len > call->config->name_bytes_max || !utf8_is_valid(name)) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.bytes[i];
        /* C0, DEL, and C1 in its UTF-8 form: C2 80 to C2 9F. */
        bool is_c1 = c == 0xc2 && (unsigned char)name.bytes[i + 1] < 0xa0;
        if (c < 0x20 || c == 0x7f || is_c1) {
            return false;
        }
    }
    return true;
}

/* ---- Routing
 * -------------------------------------------------------------------------------------- */

/* Splits and decodes the path. False if it has more segments than any route, or a broken escape. */
static bool call_split_path(struct call *call)
{
    struct span rest = call->request->path;
    struct span raw;
    while (uri_path_next(&rest, &raw)) {
        if (call->segment_count == CALL_SEGMENTS_MAX ||
            call_decode(call, raw, false, &call->segments[call->segment_count]) < 0) {
            return false;
        }
        call->segment_count++;
    }
    return true;
}

static bool route_matches(const struct route *route, const struct call *call)
{
    for (unsigned i = 0; i < CALL_SEGMENTS_MAX; i++) {
        const char *wanted = route->segments[i];
        if ((wanted == NULL) != (i >= call->segment_count)) {
            return false;
        }
        if (wanted == NULL) {
            return true;
        }
        if (strcmp(wanted, "*") != 0 && !span_is(call->segments[i], wanted)) {
            return false;
        }
    }
    return true;
}

static unsigned method_bit(enum http_method method)
{
    switch (method) {
    case HTTP_GET:
        return ROUTE_GET | ROUTE_GET_ACTS;
    case HTTP_HEAD:
        return ROUTE_GET;
    case HTTP_POST:
        return ROUTE_POST;
    case HTTP_DELETE:
        return ROUTE_DELETE;
    case HTTP_PUT:
    case HTTP_OPTIONS:
    case HTTP_PATCH:
    case HTTP_OTHER:
        return 0;
    }
    return 0;
}

static const char *methods_text(unsigned methods)
{
    static const char *const texts[16] = {
        [ROUTE_GET] = "GET, HEAD",
        [ROUTE_POST] = "POST",
        [ROUTE_GET_ACTS | ROUTE_POST] = "GET, POST",
        [ROUTE_DELETE] = "DELETE",
        [ROUTE_GET | ROUTE_DELETE] = "GET, HEAD, DELETE",
    };
    CHECK(methods < countof(texts));
    CHECK(texts[methods] != NULL);
    return texts[methods];
}

static const struct config_alias *alias_find(const struct call *call)
{
    for (uint32_t i = 0; i < call->config->alias_count; i++) {
        if (span_equal(call->config->aliases[i].path, call->request->path)) {
            return &call->config->aliases[i];
        }
    }
    return NULL;
}

static void call_wrong_method(struct call *call, unsigned methods)
{
    static const char prefix[] = "Allow: ";
    struct buffer allow;
    buffer_init(&allow, 128);
    buffer_append_string(&allow, prefix);
    buffer_append_string(&allow, methods_text(methods));
    buffer_append_string(&allow, ", OPTIONS\r\n");
    response_problem_with(call, 405, buffer_span(&allow),
                          "This path does not support that method; see the Allow header.");
    buffer_fini(&allow);
}

static void call_route(struct call *call)
{
    unsigned bit = method_bit(call->request->method);
    unsigned methods = 0;
    for (size_t i = 0; i < countof(routes); i++) {
        if (!route_matches(&routes[i], call)) {
            continue;
        }
        if ((routes[i].methods & bit) != 0) {
            routes[i].answer(call);
            return;
        }
        methods |= routes[i].methods;
    }
    const struct config_alias *alias = methods == 0 ? alias_find(call) : NULL;
    if (alias != NULL && (bit & ROUTE_GET) != 0) {
        subscribe_alias(call, alias->channel);
        return;
    }
    methods |= alias != NULL ? ROUTE_GET : 0;
    if (methods == 0) {
        response_problem(call, 404, "There is nothing at this path.");
    } else if (call->request->method == HTTP_OPTIONS) {
        access_answer_options(call, methods_text(methods));
    } else {
        call_wrong_method(call, methods);
    }
}

void call_answer(struct connection *connection, const struct http_request *request,
                 struct span body)
{
    struct call call = {
        .connection = connection,
        .shard = connection->shard,
        .config = connection->shard->config,
        .request = request,
        .body = body,
        .head_only = request->method == HTTP_HEAD,
    };
    access_set_cors(&call);
    if ((connection->flags & CONNECTION_REFUSED) != 0) {
        response_not_now(&call, "This hub has as many connections as it may; try again shortly.");
    } else if (request->method == HTTP_OPTIONS && span_is(request->path, "*")) {
        access_answer_options(&call, "GET, HEAD, POST, DELETE");
    } else if (!call_split_path(&call)) {
        response_problem(&call, 404, "There is nothing at this path.");
    } else {
        call_route(&call);
    }
}
