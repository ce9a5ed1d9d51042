/* SPDX-License-Identifier: MIT
 * Test cases of glu and glu_grad. */
#include "kernels/common/case_tools.h"
#include "kernels/glu/glu.h"

static const int64_t shapes[][2] = {{0, 8},  {3, 0},   {1, 1},     {5, 7},    {9, 16},
                                    {9, 33}, {64, 48}, {300, 100}, {20, 1500}};
enum { SHAPES = sizeof shapes / sizeof shapes[0], LEGAL = SHAPES * 2 * 4 * 2, ILLEGAL = 6 };

MGK_CASES(glu)
{
    mgk_glu_args *a = (void *)&c->args;
    (void)seed;
    if (index >= LEGAL + ILLEGAL)
        return false;
    int bad = index - LEGAL; /* 4: x and y, 5: x and dx differ in dtype */
    int shape = index < LEGAL ? mgk_case_take(&index, SHAPES) : 3;
    bool grad = bad < 0 ? mgk_case_take(&index, 2) : bad == 3 || bad == 5;
    a->kind = bad < 0 ? mgk_case_take(&index, 4) : bad == 2 ? 7 : 0;
    a->rows = bad == 0 ? -5 : shapes[shape][0];
    a->dim = bad == 1 ? INT64_MAX / 8 : shapes[shape][1];
    c->real = bad < 0 && index > 0 ? MGK_BF16 : MGK_F32;
    int64_t n = shapes[shape][0] * shapes[shape][1];
    MGK_CASE_BEGIN(c, grad ? MGK_OP_glu_grad : MGK_OP_glu, "rows %ld dim %ld kind %d %s",
                   (long)a->rows, (long)a->dim, a->kind, c->real == MGK_BF16 ? "bf16" : "f32");
    c->illegal = bad >= 0;
    mgk_case_in(c, &a->x, 2 * n, 3);
    const float off = mgk_case_activation_off(a->kind == MGK_GLU_SILU, grad, c->real);
    if (grad && bad != 3)
        mgk_case_in(c, &a->dy, n, 1);
    if (bad >= 4)
        c->real = MGK_BF16;
    mgk_case_out(c, grad ? &a->dx : &a->y, grad ? 2 * n : n);
    mgk_case_besides(c, a->kind != MGK_GLU_SIGMOID ? off : 0, grad ? 3 : 1); /* x, dy */
    return true;
}
