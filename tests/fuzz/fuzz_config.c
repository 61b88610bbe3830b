/*
 * Any text as a configuration: as the file, as the file of tokens, or line by line as the
 * environment or the arguments. The first byte says as which.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "hub/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LINES_MAX = 16 };

static void load(char **arguments, int argument_count, char **environment)
{
    struct config config;
    struct buffer message;
    buffer_init(&message, 1024 * 1024);
    enum config_outcome outcome =
        config_load(&config, argument_count, arguments, environment, &message);
    CHECK(outcome != CONFIG_BAD || message.len > 0);
    if (outcome == CONFIG_OK) {
        config_fini(&config);
    }
    buffer_fini(&message);
}

static void load_file(const char *option, const uint8_t *data, size_t size)
{
    char path[64];
    int fd = memfd_create("fuzz", 0);
    CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    char *arguments[] = {(char *)(uintptr_t) "spate", (char *)(uintptr_t)option, path, NULL};
    char *environment[] = {NULL};
    load(arguments, 3, environment);
    CHECK(close(fd) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    if (data[0] % 4 < 2) {
        load_file(data[0] % 4 == 0 ? "--config" : "--publish-token-file", data + 1, size - 1);
        return 0;
    }
    char *text = memory_copy(span_make((const char *)data + 1, size - 1));
    char *lines[LINES_MAX + 2] = {(char *)(uintptr_t) "spate"};
    char *none[] = {lines[0], NULL};
    int count = 1;
    CHECK(text != NULL);
    char *rest = text;
    for (char *line; count <= LINES_MAX && (line = strsep(&rest, "\n")) != NULL;) {
        lines[count++] = line;
    }
    if (data[0] % 4 == 2) {
        load(lines, count, none + 1);
    } else {
        load(none, 1, lines + 1);
    }
    memory_free(text);
    return 0;
}
