/*
 * Scripts for shells, made from the tables. They complete commands, the options that a command
 * knows, and its arguments: the words of a fixed set, or the names that the hub lists.
 */
#include <stdio.h>

#include "tools/ctl/command.h"

static void print_options(const struct ctl_command *command)
{
    size_t count;
    const struct ctl_option *options = ctl_options(&count);
    for (size_t i = 0; i < count; i++) {
        if (ctl_command_knows(command, &options[i])) {
            printf(" --%s", options[i].name);
        }
    }
    printf(" --help");
}

/* bash: the options that take a value, as a pattern of `case`. */
static void print_valued(bool wants_files)
{
    size_t count;
    const struct ctl_option *options = ctl_options(&count);
    const char *between = "";
    for (size_t i = 0; i < count; i++) {
        if (options[i].value_name != NULL && (options[i].kind == CTL_KIND_FILE) == wants_files) {
            printf("%s--%s", between, options[i].name);
            between = "|";
        }
    }
}

static void print_bash(void)
{
    size_t count;
    const struct ctl_command *commands = ctl_commands(&count);
    printf("_spatectl() {\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} words=\n"
           "    COMPREPLY=()\n"
           "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
           "        COMPREPLY=($(compgen -W '");
    for (size_t i = 0; i < count; i++) {
        printf("%s ", commands[i].name);
    }
    printf("--help --version' -- \"$word\"))\n        return\n    fi\n"
           "    case ${COMP_WORDS[COMP_CWORD-1]} in\n    ");
    print_valued(true);
    printf(") COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n    ");
    print_valued(false);
    printf(") return ;;\n    esac\n    case $command:$word in\n");
    for (size_t i = 0; i < count; i++) {
        printf("    %s:-*) words='", commands[i].name);
        print_options(&commands[i]);
        printf("' ;;\n");
        if (commands[i].words != NULL) {
            printf("    %s:*) words='%s' ;;\n", commands[i].name, commands[i].words);
        } else if (commands[i].list != NULL) {
            printf("    %s:*) words=$(spatectl %s 2>/dev/null) ;;\n", commands[i].name,
                   commands[i].list);
        }
    }
    printf("    esac\n"
           "    local IFS=$' \\n'\n"
           "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
           "}\n"
           "complete -F _spatectl spatectl\n");
}

/* Text between single quotes of zsh or fish, without what is special to _arguments. */
static void print_plain(const char *text)
{
    for (; *text != '\0'; text++) {
        putchar(strchr("'[]:\\", *text) != NULL ? ' ' : *text);
    }
}

static void print_zsh_options(const struct ctl_command *command)
{
    size_t count;
    const struct ctl_option *options = ctl_options(&count);
    for (size_t i = 0; i < count; i++) {
        if (ctl_command_knows(command, &options[i])) {
            printf(" \\\n            '--%s[", options[i].name);
            print_plain(options[i].help);
            printf("]%s%s%s'", options[i].value_name != NULL ? ":" : "",
                   options[i].value_name != NULL ? options[i].value_name : "",
                   options[i].kind == CTL_KIND_FILE ? ":_files"
                   : options[i].value_name != NULL  ? ": "
                                                    : "");
        }
    }
}

static void print_zsh(void)
{
    size_t count;
    const struct ctl_command *commands = ctl_commands(&count);
    printf("#compdef spatectl\n"
           "_spatectl() {\n"
           "    local -a commands\n"
           "    commands=(\n");
    for (size_t i = 0; i < count; i++) {
        printf("        '%s:", commands[i].name);
        print_plain(commands[i].help);
        printf("'\n");
    }
    printf("    )\n"
           "    if ((CURRENT == 2)); then\n"
           "        _describe command commands\n"
           "        return\n"
           "    fi\n"
           "    local command=$words[2]\n"
           "    shift words\n"
           "    ((CURRENT--))\n"
           "    case $command in\n");
    for (size_t i = 0; i < count; i++) {
        printf("    %s)\n        _arguments", commands[i].name);
        print_zsh_options(&commands[i]);
        if (commands[i].words != NULL) {
            printf(" \\\n            '1:argument:(%s)'", commands[i].words);
        } else if (commands[i].list != NULL) {
            printf(" \\\n            '*:name:($(spatectl %s 2>/dev/null))'", commands[i].list);
        }
        printf("\n        ;;\n");
    }
    /* Sourced it registers itself; found through fpath it is the function's body. */
    printf("    esac\n"
           "}\n"
           "if [ \"$funcstack[1]\" = _spatectl ]; then\n"
           "    _spatectl \"$@\"\n"
           "else\n"
           "    compdef _spatectl spatectl\n"
           "fi\n");
}

static void print_fish(void)
{
    size_t count;
    const struct ctl_command *commands = ctl_commands(&count);
    size_t option_count;
    const struct ctl_option *options = ctl_options(&option_count);
    printf("complete -c spatectl -f\n");
    for (size_t i = 0; i < count; i++) {
        printf("complete -c spatectl -n __fish_use_subcommand -a %s -d '", commands[i].name);
        print_plain(commands[i].help);
        printf("'\n");
        if (commands[i].words != NULL || commands[i].list != NULL) {
            printf("complete -c spatectl -n '__fish_seen_subcommand_from %s' -a '",
                   commands[i].name);
            printf(commands[i].words != NULL ? "%s'\n" : "(spatectl %s 2>/dev/null)'\n",
                   commands[i].words != NULL ? commands[i].words : commands[i].list);
        }
        for (size_t k = 0; k < option_count; k++) {
            if (!ctl_command_knows(&commands[i], &options[k])) {
                continue;
            }
            printf("complete -c spatectl -n '__fish_seen_subcommand_from %s' -l %s%s -d '",
                   commands[i].name, options[k].name,
                   options[k].kind == CTL_KIND_FILE ? " -r -F"
                   : options[k].value_name != NULL  ? " -x"
                                                    : "");
            print_plain(options[k].help);
            printf("'\n");
        }
    }
}

int ctl_completion(struct ctl *ctl)
{
    const char *shell = ctl->arguments[0];
    if (strcmp(shell, "bash") == 0) {
        print_bash();
    } else if (strcmp(shell, "zsh") == 0) {
        print_zsh();
    } else if (strcmp(shell, "fish") == 0) {
        print_fish();
    } else {
        fprintf(stderr, "spatectl: completion knows bash, zsh and fish\n");
        return CTL_USAGE;
    }
    return ctl_flush() ? CTL_OK : CTL_FAILED;
}
