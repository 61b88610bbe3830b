#include "tests/sim/model.h"

#include <stdio.h>
#include <stdlib.h>

#include "hub/shard.h"
#include "tests/sim/world.h"

struct model model;

void model_reset(void)
{
    for (unsigned i = 0; i < model.message_count; i++) {
        free(model.messages[i].data);
    }
    for (unsigned i = 0; i < SOURCE_COUNT; i++) {
        model.source_counts[i] = model.retained_from[i] = 0;
        model.changed_step[i] = model.deleted_step[i] = 0;
    }
    model.message_count = 0;
    model.sequence = 0;
    model.wall_went_back = false;
}

void model_id(char text[EVENT_ID_LEN + 1], uint64_t sequence)
{
    event_id_write(text, world.hub.epoch, sequence);
    text[EVENT_ID_LEN] = '\0';
}

uint64_t model_parse_id(const char *text)
{
    uint64_t epoch = 0;
    uint64_t sequence = 0;
    bool good = event_id_parse(span_of(text), &epoch, &sequence);
    return good && epoch == world.hub.epoch ? sequence : UINT64_MAX;
}

/* ---- Messages ---- */

/* Data with everything that a stream has to take care of. */
static char *random_data(unsigned number, size_t len)
{
    static const char *const pieces[] = {"\n",       "\r",     "\r\n", ":",        " ",
                                         "\xc3\xa9", "data: ", "\n\n", "id: 7\n",  "event: x\n",
                                         "\"",       "\\",     "\t",   "0\r\n\r\n"};
    char *data = malloc(len + 64);
    CHECK(data != NULL);
    size_t at = (size_t)snprintf(data, 32, "~%u~", number);
    bool plain = sim_chance(50);
    while (at < len) {
        if (!plain && sim_chance(20)) {
            const char *piece = pieces[sim_below(countof(pieces))];
            memcpy(data + at, piece, strlen(piece));
            at += strlen(piece);
        } else {
            data[at++] = (char)('a' + sim_below(26));
        }
    }
    data[at] = '\0';
    return data;
}

struct message *model_message(unsigned source, unsigned batch)
{
    if (model.message_count == MESSAGES_MAX) {
        return NULL;
    }
    struct message *message = &model.messages[model.message_count];
    size_t len = (size_t)sim_below(sim_chance(15) ? world.options.data_max : 60);
    *message = (struct message){.source = source, .retry_ms = -1, .batch = batch};
    message->data = random_data(model.message_count, len);
    if (sim_chance(30)) {
        snprintf(message->type, sizeof(message->type), "t%u", (unsigned)sim_below(100));
    }
    if (sim_chance(10)) {
        message->retry_ms = (int64_t)sim_below(100000);
    }
    model.message_count++;
    return message;
}

/* ---- What happens ---- */

struct history_limits model_limits(unsigned source)
{
    const struct sequencer_options *options = &world.hub.sequencer.options;
    struct span name = source_name(source).name;
    for (unsigned i = 0; source < PUBLIC_MAX && i < options->history_rule_count; i++) {
        if (span_equal(options->history_rules[i].pattern.prefix, name)) {
            return options->history_rules[i].limits;
        }
    }
    return options->history;
}

static unsigned source_of(struct channel_name name)
{
    for (unsigned i = 0; i < SOURCE_COUNT; i++) {
        struct channel_name other = source_name(i);
        if (other.kind == name.kind &&
            (name.kind == CHANNEL_BROADCAST || span_equal(other.name, name.name))) {
            return i;
        }
    }
    return SOURCE_COUNT;
}

/* The message whose data is in a frame, by its number. */
static struct message *message_in(struct frame *frame)
{
    /* Behind the id, whose place is not written yet: it holds whatever was there in memory. */
    size_t begin = frame->id_offset + EVENT_ID_LEN;
    const char *text = frame_text(frame) + begin;
    const char *mark = memchr(text, '~', frame->text_len - begin);
    if (mark == NULL) {
        return NULL;
    }
    unsigned long number = strtoul(mark + 1, NULL, 10);
    return number < model.message_count ? &model.messages[number] : NULL;
}

/* What is about to be published; afterwards the frame is not the publisher's any more. */
struct pending {
    unsigned source;
    struct message *message;
    uint64_t size;
};

static void event_add(const struct pending *pending, uint64_t sequence, uint64_t now_ms)
{
    struct message *message = pending->message;
    unsigned source = pending->source;
    CHECK(sequence < EVENTS_MAX);
    if (sequence != model.sequence + 1) {
        world_fail("event %llu follows event %llu", (unsigned long long)sequence,
                   (unsigned long long)model.sequence);
    }
    model.sequence = sequence;
    model.events[sequence] = (struct event){.source = SOURCE_COUNT,
                                            .step = sim_net.step,
                                            .wall_ms = now_ms,
                                            .size = pending->size,
                                            .evicted_step = UINT64_MAX};
    if (source == SOURCE_COUNT || message == NULL) {
        return; /* the hub's own, on its system channels */
    }
    unsigned number = (unsigned)(message - model.messages);
    world_trace("hub: event %llu is message %u on %s", (unsigned long long)sequence, number,
                source_text(source));
    if (message->sequence != 0) {
        world_fail("message %u was published twice", number);
    } else if (message->refused) {
        world_fail("message %u was published after a refusal", number);
    } else if (message->source != source) {
        world_fail("message %u was published to %s instead of %s", number, source_text(source),
                   source_text(message->source));
    }
    message->sequence = sequence;
    model.events[sequence].source = source;
    model.events[sequence].message = number;
    model.sources[source][model.source_counts[source]++] = sequence;
    model.changed_step[source] = sim_net.step;
}

/* Who listens, counted where they are. */
static uint64_t listeners_of(unsigned source)
{
    const struct channel *channel = source_channel(source);
    uint64_t count = 0;
    for (unsigned i = 0; channel != NULL && i < channel->feed_count; i++) {
        count += channel->feeds[i]->member_count;
    }
    return count;
}

struct room {
    unsigned needed[SHARDS_MAX];
    bool full;
    uint64_t listeners[SOURCE_COUNT + 1];
};

/* Whether this many events may be too many for somebody; counted before they are published. */
static void room_look(struct room *room, const struct publication *publications, unsigned count)
{
    memset(room, 0, sizeof(*room));
    const struct sequencer_options *options = &world.hub.sequencer.options;
    for (unsigned i = 0; i < SOURCE_COUNT; i++) {
        room->listeners[i] = listeners_of(i);
    }
    for (unsigned i = 0; i < count; i++) {
        unsigned source = source_of(publications[i].channel);
        const struct channel *channel = source == SOURCE_COUNT ? NULL : source_channel(source);
        for (unsigned j = 0; channel != NULL && j < channel->feed_count; j++) {
            const struct feed *feed = channel->feeds[j];
            const struct queue *queue = &world.hub.shards[feed->shard]->queue;
            uint64_t under_way = feed->pushed_bytes - feed->released_bytes;
            unsigned needed = ++room->needed[feed->shard];
            room->full |= queue->pushed - queue->head + needed > queue->mask + 1 ||
                          queue->bytes_pushed - queue->bytes_released > options->queue_bytes_max ||
                          (under_way > 0 &&
                           under_way + frame_size(publications[i].frame) > options->feed_bytes_max);
        }
    }
}

static void refusal_check(enum publish_outcome outcome, unsigned source, const struct room *room)
{
    if (outcome == PUBLISH_FULL && !room->full) {
        world_fail("a publish was refused as if something were full");
    } else if (outcome == PUBLISH_NO_SUBSCRIBER && room->listeners[source] > 0) {
        world_fail("%s was said not to be connected", source_text(source));
    } else if (outcome == PUBLISH_NO_MEMORY && !world.options.memory) {
        world_fail("a publish was refused as if there were no memory");
    } else if (outcome == PUBLISH_CHANNEL_LIMIT && !world.options.few_channels) {
        world_fail("a publish was refused as if there were too many channels");
    }
}

enum publish_outcome __real_sequencer_publish(struct sequencer *sequencer,
                                              struct publication *publications, unsigned count,
                                              uint64_t now_ms, struct shard_set *ret_shards);
enum publish_outcome __wrap_sequencer_publish(struct sequencer *sequencer,
                                              struct publication *publications, unsigned count,
                                              uint64_t now_ms, struct shard_set *ret_shards);

enum publish_outcome __wrap_sequencer_publish(struct sequencer *sequencer,
                                              struct publication *publications, unsigned count,
                                              uint64_t now_ms, struct shard_set *ret_shards)
{
    static struct pending pending[BATCH_MAX];
    struct room room;
    CHECK(count <= BATCH_MAX);
    room_look(&room, publications, count);
    for (unsigned i = 0; i < count; i++) {
        pending[i] =
            (struct pending){source_of(publications[i].channel), message_in(publications[i].frame),
                             frame_size(publications[i].frame)};
    }
    enum publish_outcome outcome =
        __real_sequencer_publish(sequencer, publications, count, now_ms, ret_shards);
    if (outcome == PUBLISH_DONE && room.full) {
        world_fail("more was published than there is room for");
    }
    if (outcome != PUBLISH_DONE) {
        world_trace("hub: publish refused (%d)", (int)outcome);
        refusal_check(outcome, pending[0].source, &room);
        return outcome;
    }
    for (unsigned i = 0; i < count; i++) {
        unsigned source = pending[i].source;
        event_add(&pending[i], publications[i].sequence, now_ms);
        if (source < SOURCE_COUNT && publications[i].subscribers != room.listeners[source]) {
            world_fail("%s has %llu subscribers, not %llu", source_text(source),
                       (unsigned long long)room.listeners[source],
                       (unsigned long long)publications[i].subscribers);
        }
    }
    return outcome;
}

/* ---- What is retained ---- */

/* Why it was let go; `evicted_bytes` is what all channels let go of in this step. */
static void eviction_check(unsigned source, const struct channel *channel,
                           const struct event *newest, uint64_t evicted_bytes)
{
    struct history_limits limits = model_limits(source);
    const struct sequencer *sequencer = &world.hub.sequencer;
    uint64_t wall_ms = world_wall_ms();
    uint64_t count = channel == NULL ? 0 : channel->history.count;
    uint64_t bytes = channel == NULL ? 0 : channel->history.bytes;
    if (limits.count_max == 0 || limits.bytes_max == 0 || limits.age_ms_max == 0 ||
        count + 1 > limits.count_max || bytes + newest->size > limits.bytes_max ||
        (wall_ms > newest->wall_ms && wall_ms - newest->wall_ms > limits.age_ms_max) ||
        model.deleted_step[source] != 0) {
        return;
    }
    if (sequencer->history_bytes + evicted_bytes <= sequencer->options.history_total_bytes_max) {
        world_fail("%s let an event go with %llu of %u events and %llu of %llu bytes",
                   source_text(source), (unsigned long long)count, limits.count_max,
                   (unsigned long long)bytes, (unsigned long long)limits.bytes_max);
        return;
    }
    for (unsigned i = 0; i < SOURCE_COUNT; i++) {
        const struct channel *other = source_channel(i);
        uint64_t slack = evicted_bytes + world.options.data_max + 1000;
        if (other != NULL && (bytes + slack) * 4 < other->history.bytes * 3) {
            world_fail("%s let an event go for want of room, and %s has more", source_text(source),
                       source_text(i));
        }
    }
}

static void retained_check(unsigned source, const struct channel *channel)
{
    struct history_limits limits = model_limits(source);
    const struct history *history = &channel->history;
    unsigned from = model.retained_from[source];
    if (history->count != model.source_counts[source] - from) {
        world_fail("%s retains %u events, but %u were published since its first",
                   source_text(source), history->count, model.source_counts[source] - from);
        return;
    }
    uint64_t bytes = 0;
    for (unsigned i = 0; i < history->count; i++) {
        struct frame *frame = history_at(history, i);
        bytes += frame_size(frame);
        if (frame->sequence != model.sources[source][from + i]) {
            world_fail("%s retains event %llu out of order", source_text(source),
                       (unsigned long long)frame->sequence);
        }
    }
    if (bytes != history->bytes || history->count > limits.count_max || bytes > limits.bytes_max) {
        world_fail("%s retains %u of %u events, %llu of %llu bytes (it says %llu)",
                   source_text(source), history->count, limits.count_max, (unsigned long long)bytes,
                   (unsigned long long)limits.bytes_max, (unsigned long long)history->bytes);
    }
    if (from > 0 && history->evicted_sequence < model.sources[source][from - 1]) {
        world_fail("%s has forgotten that event %llu is gone", source_text(source),
                   (unsigned long long)model.sources[source][from - 1]);
    }
    if (history->evicted_sequence > (from > 0 ? model.sources[source][from - 1] : 0) &&
        world.hub.sequencer.forgotten_sequence == 0) {
        world_fail("%s says that event %llu is gone", source_text(source),
                   (unsigned long long)history->evicted_sequence);
    }
}

/* Notes what a channel has let go of: its newest, or NULL. */
static struct event *source_look(unsigned source, uint64_t *bytes)
{
    const struct channel *channel = source_channel(source);
    unsigned count = model.source_counts[source];
    unsigned before = model.retained_from[source];
    unsigned from = count;
    if (channel != NULL && channel->history.count > 0) {
        uint64_t first = history_at(&channel->history, 0)->sequence;
        for (from = 0; from < count && model.sources[source][from] < first;) {
            from++;
        }
    }
    if (from < before) {
        world_fail("%s retains again what it had let go", source_text(source));
        return NULL;
    }
    struct event *newest = NULL;
    for (unsigned i = before; i < from; i++) {
        newest = &model.events[model.sources[source][i]];
        newest->evicted_step = sim_net.step;
        *bytes += newest->size;
        model.changed_step[source] = sim_net.step;
    }
    model.retained_from[source] = from;
    return newest;
}

void model_look(void)
{
    struct event *newest[SOURCE_COUNT];
    uint64_t bytes = 0;
    for (unsigned i = 0; i < SOURCE_COUNT; i++) {
        newest[i] = source_look(i, &bytes);
    }
    for (unsigned i = 0; i < SOURCE_COUNT && world_is_good(); i++) {
        const struct channel *channel = source_channel(i);
        if (newest[i] != NULL) {
            world_trace("hub: %s lets go of everything up to event %llu", source_text(i),
                        (unsigned long long)(newest[i] - model.events));
            eviction_check(i, channel, newest[i], bytes);
        }
        if (channel != NULL && model.changed_step[i] == sim_net.step) {
            retained_check(i, channel);
        }
    }
}

uint64_t model_evicted(uint64_t set, uint64_t step)
{
    for (uint64_t i = model.sequence; i > 0; i--) {
        if (set_has(set, model.events[i].source) && !event_is_retained(&model.events[i], step)) {
            return i;
        }
    }
    return 0;
}

uint64_t model_first_retained(uint64_t set, uint64_t after, uint64_t step)
{
    for (uint64_t i = after + 1; i <= model.sequence; i++) {
        if (set_has(set, model.events[i].source) && model.events[i].step <= step &&
            event_is_retained(&model.events[i], step)) {
            return i;
        }
    }
    return 0;
}

bool model_was_changed(uint64_t set, uint64_t step)
{
    for (unsigned i = 0; i < SOURCE_COUNT; i++) {
        if (set_has(set, i) && model.changed_step[i] == step) {
            return true;
        }
    }
    /* Later changes hide earlier ones. */
    for (uint64_t i = 1; i <= model.sequence; i++) {
        const struct event *event = &model.events[i];
        if (set_has(set, event->source) && (event->step == step || event->evicted_step == step)) {
            return true;
        }
    }
    return false;
}
