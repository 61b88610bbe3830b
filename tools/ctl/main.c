/* spatectl: publish, follow and look at a hub from the command line. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/ctl/ctl.h"

static const char help[] =
    "usage: spatectl [OPTIONS] COMMAND\n\n"
    "  pub CHANNEL [DATA]   publish DATA, or each line of standard input\n"
    "  sub CHANNEL...       follow channels; reconnects and resumes\n"
    "  stats                the hub's counters\n"
    "  clients, channels    lists, one name a line\n"
    "  kick CLIENT          end a client's streams\n"
    "  top                  rates, once a second\n"
    "  feed sensor|clock    publish made-up events, to sensor-data or stream\n"
    "  completion SHELL     a script for bash, zsh or fish\n\n"
    "  --url URL            the hub; else SPATE_URL, else http://127.0.0.1:8080\n"
    "  --token TOKEN        else SPATE_TOKEN, else AUTH_TOKEN\n"
    "  --event TYPE         pub: the event type\n"
    "  --retry MS           pub: the reconnection time to send along\n"
    "  --rate N             pub: N requests a second at most\n"
    "  --ndjson             pub: standard input is NDJSON, sent in batches\n"
    "  --raw                sub: the stream's lines as they come\n"
    "  --last-event-id ID   sub: resume after ID\n"
    "  --history N          sub: begin with the last N events\n"
    "  --count N            sub, feed, top: end after N\n"
    "  --interval-ms N      feed: between two events; 1000\n"
    "  --json               stats, channels: the hub's own JSON\n"
    "  --help, --version\n\n"
    "exit codes: 0 ok, 1 refused or failed, 2 wrong usage, 3 cannot connect\n";

static int wrong_usage(const char *why)
{
    fprintf(stderr, "spatectl: %s; see spatectl --help\n", why);
    return CTL_USAGE;
}

static bool parse_number(const char *text, unsigned long *ret_number)
{
    if (text[0] == '\0' || strlen(text) > 9 || strspn(text, "0123456789") != strlen(text)) {
        return false;
    }
    *ret_number = strtoul(text, NULL, 10);
    return *ret_number > 0;
}

enum option_code {
    OPTION_URL = 256,
    OPTION_TOKEN,
    OPTION_EVENT,
    OPTION_RETRY,
    OPTION_RATE,
    OPTION_NDJSON,
    OPTION_RAW,
    OPTION_LAST_EVENT_ID,
    OPTION_HISTORY,
    OPTION_COUNT,
    OPTION_INTERVAL_MS,
    OPTION_JSON,
    OPTION_HELP,
    OPTION_VERSION,
};

static const struct option options[] = {
    {"url", required_argument, NULL, OPTION_URL},
    {"token", required_argument, NULL, OPTION_TOKEN},
    {"event", required_argument, NULL, OPTION_EVENT},
    {"retry", required_argument, NULL, OPTION_RETRY},
    {"rate", required_argument, NULL, OPTION_RATE},
    {"ndjson", no_argument, NULL, OPTION_NDJSON},
    {"raw", no_argument, NULL, OPTION_RAW},
    {"last-event-id", required_argument, NULL, OPTION_LAST_EVENT_ID},
    {"history", required_argument, NULL, OPTION_HISTORY},
    {"count", required_argument, NULL, OPTION_COUNT},
    {"interval-ms", required_argument, NULL, OPTION_INTERVAL_MS},
    {"json", no_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

static bool take_option(struct ctl *ctl, int code)
{
    switch (code) {
    case OPTION_EVENT:
        ctl->event = optarg;
        return true;
    case OPTION_RETRY:
        ctl->retry = optarg;
        return true;
    case OPTION_RATE:
        return parse_number(optarg, &ctl->rate);
    case OPTION_NDJSON:
        return ctl->is_ndjson = true;
    case OPTION_RAW:
        return ctl->is_raw = true;
    case OPTION_LAST_EVENT_ID:
        ctl->last_event_id = optarg;
        return strpbrk(optarg, "\r\n") == NULL;
    case OPTION_HISTORY:
        ctl->history = optarg;
        return true;
    case OPTION_COUNT:
        return parse_number(optarg, &ctl->count);
    case OPTION_INTERVAL_MS:
        return parse_number(optarg, &ctl->interval_ms);
    case OPTION_JSON:
        return ctl->is_json = true;
    default:
        return false;
    }
}

static int run(struct ctl *ctl, const char *command)
{
    const int count = ctl->argument_count;
    if (strcmp(command, "pub") == 0 && (count == 1 || (count == 2 && !ctl->is_ndjson))) {
        return ctl_pub(ctl);
    }
    if (strcmp(command, "sub") == 0 && count >= 1) {
        return ctl_sub(ctl);
    }
    if (strcmp(command, "kick") == 0 && count == 1) {
        return ctl_kick(ctl);
    }
    if (strcmp(command, "feed") == 0 && count == 1) {
        return ctl_feed(ctl);
    }
    if (strcmp(command, "completion") == 0 && count == 1) {
        return ctl_completion(ctl);
    }
    if (count == 0 && strcmp(command, "stats") == 0) {
        return ctl_stats(ctl);
    }
    if (count == 0 && strcmp(command, "top") == 0) {
        return ctl_top(ctl);
    }
    if (count == 0 && strcmp(command, "clients") == 0) {
        return ctl_list(ctl, "/clients");
    }
    if (count == 0 && strcmp(command, "channels") == 0) {
        return ctl_list(ctl, "/channels");
    }
    return wrong_usage("no such command, or not with these arguments");
}

int main(int argc, char **argv)
{
    static struct ctl ctl = {.interval_ms = 1000};
    const char *url = getenv("SPATE_URL");
    const char *token = getenv("SPATE_TOKEN");
    token = token != NULL ? token : getenv("AUTH_TOKEN");
    int code;
    while ((code = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (code == OPTION_HELP) {
            return fputs(help, stdout) < 0 ? CTL_FAILED : CTL_OK;
        }
        if (code == OPTION_VERSION) {
            return puts("spatectl " SPATE_VERSION) < 0 ? CTL_FAILED : CTL_OK;
        }
        if (code == OPTION_URL) {
            url = optarg;
        } else if (code == OPTION_TOKEN) {
            token = optarg;
        } else if (!take_option(&ctl, code)) {
            return wrong_usage("a wrong option or value");
        }
    }
    if (optind == argc) {
        return wrong_usage("a command is missing");
    }
    if (http_init(&ctl.http, url != NULL ? url : "http://127.0.0.1:8080") < 0) {
        return wrong_usage("the address must be like http://HOST:PORT");
    }
    if (token != NULL) {
        if (strlen(token) >= sizeof ctl.http.token || strpbrk(token, "\r\n") != NULL) {
            return wrong_usage("the token is too long or not one line");
        }
        memcpy(ctl.http.token, token, strlen(token) + 1);
    }
    ctl.arguments = argv + optind + 1;
    ctl.argument_count = argc - optind - 1;
    int result = run(&ctl, argv[optind]);
    http_fini(&ctl.http);
    return result;
}
