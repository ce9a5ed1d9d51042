/* SPDX-License-Identifier: MIT
 * What raters must not see: settings.csv, with what A and B are, and key.csv, with which of them is on which side of an
 * item. Whoever goes on with a comparison must want the same. */
#include "compare.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COLUMNS = 5 /* of the key, before the tags */ };

static const char *const columns[COLUMNS] = {"item", "left", "right", "film", "prompt"};
static const char settings_name[] = "settings.csv", key_name[] = "key.csv";

uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t random_below(uint64_t *state, uint64_t bound)
{
    return (uint64_t)((unsigned __int128)random_next(state) * bound >> 64);
}

void key_shuffle(item_list *items, uint64_t seed)
{
    uint64_t state = seed ^ UINT64_C(0x7369646573); /* not the numbers of the bootstrap */
    /* of an odd number the lot says on which side B is once more */
    size_t swapped = (items->count + random_below(&state, 2)) / 2;
    for (size_t i = 0; i < items->count; i++)
        items->items[i].swapped = i < swapped;
    for (size_t i = items->count; i > 1; i--) {
        size_t k = random_below(&state, i);
        bool other = items->items[k].swapped;
        items->items[k].swapped = items->items[i - 1].swapped;
        items->items[i - 1].swapped = other;
    }
}

bool path_join(const cli_command *command, char out[COMPARE_PATH], const char *dir,
               const char *name)
{
    int n = snprintf(out, COMPARE_PATH, "%s/%s", dir, name);
    if (n < 0 || n >= COMPARE_PATH) {
        complain(command, "the path '%s/%s' is too long", dir, name);
        return false;
    }
    return true;
}

/* ---- written ---- */

static void print_row(FILE *f, const char *name, const char *a, const char *b)
{
    csv_write(f, name);
    fputc(',', f);
    csv_write(f, a);
    fputc(',', f);
    csv_write(f, b);
    fputc('\n', f);
}

static char *settings_text(const setting *settings, size_t count, comparison *c, size_t *length)
{
    char *text = NULL, *axes = NULL;
    size_t axes_length;
    FILE *f = open_memstream(&axes, &axes_length);
    if (!f)
        return NULL;
    axes_join(&c->axes, f, ",");
    if (fclose(f) || !(f = open_memstream(&text, length))) {
        free(axes);
        return NULL;
    }
    print_row(f, "setting", "a", "b");
    for (size_t i = 0; i < count; i++)
        print_row(f, settings[i].name, settings[i].values[0], settings[i].values[1]);
    print_row(f, "axes", axes, axes);
    uint64_t hash = fflush(f) ? 0 : text_hash(text, 0);
    for (size_t i = 0; i < c->items.count; i++)
        hash = text_hash(c->items.items[i].prompt, hash);
    snprintf(c->id, sizeof c->id, "%016llx", (unsigned long long)hash);
    print_row(f, "comparison", c->id, c->id);
    free(axes);
    return fclose(f) ? NULL : text;
}

static char *key_text(const item_list *items, size_t *length)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, length);
    if (!f)
        return NULL;
    for (int i = 0; i < COLUMNS; i++)
        fprintf(f, "%s%s", i ? "," : "", columns[i]);
    for (size_t i = 0; i < items->columns.count; i++) {
        fputc(',', f);
        csv_write(f, items->columns.names[i]);
    }
    fputc('\n', f);
    for (size_t i = 0; i < items->count; i++) {
        const compare_item *item = &items->items[i];
        fprintf(f, "%s,%s,", item->id, item->swapped ? "b,a" : "a,b");
        csv_write(f, item->film);
        fputc(',', f);
        csv_write(f, item->prompt);
        for (size_t k = 0; k < items->columns.count; k++) {
            fputc(',', f);
            csv_write(f, item->tags[k]);
        }
        fputc('\n', f);
    }
    return fclose(f) ? NULL : text;
}

/* The first line of `text`, which is to be the same as in the file, that is another one there. */
static int same_or_explain(const cli_command *command, const char *path, const char *text,
                           size_t length)
{
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t size = 0;
    ssize_t n = 0;
    bool same = f != NULL;
    const char *at = text, *wanted = text;
    while (same && (n = getline(&line, &size, f)) > 0) {
        wanted = at;
        same = n <= (ssize_t)length - (at - text) && !memcmp(line, at, (size_t)n);
        at += same ? n : 0;
    }
    wanted = same ? at : wanted;
    same = same && at == text + length && !ferror(f);
    if (!f)
        complain(command, "cannot read '%s': %s", path, strerror(errno));
    else if (!same)
        complain(command,
                 "the comparison there was begun with another line in '%s': '%.*s', where now it "
                 "would be '%.*s'; take another --out, or the same options, models and prompts",
                 path, n > 0 ? (int)strcspn(line, "\r\n") : 0, n > 0 ? line : "",
                 (int)strcspn(wanted, "\n"), wanted);
    free(line);
    if (f)
        fclose(f);
    return same ? STATUS_DONE : STATUS_ERROR;
}

static int write_or_same(const cli_command *command, const char *path, const char *text,
                         size_t length)
{
    if (!text) {
        complain(command, "out of memory");
        return STATUS_ERROR;
    }
    return access(path, F_OK) == 0 ? same_or_explain(command, path, text, length)
                                   : file_write(command, path, text, length);
}

/* The folder to oneself until `*held` is closed. Where folders cannot be locked (some network file systems), all may go on. */
static int hold(const cli_command *command, const char *dir, int *held)
{
    *held = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*held < 0 || flock(*held, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return STATUS_DONE;
    complain(command,
             "another 'moviegen compare' is at work in '%s'; when it has ended the same command "
             "goes on, or take another --out",
             dir);
    return STATUS_ERROR;
}

int key_folder(const cli_command *command, const char *dir, int *held)
{
    char settings[COMPARE_PATH];
    *held = -1;
    if (!path_join(command, settings, dir, settings_name))
        return STATUS_ERROR;
    const bool made = mkdir(dir, 0777) == 0;
    int problem = made ? 0 : errno;
    if ((made || problem == EEXIST) && hold(command, dir, held) != STATUS_DONE)
        return STATUS_ERROR;
    if (made || (problem == EEXIST && access(settings, F_OK) == 0))
        return STATUS_DONE;
    DIR *d = problem == EEXIST ? opendir(dir) : NULL;
    if (!d) {
        complain(command, "cannot make the folder '%s': %s%s", dir, strerror(problem),
                 problem == ENOENT ? "; make the folder that it is to be in first" : "");
        return STATUS_ERROR;
    }
    bool empty = true;
    for (struct dirent *entry; (entry = readdir(d));)
        empty = empty && entry->d_name[0] == '.';
    closedir(d);
    if (!empty)
        complain(command,
                 "the folder '%s' is not empty and holds no comparison; take another --out", dir);
    return empty ? STATUS_DONE : STATUS_ERROR;
}

int key_write(const cli_command *command, const char *dir, const setting *settings, size_t count,
              comparison *c)
{
    char settings_path[COMPARE_PATH], key_path[COMPARE_PATH];
    size_t length, key_length;
    if (!path_join(command, settings_path, dir, settings_name) ||
        !path_join(command, key_path, dir, key_name))
        return STATUS_ERROR;
    char *text = settings_text(settings, count, c, &length);
    char *key = key_text(&c->items, &key_length);
    int result = write_or_same(command, settings_path, text, length);
    if (result == STATUS_DONE)
        result = write_or_same(command, key_path, key, key_length);
    free(text);
    free(key);
    return result;
}

/* ---- read ---- */

static bool keep(const cli_command *command, char **out, const char *text)
{
    free(*out);
    *out = strdup(text);
    if (!*out)
        complain(command, "out of memory");
    return *out != NULL;
}

static bool read_setting(const csv_reader *r, comparison *c)
{
    const cli_command *command = r->command;
    if (r->count != 3) {
        complain(command, "'%s' line %lu has %zu fields, not 3", r->path, r->line, r->count);
        return false;
    }
    if (!strcmp(r->fields[0], "name"))
        return keep(command, &c->names[0], r->fields[1]) &&
               keep(command, &c->names[1], r->fields[2]);
    if (!strcmp(r->fields[0], "comparison"))
        snprintf(c->id, sizeof c->id, "%s", r->fields[1]);
    if (!strcmp(r->fields[0], "axes") && c->axes.count == 0)
        return axes_parse(command, r->fields[1], &c->axes);
    return true;
}

static bool read_settings(const cli_command *command, const char *path, comparison *c)
{
    csv_reader r;
    int more = -1;
    if (csv_open(&r, command, path))
        while ((more = csv_next(&r)) > 0)
            if (!read_setting(&r, c)) {
                more = -1;
                break;
            }
    csv_close(&r);
    if (more == 0 && (!*c->id || !c->axes.count || !c->names[0])) {
        complain(command, "'%s' lacks the name, the axes or the number of the comparison", path);
        more = -1;
    }
    return more == 0;
}

static bool read_item(const csv_reader *r, size_t fields, item_list *items)
{
    const bool swapped =
        r->count == fields && !strcmp(r->fields[1], "b") && !strcmp(r->fields[2], "a");
    if (r->count != fields ||
        (!swapped && (strcmp(r->fields[1], "a") != 0 || strcmp(r->fields[2], "b") != 0))) {
        complain(r->command, "'%s' line %lu is not an item with a and b on two sides and %zu tags",
                 r->path, r->line, items->columns.count);
        return false;
    }
    compare_item *item = items_add(r->command, items, r->fields[0], r->fields[4], r->fields[3]);
    for (size_t i = 0; item && i < items->columns.count; i++)
        if (!keep(r->command, &item->tags[i], r->fields[COLUMNS + i]))
            return false;
    if (item)
        item->swapped = swapped;
    return item != NULL;
}

static bool read_header(const csv_reader *r, item_list *items)
{
    bool fine = r->count >= COLUMNS;
    for (int i = 0; i < COLUMNS && fine; i++)
        fine = !strcmp(r->fields[i], columns[i]);
    if (!fine) {
        complain(r->command, "'%s' does not begin with the columns of a key", r->path);
        return false;
    }
    for (size_t i = COLUMNS; i < r->count; i++)
        if (names_add(&items->columns, r->fields[i]) != (long)(i - COLUMNS)) {
            complain(r->command, "'%s' has the column '%s' twice", r->path, r->fields[i]);
            return false;
        }
    return true;
}

static bool read_key(const cli_command *command, const char *path, item_list *items)
{
    csv_reader r;
    int more = csv_open(&r, command, path) ? csv_next(&r) : -1;
    if (more == 0)
        complain(command, "'%s' is empty", path);
    bool fine = more > 0 && read_header(&r, items);
    const size_t fields = fine ? r.count : 0;
    while (fine && (more = csv_next(&r)) > 0)
        fine = read_item(&r, fields, items);
    csv_close(&r);
    return fine && more == 0;
}

int key_read(const cli_command *command, const char *dir, comparison *c)
{
    char settings_path[COMPARE_PATH], key_path[COMPARE_PATH];
    *c = (comparison){.id = ""};
    return path_join(command, settings_path, dir, settings_name) &&
                   path_join(command, key_path, dir, key_name) &&
                   read_settings(command, settings_path, c) &&
                   read_key(command, key_path, &c->items)
               ? STATUS_DONE
               : STATUS_ERROR;
}

void comparison_free(comparison *c)
{
    items_free(&c->items);
    axes_free(&c->axes);
    free(c->names[0]);
    free(c->names[1]);
    c->names[0] = c->names[1] = NULL;
}
