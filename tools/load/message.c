#include "tools/load/message.h"

#include "core/base/hash.h"

/* Where the fields begin, and how many digits they have. */
enum {
    RUN_AT = 4,
    RUN_DIGITS = 8,
    CHANNEL_AT = RUN_AT + RUN_DIGITS + 1,
    CHANNEL_DIGITS = 6,
    SLOT_AT = CHANNEL_AT + CHANNEL_DIGITS + 1,
    SLOT_DIGITS = 2,
    SEQUENCE_AT = SLOT_AT + SLOT_DIGITS + 1,
    SEQUENCE_DIGITS = 10,
    DUE_AT = SEQUENCE_AT + SEQUENCE_DIGITS + 1,
    DUE_DIGITS = 14,
    LEN_AT = DUE_AT + DUE_DIGITS + 1,
    LEN_DIGITS = 5,
    HASH_AT = LEN_AT + LEN_DIGITS + 1,
    HASH_DIGITS = 16,
    PADDING_AT = HASH_AT + HASH_DIGITS,
};

static_assert((int)PADDING_AT < (int)MESSAGE_LEN_MIN, "a message holds its fields");

static void put_hex(char *out, uint64_t value, unsigned digits)
{
    for (unsigned i = digits; i-- > 0;) {
        out[i] = "0123456789abcdef"[value & 15];
        value >>= 4;
    }
}

/* Only the form that put_hex writes is a number: anything else has been changed on the way. */
static bool get_hex(const char *text, unsigned digits, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < digits; i++) {
        const char c = text[i];
        if (c >= '0' && c <= '9') {
            value = value << 4 | (uint64_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        } else {
            return false;
        }
    }
    *ret_value = value;
    return true;
}

/* Of everything but the hash itself. */
static uint64_t message_hash(const char *bytes, size_t len)
{
    const struct hash_key key = {0x73706174652d6c6f, 0x61642d6d65737361};
    const struct hash_key second = {hash_bytes(&key, bytes, HASH_AT), key.k1};
    return hash_bytes(&second, bytes + PADDING_AT, len - PADDING_AT);
}

void message_write(const struct message *message, char *out, size_t len)
{
    CHECK(len >= MESSAGE_LEN_MIN);
    CHECK(len <= MESSAGE_LEN_MAX);
    memset(out, '.', PADDING_AT);
    memcpy(out, "SPL", 3);
    put_hex(out + RUN_AT, message->run, RUN_DIGITS);
    put_hex(out + CHANNEL_AT, message->channel, CHANNEL_DIGITS);
    put_hex(out + SLOT_AT, message->slot, SLOT_DIGITS);
    put_hex(out + SEQUENCE_AT, message->sequence, SEQUENCE_DIGITS);
    put_hex(out + DUE_AT, message->due_ns, DUE_DIGITS);
    put_hex(out + LEN_AT, len, LEN_DIGITS);
    out[PADDING_AT] = '.';
    for (size_t i = PADDING_AT + 1; i < len; i++) {
        out[i] = "abcdefghijklmnopqrstuvwxyz012345"[(i + message->sequence) & 31];
    }
    put_hex(out + HASH_AT, message_hash(out, len), HASH_DIGITS);
}

enum message_outcome message_read(struct span line, struct message *ret_message)
{
    const char *begin = line.len < 4 ? NULL : memmem(line.bytes, line.len, "SPL.", 4);
    if (begin == NULL) {
        return MESSAGE_FOREIGN;
    }
    const size_t left = (size_t)(line.bytes + line.len - begin);
    uint64_t run, channel, slot, sequence, due_ns, len, hash;
    if (left < MESSAGE_LEN_MIN || !get_hex(begin + RUN_AT, RUN_DIGITS, &run) ||
        !get_hex(begin + CHANNEL_AT, CHANNEL_DIGITS, &channel) ||
        !get_hex(begin + SLOT_AT, SLOT_DIGITS, &slot) ||
        !get_hex(begin + SEQUENCE_AT, SEQUENCE_DIGITS, &sequence) ||
        !get_hex(begin + DUE_AT, DUE_DIGITS, &due_ns) ||
        !get_hex(begin + LEN_AT, LEN_DIGITS, &len) ||
        !get_hex(begin + HASH_AT, HASH_DIGITS, &hash)) {
        return MESSAGE_CORRUPT;
    }
    if (len < MESSAGE_LEN_MIN || len > left || hash != message_hash(begin, len)) {
        return MESSAGE_CORRUPT;
    }
    *ret_message = (struct message){
        .run = (uint32_t)run,
        .channel = (uint32_t)channel,
        .slot = (uint32_t)slot,
        .sequence = sequence,
        .due_ns = due_ns,
    };
    return MESSAGE_OK;
}
