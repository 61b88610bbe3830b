#include "core/profile.h"

#include "core/base/memory.h"
#include "core/base/trace.h"

/* Longer times and larger numbers are seen after standstills only. */
#define PROFILE_USUAL_NS UINT64_C(1000000000)
#define PROFILE_USUAL    UINT64_C(1024)

/* The part of the histograms that every shard's traffic comes to use. */
static void profile_touch(struct profile *profile)
{
    for (unsigned i = 0; i < PROFILE_MEASURE_COUNT; i++) {
        struct histogram *histogram = &profile->histograms[i];
        uint64_t usual = i < PROFILE_BATCH ? PROFILE_USUAL_NS : PROFILE_USUAL;
        const uint64_t *end = &histogram->buckets[histogram_bucket_of(usual)];
        memory_touch(histogram, (size_t)((const char *)end - (const char *)histogram));
    }
}

struct profile *profile_new(uint64_t (*clock_ns)(void))
{
    struct profile *profile = memory_map(sizeof(*profile));
    if (profile != NULL) {
        profile_touch(profile);
        profile->clock_ns = clock_ns;
        profile->phase = PROFILE_PHASE_REST;
        profile->now_ns = profile_clock(profile);
        profile->turn_began_ns = profile->now_ns;
    }
    return profile;
}

void profile_free(struct profile *profile)
{
    if (profile != NULL) {
        memory_unmap(profile, sizeof(*profile));
    }
}

static void record(struct profile *profile, enum profile_measure measure, uint64_t value)
{
    histogram_record(&profile->histograms[measure], value);
}

/* Two clocks of two CPUs, or the order of reading and taking, may differ by a hair. */
static uint64_t ns_between(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? to_ns - from_ns : 0;
}

/* ---- The loop -------------------------------------------------------------------------------- */

void profile_enter(struct profile *profile, enum profile_phase phase, uint64_t now_ns)
{
    if (!PROFILE_IS_ON) {
        return;
    }
    uint64_t spent_ns = ns_between(profile->now_ns, now_ns);
    histogram_add_to(&profile->phase_ns[profile->phase], spent_ns);
    TRACE2(phase, (int)profile->phase, spent_ns);
    if (profile->phase == PROFILE_PHASE_WAIT) {
        profile->turn_waited_ns += spent_ns;
    }
    profile->phase = phase;
    profile->now_ns = now_ns;
}

void profile_turn(struct profile *profile, enum profile_phase phase, uint64_t now_ns)
{
    if (!PROFILE_IS_ON) {
        return;
    }
    profile_enter(profile, phase, now_ns);
    uint64_t turn_ns = ns_between(profile->turn_began_ns, now_ns);
    uint64_t busy_ns = ns_between(profile->turn_waited_ns, turn_ns);
    record(profile, PROFILE_TURN, busy_ns);
    TRACE2(turn, busy_ns, profile->turn_waited_ns);
    profile->turn_began_ns = now_ns;
    profile->turn_waited_ns = 0;
}

/* ---- A publisher's side ---------------------------------------------------------------------- */

void profile_published(struct profile *profile, unsigned count, uint64_t sequenced_ns,
                       uint64_t waited_ns)
{
    if (!PROFILE_IS_ON) {
        return;
    }
    /* Without a request the hub publishes by itself. */
    uint64_t spent_ns =
        profile->request_ns == 0 ? waited_ns : ns_between(profile->request_ns, sequenced_ns);
    uint64_t parse_ns = ns_between(waited_ns, spent_ns);
    histogram_record_many(&profile->histograms[PROFILE_PARSE], parse_ns, count);
    histogram_record_many(&profile->histograms[PROFILE_SEQUENCE], waited_ns, count);
    TRACE3(published, count, parse_ns, waited_ns);
    if (profile->request_ns != 0) {
        /* Another request may be in the same bytes: it counts from here. */
        profile->request_ns = sequenced_ns;
    }
}

/* ---- The fan-out's side ---------------------------------------------------------------------- */

void profile_give_back(struct profile *profile)
{
    if (PROFILE_IS_ON && profile != NULL) {
        profile_at_rest(profile);
        uint64_t top = min_u64(profile->take_top, PROFILE_TAKE_COUNT);
        if (top > PROFILE_TAKES_KEPT) {
            memory_discard(&profile->takes[PROFILE_TAKES_KEPT],
                           (top - PROFILE_TAKES_KEPT) * sizeof(profile->takes[0]));
            profile->take_top = 0;
        }
    }
}

void profile_taken(struct profile *profile, const struct frame *frame)
{
    if (PROFILE_IS_ON && profile != NULL) {
        uint64_t queue_ns = ns_between(frame->sequenced_ns, profile->now_ns);
        record(profile, PROFILE_QUEUE, queue_ns);
        TRACE2(taken, frame->sequence, queue_ns);
        profile->taken++;
    }
}

void profile_taken_all(struct profile *profile, uint64_t upto, struct queue *queue)
{
    if (PROFILE_IS_ON && profile != NULL) {
        profile->takes[profile->take_count % PROFILE_TAKE_COUNT] = (struct profile_take){
            .upto = upto,
            .taken_ns = profile->now_ns,
            .pass_ns = profile->phase_ns[PROFILE_PHASE_PASS],
            .submit_ns = profile->phase_ns[PROFILE_PHASE_SUBMIT],
            .completion_ns = profile->phase_ns[PROFILE_PHASE_COMPLETION],
        };
        profile->take_count++;
        record(profile, PROFILE_QUEUE_DEPTH,
               profile->taken + queue_tail(queue) - queue_head(queue));
        profile->taken = 0;
    }
}

void profile_batch_flush(struct profile *profile)
{
    if (profile->batch_run > 0) {
        histogram_record_many(&profile->histograms[PROFILE_BATCH], profile->batch,
                              profile->batch_run);
        profile->batch_run = 0;
    }
}

void profile_catch_up(struct profile *profile, uint64_t age_ms)
{
    if (PROFILE_IS_ON && profile != NULL) {
        record(profile, PROFILE_CATCH_UP, age_ms * 1000000);
        TRACE1(catch_up, age_ms);
    }
}

void profile_sends_final(struct profile *profile, uint32_t sends)
{
    if (PROFILE_IS_ON && profile != NULL) {
        profile->final_ns = profile->now_ns;
        if (sends > 0) {
            profile_batch_flush(profile);
            record(profile, PROFILE_SENDS, sends);
            profile->final_ns = profile_clock(profile);
        }
    }
}

/* The turn that took the event at `sequence`, or the oldest that is remembered. */
static const struct profile_take *take_find(const struct profile *profile, uint64_t sequence)
{
    uint64_t high = profile->take_count - 1;
    uint64_t low = high - min_u64(high, (uint64_t)PROFILE_TAKE_COUNT - 1);
    /* Nearly always it is the newest. */
    if (high > low && profile->takes[(high - 1) % PROFILE_TAKE_COUNT].upto < sequence) {
        low = high;
    }
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (profile->takes[middle % PROFILE_TAKE_COUNT].upto >= sequence) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return &profile->takes[low % PROFILE_TAKE_COUNT];
}

static void settle_one(struct profile *profile, const struct frame *frame)
{
    CHECK(profile->take_count > 0);
    const struct profile_take *take = take_find(profile, frame->sequence);
    uint64_t pass_ns = profile->phase_ns[PROFILE_PHASE_PASS] - take->pass_ns;
    uint64_t submit_ns = profile->phase_ns[PROFILE_PHASE_SUBMIT] - take->submit_ns;
    /* The phase that is under way. */
    uint64_t completion_ns = profile->phase_ns[PROFILE_PHASE_COMPLETION] - take->completion_ns +
                             ns_between(profile->now_ns, profile->final_ns);
    record(profile, PROFILE_PASS, pass_ns);
    record(profile, PROFILE_SUBMIT, submit_ns);
    record(profile, PROFILE_COMPLETION, completion_ns);
    record(profile, PROFILE_OTHER,
           ns_between(pass_ns + submit_ns + completion_ns,
                      ns_between(take->taken_ns, profile->final_ns)));
    uint64_t began_ns = frame->received_ns != 0 ? frame->received_ns : frame->sequenced_ns;
    uint64_t total_ns = ns_between(began_ns, profile->final_ns);
    record(profile, PROFILE_TOTAL, total_ns);
    TRACE5(settled, frame->sequence, total_ns, pass_ns, submit_ns, completion_ns);
}

void profile_settle(struct profile *profile, struct feed *feed)
{
    for (uint32_t i = feed_find(feed, feed->settled); i < feed->window.count; i++) {
        const struct feed_entry *entry = feed_entry_at(feed, i);
        if (!PROFILE_IS_ON || profile == NULL || entry->sequence > feed->passed) {
            break;
        }
        settle_one(profile, entry->frame);
    }
    feed->settled = feed->passed;
}
