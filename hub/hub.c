#include "hub/hub.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/event_id.h"
#include "hub/config_value.h"
#include "hub/shard.h"
#include "net/cpu.h"

enum {
    /* Descriptors for everything that is not a connection: log, rings, eventfds, listeners. */
    HUB_DESCRIPTORS_RESERVED = 64,
    HUB_DESCRIPTORS_PER_SHARD = 8,
    /* What may be under way to one shard, and to one channel's subscribers on it. */
    HUB_QUEUE_BYTES_MAX = 256 * 1024 * 1024,
    HUB_FEED_BYTES_MAX = 64 * 1024 * 1024,
    HUB_STACK_BYTES = 64 * 1024,
    HUB_LOG_STOP_MS = 1000,
    HUB_RELOAD_WAIT_MS = 2000,
    /* An address in use is tried again for a second before it is an error. */
    HUB_LISTEN_RETRIES = 20,
    HUB_LISTEN_RETRY_US = 50000,
};

static uint64_t hub_kernel_wall_ms(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t hub_kernel_clock_ns(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static const struct hub_world hub_kernel_world = {.io_new = io_new,
                                                  .wall_ms = hub_kernel_wall_ms,
                                                  .clock_ns = hub_kernel_clock_ns,
                                                  .random = getrandom};
const struct hub_world *hub_world = &hub_kernel_world;

uint64_t hub_wall_ms(void)
{
    return hub_world->wall_ms();
}

uint64_t hub_uptime_seconds(const struct hub *hub)
{
    return (hub_world->clock_ns() - hub->started_ns) / 1000000000;
}

bool hub_is_draining(const struct hub *hub)
{
    /* Acquire: pairs with hub_drain. Nothing else is published with it. */
    return __atomic_load_n(&hub->draining, __ATOMIC_ACQUIRE) != 0;
}

static struct doorbell *hub_doorbell(void *owner, unsigned shard)
{
    const struct hub *hub = owner;
    return &hub->shards[shard]->doorbell;
}

static struct relay *hub_relay(void *owner, unsigned shard)
{
    const struct hub *hub = owner;
    return &hub->shards[shard]->relay;
}

static void hub_wake_one(void *owner, unsigned shard)
{
    const struct hub *hub = owner;
    io_wake(hub->shards[shard]->io);
}

void hub_wake(struct hub *hub, const struct shard_set *shards)
{
    relay_wake(&(struct relay_shards){hub, hub_doorbell, hub_relay, hub_wake_one}, shards);
}

static struct log_ring *hub_log(struct hub *hub)
{
    return log_get_ring(hub->log, hub->shard_count);
}

/* ---- Making
 * ------------------------------------------------------------------------------------------ */

/* As many descriptors as the process may have, whatever the shell's habit is. */
static uint64_t hub_raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return 1024;
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
        CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    }
    return limit.rlim_cur;
}

/*
 * How many connections there may be. Under io_uring each shard has a table of its own, under epoll
 * all share the process's; the smaller number is taken, as the backend is known only later, unless
 * the operator has set one.
 */
static uint32_t hub_connection_max(const struct config *config, unsigned shard_count)
{
    if (config->connections_max > 0) {
        return config->connections_max;
    }
    uint64_t descriptors = hub_raise_descriptors();
    uint64_t reserved =
        HUB_DESCRIPTORS_RESERVED + (uint64_t)HUB_DESCRIPTORS_PER_SHARD * shard_count;
    if (config->io != IO_KIND_EPOLL) {
        descriptors *= shard_count;
    }
    uint64_t count = descriptors > 2 * reserved ? descriptors - reserved : descriptors / 2;
    return (uint32_t)min_u64(count, 1U << 24);
}

uint32_t hub_connections_per_shard(const struct hub *hub)
{
    return hub->connection_max / hub->shard_count + 1;
}

static int hub_draw_secrets(struct hub *hub, struct hash_key *key)
{
    uint64_t random[4];
    if (hub_world->random(random, sizeof(random), 0) != sizeof(random)) {
        return -EIO;
    }
    hub->seed = random[0];
    hub->epoch = random[1] & EVENT_ID_EPOCH_MASK;
    *key = (struct hash_key){random[2], random[3]};
    return 0;
}

/*
 * The names of rules point into the first configuration, which a reload may free: they are copied,
 * and stay for the life of the hub.
 */
static int pattern_copy(struct channel_pattern *pattern, struct span text)
{
    bool is_prefix = text.bytes[text.len - 1] == '*';
    char *name = memory_copy(text);
    *pattern = (struct channel_pattern){span_make(name, text.len - is_prefix), !is_prefix};
    return name == NULL ? -ENOMEM : 0;
}

/* The rules of which channel keeps what, and how far its subscribers may be behind. */
static int hub_make_rules(struct hub *hub)
{
    const struct config *config = hub->config;
    int r = 0;
    for (uint32_t i = 0; i < config->history_rule.count && r == 0; i++) {
        struct config_history_rule rule;
        CHECK(config_history_rule_parse(config->history_rule.items[i], &rule) == NULL);
        hub->history_rules[i].limits =
            (struct history_limits){(uint32_t)rule.count, rule.bytes, rule.seconds * 1000};
        r = pattern_copy(&hub->history_rules[i].pattern, rule.pattern);
    }
    for (uint32_t i = 0; i < config->lag_rule.count && r == 0; i++) {
        struct config_lag_rule rule;
        CHECK(config_lag_rule_parse(config->lag_rule.items[i], &rule) == NULL);
        hub->lag_rules[i].limits =
            (struct lag_limits){rule.policy, rule.bytes, rule.seconds * 1000};
        r = pattern_copy(&hub->lag_rules[i].pattern, rule.pattern);
    }
    return r;
}

static struct sequencer_options sequencer_options_from(const struct hub *hub,
                                                       const struct hash_key *key)
{
    const struct config *config = hub->config;
    return (struct sequencer_options){
        .shard_count = hub->shard_count,
        .epoch = hub->epoch,
        .hash_key = *key,
        .clock_ns = hub_world->clock_ns,
        .channel_count_max = config->channels_max,
        .channel_idle_ms = (uint64_t)config->channel_idle_seconds * 1000,
        .history = {.count_max = config->history_count,
                    .bytes_max = config->history_bytes,
                    .age_ms_max = (uint64_t)config->history_seconds * 1000},
        .history_rules = hub->history_rules,
        .history_rule_count = config->history_rule.count,
        .lag_rules = hub->lag_rules,
        .lag_rule_count = config->lag_rule.count,
        .history_total_bytes_max = config->history_total_bytes,
        .feed_bytes_max = HUB_FEED_BYTES_MAX,
        .queue_bytes_max = HUB_QUEUE_BYTES_MAX,
    };
}

/* Which CPUs the shards run on, and how many shards there are. */
static int hub_choose_cpus(struct hub *hub, struct cpu_list *cpus, struct buffer *problem)
{
    const struct config *config = hub->config;
    int r = cpu_allowed(cpus);
    if (r < 0) {
        buffer_append_string(problem, "cannot tell which CPUs this process may use");
        return r;
    }
    if (config->cpus[0] != '\0') {
        struct cpu_list allowed = *cpus;
        const char *why = NULL;
        r = cpu_parse(config->cpus, &allowed, cpus, &why);
        if (r < 0) {
            buffer_printf(problem, "--cpus %s: %s", config->cpus, why);
            return r;
        }
    }
    hub->shard_count = config->shards > 0 ? config->shards : cpus->count;
    if (hub->shard_count > SHARD_COUNT_MAX) {
        hub->shard_count = SHARD_COUNT_MAX;
    }
    return 0;
}

static int hub_listen_add(struct hub *hub, const struct listener_address *address, bool is_tls,
                          const struct listener_options *options, const char **ret_problem)
{
    struct hub_listen *listen = &hub->listens[hub->listen_count];
    if (hub->listen_count == HUB_LISTEN_COUNT_MAX) {
        *ret_problem = "there are more than 32 listening addresses";
        return -EINVAL;
    }
    int r = listener_open(address, options, hub->shard_count, listen->fds, ret_problem);
    /* The kernel takes a moment to let go of the sockets of a hub that was killed. */
    for (unsigned i = 0; i < HUB_LISTEN_RETRIES && r == -EADDRINUSE; i++) {
        usleep(HUB_LISTEN_RETRY_US);
        r = listener_open(address, options, hub->shard_count, listen->fds, ret_problem);
    }
    if (r == 0) {
        hub->listen_count++;
        listener_describe(listen->fds[0], listen->text, sizeof(listen->text));
        listen->is_local = strncmp(listen->text, "unix:", 5) == 0;
        listen->is_inherited = address->family == LISTENER_FAMILY_INHERITED;
        listen->is_tls = is_tls;
    }
    return r;
}

/* One --listen value: an address, or `systemd` for all sockets that were handed over. */
static int hub_listen_on(struct hub *hub, const char *text, const struct listener_options *options,
                         struct buffer *problem)
{
    const char *why = NULL;
    struct listener_address address;
    int first = 0;
    bool is_tls = config_listen_is_tls(text);
    int r = listener_parse(text + (is_tls ? CONFIG_LISTEN_TLS_LEN : 0), &address, &why);
    unsigned inherited = 0;
    if (r == 0 && address.family == LISTENER_FAMILY_INHERITED) {
        inherited = listener_inherited(&first);
    }
    if (r == 0 && inherited == 0) {
        r = hub_listen_add(hub, &address, is_tls, options, &why);
    }
    for (unsigned i = 0; i < inherited && r == 0; i++) {
        r = listener_from_inherited(first + (int)i, &address, &why);
        if (r == 0) {
            r = hub_listen_add(hub, &address, is_tls, options, &why);
        }
    }
    if (r < 0) {
        buffer_printf(problem, "cannot listen on %s: %s", text, why != NULL ? why : strerror(-r));
    }
    return r;
}

static int hub_open_listeners(struct hub *hub, struct buffer *problem)
{
    const struct config *config = hub->config;
    const struct listener_options options = {
        .backlog = (int)config->backlog,
        .keepalive_idle_seconds = (int)config->tcp_keepalive_idle_seconds,
        .keepalive_interval_seconds = (int)config->tcp_keepalive_interval_seconds,
        .keepalive_count = (int)config->tcp_keepalive_count,
        .user_timeout_ms = (int)config->user_timeout_seconds * 1000,
        .send_buffer_bytes = (int)config->send_buffer_bytes,
        .not_sent_low_bytes = (int)config->unsent_bytes_max,
        .unix_mode = 0660,
    };
    for (uint32_t i = 0; i < config->listen.count; i++) {
        int r = hub_listen_on(hub, config->listen.items[i], &options, problem);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

/* The certificate that belongs to a configuration. `before` is the one in force, or NULL. */
static int hub_make_tls(struct hub *hub, const struct config *config,
                        const struct tls_context *before, struct tls_context **ret_context,
                        struct buffer *problem)
{
    const struct tls_options options = {
        .certificate_file = config->tls_certificate,
        .key_file = config->tls_key,
        .client_ca_file = config->tls_client_ca,
        .self_signed = config->tls_self_signed != 0,
        .http2 = true,
        .previous = before,
    };
    *ret_context = NULL;
    if (!options.self_signed && options.certificate_file[0] == '\0') {
        if (before != NULL) {
            buffer_append_string(problem, "tls_certificate is gone, but TLS is in use");
        }
        return before == NULL ? 0 : -EINVAL;
    }
    if (hub->tls_tickets == NULL) {
        hub->tls_tickets = tls_tickets_new(TLS_TICKET_KEY_SECONDS);
    }
    if (hub->tls_tickets == NULL) {
        buffer_append_string(problem, "out of memory");
        return -ENOMEM;
    }
    return tls_context_new(&options, hub->tls_tickets, ret_context, problem);
}

static int hub_make_shards(struct hub *hub, const struct cpu_list *cpus)
{
    for (unsigned i = 0; i < hub->shard_count; i++) {
        hub->shards[i] = shard_new(hub, i);
        if (hub->shards[i] == NULL) {
            return -ENOMEM;
        }
        hub->shards[i]->cpu = (int)cpus->cpus[i % cpus->count];
    }
    return 0;
}

int hub_init(struct hub *hub, struct config *config, struct buffer *problem)
{
    struct hash_key key;
    struct cpu_list cpus;
    *hub = (struct hub){
        .configs = {*config},
        .start = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER}};
    hub->config = &hub->configs[0];
    int r = hub_choose_cpus(hub, &cpus, problem);
    if (r < 0) {
        return r;
    }
    r = hub_draw_secrets(hub, &key);
    if (r < 0) {
        buffer_append_string(problem, "the kernel gives no random numbers");
        return r;
    }
    hub->connection_max = hub_connection_max(hub->config, hub->shard_count);
    hub->started_ms = hub_wall_ms();
    hub->started_ns = hub_world->clock_ns();
    r = hub_make_tls(hub, hub->config, NULL, &hub->tls_contexts[0], problem);
    if (r < 0) {
        return r;
    }
    r = hub_open_listeners(hub, problem);
    if (r < 0) {
        return r;
    }
    struct log_options log_options = {
        .format = (enum log_format)hub->config->log_format,
        .level = (enum log_level)hub->config->log_level,
        .fd = STDERR_FILENO,
        .ring_count = hub->shard_count + 1,
    };
    struct sequencer_options options = sequencer_options_from(hub, &key);
    hub->log = log_new(&log_options);
    r = hub->log == NULL ? -ENOMEM : hub_make_rules(hub);
    if (r == 0) {
        r = sequencer_init(&hub->sequencer, &options);
        hub->has_sequencer = r == 0;
    }
    if (r == 0) {
        r = address_table_init(&hub->addresses, &key, hub->connection_max);
        hub->has_addresses = r == 0;
    }
    if (r == 0) {
        r = idempotency_init(&hub->idempotency, &key, hub->config->idempotency_count_max,
                             (uint64_t)hub->config->idempotency_seconds * 1000);
        hub->has_idempotency = r == 0;
    }
    if (r == 0) {
        r = hub_make_shards(hub, &cpus);
    }
    if (r < 0) {
        buffer_append_string(problem, "out of memory");
    }
    return r;
}

/* ---- Running
 * ------------------------------------------------------------------------------------------ */

/*
 * Tells main that this shard has opened, or could not, and waits until all have: no shard serves
 * anybody before each of the others can be woken. Returns whether the hub runs.
 */
static bool start_together(struct start_signal *signal)
{
    CHECK(pthread_mutex_lock(&signal->mutex) == 0);
    signal->reported++;
    CHECK(pthread_cond_broadcast(&signal->changed) == 0);
    while (!signal->decided) {
        CHECK(pthread_cond_wait(&signal->changed, &signal->mutex) == 0);
    }
    bool go = signal->go;
    CHECK(pthread_mutex_unlock(&signal->mutex) == 0);
    return go;
}

/* A request with many channels goes so deep. */
static __attribute__((noinline)) void touch_stack(void)
{
    char room[HUB_STACK_BYTES];
    room[0] = 0;
    memory_touch(room, sizeof(room));
}

static void *shard_main(void *argument)
{
    struct shard *shard = argument;
    char name[16];
    snprintf(name, sizeof(name), "shard-%u", shard->shard_index);
    pthread_setname_np(pthread_self(), name);
    if (shard->cpu >= 0 && cpu_pin((unsigned)shard->cpu) < 0) {
        shard->cpu = -1;
    }
    touch_stack();
    shard->start_result = shard_open(shard);
    if (start_together(&shard->hub->start)) {
        while (shard_turn(shard)) {
        }
    }
    shard_close(shard);
    return NULL;
}

static void hub_log_start(struct hub *hub)
{
    const struct shard *shard = hub->shards[0];
    struct log_ring *ring = hub_log(hub);
    if (hub->config->io == IO_KIND_AUTO && shard->io_reason != NULL) {
        log_line(ring, LOG_LEVEL_WARN, "io_uring is not used", LOG_TEXT("cause", shard->io_reason),
                 LOG_TEXT("io", io_kind_name(io_kind_of(shard->io))));
    }
    if (hub->config->tokens.count == 0) {
        log_line(ring, LOG_LEVEL_WARN, "protected mode",
                 LOG_TEXT("meaning", "no publish token: publishing from this machine only"));
    }
    if (hub->config->tls_self_signed != 0) {
        char spki[TLS_SPKI_TEXT_MAX];
        tls_context_spki(hub->tls_contexts[0], spki);
        log_line(ring, LOG_LEVEL_WARN, "self-signed certificate",
                 LOG_TEXT("meaning", "clients cannot know that it is this hub; for development"),
                 LOG_TEXT("public_key_sha256", spki));
    }
    bool any_tls = false;
    for (unsigned i = 0; i < hub->listen_count; i++) {
        any_tls |= hub->listens[i].is_tls;
    }
    if (hub->tls_contexts[0] != NULL && !any_tls) {
        log_line(ring, LOG_LEVEL_WARN, "TLS is not used",
                 LOG_TEXT("cause", "no address begins with tls:, as --listen tls:127.0.0.1:8443"));
    }
    for (unsigned i = 0; i < hub->listen_count; i++) {
        log_line(ring, LOG_LEVEL_INFO, "listening", LOG_TEXT("address", hub->listens[i].text),
                 LOG_TEXT("tls", hub->listens[i].is_tls ? "yes" : "no"));
    }
    log_line(ring, LOG_LEVEL_INFO, "ready", LOG_TEXT("version", SPATE_VERSION),
             LOG_TEXT("io", io_kind_name(io_kind_of(shard->io))),
             LOG_U64("shards", hub->shard_count), LOG_U64("connections_max", hub->connection_max));
}

/* Waits for the reports of `started` shards, then lets all of them run, or end. */
static int start_decide(struct hub *hub, unsigned started, int result, struct buffer *problem)
{
    struct start_signal *signal = &hub->start;
    CHECK(pthread_mutex_lock(&signal->mutex) == 0);
    while (signal->reported < started) {
        CHECK(pthread_cond_wait(&signal->changed, &signal->mutex) == 0);
    }
    for (unsigned i = 0; i < started && result == 0; i++) {
        if (hub->shards[i]->start_result < 0) {
            result = hub->shards[i]->start_result;
            buffer_printf(problem, "shard %u cannot start: %s", i, hub->shards[i]->start_problem);
        }
    }
    signal->decided = true;
    signal->go = result == 0;
    CHECK(pthread_cond_broadcast(&signal->changed) == 0);
    CHECK(pthread_mutex_unlock(&signal->mutex) == 0);
    return result;
}

int hub_start(struct hub *hub, struct buffer *problem)
{
    unsigned started = 0;
    int result = 0;
    while (started < hub->shard_count && result == 0) {
        result =
            -pthread_create(&hub->shards[started]->thread, NULL, shard_main, hub->shards[started]);
        if (result == 0) {
            started++;
        } else {
            buffer_printf(problem, "cannot start a thread: %s", strerror(-result));
        }
    }
    result = start_decide(hub, started, result, problem);
    if (result == 0) {
        hub_log_start(hub);
        return 0;
    }
    for (unsigned i = 0; i < started; i++) {
        CHECK(pthread_join(hub->shards[i]->thread, NULL) == 0);
    }
    return result;
}

static void hub_wake_all(struct hub *hub)
{
    for (unsigned i = 0; i < hub->shard_count; i++) {
        shard_wake(hub->shards[i]);
    }
}

void hub_drain(struct hub *hub)
{
    if (hub_is_draining(hub)) {
        /* Release: see shard_drain. */
        __atomic_store_n(&hub->stopping, 1, __ATOMIC_RELEASE);
        log_line(hub_log(hub), LOG_LEVEL_WARN, "stopping at once");
    } else {
        /* Release: pairs with hub_is_draining. Whoever reads the line below finds it so. */
        __atomic_store_n(&hub->draining, 1, __ATOMIC_RELEASE);
        log_line(hub_log(hub), LOG_LEVEL_INFO, "draining",
                 LOG_U64("seconds", hub->config->drain_seconds));
    }
    hub_wake_all(hub);
}

/* Whether every shard has moved over to the configuration in force. */
static bool hub_config_is_everywhere(const struct hub *hub)
{
    for (unsigned i = 0; i < hub->shard_count; i++) {
        /* Acquire: pairs with shard_take_config; the shard reads the old one no more. */
        if (__atomic_load_n(&hub->shards[i]->config_generation, __ATOMIC_ACQUIRE) !=
            hub->config_generation) {
            return false;
        }
    }
    return true;
}

void hub_reload(struct hub *hub)
{
    struct buffer message;
    struct config *next = hub->config == &hub->configs[0] ? &hub->configs[1] : &hub->configs[0];
    buffer_init(&message, 1024 * 1024);
    for (unsigned waited_ms = 0; !hub_config_is_everywhere(hub); waited_ms++) {
        if (waited_ms == HUB_RELOAD_WAIT_MS) {
            log_line(hub_log(hub), LOG_LEVEL_ERROR, "reload refused",
                     LOG_TEXT("cause", "the reload before has not reached every shard"));
            return;
        }
        hub_wake_all(hub);
        usleep(1000);
    }
    struct tls_context **next_tls = &hub->tls_contexts[next - hub->configs];
    const struct tls_context *tls = hub->tls_contexts[hub->config - hub->configs];
    config_fini(next);
    tls_context_free(*next_tls);
    *next_tls = NULL;
    if (config_reload(hub->config, next, &message) == CONFIG_BAD ||
        hub_make_tls(hub, next, tls, next_tls, &message) < 0) {
        config_fini(next);
        log_line(hub_log(hub), LOG_LEVEL_ERROR, "reload failed",
                 LOG_STR("problem", buffer_span(&message)));
    } else {
        log_set_level(hub->log, (enum log_level)next->log_level);
        /* Release both: the configuration is complete before a shard can find it. */
        __atomic_store_n(&hub->config, next, __ATOMIC_RELEASE);
        __atomic_store_n(&hub->config_generation, hub->config_generation + 1, __ATOMIC_RELEASE);
        hub_wake_all(hub);
        log_line(hub_log(hub), LOG_LEVEL_INFO, "reloaded",
                 LOG_STR("changes", buffer_span(&message)));
    }
    buffer_fini(&message);
}

/* ---- Ending
 * -------------------------------------------------------------------------------------------- */

/* Errands that were under way between shards when these ended come home here. */
static void hub_deliver_last_mail(struct hub *hub)
{
    size_t delivered;
    do {
        delivered = 0;
        for (unsigned i = 0; i < hub->shard_count && hub->shards[i] != NULL; i++) {
            delivered += mailbox_deliver_all(&hub->shards[i]->mailbox, hub->shards[i]);
        }
    } while (delivered > 0);
}

void hub_join(struct hub *hub)
{
    for (unsigned i = 0; i < hub->shard_count; i++) {
        CHECK(pthread_join(hub->shards[i]->thread, NULL) == 0);
    }
}

void hub_fini(struct hub *hub)
{
    hub_deliver_last_mail(hub);
    for (unsigned i = 0; i < hub->listen_count; i++) {
        for (unsigned j = 0; j < hub->shard_count; j++) {
            if (hub->listens[i].fds[j] >= 0) {
                close(hub->listens[i].fds[j]);
            }
        }
        if (hub->listens[i].is_local && !hub->listens[i].is_inherited) {
            unlink(hub->listens[i].text + strlen("unix:"));
        }
    }
    for (unsigned i = 0; i < hub->shard_count; i++) {
        if (hub->shards[i] != NULL) {
            shard_free(hub->shards[i]);
        }
    }
    if (hub->has_sequencer) {
        sequencer_fini(&hub->sequencer);
    }
    for (unsigned i = 0; i < CONFIG_LIST_COUNT_MAX; i++) {
        memory_free((char *)hub->history_rules[i].pattern.prefix.bytes);
        memory_free((char *)hub->lag_rules[i].pattern.prefix.bytes);
    }
    if (hub->has_addresses) {
        address_table_fini(&hub->addresses);
    }
    if (hub->has_idempotency) {
        idempotency_fini(&hub->idempotency);
    }
    if (hub->log != NULL) {
        log_line(hub_log(hub), LOG_LEVEL_INFO, "stopped");
        log_stop(hub->log, HUB_LOG_STOP_MS);
    }
    for (unsigned i = 0; i < HUB_CONFIG_COUNT_MAX; i++) {
        config_fini(&hub->configs[i]);
        tls_context_free(hub->tls_contexts[i]);
    }
    tls_tickets_free(hub->tls_tickets);
}
