/* Looks into the hub: what must hold between any two turns, whoever did what. */
#include "hub/errand.h"
#include "hub/http2.h"
#include "hub/shard.h"
#include "hub/transport.h"
#include "tests/sim/model.h"
#include "tests/sim/world.h"

/* ---- Subscribers ---- */

static bool is_up_to_date(const struct fanout *fanout, struct subscriber *subscriber)
{
    for (unsigned i = 0; i < subscriber->channel_count; i++) {
        if (subscriber->position < subscriber_feed(subscriber, i)->head) {
            return false;
        }
    }
    return subscriber->position >= fanout->broadcast->head &&
           !subscriber_is_inside_event(subscriber);
}

/* A pass of one of its feeds will come by. */
static bool is_awaited(const struct fanout *fanout, struct subscriber *subscriber)
{
    for (unsigned i = 0; i < subscriber->channel_count; i++) {
        if (subscriber->position < subscriber_feed(subscriber, i)->head &&
            list_is_linked(&subscriber_feed(subscriber, i)->dirty)) {
            return true;
        }
    }
    return subscriber->position < fanout->broadcast->head &&
           list_is_linked(&fanout->broadcast->dirty);
}

static void verify_membership(const struct shard *shard, struct subscriber *subscriber)
{
    for (unsigned i = 0; i <= subscriber->channel_count; i++) {
        bool last = i == subscriber->channel_count;
        const struct feed *feed = last ? shard->fanout.broadcast : subscriber_feed(subscriber, i);
        uint32_t index = last ? subscriber->broadcast_index : *subscriber_index(subscriber, i);
        if (index >= feed->member_count || feed->members[index] != subscriber) {
            world_fail("shard %u: a subscriber is not where it thinks it is", shard->shard_index);
        } else if ((subscriber->flags & SUBSCRIBER_BEHIND) == 0 &&
                   subscriber->position < feed->passed) {
            world_fail("shard %u: a subscriber that keeps up was passed over at event %llu of %llu",
                       shard->shard_index, (unsigned long long)subscriber->position,
                       (unsigned long long)feed->passed);
        }
    }
}

static void verify_subscriber(struct shard *shard, struct connection *connection)
{
    struct subscriber *subscriber = &connection->subscriber;
    bool held = (subscriber->flags & SUBSCRIBER_HELD) != 0;
    bool blocked = (subscriber->flags & SUBSCRIBER_BLOCKED) != 0;
    bool behind = (subscriber->flags & SUBSCRIBER_BEHIND) != 0;
    /* A stream of HTTP/2 waits for its carrier, or for a window. */
    bool watched = http2_is_stream(connection)
                       ? list_is_linked(&connection->waiting)
                       : io_stream_has(&connection->stream, IO_STREAM_WATCHING);
    verify_membership(shard, subscriber);
    if (held && connection->outbox == NULL) {
        world_fail("shard %u: a subscriber is held for nothing", shard->shard_index);
    }
    if (blocked && !watched) {
        world_fail("shard %u: a blocked subscriber is not watched", shard->shard_index);
    }
    if (!held && !blocked && !list_is_linked(&subscriber->ready) &&
        (behind ||
         (!is_up_to_date(&shard->fanout, subscriber) && !is_awaited(&shard->fanout, subscriber)))) {
        world_fail("shard %u: a subscriber at event %llu is forgotten", shard->shard_index,
                   (unsigned long long)subscriber->position);
    }
    const struct catch_up *catch_up = subscriber->catch_up;
    bool inside = subscriber_is_inside_event(subscriber);
    if (inside && catch_up->partial_sent >= frame_view(catch_up->partial, subscriber->view).len) {
        world_fail("shard %u: a part of an event is all of it", shard->shard_index);
    }
    if (inside && !behind) {
        world_fail("shard %u: a subscriber inside an event counts as up to date",
                   shard->shard_index);
    }
}

/* ---- Connections ---- */

struct counts {
    uint64_t connections;
    uint64_t streams;
    uint64_t subscribers;
    uint64_t refused;
};

static void verify_connection(struct shard *shard, struct connection *connection,
                              struct counts *counts)
{
    bool streaming = connection->state == CONNECTION_STREAMING;
    bool joined = subscriber_is_joined(&connection->subscriber);
    /* A stream of HTTP/2 is one of its carrier's, which counts. */
    bool carried = http2_is_stream(connection);
    counts->connections += !carried;
    if (connection->state == CONNECTION_CLOSED) {
        if (joined || connection->outbox != NULL || connection->exchange != NULL) {
            world_fail("shard %u: a closed connection holds something", shard->shard_index);
        }
        return;
    }
    if (carried && connection->stream_id == 0) {
        world_fail("shard %u: a stream is here that its client knows to be over",
                   shard->shard_index);
    }
    if (connection->state == CONNECTION_CARRYING) {
        const struct http2 *http2 = connection->transport->http2;
        if (http2->stream_count == 0 && (http2->request_bytes > 0 || http2->answer_bytes > 0)) {
            world_fail("shard %u: %llu bytes of requests and %llu of answers, and no streams",
                       shard->shard_index, (unsigned long long)http2->request_bytes,
                       (unsigned long long)http2->answer_bytes);
        }
    }
    counts->streams += streaming;
    counts->subscribers += joined;
    counts->refused += !carried && (connection->flags & CONNECTION_REFUSED) != 0;
    if (streaming != joined) {
        world_fail("shard %u: a stream without a subscriber, or the reverse", shard->shard_index);
    } else if (joined) {
        verify_subscriber(shard, connection);
    }
    /* The words of a stream of HTTP/2 wait in one of its carrier's lists, and for their own time.
     */
    if (connection->outbox != NULL && !list_is_linked(&connection->outbox->link) &&
        (carried || (shard->control_send_count == 0 &&
                     !io_stream_has(&connection->stream, IO_STREAM_WATCHING)))) {
        world_fail("shard %u: an outbox is forgotten", shard->shard_index);
    }
    if (!list_is_linked(&connection->timer.link) && (streaming || !carried)) {
        world_fail("shard %u: a connection without a timer", shard->shard_index);
    }
    if (connection->state == CONNECTION_WAITING && connection->id.errand == NULL &&
        shard->control_send_count == 0 && connection->outbox == NULL) {
        world_fail("shard %u: a connection waits for nothing", shard->shard_index);
    }
}

static uint64_t verify_connections(struct shard *shard)
{
    struct counts counts = {0};
    for (uint32_t i = 0; i < shard->slab_count; i++) {
        for (uint32_t j = 0; j < SHARD_SLAB_COUNT; j++) {
            if (shard->slabs[i][j].state != CONNECTION_FREE) {
                verify_connection(shard, &shard->slabs[i][j], &counts);
            }
        }
    }
    if (counts.connections != shard->stats.connections || counts.streams != shard->stats.streams ||
        counts.streams != shard->clients.count || counts.refused != shard->refused_count) {
        world_fail("shard %u counts %llu connections, %llu streams, %llu clients, %u refused; "
                   "there are %llu, %llu and %llu",
                   shard->shard_index, (unsigned long long)shard->stats.connections,
                   (unsigned long long)shard->stats.streams,
                   (unsigned long long)shard->clients.count, shard->refused_count,
                   (unsigned long long)counts.connections, (unsigned long long)counts.streams,
                   (unsigned long long)counts.refused);
    }
    return counts.subscribers;
}

/* ---- Feeds ---- */

/* Every event of the channel between base and head is in the window. */
static void verify_window(unsigned source, const struct feed *feed)
{
    unsigned count = 0;
    for (unsigned i = model.source_counts[source]; i > 0; i--) {
        uint64_t sequence = model.sources[source][i - 1];
        if (sequence <= feed->base) {
            break;
        }
        count += sequence <= feed->head;
    }
    if (count != feed->window.count) {
        world_fail("shard %u has %u events of %s between %llu and %llu, and there were %u",
                   feed->shard, feed->window.count, source_text(source),
                   (unsigned long long)feed->base, (unsigned long long)feed->head, count);
    }
}

/* What is under way, from what lies where. */
static void verify_credit(unsigned source, const struct shard *shard, const struct feed *feed)
{
    const struct queue *queue = &shard->queue;
    uint64_t bytes = 0;
    for (uint64_t i = queue->popped; i < queue->pushed; i++) {
        const struct queue_slot *slot = &queue->slots[(i - queue->base) & queue->mask];
        bytes += slot->entry.feed == feed ? frame_size(slot->entry.frame) : 0;
    }
    for (uint32_t i = 0; i < feed->window.count; i++) {
        const struct feed_entry *entry = feed_entry_at(feed, i);
        bytes += entry->sequence > feed->passed ? frame_size(entry->frame) : 0;
    }
    if (feed->pushed_bytes - feed->released_bytes != bytes) {
        world_fail("shard %u: %llu bytes of %s are under way, it counts %llu", feed->shard,
                   (unsigned long long)bytes, source_text(source),
                   (unsigned long long)(feed->pushed_bytes - feed->released_bytes));
    }
}

static uint64_t verify_feed(unsigned source, const struct shard *shard, const struct feed *feed)
{
    uint32_t behind = 0;
    feed_verify(feed);
    for (uint32_t i = 0; i < feed->member_count; i++) {
        behind += (feed->members[i]->flags & SUBSCRIBER_BEHIND) != 0;
    }
    if (behind != feed->behind_count) {
        world_fail("shard %u: %u members of %s are behind, it counts %u", feed->shard, behind,
                   source_text(source), feed->behind_count);
    }
    if (feed->member_count == 0 && source != SOURCE_BROADCAST && !list_is_linked(&feed->idle)) {
        world_fail("shard %u: nobody needs the feed of %s, and nobody knows", feed->shard,
                   source_text(source));
    }
    if (list_is_linked(&feed->idle) &&
        shard->fanout.sweeps - feed->idle_since >= SHARD_FEED_IDLE_SWEEPS) {
        world_fail("shard %u: the feed of %s is never given back", feed->shard,
                   source_text(source));
    }
    if (feed->window.count > 0 && feed->passed >= feed->head && feed->behind_count == 0 &&
        !list_is_linked(&feed->dirty)) {
        world_fail("shard %u: the window of %s is kept for nobody", feed->shard,
                   source_text(source));
    }
    verify_window(source, feed);
    verify_credit(source, shard, feed);
    return feed->member_count;
}

static void verify_source(unsigned source, uint64_t *history_bytes)
{
    const struct channel *channel = source_channel(source);
    uint64_t members = 0;
    if (channel == NULL) {
        return;
    }
    for (unsigned i = 0; i < channel->feed_count; i++) {
        const struct feed *feed = channel->feeds[i];
        members += verify_feed(source, world.hub.shards[feed->shard], feed);
        if (i > 0 && feed->shard <= channel->feeds[i - 1]->shard) {
            world_fail("the feeds of %s are not in the order of their shards", source_text(source));
        }
    }
    if (channel->reserved != 0 || (source != SOURCE_BROADCAST && members != channel->subscribers)) {
        world_fail("%s counts %llu subscribers, there are %llu; %u reserved", source_text(source),
                   (unsigned long long)channel->subscribers, (unsigned long long)members,
                   channel->reserved);
    }
    *history_bytes += channel->history.bytes;
}

void verify_hub(void)
{
    const struct hub *hub = &world.hub;
    uint64_t subscribers = 0;
    uint64_t connections = 0;
    uint64_t history_bytes = 0;
    if (hub_uptime_seconds(hub) > sim_net.now_ms / 1000) {
        world_fail("the hub says that it is %llu s old",
                   (unsigned long long)hub_uptime_seconds(hub));
    }
    for (unsigned i = 0; i < hub->shard_count && world_is_good(); i++) {
        subscribers += verify_connections(hub->shards[i]);
        connections += hub->shards[i]->stats.connections;
    }
    for (unsigned i = 0; i < SOURCE_COUNT && world_is_good(); i++) {
        verify_source(i, &history_bytes);
    }
    if (!world_is_good()) {
        return;
    }
    if (connections != hub->connection_count || subscribers != hub->sequencer.subscribers) {
        world_fail("the hub counts %u connections and %llu subscribers, there are %llu and %llu",
                   hub->connection_count, (unsigned long long)hub->sequencer.subscribers,
                   (unsigned long long)connections, (unsigned long long)subscribers);
    }
    if (history_bytes != hub->sequencer.history_bytes ||
        history_bytes > hub->sequencer.options.history_total_bytes_max) {
        world_fail("the histories hold %llu bytes, the hub counts %llu of %llu",
                   (unsigned long long)history_bytes,
                   (unsigned long long)hub->sequencer.history_bytes,
                   (unsigned long long)hub->sequencer.options.history_total_bytes_max);
    }
}

void verify_sends(unsigned index)
{
    static uint64_t taken[SHARDS_MAX];
    const struct fanout *fanout = &world.hub.shards[index]->fanout;
    /* Since the shard last stood here, it has taken events, run, and made no more turn than that.
     */
    bool has_news = fanout->stats.taken != taken[index];
    taken[index] = fanout->stats.taken;
    if (fanout->sends_max < fanout->sends_first || fanout->sends_max > fanout->sends_most ||
        (has_news && fanout->stats.taken > 0 && fanout->sends_max != fanout->sends_first)) {
        world_fail("shard %u makes %u sends in a turn, of %u to %u", index, fanout->sends_max,
                   fanout->sends_first, fanout->sends_most);
    }
}

/* It will run, or one that will run is to wake it. */
static bool will_wake(unsigned shard)
{
    if (sim_loop_is_woken(shard)) {
        return true;
    }
    for (unsigned i = 0; i < world.hub.shard_count; i++) {
        if (shard_set_has(&world.hub.shards[i]->relay.shards, shard) && !world.fibers[i].ended &&
            (!sim_net.loops[i].asleep || sim_loop_is_woken(i))) {
            return true;
        }
    }
    return false;
}

void verify_sleepers(unsigned ran)
{
    if (!relay_is_empty(&world.hub.shards[ran]->relay) && !sim_loop_is_woken(ran)) {
        world_fail("shard %u has not woken those that were left to it", ran);
    }
    for (unsigned i = 0; i < world.hub.shard_count; i++) {
        const struct shard *shard = world.hub.shards[i];
        const struct queue *queue = &shard->queue;
        if (world.fibers[i].ended || !sim_net.loops[i].asleep) {
            continue;
        }
        const char *what = NULL;
        if (queue->tail != queue->popped) {
            what = "its queue";
        } else if (!mailbox_is_empty(&shard->mailbox)) {
            what = "its mailbox";
        } else if (!relay_is_empty(&shard->relay)) {
            what = "others that it is to wake";
        } else if (hub_is_draining(&world.hub) != shard->draining) {
            what = "an order to drain";
        } else if (!list_is_empty(&shard->fanout.dirty) || !list_is_empty(&shard->fanout.ready) ||
                   !list_is_empty(&shard->fanout.passed)) {
            what = "its fan-out";
        } else if (!list_is_empty(&shard->outgoing)) {
            what = "its outboxes";
        }
        if (what != NULL && !will_wake(i)) {
            world_fail("shard %u sleeps over %s", i, what);
        }
    }
}

void verify_empty(void)
{
    const struct hub *hub = &world.hub;
    for (unsigned i = 0; i < hub->shard_count; i++) {
        const struct shard *shard = hub->shards[i];
        if (shard->stats.connections != 0 || !list_is_empty(&shard->waiting) ||
            !list_is_empty(&shard->outgoing)) {
            world_fail("shard %u is not empty at the end", i);
        }
    }
    if (hub->sequencer.subscribers != 0 || hub->connection_count != 0) {
        world_fail("the hub is not empty at the end: %llu subscribers, %u connections",
                   (unsigned long long)hub->sequencer.subscribers, hub->connection_count);
    }
}
