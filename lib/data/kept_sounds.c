/* SPDX-License-Identifier: MIT */
#include "data/kept_sounds.h"

#include "core/alloc.h"

#include <pthread.h>
#include <stdio.h>

#define KEPT_BYTES (UINT64_C(256) << 20) /* of all sounds that are kept: 23 minutes */
enum { KEPT_MOST = 4096 };               /* of them, however short: they are looked through */

typedef struct kept {
    mgi_read_sound sound;
    uint64_t index;
    mgi_heap *heap; /* of the context that read it */
    uint64_t used;  /* when it was heard last */
} kept;

struct mgi_kept_sounds {
    pthread_mutex_t
        mutex; /* held while a sound is read, too: who waits for another one waits a little longer */
    mgi_sound_reader *read;
    kept *list;
    uint64_t count, most, bytes, clock;
};

mgen_status mgi_kept_sounds_create(mgen_context *ctx, uint64_t samples, mgi_sound_reader *read,
                                   struct mgi_kept_sounds **out)
{
    struct mgi_kept_sounds *s;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *s, out));
    s = *out;
    pthread_mutex_init(&s->mutex, NULL);
    s->read = read;
    s->most = samples < KEPT_MOST ? samples : KEPT_MOST;
    return mgi_alloc_zero(ctx, (size_t)s->most, sizeof *s->list, &s->list);
}

static uint64_t size_of(const mgi_read_sound *sound)
{
    return (uint64_t)sound->count * sizeof *sound->samples;
}

static void forget(struct mgi_kept_sounds *s, uint64_t i)
{
    kept *k = &s->list[i];
    s->bytes -= size_of(&k->sound);
    mgi_heap_free(k->heap, k->sound.samples);
    if (k->sound.caption)
        mgi_heap_free(k->heap, k->sound.caption);
    mgi_heap_release(k->heap);
    *k = s->list[--s->count];
}

void mgi_kept_sounds_destroy(mgi_heap *heap, struct mgi_kept_sounds *s)
{
    if (!s)
        return;
    while (s->count)
        forget(s, s->count - 1);
    pthread_mutex_destroy(&s->mutex);
    if (s->list)
        mgi_heap_free(heap, s->list);
    mgi_heap_free(heap, s);
}

/* Of a context that may not use much, a quarter. */
static uint64_t room_of(const mgen_context *ctx)
{
    const uint64_t quarter = ctx->heap->max / 4;
    return quarter && quarter < KEPT_BYTES ? quarter : KEPT_BYTES;
}

/* What was not heard for the longest time goes, until there is room; the new one, however long, stays. */
static kept *keep(mgen_context *ctx, struct mgi_kept_sounds *s, uint64_t index,
                  const mgi_read_sound *sound)
{
    while (s->count && (s->count == s->most || s->bytes + size_of(sound) > room_of(ctx))) {
        uint64_t oldest = 0;
        for (uint64_t i = 1; i < s->count; i++)
            if (s->list[i].used < s->list[oldest].used)
                oldest = i;
        forget(s, oldest);
    }
    kept *k = &s->list[s->count++];
    *k = (kept){*sound, index, mgi_heap_retain(ctx->heap), 0};
    s->bytes += size_of(sound);
    return k;
}

/* Sound `index`, kept; to be called with the mutex. */
static mgen_status take(mgen_context *ctx, mgi_dataset *ds, uint64_t index, const kept **out)
{
    struct mgi_kept_sounds *s = ds->sounds;
    kept *k = NULL;
    for (uint64_t i = 0; i < s->count && !k; i++)
        if (s->list[i].index == index)
            k = &s->list[i];
    if (!k) {
        mgi_read_sound sound = {.samples = NULL};
        MGI_TRY(s->read(ctx, ds, index, &sound));
        k = keep(ctx, s, index, &sound);
    }
    k->used = ++s->clock;
    *out = k;
    return MGEN_OK;
}

mgen_status mgi_kept_sound_length(mgen_context *ctx, mgi_dataset *ds, uint64_t index,
                                  int64_t *length)
{
    const kept *k;
    *length = 0;
    pthread_mutex_lock(&ds->sounds->mutex);
    mgen_status status = take(ctx, ds, index, &k);
    if (status == MGEN_OK)
        *length = k->sound.count;
    pthread_mutex_unlock(&ds->sounds->mutex);
    return status;
}

mgen_status mgi_kept_sound_hear(mgen_context *ctx, mgi_dataset *ds, uint64_t index, int64_t first,
                                int64_t count, float *samples)
{
    const kept *k;
    pthread_mutex_lock(&ds->sounds->mutex);
    mgen_status status = take(ctx, ds, index, &k);
    for (int64_t i = 0; i < count && status == MGEN_OK; i++)
        samples[i] = first < k->sound.count - i ? k->sound.samples[first + i] : 0.0f;
    pthread_mutex_unlock(&ds->sounds->mutex);
    return status;
}

mgen_status mgi_kept_sound_caption(mgen_context *ctx, mgi_dataset *ds, uint64_t index,
                                   char caption[MGI_CAPTION_SIZE])
{
    const kept *k;
    caption[0] = '\0';
    pthread_mutex_lock(&ds->sounds->mutex);
    mgen_status status = take(ctx, ds, index, &k);
    if (status == MGEN_OK && k->sound.caption)
        snprintf(caption, MGI_CAPTION_SIZE, "%s", k->sound.caption);
    pthread_mutex_unlock(&ds->sounds->mutex);
    return status;
}
