/* spate-load: subscribes, publishes, checks and times. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tools/load/message.h"
#include "tools/load/publisher.h"
#include "tools/load/steps.h"
#include "tools/load/worker.h"

enum { LOOK_EVERY_NS = 20000000, FINISH_NS = 10000000 };

static volatile sig_atomic_t stop_asked;

static void on_signal(int number)
{
    (void)number;
    stop_asked = 1;
}

double run_seconds(const struct run *run)
{
    return (double)(load_now_ns() - run->begin_ns) / 1e9;
}

/* --- Processes -------------------------------------------------------------------------------- */

static void child_begin(pid_t parent)
{
    /* The one that reports decides; and nobody outlives it. */
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGTERM, SIG_DFL);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(LOAD_FAULTS);
    }
}

static int run_fork(struct run *run)
{
    struct scoreboard *board = run->board;
    const pid_t parent = getpid();
    (void)fflush(NULL);
    for (unsigned i = 0; i < board->worker_count; i++) {
        const pid_t pid = fork();
        if (pid == 0) {
            child_begin(parent);
            worker_run(run->options, board, i);
        }
        if (pid < 0) {
            return -errno;
        }
        board->workers[i].pid = pid;
    }
    if (run->options->publisher_count == 0) {
        board->publisher.is_finished = 1;
        return 0;
    }
    const pid_t pid = fork();
    if (pid == 0) {
        child_begin(parent);
        publisher_run(run->options, board);
    }
    board->publisher.pid = pid < 0 ? 0 : pid;
    return pid < 0 ? -errno : 0;
}

static bool is_finished(const uint64_t *flag)
{
    /* Acquire: pairs with the release at the end of a process; its score is complete. */
    return __atomic_load_n(flag, __ATOMIC_ACQUIRE) != 0;
}

static bool all_finished(const struct run *run)
{
    bool finished = is_finished(&run->board->publisher.is_finished);
    for (unsigned i = 0; i < run->board->worker_count; i++) {
        finished = finished && is_finished(&run->board->workers[i].is_finished);
    }
    return finished;
}

/* Takes leave of the processes that have ended; one that has not finished breaks the run. */
static void run_reap(struct run *run)
{
    struct scoreboard *board = run->board;
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        const uint64_t *finished = &board->publisher.is_finished;
        for (unsigned i = 0; i < board->worker_count; i++) {
            if (board->workers[i].pid == pid) {
                board->workers[i].pid = 0;
                finished = &board->workers[i].is_finished;
            }
        }
        if (board->publisher.pid == pid) {
            board->publisher.pid = 0;
        }
        if (!is_finished(finished)) {
            run->is_broken = true;
        }
    }
}

static void run_kill(struct run *run)
{
    struct scoreboard *board = run->board;
    for (unsigned i = 0; i < board->worker_count; i++) {
        if (board->workers[i].pid > 0) {
            (void)kill(board->workers[i].pid, SIGKILL);
            (void)waitpid(board->workers[i].pid, NULL, 0);
        }
    }
    if (board->publisher.pid > 0) {
        (void)kill(board->publisher.pid, SIGKILL);
        (void)waitpid(board->publisher.pid, NULL, 0);
    }
}

/* --- Phases ----------------------------------------------------------------------------------- */

bool run_look(struct run *run, const char *phase, double done)
{
    const struct timespec pause = {0, LOOK_EVERY_NS};
    (void)nanosleep(&pause, NULL);
    run_reap(run);
    const double now_s = run_seconds(run);
    if (now_s - run->sampled_s >= run->result->sample_every_s) {
        run->sampled_s = now_s;
        result_sample(run->result, now_s);
        progress_show(&run->progress, run->result, phase, done);
    }
    return !run->is_broken && !stop_asked;
}

/* True if it is worth going on. */
static bool run_connect(struct run *run)
{
    const struct options *options = run->options;
    const double begin_s = run_seconds(run);
    double timeout_s = options->connect_timeout_s;
    if (options->connect_rate > 0) {
        timeout_s += options->subscriber_count / options->connect_rate;
    }
    for (;;) {
        const double passed_s = run_seconds(run) - begin_s;
        struct score_counts counts;
        scoreboard_count(run->board, &counts);
        run->result->opened = counts.open;
        run->result->connect_s = passed_s;
        if (counts.open >= options->subscriber_count) {
            return true;
        }
        /* A server that is not there need not be waited for. */
        const bool is_hopeless = counts.connects == 0 && passed_s > 2 &&
                                 counts.connect_failures > options->subscriber_count;
        if (passed_s > timeout_s || is_hopeless) {
            return counts.open > 0;
        }
        if (!run_look(run, "connecting", (double)counts.open / options->subscriber_count)) {
            return false;
        }
    }
}

static void call_storms(struct run *run, double passed_s)
{
    const struct options *options = run->options;
    struct scoreboard *board = run->board;
    if (options->storm_percent > 0 &&
        passed_s >= options->storm_every_s * (board->storm_count + 1) &&
        passed_s < options->duration_s) {
        board->storm_count++;
        scoreboard_give_order(board, LOAD_ORDER_STORM, 0);
    }
}

static void run_publish(struct run *run)
{
    const struct options *options = run->options;
    struct scoreboard *board = run->board;
    board->start_ns = load_now_ns() + LOOK_EVERY_NS;
    board->stop_ns = board->start_ns + (uint64_t)(options->duration_s * 1e9);
    scoreboard_set_phase(board, LOAD_PUBLISH);
    const char *phase = options->publisher_count > 0 ? "publishing" : "holding";
    for (;;) {
        const uint64_t now_ns = load_now_ns();
        const double passed_s =
            now_ns > board->start_ns ? (double)(now_ns - board->start_ns) / 1e9 : 0;
        const bool is_over = now_ns >= board->stop_ns;
        if ((is_over && is_finished(&board->publisher.is_finished)) ||
            passed_s > options->duration_s + options->drain_s) {
            return;
        }
        call_storms(run, passed_s);
        if (!run_look(run, phase, fmin(passed_s / options->duration_s, 1))) {
            return;
        }
    }
}

static uint32_t readers_of(const struct options *options, uint32_t channel)
{
    return options->subscriber_count / options->channel_count +
           (channel < options->subscriber_count % options->channel_count);
}

/* What everybody together must get. Publications that were not acknowledged may come besides. */
static uint64_t expected_deliveries(const struct run *run)
{
    const struct options *options = run->options;
    const struct scoreboard *board = run->board;
    uint64_t expected = 0;
    if (options->steps_path != NULL) {
        return run->steps_expected;
    }
    for (uint32_t channel = 0; channel < options->channel_count; channel++) {
        uint64_t published = 0;
        for (uint32_t slot = 0; slot < board->slot_count; slot++) {
            published += score_get(&board->published[(size_t)channel * board->slot_count + slot]);
        }
        expected += published * readers_of(options, channel);
    }
    const uint32_t uncertain_count =
        __atomic_load_n(&board->uncertain_count, __ATOMIC_ACQUIRE); /* as its entries */
    for (uint32_t i = 0; i < uncertain_count && i < SCORE_UNCERTAIN_COUNT_MAX; i++) {
        expected -= readers_of(options, board->uncertain[i].channel);
    }
    return expected;
}

static void run_drain(struct run *run)
{
    const double begin_s = run_seconds(run);
    const double limit_s = stop_asked ? fmin(run->options->drain_s, 1) : run->options->drain_s;
    scoreboard_set_phase(run->board, LOAD_DRAIN);
    for (;;) {
        struct score_counts counts;
        scoreboard_count(run->board, &counts);
        const uint64_t expected = expected_deliveries(run);
        const uint64_t known = counts.deliveries + counts.missing;
        if (known >= expected || run_seconds(run) - begin_s > limit_s || run->is_broken) {
            run->result->expected = expected;
            return;
        }
        (void)run_look(run, "waiting for the rest", (double)known / (double)expected);
    }
}

static void run_finish(struct run *run)
{
    const double begin_s = run_seconds(run);
    scoreboard_set_phase(run->board, LOAD_DONE);
    while (!all_finished(run) && !run->is_broken && run_seconds(run) - begin_s < 10) {
        const struct timespec pause = {0, FINISH_NS};
        (void)nanosleep(&pause, NULL);
        run_reap(run);
    }
    if (!all_finished(run)) {
        run->is_broken = true;
    }
    run_kill(run);
}

static void run_measure(struct run *run, struct usage *ret_usage)
{
    usage_read(run->options->pids, run->options->pid_count, ret_usage);
}

static void run_all(struct run *run)
{
    struct result *result = run->result;
    run_measure(run, &result->before);
    result_sample(result, 0);
    if (run_fork(run) < 0) {
        run->is_broken = true;
    }
    const bool goes_on = !run->is_broken && run_connect(run);
    run_measure(run, &result->connected);
    if (goes_on && run->options->steps_path != NULL) {
        steps_run(run);
    } else if (goes_on) {
        run_publish(run);
    }
    const uint64_t published_ns = load_now_ns();
    run_drain(run);
    run_measure(run, &result->after);
    const struct scoreboard *board = run->board;
    if (goes_on && published_ns > board->start_ns) {
        /* With what was still on its way, unless that was waited for in vain. */
        const bool is_complete = result->all.deliveries >= result->expected;
        result->publish_s =
            (double)((is_complete ? load_now_ns() : published_ns) - board->start_ns) / 1e9;
    }
    result_sample(result, run_seconds(run));
    run_finish(run);
    progress_end(&run->progress);
    result_sum(result);
    result->is_interrupted = stop_asked != 0;
}

/* --- Results ---------------------------------------------------------------------------------- */

static FILE *open_output(const char *path)
{
    FILE *file = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
    if (file == NULL) {
        fprintf(stderr, "spate-load: %s: %s\n", path, strerror(errno));
    }
    return file;
}

static bool close_output(FILE *file, const char *path)
{
    const bool failed = ferror(file) != 0;
    if ((file == stdout ? fflush(file) : fclose(file)) != 0 || failed) {
        fprintf(stderr, "spate-load: %s could not be written\n", path);
        return false;
    }
    return true;
}

static bool write_picture(const struct result *result, const char *path,
                          void (*draw)(const struct result *result, struct buffer *buffer))
{
    struct buffer buffer;
    FILE *file = open_output(path);
    if (file == NULL) {
        return false;
    }
    buffer_init(&buffer, 64 << 20);
    draw(result, &buffer);
    if (buffer.failed || fwrite(buffer.bytes, 1, buffer.len, file) != buffer.len) {
        fprintf(stderr, "spate-load: %s: the picture could not be drawn\n", path);
    }
    buffer_fini(&buffer);
    return close_output(file, path);
}

static bool is_stdout(const char *path)
{
    return path != NULL && strcmp(path, "-") == 0;
}

static bool write_results(const struct result *result)
{
    const struct options *options = result->options;
    bool ok = true;
    /* The table makes way for a result that wants standard output for itself. */
    const bool is_taken = is_stdout(options->json_path) || is_stdout(options->html_path) ||
                          is_stdout(options->svg_path) || options->steps_path != NULL;
    report_table(result, is_taken ? stderr : stdout);
    if (options->json_path != NULL) {
        FILE *file = open_output(options->json_path);
        ok = file != NULL && report_json(result, file) == 0;
        ok = file != NULL && close_output(file, options->json_path) && ok;
    }
    if (options->html_path != NULL) {
        ok = write_picture(result, options->html_path, picture_html) && ok;
    }
    if (options->svg_path != NULL) {
        ok = write_picture(result, options->svg_path, picture_svg) && ok;
    }
    return ok;
}

/* Whether the longest requests fit: then all do. */
static bool try_requests(const struct options *options)
{
    struct buffer publish;
    struct buffer subscribe;
    const uint32_t channel = options->channel_count - 1;
    char id[EVENT_ID_LEN_KEPT] = {0};
    char *message = calloc(1, options->message_len);
    buffer_init(&publish, TARGET_PUBLISH_LEN_MAX);
    buffer_init(&subscribe, TARGET_SUBSCRIBE_LEN_MAX);
    target_write_subscribe(&options->target, channel, span_make(id, sizeof id), &subscribe);
    if (message != NULL && options->publisher_count > 0) {
        target_write_publish(&options->target, channel, span_make(message, options->message_len),
                             &publish);
    }
    const bool fits = message != NULL && !publish.failed && !subscribe.failed;
    buffer_fini(&publish);
    buffer_fini(&subscribe);
    free(message);
    return fits;
}

/* Told before a run, not after it. A pipe is left alone: opening and closing it would end it. */
static bool can_open(const char *path, int flags)
{
    struct stat status;
    if (path == NULL || strcmp(path, "-") == 0 ||
        (stat(path, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))) {
        return true;
    }
    const int fd = open(path, flags | O_CLOEXEC, 0666);
    if (fd < 0) {
        fprintf(stderr, "spate-load: %s: %s\n", path, strerror(errno));
        return false;
    }
    (void)close(fd);
    return true;
}

static bool can_open_all(const struct options *options)
{
    return can_open(options->steps_path, O_RDONLY) &&
           can_open(options->json_path, O_WRONLY | O_CREAT) &&
           can_open(options->html_path, O_WRONLY | O_CREAT) &&
           can_open(options->svg_path, O_WRONLY | O_CREAT);
}

int main(int argc, char **argv)
{
    static struct options options;
    static struct result result;
    int code = options_read(&options, argc, argv);
    if (code >= 0) {
        return code;
    }
    if (!try_requests(&options)) {
        fprintf(stderr, "spate-load: a request would be too long\n");
        return LOAD_USAGE;
    }
    if (!can_open_all(&options)) {
        return LOAD_USAGE;
    }
    const uint32_t slots = publisher_slot_count(&options);
    struct scoreboard *board =
        scoreboard_new(options.worker_count, (uint64_t)options.channel_count * slots);
    if (board == NULL) {
        fprintf(stderr, "spate-load: not enough memory\n");
        return LOAD_UNREACHABLE;
    }
    board->slot_count = slots;
    board->run = options.target.run;
    result.options = &options;
    result.board = board;
    result.sample_every_s = 0.1;
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);

    struct run run = {.options = &options, .board = board, .result = &result};
    run.begin_ns = load_now_ns();
    progress_init(&run.progress, !options.is_quiet);
    run_all(&run);
    result_judge(&result);
    const bool is_written = write_results(&result);
    const bool has_faults = result_has_faults(&result);
    scoreboard_free(board);
    if (run.steps_are_wrong) {
        return LOAD_USAGE;
    }
    if (run.is_broken) {
        fprintf(stderr, "spate-load: one of its processes ended too early\n");
        return LOAD_FAULTS;
    }
    if (result.all.connects == 0) {
        fprintf(stderr, "spate-load: nobody could connect to %s: %s\n",
                options.target.subscribe_at.host,
                result.all.problem[0] != '\0' ? result.all.problem : "no answer");
        return LOAD_UNREACHABLE;
    }
    return has_faults || run.steps_failed || !is_written ? LOAD_FAULTS : LOAD_OK;
}
