#include "tools/load/options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/base/base.h"
#include "tools/load/message.h"
#include "tools/load/scoreboard.h"

static const char help[] =
    "Usage: spate-load [OPTION]... [URL]\n\n"
    "Subscribes many times to a Server-Sent Events server, publishes through it, and checks and\n"
    "times every delivery. URL is http[s]://HOST:PORT[/PATH]; else SPATE_URL, else\n"
    "http://127.0.0.1:8080. Without a path the preset says where to subscribe. In brackets the\n"
    "default.\n"
    "\n"
    "Load\n"
    "  --scenario NAME       what happens [hot]; the options below change any of them.\n"
    "                        hot: one channel that everybody reads;\n"
    "                        channels: a channel for every 10 subscribers;\n"
    "                        unicast: a channel for each subscriber;\n"
    "                        ramp: connecting only;\n"
    "                        storm: half of the subscribers are cut every 3 s, and resume;\n"
    "                        slow: one reader in ten is slow;\n"
    "                        idle: connecting, and holding for 30 s\n"
    "  --subscribers N       how many subscribe [1000]\n"
    "  --channels N          over how many channels they are spread [1]\n"
    "  --rate N              messages per second, open loop: latency counts from when a message\n"
    "                        was due [10]\n"
    "  --window N            closed loop instead of a rate: N messages under way at a time\n"
    "  --publishers N        connections that publish [one for every 500 messages per second]\n"
    "  --duration S          seconds of publishing or holding [10]\n"
    "  --size BYTES          size of a message [128]\n"
    "  --connect-rate N      connections per second [as fast as possible]\n"
    "  --connect-timeout S   for all connections [60]\n"
    "  --drain S             wait for outstanding deliveries at the end [10]\n"
    "  --storm PERCENT       cut so many subscribers at a time\n"
    "  --storm-every S       seconds between two storms [3]\n"
    "  --slow PERCENT        so many subscribers read slowly\n"
    "  --slow-bytes N        bytes per second that they read [1000]\n"
    "  --steps FILE          steps instead of a duration, one per line: publish [COUNT\n"
    "                        [EVERY_S]], hold SECONDS, cut COUNT, return [COUNT], vanish; each\n"
    "                        ends with a line of JSON on standard output\n"
    "  --vanishing PERCENT   of the subscribers: not expected after the step vanish\n"
    "\n"
    "Server\n"
    "  --url URL             the same as the argument URL\n"
    "  --preset NAME         spate, nchan, mercure, pushpin or centrifugo [spate]\n"
    "  --publish URL         where to publish: a path, or http[s]://HOST:PORT/PATH\n"
    "  --publish-method M    its method [POST]\n"
    "  --publish-type TYPE   its Content-Type\n"
    "  --publish-body TEXT   its body; {channel}, {data} and {token} are replaced, as in paths\n"
    "  --no-publish          only listen\n"
    "  --token TOKEN         else SPATE_TOKEN, else AUTH_TOKEN\n"
    "  --header TEXT         NAME: VALUE, in every request; repeatable\n"
    "  --channel-prefix TEXT  how names of channels begin [load-]\n"
    "\n"
    "Connections\n"
    "  --tls                 use TLS, as with https:// in the URL\n"
    "  --cacert FILE         trust these certificates (PEM) instead of the system's\n"
    "  --insecure            trust any certificate\n"
    "  --h2                  use HTTP/2; without TLS by prior knowledge\n"
    "  --streams-per-connection N  with --h2 [100]\n"
    "  --source ADDR[+N]     N local addresses to connect from, ADDR the first [for a loopback\n"
    "                        server as many of 127.16.0.0/12 as needed]\n"
    "  --vanishing-source ADDR[+N]  those of --vanishing\n"
    "\n"
    "This side\n"
    "  --workers N           processes that subscribe\n"
    "  --io KIND             auto, io_uring or epoll [auto]\n"
    "  --pid PID[,PID]       the server's processes, to measure their CPU time and memory\n"
    "\n"
    "Results\n"
    "  --json FILE           everything as JSON; - is standard output\n"
    "  --html FILE           a page with pictures\n"
    "  --svg FILE            the pictures alone\n"
    "  --quiet               show no progress\n"
    "  --completion SHELL    print a script for bash, zsh or fish\n"
    "  --help                print this\n"
    "  --version             print the version\n"
    "\n"
    "Exit codes\n"
    "  0  ok\n"
    "  1  something was lost, doubled, out of order or corrupt, or connections failed\n"
    "  2  wrong usage\n"
    "  3  nobody could connect\n";

enum option_code {
    OPTION_SCENARIO = 256,
    OPTION_SUBSCRIBERS,
    OPTION_CHANNELS,
    OPTION_RATE,
    OPTION_WINDOW,
    OPTION_PUBLISHERS,
    OPTION_DURATION,
    OPTION_SIZE,
    OPTION_CONNECT_RATE,
    OPTION_CONNECT_TIMEOUT,
    OPTION_DRAIN,
    OPTION_STORM,
    OPTION_STORM_EVERY,
    OPTION_SLOW,
    OPTION_SLOW_BYTES,
    OPTION_STEPS,
    OPTION_VANISHING,
    OPTION_VANISHING_SOURCE,
    OPTION_PRESET,
    OPTION_URL,
    OPTION_PUBLISH,
    OPTION_PUBLISH_METHOD,
    OPTION_PUBLISH_TYPE,
    OPTION_PUBLISH_BODY,
    OPTION_NO_PUBLISH,
    OPTION_TOKEN,
    OPTION_HEADER,
    OPTION_CHANNEL_PREFIX,
    OPTION_TLS,
    OPTION_CACERT,
    OPTION_INSECURE,
    OPTION_H2,
    OPTION_STREAMS,
    OPTION_WORKERS,
    OPTION_IO,
    OPTION_SOURCE,
    OPTION_PID,
    OPTION_JSON,
    OPTION_HTML,
    OPTION_SVG,
    OPTION_QUIET,
    OPTION_COMPLETION,
    OPTION_HELP,
    OPTION_VERSION,
};

static const struct option long_options[] = {
    {"scenario", required_argument, NULL, OPTION_SCENARIO},
    {"subscribers", required_argument, NULL, OPTION_SUBSCRIBERS},
    {"channels", required_argument, NULL, OPTION_CHANNELS},
    {"rate", required_argument, NULL, OPTION_RATE},
    {"window", required_argument, NULL, OPTION_WINDOW},
    {"publishers", required_argument, NULL, OPTION_PUBLISHERS},
    {"duration", required_argument, NULL, OPTION_DURATION},
    {"size", required_argument, NULL, OPTION_SIZE},
    {"connect-rate", required_argument, NULL, OPTION_CONNECT_RATE},
    {"connect-timeout", required_argument, NULL, OPTION_CONNECT_TIMEOUT},
    {"drain", required_argument, NULL, OPTION_DRAIN},
    {"storm", required_argument, NULL, OPTION_STORM},
    {"storm-every", required_argument, NULL, OPTION_STORM_EVERY},
    {"slow", required_argument, NULL, OPTION_SLOW},
    {"slow-bytes", required_argument, NULL, OPTION_SLOW_BYTES},
    {"steps", required_argument, NULL, OPTION_STEPS},
    {"vanishing", required_argument, NULL, OPTION_VANISHING},
    {"vanishing-source", required_argument, NULL, OPTION_VANISHING_SOURCE},
    {"preset", required_argument, NULL, OPTION_PRESET},
    {"url", required_argument, NULL, OPTION_URL},
    {"publish", required_argument, NULL, OPTION_PUBLISH},
    {"publish-method", required_argument, NULL, OPTION_PUBLISH_METHOD},
    {"publish-type", required_argument, NULL, OPTION_PUBLISH_TYPE},
    {"publish-body", required_argument, NULL, OPTION_PUBLISH_BODY},
    {"no-publish", no_argument, NULL, OPTION_NO_PUBLISH},
    {"token", required_argument, NULL, OPTION_TOKEN},
    {"header", required_argument, NULL, OPTION_HEADER},
    {"channel-prefix", required_argument, NULL, OPTION_CHANNEL_PREFIX},
    {"tls", no_argument, NULL, OPTION_TLS},
    {"cacert", required_argument, NULL, OPTION_CACERT},
    {"insecure", no_argument, NULL, OPTION_INSECURE},
    {"h2", no_argument, NULL, OPTION_H2},
    {"streams-per-connection", required_argument, NULL, OPTION_STREAMS},
    {"workers", required_argument, NULL, OPTION_WORKERS},
    {"io", required_argument, NULL, OPTION_IO},
    {"source", required_argument, NULL, OPTION_SOURCE},
    {"pid", required_argument, NULL, OPTION_PID},
    {"json", required_argument, NULL, OPTION_JSON},
    {"html", required_argument, NULL, OPTION_HTML},
    {"svg", required_argument, NULL, OPTION_SVG},
    {"quiet", no_argument, NULL, OPTION_QUIET},
    {"completion", required_argument, NULL, OPTION_COMPLETION},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

enum { SUBSCRIBERS_PER_WORKER_MAX = 18000 };

/* What was given, before the scenario has filled in the rest. Negative and NULL: not given. */
struct given {
    double subscribers, channels, rate, window, publishers, duration, storm, storm_every, slow;
    const char *preset;
    const char *publish;
    const char *method, *type, *body;
    const char *url;
    const char *ca_file;
    bool no_publish;
    bool tls, insecure, h2;
};

static int wrong_usage(const char *why, const char *value)
{
    fprintf(stderr, "spate-load: %s%s%s; see spate-load --help\n", why, value == NULL ? "" : ": ",
            value == NULL ? "" : value);
    return LOAD_USAGE;
}

static int wrong_value(int code, const char *value)
{
    const struct option *option = long_options;
    while (option->val != code) {
        option++;
    }
    fprintf(stderr, "spate-load: --%s %s: invalid or out of range; see spate-load --help\n",
            option->name, value);
    return LOAD_USAGE;
}

/* --- Values ----------------------------------------------------------------------------------- */

static bool parse_number(const char *text, double low, double high, double *ret_number)
{
    char *end;
    if (text[0] == '\0' || strspn(text, "0123456789.") != strlen(text)) {
        return false;
    }
    errno = 0;
    const double number = strtod(text, &end);
    if (errno != 0 || *end != '\0' || number < low || number > high) {
        return false;
    }
    *ret_number = number;
    return true;
}

static bool parse_count(const char *text, double low, double high, double *ret_number)
{
    double number;
    if (!parse_number(text, low, high, &number) || number != floor(number)) {
        return false;
    }
    *ret_number = number;
    return true;
}

static bool parse_u32(const char *text, double low, double high, uint32_t *ret_number)
{
    double number;
    if (!parse_count(text, low, high, &number)) {
        return false;
    }
    *ret_number = (uint32_t)number;
    return true;
}

static bool parse_pids(const char *text, struct options *options)
{
    while (*text != '\0') {
        char *end;
        const long pid = strtol(text, &end, 10);
        if (end == text || pid <= 0 || pid > INT32_MAX || (*end != '\0' && *end != ',') ||
            options->pid_count == OPTIONS_PID_COUNT_MAX) {
            return false;
        }
        char path[64];
        (void)snprintf(path, sizeof path, "/proc/%ld/stat", pid);
        if (access(path, R_OK) != 0) {
            return false;
        }
        options->pids[options->pid_count++] = (int)pid;
        text = *end == ',' ? end + 1 : end;
    }
    return options->pid_count > 0;
}

static bool parse_source(const char *text, struct source *source)
{
    char address[64];
    const size_t len = strcspn(text, "+");
    struct in_addr first;
    if (len >= sizeof address) {
        return false;
    }
    memcpy(address, text, len);
    address[len] = '\0';
    source->count = 1;
    if (text[len] == '+' && !parse_u32(text + len + 1, 1, 1 << 20, &source->count)) {
        return false;
    }
    if (inet_pton(AF_INET, address, &first) != 1) {
        return false;
    }
    source->first = ntohl(first.s_addr);
    return source->first != 0;
}

static bool parse_io(const char *text, enum io_kind *ret_kind)
{
    for (enum io_kind kind = IO_KIND_AUTO; kind <= IO_KIND_EPOLL; kind++) {
        if (strcmp(text, io_kind_name(kind)) == 0) {
            *ret_kind = kind;
            return true;
        }
    }
    return false;
}

static bool add_header(struct target *target, const char *text)
{
    if (target->header_count == TARGET_HEADER_COUNT_MAX || strchr(text, ':') == NULL ||
        strpbrk(text, "\r\n") != NULL) {
        return false;
    }
    target->headers[target->header_count++] = text;
    return true;
}

/* --- Options ---------------------------------------------------------------------------------- */

static bool take_load_option(struct options *options, struct given *given, int code)
{
    switch (code) {
    case OPTION_SCENARIO:
        options->scenario = optarg;
        return true;
    case OPTION_SUBSCRIBERS:
        return parse_count(optarg, 1, 4000000, &given->subscribers);
    case OPTION_CHANNELS:
        return parse_count(optarg, 1, MESSAGE_CHANNEL_COUNT_MAX, &given->channels);
    case OPTION_RATE:
        return parse_number(optarg, 0.001, 10000000, &given->rate);
    case OPTION_WINDOW:
        return parse_count(optarg, 1, 1000000, &given->window);
    case OPTION_PUBLISHERS:
        return parse_count(optarg, 1, 4096, &given->publishers);
    case OPTION_DURATION:
        return parse_number(optarg, 0.1, 1000000, &given->duration);
    case OPTION_SIZE:
        return parse_u32(optarg, MESSAGE_LEN_MIN, MESSAGE_LEN_MAX, &options->message_len);
    case OPTION_CONNECT_RATE:
        return parse_number(optarg, 0.1, 10000000, &options->connect_rate);
    case OPTION_CONNECT_TIMEOUT:
        return parse_number(optarg, 0.1, 100000, &options->connect_timeout_s);
    case OPTION_DRAIN:
        return parse_number(optarg, 0, 100000, &options->drain_s);
    case OPTION_STORM:
        return parse_number(optarg, 0, 100, &given->storm);
    case OPTION_STORM_EVERY:
        return parse_number(optarg, 0.1, 100000, &given->storm_every);
    case OPTION_SLOW:
        return parse_number(optarg, 0, 100, &given->slow);
    case OPTION_SLOW_BYTES:
        return parse_u32(optarg, 1, 1000000000, &options->slow_bytes);
    case OPTION_STEPS:
        options->steps_path = optarg;
        return true;
    case OPTION_VANISHING:
        return parse_number(optarg, 0, 100, &options->vanishing_percent);
    case OPTION_VANISHING_SOURCE:
        return parse_source(optarg, &options->vanishing_source);
    default:
        return false;
    }
}

static bool take_carrier_option(struct options *options, struct given *given, int code)
{
    switch (code) {
    case OPTION_TLS:
        return given->tls = true;
    case OPTION_CACERT:
        given->ca_file = optarg;
        return true;
    case OPTION_INSECURE:
        return given->insecure = true;
    case OPTION_H2:
        return given->h2 = true;
    case OPTION_STREAMS:
        return parse_u32(optarg, 1, 1000000, &options->streams_per_connection);
    default:
        return take_load_option(options, given, code);
    }
}

static bool take_option(struct options *options, struct given *given, int code)
{
    switch (code) {
    case OPTION_PRESET:
        given->preset = optarg;
        return true;
    case OPTION_URL:
        given->url = optarg;
        return true;
    case OPTION_PUBLISH:
        given->publish = optarg;
        return true;
    case OPTION_PUBLISH_METHOD:
        given->method = optarg;
        return optarg[0] != '\0' && strpbrk(optarg, " \r\n") == NULL;
    case OPTION_PUBLISH_TYPE:
        given->type = optarg;
        return strpbrk(optarg, "\r\n") == NULL;
    case OPTION_PUBLISH_BODY:
        given->body = optarg;
        return true;
    case OPTION_NO_PUBLISH:
        return given->no_publish = true;
    case OPTION_TOKEN:
        options->target.token = optarg;
        return strpbrk(optarg, "\r\n") == NULL;
    case OPTION_HEADER:
        return add_header(&options->target, optarg);
    case OPTION_CHANNEL_PREFIX:
        options->target.channel_prefix = optarg;
        return strpbrk(optarg, " /?#\r\n") == NULL;
    case OPTION_WORKERS:
        return parse_u32(optarg, 1, OPTIONS_WORKER_COUNT_MAX, &options->worker_count);
    case OPTION_IO:
        return parse_io(optarg, &options->io_kind);
    case OPTION_SOURCE:
        return parse_source(optarg, &options->source);
    case OPTION_PID:
        return parse_pids(optarg, options);
    case OPTION_JSON:
        options->json_path = optarg;
        return true;
    case OPTION_HTML:
        options->html_path = optarg;
        return true;
    case OPTION_SVG:
        options->svg_path = optarg;
        return true;
    case OPTION_QUIET:
        return options->is_quiet = true;
    default:
        return take_carrier_option(options, given, code);
    }
}

/* --- What follows from what ------------------------------------------------------------------- */

static double given_or(double given, double otherwise)
{
    return given >= 0 ? given : otherwise;
}

static bool apply_scenario(struct options *options, const struct given *given)
{
    const char *name = options->scenario;
    const bool is_storm = strcmp(name, "storm") == 0;
    const bool is_slow = strcmp(name, "slow") == 0;
    const bool is_idle = strcmp(name, "idle") == 0;
    const bool is_ramp = strcmp(name, "ramp") == 0;
    const double subscribers = given_or(given->subscribers, 1000);
    double channels = 1;
    if (strcmp(name, "unicast") == 0) {
        channels = subscribers;
    } else if (strcmp(name, "channels") == 0) {
        channels = ceil(subscribers / 10);
    } else if (!is_storm && !is_slow && !is_idle && !is_ramp && strcmp(name, "hot") != 0) {
        return false;
    }
    options->subscriber_count = (uint32_t)subscribers;
    options->channel_count = (uint32_t)given_or(given->channels, channels);
    options->window = (uint32_t)given_or(given->window, 0);
    options->rate = options->window > 0 ? 0 : given_or(given->rate, is_idle || is_ramp ? 0 : 10);
    options->duration_s = given_or(given->duration, is_ramp ? 0.1 : is_idle ? 30 : 10);
    options->storm_percent = given_or(given->storm, is_storm ? 50 : 0);
    options->storm_every_s = given_or(given->storm_every, 3);
    options->slow_percent = given_or(given->slow, is_slow ? 10 : 0);
    if (options->rate > 0 || options->window > 0) {
        const double publishers = options->window > 0 ? options->window : ceil(options->rate / 500);
        options->publisher_count =
            (uint32_t)given_or(given->publishers, fmin(fmax(publishers, 1), 32));
    }
    return true;
}

/* The kernel's port range is for each pair of addresses; so many of it are used at a time. */
enum { SUBSCRIBERS_PER_SOURCE = 4000 };

static uint32_t connection_count(const struct options *options)
{
    const uint32_t streams = (uint32_t)max_u64(options->streams_per_connection, 1);
    return (options->subscriber_count + streams - 1) / streams;
}

static void apply_sources(struct options *options)
{
    const struct sockaddr_storage *storage = &options->target.subscribe_at.address;
    if (options->source.count > 0 || storage->ss_family != AF_INET) {
        return;
    }
    const struct sockaddr_in *address = (const struct sockaddr_in *)storage;
    if (ntohl(address->sin_addr.s_addr) >> 24 == 127) {
        options->source.first = 0x7f100001;
        options->source.count = connection_count(options) / SUBSCRIBERS_PER_SOURCE + 1;
    }
}

static int apply_workers(struct options *options)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < 256) {
        return wrong_usage("too few file descriptors are allowed (ulimit -n)", NULL);
    }
    const uint32_t per_worker = (uint32_t)min_u64(limit.rlim_cur - 64, SUBSCRIBERS_PER_WORKER_MAX);
    const uint32_t needed = (connection_count(options) + per_worker - 1) / per_worker;
    if (options->worker_count == 0) {
        /* Half of the CPUs are the server's; a process for fewer than a thousand is no use. */
        const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
        const uint32_t half = cpus > 2 ? (uint32_t)cpus / 2 : 1;
        const uint32_t useful = options->subscriber_count / 1000 + 1;
        options->worker_count = half < useful ? half : useful;
    }
    if (options->worker_count < needed) {
        options->worker_count = needed;
    }
    if (options->worker_count > OPTIONS_WORKER_COUNT_MAX) {
        return wrong_usage("so many subscribers need a higher limit of descriptors (ulimit -n)",
                           NULL);
    }
    /* Streams of one connection are in one process. */
    if (options->worker_count > connection_count(options)) {
        options->worker_count = connection_count(options);
    }
    options->subscribers_per_worker_max =
        (options->subscriber_count + options->worker_count - 1) / options->worker_count;
    return -1;
}

static int apply_publish(struct options *options, const struct given *given)
{
    struct target *target = &options->target;
    target->publish_at = target->subscribe_at;
    if (given->publish != NULL) {
        const char *path = given->publish;
        const char *problem;
        if (path[0] != '/' &&
            target_read_url(path, given->tls, &target->publish_at, &path, &problem) < 0) {
            return wrong_usage(problem, given->publish);
        }
        target->publish_path = path[0] == '\0' ? target->publish_path : path;
    }
    target->publish_method = given->method != NULL ? given->method : target->publish_method;
    target->publish_type = given->type != NULL ? given->type : target->publish_type;
    target->publish_body = given->body != NULL ? given->body : target->publish_body;
    if (given->no_publish) {
        options->publisher_count = 0;
    }
    if (options->publisher_count > 0 && strstr(target->publish_path, "{data}") == NULL &&
        strstr(target->publish_body, "{data}") == NULL) {
        return wrong_usage("neither the path nor the body to publish holds {data}", NULL);
    }
    if (options->publisher_count > options->channel_count * (uint64_t)MESSAGE_SLOT_COUNT_MAX) {
        return wrong_usage("at most 64 publishers for each channel", NULL);
    }
    if (options->publisher_count == 0) {
        options->rate = 0;
        options->window = 0;
    }
    return -1;
}

static int apply_target(struct options *options, const struct given *given)
{
    struct target *target = &options->target;
    const char *name = given->preset != NULL ? given->preset : "spate";
    const struct target_preset *preset = target_preset_find(name);
    const char *path;
    const char *problem;
    if (preset == NULL) {
        return wrong_usage("no such preset", name);
    }
    target_apply(target, preset);
    int r = target_read_url(given->url, given->tls, &target->subscribe_at, &path, &problem);
    if (r == -ENOENT) {
        fprintf(stderr, "spate-load: %s: %s\n", problem, given->url);
        return LOAD_UNREACHABLE;
    }
    if (r < 0) {
        return wrong_usage(problem, given->url);
    }
    if (path[0] != '\0' && strcmp(path, "/") != 0) {
        target->subscribe_path = path;
        if (strstr(path, "{channel}") == NULL && options->channel_count > 1) {
            return wrong_usage("for several channels the path must hold {channel}", given->url);
        }
        /* What is not our own to publish to is only listened to. */
        if (given->publish == NULL && given->preset == NULL && strstr(path, "{channel}") == NULL) {
            options->publisher_count = 0;
        }
    }
    return apply_publish(options, given);
}

/* TLS and HTTP/2. */
static int apply_carrier(struct options *options, const struct given *given)
{
    const struct tls_client_options tls = {
        .ca_file = given->ca_file,
        .trusts_all = given->insecure,
        .wants_http2 = given->h2,
    };
    const char *problem;
    if (options->streams_per_connection > 0 && !given->h2) {
        return wrong_usage("--streams-per-connection is for --h2", NULL);
    }
    if (given->h2 && options->streams_per_connection == 0) {
        options->streams_per_connection = 100;
    }
    if (!options->target.subscribe_at.is_tls && !options->target.publish_at.is_tls) {
        return given->ca_file == NULL && !given->insecure
                   ? -1
                   : wrong_usage("--cacert and --insecure are for https", NULL);
    }
    if (given->ca_file != NULL && given->insecure) {
        return wrong_usage("--cacert and --insecure exclude each other", NULL);
    }
    options->tls = tls_client_context_new(&tls, &problem);
    return options->tls != NULL ? -1 : wrong_usage(problem, given->ca_file);
}

static int options_finish(struct options *options, struct given *given)
{
    if (given->rate >= 0 && given->window >= 0) {
        return wrong_usage("--rate and --window exclude each other", NULL);
    }
    if (!apply_scenario(options, given)) {
        return wrong_usage("no such scenario", options->scenario);
    }
    if (options->steps_path != NULL) {
        if (given->rate >= 0 || given->window >= 0 || given->publishers > 1 ||
            options->channel_count > 1 || options->storm_percent > 0) {
            return wrong_usage("--steps say what is published: one channel, one publisher, no "
                               "--rate, --window or --storm",
                               NULL);
        }
        options->publisher_count = 1;
    }
    int code = apply_target(options, given);
    if (code >= 0) {
        return code;
    }
    code = apply_carrier(options, given);
    if (code >= 0) {
        return code;
    }
    apply_sources(options);
    return apply_workers(options);
}

static void print_words(void)
{
    for (const struct option *option = long_options; option->name != NULL; option++) {
        printf("--%s ", option->name);
    }
    fputs("hot channels unicast ramp storm slow idle spate nchan mercure pushpin centrifugo",
          stdout);
}

static int print_completion(const char *shell)
{
    if (strcmp(shell, "bash") == 0) {
        fputs("complete -o default -W '", stdout);
        print_words();
        puts("' spate-load");
    } else if (strcmp(shell, "fish") == 0) {
        fputs("complete -c spate-load -a '", stdout);
        print_words();
        puts("'");
    } else if (strcmp(shell, "zsh") == 0) {
        fputs("#compdef spate-load\n_spate_load() {\n    compadd -- ", stdout);
        print_words();
        puts("\n    _files\n}\n"
             "if [ \"$funcstack[1]\" = _spate-load ]; then\n    _spate_load \"$@\"\nelse\n"
             "    compdef _spate_load spate-load\nfi");
    } else {
        return wrong_usage("completion knows bash, zsh and fish", NULL);
    }
    return LOAD_OK;
}

int options_read(struct options *options, int argc, char **argv)
{
    struct given given = {
        .subscribers = -1,
        .channels = -1,
        .rate = -1,
        .window = -1,
        .publishers = -1,
        .duration = -1,
        .storm = -1,
        .storm_every = -1,
        .slow = -1,
    };
    *options = (struct options){
        .scenario = "hot",
        .message_len = 128,
        .connect_timeout_s = 60,
        .drain_s = 10,
        .slow_bytes = 1000,
        .target.channel_prefix = "load-",
        .target.run = (uint32_t)(load_now_ns() >> 10) ^ (uint32_t)getpid() << 20,
    };
    const char *token = getenv("SPATE_TOKEN");
    options->target.token = token != NULL ? token : getenv("AUTH_TOKEN");
    given.url = getenv("SPATE_URL");
    int code;
    opterr = 0;
    while ((code = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (code == OPTION_HELP) {
            return fputs(help, stdout) < 0 ? LOAD_FAULTS : LOAD_OK;
        }
        if (code == OPTION_VERSION) {
            return puts("spate-load " SPATE_VERSION) < 0 ? LOAD_FAULTS : LOAD_OK;
        }
        if (code == OPTION_COMPLETION) {
            return print_completion(optarg);
        }
        if (code == '?') {
            return wrong_usage("unknown option, or its value is missing", argv[optind - 1]);
        }
        if (!take_option(options, &given, code)) {
            return wrong_value(code, optarg);
        }
    }
    given.url = given.url != NULL ? given.url : "http://127.0.0.1:8080";
    if (optind < argc) {
        given.url = argv[optind++];
    }
    if (optind < argc) {
        return wrong_usage("only one URL", argv[optind]);
    }
    return options_finish(options, &given);
}
