/* SPDX-License-Identifier: MIT
 * Test cases of the resizing ops. */
#include "kernels/common/case_tools.h"
#include "kernels/resize/resize.h"

static const int64_t factors[][6] = {/* n, h, w, c, fh, fw */
                                     {0, 3, 3, 4, 2, 2},   {2, 3, 3, 0, 2, 2},
                                     {1, 1, 1, 1, 1, 1},   {2, 3, 5, 3, 2, 2},
                                     {1, 4, 4, 32, 2, 2},  {3, 8, 8, 17, 3, 1},
                                     {2, 4, 1, 600, 2, 1}, {2, 16, 16, 48, 2, 2}};
static const int64_t sizes[][6] = {/* n, h, w, c, oh, ow */
                                   {0, 3, 3, 4, 2, 2},    {2, 3, 3, 4, 0, 5},
                                   {1, 1, 1, 1, 1, 1},    {1, 1, 1, 5, 4, 3},
                                   {2, 5, 7, 3, 9, 13},   {1, 9, 13, 3, 5, 7},
                                   {2, 6, 6, 17, 6, 6},   {1, 30, 40, 3, 57, 75},
                                   {1, 31, 17, 20, 4, 3}, {2, 12, 16, 33, 24, 32},
                                   {3, 2, 9, 8, 1, 30},   {1, 40, 64, 16, 80, 50},
                                   {2, 3, 0, 4, 2, 0},    {1, 4, 4, 0, 2, 2}};
enum {
    FACTORS = sizeof factors / sizeof factors[0],
    SIZES = sizeof sizes / sizeof sizes[0],
    FORMS = 3, /* forward, gradient, accumulating gradient */
    NEAREST = FACTORS * FORMS * 2,
    BILINEAR = SIZES * FORMS * 2,
    ILLEGAL = 14
};

static void add_buffers(mgk_case *c, mgk_resize_args *a, int form, int64_t in, int64_t out)
{
    if (form == 0) {
        mgk_case_in(c, &a->x, in, 1);
        mgk_case_out(c, &a->y, out);
    } else {
        mgk_case_in(c, &a->y, out, 1);
        mgk_case_out_or_both(c, &a->x, in, form == 2);
    }
}

static void nearest(mgk_case *c, mgk_resize_args *a, int index)
{
    const int64_t *s = factors[mgk_case_take(&index, FACTORS)];
    int form = mgk_case_take(&index, FORMS);
    int64_t n = s[0] * s[1] * s[2] * s[3];
    a->n = s[0], a->h = s[1], a->w = s[2], a->c = s[3], a->fh = s[4], a->fw = s[5];
    a->accumulate = form == 2;
    c->real = index ? MGK_BF16 : MGK_F32;
    MGK_CASE_BEGIN(c, form ? MGK_OP_resize_nearest_grad : MGK_OP_resize_nearest,
                   "%ldx%ldx%ldx%ld times %ld, %ld form %d %s", (long)a->n, (long)a->h, (long)a->w,
                   (long)a->c, (long)a->fh, (long)a->fw, form, index ? "bf16" : "f32");
    add_buffers(c, a, form, n, n * s[4] * s[5]);
}

static void bilinear(mgk_case *c, mgk_resize_args *a, int index)
{
    const int64_t *s = sizes[mgk_case_take(&index, SIZES)];
    int form = mgk_case_take(&index, FORMS);
    a->n = s[0], a->h = s[1], a->w = s[2], a->c = s[3], a->oh = s[4], a->ow = s[5];
    a->accumulate = form == 2;
    c->real = index ? MGK_BF16 : MGK_F32;
    MGK_CASE_BEGIN(c, form ? MGK_OP_resize_bilinear_grad : MGK_OP_resize_bilinear,
                   "%ldx%ldx%ldx%ld to %ldx%ld form %d %s", (long)a->n, (long)a->h, (long)a->w,
                   (long)a->c, (long)a->oh, (long)a->ow, form, index ? "bf16" : "f32");
    add_buffers(c, a, form, s[0] * s[1] * s[2] * s[3], s[0] * s[4] * s[5] * s[3]);
}

static bool illegal(mgk_case *c, mgk_resize_args *a, int bad)
{
    static const struct {
        int op;
        const char *what;
    } rules[ILLEGAL] = {{MGK_OP_resize_nearest, "h negative"},
                        {MGK_OP_resize_nearest, "c too large"},
                        {MGK_OP_resize_nearest, "fw 0"},
                        {MGK_OP_resize_nearest, "no y"},
                        {MGK_OP_resize_nearest_grad, "y of another dtype"},
                        {MGK_OP_resize_nearest_grad, "fh negative"},
                        {MGK_OP_resize_bilinear, "w negative"},
                        {MGK_OP_resize_bilinear, "oh negative"},
                        {MGK_OP_resize_bilinear, "no pixels to take from"},
                        {MGK_OP_resize_bilinear_grad, "y of another dtype"},
                        {MGK_OP_resize_bilinear_grad, "ow too large"},
                        {MGK_OP_resize_bilinear, "no y"},
                        {MGK_OP_resize_bilinear, "h too large"},
                        {MGK_OP_resize_bilinear_grad, "n negative"}};
    if (bad >= ILLEGAL)
        return false;
    MGK_CASE_BEGIN(c, rules[bad].op, "illegal: %s", rules[bad].what);
    c->illegal = true;
    a->n = bad == 13 ? -1 : 1;
    a->h = bad == 0 ? -3 : bad == 12 ? INT32_MAX : 2;
    a->w = bad == 6 ? -2 : bad == 8 ? 0 : 2;
    a->c = bad == 1 ? INT64_MAX / 32 : bad == 12 ? 0 : 2;
    a->fh = bad == 5 ? -1 : 2;
    a->fw = bad == 2 ? 0 : 2;
    a->oh = bad == 7 ? -4 : 4;
    a->ow = bad == 10 ? INT64_MAX / 64 : 4;
    mgk_case_in(c, &a->x, 8, 1);
    c->real = bad == 4 || bad == 9 ? MGK_BF16 : MGK_F32;
    if (bad != 3 && bad != 11)
        mgk_case_out(c, &a->y, 32);
    return true;
}

MGK_CASES(resize)
{
    mgk_resize_args *a = (void *)&c->args;
    (void)seed;
    if (index < NEAREST)
        nearest(c, a, index);
    else if (index < NEAREST + BILINEAR)
        bilinear(c, a, index - NEAREST);
    else
        return illegal(c, a, index - NEAREST - BILINEAR);
    return true;
}
