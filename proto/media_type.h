/*
 * Media types: what a Content-Type field says (RFC 9110, 8.3), and whether an Accept field wants
 * one (RFC 9110, 12.5.1). Nothing is copied; the spans point into the caller's bytes.
 *
 * Pure; any thread.
 */
#ifndef SPATE_PROTO_MEDIA_TYPE_H
#define SPATE_PROTO_MEDIA_TYPE_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum media_charset {
    /* There is no charset parameter. */
    MEDIA_CHARSET_NONE,
    /* It says utf-8 or utf8, in any case of letters. */
    MEDIA_CHARSET_UTF8,
    MEDIA_CHARSET_OTHER,
};

struct media_type {
    /* "type/subtype" as it was sent, without the parameters. */
    struct span essence;
    /* The raw rest, from behind the first ';'; empty if there is none. */
    struct span parameters;
    enum media_charset charset;
};

/* Returns 0, or -EINVAL for what has not the form, or names a charset twice. */
int media_type_parse(struct span value, struct media_type *ret_type);

/* Compares "type/subtype" in any case of letters; parameters do not count. */
bool media_type_is(const struct media_type *media_type, const char *type);

/*
 * Whether an Accept field allows the type, given as "type/subtype". The most specific range decides
 * (its full name before its type with any subtype, that before any type), and a quality of 0
 * forbids. Elements that have not the form are skipped; parameters other than q do not count. An
 * empty field allows everything, as if it were not there.
 */
bool media_accepts(struct span accept, const char *type);

/* Whether an Accept field asks for the type by its full name; wildcards do not count. */
bool media_accepts_by_name(struct span accept, const char *type);

/*
 * Whether an Accept-Encoding field (RFC 9110, 12.5.3) allows the coding, by its name or else by
 * "*". An empty field allows none: nothing is compressed for a client that has not said it can
 * read that.
 */
bool media_accepts_coding(struct span accept_encoding, const char *coding);

#ifdef __cplusplus
}
#endif

#endif
