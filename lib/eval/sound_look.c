/* SPDX-License-Identifier: MIT
 * What is measured of a sound: bands and beats. */
#include "eval/sound_look.h"

#include "core/alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double rate = MGI_WORLD_SOUND_RATE;

static float band_power(const mgi_sound_spectrum *s, int64_t frame, int64_t from, int64_t to)
{
    float sum = 0.0f;
    for (int64_t k = from; k < to; k++)
        sum += s->power[frame * s->bins + k];
    return sum;
}

/* ---- bands -------------------------------------------------------------------------------------- */

enum { TONE_BINS = 4 }; /* of a band that can have one tone or many */
enum { WIDTH = 2048, HOP = 480, BEAT_LOW = 4, BEAT_HIGH = 72 }; /* bins: 94 Hz to 1.7 kHz */

static const float edges[MGI_LOOK_BANDS + 1] = {
    23.0f,   60.0f,   90.0f,   125.0f,  165.0f,  210.0f,  270.0f,  340.0f,  430.0f,
    540.0f,  680.0f,  850.0f,  1070.0f, 1350.0f, 1700.0f, 2100.0f, 2500.0f, 2900.0f,
    3300.0f, 3700.0f, 4080.0f, 4330.0f, 4620.0f, 4880.0f, 5500.0f, 6300.0f, 7500.0f};
static const float least_power = 1e-8f;

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Both of `room`, frames long each. */
static void band_features(const mgi_sound_spectrum *s, int band, float *power, float *tone,
                          float features[4])
{
    const double bin = rate / WIDTH;
    int64_t from = (int64_t)((double)edges[band] / bin + 0.5),
            to = (int64_t)((double)edges[band + 1] / bin + 0.5);
    for (int64_t f = 0; f < s->frames; f++) {
        float mean = band_power(s, f, from, to) / (float)(to - from), most = 0.0f;
        for (int64_t k = from; k < to; k++)
            most = s->power[f * s->bins + k] > most ? s->power[f * s->bins + k] : most;
        power[f] = log10f(mean + least_power);
        tone[f] = log10f((most + least_power) / (mean + least_power));
    }
    qsort(power, (size_t)s->frames, sizeof *power, by_value);
    qsort(tone, (size_t)s->frames, sizeof *tone, by_value);
    features[0] = power[s->frames / 10];
    features[1] = power[s->frames / 2];
    features[2] = power[s->frames * 9 / 10];
    features[3] = to - from < TONE_BINS ? 0.0f : tone[s->frames * 9 / 10];
}

/* ---- beats -------------------------------------------------------------------------------------- */

/* How much begins in each frame: of amplitudes, those that rise. About 0, of unit deviation. */
static void fill_rises(const mgi_sound_spectrum *s, const float *onsets, int onset_count,
                       float *out)
{
    double sum = 0.0, squares = 0.0;
    for (int64_t f = 0; f < s->frames; f++) {
        out[f] = 0.0f;
        for (int k = BEAT_LOW; f >= 2 && k < BEAT_HIGH; k++) {
            float now = sqrtf(s->power[f * s->bins + k]),
                  was = sqrtf(s->power[(f - 2) * s->bins + k]);
            out[f] += now > was ? now - was : 0.0f;
        }
    }
    for (int i = 0; i < onset_count; i++) {
        int64_t at = (int64_t)((double)onsets[i] * rate / HOP);
        for (int64_t f = at - 4; f <= at + 6; f++)
            if (f >= 0 && f < s->frames)
                out[f] = -1.0f;
    }
    int64_t n = 0;
    for (int64_t f = 0; f < s->frames; f++)
        if (out[f] >= 0.0f) {
            sum += (double)out[f];
            squares += (double)out[f] * (double)out[f];
            n++;
        }
    double mean = n ? sum / (double)n : 0.0,
           deviation = n ? sqrt(squares / (double)n - mean * mean) : 0.0;
    for (int64_t f = 0; f < s->frames; f++)
        out[f] = out[f] >= 0.0f ? (float)(((double)out[f] - mean) / (deviation + 1e-5)) : 0.0f;
}

/* The mean at the teeth of the best comb so many frames apart. */
static float comb(const float *rises, int64_t frames, double apart)
{
    float best = -10.0f;
    for (double from = 0.0; from < apart && from < (double)frames; from += 1.0) {
        float sum = 0.0f;
        int n = 0;
        for (double at = from; at + 1.0 < (double)frames; at += apart, n++) {
            int64_t f = (int64_t)at;
            float part = (float)(at - (double)f);
            sum += rises[f] + part * (rises[f + 1] - rises[f]);
        }
        if (n > 1 && sum / sqrtf((float)n) > best)
            best = sum / sqrtf((float)n);
    }
    return best;
}

static float best_tempo(const float *rises, int64_t frames, int mood, float *tempo)
{
    float least, most, best = -10.0f;
    mgi_world_mood_tempo(mood, &least, &most);
    for (float t = least; t <= most; t *= 1.005f) {
        float fit = comb(rises, frames, 30.0 / (double)t * rate / HOP); /* two notes a beat */
        if (fit > best) {
            best = fit;
            *tempo = t;
        }
    }
    return best;
}

mgen_status mgi_look_features(mgen_context *ctx, const float *samples, int64_t count,
                              const float *onsets, int onset_count,
                              float features[MGI_LOOK_FEATURES], float tempo[MGI_WORLD_MOODS])
{
    mgi_sound_spectrum s;
    float *room = NULL;
    MGI_TRY(mgi_sound_spectrum_make(ctx, samples, count, WIDTH, HOP, &s));
    mgen_status status = mgi_alloc_zero(ctx, (size_t)s.frames, 2 * sizeof *room, &room);
    for (int b = 0; b < MGI_LOOK_BANDS && status == MGEN_OK; b++)
        band_features(&s, b, room, room + s.frames, features + 4 * b);
    if (status == MGEN_OK)
        fill_rises(&s, onsets, onset_count, room);
    tempo[0] = 0.0f;
    for (int mood = 1; mood < MGI_WORLD_MOODS && status == MGEN_OK; mood++)
        features[4 * MGI_LOOK_BANDS + mood - 1] = best_tempo(room, s.frames, mood, &tempo[mood]);
    mgi_free(ctx, room);
    mgi_sound_spectrum_free(ctx, &s);
    return status;
}
