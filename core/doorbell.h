/*
 * A doorbell tells a sleeping shard that something lies in one of its sources (its queue, its
 * mailbox), and costs a shard that is awake nothing: a producer writes to the doorbell, and makes a
 * system call, only when the consumer said that it sleeps.
 *
 * The consumer, when it has nothing left to do:           A producer, with something to give:
 *     doorbell_arm(d);                                        publish into the source;
 *     if (any source is not empty) {                          if (doorbell_ring(d)) {
 *         do not wait (poll with a timeout of 0);                 io_wake(io of the consumer);
 *     } else {                                                }
 *         wait;
 *     }
 *     doorbell_disarm(d);
 *
 * Why nothing is lost. Each side writes one word and then reads the other's:
 *
 *     consumer: sleeping = 1;  read the source         producer: write the source;  read sleeping
 *
 * This is the store-buffering pattern (Dekker's). Acquire and release do not help: they order a
 * read before what follows it and a write behind what precedes it, but let a read overtake an
 * earlier write to another word, which every processor does with its store buffer. Both sides could
 * then read the old value: the consumer sees an empty source and sleeps, the producer sees it awake
 * and does not wake it. A sequentially consistent fence between the write and the read, on both
 * sides, forbids exactly that outcome (C17 7.17.3): at least one of them sees the other.
 * tests/model/doorbell.pml proves it with explicit store buffers, and shows the lost wake-up when a
 * fence is taken out.
 *
 * Invariants
 *   - Whoever turns `sleeping` from 1 to 0 by doorbell_ring owes the wake. Others that see 0 may
 *     rely on it, so a producer must not block between doorbell_ring and the wake.
 *   - A wake may come late, when the consumer has been round once more: spurious, harmless.
 *
 * Publishing into several sources of one shard needs one ring, after the last of them.
 *
 * Threads: arm and disarm by the one consumer; ring by any number of producers, locked or not.
 */
#ifndef SPATE_CORE_DOORBELL_H
#define SPATE_CORE_DOORBELL_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct doorbell {
    uint32_t sleeping; /* 1: the consumer waits or is about to, and wants to be woken */
};

/*
 * ThreadSanitizer does not model fences, and gcc says so. It may stay unmodelled here: the fence
 * orders only the words above, while the data of a source is ordered by the source's own
 * release/acquire pair, which ThreadSanitizer does see.
 */
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 11
#define DOORBELL_PRAGMA(text) _Pragma(text)
#else
#define DOORBELL_PRAGMA(text)
#endif

static inline void doorbell_fence(void)
{
    DOORBELL_PRAGMA("GCC diagnostic push")
    DOORBELL_PRAGMA("GCC diagnostic ignored \"-Wtsan\"")
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    DOORBELL_PRAGMA("GCC diagnostic pop")
}

static inline void doorbell_init(struct doorbell *doorbell)
{
    doorbell->sleeping = 0;
}

/* Consumer: "I am going to sleep". All sources must be looked at once more between this and
 * waiting. */
static inline void doorbell_arm(struct doorbell *doorbell)
{
    /* Partner: the load in doorbell_ring. Relaxed: the fence below is what orders it. */
    __atomic_store_n(&doorbell->sleeping, 1, __ATOMIC_RELAXED);
    /* Partner: the fence in doorbell_ring. Keeps the reads of the sources behind the store above.
     */
    doorbell_fence();
}

/* Consumer: "I am awake, and shall look at every source before I sleep again". */
static inline void doorbell_disarm(struct doorbell *doorbell)
{
    /*
     * Relaxed: a producer that still sees 1 makes a spurious wake, no worse; one that sees 0 has,
     * by the fences, published before the next doorbell_arm looks.
     */
    __atomic_store_n(&doorbell->sleeping, 0, __ATOMIC_RELAXED);
}

/* Whether the consumer sleeps, after a doorbell_fence that follows publishing. False: it will see.
 */
static inline bool doorbell_is_armed(const struct doorbell *doorbell)
{
    /* Partner: the stores in doorbell_arm and doorbell_disarm. A load only, so that the line stays
     * shared between all cores while the consumer is awake. */
    return __atomic_load_n(&doorbell->sleeping, __ATOMIC_RELAXED) != 0;
}

/* Producer, after publishing: true when the caller must wake the consumer now. */
static inline bool doorbell_ring(struct doorbell *doorbell)
{
    /* Partner: the fence in doorbell_arm. Keeps the load below behind the stores that published. */
    doorbell_fence();
    if (likely(!doorbell_is_armed(doorbell))) {
        return false;
    }
    /* Relaxed: of several producers that saw 1, the total order of this one word picks the waker.
     */
    return __atomic_exchange_n(&doorbell->sleeping, 0, __ATOMIC_RELAXED) == 1;
}

#ifdef __cplusplus
}
#endif

#endif
