#include "tools/load/target.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

static const struct target_preset presets[] = {
    {
        .name = "spate",
        .subscribe_path = "/sse/{channel}",
        .publish_path = "/publish/{channel}",
        .publish_type = "text/plain",
        .publish_body = "{data}",
        .publish_field = "Authorization: Bearer {token}",
    },
    {
        .name = "nchan",
        .subscribe_path = "/sub?id={channel}",
        .publish_path = "/pub?id={channel}",
        .publish_type = "text/plain",
        .publish_body = "{data}",
        .publish_field = "Authorization: Bearer {token}",
    },
    {
        .name = "mercure",
        .subscribe_path = "/.well-known/mercure?topic={channel}",
        .publish_path = "/.well-known/mercure",
        .publish_type = "application/x-www-form-urlencoded",
        .publish_body = "topic={channel}&data={data}",
        .publish_field = "Authorization: Bearer {token}",
    },
    {
        .name = "pushpin",
        .subscribe_path = "/{channel}",
        .publish_path = "/publish/",
        .publish_type = "application/json",
        .publish_body = "{\"items\":[{\"channel\":\"{channel}\",\"formats\":{\"http-stream\":"
                        "{\"content\":\"data: {data}\\n\\n\"}}}]}",
        .publish_field = "Authorization: Bearer {token}",
    },
    {
        .name = "centrifugo",
        .subscribe_path = "/connection/uni_sse?cf_connect="
                          "%7B%22subs%22%3A%7B%22{channel}%22%3A%7B%7D%7D%7D",
        .publish_path = "/api/publish",
        .publish_type = "application/json",
        .publish_body = "{\"channel\":\"{channel}\",\"data\":{\"message\":\"{data}\"}}",
        .publish_field = "X-API-Key: {token}",
    },
};

const struct target_preset *target_preset_find(const char *name)
{
    for (size_t i = 0; i < countof(presets); i++) {
        if (strcmp(presets[i].name, name) == 0) {
            return &presets[i];
        }
    }
    return NULL;
}

void target_apply(struct target *target, const struct target_preset *preset)
{
    target->subscribe_path = preset->subscribe_path;
    target->publish_path = preset->publish_path;
    target->publish_method = "POST";
    target->publish_type = preset->publish_type;
    target->publish_body = preset->publish_body;
    target->publish_field = preset->publish_field;
}

/* --- Addresses -------------------------------------------------------------------------------- */

static int target_resolve(const char *host, const char *port, struct target_address *address)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, port, &hints, &found) != 0) {
        return -ENOENT;
    }
    /* IPv4 if there is one: it is what sources can be spread over. */
    const struct addrinfo *best = found;
    for (const struct addrinfo *one = found; one != NULL; one = one->ai_next) {
        if (one->ai_family == AF_INET) {
            best = one;
            break;
        }
    }
    memcpy(&address->address, best->ai_addr, best->ai_addrlen);
    address->address_len = best->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

int target_read_url(const char *url, bool is_tls, struct target_address *ret_address,
                    const char **ret_path, const char **ret_problem)
{
    struct target_address address = {0};
    char host[256];
    const bool is_https = strncmp(url, "https://", 8) == 0;
    *ret_problem = "a URL must be like http://HOST:PORT/PATH or https://HOST:PORT/PATH";
    if (!is_https && strncmp(url, "http://", 7) != 0) {
        return -EINVAL;
    }
    address.is_tls = is_https || is_tls;
    char port[8];
    memcpy(port, address.is_tls ? "443" : "80", address.is_tls ? 4 : 3);
    const char *begin = url + (is_https ? 8 : 7);
    const size_t len = strcspn(begin, "/?#");
    if (len == 0 || len >= sizeof host || memchr(begin, '@', len) != NULL || begin[len] == '#' ||
        begin[len] == '?') {
        return -EINVAL;
    }
    memcpy(host, begin, len);
    host[len] = '\0';
    memcpy(address.host, host, len + 1);
    const bool is_bracketed = host[0] == '[';
    char *end = is_bracketed ? strchr(host, ']') : host + strcspn(host, ":");
    if (end == NULL) {
        return -EINVAL;
    }
    const char *colon = is_bracketed ? end + 1 : end;
    if (*colon == ':') {
        const size_t digits = strspn(colon + 1, "0123456789");
        if (digits == 0 || digits > 5 || colon[1 + digits] != '\0') {
            return -EINVAL;
        }
        memcpy(port, colon + 1, digits + 1);
    } else if (*colon != '\0') {
        return -EINVAL;
    }
    *end = '\0';
    memcpy(address.name, host + is_bracketed, strlen(host + is_bracketed) + 1);
    if (target_resolve(host + is_bracketed, port, &address) < 0) {
        *ret_problem = "the host is not known";
        return -ENOENT;
    }
    *ret_address = address;
    *ret_path = begin + len;
    return 0;
}

/* --- Requests --------------------------------------------------------------------------------- */

struct filling {
    const struct target *target;
    uint32_t channel;
    struct span message;
};

static void fill(struct buffer *buffer, const char *template, const struct filling *filling)
{
    const struct target *target = filling->target;
    while (*template != '\0') {
        const size_t len = strcspn(template, "{");
        buffer_append(buffer, template, len);
        template += len;
        if (strncmp(template, "{channel}", 9) == 0) {
            buffer_printf(buffer, "%s%08x-%u", target->channel_prefix, target->run,
                          filling->channel);
            template += 9;
        } else if (strncmp(template, "{data}", 6) == 0) {
            buffer_append_span(buffer, filling->message);
            template += 6;
        } else if (strncmp(template, "{token}", 7) == 0) {
            buffer_append_string(buffer, target->token == NULL ? "" : target->token);
            template += 7;
        } else if (*template == '{') {
            buffer_append(buffer, template, 1);
            template += 1;
        }
    }
}

static void write_fields(const struct target *target, const char *host, struct buffer *buffer)
{
    buffer_printf(buffer, "Host: %s\r\n", host);
    for (unsigned i = 0; i < target->header_count; i++) {
        buffer_printf(buffer, "%s\r\n", target->headers[i]);
    }
}

void target_write_subscribe(const struct target *target, uint32_t channel, struct span last_id,
                            struct buffer *buffer)
{
    const struct filling filling = {target, channel, {NULL, 0}};
    buffer_append_string(buffer, "GET ");
    fill(buffer, target->subscribe_path, &filling);
    buffer_append_string(buffer, " HTTP/1.1\r\n");
    write_fields(target, target->subscribe_at.host, buffer);
    buffer_append_string(buffer, "Accept: text/event-stream\r\nCache-Control: no-cache\r\n");
    if (last_id.len > 0) {
        buffer_append_string(buffer, "Last-Event-ID: ");
        buffer_append_span(buffer, last_id);
        buffer_append_string(buffer, "\r\n");
    }
    buffer_append_string(buffer, "\r\n");
}

void target_write_publish(const struct target *target, uint32_t channel, struct span message,
                          struct buffer *buffer)
{
    const struct filling filling = {target, channel, message};
    struct buffer body;
    buffer_init(&body, TARGET_PUBLISH_LEN_MAX);
    fill(&body, target->publish_body, &filling);
    buffer_append_string(buffer, target->publish_method);
    buffer_append_string(buffer, " ");
    fill(buffer, target->publish_path, &filling);
    buffer_append_string(buffer, " HTTP/1.1\r\n");
    write_fields(target, target->publish_at.host, buffer);
    if (target->publish_field != NULL && target->token != NULL) {
        fill(buffer, target->publish_field, &filling);
        buffer_append_string(buffer, "\r\n");
    }
    buffer_printf(buffer, "Content-Type: %s\r\nContent-Length: %zu\r\n\r\n", target->publish_type,
                  body.len);
    buffer_append_span(buffer, buffer_span(&body));
    buffer->failed = buffer->failed || body.failed;
    buffer_fini(&body);
}
