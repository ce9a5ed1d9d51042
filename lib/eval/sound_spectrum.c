/* SPDX-License-Identifier: MIT */
#include "eval/sound_spectrum.h"

#include "core/alloc.h"

#include <math.h>

/* Of a frame: what it reads is even about both ends of the sound. */
static float sample_at(const float *samples, int64_t count, int64_t i)
{
    const int64_t around = 2 * count;
    if (i >= 0 && i < count)
        return samples[i];
    i = (i % around + around) % around;
    return samples[i < count ? i : around - 1 - i];
}

/* Room of one transform: width complex numbers, width / 2 turns, the window. */
typedef struct transform {
    int64_t width;
    double *re, *im, *cosine, *sine, *window;
} transform;

static mgen_status transform_make(mgen_context *ctx, int64_t width, transform *t)
{
    *t = (transform){.width = width};
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)width, 5 * sizeof *t->re, &t->re));
    t->im = t->re + width;
    t->cosine = t->im + width;
    t->sine = t->cosine + width;
    t->window = t->sine + width;
    for (int64_t i = 0; i < width; i++) {
        double angle = 6.283185307179586 * (double)i / (double)width;
        t->cosine[i] = cos(angle);
        t->sine[i] = sin(angle);
        t->window[i] = 0.5 - 0.5 * t->cosine[i];
    }
    return MGEN_OK;
}

/* In place: decimation in time, radix 2. */
static void fourier(transform *t)
{
    const int64_t n = t->width;
    for (int64_t i = 1, j = 0; i < n; i++) {
        int64_t bit = n >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j |= bit;
        if (i < j) {
            double re = t->re[i], im = t->im[i];
            t->re[i] = t->re[j];
            t->im[i] = t->im[j];
            t->re[j] = re;
            t->im[j] = im;
        }
    }
    for (int64_t half = 1; half < n; half *= 2)
        for (int64_t k = 0; k < half; k++) {
            const double c = t->cosine[k * (n / (2 * half))], s = t->sine[k * (n / (2 * half))];
            for (int64_t i = k; i < n; i += 2 * half) {
                double *re = t->re + i, *im = t->im + i;
                double a = re[half] * c + im[half] * s, b = im[half] * c - re[half] * s;
                re[half] = re[0] - a;
                im[half] = im[0] - b;
                re[0] += a;
                im[0] += b;
            }
        }
}

/* Two frames at once, one as the real and one as the imaginary part. */
static void load(transform *t, const float *samples, int64_t count, int64_t first, int64_t hop)
{
    for (int64_t i = 0; i < t->width; i++) {
        t->re[i] = t->window[i] * (double)sample_at(samples, count, first + i);
        t->im[i] = t->window[i] * (double)sample_at(samples, count, first + hop + i);
    }
}

static void unload(const transform *t, float *power, float *next)
{
    const double scale = 4.0 / ((double)t->width * (double)t->width);
    const int64_t half = t->width / 2;
    for (int64_t k = 0; k < half; k++) {
        const int64_t m = k ? t->width - k : 0;
        double a = t->re[k] + t->re[m], b = t->im[k] - t->im[m];
        double c = t->im[k] + t->im[m], d = t->re[m] - t->re[k];
        power[k] = (float)(scale * (a * a + b * b));
        if (next)
            next[k] = (float)(scale * (c * c + d * d));
    }
}

mgen_status mgi_sound_spectrum_make(mgen_context *ctx, const float *samples, int64_t count,
                                    int64_t width, int64_t hop, mgi_sound_spectrum *out)
{
    transform t;
    *out = (mgi_sound_spectrum){.frames = (count + hop - 1) / hop, .bins = width / 2};
    MGI_TRY(transform_make(ctx, width, &t));
    mgen_status status =
        mgi_alloc_zero(ctx, (size_t)out->frames, (size_t)out->bins * sizeof(float), &out->power);
    for (int64_t f = 0; f < out->frames && status == MGEN_OK; f += 2) {
        float *power = out->power + f * out->bins;
        load(&t, samples, count, f * hop - width / 2, hop);
        fourier(&t);
        unload(&t, power, f + 1 < out->frames ? power + out->bins : NULL);
    }
    mgi_free(ctx, t.re);
    return status;
}

void mgi_sound_spectrum_free(mgen_context *ctx, mgi_sound_spectrum *s)
{
    mgi_free(ctx, s->power);
    s->power = NULL;
}
