/* Following channels: reads the stream line by line, and comes back after an end. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/ctl/ctl.h"

#define LINE_SIZE_MAX ((size_t)64 << 20)

struct follower {
    struct ctl *ctl;
    char *line; /* being gathered */
    size_t line_size, line_capacity;
    char *data; /* of the event, lines joined with LF; NULL: none yet */
    char event[256];
    char id[256];
    char next_id[256]; /* becomes id when its event is whole */
    unsigned long retry_ms;
    unsigned long seen;
};

/* The end of an event. */
static void follower_dispatch(struct follower *follower)
{
    memcpy(follower->id, follower->next_id, sizeof follower->id);
    if (follower->data != NULL) {
        if (strcmp(follower->event, "spate.gap") == 0) {
            fprintf(stderr, "spatectl: events are missing: %s\n", follower->data);
        } else {
            if (!follower->ctl->is_raw) {
                printf("%s %s %s\n", follower->id[0] != '\0' ? follower->id : "-",
                       follower->event[0] != '\0' ? follower->event : "message", follower->data);
            }
            follower->seen++;
        }
    }
    fflush(stdout);
    free(follower->data);
    follower->data = NULL;
    follower->event[0] = '\0';
}

static void follower_line(struct follower *follower, char *line)
{
    if (follower->ctl->is_raw) {
        puts(line);
    }
    if (line[0] == '\0') {
        follower_dispatch(follower);
        return;
    }
    char *value = line + strcspn(line, ":");
    if (*value == ':') {
        *value++ = '\0';
        value += *value == ' ';
    }
    if (strcmp(line, "data") == 0) {
        char *joined;
        if (asprintf(&joined, "%s%s%s", follower->data != NULL ? follower->data : "",
                     follower->data != NULL ? "\n" : "", value) < 0) {
            abort();
        }
        free(follower->data);
        follower->data = joined;
    } else if (strcmp(line, "event") == 0) {
        snprintf(follower->event, sizeof follower->event, "%s", value);
    } else if (strcmp(line, "id") == 0) {
        snprintf(follower->next_id, sizeof follower->next_id, "%s", value);
    } else if (strcmp(line, "retry") == 0 && strlen(value) <= 8 && value[0] != '\0' &&
               strspn(value, "0123456789") == strlen(value)) {
        follower->retry_ms = strtoul(value, NULL, 10);
    }
}

static bool follower_byte(struct follower *follower, char byte)
{
    if (follower->line_size + 1 >= follower->line_capacity) {
        size_t capacity = follower->line_capacity * 2 + 256;
        char *grown = capacity <= LINE_SIZE_MAX ? realloc(follower->line, capacity) : NULL;
        if (grown == NULL) {
            return false;
        }
        follower->line = grown;
        follower->line_capacity = capacity;
    }
    if (byte != '\n') {
        follower->line[follower->line_size++] = byte;
        return true;
    }
    follower->line[follower->line_size] = '\0';
    follower->line_size = 0;
    follower_line(follower, follower->line);
    return true;
}

static bool follower_is_done(const struct follower *follower)
{
    return follower->ctl->count > 0 && follower->seen >= follower->ctl->count;
}

/* One connection, until it ends. Refusals are final, all else is tried again. */
static int follower_run(struct follower *follower, const char *path)
{
    struct http *http = &follower->ctl->http;
    const char *last = follower->id[0] != '\0' ? follower->id : NULL;
    int status = http_send(
        http, &(struct http_request){
                  .method = "GET", .path = path, .last_event_id = last, .is_stream = true});
    if (status >= 300) {
        char *text = ctl_read_body(http);
        ctl_tell_problem(status, text != NULL ? text : "");
        free(text);
        return status == 503 ? CTL_OK : CTL_FAILED;
    }
    /* What a broken connection left unfinished is sent again. */
    follower->line_size = 0;
    free(follower->data);
    follower->data = NULL;
    follower->event[0] = '\0';
    memcpy(follower->next_id, follower->id, sizeof follower->id);
    char bytes[16384];
    ssize_t got = status < 0 ? status : 1;
    while (got > 0 && (got = http_read(http, bytes, sizeof bytes)) > 0) {
        for (ssize_t i = 0; i < got && !follower_is_done(follower); i++) {
            if (!follower_byte(follower, bytes[i])) {
                fprintf(stderr, "spatectl: an event is too long\n");
                return CTL_FAILED;
            }
        }
        if (follower_is_done(follower)) {
            break;
        }
    }
    return CTL_OK;
}

static char *subscription_path(struct ctl *ctl)
{
    char *path = NULL;
    size_t size;
    FILE *out = open_memstream(&path, &size);
    if (out == NULL) {
        abort();
    }
    fputs("/sse?", out);
    for (int i = 0; i < ctl->argument_count; i++) {
        char *name = ctl_escape(ctl->arguments[i]);
        fprintf(out, "%schannel=%s", i > 0 ? "&" : "", name);
        free(name);
    }
    if (ctl->history != NULL) {
        char *history = ctl_escape(ctl->history);
        fprintf(out, "&history=%s", history);
        free(history);
    }
    fclose(out);
    return path;
}

int ctl_sub(struct ctl *ctl)
{
    static struct follower follower = {.retry_ms = 3000};
    follower.ctl = ctl;
    if (ctl->last_event_id != NULL) {
        snprintf(follower.id, sizeof follower.id, "%s", ctl->last_event_id);
    }
    char *path = subscription_path(ctl);
    int result = CTL_OK;
    for (bool is_first = true; result == CTL_OK && !follower_is_done(&follower); is_first = false) {
        if (!is_first) {
            http_fini(&ctl->http);
            ctl_sleep_ms(follower.retry_ms);
        }
        int r = http_connect(&ctl->http);
        if (r == 0) {
            result = follower_run(&follower, path);
        } else if (is_first) {
            fprintf(stderr, "spatectl: cannot connect: %s\n", strerror(-r));
            result = CTL_UNREACHABLE;
        }
    }
    free(path);
    free(follower.line);
    return result;
}
