#include "core/event_id.h"

static const char digits[] = "0123456789abcdefghijklmnopqrstuv";

static void number_write(char *text, unsigned count, uint64_t value)
{
    for (unsigned i = count; i > 0; i--) {
        text[i - 1] = digits[value & 31];
        value >>= 5;
    }
}

static bool number_parse(const char *text, unsigned count, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < count; i++) {
        char c = text[i];
        unsigned digit;
        if (c >= '0' && c <= '9') {
            digit = (unsigned)(c - '0');
        } else if (c >= 'a' && c <= 'v') {
            digit = (unsigned)(c - 'a') + 10;
        } else {
            return false;
        }
        value = value << 5 | digit;
    }
    *ret_value = value;
    return true;
}

void event_id_write(char *text, uint64_t epoch, uint64_t sequence)
{
    CHECK(epoch <= EVENT_ID_EPOCH_MASK);
    CHECK(sequence <= EVENT_ID_SEQUENCE_MAX);
    number_write(text, EVENT_ID_EPOCH_DIGITS, epoch);
    text[EVENT_ID_EPOCH_DIGITS] = '-';
    number_write(text + EVENT_ID_EPOCH_DIGITS + 1, EVENT_ID_SEQUENCE_DIGITS, sequence);
}

bool event_id_parse(struct span text, uint64_t *ret_epoch, uint64_t *ret_sequence)
{
    uint64_t epoch;
    uint64_t sequence;
    if (text.len != EVENT_ID_LEN || text.bytes[EVENT_ID_EPOCH_DIGITS] != '-' ||
        !number_parse(text.bytes, EVENT_ID_EPOCH_DIGITS, &epoch) ||
        !number_parse(text.bytes + EVENT_ID_EPOCH_DIGITS + 1, EVENT_ID_SEQUENCE_DIGITS,
                      &sequence)) {
        return false;
    }
    *ret_epoch = epoch;
    *ret_sequence = sequence;
    return true;
}
