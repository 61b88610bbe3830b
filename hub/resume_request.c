#include "hub/resume_request.h"

#include <errno.h>
#include <time.h>

#include "core/base/utf8.h"
#include "core/event_id.h"

static bool parse_digits(struct span text, uint64_t *ret_value)
{
    uint64_t value = 0;
    if (text.len == 0 || text.len > 15) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.bytes[i] < '0' || text.bytes[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(text.bytes[i] - '0');
    }
    *ret_value = value;
    return true;
}

/* Takes `count` digits off the text. */
static bool take_number(struct span *text, size_t count, int *ret_value)
{
    uint64_t value = 0;
    if (text->len < count || !parse_digits(span_make(text->bytes, count), &value)) {
        return false;
    }
    *ret_value = (int)value;
    *text = span_make(text->bytes + count, text->len - count);
    return true;
}

static bool take_char(struct span *text, const char *any_of)
{
    if (text->len == 0 || text->bytes[0] == '\0' || strchr(any_of, text->bytes[0]) == NULL) {
        return false;
    }
    *text = span_make(text->bytes + 1, text->len - 1);
    return true;
}

/* "Z" or "+01:00", all that is left of the text. */
static bool take_offset(struct span *text, int *ret_minutes)
{
    int hours = 0;
    int minutes = 0;
    *ret_minutes = 0;
    if (text->len == 1) {
        return take_char(text, "Zz");
    }
    if (text->len == 0) {
        return false;
    }
    int sign = text->bytes[0] == '-' ? -1 : 1;
    /* In a query a plus sign that was not escaped has become a space. */
    if (!take_char(text, "+- ") || !take_number(text, 2, &hours) || !take_char(text, ":") ||
        !take_number(text, 2, &minutes) || text->len > 0 || hours > 23 || minutes > 59) {
        return false;
    }
    *ret_minutes = sign * (hours * 60 + minutes);
    return true;
}

/* RFC 3339, section 5.6. */
static bool parse_time(struct span text, uint64_t *ret_ms)
{
    struct tm tm = {0};
    int offset_minutes = 0;
    int milliseconds = 0;
    if (!take_number(&text, 4, &tm.tm_year) || !take_char(&text, "-") ||
        !take_number(&text, 2, &tm.tm_mon) || !take_char(&text, "-") ||
        !take_number(&text, 2, &tm.tm_mday) || !take_char(&text, "Tt ") ||
        !take_number(&text, 2, &tm.tm_hour) || !take_char(&text, ":") ||
        !take_number(&text, 2, &tm.tm_min) || !take_char(&text, ":") ||
        !take_number(&text, 2, &tm.tm_sec)) {
        return false;
    }
    if (take_char(&text, ".")) {
        int scale = 100;
        int digit = 0;
        unsigned digits = 0;
        for (; take_number(&text, 1, &digit); digits++) {
            milliseconds += digit * scale;
            scale /= 10;
        }
        if (digits == 0) {
            return false;
        }
    }
    if (!take_offset(&text, &offset_minutes) || tm.tm_year < 1970 || tm.tm_mon < 1 ||
        tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 ||
        tm.tm_sec > 60) {
        return false;
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    int64_t seconds = (int64_t)timegm(&tm) - (int64_t)offset_minutes * 60;
    *ret_ms = seconds < 0 ? 0 : (uint64_t)seconds * 1000 + (uint64_t)milliseconds;
    return true;
}

int resume_request_parameter(struct resume_request *request, struct span name, struct span value)
{
    if (span_is(name, "last_event_id") || span_is(name, "lastEventId") ||
        span_is(name, "lastEventID")) {
        request->last_event_id = value;
        return 1;
    }
    uint64_t number = 0;
    if (span_is(name, "history")) {
        if (!parse_digits(value, &number)) {
            return -EINVAL;
        }
        request->kind = RESUME_LAST;
    } else if (span_is(name, "since")) {
        if (!parse_digits(value, &number) && !parse_time(value, &number)) {
            return -EINVAL;
        }
        request->kind = RESUME_SINCE;
    } else {
        return 0;
    }
    request->wanted = true;
    request->value = number;
    return 1;
}

void resume_request_finish(struct resume_request *request, const struct call *call)
{
    struct span header = call_field(call, "Last-Event-ID");
    if (header.len > 0) {
        request->last_event_id = header;
    }
    struct span id = request->last_event_id;
    uint64_t epoch = 0;
    if (id.len == 0) {
        return;
    }
    request->wanted = true;
    request->kind = RESUME_EARLIEST;
    if (span_is(id, "latest")) {
        request->wanted = false;
    } else if (span_is(id, "earliest")) {
        return;
    } else if (!event_id_parse(id, &epoch, &request->value)) {
        request->gap = "malformed";
    } else if (epoch != call->shard->hub->epoch) {
        request->gap = "epoch";
    } else {
        request->kind = RESUME_AFTER;
    }
}

void resume_request_apply(struct resume_request *request, struct call *call)
{
    if (!request->wanted) {
        return;
    }
    struct subscriber *subscriber = &call->connection->subscriber;
    struct resume_point point =
        resume_resolve(&call->shard->hub->sequencer, subscriber, request->kind, request->value);
    CHECK((subscriber->flags & SUBSCRIBER_HELD) != 0);
    if (fanout_set_back(subscriber, point.position, point.complete_after) < 0) {
        connection_close(call->connection, "no memory");
        return;
    }
    if (point.is_expired) {
        request->gap = "expired";
    } else if (point.is_future) {
        request->gap = "future";
    }
    request->first_available = point.first_available;
}

static void append_id(struct buffer *text, const struct connection *connection, uint64_t sequence)
{
    char id[EVENT_ID_LEN];
    event_id_write(id, connection->shard->hub->epoch, sequence);
    buffer_append(text, id, sizeof(id));
}

void resume_write_gap(struct connection *connection, const char *reason, struct span requested,
                      uint64_t first_available)
{
    struct buffer text;
    buffer_init(&text, 2048);
    buffer_append_string(&text, "event: spate.gap\n");
    if (first_available == 0) {
        /* Nothing follows that would move the client's cursor, so this does. */
        buffer_append_string(&text, "id: ");
        append_id(&text, connection, connection->subscriber.position);
        buffer_append_string(&text, "\n");
    }
    buffer_append_string(&text, "data: {\"reason\":\"");
    buffer_append_string(&text, reason);
    buffer_append_string(&text, "\",\"requested\":\"");
    if (requested.len <= RESUME_ID_LEN_MAX && utf8_is_valid(requested)) {
        buffer_append_json(&text, requested);
    }
    buffer_append_string(&text, "\",\"first_available\":");
    if (first_available == 0) {
        buffer_append_string(&text, "null}\n\n");
    } else {
        buffer_append_string(&text, "\"");
        append_id(&text, connection, first_available);
        buffer_append_string(&text, "\"}\n\n");
    }
    if (text.failed && connection->state != CONNECTION_CLOSED) {
        connection_close(connection, "no memory");
    } else {
        connection_write_chunk(connection, buffer_span(&text));
    }
    buffer_fini(&text);
}
