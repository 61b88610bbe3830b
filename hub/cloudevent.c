#include "hub/cloudevent.h"

#include <jansson.h>

#include "core/base/memory.h"
#include "core/base/utf8.h"
#include "hub/config_value.h"
#include "hub/event_frame.h"
#include "hub/response.h"
#include "proto/base64.h"
#include "proto/cloudevent.h"
#include "proto/json.h"
#include "proto/json_cut.h"
#include "proto/media_type.h"

/* Many numbers of a valid document are neither of C's; they are looked at as they are written. */
enum { JSON_FLAGS = JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL };

/* In the window of idempotency keys: a byte that no key of a header has, and 128 bits. */
struct identity {
    char bytes[1 + 2 * sizeof(uint64_t)];
};

/* What the window remembers of an event. */
struct remembered {
    uint64_t sequence;
    uint64_t subscribers;
};

enum { NO_ORIGINAL = -1 };

struct item {
    struct identity identity;
    struct frame *frame;             /* NULL: a duplicate */
    struct idempotency_entry *entry; /* NULL: a duplicate */
    int64_t original;                /* index of the same event in this batch, or NO_ORIGINAL */
};

/* The events of one request. */
struct submission {
    struct call *call;
    const struct publish_fields *fields;
    bool is_batch;
    bool is_data_only; /* what the configuration says of the channel */
    struct event base; /* what the query says of every event */
    struct item *items;
    struct publication *results; /* for each item */
    unsigned count;
};

bool cloudevent_is_binary(const struct call *call)
{
    static const char *const names[] = {"ce-specversion", "ce-id", "ce-source", "ce-type"};
    for (size_t i = 0; i < countof(names); i++) {
        if (http_request_find(call->request, names[i]) != NULL) {
            return true;
        }
    }
    return false;
}

/* ---- Refusals -------------------------------------------------------------------------------- */

/* Names are the publisher's: what is shown of them is short and printable. */
static void show_name(struct span name, char *out, size_t size)
{
    size_t len = min_size(name.len, size - 1);
    for (size_t i = 0; i < len; i++) {
        bool is_plain = name.bytes[i] >= ' ' && name.bytes[i] <= '~';
        out[i] = is_plain ? name.bytes[i] : '?';
    }
    out[len] = '\0';
}

static bool refuse_attribute(struct submission *submission, struct span attribute,
                             const char *reason)
{
    char name[41];
    show_name(attribute, name, sizeof(name));
    if (submission->is_batch) {
        response_problem(submission->call, 422, "Event %u of the batch: %s %s.",
                         submission->count + 1, name, reason);
    } else {
        response_problem(submission->call, 422, "The CloudEvent's %s %s.", name, reason);
    }
    return false;
}

static bool refuse_memory(struct submission *submission)
{
    publish_refuse(submission->call, PUBLISH_NO_MEMORY);
    return false;
}

/* ---- Duplicates ------------------------------------------------------------------------------ */

/* Two keyed hashes: nobody finds two events that collide, and chance does not either. */
static struct identity identity_of(const struct submission *submission,
                                   const struct cloudevent *event)
{
    const struct hash_key *key = &submission->call->shard->hub->idempotency.hash_key;
    const struct hash_key keys[2] = {*key, {~key->k0, ~key->k1}};
    const struct channel_name *channel = &submission->base.channel;
    const struct span parts[] = {channel->name, event->source, event->id};
    struct identity identity = {{0}};
    for (size_t i = 0; i < countof(keys); i++) {
        uint64_t hashes[countof(parts) + 1];
        for (size_t j = 0; j < countof(parts); j++) {
            hashes[j] = hash_bytes(&keys[i], parts[j].bytes, parts[j].len);
        }
        hashes[countof(parts)] = channel->kind;
        uint64_t hash = hash_bytes(&keys[i], hashes, sizeof(hashes));
        memcpy(identity.bytes + 1 + i * sizeof(hash), &hash, sizeof(hash));
    }
    return identity;
}

static struct span identity_span(const struct identity *identity)
{
    return span_make(identity->bytes, sizeof(identity->bytes));
}

/* The same event earlier in this request. */
static int64_t original_find(const struct submission *submission, const struct identity *identity)
{
    for (unsigned i = 0; i < submission->count; i++) {
        const struct item *item = &submission->items[i];
        if (item->entry != NULL &&
            span_equal(identity_span(&item->identity), identity_span(identity))) {
            return i;
        }
    }
    return NO_ORIGINAL;
}

/* Asks the window. True: *item is new, or a duplicate whose result is known or will be. */
static bool item_admit(struct submission *submission, struct item *item)
{
    struct idempotency *window = &submission->call->shard->hub->idempotency;
    struct publication *result = &submission->results[submission->count];
    struct buffer answer;
    struct remembered remembered = {0, 0};
    bool admitted = true;
    buffer_init(&answer, sizeof(remembered));
    switch (idempotency_begin(window, identity_span(&item->identity), 0,
                              submission->call->shard->wall_ms, &answer, &item->entry)) {
    case IDEMPOTENCY_NEW:
        break;
    case IDEMPOTENCY_REPLAY:
        if (answer.len == sizeof(remembered)) {
            memcpy(&remembered, answer.bytes, sizeof(remembered));
        }
        result->sequence = remembered.sequence;
        result->subscribers = remembered.subscribers;
        break;
    case IDEMPOTENCY_BUSY:
    case IDEMPOTENCY_OTHER_REQUEST: /* there is none: all have the same fingerprint */
        item->original = original_find(submission, &item->identity);
        if (item->original == NO_ORIGINAL) {
            response_problem_with(submission->call, 409, span_of("Retry-After: 1\r\n"),
                                  "A CloudEvent of the same source and id is being published.");
            admitted = false;
        }
        break;
    case IDEMPOTENCY_NO_MEMORY:
        admitted = refuse_memory(submission);
        break;
    }
    buffer_fini(&answer);
    return admitted;
}

/* ---- Events ---------------------------------------------------------------------------------- */

/* The first rule that fits the channel counts. */
static bool channel_is_data_only(const struct config *config, struct channel_name channel)
{
    for (uint32_t i = 0; i < config->cloudevent_rule.count; i++) {
        struct config_cloudevent_rule rule;
        CHECK(config_cloudevent_rule_parse(config->cloudevent_rule.items[i], &rule) == NULL);
        bool is_prefix = rule.pattern.bytes[rule.pattern.len - 1] == '*';
        struct channel_pattern pattern = {
            .prefix = span_make(rule.pattern.bytes, rule.pattern.len - is_prefix),
            .is_whole = !is_prefix,
        };
        if (channel_pattern_fits(&pattern, channel)) {
            return rule.is_data_only;
        }
    }
    return false;
}

static bool submission_init(struct submission *submission, struct call *call,
                            const struct publish_fields *fields)
{
    *submission = (struct submission){.call = call, .fields = fields};
    if (!event_set_channel(call, &submission->base, fields->channel) ||
        (fields->retry.bytes != NULL && !event_set_retry(call, &submission->base, fields->retry))) {
        return false;
    }
    if (!utf8_is_valid(fields->event) || !sse_field_is_valid(fields->event)) {
        response_problem(call, 422, "An event type is UTF-8 without CR, LF and NUL.");
        return false;
    }
    submission->is_data_only = channel_is_data_only(call->config, submission->base.channel);
    return true;
}

static bool submission_reserve(struct submission *submission, unsigned count)
{
    submission->items = memory_calloc((size_t)count + 1, sizeof(submission->items[0]));
    submission->results = memory_calloc((size_t)count + 1, sizeof(submission->results[0]));
    return (submission->items != NULL && submission->results != NULL) || refuse_memory(submission);
}

/* Lets go of what was not published. */
static void submission_fini(struct submission *submission)
{
    for (unsigned i = 0; i < submission->count; i++) {
        struct item *item = &submission->items[i];
        if (item->entry != NULL) {
            idempotency_abort(&submission->call->shard->hub->idempotency, item->entry);
        }
        if (item->frame != NULL) {
            frame_unref(item->frame);
        }
    }
    memory_free(submission->items);
    memory_free(submission->results);
}

/* One valid event, to be sent as `data`. */
static bool submission_add(struct submission *submission, const struct cloudevent *cloudevent,
                           struct span data)
{
    struct item *item = &submission->items[submission->count];
    struct event event = submission->base;
    bool has_type = submission->fields->event.bytes != NULL;
    event.sse.type = has_type ? submission->fields->event : cloudevent->type;
    event.sse.data = data;
    item->identity = identity_of(submission, cloudevent);
    item->original = NO_ORIGINAL;
    submission->results[submission->count].channel = event.channel;
    if (!item_admit(submission, item)) {
        return false;
    }
    submission->count++;
    if (item->entry != NULL) {
        item->frame = event_frame_new(&event.sse);
    }
    return item->entry == NULL || item->frame != NULL || refuse_memory(submission);
}

/* Publishes those that are new, next to each other. */
static enum publish_outcome submission_publish_new(struct submission *submission)
{
    struct idempotency *window = &submission->call->shard->hub->idempotency;
    unsigned new_count = 0;
    struct publication *publications =
        memory_alloc(((size_t)submission->count + 1) * sizeof(publications[0]));
    if (publications == NULL) {
        return PUBLISH_NO_MEMORY;
    }
    for (unsigned i = 0; i < submission->count; i++) {
        const struct item *item = &submission->items[i];
        if (item->entry != NULL) {
            publications[new_count++] = (struct publication){
                .channel = submission->base.channel,
                .frame = item->frame,
            };
        }
    }
    enum publish_outcome outcome = PUBLISH_DONE;
    if (new_count > 0) {
        outcome = shard_publish(submission->call->shard, publications, new_count);
    }
    for (unsigned i = 0, next = 0; i < submission->count && outcome == PUBLISH_DONE; i++) {
        struct item *item = &submission->items[i];
        if (item->entry == NULL) {
            continue;
        }
        submission->results[i] = publications[next++];
        struct remembered remembered = {submission->results[i].sequence,
                                        submission->results[i].subscribers};
        idempotency_commit(window, item->entry,
                           span_make((const char *)&remembered, sizeof(remembered)));
        item->entry = NULL;
        item->frame = NULL;
    }
    if (new_count > 0 && outcome == PUBLISH_DONE) {
        publish_log(submission->call, &publications[new_count - 1], submission->call->body.len);
    }
    memory_free(publications);
    return outcome;
}

static void submission_publish(struct submission *submission)
{
    unsigned duplicate_count = 0;
    for (unsigned i = 0; i < submission->count; i++) {
        duplicate_count += submission->items[i].entry == NULL;
    }
    enum publish_outcome outcome = submission_publish_new(submission);
    if (outcome != PUBLISH_DONE) {
        publish_refuse(submission->call, outcome);
        return;
    }
    for (unsigned i = 0; i < submission->count; i++) {
        if (submission->items[i].original != NO_ORIGINAL) {
            submission->results[i] = submission->results[submission->items[i].original];
        }
    }
    publish_answer(submission->call, &(struct publish_result){
                                         .publications = submission->results,
                                         .count = submission->count,
                                         .duplicate_count = duplicate_count,
                                         .is_batch = submission->is_batch,
                                         .channel = submission->base.channel,
                                     });
}

/* ---- The JSON format ------------------------------------------------------------------------- */

/* Reads the members of one object; what is decoded goes to `room`, as long as the text. */
static bool object_read(struct submission *submission, json_t *document, struct span text,
                        char *room, struct cloudevent *event)
{
    struct cloudevent_problem problem;
    struct json_cut cut;
    struct span name;
    struct span value;
    cloudevent_init(event);
    json_cut_init(&cut, text);
    while (json_cut_next(&cut, &name, &value)) {
        size_t name_len = 0;
        if (!json_cut_unescape(name, room, &name_len)) {
            return refuse_attribute(submission, name, "has a name that is not Unicode");
        }
        struct span plain = span_make(room, name_len);
        room[name_len] = '\0'; /* where the quotes were */
        /* The parser has seen all names, and kept each once. */
        if (json_object_del(document, room) < 0) {
            return refuse_attribute(submission, plain, "is given twice");
        }
        room += name.len;
        if (!cloudevent_set_member(event, plain, value, room, &problem)) {
            return refuse_attribute(submission, problem.attribute, problem.reason);
        }
        room += value.len;
    }
    return cloudevent_finish(event, &problem) ||
           refuse_attribute(submission, problem.attribute, problem.reason);
}

/* The bytes to send of an event in the JSON format; `room` is as long as the text. */
static struct span object_data(const struct submission *submission, const struct cloudevent *event,
                               struct span text, char *room)
{
    size_t len = 0;
    if (!submission->is_data_only) {
        bool is_one_line = memchr(text.bytes, '\n', text.len) == NULL &&
                           memchr(text.bytes, '\r', text.len) == NULL;
        return is_one_line ? text : span_make(room, json_cut_compact(text, room));
    }
    if (event->data_kind == CLOUDEVENT_DATA_TEXT) {
        CHECK(json_cut_unescape(event->data, room, &len)); /* the parser has seen it */
        return span_make(room, len);
    }
    return event->data;
}

static bool object_add(struct submission *submission, json_t *document, struct span text)
{
    struct cloudevent event;
    text = json_cut_trim(text);
    if (!json_is_object(document)) {
        return refuse_attribute(submission, span_of("JSON"), "is not an object");
    }
    char *room = memory_alloc(2 * text.len);
    if (room == NULL) {
        return refuse_memory(submission);
    }
    bool added =
        object_read(submission, document, text, room, &event) &&
        submission_add(submission, &event, object_data(submission, &event, text, room + text.len));
    memory_free(room);
    return added;
}

static json_t *body_parse(struct call *call)
{
    json_error_t error;
    json_t *document = json_loadb(call->body.bytes, call->body.len, JSON_FLAGS, &error);
    if (document == NULL) {
        response_not_json(call, &error);
    }
    return document;
}

void cloudevent_publish(struct call *call, const struct publish_fields *fields)
{
    struct submission submission;
    json_t *document = NULL;
    if (submission_init(&submission, call, fields) && (document = body_parse(call)) != NULL &&
        submission_reserve(&submission, 1) && object_add(&submission, document, call->body)) {
        submission_publish(&submission);
    }
    json_decref(document);
    submission_fini(&submission);
}

static bool array_add(struct submission *submission, json_t *document, struct span text)
{
    struct json_cut cut;
    struct span name;
    struct span value;
    if (!json_is_array(document)) {
        response_problem(submission->call, 422, "A batch of CloudEvents is a JSON array of them.");
        return false;
    }
    size_t count = json_array_size(document);
    unsigned count_max = publish_batch_max(submission->call->config);
    if (count > count_max) {
        response_problem(submission->call, 413, "A batch may have %u events.", count_max);
        return false;
    }
    if (!submission_reserve(submission, (unsigned)count)) {
        return false;
    }
    json_cut_init(&cut, text);
    for (size_t i = 0; i < count; i++) {
        json_cut_next(&cut, &name, &value); /* there are as many as the parser has counted */
        if (!object_add(submission, json_array_get(document, i), value)) {
            return false;
        }
    }
    return true;
}

void cloudevent_publish_batch(struct call *call, const struct publish_fields *fields)
{
    struct submission submission;
    json_t *document = NULL;
    if (submission_init(&submission, call, fields) && (document = body_parse(call)) != NULL) {
        submission.is_batch = true;
        if (array_add(&submission, document, call->body)) {
            submission_publish(&submission);
        }
    }
    json_decref(document);
    submission_fini(&submission);
}

/* ---- Binary mode ----------------------------------------------------------------------------- */

static void append_member(struct buffer *json, struct span name, struct span value)
{
    buffer_append_string(json, json->len == 1 ? "\"" : ",\"");
    buffer_append_span(json, name);
    buffer_append_string(json, "\":\"");
    buffer_append_json(json, value);
    buffer_append_string(json, "\"");
}

/* The name of an attribute out of a field's, in lower case; false if the field is none. */
static bool field_name(const struct http_field *field, char *out, struct span *ret_name)
{
    static const char prefix[] = "ce-";
    size_t prefix_len = sizeof(prefix) - 1;
    if (field->name.len < prefix_len ||
        !span_is_nocase(span_make(field->name.bytes, prefix_len), prefix)) {
        return false;
    }
    size_t len = field->name.len - prefix_len;
    for (size_t i = 0; i < len; i++) {
        char c = field->name.bytes[prefix_len + i];
        out[i] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    *ret_name = span_make(out, len);
    return true;
}

static bool field_is_repeated(const struct call *call, unsigned field_index)
{
    const struct http_field *fields = call->request->fields;
    for (unsigned i = 0; i < field_index; i++) {
        if (span_equal_nocase(fields[i].name, fields[field_index].name)) {
            return true;
        }
    }
    return false;
}

/* Reads one field, and writes it down as a member of the JSON format. */
static bool field_read(struct submission *submission, unsigned field_index,
                       struct cloudevent *event, struct buffer *json)
{
    struct call *call = submission->call;
    const struct http_field *field = &call->request->fields[field_index];
    struct cloudevent_problem problem;
    struct span name;
    size_t len = 0;
    char *room = call_scratch(call, field->name.len + field->value.len + 1);
    if (room == NULL) {
        return refuse_memory(submission);
    }
    if (!field_name(field, room, &name)) {
        return true;
    }
    room += name.len;
    if (field_is_repeated(call, field_index)) {
        return refuse_attribute(submission, name, "is given twice");
    }
    if (span_is(name, "datacontenttype")) {
        return refuse_attribute(submission, name,
                                "is what Content-Type says; leave ce-datacontenttype out");
    }
    const char *reason = cloudevent_decode_field(field->value, room, &len);
    if (reason != NULL) {
        return refuse_attribute(submission, name, reason);
    }
    struct span value = span_make(room, len);
    if (!cloudevent_set_field(event, name, value, &problem)) {
        return refuse_attribute(submission, problem.attribute, problem.reason);
    }
    append_member(json, name, value);
    return true;
}

/* What becomes of data of a media type; of another charset than UTF-8 only the bytes are known. */
static enum cloudevent_data data_kind(struct span media_type, struct span data)
{
    struct media_type type;
    if (data.len == 0) {
        return CLOUDEVENT_DATA_NONE;
    }
    if (media_type_parse(media_type, &type) < 0 || type.charset == MEDIA_CHARSET_OTHER) {
        return CLOUDEVENT_DATA_BASE64;
    }
    if (cloudevent_is_json(media_type)) {
        return CLOUDEVENT_DATA_JSON;
    }
    struct span essence = type.essence;
    bool is_text =
        type.charset == MEDIA_CHARSET_UTF8 ||
        (essence.len > 5 && span_is_nocase(span_make(essence.bytes, 5), "text/")) ||
        media_type_is(&type, "application/xml") ||
        (essence.len > 4 && span_is_nocase(span_make(essence.bytes + essence.len - 4, 4), "+xml"));
    return is_text && utf8_is_valid(data) ? CLOUDEVENT_DATA_TEXT : CLOUDEVENT_DATA_BASE64;
}

/* The body as JSON; false if it is not. */
static bool body_is_json(struct call *call)
{
    json_error_t error;
    if (json_is_surely_valid(call->body)) {
        return true;
    }
    json_t *document = json_loadb(call->body.bytes, call->body.len, JSON_FLAGS, &error);
    json_decref(document);
    return document != NULL;
}

static void append_compact(struct buffer *json, struct span text)
{
    char *room = buffer_reserve(json, text.len);
    if (room != NULL) {
        buffer_commit(json, json_cut_compact(text, room));
    }
}

static void append_base64(struct buffer *json, struct span bytes)
{
    char *room = buffer_reserve(json, base64_size(bytes.len));
    if (room != NULL) {
        base64_write(bytes, room);
        buffer_commit(json, base64_size(bytes.len));
    }
}

/*
 * Ends the object with the body as its data. *ret_data receives what stands for the data alone,
 * where in the buffer it is *ret_offset.
 */
static bool body_append(struct submission *submission, struct cloudevent *event,
                        struct buffer *json, size_t *ret_offset)
{
    struct span body = submission->call->body;
    event->data = body;
    event->data_kind = data_kind(event->datacontenttype, body);
    *ret_offset = 0;
    switch (event->data_kind) {
    case CLOUDEVENT_DATA_NONE:
        break;
    case CLOUDEVENT_DATA_JSON:
        if (!body_is_json(submission->call)) {
            return refuse_attribute(submission, span_of("data"),
                                    "is not JSON, although its datacontenttype says so");
        }
        buffer_append_string(json, ",\"data\":");
        append_compact(json, body);
        break;
    case CLOUDEVENT_DATA_TEXT:
        append_member(json, span_of("data"), body);
        break;
    case CLOUDEVENT_DATA_BASE64:
        buffer_append_string(json, ",\"data_base64\":\"");
        *ret_offset = json->len;
        append_base64(json, body);
        buffer_append_string(json, "\"");
        break;
    }
    buffer_append_string(json, "}");
    return true;
}

static bool binary_add(struct submission *submission, struct buffer *json)
{
    struct call *call = submission->call;
    struct span media_type = call_field(call, "Content-Type");
    struct cloudevent event;
    struct cloudevent_problem problem;
    size_t offset = 0;
    cloudevent_init(&event);
    buffer_append_string(json, "{");
    for (unsigned i = 0; i < call->request->field_count; i++) {
        if (!field_read(submission, i, &event, json)) {
            return false;
        }
    }
    if (media_type.len > 0) {
        if (!cloudevent_set_field(&event, span_of("datacontenttype"), media_type, &problem)) {
            return refuse_attribute(submission, problem.attribute, problem.reason);
        }
        append_member(json, span_of("datacontenttype"), media_type);
    }
    if (!cloudevent_finish(&event, &problem)) {
        return refuse_attribute(submission, problem.attribute, problem.reason);
    }
    if (!body_append(submission, &event, json, &offset)) {
        return false;
    }
    if (json->failed) {
        return refuse_memory(submission);
    }
    struct span data = buffer_span(json);
    if (submission->is_data_only) {
        bool is_base64 = event.data_kind == CLOUDEVENT_DATA_BASE64;
        data = is_base64 ? span_make(json->bytes + offset, json->len - offset - 2) : event.data;
    }
    return submission_add(submission, &event, data);
}

void cloudevent_publish_binary(struct call *call, const struct publish_fields *fields)
{
    enum { ESCAPED_SIZE_MAX = 6 }; /* of one byte in JSON */
    struct submission submission;
    struct buffer json;
    buffer_init(&json, ESCAPED_SIZE_MAX * (call->body.len + call->config->head_bytes_max + 1024));
    if (submission_init(&submission, call, fields) && submission_reserve(&submission, 1) &&
        binary_add(&submission, &json)) {
        submission_publish(&submission);
    }
    buffer_fini(&json);
    submission_fini(&submission);
}
