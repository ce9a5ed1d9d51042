/* SPDX-License-Identifier: MIT
 * Test cases of softmax, softmax_grad and reduce. */
#include "kernels/common/case_tools.h"
#include "kernels/reduce/reduce.h"

static const int64_t shapes[][2] = {{0, 8},   {3, 0},     {1, 1},   {5, 7},     {9, 16},   {9, 33},
                                    {64, 64}, {300, 100}, {7, 129}, {20, 1500}, {2, 20000}};
enum { SHAPES = sizeof shapes / sizeof shapes[0], FORMS = 6, LEGAL = SHAPES * FORMS * 2 };

/* form 0: softmax; 1: of large values; 2, 3: softmax_grad, which adds; 4, 5: reduce */
static void build(mgk_case *c, mgk_reduce_args *a, int index)
{
    int shape = mgk_case_take(&index, SHAPES), form = mgk_case_take(&index, FORMS);
    c->real = index;
    a->rows = shapes[shape][0];
    a->dim = shapes[shape][1];
    int64_t n = a->rows * a->dim;
    MGK_CASE_BEGIN(c,
                   form < 2   ? MGK_OP_softmax
                   : form < 4 ? MGK_OP_softmax_grad
                              : MGK_OP_reduce,
                   "rows %ld dim %ld form %d %s", (long)a->rows, (long)a->dim, form,
                   c->real == MGK_BF16 ? "bf16" : "f32");
    if (form < 2) {
        mgk_case_in(c, &a->x, n, form == 0 ? 2 : 60);
        mgk_case_out(c, &a->y, n);
    } else if (form < 4) {
        a->accumulate = form == 3;
        mgk_case_in(c, &a->y, n, 0.1f);
        mgk_case_in(c, &a->dy, n, 1);
        mgk_case_out_or_both(c, &a->dx, n, a->accumulate);
    } else {
        a->kind = a->dim == 0 ? MGK_REDUCE_SUM : (shape + form) % 3;
        mgk_case_in(c, &a->x, n, 1);
        mgk_case_out_f32(c, &a->y, a->rows);
    }
}

/* 0: rows, 1: dim, 2: no x or y, 3: dtypes differ (reduce: y), 4: kind (reduce), 5: mean of nothing */
static bool illegal(mgk_case *c, mgk_reduce_args *a, int index)
{
    static const int ops[] = {MGK_OP_softmax, MGK_OP_softmax_grad, MGK_OP_reduce};
    int op = index < 12 ? mgk_case_take(&index, 3) : 2, rule = index < 12 ? index : index - 8;
    if (rule > 5)
        return false;
    MGK_CASE_BEGIN(c, ops[op], "illegal %d", rule);
    c->illegal = true;
    a->rows = rule == 0 ? -1 : 4;
    a->dim = rule == 1 ? INT64_MAX / 5 : rule == 5 ? 0 : 8;
    a->kind = rule == 4 ? 3 : MGK_REDUCE_MEAN;
    if (op != 1 && rule != 2)
        mgk_case_in(c, &a->x, 32, 1);
    if (op == 1)
        mgk_case_in(c, &a->dy, 32, 1);
    if (rule == 3)
        c->real = MGK_BF16;
    mgk_case_out(c, op == 1 ? &a->dx : &a->y, 32);
    c->real = MGK_F32;
    if (op == 1 && rule != 2)
        mgk_case_in(c, &a->y, 32, 1);
    return true;
}

MGK_CASES(reduce)
{
    mgk_reduce_args *a = (void *)&c->args;
    (void)seed;
    if (index >= LEGAL)
        return illegal(c, a, index - LEGAL);
    build(c, a, index);
    return true;
}
