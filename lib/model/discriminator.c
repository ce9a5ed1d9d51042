/* SPDX-License-Identifier: MIT */
#include "model/discriminator.h"

#include "kernels/conv2d/conv2d.h"
#include "kernels/pointwise/pointwise.h"

#include <math.h>
#include <string.h>

#define NORM_EPS 1e-6f
enum { LAST = MGI_DISCRIMINATOR_LAYERS - 1 };

mgen_status mgi_discriminator_init(mgi_discriminator *d, mgen_context *ctx, int64_t channels)
{
    mgi_module *m = &d->module;
    int64_t from = 3;
    memset(d, 0, sizeof *d);
    mgi_module_init(m, ctx);
    for (int i = 0; i <= LAST; i++) {
        int64_t to = i < LAST ? channels << i : 1;
        mgi_param_spec spec = {.init = MGI_INIT_NORMAL, .decay = 1.0f, .operand = true};
        spec.scale = sqrtf(2.0f / (16.0f * (float)from));
        d->layer[i].w = mgi_param_add(m, spec, MGI_DIMS(to, 4, 4, from), "layer%d.weight", i);
        d->layer[i].b = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ZERO}, MGI_DIMS(to),
                                      "layer%d.bias", i);
        if (i > 0 && i < LAST) {
            d->layer[i].norm_w = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ONE},
                                               MGI_DIMS(to), "layer%d.norm.weight", i);
            d->layer[i].norm_b = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ZERO},
                                               MGI_DIMS(to), "layer%d.norm.bias", i);
        }
        from = to;
    }
    mgen_status status = m->status;
    if (status != MGEN_OK)
        mgi_discriminator_finish(d);
    return status;
}

void mgi_discriminator_finish(mgi_discriminator *d)
{
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

T *mgi_discriminate(mgi_run *run, const mgi_discriminator *d, T *x, bool learns)
{
    x = mgi_cast(run, x, d->module.dtype);
    for (int i = 0; i <= LAST && run->status == MGEN_OK; i++) {
        const mgi_param *w = d->layer[i].w, *norm = d->layer[i].norm_w;
        int64_t stride = i < LAST - 1 ? 2 : 1;
        x = mgi_conv2d(run, x, value(run, mgi_value(w), learns),
                       value(run, mgi_value(d->layer[i].b), learns),
                       (mgi_conv_options){.stride_h = stride,
                                          .stride_w = stride,
                                          .pad_top = 1,
                                          .pad_bottom = 1,
                                          .pad_left = 1,
                                          .pad_right = 1,
                                          .pad_mode = MGK_PAD_ZERO});
        if (norm)
            x = mgi_group_norm(run, x, w->dims[0] / 4, NORM_EPS, value(run, norm->value, learns),
                               value(run, d->layer[i].norm_b->value, learns), true);
        else if (i < LAST)
            x = mgi_unary(run, x, MGK_UNARY_SILU);
    }
    return run->status == MGEN_OK ? x : NULL;
}
