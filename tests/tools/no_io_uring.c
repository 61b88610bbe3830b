/*
 * no_io_uring PROGRAM [ARGUMENT]...
 *
 * Runs a program where io_uring_setup(2), io_uring_enter(2) and io_uring_register(2) fail with
 * EPERM, as they do under the default seccomp profile of containers. The integration tests use it
 * to see a hub fall back to epoll.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/deny_io_uring.h"

int main(int argc, char **argv)
{
    if (argc < 2) {
        (void)fprintf(stderr, "usage: no_io_uring PROGRAM [ARGUMENT]...\n");
        return 2;
    }
    int r = deny_io_uring(SYS_io_uring_setup, EPERM);
    if (r < 0) {
        (void)fprintf(stderr, "no_io_uring: no seccomp filter: %s\n", strerror(-r));
        return 1;
    }
    (void)execvp(argv[1], argv + 1);
    (void)fprintf(stderr, "no_io_uring: %s: %s\n", argv[1], strerror(errno));
    return 127;
}
