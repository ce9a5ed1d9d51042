/* SPDX-License-Identifier: MIT
 * Test cases of the layout ops. */
#include "kernels/common/case_tools.h"
#include "kernels/layout/layout.h"

static const int64_t volumes[][8] = {/* b, t, h, w, c, pt, ph, pw */
                                     {0, 2, 4, 4, 3, 1, 2, 2},   {1, 1, 1, 1, 1, 1, 1, 1},
                                     {2, 4, 6, 8, 3, 2, 3, 4},   {1, 3, 4, 4, 16, 1, 2, 2},
                                     {3, 4, 16, 16, 8, 1, 2, 2}, {2, 2, 4, 4, 0, 1, 2, 2}};
static const int64_t slices[][4] = {/* rows, dim, x_stride, y_stride */
                                    {0, 4, 4, 4},     {3, 0, 2, 2},    {1, 5, 5, 5},
                                    {7, 3, 3, 9},     {40, 30, 0, 31}, {300, 100, 120, 101},
                                    {500, 33, 99, 33}};
enum {
    VOLUMES = sizeof volumes / sizeof volumes[0],
    SLICES = sizeof slices / sizeof slices[0],
    PATCHIFY = VOLUMES * 4,
    COPY = SLICES * 2
};

static void patchify(mgk_case *c, mgk_layout_args *a, int index)
{
    const int64_t *v = volumes[mgk_case_take(&index, VOLUMES)];
    a->b = v[0], a->t = v[1], a->h = v[2], a->w = v[3], a->c = v[4];
    a->pt = v[5], a->ph = v[6], a->pw = v[7];
    a->inverse = mgk_case_take(&index, 2);
    a->accumulate = index;
    int64_t n = a->b * a->t * a->h * a->w * a->c;
    MGK_CASE_BEGIN(c, MGK_OP_patchify, "%ldx%ldx%ldx%ldx%ld inverse %d accumulate %d", (long)a->b,
                   (long)a->t, (long)a->h, (long)a->w, (long)a->c, a->inverse, a->accumulate);
    mgk_case_in(c, a->inverse ? &a->y : &a->x, n, 1);
    mgk_case_out_or_both(c, a->inverse ? &a->x : &a->y, n, a->accumulate);
    c->tolerance = 0;
}

static void copy_rows(mgk_case *c, mgk_layout_args *a, int index)
{
    const int64_t *s = slices[mgk_case_take(&index, SLICES)];
    a->rows = s[0], a->dim = s[1], a->x_stride = s[2], a->y_stride = s[3];
    a->accumulate = index;
    MGK_CASE_BEGIN(c, MGK_OP_copy_rows, "rows %ld dim %ld strides %ld, %ld accumulate %d",
                   (long)a->rows, (long)a->dim, (long)s[2], (long)s[3], a->accumulate);
    mgk_case_in(c, &a->x, a->rows * a->x_stride + a->dim, 1);
    mgk_case_both(c, &a->y, a->rows * a->y_stride);
    c->tolerance = 0;
}

static bool illegal(mgk_case *c, mgk_layout_args *a, int index)
{
    if (index >= 5)
        return false;
    MGK_CASE_BEGIN(c, index < 3 ? MGK_OP_patchify : MGK_OP_copy_rows, "illegal %d", index);
    c->illegal = true;
    a->b = a->t = a->c = a->pt = 1;
    a->h = a->w = 4;
    a->ph = index == 0 ? 3 : index == 1 ? 0 : 2;
    a->pw = 2;
    a->rows = index == 4 ? -1 : 4;
    a->dim = 4;
    a->x_stride = 4;
    a->y_stride = index == 3 ? 3 : 4;
    if (index != 2)
        mgk_case_in(c, &a->x, 16, 1);
    mgk_case_out(c, &a->y, 16);
    return true;
}

MGK_CASES(layout)
{
    mgk_layout_args *a = (void *)&c->args;
    (void)seed;
    if (index < PATCHIFY)
        patchify(c, a, index);
    else if (index < PATCHIFY + COPY)
        copy_rows(c, a, index - PATCHIFY);
    else
        return illegal(c, a, index - PATCHIFY - COPY);
    return true;
}
