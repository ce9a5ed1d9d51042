/* SPDX-License-Identifier: MIT
 * Test cases of pad, pad_grad and permute; the folder's cases in layout_cases.c hand over to
 * them. */
#include "kernels/layout/pad_cases.h"
#include "kernels/common/case_tools.h"
#include "kernels/layout/pad.h"
#include "kernels/layout/permute.h"

#include <string.h>

static const int64_t borders[][11] = {/* n, t, h, w, c, before and after of t, h, w */
                                      {0, 2, 2, 2, 3, 1, 1, 1, 1, 1, 1},
                                      {1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0},
                                      {1, 1, 1, 1, 2, 2, 1, 0, 3, 1, 2},
                                      {2, 3, 4, 5, 3, 1, 1, 0, 1, 0, 1},
                                      {1, 2, 3, 2, 17, 0, 2, 1, 1, 3, 0},
                                      {1, 4, 16, 16, 16, 2, 0, 1, 1, 1, 1},
                                      {3, 1, 20, 31, 33, 0, 0, 2, 2, 0, 4},
                                      {2, 1, 3, 400, 4, 0, 1, 0, 0, 0, 0},
                                      {2, 2, 2, 2, 0, 1, 1, 1, 1, 1, 1}};
static const struct {
    int32_t rank, axis[MGK_PERMUTE_RANK];
    int64_t extent[MGK_PERMUTE_RANK];
} orders[] = {{1, {0}, {1}},
              {1, {0}, {70000}},
              {2, {1, 0}, {0, 5}},
              {2, {1, 0}, {1, 9}},
              {2, {1, 0}, {33, 47}},
              {2, {1, 0}, {1030, 70}},
              {2, {1, 0}, {1100, 3}},
              {2, {1, 0}, {3, 1100}},
              {3, {1, 0, 2}, {5, 9, 20}},
              {3, {0, 2, 1}, {4, 40, 65}},
              {3, {2, 1, 0}, {17, 6, 19}},
              {3, {1, 0, 2}, {3, 2, 66000}},
              {4, {0, 2, 1, 3}, {2, 64, 6, 32}},
              {4, {3, 1, 2, 0}, {16, 1, 5, 16}},
              {5, {0, 4, 1, 2, 3}, {2, 3, 8, 8, 16}},
              {6, {5, 3, 1, 0, 2, 4}, {2, 3, 4, 5, 3, 2}},
              {6, {0, 1, 3, 2, 5, 4}, {1, 2, 3, 4, 17, 18}},
              {6, {0, 1, 2, 3, 4, 5}, {2, 1, 3, 1, 2, 7}}};
static const int32_t dtypes[] = {MGK_F32, MGK_BF16, MGK_U8, MGK_I32, MGK_U64};
enum {
    BORDERS = sizeof borders / sizeof borders[0],
    ORDERS = sizeof orders / sizeof orders[0],
    TYPES = sizeof dtypes / sizeof dtypes[0],
    PAD = BORDERS * 2 * TYPES,
    PAD_GRAD = BORDERS * 2 * 2 * 2,
    MOVES = TYPES + 2, /* the last two: f32 and bf16, added */
    PERMUTE = ORDERS * MOVES
};

static void add_buffer(mgk_case *c, mgk_buf *slot, int role, int32_t dtype, int64_t n)
{
    bool real = dtype == MGK_F32 || dtype == MGK_BF16;
    mgk_case_add(c, slot, role, real ? MGK_FILL_NORMAL : MGK_FILL_IDS, dtype, n, 200, 1);
}

/* Sets the extents; returns the elements of y. */
static int64_t border(mgk_pad_args *a, const int64_t *s)
{
    a->n = s[0], a->t = s[1], a->h = s[2], a->w = s[3], a->c = s[4];
    int64_t n = a->n * a->c;
    for (int i = 0; i < 3; i++) {
        a->before[i] = s[5 + 2 * i];
        a->after[i] = s[6 + 2 * i];
        n *= s[1 + i] + a->before[i] + a->after[i];
    }
    return n;
}

static void pad(mgk_case *c, int index)
{
    mgk_pad_args *a = (void *)&c->args;
    int shape = mgk_case_take(&index, BORDERS);
    int64_t out = border(a, borders[shape]), in = a->n * a->t * a->h * a->w * a->c;
    a->mode = mgk_case_take(&index, 2);
    MGK_CASE_BEGIN(c, MGK_OP_pad, "%ldx%ldx%ldx%ldx%ld set %d mode %d dtype %d", (long)a->n,
                   (long)a->t, (long)a->h, (long)a->w, (long)a->c, shape, a->mode, dtypes[index]);
    c->tolerance = 0;
    add_buffer(c, &a->x, MGK_CASE_IN, dtypes[index], in);
    add_buffer(c, &a->y, MGK_CASE_OUT, dtypes[index], out);
}

static void pad_grad(mgk_case *c, int index)
{
    mgk_pad_args *a = (void *)&c->args;
    int shape = mgk_case_take(&index, BORDERS);
    int64_t out = border(a, borders[shape]), in = a->n * a->t * a->h * a->w * a->c;
    a->mode = mgk_case_take(&index, 2);
    a->accumulate = mgk_case_take(&index, 2);
    c->real = index ? MGK_BF16 : MGK_F32;
    MGK_CASE_BEGIN(c, MGK_OP_pad_grad, "%ldx%ldx%ldx%ldx%ld set %d mode %d accumulate %d %s",
                   (long)a->n, (long)a->t, (long)a->h, (long)a->w, (long)a->c, shape, a->mode,
                   a->accumulate, index ? "bf16" : "f32");
    mgk_case_in(c, &a->y, out, 1);
    mgk_case_out_or_both(c, &a->x, in, a->accumulate);
}

static void permute(mgk_case *c, int index)
{
    mgk_permute_args *a = (void *)&c->args;
    int order = mgk_case_take(&index, ORDERS);
    int64_t n = 1;
    a->rank = orders[order].rank;
    memcpy(a->axis, orders[order].axis, sizeof a->axis);
    memcpy(a->extent, orders[order].extent, sizeof a->extent);
    a->accumulate = index >= TYPES;
    for (int i = 0; i < a->rank; i++)
        n *= a->extent[i];
    int32_t dtype = dtypes[index % TYPES];
    MGK_CASE_BEGIN(c, MGK_OP_permute, "order %d of %ld elements accumulate %d dtype %d", order,
                   (long)n, a->accumulate, dtype);
    c->tolerance = 0;
    add_buffer(c, &a->x, MGK_CASE_IN, dtype, n);
    add_buffer(c, &a->y, a->accumulate ? MGK_CASE_INOUT : MGK_CASE_OUT, dtype, n);
}

static bool illegal_permute(mgk_case *c, int bad)
{
    static const char *const what[] = {
        "rank 0",         "rank 7", "axis twice",         "axis 2 of 2",
        "axis negative",  "no y",   "y of another dtype", "i32 added",
        "negative extent"};
    mgk_permute_args *a = (void *)&c->args;
    if (bad >= (int)(sizeof what / sizeof what[0]))
        return false;
    MGK_CASE_BEGIN(c, MGK_OP_permute, "illegal: %s", what[bad]);
    c->illegal = true;
    a->rank = bad == 0 ? 0 : bad == 1 ? 7 : 2;
    a->extent[0] = bad == 8 ? -4 : 4;
    a->extent[1] = 4;
    a->axis[0] = bad == 3 ? 2 : bad == 4 ? -1 : 1;
    a->axis[1] = bad == 2;
    a->accumulate = bad == 7;
    int32_t dtype = bad == 7 ? MGK_I32 : MGK_F32;
    add_buffer(c, &a->x, MGK_CASE_IN, dtype, 16);
    if (bad != 5)
        add_buffer(c, &a->y, MGK_CASE_OUT, bad == 6 ? MGK_I32 : dtype, 16);
    return true;
}

static bool illegal(mgk_case *c, int bad)
{
    static const char *const what[] = {"t negative",
                                       "before negative",
                                       "after negative",
                                       "unknown mode",
                                       "no x",
                                       "y of another dtype",
                                       "nothing to replicate",
                                       "too large",
                                       "gradient of i32",
                                       "gradient without y"};
    mgk_pad_args *a = (void *)&c->args;
    const int names = sizeof what / sizeof what[0];
    if (bad >= names)
        return illegal_permute(c, bad - names);
    MGK_CASE_BEGIN(c, bad >= 8 ? MGK_OP_pad_grad : MGK_OP_pad, "illegal: %s", what[bad]);
    c->illegal = true;
    border(a, (const int64_t[11]){1, 2, 2, 2, 2, 1, 0, 1, 0, 1, 0});
    if (bad == 0)
        a->t = -2;
    if (bad == 1)
        a->before[1] = -1;
    if (bad == 2)
        a->after[2] = -1;
    if (bad == 6)
        a->w = 0;
    if (bad == 7)
        a->after[0] = INT64_MAX / 16;
    a->mode = bad == 3 ? 2 : bad == 6 ? MGK_BORDER_REPLICATE : MGK_BORDER_ZERO;
    int32_t dtype = bad == 8 ? MGK_I32 : MGK_F32;
    if (bad != 4)
        add_buffer(c, &a->x, MGK_CASE_INOUT, dtype, 16);
    if (bad != 9)
        add_buffer(c, &a->y, MGK_CASE_INOUT, bad == 5 ? MGK_BF16 : dtype, 54);
    return true;
}

bool mgk_pad_case(mgk_case *c, int index)
{
    if (index < PAD)
        pad(c, index);
    else if ((index -= PAD) < PAD_GRAD)
        pad_grad(c, index);
    else if ((index -= PAD_GRAD) < PERMUTE)
        permute(c, index);
    else
        return illegal(c, index - PERMUTE);
    return true;
}
