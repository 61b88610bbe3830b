#include "hub/shard.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/event_id.h"
#include "hub/http2.h"
#include "hub/resume_request.h"
#include "hub/transport.h"
#include "net/cpu.h"

void shard_count(uint64_t *counter, int64_t by)
{
    /* Relaxed, one writer: read by whoever asks for statistics. */
    __atomic_store_n(counter, *counter + (uint64_t)by, __ATOMIC_RELAXED);
}

uint64_t shard_hash_id(const struct shard *shard, struct span id)
{
    return hash_bytes(&shard->hub->sequencer.options.hash_key, id.bytes, id.len);
}

/* ---- What io reports ------------------------------------------------------------------------- */

static struct connection *connection_of(struct io_stream *stream)
{
    return container_of(stream, struct connection, stream);
}

/* Makes room for a newcomer: whoever has been here longest without asking for anything goes. */
static bool shard_evict_half_open(struct shard *shard)
{
    if (list_is_empty(&shard->waiting)) {
        return false;
    }
    shard_count(&shard->stats.evicted_half_open, 1);
    connection_close(container_of(shard->waiting.next, struct connection, waiting), "evicted");
    return true;
}

/* Whether there is room for one more; if not, it may still be answered with a refusal. */
static bool shard_admit(struct shard *shard, const struct address *address, uint16_t *ret_flags)
{
    struct hub *hub = shard->hub;
    uint32_t limit = shard->config->connections_per_address_max;
    *ret_flags = 0;
    if (limit > 0) {
        if (address_table_enter(&hub->addresses, address, limit)) {
            *ret_flags = CONNECTION_ADDRESS_COUNTED;
        } else {
            *ret_flags = CONNECTION_REFUSED;
        }
    }
    /* Relaxed: a count that is compared with a limit; it orders nothing. */
    uint32_t count = __atomic_load_n(&hub->connection_count, __ATOMIC_RELAXED);
    if (*ret_flags != CONNECTION_REFUSED && count >= hub->connection_max &&
        !shard_evict_half_open(shard)) {
        *ret_flags |= CONNECTION_REFUSED;
    }
    if ((*ret_flags & CONNECTION_REFUSED) == 0) {
        return true;
    }
    shard_count(&shard->stats.refused, 1);
    if (shard->refused_count < SHARD_REFUSED_MAX) {
        return true;
    }
    if ((*ret_flags & CONNECTION_ADDRESS_COUNTED) != 0) {
        address_table_leave(&hub->addresses, address);
    }
    return false;
}

static void shard_accepted(void *owner, struct io_listener *listener, int32_t descriptor,
                           const struct sockaddr_storage *from)
{
    struct shard *shard = owner;
    struct address address;
    uint16_t flags = 0;
    address_from(&address, from);
    if (!shard_admit(shard, &address, &flags)) {
        io_reject(shard->io, descriptor);
        return;
    }
    struct connection *connection = shard_connection_get(shard);
    int r = -ENOMEM;
    if (connection != NULL) {
        r = io_open(shard->io, &connection->stream, descriptor);
        if (r < 0) {
            shard_connection_put(shard, connection);
        }
    }
    if (r < 0) {
        if ((flags & CONNECTION_ADDRESS_COUNTED) != 0) {
            address_table_leave(&shard->hub->addresses, &address);
        }
        if (connection == NULL) {
            io_reject(shard->io, descriptor);
        }
        return;
    }
    if (container_of(listener, struct shard_listener, listener)->is_local) {
        flags |= CONNECTION_LOCAL_SOCKET;
    }
    connection->flags = flags;
    connection->address.peer = address;
    /* Relaxed: see shard_admit. */
    __atomic_fetch_add(&shard->hub->connection_count, 1, __ATOMIC_RELAXED);
    shard->refused_count += (flags & CONNECTION_REFUSED) != 0;
    shard_count(&shard->stats.accepted, 1);
    shard_count(&shard->stats.connections, 1);
    connection_open(connection);
    if (container_of(listener, struct shard_listener, listener)->is_tls &&
        transport_begin(connection, shard->tls) < 0) {
        connection_close(connection, "no memory");
    }
}

static void shard_accept_failed(void *owner, struct io_listener *listener, int error)
{
    struct shard *shard = owner;
    (void)listener;
    shard_count(&shard->stats.accept_failures, 1);
    log_line(shard->log, LOG_LEVEL_WARN, "accept failed", LOG_TEXT("cause", strerror(-error)));
    shard_evict_half_open(shard);
}

static void shard_received(void *owner, struct io_stream *stream, const char *bytes, ssize_t len)
{
    struct shard *shard = owner;
    profile_request(shard->profile);
    connection_received(connection_of(stream), bytes, len);
    profile_request_end(shard->profile);
}

static void shard_hung_up(void *owner, struct io_stream *stream)
{
    (void)owner;
    connection_hung_up(connection_of(stream));
}

static void shard_writable(void *owner, struct io_stream *stream)
{
    (void)owner;
    connection_writable(connection_of(stream));
}

static void control_sent(struct shard *shard, uint32_t send_index, ssize_t sent)
{
    struct connection *connection = shard->control_sends[send_index];
    shard->control_sends[send_index] = NULL;
    if (connection->state == CONNECTION_CLOSED) {
        return;
    }
    if (sent < 0) {
        connection_close(connection, "reset");
        return;
    }
    connection->outbox->sent += (size_t)sent;
    if (sent > 0) {
        connection->sent_ms = shard->now_ms;
    }
    io_watch_writable(shard->io, &connection->stream);
}

static void shard_sent(void *owner, uint32_t token, ssize_t sent)
{
    struct shard *shard = owner;
    if (token < FANOUT_SENDS_MAX) {
        fanout_sent(&shard->fanout, token, sent);
    } else {
        control_sent(shard, token - FANOUT_SENDS_MAX, sent);
    }
}

static void shard_sends_final(void *owner)
{
    struct shard *shard = owner;
    shard->now_ms = io_now_ms(shard->io);
    shard->wall_ms = hub_wall_ms();
    profile_enter(shard->profile, PROFILE_PHASE_COMPLETION, io_now_ns(shard->io));
    fanout_sends_final(&shard->fanout);
    profile_enter(shard->profile, PROFILE_PHASE_RECEIVE, shard->profile->final_ns);
    for (uint32_t i = 0; i < shard->control_send_count; i++) {
        struct connection *connection = shard->control_sends[i];
        if (connection != NULL && connection->state != CONNECTION_CLOSED) {
            connection_flushed(connection);
        }
    }
    shard->control_send_count = 0;
}

static void shard_closed(void *owner, struct io_stream *stream)
{
    struct shard *shard = owner;
    shard_connection_put(shard, connection_of(stream));
    shard_count(&shard->stats.connections, -1);
    __atomic_fetch_sub(&shard->hub->connection_count, 1, __ATOMIC_RELAXED);
}

static const struct io_handler shard_io_handler = {
    .accepted = shard_accepted,
    .accept_failed = shard_accept_failed,
    .received = shard_received,
    .hung_up = shard_hung_up,
    .sent = shard_sent,
    .sends_final = shard_sends_final,
    .writable = shard_writable,
    .closed = shard_closed,
};

/* ---- What the fan-out asks --------------------------------------------------------------------
 */

static struct connection *connection_of_subscriber(struct subscriber *subscriber)
{
    return container_of(subscriber, struct connection, subscriber);
}

static void shard_fanout_send(void *owner, struct subscriber *subscriber, struct span bytes,
                              uint32_t token)
{
    struct shard *shard = owner;
    struct connection *connection = connection_of_subscriber(subscriber);
    if (connection->transport != NULL) {
        ssize_t taken = transport_take(connection, bytes);
        connection->sent_ms = taken > 0 ? shard->now_ms : connection->sent_ms;
        if (taken != (ssize_t)bytes.len) {
            shard->shorts[shard->short_count++] = (struct shard_short){token, taken};
        }
        return;
    }
    connection->sent_ms = shard->now_ms;
    io_send(shard->io, &connection->stream, bytes.bytes, bytes.len, token);
}

static void shard_fanout_blocked(void *owner, struct subscriber *subscriber)
{
    struct shard *shard = owner;
    struct connection *connection = connection_of_subscriber(subscriber);
    /* A transport's outbox is on its way out, and says when it is. */
    if (connection->transport == NULL) {
        io_watch_writable(shard->io, &connection->stream);
    }
}

/* The subscriber fell behind further than anything is kept: it is told, and goes on from there. */
static void shard_fanout_lapped(void *owner, struct subscriber *subscriber, uint64_t requested,
                                uint64_t available)
{
    struct shard *shard = owner;
    struct connection *connection = connection_of_subscriber(subscriber);
    char id[EVENT_ID_LEN];
    event_id_write(id, shard->hub->epoch, requested);
    (void)available;
    shard_count(&shard->stats.gaps, 1);
    struct resume_point point =
        resume_resolve(&shard->hub->sequencer, subscriber, RESUME_AFTER, subscriber->position);
    /* What is on its way to this shard but no longer retained is gone too: the client is told so.
     */
    uint64_t position = point.first_available > 0 ? point.first_available - 1 : point.position;
    if (fanout_set_back(subscriber, position, point.complete_after) < 0) {
        connection_close(connection, "no memory");
        return;
    }
    fanout_hold(&shard->fanout, subscriber);
    resume_write_gap(connection, "expired", span_make(id, sizeof(id)), point.first_available);
}

/* It fell behind further than its channel's rule allows. */
static void shard_fanout_lagging(void *owner, struct subscriber *subscriber, enum lag_policy policy)
{
    struct shard *shard = owner;
    struct connection *connection = connection_of_subscriber(subscriber);
    if (policy == LAG_DISCONNECT) {
        shard_count(&shard->stats.slow_disconnects, 1);
        connection_end_stream(connection, "too slow");
        return;
    }
    char id[EVENT_ID_LEN];
    event_id_write(id, shard->hub->epoch, subscriber->position);
    shard_count(&shard->stats.gaps, 1);
    shard_count(&shard->stats.skips, 1);
    fanout_skip(&shard->fanout, subscriber);
    resume_write_gap(connection, "skipped", span_make(id, sizeof(id)), 0);
}

static void shard_fanout_failed(void *owner, struct subscriber *subscriber, int error)
{
    (void)owner;
    connection_close(connection_of_subscriber(subscriber),
                     error == -EPIPE || error == -ECONNRESET ? "reset" : "error");
}

static const struct fanout_handler shard_fanout_handler = {
    .send = shard_fanout_send,
    .blocked = shard_fanout_blocked,
    .lapped = shard_fanout_lapped,
    .lagging = shard_fanout_lagging,
    .failed = shard_fanout_failed,
};

/* ---- One turn ---------------------------------------------------------------------------------
 */

/* A send for a connection without transport, for which the outbox comes between its events. */
static bool connection_is_inside_event(const struct connection *connection)
{
    return connection->state == CONNECTION_STREAMING &&
           (subscriber_is_inside_event(&connection->subscriber) ||
            (connection->subscriber.flags & SUBSCRIBER_BLOCKED) != 0);
}

/* What is next for the socket. False: not now, or never. */
static bool outbox_next(struct outbox *outbox, struct list *later, struct span *ret_bytes)
{
    struct connection *connection = outbox->connection;
    if (connection->transport != NULL) {
        return transport_seal(connection, ret_bytes);
    }
    if (connection->state == CONNECTION_STREAMING &&
        connection->subscriber.turn == connection->shard->fanout.turn) {
        /* One send per stream and turn, and this one's was an event. */
        list_append(later, &outbox->link);
        return false;
    }
    if (connection_is_inside_event(connection)) {
        /* Other bytes must not go into the middle of an event that fell short. */
        connection_close(connection, "too slow");
        return false;
    }
    *ret_bytes = span_make(outbox->data.bytes + outbox->sent, outbox->data.len - outbox->sent);
    return true;
}

/* Queues one send for each connection that has something to say and nothing under way. */
static void shard_send_outboxes(struct shard *shard)
{
    struct list later;
    list_init(&later);
    while (shard->control_send_count < SHARD_CONTROL_SENDS_MAX) {
        struct list *link = list_take(&shard->outgoing);
        if (link == NULL) {
            break;
        }
        struct outbox *outbox = container_of(link, struct outbox, link);
        struct connection *connection = outbox->connection;
        struct span bytes;
        if (outbox_next(outbox, &later, &bytes)) {
            shard->control_sends[shard->control_send_count] = connection;
            io_send(shard->io, &connection->stream, bytes.bytes, bytes.len,
                    FANOUT_SENDS_MAX + shard->control_send_count);
            shard->control_send_count++;
        }
    }
    list_splice(&shard->outgoing, &later);
}

/*
 * Lets time go on for the timers: by what the shard was to sleep, and a step. While input is left
 * unread, by no more than the turn took: what is late stays late until all has been read.
 */
static void shard_wheel_on(struct shard *shard, uint64_t slept_ms, uint64_t turn_ms)
{
    uint64_t expected_ms = min_u64(shard->now_ms, shard->wheel_ms + slept_ms);
    uint64_t late_ms = shard->now_ms - expected_ms;
    uint64_t step_ms = shard->timer_step_ms;
    if (io_has_more(shard->io)) {
        step_ms = min_u64(step_ms, turn_ms);
    }
    shard->wheel_ms = expected_ms + min_u64(late_ms, step_ms);
    /* However slow turns are, timers do not fall behind for long. */
    shard->timer_step_ms = late_ms > step_ms && step_ms == shard->timer_step_ms
                               ? 2 * shard->timer_step_ms
                               : SHARD_TIMER_STEP_MS;
}

static void shard_timers(struct shard *shard)
{
    for (unsigned i = 0; i < SHARD_TIMERS_PER_TURN; i++) {
        struct wheel_node *node = wheel_take(&shard->wheel, shard->wheel_ms);
        if (node == NULL) {
            return;
        }
        connection_timer(container_of(node, struct connection, timer));
    }
}

static void shard_sweep(struct shard *shard)
{
    if (shard->now_ms < shard->sweep_due_ms) {
        return;
    }
    shard->sweep_due_ms = shard->now_ms + SHARD_SWEEP_MS;
    fanout_sweep(&shard->fanout, SHARD_FEED_IDLE_SWEEPS);
    if (shard->shard_index == 0) {
        sequencer_sweep(&shard->hub->sequencer, shard->wall_ms, &shard->sweep_after, 1024);
    }
}

static void shard_each_connection(struct shard *shard, void (*visit)(struct connection *))
{
    for (uint32_t i = 0; i < shard->slab_count; i++) {
        for (uint32_t j = 0; j < SHARD_SLAB_COUNT; j++) {
            struct connection *connection = &shard->slabs[i][j];
            if (connection->state != CONNECTION_FREE && connection->state != CONNECTION_CLOSED) {
                visit(connection);
            }
        }
    }
}

static void connection_drain(struct connection *connection)
{
    struct shard *shard = connection->shard;
    if (connection->state == CONNECTION_STREAMING) {
        uint64_t spread_ms = (uint64_t)shard->config->drain_seconds * 1000 * 3 / 4;
        wheel_set(&shard->wheel, &connection->timer,
                  shard->now_ms + random_below(&shard->random, spread_ms));
    } else if (connection->state == CONNECTION_CARRYING) {
        http2_drain(connection);
    }
}

static void connection_stop(struct connection *connection)
{
    if (connection->state == CONNECTION_STREAMING) {
        connection_end_stream(connection, "shutdown");
    } else if (connection->state == CONNECTION_CARRYING) {
        /* It ends with its last stream. */
        http2_drain(connection);
    } else if (connection->outbox == NULL) {
        connection_close(connection, "shutdown");
    }
}

static void connection_abandon(struct connection *connection)
{
    connection_close(connection, "shutdown");
}

static int shard_listen(struct shard *shard)
{
    for (; shard->listening_count < shard->listener_count; shard->listening_count++) {
        int r = io_listen(shard->io, &shard->listeners[shard->listening_count].listener);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static void shard_stop_listening(struct shard *shard)
{
    for (; shard->listening_count > 0; shard->listening_count--) {
        io_listen_stop(shard->io, &shard->listeners[shard->listening_count - 1].listener);
    }
}

/*
 * The port refuses newcomers from here on, instead of letting them wait for the end, and another
 * hub may take it. A Unix socket stays until then, as its file does. False: a listener that was
 * stopped is still busy.
 */
static bool shard_close_listeners(struct shard *shard)
{
    for (unsigned i = 0; i < shard->listener_count; i++) {
        if (!io_listener_is_idle(&shard->listeners[i].listener)) {
            return false;
        }
    }
    for (unsigned i = 0; i < shard->listener_count; i++) {
        int *fd = &shard->hub->listens[i].fds[shard->shard_index];
        if (*fd >= 0 && !shard->listeners[i].is_local) {
            close(*fd);
            *fd = -1;
        }
    }
    return true;
}

/* Somebody has connected and is not accepted yet. */
static bool shard_has_newcomers(const struct shard *shard)
{
    struct pollfd waiting[HUB_LISTEN_COUNT_MAX];
    for (unsigned i = 0; i < shard->listener_count; i++) {
        waiting[i] = (struct pollfd){.fd = shard->listeners[i].listener.fd, .events = POLLIN};
    }
    return poll(waiting, shard->listener_count, 0) > 0;
}

/*
 * Takes a few turns: whoever connected before the end is served, as a port that closes resets those
 * who still wait there. With `now` no longer.
 */
static void shard_leave_ports(struct shard *shard, bool now)
{
    bool waits = !now && shard_has_newcomers(shard);
    bool comes =
        waits ||
        (!now && (shard->stats.accepted != shard->accepted_before || io_has_more(shard->io)));
    shard->accepted_before = shard->stats.accepted;
    if (!comes) {
        shard_stop_listening(shard);
    } else if (waits) {
        (void)shard_listen(shard);
    }
    if (shard->listening_count == 0) {
        shard->has_left_ports = shard_close_listeners(shard);
    }
}

static bool shard_is_quiet(const struct shard *shard)
{
    /* Who reads an answer slowly has as long as a stream. */
    return shard->stats.streams == 0 && shard->outbox_count == 0;
}

enum {
    /* How long publishers and health checks on open connections are still answered at least. */
    SHARD_DRAIN_MIN_MS = 500,
    /* How long last words may take once the time is up. */
    SHARD_DRAIN_LAST_MS = 250,
};

static void shard_drain(struct shard *shard)
{
    uint64_t drain_ms = (uint64_t)shard->config->drain_seconds * 1000;
    if (!shard->draining) {
        shard->draining = true;
        shard->drain_end_ms = shard->now_ms + drain_ms;
        shard_each_connection(shard, connection_drain);
    }
    uint64_t least_ms = min_u64(SHARD_DRAIN_MIN_MS, drain_ms);
    bool had_least = shard->now_ms + drain_ms >= shard->drain_end_ms + least_ms;
    /* Acquire: pairs with hub_drain's release; nothing else is published with it. */
    bool over = shard->now_ms >= shard->drain_end_ms || (shard_is_quiet(shard) && had_least) ||
                __atomic_load_n(&shard->hub->stopping, __ATOMIC_ACQUIRE) != 0;
    if (!shard->has_left_ports) {
        shard_leave_ports(shard, over || had_least);
    }
    if (over) {
        shard->drain_end_ms = min_u64(shard->drain_end_ms, shard->now_ms);
        bool last = shard->now_ms >= shard->drain_end_ms + SHARD_DRAIN_LAST_MS;
        shard_each_connection(shard, last ? connection_abandon : connection_stop);
    }
}

static void shard_take_config(struct shard *shard)
{
    /* Acquire: pairs with the release in hub_reload; the configuration is complete behind it. */
    uint32_t generation = __atomic_load_n(&shard->hub->config_generation, __ATOMIC_ACQUIRE);
    if (generation != shard->config_generation) {
        shard->config = __atomic_load_n(&shard->hub->config, __ATOMIC_ACQUIRE);
        shard->tls = shard->hub->tls_contexts[shard->config - shard->hub->configs];
        /* Release: after this the shard no longer reads the old one; pairs with hub_reload. */
        __atomic_store_n(&shard->config_generation, generation, __ATOMIC_RELEASE);
    }
}

/* Whether main has said something that the shard has not taken notice of. */
static bool shard_has_orders(const struct shard *shard)
{
    const struct hub *hub = shard->hub;
    /* Relaxed: the doorbell's fences order these against the stores that precede a ring. */
    return hub_is_draining(hub) != shard->draining ||
           __atomic_load_n(&hub->config_generation, __ATOMIC_RELAXED) != shard->config_generation;
}

/* Milliseconds the shard may sleep; 0 if it has something to do. */
static int shard_timeout_ms(struct shard *shard)
{
    if (shard_has_orders(shard) || fanout_has_work(&shard->fanout) ||
        !list_is_empty(&shard->outgoing) || !list_is_empty(&shard->pumping) ||
        shard->control_send_count > 0 || !mailbox_is_empty(&shard->mailbox) ||
        !relay_is_empty(&shard->relay) || system_has_work(shard) ||
        shard->wheel_ms < shard->now_ms || (shard->draining && !shard->has_left_ports)) {
        return 0;
    }
    uint64_t wait_ms = wheel_wait_ms(&shard->wheel, shard->now_ms);
    wait_ms = min_u64(wait_ms, shard->sweep_due_ms - min_u64(shard->sweep_due_ms, shard->now_ms));
    if (shard->notices.count > 0 || shard->notices.lost > 0) {
        wait_ms = min_u64(wait_ms, shard->notices.due_ms - shard->now_ms);
    }
    if (shard->draining) {
        wait_ms = min_u64(wait_ms, 20);
    }
    return (int)wait_ms;
}

/*
 * What transports did not take whole. The rest of the turn has to know: other words must not follow
 * a part of an event.
 */
static void shard_settle_shorts(struct shard *shard)
{
    for (uint32_t i = 0; i < shard->short_count; i++) {
        fanout_sent(&shard->fanout, shard->shorts[i].token, shard->shorts[i].taken);
    }
    shard->short_count = 0;
}

static void shard_fan_out(struct shard *shard)
{
    shard->fanout.wall_ms = shard->wall_ms;
    if (fanout_has_work(&shard->fanout)) {
        profile_enter(shard->profile, PROFILE_PHASE_PASS, profile_clock(shard->profile));
        fanout_take(&shard->fanout);
        fanout_run(&shard->fanout);
        shard_settle_shorts(shard);
        profile_enter(shard->profile, PROFILE_PHASE_REST, profile_clock(shard->profile));
    }
}

/* Lets HTTP/2 frame what the turn has brought. */
static void shard_pump(struct shard *shard)
{
    struct list round;
    struct list *link;
    list_init(&round);
    list_splice(&round, &shard->pumping);
    while ((link = list_take(&round)) != NULL) {
        http2_pump(container_of(link, struct http2, link));
    }
}

/* Nothing points at them any more: everybody who was busy with them is done. */
static void shard_free_streams(struct shard *shard)
{
    struct list *link;
    while ((link = list_take(&shard->closed_streams)) != NULL) {
        shard_connection_put(shard, container_of(link, struct connection, waiting));
    }
}

/*
 * Once for all that this turn has published: with many shards, waking them is the dearest part of
 * publishing to them. This one looks at its own queue in this very turn or the next. And those that
 * whoever woke this shard left to it.
 */
static void shard_wake_others(struct shard *shard)
{
    relay_take(&shard->relay, &shard->to_wake);
    if (shard_set_is_empty(&shard->to_wake)) {
        return;
    }
    struct shard_set shards = shard->to_wake;
    shard->to_wake = (struct shard_set){0};
    shard_set_remove(&shards, shard->shard_index);
    hub_wake(shard->hub, &shards);
}

bool shard_turn(struct shard *shard)
{
    shard_free_streams(shard);
    uint64_t before_ms = shard->now_ms;
    int timeout_ms = shard_timeout_ms(shard);
    if (timeout_ms != 0) {
        /* Whoever hands us something from here on wakes us; what came before is seen now. */
        doorbell_arm(&shard->doorbell);
        timeout_ms = shard_timeout_ms(shard);
    }
    profile_turn(shard->profile, timeout_ms == 0 ? PROFILE_PHASE_SUBMIT : PROFILE_PHASE_WAIT,
                 profile_clock(shard->profile));
    int r = io_turn(shard->io, timeout_ms);
    doorbell_disarm(&shard->doorbell);
    CHECK(r == 0);

    shard_take_config(shard);
    mailbox_deliver_all(&shard->mailbox, shard);
    system_publish(shard);
    shard_wake_others(shard);
    shard_fan_out(shard);
    shard_wheel_on(shard, (uint64_t)timeout_ms, shard->now_ms - before_ms);
    shard_timers(shard);
    shard_sweep(shard);
    if (hub_is_draining(shard->hub)) {
        shard_drain(shard);
    }
    shard_pump(shard);
    shard_send_outboxes(shard);
    shard_wake_others(shard);
    return !(shard->draining && shard->has_left_ports && shard->stats.connections == 0);
}

/* ---- Connections as memory ---------------------------------------------------------------------
 */

static int shard_add_slab(struct shard *shard)
{
    if (shard->slab_count == shard->slab_capacity) {
        uint32_t capacity = shard->slab_capacity == 0 ? 16 : shard->slab_capacity * 2;
        struct connection **slabs = memory_realloc(shard->slabs, capacity * sizeof(slabs[0]));
        if (slabs == NULL) {
            return -ENOMEM;
        }
        shard->slabs = slabs;
        shard->slab_capacity = capacity;
    }
    struct connection *slab = memory_calloc(SHARD_SLAB_COUNT, sizeof(*slab));
    if (slab == NULL) {
        return -ENOMEM;
    }
    shard->slabs[shard->slab_count++] = slab;
    for (uint32_t i = SHARD_SLAB_COUNT; i > 0; i--) {
        slab[i - 1].id.next_free = shard->free_slots;
        shard->free_slots = &slab[i - 1];
    }
    return 0;
}

struct connection *shard_connection_get(struct shard *shard)
{
    if (shard->free_slots == NULL && shard_add_slab(shard) < 0) {
        return NULL;
    }
    struct connection *connection = shard->free_slots;
    CHECK(connection->state == CONNECTION_FREE);
    shard->free_slots = connection->id.next_free;
    memset(connection, 0, sizeof(*connection));
    connection->shard = shard;
    return connection;
}

void shard_connection_put(struct shard *shard, struct connection *connection)
{
    connection->state = CONNECTION_FREE;
    connection->id.next_free = shard->free_slots;
    shard->free_slots = connection;
}

/* ---- Life
 * ---------------------------------------------------------------------------------------- */

struct shard *shard_new(struct hub *hub, unsigned shard_index)
{
    struct shard *shard = memory_calloc(1, sizeof(*shard));
    if (shard == NULL) {
        return NULL;
    }
    const struct config *config = hub->config;
    shard->hub = hub;
    shard->shard_index = shard_index;
    shard->cpu = -1;
    shard->config = config;
    shard->tls = hub->tls_contexts[0];
    shard->config_generation = hub->config_generation;
    shard->log = log_get_ring(hub->log, shard_index);
    doorbell_init(&shard->doorbell);
    mailbox_init(&shard->mailbox);
    list_init(&shard->waiting);
    list_init(&shard->outgoing);
    list_init(&shard->pumping);
    list_init(&shard->closed_streams);
    random_init(&shard->random, hub->seed + shard_index);
    shard->client_number_next = random_next(&shard->random);
    shard->control_sends = memory_alloc(SHARD_CONTROL_SENDS_MAX * sizeof(shard->control_sends[0]));
    shard->shorts = memory_alloc(FANOUT_SENDS_MAX * sizeof(shard->shorts[0]));
    buffer_init(&shard->plain, SHARD_PLAIN_MAX_BYTES);
    buffer_init(&shard->sealed, SHARD_PLAIN_MAX_BYTES);
    /* The path and the query of one request, each decoded once. */
    shard->scratch_size = 2 * (size_t)config->head_bytes_max + 1024;
    shard->scratch = memory_alloc(shard->scratch_size);
    shard->profile = profile_new(hub_world->clock_ns);
    bool failed = shard->control_sends == NULL || shard->shorts == NULL || shard->scratch == NULL ||
                  shard->profile == NULL;
    failed |= table_init(&shard->clients, hub_connections_per_shard(hub)) < 0;
    failed |= queue_init(&shard->queue, config->queue_length) < 0;
    if (!failed) {
        sequencer_attach_queue(&hub->sequencer, shard_index, &shard->queue);
        failed |= fanout_init(&shard->fanout, &hub->sequencer, &shard->queue, shard_index,
                              config->lag_bytes_max) < 0;
    }
    CHECK(!failed || shard->fanout.handler == NULL);
    if (failed) {
        return NULL;
    }
    fanout_set_handler(&shard->fanout, &shard_fanout_handler, shard);
    fanout_set_sends(&shard->fanout, SHARD_FANOUT_SENDS_FIRST, SHARD_FANOUT_SENDS_MOST);
    shard->fanout.profile = shard->profile;
    return shard;
}

void shard_free(struct shard *shard)
{
    if (shard->io != NULL) {
        io_free(shard->io);
    }
    system_notices_fini(&shard->notices);
    fanout_fini(&shard->fanout);
    queue_fini(&shard->queue);
    mailbox_fini(&shard->mailbox);
    table_fini(&shard->clients);
    for (uint32_t i = 0; i < shard->slab_count; i++) {
        memory_free(shard->slabs[i]);
    }
    memory_free(shard->slabs);
    memory_free(shard->control_sends);
    memory_free(shard->shorts);
    buffer_fini(&shard->plain);
    buffer_fini(&shard->sealed);
    http2_memory_fini(&shard->http2_memory);
    memory_free(shard->scratch);
    profile_free(shard->profile);
    memory_free(shard);
}

int shard_open(struct shard *shard)
{
    struct hub *hub = shard->hub;
    struct io_options options = {.stream_count_max = hub->connection_max + SHARD_REFUSED_MAX};
    int r = hub_world->io_new((enum io_kind)shard->config->io, &options, &shard_io_handler, shard,
                              &shard->io, &shard->io_reason);
    if (r < 0) {
        shard->start_problem = shard->io_reason;
        return r;
    }
    shard->now_ms = io_now_ms(shard->io);
    shard->wall_ms = hub_wall_ms();
    wheel_init(&shard->wheel, shard->now_ms);
    shard->wheel_ms = shard->now_ms;
    shard->timer_step_ms = SHARD_TIMER_STEP_MS;
    for (unsigned i = 0; i < hub->listen_count; i++) {
        struct shard_listener *listener = &shard->listeners[i];
        listener->listener.fd = hub->listens[i].fds[shard->shard_index];
        listener->is_local = hub->listens[i].is_local;
        listener->is_tls = hub->listens[i].is_tls;
        shard->listener_count++;
    }
    r = shard_listen(shard);
    if (r < 0) {
        shard->start_problem = "cannot accept connections";
    }
    return r;
}

void shard_close(struct shard *shard)
{
    if (shard->io == NULL) {
        return;
    }
    shard_stop_listening(shard);
    for (unsigned i = 0; i < shard->listener_count; i++) {
        while (!io_listener_is_idle(&shard->listeners[i].listener)) {
            CHECK(io_turn(shard->io, 10) == 0);
        }
    }
    CHECK(shard_close_listeners(shard));
}

void shard_wake(struct shard *shard)
{
    if (doorbell_ring(&shard->doorbell)) {
        io_wake(shard->io);
    }
}

void shard_post(struct shard *shard, struct mail *mail)
{
    mailbox_post(&shard->mailbox, mail);
    shard_wake(shard);
}

enum publish_outcome shard_publish(struct shard *shard, struct publication *publications,
                                   unsigned count)
{
    struct shard_set shards;
    for (unsigned i = 0; i < count; i++) {
        publications[i].frame->received_ns = shard->profile->request_ns;
    }
    publications[0].sequenced_ns = 0;
    enum publish_outcome outcome =
        sequencer_publish(&shard->hub->sequencer, publications, count, shard->wall_ms, &shards);
    if (outcome == PUBLISH_DONE) {
        shard_count(&shard->stats.published, count);
        if (publications[0].sequenced_ns != 0) {
            profile_published(shard->profile, count, publications[0].sequenced_ns,
                              publications[0].waited_ns);
        }
        shard_set_merge(&shard->to_wake, &shards);
    }
    return outcome;
}
