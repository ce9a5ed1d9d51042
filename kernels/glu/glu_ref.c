/* SPDX-License-Identifier: MIT
 * The definition of glu and glu_grad. */
#include "kernels/glu/glu.h"
#include "kernels/common/activation.h"
#include "kernels/common/check.h"

bool mgk_glu_check(const void *args, const char **why)
{
    const mgk_glu_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim, 2), "rows, dim out of range");
    MGK_RULE(a->kind == MGK_GLU_SILU || a->kind == MGK_GLU_GELU_TANH, "unknown kind");
    int64_t n = a->rows * a->dim;
    MGK_RULE(mgk_is_f32_of(a->x, n) && mgk_is_f32_of(a->y, n), "x, y: f32");
    return true;
}

bool mgk_glu_grad_check(const void *args, const char **why)
{
    const mgk_glu_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim, 2), "rows, dim out of range");
    MGK_RULE(a->kind == MGK_GLU_SILU || a->kind == MGK_GLU_GELU_TANH, "unknown kind");
    int64_t n = a->rows * a->dim;
    MGK_RULE(mgk_is_f32_of(a->x, n) && mgk_is_f32_of(a->dy, n) && mgk_is_f32_of(a->dx, n),
             "x, dy, dx: f32");
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

void mgk_glu_ref(const void *args, mgk_exec *x)
{
    const mgk_glu_args *a = args;
    (void)x;
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t j = 0; j < a->dim; j++) {
            double left = MGK_F(a->x)[2 * r * a->dim + j];
            double right = MGK_F(a->x)[(2 * r + 1) * a->dim + j];
            double act = a->kind == MGK_GLU_SILU ? mgk_silu(left) : mgk_gelu(left);
            MGK_F(a->y)[r * a->dim + j] = (float)(act * right);
        }
}

void mgk_glu_grad_ref(const void *args, mgk_exec *x)
{
    const mgk_glu_args *a = args;
    (void)x;
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t j = 0; j < a->dim; j++) {
            int64_t li = 2 * r * a->dim + j, ri = (2 * r + 1) * a->dim + j;
            double left = MGK_F(a->x)[li], right = MGK_F(a->x)[ri];
            double dy = MGK_F(a->dy)[r * a->dim + j];
            bool silu = a->kind == MGK_GLU_SILU;
            MGK_F(a->dx)
            [li] = (float)(dy * right * (silu ? mgk_silu_grad(left) : mgk_gelu_grad(left)));
            MGK_F(a->dx)[ri] = (float)(dy * (silu ? mgk_silu(left) : mgk_gelu(left)));
        }
}
