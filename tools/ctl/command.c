#include "tools/ctl/command.h"

#include <stdlib.h>

#define DAY_MS ((uint64_t)86400000)

#define FLAG(text, field, line)                                                                    \
    {                                                                                              \
        .name = (text), .kind = CTL_KIND_FLAG, .offset = offsetof(struct ctl, field),              \
        .help = (line)                                                                             \
    }
#define TEXT(text, value, field, line)                                                             \
    {                                                                                              \
        .name = (text), .value_name = (value), .kind = CTL_KIND_TEXT,                              \
        .offset = offsetof(struct ctl, field), .help = (line)                                      \
    }
#define NUMBER(text, value, field, low, high, line)                                                \
    {                                                                                              \
        .name = (text), .value_name = (value), .kind = CTL_KIND_NUMBER,                            \
        .offset = offsetof(struct ctl, field), .min = (low), .max = (high), .help = (line)         \
    }

/* The first five are known to every command. */
enum { COMMON_COUNT = 5 };

static const struct ctl_option options[] = {
    TEXT("url", "URL", url, "http[s]://HOST[:PORT] or unix:/PATH; else SPATE_URL"),
    TEXT("token", "TOKEN", token, "else SPATE_TOKEN, else AUTH_TOKEN"),
    {.name = "ca-file",
     .value_name = "FILE",
     .kind = CTL_KIND_FILE,
     .offset = offsetof(struct ctl, ca_file),
     .help = "trust these certificates (PEM) instead of the system's"},
    {.name = "cacert",
     .value_name = "FILE",
     .kind = CTL_KIND_FILE,
     .offset = offsetof(struct ctl, ca_file),
     .help = "the same, as curl calls it"},
    FLAG("insecure", is_insecure, "trust any certificate"),

    TEXT("event", "TYPE", event, "event type"),
    TEXT("retry", "MS", retry, "reconnection time for the subscribers, in milliseconds"),
    TEXT("content-type", "TYPE", content_type, "what the data is [text/plain]"),
    {.name = "file",
     .value_name = "FILE",
     .kind = CTL_KIND_FILE,
     .offset = offsetof(struct ctl, file),
     .help = "publish a whole file; - is standard input"},
    FLAG("ndjson", is_ndjson, "standard input is NDJSON; available lines go as one batch"),
    NUMBER("rate", "N", rate, 1, 1000000, "at most N events per second"),
    FLAG("quiet", is_quiet, "do not print the responses"),

    TEXT("last-event-id", "ID", last_event_id, "resume after this event"),
    TEXT("history", "N", history, "begin with the last N events"),
    TEXT("since", "TIME", since, "begin with the events since TIME, RFC 3339 or Unix ms"),
    TEXT("client", "NAME", client, "be this client, and receive what is sent to it"),
    FLAG("raw", is_raw, "print the stream's lines as they come"),
    FLAG("json", is_json, "print JSON"),
    FLAG("gap-fails", gap_fails, "exit with 4 when events are missing"),
    NUMBER("idle-seconds", "N", idle_seconds, 0, 86400,
           "reconnect after so long a silence; 0: never [45]"),

    NUMBER("count", "N", count, 1, 1000000000, "end after N"),
    NUMBER("interval-ms", "N", interval_ms, 10, DAY_MS, "milliseconds between two [1000]"),
    NUMBER("retries", "N", retries, 0, 1000000, "give up after N failures in a row"),
    TEXT("channel", "NAME", channel, "publish to this channel instead"),
    NUMBER("seed", "N", seed, 0, UINT32_MAX, "the same seed gives the same events"),
    NUMBER("slowest", "N", rows, 0, 100, "how many slow clients to show [5]"),
};

static const struct ctl_command commands[] = {
    {.name = "pub",
     .run = ctl_pub,
     .help = "publish DATA, or each line of standard input",
     .arguments = "CHANNEL [DATA]",
     .arguments_min = 1,
     .arguments_max = 2,
     .list = "channels",
     .options = {"event", "retry", "content-type", "file", "ndjson", "rate", "retries", "quiet"}},
    {.name = "sub",
     .run = ctl_sub,
     .help = "follow channels or a stream; reconnects and resumes",
     .arguments = "CHANNEL...|URL",
     .arguments_min = 1,
     .arguments_max = INT32_MAX,
     .list = "channels",
     .options = {"last-event-id", "history", "since", "client", "raw", "json", "count",
                 "idle-seconds", "retries", "gap-fails"}},
    {.name = "health",
     .run = ctl_health,
     .help = "whether the hub accepts new streams",
     .arguments = ""},
    {.name = "stats",
     .run = ctl_stats,
     .help = "the hub's counters",
     .arguments = "",
     .options = {"json"}},
    {.name = "clients",
     .run = ctl_clients,
     .help = "connected clients, one per line",
     .arguments = "",
     .options = {"json"}},
    {.name = "channels",
     .run = ctl_channels,
     .help = "channels, one per line",
     .arguments = "",
     .options = {"json"}},
    {.name = "kick",
     .run = ctl_kick,
     .help = "end a client's streams",
     .arguments = "CLIENT",
     .arguments_min = 1,
     .arguments_max = 1,
     .list = "clients"},
    {.name = "top",
     .run = ctl_top,
     .help = "live rates of the hub and its shards, and the slowest clients",
     .arguments = "",
     .options = {"interval-ms", "count", "slowest"}},
    {.name = "profile",
     .run = ctl_profile,
     .help = "where the time of the fan-out goes; with --count, in the next N intervals",
     .arguments = "",
     .options = {"json", "interval-ms", "count"}},
    {.name = "feed",
     .run = ctl_feed,
     .help = "publish simulated events, one per second",
     .arguments = "sensor|clock|feedbacks",
     .arguments_min = 1,
     .arguments_max = 1,
     .words = "sensor clock feedbacks",
     .options = {"channel", "interval-ms", "count", "seed", "retries", "quiet"}},
    {.name = "bench",
     .run = ctl_bench,
     .help = "a load test with spate-load: hot, channels, storm or idle",
     .arguments = "PRESET [-- OPTION...]",
     .arguments_min = 1,
     .arguments_max = INT32_MAX,
     .words = "hot channels storm idle"},
    {.name = "completion",
     .run = ctl_completion,
     .help = "print a script for the shell",
     .arguments = "bash|zsh|fish",
     .arguments_min = 1,
     .arguments_max = 1,
     .words = "bash zsh fish"},
    {.name = "help",
     .run = ctl_help,
     .help = "this, or more about one command",
     .arguments = "[COMMAND]",
     .arguments_max = 1},
};

const struct ctl_command *ctl_commands(size_t *ret_count)
{
    *ret_count = countof(commands);
    return commands;
}

const struct ctl_option *ctl_options(size_t *ret_count)
{
    *ret_count = countof(options);
    return options;
}

const struct ctl_command *ctl_command_find(const char *name)
{
    for (size_t i = 0; i < countof(commands); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

bool ctl_option_is_common(const struct ctl_option *option)
{
    return option < options + COMMON_COUNT;
}

bool ctl_command_knows(const struct ctl_command *command, const struct ctl_option *option)
{
    for (size_t i = 0; i < CTL_COMMAND_OPTIONS_MAX && command->options[i] != NULL; i++) {
        if (strcmp(command->options[i], option->name) == 0) {
            return true;
        }
    }
    return ctl_option_is_common(option);
}

static bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret_number)
{
    uint64_t number = 0;
    if (text[0] == '\0' || strlen(text) > 18) {
        return false;
    }
    for (const char *digit = text; *digit != '\0'; digit++) {
        if (*digit < '0' || *digit > '9') {
            return false;
        }
        number = number * 10 + (uint64_t)(*digit - '0');
    }
    if (number < min || number > max) {
        return false;
    }
    *ret_number = number;
    return true;
}

bool ctl_option_set(struct ctl *ctl, const struct ctl_option *option, const char *value)
{
    char *field = (char *)ctl + option->offset;
    switch (option->kind) {
    case CTL_KIND_FLAG:
        *(bool *)field = true;
        return true;
    case CTL_KIND_TEXT:
    case CTL_KIND_FILE:
        *(const char **)field = value;
        return strpbrk(value, "\r\n") == NULL;
    case CTL_KIND_NUMBER:
        return parse_number(value, option->min, option->max, (uint64_t *)field);
    }
    return false;
}

static void print_option(const struct ctl_option *option, FILE *out)
{
    char *spelled = ctl_format("--%s%s%s", option->name, option->value_name != NULL ? " " : "",
                               option->value_name != NULL ? option->value_name : "");
    fprintf(out, "  %-20s  %s\n", spelled, option->help);
    free(spelled);
}

static const char exit_codes[] =
    "\nExit codes:\n"
    "  0    ok\n"
    "  1    refused or failed; the server's reason is on standard error\n"
    "  2    wrong usage; nothing was sent\n"
    "  3    cannot connect\n"
    "  4    sub --gap-fails: events are missing\n"
    "  5    the connection broke before the answer; whether it was published is not known\n"
    "  127  bench: there is no spate-load beside this program\n";

static void print_command_help(const struct ctl_command *command, FILE *out)
{
    fprintf(out, "Usage: spatectl %s [OPTIONS]%s%s\n\n%s\n\nOptions:\n", command->name,
            command->arguments[0] != '\0' ? " " : "", command->arguments, command->help);
    for (size_t i = 0; i < countof(options); i++) {
        if (ctl_command_knows(command, &options[i])) {
            print_option(&options[i], out);
        }
    }
}

/* Each option once, under the first command that knows it, which may not be the only one. */
static void print_all_options(FILE *out)
{
    fputs("\nOptions of every command:\n", out);
    for (size_t i = 0; i < COMMON_COUNT; i++) {
        print_option(&options[i], out);
    }
    fputs("  --help\n  --version\n", out);
    for (size_t c = 0; c < countof(commands); c++) {
        if (commands[c].options[0] == NULL) {
            continue;
        }
        fprintf(out, "\nOptions of %s:\n", commands[c].name);
        for (size_t i = COMMON_COUNT; i < countof(options); i++) {
            if (ctl_command_knows(&commands[c], &options[i])) {
                print_option(&options[i], out);
            }
        }
    }
}

void ctl_help_print(const struct ctl_command *command, FILE *out)
{
    if (command != NULL) {
        print_command_help(command, out);
        return;
    }
    fputs("Usage: spatectl COMMAND [OPTIONS] [ARGUMENTS]\n\n"
          "Publishes to a Spate hub, follows it and looks at it from the command line.\n\n"
          "Commands:\n",
          out);
    for (size_t i = 0; i < countof(commands); i++) {
        char *spelled = ctl_format("%s %s", commands[i].name, commands[i].arguments);
        fprintf(out, "  %-28s  %s\n", spelled, commands[i].help);
        free(spelled);
    }
    print_all_options(out);
    fputs(exit_codes, out);
}
