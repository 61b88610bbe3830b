/*
 * SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012; the reduced-round
 * variant that hash tables use). Names come from peers, so every table is keyed with a secret drawn
 * at start: nobody outside can choose names that fall into one bucket.
 */
#ifndef SPATE_CORE_BASE_HASH_H
#define SPATE_CORE_BASE_HASH_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct hash_key {
    uint64_t k0;
    uint64_t k1;
};

uint64_t hash_bytes(const struct hash_key *key, const void *bytes, size_t len);

#ifdef __cplusplus
}
#endif

#endif
