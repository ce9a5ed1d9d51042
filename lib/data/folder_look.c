/* SPDX-License-Identifier: MIT
 * What a folder's films say of themselves, before any is read. */
#include "data/folder.h"
#include "data/folder_read.h"
#include "data/folder_sound.h"

#include "core/alloc.h"
#include "io/path.h"
#include "media/plugin.h"

#include <math.h>

/* ---- looking for films that are too short --------------------------------------------------------- */

enum {
    BETWEEN = 256, /* films between two words of progress */
    RATE_MOST = 60 /* of most films */
};

/* Films whose frames are told. `quiet`: where it may fail that they are; the FFmpeg plug-in stays, once it is wanted, since
 * loading it takes longer than to look at a film. */
typedef struct look {
    mgen_context *ctx, *quiet;
    const mgi_dataset *ds;
    mgi_plugin plugin;
    bool no_plugin;
    int64_t uneven; /* films of which nobody was told yet that they are, and the first */
    const char *first;
} look;

static mgen_status look_init(look *l, mgen_context *ctx, const mgi_dataset *ds)
{
    *l = (look){.ctx = ctx, .ds = ds};
    MGI_TRY(mgi_context_private(ctx, &l->quiet));
    if (!ctx->plugin_dir)
        return MGEN_OK;
    mgen_status status = mgi_strdup(l->quiet, ctx->plugin_dir, &l->quiet->plugin_dir);
    if (status != MGEN_OK) {
        mgi_fail_from(ctx, status, l->quiet);
        mgi_context_free(l->quiet);
    }
    return status;
}

static void look_finish(look *l)
{
    mgi_folder_tell_of_uneven(l->ctx, l->uneven, l->first);
    mgi_plugin_unload(&l->plugin);
    mgi_context_free(l->quiet);
}

/* What a film says of itself; of no frames where it says nothing; and whether its first `even` frames are uneven. What does not open, and why, is said when it is read, as not
 * every film may be; but not what memory does not allow. */
static mgen_status tell(look *l, const char *path, int64_t even, mgi_film_info *info, bool *uneven)
{
    const bool by_plugin = mgi_folder_has_track(path); /* all but .y4m */
    mgen_status status = MGEN_OK;
    *info = (mgi_film_info){.frames = 0};
    *uneven = false;
    if (by_plugin && !l->plugin.handle && !l->no_plugin) {
        status = mgi_plugin_load(l->quiet, &l->plugin);
        l->no_plugin = status != MGEN_OK;
    }
    if (!by_plugin || l->plugin.handle)
        status = mgi_film_tell_even(l->quiet, path, even, info, uneven);
    return status == MGEN_E_NO_MEMORY || status == MGEN_E_LIMIT
               ? mgi_fail_from(l->ctx, status, l->quiet)
               : MGEN_OK;
}

/* The same of a sample's film. Of a list of clips curation has told, or who made it knows; and of a film each is told once. */
static mgen_status tell_of(look *l, mgi_dataset_film *film, const char *path,
                           const mgi_folder_wanted *w, mgi_film_info *info)
{
    const double each = w->fps > 0.0 ? fmax(RATE_MOST / w->fps, 1.0) : 1.0;
    const int64_t even = w->end ? 0 : w->first + (int64_t)(each * (double)w->frames);
    bool uneven;
    MGI_TRY(tell(l, path, even, info, &uneven));
    if (uneven && !atomic_exchange(&film->told_uneven, true))
        l->first = l->uneven++ ? l->first : film->name;
    return MGEN_OK;
}

/* What a file says may be wrong: its frames are counted, up to those that are needed, before it is refused. */
static mgen_status count_frames(mgen_context *ctx, const char *path, const mgi_folder_wanted *w)
{
    mgi_film *film;
    bool end = false;
    MGI_TRY(mgi_film_open(ctx, path, &film));
    const int64_t needed = mgi_folder_place(mgi_film_about(film), w, w->frames - 1) + 1;
    mgen_status status = mgi_folder_check_end(film, w, needed);
    int64_t n = 0;
    while (status == MGEN_OK && n < needed && !end) {
        status = mgi_film_next(film, NULL, &end);
        n += !end;
    }
    if (status == MGEN_OK && end)
        status = mgi_folder_too_short(film, w, n, needed);
    mgi_film_close(film);
    return status;
}

static mgen_status check_film(look *l, mgi_dataset_film *film, const char *name,
                              const mgi_folder_wanted *w)
{
    char path[MGI_PATH_MAX + 1];
    mgi_film_info info;
    MGI_TRY(mgi_path_join(l->ctx, l->ds->dir, name, path, sizeof(path)));
    MGI_TRY(tell_of(l, film, path, w, &info));
    if (info.frames == 0)
        return MGEN_OK;
    const int64_t last = mgi_folder_place(&info, w, w->frames - 1);
    const bool there = last < info.frames && (!w->end || last < w->end);
    return there ? MGEN_OK : count_frames(l->ctx, path, w);
}

mgen_status mgi_folder_check_frames(mgen_context *ctx, const mgi_dataset *ds, double fps,
                                    int64_t frames, bool edited)
{
    look l;
    mgen_status status = MGEN_OK;
    MGI_TRY(look_init(&l, ctx, ds));
    for (uint64_t i = 0; i < ds->count && status == MGEN_OK; i++) {
        mgi_dataset_film *film = &ds->films[i];
        const mgi_folder_wanted w = {film->first, frames, mgi_folder_end(film), fps};
        const char *name = edited ? film->edited : film->name;
        if (name)
            status = check_film(&l, film, name, &w);
        if (status == MGEN_OK && i % BETWEEN == BETWEEN - 1)
            status = mgi_progress(ctx, "looking at films", i + 1, ds->count);
    }
    look_finish(&l);
    return status;
}

/* ---- how long they are ---------------------------------------------------------------------------- */

/* Frames of an opened film, counted up to the place `most`. */
static mgen_status count_up_to(mgi_film *film, int64_t most, int64_t *frames)
{
    bool end = false;
    for (*frames = 0; *frames < most; ++*frames) {
        MGI_TRY(mgi_film_next(film, NULL, &end));
        if (end)
            break;
    }
    return MGEN_OK;
}

/* What a film that says nothing, or too little, is: the frames up to the last one that is wanted, of which the first `least` must
 * be there. */
static mgen_status open_to_measure(mgen_context *ctx, const char *path, const mgi_folder_wanted *w,
                                   int64_t least, mgi_film_info *info)
{
    const mgi_folder_wanted few = {w->first, least, w->end, 0.0};
    const int64_t told = info->frames, needed = w->first + least, end = w->first + w->frames;
    mgi_film *film;
    MGI_TRY(mgi_film_open(ctx, path, &film));
    *info = *mgi_film_about(film);
    mgen_status status = mgi_folder_check_end(film, &few, needed);
    if (told >= needed)
        info->frames = told;
    else if (status == MGEN_OK)
        status = count_up_to(film, w->end && w->end < end ? w->end : end, &info->frames);
    if (status == MGEN_OK && info->frames < needed)
        status = mgi_folder_too_short(film, w, info->frames, needed);
    mgi_film_close(film);
    return status;
}

/* *counted: it was opened. */
static mgen_status measure_file(look *l, mgi_dataset_film *film, const char *name,
                                const mgi_folder_wanted *w, int64_t least, mgi_folder_measure *out,
                                bool *counted)
{
    char path[MGI_PATH_MAX + 1];
    mgi_film_info info;
    MGI_TRY(mgi_path_join(l->ctx, l->ds->dir, name, path, sizeof(path)));
    MGI_TRY(tell_of(l, film, path, w, &info));
    const int64_t end = w->end && w->end < info.frames ? w->end : info.frames;
    *counted = end - w->first < least || !info.width || !info.height;
    if (*counted)
        MGI_TRY(open_to_measure(l->ctx, path, w, least, &info));
    const int64_t last = w->end && w->end < info.frames ? w->end : info.frames;
    *out = (mgi_folder_measure){info.width, info.height, last - w->first,
                                mgi_folder_whole_rate(&info)};
    out->frames = out->frames < w->frames ? out->frames : w->frames;
    return MGEN_OK;
}

static mgen_status measure_film(look *l, uint64_t index, const mgi_folder_lengths *f,
                                mgi_folder_measure *out, bool *counted)
{
    mgi_dataset_film *film = &l->ds->films[index];
    const int64_t least = mgi_folder_is_picture(film->name) ? f->least_picture : f->least;
    const mgi_folder_wanted w = {film->first, f->most, mgi_folder_end(film), 0.0};
    mgi_folder_measure after;
    bool too;
    MGI_TRY(measure_file(l, film, film->name, &w, least, out, counted));
    if (!f->edited || !film->edited)
        return MGEN_OK;
    MGI_TRY(measure_file(l, film, film->edited, &w, least, &after, &too));
    *counted = *counted || too;
    out->frames = out->frames < after.frames ? out->frames : after.frames;
    return MGEN_OK;
}

mgen_status mgi_folder_measure_films(mgen_context *ctx, const mgi_dataset *ds,
                                     const mgi_folder_lengths *lengths, mgi_folder_measure *out)
{
    look l;
    mgen_status status = MGEN_OK;
    MGI_TRY(look_init(&l, ctx, ds));
    for (uint64_t i = 0; i < ds->count && status == MGEN_OK; i++) {
        bool counted = false;
        status = measure_film(&l, i, lengths, &out[i], &counted);
        if (status == MGEN_OK && (counted || i % BETWEEN == BETWEEN - 1))
            status = mgi_progress(ctx, "looking at films", i + 1, ds->count);
    }
    look_finish(&l);
    return status;
}
