/* What io_new does where io_uring is forbidden: real seccomp filters in forked children. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/io.h"
#include "tests/unit/deny_io_uring.h"

static void on_accepted(void *owner, struct io_listener *listener, int32_t descriptor,
                        const struct sockaddr_storage *address)
{
    (void)owner;
    (void)listener;
    (void)descriptor;
    (void)address;
}

static void on_accept_failed(void *owner, struct io_listener *listener, int error)
{
    (void)owner;
    (void)listener;
    (void)error;
}

static void on_received(void *owner, struct io_stream *stream, const char *bytes, ssize_t len)
{
    (void)owner;
    (void)stream;
    (void)bytes;
    (void)len;
}

static void on_stream(void *owner, struct io_stream *stream)
{
    (void)owner;
    (void)stream;
}

static void on_sent(void *owner, uint32_t token, ssize_t result)
{
    (void)owner;
    (void)token;
    (void)result;
}

static void on_sends_final(void *owner)
{
    unsigned *turns = owner;
    (*turns)++;
}

static const struct io_handler handler = {
    .accepted = on_accepted,
    .accept_failed = on_accept_failed,
    .received = on_received,
    .hung_up = on_stream,
    .sent = on_sent,
    .sends_final = on_sends_final,
    .writable = on_stream,
    .closed = on_stream,
};

struct expectation {
    unsigned first;     /* the first system call that is denied; 0: none */
    unsigned answer;    /* the errno it answers */
    rlim_t descriptors; /* RLIMIT_NOFILE; 0: as it is */
    enum io_kind kind;
    int result;
    enum io_kind got;
    const char *reason; /* a part of it; NULL: there must be none */
};

/* Exit status 0 if everything is as expected, else the number of the check that failed. */
static int child_check(const struct expectation *expected)
{
    const struct io_options options = {.stream_count_max = 16};
    unsigned turns = 0;
    struct io *io = NULL;
    const char *reason = "unset";
    if (expected->descriptors > 0) {
        struct rlimit limit = {.rlim_cur = expected->descriptors,
                               .rlim_max = expected->descriptors};
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
            return 1;
        }
    }
    if (expected->first != 0 && deny_io_uring(expected->first, expected->answer) != 0) {
        return 2;
    }
    if (io_new(expected->kind, &options, &handler, &turns, &io, &reason) != expected->result) {
        return 3;
    }
    if ((reason == NULL) != (expected->reason == NULL)) {
        return 4;
    }
    if (reason != NULL && strstr(reason, expected->reason) == NULL) {
        return 5;
    }
    if (expected->result < 0) {
        return io == NULL ? 0 : 6;
    }
    if (io_kind_of(io) != expected->got) {
        return 7;
    }
    io_wake(io);
    if (io_turn(io, -1) != 0 || turns != 1) {
        return 8;
    }
    io_free(io);
    return 0;
}

static void expect(const struct expectation *expected)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(child_check(expected));
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_nothing_denied(void **state)
{
    (void)state;
    expect(&(struct expectation){.kind = IO_KIND_AUTO, .got = IO_KIND_URING});
    expect(&(struct expectation){.kind = IO_KIND_EPOLL, .got = IO_KIND_EPOLL});
}

static void test_auto_falls_back(void **state)
{
    (void)state;
    expect(&(struct expectation){.first = SYS_io_uring_setup,
                                 .answer = EPERM,
                                 .kind = IO_KIND_AUTO,
                                 .got = IO_KIND_EPOLL,
                                 .reason = "seccomp"});
    expect(&(struct expectation){.first = SYS_io_uring_setup,
                                 .answer = ENOSYS,
                                 .kind = IO_KIND_AUTO,
                                 .got = IO_KIND_EPOLL,
                                 .reason = "no io_uring"});
    expect(&(struct expectation){.first = SYS_io_uring_setup,
                                 .answer = EINVAL,
                                 .kind = IO_KIND_AUTO,
                                 .got = IO_KIND_EPOLL,
                                 .reason = "6.1"});
    expect(&(struct expectation){.first = SYS_io_uring_setup,
                                 .answer = ENOMEM,
                                 .kind = IO_KIND_AUTO,
                                 .got = IO_KIND_EPOLL,
                                 .reason = "memory"});
}

/* A filter that lets the set-up pass and forbids what comes after. */
static void test_only_the_later_calls_are_denied(void **state)
{
    (void)state;
    expect(&(struct expectation){.first = SYS_io_uring_enter,
                                 .answer = EPERM,
                                 .kind = IO_KIND_AUTO,
                                 .got = IO_KIND_EPOLL,
                                 .reason = "seccomp"});
    expect(&(struct expectation){.first = SYS_io_uring_register,
                                 .answer = EPERM,
                                 .kind = IO_KIND_AUTO,
                                 .got = IO_KIND_EPOLL,
                                 .reason = "seccomp"});
}

static void test_what_was_asked_for_fails(void **state)
{
    (void)state;
    expect(&(struct expectation){.first = SYS_io_uring_setup,
                                 .answer = EPERM,
                                 .kind = IO_KIND_URING,
                                 .result = -EPERM,
                                 .reason = "seccomp"});
    expect(&(struct expectation){
        .descriptors = 3, .kind = IO_KIND_EPOLL, .result = -EMFILE, .reason = "descriptors"});
    expect(&(struct expectation){
        .descriptors = 3, .kind = IO_KIND_AUTO, .result = -EMFILE, .reason = "descriptors"});
    expect(&(struct expectation){
        .descriptors = 4, .kind = IO_KIND_URING, .result = -EMFILE, .reason = "descriptors"});
}

static void test_epoll_does_not_care(void **state)
{
    (void)state;
    expect(&(struct expectation){
        .first = SYS_io_uring_setup, .answer = EPERM, .kind = IO_KIND_EPOLL, .got = IO_KIND_EPOLL});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_denied),
        cmocka_unit_test(test_auto_falls_back),
        cmocka_unit_test(test_only_the_later_calls_are_denied),
        cmocka_unit_test(test_what_was_asked_for_fails),
        cmocka_unit_test(test_epoll_does_not_care),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
