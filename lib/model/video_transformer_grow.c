/* SPDX-License-Identifier: MIT
 * Longer position tables for a model that was trained with shorter ones, report section 3.2. */
#include "model/video_transformer.h"

#include <math.h>

/* Rows of both tables divide the same length, each standing for the middle of its share; those of `to` lie on straight
 * lines between those of `from`, or, at the ends, are as the outermost. */
static void stretch(const mgi_param *from, mgi_param *to)
{
    int64_t n = from->dims[0], m = to->dims[0], d = to->dims[1];
    const float *x = mgi_f32(from->value);
    float *y = mgi_f32(to->value);
    for (int64_t i = 0; i < m; i++) {
        double at = ((double)i + 0.5) * (double)n / (double)m - 0.5;
        at = fmin(fmax(at, 0.0), (double)(n - 1));
        int64_t low = (int64_t)at, high = low + 1 < n ? low + 1 : low;
        float share = (float)(at - (double)low);
        for (int64_t k = 0; k < d; k++)
            y[i * d + k] = x[low * d + k] + share * (x[high * d + k] - x[low * d + k]);
    }
}

void mgi_vt_grow(mgi_vt *to, const mgi_vt *from)
{
    for (int64_t i = 0; i < to->module.count; i++) {
        const mgi_param *a = from->module.params[i];
        mgi_param *b = to->module.params[i];
        if (a->value->count == b->value->count)
            mgi_tensor_write(b->value, 0, mgi_f32(a->value), a->value->count);
        else
            stretch(a, b);
    }
    mgi_module_refresh(&to->module);
}
