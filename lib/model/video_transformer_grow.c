/* SPDX-License-Identifier: MIT
 * Longer position tables for a model that was trained with shorter ones, report section 3.2. */
#include "core/alloc.h"
#include "model/video_transformer.h"

#include <math.h>

/* Rows of both tables divide the same length, each standing for the middle of its share; those of `to` lie on straight
 * lines between those of `from`, or, at the ends, are as the outermost. */
static void stretch_rows(const float *x, int64_t n, float *y, int64_t m, int64_t d)
{
    for (int64_t i = 0; i < m; i++) {
        double at = ((double)i + 0.5) * (double)n / (double)m - 0.5;
        at = fmin(fmax(at, 0.0), (double)(n - 1));
        int64_t low = (int64_t)at, high = low + 1 < n ? low + 1 : low;
        float share = (float)(at - (double)low);
        for (int64_t k = 0; k < d; k++)
            y[i * d + k] = x[low * d + k] + share * (x[high * d + k] - x[low * d + k]);
    }
}

static mgen_status stretch(mgen_context *ctx, const mgi_param *from, mgi_param *to)
{
    int64_t n = from->value->count, m = to->value->count;
    float *x;
    MGI_TRY(mgi_alloc(ctx, (size_t)(n + m) * sizeof *x, &x));
    mgi_tensor_read(from->value, 0, x, n);
    stretch_rows(x, from->dims[0], x + n, to->dims[0], to->dims[1]);
    mgi_tensor_write(to->value, 0, x + n, m);
    mgi_free(ctx, x);
    return MGEN_OK;
}

mgen_status mgi_vt_grow(mgi_vt *to, const mgi_vt *from)
{
    if (to->module.tp_size > 1 || to->module.shard_size > 1)
        return mgi_fail(to->module.ctx, MGEN_E_UNSUPPORTED,
                        "a model that is split over %d ranks cannot begin with one of shorter "
                        "position tables; grow it on one rank first",
                        to->mesh->shape.tp *
                            (to->mesh->shape.shard > 1 ? to->mesh->shape.shard : 1));
    for (int64_t i = 0; i < to->module.count; i++) {
        const mgi_param *a = from->module.params[i];
        mgi_param *b = to->module.params[i];
        MGI_TRY(a->value->count == b->value->count ? mgi_tensor_copy(b->value, a->value)
                                                   : stretch(to->module.ctx, a, b));
    }
    mgi_module_refresh(&to->module);
    return MGEN_OK;
}
