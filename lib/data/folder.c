/* SPDX-License-Identifier: MIT */
#include "data/folder.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "core/hash.h"
#include "data/folder_sound.h"
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

/* <name without ending><ending>, if it is in the folder; else NULL. */
static const mgi_dir_file *beside(const char *film, const char *ending, const mgi_dir_file *files,
                                  int64_t count)
{
    char name[MGI_NAME_MAX + 16];
    int64_t low = 0, high = count;
    snprintf(name, sizeof(name), "%.*s%s", (int)(strrchr(film, '.') - film), film, ending);
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (strcmp(files[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && strcmp(files[low].name, name) == 0 ? &files[low] : NULL;
}

static mgen_status read_caption(mgen_context *ctx, const char *dir, const mgi_dir_file *from,
                                char **out)
{
    char path[MGI_PATH_MAX + 1], text[MGI_CAPTION_SIZE] = "";
    mgi_file file;
    MGI_TRY(mgi_path_join(ctx, dir, from->name, path, sizeof(path)));
    MGI_TRY(mgi_file_open(ctx, path, &file));
    mgen_status status = clean_caption(ctx, path, &file, text);
    mgi_file_close(ctx, &file);
    return status == MGEN_OK ? mgi_strdup(ctx, text, out) : status;
}

/* What a film is, as far as it can be told without reading it. */
static uint64_t identify(uint64_t hash, const mgi_dir_file *file)
{
    const uint64_t numbers[] = {file->size, (uint64_t)file->changed};
    hash = mgi_hash64(file->name, strlen(file->name) + 1, hash);
    return mgi_hash64(numbers, sizeof(numbers), hash);
}

/* A film, and what is said of it and heard beside it. */
static mgen_status take_film(mgen_context *ctx, mgi_dataset *ds, const mgi_dir_file *files,
                             int64_t count, const char *name, uint64_t *hash)
{
    mgi_dataset_film *film = &ds->films[ds->count++];
    const mgi_dir_file *text = beside(name, ".txt", files, count);
    const mgi_dir_file *sound_text = beside(name, ".sound.txt", files, count);
    const mgi_dir_file *sound = beside(name, ".wav", files, count);
    MGI_TRY(mgi_strdup(ctx, name, &film->name));
    MGI_TRY(text ? read_caption(ctx, ds->dir, text, &film->caption)
                 : mgi_strdup(ctx, "", &film->caption));
    if (sound_text)
        MGI_TRY(read_caption(ctx, ds->dir, sound_text, &film->sound_caption));
    if (sound) {
        MGI_TRY(mgi_strdup(ctx, sound->name, &film->sound));
        *hash = identify(*hash, sound);
    }
    ds->heard = ds->heard || sound || mgi_folder_has_track(name);
    return MGEN_OK;
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
        MGI_TRY(take_film(ctx, ds, files, count, files[i].name, &hash));
        hash = identify(hash, &files[i]);
    }
    ds->identity = hash ? hash : 1;
    return mgi_folder_sounds_create(ctx, n, &ds->sounds);
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

/* Which frames of a film are asked for: those from `first` on, or, at a rate, what is seen then from the beginning on. */
typedef struct wanted {
    int64_t first, frames;
    double fps; /* 0: the film's own */
} wanted;

static int64_t place_of(const mgi_film *film, const wanted *w, int64_t i)
{
    const mgi_film_info *info = mgi_film_about(film);
    if (w->fps == 0.0 || !info->fps_num || !info->fps_den)
        return w->first + i;
    return (int64_t)(((double)i + 0.5) * (double)info->fps_num / ((double)info->fps_den * w->fps));
}

/* Each of the frames, by way of `whole` in the film's own size. */
static mgen_status scale_frames(mgi_film *film, const mgi_dataset *ds, mgi_resize *resize,
                                const wanted *w, uint8_t *whole, uint8_t *pixels)
{
    const int64_t each = ds->bytes / ds->frames;
    const int64_t needed = w->fps == 0.0 ? ds->frames : place_of(film, w, w->frames - 1) + 1;
    for (int64_t i = 0, next = 0; i < w->frames; i++) {
        const int64_t at = place_of(film, w, i);
        uint8_t *out = pixels + i * each;
        if (at < next) { /* it is still to be seen */
            memcpy(out, out - each, (size_t)each);
            continue;
        }
        for (; next <= at; next++) {
            bool end;
            MGI_TRY(mgi_film_next(film, next < at ? NULL : whole, &end));
            if (end)
                return mgi_fail(film->ctx, MGEN_E_INVALID,
                                "the film '%s' has %lld frames, fewer than the %lld of a sample; "
                                "make samples shorter, or take it away",
                                film->path, (long long)next, (long long)needed);
        }
        mgi_resize_frame(resize, whole, out);
    }
    return MGEN_OK;
}

static mgen_status read_frames(mgen_context *ctx, const mgi_dataset *ds, uint64_t index,
                               const wanted *w, uint8_t *pixels)
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
    status = scale_frames(film, ds, &resize, w, whole, pixels);
end:
    mgi_resize_finish(&resize);
    mgi_free(ctx, whole);
    mgi_film_close(film);
    return status;
}

mgen_status mgi_folder_read(mgen_context *ctx, const mgi_dataset *ds, uint64_t index, int64_t first,
                            int64_t frames, uint8_t *pixels)
{
    const wanted w = {first, frames, 0.0};
    return read_frames(ctx, ds, index, &w, pixels);
}

mgen_status mgi_folder_watch(mgen_context *ctx, const mgi_dataset *ds, uint64_t index, double fps,
                             int64_t frames, uint8_t *pixels)
{
    const wanted w = {0, frames, fps};
    return read_frames(ctx, ds, index, &w, pixels);
}
