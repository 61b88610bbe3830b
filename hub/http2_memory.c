#include "hub/http2_memory.h"

#include "core/base/memory.h"

enum {
    /* What nghttp2 1.52 keeps of a stream; with another version all of it comes from the heap. */
    HTTP2_BLOCK_BYTES = 224,
    /* More than these, too. */
    HTTP2_BLOCK_COUNT_MAX = 1 << 18,
    HTTP2_FRAME_ROOM_BYTES = 16 * 1024,
};

static_assert(HTTP2_BLOCK_BYTES % 16 == 0, "blocks are aligned as those of the heap");

static bool is_block(const struct http2_memory *memory, const void *block)
{
    uintptr_t offset = (uintptr_t)block - (uintptr_t)memory->blocks;
    return memory->blocks != NULL && offset < (uintptr_t)HTTP2_BLOCK_COUNT_MAX * HTTP2_BLOCK_BYTES;
}

static void *block_get(struct http2_memory *memory)
{
    if (memory->free_blocks != NULL) {
        void *block = memory->free_blocks;
        memory_take_back(block, HTTP2_BLOCK_BYTES);
        memcpy(&memory->free_blocks, block, sizeof(memory->free_blocks));
        return block;
    }
    if (memory->block_count == HTTP2_BLOCK_COUNT_MAX) {
        return memory_alloc(HTTP2_BLOCK_BYTES);
    }
    return memory->blocks + HTTP2_BLOCK_BYTES * memory->block_count++;
}

static void block_put(struct http2_memory *memory, void *block)
{
    memcpy(block, &memory->free_blocks, sizeof(memory->free_blocks));
    memory->free_blocks = block;
    memory_let_go(block, HTTP2_BLOCK_BYTES);
}

static void *block_grow(struct http2_memory *memory, void *block, size_t size)
{
    void *grown = size <= HTTP2_BLOCK_BYTES ? block : memory_alloc(size);
    if (grown != NULL && grown != block) {
        memcpy(grown, block, HTTP2_BLOCK_BYTES);
        block_put(memory, block);
    }
    return grown;
}

static void *frame_room_get(struct http2_memory *memory, size_t size)
{
    memory->beginning = false;
    if (memory->frame_room == NULL) {
        memory->frame_room = memory_alloc(size);
    }
    return memory->frame_room;
}

/* ---- What nghttp2 calls ------------------------------------------------------------------------
 */

static void *on_malloc(size_t size, void *context)
{
    return size == HTTP2_BLOCK_BYTES ? block_get(context) : memory_alloc(size);
}

static void on_free(void *block, void *context)
{
    struct http2_memory *memory = context;
    if (is_block(memory, block)) {
        block_put(memory, block);
    } else if (block != memory->frame_room) {
        memory_free(block);
    }
}

static void *on_calloc(size_t count, size_t size, void *context)
{
    (void)context;
    return memory_calloc(count, size);
}

/*
 * Also the way in which nghttp2 asks for buffers. If there is no memory for the queue of what is to
 * be sent, nghttp2 1.52 lets go of an item that its stream still points to, and the session's end
 * frees it once more. So what is small comes from the blocks then.
 */
static void *on_realloc(void *block, size_t size, void *context)
{
    struct http2_memory *memory = context;
    if (block == NULL && memory->beginning && size >= HTTP2_FRAME_ROOM_BYTES) {
        return frame_room_get(memory, size);
    }
    CHECK(block == NULL || block != memory->frame_room);
    if (is_block(memory, block)) {
        return block_grow(memory, block, size);
    }
    void *grown = memory_realloc(block, size);
    return grown == NULL && block == NULL && size <= HTTP2_BLOCK_BYTES ? block_get(memory) : grown;
}

int http2_memory_session_new(struct http2_memory *memory, nghttp2_session **ret_session,
                             const nghttp2_session_callbacks *callbacks, void *user_data,
                             const nghttp2_option *options)
{
    if (memory->blocks == NULL) {
        memory->blocks = memory_map((size_t)HTTP2_BLOCK_COUNT_MAX * HTTP2_BLOCK_BYTES);
    }
    if (memory->blocks == NULL) {
        return NGHTTP2_ERR_NOMEM;
    }
    nghttp2_mem calls = {memory, on_malloc, on_free, on_calloc, on_realloc};
    memory->beginning = true;
    int r = nghttp2_session_server_new3(ret_session, callbacks, user_data, options, &calls);
    memory->beginning = false;
    return r;
}

void http2_memory_fini(struct http2_memory *memory)
{
    memory_free(memory->frame_room);
    if (memory->blocks != NULL) {
        memory_unmap(memory->blocks, (size_t)HTTP2_BLOCK_COUNT_MAX * HTTP2_BLOCK_BYTES);
    }
    *memory = (struct http2_memory){0};
}
