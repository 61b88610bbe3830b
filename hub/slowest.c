#include "hub/slowest.h"

#include "core/base/memory.h"
#include "hub/hub.h"
#include "hub/shard.h"

enum {
    /* Streams that each shard looks at in one round: well below a millisecond. */
    SLOWEST_LOOKS_PER_ROUND = 4096,
    SLOWEST_ANSWER_BYTES_MAX = 1024 * 1024,
    SLOWEST_NAME_BYTES_MAX = 255,
};

struct slow_stream {
    uint64_t behind;
    uint16_t channel_count;
    uint8_t name_len;
    char name[SLOWEST_NAME_BYTES_MAX];
};

/* The slowest that one shard has found, the slowest first; written by it only. */
struct slow_list {
    uint64_t after; /* the walk's place: the last hash it has looked at */
    bool started;
    bool ended;
    unsigned count;
    struct slow_stream *streams; /* room for slowest_state.count_max */
};

struct slowest_state {
    unsigned count_max;
    struct slow_list lists[]; /* of each shard */
};

/* Puts the stream where it belongs, if it is among the slowest. */
static void slow_list_add(struct slow_list *list, unsigned count_max, uint64_t distance,
                          const struct connection *connection)
{
    unsigned place = list->count;
    while (place > 0 && list->streams[place - 1].behind < distance) {
        place--;
    }
    if (place == count_max) {
        return;
    }
    list->count += list->count < count_max;
    memmove(&list->streams[place + 1], &list->streams[place],
            (list->count - 1 - place) * sizeof(*list->streams));
    struct span name = connection_id(connection);
    struct slow_stream *stream = &list->streams[place];
    stream->behind = distance;
    stream->channel_count = connection->subscriber.channel_count;
    stream->name_len = (uint8_t)min_u64(name.len, sizeof(stream->name));
    memcpy(stream->name, name.bytes, stream->name_len);
}

/* On each shard: the next of its streams. */
static void slowest_work(struct errand_part *part)
{
    struct slowest_state *state = part->errand->context;
    struct slow_list *list = &state->lists[part - part->errand->parts];
    struct shard *shard = part->shard;
    for (unsigned looks = 0; looks < SLOWEST_LOOKS_PER_ROUND && !list->ended; looks++) {
        struct table_node *node = table_next(&shard->clients, list->after, !list->started);
        if (node == NULL) {
            list->ended = true;
            return;
        }
        list->after = node->hash;
        list->started = true;
        for (node = table_find(&shard->clients, list->after); node != NULL;
             node = table_find_next(node)) {
            struct connection *connection = container_of(node, struct connection, by_id);
            uint64_t distance = fanout_behind(&shard->fanout, &connection->subscriber);
            if (distance > 0) {
                slow_list_add(list, state->count_max, distance, connection);
            }
        }
    }
}

/* Takes the slowest of all off its list; NULL at the end. */
static const struct slow_stream *slowest_next(struct errand *errand, unsigned *taken)
{
    const struct slowest_state *state = errand->context;
    const struct slow_stream *slowest = NULL;
    unsigned from = 0;
    for (unsigned i = 0; i < errand->part_count; i++) {
        const struct slow_list *list = &state->lists[i];
        if (taken[i] < list->count &&
            (slowest == NULL || list->streams[taken[i]].behind > slowest->behind)) {
            slowest = &list->streams[taken[i]];
            from = i;
        }
    }
    taken[from] += slowest != NULL;
    return slowest;
}

static void slowest_write(struct errand *errand, struct buffer *body)
{
    const struct slowest_state *state = errand->context;
    unsigned taken[SHARD_COUNT_MAX] = {0};
    const struct slow_stream *stream;
    buffer_append_string(body, "[");
    for (unsigned i = 0; i < state->count_max && (stream = slowest_next(errand, taken)) != NULL;
         i++) {
        buffer_append_string(body, i == 0 ? "{\"client\":\"" : ",{\"client\":\"");
        buffer_append_json(body, span_make(stream->name, stream->name_len));
        buffer_printf(body, "\",\"behind\":%llu,\"channels\":%u}",
                      (unsigned long long)stream->behind, stream->channel_count);
    }
    buffer_append_string(body, "]\n");
}

static void slowest_done(struct errand *errand)
{
    const struct slowest_state *state = errand->context;
    for (unsigned i = 0; i < errand->part_count; i++) {
        if (!state->lists[i].ended) {
            errand_go(errand);
            return;
        }
    }
    struct buffer body;
    buffer_init(&body, SLOWEST_ANSWER_BYTES_MAX);
    slowest_write(errand, &body);
    if (body.failed) {
        connection_close(errand->connection, "no memory");
    } else {
        connection_write_chunk(errand->connection, buffer_span(&body));
        if (errand->connection != NULL && errand->connection->state != CONNECTION_CLOSED) {
            connection_write_end(errand->connection);
        }
    }
    buffer_fini(&body);
    errand_end(errand);
}

static void slowest_fini(struct errand *errand)
{
    memory_free(errand->context);
}

static struct slowest_state *slowest_state_new(unsigned list_count, unsigned count_max)
{
    const size_t lists_size = sizeof(struct slowest_state) + list_count * sizeof(struct slow_list);
    struct slowest_state *state =
        memory_calloc(1, lists_size + (size_t)list_count * count_max * sizeof(struct slow_stream));
    if (state != NULL) {
        state->count_max = count_max;
        for (unsigned i = 0; i < list_count; i++) {
            state->lists[i].streams =
                (struct slow_stream *)((char *)state + lists_size) + (size_t)i * count_max;
        }
    }
    return state;
}

bool slowest_begin(struct connection *connection, unsigned count)
{
    struct slowest_state *state = slowest_state_new(connection->shard->hub->shard_count, count);
    struct errand *errand = state == NULL ? NULL : errand_new(connection);
    if (errand == NULL) {
        memory_free(state);
        return false;
    }
    errand->context = state;
    errand->fini = slowest_fini;
    errand->work = slowest_work;
    errand->done = slowest_done;
    errand_go(errand);
    return true;
}
