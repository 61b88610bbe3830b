#include "core/base/utf8.h"

/* The length of the sequence that starts at p, or 0 if the bytes up to `end` hold no valid one. */
static size_t utf8_sequence(const unsigned char *p, const unsigned char *end)
{
    size_t len;
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    if (p[0] < 0x80) {
        return 1;
    } else if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        len = 2;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        len = 3;
        low = p[0] == 0xe0 ? 0xa0 : 0x80;
        high = p[0] == 0xed ? 0x9f : 0xbf;
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        len = 4;
        low = p[0] == 0xf0 ? 0x90 : 0x80;
        high = p[0] == 0xf4 ? 0x8f : 0xbf;
    } else {
        return 0;
    }
    if ((size_t)(end - p) < len || p[1] < low || p[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf) {
            return 0;
        }
    }
    return len;
}

bool utf8_is_valid(struct span text)
{
    if (text.len == 0) {
        return true; /* its bytes may be NULL, from which nothing may be reckoned */
    }
    const unsigned char *p = (const unsigned char *)text.bytes;
    const unsigned char *end = p + text.len;
    while (p < end) {
        /* Runs of ASCII are the common case: eight bytes at a time. */
        while (end - p >= 8) {
            uint64_t word;
            memcpy(&word, p, 8);
            if ((word & 0x8080808080808080ULL) != 0) {
                break;
            }
            p += 8;
        }
        if (p == end) {
            break;
        }
        size_t len = utf8_sequence(p, end);
        if (len == 0) {
            return false;
        }
        p += len;
    }
    return true;
}
