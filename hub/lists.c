/* Who is connected and which channels there are: lists that never become one giant buffer. */
#include <errno.h>
#include <stdlib.h>

#include "core/base/memory.h"
#include "hub/access.h"
#include "hub/errand.h"
#include "hub/response.h"
#include "hub/routes.h"
#include "hub/slowest.h"

enum {
    /* Clients that each shard names in one round. */
    LIST_CLIENTS_PER_ROUND = 256,
    LIST_CHANNELS_PER_TURN = 128,
    LIST_PAGE_BYTES_MAX = 4 * 1024 * 1024,
};

/* A list on its way out: where it is, and how much may follow. */
struct list_state {
    struct hash_key key;
    struct channel_walk walk; /* by the hashes of the items; of clients, too */
    bool any;                 /* something has been written */
    uint64_t left;            /* items that may still be written */
    char client[];            /* delete_client: whom, terminated */
};

struct list_query {
    uint64_t limit;
    uint64_t slowest; /* of clients: so many of those furthest behind; 0: all, in order */
    struct span after;
};

static bool parse_limit(struct span text, uint64_t *ret_limit)
{
    uint64_t value = 0;
    if (text.len == 0 || text.len > 12) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.bytes[i] < '0' || text.bytes[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(text.bytes[i] - '0');
    }
    *ret_limit = value;
    return true;
}

/* False: the refusal has been sent. */
static bool list_read_query(struct call *call, struct list_query *list)
{
    struct uri_query query;
    struct span name;
    struct span value;
    int r;
    *list = (struct list_query){.limit = UINT64_MAX};
    uri_query_init(&query, call->request->query);
    while ((r = call_parameter(call, &query, &name, &value)) > 0) {
        if (span_is(name, "limit") && !parse_limit(value, &list->limit)) {
            response_problem(call, 400, "limit is a number.");
            return false;
        }
        if (span_is(name, "slowest") && span_is(call->segments[0], "clients") &&
            (!parse_limit(value, &list->slowest) || list->slowest == 0 ||
             list->slowest > SLOWEST_COUNT_MAX)) {
            response_problem(call, 400, "slowest is a number from 1 to 100.");
            return false;
        }
        if (span_is(name, "after")) {
            list->after = value;
        }
    }
    if (r < 0) {
        response_problem(call, 400, "The query has a broken percent escape.");
    }
    return r == 0;
}

static struct list_state *list_state_new(const struct list_query *list, size_t extra)
{
    struct list_state *state = memory_calloc(1, sizeof(*state) + extra + 1);
    if (state != NULL) {
        state->left = list->limit;
    }
    return state;
}

static void list_fini(struct errand *errand)
{
    memory_free(errand->context);
}

/* Begins an errand for the call, with a state. NULL without memory. */
static struct errand *list_errand(struct call *call, const struct list_query *list, size_t extra)
{
    struct list_state *state = list_state_new(list, extra);
    struct errand *errand = state == NULL ? NULL : errand_new(call->connection);
    if (errand == NULL) {
        memory_free(state);
        return NULL;
    }
    errand->context = state;
    errand->fini = list_fini;
    return errand;
}

static void list_write(struct errand *errand, const struct buffer *page, bool end)
{
    struct connection *connection = errand->connection;
    if (page->failed) {
        connection_close(connection, "no memory");
        return;
    }
    connection_write_chunk(connection, buffer_span(page));
    if (end && connection->state != CONNECTION_CLOSED) {
        connection_write_end(connection);
    }
}

/* Writes one page and goes on to the next, or ends the list. Takes over the page's memory. */
static void list_page(struct errand *errand, struct buffer *page, bool more)
{
    const struct list_state *state = errand->context;
    more &= state->left > 0;
    if (!more) {
        buffer_append_string(page, state->any ? "]\n" : "[]\n");
    }
    list_write(errand, page, !more);
    buffer_fini(page);
    if (more && errand->connection != NULL) {
        errand_go(errand);
    } else {
        errand_end(errand);
    }
}

/* Reads the query, writes the head, and makes the errand. NULL: there is no more to answer. */
static struct errand *list_begin(struct call *call, struct list_query *list)
{
    if (!list_read_query(call, list)) {
        return NULL;
    }
    response_begin(call, RESPONSE_JSON, span_of("Cache-Control: no-store\r\n"));
    if (call->head_only || call->connection->state != CONNECTION_READING) {
        return NULL; /* HEAD; or the head found no memory, and the connection is closed */
    }
    if (list->slowest > 0) {
        if (!slowest_begin(call->connection, (unsigned)list->slowest)) {
            connection_close(call->connection, "no memory");
        }
        return NULL;
    }
    struct errand *errand = list_errand(call, list, 0);
    if (errand == NULL) {
        connection_close(call->connection, "no memory");
    }
    return errand;
}

/* ---- Clients
 * ------------------------------------------------------------------------------------------ */

/* What a shard's part of a round holds: items in hash order, each a header and the id's bytes. */
struct client_item {
    uint64_t hash;
    uint32_t len;
};

/* On each shard: the next clients in the order of their hashes. */
static void clients_work(struct errand_part *part)
{
    const struct list_state *state = part->errand->context;
    struct shard *shard = part->shard;
    uint64_t after = state->walk.after;
    bool inclusive = !state->walk.started;
    unsigned count = 0;
    while (count < LIST_CLIENTS_PER_ROUND) {
        struct table_node *node = table_next(&shard->clients, after, inclusive);
        if (node == NULL) {
            return;
        }
        after = node->hash;
        inclusive = false;
        struct span previous = {NULL, 0};
        for (node = table_find(&shard->clients, after); node != NULL;
             node = table_find_next(node)) {
            const struct connection *connection = container_of(node, struct connection, by_id);
            struct span id = connection_id(connection);
            bool is_named = (connection->flags & CONNECTION_NAMED) != 0;
            if (is_named && previous.bytes != NULL && span_equal(id, previous)) {
                continue; /* many connections of one client are one item */
            }
            previous = is_named ? id : previous;
            struct client_item item = {.hash = after, .len = (uint32_t)id.len};
            buffer_append(&part->result, &item, sizeof(item));
            buffer_append_span(&part->result, id);
            count++;
        }
    }
    /* There may be more behind the last one: nobody may be listed beyond it in this round. */
    part->flag = true;
    part->number = after;
}

struct client_cursor {
    struct span rest;
    struct client_item item;
    struct span id;
    bool valid;
};

static void cursor_next(struct client_cursor *cursor)
{
    cursor->valid = cursor->rest.len >= sizeof(cursor->item);
    if (cursor->valid) {
        memcpy(&cursor->item, cursor->rest.bytes, sizeof(cursor->item));
        cursor->id = span_make(cursor->rest.bytes + sizeof(cursor->item), cursor->item.len);
        size_t used = sizeof(cursor->item) + cursor->item.len;
        cursor->rest = span_make(cursor->rest.bytes + used, cursor->rest.len - used);
    }
}

static void clients_write_one(struct list_state *state, struct buffer *page, struct span id)
{
    buffer_append_string(page, state->any ? ",\"" : "[\"");
    buffer_append_json(page, id);
    buffer_append_string(page, "\"");
    state->any = true;
    state->left--;
}

/* Merges the parts in hash order up to `last`; one client with several connections is named once.
 */
static void clients_merge(struct errand *errand, uint64_t last, struct buffer *page)
{
    struct list_state *state = errand->context;
    struct client_cursor cursors[SHARD_COUNT_MAX];
    struct span previous = {NULL, 0};
    for (unsigned i = 0; i < errand->part_count; i++) {
        cursors[i].rest = buffer_span(&errand->parts[i].result);
        cursor_next(&cursors[i]);
    }
    while (state->left > 0) {
        struct client_cursor *first = NULL;
        for (unsigned i = 0; i < errand->part_count; i++) {
            if (cursors[i].valid && cursors[i].item.hash <= last &&
                (first == NULL || cursors[i].item.hash < first->item.hash)) {
                first = &cursors[i];
            }
        }
        if (first == NULL) {
            break;
        }
        if (!span_equal(first->id, previous) || previous.bytes == NULL) {
            clients_write_one(state, page, first->id);
            previous = first->id;
        }
        cursor_next(first);
    }
}

static void clients_done(struct errand *errand)
{
    struct list_state *state = errand->context;
    struct buffer page;
    uint64_t last = UINT64_MAX;
    bool more = false;
    bool failed = false;
    for (unsigned i = 0; i < errand->part_count; i++) {
        failed |= errand->parts[i].result.failed;
        if (errand->parts[i].flag) {
            more = true;
            last = min_u64(last, errand->parts[i].number);
        }
    }
    buffer_init(&page, LIST_PAGE_BYTES_MAX);
    if (!failed) {
        clients_merge(errand, last, &page); /* of a part without memory items may be incomplete */
    }
    page.failed |= failed;
    state->walk.after = last;
    state->walk.started = true;
    list_page(errand, &page, more);
}

void list_clients(struct call *call)
{
    struct list_query list;
    struct errand *errand = list_begin(call, &list);
    if (errand == NULL) {
        return;
    }
    struct list_state *state = errand->context;
    if (list.after.bytes != NULL) {
        state->walk.after = shard_hash_id(call->shard, list.after);
        state->walk.started = true;
    }
    errand->work = clients_work;
    errand->done = clients_done;
    errand_go(errand);
}

/* On each shard: end the streams of that client. */
static void kick_work(struct errand_part *part)
{
    const struct list_state *state = part->errand->context;
    struct shard *shard = part->shard;
    struct span id = span_of(state->client);
    struct table_node *node = table_find(&shard->clients, shard_hash_id(shard, id));
    while (node != NULL) {
        struct connection *connection = container_of(node, struct connection, by_id);
        node = table_find_next(node);
        if (span_equal(connection_id(connection), id)) {
            part->number++;
            connection_end_stream(connection, "kicked");
        }
    }
}

static void kick_done(struct errand *errand)
{
    static const char problem[] =
        "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,"
        "\"detail\":\"That client is not connected.\"}\n";
    struct connection *connection = errand->connection;
    uint64_t count = 0;
    for (unsigned i = 0; i < errand->part_count; i++) {
        count += errand->parts[i].number;
    }
    struct buffer body;
    buffer_init(&body, 1024);
    if (count == 0) {
        buffer_append_string(&body, problem);
    } else {
        buffer_printf(&body, "{\"disconnected\":%llu}\n", (unsigned long long)count);
    }
    if (body.failed) {
        connection_close(connection, "no memory");
    } else {
        response_send_late(connection, count == 0 ? 404 : 200,
                           count == 0 ? RESPONSE_PROBLEM : RESPONSE_JSON, buffer_span(&body));
    }
    buffer_fini(&body);
    errand_end(errand);
}

void delete_client(struct call *call)
{
    if (!access_may_publish(call)) {
        return;
    }
    struct span client = call->segments[1];
    if (!call_name_is_valid(call, client)) {
        response_problem(call, 404, "That client is not connected.");
        return;
    }
    struct list_query none = {.limit = 0};
    struct errand *errand = list_errand(call, &none, client.len);
    if (errand == NULL) {
        response_problem(call, 503, "This hub is out of memory.");
        return;
    }
    struct list_state *state = errand->context;
    memcpy(state->client, client.bytes, client.len);
    errand->work = kick_work;
    errand->done = kick_done;
    errand_go(errand);
}

/* ---- Channels
 * ------------------------------------------------------------------------------------------- */

struct channels_page {
    struct list_state *state;
    struct buffer *page;
};

static void channels_visit(void *context, const struct channel_info *info)
{
    struct channels_page *out = context;
    if (info->kind != CHANNEL_PUBLIC || out->state->left == 0) {
        return;
    }
    buffer_append_string(out->page, out->state->any ? ",{\"channel\":\"" : "[{\"channel\":\"");
    buffer_append_json(out->page, info->name);
    buffer_printf(out->page,
                  "\",\"subscribers\":%llu,\"published\":%llu,\"retained\":%llu,"
                  "\"retained_bytes\":%llu}",
                  (unsigned long long)info->subscribers, (unsigned long long)info->published,
                  (unsigned long long)info->retained_count,
                  (unsigned long long)info->retained_bytes);
    out->state->any = true;
    out->state->left--;
}

/* The sequencer's table is read by the origin itself: the other shards have nothing to do. */
static void channels_work(struct errand_part *part)
{
    (void)part;
}

static void channels_done(struct errand *errand)
{
    struct list_state *state = errand->context;
    struct buffer page;
    buffer_init(&page, LIST_PAGE_BYTES_MAX);
    struct channels_page out = {state, &page};
    bool more = sequencer_walk(&errand->origin->hub->sequencer, &state->walk,
                               LIST_CHANNELS_PER_TURN, channels_visit, &out);
    list_page(errand, &page, more);
}

void list_channels(struct call *call)
{
    struct list_query list;
    struct errand *errand = list_begin(call, &list);
    if (errand == NULL) {
        return;
    }
    struct list_state *state = errand->context;
    if (list.after.bytes != NULL) {
        struct channel_name name = {CHANNEL_PUBLIC, list.after};
        state->walk.after = sequencer_hash(&call->shard->hub->sequencer, name);
        state->walk.started = true;
    }
    errand->work = channels_work;
    errand->done = channels_done;
    errand_go(errand);
}

void delete_channel(struct call *call)
{
    if (!access_may_publish(call)) {
        return;
    }
    struct channel_name name = {CHANNEL_PUBLIC, call->segments[1]};
    if (span_is(name.name, "broadcast")) {
        name = (struct channel_name){CHANNEL_BROADCAST, {NULL, 0}};
    }
    if (!call_name_is_valid(call, call->segments[1]) ||
        !sequencer_forget(&call->shard->hub->sequencer, name)) {
        response_problem(call, 404, "There is no such channel.");
        return;
    }
    response_send(call, &(struct response){.status = 204});
}
