/* One request with its answer, as every command needs it. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tools/ctl/ctl.h"

#define WAIT_MS_MIN      10
#define WAIT_MS_MAX      30000
#define WAIT_MS_TOLD_MAX 3600000 /* though a server tells more */

char *ctl_format(const char *format, ...)
{
    char *text;
    va_list values;
    va_start(values, format);
    int r = vasprintf(&text, format, values);
    va_end(values);
    if (r < 0) {
        abort();
    }
    return text;
}

char *ctl_escape(const char *name)
{
    char *escaped = malloc(strlen(name) * 3 + 1);
    if (escaped == NULL) {
        abort();
    }
    char *out = escaped;
    for (const char *in = name; *in != '\0'; in++) {
        if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_~", *in)) {
            *out++ = *in;
        } else {
            out += snprintf(out, 4, "%%%02X", (unsigned)(unsigned char)*in);
        }
    }
    *out = '\0';
    return escaped;
}

bool ctl_flush(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) {
        return true;
    }
    if (errno != EPIPE) {
        perror("spatectl: stdout");
    }
    return false;
}

void ctl_tell_status(const struct http_answer *answer)
{
    json_t *problem = json_loadb(answer->body.bytes, answer->body.len, 0, NULL);
    const char *detail = json_string_value(json_object_get(problem, "detail"));
    fprintf(stderr, "spatectl: %d: %s\n", answer->status, detail != NULL ? detail : "refused");
    json_decref(problem);
}

/* The exit code for a request that got no answer, told on stderr. */
static int tell_outcome(const struct ctl *ctl, enum http_outcome outcome)
{
    fprintf(stderr, "spatectl: %s%s\n",
            outcome == HTTP_UNREACHABLE ? "cannot connect: " : "no whole answer came: ",
            ctl->http.problem);
    return outcome == HTTP_UNREACHABLE ? CTL_UNREACHABLE : CTL_BROKEN;
}

int ctl_ask(struct ctl *ctl, const struct http_request *request, struct http_answer *answer)
{
    int result = CTL_OK;
    enum http_outcome outcome = http_ask(&ctl->http, request, answer);
    if (outcome != HTTP_ANSWERED) {
        result = tell_outcome(ctl, outcome);
    } else if (answer->status >= 300) {
        ctl_tell_status(answer);
        result = CTL_FAILED;
    }
    if (result != CTL_OK) {
        http_answer_fini(answer);
    }
    return result;
}

int ctl_ask_json(struct ctl *ctl, const char *path, json_t **ret_json)
{
    struct http_answer answer;
    int result = ctl_ask(ctl, &(struct http_request){.method = "GET", .path = path}, &answer);
    if (result != CTL_OK) {
        return result;
    }
    json_t *json = json_loadb(answer.body.bytes, answer.body.len, 0, NULL);
    http_answer_fini(&answer);
    if (json == NULL) {
        fprintf(stderr, "spatectl: the answer is not JSON\n");
        return CTL_FAILED;
    }
    *ret_json = json;
    return CTL_OK;
}

bool back_off_wait(struct ctl *ctl, struct back_off *back_off, const char *reason, uint64_t seconds)
{
    if (back_off->failures++ >= back_off->limit) {
        fprintf(stderr, "spatectl: %s; giving up\n", reason);
        return false;
    }
    uint64_t ms = back_off->base_ms;
    for (uint64_t i = 1; i < back_off->failures && ms < WAIT_MS_MAX; i++) {
        ms *= 2;
    }
    if (back_off->failures > 1) {
        /* The first wait is the server's, which spreads its clients itself. */
        ms = ms < WAIT_MS_MAX ? ms : WAIT_MS_MAX;
        ms = ms / 2 + random_below(&ctl->random, ms / 2 + 1);
    }
    /* Whatever a server says: neither at once, again and again, nor next year. */
    ms = min_u64(max_u64(ms, min_u64(seconds, WAIT_MS_TOLD_MAX) * 1000), WAIT_MS_TOLD_MAX);
    ms = max_u64(ms, WAIT_MS_MIN);
    fprintf(stderr, "spatectl: %s; trying again in %.1f s\n", reason, (double)ms / 1000);
    struct timespec rest = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&rest, &rest) < 0 && errno == EINTR) {
    }
    return true;
}

static bool is_for_later(int status)
{
    return status == 429 || status == 503;
}

int ctl_publish(struct ctl *ctl, struct back_off *back_off, const struct publication *publication)
{
    char *name = ctl_escape(publication->channel);
    char *event = ctl_escape(publication->event != NULL ? publication->event : "");
    char *retry = ctl_escape(ctl->retry != NULL ? ctl->retry : "");
    char *path = ctl_format("/publish/%s%s%s%s%s", name, event[0] != '\0' ? "?event=" : "", event,
                            retry[0] == '\0'   ? ""
                            : event[0] != '\0' ? "&retry="
                                               : "?retry=",
                            retry);
    const struct http_request request = {.method = "POST",
                                         .path = path,
                                         .content_type = publication->content_type,
                                         .body = publication->body};
    int result = CTL_FAILED;
    for (;;) {
        struct http_answer answer;
        enum http_outcome outcome = http_ask(&ctl->http, &request, &answer);
        bool is_refused = outcome == HTTP_ANSWERED && answer.status >= 300;
        bool is_told = answer.body.len > 0 && answer.body.bytes[0] == '{';
        if (outcome == HTTP_ANSWERED && !is_refused && !is_told) {
            fprintf(stderr, "spatectl: %d, but not the answer of a hub that has published\n",
                    answer.status);
            result = CTL_FAILED;
        } else if (outcome == HTTP_ANSWERED && !is_refused) {
            back_off->failures = 0;
            fputs(ctl->is_quiet ? "" : answer.body.bytes, stdout);
            result = ctl_flush() ? CTL_OK : CTL_FAILED;
        } else if (is_refused) {
            ctl_tell_status(&answer);
            result = CTL_FAILED;
        } else {
            result = tell_outcome(ctl, outcome);
        }
        bool again = result == CTL_UNREACHABLE || (is_refused && is_for_later(answer.status));
        uint64_t seconds = answer.retry_after_seconds;
        http_answer_fini(&answer);
        if (!again || back_off->limit == 0 ||
            !back_off_wait(ctl, back_off, "nothing was published", seconds)) {
            break;
        }
    }
    free(path);
    free(retry);
    free(event);
    free(name);
    return result;
}
