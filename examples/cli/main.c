/* SPDX-License-Identifier: MIT
 * moviegen: the library's program. Finds the command and runs it.
 *
 * Exit status: 0 done, 1 the library reported an error, 2 the command line is wrong, 130 stopped by
 * Ctrl-C. Errors are one line on stderr. */
#include "cli.h"

#include <signal.h>
#include <string.h>

static const cli_command *const commands[] = {
    &command_generate, &command_upsample, &command_edit,    &command_personalize, &command_sound,
    &command_train,    &command_eval,     &command_sheet,   &command_plot,        &command_info,
    &command_plan,     &command_average,  &command_convert, &command_curate,      &command_rewrite,
    &command_compare,  &command_votes};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void print_help(void)
{
    printf("usage: moviegen COMMAND [options]\n\n");
    for (int i = 0; i < COMMANDS; i++)
        printf("  %-11s  %s\n", commands[i]->name, commands[i]->summary);
    printf("\nmoviegen COMMAND --help explains one; moviegen --version prints %s.\n",
           mgen_version());
}

static int refuse(const char *name)
{
    char list[256] = "";
    const char *meant = NULL;
    size_t used = 0;
    for (int i = 0; i < COMMANDS; i++) {
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "",
                                 commands[i]->name);
        if (name)
            meant = name_nearer(name, strlen(name), meant, commands[i]->name);
    }
    if (name)
        complain(NULL, "unknown command '%s'; %s%s%scommands are %s (moviegen --help)", name,
                 meant ? "is " : "", meant ? meant : "", meant ? " meant? " : "", list);
    else
        complain(NULL, "no command given; commands are %s (moviegen --help)", list);
    return STATUS_USAGE;
}

static int run(int argc, char **argv)
{
    if (argc < 2)
        return refuse(NULL);
    const char *name = argv[1];
    for (int i = 0; i < COMMANDS; i++)
        if (!strcmp(name, commands[i]->name))
            return commands[i]->run(commands[i], argc - 2, argv + 2);
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
        print_help();
        return STATUS_DONE;
    }
    if (!strcmp(name, "--version")) {
        printf("moviegen %s\n", mgen_version());
        return STATUS_DONE;
    }
    return refuse(name);
}

int main(int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN); /* too large a file is an error that is told */
    int status = run(argc, argv);
    if (fflush(stdout) || ferror(stdout)) {
        complain(NULL, "could not write to the standard output");
        return STATUS_ERROR;
    }
    return status;
}
