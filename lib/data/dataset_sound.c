/* SPDX-License-Identifier: MIT */
#include "data/dataset_sound.h"

#include "data/folder.h"
#include "data/folder_sound.h"
#include "data/host_sound.h"
#include "data/world_sound.h"
#include "text/audio_caption.h"

#include <string.h>

#define SAMPLES_MAX (INT64_C(1) << 40) /* of a clip: eight months */
#define QUALITY     7.0f               /* that a film is said to have: nobody has rated it */

bool mgi_dataset_sounds(const mgi_dataset *ds)
{
    switch (ds->kind) {
    case MGI_DATASET_WORLD:
        return true;
    case MGI_DATASET_HOST:
        return ds->sound_samples > 0;
    default:
        return ds->heard;
    }
}

int64_t mgi_dataset_frame_seen(int64_t i, int64_t num, int64_t den, double fps)
{
    return (int64_t)(((double)i + 0.5) * (double)num / ((double)den * fps));
}

void mgi_dataset_sound_words(const char *seen, char caption[MGI_CAPTION_SIZE])
{
    mgi_audio_words words = {.quality = QUALITY};
    char description[MGI_CAPTION_SIZE];
    mgi_audio_caption(&words, caption, MGI_CAPTION_SIZE);
    const size_t room = MGI_CAPTION_SIZE - 1 - strlen(caption);
    size_t length = strlen(seen);
    if (length > room)
        for (length = room; length && (seen[length] & 0xC0) == 0x80;)
            length--; /* never within a character of UTF-8 */
    memcpy(description, seen, length);
    description[length] = '\0';
    words.description = description;
    mgi_audio_caption(&words, caption, MGI_CAPTION_SIZE);
}

/* Whether there is a sound of sample `index`. */
static mgen_status check_sample(mgen_context *ctx, const mgi_dataset *ds, uint64_t index)
{
    if (!mgi_dataset_sounds(ds))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "the clips of this dataset have no sound; those of the toybox's world "
                        "have, films of a folder may, and so do samples of the host for which "
                        "sound_samples is set");
    if (index >= ds->count)
        return mgi_fail(ctx, MGEN_E_INVALID, "sample %llu of a dataset that has %llu",
                        (unsigned long long)index, (unsigned long long)ds->count);
    return MGEN_OK;
}

/* Scene `index` of world `seed`, and its sound. */
typedef struct sounding {
    mgi_world_scene scene;
    mgi_world_sound sound;
} sounding;

static void draw(const mgi_dataset *ds, uint64_t seed, uint64_t index, sounding *out)
{
    mgi_world_scene_random(&out->scene, seed, index, &ds->world);
    mgi_world_sound_random(&out->sound, &out->scene, seed, index);
}

/* `seed` is the world's alone, here and below. */
static mgen_status hear(mgen_context *ctx, mgi_dataset *ds, uint64_t seed, uint64_t index,
                        int64_t first, int64_t count, float *samples)
{
    sounding s;
    MGI_TRY(check_sample(ctx, ds, index));
    if (first < 0 || count < 1 || first > SAMPLES_MAX - count)
        return mgi_fail(ctx, MGEN_E_INVALID, "%lld samples of sound from %lld on", (long long)count,
                        (long long)first);
    if (ds->kind != MGI_DATASET_WORLD)
        return mgi_kept_sound_hear(ctx, ds, index, first, count, samples);
    draw(ds, seed, index, &s);
    mgi_world_sound_draw(&s.scene, &s.sound, first, count, samples);
    return MGEN_OK;
}

static void tell(const mgi_dataset *ds, uint64_t seed, uint64_t index, int wording,
                 char caption[MGI_CAPTION_SIZE])
{
    _Static_assert((int)MGI_WORLD_SOUND_CAPTION_MAX <= (int)MGI_CAPTION_SIZE, "a caption fits");
    sounding s;
    caption[0] = '\0';
    if (!mgi_dataset_sounds(ds) || mgi_dataset_sound_unknown(ds))
        return;
    if (ds->kind == MGI_DATASET_FOLDER) {
        mgi_folder_sound_caption(ds, index, caption);
        return;
    }
    draw(ds, seed, index, &s);
    mgi_world_sound_caption(&s.scene, &s.sound, wording, caption);
}

static int fps_of(const mgi_dataset *ds, uint64_t seed, uint64_t index)
{
    mgi_world_scene scene;
    if (ds->kind != MGI_DATASET_WORLD)
        return (int)ds->fps;
    mgi_world_scene_random(&scene, seed, index, &ds->world);
    return scene.fps;
}

int mgi_dataset_sound_fps(const mgi_dataset *ds, uint64_t index)
{
    return fps_of(ds, ds->seed, index);
}

mgen_status mgi_dataset_sound_length(mgen_context *ctx, mgi_dataset *ds, uint64_t index,
                                     int64_t *length)
{
    int64_t fps = mgi_dataset_sound_fps(ds, index);
    MGI_TRY(check_sample(ctx, ds, index));
    if (ds->kind == MGI_DATASET_FOLDER)
        return mgi_kept_sound_length(ctx, ds, index, length);
    *length = ds->kind == MGI_DATASET_HOST ? ds->sound_samples
                                           : (ds->frames * MGI_WORLD_SOUND_RATE + fps / 2) / fps;
    return MGEN_OK;
}

mgen_status mgi_dataset_hear(mgen_context *ctx, mgi_dataset *ds, uint64_t index, int64_t first,
                             int64_t count, float *samples)
{
    return hear(ctx, ds, ds->seed, index, first, count, samples);
}

mgen_status mgi_dataset_sound_sized(mgen_context *ctx, mgi_dataset *ds, int64_t frames, int64_t fps,
                                    mgi_dataset **out)
{
    *out = NULL;
    if (ds->kind != MGI_DATASET_HOST)
        return mgi_dataset_sized(ctx, ds, ds->width, ds->height, frames, fps, out);
    MGI_TRY(mgi_host_check_seen(ctx, ds, (double)fps, frames));
    *out = mgi_dataset_retain(ds);
    return MGEN_OK;
}

mgen_status mgi_dataset_watch(mgen_context *ctx, mgi_dataset *ds, uint64_t index, double fps,
                              int64_t frames, uint8_t *pixels)
{
    if (ds->kind == MGI_DATASET_WORLD)
        return mgi_dataset_piece(ctx, ds, index, 0, frames, pixels, NULL);
    const bool host = ds->kind == MGI_DATASET_HOST;
    if (index >= ds->count || frames < 1 || (frames > ds->frames && !host) || !(fps > 0.0))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "%lld frames, %g a second, of sample %llu; there are %llu of up to %lld",
                        (long long)frames, fps, (unsigned long long)index,
                        (unsigned long long)ds->count, (long long)ds->frames);
    return host ? mgi_host_watch(ctx, ds, index, fps, frames, pixels)
                : mgi_folder_watch(ctx, ds, index, fps, frames, pixels);
}

mgen_status mgi_dataset_check_sounds(mgen_context *ctx, const mgi_dataset *ds)
{
    return ds->kind == MGI_DATASET_FOLDER ? mgi_folder_check_sounds(ctx, ds) : MGEN_OK;
}

mgen_status mgi_dataset_check_watched(mgen_context *ctx, const mgi_dataset *ds, double fps,
                                      int64_t frames)
{
    return ds->kind == MGI_DATASET_FOLDER ? mgi_folder_check_frames(ctx, ds, fps, frames, false)
                                          : MGEN_OK;
}

void mgi_dataset_sound_caption(const mgi_dataset *ds, uint64_t index, uint32_t pick,
                               char caption[MGI_CAPTION_SIZE])
{
    tell(ds, ds->seed, index, pick & 1 ? 0 : (int)(pick >> 1 & 0xFFFF), caption);
}

bool mgi_dataset_sound_unknown(const mgi_dataset *ds)
{
    return ds->kind == MGI_DATASET_HOST;
}

mgen_status mgi_dataset_sound_told(mgen_context *ctx, mgi_dataset *ds, uint64_t index,
                                   char caption[MGI_CAPTION_SIZE])
{
    caption[0] = '\0';
    MGI_TRY(check_sample(ctx, ds, index));
    if (mgi_dataset_sound_unknown(ds))
        return mgi_kept_sound_caption(ctx, ds, index, caption);
    mgi_dataset_sound_caption(ds, index, 1, caption);
    return MGEN_OK;
}

/* ---- held out ------------------------------------------------------------------------------------- */

/* Its number among those of the world of held-out scenes, or among the samples. */
static uint64_t held(const mgi_dataset *ds, int64_t i)
{
    return (uint64_t)i + (ds->kind == MGI_DATASET_WORLD ? 0 : mgi_dataset_held_first(ds));
}

int mgi_dataset_held_sound_fps(const mgi_dataset *ds, int64_t i)
{
    return fps_of(ds, MGI_VALIDATION_SEED, held(ds, i));
}

mgen_status mgi_dataset_held_hear(mgen_context *ctx, mgi_dataset *ds, int64_t i, int64_t first,
                                  int64_t count, float *samples)
{
    return hear(ctx, ds, MGI_VALIDATION_SEED, held(ds, i), first, count, samples);
}

void mgi_dataset_held_sound_caption(const mgi_dataset *ds, int64_t i,
                                    char caption[MGI_CAPTION_SIZE])
{
    tell(ds, MGI_VALIDATION_SEED, held(ds, i), 0, caption);
}

mgen_status mgi_dataset_held_sound_told(mgen_context *ctx, mgi_dataset *ds, int64_t i,
                                        char caption[MGI_CAPTION_SIZE])
{
    if (ds->kind != MGI_DATASET_WORLD)
        return mgi_dataset_sound_told(ctx, ds, held(ds, i), caption);
    mgi_dataset_held_sound_caption(ds, i, caption);
    return MGEN_OK;
}

mgen_status mgi_dataset_held_watch(mgen_context *ctx, mgi_dataset *ds, int64_t i, double fps,
                                   int64_t frames, uint8_t *pixels)
{
    if (ds->kind != MGI_DATASET_WORLD)
        return mgi_dataset_watch(ctx, ds, held(ds, i), fps, frames, pixels);
    return mgi_dataset_held(ctx, ds, i, frames, pixels, NULL);
}
