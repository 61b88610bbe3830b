/*
 * Listening sockets: what an operator may write after --listen, and how it becomes a socket.
 *
 *   127.0.0.1:8080   0.0.0.0:80   [::1]:8080   [::]:8080   *:8080 (IPv6 with IPv4)   :8080 (same)
 *   [fe80::1%eth0]:8080      a link-local address needs its interface
 *   localhost:8080 is refused: names resolve differently tomorrow, addresses do not
 *   unix:/run/spate.sock     a Unix socket for publishers; a stale file is replaced, a live one is
 * not systemd                  every stream socket handed over by the service manager
 * (sd_listen_fds(3))
 *
 * TCP options are set on the listening socket, because accepted sockets inherit them and direct
 * descriptors cannot be reached by setsockopt(2): TCP_NODELAY, SO_KEEPALIVE with its times,
 * TCP_USER_TIMEOUT, SO_SNDBUF, TCP_NOTSENT_LOWAT.
 *
 * One socket per shard with SO_REUSEPORT: the kernel's hash of the connection picks the shard. A
 * Unix or a handed-over socket cannot be multiplied that way; its descriptor is duplicated for each
 * shard and the shards accept from it in competition. Because SO_REUSEPORT would also let a second
 * hub of the same user take half of the connections unnoticed, a port that somebody listens on
 * already is refused.
 *
 * `systemd` stands for several sockets: listener_inherited counts them and listener_from_inherited
 * makes an address of each. They are used as the service manager made them, but for the options
 * above.
 *
 * Threads: call at start-up. Errors: 0 or a negative errno with *ret_problem (static text or NULL).
 */
#ifndef SPATE_NET_LISTENER_H
#define SPATE_NET_LISTENER_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LISTENER_FAMILY_TCP, LISTENER_FAMILY_UNIX, LISTENER_FAMILY_INHERITED };

struct listener_address {
    int family;     /* LISTENER_FAMILY_... */
    int fd;         /* an inherited one; -1 otherwise, and for `systemd` as it is written */
    char text[128]; /* as the operator wrote it, for messages */
    unsigned char address[128]; /* a sockaddr_in, sockaddr_in6 or sockaddr_un */
    unsigned address_len;
    bool dual_stack; /* an IPv6 wildcard that takes IPv4 too; IPv4 alone where there is no IPv6 */
};

/* Of the TCP ones, 0 always means: leave it to the kernel (keepalive_idle_seconds 0: no keepalive).
 */
struct listener_options {
    int backlog; /* the kernel cuts it to net.core.somaxconn */
    int keepalive_idle_seconds;
    int keepalive_interval_seconds;
    int keepalive_count;
    int user_timeout_ms;
    int send_buffer_bytes;  /* 0: leave to the kernel */
    int not_sent_low_bytes; /* TCP_NOTSENT_LOWAT; 0: leave */
    unsigned unix_mode;     /* permissions of the socket file, e.g. 0660 */
};

/* Reads one --listen value. -EINVAL with a problem text that says what is wrong. */
int listener_parse(const char *text, struct listener_address *ret_address,
                   const char **ret_problem);

/*
 * Opens `count` non-blocking, close-on-exec listening descriptors for one address into fds[].
 * For port 0 all of them share the port that the kernel chose for the first. On failure none is
 * open. An unexpanded `systemd` address opens the first of the handed-over sockets.
 */
int listener_open(const struct listener_address *address, const struct listener_options *options,
                  unsigned count, int fds[], const char **ret_problem);

/*
 * The address that a descriptor is bound to, as "127.0.0.1:8080", "[::1]:8080" or "unix:/path"; "?"
 * if it has none. The text is cut to `size`.
 */
void listener_describe(int fd, char *text, size_t size);

/*
 * Number of descriptors handed over by the service manager, from *ret_first on; 0 if none. From
 * then on they are close-on-exec.
 */
unsigned listener_inherited(int *ret_first);

/* The address that stands for one of them. -EINVAL if it is not a listening stream socket. */
int listener_from_inherited(int fd, struct listener_address *ret_address, const char **ret_problem);

#ifdef __cplusplus
}
#endif

#endif
