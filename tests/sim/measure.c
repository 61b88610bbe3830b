/* What the core does for an event: counted, so that it is the same wherever it runs. */
#include <stdio.h>

#include "hub/shard.h"
#include "tests/sim/world.h"

struct counts {
    uint64_t events;
    uint64_t refused;
    uint64_t wakes;
    uint64_t taken;
    uint64_t turns;
    uint64_t deliveries;
    uint64_t sends;
};

static uint64_t wakes;       /* since the program began */
static struct counts before; /* what this world had done when the measurement began */
static struct counts sum;    /* of all measured worlds */
static struct histogram depth;
static unsigned measured_shards;

/* The linker puts this in the place of io_wake, as seen by everybody who calls it. */
void __wrap_io_wake(struct io *io);
void __real_io_wake(struct io *io);

void __wrap_io_wake(struct io *io)
{
    wakes++;
    __real_io_wake(io);
}

static struct counts count_all(void)
{
    struct counts all = {
        .events = world.hub.sequencer.published,
        .refused = world.hub.sequencer.refused_full,
        .wakes = wakes,
    };
    for (unsigned i = 0; i < world.options.shards; i++) {
        const struct shard *shard = world.hub.shards[i];
        all.taken += shard->fanout.stats.taken;
        all.turns += io_stats_of(shard->io)->turns;
        all.deliveries += shard->fanout.stats.deliveries;
        all.sends += shard->fanout.stats.sends;
    }
    return all;
}

void measure_begin(void)
{
    before = count_all();
}

void measure_end(void)
{
    struct counts after = count_all();
    sum.events += after.events - before.events;
    sum.refused += after.refused - before.refused;
    sum.wakes += after.wakes - before.wakes;
    sum.taken += after.taken - before.taken;
    sum.turns += after.turns - before.turns;
    sum.deliveries += after.deliveries - before.deliveries;
    sum.sends += after.sends - before.sends;
    measured_shards = world.options.shards;
    for (unsigned i = 0; i < measured_shards; i++) {
        histogram_merge(&depth,
                        profile_histogram(world.hub.shards[i]->profile, PROFILE_QUEUE_DEPTH));
    }
}

void measure_tell(void)
{
    double events = (double)sum.events;
    printf("{\"shards\":%u,\"publishers\":%u,\"events\":%.0f,\"refused\":%llu,"
           "\"entries_per_event\":%.3f,\"wakes_per_event\":%.3f,\"turns_per_event\":%.3f,"
           "\"deliveries_per_event\":%.3f,\"sends_per_event\":%.3f,"
           "\"depth_mean\":%.3f,\"depth_p99\":%llu,\"depth_max\":%llu}\n",
           measured_shards, world.options.publishers, events, (unsigned long long)sum.refused,
           (double)sum.taken / events, (double)sum.wakes / events, (double)sum.turns / events,
           (double)sum.deliveries / events, (double)sum.sends / events, histogram_mean(&depth),
           (unsigned long long)histogram_percentile(&depth, 99),
           (unsigned long long)histogram_max(&depth));
}
