/* Subscribing: from a GET to a stream. */
#include "core/fanout.h"
#include "hub/access.h"
#include "hub/response.h"
#include "hub/resume_request.h"
#include "hub/routes.h"

struct subscription {
    unsigned channel_count;
    struct channel_name channels[SUBSCRIBER_CHANNELS_MAX];
    struct span client; /* empty: unnamed */
    struct resume_request resume;
};

/* The array is large, and only the part that is used is ever written. */
static void subscription_init(struct subscription *subscription, struct span client)
{
    subscription->channel_count = 0;
    subscription->client = client;
    subscription->resume = (struct resume_request){0};
}

static const char stream_headers[] = "Cache-Control: no-cache, no-transform\r\n"
                                     "X-Accel-Buffering: no\r\n";

/* A name of the hub's own. False: the refusal has been sent. */
static bool may_watch(struct call *call, enum channel_kind kind, struct span name)
{
    if (kind != CHANNEL_PUBLIC || system_channel_named(name) == SYSTEM_CHANNEL_NONE) {
        response_problem(call, 403,
                         "Names that begin with $ are the hub's own; it has the channels $presence "
                         "and $stats.");
        return false;
    }
    return access_may_watch(call);
}

/* Adds a channel once, however often it is named. False: the refusal has been sent. */
static bool subscription_add(struct call *call, struct subscription *subscription,
                             enum channel_kind kind, struct span name)
{
    const char *what = kind == CHANNEL_CLIENT ? "client" : "channel";
    if (!call_name_is_valid(call, name)) {
        response_problem(call, 400,
                         "A %s name is 1 to %u bytes of UTF-8 without control characters.", what,
                         call->config->name_bytes_max);
        return false;
    }
    if (name.bytes[0] == '$' && !may_watch(call, kind, name)) {
        return false;
    }
    if (kind == CHANNEL_PUBLIC && span_is(name, "broadcast")) {
        return true; /* every subscriber has it anyway */
    }
    for (unsigned i = 0; i < subscription->channel_count; i++) {
        if (subscription->channels[i].kind == kind &&
            span_equal(subscription->channels[i].name, name)) {
            return true;
        }
    }
    if (subscription->channel_count >= call->config->subscriptions_max ||
        subscription->channel_count == SUBSCRIBER_CHANNELS_MAX) {
        response_problem(call, 400, "One connection may hold %u channels at most.",
                         call->config->subscriptions_max);
        return false;
    }
    subscription->channels[subscription->channel_count++] = (struct channel_name){kind, name};
    return true;
}

/* Reads the query. False: the refusal has been sent. */
static bool subscription_read_query(struct call *call, struct subscription *subscription,
                                    bool with_channels, unsigned *ret_named)
{
    struct uri_query query;
    struct span name;
    struct span value;
    int r;
    uri_query_init(&query, call->request->query);
    while ((r = call_parameter(call, &query, &name, &value)) > 0) {
        if (with_channels && (span_is(name, "channel") || span_is(name, "canal"))) {
            (*ret_named)++;
            if (!subscription_add(call, subscription, CHANNEL_PUBLIC, value)) {
                return false;
            }
        } else if (span_is(name, "client")) {
            /* A named connection also gets what is sent to that name. */
            if (!subscription_add(call, subscription, CHANNEL_CLIENT, value)) {
                return false;
            }
            subscription->client = value;
        } else if (resume_request_parameter(&subscription->resume, name, value) < 0) {
            response_problem(call, 400,
                             "history is a number of events; since is a time (RFC 3339) or a "
                             "number of Unix milliseconds.");
            return false;
        }
    }
    if (r < 0) {
        response_problem(call, 400, "The query has a broken percent escape.");
        return false;
    }
    return true;
}

static void stream_begin(struct call *call, const char *gap)
{
    struct buffer headers;
    buffer_init(&headers, 512);
    buffer_append_string(&headers, stream_headers);
    if (gap != NULL) {
        buffer_append_string(&headers, "Spate-Gap: ");
        buffer_append_string(&headers, gap);
        buffer_append_string(&headers, "\r\n");
    }
    if (headers.failed) {
        connection_close(call->connection, "no memory");
    } else {
        response_begin(call, "text/event-stream", buffer_span(&headers));
    }
    buffer_fini(&headers);
}

static void subscription_open(struct call *call, struct subscription *subscription)
{
    struct shard *shard = call->shard;
    struct connection *connection = call->connection;
    resume_request_finish(&subscription->resume, call);
    if (call->head_only) {
        stream_begin(call, NULL);
        return;
    }
    if (hub_is_draining(shard->hub)) {
        response_not_now(call, "This hub is shutting down; try another one, or again shortly.");
        return;
    }
    struct subscriber *subscriber = &connection->subscriber;
    subscriber->view = connection->minor_version == 0 ? FRAME_RAW : FRAME_CHUNKED;
    switch (fanout_join(&shard->fanout, subscriber,
                        channel_names(subscription->channels, subscription->channel_count),
                        FANOUT_FROM_NOW, shard->wall_ms)) {
    case SUBSCRIBE_CHANNEL_LIMIT:
        response_not_now(call, "This hub has as many channels as it may.");
        return;
    case SUBSCRIBE_NO_MEMORY:
        response_not_now(call, "This hub is out of memory.");
        return;
    case SUBSCRIBE_DONE:
        break;
    }
    for (unsigned i = 0; i < subscription->channel_count; i++) {
        system_channel_watch(connection, system_channel_named(subscription->channels[i].name));
    }
    if (connection_stream(connection, subscription->client) < 0) {
        system_channel_unwatch(connection);
        fanout_leave(&shard->fanout, subscriber, shard->wall_ms);
        response_not_now(call, "This hub is out of memory.");
        return;
    }
    struct resume_request *resume = &subscription->resume;
    resume_request_apply(resume, call);
    if (connection->state != CONNECTION_STREAMING) {
        return; /* no memory for it */
    }
    stream_begin(call, resume->gap);
    if (connection->state != CONNECTION_STREAMING) {
        return; /* no memory for it */
    }
    /* Its place lies beyond a gap: a client that has not read of the gap must ask for it again. */
    response_stream_first_words(connection, resume->gap == NULL);
    if (resume->gap != NULL && connection->state == CONNECTION_STREAMING) {
        shard_count(&shard->stats.gaps, 1);
        resume_write_gap(connection, resume->gap, resume->last_event_id, resume->first_available);
    }
}

void subscribe_channel(struct call *call)
{
    struct subscription subscription;
    subscription_init(&subscription, span_make(NULL, 0));
    if (subscription_add(call, &subscription, CHANNEL_PUBLIC, call->segments[1]) &&
        subscription_read_query(call, &subscription, false, NULL)) {
        subscription_open(call, &subscription);
    }
}

void subscribe_channels(struct call *call)
{
    struct subscription subscription;
    subscription_init(&subscription, span_make(NULL, 0));
    unsigned named = 0;
    if (!subscription_read_query(call, &subscription, true, &named)) {
        return;
    }
    if (named == 0) {
        response_problem(call, 400, "Say which channel: /sse?channel=news, or /sse/news.");
        return;
    }
    subscription_open(call, &subscription);
}

void subscribe_client(struct call *call)
{
    struct subscription subscription;
    subscription_init(&subscription, call->segments[1]);
    if (subscription_add(call, &subscription, CHANNEL_CLIENT, call->segments[1]) &&
        subscription_read_query(call, &subscription, false, NULL)) {
        /* The path names the client, whatever the query says. */
        subscription.client = call->segments[1];
        subscription_open(call, &subscription);
    }
}

void subscribe_alias(struct call *call, struct span channel)
{
    struct subscription subscription;
    subscription_init(&subscription, span_make(NULL, 0));
    if (subscription_add(call, &subscription, CHANNEL_PUBLIC, channel) &&
        subscription_read_query(call, &subscription, false, NULL)) {
        subscription_open(call, &subscription);
    }
}
