/*
 * A chained hash table whose nodes live inside what they index.
 *
 * A node's bucket is the top bits of its hash, so walking the buckets visits nodes in hash order: a
 * walk can be cut into pages (`table_next` from the last hash seen) that stay correct while nodes
 * come and go.
 *
 * The table grows by a bucket for each node, so that its memory follows the nodes and no operation
 * ever stops to rehash. With one more bit, bucket i becomes 2i and 2i+1. The last buckets are split
 * first, so that all happens in place:
 *
 *     0 ......... split        2 * split .................. 2 << bucket_bits
 *     [ not split ]            [ split: one bit more ]
 *
 * The array is mapped for the most nodes that the table may ever hold; its pages cost memory only
 * when touched.
 *
 * Threads: as its owner says; the table has no lock.
 */
#ifndef SPATE_CORE_BASE_TABLE_H
#define SPATE_CORE_BASE_TABLE_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct table_node {
    struct table_node *next;
    uint64_t hash;
};

struct table {
    struct table_node **buckets;
    uint64_t *occupied; /* a bit per bucket that is not empty, so that walks skip the empty ones */
    uint64_t *summary;  /* a bit per word of `occupied` that is not zero */
    unsigned bucket_bits;     /* of the buckets that are not split */
    unsigned bucket_bits_max; /* what the array has room for */
    size_t split;             /* buckets from here on are: they have one bit more */
    uint64_t count;
};

/* 0 or -ENOMEM. `count_max` is the expected upper bound; more nodes only make chains longer. */
int table_init(struct table *table, uint64_t count_max);
void table_fini(struct table *table);

void table_add(struct table *table, struct table_node *node, uint64_t hash);
void table_remove(struct table *table, struct table_node *node);

/* The first node with this hash, then the next one; the caller compares the keys. */
struct table_node *table_find(const struct table *table, uint64_t hash);
struct table_node *table_find_next(const struct table_node *node);

/*
 * The node with the smallest hash that is greater than `after`, or at least `after` when
 * `inclusive`; NULL at the end. Of several nodes with one hash only one is returned; table_find
 * gives them all.
 */
struct table_node *table_next(const struct table *table, uint64_t after, bool inclusive);

#ifdef __cplusplus
}
#endif

#endif
