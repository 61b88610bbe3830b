#include "tools/ctl/lines.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#define READ_SIZE 65536

void lines_init(struct lines *lines, int fd)
{
    *lines = (struct lines){.fd = fd};
    buffer_init(&lines->bytes, LINE_BYTES_MAX);
}

void lines_fini(struct lines *lines)
{
    buffer_fini(&lines->bytes);
}

/* Takes a line that is there. */
static bool lines_take(struct lines *lines, struct span *ret_line)
{
    const char *begin = lines->bytes.bytes + lines->begin;
    const char *end =
        lines->bytes.len == lines->scanned
            ? NULL
            : memchr(lines->bytes.bytes + lines->scanned, '\n', lines->bytes.len - lines->scanned);
    lines->scanned = lines->bytes.len;
    if (end == NULL && (!lines->at_end || lines->begin == lines->bytes.len)) {
        return false;
    }
    if (end == NULL) {
        *ret_line = span_make(begin, lines->bytes.len - lines->begin);
        lines->begin = lines->bytes.len;
        return true;
    }
    *ret_line = span_make(begin, (size_t)(end - begin));
    lines->begin = lines->scanned = (size_t)(end + 1 - lines->bytes.bytes);
    return true;
}

/* 1 if something was read, 0 if there is nothing now, or at the end, -1 on failure. */
static int lines_fill(struct lines *lines, bool waits)
{
    struct pollfd readable = {.fd = lines->fd, .events = POLLIN};
    if (!waits && poll(&readable, 1, 0) <= 0) {
        return 0;
    }
    if (lines->begin > 0) {
        memmove(lines->bytes.bytes, lines->bytes.bytes + lines->begin,
                lines->bytes.len - lines->begin);
        lines->bytes.len -= lines->begin;
        lines->scanned -= lines->begin;
        lines->begin = 0;
    }
    char *room = buffer_reserve(&lines->bytes, READ_SIZE);
    if (room == NULL) {
        errno = EMSGSIZE;
        return -1;
    }
    ssize_t got;
    do {
        got = read(lines->fd, room, READ_SIZE);
    } while (got < 0 && errno == EINTR);
    if (got > 0) {
        buffer_commit(&lines->bytes, (size_t)got);
    }
    lines->at_end = got == 0;
    return got < 0 ? -1 : 1;
}

enum lines_result lines_next(struct lines *lines, bool waits, struct span *ret_line)
{
    for (;;) {
        if (lines_take(lines, ret_line)) {
            return LINES_LINE;
        }
        if (lines->at_end) {
            return LINES_END;
        }
        int r = lines_fill(lines, waits);
        if (r <= 0) {
            return r < 0 ? LINES_FAILED : LINES_NONE;
        }
    }
}
