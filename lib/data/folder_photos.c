/* SPDX-License-Identifier: MIT */
#include "data/folder_photos.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "data/folder.h"
#include "data/resize.h"
#include "media/film_read.h"

#include <stdio.h>
#include <string.h>

enum { GREY = 128, FACE = 40 /* bytes of ".face" with its number and points */ };

/* ---- which there are ------------------------------------------------------------------------------ */

/* What a film's photo i, from 0 on, is called: with a point behind, without its ending. */
static void stem_of(const char *film, int64_t i, char out[MGI_NAME_MAX + FACE])
{
    char number[FACE] = "";
    if (i)
        snprintf(number, sizeof(number), "%lld", (long long)i + 1);
    snprintf(out, MGI_NAME_MAX + FACE, "%.*s.face%s.", (int)(strrchr(film, '.') - film), film,
             number);
}

/* The file of it, `count`: there is none. INVALID if there are two, by their endings. */
static mgen_status find_photo(mgen_context *ctx, const char *dir, const char *film, int64_t i,
                              const mgi_dir_file *files, int64_t count, int64_t *at)
{
    char stem[MGI_NAME_MAX + FACE];
    stem_of(film, i, stem);
    *at = mgi_folder_called(stem, mgi_folder_is_picture, files, mgi_folder_from(stem, files, count),
                            count);
    const int64_t more =
        *at < count ? mgi_folder_called(stem, mgi_folder_is_picture, files, *at + 1, count) : count;
    return more == count ? MGEN_OK
                         : mgi_fail(ctx, MGEN_E_INVALID,
                                    "the film '%s' in '%s' has two photos of the same number, '%s' "
                                    "and '%s'; take one of them away, or give it the next number",
                                    film, dir, files[*at].name, files[more].name);
}

mgen_status mgi_folder_take_photos(mgen_context *ctx, const char *dir, mgi_dataset_film *film,
                                   const mgi_dir_file *files, int64_t count, uint64_t *hash)
{
    int64_t n = 0, at;
    for (;; n++) {
        MGI_TRY(find_photo(ctx, dir, film->name, n, files, count, &at));
        if (at == count)
            break;
        *hash = mgi_folder_identify(*hash, &files[at]);
    }
    if (n == 0)
        return MGEN_OK;
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)n, sizeof(*film->photo_names), &film->photo_names));
    while (film->photos < n) {
        MGI_TRY(find_photo(ctx, dir, film->name, film->photos, files, count, &at));
        MGI_TRY(mgi_strdup(ctx, files[at].name, &film->photo_names[film->photos]));
        film->photos++;
    }
    return MGEN_OK;
}

mgen_status mgi_folder_copy_photos(mgen_context *ctx, const mgi_dataset_film *film,
                                   mgi_dataset_film *to)
{
    if (film->photos == 0)
        return MGEN_OK;
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)film->photos, sizeof(*to->photo_names), &to->photo_names));
    for (; to->photos < film->photos; to->photos++)
        MGI_TRY(mgi_strdup(ctx, film->photo_names[to->photos], &to->photo_names[to->photos]));
    return MGEN_OK;
}

bool mgi_folder_has_photos(const mgi_dataset *ds)
{
    for (uint64_t i = 0; i < ds->count; i++)
        if (ds->films[i].photos)
            return true;
    return false;
}

static mgen_status missing(mgen_context *ctx, const mgi_dataset *ds, uint64_t index)
{
    char stem[MGI_NAME_MAX + FACE];
    stem_of(ds->films[index].name, 0, stem);
    return mgi_fail(
        ctx, MGEN_E_INVALID,
        "the film '%s' in '%s' has no photo of its person: '%spng' is missing, or one in "
        ".jpg, .jpeg or .webp; put it there, or take the film away",
        ds->films[index].name, ds->dir, stem);
}

mgen_status mgi_folder_check_photos(mgen_context *ctx, const mgi_dataset *ds)
{
    for (uint64_t i = 0; i < ds->count; i++)
        if (!ds->films[i].photos)
            return missing(ctx, ds, i);
    return MGEN_OK;
}

/* ---- reading -------------------------------------------------------------------------------------- */

void mgi_photo_square(const uint8_t *rgb, int64_t height, int64_t width, int64_t side,
                      uint8_t *square)
{
    memset(square, GREY, (size_t)(side * side * 3));
    square += ((side - height) / 2 * side + (side - width) / 2) * 3;
    for (int64_t y = 0; y < height; y++, rgb += width * 3, square += side * 3)
        memcpy(square, rgb, (size_t)(width * 3));
}

/* `to` of the longer side's pixels to `from`, at least 1. */
static int64_t scaled(int64_t from, int64_t longer, int64_t to)
{
    const int64_t n = (2 * from * to + longer) / (2 * longer);
    return n < 1 ? 1 : n;
}

static mgen_status fit(mgen_context *ctx, const uint8_t *photo, int64_t height, int64_t width,
                       int64_t side, uint8_t *rgb)
{
    const int64_t longer = height > width ? height : width;
    const int64_t h = scaled(height, longer, side), w = scaled(width, longer, side);
    const int64_t dims[] = {h, w, 3};
    mgi_resize resize = {.ctx = NULL};
    uint8_t *small;
    int64_t bytes;
    if (!mgi_dims_count(dims, 3, &bytes))
        return mgi_fail(ctx, MGEN_E_INTERNAL, "a photo's size was not checked");
    MGI_TRY(mgi_alloc(ctx, (size_t)bytes, &small));
    mgen_status status = mgi_resize_init_whole(&resize, ctx, width, height, w, h);
    if (status == MGEN_OK) {
        mgi_resize_frame(&resize, photo, small);
        mgi_photo_square(small, h, w, side, rgb);
    }
    mgi_resize_finish(&resize);
    mgi_free(ctx, small);
    return status;
}

mgen_status mgi_folder_photo(mgen_context *ctx, const mgi_dataset *ds, uint64_t index,
                             uint32_t pick, int64_t side, uint8_t *rgb)
{
    char path[MGI_PATH_MAX + 1];
    mgi_film_info info;
    uint8_t *photo;
    if (index >= ds->count)
        return mgi_fail(ctx, MGEN_E_INVALID, "sample %llu of a dataset that has %llu",
                        (unsigned long long)index, (unsigned long long)ds->count);
    const mgi_dataset_film *film = &ds->films[index];
    if (!film->photos)
        return missing(ctx, ds, index);
    const char *name = film->photo_names[(int64_t)pick % film->photos];
    MGI_TRY(mgi_path_join(ctx, ds->dir, name, path, sizeof(path)));
    mgen_status status = mgi_film_read(ctx, path, 0, 1, &photo, &info);
    if (status == MGEN_OK) {
        status = fit(ctx, photo, info.height, info.width, side, rgb);
        mgi_free(ctx, photo);
    }
    return status == MGEN_OK
               ? status
               : mgi_fail_context(ctx, status, "the photo '%s' of the film '%s'", name, film->name);
}
