/* SPDX-License-Identifier: MIT
 * The definition of group_norm_stats, _apply, _grad_stats and _grad_apply. */
#include "kernels/group_norm/group_norm.h"
#include "kernels/common/activation.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "kernels/common/real.h"

#include <math.h>

/* A buffer like x, of which all values are there. */
static bool is_like_x(const mgk_group_norm_args *a, mgk_buf b)
{
    return mgk_is_real_of(b, a->n * a->rows * a->c) && b.dtype == a->x.dtype;
}

static bool common_check(const mgk_group_norm_args *a, const char **why)
{
    MGK_RULE(MGK_EXTENTS_OK(a->n, a->rows, a->c), "n, rows, c out of range");
    MGK_RULE(a->groups > 0 && a->c % a->groups == 0, "groups must divide c");
    MGK_RULE(MGK_EXTENTS_OK(a->n, a->groups, 2), "n, groups out of range");
    MGK_RULE(mgk_is_real_of(a->x, a->n * a->rows * a->c), "x: f32 or bf16");
    MGK_RULE(mgk_is_f32_of(a->mean, a->n * a->groups) && mgk_is_f32_of(a->var, a->n * a->groups),
             "mean, var: f32");
    return true;
}

static bool apply_check(const mgk_group_norm_args *a, const char **why)
{
    if (!common_check(a, why))
        return false;
    MGK_RULE(a->eps >= 0, "eps must not be negative");
    MGK_RULE(mgk_is_f32_or_null(a->weight) && mgk_is_f32_or_null(a->bias), "weight, bias: f32");
    return true;
}

static bool grad_check(const mgk_group_norm_args *a, const char **why)
{
    if (!apply_check(a, why))
        return false;
    MGK_RULE(is_like_x(a, a->dy), "dy: as x");
    MGK_RULE(mgk_is_f32_of(a->sums, a->n * a->groups), "sums: f32");
    return true;
}

bool mgk_group_norm_stats_check(const void *args, const char **why)
{
    const mgk_group_norm_args *a = args;
    if (!common_check(a, why))
        return false;
    MGK_RULE(a->count >= 0 && a->count <= INT64_MAX / 64, "count out of range");
    return true;
}

bool mgk_group_norm_apply_check(const void *args, const char **why)
{
    const mgk_group_norm_args *a = args;
    if (!apply_check(a, why))
        return false;
    MGK_RULE(is_like_x(a, a->y), "y: as x");
    return true;
}

bool mgk_group_norm_grad_stats_check(const void *args, const char **why)
{
    const mgk_group_norm_args *a = args;
    if (!grad_check(a, why))
        return false;
    MGK_RULE(mgk_is_f32_or_null(a->d_weight) && mgk_is_f32_or_null(a->d_bias),
             "d_weight, d_bias: f32");
    return true;
}

bool mgk_group_norm_grad_apply_check(const void *args, const char **why)
{
    const mgk_group_norm_args *a = args;
    if (!grad_check(a, why))
        return false;
    MGK_RULE(is_like_x(a, a->dx), "dx: as x");
    MGK_RULE(a->count > 0, "count must be positive");
    return true;
}

static bool is_empty(const mgk_group_norm_args *a)
{
    return a->n == 0 || a->rows == 0 || a->c == 0;
}

/* Columns of c floats: two a block of rows and MGK_GROUP_NORM_COLUMNS a sample. */
static size_t columns_size(const mgk_group_norm_args *a, bool blocks, bool samples)
{
    if (is_empty(a))
        return 0;
    int64_t columns = blocks ? 2 * mgk_split_rows(a->rows, a->rows, a->c).chunks : 0;
    columns += samples ? MGK_GROUP_NORM_COLUMNS : 0;
    return sizeof(float) * (size_t)(a->n * columns * mgk_pad16(a->c));
}

size_t mgk_group_norm_stats_workspace(const void *args, int threads)
{
    (void)threads;
    return columns_size(args, true, false);
}

size_t mgk_group_norm_apply_workspace(const void *args, int threads)
{
    (void)threads;
    return columns_size(args, false, true);
}

size_t mgk_group_norm_grad_stats_workspace(const void *args, int threads)
{
    (void)threads;
    return columns_size(args, true, true);
}

size_t mgk_group_norm_grad_apply_workspace(const void *args, int threads)
{
    (void)threads;
    return columns_size(args, false, true);
}

void mgk_group_norm_stats_ref(const void *args, mgk_exec *x)
{
    const mgk_group_norm_args *a = args;
    int64_t wide = a->c / a->groups, size = a->rows * wide;
    (void)x;
    for (int64_t g = 0; g < a->n * a->groups; g++) {
        int64_t base = g / a->groups * a->rows * a->c + g % a->groups * wide;
        double mean = 0, square = 0, before = (double)a->count, all = before + (double)size;
        for (int64_t i = 0; i < size; i++)
            mean += mgk_real_at(a->x, base + i / wide * a->c + i % wide) / (double)size;
        for (int64_t i = 0; i < size; i++) {
            double d = mgk_real_at(a->x, base + i / wide * a->c + i % wide) - mean;
            square += d * d;
        }
        if (a->count > 0) {
            double old = MGK_F(a->mean)[g], d = mean - old;
            square += MGK_F(a->var)[g] * before + d * d * before * ((double)size / all);
            mean = old + d * ((double)size / all);
        }
        MGK_F(a->mean)[g] = (float)mean;
        MGK_F(a->var)[g] = all > 0 ? (float)(square / all) : 0;
    }
}

static double value_or(mgk_buf b, int64_t i, double otherwise)
{
    return b.p ? MGK_F(b)[i] : otherwise;
}

/* Of element i: its channel j and group g, and h, rstd and the value before the activation. */
typedef struct element {
    int64_t j, g;
    double h, rstd, before;
} element;

static element element_of(const mgk_group_norm_args *a, int64_t i)
{
    element e = {.j = i % a->c};
    e.g = i / (a->rows * a->c) * a->groups + e.j / (a->c / a->groups);
    e.rstd = 1 / sqrt((double)MGK_F(a->var)[e.g] + a->eps);
    e.h = (mgk_real_at(a->x, i) - MGK_F(a->mean)[e.g]) * e.rstd;
    e.before = e.h * value_or(a->weight, e.j, 1) + value_or(a->bias, e.j, 0);
    return e;
}

void mgk_group_norm_apply_ref(const void *args, mgk_exec *x)
{
    const mgk_group_norm_args *a = args;
    (void)x;
    for (int64_t i = 0; i < a->n * a->rows * a->c; i++) {
        element e = element_of(a, i);
        mgk_real_set(a->y, i, a->silu ? mgk_silu(e.before) : e.before);
    }
}

/* The gradient before the activation. */
static double before_grad(const mgk_group_norm_args *a, int64_t i, const element *e)
{
    return mgk_real_at(a->dy, i) * (a->silu ? mgk_silu_grad(e->before) : 1);
}

void mgk_group_norm_grad_stats_ref(const void *args, mgk_exec *x)
{
    const mgk_group_norm_args *a = args;
    int64_t wide = a->c / a->groups, size = a->rows * wide;
    (void)x;
    for (int64_t g = 0; g < a->n * a->groups; g++) {
        int64_t base = g / a->groups * a->rows * a->c + g % a->groups * wide;
        double sum = 0, sum_h = 0;
        for (int64_t k = 0; k < size; k++) {
            int64_t i = base + k / wide * a->c + k % wide;
            element e = element_of(a, i);
            double p = before_grad(a, i, &e) * value_or(a->weight, e.j, 1);
            sum += p;
            sum_h += p * e.h;
        }
        float *to = MGK_F(a->sums) + 2 * g;
        to[0] = (float)(a->accumulate ? to[0] + sum : sum);
        to[1] = (float)(a->accumulate ? to[1] + sum_h : sum_h);
    }
    for (int64_t j = 0; j < a->c && !is_empty(a); j++) {
        double sum = 0, sum_h = 0;
        for (int64_t i = j; i < a->n * a->rows * a->c; i += a->c) {
            element e = element_of(a, i);
            double p = before_grad(a, i, &e);
            sum += p;
            sum_h += p * e.h;
        }
        if (a->d_weight.p)
            MGK_F(a->d_weight)[j] += (float)sum_h;
        if (a->d_bias.p)
            MGK_F(a->d_bias)[j] += (float)sum;
    }
}

void mgk_group_norm_grad_apply_ref(const void *args, mgk_exec *x)
{
    const mgk_group_norm_args *a = args;
    (void)x;
    for (int64_t i = 0; i < a->n * a->rows * a->c; i++) {
        element e = element_of(a, i);
        const float *sums = MGK_F(a->sums) + 2 * e.g;
        double p = before_grad(a, i, &e) * value_or(a->weight, e.j, 1), count = (double)a->count;
        double v = e.rstd * (p - sums[0] / count - e.h * (sums[1] / count));
        mgk_real_set(a->dx, i, a->accumulate ? mgk_real_at(a->dx, i) + v : v);
    }
}
