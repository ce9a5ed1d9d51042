/* SPDX-License-Identifier: MIT */
#include "data/folder.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "core/hash.h"
#include "data/resize.h"
#include "io/path.h"
#include "media/film_read.h"
#include "text/byte_tokenizer.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- opening -------------------------------------------------------------------------------------- */

static bool is_film(const char *name)
{
    static const char *const endings[] = {".mp4", ".mkv", ".webm", ".mov", ".avi", ".y4m"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof(endings) / sizeof(endings[0]); i++)
        if (strcasecmp(dot, endings[i]) == 0)
            return true;
    return false;
}

/* Text of a caption file: lines become one, blanks around it go. */
static mgen_status clean_caption(mgen_context *ctx, const char *path, const mgi_file *file,
                                 char out[MGI_CAPTION_SIZE])
{
    const uint8_t *text = file->data;
    size_t size = file->size, bad;
    if (size >= 3 &&
        memcmp(text, "\xEF\xBB\xBF", 3) == 0) { /* a mark that some editors put there */
        text += 3;
        size -= 3;
    }
    while (size && text[size - 1] <= ' ' && text[size - 1])
        size--;
    for (; size && *text <= ' ' && *text; size--)
        text++;
    if (size >= MGI_CAPTION_SIZE)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "the caption '%s' is longer than %d bytes", path,
                        MGI_CAPTION_SIZE - 1);
    if (memchr(text, 0, size) || !mgi_utf8_valid((const char *)text, size, &bad))
        return mgi_fail(ctx, MGEN_E_CORRUPT, "the caption '%s' is no UTF-8 text", path);
    for (size_t i = 0; i < size; i++)
        out[i] = text[i] == '\n' || text[i] == '\r' || text[i] == '\t' ? ' ' : (char)text[i];
    out[size] = '\0';
    return MGEN_OK;
}

/* Of <name without ending>.txt, if it is in the folder. */
static mgen_status read_caption(mgen_context *ctx, const char *dir, const char *film,
                                const mgi_dir_file *files, int64_t count, char **out)
{
    char name[MGI_NAME_MAX + 8], path[MGI_PATH_MAX + 1], text[MGI_CAPTION_SIZE] = "";
    int64_t low = 0, high = count;
    snprintf(name, sizeof(name), "%.*s.txt", (int)(strrchr(film, '.') - film), film);
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (strcmp(files[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < count && strcmp(files[low].name, name) == 0) {
        mgi_file file;
        MGI_TRY(mgi_path_join(ctx, dir, name, path, sizeof(path)));
        MGI_TRY(mgi_file_open(ctx, path, &file));
        mgen_status status = clean_caption(ctx, path, &file, text);
        mgi_file_close(ctx, &file);
        MGI_TRY(status);
    }
    return mgi_strdup(ctx, text, out);
}

/* What a film is, as far as it can be told without reading it. */
static uint64_t identify(uint64_t hash, const mgi_dir_file *file)
{
    const uint64_t numbers[] = {file->size, (uint64_t)file->changed};
    hash = mgi_hash64(file->name, strlen(file->name) + 1, hash);
    return mgi_hash64(numbers, sizeof(numbers), hash);
}

static mgen_status take_films(mgen_context *ctx, mgi_dataset *ds, const mgi_dir_file *files,
                              int64_t count)
{
    const int64_t size[] = {MGI_DATASET_FOLDER, ds->width, ds->height, ds->frames};
    uint64_t n = 0, hash = mgi_hash64(size, sizeof(size), 0);
    for (int64_t i = 0; i < count; i++)
        n += is_film(files[i].name);
    if (n == 0)
        return mgi_fail(ctx, MGEN_E_NOT_FOUND,
                        "no film in '%s': files that end in .mp4, .mkv, .webm, .mov, .avi or .y4m",
                        ds->dir);
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)n, sizeof(*ds->films), &ds->films));
    for (int64_t i = 0; i < count; i++) {
        if (!is_film(files[i].name))
            continue;
        mgi_dataset_film *film = &ds->films[ds->count++];
        MGI_TRY(mgi_strdup(ctx, files[i].name, &film->name));
        MGI_TRY(read_caption(ctx, ds->dir, film->name, files, count, &film->caption));
        hash = identify(hash, &files[i]);
    }
    ds->identity = hash ? hash : 1;
    return MGEN_OK;
}

mgen_status mgi_folder_open(mgen_context *ctx, mgi_dataset *ds, const char *dir)
{
    mgi_dir_file *files;
    int64_t count;
    MGI_TRY(mgi_dir_list(ctx, dir, &files, &count));
    mgen_status status = mgi_strdup(ctx, dir, &ds->dir);
    if (status == MGEN_OK)
        status = take_films(ctx, ds, files, count);
    mgi_dir_free(ctx, files, count);
    return status;
}

/* ---- reading -------------------------------------------------------------------------------------- */

/* Each frame of the piece, by way of `whole` in the film's own size. */
static mgen_status scale_frames(mgi_film *film, const mgi_dataset *ds, mgi_resize *resize,
                                int64_t first, int64_t frames, uint8_t *whole, uint8_t *pixels)
{
    int64_t each = ds->bytes / ds->frames;
    for (int64_t i = 0; i < first + frames; i++) {
        bool end;
        MGI_TRY(mgi_film_next(film, i < first ? NULL : whole, &end));
        if (end)
            return mgi_fail(film->ctx, MGEN_E_INVALID,
                            "the film '%s' has %lld frames, fewer than the %lld of a sample; make "
                            "samples shorter, or take it away",
                            film->path, (long long)i, (long long)ds->frames);
        if (i >= first)
            mgi_resize_frame(resize, whole, pixels + (i - first) * each);
    }
    return MGEN_OK;
}

mgen_status mgi_folder_read(mgen_context *ctx, const mgi_dataset *ds, uint64_t index, int64_t first,
                            int64_t frames, uint8_t *pixels)
{
    char path[MGI_PATH_MAX + 1];
    mgi_film *film;
    mgi_resize resize = {.ctx = NULL};
    uint8_t *whole = NULL;
    int64_t size;
    mgen_status status;
    MGI_TRY(mgi_path_join(ctx, ds->dir, ds->films[index].name, path, sizeof(path)));
    MGI_TRY(mgi_film_open(ctx, path, &film));
    const mgi_film_info *info = mgi_film_about(film);
    const int64_t dims[] = {info->width, info->height, 3};
    if (!mgi_dims_count(dims, 3, &size)) {
        status = mgi_fail(ctx, MGEN_E_CORRUPT, "the film '%s' has impossible sides", path);
        goto end;
    }
    MGI_TRY_GOTO(status, mgi_alloc(ctx, (size_t)size, &whole), end);
    MGI_TRY_GOTO(status,
                 mgi_resize_init(&resize, ctx, info->width, info->height, ds->width, ds->height),
                 end);
    status = scale_frames(film, ds, &resize, first, frames, whole, pixels);
end:
    mgi_resize_finish(&resize);
    mgi_free(ctx, whole);
    mgi_film_close(film);
    return status;
}
