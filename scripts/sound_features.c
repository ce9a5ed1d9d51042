/* SPDX-License-Identifier: MIT
 * Prints what the checker of sounds measures of toybox's, a line a sound: sound_features SEED COUNT [FOLDER CODEC]. For
 * sound_weights.py: place, mood, tempo, seconds, which way, the best tempo of each mood, features. Ways in turn: as drawn; made
 * louder or softer, noisier or duller; through the codec, if there is one. */
#include "core/philox.h"
#include "eval/sound_look.h"
#include "task/audio_codec_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 4 * MGI_WORLD_SOUND_RATE };
enum { DRAWN, SPOILED, CODED, WAYS };

static float drawn[MOST], heard[MOST], latents[MOST];

static mgen_status give(void *user, int64_t first, int64_t count, float *samples)
{
    (void)user;
    memcpy(samples, drawn + first, (size_t)count * sizeof *samples);
    return MGEN_OK;
}

static mgen_status take(void *user, int64_t first, int64_t count, const float *samples)
{
    const int64_t room = *(int64_t *)user - first;
    if (room > 0)
        memcpy(heard + first, samples, (size_t)(count < room ? count : room) * sizeof *samples);
    return MGEN_OK;
}

static void spoil(uint64_t seed, uint64_t i, int64_t count)
{
    float u[8];
    for (uint64_t k = 0; k < 8; k++)
        u[k] = mgi_random_unit(seed + 1, MGI_STREAM_DEGRADE, 8 * i + k);
    const float gain = powf(10.0f, 0.4f * u[0] - 0.2f), noise = powf(10.0f, 1.25f * u[1] - 3.5f);
    const float share =
        u[2] < 0.5f ? 1.0f : 0.35f + 0.5f * u[3]; /* of a one-pole low pass, twice */
    float a = 0.0f, b = 0.0f;
    for (int64_t k = 0; k < count; k++) {
        a += share * (drawn[k] - a);
        b += share * (a - b);
        heard[k] = gain * b;
        if (u[4] < 0.5f)
            heard[k] += noise * mgi_random_normal(seed + i, MGI_STREAM_NOISE, (uint64_t)k);
    }
}

static int print(mgen_context *ctx, const mgi_audio_codec *codec, uint64_t seed, uint64_t i)
{
    static const int64_t lengths[5] = {65280, 96000, 96000, 144000, MOST};
    int64_t count = lengths[(int)(5.0f * mgi_random_unit(seed, MGI_STREAM_BUCKET, i))];
    const int way = (int)(i % (codec ? WAYS : CODED));
    float features[MGI_LOOK_FEATURES], tempo[MGI_WORLD_MOODS], onsets[MGI_LOOK_ONSETS];
    mgi_world_scene scene;
    mgi_world_sound sound;
    int found;
    mgi_world_scene_random(&scene, seed, i, NULL);
    mgi_world_sound_random(&sound, &scene, seed, i);
    mgi_world_sound_draw(&scene, &sound, 0, count, drawn);
    memcpy(heard, drawn, (size_t)count * sizeof *heard);
    if (way == SPOILED)
        spoil(seed, i, count);
    if (way == CODED &&
        (mgi_audio_encode_sound(ctx, codec, count, give, NULL, latents) != MGEN_OK ||
         mgi_audio_decode_sound(ctx, codec, latents, mgi_audio_frames(codec, count), take,
                                &count) != MGEN_OK))
        return 1;
    if (mgi_look_onsets(ctx, heard, count, onsets, &found) != MGEN_OK ||
        mgi_look_features(ctx, heard, count, onsets, found, features, tempo) != MGEN_OK)
        return 1;
    printf("%d %d %g %g %d", scene.background, sound.mood, (double)sound.tempo,
           (double)count / MGI_WORLD_SOUND_RATE, way);
    for (int k = 0; k < MGI_WORLD_MOODS; k++)
        printf(" %g", (double)tempo[k]);
    for (int k = 0; k < MGI_LOOK_FEATURES; k++)
        printf(" %g", (double)features[k]);
    printf("\n");
    return 0;
}

int main(int argc, char **argv)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgi_audio_codec codec = {0};
    mgen_context *ctx;
    uint64_t hash;
    if (argc != 3 && argc != 5)
        return fprintf(stderr, "usage: sound_features SEED COUNT [FOLDER CODEC]\n"), 2;
    params.threads = 1;
    if (mgen_context_create(&params, &ctx) != MGEN_OK)
        return 1;
    int failed = argc == 5 && mgi_audio_codec_open(ctx, argv[3], argv[4], &codec, &hash) != MGEN_OK;
    for (uint64_t i = 0, count = strtoull(argv[2], NULL, 10); i < count && !failed; i++)
        failed = print(ctx, argc == 5 ? &codec : NULL, strtoull(argv[1], NULL, 10), i);
    if (failed)
        fprintf(stderr, "%s\n", mgen_last_error(ctx));
    if (argc == 5)
        mgi_audio_codec_finish(&codec);
    mgen_context_destroy(ctx);
    return failed;
}
