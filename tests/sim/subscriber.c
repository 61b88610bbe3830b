/* Clients with a stream: what they ask for, and what they must then see or be told. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/model.h"
#include "tests/sim/stream.h"
#include "tests/sim/world.h"

static const char *const gap_reasons[] = {"expired", "malformed", "epoch", "future"};

static struct stream streams[SUBSCRIBERS_MAX];
static size_t line_max;

#define fail(stream, format, ...)                                                                  \
    world_fail("stream %u: " format, (stream)->number __VA_OPT__(, ) __VA_ARGS__)

/* ---- What carries it ---- */

static bool stream_is_there(const struct stream *stream)
{
    return stream->connection != NULL || stream->is_carried;
}

static void stream_drop(struct stream *stream, bool hard)
{
    if (stream->is_carried) {
        carried_drop(&stream->carried, hard);
    } else {
        sim_abandon(stream->connection, hard);
    }
    stream->connection = NULL;
    stream->is_carried = false;
}

static bool stream_is_at_end(const struct stream *stream)
{
    return stream->is_carried ? carried_is_at_end(&stream->carried)
                              : sim_is_at_end(stream->connection);
}

static size_t stream_take(struct stream *stream, char *bytes, size_t size)
{
    return stream->is_carried ? carried_read(&stream->carried, bytes, size, &stream->stamp)
                              : sim_read(stream->connection, bytes, size, &stream->stamp);
}

static void stream_look(struct stream *stream, bool has_read)
{
    size_t waiting =
        stream->is_carried ? carried_unread(&stream->carried) : stream->connection->to_client.len;
    patience_look(&stream->patience, waiting > 0, has_read);
}

/* The client reads nothing, and the hub has not given it up yet. */
static bool stream_is_gone(struct stream *stream)
{
    const struct sim_connection *connection = stream->connection;
    if (stream->is_carried) {
        return patience_stays_gone(&stream->patience, carried_is_stuck(&stream->carried),
                                   stream->carried.is_over);
    }
    return patience_stays_gone(&stream->patience,
                               connection->wants_room && connection->to_client.len > 0,
                               connection->hub_done || connection->reset);
}

/* Not later than when the hub decided about the block at hand. */
static uint64_t stream_spoke_since(const struct stream *stream)
{
    return stream->is_carried ? stream->joined_step : stream->block_stamp.since;
}

void subscribers_begin(void)
{
    line_max = world.options.data_max + 4096;
    memset(streams, 0, sizeof(streams));
    for (unsigned i = 0; i < world.options.subscribers; i++) {
        struct stream *stream = &streams[i];
        stream->number = i;
        stream->line = malloc(line_max);
        stream->data = malloc(line_max);
        CHECK(stream->line != NULL && stream->data != NULL);
        uint64_t channels = 1 + sim_below((1ULL << world.options.publics) - 1);
        if (sim_chance(40)) {
            channels = 1ULL << sim_below(world.options.publics);
        }
        stream->client = sim_chance(25) ? (int)sim_below(world.options.clients) : -1;
        if (stream->client >= 0 && sim_chance(50)) {
            channels = 0;
        }
        stream->set = channels | 1ULL << SOURCE_BROADCAST;
        if (stream->client >= 0) {
            stream->set |= 1ULL << (PUBLIC_MAX + (unsigned)stream->client);
        }
        stream->is_old = sim_chance(10);
    }
}

void subscribers_end(void)
{
    for (unsigned i = 0; i < world.options.subscribers; i++) {
        if (stream_is_there(&streams[i])) {
            stream_drop(&streams[i], true);
        }
        free(streams[i].line);
        free(streams[i].data);
        streams[i].line = streams[i].data = NULL;
    }
    carriers_end();
}

/* False: there is no room for a connection. */
static bool stream_connect(struct stream *stream)
{
    static const size_t capacities[] = {100, 300, 1000, 4000, 20000, 300000};
    if (sim_chance(world.options.carried_percent)) {
        stream_ask(stream);
        stream->is_carried = carried_begin(&stream->carried, stream->request, stream->request_len);
        stream->request_sent = stream->request_len;
        return stream->is_carried;
    }
    unsigned loop = (unsigned)sim_below(world.options.shards);
    size_t capacity = world.options.steady ? capacities[5]
                                           : capacities[sim_below(world.options.big_pipes ? 6 : 4)];
    stream->connection = sim_connect(loop, capacity);
    if (stream->connection == NULL) {
        return false;
    }
    stream_ask(stream);
    world_trace("stream %u: connects to shard %u, %zu bytes fit", stream->number, loop, capacity);
    stream->request_sent = 0;
    return true;
}

static void stream_begin(struct stream *stream)
{
    if (!stream_connect(stream)) {
        return;
    }
    answer_begin(&stream->answer, false, stream->is_old || stream->is_carried);
    stream->line_len = stream->data_len = 0;
    stream->joined = stream->leaving = stream->cursor_unknown = stream->same_step_optional = false;
    stream->cursor = stream->told = stream->not_before = 0;
    stream->gap[0] = stream->id[0] = stream->type[0] = '\0';
    stream->words = stream->data_lines = 0;
    stream->retry_ms = -1;
    stream->said_ms = 0;
    stream->patience = (struct patience){0};
}

/* ---- Where it begins ---- */

static uint64_t sequence_before(uint64_t step)
{
    uint64_t sequence = model.sequence;
    while (sequence > 0 && model.events[sequence].step >= step) {
        sequence--;
    }
    return sequence;
}

/* The position from which `count` retained events follow. */
static uint64_t cursor_of_last(uint64_t set, uint64_t count, uint64_t step)
{
    for (uint64_t i = model.sequence; i > 0; i--) {
        const struct event *event = &model.events[i];
        if (set_has(set, event->source) && event->step <= step && event_is_retained(event, step) &&
            count-- == 0) {
            return i;
        }
    }
    return 0;
}

static uint64_t cursor_of_time(uint64_t set, uint64_t wall_ms, uint64_t step)
{
    for (uint64_t i = 1; i <= model.sequence; i++) {
        const struct event *event = &model.events[i];
        if (set_has(set, event->source) && event->step <= step && event_is_retained(event, step) &&
            event->wall_ms >= wall_ms) {
            return i - 1;
        }
    }
    return sequence_before(step);
}

static void stream_join(struct stream *stream)
{
    uint64_t step = stream->is_carried ? stream->carried.joined_step : stream->stamp.since;
    bool changed = model_was_changed(stream->set, step);
    uint64_t evicted = model_evicted(stream->set, step);
    bool has_gap = answer_field(&stream->answer, "Spate-Gap", stream->gap, sizeof(stream->gap));
    stream->joined = true;
    stream->joined_step = step;
    stream->told = evicted;
    stream->told_least = model_evicted(stream->set, step - 1);
    switch (stream->ask) {
    case ASK_NOW:
        stream->cursor = sequence_before(step);
        stream->same_step_optional = true;
        stream->told = stream->told_least = 0;
        break;
    case ASK_AFTER:
        stream->cursor = stream->ask_value;
        stream->told = stream->told_least = 0;
        break;
    case ASK_LAST:
        stream->cursor_unknown = changed;
        stream->cursor = changed ? 0 : cursor_of_last(stream->set, stream->ask_value, step);
        break;
    case ASK_SINCE:
        stream->cursor_unknown = changed || model.wall_went_back;
        stream->cursor =
            stream->cursor_unknown ? 0 : cursor_of_time(stream->set, stream->ask_value, step);
        break;
    case ASK_EARLIEST:
    case ASK_MALFORMED:
    case ASK_EPOCH:
    case ASK_FUTURE:
        break;
    }
    const char *expected = "";
    if (stream->ask == ASK_AFTER) {
        expected = evicted > stream->ask_value ? "expired" : "";
    } else if (stream->ask >= ASK_MALFORMED) {
        expected = gap_reasons[1 + stream->ask - ASK_MALFORMED];
    }
    bool excused = stream->ask == ASK_AFTER &&
                   (changed || (has_gap && world.hub.sequencer.forgotten_sequence > 0));
    if (strcmp(expected, stream->gap) != 0 && !excused) {
        fail(stream, "the head says gap '%s' where '%s' is true (everything up to event %llu gone)",
             stream->gap, expected, (unsigned long long)evicted);
    }
    world_trace("stream %u: joined, gap '%s'", stream->number, stream->gap);
}

static void stream_head(struct stream *stream)
{
    char value[64] = "";
    bool is_stream = answer_field(&stream->answer, "Content-Type", value, sizeof(value)) &&
                     strcmp(value, "text/event-stream") == 0;
    bool refused = stream->answer.status != 200 ||
                   (answer_field(&stream->answer, "Cache-Control", value, sizeof(value)) &&
                    strcmp(value, "no-store") == 0);
    if (refused) {
        bool late =
            stream->answer.status == 408 && (world.options.impatient || world.options.leaps);
        bool full =
            (stream->answer.status == 200 || stream->answer.status == 503) && world_may_refuse();
        if (!late && !full) {
            fail(stream, "refused with %d", stream->answer.status);
        }
        return;
    }
    if (!is_stream) {
        fail(stream, "not an event stream: %s", value);
        return;
    }
    stream_join(stream);
}

/* ---- What comes ---- */

/* Everything of the set between the cursor and `upto` was left out: that must be right. */
static void check_holes(struct stream *stream, uint64_t upto, uint64_t step)
{
    for (uint64_t i = stream->cursor + 1; i <= upto && !stream->cursor_unknown; i++) {
        const struct event *event = &model.events[i];
        if (!set_has(stream->set, event->source) ||
            (stream->same_step_optional && event->step == stream->joined_step)) {
            continue;
        }
        if (event_is_retained(event, step)) {
            fail(stream, "event %llu of %s is left out", (unsigned long long)i,
                 source_text(event->source));
        } else if (i > stream->told) {
            fail(stream, "event %llu of %s is gone, and nothing was said", (unsigned long long)i,
                 source_text(event->source));
        }
    }
}

static void stream_move(struct stream *stream, uint64_t sequence)
{
    stream->cursor = sequence;
    stream->cursor_unknown = false;
    world.moves++;
}

/* The data as a reader puts it together: every kind of line end is one. */
static bool data_is(const struct stream *stream, const char *expected)
{
    size_t at = 0;
    for (const char *c = expected; *c != '\0'; c++) {
        char wanted = *c;
        if (*c == '\r') {
            wanted = '\n';
            c += c[1] == '\n' ? 1 : 0;
        }
        if (at >= stream->data_len || stream->data[at++] != wanted) {
            return false;
        }
    }
    return at == stream->data_len;
}

static void stream_event(struct stream *stream)
{
    uint64_t sequence = model_parse_id(stream->id);
    if (sequence == 0 || sequence > model.sequence) {
        fail(stream, "an id that nobody was given: %s", stream->id);
        return;
    }
    const struct event *event = &model.events[sequence];
    if (!set_has(stream->set, event->source)) {
        fail(stream, "event %llu is of another channel", (unsigned long long)sequence);
        return;
    }
    const struct message *message = &model.messages[event->message];
    world_trace("stream %u: event %llu, message %u of %s", stream->number,
                (unsigned long long)sequence, event->message, source_text(event->source));
    if (!data_is(stream, message->data) || strcmp(stream->type, message->type) != 0 ||
        stream->retry_ms != message->retry_ms) {
        fail(stream, "event %llu is not what was published: type '%s', retry %lld, %.60s",
             (unsigned long long)sequence, stream->type, (long long)stream->retry_ms, stream->data);
    }
    if (stream->gap[0] != '\0') {
        fail(stream, "an event came before the gap that the head announced");
    }
    if (sequence <= stream->cursor && !stream->cursor_unknown) {
        fail(stream, "event %llu came after %llu", (unsigned long long)sequence,
             (unsigned long long)stream->cursor);
    }
    if (sequence < stream->not_before) {
        fail(stream, "event %llu came though the gap said that it was gone",
             (unsigned long long)sequence);
    }
    check_holes(stream, sequence - 1, stream->block_stamp.step);
    stream_move(stream, sequence);
    stream->not_before = 0;
    stream->last_seen = sequence;
}

/* An id without data: the client is here, whatever lies before. */
static void stream_place(struct stream *stream)
{
    uint64_t place = model_parse_id(stream->id);
    if (place > model.sequence || (place < stream->cursor && !stream->cursor_unknown)) {
        fail(stream, "the place %s at event %llu", stream->id, (unsigned long long)stream->cursor);
        return;
    }
    if (stream->gap[0] != '\0') {
        fail(stream, "a place before the gap was told");
    }
    check_holes(stream, place, stream->block_stamp.step);
    stream_move(stream, place);
    stream->same_step_optional = false;
    stream->last_seen = place > 0 ? place : stream->last_seen;
}

/* `first` is what the gap event calls the first event that is left; 0: it says there is none. */
static void check_first_available(struct stream *stream, uint64_t requested, uint64_t first)
{
    uint64_t from = stream_spoke_since(stream);
    uint64_t upto = stream->block_stamp.step;
    if (first > 0 && (first > model.sequence || first <= requested ||
                      !set_has(stream->set, model.events[first].source))) {
        fail(stream, "a gap to event %llu, which is not of this stream", (unsigned long long)first);
        return;
    }
    for (uint64_t i = requested + 1; i <= model.sequence && i != first; i++) {
        const struct event *event = &model.events[i];
        if (set_has(stream->set, event->source) && event_is_retained(event, upto) &&
            event->step < from) {
            fail(stream, "a gap to event %llu, but event %llu is there", (unsigned long long)first,
                 (unsigned long long)i);
            return;
        }
    }
    stream->not_before = first;
}

static void gap_expired(struct stream *stream, uint64_t requested, uint64_t first)
{
    uint64_t step = stream->block_stamp.step;
    uint64_t evicted = model_evicted(stream->set, step);
    bool initial = stream->gap[0] != '\0';
    if (requested > model.sequence || (initial && requested != stream->ask_value) ||
        (requested < stream->cursor && !stream->cursor_unknown)) {
        fail(stream, "a gap after event %llu, at event %llu", (unsigned long long)requested,
             (unsigned long long)stream->cursor);
    }
    if (evicted <= max_u64(requested, initial ? 0 : stream->told_least) &&
        world.hub.sequencer.forgotten_sequence == 0) {
        fail(stream, "a gap after event %llu, but nothing is missing",
             (unsigned long long)requested);
    }
    check_holes(stream, requested, step);
    stream_move(stream, max_u64(stream->cursor, requested));
    stream->told = max_u64(stream->told, evicted);
    /* Of the step itself nobody can tell whether it came before or after. */
    stream->told_least = model_evicted(
        stream->set, (initial ? stream->joined_step : stream_spoke_since(stream)) - 1);
    check_first_available(stream, requested, first);
}

static void stream_gap(struct stream *stream)
{
    json_error_t error;
    const char *reason = NULL;
    const char *requested = NULL;
    json_t *first = NULL;
    json_t *document = json_loads(stream->data, JSON_REJECT_DUPLICATES, &error);
    if (document == NULL || json_unpack(document, "{s:s,s:s,s:o!}", "reason", &reason, "requested",
                                        &requested, "first_available", &first) != 0) {
        fail(stream, "a gap event that says %s", stream->data);
        json_decref(document);
        return;
    }
    world_trace("stream %u: %s id %s", stream->number, stream->data, stream->id);
    uint64_t available = json_is_string(first) ? model_parse_id(json_string_value(first)) : 0;
    if ((available == 0) != json_is_null(first)) {
        fail(stream, "a gap event that says %s", stream->data);
    } else if (stream->gap[0] != '\0' && strcmp(stream->gap, reason) != 0) {
        fail(stream, "the head said gap '%s', the event '%s'", stream->gap, reason);
    } else if (strcmp(reason, "expired") == 0) {
        gap_expired(stream, model_parse_id(requested), available);
    } else if (stream->gap[0] == '\0') {
        fail(stream, "a gap '%s' in the midst of it", reason);
    } else {
        check_first_available(stream, 0, available);
    }
    stream->gap[0] = '\0';
    uint64_t position = stream->id[0] == '\0' ? 0 : model_parse_id(stream->id);
    if ((stream->id[0] != '\0') != (available == 0)) {
        fail(stream, "a gap event with an id and something available, or without both");
    } else if (stream->id[0] != '\0') {
        if (position > model.sequence || (position < stream->cursor && stream->ask == ASK_AFTER)) {
            fail(stream, "a gap event moves the client to event %llu",
                 (unsigned long long)position);
        }
        check_holes(stream, position, stream->block_stamp.step);
        stream_move(stream, max_u64(position, stream->cursor));
        stream->last_seen = position > 0 ? position : stream->last_seen;
    }
    json_decref(document);
}

static void stream_comment(struct stream *stream, const char *line)
{
    if (stream->words == 0 && strcmp(line, ": spate") != 0) {
        fail(stream, "the stream begins with %.40s", line);
    } else if (stream->words > 0 && strcmp(line, ":") != 0) {
        fail(stream, "a comment: %.40s", line);
    } else if (stream->words > 0) {
        uint64_t least_ms = (uint64_t)world.hub.config->heartbeat_seconds * 1000;
        world_trace("stream %u: heartbeat", stream->number);
        /* What is carried may have waited for others before it was sent. */
        if (!stream->is_carried && stream->stamp.ms - stream->said_ms < least_ms) {
            fail(stream, "a heartbeat %llu ms after the last word",
                 (unsigned long long)(stream->stamp.ms - stream->said_ms));
        }
    }
    stream->words++;
}

static void stream_block(struct stream *stream)
{
    bool is_gap = strcmp(stream->type, "spate.gap") == 0;
    stream->data[stream->data_len] = '\0';
    if (is_gap) {
        stream_gap(stream);
    } else if (stream->data_lines > 0) {
        stream_event(stream);
    } else {
        if (stream->id[0] != '\0') {
            stream_place(stream);
        }
        uint64_t mean_ms = world.hub.config->retry_ms;
        uint64_t retry_ms = (uint64_t)stream->retry_ms;
        if (stream->retry_ms >= 0 && (retry_ms < mean_ms / 2 || retry_ms > mean_ms / 2 + mean_ms)) {
            fail(stream, "retry: %llu", (unsigned long long)retry_ms);
        }
    }
    stream->data_len = 0;
    stream->data_lines = 0;
    stream->id[0] = stream->type[0] = '\0';
    stream->retry_ms = -1;
    stream->said_ms = stream->stamp.ms;
}

static void stream_line(struct stream *stream, const char *line)
{
    if (line[0] == '\0') {
        stream_block(stream);
    } else if (line[0] == ':') {
        stream_comment(stream, line);
    } else if (strncmp(line, "data: ", 6) == 0) {
        size_t len = strlen(line + 6);
        if (stream->data_lines++ > 0) {
            stream->data[stream->data_len++] = '\n';
        }
        if (stream->data_len + len + 2 < line_max) {
            memcpy(stream->data + stream->data_len, line + 6, len);
            stream->data_len += len;
        } else {
            fail(stream, "endless data");
        }
    } else if (strncmp(line, "id: ", 4) == 0 && strlen(line + 4) < sizeof(stream->id) &&
               stream->id[0] == '\0') {
        snprintf(stream->id, sizeof(stream->id), "%s", line + 4);
    } else if (strncmp(line, "event: ", 7) == 0 && strlen(line + 7) < sizeof(stream->type)) {
        snprintf(stream->type, sizeof(stream->type), "%s", line + 7);
    } else if (strncmp(line, "retry: ", 7) == 0 && line[7] != '\0' &&
               strspn(line + 7, "0123456789") == strlen(line + 7)) {
        stream->retry_ms = (int64_t)strtoull(line + 7, NULL, 10);
    } else {
        fail(stream, "a strange line: %.60s", line);
    }
}

/* Whether the stream is between two blocks. */
static bool stream_is_between(const struct stream *stream)
{
    return stream->line_len == 0 && stream->id[0] == '\0' && stream->data_lines == 0 &&
           stream->type[0] == '\0' && stream->retry_ms < 0;
}

static void stream_body_byte(struct stream *stream, char c)
{
    if (!stream->joined) {
        return; /* of a refusal */
    }
    if (stream_is_between(stream)) {
        stream->block_stamp = stream->stamp;
    }
    if (c == '\n') {
        stream->line[stream->line_len] = '\0';
        stream->line_len = 0;
        stream_line(stream, stream->line);
    } else if (c == '\r' || c == '\0' || stream->line_len + 1 >= line_max) {
        fail(stream, "a byte %d in the stream, or an endless line", c);
    } else {
        stream->line[stream->line_len++] = c;
    }
}

static void stream_byte(struct stream *stream, char c)
{
    switch (answer_byte(&stream->answer, c)) {
    case ANSWER_NOTHING:
    case ANSWER_FINISHED:
        break;
    case ANSWER_HEAD_READ:
        stream_head(stream);
        break;
    case ANSWER_BODY_BYTE:
        stream_body_byte(stream, c);
        break;
    case ANSWER_PIECE_END:
        if (!stream_is_between(stream)) {
            fail(stream, "a chunk ends inside a block");
        }
        break;
    case ANSWER_BAD:
        fail(stream, "%s", stream->answer.problem);
        break;
    }
}

/* The hub has ended the stream, and maybe closed the connection. */
static void stream_ended(struct stream *stream)
{
    bool is_carried = stream->is_carried;
    bool told =
        is_carried ? stream->carried.is_in_order : stream->answer.state == ANSWER_UNTIL_CLOSE;
    bool in_order = stream->answer.state == ANSWER_DONE || (told && stream_is_between(stream));
    bool refused = stream->answer.status != 0 && !stream->joined;
    bool was_cut = is_carried ? stream->carried.was_cut : stream->connection->was_cut;
    bool was_slow = patience_may_end(stream->patience.longest_ms) ||
                    (is_carried && patience_may_end(stream->carried.quiet_ms));
    world_trace("stream %u: ended%s", stream->number, in_order ? " in order" : "");
    if (is_carried && stream->carried.was_lost) {
        /* Another one has lost the connection that they shared. */
    } else if (world.phase == PHASE_DRAIN) {
        if (stream->joined && !in_order && !was_cut && !world_may_close() && !stream->leaving &&
            !world.stopping) {
            fail(stream, "the stream was cut off by the drain");
        }
    } else if (!stream->leaving && !world_may_close() && !refused && !was_slow) {
        fail(stream, "the hub closed the connection");
    }
    stream_drop(stream, false);
}

static void stream_read(struct stream *stream)
{
    char bytes[4096];
    for (unsigned i = 0; i < 8 && world_is_good(); i++) {
        size_t len = stream_take(stream, bytes, sizeof(bytes));
        for (size_t j = 0; j < len && world_is_good(); j++) {
            stream_byte(stream, bytes[j]);
        }
        if (len == 0) {
            return;
        }
        stream_look(stream, true);
    }
}

/* Vanishing, and pausing. */
static bool stream_misbehaves(struct stream *stream)
{
    if (world.options.slow_readers && sim_below(100) == 0) {
        stream->stalled_until = sim_net.step + sim_below(20ULL * world.options.subscribers + 3000);
        world_trace("stream %u: reads nothing for a while", stream->number);
    }
    if (world.options.timeouts && stream->joined && sim_below(300) == 0) {
        stream->patience.gone = true;
        world_trace("stream %u: reads nothing any more", stream->number);
    }
    if (!world.options.resets || sim_below(world.options.fickle ? 40 : 250) != 0) {
        return false;
    }
    if (stream->joined && !stream->is_carried && sim_chance(30)) {
        world_trace("stream %u: finishes sending", stream->number);
        sim_finish(stream->connection);
        stream->leaving = true;
        return false;
    }
    world_trace("stream %u: drops the connection", stream->number);
    stream_drop(stream, sim_chance(stream->is_carried ? 20 : 70));
    return true;
}

void subscriber_step(unsigned index)
{
    struct stream *stream = &streams[index];
    bool calm = world.phase != PHASE_RUN;
    if (!stream_is_there(stream)) {
        if (world.phase != PHASE_DRAIN) {
            stream_begin(stream);
        }
        return;
    }
    stream_look(stream, false);
    if ((!calm && stream->stalled_until > sim_net.step) || stream_is_gone(stream)) {
        return;
    }
    if (!calm && stream_misbehaves(stream)) {
        return;
    }
    if (stream->request_sent < stream->request_len) {
        stream->request_sent +=
            sim_write(stream->connection, stream->request + stream->request_sent,
                      stream->request_len - stream->request_sent);
    }
    stream_read(stream);
    if (stream->answer.state == ANSWER_DONE && !stream->joined && world_is_good()) {
        stream_drop(stream, false); /* refused: another time */
    } else if (world_is_good() &&
               (stream->answer.state == ANSWER_DONE || stream_is_at_end(stream))) {
        stream_ended(stream);
    }
}

/* ---- At the end ---- */

/* What the stream still has to get; 0: nothing. */
static uint64_t stream_lacks(const struct stream *stream)
{
    for (uint64_t i = stream->cursor + 1; i <= model.sequence; i++) {
        const struct event *event = &model.events[i];
        bool optional = (stream->same_step_optional && event->step == stream->joined_step) ||
                        (stream->cursor_unknown && event->step <= stream->joined_step);
        if (set_has(stream->set, event->source) && !optional &&
            (event_is_retained(event, sim_net.step) || i > stream->told)) {
            return i;
        }
    }
    return 0;
}

static bool stream_is_done(const struct stream *stream)
{
    if (!stream->joined && (world.options.crowded || world.options.few_channels)) {
        return true; /* there may be no room for it */
    }
    return stream_is_there(stream) && stream->joined && !stream->leaving &&
           !stream->patience.gone && stream->gap[0] == '\0' && stream_lacks(stream) == 0;
}

bool subscribers_are_gone(void)
{
    bool gone = false;
    for (unsigned i = 0; i < world.options.subscribers; i++) {
        gone |= stream_is_there(&streams[i]) && streams[i].patience.gone;
    }
    return gone;
}

bool subscribers_are_done(void)
{
    for (unsigned i = 0; i < world.options.subscribers; i++) {
        if (!stream_is_done(&streams[i])) {
            return false;
        }
    }
    return true;
}

void subscribers_describe(void)
{
    for (unsigned i = 0; i < world.options.subscribers; i++) {
        const struct stream *stream = &streams[i];
        if (!stream_is_done(stream)) {
            fail(stream, "it waits: %s, %s, event %llu, lacks event %llu",
                 stream_is_there(stream) ? "connected" : "not connected",
                 stream->joined ? "joined" : "without an answer",
                 (unsigned long long)stream->cursor, (unsigned long long)stream_lacks(stream));
            return;
        }
    }
}

void subscribers_check_heartbeats(uint64_t since_ms)
{
    uint64_t interval_ms = (uint64_t)world.hub.config->heartbeat_seconds * 1000;
    for (unsigned i = 0; i < world.options.subscribers; i++) {
        const struct stream *stream = &streams[i];
        if (!stream_is_there(stream) || !stream->joined || stream->leaving) {
            continue;
        }
        uint64_t said_ms = stream->is_carried ? carried_said_ms(&stream->carried)
                                              : stream->connection->last_said_ms;
        if (sim_net.now_ms - max_u64(said_ms, since_ms) > interval_ms * 2) {
            fail(&streams[i], "no word for %llu ms",
                 (unsigned long long)(sim_net.now_ms - said_ms));
        }
    }
}

void subscribers_check_count(void)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < world.options.subscribers; i++) {
        count += stream_is_there(&streams[i]) && streams[i].joined;
    }
    if (count != world.hub.sequencer.subscribers) {
        world_fail("%llu streams are there, the hub has %llu subscribers",
                   (unsigned long long)count, (unsigned long long)world.hub.sequencer.subscribers);
    }
}

unsigned subscribers_named(unsigned client)
{
    unsigned count = 0;
    for (unsigned i = 0; i < world.options.subscribers; i++) {
        count +=
            stream_is_there(&streams[i]) && streams[i].joined && streams[i].client == (int)client;
    }
    return count;
}
