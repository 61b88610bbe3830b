/*
 * Writes docs/configuration.md from the option table, which also makes --help; a test compares.
 *
 *     build/release/bin/config_reference > docs/configuration.md
 */
#include <stdio.h>

#include "hub/config.h"
#include "hub/config_options.h"
#include "hub/config_value.h"

static const char intro[] = "# Configuration\n"
                            "\n"
                            "Every option of `spate`, made from the table that makes `spate "
                            "--help`. How to run the hub is in\n"
                            "[operations.md](operations.md).\n"
                            "\n"
                            "An option can be given in three places: as a flag (`--drain-seconds "
                            "5` or `--drain-seconds=5`), "
                            "as a variable\n"
                            "(`SPATE_DRAIN_SECONDS=5`), and as a key of the YAML file that "
                            "`--config` names (`drain_seconds: "
                            "5`). Flags take precedence over\n"
                            "variables, variables over the file, the file over the default. A list "
                            "that is given in one place "
                            "replaces those of the\n"
                            "places below it; in a variable its items are separated by commas. "
                            "Anything unknown, given twice, "
                            "of the wrong kind or out\n"
                            "of range is an error, and the hub does not start.\n"
                            "\n"
                            "Bytes may be written as `64KiB`, `1MiB` or `1GiB`; times as `250ms`, "
                            "`30s`, `5m`, `1h` or `1d`.\n"
                            "\n"
                            "*Reload* says what SIGHUP does: *at once* means that the new value "
                            "holds from then on; *no*, that "
                            "the hub logs the\n"
                            "change and keeps to the old value until it is started anew.\n"
                            "\n"
                            "Publish tokens are no option, since command lines are public: "
                            "`AUTH_TOKEN` holds one, the file of "
                            "`--publish-token-file`\n"
                            "several.\n";

/* What Markdown would take for its own. */
static void print_plain(struct buffer *text, const char *words)
{
    for (const char *c = words; *c != '\0'; c++) {
        if (strchr("*<|[]`_", *c) != NULL) {
            buffer_append_string(text, "\\");
        }
        buffer_append(text, c, 1);
    }
}

static void print_range(struct buffer *text, const struct config_option *option)
{
    if (option->kind == CONFIG_KIND_CHOICE) {
        buffer_append_string(text, "- one of");
        for (size_t i = 0; option->words[i] != NULL; i++) {
            buffer_printf(text, "%s `%s`", i == 0 ? "" : ",", option->words[i]);
        }
        buffer_append_string(text, "\n");
    } else if (option->kind < CONFIG_KIND_CHOICE) {
        buffer_append_string(text, "- range: ");
        config_number_print(option, option->min, text);
        buffer_append_string(text, " to ");
        config_number_print(option, option->max, text);
        buffer_append_string(text, (option->flags & CONFIG_POWER_OF_TWO) != 0 ? ", a power of two\n"
                                                                              : "\n");
    } else if (option->kind != CONFIG_KIND_TEXT) {
        buffer_append_string(text, option->kind == CONFIG_KIND_MAP
                                       ? "- repeatable; in the file a mapping\n"
                                       : "- repeatable; in the file a sequence\n");
    }
}

static void print_option(struct buffer *text, const struct config_option *option)
{
    char name[CONFIG_NAME_BYTES_MAX];
    if (option->group != NULL) {
        buffer_printf(text, "\n## %s\n", option->group);
    }
    config_option_spell_flag(option, name);
    buffer_printf(text, "\n### `%s%s%s`\n\n", name, option->value_name == NULL ? "" : " ",
                  option->value_name == NULL ? "" : option->value_name);
    print_plain(text, option->help);
    buffer_append_string(text, ".\n");
    if (option->kind == CONFIG_KIND_COMMAND) {
        return;
    }
    config_option_spell_variable(option, name);
    buffer_printf(text, "\n- variable: `%s`\n", name);
    config_option_spell_key(option, name);
    if (name[0] != '\0') {
        buffer_printf(text, "- key: `%s`\n", name);
    }
    print_range(text, option);
    buffer_printf(text, option->initial[0] == '\0' ? "- default: none\n" : "- default: `%s`\n",
                  option->initial);
    buffer_printf(text, "- reload: %s\n", (option->flags & CONFIG_RELOADS) != 0 ? "at once" : "no");
}

int main(void)
{
    char *argv[] = {"spate", NULL};
    char *envp[] = {NULL};
    struct config config;
    struct buffer text;
    uint32_t count;
    const struct config_option *options = config_options(&count);
    buffer_init(&text, 1024 * 1024);
    CHECK(config_load(&config, 1, argv, envp, &text) == CONFIG_OK);
    buffer_append_string(&text, intro);
    for (uint32_t i = 0; i < count; i++) {
        print_option(&text, &options[i]);
    }
    buffer_append_string(&text, "\n## A file of all defaults\n\n"
                                "`spate --check-config` prints such a file of what would run.\n\n"
                                "```yaml\n");
    config_print(&config, &text);
    buffer_append_string(&text, "```\n");
    config_fini(&config);
    CHECK(!text.failed);
    fwrite(text.bytes, 1, text.len, stdout);
    buffer_fini(&text);
    return 0;
}
