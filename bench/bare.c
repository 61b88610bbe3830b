/*
 * The floor under every hub: the least that a server of one thread can do, one send() per
 * subscriber and message, over connections that it keeps in an array.
 *
 *   bench_bare PORT
 *
 * GET subscribes, POST sends its body to everybody, as one chunk with an id. There are no channels,
 * no history, no heartbeats, no limits and no care for slow readers: send() waits for them. It is
 * there to be compared with, never to be used.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DESCRIPTORS_MAX = 1 << 16, REQUEST_BYTES_MAX = 1 << 18, EVENTS_MAX = 512 };

struct bare {
    int epoll;
    int listener;
    int subscribers[DESCRIPTORS_MAX];
    uint32_t subscriber_count;
    uint64_t sequence;
    /* Of each connection that publishes, what has come of its next request. */
    char *requests[DESCRIPTORS_MAX];
    size_t request_len[DESCRIPTORS_MAX];
    char frame[REQUEST_BYTES_MAX + 256];
};

static struct bare bare;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
        if (sent < 0) {
            return;
        }
        bytes += sent;
        len -= (size_t)sent;
    }
}

static void publish(const char *data, size_t len)
{
    char text[64];
    int text_len =
        snprintf(text, sizeof(text), "id: %020llu\ndata: ", (unsigned long long)++bare.sequence);
    size_t size = (size_t)text_len + len + 2;
    int head = snprintf(bare.frame, sizeof(bare.frame), "%zx\r\n%s", size, text);
    memcpy(bare.frame + head, data, len);
    memcpy(bare.frame + head + len, "\n\n\r\n", 4);
    size_t frame_len = (size_t)head + len + 4;
    for (uint32_t i = 0; i < bare.subscriber_count; i++) {
        send_all(bare.subscribers[i], bare.frame, frame_len);
    }
}

static void subscribe(int fd)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n3\r\n:\n\n\r\n";
    send_all(fd, head, sizeof(head) - 1);
    epoll_ctl(bare.epoll, EPOLL_CTL_DEL, fd, NULL);
    bare.subscribers[bare.subscriber_count++] = fd;
}

/* Length of the whole request at the start of `bytes`, which are terminated; 0: not all there. */
static size_t request_size(const char *bytes, size_t len, size_t *ret_head)
{
    const char *end = strstr(bytes, "\r\n\r\n");
    if (end == NULL) {
        return 0;
    }
    *ret_head = (size_t)(end - bytes) + 4;
    const char *length = strcasestr(bytes, "content-length:");
    size_t body = length == NULL || length > end ? 0 : strtoul(length + 15, NULL, 10);
    return *ret_head + body <= len ? *ret_head + body : 0;
}

static void received(int fd, char *bytes, size_t len)
{
    size_t used = 0;
    size_t head = 0;
    for (;;) {
        size_t size = request_size(bytes + used, len - used, &head);
        if (size == 0) {
            break;
        }
        if (bytes[used] == 'G') {
            subscribe(fd);
            free(bare.requests[fd]);
            bare.requests[fd] = NULL;
            return;
        }
        static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        publish(bytes + used + head, size - head);
        send_all(fd, answer, sizeof(answer) - 1);
        used += size;
    }
    memmove(bytes, bytes + used, len - used + 1);
    bare.request_len[fd] = len - used;
}

static void readable(int fd)
{
    if (bare.requests[fd] == NULL) {
        bare.requests[fd] = malloc(REQUEST_BYTES_MAX + 1);
        bare.request_len[fd] = 0;
    }
    char *bytes = bare.requests[fd];
    size_t len = bare.request_len[fd];
    ssize_t got = bytes == NULL ? -1 : recv(fd, bytes + len, REQUEST_BYTES_MAX - len, 0);
    if (got <= 0) {
        free(bytes);
        bare.requests[fd] = NULL;
        close(fd);
        return;
    }
    bytes[len + (size_t)got] = '\0';
    received(fd, bytes, len + (size_t)got);
}

static void accept_one(void)
{
    int fd = accept4(bare.listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (fd >= DESCRIPTORS_MAX || epoll_ctl(bare.epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
        close(fd);
    }
}

static void listen_on(uint16_t port)
{
    int on = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    bare.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(bare.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(bare.listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(bare.listener, 4096) < 0) {
        fail("bench_bare: cannot listen");
    }
    struct epoll_event event = {.events = EPOLLIN, .data.fd = bare.listener};
    bare.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (bare.epoll < 0 || epoll_ctl(bare.epoll, EPOLL_CTL_ADD, bare.listener, &event) < 0) {
        fail("bench_bare: epoll");
    }
}

int main(int argc, char **argv)
{
    unsigned long port = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
    if (port == 0 || port > 65535) {
        fprintf(stderr, "usage: bench_bare PORT\n");
        return 2;
    }
    listen_on((uint16_t)port);
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(bare.epoll, events, EVENTS_MAX, -1);
        if (count < 0 && errno != EINTR) {
            fail("bench_bare: epoll_wait");
        }
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == bare.listener) {
                accept_one();
            } else {
                readable(events[i].data.fd);
            }
        }
    }
}
