/* SPDX-License-Identifier: MIT
 * Test cases of snake and snake_grad. */
#include "kernels/common/case_tools.h"
#include "kernels/snake/snake.h"

#include <math.h>

/* The last two are several blocks. */
static const int64_t shapes[][2] = {{0, 8},   {3, 0},   {1, 1},     {5, 7},    {9, 16},
                                    {9, 33},  {20, 63}, {9, 64},    {30, 100}, {3, 1500},
                                    {210, 3}, {900, 1}, {2100, 16}, {700, 64}};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

/* Whether of the gradient, and what else: PLAIN; ADD: dx and d_alpha are added to, or d_alpha is not wanted; NONE: alpha
 * is 0; WIDE: angles of hundreds, whose rounding is what the sine is off by. */
enum { PLAIN, ADD, NONE, WIDE, FORMS };
enum { LEGAL = SHAPES * 2 * FORMS * 2, LARGE = 1, ILLEGAL = 8 };

static void legal(mgk_case *c, mgk_snake_args *a, int index)
{
    const int shape = mgk_case_take(&index, SHAPES), grad = mgk_case_take(&index, 2);
    const int form = mgk_case_take(&index, FORMS);
    const float scale = form == WIDE ? 30 : 1;
    c->real = index ? MGK_BF16 : MGK_F32;
    a->rows = shapes[shape][0] < 40 || form < NONE ? shapes[shape][0] : 40;
    a->dim = shapes[shape][1];
    const int64_t n = a->rows * a->dim;
    MGK_CASE_BEGIN(c, grad ? MGK_OP_snake_grad : MGK_OP_snake, "rows %ld dim %ld form %d %s",
                   (long)a->rows, (long)a->dim, form, c->real == MGK_BF16 ? "bf16" : "f32");
    if (form == WIDE)
        c->tolerance = 1e-4f;
    mgk_case_in(c, &a->x, n, scale);
    if (form == NONE) {
        a->alpha.dtype = MGK_F32;
        mgk_case_add(c, &a->alpha, MGK_CASE_IN, MGK_FILL_ZERO, MGK_F32, a->dim, 0, 1);
    } else {
        mgk_case_in_f32(c, &a->alpha, a->dim, form == WIDE ? 3 : 1);
    }
    if (!grad) {
        mgk_case_out(c, &a->y, n);
        mgk_case_besides(c, 0x1p-22f, 1); /* of x: the angle's rounding */
        return;
    }
    a->accumulate = form == ADD;
    mgk_case_in(c, &a->dy, n, 1);
    mgk_case_out_or_both(c, &a->dx, n, form == ADD);
    mgk_case_besides(c, c->real == MGK_BF16 ? 0x1p-17f : 0x1p-22f, 7); /* of x, alpha, dy */
    if (form == ADD && shape % 2 == 0)
        return;
    mgk_case_both_f32(c, &a->d_alpha, a->dim);
    /* What is left of terms of the size of x^2 dy: of each the angle is rounded, and each sum of them is. */
    const float angles = scale * scale * (1 + sqrtf((float)a->rows)), sums = (float)a->rows;
    mgk_case_besides(c, 0x1p-21f * angles + 0x1p-23f * sums, 0);
}

/* An output so large that it is written past the caches. Its values are given, as drawing millions would take most of the
 * test's time. */
static void large(mgk_case *c, mgk_snake_args *a)
{
    enum { DIM = 16, ROWS = (16 << 20) / (4 * DIM) + 5, COUNT = ROWS * DIM };
    static float values[COUNT];
    a->dim = DIM;
    a->rows = ROWS;
    for (uint32_t i = 0; i < COUNT; i++)
        values[i] = (float)(i * 2654435761u >> 8) * 0x1p-22f - 2.0f;
    MGK_CASE_BEGIN(c, MGK_OP_snake_grad, "large f32");
    c->tolerance = 5e-5f; /* as above, of 262,149 terms */
    mgk_case_given(c, &a->x, MGK_F32, COUNT, values);
    mgk_case_given(c, &a->dy, MGK_F32, COUNT, values);
    mgk_case_in_f32(c, &a->alpha, DIM, 1);
    mgk_case_both_f32(c, &a->d_alpha, DIM);
    mgk_case_out(c, &a->dx, COUNT);
}

enum { BAD_ROWS, BAD_DIM, NO_ALPHA, MIXED_Y, MIXED_DX, MIXED_DY, NO_X, NO_DY };

static void illegal(mgk_case *c, mgk_snake_args *a, int bad)
{
    const bool grad = bad == MIXED_DX || bad == MIXED_DY || bad == NO_DY;
    MGK_CASE_BEGIN(c, grad ? MGK_OP_snake_grad : MGK_OP_snake, "illegal %d", bad);
    c->illegal = true;
    a->rows = bad == BAD_ROWS ? -1 : 4;
    a->dim = bad == BAD_DIM ? INT64_MAX / 8 : 4;
    if (bad != NO_X)
        mgk_case_in(c, &a->x, 16, 1);
    if (bad != NO_ALPHA)
        mgk_case_in_f32(c, &a->alpha, 4, 1);
    c->real = bad == MIXED_DY ? MGK_BF16 : MGK_F32;
    if (grad && bad != NO_DY)
        mgk_case_in(c, &a->dy, 16, 1);
    c->real = bad == MIXED_Y || bad == MIXED_DX ? MGK_BF16 : MGK_F32;
    mgk_case_out(c, grad ? &a->dx : &a->y, 16);
    if (grad)
        mgk_case_both_f32(c, &a->d_alpha, 4);
}

MGK_CASES(snake)
{
    mgk_snake_args *a = (void *)&c->args;
    (void)seed;
    if (index < LEGAL)
        legal(c, a, index);
    else if ((index -= LEGAL) < LARGE)
        large(c, a);
    else if ((index -= LARGE) < ILLEGAL)
        illegal(c, a, index);
    else
        return false;
    return true;
}
