/* The configuration: which place wins, what each mistake is answered, and what a reload may change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/base/random.h"
#include "hub/config.h"
#include "hub/config_options.h"
#include "hub/log.h"
#include "net/io.h"

enum { ARGUMENT_COUNT_MAX = 16 };

struct fixture {
    struct config config;
    struct buffer message;
    char file[64];
    char token_file[64];
};

static void file_write(const char *path, const char *content)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fputs(content, file) >= 0, 1);
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture){.file = "/tmp/test_config_XXXXXX",
                               .token_file = "/tmp/test_config_token_XXXXXX"};
    buffer_init(&fixture.message, 1024 * 1024);
    int fd = mkstemp(fixture.file);
    int token_fd = mkstemp(fixture.token_file);
    *state = &fixture;
    return fd < 0 || token_fd < 0 || close(fd) < 0 || close(token_fd) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    config_fini(&fixture->config);
    buffer_fini(&fixture->message);
    unlink(fixture->file);
    unlink(fixture->token_file);
    return 0;
}

/* Loads with arguments and variables, each list ended by NULL. The message is terminated. */
static enum config_outcome load(struct fixture *fixture, char **arguments, char **variables)
{
    static char program[] = "spate";
    static char *argv[ARGUMENT_COUNT_MAX];
    int argc = 0;
    argv[argc++] = program;
    for (; arguments != NULL && arguments[argc - 1] != NULL; argc++) {
        argv[argc] = arguments[argc - 1];
    }
    argv[argc] = NULL;
    config_fini(&fixture->config);
    fixture->message.len = 0;
    enum config_outcome outcome =
        config_load(&fixture->config, argc, argv, variables, &fixture->message);
    buffer_append(&fixture->message, "", 1);
    assert_false(fixture->message.failed);
    return outcome;
}

#define ARGUMENTS(...) ((char *[]){__VA_ARGS__, NULL})
#define VARIABLES(...) ((char *[]){__VA_ARGS__, NULL})

static void assert_message(const struct fixture *fixture, const char *part)
{
    if (strstr(fixture->message.bytes, part) == NULL) {
        fail_msg("\"%s\" is not in the message: %s", part, fixture->message.bytes);
    }
}

static void assert_bad(struct fixture *fixture, char **arguments, char **variables,
                       const char *message)
{
    assert_int_equal(load(fixture, arguments, variables), CONFIG_BAD);
    assert_string_equal(fixture->message.bytes, message);
}

/* The file holds `content`; the whole message is "PATH:" and the rest. */
static void assert_bad_file(struct fixture *fixture, const char *content, const char *rest)
{
    char expected[512];
    file_write(fixture->file, content);
    snprintf(expected, sizeof(expected), "%s%s", fixture->file, rest);
    assert_bad(fixture, ARGUMENTS("--config", fixture->file), NULL, expected);
}

static void test_defaults(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(load(fixture, NULL, NULL), CONFIG_OK);
    const struct config *config = &fixture->config;
    assert_string_equal(fixture->message.bytes, "");
    assert_int_equal(config->listen.count, 1);
    assert_string_equal(config->listen.items[0], "127.0.0.1:8080");
    assert_int_equal(config->shards, 0);
    assert_int_equal(config->io, IO_KIND_AUTO);
    assert_int_equal(config->log_level, LOG_LEVEL_INFO);
    assert_int_equal(config->log_format, LOG_FORMAT_LOGFMT);
    assert_int_equal(config->head_bytes_max, 16384);
    assert_int_equal(config->body_bytes_max, 1048576);
    assert_int_equal(config->drain_seconds, 10);
    assert_int_equal(config->heartbeat_seconds, 15);
    assert_int_equal(config->retry_ms, 3000);
    assert_int_equal(config->history_total_bytes, 268435456);
    assert_int_equal(config->queue_length, 65536);
    assert_int_equal(config->log_level, LOG_LEVEL_INFO);
    assert_int_equal(config->tokens.count, 0);
    assert_int_equal(config->cpu_count, 0);
    assert_int_equal(config->cors_origin.count, 1);
    assert_false(config->publish_from_any_origin);
    assert_int_equal(config->alias_count, 4);
    assert_true(span_is(config->aliases[2].path, "/sensor-data-events"));
    assert_true(span_is(config->aliases[2].channel, "sensor-data"));
}

static void test_precedence(void **state)
{
    struct fixture *fixture = *state;
    file_write(fixture->file, "drain_seconds: 1\nheartbeat_seconds: 2\nretry_ms: 3s\n"
                              "listen: ['127.0.0.1:1', '127.0.0.1:2']\n");
    char config_variable[128];
    snprintf(config_variable, sizeof(config_variable), "SPATE_CONFIG=%s", fixture->file);
    assert_int_equal(
        load(fixture, ARGUMENTS("--drain-seconds=7", "--listen", "127.0.0.1:5"),
             VARIABLES(config_variable, "SPATE_DRAIN_SECONDS=8", "SPATE_HEARTBEAT_SECONDS=9",
                       "SPATE_LISTEN=127.0.0.1:3,127.0.0.1:4", "PATH=/bin")),
        CONFIG_OK);
    const struct config *config = &fixture->config;
    assert_int_equal(config->drain_seconds, 7);
    assert_int_equal(config->heartbeat_seconds, 9);
    assert_int_equal(config->retry_ms, 3000);
    assert_int_equal(config->keepalive_seconds, 75);
    assert_int_equal(config->listen.count, 1);
    assert_string_equal(config->listen.items[0], "127.0.0.1:5");

    assert_int_equal(
        load(fixture, NULL, VARIABLES(config_variable, "SPATE_LISTEN=127.0.0.1:3,127.0.0.1:4")),
        CONFIG_OK);
    assert_int_equal(config->listen.count, 2);
    assert_string_equal(config->listen.items[1], "127.0.0.1:4");

    assert_int_equal(load(fixture, NULL, VARIABLES(config_variable)), CONFIG_OK);
    assert_int_equal(config->listen.count, 2);
    assert_string_equal(config->listen.items[0], "127.0.0.1:1");
    uint32_t listen_index = config_option_index(config_option_find(span_of("listen")));
    assert_int_equal(config->origins[listen_index].source, CONFIG_SOURCE_FILE);
    assert_int_equal(config->origins[listen_index].line, 4);
}

/* What a lower place says must be right even where a higher one decides. */
static void test_overruled_values_are_checked(void **state)
{
    struct fixture *fixture = *state;
    assert_bad(fixture, ARGUMENTS("--drain-seconds=7"), VARIABLES("SPATE_DRAIN_SECONDS=x"),
               "SPATE_DRAIN_SECONDS: must be a number\n");
    assert_bad_file(fixture, "config: x\n", ":1: config: cannot be set in the file\n");
}

static void test_units(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(load(fixture,
                          ARGUMENTS("--body-bytes-max=64KiB", "--history-bytes", "3mib",
                                    "--head-bytes-max=2048B", "--retry-ms=250ms",
                                    "--drain-seconds=2m", "--history-seconds=1d",
                                    "--history-total-bytes=8GiB", "--keepalive-seconds=2000ms"),
                          NULL),
                     CONFIG_OK);
    const struct config *config = &fixture->config;
    assert_int_equal(config->body_bytes_max, 65536);
    assert_int_equal(config->history_bytes, 3145728);
    assert_int_equal(config->head_bytes_max, 2048);
    assert_int_equal(config->retry_ms, 250);
    assert_int_equal(config->drain_seconds, 120);
    assert_int_equal(config->history_seconds, 86400);
    assert_int_equal(config->history_total_bytes, 8589934592);
    assert_int_equal(config->keepalive_seconds, 2);
}

#define LAG_RULE_SHAPE                                                                             \
    "--lag-rule: must be NAME=skip/BYTES/AGE, NAME=disconnect/BYTES/AGE or NAME=catch-up, such "   \
    "as ticker.*=skip/256KiB/5s\n"
#define CLOUDEVENT_RULE_SHAPE                                                                      \
    "--cloudevent-rule: must be NAME=event or NAME=data, such as chat.*=data\n"
#define HISTORY_RULE_SHAPE                                                                         \
    "--history-rule: must be NAME=EVENTS/BYTES/AGE, such as chat.*=100/1MiB/1h\n"

static void test_bad_rules(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *argument;
        const char *message;
    } cases[] = {
        {"--history-rule=chat.*", HISTORY_RULE_SHAPE},
        {"--history-rule==1/1/1", HISTORY_RULE_SHAPE},
        {"--history-rule=a=1/1MiB", HISTORY_RULE_SHAPE},
        {"--history-rule=a=1/1MiB/1/1", HISTORY_RULE_SHAPE},
        {"--history-rule=a=-1/1/1",
         "--history-rule: has a number of events that cannot be read or is out of range\n"},
        {"--history-rule=a=1/1XB/1",
         "--history-rule: has a number of bytes that cannot be read or is out of range\n"},
        {"--history-rule=a=1/1/1x",
         "--history-rule: has an age that cannot be read or is out of range\n"},
        {"--cloudevent-rule=chat.*", CLOUDEVENT_RULE_SHAPE},
        {"--cloudevent-rule==data", CLOUDEVENT_RULE_SHAPE},
        {"--cloudevent-rule=a=", CLOUDEVENT_RULE_SHAPE},
        {"--cloudevent-rule=a=both", CLOUDEVENT_RULE_SHAPE},
        {"--cloudevent-rule=a=data/1", CLOUDEVENT_RULE_SHAPE},
        {"--lag-rule=chat.*=skip", LAG_RULE_SHAPE},
        {"--lag-rule=chat.*=wait/1/1", LAG_RULE_SHAPE},
        {"--lag-rule=chat.*=catch-up/1/1", LAG_RULE_SHAPE},
        {"--lag-rule==skip/1/1", LAG_RULE_SHAPE},
        {"--lag-rule=a=skip/1MiB/-1",
         "--lag-rule: has an age that cannot be read or is out of range\n"},
        {"--lag-rule=a=skip/1XB/1",
         "--lag-rule: has a number of bytes that cannot be read or is out of range\n"},
        {"--lag-rule=a=disconnect/0/0",
         "--lag-rule: sets no limit: 0 is none, and at least one is needed\n"},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        assert_bad(fixture, ARGUMENTS((char *)(uintptr_t)cases[i].argument), NULL,
                   cases[i].message);
    }
}

static void test_bad_values(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *argument;
        const char *message;
    } cases[] = {
        {"--drain-seconds=", "--drain-seconds: must be a number\n"},
        {"--drain-seconds=-1", "--drain-seconds: must not be negative\n"},
        {"--drain-seconds=+1", "--drain-seconds: must be a number\n"},
        {"--drain-seconds= 1", "--drain-seconds: must be a number\n"},
        {"--drain-seconds=1 ", "--drain-seconds: has an unknown unit (ms, s, m, h, d)\n"},
        {"--drain-seconds=0x10", "--drain-seconds: has an unknown unit (ms, s, m, h, d)\n"},
        {"--drain-seconds=1500ms", "--drain-seconds: must be whole seconds\n"},
        {"--drain-seconds=3601", "--drain-seconds: must be from 0 to 3600\n"},
        {"--drain-seconds=99999999999999999999", "--drain-seconds: must be a number\n"},
        {"--drain-seconds=18446744073709551615d", "--drain-seconds: must be from 0 to 3600\n"},
        {"--body-bytes-max=1KB", "--body-bytes-max: has an unknown unit (B, KiB, MiB, GiB)\n"},
        {"--body-bytes-max=0", "--body-bytes-max: must be from 1 to 64MiB\n"},
        {"--shards=4k", "--shards: must be a plain number\n"},
        {"--queue-length=1000", "--queue-length: must be a power of two\n"},
        {"--queue-length=32", "--queue-length: must be from 64 to 16777216\n"},
        {"--io=uring", "--io: must be one of auto, io_uring, epoll\n"},
        {"--log-level=INFO", "--log-level: must be one of debug, info, warn, error\n"},
        {"--cpus=0-", "--cpus: must be CPU numbers such as 0-3,8\n"},
        {"--cpus=1,", "--cpus: must be CPU numbers such as 0-3,8\n"},
        {"--cpus=a", "--cpus: must be CPU numbers such as 0-3,8\n"},
        {"--cpus=3-1", "--cpus: has a range that ends before it begins, or a CPU above 1023\n"},
        {"--cpus=1024", "--cpus: has a range that ends before it begins, or a CPU above 1023\n"},
        {"--alias=x=y", "--alias: must be /PATH=CHANNEL\n"},
        {"--alias=/x", "--alias: must be /PATH=CHANNEL\n"},
        {"--alias=/x=", "--alias: needs a channel name of 1 to 255 bytes\n"},
        {"--alias=/x=$y", "--alias: names a channel that the hub keeps for itself\n"},
        {"--alias=/x=broadcast", "--alias: names a channel that the hub keeps for itself\n"},
        {"--alias=/x?=y", "--alias: has a character in its path that does not belong there\n"},
        {"--alias=/x=y\n", "--alias: has a control character in the channel name\n"},
        {"--alias=/x=\xff", "--alias: must be valid UTF-8\n"},
        {"--history-bytes=512MiB", "history_bytes: must not be above history_total_bytes\n"},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        assert_bad(fixture, ARGUMENTS((char *)(uintptr_t)cases[i].argument), NULL,
                   cases[i].message);
    }
    static const char *const origins[] = {
        "example.org",         "https://example.org/", "https://", "://example.org", "https://a b",
        "https://EXAMPLE.org", "https://x\r\nEvil:1",  ""};
    for (size_t i = 0; i < countof(origins); i++) {
        char argument[64];
        snprintf(argument, sizeof(argument), "--cors-origin=%s", origins[i]);
        assert_int_equal(load(fixture, ARGUMENTS(argument), NULL), CONFIG_BAD);
        assert_message(fixture, "--cors-origin: must be * or an origin such as");
    }
}

static void test_flags(void **state)
{
    struct fixture *fixture = *state;
    assert_bad(fixture, ARGUMENTS("--shard=4"), NULL,
               "--shard: unknown option; did you mean --shards?\n");
    assert_bad(fixture, ARGUMENTS("--drain-second", "4"), NULL,
               "--drain-second: unknown option; did you mean --drain-seconds?\n"
               "4: unexpected argument; options begin with --\n");
    assert_bad(fixture, ARGUMENTS("--zzzzzz"), NULL,
               "--zzzzzz: unknown option; see spate --help\n");
    assert_bad(fixture, ARGUMENTS("-x"), NULL, "-x: unknown option; see spate --help\n");
    assert_bad(fixture, ARGUMENTS("--"), NULL, "--: unknown option; see spate --help\n");
    assert_bad(fixture, ARGUMENTS(""), NULL, ": unexpected argument; options begin with --\n");
    assert_bad(fixture, ARGUMENTS("serve"), NULL,
               "serve: unexpected argument; options begin with --\n");
    assert_bad(fixture, ARGUMENTS("--shards"), NULL, "--shards: needs a value\n");
    assert_bad(fixture, ARGUMENTS("--shards=1", "--shards=2"), NULL, "--shards: is given twice\n");
    assert_bad(fixture, ARGUMENTS("--check-config=1"), NULL, "--check-config: takes no value\n");
    assert_bad(fixture, ARGUMENTS("--publish-token=x"), NULL,
               "--publish-token: unknown option; did you mean --publish-token-file?\n");
    /* Every problem is told, not only the first. */
    assert_bad(fixture, ARGUMENTS("--shards=x", "--io=y", "--lisen"), VARIABLES("SPATE_RETRY_MS=z"),
               "--shards: must be a number\n"
               "--io: must be one of auto, io_uring, epoll\n"
               "--lisen: unknown option; did you mean --listen?\n"
               "SPATE_RETRY_MS: must be a number\n");
    assert_int_equal(load(fixture, ARGUMENTS("--listen=nowhere"), NULL), CONFIG_BAD);
    assert_message(fixture, "--listen: ");
}

static void test_variables(void **state)
{
    struct fixture *fixture = *state;
    assert_bad(fixture, NULL, VARIABLES("SPATE_LISTN=127.0.0.1:1"),
               "SPATE_LISTN: unknown variable; did you mean SPATE_LISTEN?\n");
    assert_bad(fixture, NULL, VARIABLES("SPATE_ANYTHING=1"), "SPATE_ANYTHING: unknown variable\n");
    assert_bad(fixture, NULL, VARIABLES("SPATE_HELP=1"), "SPATE_HELP: unknown variable\n");
    assert_bad(fixture, NULL, VARIABLES("SPATE_SHARDS="), "SPATE_SHARDS: must be a number\n");
    assert_bad(fixture, NULL, VARIABLES("SPATE_LISTEN="), "listen: needs at least one value\n");
    /* A list may be emptied. */
    assert_int_equal(load(fixture, NULL, VARIABLES("SPATE_ALIAS=", "SPATE_CORS_ORIGIN=")),
                     CONFIG_OK);
    assert_int_equal(fixture->config.alias_count, 0);
    assert_int_equal(fixture->config.cors_origin.count, 0);
    /* What Kubernetes sets beside a service called "spate". */
    assert_int_equal(
        load(fixture, NULL,
             VARIABLES("SPATE_SERVICE_HOST=10.0.0.1", "SPATE_SERVICE_PORT=80",
                       "SPATE_PORT=tcp://10.0.0.1:80", "SPATE_PORT_80_TCP_ADDR=10.0.0.1")),
        CONFIG_OK);
    /* What spatectl reads. */
    assert_int_equal(load(fixture, NULL, VARIABLES("SPATE_URL=http://a", "SPATE_TOKEN=secret")),
                     CONFIG_OK);
}

static void test_file_mistakes(void **state)
{
    struct fixture *fixture = *state;
    assert_bad_file(fixture, "shards: 1\ndrain_secs: 5\n",
                    ":2: drain_secs: unknown key; did you mean drain_seconds?\n");
    assert_bad_file(fixture, "drain-seconds: 5\n",
                    ":1: drain-seconds: unknown key; did you mean drain_seconds?\n");
    assert_bad_file(fixture, "shards: 1\nio: auto\nshards: 2\n", ":3: shards: is given twice\n");
    assert_bad_file(fixture, "shards: [1]\n", ":1: shards: must be a single value here\n");
    assert_bad_file(fixture, "shards: {a: 1}\n", ":1: shards: must be a single value here\n");
    assert_bad_file(fixture, "shards:\n", ":1: shards: has no value\n");
    assert_bad_file(fixture, "shards: ~\n", ":1: shards: has no value\n");
    assert_bad_file(fixture, "\nshards: many\n", ":2: shards: must be a number\n");
    assert_bad_file(fixture, "cors_origin: {a: b}\n",
                    ":1: cors_origin: must be a value or a sequence of values\n");
    assert_bad_file(fixture, "cors_origin:\n  - '*'\n  - [x]\n",
                    ":3: cors_origin: must be a single value here\n");
    assert_bad_file(fixture, "alias: [x]\n", ":1: alias: must be a mapping\n");
    assert_bad_file(fixture, "alias:\n  /a: b\n  c: d\n", ":3: alias: c=d must be /PATH=CHANNEL\n");
    assert_bad_file(fixture, "alias:\n  /a: [b]\n",
                    ":2: alias: must map single values to single values\n");
    file_write(fixture->file, "alias:\n  /a: b\n  /a: c\n");
    assert_bad(fixture, ARGUMENTS("--config", fixture->file), NULL,
               "alias: gives one path to two channels\n");
    assert_bad_file(fixture, "- shards\n",
                    ":1: the file must be a mapping of option names to values\n");
    assert_bad_file(fixture, "[a]: b\n", ":1: a key must be the name of an option\n");
    assert_bad_file(fixture, "help: 1\n", ":1: help: unknown key\n");
    assert_bad_file(fixture, "shards: 1\n---\nshards: 2\n", ":3: only one document is read\n");
    assert_bad_file(fixture, "\"a\\nb\": 1\n", ":1: a\\u000ab: unknown key\n");
    /* The text is libyaml's; the line is what matters. */
    file_write(fixture->file, "shards: 1\nio: [auto\n");
    assert_int_equal(load(fixture, ARGUMENTS("--config", fixture->file), NULL), CONFIG_BAD);
    assert_message(fixture, ":3: ");
    assert_bad(fixture, ARGUMENTS("--config", "/nowhere/spate.yaml"), NULL,
               "/nowhere/spate.yaml: No such file or directory\n");
    assert_bad(fixture, ARGUMENTS("--config", "/"), NULL, "/: is a directory\n");
}

static void test_file_forms(void **state)
{
    struct fixture *fixture = *state;
    file_write(fixture->file, "# nothing but a comment\n");
    assert_int_equal(load(fixture, ARGUMENTS("--config", fixture->file), NULL), CONFIG_OK);
    file_write(fixture->file, "listen: 127.0.0.1:1\nshards: \"3\"\nalias:\n  /a=b: \"x=y\"\n"
                              "cors_origin: []\ncpus: 0-2,7\n");
    /* "/a=b" as a path is split at its first "=", which makes the channel "b=x=y". */
    assert_int_equal(load(fixture, ARGUMENTS("--config", fixture->file), NULL), CONFIG_OK);
    const struct config *config = &fixture->config;
    assert_string_equal(config->listen.items[0], "127.0.0.1:1");
    assert_int_equal(config->shards, 3);
    assert_int_equal(config->alias_count, 1);
    assert_true(span_is(config->aliases[0].path, "/a"));
    assert_int_equal(config->cors_origin.count, 0);
    assert_int_equal(config->cpu_count, 4);
    assert_int_equal(config->cpu_list[0], 0);
    assert_int_equal(config->cpu_list[3], 7);
}

static void test_tokens(void **state)
{
    struct fixture *fixture = *state;
    char token_variable[128];
    snprintf(token_variable, sizeof(token_variable), "SPATE_PUBLISH_TOKEN_FILE=%s",
             fixture->token_file);
    char **by_flag = ARGUMENTS("--publish-token-file", fixture->token_file);
    const struct config *config = &fixture->config;

    assert_int_equal(load(fixture, NULL, VARIABLES("AUTH_TOKEN=secret")), CONFIG_OK);
    assert_int_equal(config->tokens.count, 1);
    assert_string_equal(config->tokens.items[0], "secret");

    file_write(fixture->token_file, "old\r\nnew\n");
    assert_int_equal(load(fixture, by_flag, VARIABLES("AUTH_TOKEN=secret")), CONFIG_OK);
    assert_int_equal(config->tokens.count, 2);
    assert_string_equal(config->tokens.items[0], "old");
    assert_string_equal(config->tokens.items[1], "new");
    assert_int_equal(load(fixture, NULL, VARIABLES(token_variable)), CONFIG_OK);
    assert_int_equal(config->tokens.count, 2);

    assert_bad(fixture, NULL, VARIABLES(token_variable, "AUTH_TOKEN=secret"),
               "AUTH_TOKEN: is set beside SPATE_PUBLISH_TOKEN_FILE; keep one\n");
    assert_bad(fixture, NULL, VARIABLES("AUTH_TOKEN="),
               "AUTH_TOKEN: is set but empty; unset it for protected mode (publishing from "
               "loopback only)\n");
    assert_bad(fixture, NULL, VARIABLES("AUTH_TOKEN=two words"),
               "AUTH_TOKEN: the token in line 1 may hold visible ASCII characters only, and no "
               "spaces\n");
    file_write(fixture->token_file, "");
    assert_int_equal(load(fixture, by_flag, NULL), CONFIG_BAD);
    assert_message(fixture, ": the token in line 1 is empty\n");
    file_write(fixture->token_file, "one\n\ntwo\n");
    assert_int_equal(load(fixture, by_flag, NULL), CONFIG_BAD);
    assert_message(fixture, ": the token in line 2 is empty\n");
    file_write(fixture->token_file, "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n17\n");
    assert_int_equal(load(fixture, by_flag, NULL), CONFIG_BAD);
    assert_message(fixture, ": the token in line 17 is one too many");
    assert_bad(fixture, ARGUMENTS("--publish-token-file=/nowhere/token"), NULL,
               "/nowhere/token: No such file or directory\n");
}

static void test_origins(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(load(fixture,
                          ARGUMENTS("--cors-origin", "https://example.org:8443", "--cors-origin",
                                    "http://[::1]:3000"),
                          NULL),
                     CONFIG_OK);
    assert_int_equal(fixture->config.cors_origin.count, 2);
    assert_false(fixture->config.publish_from_any_origin);
    assert_int_equal(load(fixture, ARGUMENTS("--cors-origin=*"), NULL), CONFIG_OK);
    assert_true(fixture->config.publish_from_any_origin);
}

static void test_commands(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(load(fixture, ARGUMENTS("--version"), NULL), CONFIG_EXIT_OK);
    assert_string_equal(fixture->message.bytes, "spate " SPATE_VERSION "\n");
    /* Help is given even to those who need it. */
    assert_int_equal(load(fixture, ARGUMENTS("--hepl", "-h"), VARIABLES("AUTH_TOKEN=")),
                     CONFIG_EXIT_OK);
    assert_message(fixture, "Usage: spate");
    uint32_t count;
    const struct config_option *options = config_options(&count);
    for (uint32_t i = 0; i < count; i++) {
        char flag[CONFIG_NAME_BYTES_MAX];
        config_option_spell_flag(&options[i], flag);
        assert_message(fixture, flag);
    }
    for (const char *line = fixture->message.bytes; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        assert_true(len <= 100);
        line += len + 1;
    }
}

/* What --check-config prints is a file: loaded, it gives the same configuration. */
static void test_print_round_trip(void **state)
{
    struct fixture *fixture = *state;
    file_write(fixture->token_file, "topsecret\n");
    char **arguments =
        ARGUMENTS("--publish-token-file", fixture->token_file, "--check-config", "--shards=3",
                  "--alias=/a=b \"c\" # d", "--history-bytes=12345", "--log-level=debug");
    assert_int_equal(load(fixture, arguments, VARIABLES("SPATE_RETRY_MS=77")), CONFIG_EXIT_OK);
    assert_message(fixture, "# --shards\n");
    assert_message(fixture, "# SPATE_RETRY_MS\n");
    assert_message(fixture, "# publish tokens: 1, from ");
    assert_null(strstr(fixture->message.bytes, "topsecret"));

    char *printed = memory_copy(span_of(fixture->message.bytes));
    assert_non_null(printed);
    file_write(fixture->file, printed);
    assert_int_equal(load(fixture, ARGUMENTS("--config", fixture->file), NULL), CONFIG_OK);
    assert_int_equal(fixture->config.shards, 3);
    assert_int_equal(fixture->config.retry_ms, 77);
    assert_int_equal(fixture->config.history_bytes, 12345);
    assert_int_equal(fixture->config.log_level, LOG_LEVEL_DEBUG);
    assert_true(span_is(fixture->config.aliases[0].channel, "b \"c\" # d"));
    assert_int_equal(fixture->config.tokens.count, 1);

    struct buffer again;
    buffer_init(&again, 1024 * 1024);
    config_print(&fixture->config, &again);
    buffer_append(&again, "", 1);
    /* Up to the comment, every line is as it was. */
    const char *a = printed;
    const char *b = again.bytes;
    while (*a != '\0') {
        size_t len = strcspn(a, "#\n");
        assert_memory_equal(a, b, len);
        a += strcspn(a, "\n") + 1;
        b += strcspn(b, "\n") + 1;
    }
    assert_int_equal(*b, '\0');
    buffer_fini(&again);
    memory_free(printed);
}

static void test_reload(void **state)
{
    struct fixture *fixture = *state;
    file_write(fixture->token_file, "one\n");
    file_write(fixture->file, "drain_seconds: 5\nheartbeat_seconds: 6\nshards: 2\n");
    assert_int_equal(load(fixture,
                          ARGUMENTS("--config", fixture->file, "--publish-token-file",
                                    fixture->token_file, "--heartbeat-seconds=9"),
                          NULL),
                     CONFIG_OK);
    struct config next;
    fixture->message.len = 0;
    assert_int_equal(config_reload(&fixture->config, &next, &fixture->message), CONFIG_OK);
    assert_int_equal(fixture->message.len, 0);
    config_fini(&next);

    file_write(fixture->token_file, "one\ntwo\n");
    file_write(fixture->file, "drain_seconds: 50\nheartbeat_seconds: 60\nshards: 4\n");
    assert_int_equal(config_reload(&fixture->config, &next, &fixture->message), CONFIG_OK);
    buffer_append(&fixture->message, "", 1);
    assert_string_equal(fixture->message.bytes, "waits for a restart: shards: 2 -> 4\n"
                                                "changed: drain_seconds: 5 -> 50\n"
                                                "changed: publish tokens: 1 -> 2\n");
    assert_int_equal(next.drain_seconds, 50);
    assert_int_equal(next.heartbeat_seconds, 9);
    assert_int_equal(next.shards, 2);
    assert_int_equal(next.tokens.count, 2);
    assert_int_equal(fixture->config.drain_seconds, 5);
    config_fini(&next);

    fixture->message.len = 0;
    file_write(fixture->file, "drain_seconds: never\n");
    assert_int_equal(config_reload(&fixture->config, &next, &fixture->message), CONFIG_BAD);
    buffer_append(&fixture->message, "", 1);
    assert_message(fixture, ":1: drain_seconds: must be a number\n");
    assert_null(next.listen.items);
}

/* The table itself: names spelt right and unique, defaults within their ranges, helpful lines. */
static void test_table(void **state)
{
    (void)state;
    uint32_t count;
    const struct config_option *options = config_options(&count);
    assert_non_null(options[0].group);
    for (uint32_t i = 0; i < count; i++) {
        const struct config_option *option = &options[i];
        assert_ptr_equal(config_option_find(span_of(option->name)), option);
        assert_int_equal(strspn(option->name, "abcdefghijklmnopqrstuvwxyz2_"),
                         strlen(option->name));
        assert_true(strlen(option->help) > 8);
        assert_true(option->kind == CONFIG_KIND_COMMAND || option->value_name != NULL ||
                    (option->flags & CONFIG_SWITCH) != 0);
        assert_true(option->kind != CONFIG_KIND_CHOICE || option->words != NULL);
        assert_true(option->field_size != 4 || option->max <= UINT32_MAX);
    }
}

/* Any single allocation may fail: the load says so or succeeds, and leaks nothing (see asan). */
static void test_no_memory(void **state)
{
    struct fixture *fixture = *state;
    file_write(fixture->file, "listen: ['127.0.0.1:1']\nalias: {/a: b}\ncpus: 1\n");
    struct buffer message;
    unsigned bad_count = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        config_fini(&fixture->config);
        buffer_init(&message, 65536);
        memory_inject_failures(seed, UINT32_MAX / 64);
        enum config_outcome outcome =
            config_load(&fixture->config, 3, ARGUMENTS("spate", "--config", fixture->file),
                        VARIABLES("AUTH_TOKEN=x"), &message);
        memory_inject_failures(0, 0);
        assert_true(outcome == CONFIG_OK || outcome == CONFIG_BAD);
        bad_count += outcome == CONFIG_BAD ? 1 : 0;
        buffer_fini(&message);
    }
    assert_true(bad_count > 0);
    assert_true(bad_count < 300);
}

/* Bytes thrown at the file: the load answers, whatever they are. */
static void test_random_files(void **state)
{
    struct fixture *fixture = *state;
    static const char *const pieces[] = {"shards", ": ", "1",  "\n",       "listen", "- ", "[",
                                         "]",      "{",  "}",  "\"",       "&a ",    "*a", "---\n",
                                         "alias",  "  ", "~",  "\xff",     "'",      "#",  "|\n",
                                         "!!x ",   "/a", "<<", "%YAML 2\n"};
    struct random random;
    random_init(&random, 20240607);
    unsigned outcomes[3] = {0};
    for (unsigned round = 0; round < 2000; round++) {
        char text[512] = "";
        size_t len = 0;
        for (uint64_t n = random_below(&random, 14); n > 0; n--) {
            const char *piece = pieces[random_below(&random, countof(pieces))];
            memcpy(text + len, piece, strlen(piece) + 1);
            len += strlen(piece);
        }
        file_write(fixture->file, text);
        outcomes[load(fixture, ARGUMENTS("--config", fixture->file), NULL)]++;
    }
    assert_true(outcomes[CONFIG_OK] > 0);
    assert_true(outcomes[CONFIG_BAD] > 0);
    assert_int_equal(outcomes[CONFIG_EXIT_OK], 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_defaults),   TEST(test_precedence),       TEST(test_overruled_values_are_checked),
        TEST(test_units),      TEST(test_bad_values),       TEST(test_bad_rules),
        TEST(test_flags),      TEST(test_variables),        TEST(test_file_mistakes),
        TEST(test_file_forms), TEST(test_tokens),           TEST(test_origins),
        TEST(test_commands),   TEST(test_print_round_trip), TEST(test_reload),
        TEST(test_table),      TEST(test_no_memory),        TEST(test_random_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
