/*
 * What our parsers make of raw connections, for comparison with other programs.
 *
 * Reads cases from stdin, each a decimal length, a line feed and that many bytes: all that a client
 * sends on one connection. Writes one line of JSON per case:
 *
 *     {"requests":[{"method":…,"target":…,"path":…,"query":…,"host":…,"version":1,
 *                   "keepAlive":true,"body":…}],"end":"open","status":0,"reason":""}
 *
 * `end` says how reading ended: "open" (all bytes used, the connection stays), "closed" (the last
 * request was the last one wanted), "refused" (with status and reason) or "incomplete" (the bytes
 * end within a request). Strings hold bytes: each character is one byte, as in Latin-1.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/buffer.h"
#include "core/base/memory.h"
#include "proto/http_chunked.h"
#include "proto/http_head.h"

enum { CASE_LEN_MAX = 1 << 20, HEAD_LEN_MAX = 16 * 1024, OUTPUT_LEN_MAX = 1 << 24 };

struct connection {
    struct span rest;
    /* Of the request that is being read. */
    struct http_request request;
    struct buffer body;
    struct http_problem problem;
    /* The finished requests, as JSON. */
    struct buffer requests;
};

static void append_bytes(struct buffer *out, const char *name, struct span bytes)
{
    buffer_printf(out, "\"%s\":\"", name);
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t byte = (uint8_t)bytes.bytes[i];
        if (byte < 0x20 || byte >= 0x7f || byte == '"' || byte == '\\') {
            buffer_printf(out, "\\u%04x", byte);
        } else {
            buffer_append(out, &byte, 1);
        }
    }
    buffer_append_string(out, "\"");
}

static void append_request(struct connection *connection)
{
    const struct http_request *request = &connection->request;
    struct buffer *out = &connection->requests;
    buffer_append_string(out, out->len == 0 ? "{" : ",{");
    append_bytes(out, "method", request->method_text);
    buffer_append_string(out, ",");
    append_bytes(out, "target", request->target);
    buffer_append_string(out, ",");
    append_bytes(out, "path", request->path);
    buffer_append_string(out, ",");
    append_bytes(out, "query", request->query);
    buffer_append_string(out, ",");
    append_bytes(out, "host", request->host);
    buffer_printf(out, ",\"version\":%u,\"keepAlive\":%s,", request->minor_version,
                  request->keep_alive ? "true" : "false");
    append_bytes(out, "body", buffer_span(&connection->body));
    buffer_append_string(out, "}");
}

static void skip(struct span *rest, size_t len)
{
    rest->bytes += len;
    rest->len -= len;
}

static enum http_outcome read_chunked_body(struct connection *connection)
{
    struct http_chunked chunked;
    http_chunked_init(&chunked);
    while (connection->rest.len > 0) {
        size_t consumed;
        struct span data;
        enum http_outcome outcome =
            http_chunked_feed(&chunked, connection->rest.bytes, connection->rest.len, &consumed,
                              &data, &connection->problem);
        if (outcome == HTTP_BAD) {
            return HTTP_BAD;
        }
        buffer_append_span(&connection->body, data);
        skip(&connection->rest, consumed);
        if (outcome == HTTP_DONE) {
            return HTTP_DONE;
        }
    }
    return HTTP_MORE;
}

static enum http_outcome read_body(struct connection *connection)
{
    if (connection->request.chunked) {
        return read_chunked_body(connection);
    }
    if (connection->request.content_length > connection->rest.len) {
        return HTTP_MORE;
    }
    size_t len = (size_t)connection->request.content_length;
    buffer_append(&connection->body, connection->rest.bytes, len);
    skip(&connection->rest, len);
    return HTTP_DONE;
}

static enum http_outcome read_request(struct connection *connection)
{
    size_t scanned = 0;
    size_t head_len = 0;
    enum http_outcome outcome =
        http_head_scan(connection->rest.bytes, connection->rest.len, HEAD_LEN_MAX, &scanned,
                       &head_len, &connection->problem);
    if (outcome != HTTP_DONE) {
        return outcome;
    }
    outcome = http_head_parse(connection->rest.bytes, head_len, &connection->request,
                              &connection->problem);
    if (outcome != HTTP_DONE) {
        return outcome;
    }
    skip(&connection->rest, head_len);
    return read_body(connection);
}

/* Empty lines alone, which may precede a request, are not one that is incomplete. */
static bool rest_is_blank(struct span rest)
{
    for (size_t i = 0; i < rest.len; i++) {
        if (rest.bytes[i] != (i % 2 == 0 ? '\r' : '\n')) {
            return false;
        }
    }
    return true;
}

static const char *read_connection(struct connection *connection)
{
    while (!rest_is_blank(connection->rest)) {
        connection->body.len = 0;
        enum http_outcome outcome = read_request(connection);
        if (outcome == HTTP_BAD) {
            return "refused";
        }
        if (outcome == HTTP_MORE) {
            return "incomplete";
        }
        append_request(connection);
        if (!connection->request.keep_alive) {
            return "closed";
        }
    }
    return "open";
}

static int run_case(struct span bytes)
{
    static struct connection connection;
    memset(&connection, 0, sizeof(connection));
    connection.rest = bytes;
    buffer_init(&connection.body, CASE_LEN_MAX);
    buffer_init(&connection.requests, OUTPUT_LEN_MAX);
    const char *end = read_connection(&connection);
    bool refused = strcmp(end, "refused") == 0;
    printf("{\"requests\":[%.*s],\"end\":\"%s\",\"status\":%d,\"reason\":\"%s\"}\n",
           (int)connection.requests.len,
           connection.requests.len == 0 ? "" : connection.requests.bytes, end,
           refused ? connection.problem.status : 0, refused ? connection.problem.reason : "");
    int result = connection.body.failed || connection.requests.failed ? -ENOMEM : 0;
    buffer_fini(&connection.body);
    buffer_fini(&connection.requests);
    return result;
}

/* Returns 1 for a case, 0 at the end, -errno for what is not a case. */
static int read_case(char *bytes, size_t *ret_len)
{
    char line[32];
    if (fgets(line, sizeof(line), stdin) == NULL) {
        return 0;
    }
    char *end;
    errno = 0;
    unsigned long len = strtoul(line, &end, 10);
    if (errno != 0 || end == line || *end != '\n' || len > CASE_LEN_MAX) {
        return -EINVAL;
    }
    if (fread(bytes, 1, len, stdin) != len) {
        return -EIO;
    }
    *ret_len = len;
    return 1;
}

int main(void)
{
    char *bytes = memory_alloc(CASE_LEN_MAX);
    if (bytes == NULL) {
        fprintf(stderr, "http_parse_cli: no memory\n");
        return 1;
    }
    size_t len;
    int result;
    while ((result = read_case(bytes, &len)) > 0) {
        result = run_case(span_make(bytes, len));
        if (result < 0) {
            break;
        }
    }
    memory_free(bytes);
    if (result < 0) {
        fprintf(stderr, "http_parse_cli: %s\n", strerror(-result));
        return 1;
    }
    return 0;
}
