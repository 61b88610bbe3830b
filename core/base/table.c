#include "core/base/table.h"

#include <errno.h>

#include "core/base/memory.h"

enum { TABLE_BITS_MIN = 6, TABLE_BITS_MAX = 26 };

static size_t table_room(const struct table *table)
{
    return (size_t)1 << table->bucket_bits_max;
}

static size_t table_bucket_index(const struct table *table, uint64_t hash)
{
    size_t index = (size_t)(hash >> (64 - table->bucket_bits));
    return index < table->split ? index : (size_t)(hash >> (63 - table->bucket_bits));
}

/* Buckets, then a bit per bucket, then a bit per word of those: one mapping. */
static size_t table_map_size(const struct table *table)
{
    size_t room = table_room(table);
    return room * sizeof(table->buckets[0]) + room / 8 + room / 512 + 8;
}

int table_init(struct table *table, uint64_t count_max)
{
    unsigned bits = TABLE_BITS_MIN;
    while (bits < TABLE_BITS_MAX && ((uint64_t)1 << bits) < count_max) {
        bits++;
    }
    *table = (struct table){
        .bucket_bits = TABLE_BITS_MIN,
        .bucket_bits_max = bits,
        .split = (size_t)1 << TABLE_BITS_MIN,
    };
    table->buckets = memory_map(table_map_size(table));
    if (table->buckets == NULL) {
        return -ENOMEM;
    }
    table->occupied = (uint64_t *)(table->buckets + table_room(table));
    table->summary = table->occupied + table_room(table) / 64;
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

static void bucket_push(struct table *table, size_t index, struct table_node *node)
{
    node->next = table->buckets[index];
    table->buckets[index] = node;
    table->occupied[index / 64] |= 1ULL << (index % 64);
    table->summary[index / 4096] |= 1ULL << (index / 64 % 64);
}

static void bucket_note_empty(struct table *table, size_t index)
{
    table->occupied[index / 64] &= ~(1ULL << (index % 64));
    if (table->occupied[index / 64] == 0) {
        table->summary[index / 4096] &= ~(1ULL << (index / 64 % 64));
    }
}

/* One bucket more, unless there are as many as nodes or as there is room for. */
static void table_grow(struct table *table)
{
    size_t bucket_count = ((size_t)2 << table->bucket_bits) - table->split;
    if (table->count < bucket_count || table->bucket_bits == table->bucket_bits_max) {
        return;
    }
    size_t index = --table->split;
    struct table_node *node = table->buckets[index];
    if (node != NULL) {
        table->buckets[index] = NULL;
        bucket_note_empty(table, index);
    }
    while (node != NULL) {
        struct table_node *next = node->next;
        bucket_push(table, (size_t)(node->hash >> (63 - table->bucket_bits)), node);
        node = next;
    }
    if (table->split == 0) {
        table->bucket_bits++;
        table->split = (size_t)1 << table->bucket_bits;
    }
}

void table_add(struct table *table, struct table_node *node, uint64_t hash)
{
    table_grow(table);
    node->hash = hash;
    bucket_push(table, table_bucket_index(table, hash), node);
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
        bucket_note_empty(table, index);
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
    size_t room = table_room(table);
    size_t word = from / 64;
    if (from < room) {
        size_t found = bits_next(table->occupied, min_size(room, (word + 1) * 64), from);
        if (found < min_size(room, (word + 1) * 64)) {
            return found;
        }
    }
    word = bits_next(table->summary, room / 64, word + 1);
    return word < room / 64 ? bits_next(table->occupied, room, word * 64) : room;
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
    for (; i < table_room(table); i = table_next_occupied(table, i + 1)) {
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
