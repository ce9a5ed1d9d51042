/* SPDX-License-Identifier: MIT
 * Test cases of the group_norm ops. */
#include "kernels/common/case_tools.h"
#include "kernels/group_norm/group_norm.h"

/* The last two: past the caches, in either dtype. */
static const struct {
    int64_t n, rows, c, groups;
} shapes[] = {{0, 5, 8, 2},       {2, 0, 8, 4},      {3, 4, 0, 2},     {1, 1, 1, 1},
              {2, 1, 6, 6},       {2, 5, 7, 1},      {3, 9, 33, 11},   {1, 600, 64, 8},
              {2, 700, 96, 32},   {4, 40, 150, 3},   {1, 70, 1500, 5}, {5, 300, 24, 24},
              {2, 43700, 96, 32}, {1, 32800, 256, 8}};
static const int ops[] = {MGK_OP_group_norm_stats, MGK_OP_group_norm_apply,
                          MGK_OP_group_norm_grad_stats, MGK_OP_group_norm_grad_apply};
enum { LARGE_SHAPES = 2, SHAPES = sizeof shapes / sizeof shapes[0] - LARGE_SHAPES };
enum { OPS = 4, WEIGHTS = 3, LARGE = 2 * LARGE_SHAPES * OPS };
enum { LEGAL = OPS * SHAPES * WEIGHTS * 2 * 2 * 2 };

static void positive(mgk_case *c, mgk_buf *slot, int role, int64_t count, float scale)
{
    slot->dtype = MGK_F32;
    mgk_case_add(c, slot, role, MGK_FILL_POSITIVE, MGK_F32, count, 0, scale);
}

/* Adds to statistics of other values if `merge`; x is far from 0 in some cases. */
static void build_stats(mgk_case *c, mgk_group_norm_args *a, int fill, bool merge)
{
    int64_t groups = a->n * a->groups, size = a->n * a->rows * a->c;
    a->count = merge ? 37 : 0;
    a->x.dtype = c->real;
    if (fill)
        mgk_case_add(c, &a->x, MGK_CASE_IN, MGK_FILL_POSITIVE, c->real, size, 0,
                     fill == 1 ? 2.0f : 100.0f);
    else
        mgk_case_in(c, &a->x, size, 1.5f);
    positive(c, &a->mean, merge ? MGK_CASE_INOUT : MGK_CASE_OUT, groups, 1);
    positive(c, &a->var, merge ? MGK_CASE_INOUT : MGK_CASE_OUT, groups, 1);
}

/* weights 0: none, 1: weight, 2: weight and bias */
static void build(mgk_case *c, mgk_group_norm_args *a, int index, bool large)
{
    int op = mgk_case_take(&index, OPS);
    int shape =
        large ? SHAPES + mgk_case_take(&index, LARGE_SHAPES) : mgk_case_take(&index, SHAPES);
    int weights = large ? 2 : mgk_case_take(&index, WEIGHTS);
    bool add = !large && mgk_case_take(&index, 2);
    a->silu = large || mgk_case_take(&index, 2);
    c->real = index > 0 ? MGK_BF16 : MGK_F32;
    a->n = shapes[shape].n;
    a->rows = shapes[shape].rows;
    a->c = shapes[shape].c;
    a->groups = shapes[shape].groups;
    a->eps = 1e-5f;
    int64_t groups = a->n * a->groups, size = a->n * a->rows * a->c;
    MGK_CASE_BEGIN(c, ops[op], "n %ld rows %ld c %ld groups %ld weights %d add %d silu %d %s",
                   (long)a->n, (long)a->rows, (long)a->c, (long)a->groups, weights, add, a->silu,
                   index > 0 ? "bf16" : "f32");
    if (op == 0) {
        build_stats(c, a, weights, add);
        return;
    }
    mgk_case_in(c, &a->x, size, 1.5f);
    mgk_case_in_f32(c, &a->mean, groups, 0.3f);
    positive(c, &a->var, MGK_CASE_IN, groups, 1);
    if (weights >= 1)
        mgk_case_in_f32(c, &a->weight, a->c, 1);
    if (weights >= 2)
        mgk_case_in_f32(c, &a->bias, a->c, 1);
    if (op == 1) {
        mgk_case_out(c, &a->y, size);
        return;
    }
    a->accumulate = add;
    mgk_case_in(c, &a->dy, size, 1);
    if (op == 2) {
        if (add)
            mgk_case_both_f32(c, &a->sums, 2 * groups);
        else
            mgk_case_out_f32(c, &a->sums, 2 * groups);
        if (weights >= 1)
            mgk_case_both_f32(c, &a->d_weight, a->c);
        if (weights >= 2)
            mgk_case_both_f32(c, &a->d_bias, a->c);
        return;
    }
    a->count = a->rows * (a->c / a->groups) + 5; /* as if there were another tile */
    mgk_case_in_f32(c, &a->sums, 2 * groups, 3);
    mgk_case_out_or_both(c, &a->dx, size, add);
}

/* 0..4: rules of all ops; then what single ones lack */
static bool illegal(mgk_case *c, mgk_group_norm_args *a, int index)
{
    enum { RULES = 9 }; /* 8: a dtype differs from x's */
    int op = mgk_case_take(&index, OPS), rule = mgk_case_take(&index, RULES);
    if (index > 0)
        return false;
    MGK_CASE_BEGIN(c, ops[op], "illegal %d", rule);
    c->illegal = true;
    a->n = rule == 0 ? -1 : 2;
    a->rows = rule == 1 ? INT64_MAX / 63 : 3;
    a->c = 8;
    a->groups = rule == 2 ? 0 : rule == 3 ? 3 : rule == 4 ? -2 : 4;
    a->eps = rule == 5 && op > 0 ? -1e-6f : 1e-6f;
    a->count = (rule == 5 && op == 0) || (rule == 6 && (op == 0 || op == 3)) ? -1 : op == 3 ? 6 : 0;
    c->real = rule == 8 && op > 0 ? MGK_BF16 : rule == 8 ? MGK_I32 : MGK_F32;
    mgk_case_in(c, &a->x, 48, 1);
    c->real = MGK_F32;
    positive(c, &a->mean, op == 0 ? MGK_CASE_OUT : MGK_CASE_IN, 8, 1);
    if (rule != 7)
        positive(c, &a->var, op == 0 ? MGK_CASE_OUT : MGK_CASE_IN, 8, 1);
    if (op == 1 && rule != 6)
        mgk_case_out(c, &a->y, 48);
    if (op < 2)
        return true;
    mgk_case_in(c, &a->dy, 48, 1);
    if (op == 3)
        mgk_case_in_f32(c, &a->sums, 16, 1);
    if (op == 2 && rule != 6)
        mgk_case_out_f32(c, &a->sums, 16);
    if (op == 3)
        mgk_case_out(c, &a->dx, 48);
    return true;
}

MGK_CASES(group_norm)
{
    mgk_group_norm_args *a = (void *)&c->args;
    (void)seed;
    if (index >= LEGAL + LARGE)
        return illegal(c, a, index - LEGAL - LARGE);
    build(c, a, index < LEGAL ? index : index - LEGAL, index >= LEGAL);
    return true;
}
