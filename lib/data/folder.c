/* SPDX-License-Identifier: MIT */
#include "data/folder.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "core/hash.h"
#include "core/philox.h"
#include "data/clip_list.h"
#include "data/dataset_sound.h"
#include "data/folder_edits.h"
#include "data/folder_photos.h"
#include "data/folder_scores.h"
#include "data/folder_read.h"
#include "data/folder_sound.h"
#include "data/resize.h"
#include "io/path.h"
#include "text/byte_tokenizer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- opening -------------------------------------------------------------------------------------- */

/* Whether the name has one of these endings, with commas, blanks or words between them. */
static bool ends_in(const char *name, const char *endings)
{
    const char *dot = strrchr(name, '.');
    for (const char *at = dot ? strchr(endings, '.') : NULL; at; at = strchr(at + 1, '.')) {
        const size_t length = strcspn(at, ", ");
        if (length > 1 && strlen(dot) == length && strncasecmp(at, dot, length) == 0)
            return true;
    }
    return false;
}

bool mgi_folder_is_film(const char *name)
{
    return ends_in(name, MGI_FOLDER_FILMS);
}

bool mgi_folder_is_picture(const char *name)
{
    return mgi_is_picture_name(name);
}

mgen_status mgi_folder_no_film(mgen_context *ctx, const char *dir)
{
    return mgi_fail(ctx, MGEN_E_NOT_FOUND,
                    "no film in '%s': files that end in " MGI_FOLDER_FILMS
                    "; or, for samples of one frame, "
                    "in " MGI_FOLDER_PICTURES,
                    dir);
}

static mgen_status clean_text(mgen_context *ctx, const char *path, const mgi_file *file,
                              const char *what, bool one_line, char out[MGI_CAPTION_SIZE])
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
        return mgi_fail(ctx, MGEN_E_CORRUPT, "the %s '%s' is longer than %d bytes", what, path,
                        MGI_CAPTION_SIZE - 1);
    if (memchr(text, 0, size) || !mgi_utf8_valid((const char *)text, size, &bad))
        return mgi_fail(ctx, MGEN_E_CORRUPT, "the %s '%s' is no UTF-8 text", what, path);
    if (one_line && (memchr(text, '\n', size) || memchr(text, '\r', size)))
        return mgi_fail(ctx, MGEN_E_CORRUPT, "the %s '%s' has more than one line", what, path);
    for (size_t i = 0; i < size; i++)
        out[i] = text[i] == '\n' || text[i] == '\r' || text[i] == '\t' ? ' ' : (char)text[i];
    out[size] = '\0';
    return MGEN_OK;
}

int64_t mgi_folder_from(const char *name, const mgi_dir_file *files, int64_t count)
{
    int64_t low = 0, high = count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (strcmp(files[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The file of that name, or NULL. */
static const mgi_dir_file *find_file(const char *name, const mgi_dir_file *files, int64_t count)
{
    const int64_t at = mgi_folder_from(name, files, count);
    return at < count && strcmp(files[at].name, name) == 0 ? &files[at] : NULL;
}

const mgi_dir_file *mgi_folder_beside(const char *film, const char *ending,
                                      const mgi_dir_file *files, int64_t count)
{
    char name[MGI_NAME_MAX + 16];
    snprintf(name, sizeof(name), "%.*s%s", (int)(strrchr(film, '.') - film), film, ending);
    return find_file(name, files, count);
}

int64_t mgi_folder_called(const char *stem, bool (*is)(const char *name), const mgi_dir_file *files,
                          int64_t from, int64_t count)
{
    const size_t n = strlen(stem);
    for (int64_t i = from; i < count && !strncmp(files[i].name, stem, n); i++)
        if (is(files[i].name) && strrchr(files[i].name, '.') == files[i].name + n - 1)
            return i;
    return count;
}

mgen_status mgi_folder_text(mgen_context *ctx, const char *dir, const mgi_dir_file *from,
                            const char *what, bool one_line, char out[MGI_CAPTION_SIZE])
{
    char path[MGI_PATH_MAX + 1];
    mgi_file file;
    MGI_TRY(mgi_path_join(ctx, dir, from->name, path, sizeof(path)));
    MGI_TRY(mgi_file_open(ctx, path, &file));
    mgen_status status = clean_text(ctx, path, &file, what, one_line, out);
    mgi_file_close(ctx, &file);
    return status;
}

mgen_status mgi_folder_caption(mgen_context *ctx, const char *dir, const mgi_dir_file *from,
                               char **out)
{
    char text[MGI_CAPTION_SIZE];
    MGI_TRY(mgi_folder_text(ctx, dir, from, "caption", false, text));
    return mgi_strdup(ctx, text, out);
}

uint64_t mgi_folder_identify(uint64_t hash, const mgi_dir_file *file)
{
    const uint64_t numbers[] = {file->size, (uint64_t)file->changed};
    hash = mgi_hash64(file->name, strlen(file->name) + 1, hash);
    return mgi_hash64(numbers, sizeof(numbers), hash);
}

/* A film, what is said of it and heard beside it, photos of who is in it, and what it is to become. */
static mgen_status take_film(mgen_context *ctx, mgi_dataset *ds, const mgi_dir_file *files,
                             int64_t count, const char *name, uint64_t *hash)
{
    mgi_dataset_film *film = &ds->films[ds->count++];
    const mgi_dir_file *text = mgi_folder_beside(name, ".txt", files, count);
    const mgi_dir_file *sound_text = mgi_folder_beside(name, ".sound.txt", files, count);
    const mgi_dir_file *sound = mgi_folder_beside(name, ".wav", files, count);
    MGI_TRY(mgi_strdup(ctx, name, &film->name));
    MGI_TRY(text ? mgi_folder_caption(ctx, ds->dir, text, &film->caption)
                 : mgi_strdup(ctx, "", &film->caption));
    if (sound_text)
        MGI_TRY(mgi_folder_caption(ctx, ds->dir, sound_text, &film->sound_caption));
    if (sound) {
        MGI_TRY(mgi_strdup(ctx, sound->name, &film->sound));
        *hash = mgi_folder_identify(*hash, sound);
    }
    MGI_TRY(mgi_folder_take_score(ctx, ds->dir, film, files, count));
    MGI_TRY(mgi_folder_take_photos(ctx, ds->dir, film, files, count, hash));
    MGI_TRY(mgi_folder_take_edit(ctx, ds->dir, film, files, count, hash));
    ds->heard = ds->heard || sound || mgi_folder_has_track(name);
    return MGEN_OK;
}

static mgen_status make_films(mgen_context *ctx, mgi_dataset *ds, int64_t count)
{
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)count, sizeof(*ds->films), &ds->films));
    return mgi_kept_sounds_create(ctx, (uint64_t)count, mgi_folder_read_sound, &ds->sounds);
}

static mgen_status take_films(mgen_context *ctx, mgi_dataset *ds, const mgi_dir_file *files,
                              int64_t count, uint64_t *hash)
{
    int64_t n = 0;
    for (int64_t i = 0; i < count; i++)
        n += mgi_folder_is_sample(files[i].name, ds->frames == 1, files, count);
    if (n == 0)
        return mgi_folder_no_film(ctx, ds->dir);
    MGI_TRY(make_films(ctx, ds, n));
    for (int64_t i = 0; i < count; i++) {
        if (!mgi_folder_is_sample(files[i].name, ds->frames == 1, files, count))
            continue;
        MGI_TRY(take_film(ctx, ds, files, count, files[i].name, hash));
        *hash = mgi_folder_identify(*hash, &files[i]);
    }
    return MGEN_OK;
}

/* ---- a list of clips ------------------------------------------------------------------------------ */

static mgen_status take_clip(mgen_context *ctx, mgi_dataset *ds, const mgi_dir_file *files,
                             int64_t count, mgi_clip_line *line, uint64_t *hash)
{
    const mgi_dir_file *file = find_file(line->file, files, count);
    const int64_t place[] = {line->first, line->frames};
    if (!file || !mgi_folder_is_sample(line->file, false, files, count))
        return mgi_fail(ctx, MGEN_E_NOT_FOUND,
                        "'%s' in '%s' keeps a clip of '%.200s', which is no film there; curate "
                        "again, or take the list away",
                        MGI_CLIP_LIST, ds->dir, line->file);
    if (line->frames < ds->frames)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "'%s' in '%s' keeps a clip of %lld frames of '%.200s', fewer than the %lld "
                        "of a sample; make samples shorter, or curate with a higher clip_min",
                        MGI_CLIP_LIST, ds->dir, (long long)line->frames, line->file,
                        (long long)ds->frames);
    MGI_TRY(take_film(ctx, ds, files, count, line->file, hash));
    mgi_dataset_film *film = &ds->films[ds->count - 1];
    film->first = line->first;
    film->frames = line->frames;
    film->said_base = line->even_from;
    atomic_init(&film->said_frames, line->even);
    if (line->caption) {
        mgi_free(ctx, film->caption);
        film->caption = line->caption;
        line->caption = NULL;
    }
    *hash = mgi_folder_identify(mgi_hash64(place, sizeof(place), *hash), file);
    return MGEN_OK;
}

/* A clip of weight 1.5 comes once or, by a lot of its own, twice in an epoch. */
static uint64_t times_of(const mgi_clip_line *line, uint64_t index)
{
    return (uint64_t)(line->weight +
                      (double)mgi_random_unit(0, MGI_STREAM_CURATE, (UINT64_C(2) << 32) + index));
}

static uint64_t count_walk(const mgi_dataset *ds)
{
    const uint64_t train = mgi_dataset_train_count(ds);
    uint64_t n = 0;
    for (uint64_t i = 0; i < train; i++)
        n += ds->films[i].times;
    return n;
}

static mgen_status make_walk(mgen_context *ctx, mgi_dataset *ds)
{
    const uint64_t train = mgi_dataset_train_count(ds);
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)count_walk(ds), sizeof(*ds->walk), &ds->walk));
    for (uint64_t i = 0; i < train; i++)
        for (uint64_t k = ds->films[i].times; k > 0; k--)
            ds->walk[ds->walks++] = i;
    return MGEN_OK;
}

/* In which order training meets clips, as their weights say; those held out come once, whatever they weigh. */
static mgen_status repeat_clips(mgen_context *ctx, mgi_dataset *ds, const mgi_clip_line *lines)
{
    for (uint64_t i = 0; i < ds->count; i++)
        ds->films[i].times = times_of(&lines[i], i);
    if (count_walk(ds) == 0)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "'%s' in '%s': its weights leave no clip to train on",
                        MGI_CLIP_LIST, ds->dir);
    return make_walk(ctx, ds);
}

static mgen_status take_clips(mgen_context *ctx, mgi_dataset *ds, const mgi_dir_file *files,
                              int64_t count, const mgi_file *list, uint64_t *hash)
{
    mgi_clip_line *lines;
    int64_t n;
    mgen_status status;
    MGI_TRY(
        mgi_clip_list_read(ctx, MGI_CLIP_LIST, (const char *)list->data, list->size, &lines, &n));
    if (n == 0)
        MGI_TRY_GOTO(status,
                     mgi_fail(ctx, MGEN_E_NOT_FOUND,
                              "'%s' in '%s' keeps no clip; curate with other rules, or take the "
                              "list away",
                              MGI_CLIP_LIST, ds->dir),
                     end);
    MGI_TRY_GOTO(status, make_films(ctx, ds, n), end);
    for (int64_t i = 0; i < n; i++)
        MGI_TRY_GOTO(status, take_clip(ctx, ds, files, count, &lines[i], hash), end);
    status = repeat_clips(ctx, ds, lines);
    *hash = mgi_hash64(list->data, list->size, *hash);
end:
    mgi_clip_list_free(ctx, lines, n);
    return status;
}

static mgen_status take_list(mgen_context *ctx, mgi_dataset *ds, const mgi_dir_file *files,
                             int64_t count, uint64_t *hash)
{
    char path[MGI_PATH_MAX + 1];
    mgi_file list;
    MGI_TRY(mgi_path_join(ctx, ds->dir, MGI_CLIP_LIST, path, sizeof(path)));
    MGI_TRY(mgi_file_open_large(ctx, path, &list));
    mgen_status status = take_clips(ctx, ds, files, count, &list, hash);
    mgi_file_close(ctx, &list);
    return status;
}

static int64_t tell_of(mgen_context *ctx, const char *dir, const mgi_dir_file *files, int64_t count,
                       const char *endings, const char *wanted)
{
    const char *first = NULL;
    int64_t n = 0;
    for (int64_t i = 0; i < count; i++)
        if (ends_in(files[i].name, endings))
            first = n++ ? first : files[i].name;
    if (n)
        mgi_log(ctx, MGEN_LOG_WARN,
                "%lld of the files in '%s' are passed over, the first is '%.200s': %s makes one of "
                "it",
                (long long)n, dir, first, wanted);
    return n;
}

/* Whoever has only some of a folder's films, or pictures where they are samples, learned from is told. */
int64_t mgi_folder_tell_of_others(mgen_context *ctx, const char *dir, const mgi_dir_file *files,
                                  int64_t count, bool pictures)
{
    int64_t n = tell_of(ctx, dir, files, count,
                        ".ts .mts .m2ts .mpg .mpeg .vob .wmv .asf .flv .ogv .mxf .gif",
                        "films end in " MGI_FOLDER_FILMS "; 'ffmpeg -i FILE NAME.mkv'");
    if (pictures)
        n += tell_of(ctx, dir, files, count, ".bmp .tif .tiff .heic .heif .avif",
                     "pictures end in " MGI_FOLDER_PICTURES "; 'ffmpeg -i FILE NAME.png'");
    return n;
}

void mgi_folder_tell_of_uneven(mgen_context *ctx, int64_t count, const char *first)
{
    if (count)
        mgi_log(ctx, MGEN_LOG_WARN,
                "%lld film%s of a variable frame rate %s taken as even, the first is '%.200s': "
                "motion becomes uneven, and sound runs out of step; 'ffmpeg -i FILE -vf fps=30 "
                "NAME.mkv' makes it even",
                (long long)count, count > 1 ? "s" : "", count > 1 ? "are" : "is", first);
}

mgen_status mgi_folder_open(mgen_context *ctx, mgi_dataset *ds, const char *dir, bool tells)
{
    const int64_t size[] = {MGI_DATASET_FOLDER, ds->width, ds->height, ds->frames};
    uint64_t hash = mgi_hash64(size, sizeof(size), 0);
    mgi_dir_file *files;
    int64_t count;
    MGI_TRY(mgi_dir_list(ctx, dir, &files, &count));
    mgen_status status = mgi_strdup(ctx, dir, &ds->dir);
    if (status == MGEN_OK)
        status = find_file(MGI_CLIP_LIST, files, count) ? take_list(ctx, ds, files, count, &hash)
                                                        : take_films(ctx, ds, files, count, &hash);
    ds->identity = hash ? hash : 1;
    if (status == MGEN_OK && tells)
        mgi_folder_tell_of_others(ctx, dir, files, count, ds->frames == 1);
    mgi_dir_free(ctx, files, count);
    return status;
}

/* ---- a part --------------------------------------------------------------------------------------- */

static mgen_status copy_text(mgen_context *ctx, const char *text, char **out)
{
    return text ? mgi_strdup(ctx, text, out) : MGEN_OK;
}

static mgen_status copy_film(mgen_context *ctx, const mgi_dataset_film *film, mgi_dataset_film *to)
{
    to->score = film->score;
    to->edit_task = film->edit_task;
    to->first = film->first;
    to->frames = film->frames;
    to->times = film->times;
    to->said_base = film->said_base;
    atomic_init(&to->said_frames, atomic_load(&film->said_frames));
    atomic_init(&to->fps, atomic_load(&film->fps));
    MGI_TRY(copy_text(ctx, film->name, &to->name));
    MGI_TRY(mgi_folder_copy_photos(ctx, film, to));
    MGI_TRY(copy_text(ctx, film->caption, &to->caption));
    MGI_TRY(copy_text(ctx, film->sound, &to->sound));
    MGI_TRY(copy_text(ctx, film->sound_caption, &to->sound_caption));
    MGI_TRY(copy_text(ctx, film->edited, &to->edited));
    return copy_text(ctx, film->instruction, &to->instruction);
}

mgen_status mgi_folder_take_part(mgen_context *ctx, mgi_dataset *part, const mgi_dataset *ds,
                                 const uint64_t *films, uint64_t count)
{
    const uint64_t what[] = {MGI_DATASET_FOLDER, (uint64_t)part->width, (uint64_t)part->height,
                             (uint64_t)part->frames, ds->identity};
    uint64_t hash = mgi_hash64(what, sizeof(what), 0);
    for (uint64_t i = 0; i < count; i++)
        hash = mgi_hash64(&films[i], sizeof(films[i]), hash);
    part->identity = hash ? hash : 1;
    part->heard = ds->heard;
    MGI_TRY(mgi_strdup(ctx, ds->dir, &part->dir));
    MGI_TRY(make_films(ctx, part, (int64_t)count));
    for (uint64_t i = 0; i < count; i++)
        MGI_TRY(copy_film(ctx, &ds->films[films[i]], &part->films[part->count++]));
    return ds->walk && count_walk(part) ? make_walk(ctx, part) : MGEN_OK;
}

bool mgi_folder_part_teaches(const mgi_dataset *ds, const uint64_t *films, uint64_t count)
{
    const mgi_dataset part = {.count = count}; /* its last ones are held out */
    uint64_t n = ds->walk ? 0 : count;
    for (uint64_t i = 0; ds->walk && i < count && i < mgi_dataset_train_count(&part); i++)
        n += ds->films[films[i]].times;
    return n > 0;
}

/* ---- reading -------------------------------------------------------------------------------------- */

int64_t mgi_folder_place(const mgi_film_info *info, const mgi_folder_wanted *w, int64_t i)
{
    if (w->fps == 0.0 || !info->fps_num || !info->fps_den)
        return w->first + i;
    return w->first + mgi_dataset_frame_seen(i, info->fps_num, info->fps_den, w->fps);
}

mgen_status mgi_folder_too_short(const mgi_film *film, const mgi_folder_wanted *w, int64_t frames,
                                 int64_t needed)
{
    if (w->end)
        return mgi_fail(film->ctx, MGEN_E_INVALID,
                        "the film '%s' has %lld frames, but '" MGI_CLIP_LIST
                        "' keeps a clip of it that needs %lld; curate again, or take the line away",
                        film->path, (long long)frames, (long long)needed);
    return mgi_fail(film->ctx, MGEN_E_INVALID,
                    "the film '%s' has %lld frames, fewer than the %lld of a sample; make samples "
                    "shorter, or take it away",
                    film->path, (long long)frames, (long long)needed);
}

mgen_status mgi_folder_check_end(const mgi_film *film, const mgi_folder_wanted *w, int64_t needed)
{
    if (!w->end || mgi_folder_place(mgi_film_about(film), w, w->frames - 1) < w->end)
        return MGEN_OK;
    return mgi_fail(film->ctx, MGEN_E_INVALID,
                    "the clip of the film '%s' ends at frame %lld, before the %lld that are "
                    "needed; make samples shorter, or curate with a higher clip_min",
                    film->path, (long long)w->end, (long long)needed);
}

/* Each of the frames, by way of `whole` in the film's own size. */
static mgen_status scale_frames(mgi_film *film, const mgi_dataset *ds, mgi_resize *resize,
                                const mgi_folder_wanted *w, uint8_t *whole, uint8_t *pixels)
{
    const int64_t each = ds->bytes / ds->frames;
    const mgi_film_info *info = mgi_film_about(film);
    const int64_t needed =
        mgi_folder_place(info, w, w->fps == 0.0 ? ds->frames - 1 : w->frames - 1) + 1;
    MGI_TRY(mgi_folder_check_end(film, w, needed));
    for (int64_t i = 0, next = mgi_film_at(film); i < w->frames; i++) {
        const int64_t at = mgi_folder_place(info, w, i);
        uint8_t *out = pixels + i * each;
        if (at < next) { /* it is still to be seen */
            memcpy(out, out - each, (size_t)each);
            continue;
        }
        for (; next <= at; next++) {
            bool end;
            MGI_TRY(mgi_film_next(film, next < at ? NULL : whole, &end));
            if (end)
                return mgi_folder_too_short(film, w, next, needed);
        }
        mgi_resize_frame(resize, whole, out);
    }
    return MGEN_OK;
}

int64_t mgi_folder_whole_rate(const mgi_film_info *info)
{
    const double fps = floor(mgi_film_rate(info) + 0.5);
    return (int64_t)fmin(fmax(fps, 1.0), (double)MGI_DATASET_FPS_MAX);
}

/* The rate of film `index`, for who asks later: any number of threads tell the same. */
static void keep_rate(const mgi_dataset *ds, uint64_t index, const mgi_film_info *info)
{
    atomic_store(&ds->films[index].fps, mgi_folder_whole_rate(info));
}

mgen_status mgi_folder_rate(mgen_context *ctx, const mgi_dataset *ds, uint64_t index, int64_t *fps)
{
    char path[MGI_PATH_MAX + 1];
    mgi_film *film;
    if (!atomic_load(&ds->films[index].fps)) {
        MGI_TRY(mgi_path_join(ctx, ds->dir, ds->films[index].name, path, sizeof(path)));
        MGI_TRY(mgi_film_open(ctx, path, &film));
        keep_rate(ds, index, mgi_film_about(film));
        mgi_film_close(film);
    }
    *fps = atomic_load(&ds->films[index].fps);
    return MGEN_OK;
}

enum { JUMP_MIN = 16 /* frames, for fewer of which no keyframe is looked for */ };

/* The clips of one file lie side by side: this one's first, and how many. */
static mgi_dataset_film *clips_of_file(const mgi_dataset *ds, mgi_dataset_film *of, int64_t *count)
{
    mgi_dataset_film *first = of, *end = of + 1;
    while (first > ds->films && strcmp(first[-1].name, of->name) == 0)
        first--;
    while (end < ds->films + ds->count && strcmp(end->name, of->name) == 0)
        end++;
    *count = end - first;
    return first;
}

/* What is known of a file, for all clips of it: any number of threads tell the same. */
static void keep_known(const mgi_dataset *ds, mgi_dataset_film *of, const mgi_film_known *known)
{
    int64_t count;
    if (known->frames <= atomic_load(&of->known_frames))
        return;
    mgi_dataset_film *clips = clips_of_file(ds, of, &count);
    for (int64_t i = 0; i < count; i++) {
        atomic_store(&clips[i].known_base, known->base);
        atomic_store(&clips[i].known_frames, known->frames); /* and is loaded first */
    }
}

/* What the list says of a file is held against it once: known from then on, or forgotten. */
static void try_said(const mgi_dataset *ds, mgi_dataset_film *of, mgi_film *film)
{
    const mgi_film_known said = {of->said_base, atomic_load(&of->said_frames)};
    int64_t count, was = 0;
    if (mgi_film_bears_out(film, &said)) {
        keep_known(ds, of, &said);
        return;
    }
    mgi_dataset_film *clips = clips_of_file(ds, of, &count);
    for (int64_t i = count - 1; i >= 0; i--)
        was = atomic_exchange(&clips[i].said_frames, 0);
    if (was)
        mgi_log(
            film->ctx, MGEN_LOG_WARN,
            "the film '%.200s' is not as '" MGI_CLIP_LIST
            "' has it (\"even\"): its clips are decoded from its first frame on, the first time; "
            "if it was changed, curate again",
            film->path);
}

/* To a keyframe before the frames, if those of the file are known by an earlier reading or by the list. */
static mgen_status jump_ahead(const mgi_dataset *ds, mgi_dataset_film *of, mgi_film *film,
                              const mgi_folder_wanted *w)
{
    const mgi_film_info *info = mgi_film_about(film);
    const int64_t first = mgi_folder_place(info, w, 0),
                  last = mgi_folder_place(info, w, w->frames - 1);
    mgi_film_known known;
    if (first < JUMP_MIN)
        return MGEN_OK;
    if (last >= atomic_load(&of->known_frames) && last < atomic_load(&of->said_frames))
        try_said(ds, of, film);
    known.frames = atomic_load(&of->known_frames);
    known.base = atomic_load(&of->known_base);
    return last < known.frames ? mgi_film_jump(film, &known, first) : MGEN_OK;
}

/* What this reading has told of the file. */
static void learn_from(const mgi_dataset *ds, mgi_dataset_film *of, mgi_film *film)
{
    mgi_film_known known;
    mgi_film_what_is_known(film, &known);
    keep_known(ds, of, &known);
}

/* `of`: the film whose own file it is; NULL: another one's. */
static mgen_status read_frames(mgen_context *ctx, const mgi_dataset *ds, mgi_dataset_film *of,
                               const char *name, const mgi_folder_wanted *w, uint8_t *pixels,
                               mgi_film_info *about)
{
    char path[MGI_PATH_MAX + 1];
    mgi_film *film;
    mgi_resize resize = {.ctx = NULL};
    uint8_t *whole = NULL;
    int64_t size;
    mgen_status status;
    MGI_TRY(mgi_path_join(ctx, ds->dir, name, path, sizeof(path)));
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
    if (of)
        MGI_TRY_GOTO(status, jump_ahead(ds, of, film, w), end);
    status = scale_frames(film, ds, &resize, w, whole, pixels);
    if (of && status == MGEN_OK)
        learn_from(ds, of, film);
    *about = *info;
end:
    mgi_resize_finish(&resize);
    mgi_free(ctx, whole);
    mgi_film_close(film);
    return status;
}

int64_t mgi_folder_end(const mgi_dataset_film *film)
{
    return film->frames ? film->first + film->frames : 0;
}

mgen_status mgi_folder_read_file(mgen_context *ctx, const mgi_dataset *ds, uint64_t index,
                                 const char *name, int64_t first, int64_t frames, uint8_t *pixels,
                                 mgi_film_info *info)
{
    mgi_dataset_film *film = &ds->films[index];
    const mgi_folder_wanted w = {film->first + first, frames, mgi_folder_end(film), 0.0};
    const bool own = strcmp(name, film->name) == 0;
    MGI_TRY(read_frames(ctx, ds, own ? film : NULL, name, &w, pixels, info));
    if (own)
        keep_rate(ds, index, info);
    return MGEN_OK;
}

mgen_status mgi_folder_read(mgen_context *ctx, const mgi_dataset *ds, uint64_t index, int64_t first,
                            int64_t frames, uint8_t *pixels)
{
    mgi_film_info info;
    return mgi_folder_read_file(ctx, ds, index, ds->films[index].name, first, frames, pixels,
                                &info);
}

mgen_status mgi_folder_watch(mgen_context *ctx, const mgi_dataset *ds, uint64_t index, double fps,
                             int64_t frames, uint8_t *pixels)
{
    mgi_dataset_film *film = &ds->films[index];
    const mgi_folder_wanted w = {film->first, frames, mgi_folder_end(film), fps};
    mgi_film_info info;
    return read_frames(ctx, ds, film, film->name, &w, pixels, &info);
}
