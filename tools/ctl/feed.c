/* Made-up events for demonstrations: a sensor, a clock, and feedbacks as CloudEvents. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tools/ctl/ctl.h"
#include "tools/ctl/pacer.h"

/* What a feed draws its events from. */
struct feed_state {
    struct random *random;
    uint64_t number; /* of the event, from 1 on */
    double temperature, humidity;
};

struct feed_kind {
    const char *name, *channel, *event, *content_type;
    /* Appends the body of the next event. */
    void (*write)(struct feed_state *state, struct buffer *body);
};

/* From -1 to 1. */
static double noise(struct random *random)
{
    return (double)random_below(random, 2001) / 1000 - 1;
}

/* A quantity that wanders about its middle and never leaves its range. */
struct quantity {
    double middle, step, low, high;
};

static double drift(struct random *random, const struct quantity *quantity, double value)
{
    value += quantity->step * noise(random) + (quantity->middle - value) / 50;
    return value < quantity->low ? quantity->low : value > quantity->high ? quantity->high : value;
}

static const struct quantity temperature = {.middle = 22, .step = 0.4, .low = 15, .high = 35};
static const struct quantity humidity = {.middle = 55, .step = 1, .low = 30, .high = 80};

static void write_sensor(struct feed_state *state, struct buffer *body)
{
    state->temperature = drift(state->random, &temperature, state->temperature);
    state->humidity = drift(state->random, &humidity, state->humidity);
    buffer_printf(body, "{\"temperature\":%.1f,\"humidity\":%.1f}", state->temperature,
                  state->humidity);
}

static void write_clock(struct feed_state *state, struct buffer *body)
{
    char text[32];
    struct tm local;
    const time_t now = time(NULL);
    (void)state;
    localtime_r(&now, &local);
    strftime(text, sizeof(text), "%H:%M:%S", &local);
    buffer_append_string(body, text);
}

/* RFC 9562: version 4 is random; version 7 begins with the time in milliseconds. */
static void write_uuid(struct random *random, unsigned version, uint64_t ms, struct buffer *body)
{
    const uint64_t high = random_next(random);
    const uint64_t low = random_next(random);
    const uint64_t head = version == 7 ? ms & 0xFFFFFFFFFFFF : high >> 16;
    buffer_printf(body, "%08" PRIx64 "-%04" PRIx64 "-%x%03" PRIx64 "-%04" PRIx64 "-%012" PRIx64,
                  head >> 16, head & 0xFFFF, version, high & 0xFFF, (low >> 50) | 0x8000,
                  low & 0xFFFFFFFFFFFF);
}

static void write_feedback(struct feed_state *state, struct buffer *body)
{
    struct timespec now;
    struct tm utc;
    char text[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    const uint64_t ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    buffer_append_string(body, "{\"specversion\":\"1.0\",\"id\":\"");
    write_uuid(state->random, 4, 0, body);
    buffer_printf(body,
                  "\",\"source\":\"https://api.cloudnativeararaquara.com/v1/feedbacks\","
                  "\"type\":\"cloud.native.araraquara.feedbacks.v1\",\"time\":\"%s.%03" PRIu64
                  "Z\","
                  "\"datacontenttype\":\"application/json\",\"subject\":\"%" PRIu64 "\","
                  "\"data\":{\"FeedbackId\":\"",
                  text, ms % 1000, state->number);
    write_uuid(state->random, 7, ms, body);
    buffer_printf(body, "\",\"Content\":\"Feedback message %" PRIu64 "\"}}", state->number);
}

static const struct feed_kind kinds[] = {
    {"sensor", "sensor-data", "sensor-data", "application/json", write_sensor},
    {"clock", "stream", "message", "text/plain", write_clock},
    /* The hub takes the event type from the CloudEvent. */
    {"feedbacks", "feedbacks", NULL, "application/cloudevents+json", write_feedback},
};

static const struct feed_kind *find_kind(const char *name)
{
    for (size_t i = 0; i < countof(kinds); i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            return &kinds[i];
        }
    }
    return NULL;
}

int ctl_feed(struct ctl *ctl)
{
    const struct feed_kind *kind = find_kind(ctl->arguments[0]);
    if (kind == NULL) {
        fprintf(stderr, "spatectl: feed knows sensor, clock and feedbacks\n");
        return CTL_USAGE;
    }
    struct random random = ctl->random;
    if (ctl->seed != CTL_UNSET) {
        random_init(&random, ctl->seed);
    }
    struct feed_state state = {
        .random = &random, .temperature = temperature.middle, .humidity = humidity.middle};
    /* A feed that has begun outlives a hub that is started anew. */
    struct back_off back_off = {.base_ms = 1000,
                                .limit = ctl->retries == CTL_UNSET ? 0 : ctl->retries};
    struct pacer pacer;
    struct buffer body;
    pacer_init(&pacer, ctl->interval_ms * 1000000);
    buffer_init(&body, 4096);
    int result = CTL_OK;
    while (result == CTL_OK && (ctl->count == 0 || state.number < ctl->count)) {
        pacer_wait(&pacer, 1);
        state.number++;
        body.len = 0;
        kind->write(&state, &body);
        result = ctl_publish(ctl, &back_off,
                             &(struct publication){
                                 .channel = ctl->channel != NULL ? ctl->channel : kind->channel,
                                 .event = kind->event,
                                 .content_type = kind->content_type,
                                 .body = buffer_span(&body),
                             });
        pacer_spend(&pacer, 1);
        if (result == CTL_OK) {
            back_off.limit = ctl->retries;
        } else if (result == CTL_BROKEN && back_off.limit > 0 &&
                   back_off_wait(ctl, &back_off, "an event may be lost", 0)) {
            result = CTL_OK;
        }
    }
    buffer_fini(&body);
    return result;
}
