/*
 * The lines of a descriptor, one at a time, and whether the next one is there already: so that
 * those who gather lines never wait for more of them while holding some back.
 *
 * Owned by one thread. The descriptor stays the caller's.
 */
#ifndef SPATE_CTL_LINES_H
#define SPATE_CTL_LINES_H

#include "core/base/buffer.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LINE_BYTES_MAX ((size_t)64 << 20)

struct lines {
    int fd;
    struct buffer bytes; /* read, and not yet taken from `begin` on */
    size_t begin;
    size_t scanned; /* no line ends before here */
    bool at_end;
};

enum lines_result {
    LINES_LINE,
    LINES_NONE, /* not now; only if not asked to wait */
    LINES_END,
    LINES_FAILED, /* the line is too long, or the descriptor cannot be read: errno */
};

void lines_init(struct lines *lines, int fd);
void lines_fini(struct lines *lines);
/* The next line, without its end; valid until the next call. */
enum lines_result lines_next(struct lines *lines, bool waits, struct span *ret_line);

#ifdef __cplusplus
}
#endif
#endif
