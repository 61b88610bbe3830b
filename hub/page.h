/*
 * The pages: files that were bundled and compressed when the hub was built (see web/build) and are
 * part of the program. Constant; any thread may read them.
 */
#ifndef SPATE_HUB_PAGE_H
#define SPATE_HUB_PAGE_H

#include "hub/call.h"

#ifdef __cplusplus
extern "C" {
#endif

struct page {
    const char *path; /* as a request names it, undecoded */
    const char *content_type;
    const char *tag; /* of the bytes, without quotes: the same bytes have the same tag */
    const unsigned char *bytes;
    size_t len;
    const unsigned char *gzip; /* the same compressed; NULL where that is no smaller */
    size_t gzip_len;
};

/* In the file that web/build writes. Without pages there is a reason, else it is NULL. */
extern const struct page pages[];
extern const size_t page_count;
extern const char *const pages_missing;

/* Answers with the page at the request's path, or says why there is none. */
void page_answer(struct call *call);

#ifdef __cplusplus
}
#endif

#endif
