/*
 * Base64 with padding and without line ends (RFC 4648, 4).
 *
 * Pure; any thread.
 */
#ifndef SPATE_PROTO_BASE64_H
#define SPATE_PROTO_BASE64_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whether the text is one: the alphabet, whole groups of four, padding at the end only. */
bool base64_is_valid(struct span text);

static inline size_t base64_size(size_t len)
{
    return (len + 2) / 3 * 4;
}

/* Writes base64_size(bytes.len) characters. */
void base64_write(struct span bytes, char *out);

#ifdef __cplusplus
}
#endif

#endif
