/*
 * What one subscriber has seen of one publisher's sequence, and what a new arrival means for it.
 * Sixteen bytes, whatever the length of the run.
 *
 * Sequences count from 1. A zeroed ledger does not know where it begins: whatever comes first is
 * right. Set `next` to say what must come first.
 */
#ifndef SPATE_LOAD_LEDGER_H
#define SPATE_LOAD_LEDGER_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ledger {
    uint64_t next;    /* what must come next; 0: unknown */
    uint64_t missing; /* bit i: next - 1 - i was left out */
};

enum ledger_outcome {
    LEDGER_NEXT,      /* as it must be */
    LEDGER_GAP,       /* sequences from *ret_first up to this one were left out */
    LEDGER_LATE,      /* one of those, after all: out of order */
    LEDGER_DUPLICATE, /* seen before, or so old that it counts as seen */
};

static inline enum ledger_outcome ledger_take(struct ledger *ledger, uint64_t sequence,
                                              uint64_t *ret_first)
{
    if (likely(sequence == ledger->next) || ledger->next == 0) {
        ledger->next = sequence + 1;
        ledger->missing <<= 1;
        return LEDGER_NEXT;
    }
    if (sequence > ledger->next) {
        const uint64_t count = sequence - ledger->next;
        *ret_first = ledger->next;
        ledger->next = sequence + 1;
        /* This one is bit 0 and is there; the `count` before it are not. */
        ledger->missing = count >= 63
                              ? ~UINT64_C(1)
                              : ledger->missing << (count + 1) | ((UINT64_C(1) << count) - 1) << 1;
        return LEDGER_GAP;
    }
    const uint64_t age = ledger->next - 1 - sequence;
    if (age < 64 && (ledger->missing >> age & 1) != 0) {
        ledger->missing &= ~(UINT64_C(1) << age);
        return LEDGER_LATE;
    }
    return LEDGER_DUPLICATE;
}

#ifdef __cplusplus
}
#endif

#endif
