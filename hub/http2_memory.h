/*
 * The memory of nghttp2's sessions on one shard. Most of it comes from the heap; two things do not:
 *
 *   - What nghttp2 keeps of a stream lives as long as the stream, and there are many. Those blocks
 *     lie side by side, without what the heap adds to each and without holes between them.
 *     When the heap has nothing, what else is small comes from there, too: see on_realloc.
 *   - A session has room for one frame, 16 KiB, the first large block that it asks for. What is in
 *     there has gone out when nghttp2_session_send returns, as our callbacks take everything. So
 *     one room does for all sessions.
 *
 * Owned by its shard; touched by it only.
 */
#ifndef SPATE_HUB_HTTP2_MEMORY_H
#define SPATE_HUB_HTTP2_MEMORY_H

#include <nghttp2/nghttp2.h>

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct http2_memory {
    char *blocks; /* HTTP2_BLOCK_COUNT_MAX of them, which cost nothing until touched; or NULL */
    size_t block_count; /* that have been touched */
    void *free_blocks;  /* each points at the next */
    void *frame_room;
    bool beginning; /* a session is being made and has no room yet */
};

/* All sessions must be gone. */
void http2_memory_fini(struct http2_memory *memory);

/* As nghttp2_session_server_new3, with this memory. */
int http2_memory_session_new(struct http2_memory *memory, nghttp2_session **ret_session,
                             const nghttp2_session_callbacks *callbacks, void *user_data,
                             const nghttp2_option *options);

#ifdef __cplusplus
}
#endif

#endif
