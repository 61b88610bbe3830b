/*
 * Lag: how far a subscriber may be behind what is published to its channels, and what happens to it
 * then. By channel name; without a rule a subscriber may be behind as far as history reaches.
 *
 * The lag of a subscriber in a channel begins with the first event that was published since its
 * stream began and is not wholly sent: what it asked to have replayed is no lag. It is measured in
 * bytes up to the newest event, and by the time since that first event was published, which newer
 * traffic does not change. Being further behind than anything is kept is over every limit.
 *
 * Threads: the shard's of the subscriber; takes the sequencer's lock only for those who are so far
 * behind that the shard no longer has their next event at hand.
 */
#ifndef SPATE_CORE_LAG_H
#define SPATE_CORE_LAG_H

#include "core/channel.h"

#ifdef __cplusplus
extern "C" {
#endif

struct fanout;
struct feed;
struct subscriber;

/* From mild to severe: of several channels, the most severe that has come to its limit counts. */
enum lag_policy {
    LAG_CATCH_UP,   /* from history, at the client's pace */
    LAG_SKIP,       /* go on with the newest, and tell the gap */
    LAG_DISCONNECT, /* end the stream: the client comes back, and resumes */
};

struct lag_limits {
    enum lag_policy policy;
    uint64_t bytes_max;  /* of frame_size; 0: no limit */
    uint64_t age_ms_max; /* 0: no limit */
};

struct lag_rule {
    struct channel_pattern pattern;
    struct lag_limits limits;
};

struct lag {
    uint64_t bytes;  /* of frame_size */
    uint64_t age_ms; /* since the first of them was published */
    bool is_lost;    /* older ones are no longer retained: both are at least so much */
};

/*
 * How far the subscriber is behind in one of its feeds, or in the broadcast. False if it is not:
 * then *ret_lag is untouched.
 */
bool lag_measure(const struct fanout *fanout, const struct subscriber *subscriber,
                 const struct feed *feed, struct lag *ret_lag);

/*
 * Whether the subscriber, which is due for a visit, may be as far behind as it is; if not, its
 * owner has been told (fanout_handler.lagging).
 */
bool lag_allows(struct fanout *fanout, struct subscriber *subscriber);

/* Looks at some of those that are blocked, which get no visits: whether they are to be let go. */
void lag_sweep(struct fanout *fanout);

#ifdef __cplusplus
}
#endif

#endif
