/*
 * One line of the log under construction, in a fixed room: time, level, event name and fields, as
 * logfmt or as JSON. A field that does not fit is left out as a whole and the line says
 * truncated=true, so that what is written can always be parsed.
 *
 *   time=2026-01-31T09:26:53.589Z level=info msg=publish channel=news bytes=42
 *   {"time":"2026-01-31T09:26:53.589Z","level":"info","msg":"publish","channel":"news","bytes":42}
 *
 * Threads: each line belongs to its caller.
 */
#ifndef SPATE_HUB_LOG_TEXT_H
#define SPATE_HUB_LOG_TEXT_H

#include "hub/log.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    /* A write of at most PIPE_BUF bytes into a pipe is atomic (pipe(7)): lines never mix. */
    LOG_TEXT_BYTES_MAX = 4096,
    /* Longest name of a channel or client is 255; what is longer is somebody's attempt. */
    LOG_VALUE_BYTES_MAX = 512,
};

struct log_text {
    enum log_format format;
    bool truncated;
    size_t len;
    char bytes[LOG_TEXT_BYTES_MAX];
};

void log_text_begin(struct log_text *text, enum log_format format, uint64_t now_ms,
                    enum log_level level, const char *event);
void log_text_field(struct log_text *text, const struct log_field *field);
/* Ends the line with a newline; text->bytes and text->len are ready. */
void log_text_end(struct log_text *text);

#ifdef __cplusplus
}
#endif

#endif
