#include "hub/system_channel.h"

#include "core/base/memory.h"
#include "hub/event_frame.h"
#include "hub/profile_report.h"
#include "hub/routes.h"
#include "hub/shard.h"
#include "hub/slow_channels.h"

enum {
    SYSTEM_NOTICES_MAX = 65536, /* collected in one turn */
    SYSTEM_NOTICES_PER_BATCH = 16,
    SYSTEM_CHANNELS_SHOWN = 16, /* names in one notice */
    SYSTEM_NOTICE_BYTES_MAX = 64 * 1024,
    SYSTEM_STATS_BYTES_MAX = 1024 * 1024,
    SYSTEM_STATS_MS = 1000,
    /* For a shard whose queue is full to take some of it, without the others in its way. */
    SYSTEM_NOTICES_RETRY_MS = 10,
};

static const char presence_name[] = "$presence";
static const char stats_name[] = "$stats";

void system_notices_fini(struct system_notices *notices)
{
    for (uint32_t i = 0; i < notices->count; i++) {
        frame_unref(notices->frames[i]);
    }
    memory_free(notices->frames);
    *notices = (struct system_notices){0};
}

enum system_channel system_channel_named(struct span name)
{
    if (span_is(name, presence_name)) {
        return SYSTEM_CHANNEL_PRESENCE;
    }
    return span_is(name, stats_name) ? SYSTEM_CHANNEL_STATS : SYSTEM_CHANNEL_NONE;
}

void system_channel_watch(struct connection *connection, enum system_channel channel)
{
    struct hub *hub = connection->shard->hub;
    /* Relaxed: whoever looks a moment too late misses what happened before the stream began. */
    if (channel == SYSTEM_CHANNEL_PRESENCE) {
        connection->flags |= CONNECTION_WATCHES_PRESENCE;
        __atomic_fetch_add(&hub->presence_watchers, 1, __ATOMIC_RELAXED);
    } else if (channel == SYSTEM_CHANNEL_STATS) {
        connection->flags |= CONNECTION_WATCHES_STATS;
        __atomic_fetch_add(&hub->stats_watchers, 1, __ATOMIC_RELAXED);
    }
}

void system_channel_unwatch(struct connection *connection)
{
    struct hub *hub = connection->shard->hub;
    /* Relaxed: see above. */
    if ((connection->flags & CONNECTION_WATCHES_PRESENCE) != 0) {
        __atomic_fetch_sub(&hub->presence_watchers, 1, __ATOMIC_RELAXED);
    }
    if ((connection->flags & CONNECTION_WATCHES_STATS) != 0) {
        __atomic_fetch_sub(&hub->stats_watchers, 1, __ATOMIC_RELAXED);
    }
    connection->flags &= (uint16_t) ~(CONNECTION_WATCHES_PRESENCE | CONNECTION_WATCHES_STATS);
}

static bool is_watched(const uint32_t *watchers)
{
    return __atomic_load_n(watchers, __ATOMIC_RELAXED) > 0; /* relaxed: see above */
}

/* ---- $presence ------------------------------------------------------------------------------ */

static int notices_reserve(struct system_notices *notices)
{
    if (notices->count < notices->capacity) {
        return 0;
    }
    uint32_t capacity = notices->capacity == 0 ? 16 : notices->capacity * 2;
    struct frame **frames = NULL;
    if (capacity <= SYSTEM_NOTICES_MAX) {
        frames = memory_realloc(notices->frames, capacity * sizeof(frames[0]));
    }
    if (frames == NULL) {
        return -1;
    }
    notices->frames = frames;
    notices->capacity = capacity;
    return 0;
}

static void notices_add(struct system_notices *notices, const char *type, const struct buffer *data)
{
    struct frame *frame = NULL;
    if (!data->failed && notices_reserve(notices) == 0) {
        frame =
            event_frame_new(&(struct sse_event){.type = span_of(type), .data = buffer_span(data)});
    }
    if (frame == NULL) {
        notices->lost++;
    } else {
        notices->frames[notices->count++] = frame;
    }
}

void system_presence(struct connection *connection, const char *reason)
{
    struct shard *shard = connection->shard;
    if (!is_watched(&shard->hub->presence_watchers)) {
        return;
    }
    struct subscriber *subscriber = &connection->subscriber;
    char address[ADDRESS_TEXT_MAX];
    struct buffer data;
    buffer_init(&data, SYSTEM_NOTICE_BYTES_MAX);
    buffer_append_string(&data, "{\"client\":\"");
    buffer_append_json(&data, connection_id(connection));
    buffer_append_string(&data, "\",\"address\":\"");
    buffer_append_json(&data,
                       span_make(address, address_write(connection_address(connection), address)));
    buffer_printf(&data, "\",\"shard\":%u,\"time_ms\":%llu,\"channel_count\":%u,\"channels\":[",
                  shard->shard_index, (unsigned long long)shard->wall_ms,
                  subscriber->channel_count);
    for (unsigned i = 0; i < subscriber->channel_count && i < SYSTEM_CHANNELS_SHOWN; i++) {
        buffer_append_string(&data, i == 0 ? "\"" : ",\"");
        buffer_append_json(&data, channel_name_of(subscriber_feed(subscriber, i)->channel));
        buffer_append_string(&data, "\"");
    }
    buffer_append_string(&data, "]");
    if (reason != NULL) {
        buffer_printf(&data, ",\"reason\":\"%s\",\"duration_ms\":%llu", reason,
                      (unsigned long long)(shard->now_ms - connection->since_ms));
    }
    buffer_append_string(&data, "}");
    notices_add(&shard->notices, reason == NULL ? "connect" : "disconnect", &data);
    buffer_fini(&data);
}

/* ---- Publishing ----------------------------------------------------------------------------- */

static enum publish_outcome publish_frames(struct shard *shard, const char *channel,
                                           struct frame *const frames[], unsigned count)
{
    struct publication publications[SYSTEM_NOTICES_PER_BATCH];
    for (unsigned i = 0; i < count; i++) {
        publications[i] = (struct publication){
            .channel = {CHANNEL_PUBLIC, span_of(channel)},
            .frame = frames[i],
            .needs_subscriber = true,
        };
    }
    return shard_publish(shard, publications, count);
}

/* Says how many notices there should have been. */
static void presence_tell_lost(struct shard *shard)
{
    struct system_notices *notices = &shard->notices;
    struct buffer data;
    buffer_init(&data, 256);
    buffer_printf(&data, "{\"count\":%llu,\"shard\":%u}", (unsigned long long)notices->lost,
                  shard->shard_index);
    uint64_t lost = notices->lost;
    notices->lost = 0;
    notices_add(notices, "lost", &data);
    if (notices->lost > 0) {
        notices->lost = lost;
    }
    buffer_fini(&data);
}

static void presence_publish(struct shard *shard)
{
    struct system_notices *notices = &shard->notices;
    if (notices->lost > 0) {
        presence_tell_lost(shard);
    }
    uint32_t done = 0;
    while (done < notices->count) {
        uint32_t count = (uint32_t)min_u64(notices->count - done, SYSTEM_NOTICES_PER_BATCH);
        enum publish_outcome outcome =
            publish_frames(shard, presence_name, &notices->frames[done], count);
        if (outcome == PUBLISH_FULL || outcome == PUBLISH_NO_MEMORY) {
            break;
        }
        for (uint32_t i = done; i < done + count && outcome != PUBLISH_DONE; i++) {
            frame_unref(notices->frames[i]);
        }
        done += count;
    }
    notices->count -= done;
    memmove(notices->frames, notices->frames + done, notices->count * sizeof(notices->frames[0]));
    if (notices->count > 0 || notices->lost > 0) {
        notices->due_ms = shard->now_ms + SYSTEM_NOTICES_RETRY_MS;
    }
}

/* Publishes what `write` writes to $stats, as an event of this type. */
static void stats_publish(struct shard *shard, const char *type,
                          void (*write)(struct shard *shard, struct buffer *body))
{
    struct buffer data;
    buffer_init(&data, SYSTEM_STATS_BYTES_MAX);
    write(shard, &data);
    struct frame *frame = NULL;
    if (!data.failed) {
        frame =
            event_frame_new(&(struct sse_event){.type = span_of(type), .data = buffer_span(&data)});
    }
    /* One that cannot be published is followed by a newer one in a second. */
    if (frame != NULL && publish_frames(shard, stats_name, &frame, 1) != PUBLISH_DONE) {
        frame_unref(frame);
    }
    buffer_fini(&data);
}

static void write_profile(struct shard *shard, struct buffer *body)
{
    struct profile_report *report = profile_report_new(shard);
    if (report == NULL) {
        body->failed = true;
        return;
    }
    profile_report_write_json(report, body);
    profile_report_free(report);
}

static void write_lag(struct shard *shard, struct buffer *body)
{
    slow_channels_write(shard, body);
}

bool system_has_work(const struct shard *shard)
{
    const struct system_notices *notices = &shard->notices;
    return (notices->count > 0 || notices->lost > 0) && shard->now_ms >= notices->due_ms;
}

void system_publish(struct shard *shard)
{
    struct system_notices *notices = &shard->notices;
    if (system_has_work(shard)) {
        presence_publish(shard);
    }
    if (shard->now_ms < notices->stats_due_ms || !is_watched(&shard->hub->stats_watchers)) {
        return;
    }
    notices->stats_due_ms = shard->now_ms + SYSTEM_STATS_MS;
    stats_publish(shard, "lag", write_lag);
    if (shard->shard_index == 0) {
        stats_publish(shard, "profile", write_profile);
        stats_publish(shard, "stats", look_write_stats);
    }
}
