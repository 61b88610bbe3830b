#include "tests/sim/patience.h"

#include "tests/sim/world.h"

enum {
    /* A shard that has its turn late learns late that bytes were read, or that it is time. */
    PATIENCE_SLACK_MS = 3000,
};

static uint64_t limit_ms(void)
{
    return (uint64_t)world.hub.config->user_timeout_seconds * 1000;
}

void patience_look(struct patience *patience, bool waiting, bool has_read)
{
    if (patience->since_ms > 0) {
        patience->longest_ms = max_u64(patience->longest_ms, sim_net.now_ms - patience->since_ms);
    }
    if (!waiting || has_read || patience->since_ms == 0) {
        patience->since_ms = sim_net.now_ms;
    }
}

bool patience_may_end(uint64_t waited_ms)
{
    return world.options.timeouts && waited_ms + PATIENCE_SLACK_MS >= limit_ms();
}

bool patience_stays_gone(struct patience *patience, bool stuck, bool ended)
{
    /* The hub looks at most one interval late, and it may have sent at the end of one. */
    uint64_t most_ms =
        limit_ms() + 2000 * (uint64_t)world.hub.config->heartbeat_seconds + PATIENCE_SLACK_MS;
    bool calm = world.phase != PHASE_RUN;
    patience->gone &= !ended && (stuck || !calm);
    if (!patience->gone || !calm) {
        return patience->gone;
    }
    patience->stuck_ms = patience->stuck_ms > 0 ? patience->stuck_ms : sim_net.now_ms;
    if (sim_net.now_ms - patience->stuck_ms > most_ms) {
        world_fail("a client that has read nothing for %llu ms is not cut off",
                   (unsigned long long)(sim_net.now_ms - patience->since_ms));
    }
    return true;
}
