/*
 * Cutting JSON (RFC 8259) into spans of its own bytes, where a tree would lose how a number or a
 * string was written. The text must be well-formed, as a parser has found it; of any other bytes
 * these functions read no further than they reach, but what they yield means nothing.
 *
 * Pure; any thread.
 */
#ifndef SPATE_PROTO_JSON_CUT_H
#define SPATE_PROTO_JSON_CUT_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The members of an object or the elements of an array, one after another. */
struct json_cut {
    struct span rest;
    bool is_object;
};

/* `text` is the object or the array, perhaps with white space around it. */
void json_cut_init(struct json_cut *cut, struct span text);

/*
 * False at the end. A name has its quotes, and is empty for the elements of an array; neither span
 * has white space around it.
 */
bool json_cut_next(struct json_cut *cut, struct span *ret_name, struct span *ret_value);

/* The text without white space at its ends. */
struct span json_cut_trim(struct span text);

static inline bool json_cut_is_string(struct span value)
{
    return value.len > 0 && value.bytes[0] == '"';
}

/*
 * Writes what a string, given with its quotes, stands for: UTF-8 if the text is. `out` has room for
 * string.len bytes. False for what is not a string, or holds half of a surrogate pair.
 */
bool json_cut_unescape(struct span string, char *out, size_t *ret_len);

/*
 * Writes the text without the white space outside of strings; `out` has room for text.len bytes.
 * Returns how many it wrote.
 */
size_t json_cut_compact(struct span text, char *out);

#ifdef __cplusplus
}
#endif

#endif
