/* SPDX-License-Identifier: MIT */
#include "data/folder_sound.h"

#include "core/alloc.h"
#include "data/world_sound.h"
#include "io/path.h"
#include "media/film_read.h"
#include "media/track.h"
#include "text/audio_caption.h"

#include <pthread.h>
#include <string.h>
#include <strings.h>

#define KEPT_BYTES (UINT64_C(256) << 20) /* of all sounds that are kept: 23 minutes */
#define QUALITY    7.0f                  /* that a film is said to have: nobody has rated it */

typedef struct kept {
    float *samples; /* NULL: not kept */
    int64_t count;
    mgi_heap *heap; /* of the context that read it */
    uint64_t used;  /* when it was heard last */
} kept;

struct mgi_folder_sounds {
    pthread_mutex_t
        mutex; /* held while a track is read, too: who waits for another one waits a little longer */
    kept *film;
    uint64_t films, bytes, clock;
};

bool mgi_folder_has_track(const char *film)
{
    const char *dot = strrchr(film, '.');
    return !dot || strcasecmp(dot, ".y4m") != 0;
}

/* ---- what is kept --------------------------------------------------------------------------------- */

mgen_status mgi_folder_sounds_create(mgen_context *ctx, uint64_t films,
                                     struct mgi_folder_sounds **out)
{
    struct mgi_folder_sounds *s;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *s, out));
    s = *out;
    pthread_mutex_init(&s->mutex, NULL);
    s->films = films;
    return mgi_alloc_zero(ctx, (size_t)films, sizeof *s->film, &s->film);
}

static uint64_t size_of(const kept *k)
{
    return (uint64_t)k->count * sizeof *k->samples;
}

static void forget(struct mgi_folder_sounds *s, kept *k)
{
    s->bytes -= size_of(k);
    mgi_heap_free(k->heap, k->samples);
    mgi_heap_release(k->heap);
    *k = (kept){.samples = NULL};
}

void mgi_folder_sounds_destroy(mgi_heap *heap, struct mgi_folder_sounds *s)
{
    if (!s)
        return;
    for (uint64_t i = 0; s->film && i < s->films; i++)
        if (s->film[i].samples)
            forget(s, &s->film[i]);
    pthread_mutex_destroy(&s->mutex);
    if (s->film)
        mgi_heap_free(heap, s->film);
    mgi_heap_free(heap, s);
}

/* Of a context that may not use much, a quarter. */
static uint64_t room_of(const mgen_context *ctx)
{
    const uint64_t quarter = ctx->heap->max / 4;
    return quarter && quarter < KEPT_BYTES ? quarter : KEPT_BYTES;
}

/* What was not heard for the longest time goes, until there is room; the new one, however long, stays. */
static void keep(mgen_context *ctx, struct mgi_folder_sounds *s, kept *k, const mgi_track *track)
{
    *k = (kept){track->samples, track->count, mgi_heap_retain(ctx->heap), 0};
    s->bytes += size_of(k);
    while (s->bytes > room_of(ctx)) {
        kept *oldest = NULL;
        for (uint64_t i = 0; i < s->films; i++) {
            kept *other = &s->film[i];
            if (other->samples && other != k && (!oldest || other->used < oldest->used))
                oldest = other;
        }
        if (!oldest)
            return;
        forget(s, oldest);
    }
}

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

/* ---- reading -------------------------------------------------------------------------------------- */

static mgen_status read_track(mgen_context *ctx, const mgi_dataset *ds,
                              const mgi_dataset_film *film, mgi_track *track)
{
    char path[MGI_PATH_MAX + 1];
    const int stem = (int)(strrchr(film->name, '.') - film->name);
    if (!film->sound && !mgi_folder_has_track(film->name))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "the film '%s' in '%s' has no sound; put it beside the film as '%.*s.wav', "
                        "or take the film away",
                        film->name, ds->dir, stem, film->name);
    MGI_TRY(mgi_path_join(ctx, ds->dir, film->sound ? film->sound : film->name, path, sizeof path));
    mgen_status status = mgi_track_read(ctx, path, track);
    if (status == MGEN_E_UNSUPPORTED && !film->sound)
        return mgi_fail_context(ctx, status, "the film '%s' has no '%.*s.wav' beside it",
                                film->name, stem, film->name);
    if (status == MGEN_OK)
        status = mgi_track_convert(ctx, track, MGI_WORLD_SOUND_RATE, 1);
    if (status == MGEN_OK)
        status = cut_track(ctx, ds, film, track);
    if (status != MGEN_OK)
        mgi_free(ctx, track->samples);
    return status;
}

/* Sound `index`, kept; to be called with the mutex. */
static mgen_status take(mgen_context *ctx, mgi_dataset *ds, uint64_t index, kept **out)
{
    struct mgi_folder_sounds *s = ds->sounds;
    kept *k = &s->film[index];
    if (!k->samples) {
        mgi_track track;
        MGI_TRY(read_track(ctx, ds, &ds->films[index], &track));
        keep(ctx, s, k, &track);
    }
    k->used = ++s->clock;
    *out = k;
    return MGEN_OK;
}

mgen_status mgi_folder_sound_length(mgen_context *ctx, mgi_dataset *ds, uint64_t index,
                                    int64_t *length)
{
    kept *k;
    *length = 0;
    pthread_mutex_lock(&ds->sounds->mutex);
    mgen_status status = take(ctx, ds, index, &k);
    if (status == MGEN_OK)
        *length = k->count;
    pthread_mutex_unlock(&ds->sounds->mutex);
    return status;
}

mgen_status mgi_folder_hear(mgen_context *ctx, mgi_dataset *ds, uint64_t index, int64_t first,
                            int64_t count, float *samples)
{
    kept *k;
    pthread_mutex_lock(&ds->sounds->mutex);
    mgen_status status = take(ctx, ds, index, &k);
    for (int64_t i = 0; i < count && status == MGEN_OK; i++)
        samples[i] = first < k->count - i ? k->samples[first + i] : 0.0f;
    pthread_mutex_unlock(&ds->sounds->mutex);
    return status;
}

/* ---- captions ------------------------------------------------------------------------------------- */

void mgi_folder_sound_caption(const mgi_dataset *ds, uint64_t index, char caption[MGI_CAPTION_SIZE])
{
    const mgi_dataset_film *film = &ds->films[index];
    mgi_audio_words words = {.quality = QUALITY};
    char description[MGI_CAPTION_SIZE];
    if (film->sound_caption) {
        strcpy(caption, film->sound_caption);
        return;
    }
    mgi_audio_caption(&words, caption, MGI_CAPTION_SIZE);
    const size_t room = MGI_CAPTION_SIZE - 1 - strlen(caption);
    size_t length = strlen(film->caption);
    if (length > room)
        for (length = room; length && (film->caption[length] & 0xC0) == 0x80;)
            length--; /* never within a character of UTF-8 */
    memcpy(description, film->caption, length);
    description[length] = '\0';
    words.description = description;
    mgi_audio_caption(&words, caption, MGI_CAPTION_SIZE);
}
