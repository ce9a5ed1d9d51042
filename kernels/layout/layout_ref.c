/* SPDX-License-Identifier: MIT
 * The layout ops: copies of rows, handed out in blocks. */
#include "kernels/layout/layout.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"

#include <string.h>

bool mgk_patchify_check(const void *args, const char **why)
{
    const mgk_layout_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->b, a->t, a->h, a->w, a->c), "extents out of range");
    MGK_RULE(a->pt > 0 && a->ph > 0 && a->pw > 0, "patch extents must be positive");
    MGK_RULE(a->t % a->pt == 0 && a->h % a->ph == 0 && a->w % a->pw == 0,
             "the patch must divide t, h, w");
    int64_t n = a->b * a->t * a->h * a->w * a->c;
    MGK_RULE(mgk_is_f32_of(a->x, n) && mgk_is_f32_of(a->y, n), "x, y: f32");
    return true;
}

bool mgk_copy_rows_check(const void *args, const char **why)
{
    const mgk_layout_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim), "rows, dim out of range");
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->x_stride), "x_stride out of range");
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->y_stride), "y_stride out of range");
    MGK_RULE(a->rows <= 1 || a->y_stride >= a->dim, "y_stride: rows overlap");
    int64_t n = a->rows * a->dim;
    MGK_RULE(mgk_is_f32_of(a->x, n) && mgk_is_f32_of(a->y, n), "x, y: f32");
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

static void move(float *to, const float *from, int64_t n, bool add)
{
    if (!add) {
        memcpy(to, from, sizeof(float) * (size_t)n);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        to[i] += from[i];
}

/* One block is the tokens of one (item, time patch, line of patches). */
static void patchify_block(void *arg, int64_t block, int thread)
{
    const mgk_layout_args *a = arg;
    (void)thread;
    int64_t lines = a->h / a->ph, across = a->w / a->pw, run = a->pw * a->c;
    int64_t line = block % lines, time = block / lines; /* time counts over b as well */
    for (int64_t p = 0; p < across; p++)
        for (int64_t i = 0; i < a->pt; i++)
            for (int64_t j = 0; j < a->ph; j++) {
                float *token = MGK_F(a->y) + (((block * across + p) * a->pt + i) * a->ph + j) * run;
                float *pixels = MGK_F(a->x) +
                                ((time * a->pt + i) * a->h + line * a->ph + j) * a->w * a->c +
                                p * run;
                if (a->inverse)
                    move(pixels, token, run, a->accumulate);
                else
                    move(token, pixels, run, a->accumulate);
            }
}

void mgk_patchify_ref(const void *args, mgk_exec *x)
{
    const mgk_layout_args *a = args;
    int64_t n = a->b * a->t * a->h * a->w * a->c;
    if (n > 0)
        mgk_for(x, a->b * (a->t / a->pt) * (a->h / a->ph), n, patchify_block, (void *)args);
}

static void copy_block(void *arg, int64_t block, int thread)
{
    const mgk_layout_args *a = arg;
    (void)thread;
    int64_t rows = mgk_rows_a_block(a->dim), end = mgk_min(a->rows, (block + 1) * rows);
    for (int64_t r = block * rows; r < end; r++)
        move(MGK_F(a->y) + r * a->y_stride, MGK_F(a->x) + r * a->x_stride, a->dim, a->accumulate);
}

void mgk_copy_rows_ref(const void *args, mgk_exec *x)
{
    const mgk_layout_args *a = args;
    if (a->dim > 0)
        mgk_for(x, mgk_div_up(a->rows, mgk_rows_a_block(a->dim)), a->rows * a->dim, copy_block,
                (void *)args);
}
