/*
 * One value of the configuration: read from text, checked against its option, compared, copied and
 * printed. What text means is decided here for all places alike; which place wins is hub/config.h.
 *
 * Functions that can fail return false after appending what is wrong, without prefix or newline, to
 * the problem buffer.
 */
#ifndef SPATE_HUB_CONFIG_VALUE_H
#define SPATE_HUB_CONFIG_VALUE_H

#include "core/base/buffer.h"
#include "hub/config.h"
#include "hub/config_options.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Makes way for a value from a place. True: the place decides, what a lower one said is cleared,
 * and values may be set. False: a higher place has spoken, and values are only to be checked.
 */
bool config_value_open(struct config *config, const struct config_option *option,
                       struct config_origin origin);

/* Sets the field from a text; appends to a list. With config NULL the text is only checked. */
bool config_value_set(struct config *config, const struct config_option *option, struct span text,
                      struct buffer *problem);
/* The same for the items of a list between commas; an empty text has none. */
bool config_value_set_items(struct config *config, const struct config_option *option,
                            struct span text, struct buffer *problem);

/* Frees what the field owns and zeroes it. */
void config_value_clear(struct config *config, const struct config_option *option);
/* Moves the field, leaving it empty in `from`. */
void config_value_move(struct config *to, struct config *from, const struct config_option *option);
bool config_value_copy(struct config *to, const struct config *from,
                       const struct config_option *option);
bool config_value_equal(const struct config *a, const struct config *b,
                        const struct config_option *option);
/* As YAML on one line. */
void config_value_print(const struct config *config, const struct config_option *option,
                        struct buffer *text);
/* A number as its kind is written best: 1MiB for bytes. */
void config_number_print(const struct config_option *option, uint64_t number, struct buffer *text);

/* Adds a copy. False: no memory, or the list is full. */
bool config_list_append(struct config_list *list, struct span item);
void config_list_fini(struct config_list *list);

/* Reads "0-3,8" into an array of CONFIG_CPU_COUNT_MAX; returns NULL, or what is wrong with it. */
const char *config_cpus_parse(const char *text, uint16_t *ret_cpus, uint32_t *ret_count);

/* Whether an item of `listen` begins with `tls:`, which net/listener.h does not know. */
enum { CONFIG_LISTEN_TLS_LEN = 4 };
bool config_listen_is_tls(const char *text);

/* The checks that the table names. */
const char *config_check_listen(const char *text);
const char *config_check_cpus(const char *text);
const char *config_check_origin(const char *text);
const char *config_check_alias(const char *text);
const char *config_check_history_rule(const char *text);
const char *config_check_lag_rule(const char *text);
const char *config_check_cloudevent_rule(const char *text);

/* Reads one item of `history_rule`. NULL, or what is wrong with it. */
struct config_history_rule;
const char *config_history_rule_parse(const char *text, struct config_history_rule *ret_rule);
const char *config_lag_rule_parse(const char *text, struct config_lag_rule *ret_rule);

/* The same for an item of `cloudevent_rule`. */
const char *config_cloudevent_rule_parse(const char *text, struct config_cloudevent_rule *ret_rule);

#ifdef __cplusplus
}
#endif

#endif
