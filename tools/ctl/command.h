/*
 * The tables of commands and options. Parsing, --help, the manual page and shell completion follow
 * from them: a new command is one line in the table and its function, a new option one line, one
 * field in struct ctl, and its place in the lists of the commands that know it.
 *
 * The tables are constant.
 */
#ifndef SPATE_CTL_COMMAND_H
#define SPATE_CTL_COMMAND_H

#include <stdio.h>

#include "tools/ctl/ctl.h"

#ifdef __cplusplus
extern "C" {
#endif

enum ctl_kind {
    CTL_KIND_FLAG,
    CTL_KIND_TEXT,   /* one line */
    CTL_KIND_NUMBER, /* within min and max */
    CTL_KIND_FILE,   /* a text that names a file */
};

struct ctl_option {
    const char *name;
    const char *value_name; /* what --help shows after it; NULL: a flag */
    const char *help;
    enum ctl_kind kind;
    size_t offset; /* into struct ctl */
    uint64_t min, max;
};

enum { CTL_COMMAND_OPTIONS_MAX = 12 };

struct ctl_command {
    const char *name;
    const char *arguments; /* as --help shows them */
    int arguments_min, arguments_max;
    const char *help;
    int (*run)(struct ctl *ctl);
    const char *words; /* what the first argument may be, with spaces between; NULL: anything */
    const char *list;  /* the command that lists what an argument may be, or NULL */
    const char *options[CTL_COMMAND_OPTIONS_MAX]; /* beyond the common ones; ends with NULL */
};

const struct ctl_command *ctl_commands(size_t *ret_count);
const struct ctl_option *ctl_options(size_t *ret_count);
const struct ctl_command *ctl_command_find(const char *name);
/* Whether the command knows the option; those of every command included. */
bool ctl_command_knows(const struct ctl_command *command, const struct ctl_option *option);
/* Whether every command knows it. */
bool ctl_option_is_common(const struct ctl_option *option);

/* Sets the option's field. False if the value is not one. */
bool ctl_option_set(struct ctl *ctl, const struct ctl_option *option, const char *value);

/* Prints the help of one command, or with NULL of all. */
void ctl_help_print(const struct ctl_command *command, FILE *out);

#ifdef __cplusplus
}
#endif
#endif
