/* Shortcuts for load tests: runs spate-load, which lies beside this program, with a preset. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tools/ctl/ctl.h"

#define PROGRAM              "spate-load"
#define PRESET_ARGUMENTS_MAX 12
#define SERVER_ARGUMENTS_MAX 8

/* Small enough for a laptop; what stands behind `--` on the command line changes it. */
static const struct preset {
    const char *name;
    const char *arguments[PRESET_ARGUMENTS_MAX]; /* ends with NULL */
} presets[] = {
    {"hot", {"--scenario", "hot", "--subscribers", "1000", "--rate", "100", "--duration", "10"}},
    {"channels",
     {"--scenario", "channels", "--subscribers", "1000", "--channels", "100", "--rate", "1000",
      "--duration", "10"}},
    {"storm",
     {"--scenario", "storm", "--subscribers", "1000", "--rate", "100", "--duration", "10"}},
    {"idle", {"--scenario", "idle", "--subscribers", "5000", "--duration", "30"}},
};

static const struct preset *find_preset(const char *name)
{
    for (size_t i = 0; i < countof(presets); i++) {
        if (strcmp(presets[i].name, name) == 0) {
            return &presets[i];
        }
    }
    return NULL;
}

/* The path of the program beside this one; freed by the caller. */
static char *beside(const char *program)
{
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (len < 0) {
        return ctl_format("%s", program);
    }
    self[len] = '\0';
    const char *slash = strrchr(self, '/');
    return ctl_format("%.*s/%s", slash == NULL ? 0 : (int)(slash - self), self, program);
}

/*
 * Appends what tells spate-load which server it is, and whom to trust. A proxy may have moved the
 * hub to a prefix, which belongs before the paths of both requests.
 */
static size_t add_server(const struct ctl *ctl, const char **arguments, size_t count)
{
    const char *base = ctl->http.base;
    const char *prefix = strchr(strstr(base, "://") + 3, '/');
    if (prefix == NULL) {
        arguments[count++] = base;
    } else {
        arguments[count++] = ctl_format("%s/sse/{channel}", base);
        arguments[count++] = "--publish";
        arguments[count++] = ctl_format("%s/publish/{channel}", prefix);
    }
    if (strncmp(base, "https://", 8) != 0) {
        return count;
    }
    if (ctl->is_insecure) {
        arguments[count++] = "--insecure";
    } else if (ctl->ca_file != NULL) {
        arguments[count++] = "--cacert";
        arguments[count++] = ctl->ca_file;
    }
    return count;
}

int ctl_bench(struct ctl *ctl)
{
    const struct preset *preset = find_preset(ctl->arguments[0]);
    if (preset == NULL) {
        fprintf(stderr, "spatectl: bench knows hot, channels, storm and idle\n");
        return CTL_USAGE;
    }
    if (ctl->http.socket_path != NULL) {
        fprintf(stderr, "spatectl: bench needs an address with a port\n");
        return CTL_USAGE;
    }
    char *program = beside(PROGRAM);
    const char **arguments = calloc(
        (size_t)ctl->argument_count + PRESET_ARGUMENTS_MAX + SERVER_ARGUMENTS_MAX, sizeof(char *));
    if (arguments == NULL) {
        abort();
    }
    size_t count = 0;
    arguments[count++] = program;
    count = add_server(ctl, arguments, count);
    for (size_t i = 0; i < PRESET_ARGUMENTS_MAX && preset->arguments[i] != NULL; i++) {
        arguments[count++] = preset->arguments[i];
    }
    for (int i = 1; i < ctl->argument_count; i++) {
        arguments[count++] = ctl->arguments[i];
    }
    if (ctl->token != NULL) {
        setenv("SPATE_TOKEN", ctl->token, 1);
    }
    signal(SIGPIPE, SIG_DFL);
    execv(program, (char **)arguments);
    fprintf(stderr, "spatectl: cannot run %s: %s\n", program, strerror(errno));
    free(arguments);
    free(program);
    return CTL_MISSING;
}
