/* Clients that publish, look and delete, several requests at once, over HTTP/1.1 and HTTP/2. */
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/http.h"
#include "tests/sim/http2.h"
#include "tests/sim/model.h"
#include "tests/sim/world.h"

enum { PIPELINE_MAX = 6, BODY_MAX = 1024 * 1024, BATCH_LINES_MAX = 24, KEYS_MAX = 64 };

enum request_kind {
    REQUEST_PUBLISH, /* one message, or a batch: answered with JSON */
    REQUEST_STATUS,  /* one message: answered with Ok, or 404 */
    REQUEST_LOOK,    /* JSON with status `status` */
    REQUEST_HEAD,
    REQUEST_DELETE,
    REQUEST_BAD, /* refused with `status` */
};

struct request {
    enum request_kind kind;
    int status;
    bool closes;    /* the hub closes behind the answer */
    unsigned first; /* message */
    unsigned count; /* of messages; 0: none is published */
    bool is_batch;
    int key; /* index of its Idempotency-Key, or -1 */
};

/* A request with a key whose answer has not come yet: it is sent again until one does. */
struct keyed {
    char *text;
    size_t len;
    struct request request;
    bool is_plain; /* HTTP/2 has words for all of it */
    bool in_flight;
    bool answered;
};

struct publisher {
    struct sim_connection *connection;
    struct request requests[PIPELINE_MAX];
    unsigned request_count;
    bool is_carried;                      /* HTTP/2: there is no connection of its own, and ... */
    struct carried carried[PIPELINE_MAX]; /* ... a stream for each request ... */
    unsigned carried_first;               /* ... from this one, in a ring */
    char *out;
    size_t out_len;
    size_t out_sent;
    size_t out_size;
    bool finishing; /* nothing more is asked on this connection */
    bool finished;  /* and the hub has been told */
    bool closing;   /* the hub has said that it closes */
    struct answer answer;
    char *body;
    size_t body_len;
};

static struct publisher publishers[PUBLISHERS_MAX];
static struct keyed keys[KEYS_MAX];
static unsigned key_count;
static unsigned batch_count;
static int probe; /* source, or -1 */

#define fail(publisher, format, ...)                                                               \
    world_fail("publisher %u: " format,                                                            \
               (unsigned)((publisher)-publishers)__VA_OPT__(, ) __VA_ARGS__)

void publishers_begin(void)
{
    memset(publishers, 0, sizeof(publishers));
    for (unsigned i = 0; i < world.options.publishers; i++) {
        publishers[i].body = malloc(BODY_MAX);
        CHECK(publishers[i].body != NULL);
    }
    key_count = batch_count = 0;
    probe = -1;
}

void publishers_end(void)
{
    for (unsigned i = 0; i < world.options.publishers; i++) {
        if (publishers[i].connection != NULL) {
            sim_abandon(publishers[i].connection, true);
        }
        for (unsigned j = 0; j < PIPELINE_MAX; j++) {
            carried_drop(&publishers[i].carried[j], false);
        }
        free(publishers[i].out);
        free(publishers[i].body);
    }
    for (unsigned i = 0; i < key_count; i++) {
        free(keys[i].text);
    }
    key_count = 0;
}

/* ---- Writing requests ---- */

static void put(struct publisher *publisher, const char *bytes, size_t len)
{
    if (publisher->out_len + len > publisher->out_size) {
        publisher->out_size = 2 * (publisher->out_len + len);
        publisher->out = realloc(publisher->out, publisher->out_size);
        CHECK(publisher->out != NULL);
    }
    memcpy(publisher->out + publisher->out_len, bytes, len);
    publisher->out_len += len;
}

static void put_text(struct publisher *publisher, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void put_text(struct publisher *publisher, const char *format, ...)
{
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    CHECK(len >= 0 && (size_t)len < sizeof(text));
    put(publisher, text, (size_t)len);
}

static void put_escaped(struct publisher *publisher, const char *text)
{
    for (; *text != '\0'; text++) {
        char c = *text;
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '~') {
            put(publisher, &c, 1);
        } else {
            put_text(publisher, "%%%02X", (unsigned char)c);
        }
    }
}

static unsigned message_number(const struct message *message)
{
    return (unsigned)(message - model.messages);
}

static unsigned choose_public(void)
{
    return probe >= 0 ? (unsigned)probe : (unsigned)sim_below(world.options.publics);
}

static unsigned choose_source(void)
{
    return probe < 0 && sim_chance(15) ? SOURCE_BROADCAST : choose_public();
}

/* The body in one piece or in chunks, sometimes after asking. */
static void put_body(struct publisher *publisher, const char *body, size_t len)
{
    if (!publisher->is_carried && sim_chance(10)) {
        put_text(publisher, "Expect: 100-continue\r\n");
    }
    if (publisher->is_carried || sim_chance(75)) {
        put_text(publisher, "Content-Length: %zu\r\n\r\n", len);
        put(publisher, body, len);
        return;
    }
    put_text(publisher, "Transfer-Encoding: chunked\r\n\r\n");
    while (len > 0) {
        size_t piece = 1 + (size_t)sim_below(len);
        put_text(publisher, "%zx%s\r\n", piece, sim_chance(20) ? ";a=b" : "");
        put(publisher, body, piece);
        put_text(publisher, "\r\n");
        body += piece;
        len -= piece;
    }
    put_text(publisher, "0\r\n%s\r\n", sim_chance(20) ? "X-Trailer: yes\r\n" : "");
}

/* event= and retry= of a message. */
static void put_fields(struct publisher *publisher, const struct message *message, char separator)
{
    if (message->type[0] != '\0') {
        put_text(publisher, "%cevent=%s", separator, message->type);
        separator = '&';
    }
    if (message->retry_ms >= 0) {
        put_text(publisher, "%cretry=%lld", separator, (long long)message->retry_ms);
    }
}

static void put_head_end(struct publisher *publisher, const struct request *request,
                         const char *content_type)
{
    put_text(publisher, " HTTP/1.1\r\nHost: localhost\r\n");
    if (content_type != NULL) {
        put_text(publisher, "Content-Type: %s\r\n", content_type);
    }
    if (request->closes) {
        put_text(publisher, "Connection: close\r\n");
    }
    if (request->key >= 0) {
        put_text(publisher, "Idempotency-Key: key-%d\r\n", request->key);
    }
}

static void publish_text(struct publisher *publisher, struct request *request,
                         const struct message *message)
{
    put_text(publisher, "POST /publish/%s", source_text(message->source));
    put_fields(publisher, message, '?');
    put_head_end(publisher, request, sim_chance(70) ? "text/plain" : NULL);
    put_body(publisher, message->data, strlen(message->data));
}

static void publish_query(struct publisher *publisher, struct request *request,
                          const struct message *message)
{
    put_text(publisher, "POST /publish?%s=%s&msg=", sim_chance(50) ? "canal" : "channel",
             source_text(message->source));
    put_escaped(publisher, message->data);
    put_fields(publisher, message, '&');
    put_head_end(publisher, request, NULL);
    put_text(publisher, "Content-Length: 0\r\n\r\n");
}

static void publish_form(struct publisher *publisher, struct request *request,
                         const struct message *message)
{
    struct publisher form = {0};
    put_text(&form, "data=");
    put_escaped(&form, message->data);
    put_fields(&form, message, '&');
    put_text(publisher, "POST /publish/%s", source_text(message->source));
    put_head_end(publisher, request, "application/x-www-form-urlencoded");
    put_body(publisher, form.out, form.out_len);
    free(form.out);
}

static void publish_batch(struct publisher *publisher, struct request *request,
                          const struct message *first)
{
    struct publisher lines = {0};
    unsigned source = first->source;
    for (unsigned i = 0; i < request->count; i++) {
        const struct message *message = &first[i];
        json_t *line = json_pack("{s:s}", "data", message->data);
        CHECK(line != NULL);
        if (message->source != source) {
            json_object_set_new(line, "channel", json_string(source_text(message->source)));
        }
        if (message->type[0] != '\0') {
            json_object_set_new(line, "event", json_string(message->type));
        }
        if (message->retry_ms >= 0) {
            json_object_set_new(line, "retry", json_integer(message->retry_ms));
        }
        char *text = json_dumps(line, JSON_COMPACT);
        put(&lines, text, strlen(text));
        put_text(&lines, "\n");
        free(text);
        json_decref(line);
    }
    if (request->kind == REQUEST_BAD) {
        put_text(&lines, "{\"data\":\n");
    }
    put_text(publisher, "POST /publish/%s", source_text(source));
    put_head_end(publisher, request, "application/x-ndjson");
    put_body(publisher, lines.out, lines.out_len);
    free(lines.out);
}

/* JSON is kept byte for byte. */
static void publish_json(struct publisher *publisher, struct request *request,
                         struct message *message)
{
    char *text = NULL;
    json_t *document = json_pack("{s:s}", "data", message->data);
    text = json_dumps(document, JSON_INDENT((size_t)sim_below(3)));
    json_decref(document);
    free(message->data);
    message->data = text;
    publish_text(publisher, request, message);
}

static bool make_publish(struct publisher *publisher, struct request *request)
{
    /* A faulty one has a line more. */
    unsigned lines_max = (unsigned)min_u64(BATCH_LINES_MAX, world.hub.configs[0].queue_length - 1);
    bool is_batch = sim_chance(20) && model.message_count + BATCH_LINES_MAX < MESSAGES_MAX;
    request->kind = REQUEST_PUBLISH;
    request->count = is_batch ? 1 + (unsigned)sim_below(lines_max) : 1;
    request->is_batch = is_batch;
    request->first = model.message_count;
    batch_count++;
    for (unsigned i = 0; i < request->count; i++) {
        if (model_message(choose_source(), batch_count) == NULL) {
            return false;
        }
    }
    struct message *message = &model.messages[request->first];
    if (is_batch) {
        if (sim_chance(10) && probe < 0) {
            request->kind = REQUEST_BAD;
            request->status = 422;
            request->key = -1;
        }
        publish_batch(publisher, request, message);
        return true;
    }
    switch (sim_below(5)) {
    case 0:
        publish_query(publisher, request, message);
        break;
    case 1:
        publish_form(publisher, request, message);
        break;
    case 2:
        publish_json(publisher, request, message);
        break;
    default:
        publish_text(publisher, request, message);
        break;
    }
    return true;
}

/* ---- Other requests ---- */

static bool make_status(struct publisher *publisher, struct request *request)
{
    unsigned source = sim_chance(40) || world.options.clients == 0
                          ? SOURCE_BROADCAST
                          : PUBLIC_MAX + (unsigned)sim_below(world.options.clients);
    struct message *message = model_message(source, ++batch_count);
    if (message == NULL) {
        return false;
    }
    message->type[0] = '\0';
    message->retry_ms = -1;
    snprintf(message->data, 32, "~%u~status", message_number(message));
    request->kind = REQUEST_STATUS;
    request->key = -1;
    request->first = message_number(message);
    request->count = 1;
    const char *method = sim_chance(50) ? "GET" : "POST";
    if (source == SOURCE_BROADCAST) {
        put_text(publisher, "%s /publish/status/%s", method, message->data);
    } else {
        put_text(publisher, "%s /publish/%s/status/%s", method, source_text(source), message->data);
    }
    put_head_end(publisher, request, NULL);
    put_text(publisher, "%s\r\n", strcmp(method, "POST") == 0 ? "Content-Length: 0\r\n" : "");
    return true;
}

static void make_look(struct publisher *publisher, struct request *request)
{
    static const char *const paths[] = {"/health",           "/stats",  "/clients",
                                        "/channels",         "/livez",  "/clients?limit=2",
                                        "/channels?limit=1", "/nothing"};
    const char *path = paths[sim_below(countof(paths))];
    bool is_head = sim_chance(20);
    request->kind = is_head ? REQUEST_HEAD : REQUEST_LOOK;
    request->status = strcmp(path, "/nothing") == 0 ? 404 : 200;
    request->key = -1;
    put_text(publisher, "%s %s", is_head ? "HEAD" : "GET", path);
    put_head_end(publisher, request, NULL);
    put_text(publisher, "\r\n");
}

static void make_delete(struct publisher *publisher, struct request *request)
{
    unsigned source = (unsigned)sim_below(PUBLIC_MAX + world.options.clients);
    request->kind = REQUEST_DELETE;
    request->key = -1;
    put_text(publisher, "DELETE /%s/%s", source < PUBLIC_MAX ? "channels" : "clients",
             source_text(source));
    put_head_end(publisher, request, NULL);
    put_text(publisher, "\r\n");
    model.deleted_step[source] = sim_net.step;
    world_trace("publisher: DELETE %s", source_text(source));
}

static void make_bad(struct publisher *publisher, struct request *request)
{
    static const struct {
        const char *text;
        int status;
        bool closes;
    } cases[] = {
        {"GET /health HTTP/1.1\r\nHost : localhost\r\n\r\n", 400, true},
        {"GET  /health HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, true},
        {"GET /health HTTP/2.5\r\nHost: localhost\r\n\r\n", 505, true},
        {"POST /publish/c0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n", 413,
         true},
        {"POST /publish/c0 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: "
         "chunked\r\n\r\nxyz\r\n",
         400, true},
        {"POST /publish/c0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n\xff\xfe", 422,
         false},
        {"POST /publish/c0?event=a%0Ab HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx",
         422, false},
        {"POST /publish/$stats HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx", 403,
         false},
        {"PUT /publish/c0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx", 405, false},
        {"GET /sse/c0?history=x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, false},
        {"GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, false},
    };
    /* Only HTTP/1 has words for the first ones. */
    size_t first = publisher->is_carried ? 5 : 0;
    size_t i = first + (size_t)sim_below(countof(cases) - first);
    request->kind = REQUEST_BAD;
    request->key = -1;
    request->status = cases[i].status;
    request->closes = cases[i].closes;
    put_text(publisher, "%s", cases[i].text);
}

static int find_key(bool answered, bool plain)
{
    for (unsigned i = 0; i < key_count; i++) {
        if (!keys[i].in_flight && keys[i].answered == answered && (answered || sim_chance(70)) &&
            (keys[i].is_plain || !plain)) {
            return (int)i;
        }
    }
    return -1;
}

/* The very request again. */
static void repeat_key(struct publisher *publisher, int key)
{
    keys[key].in_flight = true;
    put(publisher, keys[key].text, keys[key].len);
    publisher->requests[publisher->request_count++] = keys[key].request;
    publisher->finishing |= keys[key].request.closes;
    world_trace("publisher %u: key-%d again", (unsigned)(publisher - publishers), key);
}

static bool may_ask(void)
{
    return world.phase == PHASE_DRAIN || probe >= 0 ||
           (world.phase == PHASE_RUN && model.message_count < world.options.messages);
}

static void make_request(struct publisher *publisher)
{
    size_t before = publisher->out_len;
    int key = find_key(world.phase == PHASE_RUN && sim_chance(10), publisher->is_carried);
    if (key >= 0 && probe < 0 && world.phase != PHASE_DRAIN) {
        repeat_key(publisher, key);
        return;
    }
    if (!may_ask()) {
        return;
    }
    struct request request = {.key = -1, .closes = !publisher->is_carried && sim_chance(10)};
    bool keyed = key_count < KEYS_MAX && sim_chance(15) && probe < 0;
    uint64_t choice = probe >= 0 ? 0 : sim_below(100);
    request.key = keyed ? (int)key_count : -1;
    bool made = true;
    if (choice < 70) {
        made = make_publish(publisher, &request);
    } else if (choice < 82) {
        made = make_status(publisher, &request);
    } else if (choice < 92) {
        make_look(publisher, &request);
    } else if (choice < 94 && world.options.kicks) {
        make_delete(publisher, &request);
    } else {
        make_bad(publisher, &request);
    }
    if (!made) {
        publisher->out_len = before;
        return;
    }
    const char *line = publisher->out + before;
    const char *line_end = memchr(line, '\r', publisher->out_len - before);
    world_trace("publisher %u: asks %.*s", (unsigned)(publisher - publishers),
                (int)min_size(80, (size_t)(line_end - line)), line);
    publisher->requests[publisher->request_count++] = request;
    publisher->finishing |= request.closes;
    if (request.key >= 0) {
        struct keyed *entry = &keys[key_count++];
        *entry = (struct keyed){
            .len = publisher->out_len - before, .request = request, .in_flight = true};
        entry->text = malloc(entry->len);
        CHECK(entry->text != NULL);
        memcpy(entry->text, publisher->out + before, entry->len);
        entry->is_plain = !request.closes &&
                          memmem(entry->text, entry->len, "\nExpect", 7) == NULL &&
                          memmem(entry->text, entry->len, "\nTransfer", 9) == NULL;
    }
}

/* It may be sent again. */
static void request_lost(const struct request *request)
{
    if (request->key >= 0) {
        keys[request->key].in_flight = false;
    }
}

/* ---- Answers ---- */

static void check_published(struct publisher *publisher, const struct request *request,
                            json_t *document)
{
    const struct message *last = &model.messages[request->first + request->count - 1];
    const char *channel = json_string_value(json_object_get(document, "channel"));
    const char *id = json_string_value(json_object_get(document, "id"));
    json_t *ids = json_object_get(document, "ids");
    char expected[EVENT_ID_LEN + 1];
    if (json_object_size(document) == 0 && world.options.memory && request->key >= 0) {
        return; /* there was no memory to remember the answer */
    }
    for (unsigned i = 0; i < request->count; i++) {
        const struct message *message = &model.messages[request->first + i];
        if (message->sequence == 0 ||
            message->sequence + request->count - 1 - i != last->sequence) {
            fail(publisher, "message %u of %u was not published, or not with its batch", i,
                 request->count);
            return;
        }
        model_id(expected, message->sequence);
        const char *one = json_string_value(json_array_get(ids, i));
        if (request->is_batch && (one == NULL || strcmp(one, expected) != 0)) {
            fail(publisher, "message %u of a batch is %s, not %s", i, expected, one);
        }
    }
    if (id == NULL || strcmp(id, expected) != 0 || channel == NULL ||
        strcmp(channel, source_text(last->source)) != 0 ||
        !json_is_integer(json_object_get(document, "subscribers"))) {
        fail(publisher, "event %s of %s was answered %.200s", expected, source_text(last->source),
             publisher->body);
    }
}

static void check_refused(struct publisher *publisher, const struct request *request)
{
    for (unsigned i = 0; i < request->count; i++) {
        struct message *message = &model.messages[request->first + i];
        if (message->sequence != 0 && request->key < 0) {
            fail(publisher, "refused with %d, but published", publisher->answer.status);
        }
        /* With a key it is asked for again. */
        message->refused = request->key < 0;
    }
}

/* Whether the publish of this moment may be refused for want of room. */
static bool may_be_refused(const struct publisher *publisher)
{
    return publisher->answer.status == 503 && (world_may_refuse() || world.options.small_queues);
}

static void check_answer(struct publisher *publisher, const struct request *request)
{
    const struct answer *answer = &publisher->answer;
    int status = answer->status;
    json_error_t error;
    json_t *document = NULL;
    char type[64] = "";
    publisher->body[publisher->body_len] = '\0';
    world_trace("publisher %u: %d %.80s", (unsigned)(publisher - publishers), status,
                publisher->body);
    answer_field(answer, "Content-Type", type, sizeof(type));
    if (strstr(type, "json") != NULL && !answer->is_head) {
        document = json_loads(publisher->body, JSON_REJECT_DUPLICATES, &error);
        bool cut = publisher->body_len == 0 && status >= 400 && world.options.memory;
        if (document == NULL && !cut) {
            fail(publisher, "an answer that is not JSON: %.100s", publisher->body);
            return;
        }
    }
    if (request->closes && !answer->closes) {
        fail(publisher, "the answer does not say that the connection ends");
    }
    if (status == 408 && (world.options.impatient || world.options.leaps)) {
        check_refused(publisher, request);
        json_decref(document);
        return;
    }
    switch (request->kind) {
    case REQUEST_PUBLISH:
        if (status == 200) {
            check_published(publisher, request, document);
        } else {
            check_refused(publisher, request);
            if (!may_be_refused(publisher) && !(status == 409 && request->key >= 0)) {
                fail(publisher, "a publish was refused: %d %.200s", status, publisher->body);
            }
        }
        break;
    case REQUEST_STATUS:
        if (status == 200) {
            if (strcmp(publisher->body, "Ok") != 0 ||
                model.messages[request->first].sequence == 0) {
                fail(publisher, "a status was not published, or answered %.40s", publisher->body);
            }
        } else {
            check_refused(publisher, request);
            bool unknown =
                status == 404 && model.messages[request->first].source != SOURCE_BROADCAST;
            if (!unknown && !may_be_refused(publisher)) {
                fail(publisher, "a status was refused: %d %.200s", status, publisher->body);
            }
        }
        break;
    case REQUEST_LOOK:
    case REQUEST_HEAD:
    case REQUEST_BAD:
        check_refused(publisher, request);
        if (status != request->status && !(status == 503 && world_may_refuse())) {
            fail(publisher, "answered %d instead of %d: %.100s", status, request->status,
                 publisher->body);
        }
        break;
    case REQUEST_DELETE:
        if (status != 200 && status != 204 && status != 404 &&
            !(status == 503 && world_may_refuse())) {
            fail(publisher, "a DELETE was answered %d", status);
        }
        break;
    }
    json_decref(document);
}

static void answer_next(struct publisher *publisher)
{
    answer_begin(&publisher->answer, false, publisher->is_carried);
    publisher->body_len = 0;
}

static void request_over(struct publisher *publisher)
{
    publisher->request_count--;
    memmove(publisher->requests, publisher->requests + 1,
            publisher->request_count * sizeof(publisher->requests[0]));
}

static void answer_done(struct publisher *publisher)
{
    struct request request = publisher->requests[0];
    check_answer(publisher, &request);
    if (request.key >= 0) {
        keys[request.key].in_flight = false;
        /* A batch that is larger than a queue is refused for ever. */
        keys[request.key].answered |= publisher->answer.status == 200 || world.phase != PHASE_RUN;
    }
    request_over(publisher);
    if (publisher->answer.closes) {
        publisher->finishing = publisher->closing = true;
    }
    answer_next(publisher);
}

static void publisher_byte(struct publisher *publisher, char c)
{
    if (publisher->closing && world_may_close()) {
        return; /* the body of a refusal that came before the hub could know that it was for HEAD */
    }
    if (publisher->request_count == 0) {
        fail(publisher, "an answer to nothing");
        return;
    }
    publisher->answer.is_head = publisher->requests[0].kind == REQUEST_HEAD;
    enum answer_news news = answer_byte(&publisher->answer, c);
    if (news == ANSWER_BAD) {
        fail(publisher, "%s", publisher->answer.problem);
        return;
    }
    if (news == ANSWER_BODY_BYTE && publisher->body_len + 1 < BODY_MAX) {
        publisher->body[publisher->body_len++] = c;
    }
    if (publisher->answer.state == ANSWER_DONE && !publisher->is_carried) {
        answer_done(publisher);
    }
}

/* ---- Over HTTP/2 ---- */

static struct carried *carried_at(struct publisher *publisher, unsigned index)
{
    return &publisher->carried[(publisher->carried_first + index) % PIPELINE_MAX];
}

static void carried_ask(struct publisher *publisher)
{
    unsigned count = publisher->request_count;
    publisher->out_len = 0;
    make_request(publisher);
    if (publisher->request_count > count &&
        !carried_begin(carried_at(publisher, count), publisher->out, publisher->out_len)) {
        publisher->request_count--;
        request_lost(&publisher->requests[count]);
    }
}

/* The stream of the first request has ended, and all of it was read. */
static void carried_answered(struct publisher *publisher)
{
    struct carried carried = *carried_at(publisher, 0);
    enum answer_state state = publisher->answer.state;
    *carried_at(publisher, 0) = (struct carried){0};
    publisher->carried_first = (publisher->carried_first + 1) % PIPELINE_MAX;
    if (carried.is_in_order && (state == ANSWER_DONE || state == ANSWER_UNTIL_CLOSE)) {
        answer_done(publisher);
        return;
    }
    if (!carried.was_lost && !world_may_close() && !world.options.timeouts &&
        world.phase != PHASE_DRAIN) {
        fail(publisher, "stream %d ended without an answer", carried.stream_id);
    }
    request_lost(&publisher->requests[0]);
    request_over(publisher);
    answer_next(publisher);
}

/* Answers may come in any order, and are read in that of the requests. */
static void carried_hear(struct publisher *publisher)
{
    char bytes[4096];
    while (publisher->request_count > 0 && world_is_good()) {
        struct carried *carried = carried_at(publisher, 0);
        size_t len = carried_read(carried, bytes, sizeof(bytes), NULL);
        for (size_t i = 0; i < len && world_is_good(); i++) {
            publisher_byte(publisher, bytes[i]);
        }
        if (len == 0) {
            if (!carried_is_at_end(carried)) {
                return;
            }
            carried_answered(publisher);
        }
    }
}

static void carried_forget(struct publisher *publisher)
{
    for (unsigned i = 0; i < publisher->request_count; i++) {
        request_lost(&publisher->requests[i]);
        carried_drop(carried_at(publisher, i), sim_chance(20));
    }
    publisher->request_count = 0;
    publisher->is_carried = false;
}

static void carried_step(struct publisher *publisher)
{
    unsigned at_once = probe >= 0 ? 1 : PIPELINE_MAX;
    if (world.options.resets && world.phase == PHASE_RUN && sim_below(150) == 0) {
        carried_forget(publisher);
        return;
    }
    if (world.phase != PHASE_DRAIN && publisher->request_count < at_once && sim_chance(30)) {
        carried_ask(publisher);
    }
    carried_hear(publisher);
    if (publisher->request_count == 0 && sim_below(20) == 0) {
        publisher->is_carried = false;
    }
}

/* ---- Steps ---- */

static void publisher_forget(struct publisher *publisher, bool hard)
{
    for (unsigned i = 0; i < publisher->request_count; i++) {
        request_lost(&publisher->requests[i]);
    }
    sim_abandon(publisher->connection, hard);
    publisher->connection = NULL;
    publisher->request_count = 0;
}

static void publisher_begin(struct publisher *publisher)
{
    static const size_t capacities[] = {50, 300, 4000, 100000};
    publisher->is_carried = sim_chance(world.options.carried_percent) && sim_chance(70);
    publisher->out_len = publisher->out_sent = 0;
    publisher->finishing = publisher->finished = publisher->closing = false;
    answer_next(publisher);
    if (publisher->is_carried) {
        return;
    }
    publisher->connection = sim_connect((unsigned)sim_below(world.options.shards),
                                        capacities[sim_below(countof(capacities))]);
}

static void publisher_ended(struct publisher *publisher)
{
    bool lost = publisher->request_count > 0 && !publisher->closing;
    if (lost && !world_may_close() && world.phase != PHASE_DRAIN) {
        fail(publisher, "the hub closed the connection without an answer");
    }
    if (!lost && !publisher->finishing && !world_may_close() && world.phase != PHASE_DRAIN) {
        fail(publisher, "the hub closed the connection");
    }
    world_trace("publisher %u: closed by the hub", (unsigned)(publisher - publishers));
    publisher_forget(publisher, false);
}

static void publisher_read(struct publisher *publisher)
{
    char bytes[4096];
    struct sim_stamp stamp;
    for (unsigned i = 0; i < 8 && world_is_good(); i++) {
        size_t len = sim_read(publisher->connection, bytes, sizeof(bytes), &stamp);
        for (size_t j = 0; j < len && world_is_good(); j++) {
            publisher_byte(publisher, bytes[j]);
        }
        if (len == 0) {
            return;
        }
    }
}

static bool has_work(void)
{
    return may_ask() || find_key(false, false) >= 0;
}

void publisher_step(unsigned index)
{
    struct publisher *publisher = &publishers[index];
    if (publisher->is_carried) {
        carried_step(publisher);
        return;
    }
    if (publisher->connection == NULL) {
        if (has_work() && world.phase != PHASE_DRAIN) {
            publisher_begin(publisher);
        }
        return;
    }
    if (world.options.resets && world.phase == PHASE_RUN && sim_below(150) == 0) {
        world_trace("publisher %u: drops the connection", index);
        publisher_forget(publisher, sim_chance(70));
        return;
    }
    unsigned at_once = probe >= 0 ? 1 : PIPELINE_MAX;
    if (!publisher->finishing && publisher->request_count < at_once && sim_chance(30)) {
        make_request(publisher);
    }
    if (publisher->out_sent < publisher->out_len) {
        publisher->out_sent +=
            sim_write(publisher->connection, publisher->out + publisher->out_sent,
                      publisher->out_len - publisher->out_sent);
    } else if (!publisher->finished &&
               (publisher->finishing ? sim_chance(50) : sim_below(200) == 0)) {
        /* Half-closed: what was asked is still answered. */
        publisher->finishing = publisher->finished = true;
        sim_finish(publisher->connection);
    }
    publisher_read(publisher);
    if (world_is_good() && sim_is_at_end(publisher->connection)) {
        publisher_ended(publisher);
    }
}

bool publishers_are_done(void)
{
    for (unsigned i = 0; i < world.options.publishers; i++) {
        if (publishers[i].request_count > 0) {
            return false;
        }
    }
    for (unsigned i = 0; i < key_count; i++) {
        if (!keys[i].answered && !world.options.crowded) {
            return false;
        }
    }
    return true;
}

void publishers_describe(void)
{
    for (unsigned i = 0; i < world.options.publishers; i++) {
        const struct publisher *publisher = &publishers[i];
        if (publisher->request_count > 0) {
            fail(publisher, "%u requests are not answered, %zu bytes unsent",
                 publisher->request_count, publisher->out_len - publisher->out_sent);
        }
    }
    for (unsigned i = 0; i < key_count; i++) {
        if (!keys[i].answered && !world.options.crowded) {
            world_fail("key-%u is never answered", i);
        }
    }
}

void publisher_probe(unsigned source)
{
    probe = (int)source;
}

void publisher_probe_end(void)
{
    probe = -1;
}
