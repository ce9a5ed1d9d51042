/* SPDX-License-Identifier: MIT
 * Tables of commas: read as a stream, so that a file may be of any length, and written. */
#include "csv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A quote that is never closed would take the rest of the file. */
enum { FIELD_MAX = 1 << 20, FIELDS_MAX = 1024 };

/* Of UTF-8, as spreadsheets write it in front of a file, which may be a pipe. */
static bool skip_mark(csv_reader *r)
{
    int c = getc(r->file);
    if (c != 0xef) {
        if (c != EOF)
            ungetc(c, r->file);
        return true;
    }
    if (getc(r->file) == 0xbb && getc(r->file) == 0xbf)
        return true;
    complain(r->command, "'%s' line 1 is not UTF-8, or no table with a header", r->path);
    return false;
}

bool csv_open(csv_reader *r, const cli_command *command, const char *path)
{
    *r = (csv_reader){.command = command, .path = path, .next_line = 1};
    r->file = fopen(path, "r");
    if (!r->file) {
        complain(command, "cannot read '%s': %s", path, strerror(errno));
        return false;
    }
    return skip_mark(r);
}

void csv_close(csv_reader *r)
{
    if (r->file)
        fclose(r->file);
    free(r->text);
    free(r->starts);
    free(r->fields);
    *r = (csv_reader){.file = NULL};
}

static bool no_memory(const csv_reader *r)
{
    complain(r->command, "out of memory for '%s' line %lu", r->path, r->line);
    return false;
}

static bool add_char(csv_reader *r, int c)
{
    if (r->used == r->size) {
        size_t size = r->size ? 2 * r->size : 4096;
        char *text = realloc(r->text, size);
        if (!text)
            return no_memory(r);
        r->text = text;
        r->size = size;
    }
    r->text[r->used++] = (char)c;
    return true;
}

static bool begin_field(csv_reader *r)
{
    if (r->count == FIELDS_MAX) {
        complain(r->command, "'%s' line %lu has more than %d fields", r->path, r->line, FIELDS_MAX);
        return false;
    }
    if (r->count == r->capacity) {
        size_t capacity = r->capacity ? 2 * r->capacity : 16;
        size_t *starts = realloc(r->starts, capacity * sizeof *starts);
        r->starts = starts ? starts : r->starts;
        char **fields = realloc(r->fields, capacity * sizeof *fields);
        r->fields = fields ? fields : r->fields;
        if (!starts || !fields)
            return no_memory(r);
        r->capacity = capacity;
    }
    r->starts[r->count++] = r->used;
    return true;
}

/* Of a field: what ended it, ',' or '\n' or EOF; 0: explained. */
static int read_field(csv_reader *r)
{
    const size_t start = r->used;
    const unsigned long quoted_line = r->next_line;
    bool quoted = false, closed = false;
    for (;;) {
        int c = getc(r->file);
        if (c == '\r' && !(quoted && !closed)) { /* a line may end in \r\n */
            int next = getc(r->file);
            if (next != '\n' && next != EOF)
                ungetc(next, r->file);
            c = '\n';
        }
        r->next_line += c == '\n';
        if (c == 0) {
            complain(r->command, "'%s' line %lu holds a NUL: it is no text", r->path, r->next_line);
            return 0;
        }
        if (quoted && !closed && c == EOF) {
            complain(r->command, "'%s' line %lu: the quote that opens there is never closed",
                     r->path, quoted_line);
            return 0;
        }
        if (!(quoted && !closed) && (c == ',' || c == '\n' || c == EOF))
            return c;
        if (c == '"' && !quoted && r->used == start) {
            quoted = true;
        } else if (c == '"' && quoted && !closed) {
            closed = true; /* unless another one follows */
        } else if (closed && c != '"') {
            complain(r->command, "'%s' line %lu: text goes on behind a closing quote", r->path,
                     r->next_line);
            return 0;
        } else if (r->used - start == FIELD_MAX) {
            complain(r->command, "'%s' line %lu: a field is longer than %d bytes%s", r->path,
                     r->line, FIELD_MAX, quoted ? "; is a closing quote missing?" : "");
            return 0;
        } else {
            closed = false;
            if (!add_char(r, c))
                return 0;
        }
    }
}

int csv_next(csv_reader *r)
{
    for (;;) {
        int end;
        r->used = r->count = 0;
        r->line = r->next_line;
        do {
            if (!begin_field(r) || !(end = read_field(r)) || !add_char(r, 0))
                return -1;
        } while (end == ',');
        if (ferror(r->file)) {
            complain(r->command, "cannot read '%s': %s", r->path, strerror(errno));
            return -1;
        }
        for (size_t i = 0; i < r->count; i++)
            r->fields[i] = r->text + r->starts[i];
        if (r->count > 1 || *r->fields[0])
            return 1;
        if (end == EOF)
            return 0;
    }
}

int csv_column(const csv_reader *r, const char *name)
{
    for (size_t i = 0; i < r->count; i++)
        if (!strcasecmp(r->fields[i], name))
            return (int)i;
    return -1;
}

void csv_write(FILE *f, const char *text)
{
    if (!text[strcspn(text, ",\"\r\n")] && *text != ' ') {
        fputs(text, f);
        return;
    }
    fputc('"', f);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', f);
        fputc(*text, f);
    }
    fputc('"', f);
}
