/* What may be written after --listen, and the sockets it becomes: real ones, on loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/listener.h"

enum { FD_MAX = 8 };

static const struct listener_options defaults = {.backlog = 64, .unix_mode = 0600};

/* --- Parsing -----------------------------------------------------------------------------------
 */

static struct listener_address parsed(const char *text)
{
    struct listener_address address;
    const char *problem = "unset";
    if (listener_parse(text, &address, &problem) != 0) {
        fail_msg("\"%s\" was refused: %s", text, problem);
    }
    assert_null(problem);
    assert_string_equal(address.text, text);
    assert_int_equal(address.fd, -1);
    return address;
}

static void expect_ipv4(const char *text, uint32_t host, uint16_t port)
{
    struct listener_address address = parsed(text);
    struct sockaddr_in target;
    assert_int_equal(address.family, LISTENER_FAMILY_TCP);
    assert_int_equal(address.address_len, sizeof(target));
    assert_false(address.dual_stack);
    memcpy(&target, address.address, sizeof(target));
    assert_int_equal(target.sin_family, AF_INET);
    assert_int_equal(ntohl(target.sin_addr.s_addr), host);
    assert_int_equal(ntohs(target.sin_port), port);
}

static void expect_ipv6(const char *text, struct in6_addr host, uint16_t port, bool dual_stack)
{
    struct listener_address address = parsed(text);
    struct sockaddr_in6 target;
    assert_int_equal(address.family, LISTENER_FAMILY_TCP);
    assert_int_equal(address.address_len, sizeof(target));
    assert_int_equal(address.dual_stack, dual_stack);
    memcpy(&target, address.address, sizeof(target));
    assert_int_equal(target.sin6_family, AF_INET6);
    assert_memory_equal(&target.sin6_addr, &host, sizeof(host));
    assert_int_equal(ntohs(target.sin6_port), port);
}

static void test_parse_tcp(void **state)
{
    (void)state;
    expect_ipv4("127.0.0.1:8080", INADDR_LOOPBACK, 8080);
    expect_ipv4("0.0.0.0:80", INADDR_ANY, 80);
    expect_ipv4("255.255.255.255:65535", INADDR_BROADCAST, 65535);
    expect_ipv4("127.0.0.1:0", INADDR_LOOPBACK, 0);
    expect_ipv6("[::1]:8080", in6addr_loopback, 8080, false);
    expect_ipv6("[::]:8080", in6addr_any, 8080, false);
    expect_ipv6("*:8080", in6addr_any, 8080, true);
    expect_ipv6(":8080", in6addr_any, 8080, true);
    expect_ipv6("[0:0:0:0:0:0:0:1]:1", in6addr_loopback, 1, false);
    expect_ipv6("[::1%lo]:1", in6addr_loopback, 1, false);
}

static void test_parse_others(void **state)
{
    (void)state;
    struct listener_address address = parsed("unix:/run/spate.sock");
    struct sockaddr_un target;
    memcpy(&target, address.address, sizeof(target));
    assert_int_equal(address.family, LISTENER_FAMILY_UNIX);
    assert_int_equal(target.sun_family, AF_UNIX);
    assert_string_equal(target.sun_path, "/run/spate.sock");
    address = parsed("systemd");
    assert_int_equal(address.family, LISTENER_FAMILY_INHERITED);
}

static void expect_problem(const char *text, const char *part)
{
    struct listener_address address = {.fd = 12345};
    const char *problem = NULL;
    assert_int_equal(listener_parse(text, &address, &problem), -EINVAL);
    assert_non_null(problem);
    if (strstr(problem, part) == NULL) {
        fail_msg("\"%s\": the problem is \"%s\"", text, problem);
    }
    assert_int_equal(address.fd, 12345);
}

static void test_parse_problems(void **state)
{
    (void)state;
    char longest[200];
    expect_problem("", "port is missing");
    expect_problem("8080", "port is missing");
    expect_problem("127.0.0.1", "port is missing");
    expect_problem("[::1]", "port is missing");
    expect_problem("systemd2", "port is missing");
    expect_problem("127.0.0.1:", "not a number");
    expect_problem(":", "not a number");
    expect_problem("127.0.0.1:http", "not a number");
    expect_problem("127.0.0.1:65536", "not a number");
    expect_problem("127.0.0.1:-1", "not a number");
    expect_problem("127.0.0.1:+1", "not a number");
    expect_problem("127.0.0.1: 1", "not a number");
    expect_problem("127.0.0.1:1 ", "not a number");
    expect_problem("127.0.0.1:000080", "not a number");
    expect_problem("localhost:8080", "host names");
    expect_problem("127.1:8080", "host names");
    expect_problem("256.0.0.1:8080", "host names");
    expect_problem("127.0.0.1.5:8080", "host names");
    expect_problem(" 127.0.0.1:8080", "host names");
    expect_problem("**:8080", "host names");
    expect_problem("http://127.0.0.1:8080", "not a URL");
    expect_problem("::1:8080", "brackets");
    expect_problem("[::1:8080", "bracket");
    expect_problem("[:8080", "bracket");
    expect_problem("[]:8080", "between the brackets");
    expect_problem("[127.0.0.1]:8080", "between the brackets");
    expect_problem("[::g]:8080", "between the brackets");
    expect_problem("[::1%]:8080", "interface");
    expect_problem("[fe80::1]:8080", "interface");
    expect_problem("[fe80::1%no-such-if]:8080", "interface");
    expect_problem("unix:", "absolute");
    expect_problem("unix:spate.sock", "absolute");
    expect_problem("unix:@spate", "absolute");
    memset(longest, 'x', sizeof(longest));
    memcpy(longest, "unix:/", 6);
    longest[5 + 108] = '\0';
    expect_problem(longest, "107");
    longest[5 + 107] = '\0';
    (void)parsed(longest);
    memset(longest, '1', sizeof(longest));
    longest[128] = '\0';
    expect_problem(longest, "too long");
    longest[127] = '\0';
    expect_problem(longest, "port is missing");
}

/* --- Opening -----------------------------------------------------------------------------------
 */

static void open_all(const char *text, const struct listener_options *options, unsigned count,
                     int fds[])
{
    struct listener_address address = parsed(text);
    const char *problem = "unset";
    int r = listener_open(&address, options, count, fds, &problem);
    if (r != 0) {
        fail_msg("\"%s\": %s: %s", text, strerror(-r), problem);
    }
    assert_null(problem);
    for (unsigned i = 0; i < count; i++) {
        assert_true(fds[i] >= 0);
        assert_true((fcntl(fds[i], F_GETFL) & O_NONBLOCK) != 0);
        assert_true((fcntl(fds[i], F_GETFD) & FD_CLOEXEC) != 0);
    }
}

static void close_all(unsigned count, const int fds[])
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(close(fds[i]), 0);
    }
}

static int open_fails(const char *text, const char *part)
{
    struct listener_address address = parsed(text);
    int fds[2] = {77, 77};
    const char *problem = NULL;
    int r = listener_open(&address, &defaults, 2, fds, &problem);
    assert_true(r < 0);
    assert_non_null(problem);
    if (strstr(problem, part) == NULL) {
        fail_msg("\"%s\": the problem is \"%s\"", text, problem);
    }
    assert_int_equal(fds[0], -1);
    assert_int_equal(fds[1], -1);
    return r;
}

static int option_of(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);
    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    return address.ss_family == AF_INET ? ntohs(((struct sockaddr_in *)&address)->sin_port)
                                        : ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
}

static int connect_ipv4(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        int error = errno;
        assert_int_equal(close(fd), 0);
        return -error;
    }
    return fd;
}

/* Waits for a connection on any of them and accepts it; *ret_index tells on which. */
static int accept_any(unsigned count, const int fds[], unsigned *ret_index)
{
    struct pollfd polled[FD_MAX];
    for (unsigned i = 0; i < count; i++) {
        polled[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    }
    assert_true(poll(polled, count, 10 * 1000) > 0);
    for (unsigned i = 0; i < count; i++) {
        if (polled[i].revents != 0) {
            *ret_index = i;
            int fd = accept4(fds[i], NULL, NULL, SOCK_CLOEXEC);
            assert_true(fd >= 0);
            return fd;
        }
    }
    fail_msg("poll promised a connection");
    return -1;
}

/* The kernel spreads connections over a group; with 400, each of 4 gets one for all practical
 * purposes. */
static void test_group_on_port_0(void **state)
{
    (void)state;
    int fds[4];
    unsigned hits[4] = {0};
    open_all("127.0.0.1:0", &defaults, 4, fds);
    uint16_t port = port_of(fds[0]);
    assert_true(port > 0);
    for (unsigned i = 1; i < 4; i++) {
        assert_int_equal(port_of(fds[i]), port);
    }
    for (unsigned i = 0; i < 400; i++) {
        unsigned hit = 0;
        int client = connect_ipv4(port);
        assert_true(client >= 0);
        int server = accept_any(4, fds, &hit);
        hits[hit]++;
        struct linger linger = {.l_onoff = 1};
        assert_int_equal(setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
        assert_int_equal(close(client), 0);
        assert_int_equal(close(server), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_true(hits[i] > 0);
    }
    close_all(4, fds);
    assert_int_equal(connect_ipv4(port), -ECONNREFUSED);
}

static void test_second_hub_is_refused(void **state)
{
    (void)state;
    int fds[2];
    char text[64];
    open_all("127.0.0.1:0", &defaults, 2, fds);
    (void)snprintf(text, sizeof(text), "127.0.0.1:%u", port_of(fds[0]));
    assert_int_equal(open_fails(text, "already"), -EADDRINUSE);
    /* Right after the first one has gone it works, although connections of it linger. */
    int client = connect_ipv4(port_of(fds[0]));
    unsigned hit = 0;
    int server = accept_any(2, fds, &hit);
    assert_int_equal(close(server), 0); /* leaves it in FIN_WAIT on our side */
    close_all(2, fds);
    open_all(text, &defaults, 2, fds);
    close_all(2, fds);
    assert_int_equal(close(client), 0);
}

static void test_tcp_options(void **state)
{
    (void)state;
    const struct listener_options options = {
        .backlog = 64,
        .keepalive_idle_seconds = 71,
        .keepalive_interval_seconds = 13,
        .keepalive_count = 4,
        .user_timeout_ms = 33000,
        .send_buffer_bytes = 32 * 1024,
        .not_sent_low_bytes = 16 * 1024,
    };
    int fds[2];
    unsigned hit = 0;
    open_all("127.0.0.1:0", &options, 2, fds);
    int client = connect_ipv4(port_of(fds[0]));
    assert_true(client >= 0);
    int server = accept_any(2, fds, &hit);
    /* On the accepted socket: that is what they are for. */
    assert_int_equal(option_of(server, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(option_of(server, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(option_of(server, IPPROTO_TCP, TCP_KEEPIDLE), 71);
    assert_int_equal(option_of(server, IPPROTO_TCP, TCP_KEEPINTVL), 13);
    assert_int_equal(option_of(server, IPPROTO_TCP, TCP_KEEPCNT), 4);
    assert_int_equal(option_of(server, IPPROTO_TCP, TCP_USER_TIMEOUT), 33000);
    /* socket(7): the kernel doubles the value, for its own bookkeeping. */
    assert_int_equal(option_of(server, SOL_SOCKET, SO_SNDBUF), 64 * 1024);
    assert_int_equal(option_of(server, IPPROTO_TCP, TCP_NOTSENT_LOWAT), 16 * 1024);
    assert_int_equal(close(server), 0);
    assert_int_equal(close(client), 0);
    close_all(2, fds);
    /* And all are optional. */
    open_all("127.0.0.1:0", &defaults, 1, fds);
    assert_int_equal(option_of(fds[0], IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(option_of(fds[0], SOL_SOCKET, SO_KEEPALIVE), 0);
    close_all(1, fds);
}

static void test_option_that_the_kernel_refuses(void **state)
{
    (void)state;
    struct listener_options options = defaults;
    struct listener_address address = parsed("127.0.0.1:0");
    const char *problem = NULL;
    int fds[1] = {77};
    options.keepalive_idle_seconds = 1;
    options.keepalive_count = 100000;
    assert_int_equal(listener_open(&address, &options, 1, fds, &problem), -EINVAL);
    assert_non_null(strstr(problem, "count of TCP keepalive"));
    assert_int_equal(fds[0], -1);
}

static bool has_ipv6(void)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool works = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return works;
}

static void test_both_families(void **state)
{
    (void)state;
    int fds[1];
    unsigned hit = 0;
    /* With IPv6 it takes IPv4, and without IPv6 it is IPv4. */
    open_all(":0", &defaults, 1, fds);
    int client = connect_ipv4(port_of(fds[0]));
    assert_true(client >= 0);
    int server = accept_any(1, fds, &hit);
    close_all(3, (const int[]){client, server, fds[0]});
    if (!has_ipv6()) {
        skip();
    }
    open_all("[::]:0", &defaults, 1, fds);
    assert_int_equal(option_of(fds[0], IPPROTO_IPV6, IPV6_V6ONLY), 1);
    assert_int_equal(connect_ipv4(port_of(fds[0])), -ECONNREFUSED);
    close_all(1, fds);
}

static void test_address_of_nobody(void **state)
{
    (void)state;
    /* RFC 5737: documentation addresses belong to no interface. */
    assert_int_equal(open_fails("192.0.2.1:0", "no network interface"), -EADDRNOTAVAIL);
}

static void expect_description(int fd, const char *expected)
{
    char text[160];
    listener_describe(fd, text, sizeof(text));
    assert_string_equal(text, expected);
}

static void test_describe(void **state)
{
    (void)state;
    int fds[1];
    char expected[64];
    char cut[8];
    open_all("127.0.0.1:0", &defaults, 1, fds);
    (void)snprintf(expected, sizeof(expected), "127.0.0.1:%u", port_of(fds[0]));
    expect_description(fds[0], expected);
    listener_describe(fds[0], cut, sizeof(cut));
    assert_string_equal(cut, "127.0.0");
    close_all(1, fds);
    expect_description(-1, "?");
    if (has_ipv6()) {
        open_all("[::1]:0", &defaults, 1, fds);
        (void)snprintf(expected, sizeof(expected), "[::1]:%u", port_of(fds[0]));
        expect_description(fds[0], expected);
        close_all(1, fds);
    }
}

/* --- Unix sockets ------------------------------------------------------------------------------
 */

struct folder {
    char path[64];
    char text[96]; /* unix:PATH/socket */
    char *socket;  /* the path in it */
};

static int folder_setup(void **state)
{
    struct folder *folder = calloc(1, sizeof(*folder));
    assert_non_null(folder);
    (void)snprintf(folder->path, sizeof(folder->path), "/tmp/spate-test-listener-XXXXXX");
    assert_non_null(mkdtemp(folder->path));
    (void)snprintf(folder->text, sizeof(folder->text), "unix:%s/socket", folder->path);
    folder->socket = folder->text + 5;
    *state = folder;
    return 0;
}

static int folder_teardown(void **state)
{
    struct folder *folder = *state;
    (void)unlink(folder->socket);
    assert_int_equal(rmdir(folder->path), 0);
    free(folder);
    return 0;
}

static int connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        int error = errno;
        assert_int_equal(close(fd), 0);
        return -error;
    }
    return fd;
}

static void test_unix(void **state)
{
    const struct folder *folder = *state;
    struct listener_options options = defaults;
    struct stat status;
    int fds[3];
    unsigned hit = 0;
    /* The umask of the process does not matter. */
    mode_t umask_before = umask(0777);
    options.unix_mode = 0660;
    open_all(folder->text, &options, 3, fds);
    (void)umask(umask_before);
    assert_int_equal(stat(folder->socket, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0660);
    expect_description(fds[0], folder->text);
    /* Each of the duplicates can accept. */
    for (unsigned i = 0; i < 3; i++) {
        int client = connect_unix(folder->socket);
        assert_true(client >= 0);
        int server = accept_any(1, &fds[i], &hit);
        close_all(2, (const int[]){client, server});
    }
    close_all(3, fds);
}

static void test_unix_stale_and_live(void **state)
{
    const struct folder *folder = *state;
    int fds[1];
    int again[1];
    open_all(folder->text, &defaults, 1, fds);
    assert_int_equal(open_fails(folder->text, "already"), -EADDRINUSE);
    /* The live one has not suffered, even if nobody accepts what the attempt left. */
    int client = connect_unix(folder->socket);
    assert_true(client >= 0);
    assert_int_equal(close(client), 0);
    close_all(1, fds);
    assert_int_equal(connect_unix(folder->socket), -ECONNREFUSED);
    open_all(folder->text, &defaults, 1, again);
    client = connect_unix(folder->socket);
    assert_true(client >= 0);
    close_all(2, (const int[]){client, again[0]});
}

/* One whose queue is full is alive, too. */
static void test_unix_full_is_live(void **state)
{
    const struct folder *folder = *state;
    struct listener_options options = defaults;
    int fds[1];
    int clients[FD_MAX];
    unsigned count = 0;
    options.backlog = 1;
    open_all(folder->text, &options, 1, fds);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", folder->socket);
    bool full = false;
    while (!full) {
        assert_true(count < FD_MAX);
        clients[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_true(clients[count] >= 0);
        full = connect(clients[count], (struct sockaddr *)&address, sizeof(address)) != 0;
        count++;
    }
    assert_int_equal(open_fails(folder->text, "already"), -EADDRINUSE);
    close_all(count, clients);
    close_all(1, fds);
}

static void test_unix_other_file(void **state)
{
    const struct folder *folder = *state;
    struct stat status;
    int fd = open(folder->socket, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(open_fails(folder->text, "not a socket"), -EEXIST);
    assert_int_equal(stat(folder->socket, &status), 0);
    assert_int_equal(unlink(folder->socket), 0);
    /* A link is not followed to something of somebody else's. */
    assert_int_equal(symlink("/dev/null", folder->socket), 0);
    assert_int_equal(open_fails(folder->text, "not a socket"), -EEXIST);
    assert_int_equal(lstat(folder->socket, &status), 0);
}

static void test_unix_no_folder(void **state)
{
    (void)state;
    assert_int_equal(open_fails("unix:/no-such-folder/socket", "directory"), -ENOENT);
}

/* --- Handed-over sockets -----------------------------------------------------------------------
 */

/*
 * Each case runs in a forked child that arranges its descriptors as the service manager does. The
 * exit status is 0 or the line of the check that failed (modulo 256, never 0).
 */
#define CHILD_CHECK(condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                          \
            _exit(__LINE__ % 255 + 1);                                                             \
        }                                                                                          \
    } while (0)

static void in_child(void (*run)(void))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        run();
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void child_environment(const char *pid, const char *count)
{
    char self[24];
    (void)snprintf(self, sizeof(self), "%ld", (long)getpid());
    CHILD_CHECK(setenv("LISTEN_PID", pid != NULL ? pid : self, 1) == 0);
    CHILD_CHECK(setenv("LISTEN_FDS", count, 1) == 0);
}

/* Descriptors 3 and 4: a TCP and a Unix socket that listen; 5: one that does not. */
static void child_descriptors(void)
{
    struct listener_address address;
    const char *problem = NULL;
    int fds[1];
    CHILD_CHECK(listener_parse("127.0.0.1:0", &address, &problem) == 0);
    CHILD_CHECK(listener_open(&address, &defaults, 1, fds, &problem) == 0);
    int local = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un nameless = {.sun_family = AF_UNIX};
    CHILD_CHECK(bind(local, (struct sockaddr *)&nameless, sizeof(sa_family_t)) == 0);
    CHILD_CHECK(listen(local, 4) == 0);
    int other = socket(AF_INET, SOCK_STREAM, 0);
    /* Through high numbers, so that none is overwritten before it is moved. */
    int high[3] = {fcntl(fds[0], F_DUPFD, 100), fcntl(local, F_DUPFD, 100),
                   fcntl(other, F_DUPFD, 100)};
    for (int i = 0; i < 3; i++) {
        CHILD_CHECK(high[i] >= 100);
        CHILD_CHECK(dup2(high[i], 3 + i) == 3 + i);
        CHILD_CHECK(close(high[i]) == 0);
        CHILD_CHECK(fcntl(3 + i, F_SETFL, 0) == 0);
    }
}

static void child_inherits(void)
{
    struct listener_address address;
    struct listener_options options = defaults;
    const char *problem = NULL;
    int first = -1;
    int fds[2];
    child_descriptors();
    child_environment(NULL, "3");
    CHILD_CHECK(listener_inherited(&first) == 3);
    CHILD_CHECK(first == 3);
    CHILD_CHECK((fcntl(3, F_GETFD) & FD_CLOEXEC) != 0);
    CHILD_CHECK((fcntl(5, F_GETFD) & FD_CLOEXEC) != 0);
    options.user_timeout_ms = 5000;
    CHILD_CHECK(listener_from_inherited(3, &address, &problem) == 0);
    CHILD_CHECK(address.family == LISTENER_FAMILY_INHERITED && address.fd == 3);
    CHILD_CHECK(listener_open(&address, &options, 2, fds, &problem) == 0);
    CHILD_CHECK(fds[0] > 5 && fds[1] > 5 && fds[0] != fds[1]);
    int value = 0;
    socklen_t len = sizeof(value);
    CHILD_CHECK(getsockopt(fds[1], IPPROTO_TCP, TCP_USER_TIMEOUT, &value, &len) == 0);
    CHILD_CHECK(value == 5000);
    CHILD_CHECK((fcntl(fds[0], F_GETFL) & O_NONBLOCK) != 0);
    CHILD_CHECK((fcntl(fds[0], F_GETFD) & FD_CLOEXEC) != 0);
    CHILD_CHECK(listener_from_inherited(4, &address, &problem) == 0);
    CHILD_CHECK(listener_open(&address, &options, 2, fds, &problem) == 0);
    CHILD_CHECK(listener_from_inherited(5, &address, &problem) == -EINVAL);
    CHILD_CHECK(strstr(problem, "listening") != NULL);
    CHILD_CHECK(listener_from_inherited(0, &address, &problem) == -EINVAL);
    CHILD_CHECK(listener_from_inherited(99, &address, &problem) == -EINVAL);
    /* As it is written, unexpanded: the first one. */
    char text[64];
    char expected[64];
    CHILD_CHECK(listener_parse("systemd", &address, &problem) == 0);
    CHILD_CHECK(listener_open(&address, &options, 1, fds, &problem) == 0);
    listener_describe(3, expected, sizeof(expected));
    listener_describe(fds[0], text, sizeof(text));
    CHILD_CHECK(strcmp(text, expected) == 0);
}

static void child_inherits_nothing(void)
{
    static const char *const counts[] = {"0", "", "-1", "x", "1x", " 1", "99999999999999999999"};
    struct listener_address address;
    const char *problem = NULL;
    int first = -1;
    int fds[1];
    CHILD_CHECK(unsetenv("LISTEN_PID") == 0 && unsetenv("LISTEN_FDS") == 0);
    CHILD_CHECK(listener_inherited(&first) == 0);
    child_environment("1", "1");
    CHILD_CHECK(listener_inherited(&first) == 0);
    for (size_t i = 0; i < countof(counts); i++) {
        child_environment(NULL, counts[i]);
        CHILD_CHECK(listener_inherited(&first) == 0);
    }
    CHILD_CHECK(listener_parse("systemd", &address, &problem) == 0);
    CHILD_CHECK(listener_open(&address, &defaults, 1, fds, &problem) == -ENOENT);
    CHILD_CHECK(strstr(problem, "handed over") != NULL);
}

static void test_inherited(void **state)
{
    (void)state;
    in_child(child_inherits);
}

static void test_inherited_nothing(void **state)
{
    (void)state;
    in_child(child_inherits_nothing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_tcp),
        cmocka_unit_test(test_parse_others),
        cmocka_unit_test(test_parse_problems),
        cmocka_unit_test(test_group_on_port_0),
        cmocka_unit_test(test_second_hub_is_refused),
        cmocka_unit_test(test_tcp_options),
        cmocka_unit_test(test_option_that_the_kernel_refuses),
        cmocka_unit_test(test_both_families),
        cmocka_unit_test(test_address_of_nobody),
        cmocka_unit_test(test_describe),
        cmocka_unit_test_setup_teardown(test_unix, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(test_unix_stale_and_live, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(test_unix_full_is_live, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(test_unix_other_file, folder_setup, folder_teardown),
        cmocka_unit_test(test_unix_no_folder),
        cmocka_unit_test(test_inherited),
        cmocka_unit_test(test_inherited_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
