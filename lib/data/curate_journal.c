/* SPDX-License-Identifier: MIT */
#include "data/curate_journal.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "core/hash.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The file's head. Numbers are as the machine has them; `order` tells that of another. */
typedef struct head {
    char magic[8];
    uint32_t format, order;
} head;
static const head first_bytes = {{'M', 'G', 'E', 'N', 'S', 'E', 'E', 'N'}, 3, UINT32_C(0x01020304)};

/* A record: this, the film's name, and of each clip a `clip` and, if it is `viewed`, an mgi_curate_view. */
typedef struct record {
    uint64_t size, hash; /* bytes of all of it; of what comes after these two */
    uint64_t key, film_size;
    int64_t film_changed;
    int64_t width, height, frames, shots, clips;
    double fps, seconds;
    uint32_t fps_num, fps_den, fails, name_size;
    uint32_t uneven, zero;
    int64_t known_base, known_frames;
} record;

typedef struct clip {
    int64_t first, frames;
    double text, border, still, still_seconds, motion, vector, shake;
    uint32_t fails, viewed;
} clip;

enum { HASHED_FROM = 2 * sizeof(uint64_t) };
_Static_assert(sizeof(head) == 16 && sizeof(record) == 136 && sizeof(clip) == 80 &&
                   sizeof(mgi_curate_view) % sizeof(float) == 0,
               "no padding in a file");

/* ---- reading ------------------------------------------------------------------------------------ */

static bool finite_all(const double *values, int count)
{
    for (int i = 0; i < count; i++)
        if (!isfinite(values[i]) || values[i] < 0.0)
            return false;
    return true;
}

static bool finite_view(const mgi_curate_view *view)
{
    for (int i = 0; i < MGI_LIKE_SIZE; i++)
        if (!isfinite(view->like[i]))
            return false;
    for (int i = 0; i < MGI_THEME_SIZE; i++)
        if (!isfinite(view->theme[i]))
            return false;
    return true;
}

/* A checksum is no reason to believe a file. */
static bool sound_record(const record *r)
{
    const double numbers[] = {r->fps, r->seconds};
    return r->width >= 1 && r->width <= MGI_FILM_SIDE_MAX && r->height >= 1 &&
           r->height <= MGI_FILM_SIDE_MAX && r->frames >= 0 && r->shots >= 0 && r->clips >= 0 &&
           r->clips <= r->frames && (r->clips || r->fails) && finite_all(numbers, 2) &&
           r->fps > 0.0 && r->fails < UINT32_C(1) << MGI_CURATE_STEPS && r->name_size >= 1 &&
           r->name_size <= MGI_NAME_MAX && r->uneven <= 1 && !r->zero && r->known_frames >= 0 &&
           r->known_frames <= r->frames && r->known_base > -MGI_FILM_TIME_MAX &&
           r->known_base < MGI_FILM_TIME_MAX;
}

static bool sound_clip(const clip *c, const record *r)
{
    return c->first >= 0 && c->frames >= 1 && c->first <= r->frames &&
           c->frames <= r->frames - c->first && finite_all(&c->text, 7) &&
           c->fails < UINT32_C(1) << MGI_CURATE_STEPS && c->viewed <= 1 &&
           c->viewed == !(c->fails | r->fails);
}

/* Whether a whole record is there. */
static bool read_record(const uint8_t *data, size_t left, record *r)
{
    if (left < sizeof *r)
        return false;
    memcpy(r, data, sizeof *r);
    return r->size >= sizeof *r && r->size <= left &&
           r->hash == mgi_hash_large(data + HASHED_FROM, (size_t)r->size - HASHED_FROM, 0) &&
           sound_record(r) && r->name_size <= r->size - sizeof *r;
}

static mgen_status take_clip(mgen_context *ctx, const clip *from, const uint8_t *view,
                             mgi_curate_film *film, bool *sound)
{
    mgi_curate_clip *c = &film->clips[film->count];
    *c = (mgi_curate_clip){.first = from->first,
                           .frames = from->frames,
                           .text = from->text,
                           .border = from->border,
                           .still = from->still,
                           .still_seconds = from->still_seconds,
                           .motion = from->motion,
                           .vector = from->vector,
                           .shake = from->shake,
                           .fails = from->fails,
                           .same = -1,
                           .cluster = -1};
    if (from->viewed) {
        MGI_TRY(mgi_alloc(ctx, sizeof *c->view, &c->view));
        memcpy(c->view, view, sizeof *c->view);
        *sound = finite_view(c->view);
    }
    film->count++;
    return MGEN_OK;
}

/* `data`: what comes after the name. *sound: it is what it should be. */
static mgen_status take_clips(mgen_context *ctx, const record *r, const uint8_t *data, size_t left,
                              mgi_curate_film *film, bool *sound)
{
    *sound = (uint64_t)r->clips <= left / sizeof(clip); /* room for what is there, no more */
    if (!*sound)
        return MGEN_OK;
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)r->clips, sizeof *film->clips, &film->clips));
    film->room = r->clips;
    while (film->count < r->clips && *sound) {
        clip c;
        *sound = left >= sizeof c;
        if (!*sound)
            break;
        memcpy(&c, data, sizeof c);
        data += sizeof c;
        left -= sizeof c;
        *sound = sound_clip(&c, r) && (!c.viewed || left >= sizeof(mgi_curate_view));
        if (!*sound)
            break;
        MGI_TRY(take_clip(ctx, &c, data, film, sound));
        data += c.viewed ? sizeof(mgi_curate_view) : 0;
        left -= c.viewed ? sizeof(mgi_curate_view) : 0;
    }
    *sound = *sound && !left;
    return MGEN_OK;
}

static mgen_status take_film(mgen_context *ctx, const record *r, const uint8_t *data,
                             mgi_curate_film **out, bool *sound)
{
    mgi_curate_film *film;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *film, &film));
    film->info = (mgi_film_info){r->width, r->height, r->frames, r->fps_num, r->fps_den};
    film->fps = r->fps;
    film->seconds = r->seconds;
    film->aesthetic = NAN;
    film->fails = r->fails;
    film->uneven = r->uneven;
    film->known = (mgi_film_known){r->known_base, r->known_frames};
    film->shots = r->shots;
    const size_t before = sizeof *r + r->name_size;
    mgen_status status = take_clips(ctx, r, data + before, (size_t)r->size - before, film, sound);
    if (status == MGEN_OK && *sound) {
        *out = film;
        return MGEN_OK;
    }
    mgi_curate_film_free(ctx, film);
    mgi_free(ctx, film);
    return status;
}

/* The film that the record is of, if it is as it was; or -1. */
static int64_t find_film(const record *r, const uint8_t *name, const mgi_dir_file *const *films,
                         int64_t count)
{
    char wanted[MGI_NAME_MAX + 1];
    int64_t low = 0, high = count;
    memcpy(wanted, name, r->name_size);
    wanted[r->name_size] = '\0';
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (strcmp(films[middle]->name, wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && !strcmp(films[low]->name, wanted) && films[low]->size == r->film_size &&
                   films[low]->changed == r->film_changed
               ? low
               : -1;
}

mgen_status mgi_curate_journal_read(mgen_context *ctx, const uint8_t *data, size_t size,
                                    uint64_t key, const mgi_dir_file *const *films, int64_t count,
                                    mgi_curate_film **seen, size_t *good, int64_t *records)
{
    record r;
    *good = 0;
    *records = 0;
    if (size < sizeof first_bytes || memcmp(data, &first_bytes, sizeof first_bytes) != 0)
        return MGEN_OK;
    *good = sizeof first_bytes;
    while (read_record(data + *good, size - *good, &r)) {
        mgi_curate_film *film = NULL;
        bool sound;
        MGI_TRY(take_film(ctx, &r, data + *good, &film, &sound));
        if (!sound)
            return MGEN_OK;
        const int64_t at = r.key == key ? find_film(&r, data + *good + sizeof r, films, count) : -1;
        if (at >= 0) { /* the last one of a film counts */
            mgi_curate_film *before = seen[at];
            seen[at] = film;
            film = before;
        }
        if (film)
            mgi_curate_film_free(ctx, film);
        mgi_free(ctx, film);
        *good += (size_t)r.size;
        ++*records;
    }
    return MGEN_OK;
}

/* ---- opening ------------------------------------------------------------------------------------ */

uint64_t mgi_curate_journal_key(const mgi_curate_rules *rules)
{
    const uint32_t what[] = {MGEN_VERSION_MAJOR, MGEN_VERSION_MINOR, MGEN_VERSION_PATCH,
                             MGI_CURATE_WATCH_VERSION, sizeof(mgi_curate_view)};
    return mgi_hash64(rules, sizeof *rules, mgi_hash64(what, sizeof what, 0));
}

/* What keeps the journal from being kept is said, and curation goes on without. */
static mgen_status go_without(mgi_curate_journal *j, mgen_status status)
{
    mgi_writer_leave(&j->file, false);
    if (status == MGEN_E_STATE)
        mgi_fail_context(j->own, status, "this list is being made already");
    if (status == MGEN_E_NO_MEMORY || status == MGEN_E_LIMIT || status == MGEN_E_STATE)
        return mgi_fail_from(j->ctx, status, j->own);
    mgi_log(j->ctx, MGEN_LOG_WARN,
            "if this curation is ended before its list is written, it will begin anew: %.700s",
            mgen_last_error(j->own));
    return MGEN_OK;
}

/* What is there already; all of it that is whole stays. */
static mgen_status read_file(mgi_curate_journal *j, const mgi_dir_file *const *films, int64_t count,
                             mgi_curate_film **seen)
{
    const char *path = j->file.path;
    mgi_file file;
    size_t good;
    MGI_TRY(mgi_file_open_large(j->own, path, &file));
    const size_t magic =
        file.size < sizeof first_bytes.magic ? file.size : sizeof first_bytes.magic;
    mgen_status status =
        !magic || !memcmp(file.data, first_bytes.magic, magic)
            ? mgi_curate_journal_read(j->own, file.data, file.size, j->key, films, count, seen,
                                      &good, &j->records)
            : mgi_fail(j->own, MGEN_E_CORRUPT, "'%s' is no file of curation; remove it", path);
    const size_t size = file.size;
    mgi_file_close(j->own, &file);
    MGI_TRY(status);
    if (good < size) {
        mgi_log(j->ctx, MGEN_LOG_WARN,
                "'%s' is damaged from byte %zu on, or of another version: films that it had there "
                "are watched again",
                path, good);
        MGI_TRY(mgi_writer_cut(&j->file, good));
    }
    return good ? MGEN_OK : mgi_writer_write(&j->file, &first_bytes, sizeof first_bytes);
}

mgen_status mgi_curate_journal_open(mgen_context *ctx, const char *list,
                                    const mgi_curate_rules *rules, const mgi_dir_file *const *films,
                                    int64_t count, mgi_curate_film **seen, mgi_curate_journal *out)
{
    char path[MGI_PATH_MAX + sizeof MGI_CURATE_SEEN];
    *out = (mgi_curate_journal){.ctx = ctx, .file.fd = -1, .key = mgi_curate_journal_key(rules)};
    MGI_TRY(mgi_context_private(ctx, &out->own));
    pthread_mutex_init(&out->mutex, NULL); /* with default attributes this cannot fail on Linux */
    snprintf(path, sizeof path, "%s" MGI_CURATE_SEEN, list);
    mgen_status status = mgi_writer_append(out->own, path, &out->file);
    if (status == MGEN_OK)
        status = read_file(out, films, count, seen);
    if (status != MGEN_OK)
        status = go_without(out, status);
    if (status != MGEN_OK)
        mgi_curate_journal_close(out, false);
    return status;
}

/* ---- writing ------------------------------------------------------------------------------------ */

static clip clip_of(const mgi_curate_clip *c)
{
    return (clip){.first = c->first,
                  .frames = c->frames,
                  .text = c->text,
                  .border = c->border,
                  .still = c->still,
                  .still_seconds = c->still_seconds,
                  .motion = c->motion,
                  .vector = c->vector,
                  .shake = c->shake,
                  .fails = c->fails,
                  .viewed = c->view != NULL};
}

static bool size_of(const mgi_curate_film *film, size_t name_size, size_t *out)
{
    bool fits = mgi_size_add(sizeof(record), name_size, out);
    for (int64_t i = 0; i < film->count && fits; i++)
        fits = mgi_size_add(*out, sizeof(clip), out) &&
               mgi_size_add(*out, film->clips[i].view ? sizeof(mgi_curate_view) : 0, out);
    return fits;
}

static uint8_t *put(uint8_t *at, const void *data, size_t size)
{
    memcpy(at, data, size);
    return at + size;
}

/* *sound: reading will believe it. */
static mgen_status make_record(mgi_curate_journal *j, const mgi_dir_file *file,
                               const mgi_curate_film *film, size_t *size, bool *sound)
{
    const size_t name_size = strlen(file->name);
    if (!size_of(film, name_size, size))
        return mgi_fail(j->own, MGEN_E_LIMIT, "a film of too many clips");
    if (*size > j->room_size) {
        MGI_TRY(mgi_realloc(j->own, &j->room, *size, 1));
        j->room_size = *size;
    }
    record r = {.size = *size,
                .key = j->key,
                .film_size = file->size,
                .film_changed = file->changed,
                .width = film->info.width,
                .height = film->info.height,
                .frames = film->info.frames,
                .shots = film->shots,
                .clips = film->count,
                .fps = film->fps,
                .seconds = film->seconds,
                .fps_num = film->info.fps_num,
                .fps_den = film->info.fps_den,
                .fails = film->fails,
                .name_size = (uint32_t)name_size,
                .uneven = film->uneven,
                .known_base = film->known.base,
                .known_frames = film->known.frames};
    uint8_t *at = put(j->room + sizeof r, file->name, name_size);
    *sound = sound_record(&r);
    for (int64_t i = 0; i < film->count; i++) {
        const clip c = clip_of(&film->clips[i]);
        *sound = *sound && sound_clip(&c, &r) && (!c.viewed || finite_view(film->clips[i].view));
        at = put(at, &c, sizeof c);
        if (c.viewed)
            at = put(at, film->clips[i].view, sizeof *film->clips[i].view);
    }
    put(j->room, &r, sizeof r);
    r.hash = mgi_hash_large(j->room + HASHED_FROM, *size - HASHED_FROM, 0);
    put(j->room, &r, sizeof r);
    return MGEN_OK;
}

static mgen_status add(mgi_curate_journal *j, const mgi_dir_file *file, const mgi_curate_film *film)
{
    size_t size;
    bool sound = true;
    MGI_TRY(make_record(j, file, film, &size, &sound));
    if (sound)
        MGI_TRY(mgi_writer_write(&j->file, j->room, size));
    j->records += sound;
    return MGEN_OK;
}

void mgi_curate_journal_add(mgi_curate_journal *j, const mgi_dir_file *file,
                            const mgi_curate_film *film)
{
    pthread_mutex_lock(&j->mutex);
    if (j->file.fd >= 0 && j->failed == MGEN_OK)
        j->failed = add(j, file, film);
    pthread_mutex_unlock(&j->mutex);
}

mgen_status mgi_curate_journal_check(mgi_curate_journal *j)
{
    pthread_mutex_lock(&j->mutex);
    const mgen_status status = j->failed;
    j->failed = MGEN_OK;
    if (status != MGEN_OK) /* what failed stays what `own` says */
        mgi_writer_leave(&j->file, false);
    pthread_mutex_unlock(&j->mutex);
    return status == MGEN_OK ? status : go_without(j, status);
}

bool mgi_curate_journal_holds(mgi_curate_journal *j)
{
    pthread_mutex_lock(&j->mutex);
    const bool holds = j->file.fd >= 0 && j->records > 0;
    pthread_mutex_unlock(&j->mutex);
    return holds;
}

void mgi_curate_journal_close(mgi_curate_journal *j, bool remove)
{
    mgi_writer_leave(&j->file, remove || !j->records);
    if (j->own) {
        mgi_free(j->own, j->room);
        pthread_mutex_destroy(&j->mutex);
    }
    mgi_context_free(j->own);
    *j = (mgi_curate_journal){.file.fd = -1};
}
