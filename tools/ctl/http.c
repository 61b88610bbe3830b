#include "tools/ctl/http.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define CONNECT_MS_MAX     5000
#define ANSWER_SECONDS_MAX 30

int http_init(struct http *http, const char *url)
{
    memset(http, 0, sizeof *http);
    http->fd = -1;
    if (strncmp(url, "http://", 7) != 0) {
        return -EINVAL;
    }
    const char *host = url + 7;
    size_t size = strcspn(host, ":/");
    const char *rest = host + size;
    if (host[0] == '[') {
        host++;
        size = strcspn(host, "]");
        if (host[size] != ']') {
            return -EINVAL;
        }
        rest = host + size + 1;
    }
    const char *port = "80";
    size_t port_size = 2;
    if (*rest == ':') {
        port = rest + 1;
        port_size = strspn(port, "0123456789");
        rest = port + port_size;
    }
    if (size == 0 || size >= sizeof http->host || port_size == 0 ||
        port_size >= sizeof http->port || (*rest != '\0' && strcmp(rest, "/") != 0)) {
        return -EINVAL;
    }
    memcpy(http->host, host, size);
    memcpy(http->port, port, port_size);
    return strpbrk(http->host, " \r\n") == NULL ? 0 : -EINVAL;
}

void http_fini(struct http *http)
{
    if (http->fd >= 0) {
        close(http->fd);
    }
    http->fd = -1;
    http->begin = http->end = 0;
}

/* Tries one address; the descriptor is blocking again afterwards. */
static int connect_one(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    /* On Linux the time to send is also the time to connect. */
    const struct timeval limit = {.tv_sec = CONNECT_MS_MAX / 1000};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, address->ai_addr, address->ai_addrlen) < 0) {
        int error = errno == EINPROGRESS ? ETIMEDOUT : errno;
        close(fd);
        return -error;
    }
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    return fd;
}

int http_connect(struct http *http)
{
    if (http->fd >= 0) {
        struct pollfd readable = {.fd = http->fd, .events = POLLIN};
        /* Between two requests only an end can arrive. */
        if (http->is_ended && !http->closes && http->begin == http->end &&
            poll(&readable, 1, 0) == 0) {
            return 0;
        }
        http_fini(http);
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    if (getaddrinfo(http->host, http->port, &hints, &list) != 0) {
        return -EHOSTUNREACH;
    }
    int r = -EHOSTUNREACH;
    for (struct addrinfo *one = list; one != NULL && r < 0; one = one->ai_next) {
        r = connect_one(one);
    }
    freeaddrinfo(list);
    if (r < 0) {
        return r;
    }
    http->fd = r;
    return 0;
}

static int send_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0) {
            return -errno;
        }
        bytes += sent;
        size -= (size_t)sent;
    }
    return 0;
}

/* Reads more into the buffer; -ENOBUFS if it is full, -EPIPE at the end of the connection. */
static int fill(struct http *http)
{
    if (http->begin == http->end) {
        http->begin = http->end = 0;
    }
    if (http->begin > 0) {
        memmove(http->buffer, http->buffer + http->begin, http->end - http->begin);
        http->end -= http->begin;
        http->begin = 0;
    }
    if (http->end == sizeof http->buffer) {
        return -ENOBUFS;
    }
    for (;;) {
        ssize_t got = recv(http->fd, http->buffer + http->end, sizeof http->buffer - http->end, 0);
        if (got > 0) {
            http->end += (size_t)got;
            return 0;
        }
        if (got == 0) {
            return -EPIPE;
        }
        if (errno != EINTR) {
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        }
    }
}

/* One line without its end, terminated in the buffer; valid until the next read. */
static int read_line(struct http *http, char **ret_line)
{
    char *line_end;
    while ((line_end = memchr(http->buffer + http->begin, '\n', http->end - http->begin)) == NULL) {
        int r = fill(http);
        if (r < 0) {
            return r;
        }
    }
    *ret_line = http->buffer + http->begin;
    http->begin = (size_t)(line_end + 1 - http->buffer);
    *line_end = '\0';
    if (line_end > *ret_line && line_end[-1] == '\r') {
        line_end[-1] = '\0';
    }
    return 0;
}

static int read_head(struct http *http)
{
    char *line;
    int r = read_line(http, &line);
    if (r < 0) {
        return r;
    }
    if (strncmp(line, "HTTP/1.", 7) != 0 || strlen(line) < 12) {
        return -EPROTO;
    }
    int status = (int)strtoul(line + 9, NULL, 10);
    http->is_chunked = false;
    http->until_close = true;
    http->first_chunk = true;
    http->closes = line[7] == '0';
    http->body_remaining = 0;
    for (;;) {
        r = read_line(http, &line);
        if (r < 0) {
            return r;
        }
        if (line[0] == '\0') {
            break;
        }
        if (strncasecmp(line, "content-length:", 15) == 0) {
            http->body_remaining = strtoul(line + 15, NULL, 10);
            http->until_close = false;
        } else if (strncasecmp(line, "transfer-encoding:", 18) == 0) {
            http->is_chunked = strcasestr(line, "chunked") != NULL;
        } else if (strncasecmp(line, "connection:", 11) == 0) {
            http->closes = http->closes || strcasestr(line, "close") != NULL;
        }
    }
    if (http->is_chunked) {
        http->until_close = false;
        http->body_remaining = 0;
    }
    if (status == 204) {
        http->until_close = false;
        http->body_remaining = 0;
    }
    http->is_ended = !http->is_chunked && !http->until_close && http->body_remaining == 0;
    return status;
}

int http_send(struct http *http, const struct http_request *request)
{
    const struct timeval limit = {.tv_sec = request->is_stream ? 0 : ANSWER_SECONDS_MAX};
    setsockopt(http->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    char *head = NULL;
    size_t head_size = 0;
    FILE *out = open_memstream(&head, &head_size);
    if (out == NULL) {
        return -errno;
    }
    const bool is_v6 = strchr(http->host, ':') != NULL;
    fprintf(out, "%s %s HTTP/1.1\r\nHost: %s%s%s:%s\r\n", request->method, request->path,
            is_v6 ? "[" : "", http->host, is_v6 ? "]" : "", http->port);
    if (http->token[0] != '\0') {
        fprintf(out, "Authorization: Bearer %s\r\n", http->token);
    }
    if (request->last_event_id != NULL) {
        fprintf(out, "Last-Event-ID: %s\r\n", request->last_event_id);
    }
    if (request->content_type != NULL) {
        fprintf(out, "Content-Type: %s\r\nContent-Length: %zu\r\n", request->content_type,
                request->body_size);
    }
    fputs("\r\n", out);
    if (fclose(out) != 0) {
        free(head);
        return -ENOMEM;
    }
    http->is_ended = false;
    int r = send_all(http->fd, head, head_size);
    free(head);
    if (r == 0 && request->content_type != NULL) {
        /* A hub that refuses early may close before it has everything; its answer says why. */
        send_all(http->fd, request->body, request->body_size);
    }
    return r < 0 ? r : read_head(http);
}

/* Begins the next chunk, or ends the body. */
static int next_chunk(struct http *http)
{
    char *line;
    int r = http->first_chunk ? 0 : read_line(http, &line);
    if (r == 0) {
        r = read_line(http, &line);
    }
    if (r < 0) {
        return r;
    }
    http->first_chunk = false;
    char *number_end;
    http->body_remaining = strtoul(line, &number_end, 16);
    if (number_end == line) {
        return -EPROTO;
    }
    while (http->body_remaining == 0) {
        r = read_line(http, &line);
        if (r < 0) {
            return r;
        }
        if (line[0] == '\0') {
            http->is_ended = true;
            return 0;
        }
    }
    return 0;
}

ssize_t http_read(struct http *http, char *bytes, size_t size)
{
    if (!http->is_ended && http->is_chunked && http->body_remaining == 0) {
        int r = next_chunk(http);
        if (r < 0) {
            return r;
        }
    }
    if (http->is_ended) {
        return 0;
    }
    if (http->begin == http->end) {
        int r = fill(http);
        if (r == -EPIPE && http->until_close) {
            http->is_ended = http->closes = true;
            return 0;
        }
        if (r < 0) {
            return r;
        }
    }
    size_t count = http->end - http->begin;
    count = count < size ? count : size;
    if (!http->until_close) {
        count = count < http->body_remaining ? count : http->body_remaining;
        http->body_remaining -= count;
        http->is_ended = !http->is_chunked && http->body_remaining == 0;
    }
    memcpy(bytes, http->buffer + http->begin, count);
    http->begin += count;
    return (ssize_t)count;
}
