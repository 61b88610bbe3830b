/* Publishing an argument, a file, or the lines of standard input. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tools/ctl/ctl.h"
#include "tools/ctl/lines.h"
#include "tools/ctl/pacer.h"

#define FILE_BYTES_MAX  ((size_t)256 << 20) /* no hub takes more */
#define BATCH_LINES_MAX 100                 /* well below the hub's default limit of a batch */
#define BATCH_BYTES_MAX ((size_t)256 << 10) /* well below that of a body */

static int publish_file(struct ctl *ctl, struct back_off *back_off, struct publication *publication)
{
    const bool is_stdin = strcmp(ctl->file, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(ctl->file, "re");
    struct buffer body;
    buffer_init(&body, FILE_BYTES_MAX);
    char *room = NULL;
    size_t got = 1;
    while (file != NULL && got > 0 && (room = buffer_reserve(&body, 65536)) != NULL) {
        got = fread(room, 1, 65536, file);
        buffer_commit(&body, got);
    }
    int result = CTL_FAILED;
    if (file == NULL || ferror(file)) {
        fprintf(stderr, "spatectl: %s: %s\n", ctl->file, strerror(errno));
    } else if (room == NULL) {
        fprintf(stderr, "spatectl: %s is too large\n", ctl->file);
    } else {
        publication->body = buffer_span(&body);
        result = ctl_publish(ctl, back_off, publication);
    }
    if (file != NULL && !is_stdin) {
        fclose(file);
    }
    buffer_fini(&body);
    return result;
}

/* What is gathered of standard input, to be sent next. */
struct batch {
    struct buffer body;
    size_t count;
};

/*
 * Waits for one line, and takes as many more as are there and fit. One line that is longer goes
 * alone; the hub says whether it takes it.
 */
static enum lines_result gather(struct lines *lines, size_t most, bool joins, struct batch *batch)
{
    batch->body.len = 0;
    batch->count = 0;
    enum lines_result result = LINES_LINE;
    while (batch->count < most && batch->body.len < BATCH_BYTES_MAX) {
        struct span line;
        result = lines_next(lines, batch->count == 0, &line);
        if (result != LINES_LINE) {
            break;
        }
        buffer_append_span(&batch->body, line);
        if (joins) {
            buffer_append(&batch->body, "\n", 1);
        }
        batch->count++;
    }
    return batch->body.failed ? LINES_FAILED : result;
}

static int publish_lines(struct ctl *ctl, struct back_off *back_off,
                         struct publication *publication)
{
    struct lines lines;
    struct pacer pacer;
    struct batch batch = {.count = 0};
    const size_t most = ctl->is_ndjson ? BATCH_LINES_MAX : 1;
    int result = CTL_OK;
    lines_init(&lines, STDIN_FILENO);
    buffer_init(&batch.body, 2 * LINE_BYTES_MAX);
    pacer_init(&pacer, ctl->rate > 0 ? 1000000000 / ctl->rate : 0);
    while (result == CTL_OK) {
        const size_t due = pacer_wait(&pacer, most);
        enum lines_result got = gather(&lines, due, ctl->is_ndjson, &batch);
        if (batch.count > 0) {
            publication->body = buffer_span(&batch.body);
            result = ctl_publish(ctl, back_off, publication);
            pacer_spend(&pacer, batch.count);
        }
        if (got == LINES_FAILED) {
            fprintf(stderr, "spatectl: standard input: %s\n", strerror(errno));
            result = CTL_FAILED;
        } else if (got == LINES_END) {
            break;
        }
    }
    buffer_fini(&batch.body);
    lines_fini(&lines);
    return result;
}

int ctl_pub(struct ctl *ctl)
{
    const bool has_data = ctl->argument_count == 2;
    if (has_data + ctl->is_ndjson + (ctl->file != NULL) > 1) {
        fprintf(stderr, "spatectl: pub takes one of DATA, --file and --ndjson\n");
        return CTL_USAGE;
    }
    struct back_off back_off = {.base_ms = 1000,
                                .limit = ctl->retries == CTL_UNSET ? 0 : ctl->retries};
    struct publication publication = {
        .channel = ctl->arguments[0],
        .event = ctl->event,
        .content_type = ctl->content_type != NULL ? ctl->content_type
                        : ctl->is_ndjson          ? "application/x-ndjson"
                                                  : "text/plain",
    };
    if (has_data) {
        publication.body = span_of(ctl->arguments[1]);
        return ctl_publish(ctl, &back_off, &publication);
    }
    if (ctl->file != NULL) {
        return publish_file(ctl, &back_off, &publication);
    }
    return publish_lines(ctl, &back_off, &publication);
}
