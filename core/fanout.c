#include "core/fanout_parts.h"

#include <errno.h>

#include "core/base/memory.h"
#include "core/base/trace.h"

struct fanout_batch_entry {
    struct frame *frame;
    uint32_t end; /* where the frame ends in the batch */
};

/* What goes out in one send: frames in order, as one run of bytes. Lives in the turn's arena. */
struct fanout_batch {
    /* Who it is for: subscribers of `feed` (and the broadcast) at `position`. */
    const struct feed *feed;
    uint64_t position;
    uint8_t view;
    bool more; /* the limits cut it: there is more after it */
    struct span bytes;
    uint64_t end; /* the position after it */
    uint32_t entry_count;
    struct fanout_batch_entry *entries;
    struct fanout_batch *next; /* history_batches */
};

/* One send of this turn, remembered until it is final, so that the cursor can move back. */
struct fanout_delivery {
    struct subscriber *subscriber;
    struct fanout_batch *batch; /* NULL: the rest of `partial`, whose reference is held here */
    struct frame *partial;
    uint32_t partial_sent;
    uint64_t position; /* before the partial frame; a batch knows its own */
};

static void count_up(uint64_t *counter, uint64_t by)
{
    /* Relaxed, one writer: read by whoever asks for statistics. */
    __atomic_store_n(counter, *counter + by, __ATOMIC_RELAXED);
}

int fanout_init(struct fanout *fanout, struct sequencer *sequencer, struct queue *queue,
                unsigned shard, uint64_t behind_bytes_max)
{
    *fanout = (struct fanout){
        .sequencer = sequencer,
        .queue = queue,
        .shard = shard,
        .behind_bytes_max = behind_bytes_max,
        .sends_first = FANOUT_SENDS_MAX,
        .sends_most = FANOUT_SENDS_MAX,
        .sends_max = FANOUT_SENDS_MAX,
        .limits = {.visits = FANOUT_VISITS_MAX,
                   .take = FANOUT_TAKE_MAX,
                   .batch_frames = FANOUT_BATCH_FRAMES_MAX,
                   .batch_bytes = FANOUT_BATCH_BYTES_MAX,
                   .arena_bytes = FANOUT_ARENA_BYTES},
        .turn = 1,
    };
    list_init(&fanout->dirty);
    list_init(&fanout->passed);
    list_init(&fanout->idle);
    list_init(&fanout->retired);
    list_init(&fanout->ready);
    list_init(&fanout->blocked);
    fanout->deliveries = memory_alloc(FANOUT_SENDS_MAX * sizeof(fanout->deliveries[0]));
    fanout->cache = memory_calloc(FANOUT_CACHE_SIZE, sizeof(fanout->cache[0]));
    fanout->arena = memory_map(FANOUT_ARENA_BYTES);
    fanout->read_frames = memory_alloc(FANOUT_BATCH_FRAMES_MAX * sizeof(fanout->read_frames[0]));
    fanout->broadcast = sequencer_broadcast_feed(sequencer, shard);
    if (fanout->deliveries == NULL || fanout->cache == NULL || fanout->arena == NULL ||
        fanout->read_frames == NULL || fanout->broadcast == NULL) {
        fanout_fini(fanout);
        return -ENOMEM;
    }
    return 0;
}

void fanout_set_handler(struct fanout *fanout, const struct fanout_handler *handler, void *owner)
{
    fanout->handler = handler;
    fanout->owner = owner;
}

void fanout_set_sends(struct fanout *fanout, uint32_t first, uint32_t most)
{
    CHECK(first >= 1);
    CHECK(first <= most);
    CHECK(most <= FANOUT_SENDS_MAX);
    fanout->sends_first = first;
    fanout->sends_most = most;
    fanout->sends_max = first;
}

static void feed_release_frame(void *context, struct frame *frame)
{
    (void)context;
    frame_unref(frame);
}

static void drain_queue(struct fanout *fanout)
{
    struct queue_entry entry;
    while (queue_pop(fanout->queue, &entry)) {
        frame_unref(entry.frame);
    }
    queue_release(fanout->queue);
}

static void free_feeds(struct list *list)
{
    for (struct list *link = list_take(list); link != NULL; link = list_take(list)) {
        struct feed *feed = container_of(link, struct feed, idle);
        list_remove_if_linked(&feed->dirty);
        feed_free(feed);
    }
}

void fanout_fini(struct fanout *fanout)
{
    fanout_sends_final(fanout);
    while (!list_is_empty(&fanout->idle)) {
        fanout_sweep(fanout, 0);
    }
    if (fanout->broadcast != NULL) {
        sequencer_detach(fanout->sequencer, fanout->shard, fanout->broadcast);
        drain_queue(fanout);
        list_remove_if_linked(&fanout->broadcast->dirty);
        feed_free(fanout->broadcast);
    }
    free_feeds(&fanout->retired);
    memory_free(fanout->deliveries);
    memory_free(fanout->cache);
    if (fanout->arena != NULL) {
        memory_unmap(fanout->arena, FANOUT_ARENA_BYTES);
    }
    memory_free(fanout->read_frames);
}

/* ---- From the queue to the feeds ----------------------------------------------------------- */

void fanout_mark_dirty(struct fanout *fanout, struct feed *feed)
{
    if (!list_is_linked(&feed->dirty)) {
        list_append(&fanout->dirty, &feed->dirty);
    }
}

void fanout_take(struct fanout *fanout)
{
    struct queue_entry entry;
    unsigned taken = 0;
    if (list_is_empty(&fanout->dirty) && list_is_empty(&fanout->passed)) {
        profile_at_rest(fanout->profile);
    }
    while (taken < fanout->limits.take && queue_pop(fanout->queue, &entry)) {
        struct feed *feed = entry.feed;
        DCHECK(entry.sequence > fanout->dequeued);
        fanout->dequeued = entry.sequence;
        taken++;
        profile_taken(fanout->profile, entry.frame);
        if (feed->member_count == 0 && feed->window.count == 0) {
            feed_skip(feed, entry.frame);
        } else {
            feed_append(feed, entry.frame);
            fanout_mark_dirty(fanout, feed);
        }
    }
    if (taken > 0) {
        fanout->sends_max = fanout->sends_first;
        queue_release(fanout->queue);
        profile_taken_all(fanout->profile, fanout->dequeued, fanout->queue);
        count_up(&fanout->stats.taken, taken);
    }
}

/* ---- Batches ------------------------------------------------------------------------------- */

static void *arena_get(struct fanout *fanout, size_t size)
{
    size_t aligned = (size + 15) & ~(size_t)15;
    if (aligned > fanout->limits.arena_bytes - fanout->arena_used) {
        return NULL;
    }
    void *block = fanout->arena + fanout->arena_used;
    fanout->arena_used += aligned;
    return block;
}

/* The next frame after `after` in the windows of the subscriber's feeds and of the broadcast. */
static struct frame *window_next(struct fanout *fanout, struct subscriber *subscriber,
                                 uint64_t after)
{
    struct frame *next = NULL;
    for (unsigned i = 0; i <= subscriber->channel_count; i++) {
        const struct feed *feed =
            i < subscriber->channel_count ? subscriber_feed(subscriber, i) : fanout->broadcast;
        if (feed->head <= after) {
            continue;
        }
        uint32_t index = feed_find(feed, after);
        if (index < feed->window.count) {
            struct frame *frame = feed_entry_at(feed, index)->frame;
            if (next == NULL || frame->sequence < next->sequence) {
                next = frame;
            }
        }
    }
    return next;
}

static bool batch_is_full(const struct fanout *fanout, size_t bytes, size_t next_bytes,
                          unsigned count)
{
    const struct fanout_limits *limits = &fanout->limits;
    return count > 0 && (count == limits->batch_frames || bytes + next_bytes > limits->batch_bytes);
}

/* Collects frames after the subscriber's position from the windows. Returns how many. */
static unsigned gather_windows(struct fanout *fanout, struct subscriber *subscriber, bool *ret_more)
{
    enum frame_view view = (enum frame_view)subscriber->view;
    uint64_t after = subscriber->position;
    size_t bytes = 0;
    unsigned count = 0;
    for (;;) {
        struct frame *frame = window_next(fanout, subscriber, after);
        if (frame == NULL) {
            *ret_more = false;
            return count;
        }
        size_t len = frame_view(frame, view).len;
        if (batch_is_full(fanout, bytes, len, count)) {
            *ret_more = true;
            return count;
        }
        fanout->read_frames[count++] = frame;
        bytes += len;
        after = frame->sequence;
    }
}

/* True if the windows reach back to the subscriber's position in all of its channels. */
static bool windows_reach(const struct fanout *fanout, struct subscriber *subscriber)
{
    for (unsigned i = 0; i < subscriber->channel_count; i++) {
        if (subscriber->position < subscriber_feed(subscriber, i)->base) {
            return false;
        }
    }
    return subscriber->position >= fanout->broadcast->base;
}

/* Lays `count` frames out as one run of bytes: the frame itself if it is one, else a copy. */
static struct fanout_batch *batch_make(struct fanout *fanout, struct subscriber *subscriber,
                                       unsigned count)
{
    enum frame_view view = (enum frame_view)subscriber->view;
    size_t bytes = 0;
    for (unsigned i = 0; i < count; i++) {
        bytes += frame_view(fanout->read_frames[i], view).len;
    }
    struct fanout_batch *batch = arena_get(
        fanout, sizeof(*batch) + count * sizeof(batch->entries[0]) + (count > 1 ? bytes : 0));
    if (batch == NULL) {
        return NULL;
    }
    *batch = (struct fanout_batch){
        .feed = subscriber->channel_count == 0 ? fanout->broadcast : subscriber_feed(subscriber, 0),
        .position = subscriber->position,
        .view = subscriber->view,
        .end = fanout->read_frames[count - 1]->sequence,
        .entry_count = count,
        .entries = (struct fanout_batch_entry *)(batch + 1),
    };
    char *copy = (char *)(batch->entries + count);
    size_t end = 0;
    for (unsigned i = 0; i < count; i++) {
        struct span piece = frame_view(fanout->read_frames[i], view);
        if (count > 1) {
            memcpy(copy + end, piece.bytes, piece.len);
        }
        end += piece.len;
        batch->entries[i] = (struct fanout_batch_entry){fanout->read_frames[i], (uint32_t)end};
    }
    batch->bytes = count > 1 ? span_make(copy, end) : frame_view(fanout->read_frames[0], view);
    return batch;
}

static struct fanout_batch **cache_slot(struct fanout *fanout, const struct subscriber *subscriber,
                                        const struct feed *feed)
{
    uint64_t mix = (uint64_t)(uintptr_t)feed * 0x9e3779b97f4a7c15ULL +
                   subscriber->position * 0xd6e8feb86659fd93ULL + subscriber->view;
    return &fanout->cache[(mix >> 40) % FANOUT_CACHE_SIZE];
}

enum visit_outcome {
    VISIT_SENT,    /* a batch was found; there may be more after it */
    VISIT_NOTHING, /* up to date */
    VISIT_LAPPED,  /* the owner has been told */
    VISIT_LATER,   /* this turn's memory is used up */
};

/* Reads one batch for a subscriber that the windows no longer reach. Its arrays are large, so that
 * nobody else is to have them on the stack. */
static __attribute__((noinline)) enum visit_outcome
batch_from_history(struct fanout *fanout, struct subscriber *subscriber,
                   struct fanout_batch **ret_batch)
{
    struct feed *feeds[SUBSCRIBER_CHANNELS_MAX];
    /* All events up to `upto` that this subscriber needs are in history or in no channel of its. */
    uint64_t upto = max_u64(fanout->dequeued, fanout->broadcast->base);
    for (unsigned i = 0; i < subscriber->channel_count; i++) {
        feeds[i] = subscriber_feed(subscriber, i);
        upto = max_u64(upto, feeds[i]->base);
    }
    struct history_read read = {
        .feeds = feeds,
        .feed_count = subscriber->channel_count,
        .after = subscriber->position,
        .complete_after = subscriber_complete_after(subscriber),
        .upto = upto,
        .frame_count_max = fanout->limits.batch_frames,
        .bytes_max = fanout->limits.batch_bytes,
        .frames = fanout->read_frames,
    };
    if (fanout->limits.arena_bytes - fanout->arena_used < 2 * fanout->limits.batch_bytes) {
        return VISIT_LATER;
    }
    count_up(&fanout->stats.history_reads, 1);
    enum read_outcome outcome = sequencer_read(fanout->sequencer, &read);
    if (outcome == READ_LAPPED) {
        uint64_t requested = subscriber->position;
        if (fanout_set_back(subscriber, requested, read.ret_available) < 0) {
            fanout->handler->failed(fanout->owner, subscriber, -ENOMEM);
        } else {
            count_up(&fanout->stats.lapped, 1);
            fanout->handler->lapped(fanout->owner, subscriber, requested, read.ret_available);
        }
        return VISIT_LAPPED;
    }
    if (read.ret_count == 0) {
        subscriber->position = upto;
        return VISIT_NOTHING;
    }
    /* A frame that is larger than a batch goes alone: it is not copied then. */
    unsigned count = read.ret_count;
    size_t bytes = 0;
    for (unsigned i = 0; i < count; i++) {
        size_t len = frame_view(read.frames[i], (enum frame_view)subscriber->view).len;
        if (batch_is_full(fanout, bytes, len, i)) {
            for (unsigned j = i; j < read.ret_count; j++) {
                frame_unref(read.frames[j]);
            }
            count = i;
            break;
        }
        bytes += len;
    }
    struct fanout_batch *batch = batch_make(fanout, subscriber, count);
    if (batch == NULL) {
        for (unsigned i = 0; i < count; i++) {
            frame_unref(read.frames[i]);
        }
        return VISIT_LATER;
    }
    /* The batch holds the references that the read took, until the turn's sends are final. */
    batch->more = true;
    batch->next = fanout->history_batches;
    fanout->history_batches = batch;
    *ret_batch = batch;
    return VISIT_SENT;
}

static bool batch_is_for(const struct fanout_batch *batch, const struct subscriber *subscriber,
                         const struct feed *feed)
{
    return batch != NULL && batch->feed == feed && batch->position == subscriber->position &&
           batch->view == subscriber->view;
}

/* The same for a batch that was not the last one found. */
static __attribute__((noinline)) enum visit_outcome
batch_find_or_make(struct fanout *fanout, struct subscriber *subscriber,
                   struct fanout_batch **ret_batch)
{
    const struct feed *feed =
        subscriber->channel_count == 0 ? fanout->broadcast : subscriber->in.feed;
    struct fanout_batch **slot = NULL;
    if (subscriber->channel_count <= 1) {
        slot = cache_slot(fanout, subscriber, feed);
        if (batch_is_for(*slot, subscriber, feed)) {
            *ret_batch = fanout->recent = *slot;
            return VISIT_SENT;
        }
    }
    enum visit_outcome outcome = VISIT_SENT;
    if (windows_reach(fanout, subscriber)) {
        bool more = false;
        unsigned count = gather_windows(fanout, subscriber, &more);
        if (count == 0) {
            return VISIT_NOTHING;
        }
        *ret_batch = batch_make(fanout, subscriber, count);
        if (*ret_batch == NULL) {
            return VISIT_LATER;
        }
        (*ret_batch)->more = more;
    } else {
        outcome = batch_from_history(fanout, subscriber, ret_batch);
    }
    /* A batch with holes is only for those who know of them. */
    if (outcome == VISIT_SENT && slot != NULL &&
        subscriber_complete_after(subscriber) <= subscriber->position) {
        fanout->recent = *slot = *ret_batch;
    }
    return outcome;
}

/* What goes out to the subscriber next. */
static inline enum visit_outcome batch_find(struct fanout *fanout, struct subscriber *subscriber,
                                            struct fanout_batch **ret_batch)
{
    /* Of those who keep up nearly all are at one position. */
    if (likely(subscriber->channel_count == 1 &&
               batch_is_for(fanout->recent, subscriber, subscriber->in.feed))) {
        *ret_batch = fanout->recent;
        return VISIT_SENT;
    }
    return batch_find_or_make(fanout, subscriber, ret_batch);
}

/* ---- Visits -------------------------------------------------------------------------------- */

/* What catching up needs; made if it is missing. NULL without memory. */
static struct catch_up *catch_up_get(struct subscriber *subscriber)
{
    if (subscriber->catch_up == NULL) {
        struct catch_up *catch_up = memory_alloc(sizeof(*catch_up));
        if (catch_up != NULL) {
            /* Or before it; but then a lag, from the later of the two, is the same. */
            *catch_up = (struct catch_up){.joined = subscriber->position};
        }
        subscriber->catch_up = catch_up;
    }
    return subscriber->catch_up;
}

/* Once nothing in it is of use any more; and the position is not one that may be moved back. */
static void catch_up_end(const struct fanout *fanout, struct subscriber *subscriber)
{
    struct catch_up *catch_up = subscriber->catch_up;
    if (catch_up->partial == NULL && subscriber->turn != fanout->turn &&
        subscriber->position >= max_u64(catch_up->joined, catch_up->complete_after)) {
        subscriber->catch_up = NULL;
        memory_free(catch_up);
    }
}

int fanout_set_back(struct subscriber *subscriber, uint64_t position, uint64_t complete_after)
{
    bool is_needed = position < subscriber->position || complete_after > position;
    if (is_needed && catch_up_get(subscriber) == NULL) {
        return -ENOMEM;
    }
    if (subscriber->catch_up != NULL) {
        subscriber->catch_up->complete_after = complete_after;
    }
    subscriber->position = position;
    return 0;
}

void fanout_set_behind(struct fanout *fanout, struct subscriber *subscriber, bool behind)
{
    if (((subscriber->flags & SUBSCRIBER_BEHIND) != 0) == behind) {
        return;
    }
    subscriber->flags ^= SUBSCRIBER_BEHIND;
    count_up(&fanout->stats.behind, behind ? 1 : (uint64_t)-1);
    uint32_t step = behind ? 1 : UINT32_MAX;
    for (unsigned i = 0; i <= subscriber->channel_count; i++) {
        struct feed *feed =
            i < subscriber->channel_count ? subscriber_feed(subscriber, i) : fanout->broadcast;
        feed->behind_count += step;
        if (feed->behind_count == 0 && feed->window.count > 0) {
            /* The window was kept for the sake of this one: a pass will let it go. */
            fanout_mark_dirty(fanout, feed);
        }
    }
}

static void make_ready(struct fanout *fanout, struct subscriber *subscriber)
{
    fanout_set_behind(fanout, subscriber, true);
    if (!list_is_linked(&subscriber->ready)) {
        list_append(&fanout->ready, &subscriber->ready);
    }
}

/* The send with the next token, of `events` of which `first` is the first. */
static inline __attribute__((always_inline)) void delivery_send(struct fanout *fanout,
                                                                struct subscriber *subscriber,
                                                                const struct frame *first,
                                                                uint32_t events, struct span bytes)
{
    subscriber->turn = fanout->turn;
    fanout->deliveries_made += events;
    profile_send(fanout->profile, events);
    if ((subscriber->flags & SUBSCRIBER_BEHIND) != 0) {
        profile_catch_up(fanout->profile,
                         fanout->wall_ms - min_u64(fanout->wall_ms, first->published_ms));
    }
    TRACE3(send, subscriber, events, bytes.len);
    fanout->handler->send(fanout->owner, subscriber, bytes, fanout->send_count++);
}

static void send_partial(struct fanout *fanout, struct subscriber *subscriber)
{
    struct catch_up *catch_up = subscriber->catch_up;
    struct frame *frame = catch_up->partial;
    struct span bytes = frame_view(frame, (enum frame_view)subscriber->view);
    uint32_t sent = catch_up->partial_sent;
    struct fanout_delivery *delivery = &fanout->deliveries[fanout->send_count];
    *delivery = (struct fanout_delivery){subscriber, NULL, frame, sent, subscriber->position};
    /* The delivery keeps the reference until the send is final. */
    catch_up->partial = NULL;
    catch_up->partial_sent = 0;
    delivery_send(fanout, subscriber, frame, 1, span_make(bytes.bytes + sent, bytes.len - sent));
    subscriber->position = frame->sequence;
    make_ready(fanout, subscriber);
}

static void send_batch(struct fanout *fanout, struct subscriber *subscriber,
                       struct fanout_batch *batch)
{
    struct fanout_delivery *delivery = &fanout->deliveries[fanout->send_count];
    delivery->subscriber = subscriber;
    delivery->batch = batch;
    delivery_send(fanout, subscriber, batch->entries[0].frame, batch->entry_count, batch->bytes);
    subscriber->position = batch->end;
    if (batch->more) {
        make_ready(fanout, subscriber);
    } else if (unlikely((subscriber->flags & SUBSCRIBER_BEHIND) != 0)) {
        fanout_set_behind(fanout, subscriber, false);
    }
}

/* Sends the subscriber what it has not seen. False when the turn's budget is used up. */
static bool fanout_visit(struct fanout *fanout, struct subscriber *subscriber)
{
    if ((subscriber->flags & (SUBSCRIBER_HELD | SUBSCRIBER_BLOCKED)) != 0) {
        return true;
    }
    if (fanout->send_count == fanout->sends_max) {
        return false;
    }
    if (subscriber->turn == fanout->turn) {
        make_ready(fanout, subscriber);
        return true;
    }
    if ((subscriber->flags & SUBSCRIBER_BEHIND) != 0 && !lag_allows(fanout, subscriber)) {
        return true;
    }
    if (subscriber_is_inside_event(subscriber)) {
        send_partial(fanout, subscriber);
        return true;
    }
    if (unlikely(subscriber->catch_up != NULL)) {
        catch_up_end(fanout, subscriber);
    }
    struct fanout_batch *batch = NULL;
    switch (batch_find(fanout, subscriber, &batch)) {
    case VISIT_NOTHING:
        fanout_set_behind(fanout, subscriber, false);
        return true;
    case VISIT_LAPPED:
        return true;
    case VISIT_LATER:
        return false;
    case VISIT_SENT:
        break;
    }
    send_batch(fanout, subscriber, batch);
    return true;
}

/* Those who do not keep up, each by itself. */
static void run_ready(struct fanout *fanout)
{
    struct list round;
    list_init(&round);
    list_splice(&round, &fanout->ready);
    /* One at least. */
    uint32_t sends_max = (fanout->sends_max + FANOUT_READY_SHARE - 1) / FANOUT_READY_SHARE;
    while (fanout->send_count < sends_max) {
        struct list *link = list_take(&round);
        if (link == NULL) {
            return;
        }
        struct subscriber *subscriber = container_of(link, struct subscriber, ready);
        if (!fanout_visit(fanout, subscriber)) {
            make_ready(fanout, subscriber);
            break;
        }
    }
    /* Whoever was not reached keeps its place before those who were. */
    list_splice(&round, &fanout->ready);
    list_splice(&fanout->ready, &round);
}

/* Walks on through the members of one feed. False when the turn's budget is used up. */
static bool run_pass(struct fanout *fanout, struct feed *feed, uint32_t *visits)
{
    if (feed->pass_next == 0) {
        feed->pass_head = feed->head;
    }
    while (feed->pass_next < feed->member_count) {
        if (*visits == 0) {
            return false;
        }
        (*visits)--;
        struct subscriber *subscriber = feed->members[feed->pass_next];
        if (feed->pass_next + 4 < feed->member_count) {
            __builtin_prefetch(feed->members[feed->pass_next + 4]);
        }
        feed->pass_next++;
        if (subscriber->position < feed->head && (subscriber->flags & SUBSCRIBER_BEHIND) == 0 &&
            !fanout_visit(fanout, subscriber)) {
            /* The visit did not happen: the pass goes on with the same member. */
            feed->pass_next--;
            return false;
        }
    }
    feed->pass_next = 0;
    feed_set_passed(feed, feed->pass_head);
    count_up(&fanout->stats.passes, 1);
    return true;
}

void fanout_run(struct fanout *fanout)
{
    run_ready(fanout);
    uint32_t visits = fanout->limits.visits;
    struct list round;
    list_init(&round);
    list_splice(&round, &fanout->dirty);
    for (;;) {
        struct list *link = list_take(&round);
        if (link == NULL) {
            return;
        }
        struct feed *feed = container_of(link, struct feed, dirty);
        bool ended = run_pass(fanout, feed, &visits);
        /* A member that was told of a gap and left, or was released, may have marked it again. */
        list_remove_if_linked(&feed->dirty);
        if (!ended) {
            /* The others first next time, this one after them. */
            list_splice(&round, &fanout->dirty);
            list_splice(&fanout->dirty, &round);
            list_append(&fanout->dirty, &feed->dirty);
            return;
        }
        list_append(&fanout->passed, &feed->dirty);
    }
}

bool fanout_has_work(const struct fanout *fanout)
{
    return !list_is_empty(&fanout->dirty) || !list_is_empty(&fanout->ready) ||
           !list_is_empty(&fanout->passed) || fanout->send_count > 0 ||
           !queue_is_empty(fanout->queue);
}

/* ---- What became of the sends --------------------------------------------------------------- */

/* Remembers what is sent of the frame that comes next. 0 or -ENOMEM. */
static int partial_begin(struct subscriber *subscriber, struct frame *frame, uint32_t sent)
{
    struct catch_up *catch_up = catch_up_get(subscriber);
    if (catch_up == NULL) {
        return -ENOMEM;
    }
    catch_up->partial = frame_ref(frame);
    catch_up->partial_sent = sent;
    return 0;
}

/*
 * Moves the cursor back to what the kernel really took. Returns 0, or -ENOMEM: nobody knows then
 * where in an event the stream is.
 */
static int delivery_undo(struct fanout *fanout, struct fanout_delivery *delivery, uint32_t sent)
{
    struct subscriber *subscriber = delivery->subscriber;
    if (delivery->batch == NULL) {
        subscriber->position = delivery->position;
        fanout->deliveries_made--;
        return partial_begin(subscriber, delivery->partial, delivery->partial_sent + sent);
    }
    const struct fanout_batch *batch = delivery->batch;
    uint32_t begin = 0;
    uint32_t index = 0;
    subscriber->position = batch->position;
    while (batch->entries[index].end <= sent) {
        begin = batch->entries[index].end;
        subscriber->position = batch->entries[index].frame->sequence;
        index++;
        CHECK(index < batch->entry_count);
    }
    fanout->deliveries_made -= batch->entry_count - index;
    return sent == begin ? 0 : partial_begin(subscriber, batch->entries[index].frame, sent - begin);
}

void fanout_sent(struct fanout *fanout, uint32_t token, ssize_t sent)
{
    CHECK(token < fanout->send_count);
    struct fanout_delivery *delivery = &fanout->deliveries[token];
    struct subscriber *subscriber = delivery->subscriber;
    count_up(&fanout->stats.short_sends, 1);
    TRACE2(short_send, subscriber, sent);
    if (subscriber == NULL || !subscriber_is_joined(subscriber)) {
        return;
    }
    if (delivery_undo(fanout, delivery, sent > 0 ? (uint32_t)sent : 0) < 0) {
        sent = -ENOMEM;
    }
    list_remove_if_linked(&subscriber->ready);
    fanout_set_behind(fanout, subscriber, true);
    subscriber->flags |= SUBSCRIBER_BLOCKED;
    list_append(&fanout->blocked, &subscriber->ready);
    if (sent < 0) {
        fanout->handler->failed(fanout->owner, subscriber, (int)sent);
    } else {
        fanout->handler->blocked(fanout->owner, subscriber);
    }
}

void fanout_forget_sends(struct fanout *fanout, const struct subscriber *subscriber)
{
    for (uint32_t i = 0; i < fanout->send_count; i++) {
        if (fanout->deliveries[i].subscriber == subscriber) {
            fanout->deliveries[i].subscriber = NULL;
        }
    }
}

static void trim_passed(struct fanout *fanout)
{
    struct list *link;
    while ((link = list_take(&fanout->passed)) != NULL) {
        struct feed *feed = container_of(link, struct feed, dirty);
        profile_settle(fanout->profile, feed);
        feed_trim(feed, fanout->behind_bytes_max, feed_release_frame, NULL);
        if (feed->head > feed->passed) {
            fanout_mark_dirty(fanout, feed);
        }
    }
}

void fanout_sends_final(struct fanout *fanout)
{
    for (uint32_t i = 0; i < fanout->send_count; i++) {
        if (fanout->deliveries[i].batch == NULL) {
            frame_unref(fanout->deliveries[i].partial);
        }
    }
    count_up(&fanout->stats.sends, fanout->send_count);
    count_up(&fanout->stats.deliveries, fanout->deliveries_made);
    fanout->deliveries_made = 0;
    profile_sends_final(fanout->profile, fanout->send_count);
    if (fanout->send_count == fanout->sends_max) {
        fanout->sends_max = (uint32_t)min_u64(2 * (uint64_t)fanout->sends_max, fanout->sends_most);
    }
    fanout->send_count = 0;
    fanout->turn++;
    for (; fanout->history_batches != NULL;
         fanout->history_batches = fanout->history_batches->next) {
        for (uint32_t i = 0; i < fanout->history_batches->entry_count; i++) {
            frame_unref(fanout->history_batches->entries[i].frame);
        }
    }
    if (fanout->arena_used > 0) {
        memset(fanout->cache, 0, FANOUT_CACHE_SIZE * sizeof(fanout->cache[0]));
        fanout->recent = NULL;
        fanout->arena_top = max_u64(fanout->arena_top, fanout->arena_used);
        fanout->arena_used = 0;
    }
    trim_passed(fanout);
}

/* ---- Holding and releasing ------------------------------------------------------------------- */

void fanout_hold(struct fanout *fanout, struct subscriber *subscriber)
{
    CHECK(subscriber_is_joined(subscriber));
    subscriber->flags |= SUBSCRIBER_HELD;
    fanout_set_behind(fanout, subscriber, true);
    list_remove_if_linked(&subscriber->ready);
}

/* The newest event that has come in for the subscriber. */
static uint64_t newest_head(const struct fanout *fanout, const struct subscriber *subscriber)
{
    uint64_t head = fanout->broadcast->head;
    for (unsigned i = 0; i < subscriber->channel_count; i++) {
        head = max_u64(head, subscriber_feed(subscriber, i)->head);
    }
    return head;
}

static bool is_up_to_date(const struct fanout *fanout, const struct subscriber *subscriber)
{
    return subscriber->position >= newest_head(fanout, subscriber) &&
           !subscriber_is_inside_event(subscriber);
}

static void visit_again(struct fanout *fanout, struct subscriber *subscriber)
{
    if ((subscriber->flags & (SUBSCRIBER_HELD | SUBSCRIBER_BLOCKED)) != 0) {
        return;
    }
    if (is_up_to_date(fanout, subscriber)) {
        fanout_set_behind(fanout, subscriber, false);
        if (subscriber->catch_up != NULL) {
            catch_up_end(fanout, subscriber);
        }
    } else {
        make_ready(fanout, subscriber);
    }
}

void fanout_release(struct fanout *fanout, struct subscriber *subscriber)
{
    CHECK(subscriber_is_joined(subscriber));
    subscriber->flags &= (uint8_t)~SUBSCRIBER_HELD;
    visit_again(fanout, subscriber);
}

void fanout_writable(struct fanout *fanout, struct subscriber *subscriber)
{
    CHECK(subscriber_is_joined(subscriber));
    subscriber->flags &= (uint8_t)~SUBSCRIBER_BLOCKED;
    list_remove_if_linked(&subscriber->ready);
    visit_again(fanout, subscriber);
}

void fanout_skip(struct fanout *fanout, struct subscriber *subscriber)
{
    CHECK(!subscriber_is_inside_event(subscriber));
    subscriber->position = max_u64(subscriber->position, newest_head(fanout, subscriber));
    if (subscriber->catch_up != NULL) {
        subscriber->catch_up->complete_after = 0;
    }
    fanout_hold(fanout, subscriber);
}

bool fanout_is_quiet(const struct fanout *fanout, const struct subscriber *subscriber)
{
    return (subscriber->flags & (SUBSCRIBER_HELD | SUBSCRIBER_BLOCKED | SUBSCRIBER_BEHIND)) == 0 &&
           subscriber->turn != fanout->turn && is_up_to_date(fanout, subscriber);
}

uint64_t fanout_behind(const struct fanout *fanout, const struct subscriber *subscriber)
{
    /* A frame that was sent in part is not in `position` yet. */
    uint64_t head = newest_head(fanout, subscriber);
    return head > subscriber->position ? head - subscriber->position : 0;
}

bool fanout_move_on(const struct fanout *fanout, struct subscriber *subscriber)
{
    CHECK(fanout_is_quiet(fanout, subscriber));
    bool moves = subscriber->position < fanout->dequeued;
    subscriber->position = max_u64(subscriber->position, fanout->dequeued);
    return moves;
}
