#include "tools/load/publisher.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "tools/load/http1.h"
#include "tools/load/message.h"
#include "tools/load/transport.h"

enum {
    TURN_MS = 20,
    RETRY_NS = 100000000,
    ANSWER_LEN_MAX = 1 << 20,
    /* Messages that were due before the end may still be sent for so long. */
    CATCH_UP_NS = 2000000000,
    /* Below this the loop's milliseconds are too coarse, and a short sleep takes their place. */
    FINE_NS = 2000000,
    NAP_NS = 50000,
    /* A window that does not move for so long has lost something and is opened again. */
    WINDOW_STALL_NS = 1000000000,
};

enum connection_state {
    CONNECTION_CLOSED,
    CONNECTION_READY,   /* perhaps still connecting */
    CONNECTION_WAITING, /* for an answer */
    CONNECTION_CLOSING,
};

struct connection {
    struct exchange exchange; /* first: see transport_options */
    uint8_t state;            /* enum connection_state */
    uint32_t slot;
    uint32_t channel_first;
    uint32_t channel_count; /* every publisher_count-th from channel_first on */
    uint64_t number;        /* of its messages so far */
    uint64_t free_ns;       /* since when it could have sent */
    uint64_t retry_ns;      /* CLOSED: not before */
    struct score_uncertain current;
    uint64_t due_ns;
    struct buffer request;
    struct http1_response response;
    struct buffer answer; /* what has come and is not taken */
};

struct publisher {
    const struct options *options;
    struct scoreboard *board;
    struct publisher_score *score;
    struct transport *transport;
    struct connection *connections;
    uint32_t count;
    char *message;
    uint64_t completed;   /* closed loop: messages that all have got */
    uint64_t written_off; /* ... and those that are not waited for any more */
    uint64_t progress_ns; /* when that last grew */
    uint64_t deliveries_seen;
};

uint32_t publisher_slot_count(const struct options *options)
{
    const uint32_t publishers = options->publisher_count > 0 ? options->publisher_count : 1;
    return (publishers + options->channel_count - 1) / options->channel_count;
}

/* --- Connections ------------------------------------------------------------------------------ */

static void connection_open(struct publisher *publisher, struct connection *connection)
{
    CHECK(connection->state == CONNECTION_CLOSED);
    int r = exchange_open(publisher->transport, &connection->exchange);
    connection->free_ns = load_now_ns();
    if (r < 0) {
        score_problem(publisher->score->problem, strerror(-r));
        connection->retry_ns = connection->free_ns + RETRY_NS;
        return;
    }
    connection->state = CONNECTION_READY;
}

/* Whether the message under way has been published is not known. */
static void connection_give_up(struct publisher *publisher, struct connection *connection,
                               const char *problem)
{
    score_add(&publisher->score->failed, 1);
    score_problem(publisher->score->problem, problem);
    scoreboard_add_uncertain(publisher->board, &connection->current);
}

static void connection_close(struct publisher *publisher, struct connection *connection,
                             const char *problem)
{
    if (connection->state == CONNECTION_CLOSING) {
        return;
    }
    if (connection->state == CONNECTION_WAITING) {
        connection_give_up(publisher, connection, problem);
    } else if (problem != NULL) {
        score_problem(publisher->score->problem, problem);
    }
    connection->retry_ns = load_now_ns() + (problem == NULL ? 0 : RETRY_NS);
    connection->state = CONNECTION_CLOSING;
    exchange_close(publisher->transport, &connection->exchange);
}

/* --- Answers ---------------------------------------------------------------------------------- */

static void answer_complete(struct publisher *publisher, struct connection *connection)
{
    struct publisher_score *score = publisher->score;
    const int status = connection->response.head.status;
    const uint64_t now_ns = load_now_ns();
    if (status >= 200 && status < 300) {
        score_add(&score->acknowledged, 1);
        histogram_record(&score->answer, now_ns - connection->due_ns);
    } else {
        char problem[SCORE_PROBLEM_LEN];
        (void)snprintf(problem, sizeof problem, "a publication was answered with %d", status);
        score_problem(score->problem, problem);
        score_add(&score->refused, 1);
        scoreboard_add_uncertain(publisher->board, &connection->current);
    }
    connection->state = CONNECTION_READY;
    connection->free_ns = now_ns;
    /* Over HTTP/2 the next request is the next stream. */
    const bool closes =
        connection->response.head.closes && publisher->options->streams_per_connection == 0;
    connection->response = (struct http1_response){0};
    if (closes) {
        connection_close(publisher, connection, NULL);
    }
}

static void on_ended(void *owner, struct exchange *exchange, const char *problem)
{
    struct publisher *publisher = owner;
    struct connection *connection = container_of(exchange, struct connection, exchange);
    const struct http1_head *head = &connection->response.head;
    /* A response without framing ends here, and well. */
    if (connection->state == CONNECTION_WAITING && head->len > 0 && !head->is_chunked &&
        !head->has_length && problem == NULL) {
        connection->response.head.closes = true;
        answer_complete(publisher, connection);
        return;
    }
    const bool is_idle = connection->state == CONNECTION_READY && connection->number > 0;
    if (is_idle && problem == NULL && exchange_is_usable(exchange) &&
        publisher->options->streams_per_connection > 0) {
        return; /* the stream of an answer that was complete by its length */
    }
    /* Servers may end a connection that they find idle. */
    connection_close(publisher, connection,
                     problem != NULL ? problem
                     : is_idle       ? NULL
                                     : "the server closed a publisher's connection");
}

static void on_received(void *owner, struct exchange *exchange, struct span text)
{
    struct publisher *publisher = owner;
    struct connection *connection = container_of(exchange, struct connection, exchange);
    if (connection->state != CONNECTION_WAITING) {
        connection_close(publisher, connection, "an answer came that nobody asked for");
        return;
    }
    struct buffer *answer = &connection->answer;
    size_t consumed = 0;
    buffer_append_span(answer, text);
    enum http1_outcome outcome =
        answer->failed ? HTTP1_BAD
                       : http1_response_take(&connection->response, buffer_span(answer), &consumed);
    answer->failed = false;
    answer->len -= consumed;
    if (answer->len > 0) {
        memmove(answer->bytes, answer->bytes + consumed, answer->len);
    }
    if (outcome == HTTP1_BAD) {
        connection_close(publisher, connection, "the answer to a publication is not HTTP");
    } else if (outcome == HTTP1_LONG) {
        connection_close(publisher, connection,
                         "the answer to a publication has a head of more than 16 KiB");
    } else if (outcome == HTTP1_DONE && connection->response.head.status >= 200) {
        answer_complete(publisher, connection);
    } else if (outcome == HTTP1_DONE) {
        connection->response = (struct http1_response){0}; /* 1xx: the answer follows */
    }
}

/* --- Messages --------------------------------------------------------------------------------- */

/* When the connection's next message is due; in a closed loop, when to look again. */
static uint64_t next_due_ns(const struct publisher *publisher, const struct connection *connection)
{
    const struct options *options = publisher->options;
    const struct scoreboard *board = publisher->board;
    if (options->steps_path != NULL) {
        /* Acquire: pairs with the release of the step; when they are due is set before. */
        const uint64_t goal = __atomic_load_n(&board->goal, __ATOMIC_ACQUIRE);
        return connection->number >= goal
                   ? UINT64_MAX
                   : board->goal_begin_ns +
                         (connection->number - board->goal_begin_number) * board->goal_every_ns;
    }
    if (options->window > 0) {
        const uint64_t on_their_way =
            publisher->score->sent - publisher->completed - publisher->written_off;
        return load_now_ns() + (on_their_way < options->window ? 0 : NAP_NS);
    }
    const uint64_t index =
        connection->number * publisher->count + (uint64_t)(connection - publisher->connections);
    return board->start_ns + (uint64_t)((double)index * 1e9 / options->rate);
}

static void connection_publish(struct publisher *publisher, struct connection *connection,
                               uint64_t due_ns)
{
    const struct options *options = publisher->options;
    struct scoreboard *board = publisher->board;
    const uint32_t channel =
        connection->channel_first +
        (uint32_t)(connection->number % connection->channel_count) * publisher->count;
    const size_t place = (size_t)channel * board->slot_count + connection->slot;
    const struct message message = {
        .run = board->run,
        .channel = channel,
        .slot = connection->slot,
        .sequence = board->published[place] + 1,
        .due_ns = due_ns,
    };
    message_write(&message, publisher->message, options->message_len);
    connection->request.len = 0;
    target_write_publish(&options->target, channel,
                         span_make(publisher->message, options->message_len), &connection->request);
    CHECK(!connection->request.failed); /* one has been tried at the start */
    connection->number++;
    connection->due_ns = due_ns;
    connection->current = (struct score_uncertain){channel, connection->slot, message.sequence};
    connection->state = CONNECTION_WAITING;
    __atomic_store_n(&board->published[place], message.sequence, __ATOMIC_RELAXED);
    score_add(&publisher->score->sent, 1);
    histogram_record(&publisher->score->late, load_now_ns() - max_u64(due_ns, connection->free_ns));
    exchange_request(publisher->transport, &connection->exchange);
}

/* Closed loop: how many messages have reached all of their subscribers. */
static void count_completed(struct publisher *publisher)
{
    const struct options *options = publisher->options;
    const struct scoreboard *board = publisher->board;
    uint64_t deliveries = 0;
    for (unsigned i = 0; i < board->worker_count; i++) {
        deliveries += score_get(&board->workers[i].deliveries);
    }
    const uint64_t now_ns = load_now_ns();
    if (deliveries != publisher->deliveries_seen) {
        publisher->deliveries_seen = deliveries;
        publisher->progress_ns = now_ns;
    }
    publisher->completed =
        (uint64_t)((double)deliveries * options->channel_count / options->subscriber_count);
    const uint64_t sent = publisher->score->sent;
    publisher->written_off =
        min_u64(publisher->written_off, sent - min_u64(sent, publisher->completed));
    publisher->completed = min_u64(publisher->completed, sent);
    if (now_ns - publisher->progress_ns > WINDOW_STALL_NS) {
        publisher->written_off = sent - publisher->completed;
        publisher->progress_ns = now_ns;
    }
}

/* Sends what is due. Returns when the next one will be; UINT64_MAX: not before an answer. */
static uint64_t publish_due(struct publisher *publisher, bool *ret_is_waiting)
{
    const uint64_t stop_ns = publisher->board->stop_ns;
    uint64_t next_ns = UINT64_MAX;
    *ret_is_waiting = false;
    if (publisher->options->window > 0) {
        count_completed(publisher);
    }
    for (uint32_t i = 0; i < publisher->count; i++) {
        struct connection *connection = &publisher->connections[i];
        const uint64_t due_ns = next_due_ns(publisher, connection);
        const uint64_t now_ns = load_now_ns();
        if (connection->state == CONNECTION_CLOSED && now_ns >= connection->retry_ns) {
            connection_open(publisher, connection);
        }
        if (connection->state == CONNECTION_WAITING) {
            *ret_is_waiting = true;
            continue;
        }
        if (connection->state == CONNECTION_READY && !exchange_is_usable(&connection->exchange)) {
            connection_close(publisher, connection, NULL);
        }
        if (due_ns >= stop_ns) {
            continue;
        }
        if (connection->state == CONNECTION_READY && due_ns <= now_ns) {
            connection_publish(publisher, connection, due_ns);
            *ret_is_waiting = true;
        } else {
            next_ns = min_u64(next_ns, max_u64(due_ns, now_ns + NAP_NS));
        }
    }
    return next_ns;
}

static void count_unsent(struct publisher *publisher)
{
    for (uint32_t i = 0; i < publisher->count && publisher->options->window == 0; i++) {
        struct connection *connection = &publisher->connections[i];
        while (next_due_ns(publisher, connection) < publisher->board->stop_ns) {
            connection->number++;
            score_add(&publisher->score->unsent, 1);
        }
    }
}

/* --- The loop --------------------------------------------------------------------------------- */

static struct span on_request(void *owner, struct exchange *exchange)
{
    (void)owner;
    return buffer_span(&container_of(exchange, struct connection, exchange)->request);
}

static void on_closed(void *owner, struct exchange *exchange)
{
    struct connection *connection = container_of(exchange, struct connection, exchange);
    (void)owner;
    CHECK(connection->state == CONNECTION_CLOSING);
    connection->state = CONNECTION_CLOSED;
    connection->response = (struct http1_response){0};
    connection->answer.len = 0;
}

static const struct transport_handler handler = {
    .request = on_request,
    .received = on_received,
    .ended = on_ended,
    .closed = on_closed,
};

/* Waits for an answer or until it is time, whichever comes first. */
static int wait_until(struct publisher *publisher, uint64_t next_ns, bool is_waiting)
{
    const uint64_t now_ns = load_now_ns();
    const uint64_t left_ns = next_ns > now_ns ? next_ns - now_ns : 0;
    if (publisher->options->window == 0 && left_ns > FINE_NS) {
        const uint64_t ms = min_u64(left_ns / 1000000 - 1, TURN_MS);
        return transport_turn(publisher->transport, (int)ms);
    }
    int r = transport_turn(publisher->transport, 0);
    if (r == 0 && (left_ns > NAP_NS || (publisher->options->window > 0 && is_waiting))) {
        const struct timespec nap = {0, NAP_NS};
        (void)nanosleep(&nap, NULL);
    }
    return r;
}

static int publish_until_stop(struct publisher *publisher)
{
    struct scoreboard *board = publisher->board;
    score_cpu_read(&publisher->score->cpu_at_start);
    publisher->progress_ns = load_now_ns();
    uint64_t cpu_read_ns = 0;
    for (;;) {
        bool is_waiting;
        const uint64_t next_ns = publish_due(publisher, &is_waiting);
        const uint64_t now_ns = load_now_ns();
        const bool is_over = publisher->options->steps_path == NULL && next_ns == UINT64_MAX;
        /* The report ends the phase, at the latest, and by a signal at any time. */
        if (scoreboard_phase(board) != LOAD_PUBLISH || (is_over && !is_waiting) ||
            (now_ns > board->stop_ns + CATCH_UP_NS && !is_waiting)) {
            break;
        }
        if (now_ns - cpu_read_ns > TURN_MS * 1000000) {
            cpu_read_ns = now_ns;
            score_cpu_read(&publisher->score->cpu);
        }
        int r = wait_until(publisher, next_ns, is_waiting);
        if (r < 0) {
            return r;
        }
    }
    score_cpu_read(&publisher->score->cpu_at_end);
    return 0;
}

static bool is_unanswered(const struct publisher *publisher)
{
    for (uint32_t i = 0; i < publisher->count; i++) {
        if (publisher->connections[i].state == CONNECTION_WAITING) {
            return true;
        }
    }
    return false;
}

/* A signal ends the phase at any moment: what is under way then still gets its answer. */
static int await_answers(struct publisher *publisher)
{
    const uint64_t until_ns = load_now_ns() + CATCH_UP_NS;
    int r = 0;
    while (r == 0 && is_unanswered(publisher) && load_now_ns() < until_ns) {
        r = transport_turn(publisher->transport, TURN_MS);
    }
    return r;
}

static int publisher_loop(struct publisher *publisher)
{
    struct scoreboard *board = publisher->board;
    while (scoreboard_phase(board) == LOAD_CONNECT) {
        int r = transport_turn(publisher->transport, TURN_MS);
        if (r < 0) {
            return r;
        }
    }
    int r = scoreboard_phase(board) == LOAD_PUBLISH ? publish_until_stop(publisher) : 0;
    if (r == 0 && load_now_ns() < board->stop_ns) {
        r = await_answers(publisher);
    }
    if (r < 0) {
        return r;
    }
    for (uint32_t i = 0; i < publisher->count; i++) {
        if (publisher->connections[i].state == CONNECTION_WAITING) {
            connection_give_up(publisher, &publisher->connections[i],
                               "a publication was not answered");
        }
    }
    if (load_now_ns() >= board->stop_ns) {
        count_unsent(publisher);
    }
    return 0;
}

static int publisher_init(struct publisher *publisher, const char **ret_reason)
{
    const struct options *options = publisher->options;
    publisher->connections = memory_calloc(publisher->count, sizeof(struct connection));
    publisher->message = memory_alloc(options->message_len);
    if (publisher->connections == NULL || publisher->message == NULL) {
        *ret_reason = "not enough memory";
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < publisher->count; i++) {
        struct connection *connection = &publisher->connections[i];
        const bool shares = publisher->count >= options->channel_count;
        buffer_init(&connection->request, TARGET_PUBLISH_LEN_MAX);
        buffer_init(&connection->answer, ANSWER_LEN_MAX);
        connection->slot = shares ? i / options->channel_count : 0;
        connection->channel_first = shares ? i % options->channel_count : i;
        connection->channel_count =
            shares ? 1 : (options->channel_count - i + publisher->count - 1) / publisher->count;
    }
    const struct transport_options transport_options = {
        .io_kind = options->io_kind,
        .at = &options->target.publish_at,
        .tls = options->tls,
        .streams_per_connection = options->streams_per_connection,
        .exchanges = &publisher->connections[0].exchange,
        .exchange_stride = sizeof(struct connection),
        .exchange_count = publisher->count,
    };
    return transport_new(&transport_options, &handler, publisher, &publisher->transport,
                         ret_reason);
}

void publisher_run(const struct options *options, struct scoreboard *board)
{
    static struct publisher publisher;
    const char *reason = NULL;
    publisher.options = options;
    publisher.board = board;
    publisher.score = &board->publisher;
    publisher.count = options->publisher_count;
    (void)prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    int r = publisher_init(&publisher, &reason);
    if (r == 0) {
        reason = "the event loop broke";
        r = publisher_loop(&publisher);
    }
    if (r < 0) {
        fprintf(stderr, "spate-load: cannot publish: %s (%s)\n", reason, strerror(-r));
        _exit(LOAD_UNREACHABLE);
    }
    score_cpu_read(&publisher.score->cpu);
    /* Release: pairs with the acquire of the report; the score is complete. */
    __atomic_store_n(&publisher.score->is_finished, 1, __ATOMIC_RELEASE);
    _exit(LOAD_OK);
}
