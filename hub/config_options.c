#include "hub/config_options.h"

#include "hub/config.h"
#include "hub/config_value.h"
#include "hub/log.h"
#include "net/io.h"

static const char *const io_words[] = {"auto", "io_uring", "epoll", NULL};
static_assert(IO_KIND_AUTO == 0 && IO_KIND_URING == 1 && IO_KIND_EPOLL == 2, "order of io_words");

static const char *const log_level_words[] = {"debug", "info", "warn", "error", NULL};
static_assert(LOG_LEVEL_DEBUG == 0 && LOG_LEVEL_INFO == 1 && LOG_LEVEL_WARN == 2 &&
                  LOG_LEVEL_ERROR == 3,
              "order of log_level_words");

static const char *const log_format_words[] = {"logfmt", "json", NULL};
static_assert(LOG_FORMAT_LOGFMT == 0 && LOG_FORMAT_JSON == 1, "order of log_format_words");

static const char *const switch_words[] = {"off", "on", NULL};

#define FIELD(field)                                                                               \
    .offset = (uint32_t)offsetof(struct config, field),                                            \
    .field_size = (uint32_t)sizeof(((struct config *)NULL)->field)

/* An option whose field bears its name: name, kind, flags, default, range, help. */
#define NUMBER(field, number_kind, more, text, low, high, unit, line)                              \
    {                                                                                              \
        .name = #field, .kind = (number_kind), .flags = (more), .initial = (text), .min = (low),   \
        .max = (high), .value_name = (unit), .help = (line), FIELD(field)                          \
    }
#define COUNT(field, more, text, low, high, line)                                                  \
    NUMBER(field, CONFIG_KIND_COUNT, more, text, low, high, "N", line)
#define BYTES(field, more, text, low, high, line)                                                  \
    NUMBER(field, CONFIG_KIND_BYTES, more, text, low, high, "BYTES", line)
#define SECONDS(field, more, text, low, high, line)                                                \
    NUMBER(field, CONFIG_KIND_SECONDS, more, text, low, high, "SECONDS", line)

#define KIB  (1024ULL)
#define MIB  (1024ULL * KIB)
#define GIB  (1024ULL * MIB)
#define DAY  (86400ULL)
#define YEAR (365ULL * DAY)

/* A body of nothing but line ends becomes an event of as many empty data lines, in one send. */
#define BODY_BYTES_MAX (64 * MIB)
static_assert((sizeof("data: \n") - 1) * BODY_BYTES_MAX + MIB <= IO_SEND_LEN_MAX,
              "the largest event fits in a send");

/*
 * The order is the order of --help. Reloading is offered for what the hub reads anew for each
 * request, stream or turn; what sizes a table, a socket or a thread is fixed at start.
 */
static const struct config_option options[] = {
    {.group = "Listening",
     .name = "listen",
     .kind = CONFIG_KIND_LIST,
     .flags = CONFIG_NOT_EMPTY,
     .initial = "127.0.0.1:8080",
     .value_name = "ADDR:PORT",
     .check = config_check_listen,
     .help = "Where to listen: 0.0.0.0:8080, [::1]:8080, *:8080 or unix:/path; tls: before an "
             "address for HTTPS",
     FIELD(listen)},
    {.name = "shards",
     .kind = CONFIG_KIND_COUNT,
     .initial = "0",
     .max = 256,
     .value_name = "N",
     .help = "Threads, each with its own event loop; 0 is one per CPU",
     FIELD(shards)},
    {.name = "cpus",
     .kind = CONFIG_KIND_TEXT,
     .initial = "",
     .value_name = "LIST",
     .check = config_check_cpus,
     .help = "CPUs to pin the shards to, such as 0-3,8; by default all that the process may use",
     FIELD(cpus)},
    {.name = "io",
     .kind = CONFIG_KIND_CHOICE,
     .initial = "auto",
     .words = io_words,
     .value_name = "KIND",
     .help = "Interface to the kernel; auto uses io_uring where it works",
     FIELD(io)},
    SECONDS(drain_seconds, CONFIG_RELOADS, "10", 0, 3600,
            "On SIGTERM: time over which streams are ended, so that clients move to other servers"),
    {.name = "config",
     .kind = CONFIG_KIND_TEXT,
     .flags = CONFIG_NOT_IN_FILE,
     .initial = "",
     .value_name = "FILE",
     .help = "YAML file with any of these options as keys, dashes written as underscores",
     FIELD(config_path)},

    {.group = "Access",
     .name = "publish_token_file",
     .kind = CONFIG_KIND_TEXT,
     .flags = CONFIG_RELOADS,
     .initial = "",
     .value_name = "FILE",
     .help = "File with the tokens that may publish, one per line; AUTH_TOKEN holds one too. "
             "With neither, only loopback may publish",
     FIELD(publish_token_file)},
    {.name = "cors_origin",
     .kind = CONFIG_KIND_LIST,
     .flags = CONFIG_RELOADS,
     .initial = "*",
     .value_name = "ORIGIN",
     .check = config_check_origin,
     .help = "Web origin whose pages may use the hub, such as https://example.org. By default any "
             "may read, and only the hub's own may publish; * given here allows both",
     FIELD(cors_origin)},
    {.name = "alias",
     .kind = CONFIG_KIND_MAP,
     .flags = CONFIG_RELOADS,
     .initial = "/stream=stream,/api/events=events,/sensor-data-events=sensor-data,"
                "/v1/feedbacks=feedbacks",
     .value_name = "/PATH=CHANNEL",
     .check = config_check_alias,
     .help = "Another path that subscribes to a channel; giving one replaces the default four",
     FIELD(alias)},

    {.group = "TLS, on addresses that begin with tls:",
     .name = "tls_certificate",
     .kind = CONFIG_KIND_TEXT,
     .flags = CONFIG_RELOADS,
     .initial = "",
     .value_name = "FILE",
     .help = "PEM file with the server's certificate and its chain",
     FIELD(tls_certificate)},
    {.name = "tls_key",
     .kind = CONFIG_KIND_TEXT,
     .flags = CONFIG_RELOADS,
     .initial = "",
     .value_name = "FILE",
     .help = "PEM file with its private key, if that is not in the same file",
     FIELD(tls_key)},
    {.name = "tls_client_ca",
     .kind = CONFIG_KIND_TEXT,
     .flags = CONFIG_RELOADS,
     .initial = "",
     .value_name = "FILE",
     .help = "PEM file with authorities: clients with a certificate of theirs may publish "
             "without a token. Subscribers need none",
     FIELD(tls_client_ca)},
    {.name = "tls_self_signed",
     .kind = CONFIG_KIND_CHOICE,
     .flags = CONFIG_SWITCH,
     .initial = "off",
     .words = switch_words,
     .help = "Create a certificate for localhost at start, for development",
     FIELD(tls_self_signed)},

    {.group = "Logging",
     .name = "log_level",
     .kind = CONFIG_KIND_CHOICE,
     .flags = CONFIG_RELOADS,
     .initial = "info",
     .words = log_level_words,
     .value_name = "LEVEL",
     .help = "Lowest level that is written to standard error",
     FIELD(log_level)},
    {.name = "log_format",
     .kind = CONFIG_KIND_CHOICE,
     .initial = "logfmt",
     .words = log_format_words,
     .value_name = "FORMAT",
     .help = "Format of the lines",
     FIELD(log_format)},

    {.group = "Streams and history",
     .name = "heartbeat_seconds",
     .kind = CONFIG_KIND_SECONDS,
     .flags = CONFIG_RELOADS,
     .initial = "15",
     .min = 1,
     .max = 3600,
     .value_name = "SECONDS",
     .help = "A stream that is idle for this long gets a comment",
     FIELD(heartbeat_seconds)},
    NUMBER(retry_ms, CONFIG_KIND_MILLISECONDS, CONFIG_RELOADS, "3000", 1, 3600000, "MS",
           "Mean of the reconnection time sent to clients; randomised, so that they spread"),
    SECONDS(
        stream_seconds_max, CONFIG_RELOADS, "0", 0, YEAR,
        "A stream is ended at this age, or up to a quarter earlier so that not all reconnect at "
        "once; 0 is never"),
    COUNT(history_count, 0, "1000", 0, 100000000,
          "Events retained per channel for clients that reconnect"),
    BYTES(history_bytes, 0, "8MiB", 0, 64 * GIB, "Bytes retained per channel"),
    SECONDS(history_seconds, 0, "300", 0, YEAR, "Age at which an event is dropped"),
    BYTES(history_total_bytes, 0, "256MiB", 0, 1024 * GIB,
          "Bytes retained over all channels; the largest channel drops its oldest events"),
    {.name = "history_rule",
     .kind = CONFIG_KIND_MAP,
     .initial = "",
     .value_name = "NAME=EVENTS/BYTES/AGE",
     .check = config_check_history_rule,
     .help = "What matching channels retain instead, such as chat.*=100/1MiB/1h; the first "
             "matching rule counts, and 0/0/0 retains nothing",
     FIELD(history_rule)},
    {.name = "lag_rule",
     .kind = CONFIG_KIND_MAP,
     .initial = "",
     .value_name = "NAME=POLICY/BYTES/AGE",
     .check = config_check_lag_rule,
     .help = "How far a subscriber of matching channels may be behind, in bytes and in time (0: no "
             "limit), and what happens beyond: skip to the newest event, or disconnect. "
             "NAME=catch-up, the default, sets no limit; the first matching rule counts",
     FIELD(lag_rule)},
    BYTES(lag_bytes_max, 0, "1MiB", 4 * KIB, 64 * GIB,
          "Bytes of a channel that a shard keeps at hand for subscribers that are behind; those "
          "further behind read the history"),
    {.name = "cloudevent_rule",
     .kind = CONFIG_KIND_MAP,
     .flags = CONFIG_RELOADS,
     .initial = "",
     .value_name = "NAME=FORM",
     .check = config_check_cloudevent_rule,
     .help = "What subscribers of matching channels get of a CloudEvent: event, all of it as "
             "JSON, or only its data, such as chat.*=data; the first matching rule counts",
     FIELD(cloudevent_rule)},

    {.group = "Limits",
     .name = "connections_max",
     .kind = CONFIG_KIND_COUNT,
     .initial = "0",
     .max = 100000000,
     .value_name = "N",
     .help = "Connections in total; 0 is as many as the descriptor limit allows",
     FIELD(connections_max)},
    COUNT(connections_per_address_max, CONFIG_RELOADS, "0", 0, 100000000,
          "Connections from one address; 0 is no limit, which is right behind a proxy"),
    COUNT(channels_max, 0, "1000000", 1, 100000000, "Channels in total"),
    SECONDS(channel_idle_seconds, 0, "60", 1, YEAR,
            "A channel without subscribers and history is removed after this long"),
    COUNT(subscriptions_max, CONFIG_RELOADS, "128", 1, 1024, "Channels of one stream"),
    COUNT(http2_streams_max, CONFIG_RELOADS, "1000", 1, 1000000,
          "Concurrent streams and requests on one HTTP/2 connection; open connections keep "
          "their limit"),
    COUNT(name_bytes_max, CONFIG_RELOADS, "255", 1, 255, "Length of a channel's or client's name"),
    BYTES(head_bytes_max, 0, "16KiB", KIB, MIB, "Size of a request head"),
    BYTES(body_bytes_max, CONFIG_RELOADS, "1MiB", 1, BODY_BYTES_MAX, "Size of a request body"),
    SECONDS(header_seconds, CONFIG_RELOADS, "10", 1, 3600, "Time for a whole request head"),
    SECONDS(body_seconds, CONFIG_RELOADS, "30", 1, 3600, "Time for a whole request body"),
    SECONDS(keepalive_seconds, CONFIG_RELOADS, "75", 0, DAY,
            "Time that a connection may be idle between requests"),
    COUNT(batch_count_max, CONFIG_RELOADS, "1000", 1, 100000,
          "Events of one batch; never more than queue_length"),
    SECONDS(idempotency_seconds, 0, "300", 1, DAY,
            "How long an Idempotency-Key and its response are remembered"),
    COUNT(idempotency_count_max, 0, "100000", 1, 100000000,
          "Keys that are remembered; the oldest are dropped first"),

    {.group = "Kernel and queues",
     .name = "queue_length",
     .kind = CONFIG_KIND_COUNT,
     .flags = CONFIG_POWER_OF_TWO,
     .initial = "65536",
     .min = 64,
     .max = 16777216,
     .value_name = "N",
     .help = "Events that may wait for one shard; a power of two. A full queue answers 503",
     FIELD(queue_length)},
    COUNT(backlog, 0, "4096", 1, 1048576,
          "Connections that wait to be accepted; capped by somaxconn"),
    SECONDS(tcp_keepalive_idle_seconds, 0, "60", 1, 32767,
            "Silence before the kernel probes a peer"),
    SECONDS(tcp_keepalive_interval_seconds, 0, "10", 1, 32767, "Time between its probes"),
    COUNT(tcp_keepalive_count, 0, "6", 1, 127,
          "Unanswered probes that end a connection; with user_timeout_seconds that time counts "
          "instead"),
    SECONDS(user_timeout_seconds, 0, "120", 0, DAY,
            "Time that sent bytes may stay unacknowledged; 0 leaves it to the kernel"),
    /* The kernel's own limit is megabytes for each client that has stopped reading. */
    BYTES(send_buffer_bytes, 0, "64KiB", 0, GIB,
          "Send buffer of a connection: what a client that does not read can hold of the kernel's "
          "memory; 0 leaves it to the kernel"),
    /* What is in the buffer but not on the wire can be neither skipped nor merged any more. */
    BYTES(unsent_bytes_max, 0, "16KiB", 0, GIB,
          "Of the send buffer, bytes that may wait there before they are sent; 0 is all of it"),

    {.group = "Instead of running",
     .name = "check_config",
     .kind = CONFIG_KIND_COMMAND,
     .help = "Print the effective configuration, as a file and with where each value is from"},
    {.name = "help", .kind = CONFIG_KIND_COMMAND, .help = "Print this"},
    {.name = "version", .kind = CONFIG_KIND_COMMAND, .help = "Print the version"},
};
static_assert(countof(options) <= CONFIG_OPTION_COUNT_MAX, "struct config has an origin for each");

const struct config_option *config_options(uint32_t *ret_count)
{
    *ret_count = (uint32_t)countof(options);
    return options;
}

const struct config_option *config_option_find(struct span name)
{
    for (size_t i = 0; i < countof(options); i++) {
        if (span_is(name, options[i].name)) {
            return &options[i];
        }
    }
    return NULL;
}

uint32_t config_option_index(const struct config_option *option)
{
    CHECK(option >= options && option < options + countof(options));
    return (uint32_t)(option - options);
}

void config_option_spell_flag(const struct config_option *option, char *name)
{
    size_t at = 0;
    name[at++] = '-';
    name[at++] = '-';
    for (const char *c = option->name; *c != '\0'; c++) {
        CHECK(at < CONFIG_NAME_BYTES_MAX - 1);
        name[at++] = *c == '_' ? '-' : *c;
    }
    name[at] = '\0';
}

void config_option_spell_variable(const struct config_option *option, char *name)
{
    static const char prefix[] = "SPATE_";
    size_t at = 0;
    if (option->kind != CONFIG_KIND_COMMAND) {
        for (; prefix[at] != '\0'; at++) {
            name[at] = prefix[at];
        }
        for (const char *c = option->name; *c != '\0'; c++) {
            CHECK(at < CONFIG_NAME_BYTES_MAX - 1);
            name[at++] = (*c >= 'a' && *c <= 'z') ? (char)(*c - ('a' - 'A')) : *c;
        }
    }
    name[at] = '\0';
}

void config_option_spell_key(const struct config_option *option, char *name)
{
    size_t at = 0;
    if (option->kind != CONFIG_KIND_COMMAND && (option->flags & CONFIG_NOT_IN_FILE) == 0) {
        for (; option->name[at] != '\0'; at++) {
            CHECK(at < CONFIG_NAME_BYTES_MAX - 1);
            name[at] = option->name[at];
        }
    }
    name[at] = '\0';
}

/* The edit distance after Levenshtein: insertions, deletions and replacements. One row at a time.
 */
static size_t edit_distance(struct span a, struct span b)
{
    size_t row[CONFIG_NAME_BYTES_MAX + 1];
    CHECK(b.len <= CONFIG_NAME_BYTES_MAX);
    for (size_t j = 0; j <= b.len; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t replaced = diagonal + (a.bytes[i - 1] == b.bytes[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = min_size(replaced, min_size(row[j], row[j - 1]) + 1);
        }
    }
    return row[b.len];
}

void config_option_suggest(struct span name, void (*spell)(const struct config_option *, char *),
                           struct buffer *text)
{
    if (name.len > CONFIG_NAME_BYTES_MAX) {
        return;
    }
    /* A third of the letters may be wrong, the prefix that all spellings share not counted. */
    size_t prefix = spell == config_option_spell_key    ? 0
                    : spell == config_option_spell_flag ? 2
                                                        : 6;
    size_t best = name.len > prefix ? max_u64(1, (name.len - prefix) / 3) + 1 : 0;
    char best_spelling[CONFIG_NAME_BYTES_MAX] = "";
    for (size_t i = 0; i < countof(options); i++) {
        char spelling[CONFIG_NAME_BYTES_MAX];
        spell(&options[i], spelling);
        if (spelling[0] == '\0') {
            continue;
        }
        size_t distance = edit_distance(name, span_of(spelling));
        if (name.len > prefix + 2 && strncmp(spelling, name.bytes, name.len) == 0) {
            distance = min_size(distance, 1); /* only its end is missing */
        }
        if (distance < best) {
            best = distance;
            memcpy(best_spelling, spelling, sizeof(spelling));
        }
    }
    if (best_spelling[0] != '\0') {
        buffer_printf(text, "; did you mean %s?", best_spelling);
    }
}

enum { HELP_COLUMN = 38, HELP_WIDTH = 98 };

/* Appends words after `column`, breaking the line at HELP_WIDTH and indenting to HELP_COLUMN. */
static void help_wrap(struct buffer *text, struct span words)
{
    size_t column = HELP_COLUMN;
    size_t at = 0;
    while (at < words.len) {
        const char *space = memchr(words.bytes + at, ' ', words.len - at);
        size_t end = space == NULL ? words.len : (size_t)(space - words.bytes);
        size_t len = end - at;
        if (column > HELP_COLUMN && column + 1 + len > HELP_WIDTH) {
            buffer_printf(text, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        } else if (column > HELP_COLUMN) {
            buffer_append_string(text, " ");
            column++;
        }
        buffer_append(text, words.bytes + at, len);
        column += len;
        at = end + 1;
    }
    buffer_append_string(text, "\n");
}

/* The words of a choice, the default and the range, in brackets behind the help. */
static void help_details(struct buffer *text, const struct config_option *option)
{
    if (option->kind == CONFIG_KIND_COMMAND) {
        return;
    }
    if (option->kind == CONFIG_KIND_CHOICE) {
        buffer_append_string(text, ": ");
        for (size_t i = 0; option->words[i] != NULL; i++) {
            buffer_printf(text, "%s%s", i == 0 ? "" : ", ", option->words[i]);
        }
    }
    if (option->kind == CONFIG_KIND_LIST || option->kind == CONFIG_KIND_MAP) {
        buffer_append_string(text, " (repeatable)");
    }
    if (option->kind < CONFIG_KIND_CHOICE) {
        buffer_append_string(text, " (");
        config_number_print(option, option->min, text);
        buffer_append_string(text, "-");
        config_number_print(option, option->max, text);
        buffer_append_string(text, ")");
    }
    if (option->initial[0] != '\0' && option->kind != CONFIG_KIND_MAP) {
        buffer_printf(text, " [%s]", option->initial);
    }
}

static void help_option(struct buffer *text, const struct config_option *option)
{
    if (option->group != NULL) {
        buffer_printf(text, "\n%s\n", option->group);
    }
    char flag[CONFIG_NAME_BYTES_MAX];
    config_option_spell_flag(option, flag);
    size_t start = text->len;
    buffer_printf(text, " %c%s%s%s", (option->flags & CONFIG_RELOADS) != 0 ? '*' : ' ', flag,
                  option->value_name == NULL ? "" : " ",
                  option->value_name == NULL ? "" : option->value_name);
    size_t column = text->len - start;
    if (column + 1 >= HELP_COLUMN) {
        buffer_append_string(text, "\n");
        column = 0;
    }
    buffer_printf(text, "%*s", (int)(HELP_COLUMN - column), "");
    struct buffer words;
    buffer_init(&words, 4096);
    buffer_append_string(&words, option->help);
    help_details(&words, option);
    help_wrap(text, buffer_span(&words));
    buffer_fini(&words);
}

void config_help_print(struct buffer *text)
{
    buffer_append_string(
        text,
        "Usage: spate [OPTION]...\n\n"
        "Spate accepts events over HTTP and sends each one to every subscriber of its channel as\n"
        "Server-Sent Events. Subscribe at /sse/CHANNEL, publish with POST /publish/CHANNEL.\n\n"
        "Every option can also be set by a variable (--drain-seconds is SPATE_DRAIN_SECONDS) or\n"
        "a key of the file (drain_seconds). Flags take precedence over variables, variables over\n"
        "the file. In parentheses the range, in brackets the default; * marks what SIGHUP "
        "reloads.\n");
    for (size_t i = 0; i < countof(options); i++) {
        help_option(text, &options[i]);
    }
    buffer_append_string(
        text, "\nBytes may be written as 64KiB, 1MiB or 1GiB; times as 250ms, 30s, 5m, 1h or 1d.\n"
              "\nExamples\n"
              "  spate\n"
              "      on 127.0.0.1:8080; programs on this machine may publish without a token\n"
              "  AUTH_TOKEN=secret spate --listen 0.0.0.0:8080 --cors-origin https://example.org\n"
              "      for everybody: a token to publish, one web site may read\n"
              "  spate --config /etc/spate.yaml --check-config\n"
              "      print the resulting configuration, and where each value comes from\n"
              "  spate --listen tls:127.0.0.1:8443 --tls-self-signed\n"
              "      HTTPS with a certificate created at start, for development\n"
              "  curl -N http://127.0.0.1:8080/sse/news &\n"
              "  curl http://127.0.0.1:8080/publish/news -H 'Content-Type: text/plain' -d hello\n"
              "      a subscriber, and an event for it\n"
              "\nExit codes\n"
              "  0  stopped on request (SIGTERM, SIGINT, --help, --version, --check-config)\n"
              "  1  could not start or continue: address in use, permission denied, out of memory\n"
              "  2  the configuration is wrong\n");
}
