/*
 * What spate-load publishes: a line of text that says where it belongs, when it was due, and proves
 * that nothing in it has changed.
 *
 *   SPL.rrrrrrrr.cccccc.ss.nnnnnnnnnn.tttttttttttttt.lllll.hhhhhhhhhhhhhhhh.padding
 *
 * run, channel, slot, sequence, due time in monotonic nanoseconds, length of the whole message and
 * hash of everything else, all in hexadecimal. The characters are the same in text, JSON, a form
 * and a URL, so that a message passes through any server unchanged; it may stand anywhere in a line
 * of data.
 *
 * A slot is a publisher as one channel sees it. Sequences count from 1 in each slot of each
 * channel.
 */
#ifndef SPATE_LOAD_MESSAGE_H
#define SPATE_LOAD_MESSAGE_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    MESSAGE_LEN_MIN = 72,
    MESSAGE_LEN_MAX = 0xfffff,
    MESSAGE_CHANNEL_COUNT_MAX = 0xffffff,
    MESSAGE_SLOT_COUNT_MAX = 64,
};

struct message {
    uint32_t run;
    uint32_t channel;
    uint32_t slot;
    uint64_t sequence;
    uint64_t due_ns;
};

enum message_outcome { MESSAGE_FOREIGN, MESSAGE_OK, MESSAGE_CORRUPT };

/* Writes exactly `len` bytes, from MESSAGE_LEN_MIN to MESSAGE_LEN_MAX. */
void message_write(const struct message *message, char *out, size_t len);

/* MESSAGE_FOREIGN if there is no message in the line; *ret_message is set on MESSAGE_OK. */
enum message_outcome message_read(struct span line, struct message *ret_message);

#ifdef __cplusplus
}
#endif

#endif
