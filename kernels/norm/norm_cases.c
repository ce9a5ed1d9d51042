/* SPDX-License-Identifier: MIT
 * Test cases of norm and norm_grad. */
#include "kernels/common/case_tools.h"
#include "kernels/norm/norm.h"

static const struct {
    int64_t rows, dim, sample;
} shapes[] = {{0, 8, 1},    {3, 0, 1},   {1, 1, 1},    {5, 7, 2},      {9, 33, 4},    {130, 48, 64},
              {67, 100, 3}, {64, 24, 1}, {600, 64, 9}, {700, 96, 350}, {40, 1500, 11}};
enum { SHAPES = sizeof shapes / sizeof shapes[0], OPTIONS = 6 };

/* 0: plain, 1: weight, 2: weight and bias, 3: modulation, 4: all, 5: all, only dx wanted */
static void build(mgk_case *c, mgk_norm_args *a, int index)
{
    int shape = mgk_case_take(&index, SHAPES), option = mgk_case_take(&index, OPTIONS);
    bool grad = mgk_case_take(&index, 2);
    a->kind = mgk_case_take(&index, 2);
    a->rows = shapes[shape].rows;
    a->dim = shapes[shape].dim;
    a->eps = 1e-5f;
    bool weight = option == 1 || option == 2 || option >= 4, bias = option == 2 || option >= 4;
    bool modulated = option >= 3;
    a->rows_per_sample = modulated ? shapes[shape].sample : 0;
    a->mod_stride = a->dim + 3;
    a->d_mod_stride = a->dim + 2;
    int64_t n = a->rows * a->dim, samples = a->rows / shapes[shape].sample + 1;
    MGK_CASE_BEGIN(c, grad ? MGK_OP_norm_grad : MGK_OP_norm,
                   "kind %d rows %ld dim %ld sample %ld option %d", a->kind, (long)a->rows,
                   (long)a->dim, (long)shapes[shape].sample, option);
    mgk_case_in(c, &a->x, n, 1.5f);
    if (weight)
        mgk_case_in(c, &a->weight, a->dim, 1);
    if (bias)
        mgk_case_in(c, &a->bias, a->dim, 1);
    if (modulated) {
        mgk_case_in(c, &a->scale, samples * a->mod_stride, 0.5f);
        mgk_case_in(c, &a->shift, samples * a->mod_stride, 0.5f);
    }
    if (!grad) {
        mgk_case_out(c, &a->y, n);
        if (a->dim > 0)
            mgk_case_out(c, &a->rstd, a->rows);
        if (a->kind == MGK_NORM_LAYER && a->dim > 0)
            mgk_case_out(c, &a->mean, a->rows);
        return;
    }
    a->accumulate_dx = option == 4;
    mgk_case_in(c, &a->dy, n, 1);
    mgk_case_add(c, &a->rstd, MGK_CASE_IN, MGK_FILL_POSITIVE, MGK_F32, a->rows, 0, 1);
    mgk_case_in(c, &a->mean, a->rows, 0.3f);
    mgk_case_out_or_both(c, &a->dx, n, a->accumulate_dx);
    if (option == 5)
        return;
    if (weight)
        mgk_case_both(c, &a->d_weight, a->dim);
    if (bias)
        mgk_case_both(c, &a->d_bias, a->dim);
    if (modulated) {
        mgk_case_both(c, &a->d_scale, samples * a->d_mod_stride);
        mgk_case_both(c, &a->d_shift, samples * a->d_mod_stride);
    }
}

static bool illegal(mgk_case *c, mgk_norm_args *a, int index)
{
    if (index >= 6)
        return false;
    MGK_CASE_BEGIN(c, index == 5 ? MGK_OP_norm_grad : MGK_OP_norm, "illegal %d", index);
    c->illegal = true;
    a->rows = index == 0 ? -1 : 4;
    a->dim = index == 1 ? INT64_MAX / 3 : 8;
    a->kind = index == 2 ? 2 : MGK_NORM_RMS;
    a->eps = index == 3 ? -1 : 1e-6f;
    a->rows_per_sample = 0; /* 4: illegal with modulation; 5: the gradient lacks dy and rstd */
    mgk_case_in(c, &a->x, 32, 1);
    mgk_case_out(c, &a->y, 32);
    if (index == 4)
        mgk_case_in(c, &a->scale, 32, 1);
    return true;
}

MGK_CASES(norm)
{
    mgk_norm_args *a = (void *)&c->args;
    (void)seed;
    enum { LEGAL = SHAPES * OPTIONS * 2 * 2 };
    if (index >= LEGAL)
        return illegal(c, a, index - LEGAL);
    build(c, a, index);
    return true;
}
