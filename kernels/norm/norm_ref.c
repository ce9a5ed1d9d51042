/* SPDX-License-Identifier: MIT
 * The definition of norm and norm_grad. */
#include "kernels/norm/norm.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"

#include <math.h>

static bool common_check(const mgk_norm_args *a, const char **why)
{
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim), "rows, dim out of range");
    MGK_RULE(a->kind == MGK_NORM_RMS || a->kind == MGK_NORM_LAYER, "unknown kind");
    MGK_RULE(a->eps >= 0, "eps must not be negative");
    MGK_RULE(mgk_is_f32_of(a->x, a->rows * a->dim), "x: f32");
    MGK_RULE(mgk_is_f32_or_null(a->weight) && mgk_is_f32_or_null(a->bias) &&
                 mgk_is_f32_or_null(a->scale) && mgk_is_f32_or_null(a->shift),
             "weight, bias, scale, shift: f32");
    MGK_RULE(!(a->scale.p || a->shift.p) || (a->rows_per_sample > 0 && a->mod_stride >= 0),
             "rows_per_sample, mod_stride out of range");
    return true;
}

bool mgk_norm_check(const void *args, const char **why)
{
    const mgk_norm_args *a = args;
    if (!common_check(a, why))
        return false;
    MGK_RULE(mgk_is_f32_of(a->y, a->rows * a->dim), "y: f32");
    MGK_RULE(mgk_is_f32_or_null(a->rstd) && mgk_is_f32_or_null(a->mean), "rstd, mean: f32");
    return true;
}

bool mgk_norm_grad_check(const void *args, const char **why)
{
    const mgk_norm_args *a = args;
    if (!common_check(a, why))
        return false;
    int64_t n = a->rows * a->dim;
    MGK_RULE(mgk_is_f32_of(a->dy, n), "dy: f32");
    MGK_RULE(mgk_is_f32_of(a->rstd, n), "rstd: f32");
    MGK_RULE(a->kind == MGK_NORM_RMS || mgk_is_f32_of(a->mean, n), "mean: f32");
    MGK_RULE(mgk_is_f32_or_null(a->dx) && mgk_is_f32_or_null(a->d_weight) &&
                 mgk_is_f32_or_null(a->d_bias) && mgk_is_f32_or_null(a->d_scale) &&
                 mgk_is_f32_or_null(a->d_shift),
             "gradients: f32");
    MGK_RULE(!(a->d_scale.p || a->d_shift.p) || a->rows_per_sample > 0,
             "rows_per_sample must be positive");
    MGK_RULE(!(a->d_scale.p || a->d_shift.p) || a->rows <= a->rows_per_sample ||
                 a->d_mod_stride >= a->dim,
             "d_mod_stride: samples overlap");
    return true;
}

size_t mgk_norm_workspace(const void *args, int threads)
{
    (void)args;
    (void)threads;
    return 0;
}

/* Four column sums a block of rows: d_weight, d_bias, d_scale, d_shift. */
size_t mgk_norm_grad_workspace(const void *args, int threads)
{
    const mgk_norm_args *a = args;
    (void)threads;
    if (!a->d_weight.p && !a->d_bias.p && !a->d_scale.p && !a->d_shift.p)
        return 0;
    mgk_row_split s = mgk_split_rows(a->rows, a->rows_per_sample, a->dim);
    return sizeof(float) * (size_t)(4 * s.blocks * mgk_pad16(a->dim));
}

static double value_or(mgk_buf b, int64_t i, double otherwise)
{
    return b.p ? MGK_F(b)[i] : otherwise;
}

static int64_t sample_of(const mgk_norm_args *a, int64_t row)
{
    return a->rows_per_sample > 0 ? row / a->rows_per_sample : 0;
}

void mgk_norm_ref(const void *args, mgk_exec *x)
{
    const mgk_norm_args *a = args;
    (void)x;
    for (int64_t r = 0; r < a->rows && a->dim > 0; r++) {
        const float *in = MGK_F(a->x) + r * a->dim;
        double mean = 0, square = 0;
        if (a->kind == MGK_NORM_LAYER) {
            for (int64_t j = 0; j < a->dim; j++)
                mean += in[j];
            mean /= (double)a->dim;
        }
        for (int64_t j = 0; j < a->dim; j++)
            square += (in[j] - mean) * (in[j] - mean);
        double rstd = 1 / sqrt(square / (double)a->dim + a->eps);
        int64_t mod = sample_of(a, r) * a->mod_stride;
        for (int64_t j = 0; j < a->dim; j++) {
            double n = (in[j] - mean) * rstd;
            n = n * value_or(a->weight, j, 1) + value_or(a->bias, j, 0);
            n = n * (1 + value_or(a->scale, mod + j, 0)) + value_or(a->shift, mod + j, 0);
            MGK_F(a->y)[r * a->dim + j] = (float)n;
        }
        if (a->rstd.p)
            MGK_F(a->rstd)[r] = (float)rstd;
        if (a->mean.p && a->kind == MGK_NORM_LAYER)
            MGK_F(a->mean)[r] = (float)mean;
    }
}

/* dx = rstd * (g - mean(g) - n * mean(g * n)),  g = dy * (1 + scale) * weight; RMS: no mean(g) */
static void grad_row(const mgk_norm_args *a, int64_t r)
{
    const float *in = MGK_F(a->x) + r * a->dim, *dy = MGK_F(a->dy) + r * a->dim;
    float *dx = MGK_F(a->dx) + r * a->dim;
    int64_t mod = sample_of(a, r) * a->mod_stride;
    double rstd = MGK_F(a->rstd)[r], mean = a->kind == MGK_NORM_LAYER ? MGK_F(a->mean)[r] : 0;
    double sum_g = 0, sum_gn = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t j = 0; j < a->dim; j++) {
            double n = (in[j] - mean) * rstd;
            double g = dy[j] * (1 + value_or(a->scale, mod + j, 0)) * value_or(a->weight, j, 1);
            if (pass == 0) {
                sum_g += g / (double)a->dim;
                sum_gn += g * n / (double)a->dim;
                continue;
            }
            double v = rstd * (g - n * sum_gn - (a->kind == MGK_NORM_LAYER ? sum_g : 0));
            dx[j] = (float)(a->accumulate_dx ? dx[j] + v : v);
        }
}

/* Sums of column j over rows first .. end - 1: of dy, dy * n, both plain and times (1 + scale). */
static void grad_column(const mgk_norm_args *a, int64_t j, int64_t first, int64_t end,
                        double sum[4])
{
    sum[0] = sum[1] = sum[2] = sum[3] = 0;
    for (int64_t r = first; r < end; r++) {
        double mean = a->kind == MGK_NORM_LAYER ? MGK_F(a->mean)[r] : 0;
        double n = (MGK_F(a->x)[r * a->dim + j] - mean) * MGK_F(a->rstd)[r];
        double dy = MGK_F(a->dy)[r * a->dim + j];
        double s = 1 + value_or(a->scale, sample_of(a, r) * a->mod_stride + j, 0);
        sum[0] += dy;
        sum[1] += dy * n;
        sum[2] += dy * s;
        sum[3] += dy * s * n;
    }
}

void mgk_norm_grad_ref(const void *args, mgk_exec *x)
{
    const mgk_norm_args *a = args;
    (void)x;
    for (int64_t r = 0; r < a->rows && a->dx.p; r++)
        grad_row(a, r);
    double sum[4];
    for (int64_t j = 0; j < a->dim && a->rows > 0; j++) {
        grad_column(a, j, 0, a->rows, sum);
        if (a->d_weight.p)
            MGK_F(a->d_weight)[j] += (float)sum[3];
        if (a->d_bias.p)
            MGK_F(a->d_bias)[j] += (float)sum[2];
        if (!a->d_scale.p && !a->d_shift.p)
            continue;
        for (int64_t first = 0; first < a->rows; first += a->rows_per_sample) {
            int64_t at = sample_of(a, first) * a->d_mod_stride + j;
            grad_column(a, j, first, mgk_min(a->rows, first + a->rows_per_sample), sum);
            if (a->d_scale.p)
                MGK_F(a->d_scale)
            [at] += (float)(sum[1] * value_or(a->weight, j, 1) + sum[0] * value_or(a->bias, j, 0));
            if (a->d_shift.p)
                MGK_F(a->d_shift)[at] += (float)sum[0];
        }
    }
}
