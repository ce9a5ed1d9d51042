/* SPDX-License-Identifier: MIT
 * Test cases of norm, residual_norm and their gradients. */
#include "kernels/common/case_tools.h"
#include "kernels/norm/norm.h"

static const struct {
    int64_t rows, dim, sample;
} shapes[] = {{0, 8, 1},    {3, 0, 1},   {1, 1, 1},    {5, 7, 2},      {9, 33, 4},    {130, 48, 64},
              {67, 100, 3}, {64, 24, 1}, {600, 64, 9}, {700, 96, 350}, {40, 1500, 11}};
enum { SHAPES = sizeof shapes / sizeof shapes[0], OPTIONS = 6 };

/* Whether weight, bias and modulation are there: options 0: none, 1: weight, 2: weight and bias,
 * 3: modulation, 4: all, 5: all, only dx wanted */
static bool has_weight(int option)
{
    return option == 1 || option == 2 || option >= 4;
}

static bool has_bias(int option)
{
    return option == 2 || option >= 4;
}

/* Buffers that both directions read. */
static void vectors(mgk_case *c, mgk_norm_args *a, int option, int64_t samples)
{
    if (has_weight(option))
        mgk_case_in_f32(c, &a->weight, a->dim, 1);
    if (has_bias(option))
        mgk_case_in_f32(c, &a->bias, a->dim, 1);
    if (option >= 3) {
        mgk_case_in_f32(c, &a->scale, samples * a->mod_stride, 0.5f);
        mgk_case_in_f32(c, &a->shift, samples * a->mod_stride, 0.5f);
    }
}

static void statistics_out(mgk_case *c, mgk_norm_args *a)
{
    if (a->dim == 0)
        return;
    mgk_case_out_f32(c, &a->rstd, a->rows);
    if (a->kind == MGK_NORM_LAYER)
        mgk_case_out_f32(c, &a->mean, a->rows);
}

static void gradients(mgk_case *c, mgk_norm_args *a, int option, int64_t samples)
{
    mgk_case_add(c, &a->rstd, MGK_CASE_IN, MGK_FILL_POSITIVE, MGK_F32, a->rows, 0, 1);
    mgk_case_in_f32(c, &a->mean, a->rows, 0.3f);
    if (option == 5)
        return;
    if (has_weight(option))
        mgk_case_both_f32(c, &a->d_weight, a->dim);
    if (has_bias(option))
        mgk_case_both_f32(c, &a->d_bias, a->dim);
    if (option >= 3) {
        mgk_case_both_f32(c, &a->d_scale, samples * a->d_mod_stride);
        mgk_case_both_f32(c, &a->d_shift, samples * a->d_mod_stride);
    }
}

/* A residual: option 0 has no gate, 1 neither gate nor h, 5 no dr and only dx wanted. */
static void residual(mgk_case *c, mgk_norm_args *a, bool grad, int option, int64_t samples)
{
    int64_t n = a->rows * a->dim;
    if (option != 1)
        mgk_case_in(c, &a->h, n, 1);
    if (option > 1)
        mgk_case_in_f32(c, &a->gate, samples * a->gate_stride, 0.7f);
    if (!grad) {
        mgk_case_out(c, &a->r, n);
        return;
    }
    mgk_case_in(c, &a->r, n, 1.5f);
    if (option < 5) {
        mgk_case_in(c, &a->dr, n, 0.5f);
        mgk_case_out(c, &a->dh, n);
    }
    if (option > 1 && option < 5)
        mgk_case_both_f32(c, &a->d_gate, samples * a->d_gate_stride);
}

static void build(mgk_case *c, mgk_norm_args *a, int index)
{
    static const int ops[] = {MGK_OP_norm, MGK_OP_norm_grad, MGK_OP_residual_norm,
                              MGK_OP_residual_norm_grad};
    int shape = mgk_case_take(&index, SHAPES), option = mgk_case_take(&index, OPTIONS);
    int op = mgk_case_take(&index, 4);
    bool grad = op % 2, sum = op >= 2;
    a->kind = mgk_case_take(&index, 2);
    c->real = mgk_case_take(&index, 2);
    a->rows = shapes[shape].rows;
    a->dim = shapes[shape].dim;
    a->eps = 1e-5f;
    int64_t sample = shapes[shape].sample, n = a->rows * a->dim;
    if (option >= 3 || (sum && option == 2))
        a->rows_per_sample = sample;
    a->mod_stride = a->dim + 3;
    a->d_mod_stride = a->dim + 2;
    a->gate_stride = a->d_gate_stride = a->dim + 1;
    a->row_offset = option == 4 && c->real == a->kind ? sample + sample / 2 : 0;
    int64_t samples = (a->rows + a->row_offset) / sample + 1;
    MGK_CASE_BEGIN(c, ops[op], "kind %d rows %ld dim %ld sample %ld option %d offset %ld %s",
                   a->kind, (long)a->rows, (long)a->dim, (long)sample, option, (long)a->row_offset,
                   c->real == MGK_BF16 ? "bf16" : "f32");
    if (!grad || !sum)
        mgk_case_in(c, &a->x, n, 1.5f);
    vectors(c, a, option, samples);
    if (sum)
        residual(c, a, grad, option, samples);
    if (!grad) {
        mgk_case_out(c, &a->y, n);
        statistics_out(c, a);
        return;
    }
    a->accumulate_dx = option == 4 && !sum;
    mgk_case_in(c, &a->dy, n, 1);
    mgk_case_out_or_both(c, &a->dx, n, a->accumulate_dx);
    gradients(c, a, option, samples);
}

/* Outputs so large that they are written past the caches: of norm, and of gradients, by 4 for norm_grad and
 * residual_norm_grad in both dtypes. Rows of f32 are no whole pairs of vectors, and samples no whole blocks. */
enum { LARGE = 5 };
static void large(mgk_case *c, mgk_norm_args *a, int index)
{
    const bool norm = index == 0, sum = index > 2, bf16 = index > 0 && index % 2 == 0;
    const int op = norm ? MGK_OP_norm : sum ? MGK_OP_residual_norm_grad : MGK_OP_norm_grad;
    const int option = bf16 ? 2 : 4;
    a->kind = bf16 ? MGK_NORM_RMS : MGK_NORM_LAYER;
    c->real = bf16 ? MGK_BF16 : MGK_F32;
    a->dim = norm ? 1024 : bf16 ? 992 : 1008;
    a->rows = (16 << 20) / (a->dim * (bf16 ? 2 : 4)) + 5;
    a->eps = 1e-5f;
    const int64_t n = a->rows * a->dim, samples = norm ? 0 : 3;
    if (!norm) {
        a->rows_per_sample = a->rows / 2 - 100;
        a->mod_stride = a->d_mod_stride = a->gate_stride = a->d_gate_stride = a->dim;
    }
    MGK_CASE_BEGIN(c, op, "large %s", bf16 ? "bf16" : "f32");
    if (!sum)
        mgk_case_in(c, &a->x, n, 1);
    if (norm) {
        mgk_case_out(c, &a->y, n);
        statistics_out(c, a);
        return;
    }
    vectors(c, a, option, samples);
    if (sum)
        residual(c, a, true, option, samples);
    mgk_case_in(c, &a->dy, n, 1);
    mgk_case_out(c, &a->dx, n);
    gradients(c, a, option, samples);
}

/* The same of residual_norm: both dtypes and kinds, with all that there can be and with less. */
enum { LARGE_RESIDUALS = 4 };
static void large_residual(mgk_case *c, mgk_norm_args *a, int index)
{
    static const int options[LARGE_RESIDUALS] = {4, 2, 1, 0};
    const bool bf16 = index % 2;
    const int option = options[index];
    a->kind = index == 0 || index == 3 ? MGK_NORM_LAYER : MGK_NORM_RMS;
    c->real = bf16 ? MGK_BF16 : MGK_F32;
    a->dim = bf16 ? 992 : 1008;
    a->rows = (16 << 20) / (a->dim * (bf16 ? 2 : 4)) + 5;
    a->rows_per_sample = a->rows / 2 - 100;
    a->mod_stride = a->gate_stride = a->dim;
    a->eps = 1e-5f;
    MGK_CASE_BEGIN(c, MGK_OP_residual_norm, "large option %d %s", option, bf16 ? "bf16" : "f32");
    mgk_case_in(c, &a->x, a->rows * a->dim, 1.5f);
    vectors(c, a, option, 3);
    residual(c, a, false, option, 3);
    mgk_case_out(c, &a->y, a->rows * a->dim);
    statistics_out(c, a);
}

enum { RULES = 8 };

/* 0..4, 7: rules of all ops; 5: y, or rstd of gradients, is missing; 6: dtypes differ */
static bool illegal(mgk_case *c, mgk_norm_args *a, int index)
{
    static const int ops[] = {MGK_OP_norm, MGK_OP_norm_grad, MGK_OP_residual_norm,
                              MGK_OP_residual_norm_grad};
    int op = mgk_case_take(&index, 4), rule = mgk_case_take(&index, RULES);
    if (index > 0)
        return false;
    bool grad = op % 2;
    MGK_CASE_BEGIN(c, ops[op], "illegal %d", rule);
    c->illegal = true;
    a->rows = rule == 0 ? -1 : 4;
    a->dim = rule == 1 ? INT64_MAX / 3 : 8;
    a->kind = rule == 2 ? 2 : MGK_NORM_RMS;
    a->eps = rule == 3 ? -1 : 1e-6f;
    a->rows_per_sample = rule == 4 ? 0 : 2; /* with modulation */
    a->row_offset = rule == 7 ? -1 : 0;
    mgk_case_in(c, &a->x, 32, 1);
    mgk_case_in(c, &a->h, 32, 1);
    mgk_case_in(c, &a->r, 32, 1);
    mgk_case_in_f32(c, &a->scale, 32, 1);
    if (rule != 5 || !grad)
        mgk_case_in_f32(c, &a->rstd, 4, 1);
    if (rule == 6)
        c->real = MGK_BF16;
    if (grad)
        mgk_case_in(c, &a->dy, 32, 1);
    c->real = MGK_F32;
    if (rule != 5 && !grad)
        mgk_case_out(c, &a->y, 32);
    if (grad)
        mgk_case_out(c, &a->dx, 32);
    if (rule == 6 && !grad)
        a->y.dtype = c->bufs[c->buf_count - 1].dtype = MGK_BF16;
    return true;
}

/* Of residual_norm: r is missing, h has another dtype, gate without samples; of its gradient: d_gate
 * without h, accumulate_dx. */
static bool illegal_residual(mgk_case *c, mgk_norm_args *a, int index)
{
    if (index >= 5)
        return false;
    bool grad = index >= 3;
    MGK_CASE_BEGIN(c, grad ? MGK_OP_residual_norm_grad : MGK_OP_residual_norm,
                   "illegal residual %d", index);
    c->illegal = true;
    a->rows = 4;
    a->dim = 8;
    a->accumulate_dx = index == 4;
    a->rows_per_sample = index == 2 ? 0 : 4;
    mgk_case_in(c, &a->x, 32, 1);
    if (index != 0)
        mgk_case_in(c, &a->r, 32, 1);
    mgk_case_in_f32(c, &a->rstd, 4, 1);
    mgk_case_in_f32(c, &a->gate, 8, 1);
    if (grad)
        mgk_case_in(c, &a->dy, 32, 1);
    mgk_case_out(c, grad ? &a->dx : &a->y, 32);
    if (index == 3)
        mgk_case_both_f32(c, &a->d_gate, 8);
    if (index == 1)
        c->real = MGK_BF16;
    if (index != 3)
        mgk_case_in(c, &a->h, 32, 1);
    return true;
}

MGK_CASES(norm)
{
    mgk_norm_args *a = (void *)&c->args;
    (void)seed;
    enum { LEGAL = SHAPES * OPTIONS * 4 * 2 * 2, ILLEGAL = 4 * RULES };
    if (index < LEGAL)
        build(c, a, index);
    else if ((index -= LEGAL) < LARGE)
        large(c, a, index);
    else if ((index -= LARGE) < LARGE_RESIDUALS)
        large_residual(c, a, index);
    else if ((index -= LARGE_RESIDUALS) < ILLEGAL)
        return illegal(c, a, index);
    else
        return illegal_residual(c, a, index - ILLEGAL);
    return true;
}
