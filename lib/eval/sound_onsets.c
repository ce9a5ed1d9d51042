/* SPDX-License-Identifier: MIT
 * Where impacts are in a sound.
 *
 * An impact's click is a noise: nearly all bins of a wide band rise at once and fall soon. A tone's beginning lifts few of
 * them, what blows or rolls lifts them slowly. How all of that is weighed was fitted to sounds, also to those that went
 * through a codec, which makes clicks soft and wide (scripts/sound_weights.py). */
#include "core/alloc.h"
#include "eval/sound_look.h"
#include "eval/sound_onset_weights.h"

#include <math.h>

enum {
    WIDTH = 1024,
    PAST = 9, /* frames that bins are compared with */
    REST = 8, /* from one impact to the next, frames at least */
    EDGE = 5  /* frames at both ends, which see the sound go back there */
};
static const float threshold = 0.5f; /* of the logarithm of the odds */

static const float least_power = 1e-7f; /* of a band: less is none */
static const float least_bin = 1e-6f;   /* of a bin */

/* First bins; 47 Hz each: 94 Hz to 7 kHz. */
static const int bands[MGI_LOOK_ONSET_BANDS + 1] = {2,  4,  6,  9,  12, 15,  19, 26,
                                                    32, 41, 51, 64, 81, 107, 149};
static const int ranges[MGI_LOOK_ONSET_RANGES][2] = {{15, 49}, {49, 90}, {4, 15}};
/* Frames from there, both ends included. */
static const int spans[5][2] = {{-17, -9}, {-8, -2}, {-1, 1}, {2, 4}, {5, 9}};

typedef struct look {
    mgi_sound_spectrum s;
    double *sums; /* frames + 1 x bands: of powers of the frames before */
} look;

static void fill_sums(look *l)
{
    const int n = MGI_LOOK_ONSET_BANDS;
    for (int64_t f = 0; f < l->s.frames; f++)
        for (int b = 0; b < n; b++) {
            double sum = 0.0;
            for (int k = bands[b]; k < bands[b + 1]; k++)
                sum += (double)l->s.power[f * l->s.bins + k];
            l->sums[(f + 1) * n + b] = l->sums[f * n + b] + sum / (double)(bands[b + 1] - bands[b]);
        }
}

static int64_t within(int64_t f, int64_t frames)
{
    return f < 0 ? 0 : f > frames ? frames : f;
}

/* The mean power of a band in a span; where there is none, in the first frame. */
static double band_in(const look *l, int64_t frame, int band, const int span[2])
{
    const int n = MGI_LOOK_ONSET_BANDS;
    int64_t from = within(frame + span[0], l->s.frames),
            to = within(frame + span[1] + 1, l->s.frames);
    if (from == to) {
        from = 0;
        to = 1;
    }
    return (l->sums[to * n + band] - l->sums[from * n + band]) / (double)(to - from);
}

static void range_features(const look *l, int64_t frame, const int range[2], float out[4])
{
    const int64_t to = frame > 1 ? frame - 1 : 1,
                  from = frame - 1 - PAST > 0 ? frame - 1 - PAST : 0;
    const float part = 1.0f / (float)(range[1] - range[0]);
    out[0] = out[1] = out[2] = out[3] = 0.0f;
    for (int k = range[0]; k < range[1]; k++) {
        float past = 0.0f, now = logf(l->s.power[frame * l->s.bins + k] + least_bin);
        for (int64_t f = from; f < to; f++)
            past += l->s.power[f * l->s.bins + k];
        float rise = now - logf(past / (float)(to - from) + least_bin);
        out[0] += part * now;
        out[1] += part * rise;
        out[2] += part * (rise < 2.0f ? rise : 2.0f);
        out[3] += rise > 0.5f ? part : 0.0f;
    }
}

mgen_status mgi_look_onset_features(mgen_context *ctx, const float *samples, int64_t count,
                                    float **features, int64_t *frames)
{
    look l = {.sums = NULL};
    float *out = NULL;
    *features = NULL;
    MGI_TRY(mgi_sound_spectrum_make(ctx, samples, count, WIDTH, MGI_LOOK_HOP, &l.s));
    mgen_status status =
        mgi_alloc_zero(ctx, (size_t)l.s.frames + 1, MGI_LOOK_ONSET_BANDS * sizeof *l.sums, &l.sums);
    if (status == MGEN_OK)
        status =
            mgi_alloc_zero(ctx, (size_t)l.s.frames, MGI_LOOK_ONSET_FEATURES * sizeof *out, &out);
    if (status == MGEN_OK)
        fill_sums(&l);
    for (int64_t f = 0; f < l.s.frames && status == MGEN_OK; f++) {
        float *at = out + f * MGI_LOOK_ONSET_FEATURES;
        for (int i = 0; i < 5; i++)
            for (int b = 0; b < MGI_LOOK_ONSET_BANDS; b++)
                *at++ = logf((float)band_in(&l, f, b, spans[i]) + least_power);
        for (int i = 0; i < MGI_LOOK_ONSET_RANGES; i++, at += 4)
            range_features(&l, f, ranges[i], at);
    }
    *frames = l.s.frames;
    *features = out;
    mgi_free(ctx, l.sums);
    mgi_sound_spectrum_free(ctx, &l.s);
    return status;
}

/* The features become the odds: the first of each frame. */
static void weigh(float *features, int64_t frames)
{
    for (int64_t f = 0; f < frames; f++) {
        float *at = features + f * MGI_LOOK_ONSET_FEATURES,
              sum = onset_weights[MGI_LOOK_ONSET_FEATURES];
        for (int k = 0; k < MGI_LOOK_ONSET_FEATURES; k++)
            sum += onset_weights[k] * at[k];
        at[0] = sum;
    }
}

static bool is_peak(const float *odds, int64_t frames, int64_t f)
{
    const int64_t n = MGI_LOOK_ONSET_FEATURES;
    for (int64_t k = within(f - REST, frames); k < within(f + REST + 1, frames); k++)
        if (odds[k * n] > odds[f * n] || (odds[k * n] >= odds[f * n] && k < f))
            return false;
    return odds[f * n] > threshold;
}

mgen_status mgi_look_onsets(mgen_context *ctx, const float *samples, int64_t count,
                            float onsets[MGI_LOOK_ONSETS], int *found)
{
    int64_t frames;
    float *odds;
    *found = 0;
    MGI_TRY(mgi_look_onset_features(ctx, samples, count, &odds, &frames));
    weigh(odds, frames);
    for (int64_t f = EDGE; f < frames - EDGE && *found < MGI_LOOK_ONSETS; f++)
        if (is_peak(odds, frames, f))
            onsets[(*found)++] = (float)((double)(f * MGI_LOOK_HOP) / MGI_WORLD_SOUND_RATE);
    mgi_free(ctx, odds);
    return MGEN_OK;
}
