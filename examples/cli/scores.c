/* SPDX-License-Identifier: MIT
 * Votes as a folder of films that moviegen train reads: links to films, captions, and scores from -1 to 1. */
#include "scores.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CAPTION_MAX = 1023 /* bytes of one that training reads */ };

typedef struct score_work {
    const cli_command *command;
    const score_params *p;
    bool asked[AXES_MAX];
    film_set films;
    char from[COMPARE_PATH];                   /* where films are */
    char to[COMPARE_PATH], part[COMPARE_PATH]; /* what is made, and what it is called until then */
} score_work;

/* ---- what is asked for ---- */

static bool choose_axes(score_work *w)
{
    const axis_list *axes = &w->p->c->axes;
    for (size_t i = 0; i < axes->count; i++)
        w->asked[i] = !w->p->axes;
    if (!w->p->axes)
        return true;
    char *copy = strdup(w->p->axes), *rest = copy;
    bool fine = copy != NULL;
    if (!fine)
        complain(w->command, "out of memory");
    for (char *id; fine && (id = strsep(&rest, ","));) {
        const long axis = axes_find(axes, id);
        fine = axis != NAME_NONE || axes_refuse(w->command, axes, "--score-axes", id);
        if (fine)
            w->asked[axis] = true;
    }
    free(copy);
    return fine;
}

/* Votes for A less those for B, as a share of all. False: there is none. */
static bool score_of(const score_work *w, size_t item, double *out)
{
    const size_t items = w->p->c->items.count;
    double of[VOTES] = {0};
    for (size_t axis = 0; axis < w->p->c->axes.count; axis++)
        for (int k = 0; k < VOTES && w->asked[axis]; k++)
            of[k] += w->p->counts[axis * items + item].of[k];
    const double all = of[VOTE_A] + of[VOTE_TIE] + of[VOTE_B];
    *out = all > 0 ? (of[VOTE_A] - of[VOTE_B]) / all : 0;
    return all > 0;
}

/* As training will read it. */
static bool check_prompt(const score_work *w, const compare_item *item)
{
    const char *text = item->prompt, *problem = NULL;
    size_t length = strlen(text);
    while (length && (unsigned char)text[length - 1] <= ' ')
        length--;
    for (; length && (unsigned char)*text <= ' '; length--)
        text++;
    if (length > CAPTION_MAX)
        problem = "is longer";
    else if (memchr(text, '\n', length) || memchr(text, '\r', length))
        problem = "has more than one line";
    else if (!utf8_valid(item->prompt))
        problem = "is no UTF-8";
    if (problem)
        complain(w->command,
                 "the prompt of %s %s: a caption is one line of UTF-8, of at most %d bytes; mend "
                 "it in '%s/key.csv'",
                 item->id, problem, CAPTION_MAX, w->p->dir);
    return !problem;
}

static bool check_film(const score_work *w, size_t item, size_t place)
{
    const page_film *film = &w->films.films[item * PLACES + place];
    if (!film->name)
        complain(w->command, "'%s' has no film '%s-%s.mp4', .webm or .m4v", w->from,
                 w->p->c->items.items[item].id, place_names[place]);
    else if (film->width)
        complain(w->command,
                 "'%s/%s' is a picture of frames, which training does not read; compare once more, "
                 "with the FFmpeg plug-in and without --format png, or folders of films",
                 w->from, film->name);
    return film->name && !film->width;
}

/* All that could be wrong with pairs, before anything is written; what there is of them. */
static bool check_pairs(const score_work *w, scored *out)
{
    double score;
    for (size_t i = 0; i < w->p->c->items.count; i++)
        if (!score_of(w, i, &score)) {
            out->left_out++;
        } else {
            if (!check_prompt(w, &w->p->c->items.items[i]) || !check_film(w, i, PLACE_LEFT) ||
                !check_film(w, i, PLACE_RIGHT))
                return false;
            out->films += PLACES;
            out->undecided += score == 0 ? PLACES : 0;
        }
    if (!out->films)
        complain(w->command, "no pair has a vote on '%s', which --score-axes names", w->p->axes);
    return out->films > 0;
}

/* ---- the folder ---- */

/* What is in it, if anything is. */
static void find_entry(DIR *d, char found[NAME_MAX + 1])
{
    *found = 0;
    for (struct dirent *entry; !*found && (entry = readdir(d));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            snprintf(found, NAME_MAX + 1, "%s", entry->d_name);
}

/* The folder that is there must be empty; then its path becomes one without links, which stay. */
static bool check_empty(score_work *w)
{
    char found[NAME_MAX + 1];
    DIR *d = opendir(w->to);
    if (!d) {
        if (errno == ENOENT)
            return true;
        complain(w->command, "cannot write the folder '%s': %s", w->to, strerror(errno));
        return false;
    }
    find_entry(d, found);
    closedir(d);
    char *whole = *found ? NULL : realpath(w->to, NULL);
    if (*found)
        complain(w->command,
                 "the folder '%s' of --scores is not empty, it has '%s'; take another one", w->to,
                 found);
    else if (!whole || strlen(whole) >= sizeof w->to)
        complain(w->command, "cannot find the folder '%s': %s", w->to,
                 whole ? "its path is too long" : strerror(errno));
    else
        snprintf(w->to, sizeof w->to, "%s", whole);
    const bool fine = whole && strlen(whole) < sizeof w->to;
    free(whole);
    return fine;
}

static bool settle_folder(score_work *w)
{
    const char *folder = w->p->folder;
    size_t length = strlen(folder);
    while (length > 1 && folder[length - 1] == '/')
        length--;
    if (!length || length >= sizeof w->to) {
        complain(w->command, "--scores needs the path of a folder, not '%.100s'", folder);
        return false;
    }
    snprintf(w->to, sizeof w->to, "%.*s", (int)length, folder);
    if (!check_empty(w))
        return false;
    const int n = snprintf(w->part, sizeof w->part, "%s.part", w->to);
    if (n >= (int)sizeof w->part)
        complain(w->command, "the path '%s' is too long", w->to);
    return n < (int)sizeof w->part;
}

static bool make_folder(const score_work *w)
{
    if (!mkdir(w->part, 0777))
        return true;
    if (errno == EEXIST)
        complain(w->command, "'%s' is there, perhaps left by a run that was ended; remove it",
                 w->part);
    else
        complain(w->command, "cannot make the folder '%s': %s", w->part, strerror(errno));
    return false;
}

static void remove_folder(const score_work *w)
{
    DIR *d = opendir(w->part);
    for (struct dirent *entry; d && (entry = readdir(d));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(d), entry->d_name, 0);
    if (d)
        closedir(d);
    rmdir(w->part);
}

static bool link_film(const score_work *w, const char *name, const char *stem)
{
    char path[COMPARE_PATH], own[COMPARE_PATH], link[64];
    snprintf(link, sizeof link, "%s%s", stem, strrchr(name, '.'));
    if (!path_join(w->command, path, w->from, name) || !path_join(w->command, own, w->part, link))
        return false;
    char *film = realpath(path, NULL);
    const bool fine = film && !symlink(film, own);
    if (!fine)
        complain(w->command, "cannot link '%s' to '%s': %s", own, path, strerror(errno));
    free(film);
    return fine;
}

static bool write_text(const score_work *w, const char *stem, const char *ending, const char *text)
{
    char path[COMPARE_PATH], name[64];
    snprintf(name, sizeof name, "%s%s", stem, ending);
    if (!path_join(w->command, path, w->part, name))
        return false;
    FILE *f = fopen(path, "w");
    const bool written = f && fprintf(f, "%s\n", text) > 0;
    const bool fine = f && !fclose(f) && written;
    if (!fine)
        complain(w->command, "cannot write '%s': %s", path, strerror(errno));
    return fine;
}

static bool write_side(const score_work *w, size_t i, int side, double score)
{
    const compare_item *item = &w->p->c->items.items[i];
    const size_t place = (side == 1) != item->swapped;
    char stem[48], text[32];
    snprintf(stem, sizeof stem, "%s-%c", item->id, "ab"[side]);
    snprintf(text, sizeof text, "%.6g", score);
    return link_film(w, w->films.films[i * PLACES + place].name, stem) &&
           write_text(w, stem, ".txt", item->prompt) && write_text(w, stem, ".score.txt", text);
}

/* Under its own name once all of it is on the disk. */
static bool keep_folder(const score_work *w)
{
    const int d = open(w->part, O_RDONLY | O_DIRECTORY);
    const bool kept = d >= 0 && !syncfs(d);
    const int problem = errno;
    if (d >= 0)
        close(d);
    errno = problem;
    return kept && !rename(w->part, w->to);
}

static bool write_folder(const score_work *w)
{
    double score;
    bool fine = true;
    for (size_t i = 0; i < w->p->c->items.count && fine; i++)
        if (score_of(w, i, &score))
            fine = write_side(w, i, 0, score) && write_side(w, i, 1, score != 0 ? -score : 0);
    if (fine && !keep_folder(w)) {
        complain(w->command, "cannot put a folder in the place of '%s': %s", w->to,
                 strerror(errno));
        fine = false;
    }
    if (!fine)
        remove_folder(w);
    return fine;
}

int scores_write(const cli_command *command, const score_params *p, scored *out)
{
    score_work w = {.command = command, .p = p};
    char raters[COMPARE_PATH];
    *out = (scored){.films = 0};
    const bool fine = choose_axes(&w) && settle_folder(&w) &&
                      path_join(command, raters, p->dir, "raters") &&
                      path_join(command, w.from, raters, "films") &&
                      films_find(command, w.from, &p->c->items, &w.films) == STATUS_DONE &&
                      check_pairs(&w, out) && make_folder(&w) && write_folder(&w);
    films_free(&w.films, p->c->items.count);
    return fine ? STATUS_DONE : STATUS_ERROR;
}
