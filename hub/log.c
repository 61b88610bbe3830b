#include "hub/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "hub/log_text.h"

enum {
    RING_BYTES_DEFAULT = 256 * 1024,
    BURST_DEFAULT = 200,
    KIND_COUNT = 64, /* a program has a few dozen events; more share buckets */
    REPORT_INTERVAL_MS = 1000,
    STOP_GRACE_MS = 1000,
};

/* The token bucket of one kind of event. In thousandths of a line, so that no time is rounded away.
 */
struct log_kind {
    const char *event; /* NULL: free */
    uint64_t credit;
    uint64_t refilled_ms;
    uint64_t suppressed;
};

/*
 * `head` and `tail` only grow; the byte at n lives in bytes[n & (size - 1)]. Lines are whole: head
 * moves by a line at a time.
 */
struct log_ring {
    struct log *log;
    char *bytes;
    uint64_t size;

    /* The producer's. */
    uint64_t head __attribute__((aligned(64)));
    uint64_t tail_seen; /* how far the writer was when last asked */
    uint64_t dropped;
    struct log_kind kinds[KIND_COUNT];

    /* The writer's. */
    uint64_t tail __attribute__((aligned(64)));
    uint64_t dropped_told;
};

struct log {
    struct log_options options;
    size_t mapped_size; /* of this struct with the rings behind it */
    struct log_ring *rings;
    uint32_t level; /* enum log_level; relaxed: a change may take effect a line later */
    pthread_t thread;
    int wake_fd; /* eventfd; readable: the writer should look again */
    int done_fd; /* eventfd; readable: the writer has ended */

    uint32_t sleeping; /* the writer's; taken back by the producer that wakes it */
    uint32_t stopping; /* by log_stop, with the deadline */
    uint64_t stop_deadline_ms;

    /* The writer's. */
    int result;
    uint64_t lost; /* lines taken from rings that the descriptor refused, and not yet told */
    uint64_t reported_ms;
    size_t stage_at;
    size_t stage_len;
    char stage[LOG_TEXT_BYTES_MAX];
};

static uint64_t clock_ms(clockid_t clock)
{
    struct timespec now;
    CHECK(clock_gettime(clock, &now) == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t log_now_ms(const struct log *log)
{
    return log->options.now_ms != NULL ? log->options.now_ms(log->options.owner)
                                       : clock_ms(CLOCK_REALTIME);
}

/* The producer */

static struct log_kind *kind_of(struct log_ring *ring, const char *event)
{
    uint32_t hash = 2166136261U;
    for (const char *c = event; *c != '\0'; c++) {
        hash = (hash ^ (unsigned char)*c) * 16777619U;
    }
    for (uint32_t i = 0; i < KIND_COUNT; i++) {
        struct log_kind *kind = &ring->kinds[(hash + i) % KIND_COUNT];
        if (kind->event == NULL) {
            kind->event = event;
            kind->credit = (uint64_t)ring->log->options.burst * 1000;
            return kind;
        }
        if (kind->event == event || strcmp(kind->event, event) == 0) {
            return kind;
        }
    }
    return &ring->kinds[hash % KIND_COUNT];
}

static bool kind_take(struct log_kind *kind, uint64_t burst, uint64_t now_ms)
{
    /* A clock that was set back gives nothing until the next line. */
    uint64_t elapsed_ms = now_ms > kind->refilled_ms ? now_ms - kind->refilled_ms : 0;
    kind->refilled_ms = now_ms;
    kind->credit = min_u64(burst * 1000, kind->credit + min_u64(elapsed_ms, 1000) * burst);
    if (kind->credit < 1000) {
        kind->suppressed++;
        return false;
    }
    kind->credit -= 1000;
    return true;
}

static void log_wake(struct log *log)
{
    uint64_t one = 1;
    /* It can only fail when the counter is full, and then the writer is awake. */
    ssize_t written = write(log->wake_fd, &one, sizeof(one));
    (void)written;
}

static bool ring_push(struct log_ring *ring, const char *bytes, size_t len)
{
    uint64_t head = ring->head;
    if (len > ring->size - (head - ring->tail_seen)) {
        /* Partner: ring_take's release. What the writer has copied out may be written over. */
        ring->tail_seen = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
        if (len > ring->size - (head - ring->tail_seen)) {
            /* Partner: the relaxed loads of the counter; it orders nothing. */
            __atomic_store_n(&ring->dropped, ring->dropped + 1, __ATOMIC_RELAXED);
            return false;
        }
    }
    size_t at = head & (ring->size - 1);
    size_t first = min_size(len, ring->size - at);
    memcpy(ring->bytes + at, bytes, first);
    memcpy(ring->bytes, bytes + first, len - first);
    /*
     * Publishes the line (partner: ring_take's load). Sequentially consistent, together with the
     * load of `sleeping` and their mirror image in log_sleep: either the writer sees the line, or
     * we see that it sleeps. Weaker orders allow neither, and the line would wait for the next one.
     */
    __atomic_store_n(&ring->head, head + len, __ATOMIC_SEQ_CST);
    struct log *log = ring->log;
    if (__atomic_load_n(&log->sleeping, __ATOMIC_SEQ_CST) != 0 &&
        __atomic_exchange_n(&log->sleeping, 0, __ATOMIC_RELAXED) != 0) {
        log_wake(log);
    }
    return true;
}

void log_event(struct log_ring *ring, enum log_level level, const char *event,
               const struct log_field *fields, size_t count)
{
    if (!log_is_on(ring, level)) {
        return;
    }
    struct log *log = ring->log;
    uint64_t now_ms = log_now_ms(log);
    struct log_kind *kind = kind_of(ring, event);
    if (!kind_take(kind, log->options.burst, now_ms)) {
        return;
    }
    struct log_text text;
    log_text_begin(&text, log->options.format, now_ms, level, event);
    if (kind->suppressed > 0) {
        struct log_field suppressed = LOG_U64("suppressed", kind->suppressed);
        log_text_field(&text, &suppressed);
    }
    for (size_t i = 0; i < count; i++) {
        log_text_field(&text, &fields[i]);
    }
    log_text_end(&text);
    if (ring_push(ring, text.bytes, text.len)) {
        kind->suppressed = 0;
    }
}

bool log_is_on(const struct log_ring *ring, enum log_level level)
{
    /* Partner: log_set_level. */
    return (uint32_t)level >= __atomic_load_n(&ring->log->level, __ATOMIC_RELAXED);
}

void log_set_level(struct log *log, enum log_level level)
{
    __atomic_store_n(&log->level, (uint32_t)level, __ATOMIC_RELAXED);
}

struct log_ring *log_get_ring(struct log *log, uint32_t ring_index)
{
    CHECK(ring_index < log->options.ring_count);
    return &log->rings[ring_index];
}

uint64_t log_dropped_count(const struct log *log)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < log->options.ring_count; i++) {
        count += __atomic_load_n(&log->rings[i].dropped, __ATOMIC_RELAXED);
    }
    return count;
}

/* The writer */

static bool rings_are_empty(const struct log *log)
{
    for (uint32_t i = 0; i < log->options.ring_count; i++) {
        const struct log_ring *ring = &log->rings[i];
        if (__atomic_load_n(&ring->head, __ATOMIC_SEQ_CST) != ring->tail) {
            return false;
        }
    }
    return true;
}

/* Moves as many whole lines as fit onto the stage. */
static void ring_take(struct log_ring *ring, struct log *log)
{
    /* Partner: ring_push's publishing store. */
    uint64_t head = __atomic_load_n(&ring->head, __ATOMIC_SEQ_CST);
    size_t len = min_size(head - ring->tail, sizeof(log->stage) - log->stage_len);
    size_t at = ring->tail & (ring->size - 1);
    size_t first = min_size(len, ring->size - at);
    char *stage = log->stage + log->stage_len;
    memcpy(stage, ring->bytes + at, first);
    memcpy(stage + first, ring->bytes, len - first);
    const char *newline = memrchr(stage, '\n', len);
    len = newline == NULL ? 0 : (size_t)(newline - stage) + 1;
    log->stage_len += len;
    /* Partner: ring_push's acquire. */
    __atomic_store_n(&ring->tail, ring->tail + len, __ATOMIC_RELEASE);
}

static bool stage_line(struct log *log, struct log_text *text)
{
    log_text_end(text);
    if (text->len > sizeof(log->stage) - log->stage_len) {
        return false;
    }
    memcpy(log->stage + log->stage_len, text->bytes, text->len);
    log->stage_len += text->len;
    return true;
}

/* Says how many lines were dropped since it was said last. */
static void stage_report(struct log *log)
{
    uint64_t count = log->lost;
    uint64_t now_ms = log_now_ms(log);
    for (uint32_t i = 0; i < log->options.ring_count; i++) {
        count +=
            __atomic_load_n(&log->rings[i].dropped, __ATOMIC_RELAXED) - log->rings[i].dropped_told;
    }
    bool recent = now_ms >= log->reported_ms && now_ms - log->reported_ms < REPORT_INTERVAL_MS;
    if (count == 0 || (recent && !rings_are_empty(log))) {
        return;
    }
    struct log_text text;
    struct log_field field = LOG_U64("count", count);
    log_text_begin(&text, log->options.format, now_ms, LOG_LEVEL_WARN, "log lines dropped");
    log_text_field(&text, &field);
    if (stage_line(log, &text)) {
        /* The counters may have moved on: told is what the line says, first the lost, then by ring.
         */
        count -= log->lost;
        log->lost = 0;
        for (uint32_t i = 0; i < log->options.ring_count && count > 0; i++) {
            struct log_ring *ring = &log->rings[i];
            uint64_t dropped = __atomic_load_n(&ring->dropped, __ATOMIC_RELAXED);
            uint64_t told = min_u64(count, dropped - ring->dropped_told);
            ring->dropped_told += told;
            count -= told;
        }
        log->reported_ms = now_ms;
    }
}

/* Refills an empty stage; false when there is nothing to write. */
static bool stage_fill(struct log *log)
{
    CHECK(log->stage_at == log->stage_len);
    log->stage_at = 0;
    log->stage_len = 0;
    for (uint32_t i = 0; i < log->options.ring_count; i++) {
        ring_take(&log->rings[i], log);
    }
    stage_report(log);
    return log->stage_len > 0;
}

/* The rest of the stage cannot be written at all: its lines count as dropped. */
static void stage_discard(struct log *log)
{
    for (size_t i = log->stage_at; i < log->stage_len; i++) {
        log->lost += log->stage[i] == '\n' ? 1 : 0;
    }
    log->stage_at = log->stage_len;
}

/* Writes what the descriptor takes; 0 when the stage is empty, -EAGAIN, or why it was discarded. */
static int stage_write(struct log *log)
{
    while (log->stage_at < log->stage_len) {
        struct pollfd out = {.fd = log->options.fd, .events = POLLOUT};
        /* A writable pipe has room for PIPE_BUF bytes, so that even a blocking one does not block.
         */
        if (poll(&out, 1, 0) <= 0) {
            return -EAGAIN;
        }
        ssize_t written =
            write(log->options.fd, log->stage + log->stage_at, log->stage_len - log->stage_at);
        if (written >= 0) {
            log->stage_at += (size_t)written;
        } else if (errno == EAGAIN) {
            return -EAGAIN;
        } else if (errno != EINTR) {
            int result = -errno;
            stage_discard(log);
            return result;
        }
    }
    return 0;
}

/* What the rate limit still holds back is told at the end. */
static void log_tell_suppressed(struct log *log)
{
    for (uint32_t i = 0; i < log->options.ring_count; i++) {
        struct log_ring *ring = &log->rings[i];
        for (uint32_t j = 0; j < KIND_COUNT; j++) {
            if (ring->kinds[j].suppressed == 0) {
                continue;
            }
            struct log_text text;
            const struct log_field fields[] = {
                LOG_TEXT("kind", ring->kinds[j].event),
                LOG_U64("suppressed", ring->kinds[j].suppressed),
            };
            log_text_begin(&text, log->options.format, log_now_ms(log), LOG_LEVEL_WARN,
                           "log lines suppressed");
            log_text_field(&text, &fields[0]);
            log_text_field(&text, &fields[1]);
            log_text_end(&text);
            /* The producers have stopped: their end of the ring may be used from here. */
            if (ring_push(ring, text.bytes, text.len)) {
                ring->kinds[j].suppressed = 0;
            }
        }
    }
}

static void wake_reset(const struct log *log)
{
    uint64_t count;
    ssize_t got = read(log->wake_fd, &count, sizeof(count)); /* it may be empty already */
    (void)got;
}

/* Waits until the descriptor has room; with a timeout < 0 for ever, or for a wake-up. */
static void log_wait_writable(const struct log *log, int timeout_ms)
{
    struct pollfd fds[2] = {{.fd = log->options.fd, .events = POLLOUT},
                            {.fd = log->wake_fd, .events = POLLIN}};
    /* While stopping, the wake-up has done its work. */
    poll(fds, timeout_ms < 0 ? 2 : 1, timeout_ms);
    if (fds[1].revents != 0) {
        wake_reset(log); /* or a late one would make every further wait return at once */
    }
}

static void log_sleep(struct log *log)
{
    /* The mirror image of the end of ring_push; see there. */
    __atomic_store_n(&log->sleeping, 1, __ATOMIC_SEQ_CST);
    if (rings_are_empty(log) && __atomic_load_n(&log->stopping, __ATOMIC_ACQUIRE) == 0) {
        struct pollfd wake = {.fd = log->wake_fd, .events = POLLIN};
        poll(&wake, 1, -1);
    }
    __atomic_store_n(&log->sleeping, 0, __ATOMIC_RELAXED);
    wake_reset(log);
}

/* Writes the rest until the deadline, which is in monotonic milliseconds. */
static int log_finish(struct log *log, uint64_t deadline_ms)
{
    log_tell_suppressed(log);
    for (;;) {
        int result = stage_write(log);
        if (result == 0 && !stage_fill(log)) {
            return 0;
        }
        if (result == -EAGAIN) {
            uint64_t now_ms = clock_ms(CLOCK_MONOTONIC);
            if (now_ms >= deadline_ms) {
                return -ETIMEDOUT;
            }
            log_wait_writable(log, (int)(deadline_ms - now_ms));
        } else if (result < 0) {
            return result;
        }
    }
}

static void *log_thread(void *argument)
{
    struct log *log = argument;
    for (;;) {
        /* Partner: log_stop's release, behind which stand the deadline and the end of the
         * producers. */
        if (__atomic_load_n(&log->stopping, __ATOMIC_ACQUIRE) != 0) {
            break;
        }
        int result = stage_write(log);
        if (result == -EAGAIN) {
            log_wait_writable(log, -1);
        } else if (result < 0 || !stage_fill(log)) {
            log_sleep(log);
        }
    }
    log->result = log_finish(log, log->stop_deadline_ms);
    uint64_t one = 1;
    ssize_t written = write(log->done_fd, &one, sizeof(one));
    (void)written;
    return NULL;
}

/* Signals are for the main thread; EPIPE is an answer here, not a signal. */
static int log_start(struct log *log)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    int result = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (result == 0) {
        result = pthread_create(&log->thread, NULL, log_thread, log);
        CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    }
    return -result;
}

static void log_free(struct log *log)
{
    close(log->wake_fd);
    close(log->done_fd);
    memory_unmap(log, log->mapped_size);
}

struct log *log_new(const struct log_options *options)
{
    size_t ring_bytes = options->ring_bytes == 0 ? RING_BYTES_DEFAULT : options->ring_bytes;
    CHECK((ring_bytes & (ring_bytes - 1)) == 0);
    CHECK(ring_bytes >= LOG_TEXT_BYTES_MAX);
    CHECK(options->ring_count > 0);
    size_t header = sizeof(struct log) + 64 + options->ring_count * sizeof(struct log_ring);
    size_t size = header + options->ring_count * ring_bytes;
    struct log *log = memory_map(size);
    if (log == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    uintptr_t rings = ((uintptr_t)(log + 1) + 63) & ~(uintptr_t)63;
    log->options = *options;
    log->options.burst = options->burst == 0 ? BURST_DEFAULT : options->burst;
    log->level = (uint32_t)options->level;
    log->mapped_size = size;
    log->rings = (struct log_ring *)rings;
    for (uint32_t i = 0; i < options->ring_count; i++) {
        log->rings[i].log = log;
        log->rings[i].size = ring_bytes;
        log->rings[i].bytes = (char *)log + header + i * ring_bytes;
    }
    log->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    log->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int result = log->wake_fd < 0 || log->done_fd < 0 ? -errno : 0;
    if (result == 0 && !options->by_hand) {
        result = log_start(log);
    }
    if (result < 0) {
        log_free(log);
        errno = -result;
        return NULL;
    }
    return log;
}

int log_drain(struct log *log, struct buffer *text)
{
    CHECK(log->options.by_hand);
    do {
        if (text != NULL) {
            buffer_append(text, log->stage + log->stage_at, log->stage_len - log->stage_at);
            log->stage_at = log->stage_len;
            continue;
        }
        int result = stage_write(log);
        if (result < 0) {
            return result;
        }
    } while (stage_fill(log));
    return 0;
}

int log_stop(struct log *log, uint32_t timeout_ms)
{
    uint64_t deadline_ms = clock_ms(CLOCK_MONOTONIC) + timeout_ms;
    int result;
    if (log->options.by_hand) {
        result = log->options.fd < 0 ? 0 : log_finish(log, deadline_ms);
    } else {
        log->stop_deadline_ms = deadline_ms;
        /* Partner: the loads of log_thread and log_sleep. */
        __atomic_store_n(&log->stopping, 1, __ATOMIC_RELEASE);
        log_wake(log);
        struct pollfd done = {.fd = log->done_fd, .events = POLLIN};
        int ready;
        do {
            ready = poll(&done, 1, (int)(timeout_ms + STOP_GRACE_MS));
        } while (ready < 0 && errno == EINTR);
        if (ready <= 0) {
            pthread_detach(log->thread);
            return -ETIMEDOUT;
        }
        CHECK(pthread_join(log->thread, NULL) == 0);
        result = log->result;
    }
    log_free(log);
    return result;
}
