#include "core/mailbox.h"

void mailbox_init(struct mailbox *mailbox)
{
    mailbox->newest = NULL;
}

void mailbox_fini(struct mailbox *mailbox)
{
    CHECK(mailbox_is_empty(mailbox));
}

void mailbox_post(struct mailbox *mailbox, struct mail *mail)
{
    CHECK(mail->deliver != NULL);
    /* Relaxed: the value is only a guess that the exchange below checks; it is not followed. */
    struct mail *newest = __atomic_load_n(&mailbox->newest, __ATOMIC_RELAXED);
    do {
        mail->next = newest;
        /* Partner: the exchange in mailbox_take_all. Release: the message behind the mail, and the
         * link above, are written before the consumer can reach them. Posts of others in between
         * are read-modify-writes too, so they keep the release sequence of this one going. */
    } while (!__atomic_compare_exchange_n(&mailbox->newest, &newest, mail, true, __ATOMIC_RELEASE,
                                          __ATOMIC_RELAXED));
}

bool mailbox_is_empty(const struct mailbox *mailbox)
{
    /* Partner: the exchange in mailbox_post. Relaxed: nothing is followed, and before sleeping the
     * fence of doorbell_arm orders this load. */
    return __atomic_load_n(&mailbox->newest, __ATOMIC_RELAXED) == NULL;
}

struct mail *mailbox_take_all(struct mailbox *mailbox)
{
    /* An awake shard asks every turn: do not take the line away from posters for nothing. */
    if (mailbox_is_empty(mailbox)) {
        return NULL;
    }
    /* Partner: the exchange in mailbox_post, of every mail in the stack. */
    struct mail *mail = __atomic_exchange_n(&mailbox->newest, NULL, __ATOMIC_ACQUIRE);
    struct mail *oldest_first = NULL;
    while (mail != NULL) {
        struct mail *older = mail->next;
        mail->next = oldest_first;
        oldest_first = mail;
        mail = older;
    }
    return oldest_first;
}

size_t mailbox_deliver_all(struct mailbox *mailbox, void *shard_context)
{
    size_t count = 0;
    struct mail *mail = mailbox_take_all(mailbox);
    while (mail != NULL) {
        struct mail *next = mail->next;
        mail->next = NULL;
        mail->deliver(mail, shard_context);
        mail = next;
        count++;
    }
    return count;
}
