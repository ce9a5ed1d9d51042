/* SPDX-License-Identifier: MIT
 * The definition of glu and glu_grad. */
#include "kernels/glu/glu.h"
#include "kernels/common/activation.h"
#include "kernels/common/check.h"
#include "kernels/common/real.h"

static bool common_check(const mgk_glu_args *a, const char **why)
{
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim, 2), "rows, dim out of range");
    MGK_RULE(a->kind >= MGK_GLU_SILU && a->kind <= MGK_GLU_SIGMOID, "unknown kind");
    MGK_RULE(mgk_is_real_of(a->x, a->rows * a->dim), "x: f32 or bf16");
    return true;
}

bool mgk_glu_check(const void *args, const char **why)
{
    const mgk_glu_args *a = args;
    if (!common_check(a, why))
        return false;
    MGK_RULE(mgk_is_real_of(a->y, a->rows * a->dim) && a->y.dtype == a->x.dtype, "y: as x");
    return true;
}

bool mgk_glu_grad_check(const void *args, const char **why)
{
    const mgk_glu_args *a = args;
    if (!common_check(a, why))
        return false;
    int64_t n = a->rows * a->dim;
    MGK_RULE(mgk_is_real_of(a->dy, n) && a->dy.dtype == a->x.dtype && mgk_is_real_of(a->dx, n) &&
                 a->dx.dtype == a->x.dtype,
             "dy, dx: as x");
    return true;
}

size_t mgk_glu_workspace(const void *args, int threads)
{
    (void)args;
    (void)threads;
    return 0;
}

size_t mgk_glu_grad_workspace(const void *args, int threads)
{
    (void)args;
    (void)threads;
    return 0;
}

static double activation(int kind, double v)
{
    return kind == MGK_GLU_SILU        ? mgk_silu(v)
           : kind == MGK_GLU_GELU_TANH ? mgk_gelu(v)
           : kind == MGK_GLU_GELU_ERF  ? mgk_gelu_erf(v)
                                       : 1.0 / (1.0 + exp(-v));
}

static double activation_slope(int kind, double v)
{
    if (kind == MGK_GLU_SIGMOID) {
        double s = activation(kind, v);
        return s * (1.0 - s);
    }
    return kind == MGK_GLU_SILU        ? mgk_silu_grad(v)
           : kind == MGK_GLU_GELU_TANH ? mgk_gelu_grad(v)
                                       : mgk_gelu_erf_grad(v);
}

void mgk_glu_ref(const void *args, mgk_exec *x)
{
    const mgk_glu_args *a = args;
    (void)x;
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t j = 0; j < a->dim; j++) {
            double left = mgk_real_at(a->x, 2 * r * a->dim + j);
            double right = mgk_real_at(a->x, (2 * r + 1) * a->dim + j);
            mgk_real_set(a->y, r * a->dim + j, activation(a->kind, left) * right);
        }
}

void mgk_glu_grad_ref(const void *args, mgk_exec *x)
{
    const mgk_glu_args *a = args;
    (void)x;
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t j = 0; j < a->dim; j++) {
            int64_t li = 2 * r * a->dim + j, ri = (2 * r + 1) * a->dim + j;
            double left = mgk_real_at(a->x, li), right = mgk_real_at(a->x, ri);
            double dy = mgk_real_at(a->dy, r * a->dim + j);
            mgk_real_set(a->dx, li, dy * right * activation_slope(a->kind, left));
            mgk_real_set(a->dx, ri, dy * activation(a->kind, left));
        }
}
