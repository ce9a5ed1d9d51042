/* SPDX-License-Identifier: MIT */
#include "data/dataset_sound.h"

#include "data/world_sound.h"

#define SAMPLES_MAX (INT64_C(1) << 40) /* of a clip: eight months */

bool mgi_dataset_sounds(const mgi_dataset *ds)
{
    return ds->kind == MGI_DATASET_WORLD;
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

static mgen_status hear(mgen_context *ctx, const mgi_dataset *ds, uint64_t seed, uint64_t index,
                        int64_t first, int64_t count, float *samples)
{
    sounding s;
    if (!mgi_dataset_sounds(ds))
        return mgi_fail(
            ctx, MGEN_E_INVALID,
            "the clips of this dataset have no sound; those of the toybox's world have");
    if (first < 0 || count < 1 || first > SAMPLES_MAX - count)
        return mgi_fail(ctx, MGEN_E_INVALID, "%lld samples of sound from %lld on", (long long)count,
                        (long long)first);
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
    if (!mgi_dataset_sounds(ds))
        return;
    draw(ds, seed, index, &s);
    mgi_world_sound_caption(&s.scene, &s.sound, wording, caption);
}

static int fps_of(const mgi_dataset *ds, uint64_t seed, uint64_t index)
{
    mgi_world_scene scene;
    if (!mgi_dataset_sounds(ds))
        return MGI_DATASET_FPS;
    mgi_world_scene_random(&scene, seed, index, &ds->world);
    return scene.fps;
}

int mgi_dataset_sound_fps(const mgi_dataset *ds, uint64_t index)
{
    return fps_of(ds, ds->seed, index);
}

int64_t mgi_dataset_sound_length(const mgi_dataset *ds, uint64_t index)
{
    int64_t fps = mgi_dataset_sound_fps(ds, index);
    return (ds->frames * MGI_WORLD_SOUND_RATE + fps / 2) / fps;
}

mgen_status mgi_dataset_hear(mgen_context *ctx, mgi_dataset *ds, uint64_t index, int64_t first,
                             int64_t count, float *samples)
{
    return hear(ctx, ds, ds->seed, index, first, count, samples);
}

void mgi_dataset_sound_caption(const mgi_dataset *ds, uint64_t index, uint32_t pick,
                               char caption[MGI_CAPTION_SIZE])
{
    tell(ds, ds->seed, index, pick & 1 ? 0 : (int)(pick >> 1 & 0xFFFF), caption);
}

int mgi_dataset_held_sound_fps(const mgi_dataset *ds, int64_t i)
{
    return fps_of(ds, MGI_VALIDATION_SEED, (uint64_t)i);
}

mgen_status mgi_dataset_held_hear(mgen_context *ctx, mgi_dataset *ds, int64_t i, int64_t first,
                                  int64_t count, float *samples)
{
    return hear(ctx, ds, MGI_VALIDATION_SEED, (uint64_t)i, first, count, samples);
}

void mgi_dataset_held_sound_caption(const mgi_dataset *ds, int64_t i,
                                    char caption[MGI_CAPTION_SIZE])
{
    tell(ds, MGI_VALIDATION_SEED, (uint64_t)i, 0, caption);
}
