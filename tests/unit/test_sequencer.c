/*
 * The sequencer against a naive model: every event ever published, who listened, and what each
 * channel still remembers. SPATE_TEST_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "core/base/memory.h"
#include "core/feed.h"
#include "core/sequencer.h"
#include "tests/unit/seeded.h"

enum {
    CHANNELS = 6,
    EVERYBODY = CHANNELS,
    SHARDS = 2,
    EVENTS_MAX = 20000,
    SUBSCRIBERS = 10,
    BATCH_MAX = 20, /* more than what fits on the sequencer's stack */
    EPOCH = 77,
};

struct event {
    unsigned channel;
    uint64_t sequence;
    uint64_t size;
    uint64_t published_ms;
    bool retained;
};

struct channel_model {
    uint64_t lost; /* the newest event that is not retained */
    uint64_t retained_count;
    uint64_t retained_bytes;
    uint64_t subscribers;
    bool seen; /* by the walk under way */
    uint64_t under_way[SHARDS];
};

/* What the shard's queue must give next. */
struct shard_model {
    struct queue queue;
    struct feed *feeds[CHANNELS + 1];
    unsigned listeners[CHANNELS + 1];
    unsigned events[EVENTS_MAX];
    unsigned first;
    unsigned end;
    uint64_t bytes;
};

struct subscriber_model {
    bool in;
    unsigned shard;
    unsigned count;
    unsigned channels[CHANNELS];
    struct feed *feeds[CHANNELS];
};

struct model {
    struct random random;
    struct sequencer sequencer;
    struct sequencer_options options;
    struct event events[EVENTS_MAX];
    unsigned event_count;
    struct channel_model channels[CHANNELS + 1];
    struct shard_model shards[SHARDS];
    struct subscriber_model subscribers[SUBSCRIBERS];
    uint64_t subscriber_count;
    uint64_t refused_full;
    uint64_t now_ms;
};

static uint64_t run_seed;

static struct channel_name name_of(unsigned channel)
{
    static const char *const names[CHANNELS] = {"a", "a", "news", "b", "c", "long name"};
    if (channel == EVERYBODY) {
        return (struct channel_name){CHANNEL_BROADCAST, {NULL, 0}};
    }
    enum channel_kind kind = channel % 2 == 0 ? CHANNEL_PUBLIC : CHANNEL_CLIENT;
    return (struct channel_name){kind, span_of(names[channel])};
}

static bool retains(const struct model *model)
{
    return history_is_enabled(&model->options.history);
}

static uint64_t subscribers_of(const struct model *model, unsigned channel)
{
    return channel == EVERYBODY ? model->subscriber_count : model->channels[channel].subscribers;
}

/* ---- History in the model ---------------------------------------------------------------------
 */

static void model_lose(struct model *model, struct event *event)
{
    struct channel_model *channel = &model->channels[event->channel];
    event->retained = false;
    channel->retained_count--;
    channel->retained_bytes -= event->size;
    channel->lost = event->sequence;
}

static void model_trim(struct model *model, unsigned channel_index)
{
    const struct history_limits *limits = &model->options.history;
    struct channel_model *channel = &model->channels[channel_index];
    for (unsigned i = 0; i < model->event_count && channel->retained_count > 0; i++) {
        struct event *event = &model->events[i];
        if (event->channel != channel_index || !event->retained) {
            continue;
        }
        if (channel->retained_count <= limits->count_max &&
            channel->retained_bytes <= limits->bytes_max &&
            event->published_ms + limits->age_ms_max >= model->now_ms) {
            return;
        }
        model_lose(model, event);
    }
}

static void model_remember(struct model *model, unsigned channel_index, uint64_t size)
{
    struct channel_model *channel = &model->channels[channel_index];
    assert_true(model->event_count < EVENTS_MAX);
    unsigned number = model->event_count++;
    model->events[number] = (struct event){
        .channel = channel_index,
        .sequence = number + 1,
        .size = size,
        .published_ms = model->now_ms,
        .retained = true,
    };
    channel->retained_count++;
    channel->retained_bytes += size;
    if (retains(model)) {
        model_trim(model, channel_index);
    } else {
        model_lose(model, &model->events[number]);
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard_model *shard = &model->shards[i];
        if (shard->feeds[channel_index] != NULL) {
            shard->events[shard->end++] = number;
            shard->bytes += size;
            channel->under_way[i] += size;
        }
    }
}

/* ---- Looking at all channels ------------------------------------------------------------------
 */

static unsigned channel_of(struct channel_name name)
{
    for (unsigned i = 0; i < CHANNELS; i++) {
        if (name_of(i).kind == name.kind && span_equal(name_of(i).name, name.name)) {
            return i;
        }
    }
    fail();
    return 0;
}

static void visit_channel(void *context, const struct channel_info *info)
{
    struct model *model = context;
    struct channel_name name = {info->kind, info->name};
    struct channel_model *channel = &model->channels[channel_of(name)];
    assert_false(channel->seen);
    channel->seen = true;
    assert_int_equal(info->hash, sequencer_hash(&model->sequencer, name));
    assert_int_equal(info->subscribers, channel->subscribers);
    assert_int_equal(info->retained_count, channel->retained_count);
    assert_int_equal(info->retained_bytes, channel->retained_bytes);
}

static uint64_t walk_all(struct model *model)
{
    uint64_t count = 0;
    struct channel_walk walk = {0};
    for (unsigned i = 0; i < CHANNELS; i++) {
        model->channels[i].seen = false;
    }
    unsigned limit = 1 + (unsigned)random_below(&model->random, 4);
    unsigned pages = 0;
    while (sequencer_walk(&model->sequencer, &walk, limit, visit_channel, model)) {
        assert_true(++pages <= CHANNELS);
    }
    for (unsigned i = 0; i < CHANNELS; i++) {
        const struct channel_model *channel = &model->channels[i];
        bool used = channel->subscribers > 0 || channel->retained_count > 0;
        assert_true(channel->seen || !used);
        count += channel->seen;
    }
    return count;
}

static void verify(struct model *model)
{
    struct sequencer_stats stats;
    uint64_t bytes = 0;
    for (unsigned i = 0; i <= CHANNELS; i++) {
        bytes += model->channels[i].retained_bytes;
    }
    uint64_t count = walk_all(model);
    sequencer_get_stats(&model->sequencer, &stats);
    assert_int_equal(stats.sequence, model->event_count);
    assert_int_equal(stats.published, model->event_count);
    assert_int_equal(stats.subscribers, model->subscriber_count);
    assert_int_equal(stats.channels, count);
    assert_true(stats.channels <= model->options.channel_count_max);
    assert_int_equal(stats.history_bytes, bytes);
    assert_int_equal(stats.refused_full, model->refused_full);
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard_model *shard = &model->shards[i];
        assert_int_equal(queue_tail(&shard->queue), shard->end);
        assert_int_equal(queue_bytes(&shard->queue), shard->bytes);
    }
}

/* ---- Publishing -------------------------------------------------------------------------------
 */

struct batch {
    unsigned count;
    unsigned channels[BATCH_MAX];
    uint64_t sizes[BATCH_MAX];
    struct publication publications[BATCH_MAX];
};

static void batch_make(struct model *model, struct batch *batch)
{
    uint64_t wanted = one_in(&model->random, 6) ? BATCH_MAX : 4;
    batch->count = (unsigned)random_below(&model->random, wanted + 1);
    for (unsigned i = 0; i < batch->count; i++) {
        size_t len = EVENT_ID_LEN + random_below(&model->random, 200);
        batch->channels[i] = (unsigned)random_below(&model->random, CHANNELS + 1);
        struct frame *frame = frame_of(len, 0, 0);
        assert_non_null(frame);
        batch->sizes[i] = frame_size(frame);
        batch->publications[i] = (struct publication){
            .channel = name_of(batch->channels[i]),
            .frame = frame,
            .needs_subscriber = one_in(&model->random, 8),
        };
    }
}

static bool event_is_refused(const struct model *model, unsigned channel, uint64_t size,
                             uint32_t needed[SHARDS])
{
    for (unsigned i = 0; i < SHARDS; i++) {
        const struct shard_model *shard = &model->shards[i];
        if (shard->feeds[channel] == NULL) {
            continue;
        }
        uint64_t under_way = model->channels[channel].under_way[i];
        needed[i]++;
        if (shard->end - shard->first + needed[i] > queue_capacity(&shard->queue) ||
            shard->bytes > model->options.queue_bytes_max ||
            (under_way > 0 && under_way + size > model->options.feed_bytes_max)) {
            return true;
        }
    }
    return false;
}

/* What must come of the batch, if memory suffices. */
static enum publish_outcome batch_expect(struct model *model, const struct batch *batch)
{
    uint32_t needed[SHARDS] = {0};
    uint64_t exist = walk_all(model);
    for (unsigned i = 0; i < batch->count; i++) {
        unsigned channel = batch->channels[i];
        if (batch->publications[i].needs_subscriber && subscribers_of(model, channel) == 0) {
            return PUBLISH_NO_SUBSCRIBER;
        }
        if (channel != EVERYBODY && retains(model) && !model->channels[channel].seen) {
            if (exist >= model->options.channel_count_max) {
                return PUBLISH_CHANNEL_LIMIT;
            }
            exist++;
            model->channels[channel].seen = true;
        }
        if (event_is_refused(model, channel, batch->sizes[i], needed)) {
            return PUBLISH_FULL;
        }
    }
    return PUBLISH_DONE;
}

static void batch_published(struct model *model, const struct batch *batch,
                            const struct shard_set *shards)
{
    bool concerned[SHARDS] = {false};
    for (unsigned i = 0; i < batch->count; i++) {
        unsigned channel = batch->channels[i];
        assert_int_equal(batch->publications[i].sequence, model->event_count + 1);
        assert_int_equal(batch->publications[i].subscribers, subscribers_of(model, channel));
        for (unsigned j = 0; j < SHARDS; j++) {
            concerned[j] = concerned[j] || model->shards[j].feeds[channel] != NULL;
        }
        model_remember(model, channel, batch->sizes[i]);
    }
    for (unsigned j = 0; j < SHARDS; j++) {
        assert_int_equal(shard_set_has(shards, j), concerned[j]);
    }
}

static void step_publish(struct model *model)
{
    struct batch batch;
    struct shard_set shards;
    batch_make(model, &batch);
    enum publish_outcome expected = batch_expect(model, &batch);
    bool may_fail = one_in(&model->random, 4);
    memory_inject_failures(random_next(&model->random), may_fail ? UINT32_MAX / 4 : 0);
    enum publish_outcome outcome = sequencer_publish(&model->sequencer, batch.publications,
                                                     batch.count, model->now_ms, &shards);
    memory_inject_failures(0, 0);
    assert_true(outcome == expected || (may_fail && outcome == PUBLISH_NO_MEMORY));
    model->refused_full += outcome == PUBLISH_FULL;
    if (outcome == PUBLISH_DONE) {
        batch_published(model, &batch, &shards);
        return;
    }
    /* None of it: the frames are ours still, and verify() finds nothing changed. */
    for (unsigned i = 0; i < batch.count; i++) {
        assert_int_equal(batch.publications[i].frame->references, 1);
        frame_unref(batch.publications[i].frame);
    }
}

/* ---- Shards -----------------------------------------------------------------------------------
 */

static void step_pop(struct model *model)
{
    unsigned shard_index = (unsigned)random_below(&model->random, SHARDS);
    struct shard_model *shard = &model->shards[shard_index];
    uint64_t count = random_below(&model->random, 12);
    for (uint64_t i = 0; i < count; i++) {
        struct queue_entry entry;
        bool popped = queue_pop(&shard->queue, &entry);
        assert_int_equal(popped, shard->first < shard->end);
        if (!popped) {
            break;
        }
        const struct event *event = &model->events[shard->events[shard->first++]];
        assert_int_equal(entry.sequence, event->sequence);
        assert_int_equal(entry.frame->sequence, event->sequence);
        assert_ptr_equal(entry.feed, shard->feeds[event->channel]);
        shard->bytes -= event->size;
        model->channels[event->channel].under_way[shard_index] -= event->size;
        feed_skip(entry.feed, entry.frame);
    }
    queue_release(&shard->queue);
}

static void step_subscribe(struct model *model, struct subscriber_model *subscriber)
{
    struct channel_name names[CHANNELS];
    unsigned first = (unsigned)random_below(&model->random, CHANNELS);
    *subscriber =
        (struct subscriber_model){.shard = (unsigned)random_below(&model->random, SHARDS)};
    subscriber->count = (unsigned)random_below(&model->random, 4);
    for (unsigned i = 0; i < subscriber->count; i++) {
        subscriber->channels[i] = (first + i) % CHANNELS;
        names[i] = name_of(subscriber->channels[i]);
    }
    struct shard_model *shard = &model->shards[subscriber->shard];
    bool may_fail = one_in(&model->random, 4);
    uint64_t sequence = 0;
    memory_inject_failures(random_next(&model->random), may_fail ? UINT32_MAX / 4 : 0);
    enum subscribe_outcome outcome = sequencer_subscribe(
        &model->sequencer, subscriber->shard, channel_names(names, subscriber->count),
        model->now_ms, subscriber->feeds, &sequence);
    memory_inject_failures(0, 0);
    assert_true(outcome != SUBSCRIBE_NO_MEMORY || may_fail);
    /* Also of a refused one, the feeds that were made are the shard's to detach. */
    for (unsigned i = 0; i < subscriber->count && subscriber->feeds[i] != NULL; i++) {
        struct feed **feed = &shard->feeds[subscriber->channels[i]];
        assert_true(*feed == NULL || *feed == subscriber->feeds[i]);
        *feed = subscriber->feeds[i];
    }
    if (outcome != SUBSCRIBE_DONE) {
        return;
    }
    assert_int_equal(sequence, model->event_count);
    subscriber->in = true;
    model->subscriber_count++;
    for (unsigned i = 0; i < subscriber->count; i++) {
        assert_non_null(subscriber->feeds[i]);
        model->channels[subscriber->channels[i]].subscribers++;
        shard->listeners[subscriber->channels[i]]++;
    }
}

static void unsubscribe(struct model *model, struct subscriber_model *subscriber)
{
    sequencer_unsubscribe(&model->sequencer, subscriber->feeds, subscriber->count, model->now_ms);
    subscriber->in = false;
    model->subscriber_count--;
    for (unsigned i = 0; i < subscriber->count; i++) {
        model->channels[subscriber->channels[i]].subscribers--;
        model->shards[subscriber->shard].listeners[subscriber->channels[i]]--;
    }
}

/* A shard gives a feed back that nobody listens to, when its queue is empty. */
static void step_detach(struct model *model, unsigned shard_index, unsigned channel)
{
    struct shard_model *shard = &model->shards[shard_index];
    struct feed *feed = shard->feeds[channel];
    if (feed != NULL && shard->listeners[channel] == 0 && shard->first == shard->end) {
        sequencer_detach(&model->sequencer, shard_index, feed);
        feed_free(feed);
        shard->feeds[channel] = NULL;
    }
}

/* ---- Reading ----------------------------------------------------------------------------------
 */

struct reader {
    unsigned count;
    unsigned channels[CHANNELS + 1];
    struct feed *feeds[CHANNELS];
};

static bool reader_wants(const struct reader *reader, const struct event *event)
{
    bool wants = event->channel == EVERYBODY;
    for (unsigned i = 0; i < reader->count; i++) {
        wants = wants || reader->channels[i] == event->channel;
    }
    return wants;
}

static void check_read(struct model *model, const struct reader *reader,
                       const struct history_read *read, enum read_outcome outcome)
{
    uint64_t known = max_u64(read->after, read->complete_after);
    uint64_t available = max_u64(known, model->channels[EVERYBODY].lost);
    for (unsigned i = 0; i < reader->count; i++) {
        available = max_u64(available, model->channels[reader->channels[i]].lost);
    }
    assert_int_equal(outcome == READ_LAPPED, available > known);
    assert_int_equal(read->ret_available, available);
    if (outcome == READ_LAPPED) {
        assert_int_equal(read->ret_count, 0);
        return;
    }
    uint64_t bytes = 0;
    unsigned count = 0;
    unsigned i = 0;
    for (; i < model->event_count && count < read->frame_count_max && bytes < read->bytes_max;
         i++) {
        const struct event *event = &model->events[i];
        if (event->sequence > read->after && event->sequence <= read->upto && event->retained &&
            reader_wants(reader, event)) {
            assert_true(count < read->ret_count);
            assert_int_equal(read->frames[count]->sequence, event->sequence);
            assert_int_equal(frame_size(read->frames[count]), event->size);
            char id[EVENT_ID_LEN];
            event_id_write(id, EPOCH, event->sequence);
            assert_memory_equal(frame_text(read->frames[count]), id, EVENT_ID_LEN);
            bytes += event->size;
            count++;
        }
    }
    assert_int_equal(read->ret_count, count);
    for (; outcome == READ_END && i < model->event_count; i++) {
        assert_false(reader_wants(reader, &model->events[i]) && model->events[i].retained &&
                     model->events[i].sequence <= read->upto);
    }
    assert_true(outcome == READ_END || count == read->frame_count_max || bytes >= read->bytes_max);
}

static void step_read(struct model *model)
{
    struct shard_model *shard = &model->shards[random_below(&model->random, SHARDS)];
    struct reader reader = {.count = 0};
    struct frame *frames[30];
    for (unsigned i = 0; i < CHANNELS; i++) {
        if (shard->feeds[i] != NULL && one_in(&model->random, 2)) {
            reader.channels[reader.count] = i;
            reader.feeds[reader.count++] = shard->feeds[i];
        }
    }
    uint64_t back = random_below(&model->random, one_in(&model->random, 5) ? 10000 : 40);
    struct history_read read = {
        .feeds = reader.feeds,
        .feed_count = reader.count,
        .after = model->event_count - min_u64(back, model->event_count),
        .frame_count_max = 1 + (unsigned)random_below(&model->random, countof(frames)),
        .bytes_max = 1 + random_below(&model->random, 5000),
        .frames = frames,
    };
    read.upto = read.after + random_below(&model->random, 60);
    if (one_in(&model->random, 2)) {
        read.complete_after = random_below(&model->random, model->event_count + 1);
    }
    enum read_outcome outcome = sequencer_read(&model->sequencer, &read);
    check_read(model, &reader, &read, outcome);
    for (unsigned i = 0; i < read.ret_count; i++) {
        frame_unref(frames[i]);
    }
}

/* ---- The whole --------------------------------------------------------------------------------
 */

static void step_housekeeping(struct model *model)
{
    model->now_ms += random_below(&model->random, 30);
    if (one_in(&model->random, 4)) {
        unsigned channel = (unsigned)random_below(&model->random, CHANNELS + 1);
        walk_all(model);
        bool exists = channel == EVERYBODY || model->channels[channel].seen;
        assert_int_equal(sequencer_forget(&model->sequencer, name_of(channel)), exists);
        for (unsigned i = 0; i < model->event_count; i++) {
            if (model->events[i].channel == channel && model->events[i].retained) {
                model_lose(model, &model->events[i]);
            }
        }
        return;
    }
    uint64_t after = 0;
    unsigned slices = 0;
    do {
        sequencer_sweep(&model->sequencer, model->now_ms, &after, 2);
        assert_true(++slices <= CHANNELS);
    } while (after != 0);
    for (unsigned i = 0; i <= CHANNELS && retains(model); i++) {
        model_trim(model, i);
    }
}

static void model_init(struct model *model, const struct history_limits *history)
{
    memset(model, 0, sizeof(*model));
    model->now_ms = 1000;
    model->options = (struct sequencer_options){
        .shard_count = SHARDS,
        .epoch = EPOCH,
        .hash_key = {3, 4},
        .channel_count_max = CHANNELS - 1,
        .channel_idle_ms = 40,
        .history = *history,
        .history_total_bytes_max = UINT64_MAX,
        .feed_bytes_max = 800,
        .queue_bytes_max = 6000,
    };
    assert_int_equal(sequencer_init(&model->sequencer, &model->options), 0);
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard_model *shard = &model->shards[i];
        assert_int_equal(queue_init(&shard->queue, 32), 0);
        sequencer_attach_queue(&model->sequencer, i, &shard->queue);
        shard->feeds[EVERYBODY] = sequencer_broadcast_feed(&model->sequencer, i);
        assert_non_null(shard->feeds[EVERYBODY]);
    }
}

static void model_fini(struct model *model)
{
    for (unsigned i = 0; i < SUBSCRIBERS; i++) {
        if (model->subscribers[i].in) {
            unsubscribe(model, &model->subscribers[i]);
        }
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        while (model->shards[i].first < model->shards[i].end) {
            step_pop(model);
        }
        for (unsigned j = 0; j <= CHANNELS; j++) {
            step_detach(model, i, j);
        }
        queue_fini(&model->shards[i].queue);
    }
    sequencer_fini(&model->sequencer);
}

static void model_step(struct model *model)
{
    struct subscriber_model *subscriber =
        &model->subscribers[random_below(&model->random, SUBSCRIBERS)];
    switch (random_below(&model->random, 10)) {
    case 0:
        if (subscriber->in) {
            unsubscribe(model, subscriber);
        } else {
            step_subscribe(model, subscriber);
        }
        break;
    case 1:
        step_detach(model, (unsigned)random_below(&model->random, SHARDS),
                    (unsigned)random_below(&model->random, CHANNELS));
        break;
    case 2:
        step_housekeeping(model);
        break;
    case 3:
    case 4:
        step_read(model);
        break;
    case 5:
    case 6:
    case 7:
        step_pop(model);
        break;
    default:
        step_publish(model);
        break;
    }
}

static void test_sequencer_is_its_model(void **state)
{
    (void)state;
    static const struct history_limits limits[] = {
        {0, 0, 0},
        {5, 1 << 20, 1 << 20},
        {1 << 20, 1500, 1 << 20},
        {50, 1 << 20, 40},
    };
    static struct model model;
    uint64_t refused_full = 0;
    for (unsigned i = 0; i < 2 * countof(limits); i++) {
        model_init(&model, &limits[i % countof(limits)]);
        random_init(&model.random, run_seed + i);
        for (unsigned step = 0; step < 6000; step++) {
            model_step(&model);
            verify(&model);
        }
        assert_true(model.event_count > 200);
        refused_full += model.refused_full;
        model_fini(&model);
    }
    assert_true(refused_full > 5);
}

int main(void)
{
    run_seed = seed_of_run();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sequencer_is_its_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
