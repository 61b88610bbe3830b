/*
 * The server under load, and the shapes of its two requests. Presets know the shapes of some
 * servers; templates describe any other. In a template
 *
 *   {channel}  stands for the channel's name     {data}   for the message
 *   {token}    for the token
 *
 * Owned by the options; strings point to what the operator gave, or to static text.
 */
#ifndef SPATE_LOAD_TARGET_H
#define SPATE_LOAD_TARGET_H

#include <sys/socket.h>

#include "core/base/buffer.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TARGET_HEADER_COUNT_MAX = 16,
    TARGET_SUBSCRIBE_LEN_MAX = 8192,
    TARGET_PUBLISH_LEN_MAX = 4 << 20,
};

struct target_address {
    char host[264]; /* as in the Host field, with the port */
    char name[256]; /* without it: what its certificate must be for */
    bool is_tls;
    struct sockaddr_storage address;
    socklen_t address_len;
};

struct target {
    struct target_address subscribe_at;
    struct target_address publish_at;
    const char *subscribe_path; /* templates, from the slash on */
    const char *publish_path;   /* NULL: there is no publishing */
    const char *publish_method;
    const char *publish_type;
    const char *publish_body;
    const char *publish_field; /* with the token in it; NULL: none */
    const char *token;         /* NULL: none */
    const char *channel_prefix;
    uint32_t run; /* names the run's channels apart from those of the last one */
    const char *headers[TARGET_HEADER_COUNT_MAX]; /* of both requests */
    unsigned header_count;
};

/* One server's shapes. */
struct target_preset {
    const char *name;
    const char *subscribe_path;
    const char *publish_path;
    const char *publish_type;
    const char *publish_body;
    const char *publish_field;
};

/* NULL if there is none of that name. */
const struct target_preset *target_preset_find(const char *name);
void target_apply(struct target *target, const struct target_preset *preset);

/*
 * Reads http[s]://HOST[:PORT][/PATH], resolves the host, and gives the path ("" if there is none).
 * `is_tls`: as if it were https. -EINVAL or -ENOENT with a problem text.
 */
int target_read_url(const char *url, bool is_tls, struct target_address *ret_address,
                    const char **ret_path, const char **ret_problem);

/* Append whole requests. The caller asks buffer->failed. */
void target_write_subscribe(const struct target *target, uint32_t channel, struct span last_id,
                            struct buffer *buffer);
void target_write_publish(const struct target *target, uint32_t channel, struct span message,
                          struct buffer *buffer);

#ifdef __cplusplus
}
#endif

#endif
