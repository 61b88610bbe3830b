#include "core/base/table.h"

#include <errno.h>

#include "core/base/memory.h"

enum { TABLE_BITS_MIN = 6, TABLE_BITS_MAX = 26 };

static size_t table_bucket_count(const struct table *table)
{
    return (size_t)1 << table->bucket_bits;
}

static size_t table_bucket_index(const struct table *table, uint64_t hash)
{
    return (size_t)(hash >> (64 - table->bucket_bits));
}

/* Buckets, then a bit per bucket, then a bit per word of those: one mapping. */
static size_t table_map_size(const struct table *table)
{
    size_t bucket_count = table_bucket_count(table);
    return bucket_count * sizeof(table->buckets[0]) + bucket_count / 8 + bucket_count / 512 + 8;
}

int table_init(struct table *table, uint64_t count_max)
{
    unsigned bits = TABLE_BITS_MIN;
    while (bits < TABLE_BITS_MAX && ((uint64_t)1 << bits) < count_max) {
        bits++;
    }
    *table = (struct table){.bucket_bits = bits};
    table->buckets = memory_map(table_map_size(table));
    if (table->buckets == NULL) {
        return -ENOMEM;
    }
    table->occupied = (uint64_t *)(table->buckets + table_bucket_count(table));
    table->summary = table->occupied + table_bucket_count(table) / 64;
    return 0;
}

void table_fini(struct table *table)
{
    if (table->buckets != NULL) {
        CHECK(table->count == 0);
        memory_unmap(table->buckets, table_map_size(table));
        table->buckets = NULL;
    }
}

void table_add(struct table *table, struct table_node *node, uint64_t hash)
{
    size_t index = table_bucket_index(table, hash);
    node->hash = hash;
    node->next = table->buckets[index];
    table->buckets[index] = node;
    table->occupied[index / 64] |= 1ULL << (index % 64);
    table->summary[index / 4096] |= 1ULL << (index / 64 % 64);
    table->count++;
}

void table_remove(struct table *table, struct table_node *node)
{
    size_t index = table_bucket_index(table, node->hash);
    struct table_node **at = &table->buckets[index];
    while (*at != node) {
        CHECK(*at != NULL);
        at = &(*at)->next;
    }
    *at = node->next;
    node->next = NULL;
    if (table->buckets[index] == NULL) {
        table->occupied[index / 64] &= ~(1ULL << (index % 64));
        if (table->occupied[index / 64] == 0) {
            table->summary[index / 4096] &= ~(1ULL << (index / 64 % 64));
        }
    }
    CHECK(table->count > 0);
    table->count--;
}

/* The first bit that is set at or after `from`, or `bit_count`. */
static size_t bits_next(const uint64_t *words, size_t bit_count, size_t from)
{
    for (size_t word = from / 64; word * 64 < bit_count; word++) {
        uint64_t bits = words[word];
        if (word == from / 64) {
            bits &= ~0ULL << (from % 64);
        }
        if (bits != 0) {
            return word * 64 + (size_t)__builtin_ctzll(bits);
        }
    }
    return bit_count;
}

static size_t table_next_occupied(const struct table *table, size_t from)
{
    size_t bucket_count = table_bucket_count(table);
    size_t word = from / 64;
    if (from < bucket_count) {
        size_t found = bits_next(table->occupied, min_size(bucket_count, (word + 1) * 64), from);
        if (found < min_size(bucket_count, (word + 1) * 64)) {
            return found;
        }
    }
    word = bits_next(table->summary, bucket_count / 64, word + 1);
    return word < bucket_count / 64 ? bits_next(table->occupied, bucket_count, word * 64)
                                    : bucket_count;
}

static struct table_node *chain_find(struct table_node *node, uint64_t hash)
{
    while (node != NULL && node->hash != hash) {
        node = node->next;
    }
    return node;
}

struct table_node *table_find(const struct table *table, uint64_t hash)
{
    return chain_find(table->buckets[table_bucket_index(table, hash)], hash);
}

struct table_node *table_find_next(const struct table_node *node)
{
    return chain_find(node->next, node->hash);
}

struct table_node *table_next(const struct table *table, uint64_t after, bool inclusive)
{
    if (!inclusive) {
        if (after == UINT64_MAX) {
            return NULL;
        }
        after++;
    }
    size_t i = table_next_occupied(table, table_bucket_index(table, after));
    for (; i < table_bucket_count(table); i = table_next_occupied(table, i + 1)) {
        struct table_node *best = NULL;
        for (struct table_node *node = table->buckets[i]; node != NULL; node = node->next) {
            if (node->hash >= after && (best == NULL || node->hash < best->hash)) {
                best = node;
            }
        }
        if (best != NULL) {
            return best;
        }
    }
    return NULL;
}
