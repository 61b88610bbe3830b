#include "tests/sim/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void answer_begin(struct answer *answer, bool is_head, bool is_old)
{
    answer->state = ANSWER_HEAD;
    answer->is_head = is_head;
    answer->is_old = is_old;
    answer->status = 0;
    answer->chunked = answer->has_length = answer->closes = false;
    answer->left = 0;
    answer->head_len = answer->line_len = 0;
    answer->problem = NULL;
}

static enum answer_news bad(struct answer *answer, const char *problem)
{
    answer->problem = problem;
    return ANSWER_BAD;
}

bool answer_field(const struct answer *answer, const char *name, char *value, size_t size)
{
    size_t name_len = strlen(name);
    const char *line = strstr(answer->head, "\r\n");
    for (line = line == NULL ? NULL : line + 2; line != NULL && *line != '\r';) {
        const char *end = strstr(line, "\r\n");
        if (end == NULL) {
            return false;
        }
        if (strncasecmp(line, name, name_len) == 0 && line[name_len] == ':') {
            snprintf(value, size, "%.*s", (int)(end - line - (ptrdiff_t)name_len - 2),
                     line + name_len + 2);
            return true;
        }
        line = end + 2;
    }
    return false;
}

/* Every line ends with CRLF, and every field has a name, a colon and one blank. */
static const char *head_problem(const char *head)
{
    if (strncmp(head, "HTTP/1.1 ", 9) != 0 || strspn(head + 9, "0123456789") != 3 ||
        head[12] != ' ' || strspn(head + 13, "\r\n") > 0) {
        return "a status line that is none";
    }
    for (const char *line = head; *line != '\0';) {
        size_t len = strcspn(line, "\r\n");
        if (strncmp(line + len, "\r\n", 2) != 0) {
            return "a line of the head that does not end with CRLF";
        }
        const char *colon = memchr(line, ':', len);
        if (line != head && len > 0 &&
            (colon == NULL || colon == line || colon[1] != ' ' || colon[2] == ' ' ||
             memchr(line, ' ', (size_t)(colon - line)) != NULL)) {
            return "a field that is none";
        }
        line += len + 2;
    }
    return NULL;
}

static enum answer_news head_read(struct answer *answer)
{
    char value[64];
    answer->problem = head_problem(answer->head);
    if (answer->problem != NULL) {
        return ANSWER_BAD;
    }
    answer->status = (int)strtol(answer->head + 9, NULL, 10);
    answer->closes =
        answer_field(answer, "Connection", value, sizeof(value)) && strcmp(value, "close") == 0;
    answer->chunked = answer_field(answer, "Transfer-Encoding", value, sizeof(value));
    if (answer->chunked && (strcmp(value, "chunked") != 0 || answer->is_old)) {
        return bad(answer, "a transfer coding that the client does not know");
    }
    answer->has_length = answer_field(answer, "Content-Length", value, sizeof(value));
    answer->left = answer->has_length ? strtoull(value, NULL, 10) : 0;
    if (answer->has_length && (answer->chunked || strspn(value, "0123456789") != strlen(value))) {
        return bad(answer, "a length that is none, or one beside a transfer coding");
    }
    if (answer->status == 100) {
        answer->head_len = 0;
        return ANSWER_NOTHING;
    }
    if (answer->is_head || answer->status == 204 || (answer->has_length && answer->left == 0)) {
        answer->state = ANSWER_DONE;
    } else if (answer->has_length) {
        answer->state = ANSWER_LENGTH;
    } else if (answer->chunked) {
        answer->state = ANSWER_CHUNK_SIZE;
    } else if (answer->is_old || answer->closes) {
        answer->state = ANSWER_UNTIL_CLOSE;
    } else {
        return bad(answer, "a body whose end cannot be told");
    }
    return ANSWER_HEAD_READ;
}

static enum answer_news head_byte(struct answer *answer, char c)
{
    if (answer->head_len + 1 >= sizeof(answer->head) || c == '\0') {
        return bad(answer, "an endless head");
    }
    answer->head[answer->head_len++] = c;
    answer->head[answer->head_len] = '\0';
    if (answer->head_len >= 4 && strcmp(answer->head + answer->head_len - 4, "\r\n\r\n") == 0) {
        return head_read(answer);
    }
    return ANSWER_NOTHING;
}

static enum answer_news size_byte(struct answer *answer, char c)
{
    if (answer->line_len + 1 >= sizeof(answer->line)) {
        return bad(answer, "an endless size of a chunk");
    }
    answer->line[answer->line_len++] = c;
    if (c != '\n') {
        return ANSWER_NOTHING;
    }
    answer->line[answer->line_len] = '\0';
    size_t digits = strspn(answer->line, "0123456789abcdef");
    if (digits == 0 || digits > 8 || strcmp(answer->line + digits, "\r\n") != 0 ||
        (digits > 1 && answer->line[0] == '0')) {
        return bad(answer, "a size of a chunk that is none");
    }
    answer->left = strtoull(answer->line, NULL, 16);
    answer->line_len = 0;
    answer->state = answer->left > 0 ? ANSWER_CHUNK : ANSWER_LAST;
    return ANSWER_NOTHING;
}

/* CRLF behind a chunk, or behind the last one. */
static enum answer_news line_end_byte(struct answer *answer, char c)
{
    if (c != "\r\n"[answer->line_len]) {
        return bad(answer, "a chunk that does not end where its size says");
    }
    if (++answer->line_len < 2) {
        return ANSWER_NOTHING;
    }
    answer->line_len = 0;
    bool last = answer->state == ANSWER_LAST;
    answer->state = last ? ANSWER_DONE : ANSWER_CHUNK_SIZE;
    return last ? ANSWER_FINISHED : ANSWER_PIECE_END;
}

enum answer_news answer_byte(struct answer *answer, char c)
{
    switch (answer->state) {
    case ANSWER_HEAD:
        return head_byte(answer, c);
    case ANSWER_LENGTH:
        answer->left--;
        answer->state = answer->left == 0 ? ANSWER_DONE : ANSWER_LENGTH;
        return ANSWER_BODY_BYTE;
    case ANSWER_UNTIL_CLOSE:
        return ANSWER_BODY_BYTE;
    case ANSWER_CHUNK_SIZE:
        return size_byte(answer, c);
    case ANSWER_CHUNK:
        answer->left--;
        answer->state = answer->left == 0 ? ANSWER_CHUNK_END : ANSWER_CHUNK;
        return ANSWER_BODY_BYTE;
    case ANSWER_CHUNK_END:
    case ANSWER_LAST:
        return line_end_byte(answer, c);
    case ANSWER_DONE:
        return bad(answer, "bytes that nobody asked for");
    }
    return ANSWER_BAD;
}
