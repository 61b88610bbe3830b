#include "proto/http_chunked.h"

#include "proto/http_char.h"

enum chunked_state {
    /* The line before a chunk. */
    CHUNKED_SIZE,
    CHUNKED_SIZE_LF,
    CHUNKED_EXTENSION_NAME_FIRST,
    CHUNKED_EXTENSION_NAME,
    CHUNKED_EXTENSION_VALUE_FIRST,
    CHUNKED_EXTENSION_VALUE,
    CHUNKED_EXTENSION_QUOTED,
    CHUNKED_EXTENSION_ESCAPED,
    CHUNKED_EXTENSION_QUOTED_END,
    /* The chunk itself, and its end. */
    CHUNKED_DATA,
    CHUNKED_DATA_CR,
    CHUNKED_DATA_LF,
    /* The lines after the last chunk. */
    CHUNKED_TRAILER_FIRST,
    CHUNKED_TRAILER_NAME,
    CHUNKED_TRAILER_VALUE,
    CHUNKED_TRAILER_LF,
    CHUNKED_END_LF,
    CHUNKED_DONE,
    CHUNKED_BAD,
};

enum { CHUNK_SIZE_DIGIT_COUNT_MAX = 16 };

static_assert(sizeof(struct http_chunked) <= 48, "a decoder is part of every connection");

void http_chunked_init(struct http_chunked *chunked)
{
    memset(chunked, 0, sizeof(*chunked));
    chunked->state = CHUNKED_SIZE;
}

/* The byte functions below return whether the byte was legal, having moved on to the next state. */
static bool refuse(struct http_problem *ret_problem, int status, const char *reason)
{
    ret_problem->status = status;
    ret_problem->reason = reason;
    return false;
}

static void size_ended(struct http_chunked *chunked)
{
    chunked->size_digit_count = 0;
    chunked->state = chunked->chunk_left == 0 ? CHUNKED_TRAILER_FIRST : CHUNKED_DATA;
}

static bool size_byte(struct http_chunked *chunked, char byte, struct http_problem *ret_problem)
{
    if (http_char_is(byte, HTTP_CHAR_HEX)) {
        if (chunked->size_digit_count == CHUNK_SIZE_DIGIT_COUNT_MAX) {
            return refuse(ret_problem, 400, "A chunk size has too many digits.");
        }
        chunked->size_digit_count++;
        chunked->chunk_left = chunked->chunk_left << 4 | http_char_hex_value(byte);
        return true;
    }
    if (chunked->size_digit_count == 0) {
        return refuse(ret_problem, 400, "A chunk does not begin with its size in hexadecimal.");
    }
    if (byte == '\r') {
        chunked->state = CHUNKED_SIZE_LF;
        return true;
    }
    if (byte == ';') {
        chunked->state = CHUNKED_EXTENSION_NAME_FIRST;
        return true;
    }
    return refuse(ret_problem, 400, "A chunk size is followed by something that may not be there.");
}

/* After a complete name or value; `byte` begins the next thing. */
static bool extension_ended(struct http_chunked *chunked, char byte)
{
    if (byte == '\r') {
        chunked->state = CHUNKED_SIZE_LF;
        return true;
    }
    chunked->state = CHUNKED_EXTENSION_NAME_FIRST;
    return byte == ';';
}

static bool extension_quoted_byte(struct http_chunked *chunked, char byte)
{
    if (byte == '"') {
        chunked->state = CHUNKED_EXTENSION_QUOTED_END;
        return true;
    }
    if (byte == '\\') {
        chunked->state = CHUNKED_EXTENSION_ESCAPED;
        return true;
    }
    return http_char_is(byte, HTTP_CHAR_TEXT);
}

/* One byte of ;name=value or ;name="value" or ;name; whether it may stand there. */
static bool extension_step(struct http_chunked *chunked, char byte)
{
    switch (chunked->state) {
    case CHUNKED_EXTENSION_NAME_FIRST:
        chunked->state = CHUNKED_EXTENSION_NAME;
        return http_char_is(byte, HTTP_CHAR_TOKEN);
    case CHUNKED_EXTENSION_NAME:
        if (byte == '=') {
            chunked->state = CHUNKED_EXTENSION_VALUE_FIRST;
            return true;
        }
        return http_char_is(byte, HTTP_CHAR_TOKEN) || extension_ended(chunked, byte);
    case CHUNKED_EXTENSION_VALUE_FIRST:
        chunked->state = byte == '"' ? CHUNKED_EXTENSION_QUOTED : CHUNKED_EXTENSION_VALUE;
        return byte == '"' || http_char_is(byte, HTTP_CHAR_TOKEN);
    case CHUNKED_EXTENSION_VALUE:
        return http_char_is(byte, HTTP_CHAR_TOKEN) || extension_ended(chunked, byte);
    case CHUNKED_EXTENSION_QUOTED:
        return extension_quoted_byte(chunked, byte);
    case CHUNKED_EXTENSION_ESCAPED:
        chunked->state = CHUNKED_EXTENSION_QUOTED;
        return http_char_is(byte, HTTP_CHAR_TEXT);
    default:
        CHECK(chunked->state == CHUNKED_EXTENSION_QUOTED_END);
        return extension_ended(chunked, byte);
    }
}

static bool extension_byte(struct http_chunked *chunked, char byte,
                           struct http_problem *ret_problem)
{
    if (!extension_step(chunked, byte)) {
        return refuse(ret_problem, 400, "A chunk extension is malformed.");
    }
    if (chunked->extension_len == HTTP_CHUNK_EXTENSION_LEN_MAX) {
        return refuse(ret_problem, 413, "The chunk extensions of the body are too long.");
    }
    chunked->extension_len++;
    return true;
}

static bool trailer_name_is_refused(const struct http_chunked *chunked)
{
    struct span name = {chunked->trailer_name, chunked->trailer_name_len};
    return span_is_nocase(name, "content-length") || span_is_nocase(name, "transfer-encoding") ||
           span_is_nocase(name, "host");
}

static bool trailer_name_byte(struct http_chunked *chunked, char byte,
                              struct http_problem *ret_problem)
{
    if (http_char_is(byte, HTTP_CHAR_TOKEN)) {
        if (chunked->trailer_name_len < HTTP_TRAILER_NAME_LEN_KEPT) {
            chunked->trailer_name[chunked->trailer_name_len++] = byte;
        }
        return true;
    }
    if (byte != ':' || chunked->trailer_name_len == 0) {
        return refuse(ret_problem, 400, "A trailer field has no valid name.");
    }
    if (trailer_name_is_refused(chunked)) {
        return refuse(ret_problem, 400, "A trailer field has a name that only a head may have.");
    }
    chunked->state = CHUNKED_TRAILER_VALUE;
    return true;
}

static bool trailer_step(struct http_chunked *chunked, char byte, struct http_problem *ret_problem)
{
    switch (chunked->state) {
    case CHUNKED_TRAILER_FIRST:
        if (byte == '\r') {
            chunked->state = CHUNKED_END_LF;
            return true;
        }
        chunked->trailer_name_len = 0;
        chunked->state = CHUNKED_TRAILER_NAME;
        return trailer_name_byte(chunked, byte, ret_problem);
    case CHUNKED_TRAILER_NAME:
        return trailer_name_byte(chunked, byte, ret_problem);
    case CHUNKED_TRAILER_VALUE:
        if (byte == '\r') {
            chunked->state = CHUNKED_TRAILER_LF;
            return true;
        }
        return http_char_is(byte, HTTP_CHAR_TEXT) ||
               refuse(ret_problem, 400, "A trailer field holds a control character.");
    default:
        CHECK(chunked->state == CHUNKED_TRAILER_LF);
        chunked->state = CHUNKED_TRAILER_FIRST;
        return byte == '\n' || refuse(ret_problem, 400, "A trailer holds a bare carriage return.");
    }
}

static bool trailer_byte(struct http_chunked *chunked, char byte, struct http_problem *ret_problem)
{
    if (!trailer_step(chunked, byte, ret_problem)) {
        return false;
    }
    if (chunked->trailer_len == HTTP_TRAILER_LEN_MAX) {
        return refuse(ret_problem, 431, "The trailer of the body is too large.");
    }
    chunked->trailer_len++;
    return true;
}

/* A byte that can be only the one that is wanted. */
static bool fixed_byte(struct http_chunked *chunked, char byte, struct http_problem *ret_problem)
{
    switch (chunked->state) {
    case CHUNKED_SIZE_LF:
        size_ended(chunked);
        return byte == '\n' ||
               refuse(ret_problem, 400, "The line of a chunk size holds a bare carriage return.");
    case CHUNKED_DATA_CR:
        chunked->state = CHUNKED_DATA_LF;
        return byte == '\r' ||
               refuse(ret_problem, 400, "A chunk does not end where its size says.");
    case CHUNKED_DATA_LF:
        chunked->state = CHUNKED_SIZE;
        return byte == '\n' ||
               refuse(ret_problem, 400, "A chunk does not end where its size says.");
    default:
        CHECK(chunked->state == CHUNKED_END_LF);
        chunked->state = CHUNKED_DONE;
        return byte == '\n' || refuse(ret_problem, 400, "A trailer holds a bare carriage return.");
    }
}

/* Any byte that is not one of the body. */
static bool framing_byte(struct http_chunked *chunked, char byte, struct http_problem *ret_problem)
{
    switch ((enum chunked_state)chunked->state) {
    case CHUNKED_SIZE:
        return size_byte(chunked, byte, ret_problem);
    case CHUNKED_EXTENSION_NAME_FIRST:
    case CHUNKED_EXTENSION_NAME:
    case CHUNKED_EXTENSION_VALUE_FIRST:
    case CHUNKED_EXTENSION_VALUE:
    case CHUNKED_EXTENSION_QUOTED:
    case CHUNKED_EXTENSION_ESCAPED:
    case CHUNKED_EXTENSION_QUOTED_END:
        return extension_byte(chunked, byte, ret_problem);
    case CHUNKED_TRAILER_FIRST:
    case CHUNKED_TRAILER_NAME:
    case CHUNKED_TRAILER_VALUE:
    case CHUNKED_TRAILER_LF:
        return trailer_byte(chunked, byte, ret_problem);
    case CHUNKED_SIZE_LF:
    case CHUNKED_DATA_CR:
    case CHUNKED_DATA_LF:
    case CHUNKED_END_LF:
        return fixed_byte(chunked, byte, ret_problem);
    case CHUNKED_DATA:
    case CHUNKED_DONE:
    case CHUNKED_BAD:
        break;
    }
    /* None of these is read byte by byte. */
    CHECK(false);
    return false;
}

enum http_outcome http_chunked_feed(struct http_chunked *chunked, const char *bytes, size_t len,
                                    size_t *ret_consumed, struct span *ret_data,
                                    struct http_problem *ret_problem)
{
    CHECK(chunked->state != CHUNKED_DONE);
    CHECK(chunked->state != CHUNKED_BAD);
    *ret_data = span_make(bytes, 0);
    *ret_consumed = 0;

    size_t at = 0;
    while (at < len && chunked->state != CHUNKED_DATA) {
        if (!framing_byte(chunked, bytes[at++], ret_problem)) {
            chunked->state = CHUNKED_BAD;
            return HTTP_BAD;
        }
        if (chunked->state == CHUNKED_DONE) {
            *ret_consumed = at;
            return HTTP_DONE;
        }
    }
    if (at < len) {
        size_t run = (size_t)min_u64(len - at, chunked->chunk_left);
        *ret_data = span_make(bytes + at, run);
        at += run;
        chunked->chunk_left -= run;
        chunked->state = chunked->chunk_left == 0 ? CHUNKED_DATA_CR : CHUNKED_DATA;
    }
    *ret_consumed = at;
    return HTTP_MORE;
}
