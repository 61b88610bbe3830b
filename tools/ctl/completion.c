/* What shells need to complete the names of commands and options. */
#include <stdio.h>
#include <string.h>

#include "tools/ctl/ctl.h"

#define WORDS                                                                                      \
    "pub sub stats clients channels kick top feed completion --url --token --event --retry "       \
    "--rate --ndjson --raw --last-event-id --history --count --interval-ms --json --help "         \
    "--version"

int ctl_completion(struct ctl *ctl)
{
    const char *shell = ctl->arguments[0];
    if (strcmp(shell, "bash") == 0) {
        puts("complete -W '" WORDS "' spatectl");
    } else if (strcmp(shell, "zsh") == 0) {
        puts("autoload -U +X bashcompinit && bashcompinit\ncomplete -W '" WORDS "' spatectl");
    } else if (strcmp(shell, "fish") == 0) {
        puts("complete -c spatectl -f -a '" WORDS "'");
    } else {
        fprintf(stderr, "spatectl: completion knows bash, zsh and fish\n");
        return CTL_USAGE;
    }
    return CTL_OK;
}
