#include "tools/load/steps.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <poll.h>
#include <unistd.h>

enum {
    STEP_LINE_LEN_MAX = 200,
    /* A message is due a little later than it is decided on, so that the publisher is there. */
    STEP_LEAD_NS = 40000000,
};

struct step {
    const char *name;
    unsigned value_count;
    double values[2];
};

struct steps {
    struct run *run;
    int fd;
    size_t len; /* of what was read and not taken */
    char text[STEP_LINE_LEN_MAX];
    uint32_t vanished;
    uint32_t away;
    uint64_t owed; /* deliveries that those who are away will only get when they are back */
    struct score_counts counts;
    struct histogram latency;  /* as they were when the step began */
    struct histogram recovery; /* " */
};

struct step_kind {
    const char *name;
    unsigned values_min, values_max;
    bool (*run)(struct steps *steps, const struct step *step);
};

/* --- Waiting ---------------------------------------------------------------------------------- */

static uint32_t readers(const struct steps *steps)
{
    return steps->run->options->subscriber_count - steps->vanished;
}

/* Deliveries of all steps so far that are not owed, as far as they have come or are known not to.
 */
static bool all_delivered(struct steps *steps, double *ret_done)
{
    const uint64_t expected = steps->run->steps_expected - steps->owed;
    scoreboard_count(steps->run->board, &steps->counts);
    const uint64_t known = steps->counts.deliveries + steps->counts.missing;
    *ret_done = expected == 0 ? 1 : (double)known / (double)expected;
    return known >= expected;
}

static bool all_answered(const struct steps *steps)
{
    const struct publisher_score *publisher = &steps->run->board->publisher;
    return score_get(&publisher->acknowledged) + score_get(&publisher->refused) +
               score_get(&publisher->failed) >=
           steps->run->board->goal;
}

static bool await_order(struct steps *steps, const char *phase)
{
    const double begin_s = run_seconds(steps->run);
    while (!scoreboard_order_is_done(steps->run->board)) {
        if (!run_look(steps->run, phase, 0) ||
            run_seconds(steps->run) - begin_s > steps->run->options->connect_timeout_s) {
            return false;
        }
    }
    scoreboard_count(steps->run->board, &steps->counts);
    return true;
}

/* --- Steps ------------------------------------------------------------------------------------ */

static void publish(struct steps *steps, uint64_t count, double every_s)
{
    struct scoreboard *board = steps->run->board;
    board->goal_begin_ns = load_now_ns() + STEP_LEAD_NS;
    board->goal_begin_number = board->goal;
    board->goal_every_ns = (uint64_t)(every_s * 1e9);
    /* Release: pairs with the acquire of the publisher. */
    __atomic_store_n(&board->goal, board->goal + count, __ATOMIC_RELEASE);
    steps->run->steps_expected += count * readers(steps);
    steps->owed += count * steps->away;
}

static bool step_publish(struct steps *steps, const struct step *step)
{
    struct run *run = steps->run;
    const uint64_t count = step->value_count > 0 ? (uint64_t)step->values[0] : 1;
    const double every_s = step->value_count > 1 ? step->values[1] : 0;
    const double limit_s = run_seconds(run) + (double)count * every_s + run->options->drain_s;
    if (run->options->publisher_count == 0) {
        return false;
    }
    publish(steps, count, every_s);
    double done;
    while (!all_delivered(steps, &done) || !all_answered(steps)) {
        if (!run_look(run, "publishing", done) || run_seconds(run) > limit_s) {
            return false;
        }
    }
    return true;
}

static bool step_hold(struct steps *steps, const struct step *step)
{
    const double begin_s = run_seconds(steps->run);
    double passed_s = 0;
    while (passed_s < step->values[0]) {
        if (!run_look(steps->run, "holding", passed_s / step->values[0])) {
            return false;
        }
        passed_s = run_seconds(steps->run) - begin_s;
    }
    return true;
}

static bool step_cut(struct steps *steps, const struct step *step)
{
    const uint32_t count = (uint32_t)step->values[0];
    scoreboard_count(steps->run->board, &steps->counts);
    const uint64_t before = steps->counts.storm_cuts;
    scoreboard_give_order(steps->run->board, LOAD_ORDER_CUT, count);
    steps->run->board->storm_count++;
    if (!await_order(steps, "cutting")) {
        return false;
    }
    steps->away += (uint32_t)(steps->counts.storm_cuts - before);
    return steps->counts.storm_cuts - before == count;
}

static bool step_return(struct steps *steps, const struct step *step)
{
    struct run *run = steps->run;
    const uint32_t away = steps->away;
    const uint32_t message_count = step->value_count > 0 ? (uint32_t)step->values[0] : 0;
    const double limit_s =
        run_seconds(run) + run->options->connect_timeout_s + run->options->drain_s;
    uint32_t published = 0;
    scoreboard_give_order(run->board, LOAD_ORDER_RETURN, 0);
    steps->away = 0;
    steps->owed = 0;
    for (;;) {
        double done;
        const bool delivered = all_delivered(steps, &done);
        const uint64_t missing = readers(steps) - min_u64(steps->counts.open, readers(steps));
        const uint64_t back = away - min_u64(missing, away);
        while (published < message_count &&
               back * (message_count + 1) >= (uint64_t)away * (published + 1)) {
            publish(steps, 1, 0);
            published++;
        }
        if (delivered && missing == 0 && published == message_count && all_answered(steps) &&
            all_delivered(steps, &done)) {
            return scoreboard_order_is_done(run->board);
        }
        if (!run_look(run, "returning", away == 0 ? 1 : (double)back / away) ||
            run_seconds(run) > limit_s) {
            return false;
        }
    }
}

static bool step_vanish(struct steps *steps, const struct step *step)
{
    (void)step;
    scoreboard_give_order(steps->run->board, LOAD_ORDER_VANISH, 0);
    if (!await_order(steps, "vanishing")) {
        return false;
    }
    steps->vanished = (uint32_t)steps->counts.vanished;
    return true;
}

static const struct step_kind kinds[] = {
    {"publish", 0, 2, step_publish}, {"hold", 1, 1, step_hold},     {"cut", 1, 1, step_cut},
    {"return", 0, 1, step_return},   {"vanish", 0, 0, step_vanish},
};

/* --- Reports ---------------------------------------------------------------------------------- */

static json_t *json_ms(uint64_t ns)
{
    return json_real((double)ns / 1e6);
}

/* What a histogram has got since the step began. */
static json_t *json_times_since(const struct histogram *now, const struct histogram *before)
{
    static struct histogram recent;
    result_histogram_since(now, before, &recent);
    const unsigned first = histogram_next(&recent, 0);
    if (first == HISTOGRAM_BUCKET_COUNT) {
        return json_null();
    }
    json_t *object = json_object();
    (void)json_object_set_new(object, "first", json_ms(histogram_bucket_low(first)));
    (void)json_object_set_new(object, "p50", json_ms(histogram_percentile(&recent, 50)));
    (void)json_object_set_new(object, "p99", json_ms(histogram_percentile(&recent, 99)));
    (void)json_object_set_new(object, "last", json_ms(histogram_percentile(&recent, 100)));
    return object;
}

static void report_step(struct steps *steps, const struct step *step, double from_s, bool ok)
{
    struct run *run = steps->run;
    result_sum(run->result);
    const struct worker_score *all = &run->result->all;
    json_t *object = json_pack(
        "{s:s, s:b, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:I}", "step", step->name, "ok", (int)ok,
        "from_seconds", from_s, "to_seconds", run_seconds(run), "open", (json_int_t)all->open,
        "away", (json_int_t)steps->away, "vanished", (json_int_t)all->vanished, "deliveries",
        (json_int_t)all->deliveries, "expected", (json_int_t)(run->steps_expected - steps->owed),
        "missing", (json_int_t)(all->lost + all->announced + all->unresumed));
    (void)json_object_set_new(object, "latency_ms",
                              json_times_since(&all->latency, &steps->latency));
    (void)json_object_set_new(object, "recovery_ms",
                              json_times_since(&all->recovery, &steps->recovery));
    (void)json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    (void)fputc('\n', stdout);
    (void)fflush(stdout);
    json_decref(object);
}

/* --- Lines ------------------------------------------------------------------------------------ */

/* NULL: a line that is none, or no kind of step. */
static const struct step_kind *step_read(const char *line, char name[16], struct step *ret_step)
{
    char more[2];
    const int count =
        sscanf(line, "%15s %lf %lf %1s", name, &ret_step->values[0], &ret_step->values[1], more);
    ret_step->name = name;
    ret_step->value_count = count > 1 ? (unsigned)count - 1 : 0;
    /* A word that is not a number stops the reading, and would be passed over. */
    const char *rest = line + strspn(line, " \t");
    for (int i = 0; i < count && i < 3; i++) {
        rest += strcspn(rest, " \t");
        rest += strspn(rest, " \t");
    }
    if (count < 1 || *rest != '\0') {
        return NULL;
    }
    for (unsigned i = 0; i < ret_step->value_count; i++) {
        if (!isfinite(ret_step->values[i]) || ret_step->values[i] < 0 ||
            ret_step->values[i] > 1e9) {
            return NULL;
        }
    }
    for (size_t i = 0; i < countof(kinds); i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            return ret_step->value_count >= kinds[i].values_min &&
                           ret_step->value_count <= kinds[i].values_max
                       ? &kinds[i]
                       : NULL;
        }
    }
    return NULL;
}

static bool step_run(struct steps *steps, const char *line)
{
    char name[16];
    struct step step = {.value_count = 0};
    if (line[strspn(line, " \t")] == '\0' || line[0] == '#') {
        return true;
    }
    const struct step_kind *kind = step_read(line, name, &step);
    if (kind == NULL) {
        fprintf(stderr, "spate-load: not a step: %s\n", line);
        steps->run->steps_are_wrong = true;
        return false;
    }
    const double from_s = run_seconds(steps->run);
    result_sum(steps->run->result);
    steps->latency = steps->run->result->all.latency;
    steps->recovery = steps->run->result->all.recovery;
    scoreboard_count(steps->run->board, &steps->counts);
    const uint64_t missing = steps->counts.missing;
    bool ok = kind->run(steps, &step);
    scoreboard_count(steps->run->board, &steps->counts);
    ok = ok && steps->counts.missing == missing;
    report_step(steps, &step, from_s, ok);
    steps->run->steps_failed = !ok;
    return ok;
}

/* The next line, terminated, or false at the end, at a line that is too long and on a signal. */
static bool next_line(struct steps *steps, char line[STEP_LINE_LEN_MAX + 1])
{
    for (;;) {
        const char *end = memchr(steps->text, '\n', steps->len);
        if (end == NULL && steps->len == sizeof steps->text) {
            fprintf(stderr, "spate-load: not a step: a line of more than %d characters\n",
                    STEP_LINE_LEN_MAX - 1);
            steps->run->steps_are_wrong = true;
            return false;
        }
        if (end != NULL) {
            const size_t len = (size_t)(end - steps->text);
            memcpy(line, steps->text, len);
            line[len] = '\0';
            steps->len -= len + 1;
            memmove(steps->text, steps->text + len + 1, steps->len);
            return true;
        }
        struct pollfd readable = {.fd = steps->fd, .events = POLLIN};
        if (poll(&readable, 1, 0) > 0) {
            const ssize_t got =
                read(steps->fd, steps->text + steps->len, sizeof steps->text - steps->len);
            if (got <= 0 && steps->len == 0) {
                return false;
            }
            if (got <= 0) {
                steps->text[steps->len++] = '\n'; /* the last line needs no end */
            } else {
                steps->len += (size_t)got;
            }
        } else if (!run_look(steps->run, "waiting", 0)) {
            return false;
        }
    }
}

void steps_run(struct run *run)
{
    static struct steps steps;
    const char *path = run->options->steps_path;
    char line[STEP_LINE_LEN_MAX + 1];
    steps.run = run;
    steps.fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (steps.fd < 0) {
        fprintf(stderr, "spate-load: %s: %s\n", path, strerror(errno));
        run->steps_are_wrong = true;
        return;
    }
    run->board->start_ns = load_now_ns();
    run->board->stop_ns = UINT64_MAX / 2; /* it is the end of the input that stops */
    scoreboard_set_phase(run->board, LOAD_PUBLISH);
    while (next_line(&steps, line) && step_run(&steps, line)) {
    }
}
