#include "proto/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static bool is_digit(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

bool base64_is_valid(struct span text)
{
    size_t len = text.len;
    if (len % 4 != 0) {
        return false;
    }
    for (unsigned i = 0; i < 2 && len > 0 && text.bytes[len - 1] == '='; i++) {
        len--;
    }
    for (size_t i = 0; i < len; i++) {
        if (!is_digit(text.bytes[i])) {
            return false;
        }
    }
    return true;
}

void base64_write(struct span bytes, char *out)
{
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = min_size(bytes.len - i, 3);
        uint32_t group = 0;
        for (size_t j = 0; j < 3; j++) {
            group = group << 8 | (j < left ? (uint8_t)bytes.bytes[i + j] : 0);
        }
        for (size_t j = 0; j < 4; j++) {
            *out++ = j <= left ? alphabet[group >> (18 - 6 * j) & 63] : '=';
        }
    }
}
