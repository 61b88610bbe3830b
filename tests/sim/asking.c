/* Where a stream asks to begin, and the request in which it does. */
#include <stdio.h>

#include "tests/sim/model.h"
#include "tests/sim/stream.h"
#include "tests/sim/world.h"

static void choose_ask(struct stream *stream)
{
    static const enum ask asks[] = {ASK_NOW,   ASK_EARLIEST,  ASK_EARLIEST, ASK_LAST,
                                    ASK_SINCE, ASK_MALFORMED, ASK_EPOCH,    ASK_FUTURE};
    stream->ask =
        stream->last_seen > 0 && sim_chance(90) ? ASK_AFTER : asks[sim_below(countof(asks))];
    stream->ask_value = 0;
    switch (stream->ask) {
    case ASK_AFTER:
        stream->ask_value = stream->last_seen;
        break;
    case ASK_LAST:
        stream->ask_value = sim_below(sim_chance(50) ? 6 : 60);
        break;
    case ASK_SINCE:
        stream->ask_value = world_wall_ms() - sim_below(20000);
        break;
    case ASK_FUTURE:
        stream->ask_value = model.sequence + 5000 + sim_below(1000000);
        break;
    case ASK_NOW:
    case ASK_EARLIEST:
    case ASK_MALFORMED:
    case ASK_EPOCH:
        break;
    }
}

static void write_id(const struct stream *stream, char text[64])
{
    switch (stream->ask) {
    case ASK_AFTER:
    case ASK_FUTURE:
        model_id(text, stream->ask_value);
        break;
    case ASK_EARLIEST:
        snprintf(text, 64, "earliest");
        break;
    case ASK_MALFORMED:
        snprintf(text, 64, "no-such-id");
        break;
    case ASK_EPOCH:
        event_id_write(text, world.hub.epoch ^ 1, 1 + sim_below(100));
        text[EVENT_ID_LEN] = '\0';
        break;
    case ASK_NOW:
    case ASK_LAST:
    case ASK_SINCE:
        snprintf(text, 64, "%s", sim_chance(50) && stream->ask == ASK_NOW ? "latest" : "");
        break;
    }
}

static void write_request(struct stream *stream)
{
    char target[256] = "";
    char id[64];
    unsigned channels = (unsigned)(stream->set & ((1ULL << PUBLIC_MAX) - 1));
    write_id(stream, id);
    char *end = target + sizeof(target);
    char *at = target;
    if (channels == 0) {
        at += snprintf(at, (size_t)(end - at), "/stream/k%d?", stream->client);
    } else if ((channels & (channels - 1)) == 0 && sim_chance(50)) {
        at += snprintf(at, (size_t)(end - at), "/sse/c%d?", __builtin_ctz(channels));
    } else {
        at += snprintf(at, (size_t)(end - at), "/sse?");
        for (unsigned i = 0; i < PUBLIC_MAX; i++) {
            if ((channels >> i & 1) != 0) {
                at += snprintf(at, (size_t)(end - at), "%s=c%u&",
                               sim_chance(80) ? "channel" : "canal", i);
            }
        }
    }
    if (channels != 0 && stream->client >= 0) {
        at += snprintf(at, (size_t)(end - at), "client=k%d&", stream->client);
    }
    if (stream->ask == ASK_LAST) {
        at += snprintf(at, (size_t)(end - at), "history=%u&", (unsigned)stream->ask_value);
    } else if (stream->ask == ASK_SINCE) {
        at +=
            snprintf(at, (size_t)(end - at), "since=%llu&", (unsigned long long)stream->ask_value);
    }
    bool in_query = id[0] != '\0' && sim_chance(30);
    if (in_query) {
        snprintf(at, (size_t)(end - at), "last_event_id=%s", id);
    }
    stream->request_len = (size_t)snprintf(
        stream->request, sizeof(stream->request),
        "GET %s HTTP/1.%d\r\nHost: localhost\r\n%s%s%s%s\r\n", target, stream->is_old ? 0 : 1,
        sim_chance(70) ? "Accept: text/event-stream\r\n" : "",
        id[0] != '\0' && !in_query ? "Last-Event-ID: " : "", id[0] != '\0' && !in_query ? id : "",
        id[0] != '\0' && !in_query ? "\r\n" : "");
    world_trace("stream %u: GET %s id %s", stream->number, target, id);
}

void stream_ask(struct stream *stream)
{
    choose_ask(stream);
    write_request(stream);
}
