/*
 * A mailbox brings messages from any thread to one shard: what is rare and carries its own payload,
 * such as a disconnect on request, a reload or the question for statistics. Events go by queue.h.
 *
 * It is a lock-free stack that the consumer takes off whole and turns round: posting is one
 * compare-and-swap, taking is one exchange, and since nothing is ever popped one by one there is no
 * ABA.
 *
 * Invariants
 *   - Mail of one poster is delivered in the order in which it posted it.
 *   - A posted mail is linked into at most one mailbox; it may be posted again once it was
 *     delivered.
 *
 * Ownership: a mail is embedded in its message. It belongs to the poster until mailbox_post, to the
 * mailbox until mailbox_take_all, then to the consumer, whose call of `deliver` may free it or post
 * it elsewhere: read `next` before delivering.
 *
 * Threads: post by any thread; everything else by the one consumer. Waking a consumer that sleeps
 * is not the mailbox's matter: ring its doorbell after posting, see doorbell.h.
 *
 * Errors: none; a mailbox is unbounded, so whoever posts bounds what it has under way.
 */
#ifndef SPATE_CORE_MAILBOX_H
#define SPATE_CORE_MAILBOX_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct mail {
    struct mail *next; /* the mailbox's while posted; the next of the list when taken */
    /* Called by the consumer, with whatever it passes as its context. */
    void (*deliver)(struct mail *mail, void *shard_context);
};

struct mailbox {
    struct mail *newest; /* written by posters and the consumer */
};

void mailbox_init(struct mailbox *mailbox);
/* The mailbox must be empty. */
void mailbox_fini(struct mailbox *mailbox);

/* Any thread. Ring the consumer's doorbell afterwards. */
void mailbox_post(struct mailbox *mailbox, struct mail *mail);

/* Consumer: true when nothing was posted since the last take. */
bool mailbox_is_empty(const struct mailbox *mailbox);
/* Consumer: everything posted so far, oldest first, linked by `next` and ended by NULL. */
struct mail *mailbox_take_all(struct mailbox *mailbox);
/* Consumer: takes all and delivers each with `shard_context`. Returns how many. */
size_t mailbox_deliver_all(struct mailbox *mailbox, void *shard_context);

#ifdef __cplusplus
}
#endif

#endif
