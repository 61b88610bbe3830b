/*
 * The YAML file of the configuration: a flat mapping from option names to values, and the token
 * file.
 *
 *   listen: [0.0.0.0:8080, "unix:/run/spate.sock"]
 *   drain_seconds: 30
 *   alias:
 *     /prices: prices
 *
 * Both are bounded in size and read whole. A problem is one line "PATH:LINE: text" in the message.
 */
#ifndef SPATE_HUB_CONFIG_FILE_H
#define SPATE_HUB_CONFIG_FILE_H

#include "core/base/buffer.h"
#include "hub/config.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { CONFIG_FILE_BYTES_MAX = 1024 * 1024 };

/*
 * Sets every option named in the file whose origin is still the default, and its origin; the others
 * are read and checked all the same. False: at least one problem was written to the message.
 */
bool config_file_load(struct config *config, const char *path, struct buffer *message);

/* Reads publish tokens, one a line, into config->tokens. */
bool config_file_load_tokens(struct config *config, const char *path, struct buffer *message);
/* The same from a text; `where` begins each message. */
bool config_tokens_parse(struct config *config, struct span text, const char *where,
                         struct buffer *message);

#ifdef __cplusplus
}
#endif

#endif
