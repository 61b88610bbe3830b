/* How a stream begins and ends: the streaming half of hub/connection.h. */
#include <errno.h>

#include "core/base/memory.h"
#include "hub/connection.h"
#include "hub/http2.h"
#include "hub/hub.h"
#include "hub/response.h"
#include "hub/shard.h"
#include "hub/system_channel.h"

enum {
    /* For the last words of a stream that is being ended. */
    CONNECTION_ENDING_MS = 2000,
};

/* One name for the log; a stream of several channels is told by its first. */
static struct span stream_channel(struct connection *connection)
{
    const struct subscriber *subscriber = &connection->subscriber;
    if (subscriber->channel_count == 0) {
        return span_of("broadcast");
    }
    return channel_name_of(subscriber_feed(subscriber, 0)->channel);
}

static void stream_log(struct connection *connection, const char *event, const char *reason)
{
    struct shard *shard = connection->shard;
    if (!log_is_on(shard->log, LOG_LEVEL_INFO)) {
        return;
    }
    char text[ADDRESS_TEXT_MAX];
    struct log_field fields[6] = {
        LOG_STR("client", connection_id(connection)),
        LOG_STR("address", span_make(text, address_write(connection_address(connection), text))),
        LOG_STR("channel", stream_channel(connection)),
        LOG_U64("channels", connection->subscriber.channel_count),
    };
    size_t count = 4;
    if (reason != NULL) {
        fields[count++] = LOG_TEXT("reason", reason);
        fields[count++] = LOG_MS("duration_ms", (double)(shard->now_ms - connection->since_ms));
    }
    log_event(shard->log, LOG_LEVEL_INFO, event, fields, count);
}

int connection_stream(struct connection *connection, struct span name)
{
    struct shard *shard = connection->shard;
    if (name.len > 0) {
        char *copy = memory_copy(name);
        if (copy == NULL) {
            return -ENOMEM;
        }
        connection->flags |= CONNECTION_NAMED;
        connection->id.name = copy;
    } else {
        /* Numbers are not guessable from one another: a shard's are a walk from a random start. */
        connection->id.number = random_next(&shard->random);
    }
    table_add(&shard->clients, &connection->by_id, shard_hash_id(shard, connection_id(connection)));
    connection->state = CONNECTION_STREAMING;
    connection->since_ms = shard->now_ms;
    connection->sent_ms = shard->now_ms;
    connection_read_stop(connection);
    shard_count(&shard->stats.streams, 1);
    connection_set_stream_timer(connection, (uint64_t)shard->config->heartbeat_seconds * 1000);
    stream_log(connection, "connect", NULL);
    system_presence(connection, NULL);
    return 0;
}

void connection_end_stream(struct connection *connection, const char *reason)
{
    struct shard *shard = connection->shard;
    struct subscriber *subscriber = &connection->subscriber;
    CHECK(connection->state == CONNECTION_STREAMING);
    if ((connection->flags & CONNECTION_ENDING) != 0) {
        return;
    }
    if (subscriber_is_inside_event(subscriber) || (subscriber->flags & SUBSCRIBER_BLOCKED) != 0) {
        /* In the middle of an event nothing else can be said. */
        connection_close(connection, reason);
        return;
    }
    connection->flags |= CONNECTION_ENDING;
    if (hub_is_draining(shard->hub) || (connection->flags & CONNECTION_LINGER_AFTER) != 0) {
        connection->flags |= CONNECTION_CLOSE_AFTER;
    }
    fanout_hold(&shard->fanout, subscriber);
    response_stream_retry(connection);
    if (connection->state == CONNECTION_STREAMING) {
        connection_write_end(connection);
    }
    if (connection->state == CONNECTION_STREAMING) {
        stream_log(connection, "ending", reason);
        connection_set_timer(connection, CONNECTION_ENDING_MS);
    }
}

void connection_stream_leave(struct connection *connection, const char *reason)
{
    struct shard *shard = connection->shard;
    stream_log(connection, "disconnect", reason);
    system_presence(connection, reason);
    system_channel_unwatch(connection);
    table_remove(&shard->clients, &connection->by_id);
    shard_count(&shard->stats.streams, -1);
    if ((connection->flags & CONNECTION_NAMED) != 0) {
        memory_free(connection->id.name);
    }
    connection->id.errand = NULL;
    connection->flags &= (uint16_t) ~(CONNECTION_NAMED | CONNECTION_ENDING);
}

void connection_stream_ended(struct connection *connection)
{
    struct shard *shard = connection->shard;
    if (http2_is_stream(connection) || (connection->flags & CONNECTION_CLOSE_AFTER) != 0) {
        connection_close(connection, "ended");
        return;
    }
    connection_stream_leave(connection, "ended");
    fanout_leave(&shard->fanout, &connection->subscriber, shard->wall_ms);
    connection->state = CONNECTION_WAITING;
    connection_resume(connection);
}
