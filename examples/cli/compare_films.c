/* SPDX-License-Identifier: MIT
 * The films of a comparison, under names that say their item and place only: made by a model, or taken from a folder. A film
 * that is there stays, so that what was interrupted goes on. */
#include "compare.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const place_names[PLACES] = {"left", "right"};

#define COMMA ,
static const char *const endings[] = {FILM_ENDINGS(COMMA)};
enum { ENDINGS = sizeof endings / sizeof endings[0], PLAYED = FILM_ENDINGS_PLAYED };

/* What all browsers show of a picture. */
enum { PICTURE_MAX = 16384 };

/* The same for both sides: which model was first is not to be read off the files. 2000-01-01. */
#define FILM_TIME 946684800

/* ---- folders of films ---- */

/* Which of the endings a name has; -1: none. */
static int ending_of(const char *name)
{
    const size_t length = strlen(name);
    for (int i = 0; i < ENDINGS; i++) {
        const size_t own = strlen(endings[i]);
        if (length > own && !strcasecmp(name + length - own, endings[i]))
            return i;
    }
    return -1;
}

static size_t base_length(const char *name)
{
    int ending = ending_of(name);
    return strlen(name) - (ending < 0 ? 0 : strlen(endings[ending]));
}

/* The film of a folder with this name, without endings; NULL: none. */
static const char *find_film(const compare_side *side, const char *name)
{
    const size_t length = base_length(name);
    for (size_t i = 0; i < side->folder.count; i++) {
        const char *film = side->folder.names[i];
        if (base_length(film) == length && !strncmp(film, name, length))
            return film;
    }
    return NULL;
}

/* 2.mp4 before 10.mp4. */
static int by_version(const struct dirent **a, const struct dirent **b)
{
    return strverscmp((*a)->d_name, (*b)->d_name);
}

static int is_film(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && ending_of(entry->d_name) >= 0;
}

static int list_films(const cli_command *command, compare_side *side)
{
    struct dirent **found;
    int n = scandir(side->dir, &found, is_film, by_version), result = STATUS_DONE;
    if (n < 0) {
        complain(command, "cannot read the folder '%s': %s", side->dir, strerror(errno));
        return STATUS_ERROR;
    }
    for (int i = 0; i < n; i++) {
        const char *other = result == STATUS_DONE ? find_film(side, found[i]->d_name) : NULL;
        if (other)
            complain(command, "the folder '%s' has two films of one name, '%s' and '%s'", side->dir,
                     other, found[i]->d_name);
        else if (result == STATUS_DONE && names_add(&side->folder, found[i]->d_name) == NAME_NONE)
            complain(command, "out of memory");
        else if (result == STATUS_DONE) {
            free(found[i]);
            continue;
        }
        result = STATUS_ERROR;
        free(found[i]);
    }
    free(found);
    if (result == STATUS_DONE && !n) {
        complain(command,
                 "'%s' is neither a model (it has no pipeline.json) nor a folder of films (it has "
                 "no " FILM_KINDS ")",
                 side->dir);
        result = STATUS_ERROR;
    }
    return result;
}

/* Items whose table names no films get those of a folder, in order. */
static int name_films(const cli_command *command, const compare_side *side, const char *prompts,
                      item_list *items)
{
    if (side->folder.count != items->count) {
        complain(command,
                 "'%s' has %zu films and '%s' %zu prompts: they are taken in order unless a "
                 "column 'film' of a .csv names them",
                 side->dir, side->folder.count, prompts, items->count);
        return STATUS_ERROR;
    }
    for (size_t i = 0; i < items->count; i++) {
        const char *film = side->folder.names[i];
        free(items->items[i].film);
        if (!(items->items[i].film = strndup(film, base_length(film)))) {
            complain(command, "out of memory");
            return STATUS_ERROR;
        }
    }
    return STATUS_DONE;
}

static int check_films(const cli_command *command, const compare_options *o, const item_list *items)
{
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < items->count && o->sides[k].films; i++) {
            const char *film = items->items[i].film;
            if (!*film) {
                complain(command, "'%s' has no film for the prompt '%s'", o->prompts,
                         items->items[i].prompt);
                return STATUS_ERROR;
            }
            if (!find_film(&o->sides[k], film)) {
                complain(command, "the folder '%s' has no film '%s'", o->sides[k].dir, film);
                return STATUS_ERROR;
            }
        }
    return STATUS_DONE;
}

int films_match(const cli_command *command, compare_options *o, item_list *items)
{
    int result = STATUS_DONE;
    bool named = false;
    for (size_t i = 0; i < items->count; i++)
        named = named || *items->items[i].film;
    for (int k = 0; k < 2 && result == STATUS_DONE; k++) {
        if (!o->sides[k].films)
            continue;
        result = list_films(command, &o->sides[k]);
        if (result == STATUS_DONE && !named) {
            result = name_films(command, &o->sides[k], o->prompts, items);
            named = true;
        }
    }
    /* of two folders both must have as many where they are taken in order; check_films sees to the names */
    return result == STATUS_DONE ? check_films(command, o, items) : result;
}

/* ---- what is there ---- */

/* Of "pair-001-left.mp4" or, a picture of frames, "pair-001-left.64x48x32.16-1.png" what follows the place. */
static bool parse_rest(const char *rest, page_film *out)
{
    int end = 0;
    *out = (page_film){.name = NULL};
    for (int i = 0; i < PLAYED; i++)
        if (!strcmp(rest, endings[i]))
            return true;
    return sscanf(rest, ".%ux%ux%u.%u-%u.png%n", &out->width, &out->height, &out->frames,
                  &out->fps_num, &out->fps_den, &end) == 5 &&
           end > 0 && !rest[end] && out->width && out->height && out->frames && out->fps_num &&
           out->fps_den;
}

/* The item and place of a name such as those; false: it is of none. */
static bool parse_name(const name_list *ids, const char *name, size_t *at, page_film *out)
{
    for (int place = 0; place < PLACES; place++) {
        char id[32], middle[16];
        snprintf(middle, sizeof middle, "-%s.", place_names[place]);
        const char *dash = strstr(name, middle);
        if (!dash || dash - name >= (long)sizeof id)
            continue;
        snprintf(id, sizeof id, "%.*s", (int)(dash - name), name);
        long item = names_find(ids, id);
        *at = (size_t)item * PLACES + (size_t)place;
        return item != NAME_NONE && parse_rest(dash + strlen(middle) - 1, out);
    }
    return false;
}

int films_find(const cli_command *command, const char *dir, const item_list *items, film_set *films)
{
    name_list ids = {0};
    int result = STATUS_DONE;
    DIR *d = opendir(dir);
    films->films = calloc(items->count, PLACES * sizeof *films->films);
    bool fine = films->films != NULL;
    for (size_t i = 0; i < items->count && fine; i++)
        fine = names_add(&ids, items->items[i].id) != NAME_NONE;
    for (struct dirent *entry; fine && d && (entry = readdir(d));) {
        size_t at;
        page_film film;
        if (!parse_name(&ids, entry->d_name, &at, &film) || films->films[at].name)
            continue;
        film.name = strdup(entry->d_name);
        films->films[at] = film;
        films->found++;
        fine = film.name != NULL;
    }
    if (!d || !fine) {
        complain(command, "cannot read the folder '%s': %s", dir,
                 fine ? strerror(errno) : "out of memory");
        result = STATUS_ERROR;
    }
    if (d)
        closedir(d);
    names_free(&ids);
    return result;
}

void films_free(film_set *films, size_t items)
{
    for (size_t i = 0; films->films && i < items * PLACES; i++)
        free(films->films[i].name);
    free(films->films);
    *films = (film_set){.films = NULL};
}

/* ---- made ---- */

uint32_t sprite_columns(uint32_t width, uint32_t height, uint32_t frames)
{
    uint32_t columns = 1; /* about square */
    while (columns < frames &&
           (uint64_t)columns * width < (uint64_t)((frames + columns - 1) / columns) * height)
        columns++;
    return columns;
}

/* All frames as one picture, row by row of `columns`. */
static int write_sprite(cli_session *s, const mgen_clip *clip, const mgen_clip_info *film,
                        const char *path)
{
    const uint32_t columns = sprite_columns(film->width, film->height, film->frames);
    const uint32_t rows = (film->frames + columns - 1) / columns;
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_clip *picture;
    if ((uint64_t)columns * film->width > PICTURE_MAX ||
        (uint64_t)rows * film->height > PICTURE_MAX) {
        complain(s->command,
                 "%u frames of %u x %u are more than a browser shows of one picture; they need "
                 "--format mp4, by the FFmpeg plug-in",
                 film->frames, film->width, film->height);
        return STATUS_ERROR;
    }
    info.width = columns * film->width;
    info.height = rows * film->height;
    info.frames = info.fps_num = info.fps_den = 1;
    mgen_status status = mgen_clip_create(s->ctx, &info, &picture);
    if (status != MGEN_OK)
        return complain_library(s, status);
    const size_t row = (size_t)film->width * 3, stride = (size_t)info.width * 3;
    const uint8_t *from = mgen_clip_pixels((mgen_clip *)clip);
    for (uint32_t i = 0; i < film->frames; i++) {
        uint8_t *to = mgen_clip_pixels(picture) + (size_t)(i / columns) * film->height * stride +
                      i % columns * row;
        for (uint32_t y = 0; y < film->height; y++, from += row)
            memcpy(to + y * stride, from, row);
    }
    status = mgen_clip_write(s->ctx, picture, path);
    mgen_clip_destroy(picture);
    return status == MGEN_OK ? STATUS_DONE : complain_library(s, status);
}

/* Write a film (sound: NULL, or its own) to DIR/raters/films and note it. */
static int store(cli_session *s, const compare_options *o, const char *dir, const char *stem,
                 const mgen_clip *clip, const mgen_sound *sound, page_film *out)
{
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    char path[COMPARE_PATH];
    const bool picture = !strcmp(o->format, "png");
    mgen_clip_get_info(clip, &info);
    int n = picture ? asprintf(&out->name, "%s.%ux%ux%u.%u-%u.png", stem, info.width, info.height,
                               info.frames, info.fps_num, info.fps_den)
                    : asprintf(&out->name, "%s.mp4", stem);
    if (n < 0) {
        out->name = NULL;
        complain(s->command, "out of memory");
        return STATUS_ERROR;
    }
    char *name = out->name;
    parse_rest(name + strlen(stem), out);
    out->name = name;
    if (!path_join(s->command, path, dir, name))
        return STATUS_ERROR;
    int result = STATUS_DONE;
    if (picture) {
        result = write_sprite(s, clip, &info, path);
    } else {
        mgen_status status = sound ? mgen_movie_write(s->ctx, clip, sound, path)
                                   : mgen_clip_write(s->ctx, clip, path);
        result = status == MGEN_OK ? STATUS_DONE : complain_library(s, status);
    }
    return result;
}

static int generate(cli_session *s, const compare_options *o, const compare_side *side,
                    const compare_item *item, uint64_t seed, mgen_clip **out)
{
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT;
    char rewritten[REWRITTEN_SIZE];
    params.prompt = item->prompt;
    if (side->rewrite) {
        int result = prompt_rewrite(s, item->prompt, rewritten);
        if (result != STATUS_DONE)
            return result;
        params.prompt = rewritten;
    }
    if (!sampling_set(s, &side->sampling, &params))
        return STATUS_USAGE;
    params.negative_prompt = side->negative;
    params.seed = seed;
    params.steps = side->steps;
    params.guidance = (float)side->guidance;
    params.width = o->width;
    params.height = o->height;
    params.frames = o->frames;
    return generate_clip(s, &params, NULL, out);
}

static bool copy_bytes(FILE *from, FILE *to)
{
    char block[1 << 16];
    size_t n;
    while ((n = fread(block, 1, sizeof block, from)) > 0)
        if (fwrite(block, 1, n, to) != n)
            return false;
    return !ferror(from) && !fflush(to);
}

static int copy_film(const cli_command *command, const char *source, const char *dir,
                     const char *stem, page_film *out)
{
    char path[COMPARE_PATH], part[COMPARE_PATH];
    if (asprintf(&out->name, "%s%s", stem, endings[ending_of(source)]) < 0) {
        out->name = NULL;
        complain(command, "out of memory");
        return STATUS_ERROR;
    }
    if (!path_join(command, path, dir, out->name) || !path_join(command, part, dir, ".part"))
        return STATUS_ERROR;
    FILE *from = fopen(source, "r");
    if (!from) {
        complain(command, "cannot read '%s': %s", source, strerror(errno));
        return STATUS_ERROR;
    }
    FILE *to = fopen(part, "w");
    bool fine = to && copy_bytes(from, to) && !fsync(fileno(to));
    int problem = errno;
    fclose(from);
    if (to && fclose(to))
        fine = false;
    if (fine && rename(part, path)) {
        problem = errno;
        fine = false;
    }
    if (fine)
        return STATUS_DONE;
    unlink(part);
    complain(command, "cannot copy '%s' to '%s': %s", source, path, strerror(problem));
    return STATUS_ERROR;
}

/* The ending that a side's film would have by itself, as a number; ENDINGS: a picture of frames. */
static int own_ending(const compare_options *o, const compare_side *side, const compare_item *item)
{
    int ending = side->films ? ending_of(find_film(side, item->film)) : 0;
    return !strcmp(o->format, "png") ? ENDINGS : ending < PLAYED ? ending : 0;
}

static int take_film(cli_session *s, const compare_options *o, const compare_side *side,
                     const compare_item *item, bool heard, const char *dir, const char *stem,
                     page_film *out)
{
    char source[COMPARE_PATH];
    mgen_clip *clip;
    mgen_sound *sound = NULL;
    const char *name = find_film(side, item->film);
    if (!path_join(s->command, source, side->dir, name))
        return STATUS_ERROR;
    const int ending = own_ending(o, side, item);
    if (ending == ending_of(name) && own_ending(o, &o->sides[side == o->sides], item) == ending)
        return copy_film(s->command, source, dir, stem, out);
    mgen_status status = mgen_clip_read(s->ctx, source, 0, 0, &clip);
    if (status != MGEN_OK)
        return complain_library(s, status);
    if (heard)
        status = mgen_sound_read(s->ctx, source, 0, 0, &sound);
    int result =
        status == MGEN_OK ? store(s, o, dir, stem, clip, sound, out) : complain_library(s, status);
    mgen_sound_destroy(sound);
    mgen_clip_destroy(clip);
    return result;
}

static int make_one(cli_session *s, const compare_options *o, const comparison *c, int k, size_t i,
                    const char *dir, page_film *out)
{
    const compare_side *side = &o->sides[k];
    const compare_item *item = &c->items.items[i];
    const bool right = (k == 1) != item->swapped;
    char stem[64];
    int result;
    snprintf(stem, sizeof stem, "%s-%s", item->id, place_names[right]);
    if (side->films) {
        result = take_film(s, o, side, item, axes_heard(&c->axes), dir, stem, out);
    } else {
        mgen_clip *clip;
        result = generate(s, o, side, item, o->seed + i, &clip);
        if (result == STATUS_DONE) {
            result = store(s, o, dir, stem, clip, NULL, out);
            mgen_clip_destroy(clip);
        }
    }
    return result;
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

int films_load(cli_session *s, compare_options *o, const compare_side *side)
{
    const compare_side *loaded = o->loaded;
    uint32_t solver, schedule, drop_text;
    if (loaded && same_text(loaded->dir, side->dir) &&
        same_text(loaded->sampling.precision, side->sampling.precision))
        return STATUS_DONE;
    mgen_pipeline_close(&s->pipe);
    s->pipe = (mgen_pipeline)MGEN_PIPELINE_INIT;
    o->loaded = side;
    return sampling_numbers(s, &side->sampling, &solver, &schedule, &drop_text)
               ? session_load(s, side->dir)
               : STATUS_USAGE;
}

static void set_times(const cli_command *command, const char *dir, const film_set *films,
                      size_t items)
{
    const struct timespec times[2] = {{.tv_sec = FILM_TIME}, {.tv_sec = FILM_TIME}};
    char path[COMPARE_PATH];
    for (size_t i = 0; i < items * PLACES; i++)
        if (path_join(command, path, dir, films->films[i].name))
            utimensat(AT_FDCWD, path, times, 0);
}

/* Side k from end to end, so that its model is loaded once. */
static int make_side(cli_session *s, compare_options *o, const comparison *c, int k,
                     const char *dir, progress *p, film_set *films)
{
    int result = STATUS_DONE;
    for (size_t i = 0; i < c->items.count && result == STATUS_DONE; i++) {
        const size_t place = (k == 1) != c->items.items[i].swapped;
        page_film *film = &films->films[i * PLACES + place];
        if (film->name)
            continue;
        if (!o->sides[k].films)
            result = films_load(s, o, &o->sides[k]);
        if (result != STATUS_DONE)
            return result;
        result = interrupted() ? STATUS_INTERRUPTED : make_one(s, o, c, k, i, dir, film);
        films->made += result == STATUS_DONE;
        progress_update(p, films->found + films->made, PLACES * c->items.count, NULL);
    }
    return result;
}

int films_make(cli_session *s, compare_options *o, const comparison *c, film_set *films)
{
    char raters[COMPARE_PATH], dir[COMPARE_PATH];
    progress p;
    if (!path_join(s->command, raters, o->out, "raters") ||
        !path_join(s->command, dir, raters, "films"))
        return STATUS_ERROR;
    if ((mkdir(raters, 0777) && errno != EEXIST) || (mkdir(dir, 0777) && errno != EEXIST)) {
        complain(s->command, "cannot make the folder '%s': %s", dir, strerror(errno));
        return STATUS_ERROR;
    }
    int result = films_find(s->command, dir, &c->items, films);
    progress_start(&p, "making films", o->quiet);
    for (int k = 1; k >= 0 && result == STATUS_DONE; k--) /* B's model was looked at last */
        result = make_side(s, o, c, k, dir, &p, films);
    progress_end(&p);
    if (result == STATUS_DONE)
        set_times(s->command, dir, films, c->items.count);
    return result;
}
