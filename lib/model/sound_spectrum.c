/* SPDX-License-Identifier: MIT */
#include "model/sound_spectrum.h"

#include "core/alloc.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/pointwise/pointwise.h"

#include <math.h>
#include <string.h>

#define TURN 6.283185307179586476925

static mgen_status fixed(mgen_context *ctx, const float *values, int rank, const int64_t *dims,
                         T **out)
{
    MGI_TRY(mgi_tensor_create(ctx->device, MGK_F32, rank, dims, out));
    mgi_tensor_write(*out, 0, values, (*out)->count);
    return MGEN_OK;
}

/* Rows in pairs: cosine and sine of a bin. */
static void fill_dft(float *dft, int64_t bins, int64_t window)
{
    const double n = (double)window;
    for (int64_t k = 0; k < bins; k++)
        for (int64_t i = 0; i < window; i++) {
            double hann = 0.5 - 0.5 * cos(TURN * ((double)i + 0.5) / n);
            double angle = TURN * (double)(k * i % window) / n;
            dft[2 * k * window + i] = (float)(4.0 / n * hann * cos(angle));
            dft[(2 * k + 1) * window + i] = (float)(-4.0 / n * hann * sin(angle));
        }
}

static double to_mel(double hertz)
{
    return 2595.0 * log10(1.0 + hertz / 700.0);
}

static double to_hertz(double mel)
{
    return 700.0 * (pow(10.0, mel / 2595.0) - 1.0);
}

/* Triangles, each from its neighbours' middles, but no narrower than a bin on either side: none is empty. */
static void fill_mel(float *mel, const mgi_spectrum *s, double step, double highest, double floor)
{
    const double top = to_mel(highest);
    for (int64_t b = 0; b < s->bands; b++) {
        float *row = mel + b * 2 * s->bins;
        double edge[3], sum = 0.0;
        for (int i = 0; i < 3; i++)
            edge[i] = to_hertz(top * (double)(b + i) / (double)(s->bands + 1));
        for (int64_t k = 0; k < s->bins; k++) {
            double hertz = step * (double)k, side = hertz < edge[1] ? edge[0] : edge[2];
            double weight = 1.0 - fabs(hertz - edge[1]) / fmax(fabs(side - edge[1]), step);
            row[2 * k] = (float)fmax(weight, 0.0);
            sum += (double)row[2 * k];
        }
        for (int64_t k = 0; k < s->bins; k++)
            row[2 * k] = row[2 * k + 1] = (float)((double)row[2 * k] / (sum * floor));
    }
}

mgen_status mgi_spectrum_init(mgi_spectrum *s, mgen_context *ctx, int64_t window, double rate,
                              double highest, int64_t bands, double floor)
{
    const double step = rate / (double)window;
    float *values = NULL;
    highest = fmin(highest, 0.5 * rate);
    memset(s, 0, sizeof *s);
    s->window = window;
    s->hop = window / MGI_SPECTRUM_OVERLAP;
    s->bins = (int64_t)(highest / step) + 1;
    s->bands = bands;
    int64_t rows = window > bands ? window : bands;
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)(2 * s->bins * rows), sizeof *values, &values));
    fill_dft(values, s->bins, window);
    mgen_status status =
        fixed(ctx, values, 4, (int64_t[]){2 * s->bins, 1, MGI_SPECTRUM_OVERLAP, s->hop}, &s->dft);
    if (status == MGEN_OK && bands > 0) {
        fill_mel(values, s, step, highest, floor);
        status = fixed(ctx, values, MGI_DIMS(bands, 2 * s->bins), &s->mel);
    }
    mgi_free(ctx, values);
    if (status != MGEN_OK)
        mgi_spectrum_finish(s);
    return status;
}

void mgi_spectrum_finish(mgi_spectrum *s)
{
    mgi_tensor_release(s->dft);
    mgi_tensor_release(s->mel);
    memset(s, 0, sizeof *s);
}

T *mgi_spectrum_of(mgi_run *run, const mgi_spectrum *s, T *x)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run, x && x->rank == 3 && x->dims[2] == 1 && x->dims[1] >= s->hop,
                     "spectrum: x is not (B,N,1) of one hop or more"))
        return NULL;
    int64_t mark = mgi_scope_push(run), b = x->dims[0], frames = x->dims[1] / s->hop;
    if (frames * s->hop < x->dims[1])
        x = mgi_slice(run, x, 1, 0, frames * s->hop);
    x = x ? mgi_reshape(run, x, MGI_DIMS(b, 1, frames, s->hop)) : NULL;
    T *y = mgi_conv2d(run, x, s->dft, NULL,
                      (mgi_conv_options){.stride_h = 1,
                                         .stride_w = 1,
                                         .pad_left = (MGI_SPECTRUM_OVERLAP - 1) / 2,
                                         .pad_right = MGI_SPECTRUM_OVERLAP / 2,
                                         .pad_mode = MGK_PAD_ZERO});
    y = y ? mgi_reshape(run, y, MGI_DIMS(b, frames, s->bins, 2)) : NULL;
    return mgi_scope_pop(run, mark, y);
}

T *mgi_spectrum_mel(mgi_run *run, const mgi_spectrum *s, T *x)
{
    int64_t mark = mgi_scope_push(run);
    T *y = mgi_unary(run, mgi_spectrum_of(run, s, x), MGK_UNARY_SQUARE);
    y = y ? mgi_reshape(run, y, MGI_DIMS(y->dims[0], y->dims[1], 2 * s->bins)) : NULL;
    y = mgi_unary(run, mgi_linear(run, y, s->mel, NULL), MGK_UNARY_LOG1P);
    return mgi_scope_pop(run, mark, y);
}
