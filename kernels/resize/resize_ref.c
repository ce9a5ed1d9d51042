/* SPDX-License-Identifier: MIT
 * The definition of the resizing ops. */
#include "kernels/resize/resize.h"
#include "kernels/common/check.h"
#include "kernels/common/real.h"
#include "kernels/resize/resize_workspace.h"

static bool nearest_check(const mgk_resize_args *a, const char **why)
{
    MGK_RULE(a->fh > 0 && a->fw > 0, "factors must be positive");
    MGK_RULE(MGK_EXTENTS_OK(a->n, a->h, a->w, a->c, a->fh, a->fw), "extents out of range");
    int64_t count = a->n * a->h * a->w * a->c;
    MGK_RULE(mgk_is_real_of(a->x, count) && mgk_is_real_of(a->y, count), "x, y: f32 or bf16");
    MGK_RULE(a->x.dtype == a->y.dtype, "x, y: one dtype");
    return true;
}

/* An output without an input would have no value. */
static bool bilinear_check(const mgk_resize_args *a, const char **why)
{
    MGK_RULE(MGK_EXTENTS_OK(a->n, a->h, a->w, a->c), "n, h, w, c out of range");
    MGK_RULE(MGK_EXTENTS_OK(a->n, a->oh, a->ow, a->c), "n, oh, ow, c out of range");
    MGK_RULE(a->h < INT32_MAX && a->w < INT32_MAX && a->oh < INT32_MAX && a->ow < INT32_MAX,
             "h, w, oh, ow out of range");
    MGK_RULE((a->h > 0 && a->w > 0) || a->oh == 0 || a->ow == 0, "no pixels to take from");
    MGK_RULE(mgk_is_real_of(a->x, a->n * a->h * a->w * a->c) &&
                 mgk_is_real_of(a->y, a->n * a->oh * a->ow * a->c),
             "x, y: f32 or bf16");
    MGK_RULE(a->x.dtype == a->y.dtype, "x, y: one dtype");
    return true;
}

bool mgk_resize_nearest_check(const void *args, const char **why)
{
    return nearest_check(args, why);
}

bool mgk_resize_nearest_grad_check(const void *args, const char **why)
{
    return nearest_check(args, why);
}

bool mgk_resize_bilinear_check(const void *args, const char **why)
{
    return bilinear_check(args, why);
}

bool mgk_resize_bilinear_grad_check(const void *args, const char **why)
{
    return bilinear_check(args, why);
}

size_t mgk_resize_nearest_workspace(const void *args, int threads)
{
    (void)args;
    (void)threads;
    return 0;
}

size_t mgk_resize_nearest_grad_workspace(const void *args, int threads)
{
    (void)args;
    (void)threads;
    return 0;
}

size_t mgk_resize_bilinear_workspace(const void *args, int threads)
{
    const mgk_resize_args *a = args;
    return mgk_resize_table_bytes(a) + sizeof(float) * (size_t)(threads * mgk_resize_line(a->w, a));
}

size_t mgk_resize_bilinear_grad_workspace(const void *args, int threads)
{
    const mgk_resize_args *a = args;
    return mgk_resize_table_bytes(a) +
           sizeof(float) * (size_t)(threads * mgk_resize_line(a->ow, a));
}

void mgk_resize_nearest_ref(const void *args, mgk_exec *x)
{
    const mgk_resize_args *a = args;
    (void)x;
    int64_t tall = a->h * a->fh, wide = a->w * a->fw;
    for (int64_t b = 0; b < a->n; b++)
        for (int64_t i = 0; i < tall; i++)
            for (int64_t j = 0; j < wide; j++)
                for (int64_t c = 0; c < a->c; c++) {
                    int64_t from = ((b * a->h + i / a->fh) * a->w + j / a->fw) * a->c + c;
                    mgk_real_set(a->y, ((b * tall + i) * wide + j) * a->c + c,
                                 mgk_real_at(a->x, from));
                }
}

void mgk_resize_nearest_grad_ref(const void *args, mgk_exec *x)
{
    const mgk_resize_args *a = args;
    (void)x;
    int64_t tall = a->h * a->fh, wide = a->w * a->fw;
    for (int64_t b = 0; b < a->n; b++)
        for (int64_t i = 0; i < a->h; i++)
            for (int64_t j = 0; j < a->w; j++)
                for (int64_t c = 0; c < a->c; c++) {
                    int64_t at = ((b * a->h + i) * a->w + j) * a->c + c;
                    double sum = a->accumulate ? mgk_real_at(a->x, at) : 0;
                    for (int64_t u = i * a->fh; u < (i + 1) * a->fh; u++)
                        for (int64_t v = j * a->fw; v < (j + 1) * a->fw; v++)
                            sum += mgk_real_at(a->y, ((b * tall + u) * wide + v) * a->c + c);
                    mgk_real_set(a->x, at, sum);
                }
}

void mgk_resize_bilinear_ref(const void *args, mgk_exec *x)
{
    const mgk_resize_args *a = args;
    (void)x;
    for (int64_t b = 0; b < a->n; b++)
        for (int64_t i = 0; i < a->oh; i++)
            for (int64_t j = 0; j < a->ow; j++)
                for (int64_t c = 0; c < a->c; c++) {
                    mgk_resize_place u = mgk_resize_at(i, a->h, a->oh);
                    mgk_resize_place v = mgk_resize_at(j, a->w, a->ow);
                    int64_t low = (b * a->h + u.low) * a->w, high = (b * a->h + u.high) * a->w;
                    double top = (1 - v.part) * mgk_real_at(a->x, (low + v.low) * a->c + c) +
                                 v.part * mgk_real_at(a->x, (low + v.high) * a->c + c);
                    double bottom = (1 - v.part) * mgk_real_at(a->x, (high + v.low) * a->c + c) +
                                    v.part * mgk_real_at(a->x, (high + v.high) * a->c + c);
                    mgk_real_set(a->y, ((b * a->oh + i) * a->ow + j) * a->c + c,
                                 (1 - u.part) * top + u.part * bottom);
                }
}

/* How much output pixel i takes from input pixel `from`. */
static double share(int64_t i, int64_t pixel, int64_t from, int64_t to)
{
    mgk_resize_place p = mgk_resize_at(i, from, to);
    return (p.low == pixel ? 1 - p.part : 0) + (p.high == pixel ? p.part : 0);
}

void mgk_resize_bilinear_grad_ref(const void *args, mgk_exec *x)
{
    const mgk_resize_args *a = args;
    (void)x;
    for (int64_t at = 0; at < a->n * a->h * a->w * a->c; at++) {
        int64_t c = at % a->c, j = at / a->c % a->w, i = at / a->c / a->w % a->h;
        int64_t b = at / a->c / a->w / a->h;
        double sum = a->accumulate ? mgk_real_at(a->x, at) : 0;
        for (int64_t u = mgk_resize_first(i - 1, a->h, a->oh);
             u < mgk_resize_first(i + 1, a->h, a->oh); u++)
            for (int64_t v = mgk_resize_first(j - 1, a->w, a->ow);
                 v < mgk_resize_first(j + 1, a->w, a->ow); v++)
                sum += share(u, i, a->h, a->oh) * share(v, j, a->w, a->ow) *
                       mgk_real_at(a->y, ((b * a->oh + u) * a->ow + v) * a->c + c);
        mgk_real_set(a->x, at, sum);
    }
}
