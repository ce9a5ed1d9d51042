/* SPDX-License-Identifier: MIT
 * resize_nearest and its gradient on vectors; included once a variant. A task is one input line
 * (n, h). */
#include "kernels/common/simd.h"
#include "kernels/resize/resize.h"

static void copy_values(float *to, const float *from, int64_t n)
{
    if (n > 64)
        memcpy(to, from, sizeof(float) * (size_t)n);
    else
        MGK_EACH_VECTOR(i, n, { v_out(to + i, v_in(from + i)); });
}

/* Builds the first of the fh output lines, then copies it. */
static void enlarge_line(void *arg, int64_t line, int thread)
{
    const mgk_resize_args *a = arg;
    (void)thread;
    int64_t wide = a->w * a->fw * a->c;
    const float *in = MGK_F(a->x) + line * a->w * a->c;
    float *first = MGK_F(a->y) + line * a->fh * wide, *out = first;
    for (int64_t j = 0; j < a->w; j++, in += a->c)
        for (int64_t f = 0; f < a->fw; f++, out += a->c)
            copy_values(out, in, a->c);
    for (int64_t f = 1; f < a->fh; f++, out += wide)
        memcpy(out, first, sizeof(float) * (size_t)wide);
}

MGK_LAUNCH(resize_nearest)
{
    const mgk_resize_args *a = args;
    int64_t values = a->w * a->fw * a->c * a->fh;
    if (values > 0)
        mgk_for(x, a->n * a->h, a->n * a->h * values, enlarge_line, (void *)args);
}

static void reduce_line(void *arg, int64_t line, int thread)
{
    const mgk_resize_args *a = arg;
    (void)thread;
    int64_t wide = a->w * a->fw * a->c;
    bool add = a->accumulate;
    const float *dy = MGK_F(a->y) + line * a->fh * wide;
    float *dx = MGK_F(a->x) + line * a->w * a->c;
    for (int64_t j = 0; j < a->w; j++, dx += a->c, dy += a->fw * a->c)
        MGK_EACH_VECTOR(i, a->c, {
            vf sum = add ? v_in(dx + i) : v_set(0);
            for (int64_t u = 0; u < a->fh; u++)
                for (int64_t v = 0; v < a->fw; v++)
                    sum += v_in(dy + u * wide + v * a->c + i);
            v_out(dx + i, sum);
        });
}

MGK_LAUNCH(resize_nearest_grad)
{
    const mgk_resize_args *a = args;
    int64_t values = a->w * a->fw * a->c * a->fh;
    if (values > 0)
        mgk_for(x, a->n * a->h, a->n * a->h * values, reduce_line, (void *)args);
}
