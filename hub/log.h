/*
 * The structured log: one line per event, as logfmt or JSON, that never holds up a shard.
 *
 *   shard 0 ──▶ ring 0 ─┐
 *   shard 1 ──▶ ring 1 ─┼─▶ writer thread ──▶ standard error
 *   main    ──▶ ring 2 ─┘
 *
 * Each thread that logs has a ring of its own, a fixed run of bytes with one producer and one
 * consumer. log_event formats the line on the stack and copies it into the ring; it takes no lock,
 * allocates nothing and never waits. The writer thread empties the rings. When standard error
 * blocks (a pipe nobody reads), only the writer waits; a ring that is full drops lines, counts
 * them, and the writer says so as soon as it can: msg="log lines dropped" count=N.
 *
 * A kind of event that repeats is limited per ring: a bucket of `burst` lines that refills by
 * `burst` a second. What is held back is counted, and the next line of that kind carries
 * suppressed=N; what is still uncounted at the end is told by log_stop. Nothing is lost without a
 * number.
 *
 * Nothing can be injected. Values may be any bytes: invalid UTF-8 becomes U+FFFD; control
 * characters, line separators and the characters that reverse text on a terminal are escaped; long
 * values are cut and marked. Event names and keys are literals of the program.
 *
 * Threads: log_event by the one thread that owns the ring; log_set_level, log_is_on and
 * log_get_ring by any; the others by one thread, as said below.
 */
#ifndef SPATE_HUB_LOG_H
#define SPATE_HUB_LOG_H

#include "core/base/base.h"
#include "core/base/buffer.h"

#ifdef __cplusplus
extern "C" {
#endif

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

enum log_field_kind { LOG_FIELD_STRING, LOG_FIELD_U64, LOG_FIELD_I64, LOG_FIELD_MS };

struct log_field {
    const char *key; /* a literal of [a-z0-9_] */
    enum log_field_kind kind;
    struct span string;
    uint64_t u64;
    int64_t i64;
    double ms; /* milliseconds; written with three decimals */
};

#define LOG_STR(name, value)                                                                       \
    ((struct log_field){.key = (name), .kind = LOG_FIELD_STRING, .string = (value)})
#define LOG_TEXT(name, value) LOG_STR(name, span_of(value))
#define LOG_U64(name, value)                                                                       \
    ((struct log_field){.key = (name), .kind = LOG_FIELD_U64, .u64 = (value)})
#define LOG_I64(name, value)                                                                       \
    ((struct log_field){.key = (name), .kind = LOG_FIELD_I64, .i64 = (value)})
#define LOG_MS(name, value) ((struct log_field){.key = (name), .kind = LOG_FIELD_MS, .ms = (value)})

struct log;
struct log_ring;

struct log_options {
    enum log_format format;
    enum log_level level;
    int fd;              /* where lines go; on loan. May be blocking or not; -1: log_drain only */
    uint32_t ring_count; /* threads that log */
    uint32_t ring_bytes; /* of each ring, a power of two; 0: 256 KiB */
    uint32_t burst;      /* lines of one kind per second and ring; 0: 200 */
    bool by_hand;        /* no thread: the owner calls log_drain */
    /* The time in Unix milliseconds, for a simulation; NULL: the system's. Called by the producers.
     */
    uint64_t (*now_ms)(void *owner);
    void *owner;
};

/* Returns NULL without memory or when the thread or its descriptor cannot be had (errno says). */
struct log *log_new(const struct log_options *options);

struct log_ring *log_get_ring(struct log *log, uint32_t ring_index);

void log_set_level(struct log *log, enum log_level level);

/* Whether a line of that level would be written: asked before gathering costly fields. */
bool log_is_on(const struct log_ring *ring, enum log_level level);

/* One line. `event` is a literal; it is the unit of the rate limit. */
void log_event(struct log_ring *ring, enum log_level level, const char *event,
               const struct log_field *fields, size_t count);

/* log_line(ring, LOG_LEVEL_INFO, "publish", LOG_STR("channel", name), LOG_U64("bytes", n)) */
#define log_line(ring, level, ...) log_line_with((ring), (level), __VA_ARGS__, LOG_FIELD_END)
#define LOG_FIELD_END              ((struct log_field){.key = NULL})
#define log_line_with(ring, level, event, ...)                                                     \
    do {                                                                                           \
        const struct log_field log_line_fields[] = {__VA_ARGS__};                                  \
        log_event((ring), (level), (event), log_line_fields, countof(log_line_fields) - 1);        \
    } while (0)

/* Lines that found their ring full, so far, over all rings. */
uint64_t log_dropped_count(const struct log *log);

/*
 * by_hand only: writes what is in the rings, to `text` or, when that is NULL, to the descriptor, as
 * far as that takes it without waiting. Returns 0, -EAGAIN when some is left, or a negative errno.
 */
int log_drain(struct log *log, struct buffer *text);

/*
 * Writes everything out, waiting at most timeout_ms for a reader, and frees the log. The producers
 * must have stopped. Returns 0; on -ETIMEDOUT lines were lost. Never waits longer: where the writer
 * is caught in the kernel, its memory is left to it, as the process is about to end.
 */
int log_stop(struct log *log, uint32_t timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
