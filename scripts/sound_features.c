/* SPDX-License-Identifier: MIT
 * What the checker of sounds measures of the toybox's, for sound_weights.py: sound_features OUT SEED COUNT [FOLDER CODEC]. Rows
 * of f32. OUT.sounds, one a sound: place, mood, tempo, seconds, way, the best tempo of each mood, features. OUT.frames, some a
 * sound: whether an impact is there, way, features. Ways in turn: as drawn; made louder or softer, noisier or duller; through
 * the codec, if there is one. */
#include "core/alloc.h"
#include "core/philox.h"
#include "eval/sound_look.h"
#include "task/audio_codec_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 4 * MGI_WORLD_SOUND_RATE, KNOWN = 5 + MGI_WORLD_MOODS };
enum { DRAWN, SPOILED, CODED, WAYS };

static float drawn[MOST], heard[MOST], latents[MOST];

typedef struct output {
    FILE *sounds, *frames;
} output;

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

/* How far the nearest impact is from there, seconds. */
static double nearest(const mgi_world_event *e, int n, double seconds)
{
    double least = 1e9;
    for (int i = 0; i < n; i++)
        if (mgi_world_event_sharp(e[i].kind) && fabs((double)e[i].seconds - seconds) < least)
            least = fabs((double)e[i].seconds - seconds);
    return least;
}

/* Those at impacts, and every eighth of those that are well apart. */
static mgen_status put_frames(mgen_context *ctx, const mgi_world_scene *scene, int64_t count,
                              int way, FILE *out)
{
    mgi_world_event e[256];
    float *features, row[2 + MGI_LOOK_ONSET_FEATURES];
    int64_t frames;
    int n = mgi_world_sound_events(scene, 0.0, 5.0, e, 256);
    MGI_TRY(mgi_look_onset_features(ctx, heard, count, &features, &frames));
    for (int64_t f = 8; f < frames - 8; f++) {
        double far = nearest(e, n, (double)(f * MGI_LOOK_HOP) / MGI_WORLD_SOUND_RATE);
        if (far > 0.004 && (far < 0.03 || f % 8))
            continue;
        row[0] = far <= 0.004;
        row[1] = (float)way;
        memcpy(row + 2, features + f * MGI_LOOK_ONSET_FEATURES,
               MGI_LOOK_ONSET_FEATURES * sizeof *row);
        fwrite(row, sizeof row, 1, out);
    }
    mgi_free(ctx, features);
    return MGEN_OK;
}

static mgen_status put_sound(mgen_context *ctx, const mgi_world_scene *scene,
                             const mgi_world_sound *sound, int64_t count, int way, FILE *out)
{
    float onsets[MGI_LOOK_ONSETS], row[KNOWN + MGI_LOOK_FEATURES];
    const float known[5] = {(float)scene->background, (float)sound->mood, sound->tempo,
                            (float)count / MGI_WORLD_SOUND_RATE, (float)way};
    int found;
    MGI_TRY(mgi_look_onsets(ctx, heard, count, onsets, &found));
    MGI_TRY(mgi_look_features(ctx, heard, count, onsets, found, row + KNOWN, row + 5));
    memcpy(row, known, sizeof known);
    fwrite(row, sizeof row, 1, out);
    return MGEN_OK;
}

static mgen_status put(mgen_context *ctx, const mgi_audio_codec *codec, uint64_t seed, uint64_t i,
                       const output *out)
{
    /* Impacts are rare: more of what makes them. */
    const mgi_world_options o = {.motion_weight = {3, 1, 1, 1, 2, 1, 1, 1}};
    static const int64_t lengths[5] = {65280, 96000, 96000, 144000, MOST};
    int64_t count = lengths[(int)(5.0f * mgi_random_unit(seed, MGI_STREAM_BUCKET, i))];
    const int way = (int)(i % (codec ? WAYS : CODED));
    mgi_world_scene scene;
    mgi_world_sound sound;
    mgi_world_scene_random(&scene, seed, i, &o);
    mgi_world_sound_random(&sound, &scene, seed, i);
    mgi_world_sound_draw(&scene, &sound, 0, count, drawn);
    memcpy(heard, drawn, (size_t)count * sizeof *heard);
    if (way == SPOILED)
        spoil(seed, i, count);
    if (way == CODED) {
        MGI_TRY(mgi_audio_encode_sound(ctx, codec, count, give, NULL, latents));
        MGI_TRY(mgi_audio_decode_sound(ctx, codec, latents, mgi_audio_frames(codec, count), take,
                                       &count));
    }
    MGI_TRY(put_frames(ctx, &scene, count, way, out->frames));
    return put_sound(ctx, &scene, &sound, count, way, out->sounds);
}

static FILE *open_output(const char *name, const char *what)
{
    char path[1024];
    snprintf(path, sizeof path, "%s.%s", name, what);
    return fopen(path, "wb");
}

int main(int argc, char **argv)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgi_audio_codec codec = {0};
    mgen_context *ctx;
    uint64_t hash;
    if (argc != 4 && argc != 6)
        return fprintf(stderr, "usage: sound_features OUT SEED COUNT [FOLDER CODEC]\n"), 2;
    const output out = {open_output(argv[1], "sounds"), open_output(argv[1], "frames")};
    params.threads = 1;
    if (!out.sounds || !out.frames || mgen_context_create(&params, &ctx) != MGEN_OK)
        return fprintf(stderr, "%s: cannot be written\n", argv[1]), 1;
    const bool coded = argc == 6;
    bool failed = coded && mgi_audio_codec_open(ctx, argv[4], argv[5], &codec, &hash) != MGEN_OK;
    for (uint64_t i = 0, count = strtoull(argv[3], NULL, 10); i < count && !failed; i++)
        failed = put(ctx, coded ? &codec : NULL, strtoull(argv[2], NULL, 10), i, &out) != MGEN_OK;
    if (failed)
        fprintf(stderr, "%s\n", mgen_last_error(ctx));
    if (coded)
        mgi_audio_codec_finish(&codec);
    mgen_context_destroy(ctx);
    return fclose(out.sounds) || fclose(out.frames) || failed;
}
