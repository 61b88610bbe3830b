/* Following channels, or any event stream: prints the events, and comes back after an end. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tools/ctl/ctl.h"
#include "tools/ctl/event_reader.h"

#define RETRY_MS_DEFAULT 1000

struct follower {
    struct ctl *ctl;
    struct event_reader reader;
    uint64_t seen;
    bool is_terminal;
    bool has_gap;
    bool lost_output;
    bool is_too_long;
    bool is_stream; /* the answer is an event stream */
};

static bool follower_is_done(const struct follower *follower)
{
    const struct ctl *ctl = follower->ctl;
    return follower->lost_output || (follower->has_gap && ctl->gap_fails) ||
           (ctl->count > 0 && follower->seen >= ctl->count);
}

/* A stranger's control characters must not reach a terminal. */
static void print_text(const struct follower *follower, struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        const unsigned char byte = (unsigned char)text.bytes[i];
        if (follower->is_terminal && (byte < 0x20 || byte == 0x7F) && byte != '\n' &&
            byte != '\t') {
            printf("\\x%02X", byte);
        } else {
            putchar(byte);
        }
    }
}

static void print_json(const struct event *event)
{
    json_t *json = json_pack("{s:s%,s:s%,s:s%}", "id", event->id.len > 0 ? event->id.bytes : "",
                             event->id.len, "event", event->type.bytes, event->type.len, "data",
                             event->data.len > 0 ? event->data.bytes : "", event->data.len);
    char *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT);
    if (text == NULL) {
        fprintf(stderr, "spatectl: an event that is not UTF-8 was left out\n");
    } else {
        puts(text);
    }
    free(text);
    json_decref(json);
}

static const char *member(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL && text[0] != '\0' ? text : "?";
}

static void tell_gap(struct follower *follower, const struct event *event)
{
    json_t *gap = json_loadb(event->data.bytes, event->data.len, 0, NULL);
    const char *first = json_string_value(json_object_get(gap, "first_available"));
    fprintf(stderr, "spatectl: GAP: events after %s are missing (%s); ", member(gap, "requested"),
            member(gap, "reason"));
    fprintf(stderr, first != NULL ? "it goes on with %s\n" : "nothing after them is kept%s\n",
            first != NULL ? first : "");
    json_decref(gap);
    follower->has_gap = true;
}

static bool follower_event(void *context, const struct event *event)
{
    struct follower *follower = context;
    const struct ctl *ctl = follower->ctl;
    const bool is_gap = span_is(event->type, "spate.gap");
    if (is_gap) {
        tell_gap(follower, event);
    } else {
        follower->seen++;
    }
    if (ctl->is_json) {
        print_json(event);
    } else if (!ctl->is_raw && !is_gap) {
        print_text(follower, event->id.len > 0 ? event->id : span_of("-"));
        putchar(' ');
        print_text(follower, event->type);
        putchar(' ');
        print_text(follower, event->data);
        putchar('\n');
    }
    return !follower_is_done(follower);
}

static bool follower_line(void *context, struct span line)
{
    struct follower *follower = context;
    print_text(follower, line);
    putchar('\n');
    return true;
}

static bool is_event_stream(const char *type)
{
    return strncasecmp(type, "text/event-stream", 17) == 0 &&
           (type[17] == '\0' || type[17] == ';' || type[17] == ' ');
}

/* What came at once is printed at once, in one piece. */
static bool follower_bytes(void *context, struct span bytes)
{
    struct follower *follower = context;
    const char *type = NULL;
    curl_easy_getinfo(follower->ctl->http.easy, CURLINFO_CONTENT_TYPE, &type);
    follower->is_stream = type != NULL && is_event_stream(type);
    if (!follower->is_stream) {
        return false;
    }
    enum event_reader_result result = event_reader_feed(&follower->reader, bytes);
    follower->is_too_long = result == EVENT_READER_TOO_LONG;
    follower->lost_output = !ctl_flush();
    return result == EVENT_READER_MORE && !follower->lost_output;
}

/* The address of the stream. `history` counts until an id says where to go on. */
static char *stream_path(const struct follower *follower)
{
    const struct ctl *ctl = follower->ctl;
    if (strstr(ctl->arguments[0], "://") != NULL) {
        return strdup(ctl->arguments[0]);
    }
    struct buffer path;
    buffer_init(&path, SIZE_MAX);
    buffer_append_string(&path, "/sse");
    const struct {
        const char *name, *value;
    } more[] = {{"history", follower->reader.id.len == 0 ? ctl->history : NULL},
                {"since", follower->reader.id.len == 0 ? ctl->since : NULL},
                {"client", ctl->client}};
    for (int i = 0; i < ctl->argument_count + (int)countof(more); i++) {
        const int place = i - ctl->argument_count;
        const char *name = place < 0 ? "channel" : more[place].name;
        const char *value = place < 0 ? ctl->arguments[i] : more[place].value;
        if (value != NULL) {
            char *escaped = ctl_escape(value);
            buffer_printf(&path, "%c%s=%s", i == 0 ? '?' : '&', name, escaped);
            free(escaped);
        }
    }
    buffer_append(&path, "", 1);
    if (path.failed) {
        abort();
    }
    return path.bytes;
}

static bool is_for_later(int status)
{
    return status == 429 || (status >= 502 && status <= 504);
}

/* What one connection came to: an exit code, or -1 and why it is worth another try. */
static int judge(struct follower *follower, enum http_outcome outcome,
                 const struct http_answer *answer, char **ret_reason)
{
    const struct http *http = &follower->ctl->http;
    if (follower_is_done(follower)) {
        return follower->lost_output                           ? CTL_FAILED
               : follower->has_gap && follower->ctl->gap_fails ? CTL_GAP
                                                               : CTL_OK;
    }
    if (follower->is_too_long) {
        fprintf(stderr, "spatectl: an event is too long\n");
        return CTL_FAILED;
    }
    if (answer->status != 0 && answer->status != 200 && !is_for_later(answer->status)) {
        ctl_tell_status(answer);
        return CTL_FAILED;
    }
    /* One that ends without a byte is one all the same. */
    if (answer->status == 200 && !is_event_stream(answer->media_type) &&
        (outcome == HTTP_STOPPED || outcome == HTTP_ANSWERED)) {
        fprintf(stderr, "spatectl: this is not an event stream: %s\n",
                answer->media_type[0] != '\0' ? answer->media_type : "no media type was told");
        return CTL_FAILED;
    }
    if (outcome == HTTP_UNREACHABLE) {
        *ret_reason = ctl_format("cannot connect: %s", http->problem);
    } else if (outcome == HTTP_SILENT) {
        *ret_reason =
            ctl_format("nothing came for %llu s", (unsigned long long)follower->ctl->idle_seconds);
    } else if (outcome == HTTP_BROKEN) {
        *ret_reason = ctl_format("the stream broke off: %s", http->problem);
    } else if (answer->status != 200) {
        *ret_reason = ctl_format("refused for now with %d", answer->status);
    } else {
        *ret_reason = ctl_format("the stream ended");
    }
    return -1;
}

/* One connection, until it ends; then the wait for the next. Returns -1 to go on. */
static int follower_run(struct follower *follower, struct back_off *back_off, bool is_first)
{
    struct ctl *ctl = follower->ctl;
    struct http_answer answer;
    char *path = stream_path(follower);
    char *id = strndup(follower->reader.id.len > 0 ? follower->reader.id.bytes : "",
                       follower->reader.id.len);
    follower->is_stream = false;
    event_reader_restart(&follower->reader);
    enum http_outcome outcome =
        http_ask(&ctl->http,
                 &(struct http_request){.method = "GET",
                                        .path = path,
                                        .accept = path[0] == '/' ? NULL : "text/event-stream",
                                        .last_event_id = id[0] != '\0' ? id : NULL,
                                        .on_body = follower_bytes,
                                        .context = follower,
                                        .idle_seconds = ctl->idle_seconds},
                 &answer);
    char *reason = NULL;
    int result = judge(follower, outcome, &answer, &reason);
    if (result < 0) {
        if (follower->reader.heard > 0) {
            back_off->failures = 0;
        }
        if (follower->reader.retry_ms != UINT64_MAX) {
            back_off->base_ms = follower->reader.retry_ms;
        }
        if (is_first && outcome == HTTP_UNREACHABLE && ctl->retries == CTL_UNSET) {
            fprintf(stderr, "spatectl: %s\n", reason);
            result = CTL_UNREACHABLE;
        } else if (!back_off_wait(ctl, back_off, reason, answer.retry_after_seconds)) {
            result = outcome == HTTP_UNREACHABLE ? CTL_UNREACHABLE : CTL_FAILED;
        }
    }
    http_answer_fini(&answer);
    free(reason);
    free(id);
    free(path);
    return result;
}

int ctl_sub(struct ctl *ctl)
{
    const bool is_url = strstr(ctl->arguments[0], "://") != NULL;
    if ((is_url && (ctl->argument_count > 1 || ctl->history || ctl->since || ctl->client)) ||
        (ctl->is_raw && ctl->is_json)) {
        fprintf(stderr, "spatectl: sub takes channels, or one URL without --history, --since and "
                        "--client; and one of --raw and --json\n");
        return CTL_USAGE;
    }
    struct follower follower = {.ctl = ctl, .is_terminal = isatty(STDOUT_FILENO) != 0};
    struct back_off back_off = {.base_ms = RETRY_MS_DEFAULT, .limit = ctl->retries};
    event_reader_init(&follower.reader);
    follower.reader.on_event = follower_event;
    follower.reader.on_line = ctl->is_raw ? follower_line : NULL;
    follower.reader.context = &follower;
    if (ctl->last_event_id != NULL) {
        event_reader_set_id(&follower.reader, span_of(ctl->last_event_id));
    }
    int result = -1;
    for (bool is_first = true; result < 0; is_first = false) {
        result = follower_run(&follower, &back_off, is_first);
    }
    event_reader_fini(&follower.reader);
    return result;
}
