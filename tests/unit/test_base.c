/*
 * The vocabulary of core/base against naive models. SPATE_TEST_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/buffer.h"
#include "core/base/hash.h"
#include "core/base/list.h"
#include "core/base/memory.h"
#include "core/base/table.h"
#include "core/base/utf8.h"
#include "core/base/wheel.h"
#include "tests/unit/seeded.h"

static uint64_t run_seed;

/* ---- Spans ------------------------------------------------------------------------------------
 */

static void test_spans_compare_by_content(void **state)
{
    (void)state;
    assert_true(span_equal(span_make(NULL, 0), span_of("")));
    assert_true(span_is(span_make("abc", 2), "ab"));
    assert_false(span_is(span_make("abc", 2), "abc"));
    assert_false(span_is(span_of("AB"), "ab"));
    assert_true(span_is_nocase(span_of("Content-LENGTH"), "content-length"));
    /* Only letters fold: these pairs differ in the same bit. */
    assert_false(span_is_nocase(span_of("@"), "`"));
    assert_false(span_is_nocase(span_of("["), "{"));
    assert_false(span_is_nocase(span_of("\xc0"), "\xe0"));
    assert_false(span_is_nocase(span_of("ab"), "abc"));
}

/* ---- Memory -----------------------------------------------------------------------------------
 */

static void test_every_door_to_the_heap_can_fail(void **state)
{
    (void)state;
    void *block = memory_alloc(8);
    assert_non_null(block);
    uint64_t before = memory_allocation_count();
    memory_inject_failures(run_seed, UINT32_MAX);
    assert_null(memory_alloc(1));
    assert_null(memory_calloc(1, 1));
    assert_null(memory_realloc(block, 16));
    assert_null(memory_copy(span_of("a")));
    assert_null(memory_map(4096));
    memory_inject_failures(0, 0);
    assert_int_equal(memory_allocation_count() - before, 5);
    memory_free(block); /* still ours: the failed realloc left it */
    memory_free(NULL);
}

static void test_failures_follow_their_seed(void **state)
{
    (void)state;
    uint64_t first = 0;
    for (unsigned round = 0; round < 2; round++) {
        uint64_t failed = 0;
        memory_inject_failures(run_seed, UINT32_MAX / 4);
        for (unsigned i = 0; i < 64; i++) {
            void *block = memory_alloc(1);
            failed = failed << 1 | (block == NULL);
            memory_free(block);
        }
        memory_inject_failures(0, 0);
        assert_true(round == 0 || failed == first);
        first = failed;
    }
    char *copy = memory_copy(span_make("abc", 2));
    assert_string_equal(copy, "ab");
    memory_free(copy);
}

static unsigned pages_present(void *block, unsigned page_count)
{
    unsigned char present[8];
    unsigned count = 0;
    assert_true(page_count <= sizeof(present));
    assert_int_equal(mincore(block, page_count * (size_t)getpagesize(), present), 0);
    for (unsigned i = 0; i < page_count; i++) {
        count += present[i] & 1;
    }
    return count;
}

static void test_touched_pages_are_there_and_as_they_were(void **state)
{
    (void)state;
    size_t page = (size_t)getpagesize();
    char *block = memory_map(8 * page);
    assert_non_null(block);
    (void)madvise(block, 8 * page, MADV_NOHUGEPAGE);
    assert_int_equal(pages_present(block, 8), 0);
    memory_touch(block, 0);
    assert_int_equal(pages_present(block, 8), 0);
    block[3 * page] = 'a';
    memory_touch(block + 2 * page + 1, 2 * page); /* from the second byte of one on: three pages */
    assert_int_equal(pages_present(block, 8), 3);
    assert_int_equal(pages_present(block + 2 * page, 3), 3);
    assert_int_equal(block[3 * page], 'a');
    block[5 * page - 1] = 'b';
    memory_discard(block + 2 * page + 1, 2 * page); /* of these three, one lies whole in there */
    assert_int_equal(pages_present(block, 8), 2);
    assert_int_equal(block[3 * page], 0);
    assert_int_equal(block[5 * page - 1], 'b');
    memory_discard(block + 4 * page, page - 1);
    assert_int_equal(block[5 * page - 1], 'b');
    memory_discard(block, 8 * page);
    assert_int_equal(pages_present(block, 8), 0);
    memory_unmap(block, 8 * page);
}

/* ---- Buffers ----------------------------------------------------------------------------------
 */

enum { MODEL_MAX = 4096 };

struct buffer_model {
    char bytes[MODEL_MAX];
    size_t len;
    size_t limit;
    bool failed;
};

static void model_append(struct buffer_model *model, const char *bytes, size_t len)
{
    if (len == 0) {
        return;
    }
    model->failed = model->failed || model->len + len > model->limit;
    if (!model->failed) {
        memcpy(model->bytes + model->len, bytes, len);
        model->len += len;
    }
}

static void buffer_step(struct random *random, struct buffer *buffer, struct buffer_model *model)
{
    char piece[400];
    size_t len = random_below(random, one_in(random, 8) ? sizeof(piece) : 20);
    text_fill(piece, len, random_next(random));
    piece[len] = '\0';
    uint64_t number = random_next(random) >> random_below(random, 64);
    char digits[24];
    char *room;
    switch (random_below(random, 5)) {
    case 0:
        buffer_append(buffer, piece, len);
        model_append(model, piece, len);
        break;
    case 1:
        buffer_append_string(buffer, piece);
        model_append(model, piece, len);
        break;
    case 2:
        buffer_append_u64(buffer, number);
        snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number);
        model_append(model, digits, strlen(digits));
        break;
    case 3:
        buffer_printf(buffer, "%s", piece);
        model_append(model, piece, len);
        break;
    default:
        room = len == 0 ? NULL : buffer_reserve(buffer, len);
        if (room != NULL) {
            memcpy(room, piece, len);
            buffer_commit(buffer, len);
        }
        model_append(model, piece, len);
        break;
    }
}

static void test_buffer_is_its_model(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, run_seed);
    for (unsigned round = 0; round < 2000; round++) {
        struct buffer buffer;
        struct buffer_model model = {.limit = random_below(&random, 1500)};
        buffer_init(&buffer, model.limit);
        for (unsigned step = 0; step < 40; step++) {
            buffer_step(&random, &buffer, &model);
            assert_int_equal(buffer.failed, model.failed);
            assert_true(span_equal(buffer_span(&buffer), span_make(model.bytes, model.len)));
        }
        buffer_fini(&buffer);
        assert_int_equal(buffer.len, 0);
        assert_false(buffer.failed);
    }
}

static void test_buffer_without_memory_fails_once_and_for_all(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 10000);
    buffer_append_string(&buffer, "kept");
    memory_inject_failures(1, UINT32_MAX);
    for (unsigned i = 0; i < 300; i++) {
        buffer_append_string(&buffer, "0123456789");
    }
    memory_inject_failures(0, 0);
    assert_true(buffer.failed);
    size_t len = buffer.len;
    assert_memory_equal(buffer.bytes, "kept0123456789", 14);
    buffer_append_string(&buffer, "x");
    assert_int_equal(buffer.len, len);
    buffer_fini(&buffer);
}

static void assert_json(const char *text, size_t len, const char *expected)
{
    struct buffer buffer;
    buffer_init(&buffer, 1000);
    buffer_append_json(&buffer, span_make(text, len));
    assert_false(buffer.failed);
    assert_true(span_is(buffer_span(&buffer), expected));
    buffer_fini(&buffer);
}

static void test_json_escapes(void **state)
{
    (void)state;
    assert_json(NULL, 0, "");
    assert_json("plain", 5, "plain");
    assert_json("\"\\/", 3, "\\\"\\\\/");
    assert_json("a\0b", 3, "a\\u0000b");
    assert_json("\n\r\t\x1f", 4, "\\u000a\\u000d\\u0009\\u001f");
    assert_json("\x7f\xc3\xa9\"", 4, "\x7f\xc3\xa9\\\"");
    /* Every control character, and only those, the quote and the backslash grow. */
    for (unsigned c = 0; c < 0x80; c++) {
        struct buffer buffer;
        char byte = (char)c;
        buffer_init(&buffer, 10);
        buffer_append_json(&buffer, span_make(&byte, 1));
        assert_int_equal(buffer.len, c < 0x20 ? 6 : (c == '"' || c == '\\') ? 2 : 1);
        buffer_fini(&buffer);
    }
}

/* ---- UTF-8 ------------------------------------------------------------------------------------
 */

/* Decodes by arithmetic and judges the code point, where the real one judges bytes by a table. */
static bool naive_utf8(const unsigned char *p, size_t len)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    for (size_t i = 0; i < len;) {
        size_t width = p[i] < 0x80             ? 1
                       : (p[i] & 0xe0) == 0xc0 ? 2
                       : (p[i] & 0xf0) == 0xe0 ? 3
                       : (p[i] & 0xf8) == 0xf0 ? 4
                                               : 0;
        if (width == 0 || len - i < width) {
            return false;
        }
        uint32_t point = width == 1 ? p[i] : p[i] & (0xffU >> (width + 1));
        for (size_t j = 1; j < width; j++) {
            if ((p[i + j] & 0xc0) != 0x80) {
                return false;
            }
            point = point << 6 | (p[i + j] & 0x3fU);
        }
        if (point < least[width] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) {
            return false;
        }
        i += width;
    }
    return true;
}

static void assert_utf8_like_naive(const unsigned char *bytes, size_t len)
{
    assert_int_equal(utf8_is_valid(span_make((const char *)bytes, len)), naive_utf8(bytes, len));
}

static void test_utf8_at_every_edge(void **state)
{
    (void)state;
    /* All edges of RFC 3629's table, in all four places. */
    static const unsigned char edges[] = {
        0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1,
        0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf7, 0xf8, 0xfb, 0xfc, 0xfe, 0xff};
    const unsigned n = countof(edges);
    assert_true(utf8_is_valid(span_make(NULL, 0)));
    for (unsigned i = 0; i < n * n * n * n; i++) {
        unsigned char bytes[4] = {edges[i % n], edges[i / n % n], edges[i / n / n % n],
                                  edges[i / n / n / n]};
        for (size_t len = 1; len <= 4; len++) {
            assert_utf8_like_naive(bytes, len);
        }
    }
    for (unsigned i = 0; i < 0x10000; i++) {
        unsigned char pair[2] = {(unsigned char)(i >> 8), (unsigned char)i};
        assert_utf8_like_naive(pair, 1);
        assert_utf8_like_naive(pair, 2);
    }
}

static void test_utf8_in_long_text(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, run_seed);
    unsigned valid = 0;
    for (unsigned round = 0; round < 100000; round++) {
        unsigned char text[40];
        size_t len = 0;
        while (len < 32) {
            static const char *const points[] = {"abcdefgh",         "\xc3\xa9",     "\xe2\x82\xac",
                                                 "\xf0\x9f\x98\x80", "\xed\x9f\xbf", "z"};
            const char *point = points[random_below(&random, countof(points))];
            memcpy(text + len, point, strlen(point));
            len += strlen(point);
        }
        len -= one_in(&random, 2) ? random_below(&random, 4) : 0;
        if (one_in(&random, 2)) {
            text[random_below(&random, len)] ^= (unsigned char)(1U << random_below(&random, 8));
        }
        valid += naive_utf8(text, len);
        assert_utf8_like_naive(text, len);
    }
    assert_in_range(valid, 1000, 99000);
}

/* ---- Hash -------------------------------------------------------------------------------------
 */

static void test_hash_is_keyed_and_repeats(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, run_seed);
    char text[64];
    unsigned changed_bits = 0;
    for (unsigned round = 0; round < 1000; round++) {
        struct hash_key key = {random_next(&random), random_next(&random)};
        struct hash_key other = key;
        size_t len = 1 + random_below(&random, sizeof(text) - 1);
        text_fill(text, len, random_next(&random));
        uint64_t hash = hash_bytes(&key, text, len);
        char copy[64 + 1];
        memcpy(copy + 1, text, len); /* elsewhere, and not aligned */
        assert_int_equal(hash_bytes(&key, copy + 1, len), hash);
        other.k0 ^= 1ULL << random_below(&random, 64);
        assert_int_not_equal(hash_bytes(&other, text, len), hash);
        other = key;
        other.k1 ^= 1ULL << random_below(&random, 64);
        assert_int_not_equal(hash_bytes(&other, text, len), hash);
        assert_int_not_equal(hash_bytes(&key, text, len - 1), hash);
        text[random_below(&random, len)] ^= (char)(1 << random_below(&random, 8));
        uint64_t changed = hash_bytes(&key, text, len) ^ hash;
        assert_true(changed != 0);
        changed_bits += (unsigned)__builtin_popcountll(changed);
    }
    /* One bit of the text changes half of the hash; the mean of 1000 has a deviation of 0.13. */
    assert_in_range(changed_bits, 31000, 33000);
}

/* ---- Lists ------------------------------------------------------------------------------------
 */

enum { LINKS = 12, LISTS = 3 };

static void assert_list(struct list *head, const struct list *model[], unsigned count)
{
    const struct list *at = head;
    for (unsigned i = 0; i < count; i++) {
        assert_ptr_equal(at->next, model[i]);
        assert_ptr_equal(at->next->prev, at);
        at = at->next;
    }
    assert_ptr_equal(at->next, head);
    assert_ptr_equal(head->prev, at);
    assert_int_equal(list_is_empty(head), count == 0);
}

static void model_take_out(const struct list *model[], unsigned *count, unsigned index)
{
    (*count)--;
    memmove(model + index, model + index + 1, (*count - index) * sizeof(model[0]));
}

static void test_list_is_its_model(void **state)
{
    (void)state;
    struct random random;
    struct list heads[LISTS];
    struct list links[LINKS] = {{NULL, NULL}};
    const struct list *model[LISTS][LINKS];
    unsigned counts[LISTS] = {0};
    random_init(&random, run_seed);
    for (unsigned i = 0; i < LISTS; i++) {
        list_init(&heads[i]);
    }
    for (unsigned step = 0; step < 100000; step++) {
        unsigned a = (unsigned)random_below(&random, LISTS);
        unsigned b = (a + 1) % LISTS;
        struct list *link = &links[random_below(&random, LINKS)];
        switch (random_below(&random, 4)) {
        case 0:
            if (!list_is_linked(link)) {
                list_append(&heads[a], link);
                model[a][counts[a]++] = link;
            }
            break;
        case 1:
            for (unsigned i = 0; i < LISTS; i++) {
                for (unsigned j = 0; j < counts[i]; j++) {
                    if (model[i][j] == link) {
                        model_take_out(model[i], &counts[i], j);
                    }
                }
            }
            list_remove_if_linked(link);
            assert_false(list_is_linked(link));
            break;
        case 2:
            assert_ptr_equal(list_take(&heads[a]), counts[a] == 0 ? NULL : model[a][0]);
            if (counts[a] > 0) {
                model_take_out(model[a], &counts[a], 0);
            }
            break;
        default:
            if (one_in(&random, 4)) {
                list_splice(&heads[a], &heads[b]);
                memcpy(model[a] + counts[a], model[b], counts[b] * sizeof(model[b][0]));
                counts[a] += counts[b];
                counts[b] = 0;
            }
            break;
        }
        assert_list(&heads[a], model[a], counts[a]);
        assert_list(&heads[b], model[b], counts[b]);
    }
}

/* ---- Tables -----------------------------------------------------------------------------------
 */

enum { NODES = 400 };

struct table_model {
    struct table_node nodes[NODES];
    bool present[NODES];
};

static uint64_t some_hash(struct random *random)
{
    static const uint64_t corners[] = {0, 1, UINT64_MAX, UINT64_MAX - 1, 1ULL << 63};
    switch (random_below(random, 4)) {
    case 0:
        return corners[random_below(random, countof(corners))];
    case 1:
        /* Many in one bucket, some of them alike. */
        return 0x4200000000000000ULL + random_below(random, 12);
    default:
        return random_next(random);
    }
}

static struct table_node *model_next(struct table_model *model, uint64_t after, bool inclusive)
{
    struct table_node *best = NULL;
    for (unsigned i = 0; i < NODES; i++) {
        uint64_t hash = model->nodes[i].hash;
        if (model->present[i] && (hash > after || (inclusive && hash == after)) &&
            (best == NULL || hash < best->hash)) {
            best = &model->nodes[i];
        }
    }
    return best;
}

static void assert_table_find(const struct table *table, const struct table_model *model,
                              uint64_t hash)
{
    unsigned expected = 0;
    unsigned found = 0;
    for (unsigned i = 0; i < NODES; i++) {
        expected += model->present[i] && model->nodes[i].hash == hash;
    }
    struct table_node *node = table_find(table, hash);
    for (; node != NULL; node = table_find_next(node)) {
        assert_int_equal(node->hash, hash);
        assert_true(model->present[node - model->nodes]);
        found++;
        assert_true(found <= expected);
    }
    assert_int_equal(found, expected);
}

static void table_step(struct random *random, struct table *table, struct table_model *model)
{
    unsigned i = (unsigned)random_below(random, NODES);
    if (model->present[i]) {
        table_remove(table, &model->nodes[i]);
        model->present[i] = false;
    } else {
        table_add(table, &model->nodes[i], some_hash(random));
        model->present[i] = true;
    }
}

static void test_table_is_its_model(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, run_seed);
    static const uint64_t counts_max[] = {0, 64, 65, 4096, 5000, 300000};
    for (unsigned round = 0; round < countof(counts_max); round++) {
        struct table table;
        struct table_model model = {.present = {false}};
        assert_int_equal(table_init(&table, counts_max[round]), 0);
        for (unsigned step = 0; step < 4000; step++) {
            table_step(&random, &table, &model);
            uint64_t hash = some_hash(&random);
            bool inclusive = one_in(&random, 2);
            struct table_node *expected = model_next(&model, hash, inclusive);
            struct table_node *next = table_next(&table, hash, inclusive);
            assert_int_equal(next != NULL, expected != NULL);
            assert_true(next == NULL || next->hash == expected->hash);
            assert_table_find(&table, &model, hash);
        }
        for (unsigned i = 0; i < NODES; i++) {
            if (model.present[i]) {
                table_remove(&table, &model.nodes[i]);
            }
        }
        assert_int_equal(table.count, 0);
        assert_null(table_next(&table, 0, true));
        table_fini(&table);
    }
}

/* A walk in pages: whoever is there from beginning to end is seen once, in order. */
static void test_table_walk_while_it_changes(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, run_seed);
    for (unsigned round = 0; round < 200; round++) {
        struct table table;
        struct table_model model = {.present = {false}};
        bool stayed[NODES];
        bool seen[NODES] = {false};
        assert_int_equal(table_init(&table, round % 2 == 0 ? 64 : 5000), 0);
        for (unsigned i = 0; i < NODES; i++) {
            table_add(&table, &model.nodes[i], random_next(&random));
            model.present[i] = true;
            stayed[i] = true;
        }
        uint64_t after = 0;
        bool inclusive = true;
        struct table_node *node;
        while ((node = table_next(&table, after, inclusive)) != NULL) {
            assert_true(inclusive || node->hash > after);
            assert_false(seen[node - model.nodes] && stayed[node - model.nodes]);
            seen[node - model.nodes] = true;
            after = node->hash;
            inclusive = false;
            unsigned other = (unsigned)random_below(&random, NODES);
            stayed[other] = false;
            table_remove(&table, &model.nodes[other]);
            if (one_in(&random, 2)) {
                table_add(&table, &model.nodes[other], random_next(&random));
            } else {
                table_add(&table, &model.nodes[other], 0);
            }
        }
        for (unsigned i = 0; i < NODES; i++) {
            assert_true(seen[i] || !stayed[i]);
            table_remove(&table, &model.nodes[i]);
        }
        table_fini(&table);
    }
}

enum { MANY_NODES = 3000 };

/* Memory is touched, and chains grow, in proportion to the nodes there are, not to the limit. */
static void test_table_follows_its_nodes(void **state)
{
    (void)state;
    static struct table_node nodes[MANY_NODES];
    struct random random;
    struct table table;
    random_init(&random, run_seed);
    assert_int_equal(table_init(&table, 1 << 20), 0);
    for (unsigned i = 0; i < MANY_NODES; i++) {
        table_add(&table, &nodes[i], random_next(&random));
        size_t buckets = ((size_t)2 << table.bucket_bits) - table.split;
        assert_true(buckets <= max_u64(64, table.count));
        assert_true(2 * buckets >= table.count);
        assert_true(((size_t)1 << table.bucket_bits) <= max_u64(64, table.count));
    }
    for (size_t i = (size_t)2 << table.bucket_bits; i < (size_t)1 << 20; i++) {
        assert_null(table.buckets[i]);
    }
    uint64_t walked = 0;
    struct table_node *node = table_next(&table, 0, true);
    for (; node != NULL; node = table_next(&table, node->hash, false)) {
        walked++;
    }
    assert_int_equal(walked, MANY_NODES);
    for (unsigned i = 0; i < MANY_NODES; i++) {
        assert_ptr_equal(table_find(&table, nodes[i].hash), &nodes[i]);
        table_remove(&table, &nodes[i]);
    }
    table_fini(&table);
}

static void test_table_without_memory(void **state)
{
    (void)state;
    struct table table;
    memory_inject_failures(1, UINT32_MAX);
    int r = table_init(&table, 100);
    memory_inject_failures(0, 0);
    assert_int_equal(r, -ENOMEM);
    table_fini(&table);
}

/* ---- Wheels -----------------------------------------------------------------------------------
 */

enum { OWNERS = 60 };

struct owner {
    struct wheel_node node;
    bool set;
};

static uint64_t some_delay(struct random *random)
{
    switch (random_below(random, 5)) {
    case 0:
        return 0;
    case 1:
        return random_below(random, 2 * WHEEL_SLOT_MS);
    case 2:
        return WHEEL_SLOT_MS * random_below(random, 3 * WHEEL_SLOT_COUNT);
    default:
        return random_below(random, (uint64_t)WHEEL_SLOT_MS * WHEEL_SLOT_COUNT * 5 / 2);
    }
}

/* Takes what is due, or only a slice of it. Returns true if the wheel has nothing left for now. */
static bool owners_take(struct wheel *wheel, struct owner owners[], uint64_t now_ms, unsigned slice)
{
    for (unsigned i = 0; i < slice; i++) {
        struct wheel_node *node = wheel_take(wheel, now_ms);
        if (node == NULL) {
            return true;
        }
        struct owner *owner = container_of(node, struct owner, node);
        assert_true(owner >= owners && owner < owners + OWNERS);
        assert_true(owner->set);
        assert_true(node->deadline_ms <= now_ms);
        assert_false(list_is_linked(&node->link));
        owner->set = false;
    }
    return false;
}

static void assert_wheel(const struct wheel *wheel, const struct owner owners[], uint64_t now_ms,
                         bool taken_all)
{
    uint64_t count = 0;
    uint64_t earliest_ms = UINT64_MAX;
    for (unsigned i = 0; i < OWNERS; i++) {
        if (owners[i].set) {
            count++;
            earliest_ms = min_u64(earliest_ms, owners[i].node.deadline_ms);
        }
    }
    assert_int_equal(wheel->count, count);
    uint64_t wait_ms = wheel_wait_ms(wheel, now_ms);
    if (earliest_ms == UINT64_MAX) {
        /* Nobody, or only those who wait for ever. */
        assert_true(count > 0 || wait_ms == UINT64_MAX);
        return;
    }
    /* At most one slot late, and who sleeps as long as it says is not later than that. */
    assert_true(!taken_all || earliest_ms + WHEEL_SLOT_MS > now_ms);
    assert_true(wait_ms == 0 || now_ms + wait_ms < earliest_ms + WHEEL_SLOT_MS);
    assert_true(!taken_all || wait_ms > 0);
}

static void test_wheel_is_its_model(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, run_seed);
    for (unsigned round = 0; round < 30; round++) {
        struct wheel wheel;
        struct owner owners[OWNERS] = {{.set = false}};
        uint64_t now_ms = random_below(&random, 1 << 20);
        wheel_init(&wheel, now_ms);
        for (unsigned step = 0; step < 3000; step++) {
            struct owner *owner = &owners[random_below(&random, OWNERS)];
            if (one_in(&random, 4)) {
                wheel_remove(&wheel, &owner->node);
                owner->set = false;
            } else {
                wheel_set(&wheel, &owner->node, now_ms + some_delay(&random));
                owner->set = true;
            }
            if (one_in(&random, 100)) {
                wheel_set(&wheel, &owner->node, UINT64_MAX);
                owner->set = true;
            }
            now_ms += random_below(&random, one_in(&random, 50) ? 40000 : 60);
            unsigned slice = one_in(&random, 2) ? 3 : UINT32_MAX;
            bool taken_all = owners_take(&wheel, owners, now_ms, slice);
            assert_wheel(&wheel, owners, now_ms, taken_all);
        }
    }
}

/* Sleeping as long as the wheel says, over and over, serves a lone deadline in time. */
static void test_wheel_says_how_long_to_sleep(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, run_seed);
    for (unsigned round = 0; round < 2000; round++) {
        struct wheel wheel;
        struct wheel_node node = {.deadline_ms = 0};
        uint64_t now_ms = random_below(&random, 1 << 20);
        wheel_init(&wheel, now_ms);
        uint64_t deadline_ms = now_ms + some_delay(&random);
        wheel_set(&wheel, &node, deadline_ms);
        unsigned wakes = 0;
        while (wheel_take(&wheel, now_ms) == NULL) {
            uint64_t wait_ms = wheel_wait_ms(&wheel, now_ms);
            assert_true(wait_ms > 0);
            now_ms += wait_ms;
            assert_true(++wakes <= 5);
        }
        assert_true(now_ms >= deadline_ms);
        assert_true(now_ms < deadline_ms + WHEEL_SLOT_MS);
        assert_null(wheel_take(&wheel, now_ms));
        assert_int_equal(wheel_wait_ms(&wheel, now_ms), UINT64_MAX);
    }
}

int main(void)
{
    run_seed = seed_of_run();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spans_compare_by_content),
        cmocka_unit_test(test_every_door_to_the_heap_can_fail),
        cmocka_unit_test(test_failures_follow_their_seed),
        cmocka_unit_test(test_touched_pages_are_there_and_as_they_were),
        cmocka_unit_test(test_buffer_is_its_model),
        cmocka_unit_test(test_buffer_without_memory_fails_once_and_for_all),
        cmocka_unit_test(test_json_escapes),
        cmocka_unit_test(test_utf8_at_every_edge),
        cmocka_unit_test(test_utf8_in_long_text),
        cmocka_unit_test(test_hash_is_keyed_and_repeats),
        cmocka_unit_test(test_list_is_its_model),
        cmocka_unit_test(test_table_is_its_model),
        cmocka_unit_test(test_table_walk_while_it_changes),
        cmocka_unit_test(test_table_follows_its_nodes),
        cmocka_unit_test(test_table_without_memory),
        cmocka_unit_test(test_wheel_is_its_model),
        cmocka_unit_test(test_wheel_says_how_long_to_sleep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
