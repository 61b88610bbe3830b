/*
 * A quick look at JSON (RFC 8259): says for most texts that they are valid, without building
 * anything of them.
 *
 * It may not know: false means "ask a parser", which has the last word and finds the words for what
 * is wrong. True is for certain. What it leaves to the parser is rare: deep nesting, exponents,
 * numbers of many digits, escaped surrogates and NULs.
 *
 * Pure; any thread.
 */
#ifndef SPATE_PROTO_JSON_H
#define SPATE_PROTO_JSON_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    JSON_DEPTH_MAX = 64,
    /* Digits of a number: with so many, none is too large for a double. */
    JSON_DIGITS_MAX = 100,
};

bool json_is_surely_valid(struct span text);

#ifdef __cplusplus
}
#endif

#endif
