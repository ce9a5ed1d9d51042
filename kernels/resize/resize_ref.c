/* SPDX-License-Identifier: MIT
 * The definition of resize_nearest and its gradient. */
#include "kernels/resize/resize.h"
#include "kernels/common/check.h"

static bool common_check(const mgk_resize_args *a, const char **why)
{
    MGK_RULE(a->fh > 0 && a->fw > 0, "factors must be positive");
    MGK_RULE(MGK_EXTENTS_OK(a->n, a->h, a->w, a->c, a->fh, a->fw), "extents out of range");
    int64_t count = a->n * a->h * a->w * a->c;
    MGK_RULE(mgk_is_f32_of(a->x, count) && mgk_is_f32_of(a->y, count), "x, y: f32");
    return true;
}

bool mgk_resize_nearest_check(const void *args, const char **why)
{
    return common_check(args, why);
}

bool mgk_resize_nearest_grad_check(const void *args, const char **why)
{
    return common_check(args, why);
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

void mgk_resize_nearest_ref(const void *args, mgk_exec *x)
{
    const mgk_resize_args *a = args;
    (void)x;
    int64_t tall = a->h * a->fh, wide = a->w * a->fw;
    for (int64_t b = 0; b < a->n; b++)
        for (int64_t i = 0; i < tall; i++)
            for (int64_t j = 0; j < wide; j++)
                for (int64_t c = 0; c < a->c; c++)
                    MGK_F(a->y)
    [((b * tall + i) * wide + j) * a->c + c] =
        MGK_F(a->x)[((b * a->h + i / a->fh) * a->w + j / a->fw) * a->c + c];
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
                    float *dx = &MGK_F(a->x)[((b * a->h + i) * a->w + j) * a->c + c];
                    double sum = a->accumulate ? *dx : 0;
                    for (int64_t u = i * a->fh; u < (i + 1) * a->fh; u++)
                        for (int64_t v = j * a->fw; v < (j + 1) * a->fw; v++)
                            sum += MGK_F(a->y)[((b * tall + u) * wide + v) * a->c + c];
                    *dx = (float)sum;
                }
}
