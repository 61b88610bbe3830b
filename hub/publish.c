#include "hub/publish.h"

#include <errno.h>
#include <jansson.h>

#include "core/base/memory.h"
#include "core/base/utf8.h"
#include "core/event_id.h"
#include "hub/access.h"
#include "hub/cloudevent.h"
#include "hub/event_frame.h"
#include "hub/response.h"
#include "hub/routes.h"
#include "proto/json.h"
#include "proto/json_cut.h"
#include "proto/media_type.h"

enum {
    /* A day: no client should stay away longer on our word. */
    PUBLISH_RETRY_MS_MAX = 24 * 60 * 60 * 1000,
    PUBLISH_ANSWER_MAX = 64 * 1024 * 1024,
};

static const char replayed[] = "Idempotency-Replayed: true\r\n";

static const char *const name_help =
    "A %s name is 1 to %u bytes of UTF-8 without control characters.";

bool event_set_channel(struct call *call, struct event *event, struct span name)
{
    if (!call_name_is_valid(call, name)) {
        response_problem(call, 400, name_help, "channel", call->config->name_bytes_max);
        return false;
    }
    if (name.bytes[0] == '$') {
        response_problem(call, 403, "Channels that begin with $ are the hub's own.");
        return false;
    }
    if (span_is(name, "broadcast")) {
        event->channel = (struct channel_name){CHANNEL_BROADCAST, {NULL, 0}};
    } else {
        event->channel = (struct channel_name){CHANNEL_PUBLIC, name};
    }
    return true;
}

static bool parse_retry(struct span text, uint32_t *ret_ms)
{
    uint64_t value = 0;
    if (text.len == 0 || text.len > 9) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.bytes[i] < '0' || text.bytes[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(text.bytes[i] - '0');
    }
    *ret_ms = (uint32_t)value;
    return value <= PUBLISH_RETRY_MS_MAX;
}

bool event_set_retry(struct call *call, struct event *event, struct span text)
{
    if (!parse_retry(text, &event->sse.retry_ms)) {
        response_problem(call, 400, "retry is a number of milliseconds from 0 to %d.",
                         PUBLISH_RETRY_MS_MAX);
        return false;
    }
    event->sse.has_retry = true;
    return true;
}

/* What makes an event impossible to deliver exactly; NULL if nothing does. */
static const char *event_problem(const struct event *event)
{
    if (!utf8_is_valid(event->sse.data)) {
        return "The data is not valid UTF-8, and an event stream can carry nothing else.";
    }
    if (!utf8_is_valid(event->sse.type)) {
        return "The event type is not valid UTF-8.";
    }
    if (!sse_field_is_valid(event->sse.type)) {
        return "An event type may not contain CR, LF or NUL.";
    }
    return NULL;
}

unsigned publish_batch_max(const struct config *config)
{
    /* What no queue can ever take is not refused as if it could in a second. */
    return (unsigned)min_u64(config->batch_count_max, config->queue_length);
}

/* ---- Answers
 * ---------------------------------------------------------------------------------------- */

void publish_refuse(struct call *call, enum publish_outcome outcome)
{
    static const char retry[] = "Retry-After: 1\r\n";
    struct span headers = span_make(retry, sizeof(retry) - 1);
    switch (outcome) {
    case PUBLISH_DONE:
        break;
    case PUBLISH_FULL:
        response_problem_with(call, 503, headers,
                              "The channel's subscribers cannot take more at this moment; nothing "
                              "was published.");
        break;
    case PUBLISH_NO_SUBSCRIBER:
        response_problem(call, 404, "That client is not connected.");
        break;
    case PUBLISH_CHANNEL_LIMIT:
        response_problem_with(call, 503, headers, "This hub has as many channels as it may.");
        break;
    case PUBLISH_NO_MEMORY:
        response_problem_with(call, 503, headers, "This hub is out of memory.");
        break;
    }
}

static struct span name_to_show(struct channel_name channel)
{
    return channel.kind == CHANNEL_BROADCAST ? span_of("broadcast") : channel.name;
}

static void write_id(struct buffer *body, const struct call *call, uint64_t sequence)
{
    char id[EVENT_ID_LEN];
    if (sequence == 0) {
        buffer_append_string(body, "null");
        return;
    }
    event_id_write(id, call->shard->hub->epoch, sequence);
    buffer_append_string(body, "\"");
    buffer_append(body, id, sizeof(id));
    buffer_append_string(body, "\"");
}

void publish_answer(struct call *call, const struct publish_result *result)
{
    static const struct publication none = {.sequence = 0};
    unsigned count = result->count;
    const struct publication *last = count == 0 ? &none : &result->publications[count - 1];
    struct buffer body;
    buffer_init(&body, PUBLISH_ANSWER_MAX);
    buffer_append_string(&body, "{\"id\":");
    write_id(&body, call, last->sequence);
    buffer_append_string(&body, ",\"channel\":\"");
    buffer_append_json(&body, name_to_show(count == 0 ? result->channel : last->channel));
    buffer_append_string(&body, "\",\"subscribers\":");
    buffer_append_u64(&body, last->subscribers);
    if (result->is_batch) {
        buffer_append_string(&body, ",\"count\":");
        buffer_append_u64(&body, count);
        buffer_append_string(&body, ",\"ids\":[");
        for (unsigned i = 0; i < count; i++) {
            buffer_append_string(&body, i == 0 ? "" : ",");
            write_id(&body, call, result->publications[i].sequence);
        }
        buffer_append_string(&body, "]");
    }
    if (result->duplicate_count > 0) {
        buffer_append_string(&body, ",\"duplicates\":");
        buffer_append_u64(&body, result->duplicate_count);
    }
    buffer_append_string(&body, "}\n");
    if (call->idempotency != NULL) {
        struct span answer = body.failed ? span_of("{}\n") : buffer_span(&body);
        idempotency_commit(&call->shard->hub->idempotency, call->idempotency, answer);
        call->idempotency = NULL;
    }
    if (body.failed) {
        /* It is published; the answer must not say otherwise. */
        connection_close(call->connection, "no memory");
    } else {
        bool is_replay = count > 0 && result->duplicate_count == count;
        response_send(call, &(struct response){.status = 200,
                                               .content_type = RESPONSE_JSON,
                                               .headers = span_of(is_replay ? replayed : ""),
                                               .body = buffer_span(&body)});
    }
    buffer_fini(&body);
}

void publish_log(const struct call *call, const struct publication *publication, size_t bytes)
{
    if (log_is_on(call->shard->log, LOG_LEVEL_INFO)) {
        char id[EVENT_ID_LEN];
        event_id_write(id, call->shard->hub->epoch, publication->sequence);
        log_line(call->shard->log, LOG_LEVEL_INFO, "publish",
                 LOG_STR("channel", name_to_show(publication->channel)),
                 LOG_STR("id", span_make(id, sizeof(id))), LOG_U64("bytes", bytes),
                 LOG_U64("subscribers", publication->subscribers));
    }
}

/* Publishes one event. False: the refusal has been sent. */
static bool publish_event(struct call *call, const struct event *event, bool needs_subscriber,
                          struct publication *publication)
{
    const char *problem = event_problem(event);
    if (problem != NULL) {
        response_problem(call, 422, "%s", problem);
        return false;
    }
    *publication = (struct publication){
        .channel = event->channel,
        .frame = event_frame_new(&event->sse),
        .needs_subscriber = needs_subscriber,
    };
    enum publish_outcome outcome = PUBLISH_NO_MEMORY;
    if (publication->frame != NULL) {
        outcome = shard_publish(call->shard, publication, 1);
    }
    if (outcome != PUBLISH_DONE) {
        if (publication->frame != NULL) {
            frame_unref(publication->frame);
        }
        publish_refuse(call, outcome);
        return false;
    }
    publish_log(call, publication, event->sse.data.len);
    return true;
}

/* ---- Forms and queries
 * -------------------------------------------------------------------------------- */

static struct span *field_named(struct publish_fields *fields, struct span name)
{
    if (span_is(name, "channel") || span_is(name, "canal")) {
        return &fields->channel;
    }
    if (span_is(name, "msg") || span_is(name, "data")) {
        return &fields->msg;
    }
    if (span_is(name, "event")) {
        return &fields->event;
    }
    return span_is(name, "retry") ? &fields->retry : NULL;
}

/* -EINVAL: a broken escape; -EEXIST: a field twice. Unknown fields are passed over. */
static int fields_read_query(struct call *call, struct publish_fields *fields)
{
    struct uri_query query;
    struct span name;
    struct span value;
    int r;
    uri_query_init(&query, call->request->query);
    while ((r = call_parameter(call, &query, &name, &value)) > 0) {
        struct span *field = field_named(fields, name);
        if (field == NULL) {
            continue;
        }
        if (field->bytes != NULL) {
            return -EEXIST;
        }
        *field = value;
    }
    return r;
}

/*
 * `curl -d TEXT` says that its body is a form, whatever it is. So a body is taken for a form only
 * if every field of it is one of ours, each once; anything else is the data itself.
 */
static bool fields_read_form(struct span body, char *room, struct publish_fields *fields)
{
    struct uri_query form;
    struct span raw_name;
    struct span raw_value;
    uri_query_init(&form, body);
    while (uri_query_next(&form, &raw_name, &raw_value)) {
        size_t len = 0;
        struct span *field = field_named(fields, raw_name);
        if (field == NULL || field == &fields->channel || field->bytes != NULL ||
            uri_decode(raw_value, true, room, &len) < 0) {
            return false;
        }
        *field = span_make(room, len);
        room += len + 1;
    }
    return fields->msg.bytes != NULL;
}

/* ---- One event
 * ------------------------------------------------------------------------------------------ */

enum body_kind {
    BODY_DATA,
    BODY_JSON,
    BODY_FORM,
    BODY_BATCH,
    BODY_CLOUDEVENT,        /* in the JSON format */
    BODY_CLOUDEVENT_BATCH,  /* in the JSON batch format */
    BODY_CLOUDEVENT_BINARY, /* the data of one whose attributes are header fields */
    BODY_UNKNOWN,
    BODY_CHARSET,
};

static bool is_json_like(struct span essence)
{
    return essence.len > 5 &&
           span_is_nocase(span_make(essence.bytes + essence.len - 5, 5), "+json");
}

static bool begins_with(struct span text, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len >= len && span_is_nocase(span_make(text.bytes, len), prefix);
}

/* The media types that begin so are CloudEvents in one of their formats. */
static enum body_kind cloudevent_kind(const struct media_type *type)
{
    if (media_type_is(type, "application/cloudevents+json")) {
        return BODY_CLOUDEVENT;
    }
    return media_type_is(type, "application/cloudevents-batch+json") ? BODY_CLOUDEVENT_BATCH
                                                                     : BODY_UNKNOWN;
}

static enum body_kind body_kind(const struct call *call)
{
    struct span value = call_field(call, "Content-Type");
    struct media_type type = {.charset = MEDIA_CHARSET_NONE};
    bool is_media_type = media_type_parse(value, &type) == 0;
    bool is_structured = begins_with(type.essence, "application/cloudevents");
    if (!is_structured && cloudevent_is_binary(call)) {
        /* Of any media type and charset, which belong to the event then. */
        return BODY_CLOUDEVENT_BINARY;
    }
    if (value.len == 0) {
        return BODY_DATA;
    }
    if (!is_media_type) {
        return BODY_UNKNOWN;
    }
    if (type.charset == MEDIA_CHARSET_OTHER) {
        return BODY_CHARSET;
    }
    if (is_structured) {
        return cloudevent_kind(&type);
    }
    if (media_type_is(&type, "application/x-www-form-urlencoded")) {
        return BODY_FORM;
    }
    if (media_type_is(&type, "application/x-ndjson")) {
        return BODY_BATCH;
    }
    if (is_json_like(type.essence) || media_type_is(&type, "application/json")) {
        return BODY_JSON;
    }
    return begins_with(type.essence, "text/") ? BODY_DATA : BODY_UNKNOWN;
}

static void publish_one(struct call *call, struct publish_fields *fields, struct span data)
{
    struct event event = {.sse = {.type = fields->event, .data = data}};
    struct publication publication;
    if (event_set_channel(call, &event, fields->channel) &&
        (fields->retry.bytes == NULL || event_set_retry(call, &event, fields->retry)) &&
        publish_event(call, &event, false, &publication)) {
        publish_answer(call, &(struct publish_result){.publications = &publication, .count = 1});
    }
}

static void publish_form(struct call *call, struct publish_fields *fields)
{
    struct publish_fields form = *fields;
    form.msg = span_make(NULL, 0);
    char *room = memory_alloc(call->body.len + 8);
    if (room == NULL) {
        publish_refuse(call, PUBLISH_NO_MEMORY);
        return;
    }
    if (fields_read_form(call->body, room, &form)) {
        publish_one(call, &form, form.msg);
    } else {
        publish_one(call, fields, call->body);
    }
    memory_free(room);
}

/* JSON is sent byte for byte, but only if it is JSON: readers parse it without asking. */
static void publish_json(struct call *call, struct publish_fields *fields)
{
    if (json_is_surely_valid(call->body)) {
        publish_one(call, fields, call->body);
        return;
    }
    json_error_t error;
    json_t *document =
        json_loadb(call->body.bytes, call->body.len,
                   JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
    if (document == NULL) {
        response_not_json(call, &error);
        return;
    }
    json_decref(document);
    publish_one(call, fields, call->body);
}

static void publish_batch(struct call *call, struct span channel);

static void publish_body(struct call *call, struct publish_fields *fields)
{
    enum body_kind kind = body_kind(call);
    if (fields->msg.bytes != NULL) {
        if (kind == BODY_CLOUDEVENT || kind == BODY_CLOUDEVENT_BATCH ||
            kind == BODY_CLOUDEVENT_BINARY) {
            response_problem(call, 400, "A CloudEvent has its own data: leave msg= out.");
        } else if (call->body.len > 0) {
            response_problem(call, 400, "Give the data once: as msg= or as the body.");
        } else {
            publish_one(call, fields, fields->msg);
        }
        return;
    }
    switch (kind) {
    case BODY_DATA:
        publish_one(call, fields, call->body);
        break;
    case BODY_JSON:
        publish_json(call, fields);
        break;
    case BODY_FORM:
        publish_form(call, fields);
        break;
    case BODY_BATCH:
        publish_batch(call, fields->channel);
        break;
    case BODY_CLOUDEVENT:
        cloudevent_publish(call, fields);
        break;
    case BODY_CLOUDEVENT_BATCH:
        cloudevent_publish_batch(call, fields);
        break;
    case BODY_CLOUDEVENT_BINARY:
        cloudevent_publish_binary(call, fields);
        break;
    case BODY_CHARSET:
        response_problem(call, 415, "Only UTF-8 text can be published; convert it first.");
        break;
    case BODY_UNKNOWN:
        response_problem(call, 415,
                         "Publish text/*, application/json, application/x-ndjson (a batch), "
                         "application/x-www-form-urlencoded, application/cloudevents+json or "
                         "application/cloudevents-batch+json.");
        break;
    }
}

/* ---- Idempotency keys
 * ----------------------------------------------------------------------------------------------
 */

static bool key_is_valid(struct span key)
{
    if (key.len > IDEMPOTENCY_KEY_LEN_MAX) {
        return false;
    }
    for (size_t i = 0; i < key.len; i++) {
        if (key.bytes[i] < 0x21 || key.bytes[i] > 0x7e) {
            return false;
        }
    }
    return true;
}

/* A hash of all that makes the request what it is. */
static uint64_t request_fingerprint(const struct call *call)
{
    const struct span parts[] = {call->request->path, call->request->query,
                                 call_field(call, "Content-Type"), call->body};
    uint64_t hashes[countof(parts)];
    const struct hash_key *key = &call->shard->hub->idempotency.hash_key;
    for (size_t i = 0; i < countof(parts); i++) {
        hashes[i] = hash_bytes(key, parts[i].bytes, parts[i].len);
    }
    return hash_bytes(key, hashes, sizeof(hashes));
}

static void answer_again(struct call *call, struct span answer)
{
    response_send(call, &(struct response){.status = 200,
                                           .content_type = RESPONSE_JSON,
                                           .headers = span_of(replayed),
                                           .body = answer});
}

/* True: go on and publish. False: the request has been answered. */
static bool idempotency_admit(struct call *call)
{
    struct span key = call_field(call, "Idempotency-Key");
    if (key.len == 0) {
        return true;
    }
    if (!key_is_valid(key)) {
        response_problem(call, 400, "An Idempotency-Key is 1 to %d visible ASCII characters.",
                         IDEMPOTENCY_KEY_LEN_MAX);
        return false;
    }
    struct buffer answer;
    buffer_init(&answer, PUBLISH_ANSWER_MAX);
    enum idempotency_outcome outcome =
        idempotency_begin(&call->shard->hub->idempotency, key, request_fingerprint(call),
                          call->shard->wall_ms, &answer, &call->idempotency);
    switch (outcome) {
    case IDEMPOTENCY_NEW:
        break;
    case IDEMPOTENCY_REPLAY:
        answer_again(call, answer.len == 0 ? span_of("{}\n") : buffer_span(&answer));
        break;
    case IDEMPOTENCY_OTHER_REQUEST:
        response_problem(call, 422, "This Idempotency-Key was used for another request.");
        break;
    case IDEMPOTENCY_BUSY:
        response_problem_with(call, 409, span_of("Retry-After: 1\r\n"),
                              "The first request with this Idempotency-Key is being answered.");
        break;
    case IDEMPOTENCY_NO_MEMORY:
        publish_refuse(call, PUBLISH_NO_MEMORY);
        break;
    }
    buffer_fini(&answer);
    return outcome == IDEMPOTENCY_NEW;
}

/* Publishes what the request says, once for its key. A refusal leaves the key free. */
static void publish_once(struct call *call, struct publish_fields *fields)
{
    if (!idempotency_admit(call)) {
        return;
    }
    publish_body(call, fields);
    if (call->idempotency != NULL) {
        idempotency_abort(&call->shard->hub->idempotency, call->idempotency);
        call->idempotency = NULL;
    }
}

/* The query's fields; false: the refusal has been sent. */
static bool publish_begin(struct call *call, struct publish_fields *fields)
{
    if (!access_may_publish(call)) {
        return false;
    }
    int r = fields_read_query(call, fields);
    if (r == -EEXIST) {
        response_problem(call, 400, "A query parameter is given twice; publish to one channel.");
    } else if (r < 0) {
        response_problem(call, 400, "The query has a broken percent escape.");
    }
    return r == 0;
}

void publish_channel(struct call *call)
{
    struct publish_fields fields = {.channel = call->segments[1]};
    struct publish_fields given = {0};
    if (publish_begin(call, &given)) {
        given.channel = fields.channel;
        publish_once(call, &given);
    }
}

void publish_query(struct call *call)
{
    struct publish_fields fields = {0};
    if (!publish_begin(call, &fields)) {
        return;
    }
    if (fields.channel.bytes == NULL) {
        response_problem(call, 400, "Say which channel: /publish?channel=news&msg=hello.");
    } else if (fields.msg.bytes == NULL && call->body.len == 0 && !cloudevent_is_binary(call)) {
        response_problem(call, 400, "Say what to publish: msg=hello, or a body.");
    } else {
        publish_once(call, &fields);
    }
}

/* ---- Seed routes: a status for one client, or for all
 * ------------------------------------------------------ */

static void publish_status_to(struct call *call, struct channel_name channel, struct span status)
{
    struct event event = {.channel = channel, .sse = {.data = status}};
    struct publication publication;
    if (publish_event(call, &event, channel.kind == CHANNEL_CLIENT, &publication)) {
        response_send(call, &(struct response){.status = 200,
                                               .content_type = RESPONSE_TEXT,
                                               .headers = span_of("Cache-Control: no-store\r\n"),
                                               .body = span_of("Ok")});
    }
}

void publish_status(struct call *call)
{
    if (!access_may_publish(call)) {
        return;
    }
    if (!call_name_is_valid(call, call->segments[1])) {
        response_problem(call, 400, name_help, "client", call->config->name_bytes_max);
        return;
    }
    struct channel_name client = {CHANNEL_CLIENT, call->segments[1]};
    publish_status_to(call, client, call->segments[3]);
}

void publish_status_all(struct call *call)
{
    if (access_may_publish(call)) {
        struct channel_name everybody = {CHANNEL_BROADCAST, {NULL, 0}};
        publish_status_to(call, everybody, call->segments[2]);
    }
}

/* ---- Batches
 * ------------------------------------------------------------------------------------------------
 */

struct batch {
    struct publication *publications;
    json_t **documents; /* what the publications' names point into */
    unsigned count;
    unsigned capacity;
};

static void batch_fini(struct batch *batch, bool published)
{
    for (unsigned i = 0; i < batch->count; i++) {
        if (!published) {
            frame_unref(batch->publications[i].frame);
        }
        json_decref(batch->documents[i]);
    }
    memory_free(batch->publications);
    memory_free(batch->documents);
}

static bool json_text(const json_t *value, struct span *ret_text)
{
    if (value == NULL) {
        return true;
    }
    if (!json_is_string(value)) {
        return false;
    }
    *ret_text = span_make(json_string_value(value), json_string_length(value));
    return true;
}

/* Only members that we know; a misspelt one is an error, not silence. */
static const char *document_problem(json_t *document)
{
    static const char *const known[] = {"data", "event", "channel", "retry"};
    const char *key;
    json_t *value;
    if (!json_is_object(document)) {
        return "is not a JSON object";
    }
    json_object_foreach(document, key, value)
    {
        bool found = false;
        for (size_t i = 0; i < countof(known); i++) {
            found |= strcmp(key, known[i]) == 0;
        }
        if (!found) {
            return "has a member other than data, event, channel and retry";
        }
    }
    return json_object_get(document, "data") == NULL ? "has no data" : NULL;
}

/* A member's value as the line has it, where a tree would lose how a number was written. */
static struct span line_member(struct span line, const char *wanted)
{
    enum { NAME_MAX_BYTES = 64 }; /* ours, though all of it be escaped */
    struct json_cut cut;
    struct span name;
    struct span value;
    char text[NAME_MAX_BYTES];
    size_t len = 0;
    json_cut_init(&cut, line);
    while (json_cut_next(&cut, &name, &value)) {
        if (name.len <= sizeof(text) && json_cut_unescape(name, text, &len) &&
            span_is(span_make(text, len), wanted)) {
            return value;
        }
    }
    return span_make(NULL, 0);
}

/* One line of a batch. False: the refusal has been sent. */
static bool batch_add(struct call *call, struct batch *batch, struct span channel,
                      struct span line_text, json_t *document)
{
    unsigned line = batch->count + 1;
    struct event event = {0};
    const char *problem = document_problem(document);
    if (problem != NULL) {
        response_problem(call, 422, "Line %u of the batch %s.", line, problem);
        return false;
    }
    json_t *data = json_object_get(document, "data");
    char *compact = NULL;
    if (!json_is_string(data)) {
        /* Data that is JSON itself is sent as JSON. */
        struct span text = line_member(line_text, "data");
        compact = memory_alloc(text.len);
        if (compact == NULL) {
            publish_refuse(call, PUBLISH_NO_MEMORY);
            return false;
        }
        event.sse.data = span_make(compact, json_cut_compact(text, compact));
    } else {
        json_text(data, &event.sse.data);
    }
    bool ok = json_text(json_object_get(document, "event"), &event.sse.type) &&
              json_text(json_object_get(document, "channel"), &channel);
    if (json_object_get(document, "retry") != NULL) {
        event.sse.has_retry = true;
        ok &= parse_retry(line_member(line_text, "retry"), &event.sse.retry_ms);
    }
    if (!ok) {
        response_problem(call, 422,
                         "Line %u of the batch: event and channel are strings, retry is a number "
                         "of milliseconds.",
                         line);
    } else if (event_set_channel(call, &event, channel)) {
        problem = event_problem(&event);
        struct frame *frame = problem == NULL ? event_frame_new(&event.sse) : NULL;
        if (problem != NULL) {
            response_problem(call, 422, "Line %u of the batch: %s", line, problem);
        } else if (frame == NULL) {
            publish_refuse(call, PUBLISH_NO_MEMORY);
        } else {
            batch->documents[batch->count] = json_incref(document);
            batch->publications[batch->count++] =
                (struct publication){.channel = event.channel, .frame = frame};
            memory_free(compact);
            return true;
        }
    }
    memory_free(compact);
    return false;
}

/* Parses all lines. False: the refusal has been sent. */
static bool batch_parse(struct call *call, struct batch *batch, struct span channel)
{
    struct sse_lines lines;
    struct span line;
    sse_lines_init(&lines, call->body);
    while (sse_lines_next(&lines, &line)) {
        if (line.len == 0) {
            continue;
        }
        if (batch->count == batch->capacity) {
            response_problem(call, 413, "A batch may have %u events.", batch->capacity);
            return false;
        }
        json_error_t error;
        json_t *document = json_loadb(line.bytes, line.len,
                                      JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL |
                                          JSON_DECODE_INT_AS_REAL,
                                      &error);
        if (document == NULL) {
            response_problem(call, 422, "Line %u of the batch is not JSON: %s.", batch->count + 1,
                             error.text);
            return false;
        }
        bool added = batch_add(call, batch, channel, line, document);
        json_decref(document);
        if (!added) {
            return false;
        }
    }
    if (batch->count == 0) {
        response_problem(call, 422, "The batch is empty.");
        return false;
    }
    return true;
}

static void publish_batch(struct call *call, struct span channel)
{
    struct batch batch = {.capacity = publish_batch_max(call->config)};
    batch.publications = memory_alloc(batch.capacity * sizeof(batch.publications[0]));
    batch.documents = memory_alloc(batch.capacity * sizeof(json_t *));
    bool published = false;
    if (batch.publications == NULL || batch.documents == NULL) {
        publish_refuse(call, PUBLISH_NO_MEMORY);
    } else if (batch_parse(call, &batch, channel)) {
        enum publish_outcome outcome = shard_publish(call->shard, batch.publications, batch.count);
        published = outcome == PUBLISH_DONE;
        if (published) {
            publish_answer(call, &(struct publish_result){.publications = batch.publications,
                                                          .count = batch.count,
                                                          .is_batch = true});
            publish_log(call, &batch.publications[batch.count - 1], call->body.len);
        } else {
            publish_refuse(call, outcome);
        }
    }
    batch_fini(&batch, published);
}
