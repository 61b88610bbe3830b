/*
 * The authority of a request: what a Host field holds, and what stands after the scheme of an
 * absolute request target (RFC 9110, 4.2.3 and 7.2; RFC 3986, 3.2).
 *
 * Narrower than the RFC where two readers could disagree: no user information, no empty host, no
 * percent escapes, no comma, no IPvFuture, no IPv6 zone; a port is at most 65535. A port that is
 * there but empty ("host:") is legal.
 *
 * Pure; any thread.
 */
#ifndef SPATE_PROTO_HTTP_AUTHORITY_H
#define SPATE_PROTO_HTTP_AUTHORITY_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

bool http_authority_is_valid(struct span authority);

#ifdef __cplusplus
}
#endif

#endif
