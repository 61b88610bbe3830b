/*
 * An errand: work that every shard does a part of, for one request.
 *
 *   origin shard ──mail──▶ each shard: work(part) ──mail──▶ origin shard: done, when the last is
 * back
 *
 * Shards share no tables of connections, so whoever wants to list or find clients asks all of them.
 * An errand may go round several times (a list goes out in pages) and takes a step only when the
 * client has read what came before.
 *
 * Ownership: the errand owns itself: it is freed when it is over or when, its connection gone, the
 * last part has come back. Threads: `work` runs on each shard; everything else on the origin's.
 */
#ifndef SPATE_HUB_ERRAND_H
#define SPATE_HUB_ERRAND_H

#include "core/base/buffer.h"
#include "core/mailbox.h"
#include "hub/connection.h"

#ifdef __cplusplus
extern "C" {
#endif

struct shard;

struct errand_part {
    struct mail mail; /* on its way there, then back */
    struct errand *errand;
    struct shard *shard;
    struct buffer result; /* written by `work` */
    uint64_t number;      /* written by `work` */
    bool flag;            /* written by `work` */
};

struct errand {
    struct connection *connection; /* NULL once it is gone */
    struct shard *origin;
    unsigned parts_out; /* not back yet */
    unsigned part_count;
    bool stepping; /* `done` is running */
    bool ended;
    /* On each shard: read the errand, write the part. */
    void (*work)(struct errand_part *part);
    /*
     * On the origin, all parts being back and the client having read what came before: write, then
     * errand_go or errand_end. A write may close the connection; `connection` is NULL then.
     */
    void (*done)(struct errand *errand);
    void (*fini)(struct errand *errand); /* lets go of `context`; may be NULL */
    void *context;
    struct errand_part parts[];
};

/* The connection waits (connection_wait) until errand_end. NULL when out of memory. */
struct errand *errand_new(struct connection *connection);
/* Sends the parts out, once more. */
void errand_go(struct errand *errand);
/* Called by `done`: the answer is complete. The connection reads on, the errand is freed. */
void errand_end(struct errand *errand);

/* Called by the connection: its outbox is empty; it is being closed. */
void errand_flushed(struct errand *errand);
void errand_abandon(struct errand *errand);

#ifdef __cplusplus
}
#endif

#endif
