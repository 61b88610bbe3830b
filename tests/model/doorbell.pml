/*
 * core/queue + core/doorbell under a weak memory, for spin.
 *
 * Who takes part
 *   publisher  pushes ENTRY_COUNT entries through a ring of CAPACITY slots, and rings after each publish
 *   poster     brings MAIL_COUNT mails through another source of the same shard, and rings too
 *   shard      takes from both, and sleeps when both look empty; `wakes` is its eventfd
 *
 * Memory. Every thread has a store buffer; a store goes into it, and the thread's `drain` moves it to
 * memory at any later time. A load reads the thread's own buffer first (here no thread loads a word that
 * it may have buffered, which is asserted), then memory. Stores to different words may drain in any
 * order, except that one marked RELEASE waits for all earlier ones. So this is weaker than the order of
 * x86, and as weak as any processor is about stores. Loads happen in program order, as acquire has it.
 * A fence waits until the own buffer is empty. An exchange acts on memory and is no fence.
 *
 * What is proven, over all interleavings
 *   - no lost wake-up: the shard never sleeps for ever while something lies in a source. It ends when it
 *     has everything, so a lost wake-up is an invalid end state;
 *   - no entry lost, doubled, reordered or torn: the asserts of the shard.
 *
 * Variants that must fail, so that the model is seen to be able to:
 *   -DNO_FENCE_PRODUCER, -DNO_FENCE_CONSUMER   a lost wake-up
 *   -DNO_RECHECK      the shard does not look again between arming and waiting: a lost wake-up
 *   -DNO_RELEASE      the tail may drain before the slot: a wrong entry
 *   -DEARLY_RELEASE   slots are given back before they are read: a wrong entry
 */
#define CAPACITY    2
#define ENTRY_COUNT 4
#define MAIL_COUNT  2
#define BUFFER_SIZE 4

#define PUBLISHER    0
#define POSTER       1
#define SHARD        2
#define THREAD_COUNT 3

/* The words of memory. */
#define SLOT       0 /* CAPACITY of them */
#define TAIL       2
#define HEAD       3
#define MAIL       4
#define SLEEPING   5
#define WORD_COUNT 6

byte memory[WORD_COUNT];
byte wakes;

typedef store_buffer {
    byte length;
    byte word[BUFFER_SIZE];
    byte value[BUFFER_SIZE];
    bit release[BUFFER_SIZE];
};
store_buffer buffers[THREAD_COUNT];

#define RELAXED 0
#define RELEASE 1

inline store(thread, to, what, order)
{
    d_step {
        buffers[thread].length < BUFFER_SIZE;
        buffers[thread].word[buffers[thread].length] = to;
        buffers[thread].value[buffers[thread].length] = what;
        buffers[thread].release[buffers[thread].length] = order;
        buffers[thread].length++;
    }
}

inline load(thread, from, into)
{
    d_step {
        scan = 0;
        do
        :: scan < buffers[thread].length ->
            assert(buffers[thread].word[scan] != from);
            scan++
        :: else -> break
        od;
        scan = 0;
        into = memory[from];
    }
}

inline fence(thread)
{
    buffers[thread].length == 0
}

/* Whether entry `at` of the buffer may go next. */
inline may_drain(thread, at, yes)
{
    yes = 1;
    scan = 0;
    do
    :: scan < at ->
        if
        :: buffers[thread].word[scan] == buffers[thread].word[at] -> yes = 0
        :: else
        fi;
        scan++
    :: else -> break
    od;
    if
    :: buffers[thread].release[at] && at > 0 -> yes = 0
    :: else
    fi;
    scan = 0
}

inline drain_one(thread, at)
{
    memory[buffers[thread].word[at]] = buffers[thread].value[at];
    scan = at;
    do
    :: scan + 1 < buffers[thread].length ->
        buffers[thread].word[scan] = buffers[thread].word[scan + 1];
        buffers[thread].value[scan] = buffers[thread].value[scan + 1];
        buffers[thread].release[scan] = buffers[thread].release[scan + 1];
        scan++
    :: else -> break
    od;
    buffers[thread].length--;
    /* Zeroed, so that equal buffers are equal states. */
    buffers[thread].word[buffers[thread].length] = 0;
    buffers[thread].value[buffers[thread].length] = 0;
    buffers[thread].release[buffers[thread].length] = 0;
    scan = 0
}

proctype drain(byte thread)
{
    byte scan;
    byte at;
    bit yes;
end:
    do
    :: atomic {
        buffers[thread].length > 0 ->
        select_any: at = 0;
        do
        :: at + 1 < buffers[thread].length -> at++
        :: break
        od;
        may_drain(thread, at, yes);
        if
        :: yes -> drain_one(thread, at)
        :: else
        fi;
        at = 0;
        yes = 0
    }
    od
}

/* doorbell_ring and, when it says so, io_wake. */
inline ring(thread)
{
#ifndef NO_FENCE_PRODUCER
    fence(thread);
#endif
    load(thread, SLEEPING, seen);
    if
    :: seen == 1 ->
        d_step {
            seen = memory[SLEEPING];
            memory[SLEEPING] = 0;
        }
        if
        :: seen == 1 -> d_step { wakes = (wakes < 2 -> wakes + 1 : wakes) }
        :: else
        fi
    :: else
    fi;
    seen = 0
}

proctype publisher()
{
    byte scan;
    byte seen;
    byte head_seen;
    byte pushed;
    do
    :: pushed < ENTRY_COUNT ->
        /* A full queue: a real publisher would be refused, and come again. */
        do
        :: pushed - head_seen < CAPACITY -> break
        :: else ->
            atomic { memory[HEAD] != head_seen -> head_seen = memory[HEAD] }
        od;
        store(PUBLISHER, SLOT + pushed % CAPACITY, pushed + 1, RELAXED);
        pushed++;
#ifdef NO_RELEASE
        store(PUBLISHER, TAIL, pushed, RELAXED);
#else
        store(PUBLISHER, TAIL, pushed, RELEASE);
#endif
        ring(PUBLISHER)
    :: else -> break
    od
}

proctype poster()
{
    byte scan;
    byte seen;
    byte posted;
    do
    :: posted < MAIL_COUNT ->
        posted++;
        store(POSTER, MAIL, posted, RELEASE);
        ring(POSTER)
    :: else -> break
    od
}

/* queue_tail, queue_pop until there, queue_release; mailbox_take_all. */
inline take_all()
{
    load(SHARD, TAIL, tail_seen);
    assert(tail_seen >= popped && tail_seen <= popped + CAPACITY);
#ifdef EARLY_RELEASE
    store(SHARD, HEAD, tail_seen, RELEASE);
#endif
    do
    :: popped < tail_seen ->
        load(SHARD, SLOT + popped % CAPACITY, seen);
        popped++;
        assert(seen == popped);
        seen = 0
    :: else -> break
    od;
#ifndef EARLY_RELEASE
    store(SHARD, HEAD, popped, RELEASE);
#endif
    load(SHARD, MAIL, seen);
    assert(seen >= taken);
    taken = seen;
    seen = 0
}

inline arm()
{
    store(SHARD, SLEEPING, 1, RELAXED);
#ifndef NO_FENCE_CONSUMER
    fence(SHARD)
#endif
}

inline wait_unless_work()
{
#ifdef NO_RECHECK
    atomic { wakes > 0 -> wakes = 0 }
#else
    load(SHARD, TAIL, tail_seen);
    load(SHARD, MAIL, seen);
    if
    :: tail_seen == popped && seen == taken ->
        /* The kernel's: a wait ends when the counter is not zero, and takes it. */
        atomic { wakes > 0 -> wakes = 0 }
    :: else
    fi;
    seen = 0
#endif
}

proctype shard()
{
    byte scan;
    byte seen;
    byte tail_seen;
    byte popped;
    byte taken;
    do
    :: take_all();
        if
        :: popped == ENTRY_COUNT && taken == MAIL_COUNT -> break
        :: else
        fi;
        arm();
        wait_unless_work();
        store(SHARD, SLEEPING, 0, RELAXED)
    od
}

init {
    atomic {
        run drain(PUBLISHER);
        run drain(POSTER);
        run drain(SHARD);
        run publisher();
        run poster();
        run shard()
    }
}
