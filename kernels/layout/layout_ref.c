/* SPDX-License-Identifier: MIT
 * The definition of patchify and copy_rows. */
#include "kernels/layout/layout.h"
#include "kernels/common/check.h"
#include "kernels/layout/layout_types.h"

bool mgk_patchify_check(const void *args, const char **why)
{
    const mgk_layout_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->b, a->t, a->h, a->w, a->c, 2), "extents out of range");
    MGK_RULE(a->pt > 0 && a->ph > 0 && a->pw > 0, "patch extents must be positive");
    MGK_RULE(a->t % a->pt == 0 && a->h % a->ph == 0 && a->w % a->pw == 0,
             "the patch must divide t, h, w");
    MGK_RULE(mgk_movable(a->x, a->y, a->b * a->t * a->h * a->w * a->c, a->accumulate),
             "x, y: one dtype, real if added");
    return true;
}

bool mgk_copy_rows_check(const void *args, const char **why)
{
    const mgk_layout_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim, 2), "rows, dim out of range");
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->x_stride, 2), "x_stride out of range");
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->y_stride, 2), "y_stride out of range");
    MGK_RULE(a->rows <= 1 || a->y_stride >= a->dim, "y_stride: rows overlap");
    MGK_RULE(mgk_movable(a->x, a->y, a->rows * a->dim, a->accumulate),
             "x, y: one dtype, real if added");
    return true;
}

size_t mgk_patchify_workspace(const void *args, int threads)
{
    (void)args;
    (void)threads;
    return 0;
}

size_t mgk_copy_rows_workspace(const void *args, int threads)
{
    (void)args;
    (void)threads;
    return 0;
}

/* The pixel at (b, t, h, w), which is pixel (i, j, k) of its patch. */
static void move_pixel(const mgk_layout_args *a, int64_t b, int64_t t, int64_t h, int64_t w)
{
    int64_t lines = a->h / a->ph, across = a->w / a->pw;
    int64_t pixel = ((b * a->t + t) * a->h + h) * a->w + w;
    int64_t token = ((b * (a->t / a->pt) + t / a->pt) * lines + h / a->ph) * across + w / a->pw;
    int64_t inside = (t % a->pt * a->ph + h % a->ph) * a->pw + w % a->pw;
    int64_t x = pixel * a->c, y = (token * a->pt * a->ph * a->pw + inside) * a->c;
    for (int64_t c = 0; c < a->c; c++)
        if (a->inverse)
            mgk_move_one(a->x, x + c, a->y, y + c, a->accumulate);
        else
            mgk_move_one(a->y, y + c, a->x, x + c, a->accumulate);
}

void mgk_patchify_ref(const void *args, mgk_exec *x)
{
    const mgk_layout_args *a = args;
    (void)x;
    for (int64_t b = 0; b < a->b; b++)
        for (int64_t t = 0; t < a->t; t++)
            for (int64_t h = 0; h < a->h; h++)
                for (int64_t w = 0; w < a->w; w++)
                    move_pixel(a, b, t, h, w);
}

void mgk_copy_rows_ref(const void *args, mgk_exec *x)
{
    const mgk_layout_args *a = args;
    (void)x;
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t j = 0; j < a->dim; j++)
            mgk_move_one(a->y, r * a->y_stride + j, a->x, r * a->x_stride + j, a->accumulate);
}
