#include <errno.h>
#include <stdio.h>

#include "tools/load/worker.h"

/* --- What a message means --------------------------------------------------------------------- */

static void take_gap(struct worker *worker, struct subscriber *subscriber,
                     const struct score_uncertain *first, uint64_t end)
{
    struct worker_score *score = worker->score;
    const uint64_t bit = UINT64_C(1) << first->slot;
    const uint64_t uncertain = scoreboard_uncertain(worker->board, first, end);
    const uint64_t missing = end - first->sequence - uncertain;
    score_add(&score->uncertain, uncertain);
    if ((subscriber->unresumed_slots & bit) != 0) {
        score_add(&score->unresumed, missing);
    } else if ((subscriber->announced_slots & bit) != 0) {
        score_add(&score->announced, missing);
    } else {
        score_add(&score->lost, missing);
    }
}

static inline void take_message(struct worker *worker, struct subscriber *subscriber,
                                const struct message *message)
{
    struct worker_score *score = worker->score;
    uint64_t first;
    switch (
        ledger_take(worker_ledger(worker, subscriber, message->slot), message->sequence, &first)) {
    case LEDGER_NEXT:
        break;
    case LEDGER_GAP: {
        const struct score_uncertain gap = {message->channel, message->slot, first};
        take_gap(worker, subscriber, &gap, message->sequence);
        break;
    }
    case LEDGER_LATE:
        score_add(&score->late, 1);
        if (score->lost > 0) {
            score_add(&score->lost, UINT64_MAX); /* one less: it has come after all */
        }
        break;
    case LEDGER_DUPLICATE:
        score_add(&score->duplicates, 1);
        return;
    }
    if (unlikely((subscriber->announced_slots | subscriber->unresumed_slots) != 0)) {
        const uint64_t others = ~(UINT64_C(1) << message->slot);
        subscriber->announced_slots &= others;
        subscriber->unresumed_slots &= others;
    }
    score_add(&score->deliveries, 1);
    const uint64_t latency_ns =
        worker->now_ns > message->due_ns ? worker->now_ns - message->due_ns : 0;
    histogram_record(subscriber->exchange.is_slow ? &score->latency_slow : &score->latency,
                     latency_ns);
}

/* --- Reading in full -------------------------------------------------------------------------- */

static void on_head(void *owner, const struct http1_head *head)
{
    struct worker *worker = owner;
    char problem[SCORE_PROBLEM_LEN];
    if (head->status == 200 && head->is_event_stream) {
        worker_opened(worker, worker->receiving);
        return;
    }
    worker->head_is_bad = true;
    (void)snprintf(problem, sizeof problem, "the server answered %d%s", head->status,
                   head->status == 200 ? ", but not with text/event-stream" : "");
    score_problem(worker->score->problem, problem);
}

static void on_event(void *owner, const struct event *event)
{
    struct worker *worker = owner;
    struct subscriber *subscriber = worker->receiving;
    struct worker_score *score = worker->score;
    const struct message *message = &event->message;
    if (event->has_id) {
        subscriber->id_len = event->id_len;
        memcpy(subscriber->id, event->id, sizeof event->id);
        worker->unit.id_len = event->id_len;
        memcpy(worker->unit.id, event->id, sizeof event->id);
    }
    if (!event->has_data) {
        return;
    }
    if (event->is_gap) {
        subscriber->announced_slots = UINT64_MAX;
        score_add(&score->foreign, 1);
    } else if (event->outcome == MESSAGE_CORRUPT) {
        score_add(&score->corrupt, 1);
    } else if (event->outcome == MESSAGE_FOREIGN || message->run != worker->board->run) {
        score_add(&score->foreign, 1);
    } else if (message->channel != worker_channel(worker, subscriber) ||
               message->slot >= worker->slot_count) {
        score_add(&score->corrupt, 1); /* it is for somebody else */
    } else {
        take_message(worker, subscriber, message);
        if (worker->unit.event_count < FRAME_EVENT_COUNT_MAX) {
            worker->unit.messages[worker->unit.event_count] = *message;
        }
        worker->unit.event_count++;
        return;
    }
    /* Whatever is not a message must be read by each subscriber for itself. */
    worker->unit.event_count = FRAME_EVENT_COUNT_MAX + 1;
}

static void on_retry(void *owner, uint64_t retry_ms)
{
    struct worker *worker = owner;
    worker->retry_ms = min_u64(retry_ms, 5000);
}

static const struct event_sink sink = {.head = on_head, .event = on_event, .retry = on_retry};

/* The next subscriber that gets the same bytes need not read them. */
static void remember(struct worker *worker, struct subscriber *subscriber, struct span bytes)
{
    struct ring_frame *unit = &worker->unit;
    const struct ring_frame *known;
    if (unit->event_count == 0 || unit->event_count > FRAME_EVENT_COUNT_MAX ||
        bytes.len > FRAME_LEN_MAX) {
        return;
    }
    unit->len = (uint32_t)bytes.len;
    unit->bytes = (char *)(uintptr_t)bytes.bytes; /* only read */
    subscriber->position = frame_ring_add(worker_ring(worker, subscriber), unit, &known);
    unit->bytes = NULL;
    if (known != NULL && known->event_count == unit->event_count &&
        (known->id_len != unit->id_len || memcmp(known->id, unit->id, unit->id_len) != 0)) {
        score_add(&worker->score->differing, 1);
    }
}

/* Returns the length taken, or 0 when the subscriber was dropped. */
static size_t read_in_full(struct worker *worker, struct subscriber *subscriber, struct span bytes)
{
    const bool was_clean = event_reader_is_clean(&subscriber->reader);
    size_t consumed = 0;
    worker->unit.event_count = 0;
    worker->unit.id_len = 0;
    worker->head_is_bad = false;
    enum event_reader_outcome outcome =
        event_reader_take(&subscriber->reader, bytes, &sink, worker, &consumed);
    if (worker->head_is_bad) {
        worker_drop(worker, subscriber, NULL);
        return 0;
    }
    switch (outcome) {
    case EVENT_READER_MORE:
        return bytes.len;
    case EVENT_READER_CLEAN:
        if (was_clean) {
            remember(worker, subscriber, span_make(bytes.bytes, consumed));
        }
        return consumed;
    case EVENT_READER_END:
        worker_drop(worker, subscriber, "the server ended the response");
        return 0;
    case EVENT_READER_BAD:
        score_add(&worker->score->corrupt, 1);
        worker_drop(worker, subscriber, "the response is not HTTP as it should be");
        return 0;
    case EVENT_READER_LONG:
        score_add(&worker->score->corrupt, 1);
        worker_drop(worker, subscriber,
                    "a response has a head of more than 16 KiB, or a line of more than 16 MiB");
        return 0;
    }
    return 0;
}

/* --- Bytes ------------------------------------------------------------------------------------ */

static inline void take_frame(struct worker *worker, struct subscriber *subscriber,
                              const struct ring_frame *frame)
{
    for (uint32_t i = 0; i < frame->event_count; i++) {
        take_message(worker, subscriber, &frame->messages[i]);
    }
    if (frame->id_len > 0) {
        subscriber->id_len = frame->id_len;
        memcpy(subscriber->id, frame->id, sizeof frame->id);
    }
    score_add(&worker->score->deliveries_fast, frame->event_count);
    subscriber->position++;
}

void worker_received(void *owner, struct exchange *exchange, struct span text)
{
    struct worker *worker = owner;
    struct subscriber *subscriber = container_of(exchange, struct subscriber, exchange);
    const char *bytes = text.bytes;
    size_t left = text.len;
    if (unlikely(subscriber->state == SUBSCRIBER_VANISHED)) {
        return;
    }
    worker->receiving = subscriber;
    worker->now_ns = load_now_ns();
    score_add(&worker->score->bytes, text.len);
    const struct frame_ring *ring = worker_ring(worker, subscriber);
    while (left > 0) {
        const struct ring_frame *frame =
            event_reader_is_clean(&subscriber->reader)
                ? frame_ring_match(ring, subscriber->position, bytes, left)
                : NULL;
        size_t taken;
        if (likely(frame != NULL)) {
            taken = frame->len;
            take_frame(worker, subscriber, frame);
        } else {
            taken = read_in_full(worker, subscriber, span_make(bytes, left));
            if (taken == 0) {
                return;
            }
        }
        bytes += taken;
        left -= taken;
    }
    if (subscriber->exchange.is_slow) {
        worker_pause(worker, subscriber, text.len);
    }
}

/* --- The end ---------------------------------------------------------------------------------- */

void worker_sum_up(struct worker *worker)
{
    struct worker_score *score = worker->score;
    for (uint32_t i = 0; i < worker->count; i++) {
        struct subscriber *subscriber = &worker->subscribers[i];
        if (subscriber->state == SUBSCRIBER_VANISHED) {
            continue;
        }
        if (subscriber->state != SUBSCRIBER_OPEN) {
            score_add(&score->not_open, 1);
        }
        if (!subscriber->is_known) {
            continue;
        }
        const uint32_t channel = worker_channel(worker, subscriber);
        for (uint32_t slot = 0; slot < worker->slot_count; slot++) {
            const struct ledger *ledger = worker_ledger(worker, subscriber, slot);
            const size_t place = (size_t)channel * worker->slot_count + slot;
            const uint64_t published = score_get(&worker->board->published[place]);
            if (ledger->next > 0 && ledger->next <= published) {
                const struct score_uncertain first = {channel, slot, ledger->next};
                take_gap(worker, subscriber, &first, published + 1);
            }
        }
    }
}
