/* SPDX-License-Identifier: MIT
 * The definition of norm, residual_norm and their gradients. */
#include "kernels/norm/norm_columns.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "kernels/common/real.h"

#include <math.h>

/* `type` is the buffer whose dtype the others share. */
static bool is_of(mgk_buf b, int64_t count, mgk_buf type)
{
    return mgk_is_real_of(b, count) && b.dtype == type.dtype;
}

static bool is_of_or_null(mgk_buf b, mgk_buf type)
{
    return !b.p || b.dtype == type.dtype;
}

/* Vectors `stride` apart, one a sample, can be addressed. */
static bool stride_ok(const mgk_norm_args *a, int64_t stride)
{
    return a->rows_per_sample > 0 &&
           MGK_EXTENTS_OK((a->rows + a->row_offset) / a->rows_per_sample + 1, stride);
}

static bool common_check(const mgk_norm_args *a, const char **why)
{
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim), "rows, dim out of range");
    MGK_RULE(a->kind == MGK_NORM_RMS || a->kind == MGK_NORM_LAYER, "unknown kind");
    MGK_RULE(a->eps >= 0, "eps must not be negative");
    MGK_RULE(mgk_is_f32_or_null(a->weight) && mgk_is_f32_or_null(a->bias) &&
                 mgk_is_f32_or_null(a->scale) && mgk_is_f32_or_null(a->shift),
             "weight, bias, scale, shift: f32");
    MGK_RULE(a->row_offset >= 0 && a->row_offset <= INT64_MAX / 64, "row_offset out of range");
    MGK_RULE(!(a->scale.p || a->shift.p) || stride_ok(a, a->mod_stride),
             "rows_per_sample, mod_stride out of range");
    return true;
}

static bool forward_check(const mgk_norm_args *a, const char **why)
{
    int64_t n = a->rows * a->dim;
    MGK_RULE(is_of(a->x, n, a->x) && is_of(a->y, n, a->x), "x, y: f32 or bf16, both the same");
    MGK_RULE(mgk_is_f32_or_null(a->rstd) && mgk_is_f32_or_null(a->mean), "rstd, mean: f32");
    return true;
}

/* Gradients of vectors are rows `stride` apart, one a sample. */
static bool samples_apart(const mgk_norm_args *a, int64_t stride)
{
    return stride_ok(a, stride) &&
           (stride >= a->dim || a->row_offset % a->rows_per_sample + a->rows <= a->rows_per_sample);
}

static bool gradient_check(const mgk_norm_args *a, mgk_buf x, const char **why)
{
    int64_t n = a->rows * a->dim;
    MGK_RULE(is_of(x, n, x) && is_of(a->dy, n, x), "x or r, dy: f32 or bf16, both the same");
    MGK_RULE(mgk_is_f32_of(a->rstd, n), "rstd: f32");
    MGK_RULE(a->kind == MGK_NORM_RMS || mgk_is_f32_of(a->mean, n), "mean: f32");
    MGK_RULE(is_of_or_null(a->dx, x), "dx: as dy");
    MGK_RULE(mgk_is_f32_or_null(a->d_weight) && mgk_is_f32_or_null(a->d_bias) &&
                 mgk_is_f32_or_null(a->d_scale) && mgk_is_f32_or_null(a->d_shift),
             "gradients of vectors: f32");
    MGK_RULE(!(a->d_scale.p || a->d_shift.p) || a->rows_per_sample > 0,
             "rows_per_sample must be positive");
    MGK_RULE(!(a->d_scale.p || a->d_shift.p) || samples_apart(a, a->d_mod_stride),
             "d_mod_stride: samples overlap");
    return true;
}

bool mgk_norm_check(const void *args, const char **why)
{
    const mgk_norm_args *a = args;
    return common_check(a, why) && forward_check(a, why);
}

bool mgk_norm_grad_check(const void *args, const char **why)
{
    const mgk_norm_args *a = args;
    return common_check(a, why) && gradient_check(a, a->x, why);
}

static bool gate_check(const mgk_norm_args *a, const char **why)
{
    MGK_RULE(mgk_is_f32_or_null(a->gate), "gate: f32");
    MGK_RULE(!a->gate.p || stride_ok(a, a->gate_stride),
             "rows_per_sample, gate_stride out of range");
    return true;
}

bool mgk_residual_norm_check(const void *args, const char **why)
{
    const mgk_norm_args *a = args;
    if (!common_check(a, why) || !forward_check(a, why) || !gate_check(a, why))
        return false;
    MGK_RULE(is_of(a->r, a->rows * a->dim, a->x) && is_of_or_null(a->h, a->x), "r, h: as x");
    return true;
}

bool mgk_residual_norm_grad_check(const void *args, const char **why)
{
    const mgk_norm_args *a = args;
    if (!common_check(a, why) || !gradient_check(a, a->r, why) || !gate_check(a, why))
        return false;
    MGK_RULE(!a->accumulate_dx, "accumulate_dx: not here, see dr");
    MGK_RULE(is_of(a->dx, a->rows * a->dim, a->r), "dx: as r");
    MGK_RULE(is_of_or_null(a->dr, a->r) && is_of_or_null(a->dh, a->r) && is_of_or_null(a->h, a->r),
             "dr, dh, h: as r");
    MGK_RULE(mgk_is_f32_or_null(a->d_gate), "d_gate: f32");
    MGK_RULE(!a->d_gate.p || (mgk_is_real_of(a->h, a->rows * a->dim) && a->h.dtype == a->r.dtype),
             "d_gate needs h");
    MGK_RULE(!a->d_gate.p || a->rows_per_sample > 0, "rows_per_sample must be positive");
    MGK_RULE(!a->d_gate.p || samples_apart(a, a->d_gate_stride), "d_gate_stride: samples overlap");
    return true;
}

size_t mgk_norm_workspace(const void *args, int threads)
{
    const mgk_norm_args *a = args;
    return sizeof(float) * (size_t)(mgk_norm_room(a->dim) * threads);
}

size_t mgk_residual_norm_workspace(const void *args, int threads)
{
    return mgk_norm_workspace(args, threads);
}

static size_t columns_size(const mgk_norm_args *a, int64_t columns, int threads)
{
    mgk_row_split s = mgk_split_rows_from(a->rows, a->row_offset, a->rows_per_sample, a->dim);
    int64_t sums = columns * s.blocks * mgk_norm_column(a->dim);
    return sizeof(float) * (size_t)(sums + mgk_norm_grad_room(a->dim) * threads);
}

/* Column sums a block of rows: d_weight, d_bias, d_scale, d_shift, and d_gate if it is wanted. */
size_t mgk_norm_grad_workspace(const void *args, int threads)
{
    const mgk_norm_args *a = args;
    bool sums = a->d_weight.p || a->d_bias.p || a->d_scale.p || a->d_shift.p;
    return columns_size(a, sums ? 4 : 0, threads);
}

size_t mgk_residual_norm_grad_workspace(const void *args, int threads)
{
    const mgk_norm_args *a = args;
    return a->d_gate.p ? columns_size(a, 5, threads) : mgk_norm_grad_workspace(args, threads);
}

static double value_or(mgk_buf b, int64_t i, double otherwise)
{
    return b.p ? MGK_F(b)[i] : otherwise;
}

static int64_t sample_of(const mgk_norm_args *a, int64_t row)
{
    return a->rows_per_sample > 0 ? (row + a->row_offset) / a->rows_per_sample : 0;
}

/* y, rstd and mean from `in`, the buffer that is normalized. */
static void norm_row(const mgk_norm_args *a, mgk_buf in, int64_t r)
{
    int64_t at = r * a->dim, mod = sample_of(a, r) * a->mod_stride;
    double mean = 0, square = 0;
    if (a->kind == MGK_NORM_LAYER) {
        for (int64_t j = 0; j < a->dim; j++)
            mean += mgk_real_at(in, at + j);
        mean /= (double)a->dim;
    }
    for (int64_t j = 0; j < a->dim; j++)
        square += (mgk_real_at(in, at + j) - mean) * (mgk_real_at(in, at + j) - mean);
    double rstd = 1 / sqrt(square / (double)a->dim + a->eps);
    for (int64_t j = 0; j < a->dim; j++) {
        double n = (mgk_real_at(in, at + j) - mean) * rstd;
        n = n * value_or(a->weight, j, 1) + value_or(a->bias, j, 0);
        n = n * (1 + value_or(a->scale, mod + j, 0)) + value_or(a->shift, mod + j, 0);
        mgk_real_set(a->y, at + j, n);
    }
    if (a->rstd.p)
        MGK_F(a->rstd)[r] = (float)rstd;
    if (a->mean.p && a->kind == MGK_NORM_LAYER)
        MGK_F(a->mean)[r] = (float)mean;
}

void mgk_norm_ref(const void *args, mgk_exec *x)
{
    const mgk_norm_args *a = args;
    (void)x;
    for (int64_t r = 0; r < a->rows && a->dim > 0; r++)
        norm_row(a, a->x, r);
}

void mgk_residual_norm_ref(const void *args, mgk_exec *x)
{
    const mgk_norm_args *a = args;
    (void)x;
    for (int64_t r = 0; r < a->rows && a->dim > 0; r++) {
        int64_t gate = sample_of(a, r) * a->gate_stride;
        for (int64_t j = 0; j < a->dim; j++) {
            double v = mgk_real_at(a->x, r * a->dim + j);
            if (a->h.p)
                v += value_or(a->gate, gate + j, 1) * mgk_real_at(a->h, r * a->dim + j);
            mgk_real_set(a->r, r * a->dim + j, v);
        }
        norm_row(a, a->r, r);
    }
}

/* Element j of row r of `in`, normalized. */
static double normalized(const mgk_norm_args *a, mgk_buf in, int64_t r, int64_t j)
{
    double mean = a->kind == MGK_NORM_LAYER ? MGK_F(a->mean)[r] : 0;
    return (mgk_real_at(in, r * a->dim + j) - mean) * MGK_F(a->rstd)[r];
}

/* dx = rstd * (g - mean(g) - n * mean(g * n)),  g = dy * (1 + scale) * weight; RMS: no mean(g).
 * `add` is added to it. */
static void grad_row(const mgk_norm_args *a, mgk_buf in, mgk_buf add, int64_t r)
{
    int64_t at = r * a->dim, mod = sample_of(a, r) * a->mod_stride;
    double sum_g = 0, sum_gn = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t j = 0; j < a->dim; j++) {
            double n = normalized(a, in, r, j), dy = mgk_real_at(a->dy, at + j);
            double g = dy * (1 + value_or(a->scale, mod + j, 0)) * value_or(a->weight, j, 1);
            if (pass == 0) {
                sum_g += g / (double)a->dim;
                sum_gn += g * n / (double)a->dim;
                continue;
            }
            double v =
                MGK_F(a->rstd)[r] * (g - n * sum_gn - (a->kind == MGK_NORM_LAYER ? sum_g : 0));
            mgk_real_set(a->dx, at + j, add.p ? mgk_real_at(add, at + j) + v : v);
        }
}

/* Sums of column j over rows first .. end - 1: of dy, dy * n, both plain and times (1 + scale). */
static void grad_column(const mgk_norm_args *a, mgk_buf in, int64_t j, int64_t first, int64_t end,
                        double sum[4])
{
    sum[0] = sum[1] = sum[2] = sum[3] = 0;
    for (int64_t r = first; r < end; r++) {
        double n = normalized(a, in, r, j), dy = mgk_real_at(a->dy, r * a->dim + j);
        double s = 1 + value_or(a->scale, sample_of(a, r) * a->mod_stride + j, 0);
        sum[0] += dy;
        sum[1] += dy * n;
        sum[2] += dy * s;
        sum[3] += dy * s * n;
    }
}

/* The end of the sample that row r belongs to. */
static int64_t sample_end(const mgk_norm_args *a, int64_t r)
{
    return mgk_min(a->rows, (sample_of(a, r) + 1) * a->rows_per_sample - a->row_offset);
}

static void vector_grads(const mgk_norm_args *a, mgk_buf in)
{
    double sum[4];
    for (int64_t j = 0; j < a->dim && a->rows > 0; j++) {
        grad_column(a, in, j, 0, a->rows, sum);
        if (a->d_weight.p)
            MGK_F(a->d_weight)[j] += (float)sum[3];
        if (a->d_bias.p)
            MGK_F(a->d_bias)[j] += (float)sum[2];
        if (!a->d_scale.p && !a->d_shift.p)
            continue;
        for (int64_t r = 0; r < a->rows; r = sample_end(a, r)) {
            int64_t at = sample_of(a, r) * a->d_mod_stride + j;
            grad_column(a, in, j, r, sample_end(a, r), sum);
            double d_scale = sum[1] * value_or(a->weight, j, 1) + sum[0] * value_or(a->bias, j, 0);
            if (a->d_scale.p)
                MGK_F(a->d_scale)[at] += (float)d_scale;
            if (a->d_shift.p)
                MGK_F(a->d_shift)[at] += (float)sum[0];
        }
    }
}

void mgk_norm_grad_ref(const void *args, mgk_exec *x)
{
    const mgk_norm_args *a = args;
    (void)x;
    for (int64_t r = 0; r < a->rows && a->dx.p; r++)
        grad_row(a, a->x, a->accumulate_dx ? a->dx : (mgk_buf){0}, r);
    vector_grads(a, a->x);
}

void mgk_residual_norm_grad_ref(const void *args, mgk_exec *x)
{
    const mgk_norm_args *a = args;
    (void)x;
    for (int64_t r = 0; r < a->rows; r++) {
        int64_t gate = sample_of(a, r) * a->gate_stride;
        grad_row(a, a->r, a->dr, r);
        for (int64_t j = 0; j < a->dim && a->dh.p; j++) {
            double dx = mgk_real_at(a->dx, r * a->dim + j);
            mgk_real_set(a->dh, r * a->dim + j, value_or(a->gate, gate + j, 1) * dx);
        }
    }
    for (int64_t r = 0; r < a->rows && a->d_gate.p; r = sample_end(a, r))
        for (int64_t j = 0; j < a->dim; j++) {
            double sum = 0;
            for (int64_t k = r; k < sample_end(a, r); k++)
                sum += mgk_real_at(a->dx, k * a->dim + j) * mgk_real_at(a->h, k * a->dim + j);
            MGK_F(a->d_gate)[sample_of(a, r) * a->d_gate_stride + j] += (float)sum;
        }
    vector_grads(a, a->r);
}
