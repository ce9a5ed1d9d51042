/* SPDX-License-Identifier: MIT
 * Options of a command, from a table. */
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void print_help(const cli_command *command, const cli_option *table)
{
    printf("usage: moviegen %s %s\n%s.\n\n", command->name, command->usage, command->summary);
    for (const cli_option *o = table; o->name; o++) {
        char left[64];
        snprintf(left, sizeof left, "%s%s%s%s%s", o->short_name ? o->short_name : "",
                 o->short_name ? ", " : "", o->name, o->value ? " " : "", o->value ? o->value : "");
        printf("  %-20s  %s\n", left, o->help);
    }
    printf("  %-20s  %s\n", "--help", "this text");
    if (command->notes)
        printf("\n%s\n", command->notes);
}

static const cli_option *find_option(const cli_option *table, const char *name, size_t len)
{
    for (const cli_option *o = table; o->name; o++)
        if ((strlen(o->name) == len && !memcmp(o->name, name, len)) ||
            (o->short_name && strlen(o->short_name) == len && !memcmp(o->short_name, name, len)))
            return o;
    return NULL;
}

/* How many letters must be exchanged, added or left out to make one of the other. */
static size_t letters_apart(const char *a, size_t a_len, const char *b)
{
    enum { LONG = 32 };
    size_t row[LONG + 1], b_len = strlen(b);
    if (a_len > LONG || b_len > LONG)
        return LONG;
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 0; i < a_len; i++) {
        size_t before = row[0]; /* what this place and the one before held for the letter before */
        row[0] = i + 1;
        for (size_t j = 0; j < b_len; j++) {
            size_t exchanged = before + (a[i] != b[j]);
            before = row[j + 1];
            row[j + 1] = (before < row[j] ? before : row[j]) + 1;
            if (exchanged < row[j + 1])
                row[j + 1] = exchanged;
        }
    }
    return row[b_len];
}

const char *name_nearer(const char *typed, size_t len, const char *best, const char *name)
{
    size_t letters = strlen(name + strspn(name, "-"));
    size_t apart = letters_apart(typed, len, name);
    if (len - strspn(typed, "-") > 2 && !strncmp(typed, name, len))
        apart = 1; /* the beginning of it */
    if (2 * apart >= letters || (best && letters_apart(typed, len, best) <= apart))
        return best;
    return name;
}

bool words_swapped(const cli_command *command, const char *file, const char *text)
{
    if (access(file, F_OK) == 0 || access(text, F_OK) != 0)
        return false;
    complain(command, "'%s' is no file, but '%s' is: the file comes first; usage: moviegen %s %s",
             file, text, command->name, command->usage);
    return true;
}

static int unknown_option(const cli_command *command, const cli_option *table, const char *name,
                          size_t len)
{
    char list[1024] = "";
    const char *meant = NULL;
    size_t used = 0;
    for (const cli_option *o = table; o->name && used < sizeof list; o++) {
        used += (size_t)snprintf(list + used, sizeof list - used, "%s, ", o->name);
        meant = name_nearer(name, len, meant, o->name);
    }
    complain(command, "unknown option '%.*s'; %s%s%sallowed are %s--help", (int)len, name,
             meant ? "is " : "", meant ? meant : "", meant ? " meant? " : "", list);
    return STATUS_USAGE;
}

/* A whole number in decimal digits, nothing before or after. */
static bool read_u64(const char *text, uint64_t *out)
{
    if (*text < '0' || *text > '9')
        return false;
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end)
        return false;
    *out = value;
    return true;
}

static int store(const cli_command *command, const cli_option *o, const char *text)
{
    uint64_t whole;
    switch (o->kind) {
    case OPTION_FLAG:
        *(bool *)o->out = true;
        return OPTIONS_OK;
    case OPTION_TEXT:
        *(const char **)o->out = text;
        return OPTIONS_OK;
    case OPTION_U64:
        if (!read_u64(text, &whole)) {
            complain(command, "%s needs a whole number from 0 to 18446744073709551615, not '%s'",
                     o->name, text);
            return STATUS_USAGE;
        }
        *(uint64_t *)o->out = whole;
        return OPTIONS_OK;
    case OPTION_U32:
        if (!read_u64(text, &whole) || (double)whole < o->min || (double)whole > o->max) {
            complain(command, "%s needs a whole number from %.0f to %.0f, not '%s'", o->name,
                     o->min, o->max, text);
            return STATUS_USAGE;
        }
        *(uint32_t *)o->out = (uint32_t)whole;
        return OPTIONS_OK;
    case OPTION_REAL: {
        char *end;
        double real = strtod(text, &end);
        if (end == text || *end || !isfinite(real) || real < o->min || real > o->max) {
            complain(command, "%s needs a number from %g to %g, not '%s'", o->name, o->min, o->max,
                     text);
            return STATUS_USAGE;
        }
        *(double *)o->out = real;
        return OPTIONS_OK;
    }
    }
    return STATUS_USAGE;
}

int options_parse(const cli_command *command, const cli_option *table, int argc, char **argv,
                  const char **words, int words_max, int *words_count)
{
    bool options_over = false;
    *words_count = 0;
    for (int i = 0; i < argc; i++) {
        const char *arg = argv[i];
        if (options_over || arg[0] != '-' || !arg[1]) {
            if (*words_count == words_max) {
                complain(command, "unexpected '%s'%s; usage: moviegen %s %s", arg,
                         strchr(command->usage, '"')
                             ? ": text of several words goes into quotation marks"
                             : "",
                         command->name, command->usage);
                return STATUS_USAGE;
            }
            words[(*words_count)++] = arg;
            continue;
        }
        if (!strcmp(arg, "--")) {
            options_over = true;
            continue;
        }
        if (!strcmp(arg, "--help") || !strcmp(arg, "-h")) {
            print_help(command, table);
            return STATUS_DONE;
        }
        size_t len = strcspn(arg, "=");
        const cli_option *o = find_option(table, arg, len);
        if (!o)
            return unknown_option(command, table, arg, len);
        const char *value = arg[len] ? arg + len + 1 : NULL;
        if (o->kind == OPTION_FLAG && value) {
            complain(command, "%s takes no value, not '%s'", o->name, value);
            return STATUS_USAGE;
        }
        if (o->kind != OPTION_FLAG && !value) {
            if (i + 1 == argc) {
                complain(command, "%s needs a value: %s %s", o->name, o->name, o->value);
                return STATUS_USAGE;
            }
            value = argv[++i];
        }
        int status = store(command, o, value);
        if (status != OPTIONS_OK)
            return status;
    }
    return OPTIONS_OK;
}
