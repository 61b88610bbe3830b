/*
 * The option table, and what follows from it without any value: the three spellings of a name, the
 * nearest name to a mistyped one, and --help.
 *
 * The table is constant and its texts are static. `offset` and `field_size` say where
 * hub/config_value.h keeps the value in struct config: numbers as uint32_t or uint64_t by the size
 * of the field, choices as the uint32_t index of the word, texts as owned strings and lists as
 * struct config_list.
 *
 * Threads: any.
 */
#ifndef SPATE_HUB_CONFIG_OPTIONS_H
#define SPATE_HUB_CONFIG_OPTIONS_H

#include "core/base/buffer.h"

#ifdef __cplusplus
extern "C" {
#endif

enum config_kind {
    CONFIG_KIND_COUNT,        /* a plain number */
    CONFIG_KIND_BYTES,        /* 65536, 64KiB, 1MiB, 1GiB */
    CONFIG_KIND_SECONDS,      /* 90, 90s, 2m, 1h, 1d */
    CONFIG_KIND_MILLISECONDS, /* 250, 250ms, 3s, 1m */
    CONFIG_KIND_CHOICE,       /* one of `words` */
    CONFIG_KIND_TEXT,
    CONFIG_KIND_LIST, /* repeatable flag; commas in a variable; a sequence or a scalar in the file
                       */
    CONFIG_KIND_MAP,  /* a list of key=value; a mapping in the file */
    CONFIG_KIND_COMMAND, /* a flag without a value that prints something instead of running */
};

enum {
    CONFIG_NOT_IN_FILE = 1 << 0,
    CONFIG_RELOADS = 1 << 1, /* SIGHUP may change it */
    CONFIG_POWER_OF_TWO = 1 << 2,
    CONFIG_NOT_EMPTY = 1 << 3, /* a list that needs an item */
    CONFIG_SWITCH = 1 << 4,    /* a choice of off and on: the flag alone means on */
};

struct config_option {
    const char *name;    /* as in the file: "drain_seconds" */
    const char *initial; /* the default, as text; the items of a list separated by commas */
    uint64_t min;
    uint64_t max;
    const char *const *words; /* CONFIG_KIND_CHOICE: ends with NULL */
    const char *value_name;   /* what --help shows after the flag: "SECONDS" */
    const char *group;        /* the heading in --help, where a group begins; else NULL */
    const char *help;         /* one line */
    /* Checks one item or text; returns NULL, or what is wrong with it. */
    const char *(*check)(const char *text);
    uint32_t offset;
    uint32_t field_size;
    enum config_kind kind;
    unsigned flags;
};

const struct config_option *config_options(uint32_t *ret_count);
/* By the name as in the file, or NULL. */
const struct config_option *config_option_find(struct span name);
uint32_t config_option_index(const struct config_option *option);

/* The spellings. `name` receives a terminated string; "" where the option cannot be given. */
enum { CONFIG_NAME_BYTES_MAX = 64 };
void config_option_spell_flag(const struct config_option *option, char *name);
void config_option_spell_variable(const struct config_option *option, char *name);
void config_option_spell_key(const struct config_option *option, char *name);

/* Appends "; did you mean X?" when a spelling is near to the unknown name, else nothing. */
void config_option_suggest(struct span name, void (*spell)(const struct config_option *, char *),
                           struct buffer *text);

void config_help_print(struct buffer *text);

#ifdef __cplusplus
}
#endif

#endif
