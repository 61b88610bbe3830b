/*
 * An intrusive doubly linked ring. A link belongs to its owner; a list is a link used as the head.
 * An unlinked link points at NULL, so list_is_linked tells, and unlinking twice is caught.
 */
#ifndef SPATE_CORE_BASE_LIST_H
#define SPATE_CORE_BASE_LIST_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct list {
    struct list *next;
    struct list *prev;
};

static inline void list_init(struct list *head)
{
    head->next = head;
    head->prev = head;
}

static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}

static inline bool list_is_linked(const struct list *link)
{
    return link->next != NULL;
}

static inline void list_append(struct list *head, struct list *link)
{
    CHECK(link->next == NULL);
    link->next = head;
    link->prev = head->prev;
    head->prev->next = link;
    head->prev = link;
}

static inline void list_remove(struct list *link)
{
    CHECK(link->next != NULL);
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->next = NULL;
    link->prev = NULL;
}

static inline void list_remove_if_linked(struct list *link)
{
    if (list_is_linked(link)) {
        list_remove(link);
    }
}

/* Takes the first link off, or returns NULL. */
static inline struct list *list_take(struct list *head)
{
    struct list *link = head->next;
    if (link == head) {
        return NULL;
    }
    list_remove(link);
    return link;
}

/* Moves all of `from` to the end of `to`. */
static inline void list_splice(struct list *to, struct list *from)
{
    if (!list_is_empty(from)) {
        from->next->prev = to->prev;
        to->prev->next = from->next;
        from->prev->next = to;
        to->prev = from->prev;
        list_init(from);
    }
}

#ifdef __cplusplus
}
#endif

#endif
