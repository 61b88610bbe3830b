#include "proto/http_authority.h"

#include <arpa/inet.h>

#include "proto/http_char.h"

/* The length of "[...]" with an IPv6 address in it, or 0. */
static size_t ipv6_literal_len(struct span authority)
{
    const char *close = memchr(authority.bytes, ']', authority.len);
    if (close == NULL) {
        return 0;
    }
    char text[INET6_ADDRSTRLEN];
    size_t len = (size_t)(close - authority.bytes) - 1;
    if (len >= sizeof(text)) {
        return 0;
    }
    memcpy(text, authority.bytes + 1, len);
    text[len] = '\0';
    struct in6_addr address;
    /* A NUL among the bytes would end the text early; the caller may not have looked. */
    if (memchr(text, '\0', len) != NULL || inet_pton(AF_INET6, text, &address) != 1) {
        return 0;
    }
    return len + 2;
}

static bool port_is_valid(struct span port)
{
    unsigned long value = 0;
    for (size_t i = 0; i < port.len; i++) {
        if (!http_char_is(port.bytes[i], HTTP_CHAR_DIGIT)) {
            return false;
        }
        value = value * 10 + (unsigned long)(port.bytes[i] - '0');
        if (value > UINT16_MAX) {
            return false;
        }
    }
    return true;
}

bool http_authority_is_valid(struct span authority)
{
    if (authority.len == 0) {
        return false;
    }
    size_t host_len = authority.bytes[0] == '['
                          ? ipv6_literal_len(authority)
                          : http_char_run(authority.bytes, authority.len, HTTP_CHAR_HOST);
    if (host_len == 0) {
        return false;
    }
    if (host_len == authority.len) {
        return true;
    }
    struct span port = {authority.bytes + host_len + 1, authority.len - host_len - 1};
    return authority.bytes[host_len] == ':' && port_is_valid(port);
}
