#include "tools/load/worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "core/base/memory.h"

enum {
    CONNECTS_PER_TURN = 64,
    /* Beyond the backlogs that servers have, connections wait for the retransmission of a SYN. */
    IN_FLIGHT_MAX = 512,
    LOANED_SIZE = 1 << 20,
    SLOW_RECEIVE_BUFFER = 4096,
    RETRY_MS = 250,
    TURN_MS = 20,
};

/* --- Connecting ------------------------------------------------------------------------------- */

static int connect_from(const struct worker *worker, int fd, const struct subscriber *subscriber)
{
    const struct options *options = worker->options;
    uint64_t number = worker->first + (uint64_t)(subscriber - worker->subscribers);
    const struct source *from = &options->source;
    if (subscriber->is_vanishing && options->vanishing_source.count > 0) {
        from = &options->vanishing_source;
        number = (uint64_t)((double)number * options->vanishing_percent / 100);
    }
    if (from->count > 0) {
        const int on = 1;
        struct sockaddr_in source = {
            .sin_family = AF_INET,
            .sin_addr.s_addr = htonl(from->first + (uint32_t)(number % from->count)),
        };
        (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        if (bind(fd, (const struct sockaddr *)&source, sizeof source) < 0) {
            return -errno;
        }
    }
    const struct target_address *target = &options->target.subscribe_at;
    if (connect(fd, (const struct sockaddr *)&target->address, target->address_len) < 0 &&
        errno != EINPROGRESS) {
        return -errno;
    }
    return 0;
}

/* A plain descriptor, connecting; or a negative errno. */
static int connect_new(const struct worker *worker, const struct subscriber *subscriber)
{
    const int family = worker->options->target.subscribe_at.address.ss_family;
    const int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    if (subscriber->is_slow) {
        const int size = SLOW_RECEIVE_BUFFER;
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    }
    int r = connect_from(worker, fd, subscriber);
    if (r < 0) {
        (void)close(fd);
        return r;
    }
    return fd;
}

/* Sends the request, or what is left of it. */
static void send_request(struct worker *worker, struct subscriber *subscriber)
{
    const struct span id = span_make(subscriber->id, subscriber->is_known ? subscriber->id_len : 0);
    struct buffer *request = &worker->request;
    request->len = 0;
    target_write_subscribe(&worker->options->target, worker_channel(worker, subscriber), id,
                           request);
    if (request->failed) {
        request->failed = false;
        worker_drop(worker, subscriber, "the request is too long");
        return;
    }
    const size_t len = request->len - subscriber->request_sent;
    if (len > LOANED_SIZE - worker->loaned_len) {
        io_watch_writable(worker->io, &subscriber->stream); /* the next turn has room */
        return;
    }
    char *bytes = worker->loaned + worker->loaned_len;
    memcpy(bytes, request->bytes + subscriber->request_sent, len);
    worker->loaned_len += len;
    io_send(worker->io, &subscriber->stream, bytes, len,
            (uint32_t)(subscriber - worker->subscribers));
}

static void connect_later(struct worker *worker, struct subscriber *subscriber, uint64_t ms)
{
    subscriber->state = SUBSCRIBER_IDLE;
    const uint64_t jitter = random_below(&worker->random, ms / 2 + 1);
    wheel_set(&worker->wheel, &subscriber->timer, io_now_ms(worker->io) + ms + jitter);
}

static void connect_failed(struct worker *worker, const char *problem)
{
    score_add(&worker->score->connect_failures, 1);
    if (problem != NULL) {
        score_problem(worker->score->problem, problem);
    }
}

static void connect_one(struct worker *worker, struct subscriber *subscriber)
{
    CHECK(subscriber->state == SUBSCRIBER_IDLE);
    subscriber->begin_ns = load_now_ns();
    int r = connect_new(worker, subscriber);
    if (r >= 0) {
        r = io_adopt(worker->io, &subscriber->stream, r);
    }
    if (r < 0) {
        connect_failed(worker, strerror(-r));
        connect_later(worker, subscriber, RETRY_MS);
        return;
    }
    subscriber->state = SUBSCRIBER_REQUESTED;
    subscriber->request_sent = 0;
    worker->in_flight++;
    send_request(worker, subscriber);
}

static void connect_some(struct worker *worker)
{
    const uint64_t now_ns = load_now_ns();
    const double rate = worker->options->connect_rate / worker->options->worker_count;
    uint64_t allowed = CONNECTS_PER_TURN;
    if (worker->in_flight >= IN_FLIGHT_MAX) {
        /* Some servers give no head before the first event: those are not waited for. */
        if (now_ns - worker->in_flight_since_ns < 1000000000U) {
            return;
        }
        allowed = 1;
    }
    if (rate > 0) {
        const double due = rate * (double)(now_ns - worker->connect_begin_ns) / 1e9 + 1;
        allowed = due > (double)worker->connect_begun
                      ? min_u64(allowed, (uint64_t)due - worker->connect_begun)
                      : 0;
    }
    while (allowed-- > 0 && !list_is_empty(&worker->connect_queue)) {
        struct list *link = worker->connect_queue.next;
        list_remove(link);
        worker->connect_begun++;
        connect_one(worker, container_of(link, struct subscriber, queue_link));
    }
}

static void on_sent(void *owner, uint32_t token, ssize_t result)
{
    struct worker *worker = owner;
    struct subscriber *subscriber = &worker->subscribers[token];
    if (subscriber->state != SUBSCRIBER_REQUESTED) {
        return;
    }
    if (result > 0) {
        subscriber->request_sent += (uint32_t)result;
    }
    if (result >= 0 || result == -EAGAIN || result == -ENOTCONN) {
        io_watch_writable(worker->io, &subscriber->stream);
    } else {
        worker_drop(worker, subscriber, strerror((int)-result));
    }
}

static void on_sends_final(void *owner)
{
    struct worker *worker = owner;
    worker->loaned_len = 0;
}

static void on_writable(void *owner, struct io_stream *stream)
{
    struct worker *worker = owner;
    struct subscriber *subscriber = container_of(stream, struct subscriber, stream);
    if (subscriber->state == SUBSCRIBER_REQUESTED) {
        send_request(worker, subscriber);
    }
}

/* --- Opened, dropped, closed ------------------------------------------------------------------ */

void worker_opened(struct worker *worker, struct subscriber *subscriber)
{
    struct worker_score *score = worker->score;
    CHECK(subscriber->state == SUBSCRIBER_REQUESTED);
    subscriber->state = SUBSCRIBER_OPEN;
    worker->in_flight--;
    worker->in_flight_since_ns = worker->now_ns;
    score_add(&score->open, 1);
    score_add(&score->connects, 1);
    histogram_record(&score->connect, worker->now_ns - subscriber->begin_ns);
    if (subscriber->cut_ns > 0) {
        histogram_record(&score->recovery, worker->now_ns - subscriber->cut_ns);
        subscriber->cut_ns = 0;
    }
    if (subscriber->is_known) {
        subscriber->unresumed_slots = subscriber->id_len == 0 ? UINT64_MAX : 0;
        return;
    }
    subscriber->is_known = true;
    /* Whoever was there before the first message must get it. */
    const bool is_early = scoreboard_phase(worker->board) == LOAD_CONNECT;
    for (uint32_t slot = 0; slot < worker->slot_count && is_early; slot++) {
        worker_ledger(worker, subscriber, slot)->next = 1;
    }
}

void worker_drop(struct worker *worker, struct subscriber *subscriber, const char *problem)
{
    if (subscriber->state == SUBSCRIBER_OPEN) {
        score_add(&worker->score->open, UINT64_MAX);
        score_add(&worker->score->cut, 1);
    } else {
        CHECK(subscriber->state == SUBSCRIBER_REQUESTED);
        worker->in_flight--;
        connect_failed(worker, problem);
    }
    subscriber->state = SUBSCRIBER_CLOSING;
    io_close(worker->io, &subscriber->stream);
}

static void on_closed(void *owner, struct io_stream *stream)
{
    struct worker *worker = owner;
    struct subscriber *subscriber = container_of(stream, struct subscriber, stream);
    event_reader_reset(&subscriber->reader);
    if (subscriber->state == SUBSCRIBER_VANISHED) {
        return;
    }
    CHECK(subscriber->state == SUBSCRIBER_CLOSING);
    subscriber->position = worker_ring(worker, subscriber)->head;
    if (subscriber->is_stormed) {
        subscriber->is_stormed = false;
        subscriber->state = SUBSCRIBER_IDLE;
        wheel_remove(&worker->wheel, &subscriber->timer);
        list_append(worker->keeps_away ? &worker->away : &worker->connect_queue,
                    &subscriber->queue_link);
    } else {
        connect_later(worker, subscriber, worker->retry_ms);
    }
}

/* --- Slow readers ----------------------------------------------------------------------------- */

void worker_pause(struct worker *worker, struct subscriber *subscriber, size_t len)
{
    if (worker->phase >= LOAD_DRAIN) {
        return; /* now it shows whether a slow reader still gets everything */
    }
    io_read_stop(worker->io, &subscriber->stream);
    wheel_set(&worker->wheel, &subscriber->timer,
              io_now_ms(worker->io) + len * 1000 / worker->options->slow_bytes);
}

static void on_hung_up(void *owner, struct io_stream *stream)
{
    struct worker *worker = owner;
    io_read_start(worker->io, stream);
}

static void hurry_slow_readers(struct worker *worker)
{
    for (uint32_t i = 0; i < worker->count; i++) {
        struct subscriber *subscriber = &worker->subscribers[i];
        if (subscriber->is_slow && subscriber->state == SUBSCRIBER_OPEN) {
            wheel_remove(&worker->wheel, &subscriber->timer);
            io_read_start(worker->io, &subscriber->stream);
        }
    }
}

static void serve_timers(struct worker *worker)
{
    struct wheel_node *node;
    while ((node = wheel_take(&worker->wheel, io_now_ms(worker->io))) != NULL) {
        struct subscriber *subscriber = container_of(node, struct subscriber, timer);
        if (subscriber->state == SUBSCRIBER_OPEN) {
            io_read_start(worker->io, &subscriber->stream);
        } else if (subscriber->state == SUBSCRIBER_IDLE) {
            list_append(&worker->connect_queue, &subscriber->queue_link);
        }
    }
}

/* --- The loop --------------------------------------------------------------------------------- */

static void on_accepted(void *owner, struct io_listener *listener, int32_t descriptor,
                        const struct sockaddr_storage *address)
{
    struct worker *worker = owner;
    (void)listener;
    (void)address;
    io_reject(worker->io, descriptor);
}

static void on_accept_failed(void *owner, struct io_listener *listener, int error)
{
    (void)owner;
    (void)listener;
    (void)error;
}

static const struct io_handler handler = {
    .accepted = on_accepted,
    .accept_failed = on_accept_failed,
    .received = worker_received,
    .hung_up = on_hung_up,
    .sent = on_sent,
    .sends_final = on_sends_final,
    .writable = on_writable,
    .closed = on_closed,
};

static void notice_phase(struct worker *worker)
{
    const enum load_phase phase = scoreboard_phase(worker->board);
    score_cpu_read(&worker->score->cpu);
    if (phase == worker->phase) {
        return;
    }
    if (worker->phase < LOAD_PUBLISH) {
        worker->score->cpu_at_start = worker->score->cpu;
    }
    if (phase >= LOAD_DRAIN && worker->phase < LOAD_DRAIN) {
        worker->score->cpu_at_end = worker->score->cpu;
        worker->phase = phase;
        hurry_slow_readers(worker);
    }
    worker->phase = phase;
}

static int worker_loop(struct worker *worker)
{
    uint64_t noticed_ms = 0;
    while (worker->phase != LOAD_DONE) {
        connect_some(worker);
        worker_serve_orders(worker);
        serve_timers(worker);
        const bool is_connecting = !list_is_empty(&worker->connect_queue);
        int r = io_turn(worker->io, is_connecting ? 1 : TURN_MS);
        if (r < 0) {
            return r;
        }
        if (io_now_ms(worker->io) - noticed_ms >= TURN_MS / 2) {
            noticed_ms = io_now_ms(worker->io);
            notice_phase(worker);
        }
    }
    return 0;
}

static uint32_t ring_size(const struct worker *worker)
{
    const uint32_t readers = worker->count / worker->ring_count;
    uint32_t size = 4;
    if (readers < 2) {
        return 0;
    }
    while (size < readers / 4 && size < FRAME_RING_SIZE_MAX) {
        size *= 2;
    }
    return size;
}

/* Spread evenly: of the first n, as many as the percentage wants. */
static bool is_one_of(uint64_t number, double percent)
{
    const uint64_t share = (uint64_t)(percent * 10000);
    return (number + 1) * share / 1000000 != number * share / 1000000;
}

static int worker_memory(struct worker *worker)
{
    const struct options *options = worker->options;
    worker->ring_count = (uint32_t)min_u64(options->channel_count, worker->count);
    worker->subscribers = memory_calloc(worker->count, sizeof(struct subscriber));
    worker->ledgers =
        memory_calloc((size_t)worker->count * worker->slot_count, sizeof(struct ledger));
    worker->rings = memory_calloc(worker->ring_count, sizeof(struct frame_ring));
    worker->loaned = memory_alloc(LOANED_SIZE);
    buffer_init(&worker->request, TARGET_SUBSCRIBE_LEN_MAX);
    if (worker->subscribers == NULL || worker->ledgers == NULL || worker->rings == NULL ||
        worker->loaned == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < worker->ring_count; i++) {
        int r = frame_ring_init(&worker->rings[i], ring_size(worker));
        if (r < 0) {
            return r;
        }
    }
    for (uint32_t i = 0; i < worker->count; i++) {
        struct subscriber *subscriber = &worker->subscribers[i];
        const uint64_t number = worker->first + i;
        subscriber->is_slow = is_one_of(number, options->slow_percent);
        subscriber->is_vanishing = is_one_of(number, options->vanishing_percent);
        list_append(&worker->connect_queue, &subscriber->queue_link);
    }
    return 0;
}

static int worker_init(struct worker *worker, const char **ret_reason)
{
    list_init(&worker->connect_queue);
    list_init(&worker->away);
    int r = worker_memory(worker);
    if (r < 0) {
        *ret_reason = "not enough memory for so many subscribers";
        return r;
    }
    /* Some connections close while those that replace them are open already. */
    const struct io_options io_options = {
        .stream_count_max = worker->count + IN_FLIGHT_MAX,
        .plain_descriptors = true,
    };
    r = io_new(worker->options->io_kind, &io_options, &handler, worker, &worker->io, ret_reason);
    if (r < 0) {
        return r;
    }
    wheel_init(&worker->wheel, io_now_ms(worker->io));
    worker->connect_begin_ns = load_now_ns();
    worker->in_flight_since_ns = worker->connect_begin_ns;
    random_init(&worker->random, worker->connect_begin_ns ^ worker->first);
    worker->retry_ms = RETRY_MS;
    return 0;
}

void worker_run(const struct options *options, struct scoreboard *board, unsigned worker_index)
{
    static struct worker worker;
    const char *reason = NULL;
    const uint64_t total = options->subscriber_count;
    worker.options = options;
    worker.board = board;
    worker.score = &board->workers[worker_index];
    worker.first = (uint32_t)(total * worker_index / options->worker_count);
    worker.count = (uint32_t)(total * (worker_index + 1) / options->worker_count) - worker.first;
    worker.slot_count = board->slot_count;
    int r = worker_init(&worker, &reason);
    if (r == 0) {
        reason = "the event loop broke";
        r = worker_loop(&worker);
    }
    if (r < 0) {
        fprintf(stderr, "spate-load: a worker cannot go on: %s (%s)\n", reason, strerror(-r));
        _exit(LOAD_UNREACHABLE);
    }
    worker_sum_up(&worker);
    score_cpu_read(&worker.score->cpu);
    /* Release: pairs with the acquire of the report; the score is complete. */
    __atomic_store_n(&worker.score->is_finished, 1, __ATOMIC_RELEASE);
    _exit(LOAD_OK); /* the kernel closes thousands of connections faster than we could */
}
