/*
 * Reads HTTP/1.x answers byte by byte, strictly: whatever a careful client could take amiss is an
 * error. Knows nothing of what the answer should say.
 */
#ifndef SPATE_TESTS_SIM_HTTP_H
#define SPATE_TESTS_SIM_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HTTP_ANSWER_HEAD_MAX = 4096 };

enum answer_state {
    ANSWER_HEAD,
    ANSWER_LENGTH,      /* a body of known length */
    ANSWER_UNTIL_CLOSE, /* HTTP/1.0 without a length */
    ANSWER_CHUNK_SIZE,
    ANSWER_CHUNK,
    ANSWER_CHUNK_END,
    ANSWER_LAST, /* the line behind the last chunk */
    ANSWER_DONE,
};

enum answer_news {
    ANSWER_NOTHING,
    ANSWER_HEAD_READ, /* maybe ANSWER_DONE at the same time: look at the state */
    ANSWER_BODY_BYTE,
    ANSWER_PIECE_END, /* of a chunk */
    ANSWER_FINISHED,
    ANSWER_BAD, /* `problem` says why */
};

struct answer {
    enum answer_state state;
    bool is_head; /* of a HEAD request: no body */
    bool is_old;  /* of an HTTP/1.0 request: no chunks */
    int status;
    bool chunked;
    bool has_length;
    bool closes; /* Connection: close */
    uint64_t left;
    char head[HTTP_ANSWER_HEAD_MAX];
    size_t head_len;
    char line[40];
    size_t line_len;
    const char *problem;
};

void answer_begin(struct answer *answer, bool is_head, bool is_old);
enum answer_news answer_byte(struct answer *answer, char c);
/* The value of a field into `value`; false if there is none. */
bool answer_field(const struct answer *answer, const char *name, char *value, size_t size);

#endif
