/*
 * Who may do what: tokens, origins, and the protected mode of a hub without a token.
 *
 *   - Publishing (and deleting) needs `Authorization: Bearer <token>` (RFC 6750). Tokens are
 * compared in time that does not depend on where they differ.
 *   - Without a token configured, the hub is in protected mode: publishing works from this machine
 * only.
 *   - A page of another site must not publish through its visitor's browser, which may well sit on
 * this machine: a foreign Origin, or Sec-Fetch-Site: cross-site, is refused unless that origin is
 * allowed.
 *   - Reading across origins is allowed by CORS header fields (Fetch standard, "CORS protocol"): to
 * all by default, with credentials only to origins that are named exactly.
 *
 * Owned by the shard's thread.
 */
#ifndef SPATE_HUB_ACCESS_H
#define SPATE_HUB_ACCESS_H

#include "hub/call.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Fills call->cors. */
void access_set_cors(struct call *call);

/* Whether the caller may publish; otherwise the refusal has been sent. */
bool access_may_publish(struct call *call);

/* Whether it may subscribe to what the hub says of itself and of others: by the same rules. */
bool access_may_watch(struct call *call);

/* Answers an OPTIONS request; `methods` is what the route allows, such as "GET, HEAD". */
void access_answer_options(struct call *call, const char *methods);

#ifdef __cplusplus
}
#endif

#endif
