#include "hub/page.h"

#include <stdio.h>

#include "hub/response.h"
#include "proto/media_type.h"

enum { PAGE_HEADERS_MAX = 1024 };

/*
 * What a page may do: load what the hub serves, and talk to the hub. There is no inline script or
 * style, and nothing that a page shows is ever read as HTML.
 */
static const char page_headers[] =
    "Cache-Control: no-cache\r\n"
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "X-Content-Type-Options: nosniff\r\n";

static const struct page *page_find(struct span path)
{
    for (size_t i = 0; i < page_count; i++) {
        if (span_is(path, pages[i].path)) {
            return &pages[i];
        }
    }
    return NULL;
}

/* If-None-Match (RFC 9110, 13.1.2): the tags are compared without regard to weakness. */
static bool tag_is_known(struct span list, const char *tag)
{
    size_t len = strlen(tag);
    if (span_is(list, "*")) {
        return true;
    }
    for (size_t i = 0; i + len + 2 <= list.len; i++) {
        if (list.bytes[i] == '"' && memcmp(list.bytes + i + 1, tag, len) == 0 &&
            list.bytes[i + 1 + len] == '"') {
            return true;
        }
    }
    return false;
}

void page_answer(struct call *call)
{
    const struct page *page = page_find(call->request->path);
    if (page == NULL && pages_missing != NULL) {
        response_problem(call, 404, "This hub was built without its pages: %s", pages_missing);
        return;
    }
    if (page == NULL) {
        response_problem(call, 404, "There is nothing at this path.");
        return;
    }
    bool gzip =
        page->gzip != NULL && media_accepts_coding(call_field(call, "Accept-Encoding"), "gzip");
    char tag[80];
    struct buffer headers;
    snprintf(tag, sizeof(tag), "%s%s", page->tag, gzip ? "-gzip" : "");
    buffer_init(&headers, PAGE_HEADERS_MAX);
    buffer_printf(&headers, "%sVary: Accept-Encoding\r\nETag: \"%s\"\r\n", page_headers, tag);
    if (gzip) {
        buffer_append_string(&headers, "Content-Encoding: gzip\r\n");
    }
    struct response response = {
        .status = 200,
        .content_type = page->content_type,
        .headers = buffer_span(&headers),
        .body = gzip ? span_make((const char *)page->gzip, page->gzip_len)
                     : span_make((const char *)page->bytes, page->len),
    };
    if (tag_is_known(call_field(call, "If-None-Match"), tag)) {
        response.status = 304;
        response.content_type = NULL;
        response.body = span_make(NULL, 0);
    }
    if (headers.failed) {
        response_problem(call, 503, "This hub is out of memory.");
    } else {
        response_send(call, &response);
    }
    buffer_fini(&headers);
}
