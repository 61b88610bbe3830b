/* spatectl: publish, follow and look at a hub from the command line. */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "tools/ctl/command.h"

#define URL_DEFAULT "http://127.0.0.1:8080"

enum { CODE_HELP = 1000, CODE_VERSION, CODE_OPTION = 2000 };

enum { OPTIONS_MAX = 64 };

static int wrong_usage(const char *what, const char *why)
{
    fprintf(stderr, "spatectl: %s%s%s; see spatectl --help\n", what, what[0] != '\0' ? ": " : "",
            why);
    return CTL_USAGE;
}

static int wrong_value(const struct ctl_option *option, const char *value)
{
    if (option->kind == CTL_KIND_NUMBER) {
        fprintf(stderr, "spatectl: --%s %s: must be a number from %" PRIu64 " to %" PRIu64 "\n",
                option->name, value, option->min, option->max);
    } else {
        fprintf(stderr, "spatectl: --%s: the value may not contain line breaks\n", option->name);
    }
    return CTL_USAGE;
}

static void fill_options(struct option *long_options)
{
    size_t count;
    const struct ctl_option *options = ctl_options(&count);
    CHECK(count + 3 <= OPTIONS_MAX);
    for (size_t i = 0; i < count; i++) {
        long_options[i] = (struct option){
            .name = options[i].name,
            .has_arg = options[i].value_name != NULL ? required_argument : no_argument,
            .val = CODE_OPTION + (int)i,
        };
    }
    long_options[count] = (struct option){.name = "help", .val = CODE_HELP};
    long_options[count + 1] = (struct option){.name = "version", .val = CODE_VERSION};
    long_options[count + 2] = (struct option){0};
}

/* Reads options wherever they stand, and moves the arguments behind them. CTL_OK to go on. */
static int read_options(struct ctl *ctl, int argc, char **argv, bool given[OPTIONS_MAX],
                        bool *ret_help)
{
    size_t count;
    const struct ctl_option *options = ctl_options(&count);
    struct option long_options[OPTIONS_MAX];
    fill_options(long_options);
    int code;
    opterr = 0;
    while ((code = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (code == CODE_HELP) {
            *ret_help = true;
        } else if (code == CODE_VERSION) {
            puts("spatectl " SPATE_VERSION);
            exit(ctl_flush() ? CTL_OK : CTL_FAILED);
        } else if (code == '?') {
            return wrong_usage(argv[optind - 1], "unknown option, or its value is missing");
        } else {
            const struct ctl_option *option = &options[code - CODE_OPTION];
            if (!ctl_option_set(ctl, option, optarg)) {
                return wrong_value(option, optarg);
            }
            given[code - CODE_OPTION] = true;
        }
    }
    return CTL_OK;
}

/* The command with its arguments, and whether they go together. */
static int read_command(struct ctl *ctl, int argc, char **argv, const bool given[OPTIONS_MAX])
{
    size_t count;
    const struct ctl_option *options = ctl_options(&count);
    ctl->command = ctl_command_find(argv[optind]);
    if (ctl->command == NULL) {
        return wrong_usage(argv[optind], "no such command");
    }
    for (size_t i = 0; i < count; i++) {
        if (given[i] && !ctl_command_knows(ctl->command, &options[i])) {
            return wrong_usage(options[i].name, "this command has no such option");
        }
    }
    ctl->arguments = argv + optind + 1;
    ctl->argument_count = argc - optind - 1;
    if (ctl->argument_count < ctl->command->arguments_min ||
        ctl->argument_count > ctl->command->arguments_max) {
        fprintf(stderr, "spatectl: usage: spatectl %s %s; see spatectl help %s\n",
                ctl->command->name, ctl->command->arguments, ctl->command->name);
        return CTL_USAGE;
    }
    return CTL_OK;
}

/* The token of the environment is for the hub, not for any stream that is followed by its URL. */
static void take_environment(struct ctl *ctl)
{
    const bool is_elsewhere = ctl->argument_count > 0 && ctl->command->run == ctl_sub &&
                              strstr(ctl->arguments[0], "://") != NULL;
    const char *const variables[] = {"SPATE_TOKEN", "AUTH_TOKEN"};
    for (size_t i = 0; ctl->token == NULL && !is_elsewhere && i < countof(variables); i++) {
        ctl->token = getenv(variables[i]);
    }
    if (ctl->url == NULL) {
        ctl->url = getenv("SPATE_URL");
    }
}

int ctl_help(struct ctl *ctl)
{
    const struct ctl_command *command = NULL;
    if (ctl->argument_count > 0 && (command = ctl_command_find(ctl->arguments[0])) == NULL) {
        return wrong_usage(ctl->arguments[0], "no such command");
    }
    ctl_help_print(command, stdout);
    return ctl_flush() ? CTL_OK : CTL_FAILED;
}

int main(int argc, char **argv)
{
    static struct ctl ctl = {.interval_ms = 1000,
                             .idle_seconds = 45,
                             .retries = CTL_UNSET,
                             .seed = CTL_UNSET,
                             .rows = 5};
    bool given[OPTIONS_MAX] = {false};
    bool wants_help = false;
    uint64_t seed = 0;
    signal(SIGPIPE, SIG_IGN); /* a lost stdout is told by its writes */
    if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
        abort();
    }
    random_init(&ctl.random, seed);
    int result = read_options(&ctl, argc, argv, given, &wants_help);
    if (result != CTL_OK) {
        return result;
    }
    if (wants_help) {
        ctl_help_print(optind < argc ? ctl_command_find(argv[optind]) : NULL, stdout);
        return ctl_flush() ? CTL_OK : CTL_FAILED;
    }
    if (optind == argc) {
        return wrong_usage("", "a command is missing");
    }
    result = read_command(&ctl, argc, argv, given);
    if (result != CTL_OK) {
        return result;
    }
    take_environment(&ctl);
    if (ctl.token != NULL && strpbrk(ctl.token, "\r\n") != NULL) {
        return wrong_usage("token", "not one line");
    }
    if (!http_init(&ctl.http, ctl.url != NULL ? ctl.url : URL_DEFAULT)) {
        return wrong_usage(ctl.url, "not an address such as " URL_DEFAULT " or unix:/PATH");
    }
    ctl.http.token = ctl.token;
    ctl.http.ca_file = ctl.ca_file;
    ctl.http.is_insecure = ctl.is_insecure;
    result = ctl.command->run(&ctl);
    http_fini(&ctl.http);
    return result;
}
