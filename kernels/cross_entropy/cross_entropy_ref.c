/* SPDX-License-Identifier: MIT
 * The definition of cross_entropy and cross_entropy_grad. */
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "kernels/common/real.h"

#include <math.h>

static bool common_check(const mgk_cross_entropy_args *a, const char **why)
{
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->classes), "rows, classes out of range");
    MGK_RULE(a->classes <= INT32_MAX, "more classes than an i32 counts");
    MGK_RULE(mgk_is_real_of(a->x, a->rows * a->classes), "x: f32 or bf16");
    MGK_RULE(a->target.dtype == MGK_I32 && (a->target.p || a->rows == 0), "target: i32");
    MGK_RULE(mgk_is_f32_of(a->lse, a->rows), "lse: f32");
    MGK_RULE(mgk_is_f32(a->share), "share: f32");
    return true;
}

bool mgk_cross_entropy_check(const void *args, const char **why)
{
    const mgk_cross_entropy_args *a = args;
    if (!common_check(a, why))
        return false;
    MGK_RULE(mgk_is_f32(a->out), "out: f32");
    return true;
}

bool mgk_cross_entropy_grad_check(const void *args, const char **why)
{
    const mgk_cross_entropy_args *a = args;
    if (!common_check(a, why))
        return false;
    MGK_RULE(mgk_is_f32(a->upstream), "upstream: f32");
    MGK_RULE(mgk_is_real_of(a->dx, a->rows * a->classes) && a->dx.dtype == a->x.dtype,
             "dx: the dtype of x");
    return true;
}

/* A sum and a number of rows for each block. */
size_t mgk_cross_entropy_workspace(const void *args, int threads)
{
    const mgk_cross_entropy_args *a = args;
    (void)threads;
    return 2 * sizeof(double) * (size_t)mgk_div_up(a->rows, mgk_rows_a_block(a->classes));
}

size_t mgk_cross_entropy_grad_workspace(const void *args, int threads)
{
    (void)args;
    (void)threads;
    return 0;
}

static bool is_counted(const mgk_cross_entropy_args *a, int64_t r)
{
    return MGK_I(a->target)[r] >= 0 && MGK_I(a->target)[r] < a->classes;
}

static double log_sum_exp(const mgk_cross_entropy_args *a, int64_t r)
{
    double largest = -INFINITY, sum = 0;
    for (int64_t i = r * a->classes; i < (r + 1) * a->classes; i++) {
        double v = mgk_real_at(a->x, i);
        largest = isnan(v) || v > largest ? v : largest;
    }
    for (int64_t i = r * a->classes; i < (r + 1) * a->classes; i++)
        sum += exp(mgk_real_at(a->x, i) - largest);
    return largest + log(sum);
}

void mgk_cross_entropy_ref(const void *args, mgk_exec *x)
{
    const mgk_cross_entropy_args *a = args;
    double sum = 0;
    int64_t counted = 0;
    (void)x;
    for (int64_t r = 0; r < a->rows; r++) {
        double lse = is_counted(a, r) ? log_sum_exp(a, r) : 0;
        MGK_F(a->lse)[r] = (float)lse;
        if (!is_counted(a, r))
            continue;
        sum += lse - mgk_real_at(a->x, r * a->classes + MGK_I(a->target)[r]);
        counted++;
    }
    MGK_F(a->share)[0] = counted > 0 ? (float)(1.0 / (double)counted) : 0;
    MGK_F(a->out)[0] = counted > 0 ? (float)(a->weight * sum / (double)counted) : 0;
}

void mgk_cross_entropy_grad_ref(const void *args, mgk_exec *x)
{
    const mgk_cross_entropy_args *a = args;
    double factor = (double)MGK_F(a->upstream)[0] * a->weight * MGK_F(a->share)[0];
    (void)x;
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t j = 0; j < a->classes; j++) {
            int64_t i = r * a->classes + j;
            double g = 0;
            if (is_counted(a, r)) {
                double p = exp(mgk_real_at(a->x, i) - MGK_F(a->lse)[r]);
                g = factor * (p - (j == MGK_I(a->target)[r]));
            }
            mgk_real_set(a->dx, i, a->accumulate ? mgk_real_at(a->dx, i) + g : g);
        }
}
