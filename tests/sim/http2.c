#include "tests/sim/http2.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/fanout.h"
#include "hub/connection.h"
#include "hub/http2.h"
#include "tests/sim/patience.h"
#include "tests/sim/world.h"

enum {
    FIELDS_MAX = 12,
    OUT_SIZE = 1 << 16,
    WINDOW_DEFAULT = 65535,
    WINDOW_TINY = 2000, /* a window that may well be shut when the hub drains */
};

struct carrier {
    struct sim_connection *connection; /* NULL: unused */
    nghttp2_session *session;
    struct carried *carried[CARRIED_MAX + 1];
    unsigned carried_count;
    unsigned carried_max;
    bool leaving;       /* the hub takes no more requests on it */
    bool shares_little; /* its streams' unread bytes count against all of them */
    int32_t window;
    struct carried question; /* of its own, whose answer must come whole */
    size_t answer_len;       /* of what was read of it */
    char answer[16];         /* the beginning */
    struct sim_stamp stamp;  /* of the bytes at hand */
    struct patience patience;
    char out[OUT_SIZE];
    size_t out_len;
    size_t out_sent;
};

static struct carrier carriers[CARRIERS_MAX];

static unsigned number_of(const struct carrier *carrier)
{
    return (unsigned)(carrier - carriers);
}

#define fail(carrier, format, ...)                                                                 \
    world_fail("carrier %u: " format, number_of(carrier) __VA_OPT__(, ) __VA_ARGS__)

static struct carried *carried_of(struct carrier *carrier, int32_t stream_id)
{
    for (unsigned i = 0; i < carrier->carried_count; i++) {
        if (carrier->carried[i]->stream_id == stream_id) {
            return carrier->carried[i];
        }
    }
    return NULL;
}

static void carrier_forget(struct carrier *carrier, const struct carried *carried)
{
    for (unsigned i = 0; i < carrier->carried_count; i++) {
        if (carrier->carried[i] == carried) {
            carrier->carried[i] = carrier->carried[--carrier->carried_count];
            return;
        }
    }
}

/* What will not be read, or not on its account, is given back to the connection. */
static void carried_release(struct carried *carried)
{
    struct carrier *carrier = carried->carrier;
    if (carrier->shares_little) {
        (void)nghttp2_session_consume_connection(carrier->session,
                                                 carried->inbox.len - carried->head_len);
    }
    carrier_forget(carrier, carried);
    free(carried->body);
    carried->body = NULL;
}

/* The answer is over, or will not come. What has come may still be read. */
static void carried_over(struct carried *carried, bool in_order)
{
    struct carrier *carrier = carried->carrier;
    carried->is_over = true;
    carried->is_in_order = in_order;
    carried->was_cut = carrier->connection->was_cut || carrier->window < WINDOW_TINY;
    carried->quiet_ms = carrier->stamp.ms - min_u64(carrier->stamp.ms, carried->last_said_ms);
    carried_release(carried);
    carried->carrier = NULL;
}

/* ---- What comes ---- */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                     nghttp2_rcbuf *value, uint8_t flags, void *context)
{
    struct carrier *carrier = context;
    struct carried *carried = carried_of(carrier, frame->hd.stream_id);
    const nghttp2_vec label = nghttp2_rcbuf_get_buf(name);
    const nghttp2_vec text = nghttp2_rcbuf_get_buf(value);
    char line[1024];
    (void)session;
    (void)flags;
    if (carried == NULL) {
        return 0;
    }
    bool is_status = label.len == 7 && memcmp(label.base, ":status", 7) == 0;
    if (is_status) {
        snprintf(line, sizeof(line), "HTTP/1.1 %.*s as-carried\r\n", (int)text.len, text.base);
    } else {
        snprintf(line, sizeof(line), "%.*s: %.*s\r\n", (int)label.len, label.base, (int)text.len,
                 text.base);
    }
    if (carried->is_headed || (label.len == 10 && memcmp(label.base, "connection", 10) == 0)) {
        fail(carrier, "a field that has no place in an answer: %s", line);
    }
    sim_pipe_put(&carried->inbox, line, strlen(line), carrier->stamp);
    carried->head_len += strlen(line);
    return 0;
}

static void carrier_goaway(struct carrier *carrier, const nghttp2_goaway *frame)
{
    world_trace("carrier %u: GOAWAY up to stream %d (%s)", number_of(carrier),
                frame->last_stream_id, nghttp2_http2_strerror(frame->error_code));
    carrier->leaving = true;
    if (!world_may_close() &&
        (frame->error_code != NGHTTP2_NO_ERROR || world.phase != PHASE_DRAIN)) {
        fail(carrier, "the hub leaves: %s", nghttp2_http2_strerror(frame->error_code));
    }
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    struct carrier *carrier = context;
    struct carried *carried = carried_of(carrier, frame->hd.stream_id);
    (void)session;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        carrier_goaway(carrier, &frame->goaway);
    }
    if (carried == NULL) {
        return 0;
    }
    if (frame->hd.type == NGHTTP2_HEADERS) {
        carried->is_headed = true;
        sim_pipe_put(&carried->inbox, "\r\n", 2, carrier->stamp);
        carried->head_len += 2;
    }
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
        (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA)) {
        carried_over(carried, true);
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *bytes,
                   size_t len, void *context)
{
    struct carrier *carrier = context;
    struct carried *carried = carried_of(carrier, stream_id);
    (void)flags;
    if (carried == NULL || !carrier->shares_little) {
        (void)nghttp2_session_consume_connection(session, len);
    }
    if (carried != NULL) {
        sim_pipe_put(&carried->inbox, (const char *)bytes, len, carrier->stamp);
        carried->last_said_ms = carrier->stamp.ms;
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error,
                           void *context)
{
    struct carrier *carrier = context;
    struct carried *carried = carried_of(carrier, stream_id);
    (void)session;
    if (carried != NULL) {
        world_trace("carrier %u: stream %d is reset (%s)", number_of(carrier), stream_id,
                    nghttp2_http2_strerror(error));
        carried_over(carried, error == NGHTTP2_NO_ERROR);
    }
    return 0;
}

static int on_invalid(nghttp2_session *session, const nghttp2_frame *frame, int error,
                      void *context)
{
    struct carrier *carrier = context;
    (void)session;
    fail(carrier, "a frame of type %u that is none: %s", frame->hd.type, nghttp2_strerror(error));
    return 0;
}

/* ---- Connections ---- */

static void carrier_session(struct carrier *carrier)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
    CHECK(nghttp2_option_new(&option) == 0);
    nghttp2_session_callbacks_set_on_header_callback2(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid);
    nghttp2_option_set_no_auto_window_update(option, 1);
    CHECK(nghttp2_session_client_new2(&carrier->session, callbacks, carrier, option) == 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
}

/* Nothing can be said through a window of 0, until other settings open it. */
static void carrier_settings(struct carrier *carrier, bool may_shut)
{
    static const int32_t windows[] = {30, 100, 1000, 16384, WINDOW_DEFAULT, WINDOW_DEFAULT};
    carrier->window = may_shut && sim_chance(20) ? 0 : windows[sim_below(countof(windows))];
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)carrier->window},
    };
    CHECK(nghttp2_submit_settings(carrier->session, NGHTTP2_FLAG_NONE, settings,
                                  countof(settings)) == 0);
}

static struct carrier *carrier_new(struct carrier *carrier)
{
    static const size_t capacities[] = {300, 1000, 4000, 20000, 300000};
    unsigned loop = (unsigned)sim_below(world.options.shards);
    size_t capacity = capacities[sim_below(world.options.big_pipes ? 5 : 3)];
    struct sim_connection *connection = sim_connect(loop, capacity);
    if (connection == NULL) {
        return NULL;
    }
    *carrier = (struct carrier){.connection = connection};
    carrier->carried_max = 1 + (unsigned)sim_below(CARRIED_MAX / 2);
    carrier_session(carrier);
    carrier_settings(carrier, true);
    carrier->shares_little = sim_chance(30);
    if (carrier->shares_little) {
        CHECK(nghttp2_session_set_local_window_size(carrier->session, NGHTTP2_FLAG_NONE, 0,
                                                    2000 + (int32_t)sim_below(60000)) == 0);
    }
    world_trace("carrier %u: connects to shard %u, %zu bytes fit, windows of %d%s",
                number_of(carrier), loop, capacity, carrier->window,
                carrier->shares_little ? ", one for all of them" : "");
    return carrier;
}

/* One that may have another stream; `full`: though it does not like to. */
static struct carrier *carrier_with_room(bool full)
{
    unsigned first = (unsigned)sim_below(CARRIERS_MAX);
    for (unsigned i = 0; i < CARRIERS_MAX; i++) {
        struct carrier *carrier = &carriers[(first + i) % CARRIERS_MAX];
        if (carrier->connection != NULL && !carrier->leaving &&
            carrier->carried_count < (full ? CARRIED_MAX : carrier->carried_max)) {
            return carrier;
        }
    }
    return NULL;
}

static struct carrier *carrier_find(void)
{
    struct carrier *carrier = carrier_with_room(false);
    for (unsigned i = 0; i < CARRIERS_MAX && carrier == NULL; i++) {
        carrier = carriers[i].connection == NULL ? carrier_new(&carriers[i]) : NULL;
    }
    return carrier != NULL ? carrier : carrier_with_room(true);
}

static void carrier_end(struct carrier *carrier, bool hard)
{
    carrier->question.was_lost = true;
    sim_pipe_clear(&carrier->question.inbox);
    while (carrier->carried_count > 0) {
        carried_over(carrier->carried[0], false);
    }
    nghttp2_session_del(carrier->session);
    sim_abandon(carrier->connection, hard);
    carrier->connection = NULL;
}

static void carrier_say(struct carrier *carrier)
{
    const uint8_t *bytes;
    ssize_t len;
    if (carrier->out_sent == carrier->out_len) {
        carrier->out_sent = carrier->out_len = 0;
    }
    while (carrier->out_len < OUT_SIZE / 2 &&
           (len = nghttp2_session_mem_send(carrier->session, &bytes)) > 0) {
        CHECK((size_t)len <= OUT_SIZE - carrier->out_len);
        memcpy(carrier->out + carrier->out_len, bytes, (size_t)len);
        carrier->out_len += (size_t)len;
    }
    carrier->out_sent += sim_write(carrier->connection, carrier->out + carrier->out_sent,
                                   carrier->out_len - carrier->out_sent);
}

static void carrier_hear(struct carrier *carrier)
{
    char bytes[4096];
    for (unsigned i = 0; i < 8 && world_is_good(); i++) {
        size_t len = sim_read(carrier->connection, bytes, sizeof(bytes), &carrier->stamp);
        patience_look(&carrier->patience, carrier->connection->to_client.len > 0, len > 0);
        if (len == 0) {
            return;
        }
        ssize_t taken = nghttp2_session_mem_recv(carrier->session, (const uint8_t *)bytes, len);
        if (taken != (ssize_t)len) {
            fail(carrier, "the hub does not speak HTTP/2: %s", nghttp2_strerror((int)taken));
        }
    }
}

/* ---- Questions between streams ---- */

static nghttp2_nv field(const char *name, size_t name_len, const char *value, size_t value_len)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, name_len,
                        value_len, NGHTTP2_NV_FLAG_NONE};
}

static void question_ask(struct carrier *carrier)
{
    static const char *const paths[] = {"/channels", "/clients", "/stats", "/nowhere"};
    const char *path = paths[sim_below(countof(paths))];
    const nghttp2_nv fields[] = {
        field(":method", 7, "GET", 3),
        field(":scheme", 7, "http", 4),
        field(":path", 5, path, strlen(path)),
        field(":authority", 10, "localhost", 9),
    };
    struct carried *question = &carrier->question;
    *question = (struct carried){.carrier = carrier};
    question->stream_id =
        nghttp2_submit_request(carrier->session, NULL, fields, countof(fields), NULL, NULL);
    CHECK(question->stream_id > 0);
    carrier->carried[carrier->carried_count++] = question;
    carrier->answer_len = 0;
    memset(carrier->answer, 0, sizeof(carrier->answer));
    world_trace("carrier %u: stream %d asks for %s", number_of(carrier), question->stream_id, path);
}

/* nghttp2 has held the answer's length against what came; here it must have come at all. */
static void question_end(struct carrier *carrier)
{
    struct carried *question = &carrier->question;
    bool is_answered = question->is_in_order && carrier->answer_len > 0 &&
                       (strncmp(carrier->answer, "HTTP/1.1 200", 12) == 0 ||
                        strncmp(carrier->answer, "HTTP/1.1 404", 12) == 0);
    if (!is_answered && !world_may_close() && !world_may_refuse()) {
        fail(carrier, "the question of stream %d was answered with %.12s, %s", question->stream_id,
             carrier->answer, question->is_in_order ? "in order" : "not to its end");
    }
    *question = (struct carried){0};
}

static void question_step(struct carrier *carrier)
{
    struct carried *question = &carrier->question;
    char bytes[256];
    size_t len;
    if (question->stream_id == 0) {
        if (world.phase == PHASE_RUN && !carrier->leaving && sim_below(100) == 0) {
            question_ask(carrier);
        }
        return;
    }
    while ((len = carried_read(question, bytes, sizeof(bytes), NULL)) > 0) {
        if (carrier->answer_len < sizeof(carrier->answer) - 1) {
            size_t room = sizeof(carrier->answer) - 1 - carrier->answer_len;
            memcpy(carrier->answer + carrier->answer_len, bytes, min_size(room, len));
        }
        carrier->answer_len += len;
    }
    if (question->is_over) {
        question_end(carrier);
    }
}

/* Its SETTINGS have come: it did not refuse the connection in HTTP/1.1, for want of memory. */
static bool hub_speaks_http2(const struct carrier *carrier)
{
    return nghttp2_session_get_remote_settings(carrier->session,
                                               NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE) != UINT32_MAX;
}

/* It moves no bytes, until the hub has given it up. */
static bool carrier_is_gone(struct carrier *carrier)
{
    const struct sim_connection *connection = carrier->connection;
    patience_look(&carrier->patience, connection->to_client.len > 0, false);
    if (world.options.timeouts && world.phase == PHASE_RUN && sim_below(300) == 0 &&
        hub_speaks_http2(carrier)) {
        world_trace("carrier %u: reads nothing any more", number_of(carrier));
        carrier->patience.gone = true;
    }
    return patience_stays_gone(&carrier->patience,
                               connection->wants_room && connection->to_client.len > 0,
                               connection->hub_done || connection->reset);
}

static void carrier_step(struct carrier *carrier)
{
    if (carrier_is_gone(carrier)) {
        return;
    }
    question_step(carrier);
    if (world.phase == PHASE_RUN && sim_below(400) == 0) {
        (void)nghttp2_submit_ping(carrier->session, NGHTTP2_FLAG_NONE, NULL);
    }
    bool is_calm = world.phase != PHASE_RUN;
    /* Where all is calm, only so that everything comes before long. */
    bool is_due =
        sim_below(is_calm ? 300 : 600) == 0 && (!is_calm || carrier->window < WINDOW_TINY);
    if (carrier->window == 0 ? is_calm || sim_below(8) == 0 : is_due) {
        carrier_settings(carrier, false); /* the windows of all its streams change */
    }
    carrier_say(carrier);
    carrier_hear(carrier);
    bool is_over = nghttp2_session_want_read(carrier->session) == 0 &&
                   nghttp2_session_want_write(carrier->session) == 0;
    if (world_is_good() && (is_over || sim_is_at_end(carrier->connection))) {
        bool was_slow = patience_may_end(carrier->patience.longest_ms);
        world_trace("carrier %u: ended", number_of(carrier));
        for (unsigned i = 0; i < carrier->carried_count; i++) {
            carrier->carried[i]->was_lost = was_slow;
        }
        if (world.phase != PHASE_DRAIN && !world_may_close() && !was_slow) {
            fail(carrier, "the hub closed the connection");
        }
        carrier_end(carrier, false);
    }
}

void carriers_step(bool all)
{
    unsigned first = (unsigned)sim_below(CARRIERS_MAX);
    for (unsigned i = 0; i < CARRIERS_MAX && world_is_good(); i++) {
        struct carrier *carrier = &carriers[(first + i) % CARRIERS_MAX];
        if (carrier->connection != NULL) {
            carrier_step(carrier);
            if (!all) {
                return;
            }
        }
    }
}

bool carriers_are_gone(void)
{
    bool gone = false;
    for (unsigned i = 0; i < CARRIERS_MAX; i++) {
        gone |= carriers[i].connection != NULL && carriers[i].patience.gone;
    }
    return gone;
}

void carriers_end(void)
{
    for (unsigned i = 0; i < CARRIERS_MAX; i++) {
        if (carriers[i].connection != NULL) {
            carrier_end(&carriers[i], true);
        }
    }
}

/* ---- Requests ---- */

static bool is_field(const nghttp2_nv *nv, const char *name)
{
    return nv->namelen == strlen(name) && memcmp(nv->name, name, nv->namelen) == 0;
}

/* "POST /path HTTP/1.1", "Host: localhost", and what follows. `text` is changed. */
static size_t request_fields(char *text, nghttp2_nv *fields)
{
    size_t count = 0;
    char *path = strchr(text, ' ') + 1;
    fields[count++] = field(":method", 7, text, (size_t)(path - 1 - text));
    fields[count++] = field(":scheme", 7, "http", 4);
    fields[count++] = field(":path", 5, path, strcspn(path, " "));
    fields[count++] = field(":authority", 10, "localhost", 9);
    for (char *line = strstr(text, "\r\n") + 2; *line != '\r'; line = strstr(line, "\r\n") + 2) {
        size_t name_len = strcspn(line, ":");
        char *value = line + name_len + 2;
        for (size_t i = 0; i < name_len; i++) {
            line[i] = (char)(line[i] >= 'A' && line[i] <= 'Z' ? line[i] + 32 : line[i]);
        }
        CHECK(count < FIELDS_MAX);
        fields[count] = field(line, name_len, value, strcspn(value, "\r"));
        count += !is_field(&fields[count], "host");
    }
    return count;
}

static ssize_t body_read(nghttp2_session *session, int32_t stream_id, uint8_t *bytes, size_t size,
                         uint32_t *ret_flags, nghttp2_data_source *source, void *context)
{
    struct carried *carried = carried_of(context, stream_id);
    (void)session;
    (void)source;
    if (carried == NULL) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    size_t left = carried->body_len - carried->body_sent;
    size_t len = min_size(left, 1 + (size_t)sim_below(size));
    memcpy(bytes, carried->body + carried->body_sent, len);
    carried->body_sent += len;
    *ret_flags |= len == left ? NGHTTP2_DATA_FLAG_EOF : NGHTTP2_DATA_FLAG_NONE;
    return (ssize_t)len;
}

bool carried_begin(struct carried *carried, const char *request, size_t len)
{
    const nghttp2_data_provider provider = {.read_callback = body_read};
    nghttp2_nv fields[FIELDS_MAX];
    struct carrier *carrier = carrier_find();
    if (carrier == NULL) {
        return false;
    }
    const char *body = (const char *)memmem(request, len, "\r\n\r\n", 4) + 4;
    char *text = strndup(request, (size_t)(body - request));
    CHECK(text != NULL);
    *carried = (struct carried){.carrier = carrier, .last_said_ms = sim_net.now_ms};
    carried->body_len = len - (size_t)(body - request);
    if (carried->body_len > 0) {
        carried->body = malloc(carried->body_len);
        CHECK(carried->body != NULL);
        memcpy(carried->body, body, carried->body_len);
    }
    size_t count = request_fields(text, fields);
    carried->stream_id = nghttp2_submit_request(carrier->session, NULL, fields, count,
                                                carried->body_len > 0 ? &provider : NULL, NULL);
    CHECK(carried->stream_id > 0);
    free(text);
    carrier->carried[carrier->carried_count++] = carried;
    world_trace("carrier %u: stream %d", number_of(carrier), carried->stream_id);
    return true;
}

uint64_t carried_said_ms(const struct carried *carried)
{
    const struct carrier *carrier = carried->carrier;
    /* One that is over may have words left that its client has not read. */
    bool is_busy = carrier != NULL && carrier->connection->was_cut;
    return is_busy ? carrier->connection->last_said_ms : carried->last_said_ms;
}

size_t carried_read(struct carried *carried, char *bytes, size_t size, struct sim_stamp *ret_stamp)
{
    const struct carrier *carrier = carried->carrier;
    size_t len = sim_pipe_take(&carried->inbox, bytes, size, ret_stamp);
    size_t of_head = min_size(len, carried->head_len);
    carried->head_len -= of_head;
    if (carrier != NULL && len > of_head) {
        (void)nghttp2_session_consume_stream(carrier->session, carried->stream_id, len - of_head);
        if (carrier->shares_little) {
            (void)nghttp2_session_consume_connection(carrier->session, len - of_head);
        }
    }
    return len;
}

size_t carried_unread(const struct carried *carried)
{
    return carried->inbox.len - carried->head_len;
}

bool carried_is_stuck(const struct carried *carried)
{
    const struct carrier *carrier = carried->carrier;
    return carrier != NULL && carried_unread(carried) > 0 && !carrier->connection->was_cut &&
           nghttp2_session_get_stream_local_window_size(carrier->session, carried->stream_id) <= 0;
}

bool carried_is_at_end(const struct carried *carried)
{
    return carried->is_over && carried->inbox.len == 0;
}

void carried_drop(struct carried *carried, bool hard)
{
    struct carrier *carrier = carried->carrier;
    if (carrier != NULL && hard) {
        world_trace("carrier %u: is lost", number_of(carrier));
        for (unsigned i = 0; i < carrier->carried_count; i++) {
            carrier->carried[i]->was_lost = true;
        }
        carrier_end(carrier, sim_chance(70));
    } else if (carrier != NULL) {
        (void)nghttp2_submit_rst_stream(carrier->session, NGHTTP2_FLAG_NONE, carried->stream_id,
                                        NGHTTP2_CANCEL);
        carried_release(carried);
    }
    sim_pipe_clear(&carried->inbox);
    *carried = (struct carried){0};
}

/* ---- Joining ---- */

enum subscribe_outcome __real_fanout_join(struct fanout *fanout, struct subscriber *subscriber,
                                          struct channel_names names, uint64_t from,
                                          uint64_t now_ms);
enum subscribe_outcome __wrap_fanout_join(struct fanout *fanout, struct subscriber *subscriber,
                                          struct channel_names names, uint64_t from,
                                          uint64_t now_ms);

enum subscribe_outcome __wrap_fanout_join(struct fanout *fanout, struct subscriber *subscriber,
                                          struct channel_names names, uint64_t from,
                                          uint64_t now_ms)
{
    struct connection *connection = container_of(subscriber, struct connection, subscriber);
    if (http2_is_stream(connection)) {
        const struct io_stream *stream = &http2_carrier(connection)->stream;
        for (unsigned i = 0; i < CARRIERS_MAX; i++) {
            struct carried *carried =
                carriers[i].connection != NULL && carriers[i].connection->stream == stream
                    ? carried_of(&carriers[i], connection->stream_id)
                    : NULL;
            if (carried != NULL) {
                carried->joined_step = sim_net.step;
            }
        }
    }
    return __real_fanout_join(fanout, subscriber, names, from, now_ms);
}
