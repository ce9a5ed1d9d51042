/* SPDX-License-Identifier: MIT
 * Test cases of resize_nearest and its gradient. */
#include "kernels/common/case_tools.h"
#include "kernels/resize/resize.h"

static const int64_t shapes[][6] = {/* n, h, w, c, fh, fw */
                                    {0, 3, 3, 4, 2, 2},   {2, 3, 3, 0, 2, 2},   {1, 1, 1, 1, 1, 1},
                                    {2, 3, 5, 3, 2, 2},   {1, 4, 4, 32, 2, 2},  {3, 8, 8, 17, 3, 1},
                                    {2, 4, 1, 600, 2, 1}, {2, 16, 16, 48, 2, 2}};
enum { SHAPES = sizeof shapes / sizeof shapes[0], LEGAL = SHAPES * 3, ILLEGAL = 4 };

MGK_CASES(resize)
{
    mgk_resize_args *a = (void *)&c->args;
    (void)seed;
    if (index >= LEGAL + ILLEGAL)
        return false;
    int bad = index - LEGAL;
    const int64_t *s = shapes[bad < 0 ? mgk_case_take(&index, SHAPES) : 3];
    int form = bad < 0 ? index : 0; /* 0: forward, 1: gradient, 2: it accumulates */
    int64_t n = s[0] * s[1] * s[2] * s[3];
    a->n = s[0], a->h = bad == 0 ? -3 : s[1], a->w = s[2];
    a->c = bad == 1 ? INT64_MAX / 64 : s[3];
    a->fh = s[4], a->fw = bad == 2 ? 0 : s[5];
    a->accumulate = form == 2;
    MGK_CASE_BEGIN(c, form ? MGK_OP_resize_nearest_grad : MGK_OP_resize_nearest,
                   "%ldx%ldx%ldx%ld times %ld, %ld form %d", (long)a->n, (long)a->h, (long)a->w,
                   (long)a->c, (long)a->fh, (long)a->fw, form);
    c->illegal = bad >= 0;
    if (form == 0) {
        mgk_case_in(c, &a->x, n, 1);
        if (bad != 3)
            mgk_case_out(c, &a->y, n * s[4] * s[5]);
    } else {
        mgk_case_in(c, &a->y, n * s[4] * s[5], 1);
        mgk_case_out_or_both(c, &a->x, n, form == 2);
    }
    return true;
}
