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

/* The first four are known to every command. */
enum { COMMON_COUNT = 4 };

static const struct ctl_option options[] = {
    TEXT("url", "URL", url, "http[s]://HOST[:PORT] or unix:/PATH; else SPATE_URL"),
    TEXT("token", "TOKEN", token, "else SPATE_TOKEN, else AUTH_TOKEN"),
    {.name = "ca-file",
     .value_name = "FILE",
     .kind = CTL_KIND_FILE,
     .offset = offsetof(struct ctl, ca_file),
     .help = "trust these certificates (PEM) instead of the system's"},
    FLAG("insecure", is_insecure, "trust any certificate"),

    TEXT("event", "TYPE", event, "the event type"),
    TEXT("retry", "MS", retry, "a reconnection time for the subscribers"),
    TEXT("content-type", "TYPE", content_type, "what the data is; text/plain"),
    {.name = "file",
     .value_name = "FILE",
     .kind = CTL_KIND_FILE,
     .offset = offsetof(struct ctl, file),
     .help = "publish a whole file; - is standard input"},
    FLAG("ndjson", is_ndjson, "standard input is NDJSON; what is there goes as one batch"),
    NUMBER("rate", "N", rate, 1, 1000000, "N events a second at most"),
    FLAG("quiet", is_quiet, "do not print the answers"),

    TEXT("last-event-id", "ID", last_event_id, "resume after this event"),
    TEXT("history", "N", history, "begin with the last N events"),
    TEXT("since", "TIME", since, "begin with the events since TIME, RFC 3339 or Unix ms"),
    TEXT("client", "NAME", client, "be this client, and get what is sent to it"),
    FLAG("raw", is_raw, "print the stream's lines as they come"),
    FLAG("json", is_json, "print JSON"),
    FLAG("gap-fails", gap_fails, "end with 4 when events are missing"),
    NUMBER("idle-seconds", "N", idle_seconds, 0, 86400,
           "a stream that is silent for so long is lost; 45; 0: never"),

    NUMBER("count", "N", count, 1, 1000000000, "end after N"),
    NUMBER("interval-ms", "N", interval_ms, 10, DAY_MS, "time between two; 1000"),
    NUMBER("retries", "N", retries, 0, 1000000, "give up after so many failures in a row"),
    TEXT("channel", "NAME", channel, "publish to this channel instead"),
    NUMBER("seed", "N", seed, 0, UINT32_MAX, "make up the same events again"),
    NUMBER("slowest", "N", rows, 0, 100, "show so many slow clients; 5"),
};

static const struct ctl_command commands[] = {
    {"pub",
     "CHANNEL [DATA]",
     1,
     2,
     "publish DATA, or each line of standard input",
     ctl_pub,
     NULL,
     "channels",
     {"event", "retry", "content-type", "file", "ndjson", "rate", "retries", "quiet"}},
    {"sub",
     "CHANNEL...|URL",
     1,
     INT32_MAX,
     "follow channels or a stream; reconnects and resumes",
     ctl_sub,
     NULL,
     "channels",
     {"last-event-id", "history", "since", "client", "raw", "json", "count", "idle-seconds",
      "retries", "gap-fails"}},
    {"stats", "", 0, 0, "the hub's counters", ctl_stats, NULL, NULL, {"json"}},
    {"clients", "", 0, 0, "who is connected, one a line", ctl_clients, NULL, NULL, {"json"}},
    {"channels", "", 0, 0, "the channels, one a line", ctl_channels, NULL, NULL, {"json"}},
    {"kick", "CLIENT", 1, 1, "end a client's streams", ctl_kick, NULL, "clients", {NULL}},
    {"top",
     "",
     0,
     0,
     "live rates of the hub and its shards, and the slowest clients",
     ctl_top,
     NULL,
     NULL,
     {"interval-ms", "count", "slowest"}},
    {"feed",
     "sensor|clock|feedbacks",
     1,
     1,
     "publish made-up events, one a second",
     ctl_feed,
     "sensor clock feedbacks",
     NULL,
     {"channel", "interval-ms", "count", "seed", "retries", "quiet"}},
    {"completion",
     "bash|zsh|fish",
     1,
     1,
     "print a script for the shell",
     ctl_completion,
     "bash zsh fish",
     NULL,
     {NULL}},
    {"help", "[COMMAND]", 0, 1, "this, or more about one command", ctl_help, NULL, NULL, {NULL}},
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
    "  5    the connection broke before the answer; whether it was published is not known\n";

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
