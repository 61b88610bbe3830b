/*
 * The character classes of HTTP (RFC 9110, 5.6 and 5.5; RFC 3986, 2 and 3) as one table, so that
 * every parser of this folder agrees on what a token is, and validates by runs, not by branches.
 *
 * Pure; any thread.
 */
#ifndef SPATE_PROTO_HTTP_CHAR_H
#define SPATE_PROTO_HTTP_CHAR_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum http_char_class {
    /* tchar: what methods, field names and tokens are made of. */
    HTTP_CHAR_TOKEN = 1,
    /* What a line of a head may hold at all: HTAB, SP, VCHAR and obs-text (0x80 and above). */
    HTTP_CHAR_TEXT = 2,
    /*
     * What a request target may hold: VCHAR but for '#'. Wider than RFC 3986, since browsers leave
     * characters such as '|' and '{' of a query as they are, and since none of them is read in
     * two ways; a byte above 0x7e is, and so is a space.
     */
    HTTP_CHAR_TARGET = 4,
    /*
     * What a registered name of a host is made of: unreserved and sub-delims. Without the comma,
     * which a proxy that joins two Host fields would have put there, and without percent escapes,
     * which some decode and some do not.
     */
    HTTP_CHAR_HOST = 8,
    HTTP_CHAR_DIGIT = 16,
    HTTP_CHAR_HEX = 32,
    /* OWS: SP and HTAB. */
    HTTP_CHAR_SPACE = 64,
};

extern const uint8_t http_char_classes[256];

static inline bool http_char_is(char c, enum http_char_class wanted)
{
    return (http_char_classes[(uint8_t)c] & (unsigned)wanted) != 0;
}

/* How many of the leading bytes are of the class. */
static inline size_t http_char_run(const char *bytes, size_t len, enum http_char_class wanted)
{
    size_t run = 0;
    while (run < len && http_char_is(bytes[run], wanted)) {
        run++;
    }
    return run;
}

/*
 * http_char_run for HTTP_CHAR_TEXT, the class of most bytes of a head: eight at a time while none
 * of them is below SP or is DEL.
 */
static inline size_t http_char_run_text(const char *bytes, size_t len)
{
    const uint64_t ones = 0x0101010101010101ULL;
    size_t run = 0;
    for (;;) {
        while (len - run >= 8) {
            uint64_t word;
            memcpy(&word, bytes + run, 8);
            /* Top bits: none is set if there is no such byte; one at least if there is. */
            uint64_t del = word ^ (ones * 0x7f);
            uint64_t found = ((word - ones * 0x20) & ~word) | ((del - ones) & ~del);
            if ((found & (ones * 0x80)) != 0) {
                break;
            }
            run += 8;
        }
        /* It may be a tab, and then it goes on. */
        size_t stop = min_size(len, run + 8);
        while (run < stop && http_char_is(bytes[run], HTTP_CHAR_TEXT)) {
            run++;
        }
        if (run < stop || run == len) {
            return run;
        }
    }
}

/* The value of a hexadecimal digit; only for a character of the class HTTP_CHAR_HEX. */
static inline unsigned http_char_hex_value(char c)
{
    unsigned digit = (uint8_t)c;
    return digit <= '9' ? digit - '0' : (digit | 0x20U) - 'a' + 10;
}

/* The span without leading and trailing SP and HTAB. */
struct span http_char_trim(struct span text);

#ifdef __cplusplus
}
#endif

#endif
