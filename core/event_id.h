/*
 * Event ids as clients see them: "eeeeeee-ssssssssssss", the hub's epoch in 7 digits and the
 * event's place in the hub's total order in 12, both in base 32 (digits 0-9 a-v). The width is
 * fixed so that the sequencer can write the id into a frame that was serialised before its place
 * was known.
 *
 * One id stands for a position in every channel of the hub: "everything up to here has been seen".
 */
#ifndef SPATE_CORE_EVENT_ID_H
#define SPATE_CORE_EVENT_ID_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    EVENT_ID_EPOCH_DIGITS = 7,
    EVENT_ID_SEQUENCE_DIGITS = 12,
    EVENT_ID_LEN = EVENT_ID_EPOCH_DIGITS + 1 + EVENT_ID_SEQUENCE_DIGITS,
};

/* Epochs have 35 bits: two starts of a hub share one by chance once in 34 thousand million. */
#define EVENT_ID_EPOCH_MASK   ((1ULL << (5 * EVENT_ID_EPOCH_DIGITS)) - 1)
#define EVENT_ID_SEQUENCE_MAX ((1ULL << (5 * EVENT_ID_SEQUENCE_DIGITS)) - 1)

/* Writes exactly EVENT_ID_LEN characters, not terminated. */
void event_id_write(char *text, uint64_t epoch, uint64_t sequence);

/* False if the text is not of this form; then nothing is set. */
bool event_id_parse(struct span text, uint64_t *ret_epoch, uint64_t *ret_sequence);

#ifdef __cplusplus
}
#endif

#endif
