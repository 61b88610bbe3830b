/*
 * How long a client has left unread what the hub has sent, and what the hub's user_timeout_seconds
 * makes of that: one that reads now and then is never cut off, one that reads nothing always is.
 */
#ifndef SPATE_TESTS_SIM_PATIENCE_H
#define SPATE_TESTS_SIM_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

struct patience {
    uint64_t since_ms;   /* when the client last read all, or something; 0: it has not begun */
    uint64_t longest_ms; /* of all times between two such moments */
    bool gone;           /* the client reads nothing more until it is cut off */
    uint64_t stuck_ms;   /* gone, all is calm, and the hub is stuck with it: since then; or 0 */
};

/* The client looks: does it find bytes, and has it just read some? */
void patience_look(struct patience *patience, bool waiting, bool has_read);
/* Whether the hub may have lost its patience after so long without a byte. */
bool patience_may_end(uint64_t waited_ms);
/*
 * Whether a client that is gone still is: until the hub has `ended` it, and when all is calm, only
 * while the hub is `stuck` with it. Fails the world if the hub is patient for too long.
 */
bool patience_stays_gone(struct patience *patience, bool stuck, bool ended);

#endif
