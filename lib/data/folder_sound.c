/* SPDX-License-Identifier: MIT */
#include "data/folder_sound.h"

#include "core/alloc.h"
#include "data/dataset_sound.h"
#include "data/world_sound.h"
#include "io/path.h"
#include "media/film_read.h"
#include "media/plugin.h"
#include "media/track.h"

#include <string.h>
#include <strings.h>

bool mgi_folder_has_track(const char *film)
{
    const char *dot = strrchr(film, '.');
    return !dot || (strcasecmp(dot, ".y4m") != 0 && !mgi_is_picture_name(film));
}

/* ---- reading -------------------------------------------------------------------------------------- */

/* What of a film's sound belongs to its clip. */
static mgen_status cut_track(mgen_context *ctx, const mgi_dataset *ds, const mgi_dataset_film *film,
                             mgi_track *track)
{
    char path[MGI_PATH_MAX + 1];
    mgi_film *read;
    if (!film->frames)
        return MGEN_OK;
    MGI_TRY(mgi_path_join(ctx, ds->dir, film->name, path, sizeof path));
    MGI_TRY(mgi_film_open(ctx, path, &read));
    const double fps = mgi_film_rate(mgi_film_about(read));
    mgi_film_close(read);
    const double first = (double)film->first / fps * MGI_WORLD_SOUND_RATE;
    const double count = (double)film->frames / fps * MGI_WORLD_SOUND_RATE;
    const int64_t from = first < (double)track->count ? (int64_t)first : track->count;
    const int64_t rest = track->count - from;
    track->count = count < (double)rest ? (int64_t)count : rest;
    memmove(track->samples, track->samples + from, (size_t)track->count * sizeof *track->samples);
    return MGEN_OK;
}

/* Where a film's sound is. */
static mgen_status find_sound(mgen_context *ctx, const mgi_dataset *ds,
                              const mgi_dataset_film *film, char path[MGI_PATH_MAX + 1])
{
    const int stem = (int)(strrchr(film->name, '.') - film->name);
    if (!film->sound && !mgi_folder_has_track(film->name))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "the film '%s' in '%s' has no sound; put it beside the film as '%.*s.wav', "
                        "or take the film away",
                        film->name, ds->dir, stem, film->name);
    return mgi_path_join(ctx, ds->dir, film->sound ? film->sound : film->name, path,
                         MGI_PATH_MAX + 1);
}

static mgen_status say_without(mgen_context *ctx, const mgi_dataset_film *film, mgen_status status)
{
    const int stem = (int)(strrchr(film->name, '.') - film->name);
    if (status != MGEN_E_UNSUPPORTED || film->sound)
        return status;
    return mgi_fail_context(ctx, status, "the film '%s' has no '%.*s.wav' beside it", film->name,
                            stem, film->name);
}

static mgen_status read_track(mgen_context *ctx, const mgi_dataset *ds,
                              const mgi_dataset_film *film, mgi_track *track)
{
    char path[MGI_PATH_MAX + 1];
    MGI_TRY(find_sound(ctx, ds, film, path));
    mgen_status status = say_without(ctx, film, mgi_track_read(ctx, path, track));
    if (status == MGEN_OK)
        status = mgi_track_convert(ctx, track, MGI_WORLD_SOUND_RATE, 1);
    if (status == MGEN_OK)
        status = cut_track(ctx, ds, film, track);
    if (status != MGEN_OK)
        mgi_free(ctx, track->samples);
    return status;
}

mgen_status mgi_folder_read_sound(mgen_context *ctx, mgi_dataset *ds, uint64_t index,
                                  mgi_read_sound *out)
{
    mgi_track track;
    MGI_TRY(read_track(ctx, ds, &ds->films[index], &track));
    *out = (mgi_read_sound){track.samples, track.count, NULL};
    return MGEN_OK;
}

/* ---- looking for films without ----------------------------------------------------------------------- */

enum { BETWEEN = 256 /* films between two words of progress */ };

static mgen_status check_sound(mgen_context *ctx, const mgi_dataset *ds, uint64_t index,
                               mgi_plugin *plugin)
{
    const mgi_dataset_film *film = &ds->films[index];
    char path[MGI_PATH_MAX + 1];
    MGI_TRY(find_sound(ctx, ds, film, path));
    if (film->sound || (index && strcmp(film->name, ds->films[index - 1].name) == 0))
        return MGEN_OK; /* or it was looked at for the clip before */
    if (!plugin->handle)
        MGI_TRY(mgi_plugin_load(ctx, plugin));
    return say_without(ctx, film, mgi_track_there(ctx, path));
}

mgen_status mgi_folder_check_sounds(mgen_context *ctx, const mgi_dataset *ds)
{
    mgi_plugin plugin = {NULL, NULL}; /* stays: loading it takes longer than to look at a film */
    mgen_status status = MGEN_OK;
    for (uint64_t i = 0; i < ds->count && status == MGEN_OK; i++) {
        status = check_sound(ctx, ds, i, &plugin);
        if (status == MGEN_OK && i % BETWEEN == BETWEEN - 1)
            status = mgi_progress(ctx, "listening to films", i + 1, ds->count);
    }
    mgi_plugin_unload(&plugin);
    return status;
}

/* ---- captions ------------------------------------------------------------------------------------- */

void mgi_folder_sound_caption(const mgi_dataset *ds, uint64_t index, char caption[MGI_CAPTION_SIZE])
{
    const mgi_dataset_film *film = &ds->films[index];
    if (film->sound_caption)
        strcpy(caption, film->sound_caption);
    else
        mgi_dataset_sound_words(film->caption, caption);
}
