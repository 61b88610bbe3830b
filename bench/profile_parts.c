/*
 * What the parts of the fan-out profile cost, in nanoseconds each: of a publish, of an event taken,
 * of an event settled, of a turn, of one that sends besides, and of a send. One line of JSON; see
 * bench/profile_cost, which multiplies them with how often a load needs them.
 *
 * Each part is timed many times over; the cheapest time counts. Values vary as they do in a hub, so
 * that the histograms' buckets do not all fall together.
 */
#include <stdio.h>
#include <time.h>

#include "core/base/memory.h"
#include "core/profile.h"

enum { ROUNDS = 300, REPEATS = 2000 };

static struct profile *profile;
static struct frame *frame;
static struct queue queue;
static uint64_t noise = 1;

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Up to some tens of microseconds. */
static uint64_t some_ns(void)
{
    noise = noise * 6364136223846793005ULL + 1442695040888963407ULL;
    return noise >> 48;
}

static void nothing(void)
{
    __asm__ volatile("" : : "r"(some_ns()) : "memory");
}

static void publish(void)
{
    uint64_t spent_ns = some_ns();
    profile_request(profile);
    profile_published(profile, 1, profile_clock(profile) + spent_ns, 0);
    profile_request_end(profile);
}

static void taken(void)
{
    frame->sequenced_ns = profile->now_ns - some_ns();
    profile_taken(profile, frame);
}

static void settled(void)
{
    struct feed_entry entry = {.sequence = frame->sequence, .frame = frame};
    struct feed feed = {.window = {.ring = &entry, .capacity = 1, .count = 1},
                        .passed = frame->sequence};
    profile->final_ns = profile->now_ns + some_ns();
    frame->received_ns = profile->now_ns - some_ns();
    profile_settle(profile, &feed);
}

static void turn(void)
{
    profile_turn(profile, PROFILE_PHASE_SUBMIT, profile_clock(profile));
    profile_enter(profile, PROFILE_PHASE_COMPLETION, profile->now_ns + some_ns());
    profile_sends_final(profile, 0);
    profile_enter(profile, PROFILE_PHASE_RECEIVE, profile->final_ns);
}

static void sending_turn(void)
{
    profile_send(profile, 1);
    profile_sends_final(profile, 32);
    some_ns();
    profile_enter(profile, PROFILE_PHASE_PASS, profile_clock(profile));
    profile_taken_all(profile, ++frame->sequence, &queue);
    profile_enter(profile, PROFILE_PHASE_REST, profile_clock(profile));
}

static void send_one(void)
{
    __asm__ volatile("" : : "r"(some_ns()) : "memory");
    profile_send(profile, 1);
}

static double cost_of(void (*part)(void))
{
    uint64_t best_ns = UINT64_MAX;
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t began_ns = clock_ns();
        for (int j = 0; j < REPEATS; j++) {
            part();
        }
        best_ns = min_u64(best_ns, clock_ns() - began_ns);
    }
    return (double)best_ns / REPEATS;
}

int main(void)
{
    profile = profile_new(clock_ns);
    frame = frame_new(160, 4);
    CHECK(profile != NULL && frame != NULL && queue_init(&queue, 64) == 0);
    frame->sequence = 1;
    sending_turn();
    double base_ns = cost_of(nothing);
    printf("{\"published\":%.2f,\"taken\":%.2f,\"settled\":%.2f,\"turns\":%.2f,"
           "\"sending_turns\":%.2f,\"sends\":%.2f}\n",
           cost_of(publish) - base_ns, cost_of(taken) - base_ns, cost_of(settled) - base_ns,
           cost_of(turn) - base_ns, cost_of(sending_turn) - base_ns, cost_of(send_one) - base_ns);
    queue_fini(&queue);
    frame_unref(frame);
    profile_free(profile);
    return 0;
}
