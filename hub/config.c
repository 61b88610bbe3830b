#include "hub/config.h"

#include "core/base/memory.h"
#include "hub/config_file.h"
#include "hub/config_options.h"
#include "hub/config_value.h"

static const char token_variable[] = "AUTH_TOKEN";

/* What one call of config_load or config_reload works on. */
struct loading {
    struct config *config;
    struct buffer *message;
    const struct config_option *command; /* --help and the like; the first one given */
    bool bad;
};

/* Sets or, where a higher place has spoken, only checks. `where` is the spelling used there. */
static void value_give(struct loading *loading, const struct config_option *option,
                       enum config_source source, const char *where, struct span text)
{
    struct config_origin origin = {.source = source};
    bool decides = config_value_open(loading->config, option, origin);
    struct config *config = decides ? loading->config : NULL;
    struct buffer wrong;
    buffer_init(&wrong, 1024);
    bool is_list = option->kind == CONFIG_KIND_LIST || option->kind == CONFIG_KIND_MAP;
    bool good = is_list && source != CONFIG_SOURCE_FLAG
                    ? config_value_set_items(config, option, text, &wrong)
                    : config_value_set(config, option, text, &wrong);
    if (!good) {
        loading->bad = true;
        buffer_printf(loading->message, "%s: ", where);
        buffer_append_span(loading->message, buffer_span(&wrong));
        buffer_append_string(loading->message, "\n");
    }
    buffer_fini(&wrong);
}

static void problem(struct loading *loading, const char *where, const char *wrong)
{
    loading->bad = true;
    buffer_printf(loading->message, "%s: %s\n", where, wrong);
}

static void defaults_set(struct loading *loading)
{
    uint32_t count;
    const struct config_option *options = config_options(&count);
    for (uint32_t i = 0; i < count; i++) {
        if (options[i].kind != CONFIG_KIND_COMMAND) {
            value_give(loading, &options[i], CONFIG_SOURCE_DEFAULT, options[i].name,
                       span_of(options[i].initial));
        }
    }
}

/* The option that a flag without its value names; NULL after a problem line. */
static const struct config_option *flag_find(struct loading *loading, struct span flag)
{
    uint32_t count;
    const struct config_option *options = config_options(&count);
    for (uint32_t i = 0; i < count; i++) {
        char name[CONFIG_NAME_BYTES_MAX];
        config_option_spell_flag(&options[i], name);
        if (span_is(flag, name) || (span_is(flag, "-h") && span_is(span_of(name), "--help"))) {
            return &options[i];
        }
    }
    loading->bad = true;
    buffer_append_span(loading->message, flag);
    if (flag.len > 1 && flag.bytes[0] == '-') {
        buffer_append_string(loading->message, ": unknown option");
        size_t len = loading->message->len;
        config_option_suggest(flag, config_option_spell_flag, loading->message);
        if (loading->message->len == len) {
            buffer_append_string(loading->message, "; see spate --help");
        }
    } else {
        buffer_append_string(loading->message, ": unexpected argument; options begin with --");
    }
    buffer_append_string(loading->message, "\n");
    return NULL;
}

/* Reads one flag and returns the number of arguments it took. */
static int flag_read(struct loading *loading, int left, char **arguments)
{
    const char *argument = arguments[0];
    const char *equals = argument[0] == '-' ? strchr(argument, '=') : NULL;
    struct span flag =
        equals == NULL ? span_of(argument) : span_make(argument, (size_t)(equals - argument));
    const struct config_option *option = flag_find(loading, flag);
    if (option == NULL) {
        return 1;
    }
    char name[CONFIG_NAME_BYTES_MAX];
    config_option_spell_flag(option, name);
    if (option->kind == CONFIG_KIND_COMMAND) {
        if (equals != NULL) {
            problem(loading, name, "takes no value");
        }
        loading->command = loading->command == NULL ? option : loading->command;
        return 1;
    }
    bool is_list = option->kind == CONFIG_KIND_LIST || option->kind == CONFIG_KIND_MAP;
    uint32_t index = config_option_index(option);
    if (!is_list && loading->config->origins[index].source == CONFIG_SOURCE_FLAG) {
        problem(loading, name, "is given twice");
    }
    if (equals != NULL) {
        value_give(loading, option, CONFIG_SOURCE_FLAG, name, span_of(equals + 1));
        return 1;
    }
    if ((option->flags & CONFIG_SWITCH) != 0) {
        value_give(loading, option, CONFIG_SOURCE_FLAG, name, span_of("on"));
        return 1;
    }
    if (left < 2) {
        problem(loading, name, "needs a value");
        return 1;
    }
    value_give(loading, option, CONFIG_SOURCE_FLAG, name, span_of(arguments[1]));
    return 2;
}

static void flags_read(struct loading *loading, int argc, char **argv)
{
    for (int i = 1; i < argc;) {
        i += flag_read(loading, argc - i, argv + i);
    }
}

static bool span_contains(struct span text, const char *part)
{
    return memmem(text.bytes, text.len, part, strlen(part)) != NULL;
}

/*
 * Kubernetes puts variables such as SPATE_SERVICE_HOST and SPATE_PORT=tcp://... into every
 * container beside a service called "spate". They are not ours, and no reason not to start.
 */
static bool variable_is_of_a_service(struct span name, const char *value)
{
    return span_contains(name, "_SERVICE_HOST") || span_contains(name, "_SERVICE_PORT") ||
           span_contains(name, "_PORT_") || strncmp(value, "tcp://", 6) == 0 ||
           strncmp(value, "udp://", 6) == 0;
}

/* What spatectl reads may be set for the whole machine. */
static bool variable_is_of_a_tool(struct span name)
{
    return span_is(name, "SPATE_URL") || span_is(name, "SPATE_TOKEN");
}

static void variable_read(struct loading *loading, struct span name, const char *value)
{
    uint32_t count;
    const struct config_option *options = config_options(&count);
    for (uint32_t i = 0; i < count; i++) {
        char spelling[CONFIG_NAME_BYTES_MAX];
        config_option_spell_variable(&options[i], spelling);
        if (spelling[0] != '\0' && span_is(name, spelling)) {
            value_give(loading, &options[i], CONFIG_SOURCE_VARIABLE, spelling, span_of(value));
            return;
        }
    }
    if (!variable_is_of_a_service(name, value) && !variable_is_of_a_tool(name)) {
        loading->bad = true;
        buffer_append_span(loading->message, name);
        buffer_append_string(loading->message, ": unknown variable");
        config_option_suggest(name, config_option_spell_variable, loading->message);
        buffer_append_string(loading->message, "\n");
    }
}

/* Returns the value of AUTH_TOKEN, or NULL. */
static const char *variables_read(struct loading *loading, char **envp)
{
    const char *token = NULL;
    for (char **entry = envp; entry != NULL && *entry != NULL; entry++) {
        const char *equals = strchr(*entry, '=');
        if (equals == NULL) {
            continue;
        }
        struct span name = span_make(*entry, (size_t)(equals - *entry));
        if (span_is(name, token_variable)) {
            token = equals + 1;
        } else if (name.len > 6 && memcmp(name.bytes, "SPATE_", 6) == 0) {
            variable_read(loading, name, equals + 1);
        }
    }
    return token;
}

/* A text whose setting failed is NULL; the load then fails after it has looked at everything else.
 */
static bool is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static enum config_source source_of(const struct config *config, const char *name)
{
    const struct config_option *option = config_option_find(span_of(name));
    CHECK(option != NULL);
    return config->origins[config_option_index(option)].source;
}

/* The token file is an option like others; AUTH_TOKEN stands beside it as a variable. */
static void tokens_load(struct loading *loading, const char *token)
{
    struct config *config = loading->config;
    enum config_source file_source = source_of(config, "publish_token_file");
    bool has_file = is_given(config->publish_token_file);
    if (token != NULL && has_file && file_source == CONFIG_SOURCE_VARIABLE) {
        problem(loading, token_variable, "is set beside SPATE_PUBLISH_TOKEN_FILE; keep one");
        return;
    }
    if (has_file && (token == NULL || file_source == CONFIG_SOURCE_FLAG)) {
        if (!config_file_load_tokens(config, config->publish_token_file, loading->message)) {
            loading->bad = true;
        }
    } else if (token != NULL) {
        config->token_from_variable = true;
        if (token[0] == '\0') {
            problem(
                loading, token_variable,
                "is set but empty; unset it for protected mode (publishing from loopback only)");
        } else if (!config_tokens_parse(config, span_of(token), token_variable, loading->message)) {
            loading->bad = true;
        }
    }
}

static void aliases_derive(struct loading *loading)
{
    struct config *config = loading->config;
    config->aliases = memory_calloc((size_t)config->alias.count + 1, sizeof(config->aliases[0]));
    if (config->aliases == NULL) {
        problem(loading, "alias", "no memory");
        return;
    }
    for (uint32_t i = 0; i < config->alias.count; i++) {
        const char *item = config->alias.items[i];
        const char *equals = strchr(item, '=');
        CHECK(equals != NULL);
        struct config_alias alias = {.path = span_make(item, (size_t)(equals - item)),
                                     .channel = span_of(equals + 1)};
        for (uint32_t j = 0; j < i; j++) {
            if (span_equal(config->aliases[j].path, alias.path)) {
                problem(loading, "alias", "gives one path to two channels");
            }
        }
        config->aliases[config->alias_count++] = alias;
    }
}

static void cpus_derive(struct loading *loading)
{
    struct config *config = loading->config;
    config->cpu_list = memory_calloc(CONFIG_CPU_COUNT_MAX, sizeof(config->cpu_list[0]));
    if (config->cpu_list == NULL) {
        problem(loading, "cpus", "no memory");
        return;
    }
    const char *wrong = config_cpus_parse(config->cpus, config->cpu_list, &config->cpu_count);
    CHECK(wrong == NULL); /* the table checked it */
}

static void tls_check(struct loading *loading)
{
    const struct config *config = loading->config;
    bool wanted = false;
    for (uint32_t i = 0; i < config->listen.count; i++) {
        wanted |= config_listen_is_tls(config->listen.items[i]);
    }
    if (config->tls_self_signed != 0 && is_given(config->tls_certificate)) {
        problem(loading, "tls_self_signed", "is set beside tls_certificate; keep one");
    } else if (wanted && config->tls_self_signed == 0 && !is_given(config->tls_certificate)) {
        problem(loading, "listen",
                "a tls: address needs tls_certificate, or for development tls_self_signed");
    }
    if (is_given(config->tls_key) && !is_given(config->tls_certificate)) {
        problem(loading, "tls_key", "needs tls_certificate");
    }
}

/* Relations between options, looked at once all of them are legal by themselves. */
static void relations_check(struct loading *loading)
{
    struct config *config = loading->config;
    uint32_t count;
    const struct config_option *options = config_options(&count);
    for (uint32_t i = 0; i < count; i++) {
        const struct config_list *list = (const void *)((const char *)config + options[i].offset);
        if ((options[i].flags & CONFIG_NOT_EMPTY) != 0 && list->count == 0) {
            problem(loading, options[i].name, "needs at least one value");
        }
    }
    if (config->history_bytes > config->history_total_bytes) {
        problem(loading, "history_bytes", "must not be above history_total_bytes");
    }
    tls_check(loading);
    config->publish_from_any_origin = false;
    for (uint32_t i = 0; i < config->cors_origin.count; i++) {
        if (strcmp(config->cors_origin.items[i], "*") == 0) {
            config->publish_from_any_origin =
                source_of(config, "cors_origin") != CONFIG_SOURCE_DEFAULT;
        }
    }
}

/* Everything but the answer to commands; the config is complete unless `bad` is set. */
static void load_all(struct loading *loading, int argc, char **argv, char **envp)
{
    struct config *config = loading->config;
    *config = (struct config){.argc = argc, .argv = argv, .envp = envp};
    defaults_set(loading);
    if (loading->bad) {
        return; /* no memory: the table itself is right, as the tests show */
    }
    flags_read(loading, argc, argv);
    const char *token = variables_read(loading, envp);
    if (loading->command != NULL && strcmp(loading->command->name, "check_config") != 0) {
        return;
    }
    if (is_given(config->config_path) &&
        !config_file_load(config, config->config_path, loading->message)) {
        loading->bad = true;
    }
    tokens_load(loading, token);
    if (!loading->bad) {
        relations_check(loading);
        aliases_derive(loading);
        cpus_derive(loading);
    }
}

enum config_outcome config_load(struct config *config, int argc, char **argv, char **envp,
                                struct buffer *message)
{
    struct loading loading = {.config = config, .message = message};
    load_all(&loading, argc, argv, envp);
    const char *command = loading.command == NULL ? "" : loading.command->name;
    enum config_outcome outcome = CONFIG_EXIT_OK;
    if (strcmp(command, "help") == 0) {
        message->len = 0;
        config_help_print(message);
    } else if (strcmp(command, "version") == 0) {
        message->len = 0;
        buffer_append_string(message, "spate " SPATE_VERSION "\n");
    } else if (loading.bad) {
        outcome = CONFIG_BAD;
    } else if (strcmp(command, "check_config") == 0) {
        config_print(config, message);
    } else {
        return CONFIG_OK;
    }
    config_fini(config);
    return outcome;
}

static bool tokens_equal(const struct config *a, const struct config *b)
{
    bool equal = a->tokens.count == b->tokens.count;
    for (uint32_t i = 0; equal && i < a->tokens.count; i++) {
        equal = strcmp(a->tokens.items[i], b->tokens.items[i]) == 0;
    }
    return equal;
}

static void change_print(struct buffer *message, const char *what, const struct config *from,
                         const struct config *to, const struct config_option *option)
{
    buffer_printf(message, "%s: %s: ", what, option->name);
    config_value_print(from, option, message);
    buffer_append_string(message, " -> ");
    config_value_print(to, option, message);
    buffer_append_string(message, "\n");
}

enum config_outcome config_reload(const struct config *config, struct config *ret_config,
                                  struct buffer *message)
{
    struct loading loading = {.config = ret_config, .message = message};
    load_all(&loading, config->argc, config->argv, config->envp);
    uint32_t count;
    const struct config_option *options = config_options(&count);
    for (uint32_t i = 0; !loading.bad && i < count; i++) {
        if (options[i].kind == CONFIG_KIND_COMMAND ||
            config_value_equal(config, ret_config, &options[i])) {
            continue;
        }
        if ((options[i].flags & CONFIG_RELOADS) != 0) {
            change_print(message, "changed", config, ret_config, &options[i]);
            continue;
        }
        change_print(message, "waits for a restart", config, ret_config, &options[i]);
        if (!config_value_copy(ret_config, config, &options[i])) {
            problem(&loading, options[i].name, "no memory");
        }
        ret_config->origins[i] = config->origins[i];
    }
    if (!loading.bad && !tokens_equal(config, ret_config)) {
        buffer_printf(message, "changed: publish tokens: %u -> %u\n", config->tokens.count,
                      ret_config->tokens.count);
    }
    if (loading.bad) {
        config_fini(ret_config);
        return CONFIG_BAD;
    }
    return CONFIG_OK;
}

void config_fini(struct config *config)
{
    uint32_t count;
    const struct config_option *options = config_options(&count);
    for (uint32_t i = 0; i < count; i++) {
        if (options[i].kind != CONFIG_KIND_COMMAND) {
            config_value_clear(config, &options[i]);
        }
    }
    for (uint32_t i = 0; i < config->tokens.count; i++) {
        explicit_bzero(config->tokens.items[i], strlen(config->tokens.items[i]));
    }
    config_list_fini(&config->tokens);
    memory_free(config->aliases);
    memory_free(config->cpu_list);
    *config = (struct config){0};
}

static void origin_print(const struct config *config, const struct config_option *option,
                         struct buffer *text)
{
    char name[CONFIG_NAME_BYTES_MAX];
    struct config_origin origin = config->origins[config_option_index(option)];
    switch (origin.source) {
    case CONFIG_SOURCE_DEFAULT:
        buffer_append_string(text, "default");
        break;
    case CONFIG_SOURCE_FILE:
        buffer_printf(text, "%s:%u", config->config_path, origin.line);
        break;
    case CONFIG_SOURCE_VARIABLE:
        config_option_spell_variable(option, name);
        buffer_append_string(text, name);
        break;
    case CONFIG_SOURCE_FLAG:
        config_option_spell_flag(option, name);
        buffer_append_string(text, name);
        break;
    }
}

static void tokens_print(const struct config *config, struct buffer *text)
{
    if (config->tokens.count == 0) {
        buffer_append_string(text, "# publish tokens: none (protected mode: publishing works from "
                                   "loopback only)\n");
    } else {
        buffer_printf(text, "# publish tokens: %u, from %s\n", config->tokens.count,
                      config->token_from_variable ? token_variable : config->publish_token_file);
    }
}

void config_print(const struct config *config, struct buffer *text)
{
    enum { ORIGIN_COLUMN = 44 };
    uint32_t count;
    const struct config_option *options = config_options(&count);
    for (uint32_t i = 0; i < count; i++) {
        if (options[i].kind == CONFIG_KIND_COMMAND) {
            continue;
        }
        if (options[i].group != NULL) {
            buffer_printf(text, "%s# %s\n", i == 0 ? "" : "\n", options[i].group);
        }
        size_t start = text->len;
        bool is_key = (options[i].flags & CONFIG_NOT_IN_FILE) == 0;
        buffer_printf(text, "%s%s: ", is_key ? "" : "# ", options[i].name);
        config_value_print(config, &options[i], text);
        size_t column = text->len - start;
        buffer_printf(text, "%*s # ", column < ORIGIN_COLUMN ? (int)(ORIGIN_COLUMN - column) : 0,
                      "");
        origin_print(config, &options[i], text);
        buffer_append_string(text, "\n");
        if (span_is(span_of(options[i].name), "publish_token_file")) {
            tokens_print(config, text);
        }
    }
}
