/* SPDX-License-Identifier: MIT
 * Tables of commas (RFC 4180), read record by record and written, and texts made numbers: for moviegen compare and
 * moviegen votes. */
#ifndef CLI_CSV_H
#define CLI_CSV_H

#include "cli.h"

/* ---- csv.c ---- */

typedef struct csv_reader {
    const cli_command *command;
    const char *path;
    FILE *file;
    char *
        *fields; /* of the record that was read: texts without NUL, which the next one overwrites */
    size_t count;
    unsigned long line; /* on which it began, from 1 on */
    /* The rest is csv.c's. */
    char *text;
    size_t used, size, *starts, capacity;
    unsigned long next_line;
} csv_reader;

/* False: explained. A reader is closed also if it could not be opened. */
bool csv_open(csv_reader *r, const cli_command *command, const char *path);
/* The next record that is not an empty line: 1; 0 at the end; -1: explained. A field may stand in quotes, with commas, quotes
 * (doubled) and lines in it. */
int csv_next(csv_reader *r);
void csv_close(csv_reader *r);
/* Which field of the record that was read, a header, has this name, in any case; -1: none. */
int csv_column(const csv_reader *r, const char *name);

void csv_write(FILE *f, const char *text); /* a field, in quotes if it needs them */

/* ---- names.c: texts by number, in the order in which they came ---- */

typedef struct name_list {
    char **names;
    size_t count;
    /* The rest is names.c's. */
    size_t capacity, *slots, slots_count;
} name_list;

enum { NAME_NONE = -1 };

long names_find(const name_list *list, const char *name); /* NAME_NONE: it is not there */
/* Its number, the first time a new one; NAME_NONE: no memory. */
long names_add(name_list *list, const char *name);
void names_free(name_list *list);

uint64_t text_hash(const char *text, uint64_t seed);

#endif
