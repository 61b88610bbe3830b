/* Looking at a hub: its counters and lists; and ending a client's streams. */
#include <stdio.h>
#include <stdlib.h>

#include "tools/ctl/ctl.h"

static int print_answer(struct ctl *ctl, const char *method, const char *path)
{
    struct http_answer answer;
    int result = ctl_ask(ctl, &(struct http_request){.method = method, .path = path}, &answer);
    if (result == CTL_OK) {
        fputs(answer.body.bytes, stdout);
        http_answer_fini(&answer);
        result = ctl_flush() ? CTL_OK : CTL_FAILED;
    }
    return result;
}

int ctl_health(struct ctl *ctl)
{
    return print_answer(ctl, "GET", "/readyz");
}

int ctl_stats(struct ctl *ctl)
{
    if (ctl->is_json) {
        return print_answer(ctl, "GET", "/stats");
    }
    json_t *stats;
    int result = ctl_ask_json(ctl, "/stats", &stats);
    if (result != CTL_OK) {
        return result;
    }
    const char *key;
    json_t *value;
    json_object_foreach(stats, key, value)
    {
        char *shown = json_is_array(value) || json_is_object(value)
                          ? NULL
                          : json_dumps(value, JSON_ENCODE_ANY);
        if (shown != NULL) {
            printf("%-22s %s\n", key, shown);
        }
        free(shown);
    }
    json_decref(stats);
    return ctl_flush() ? CTL_OK : CTL_FAILED;
}

/* Prints one name a line. */
static int list(struct ctl *ctl, const char *path)
{
    if (ctl->is_json) {
        return print_answer(ctl, "GET", path);
    }
    json_t *names;
    int result = ctl_ask_json(ctl, path, &names);
    if (result != CTL_OK) {
        return result;
    }
    size_t place;
    json_t *entry;
    json_array_foreach(names, place, entry)
    {
        const json_t *name = json_is_object(entry) ? json_object_get(entry, "channel") : entry;
        puts(json_is_string(name) ? json_string_value(name) : "?");
    }
    json_decref(names);
    return ctl_flush() ? CTL_OK : CTL_FAILED;
}

int ctl_clients(struct ctl *ctl)
{
    return list(ctl, "/clients");
}

int ctl_channels(struct ctl *ctl)
{
    return list(ctl, "/channels");
}

int ctl_kick(struct ctl *ctl)
{
    char *name = ctl_escape(ctl->arguments[0]);
    char *path = ctl_format("/clients/%s", name);
    int result = print_answer(ctl, "DELETE", path);
    free(path);
    free(name);
    return result;
}
