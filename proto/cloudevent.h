/*
 * CloudEvents 1.0.2: what makes one valid, in the JSON format and as HTTP header fields.
 *
 *   cloudevent_init ──▶ for each member   cloudevent_set_member  ─┐
 *                    └▶ for each ce- field cloudevent_set_field  ─┴▶ cloudevent_finish
 *
 * Each attribute is checked against its type as it comes: specification, "Type System" and
 * "Context Attributes"; JSON event format, 2.2 and 3.1; HTTP protocol binding, 3.1.3. That no
 * name comes twice is for the caller to see. Versions other than 1.0 are refused.
 *
 * The spans of an event point into the caller's bytes and into the room it gives. Pure; any thread.
 */
#ifndef SPATE_PROTO_CLOUDEVENT_H
#define SPATE_PROTO_CLOUDEVENT_H

#include "core/base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum cloudevent_data {
    CLOUDEVENT_DATA_NONE,
    CLOUDEVENT_DATA_JSON,   /* `data` is the value as it was written */
    CLOUDEVENT_DATA_TEXT,   /* `data` is a JSON string, as it was written */
    CLOUDEVENT_DATA_BASE64, /* `data` is the base64 */
};

/* Attributes that are not there have NULL bytes; those that no one asks for are not kept. */
struct cloudevent {
    struct span specversion;
    struct span id;
    struct span source;
    struct span type;
    struct span datacontenttype;
    struct span data;
    enum cloudevent_data data_kind;
    struct span raw_data;   /* the member `data`, or empty */
    struct span raw_base64; /* the member `data_base64`, decoded, or empty */
};

/* What is wrong with which attribute; the reason continues a sentence: "must not be empty". */
struct cloudevent_problem {
    struct span attribute;
    const char *reason;
};

void cloudevent_init(struct cloudevent *event);

/*
 * Takes one member of a JSON object: its name without quotes, and its value as it is written, which
 * must be well-formed. `room` has value.len bytes and must stay as long as the event. False: see
 * *ret_problem.
 */
bool cloudevent_set_member(struct cloudevent *event, struct span name, struct span value,
                           char *room, struct cloudevent_problem *ret_problem);

/*
 * Takes one attribute out of a header field: the field's name in lower case without "ce-", and its
 * decoded value (see below). The media type comes as "datacontenttype" here, although it is not a
 * field of that name.
 */
bool cloudevent_set_field(struct cloudevent *event, struct span name, struct span value,
                          struct cloudevent_problem *ret_problem);

/*
 * Undoes quotes and percent escapes of a field's value. `out` has room for value.len bytes. NULL,
 * or what is wrong with it. Bytes beyond ASCII, which the binding wants escaped, stay as they are:
 * SDKs send them.
 */
const char *cloudevent_decode_field(struct span value, char *out, size_t *ret_len);

/* Looks for what is missing, and at what kind of data there is. */
bool cloudevent_finish(struct cloudevent *event, struct cloudevent_problem *ret_problem);

/* Whether a media type says that data is JSON (JSON event format, 3.1.1). */
bool cloudevent_is_json(struct span media_type);

#ifdef __cplusplus
}
#endif

#endif
