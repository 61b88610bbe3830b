/* The program: reads its configuration, starts the hub, and forwards signals to it. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "hub/hub.h"

extern char **environ;

enum { MAIN_MESSAGE_MAX = 1024 * 1024 };

/* Signals are taken one at a time by main with sigwait; no thread is ever interrupted by one. */
static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    CHECK(pthread_sigmask(SIG_BLOCK, set, NULL) == 0);
    CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
}

struct ending {
    struct hub *hub;
    pthread_t waiter;
    uint32_t ended; /* atomic */
};

/* Waits for the shards, so that main can go on taking signals meanwhile. */
static void *wait_for_end(void *argument)
{
    struct ending *ending = argument;
    hub_join(ending->hub);
    /* Release: pairs with the load in serve; the shards are gone. */
    __atomic_store_n(&ending->ended, 1, __ATOMIC_RELEASE);
    kill(getpid(), SIGTERM);
    return NULL;
}

static void serve(struct hub *hub, const sigset_t *signals)
{
    struct ending ending = {.hub = hub};
    bool is_ending = false;
    for (;;) {
        int number = 0;
        CHECK(sigwait(signals, &number) == 0);
        /* Acquire: pairs with wait_for_end. */
        if (__atomic_load_n(&ending.ended, __ATOMIC_ACQUIRE) != 0) {
            break;
        }
        if (number == SIGHUP) {
            hub_reload(hub);
            continue;
        }
        hub_drain(hub);
        if (!is_ending) {
            is_ending = true;
            CHECK(pthread_create(&ending.waiter, NULL, wait_for_end, &ending) == 0);
        }
    }
    CHECK(pthread_join(ending.waiter, NULL) == 0);
    hub_fini(hub);
}

int main(int argc, char **argv)
{
    static struct hub hub;
    struct config config;
    struct buffer message;
    sigset_t signals;
    buffer_init(&message, MAIN_MESSAGE_MAX);
    switch (config_load(&config, argc, argv, environ, &message)) {
    case CONFIG_EXIT_OK:
        fwrite(message.bytes, 1, message.len, stdout);
        buffer_fini(&message);
        return fflush(stdout) == 0 ? 0 : CONFIG_EXIT_STATUS_RUNTIME;
    case CONFIG_BAD:
        fwrite(message.bytes, 1, message.len, stderr);
        buffer_fini(&message);
        return CONFIG_EXIT_STATUS_BAD;
    case CONFIG_OK:
        break;
    }
    block_signals(&signals);
    if (hub_init(&hub, &config, &message) < 0 || hub_start(&hub, &message) < 0) {
        fprintf(stderr, "spate: %.*s\n", (int)message.len, message.bytes);
        buffer_fini(&message);
        hub_fini(&hub);
        return CONFIG_EXIT_STATUS_RUNTIME;
    }
    buffer_fini(&message);
    serve(&hub, &signals);
    return 0;
}
