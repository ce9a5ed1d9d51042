/* SPDX-License-Identifier: MIT
 * The page that raters see: its text with the items, axes and names of films in it, as JSON that the page's script reads. */
#include "compare.h"

#include <stdlib.h>
#include <string.h>

static void print_text(FILE *f, const char *name, const char *text)
{
    fprintf(f, "\"%s\":", name);
    json_string(f, text);
}

static void print_film(FILE *f, const char *place, const page_film *film)
{
    fprintf(f, ",\"%s\":{", place);
    print_text(f, "name", film->name);
    if (film->frames)
        fprintf(f, ",\"width\":%u,\"height\":%u,\"frames\":%u,\"columns\":%u,\"fps\":%.6g",
                film->width, film->height, film->frames,
                sprite_columns(film->width, film->height, film->frames),
                (double)film->fps_num / film->fps_den);
    fputc('}', f);
}

static void print_data(FILE *f, const comparison *c, const film_set *films)
{
    fprintf(f, "{\"comparison\":\"%s\",\"heard\":%s,\"axes\":[", c->id,
            axes_heard(&c->axes) ? "true" : "false");
    for (size_t i = 0; i < c->axes.count; i++) {
        const compare_axis *axis = &c->axes.axes[i];
        fputs(i ? ",\n{" : "\n{", f);
        print_text(f, "id", axis->id);
        fputc(',', f);
        print_text(f, "group", axis->group ? axis->group : "");
        fputc(',', f);
        print_text(f, "question", axis->question ? axis->question : "");
        fputc('}', f);
    }
    fputs("],\"items\":[", f);
    for (size_t i = 0; i < c->items.count; i++) {
        fputs(i ? ",\n{" : "\n{", f);
        print_text(f, "id", c->items.items[i].id);
        fputc(',', f);
        print_text(f, "prompt", c->items.items[i].prompt);
        for (int place = 0; place < PLACES; place++)
            print_film(f, place_names[place], &films->films[i * PLACES + (size_t)place]);
        fputc('}', f);
    }
    fputs("]}\n", f);
}

/* A prompt cannot end the element that the data stand in. */
static void copy_escaped(FILE *f, const char *json)
{
    for (; *json; json++)
        if (*json == '<')
            fputs("\\u003c", f);
        else
            fputc(*json, f);
}

int page_write(const cli_command *command, const char *path, const comparison *c,
               const film_set *films)
{
    char *json = NULL, *text = NULL;
    size_t length;
    FILE *f = open_memstream(&json, &length);
    bool fine = f != NULL;
    if (fine) {
        print_data(f, c, films);
        fine = !fclose(f) && (f = open_memstream(&text, &length));
    }
    if (fine) {
        fputs(page_head, f);
        copy_escaped(f, json);
        fputs(page_body, f);
        fine = !fclose(f);
    }
    if (!fine)
        complain(command, "out of memory");
    int result = fine ? file_write(command, path, text, length) : STATUS_ERROR;
    free(json);
    free(text);
    return result;
}
