/* SPDX-License-Identifier: MIT
 * Lists of prompts: a text with one a line, or a table such as that of Movie Gen Video Bench. */
#include "compare.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

compare_item *items_add(const cli_command *command, item_list *list, const char *id,
                        const char *prompt, const char *film)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        compare_item *items = realloc(list->items, capacity * sizeof *items);
        if (items) {
            list->items = items;
            list->capacity = capacity;
        }
    }
    compare_item item = {.id = strdup(id), .prompt = strdup(prompt), .film = strdup(film)};
    item.tags = calloc(list->columns.count + 1, sizeof *item.tags);
    if (list->count == list->capacity || !item.id || !item.prompt || !item.film || !item.tags) {
        free(item.id);
        free(item.prompt);
        free(item.film);
        free(item.tags);
        complain(command, "out of memory");
        return NULL;
    }
    list->items[list->count] = item;
    return &list->items[list->count++];
}

void items_free(item_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        compare_item *item = &list->items[i];
        for (size_t k = 0; k < list->columns.count; k++)
            free(item->tags[k]);
        free(item->tags);
        free(item->id);
        free(item->prompt);
        free(item->film);
    }
    free(list->items);
    names_free(&list->columns);
    *list = (item_list){.items = NULL};
}

static int read_lines(const cli_command *command, const char *path, item_list *out)
{
    FILE *f = fopen(path, "r");
    if (!f) {
        complain(command, "cannot read '%s': %s", path, strerror(errno));
        return STATUS_ERROR;
    }
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    unsigned long number = 0;
    int result = STATUS_DONE;
    while (result == STATUS_DONE && (length = getline(&line, &size, f)) > 0) {
        char *text = line;
        if (!number++ && !strncmp(text, "\xef\xbb\xbf", 3))
            text += 3;
        if (strlen(line) != (size_t)length) {
            complain(command, "'%s' line %lu holds a NUL: it is no text", path, number);
            result = STATUS_ERROR;
        }
        line[strcspn(line, "\r\n")] = 0;
        if (result == STATUS_DONE && text[strspn(text, " \t")] &&
            !items_add(command, out, "", text, ""))
            result = STATUS_ERROR;
    }
    if (result == STATUS_DONE && ferror(f)) {
        complain(command, "cannot read '%s': %s", path, strerror(errno));
        result = STATUS_ERROR;
    }
    free(line);
    fclose(f);
    return result;
}

/* The columns that are tags, by name into the list, by number into `at`. */
static bool find_tags(const csv_reader *r, const char *tags, item_list *out, int *at)
{
    char name[256];
    const bool asked = tags != NULL;
    for (tags = asked ? tags : "tags,concept,motion_level"; *tags;) {
        size_t length = strcspn(tags, ",");
        snprintf(name, sizeof name, "%.*s", (int)(length < sizeof name ? length : 0), tags);
        tags += length + (tags[length] == ',');
        int column = csv_column(r, name);
        if (column < 0 && asked) {
            complain(r->command, "'%s' has no column '%s', which --tags names", r->path, name);
            return false;
        }
        long number = column < 0 ? 0 : names_add(&out->columns, r->fields[column]);
        if (number == NAME_NONE) {
            complain(r->command, "out of memory");
            return false;
        }
        if (column >= 0)
            at[number] = column;
    }
    return true;
}

static bool add_record(const csv_reader *r, size_t fields, int prompt, int film, const int *tags,
                       item_list *out)
{
    if (r->count != fields) {
        complain(r->command, "'%s' line %lu has %zu fields, its header %zu", r->path, r->line,
                 r->count, fields);
        return false;
    }
    const char *text = r->fields[prompt];
    if (!text[strspn(text, " \t\r\n")]) {
        complain(r->command, "'%s' line %lu has no prompt", r->path, r->line);
        return false;
    }
    compare_item *item = items_add(r->command, out, "", text, film >= 0 ? r->fields[film] : "");
    for (size_t i = 0; item && i < out->columns.count; i++)
        if (!(item->tags[i] = strdup(r->fields[tags[i]]))) {
            complain(r->command, "out of memory");
            return false;
        }
    return item != NULL;
}

static int read_table(const cli_command *command, const char *path, const char *tags,
                      item_list *out)
{
    csv_reader r;
    int *at = NULL, prompt = 0, film = -1, more = -1;
    size_t fields = 0;
    if (!csv_open(&r, command, path) || (more = csv_next(&r)) < 0)
        goto done;
    if (!more || (prompt = csv_column(&r, "prompt")) < 0) {
        complain(command, "'%s' has no column 'prompt' in its first line", path);
        more = -1;
        goto done;
    }
    film = csv_column(&r, "film");
    fields = r.count;
    if (!(at = calloc(fields, sizeof *at)))
        complain(command, "out of memory");
    more = at && find_tags(&r, tags, out, at) ? 1 : -1;
    while (more > 0 && (more = csv_next(&r)) > 0)
        if (!add_record(&r, fields, prompt, film, at, out))
            more = -1;
done:
    free(at);
    csv_close(&r);
    return more < 0 ? STATUS_ERROR : STATUS_DONE;
}

int prompts_read(const cli_command *command, const char *path, const char *tags, item_list *out)
{
    const size_t length = strlen(path);
    const bool table = length >= 4 && !strcasecmp(path + length - 4, ".csv");
    *out = (item_list){.items = NULL};
    if (tags && *tags && !table) {
        complain(command, "--tags needs prompts in a .csv with these columns, not '%s'", path);
        return STATUS_USAGE;
    }
    int result = table ? read_table(command, path, tags, out) : read_lines(command, path, out);
    if (result == STATUS_DONE && !out->count) {
        complain(command, "'%s' has no prompts", path);
        result = STATUS_ERROR;
    }
    int digits = snprintf(NULL, 0, "%zu", out->count);
    for (size_t i = 0; i < out->count && result == STATUS_DONE; i++) {
        free(out->items[i].id);
        if (asprintf(&out->items[i].id, "pair-%0*zu", digits < 3 ? 3 : digits, i + 1) < 0) {
            out->items[i].id = NULL;
            complain(command, "out of memory");
            result = STATUS_ERROR;
        }
    }
    return result;
}
