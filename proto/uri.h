/*
 * Percent-decoding and cutting up of paths and queries (RFC 3986, 2.1 and 3.3; the query form of
 * the WHATWG URL standard, 5.1), and whether a text is a URI at all (RFC 3986, 4).
 *
 * Cut first, decode after: %2F is then a slash inside a segment and %26 an ampersand inside a
 * value. The iterators therefore yield raw spans into the caller's bytes, for uri_decode to read.
 * What decoding yields is any bytes at all, NUL and invalid UTF-8 too: the caller looks.
 *
 * Pure; any thread.
 */
#ifndef SPATE_PROTO_URI_H
#define SPATE_PROTO_URI_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Replaces %XX by the byte, and '+' by a space if `plus_is_space` (queries and forms, never
 * paths). `out` has room for in.len bytes and may be in.bytes itself. Returns 0, or -EINVAL for an
 * escape without two hexadecimal digits; then `out` holds nothing of use.
 */
int uri_decode(struct span in, bool plus_is_space, char *out, size_t *ret_len);

/*
 * The name=value pairs of a query, or of an application/x-www-form-urlencoded body. Empty pairs
 * ("a=1&&b=2") are skipped; a pair without '=' has an empty value.
 */
struct uri_query {
    struct span rest;
};

void uri_query_init(struct uri_query *query, struct span text);
bool uri_query_next(struct uri_query *query, struct span *ret_name_raw, struct span *ret_value_raw);

/*
 * The segments of a path, one for each slash: "/a/b" has "a" and "b", "/a/" has "a" and "", "/" has
 * "". *rest is the whole path at first. Returns false at the end, and for what does not begin with
 * a slash ("*", ""). Dot segments are segments like any other.
 */
bool uri_path_next(struct span *rest, struct span *ret_segment_raw);

/* Whether the text is a URI-reference (RFC 3986, 4.1). It may be empty: that refers to here. */
bool uri_reference_is_valid(struct span text);
/* Whether the text is an absolute-URI (RFC 3986, 4.3): with a scheme, without a fragment. */
bool uri_is_absolute(struct span text);

#ifdef __cplusplus
}
#endif

#endif
