/* SPDX-License-Identifier: MIT
 * Test cases of the folder: patchify and copy_rows here, then those of pad_cases.c. */
#include "kernels/common/case_tools.h"
#include "kernels/layout/layout.h"
#include "kernels/layout/pad_cases.h"

static const int64_t volumes[][8] = {/* b, t, h, w, c, pt, ph, pw */
                                     {0, 2, 4, 4, 3, 1, 2, 2},   {1, 1, 1, 1, 1, 1, 1, 1},
                                     {2, 4, 6, 8, 3, 2, 3, 4},   {1, 3, 4, 4, 16, 1, 2, 2},
                                     {3, 4, 16, 16, 8, 1, 2, 2}, {2, 2, 4, 4, 0, 1, 2, 2},
                                     {1, 4, 32, 64, 3, 1, 1, 2}};
static const int64_t slices[][4] = {/* rows, dim, x_stride, y_stride */
                                    {0, 4, 4, 4},
                                    {3, 0, 2, 2},
                                    {1, 5, 5, 5},
                                    {7, 3, 3, 9},
                                    {40, 30, 0, 31},
                                    {300, 100, 120, 101},
                                    {500, 33, 99, 33},
                                    {2, 70000, 70000, 70000},
                                    {3, 66000, 66001, 66100}};
static const int32_t dtypes[] = {MGK_F32, MGK_BF16, MGK_U8, MGK_I32, MGK_U64};
enum {
    VOLUMES = sizeof volumes / sizeof volumes[0],
    SLICES = sizeof slices / sizeof slices[0],
    TYPES = sizeof dtypes / sizeof dtypes[0],
    MOVES = TYPES + 2, /* the last two: f32 and bf16, added */
    PATCHIFY = VOLUMES * 2 * MOVES,
    COPY = SLICES * MOVES,
    ILLEGAL = 14
};

static void add_buffer(mgk_case *c, mgk_buf *slot, int role, int32_t dtype, int64_t n)
{
    bool real = dtype == MGK_F32 || dtype == MGK_BF16;
    mgk_case_add(c, slot, role, real ? MGK_FILL_NORMAL : MGK_FILL_IDS, dtype, n, 200, 1);
}

static void patchify(mgk_case *c, mgk_layout_args *a, int index)
{
    const int64_t *v = volumes[mgk_case_take(&index, VOLUMES)];
    a->b = v[0], a->t = v[1], a->h = v[2], a->w = v[3], a->c = v[4];
    a->pt = v[5], a->ph = v[6], a->pw = v[7];
    a->inverse = mgk_case_take(&index, 2);
    a->accumulate = index >= TYPES;
    int32_t dtype = dtypes[index % TYPES];
    int64_t n = a->b * a->t * a->h * a->w * a->c;
    MGK_CASE_BEGIN(c, MGK_OP_patchify, "%ldx%ldx%ldx%ldx%ld inverse %d accumulate %d dtype %d",
                   (long)a->b, (long)a->t, (long)a->h, (long)a->w, (long)a->c, a->inverse,
                   a->accumulate, dtype);
    add_buffer(c, a->inverse ? &a->y : &a->x, MGK_CASE_IN, dtype, n);
    add_buffer(c, a->inverse ? &a->x : &a->y, a->accumulate ? MGK_CASE_INOUT : MGK_CASE_OUT, dtype,
               n);
    c->tolerance = 0;
}

static void copy_rows(mgk_case *c, mgk_layout_args *a, int index)
{
    const int64_t *s = slices[mgk_case_take(&index, SLICES)];
    a->rows = s[0], a->dim = s[1], a->x_stride = s[2], a->y_stride = s[3];
    a->accumulate = index >= TYPES;
    int32_t dtype = dtypes[index % TYPES];
    MGK_CASE_BEGIN(c, MGK_OP_copy_rows, "rows %ld dim %ld strides %ld, %ld accumulate %d dtype %d",
                   (long)a->rows, (long)a->dim, (long)s[2], (long)s[3], a->accumulate, dtype);
    add_buffer(c, &a->x, MGK_CASE_IN, dtype, a->rows * a->x_stride + a->dim);
    add_buffer(c, &a->y, MGK_CASE_INOUT, dtype, a->rows * a->y_stride);
    c->tolerance = 0;
}

static bool illegal(mgk_case *c, mgk_layout_args *a, int index)
{
    static const char *const what[ILLEGAL] = {
        "ph does not divide h", "ph 0",          "no x", "pt negative",  "c too large",
        "y of another dtype",   "i32 added", /* copy_rows from here on */
        "rows overlap",         "rows negative", "no x", "dim negative", "x_stride negative",
        "y of another dtype",   "u8 added"};
    if (index >= ILLEGAL)
        return false;
    MGK_CASE_BEGIN(c, index < 7 ? MGK_OP_patchify : MGK_OP_copy_rows, "illegal: %s", what[index]);
    c->illegal = true;
    a->b = a->t = a->c = 1;
    a->c = index == 4 ? INT64_MAX / 64 : 1;
    a->h = a->w = 4;
    a->pt = index == 3 ? -1 : 1;
    a->ph = index == 0 ? 3 : index == 1 ? 0 : 2;
    a->pw = 2;
    a->rows = index == 8 ? -1 : 4;
    a->dim = index == 10 ? -4 : 4;
    a->x_stride = index == 11 ? -4 : 4;
    a->y_stride = index == 7 ? 3 : 4;
    a->accumulate = index == 6 || index == 13;
    int32_t dtype = index == 6 ? MGK_I32 : index == 13 ? MGK_U8 : MGK_F32;
    if (index != 2 && index != 9)
        add_buffer(c, &a->x, MGK_CASE_IN, dtype, 16);
    add_buffer(c, &a->y, MGK_CASE_OUT, index == 5 || index == 12 ? MGK_BF16 : dtype, 16);
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
    else if (index < PATCHIFY + COPY + ILLEGAL)
        return illegal(c, a, index - PATCHIFY - COPY);
    else
        return mgk_pad_case(c, index - PATCHIFY - COPY - ILLEGAL);
    return true;
}
