/* UTF-8 validation by the table of RFC 3629, section 4: no overlong forms, no surrogates. */
#ifndef SPATE_CORE_BASE_UTF8_H
#define SPATE_CORE_BASE_UTF8_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

bool utf8_is_valid(struct span text);

#ifdef __cplusplus
}
#endif

#endif
