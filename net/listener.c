#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* sd_listen_fds(3): handed-over descriptors begin after the three standard ones. */
enum { LISTENER_INHERITED_FIRST = 3, LISTENER_INHERITED_COUNT_MAX = 1024 };

static_assert(sizeof(((struct listener_address *)0)->address) >= sizeof(struct sockaddr_un),
              "every address fits");

/* --- Reading what the operator wrote ---------------------------------------------------------- */

/* The whole of `text` as a decimal number of at most five digits, or -1. */
static int listener_parse_port(const char *text)
{
    int port = 0;
    size_t len = strlen(text);
    if (len == 0 || len > 5) {
        return -1;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return -1;
        }
        port = port * 10 + (text[i] - '0');
    }
    return port <= 65535 ? port : -1;
}

static const char *listener_parse_unix(const char *path, struct listener_address *address)
{
    struct sockaddr_un target = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len == 0 || path[0] != '/') {
        return "a Unix socket needs an absolute path: unix:/run/spate.sock";
    }
    if (len >= sizeof(target.sun_path)) {
        return "the path of a Unix socket may have at most 107 characters";
    }
    memcpy(target.sun_path, path, len + 1);
    memcpy(address->address, &target, sizeof(target));
    address->address_len = sizeof(target);
    address->family = LISTENER_FAMILY_UNIX;
    return NULL;
}

static void listener_set_ipv6(struct listener_address *address, const struct sockaddr_in6 *target)
{
    memcpy(address->address, target, sizeof(*target));
    address->address_len = sizeof(*target);
}

/* `host` is the text between the brackets; it is cut at the '%' of an interface. */
static const char *listener_parse_ipv6(char *host, uint16_t port, struct listener_address *address)
{
    struct sockaddr_in6 target = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    char *interface = strchr(host, '%');
    if (interface != NULL) {
        *interface++ = '\0';
        target.sin6_scope_id = if_nametoindex(interface);
        if (target.sin6_scope_id == 0) {
            return "there is no network interface of the name after '%'";
        }
    }
    if (inet_pton(AF_INET6, host, &target.sin6_addr) != 1) {
        return "there is no IPv6 address between the brackets";
    }
    if (IN6_IS_ADDR_LINKLOCAL(&target.sin6_addr) && target.sin6_scope_id == 0) {
        return "a link-local address needs its interface: [fe80::1%eth0]:8080";
    }
    listener_set_ipv6(address, &target);
    return NULL;
}

static const char *listener_parse_host(char *host, uint16_t port, struct listener_address *address)
{
    size_t len = strlen(host);
    if (len == 0 || strcmp(host, "*") == 0) {
        struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
        listener_set_ipv6(address, &any);
        address->dual_stack = true;
        return NULL;
    }
    if (host[0] == '[') {
        if (host[len - 1] != ']') {
            return "the bracket of an IPv6 address is not closed before the port";
        }
        host[len - 1] = '\0';
        return listener_parse_ipv6(host + 1, port, address);
    }
    if (strstr(host, "//") != NULL) {
        return "an address is not a URL: 127.0.0.1:8080, or tls:127.0.0.1:8443 for https";
    }
    if (strchr(host, ':') != NULL) {
        return "an IPv6 address needs brackets: [::1]:8080";
    }
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, host, &target.sin_addr) != 1) {
        return "host names are not taken, only addresses such as 127.0.0.1:8080";
    }
    memcpy(address->address, &target, sizeof(target));
    address->address_len = sizeof(target);
    return NULL;
}

static const char *listener_parse_tcp(const char *text, struct listener_address *address)
{
    char host[sizeof(address->text)];
    memcpy(host, text, strlen(text) + 1);
    char *colon = strrchr(host, ':');
    if (colon == NULL || strchr(colon, ']') != NULL) {
        return "a port is missing: 127.0.0.1:8080, [::1]:8080 or :8080";
    }
    int port = listener_parse_port(colon + 1);
    if (port < 0) {
        return "the port is not a number from 0 to 65535";
    }
    *colon = '\0';
    address->family = LISTENER_FAMILY_TCP;
    return listener_parse_host(host, (uint16_t)port, address);
}

int listener_parse(const char *text, struct listener_address *ret_address, const char **ret_problem)
{
    struct listener_address address = {.fd = -1};
    const char *problem = NULL;
    size_t len = strlen(text);
    if (len >= sizeof(address.text)) {
        problem = "the address is too long";
    } else {
        memcpy(address.text, text, len + 1);
        if (strcmp(text, "systemd") == 0) {
            address.family = LISTENER_FAMILY_INHERITED;
        } else if (strncmp(text, "unix:", 5) == 0) {
            problem = listener_parse_unix(text + 5, &address);
        } else {
            problem = listener_parse_tcp(text, &address);
        }
    }
    *ret_problem = problem;
    if (problem != NULL) {
        return -EINVAL;
    }
    *ret_address = address;
    return 0;
}

/* --- Options ---------------------------------------------------------------------------------- */

struct listener_option {
    int level;
    int name;
    int value;
    const char *problem;
};

static int listener_set(int fd, const struct listener_option *option, const char **ret_problem)
{
    if (setsockopt(fd, option->level, option->name, &option->value, sizeof(option->value)) == 0) {
        return 0;
    }
    *ret_problem = option->problem;
    return -errno;
}

/* What accepted sockets inherit. Must come before listen(2), as the window scale is fixed by then.
 */
static int listener_set_tcp(int fd, const struct listener_options *options,
                            const char **ret_problem)
{
    const struct listener_option all[] = {
        /* Events are small and due now; joining them is done above TCP. */
        {IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY was refused"},
        {SOL_SOCKET, SO_KEEPALIVE, options->keepalive_idle_seconds > 0, "SO_KEEPALIVE was refused"},
        {IPPROTO_TCP, TCP_KEEPIDLE, options->keepalive_idle_seconds,
         "the idle time of TCP keepalive was refused"},
        {IPPROTO_TCP, TCP_KEEPINTVL, options->keepalive_interval_seconds,
         "the interval of TCP keepalive was refused"},
        {IPPROTO_TCP, TCP_KEEPCNT, options->keepalive_count,
         "the count of TCP keepalive was refused"},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, options->user_timeout_ms, "TCP_USER_TIMEOUT was refused"},
        {SOL_SOCKET, SO_SNDBUF, options->send_buffer_bytes, "the send buffer size was refused"},
        {IPPROTO_TCP, TCP_NOTSENT_LOWAT, options->not_sent_low_bytes,
         "TCP_NOTSENT_LOWAT was refused"},
    };
    for (size_t i = 0; i < countof(all); i++) {
        bool always = all[i].name == SO_KEEPALIVE && all[i].level == SOL_SOCKET;
        if (all[i].value > 0 || always) {
            int r = listener_set(fd, &all[i], ret_problem);
            if (r < 0) {
                return r;
            }
        }
    }
    return 0;
}

/* --- Opening ---------------------------------------------------------------------------------- */

static int listener_socket(int domain, const char **ret_problem)
{
    int fd = socket(domain, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        return fd;
    }
    int error = errno;
    *ret_problem = error == EAFNOSUPPORT ? "this machine does not speak that address family"
                                         : "no socket could be made";
    return -error;
}

static const char *listener_bind_problem(int error)
{
    switch (error) {
    case EADDRINUSE:
        return "somebody listens there already";
    case EADDRNOTAVAIL:
        return "no network interface has that address";
    case EACCES:
        return "permission denied (ports below net.ipv4.ip_unprivileged_port_start need a "
               "capability)";
    default:
        return "the address could not be bound";
    }
}

static int listener_listen(int fd, const struct listener_options *options, const char **ret_problem)
{
    if (listen(fd, options->backlog > 0 ? options->backlog : SOMAXCONN) == 0) {
        return 0;
    }
    *ret_problem = errno == EADDRINUSE ? "somebody listens there already" : "listen(2) failed";
    return -errno;
}

static int listener_bind_tcp(int fd, const struct listener_address *address, bool shared,
                             const char **ret_problem)
{
    const struct sockaddr *target = (const struct sockaddr *)(const void *)address->address;
    struct listener_option reuse = {SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR was refused"};
    int r = listener_set(fd, &reuse, ret_problem);
    if (r == 0 && shared) {
        struct listener_option group = {SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT was refused"};
        r = listener_set(fd, &group, ret_problem);
    }
    if (r == 0 && target->sa_family == AF_INET6) {
        struct listener_option only = {IPPROTO_IPV6, IPV6_V6ONLY, !address->dual_stack,
                                       "IPV6_V6ONLY was refused"};
        r = listener_set(fd, &only, ret_problem);
    }
    if (r == 0 && bind(fd, target, address->address_len) != 0) {
        r = -errno;
        *ret_problem = listener_bind_problem(-r);
    }
    return r;
}

/* One bound socket; with `shared`, others may join it on the same port. */
static int listener_open_bound(const struct listener_address *address, bool shared,
                               const char **ret_problem)
{
    const struct sockaddr *target = (const struct sockaddr *)(const void *)address->address;
    int fd = listener_socket(target->sa_family, ret_problem);
    if (fd < 0) {
        return fd;
    }
    int r = listener_bind_tcp(fd, address, shared, ret_problem);
    if (r < 0) {
        (void)close(fd);
        return r;
    }
    return fd;
}

/*
 * Makes sure that nobody is there, by binding without SO_REUSEPORT. Where IPv6 is missing, a
 * wildcard for both becomes one for IPv4.
 */
static int listener_probe(struct listener_address *address, const char **ret_problem)
{
    int fd = listener_open_bound(address, false, ret_problem);
    if ((fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL) && address->dual_stack) {
        struct sockaddr_in6 wanted;
        memcpy(&wanted, address->address, sizeof(wanted));
        struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = wanted.sin6_port};
        memcpy(address->address, &any, sizeof(any));
        address->address_len = sizeof(any);
        address->dual_stack = false;
        fd = listener_open_bound(address, false, ret_problem);
    }
    if (fd < 0) {
        return fd;
    }
    (void)close(fd);
    return 0;
}

static int listener_open_tcp(const struct listener_address *wanted,
                             const struct listener_options *options, unsigned count, int fds[],
                             const char **ret_problem)
{
    struct listener_address address = *wanted;
    int r = listener_probe(&address, ret_problem);
    if (r < 0) {
        return r;
    }
    for (unsigned i = 0; i < count; i++) {
        fds[i] = listener_open_bound(&address, true, ret_problem);
        if (fds[i] < 0) {
            return fds[i];
        }
        r = listener_set_tcp(fds[i], options, ret_problem);
        if (r == 0) {
            r = listener_listen(fds[i], options, ret_problem);
        }
        if (r < 0) {
            return r;
        }
        if (i == 0) {
            /* For port 0, the rest has to ask for the port that the first one got. */
            socklen_t len = sizeof(address.address);
            CHECK(getsockname(fds[0], (struct sockaddr *)(void *)address.address, &len) == 0);
        }
    }
    return 0;
}

static int listener_duplicate(int fd, unsigned count, int fds[], const char **ret_problem)
{
    for (unsigned i = 0; i < count; i++) {
        fds[i] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (fds[i] < 0) {
            *ret_problem = "no descriptors left";
            return -errno;
        }
    }
    return 0;
}

/*
 * A socket file outlives its process. If nobody answers behind it, it is stale and goes; anything
 * else that is in the way stays.
 */
static int listener_unlink_stale(const struct sockaddr_un *target, const char **ret_problem)
{
    struct stat status;
    if (lstat(target->sun_path, &status) != 0) {
        *ret_problem = "the socket file could not be looked at";
        return -errno;
    }
    if (!S_ISSOCK(status.st_mode)) {
        *ret_problem = "there is a file of that name that is not a socket";
        return -EEXIST;
    }
    int fd = listener_socket(AF_UNIX, ret_problem);
    if (fd < 0) {
        return fd;
    }
    bool stale =
        connect(fd, (const struct sockaddr *)target, sizeof(*target)) != 0 && errno == ECONNREFUSED;
    (void)close(fd);
    if (!stale) {
        *ret_problem = "somebody listens there already";
        return -EADDRINUSE;
    }
    if (unlink(target->sun_path) != 0) {
        *ret_problem = "the stale socket file could not be removed";
        return -errno;
    }
    return 0;
}

static int listener_bind_unix(int fd, const struct sockaddr_un *target, const char **ret_problem)
{
    int r = bind(fd, (const struct sockaddr *)target, sizeof(*target)) == 0 ? 0 : -errno;
    if (r == -EADDRINUSE) {
        r = listener_unlink_stale(target, ret_problem);
        if (r < 0) {
            return r;
        }
        r = bind(fd, (const struct sockaddr *)target, sizeof(*target)) == 0 ? 0 : -errno;
    }
    if (r < 0) {
        *ret_problem = r == -ENOENT   ? "the directory of the socket does not exist"
                       : r == -EACCES ? "permission denied in the directory of the socket"
                                      : "the socket file could not be made";
    }
    return r;
}

static int listener_open_unix(const struct listener_address *address,
                              const struct listener_options *options, unsigned count, int fds[],
                              const char **ret_problem)
{
    struct sockaddr_un target;
    memcpy(&target, address->address, sizeof(target));
    int fd = listener_socket(AF_UNIX, ret_problem);
    if (fd < 0) {
        return fd;
    }
    int r = listener_bind_unix(fd, &target, ret_problem);
    /* Nobody can connect before listen(2), so the permissions are never wider than asked for. */
    if (r == 0 && chmod(target.sun_path, options->unix_mode & 0777) != 0) {
        r = -errno;
        *ret_problem = "the permissions of the socket file could not be set";
    }
    if (r == 0) {
        r = listener_listen(fd, options, ret_problem);
    }
    if (r == 0) {
        r = listener_duplicate(fd, count, fds, ret_problem);
    }
    (void)close(fd);
    return r;
}

static int listener_open_inherited(const struct listener_address *address,
                                   const struct listener_options *options, unsigned count,
                                   int fds[], const char **ret_problem)
{
    int fd = address->fd;
    if (fd < 0 && listener_inherited(&fd) == 0) {
        *ret_problem = "no sockets were handed over (LISTEN_PID, LISTEN_FDS)";
        return -ENOENT;
    }
    struct listener_address checked;
    int r = listener_from_inherited(fd, &checked, ret_problem);
    if (r < 0) {
        return r;
    }
    struct sockaddr_storage bound = {0};
    socklen_t len = sizeof(bound);
    CHECK(getsockname(fd, (struct sockaddr *)&bound, &len) == 0);
    if (bound.ss_family == AF_INET || bound.ss_family == AF_INET6) {
        r = listener_set_tcp(fd, options, ret_problem);
    }
    if (r == 0) {
        int flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
            *ret_problem = "the handed-over socket could not be made non-blocking";
            return -errno;
        }
        r = listener_duplicate(fd, count, fds, ret_problem);
    }
    return r;
}

int listener_open(const struct listener_address *address, const struct listener_options *options,
                  unsigned count, int fds[], const char **ret_problem)
{
    CHECK(count > 0);
    int r = -EINVAL;
    *ret_problem = NULL;
    for (unsigned i = 0; i < count; i++) {
        fds[i] = -1;
    }
    switch (address->family) {
    case LISTENER_FAMILY_TCP:
        r = listener_open_tcp(address, options, count, fds, ret_problem);
        break;
    case LISTENER_FAMILY_UNIX:
        r = listener_open_unix(address, options, count, fds, ret_problem);
        break;
    case LISTENER_FAMILY_INHERITED:
        r = listener_open_inherited(address, options, count, fds, ret_problem);
        break;
    default:
        CHECK(false && "a known family");
    }
    if (r < 0) {
        for (unsigned i = 0; i < count; i++) {
            if (fds[i] >= 0) {
                (void)close(fds[i]);
            }
            fds[i] = -1;
        }
    }
    return r;
}

/* --- Telling ---------------------------------------------------------------------------------- */

static void listener_describe_ipv6(const struct sockaddr_in6 *address, char *text, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";
    char interface[IF_NAMESIZE] = "";
    unsigned port = ntohs(address->sin6_port);
    (void)inet_ntop(AF_INET6, &address->sin6_addr, host, sizeof(host));
    if (address->sin6_scope_id != 0 && if_indextoname(address->sin6_scope_id, interface) != NULL) {
        (void)snprintf(text, size, "[%s%%%s]:%u", host, interface, port);
    } else {
        (void)snprintf(text, size, "[%s]:%u", host, port);
    }
}

void listener_describe(int fd, char *text, size_t size)
{
    union {
        struct sockaddr any;
        struct sockaddr_in ipv4;
        struct sockaddr_in6 ipv6;
        struct sockaddr_un local;
    } address;
    memset(&address, 0, sizeof(address));
    socklen_t len = sizeof(address);
    CHECK(size > 0);
    if (getsockname(fd, &address.any, &len) != 0) {
        (void)snprintf(text, size, "?");
        return;
    }
    switch (address.any.sa_family) {
    case AF_INET: {
        char host[INET_ADDRSTRLEN] = "?";
        (void)inet_ntop(AF_INET, &address.ipv4.sin_addr, host, sizeof(host));
        (void)snprintf(text, size, "%s:%u", host, ntohs(address.ipv4.sin_port));
        return;
    }
    case AF_INET6:
        listener_describe_ipv6(&address.ipv6, text, size);
        return;
    case AF_UNIX:
        (void)snprintf(text, size, "unix:%.*s", (int)sizeof(address.local.sun_path),
                       address.local.sun_path);
        return;
    default:
        (void)snprintf(text, size, "?");
    }
}

/* --- Handed-over sockets ---------------------------------------------------------------------- */

/* The value of a variable that holds a small positive number; 0 for anything else. */
static long listener_environment(const char *name)
{
    const char *value = getenv(name);
    if (value == NULL || value[0] < '0' || value[0] > '9') {
        return 0;
    }
    char *end = NULL;
    errno = 0;
    long number = strtol(value, &end, 10);
    return errno == 0 && *end == '\0' ? number : 0;
}

unsigned listener_inherited(int *ret_first)
{
    long count = listener_environment("LISTEN_FDS");
    if (listener_environment("LISTEN_PID") != (long)getpid() || count < 1 ||
        count > LISTENER_INHERITED_COUNT_MAX) {
        return 0;
    }
    for (int i = 0; i < (int)count; i++) {
        int flags = fcntl(LISTENER_INHERITED_FIRST + i, F_GETFD);
        if (flags >= 0) {
            (void)fcntl(LISTENER_INHERITED_FIRST + i, F_SETFD, flags | FD_CLOEXEC);
        }
    }
    *ret_first = LISTENER_INHERITED_FIRST;
    return (unsigned)count;
}

int listener_from_inherited(int fd, struct listener_address *ret_address, const char **ret_problem)
{
    int type = 0;
    int listening = 0;
    socklen_t type_len = sizeof(type);
    socklen_t listening_len = sizeof(listening);
    *ret_problem = NULL;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) != 0) {
        *ret_problem = "a handed-over descriptor is not a socket";
        return -EINVAL;
    }
    if (type != SOCK_STREAM ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &listening_len) != 0 ||
        listening == 0) {
        *ret_problem = "a handed-over socket is not a listening stream socket (Accept=no)";
        return -EINVAL;
    }
    struct listener_address address = {.family = LISTENER_FAMILY_INHERITED, .fd = fd};
    memcpy(address.text, "systemd", sizeof("systemd"));
    *ret_address = address;
    return 0;
}
