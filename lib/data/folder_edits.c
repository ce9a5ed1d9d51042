/* SPDX-License-Identifier: MIT */
#include "data/folder_edits.h"

#include "core/alloc.h"
#include "data/folder.h"
#include "media/film_read.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MARK        ".edited"
#define FACE        ".face"
#define TEXT        ".edit.txt"
#define RATE_APART  0.005 /* of the rate: 25 and 25.1, but not 24 */
#define SIDES_APART 0.02  /* of width to height: 1920 x 1080 and 854 x 480, but not 4:3 */

/* ---- which there are ------------------------------------------------------------------------------ */

/* Bytes of a film's name without its ending. */
static int stem_of(const char *film)
{
    return (int)(strrchr(film, '.') - film);
}

/* Bytes of the name of the film of which this one would be the edited one; 0: of none. */
static int edited_of(const char *name)
{
    const int stem = stem_of(name), mark = (int)strlen(MARK);
    return stem > mark && !strncmp(name + stem - mark, MARK, (size_t)mark) ? stem - mark : 0;
}

/* Of a picture that no film, and no other picture, has beside it: it shows no face of theirs, and is none of their edits. */
static bool lone_picture(const char *name)
{
    int stem = stem_of(name);
    if (edited_of(name))
        return false;
    while (stem > 0 && name[stem - 1] >= '0' && name[stem - 1] <= '9')
        stem--;
    return stem < (int)strlen(FACE) || strncmp(name + stem - strlen(FACE), FACE, strlen(FACE));
}

bool mgi_folder_is_sample(const char *name, bool pictures, const mgi_dir_file *files, int64_t count)
{
    char stem[MGI_NAME_MAX + 1];
    if (pictures && mgi_folder_is_picture(name))
        return lone_picture(name);
    if (!mgi_folder_is_film(name))
        return false;
    if (!edited_of(name))
        return true;
    snprintf(stem, sizeof(stem), "%.*s.", edited_of(name), name);
    return mgi_folder_called(stem, mgi_folder_is_film, files, mgi_folder_from(stem, files, count),
                             count) == count;
}

static mgen_status take_instruction(mgen_context *ctx, const char *dir, const mgi_dir_file *file,
                                    mgi_dataset_film *film)
{
    char text[MGI_CAPTION_SIZE];
    const char *instruction;
    MGI_TRY(mgi_folder_text(ctx, dir, file, "instruction", true, text));
    film->edit_task = mgi_edit_task_read(text, &instruction);
    if (!*instruction)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "the instruction '%s' in '%s' is empty", file->name,
                        dir);
    return mgi_strdup(ctx, instruction, &film->instruction);
}

mgen_status mgi_folder_take_edit(mgen_context *ctx, const char *dir, mgi_dataset_film *film,
                                 const mgi_dir_file *files, int64_t count, uint64_t *hash)
{
    char stem[MGI_NAME_MAX + 16];
    const mgi_dir_file *text = mgi_folder_beside(film->name, TEXT, files, count);
    snprintf(stem, sizeof(stem), "%.*s" MARK ".", stem_of(film->name), film->name);
    const int64_t at = mgi_folder_called(stem, mgi_folder_is_film, files,
                                         mgi_folder_from(stem, files, count), count);
    const int64_t more =
        at < count ? mgi_folder_called(stem, mgi_folder_is_film, files, at + 1, count) : count;
    if (more < count)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "the film '%s' in '%s' has two films after its edit, '%s' and '%s'; take "
                        "one of them away",
                        film->name, dir, files[at].name, files[more].name);
    if (at < count) {
        MGI_TRY(mgi_strdup(ctx, files[at].name, &film->edited));
        *hash = mgi_folder_identify(*hash, &files[at]);
    }
    if (!text)
        return MGEN_OK;
    *hash = mgi_folder_identify(*hash, text);
    return take_instruction(ctx, dir, text, film);
}

bool mgi_folder_has_edits(const mgi_dataset *ds)
{
    for (uint64_t i = 0; i < ds->count; i++)
        if (ds->films[i].edited || ds->films[i].instruction || edited_of(ds->films[i].name))
            return true;
    return false;
}

static mgen_status check_edit(mgen_context *ctx, const mgi_dataset *ds,
                              const mgi_dataset_film *film)
{
    const int stem = stem_of(film->name);
    if (film->edited && film->instruction)
        return MGEN_OK;
    if (edited_of(film->name) && !film->edited)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "the film '%s' in '%s' is one after an edit, and the one before it, "
                        "'%.*s' and an ending of films, is missing; put it there, or take this one "
                        "away",
                        film->name, ds->dir, edited_of(film->name), film->name);
    if (!film->edited)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "the film '%s' in '%s' has none after an edit: '%.*s" MARK
                        "%s' is missing; put it there, or take the film away",
                        film->name, ds->dir, stem, film->name, film->name + stem);
    return mgi_fail(ctx, MGEN_E_INVALID,
                    "the films '%s' and '%s' in '%s' have no instruction: '%.*s" TEXT
                    "' is missing; put it there, or take them away",
                    film->name, film->edited, ds->dir, stem, film->name);
}

mgen_status mgi_folder_check_edits(mgen_context *ctx, const mgi_dataset *ds, bool captions)
{
    for (uint64_t i = 0; i < ds->count; i++) {
        const mgi_dataset_film *film = &ds->films[i];
        MGI_TRY(check_edit(ctx, ds, film));
        if (captions && !film->caption[0])
            return mgi_fail(ctx, MGEN_E_INVALID,
                            "the film '%s' in '%s' has no caption, '%.*s.txt'; put it there, or "
                            "ask for no \"text\"",
                            film->name, ds->dir, stem_of(film->name), film->name);
    }
    return MGEN_OK;
}

/* ---- reading -------------------------------------------------------------------------------------- */

static bool apart(double a, double b, double most)
{
    return fabs(a - b) > most * (a > b ? a : b);
}

/* Frame i of both is the same moment, and the middle of both the same part of the picture. */
static mgen_status check_alike(mgen_context *ctx, const mgi_dataset *ds,
                               const mgi_dataset_film *film, const mgi_film_info *before,
                               const mgi_film_info *after)
{
    const double rate[] = {mgi_film_rate(before), mgi_film_rate(after)};
    const bool known = before->fps_num && before->fps_den && after->fps_num && after->fps_den;
    if (known && apart(rate[0], rate[1], RATE_APART))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "the films '%s' and '%s' in '%s' have %g and %g frames a second; an edit "
                        "keeps the rate",
                        film->name, film->edited, ds->dir, rate[0], rate[1]);
    if (apart((double)before->width * (double)after->height,
              (double)after->width * (double)before->height, SIDES_APART))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "the films '%s' and '%s' in '%s' are of %lld x %lld and %lld x %lld "
                        "pixels; an edit keeps the relation of the sides",
                        film->name, film->edited, ds->dir, (long long)before->width,
                        (long long)before->height, (long long)after->width,
                        (long long)after->height);
    return MGEN_OK;
}

mgen_status mgi_folder_read_edit(mgen_context *ctx, const mgi_dataset *ds, uint64_t index,
                                 int64_t first, int64_t frames, uint8_t *before, uint8_t *after)
{
    const mgi_dataset_film *film = &ds->films[index];
    mgi_film_info info[2];
    MGI_TRY(check_edit(ctx, ds, film));
    MGI_TRY(mgi_folder_read_file(ctx, ds, index, film->name, first, frames, before, &info[0]));
    if (!after)
        return MGEN_OK;
    MGI_TRY(mgi_folder_read_file(ctx, ds, index, film->edited, first, frames, after, &info[1]));
    return check_alike(ctx, ds, film, &info[0], &info[1]);
}

mgen_status mgi_folder_edit_words(mgen_context *ctx, const mgi_dataset *ds, uint64_t index,
                                  mgi_edit_words *words)
{
    const mgi_dataset_film *film = &ds->films[index];
    MGI_TRY(check_edit(ctx, ds, film));
    strcpy(words->caption, film->caption);
    strcpy(words->instruction, film->instruction);
    words->task = film->edit_task;
    return MGEN_OK;
}
