/*
 * The head of an HTTP/1.x request: request line and fields (RFC 9112, 2 to 7; RFC 9110, 5).
 *
 * Two steps. http_head_scan finds where a head ends while its bytes come in, and refuses at once
 * what cannot become one. http_head_parse reads one complete head. Both are pure: no memory is
 * taken, nothing is copied, and every span of a request points into the caller's bytes (or at a
 * static "/" or "*" where an absolute target has no path). A request is therefore good for as long
 * as those bytes stay where they are.
 *
 * The reading is strict, because a head that two programs read in two ways is how one client's
 * bytes become another client's request. Refused with 400, unless said otherwise:
 *
 *   lines       a line feed without a carriage return or the reverse, NUL and other control bytes,
 *               a line that begins with a space (folded, or before the first field), an empty
 *               field name, a space before the colon, more than HTTP_FIELD_COUNT_MAX fields (431)
 *   first line  anything but METHOD SP TARGET SP VERSION with single spaces; HTTP/1.0 and HTTP/1.1
 *               are read, other well-formed versions get 505; methods that are longer than
 *               HTTP_METHOD_LEN_MAX, and CONNECT, get 501
 *   target      spaces, control and non-ASCII bytes, '#', broken percent escapes, a backslash in
 *               the path, schemes other than http and https, the asterisk form but for OPTIONS
 *   Host        missing or several in HTTP/1.1, several in HTTP/1.0, or not a valid authority
 *   framing     Content-Length twice, as a list, signed, or beyond 64 bits; Transfer-Encoding other
 *               than one `chunked` (unknown codings get 501), in HTTP/1.0, or with Content-Length
 *   Expect      anything but 100-continue (417)
 *
 * After HTTP_BAD nobody knows where the next request begins: answer with the problem, then close.
 *
 * Any thread; no state but what the caller holds.
 */
#ifndef SPATE_PROTO_HTTP_HEAD_H
#define SPATE_PROTO_HTTP_HEAD_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    /* Real clients send 10 to 30; each costs 32 bytes of the request struct. */
    HTTP_FIELD_COUNT_MAX = 100,
    /* The longest registered method has 17 characters; what is longer is garbage, not a method. */
    HTTP_METHOD_LEN_MAX = 32,
    /* Some old clients send one after a body (RFC 9112, 2.2). A flood of them is not a request. */
    HTTP_LEADING_LINE_COUNT_MAX = 4,
};

enum http_outcome { HTTP_DONE, HTTP_MORE, HTTP_BAD };

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_PATCH,
    HTTP_OTHER,
};

/* Why a message was refused: the status to answer with, and an English sentence for the client. */
struct http_problem {
    int status;
    const char *reason;
};

struct http_field {
    struct span name;
    /* Without the whitespace around it. May hold bytes of 0x80 and above, never a control. */
    struct span value;
};

struct http_request {
    enum http_method method;
    struct span method_text;
    /* As it was sent. */
    struct span target;
    /* Begins with '/' and is still percent-encoded; "*" for the asterisk form of OPTIONS. */
    struct span path;
    /* Without the '?', still percent-encoded; empty if there is none. */
    struct span query;
    /* Host and port: of an absolute target, else of the Host field; empty without either. */
    struct span host;
    /* The y of HTTP/1.y: 0 or 1. */
    uint8_t minor_version;
    /* The client expects the connection to stay open after this message (RFC 9112, 9.3). */
    bool keep_alive;
    /* The body is chunked. Never together with has_content_length; neither means no body. */
    bool chunked;
    bool has_content_length;
    /* The client waits for 100 before it sends a body; never set for a request without one. */
    bool expect_continue;
    unsigned field_count;
    uint64_t content_length;
    struct http_field fields[HTTP_FIELD_COUNT_MAX];
};

/*
 * Looks for the end of the head among `bytes`, which begin where a request may begin. *scanned is
 * what earlier calls have already seen: zero for a new head, otherwise left alone by the caller.
 * The bytes may move between calls; those before *scanned must not change. Hence a head that
 * comes in byte by byte costs no more than one that comes in whole, and the answer is the same
 * for every way of cutting the input.
 *
 *   HTTP_DONE   *ret_len is the length of the head, with its empty line and with up to
 *               HTTP_LEADING_LINE_COUNT_MAX empty lines before it, which are ignored
 *   HTTP_MORE   nothing to object to so far; less than head_len_max bytes have come
 *   HTTP_BAD    *ret_problem says why. Too long a head (it does not end within head_len_max
 *               bytes) is 431, or 414 while the request line has not ended
 */
enum http_outcome http_head_scan(const char *bytes, size_t len, size_t head_len_max,
                                 size_t *scanned, size_t *ret_len,
                                 struct http_problem *ret_problem);

/*
 * Reads one head of exactly `len` bytes, as http_head_scan delimits it: HTTP_DONE or HTTP_BAD. It
 * relies on nothing that the scan has checked, so a head from elsewhere is safe too. After
 * HTTP_BAD *ret_request holds nothing of use.
 */
enum http_outcome http_head_parse(const char *bytes, size_t len, struct http_request *ret_request,
                                  struct http_problem *ret_problem);

/* The first field of that name, in any case of letters, or NULL. */
const struct http_field *http_request_find_span(const struct http_request *request,
                                                struct span name);

static inline const struct http_field *http_request_find(const struct http_request *request,
                                                         const char *name)
{
    return http_request_find_span(request, span_of(name));
}

/* Whether the comma-separated list holds the token, in any case of letters. */
bool http_field_has_token(struct span value, const char *token);

#ifdef __cplusplus
}
#endif

#endif
