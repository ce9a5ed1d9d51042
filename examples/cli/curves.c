/* SPDX-License-Identifier: MIT
 * Reads the lines that moviegen train --log writes: flat JSON objects of texts and numbers. */
#include "curves.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MEMBERS_MAX = 64, TEXT_SIZE = 64 };

typedef struct member {
    char key[TEXT_SIZE], text[TEXT_SIZE]; /* cut off if longer */
    double number;                        /* NaN if the value is no number */
} member;

typedef struct record {
    member members[MEMBERS_MAX];
    int count;
} record;

static const char *skip_blanks(const char *s)
{
    return s + strspn(s, " \t\r\n");
}

/* A JSON string at s; escapes are kept as written, which is enough for names. NULL: not one. */
static const char *scan_string(const char *s, char out[TEXT_SIZE])
{
    size_t n = 0;
    if (*s++ != '"')
        return NULL;
    while (*s && *s != '"')
        for (int all = *s == '\\' && s[1] ? 2 : 1; all > 0; all--, s++)
            if (n < TEXT_SIZE - 1)
                out[n++] = *s;
    out[n] = 0;
    return *s == '"' ? s + 1 : NULL;
}

static const char *scan_value(const char *s, member *m)
{
    static const char *const words[] = {"null", "true", "false"};
    m->number = NAN;
    m->text[0] = 0;
    if (*s == '"')
        return scan_string(s, m->text);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (!strncmp(s, words[i], strlen(words[i])))
            return s + strlen(words[i]);
    char *end;
    m->number = strtod(s, &end);
    return end == s ? NULL : end;
}

static bool scan_line(const char *s, record *r)
{
    r->count = 0;
    s = skip_blanks(s);
    if (*s != '{')
        return false;
    s = skip_blanks(s + 1);
    while (*s != '}') {
        member ignored, *m = r->count < MEMBERS_MAX ? &r->members[r->count++] : &ignored;
        if (!(s = scan_string(s, m->key)) || *(s = skip_blanks(s)) != ':' ||
            !(s = scan_value(skip_blanks(s + 1), m)))
            return false;
        s = skip_blanks(s);
        if (*s == ',')
            s = skip_blanks(s + 1);
        else if (*s != '}')
            return false;
    }
    return *skip_blanks(s + 1) == 0;
}

static const member *find_member(const record *r, const char *key)
{
    for (int i = 0; i < r->count; i++)
        if (!strcmp(r->members[i].key, key))
            return &r->members[i];
    return NULL;
}

static curve *find_curve(curve_set *set, const char *stage, const char *key)
{
    char name[sizeof set->curves[0].name];
    snprintf(name, sizeof name, "%.40s%s%.40s", stage, *stage ? " " : "", key);
    for (int i = 0; i < set->count; i++)
        if (!strcmp(set->curves[i].name, name))
            return &set->curves[i];
    if (set->count == CURVES_MAX)
        return NULL;
    curve *c = &set->curves[set->count++];
    memcpy(c->name, name, sizeof name);
    return c;
}

static bool add_point(curve *c, double x, double y)
{
    if (c->count > 0 && x <= c->points[c->count - 1].x)
        c->count = 0; /* the stage was run again */
    if (c->count == c->capacity) {
        size_t capacity = c->capacity ? 2 * c->capacity : 256;
        curve_point *points = realloc(c->points, capacity * sizeof *points);
        if (!points)
            return false;
        c->points = points;
        c->capacity = capacity;
    }
    c->points[c->count++] = (curve_point){x, y};
    return true;
}

/* One point for each key that the line has. */
static bool add_line(curve_set *set, const record *r, const char *keys, double line_number)
{
    const member *stage = find_member(r, "stage"), *step = find_member(r, "step");
    for (const char *k = keys; *k;) {
        char key[TEXT_SIZE];
        size_t len = strcspn(k, ",");
        snprintf(key, sizeof key, "%.*s", (int)(len < TEXT_SIZE ? len : TEXT_SIZE - 1), k);
        k += len + (k[len] == ',');
        const member *value = find_member(r, key);
        if (!value || !isfinite(value->number))
            continue;
        curve *c = find_curve(set, stage ? stage->text : "", key);
        if (c && !add_point(c, step ? step->number : line_number, value->number))
            return false;
    }
    return true;
}

int curves_read(const cli_command *command, const char *path, const char *keys, curve_set *set)
{
    FILE *f = fopen(path, "r");
    if (!f) {
        complain(command, "cannot read '%s': %s", path, strerror(errno));
        return STATUS_ERROR;
    }
    char *line = NULL;
    size_t size = 0;
    long number = 0;
    int result = STATUS_DONE;
    while (result == STATUS_DONE && getline(&line, &size, f) > 0) {
        record r;
        number++;
        if (!*skip_blanks(line))
            continue;
        if (!scan_line(line, &r)) {
            complain(command, "'%s' line %ld is not a flat JSON object", path, number);
            result = STATUS_ERROR;
        } else if (!add_line(set, &r, keys, (double)number)) {
            complain(command, "out of memory");
            result = STATUS_ERROR;
        }
    }
    if (result == STATUS_DONE && ferror(f)) {
        complain(command, "cannot read '%s': %s", path, strerror(errno));
        result = STATUS_ERROR;
    }
    free(line);
    fclose(f);
    return result;
}

void curves_free(curve_set *set)
{
    for (int i = 0; i < set->count; i++)
        free(set->curves[i].points);
    *set = (curve_set){0};
}
