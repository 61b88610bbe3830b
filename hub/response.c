#include "hub/response.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "core/base/utf8.h"
#include "core/event_id.h"
#include "hub/http2.h"
#include "proto/media_type.h"

enum { RESPONSE_HEAD_MAX = 2048, RESPONSE_DETAIL_MAX = 512, RESPONSE_RETRY_AFTER_SECONDS = 1 };

static const char *status_text(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 204:
        return "No Content";
    case 304:
        return "Not Modified";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 409:
        return "Conflict";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 415:
        return "Unsupported Media Type";
    case 417:
        return "Expectation Failed";
    case 422:
        return "Unprocessable Content";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 501:
        return "Not Implemented";
    case 503:
        return "Service Unavailable";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "Error";
    }
}

/* The Date field (RFC 9110, 6.6.1), made anew once a second. */
static const char *shard_date(struct shard *shard)
{
    uint64_t second = shard->wall_ms / 1000;
    if (shard->date_second != second) {
        time_t now = (time_t)second;
        struct tm tm;
        shard->date_second = second;
        gmtime_r(&now, &tm);
        strftime(shard->date, sizeof(shard->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    }
    return shard->date;
}

static void write_head_begin(struct connection *connection, struct buffer *head, int status)
{
    buffer_append_string(head, "HTTP/1.1 ");
    buffer_append_u64(head, (uint64_t)status);
    buffer_append_string(head, " ");
    buffer_append_string(head, status_text(status));
    buffer_append_string(head, "\r\nDate: ");
    buffer_append_string(head, shard_date(connection->shard));
    buffer_append_string(head, "\r\n");
}

static void write_head_end(struct connection *connection, struct buffer *head)
{
    if ((connection->flags & CONNECTION_CLOSE_AFTER) != 0) {
        buffer_append_string(head, "Connection: close\r\n");
    } else if (connection->minor_version == 0) {
        buffer_append_string(head, "Connection: keep-alive\r\n");
    }
    buffer_append_string(head, "\r\n");
}

/* Heads are built in place: one that does not fit is an error of this program. */
static void head_init(struct buffer *head, char *room)
{
    *head =
        (struct buffer){.bytes = room, .capacity = RESPONSE_HEAD_MAX, .limit = RESPONSE_HEAD_MAX};
}

/* `end`: no body follows. */
static void head_write(struct connection *connection, const struct buffer *head, bool end)
{
    CHECK(!head->failed);
    if (http2_is_stream(connection)) {
        http2_respond(connection, buffer_span(head), end);
    } else {
        connection_write(connection, buffer_span(head));
    }
}

/* A head, and a body if there is one. */
static void answer_write(struct connection *connection, const struct buffer *head, struct span body)
{
    head_write(connection, head, body.len == 0);
    if (body.len > 0) {
        connection_write(connection, body);
        connection_complete(connection);
    }
}

void response_send(struct call *call, const struct response *response)
{
    struct connection *connection = call->connection;
    char room[RESPONSE_HEAD_MAX];
    struct buffer head;
    head_init(&head, room);
    write_head_begin(connection, &head, response->status);
    if (response->content_type != NULL) {
        buffer_append_string(&head, "Content-Type: ");
        buffer_append_string(&head, response->content_type);
        buffer_append_string(&head, "\r\n");
    }
    if (response->status != 204 && response->status != 304) {
        buffer_append_string(&head, "Content-Length: ");
        buffer_append_u64(&head, response->body.len);
        buffer_append_string(&head, "\r\n");
    }
    buffer_append(&head, call->cors, call->cors_len);
    buffer_append_span(&head, response->headers);
    write_head_end(connection, &head);
    answer_write(connection, &head, call->head_only ? span_make(NULL, 0) : response->body);
}

void response_send_late(struct connection *connection, int status, const char *content_type,
                        struct span body)
{
    char room[RESPONSE_HEAD_MAX];
    struct buffer head;
    head_init(&head, room);
    write_head_begin(connection, &head, status);
    buffer_append_string(&head, "Content-Type: ");
    buffer_append_string(&head, content_type);
    buffer_append_string(&head, "\r\nContent-Length: ");
    buffer_append_u64(&head, body.len);
    buffer_append_string(&head, "\r\n");
    write_head_end(connection, &head);
    answer_write(connection, &head, body);
}

static void problem_write(struct buffer *body, int status, const char *detail)
{
    struct span text = span_of(detail);
    buffer_append_string(body, "{\"type\":\"about:blank\",\"title\":\"");
    buffer_append_string(body, status_text(status));
    buffer_append_string(body, "\",\"status\":");
    buffer_append_u64(body, (uint64_t)status);
    buffer_append_string(body, ",\"detail\":\"");
    buffer_append_json(body,
                       utf8_is_valid(text) ? text : span_of("The request is not acceptable."));
    buffer_append_string(body, "\"}\n");
}

void response_problem_with(struct call *call, int status, struct span headers, const char *detail)
{
    struct buffer body;
    buffer_init(&body, 8 * RESPONSE_DETAIL_MAX);
    problem_write(&body, status, detail);
    response_send(call, &(struct response){.status = status,
                                           .content_type = RESPONSE_PROBLEM,
                                           .headers = headers,
                                           .body = buffer_span(&body)});
    buffer_fini(&body);
}

void response_problem(struct call *call, int status, const char *format, ...)
{
    char detail[RESPONSE_DETAIL_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(detail, sizeof(detail), format, arguments);
    va_end(arguments);
    response_problem_with(call, status, span_make(NULL, 0), detail);
}

void response_not_now(struct call *call, const char *detail)
{
    struct span accept = call_field(call, "Accept");
    if (call->request->method == HTTP_GET && media_accepts_by_name(accept, "text/event-stream")) {
        call->connection->flags |= CONNECTION_CLOSE_AFTER;
        response_begin(call, "text/event-stream", span_of("Cache-Control: no-store\r\n"));
        response_stream_retry(call->connection);
        connection_write_end(call->connection);
        return;
    }
    char headers[64];
    int len =
        snprintf(headers, sizeof(headers), "Retry-After: %d\r\n", RESPONSE_RETRY_AFTER_SECONDS);
    response_problem_with(call, 503, span_make(headers, (size_t)len), detail);
}

void response_not_json(struct call *call, const struct json_error_t *error)
{
    bool is_number = json_error_code(error) == json_error_numeric_overflow;
    response_problem(call, is_number ? 422 : 400,
                     is_number ? "Line %d, column %d: a number that no double holds: %s."
                               : "The body is not JSON: line %d, column %d: %s.",
                     error->line, error->column, error->text);
}

void response_begin(struct call *call, const char *content_type, struct span headers)
{
    struct connection *connection = call->connection;
    char room[RESPONSE_HEAD_MAX];
    struct buffer head;
    head_init(&head, room);
    if (connection->minor_version == 0) {
        /* Without chunks the end of the connection is the end of the body. */
        connection->flags |= CONNECTION_CLOSE_AFTER;
    }
    write_head_begin(connection, &head, 200);
    buffer_append_string(&head, "Content-Type: ");
    buffer_append_string(&head, content_type);
    buffer_append_string(&head, "\r\n");
    if (connection->minor_version > 0) {
        buffer_append_string(&head, "Transfer-Encoding: chunked\r\n");
    }
    buffer_append(&head, call->cors, call->cors_len);
    buffer_append_span(&head, headers);
    write_head_end(connection, &head);
    head_write(connection, &head, call->head_only);
}

void response_refuse(struct connection *connection, const struct http_problem *problem)
{
    struct buffer body;
    buffer_init(&body, 8 * RESPONSE_DETAIL_MAX);
    problem_write(&body, problem->status, problem->reason);
    response_send_late(connection, problem->status, RESPONSE_PROBLEM, buffer_span(&body));
    buffer_fini(&body);
}

/* Between half and one and a half of the mean, so that clients do not all return at once. */
static unsigned long long retry_ms(struct shard *shard)
{
    uint32_t mean_ms = shard->config->retry_ms;
    return mean_ms / 2 + random_below(&shard->random, (uint64_t)mean_ms + 1);
}

void response_stream_first_words(struct connection *connection, bool with_place)
{
    struct shard *shard = connection->shard;
    char room[96];
    struct buffer text = {.bytes = room, .capacity = sizeof(room), .limit = sizeof(room)};
    buffer_append_string(&text, ": spate\n");
    if (with_place) {
        char id[EVENT_ID_LEN];
        event_id_write(id, shard->hub->epoch, connection->subscriber.position);
        buffer_append_string(&text, "id: ");
        buffer_append(&text, id, sizeof(id));
        buffer_append_string(&text, "\n");
    }
    buffer_append_string(&text, "retry: ");
    buffer_append_u64(&text, retry_ms(shard));
    buffer_append_string(&text, "\n\n");
    CHECK(!text.failed);
    connection_write_chunk(connection, buffer_span(&text));
}

void response_stream_retry(struct connection *connection)
{
    char text[48];
    int len = snprintf(text, sizeof(text), "retry: %llu\n\n", retry_ms(connection->shard));
    connection_write_chunk(connection, span_make(text, (size_t)len));
}
