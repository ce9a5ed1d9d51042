/* SPDX-License-Identifier: MIT */
#include "model/sound_discriminator.h"

#include "kernels/conv2d/conv2d.h"
#include "kernels/pointwise/pointwise.h"

#include <math.h>
#include <string.h>

enum { LAST = MGI_SOUND_DISCRIMINATOR_LAYERS - 1, WIDE = 9, TIMES = 3 };

/* Sound is quiet, and its spectrum more so: pictures have values near 1. */
#define QUIET 30.0f

static int64_t taps(int layer)
{
    return layer < LAST - 1 ? WIDE : 3;
}

static void scale_make(mgi_sound_discriminator *d, int i, int64_t channels)
{
    struct mgi_sound_scale *s = &d->scale[i];
    int64_t from = 2;
    for (int k = 0; k <= LAST; k++) {
        int64_t to = k < LAST ? channels : 1;
        float deviation = sqrtf(2.0f / (float)(TIMES * taps(k) * from));
        const mgi_param_spec spec = {.init = MGI_INIT_NORMAL,
                                     .scale = deviation * (k ? 1.0f : QUIET),
                                     .decay = 1.0f,
                                     .operand = true};
        s->w[k] = mgi_param_add(&d->module, spec, MGI_DIMS(to, TIMES, taps(k), from),
                                "scale%d.layer%d.weight", i, k);
        s->b[k] = mgi_param_add(&d->module, (mgi_param_spec){.init = MGI_INIT_ZERO}, MGI_DIMS(to),
                                "scale%d.layer%d.bias", i, k);
        from = to;
    }
}

mgen_status mgi_sound_discriminator_init(mgi_sound_discriminator *d, mgen_context *ctx,
                                         const int64_t *windows, int count, int64_t channels)
{
    mgen_status status = MGEN_OK;
    memset(d, 0, sizeof *d);
    mgi_module_init(&d->module, ctx);
    for (int i = 0; i < count && status == MGEN_OK; i++, d->scales++) {
        /* Frequencies in samples: all of them. */
        status = mgi_spectrum_init(&d->scale[i].spectrum, ctx, windows[i], 1.0, 0.5, 0, 1.0);
        scale_make(d, i, channels);
    }
    status = status == MGEN_OK ? d->module.status : status;
    if (status != MGEN_OK)
        mgi_sound_discriminator_finish(d);
    return status;
}

void mgi_sound_discriminator_finish(mgi_sound_discriminator *d)
{
    for (int i = 0; i < d->scales; i++)
        mgi_spectrum_finish(&d->scale[i].spectrum);
    mgi_module_finish(&d->module);
}

/* A parameter as it is read, with its gradient or without. */
static T *value(mgi_run *run, mgi_tensor *t, bool learns)
{
    T *view = NULL;
    if (!t || learns)
        return t;
    if (run->status != MGEN_OK || !mgi_ok(run, mgi_tensor_rows(t, 0, t->dims[0], &view)))
        return NULL;
    return mgi_scope_add(run, view);
}

void mgi_sound_discriminate(mgi_run *run, const mgi_sound_discriminator *d, int scale, T *x,
                            bool learns, T *out[MGI_SOUND_DISCRIMINATOR_LAYERS])
{
    const struct mgi_sound_scale *s = &d->scale[scale];
    x = mgi_cast(run, mgi_spectrum_of(run, &s->spectrum, x), d->module.dtype);
    for (int k = 0; k <= LAST; k++) {
        x = mgi_conv2d(run, x, value(run, mgi_value(s->w[k]), learns),
                       value(run, mgi_value(s->b[k]), learns),
                       (mgi_conv_options){.stride_h = 1,
                                          .stride_w = k > 0 && k < LAST - 1 ? 2 : 1,
                                          .pad_top = TIMES / 2,
                                          .pad_bottom = TIMES / 2,
                                          .pad_left = taps(k) / 2,
                                          .pad_right = taps(k) / 2,
                                          .pad_mode = MGK_PAD_ZERO});
        if (k < LAST)
            x = mgi_unary(run, x, MGK_UNARY_SILU);
        out[k] = run->status == MGEN_OK ? x : NULL;
    }
}
