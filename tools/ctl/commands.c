#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/ctl/ctl.h"

#define BODY_SIZE_MAX   ((size_t)64 << 20)
#define BATCH_LINES_MAX 100 /* well below the hub's default limit of a batch */

void ctl_sleep_ms(unsigned long ms)
{
    struct timespec rest = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&rest, &rest) < 0 && errno == EINTR) {
    }
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

void ctl_tell_problem(int status, const char *text)
{
    json_t *problem = json_loads(text, 0, NULL);
    const char *detail = json_string_value(json_object_get(problem, "detail"));
    fprintf(stderr, "spatectl: %d: %s\n", status, detail != NULL ? detail : "refused");
    json_decref(problem);
}

char *ctl_read_body(struct http *http)
{
    size_t size = 0;
    char *text = malloc(1);
    for (;;) {
        char *grown = size < BODY_SIZE_MAX ? realloc(text, size + 16385) : NULL;
        if (grown == NULL) {
            free(text);
            return NULL;
        }
        text = grown;
        ssize_t got = http_read(http, text + size, 16384);
        if (got < 0) {
            free(text);
            return NULL;
        }
        size += (size_t)got;
        text[size] = '\0';
        if (got == 0) {
            return text;
        }
    }
}

int ctl_ask(struct ctl *ctl, const struct http_request *request, char **ret_text)
{
    int r = http_connect(&ctl->http);
    if (r < 0) {
        fprintf(stderr, "spatectl: cannot connect to %s:%s: %s\n", ctl->http.host, ctl->http.port,
                strerror(-r));
        return CTL_UNREACHABLE;
    }
    int status = http_send(&ctl->http, request);
    char *text = status < 0 ? NULL : ctl_read_body(&ctl->http);
    if (text == NULL) {
        fprintf(stderr, "spatectl: no whole answer came\n");
        http_fini(&ctl->http);
        return CTL_FAILED;
    }
    if (status >= 300) {
        ctl_tell_problem(status, text);
        free(text);
        return CTL_FAILED;
    }
    *ret_text = text;
    return CTL_OK;
}

int ctl_publish(struct ctl *ctl, const char *channel, const char *type, const char *body,
                size_t size)
{
    char *name = ctl_escape(channel);
    char *event = ctl_escape(ctl->event != NULL ? ctl->event : "");
    char *retry = ctl_escape(ctl->retry != NULL ? ctl->retry : "");
    char *path;
    if (asprintf(&path, "/publish/%s?%s%s%s%s", name, ctl->event != NULL ? "event=" : "", event,
                 ctl->retry != NULL ? "&retry=" : "", retry) < 0) {
        abort();
    }
    char *text = NULL;
    int result = ctl_ask(
        ctl,
        &(struct http_request){
            .method = "POST", .path = path, .content_type = type, .body = body, .body_size = size},
        &text);
    if (result == CTL_OK) {
        fputs(text, stdout);
        fflush(stdout);
    }
    free(text);
    free(path);
    free(retry);
    free(event);
    free(name);
    return result;
}

/* Gathers lines into one body: one line, or as many as a batch takes. Returns how many. */
static size_t gather(struct ctl *ctl, char **body, size_t *size)
{
    char *line = NULL;
    size_t capacity = 0;
    size_t lines = 0;
    FILE *out = open_memstream(body, size);
    if (out == NULL) {
        abort();
    }
    while (lines < (ctl->is_ndjson ? BATCH_LINES_MAX : 1)) {
        ssize_t got = getline(&line, &capacity, stdin);
        if (got < 0) {
            break;
        }
        if (!ctl->is_ndjson && line[got - 1] == '\n') {
            got--;
        }
        fwrite(line, 1, (size_t)got, out);
        lines++;
    }
    free(line);
    fclose(out);
    return lines;
}

int ctl_pub(struct ctl *ctl)
{
    const char *type = ctl->is_ndjson ? "application/x-ndjson" : "text/plain";
    if (ctl->argument_count == 2) {
        const char *data = ctl->arguments[1];
        return ctl_publish(ctl, ctl->arguments[0], type, data, strlen(data));
    }
    int result = CTL_OK;
    for (;;) {
        char *body;
        size_t size;
        size_t lines = gather(ctl, &body, &size);
        if (lines > 0) {
            result = ctl_publish(ctl, ctl->arguments[0], type, body, size);
        }
        free(body);
        if (lines == 0 || result != CTL_OK) {
            return result;
        }
        if (ctl->rate > 0) {
            ctl_sleep_ms(1000 / ctl->rate);
        }
    }
}

static int get_json(struct ctl *ctl, const char *path, char **ret_text, json_t **ret_json)
{
    int result = ctl_ask(ctl, &(struct http_request){.method = "GET", .path = path}, ret_text);
    if (result == CTL_OK && (*ret_json = json_loads(*ret_text, 0, NULL)) == NULL) {
        fprintf(stderr, "spatectl: the answer is not JSON\n");
        free(*ret_text);
        return CTL_FAILED;
    }
    return result;
}

int ctl_stats(struct ctl *ctl)
{
    char *text;
    json_t *stats;
    int result = get_json(ctl, "/stats", &text, &stats);
    if (result != CTL_OK) {
        return result;
    }
    const char *key;
    json_t *value;
    if (ctl->is_json) {
        fputs(text, stdout);
    } else {
        json_object_foreach(stats, key, value)
        {
            char *shown = json_is_array(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY);
            if (shown != NULL) {
                printf("%-22s %s\n", key, shown);
            }
            free(shown);
        }
    }
    json_decref(stats);
    free(text);
    return CTL_OK;
}

int ctl_list(struct ctl *ctl, const char *path)
{
    char *text;
    json_t *list;
    int result = get_json(ctl, path, &text, &list);
    if (result != CTL_OK) {
        return result;
    }
    if (ctl->is_json) {
        fputs(text, stdout);
    } else {
        size_t place;
        json_t *entry;
        json_array_foreach(list, place, entry)
        {
            json_t *name = json_is_object(entry) ? json_object_get(entry, "channel") : entry;
            puts(json_is_string(name) ? json_string_value(name) : "?");
        }
    }
    json_decref(list);
    free(text);
    return CTL_OK;
}

int ctl_kick(struct ctl *ctl)
{
    char *name = ctl_escape(ctl->arguments[0]);
    char *path;
    if (asprintf(&path, "/clients/%s", name) < 0) {
        abort();
    }
    char *text;
    int result = ctl_ask(ctl, &(struct http_request){.method = "DELETE", .path = path}, &text);
    if (result == CTL_OK) {
        fputs(text, stdout);
        free(text);
    }
    free(path);
    free(name);
    return result;
}

int ctl_top(struct ctl *ctl)
{
    static const char *const names[] = {"published", "deliveries", "sends"};
    long long before[3] = {0};
    for (unsigned long round = 0; ctl->count == 0 || round <= ctl->count; round++) {
        char *text;
        json_t *stats;
        int result = get_json(ctl, "/stats", &text, &stats);
        if (result != CTL_OK) {
            return result;
        }
        if (round > 0) {
            printf("%sstreams %lld", isatty(STDOUT_FILENO) ? "\033[H\033[J" : "",
                   (long long)json_integer_value(json_object_get(stats, "streams")));
        }
        for (size_t i = 0; i < 3; i++) {
            long long now = json_integer_value(json_object_get(stats, names[i]));
            if (round > 0) {
                printf("  %s/s %lld", names[i], now - before[i]);
            }
            before[i] = now;
        }
        if (round > 0) {
            puts("");
            fflush(stdout);
        }
        json_decref(stats);
        free(text);
        if (ctl->count == 0 || round < ctl->count) {
            ctl_sleep_ms(1000);
        }
    }
    return CTL_OK;
}

int ctl_feed(struct ctl *ctl)
{
    const bool is_sensor = strcmp(ctl->arguments[0], "sensor") == 0;
    if (!is_sensor && strcmp(ctl->arguments[0], "clock") != 0) {
        fprintf(stderr, "spatectl: feed knows sensor and clock\n");
        return CTL_USAGE;
    }
    ctl->event = is_sensor ? "sensor-data" : "message";
    for (unsigned long i = 0; ctl->count == 0 || i < ctl->count; i++) {
        char body[128];
        if (i > 0) {
            ctl_sleep_ms(ctl->interval_ms);
        }
        if (is_sensor) {
            snprintf(body, sizeof body, "{\"temperature\":%.1f,\"humidity\":%.1f}",
                     15 + (double)(random() % 200) / 10, 40 + (double)(random() % 400) / 10);
        } else {
            time_t now = time(NULL);
            struct tm local;
            localtime_r(&now, &local);
            strftime(body, sizeof body, "%H:%M:%S - the time", &local);
        }
        int result = ctl_publish(ctl, is_sensor ? "sensor-data" : "stream",
                                 is_sensor ? "application/json" : "text/plain", body, strlen(body));
        if (result != CTL_OK) {
            return result;
        }
    }
    return CTL_OK;
}
