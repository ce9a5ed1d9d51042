/* SPDX-License-Identifier: MIT
 * The definition of softmax, softmax_grad and reduce. */
#include "kernels/reduce/reduce.h"
#include "kernels/common/check.h"
#include "kernels/common/real.h"

#include <math.h>

static bool is_of(mgk_buf b, int64_t count, mgk_buf type)
{
    return mgk_is_real_of(b, count) && b.dtype == type.dtype;
}

bool mgk_softmax_check(const void *args, const char **why)
{
    const mgk_reduce_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim), "rows, dim out of range");
    int64_t n = a->rows * a->dim;
    MGK_RULE(is_of(a->x, n, a->x) && is_of(a->y, n, a->x), "x, y: f32 or bf16, both the same");
    return true;
}

bool mgk_softmax_grad_check(const void *args, const char **why)
{
    const mgk_reduce_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim), "rows, dim out of range");
    int64_t n = a->rows * a->dim;
    MGK_RULE(is_of(a->y, n, a->y) && is_of(a->dy, n, a->y) && is_of(a->dx, n, a->y),
             "y, dy, dx: f32 or bf16, all the same");
    return true;
}

bool mgk_reduce_check(const void *args, const char **why)
{
    const mgk_reduce_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim), "rows, dim out of range");
    MGK_RULE(a->kind >= MGK_REDUCE_SUM && a->kind <= MGK_REDUCE_MAX, "unknown kind");
    MGK_RULE(a->dim > 0 || a->kind == MGK_REDUCE_SUM, "mean and max of no values");
    MGK_RULE(mgk_is_real_of(a->x, a->rows * a->dim), "x: f32 or bf16");
    MGK_RULE(mgk_is_f32_of(a->y, a->rows), "y: f32");
    return true;
}

#define NO_WORKSPACE(op)                                                                           \
    size_t mgk_##op##_workspace(const void *args, int threads)                                     \
    {                                                                                              \
        (void)args;                                                                                \
        (void)threads;                                                                             \
        return 0;                                                                                  \
    }
NO_WORKSPACE(softmax)
NO_WORKSPACE(softmax_grad)
NO_WORKSPACE(reduce)

static double largest_of(const mgk_reduce_args *a, int64_t at)
{
    double largest = -INFINITY;
    for (int64_t j = 0; j < a->dim; j++) {
        double v = mgk_real_at(a->x, at + j);
        largest = isnan(v) || v > largest ? v : largest;
    }
    return largest;
}

void mgk_softmax_ref(const void *args, mgk_exec *x)
{
    const mgk_reduce_args *a = args;
    (void)x;
    for (int64_t r = 0; r < a->rows; r++) {
        double largest = largest_of(a, r * a->dim), sum = 0;
        for (int64_t j = 0; j < a->dim; j++)
            sum += exp(mgk_real_at(a->x, r * a->dim + j) - largest);
        for (int64_t j = 0; j < a->dim; j++) {
            int64_t i = r * a->dim + j;
            mgk_real_set(a->y, i, exp(mgk_real_at(a->x, i) - largest) / sum);
        }
    }
}

void mgk_softmax_grad_ref(const void *args, mgk_exec *x)
{
    const mgk_reduce_args *a = args;
    (void)x;
    for (int64_t r = 0; r < a->rows; r++) {
        double sum = 0;
        for (int64_t i = r * a->dim; i < (r + 1) * a->dim; i++)
            sum += mgk_real_at(a->dy, i) * mgk_real_at(a->y, i);
        for (int64_t i = r * a->dim; i < (r + 1) * a->dim; i++) {
            double v = mgk_real_at(a->y, i) * (mgk_real_at(a->dy, i) - sum);
            mgk_real_set(a->dx, i, a->accumulate ? mgk_real_at(a->dx, i) + v : v);
        }
    }
}

void mgk_reduce_ref(const void *args, mgk_exec *x)
{
    const mgk_reduce_args *a = args;
    (void)x;
    for (int64_t r = 0; r < a->rows; r++) {
        double sum = 0;
        for (int64_t j = 0; j < a->dim; j++)
            sum += mgk_real_at(a->x, r * a->dim + j);
        if (a->kind == MGK_REDUCE_MEAN)
            sum /= (double)a->dim;
        MGK_F(a->y)[r] = (float)(a->kind == MGK_REDUCE_MAX ? largest_of(a, r * a->dim) : sum);
    }
}
