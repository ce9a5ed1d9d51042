/* SPDX-License-Identifier: MIT
 * The definition of loss and loss_grad. */
#include "kernels/loss/loss.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "kernels/common/real.h"

#include <math.h>

static bool common_check(const mgk_loss_args *a, const char **why)
{
    MGK_RULE(MGK_EXTENTS_OK(a->count), "count out of range");
    MGK_RULE(a->kind >= 0 && a->kind < MGK_LOSS_KINDS, "unknown kind");
    MGK_RULE(mgk_is_real_of(a->x, a->count), "x: f32 or bf16");
    MGK_RULE(a->kind > MGK_LOSS_L1 ||
                 (mgk_is_real_of(a->target, a->count) &&
                  (a->target.dtype == a->x.dtype || a->target.dtype == MGK_F32)),
             "target: f32 or the dtype of x");
    return true;
}

bool mgk_loss_check(const void *args, const char **why)
{
    const mgk_loss_args *a = args;
    if (!common_check(a, why))
        return false;
    MGK_RULE(mgk_is_f32_of(a->out, a->count), "out: f32");
    return true;
}

bool mgk_loss_grad_check(const void *args, const char **why)
{
    const mgk_loss_args *a = args;
    if (!common_check(a, why))
        return false;
    MGK_RULE(mgk_is_f32_of(a->upstream, a->count), "upstream: f32");
    MGK_RULE(mgk_is_real_of(a->dx, a->count) && a->dx.dtype == a->x.dtype, "dx: the dtype of x");
    return true;
}

bool mgk_loss_balance_check(const void *args, const char **why)
{
    const mgk_loss_args *a = args;
    MGK_RULE(mgk_is_f32(a->x) && mgk_is_f32(a->target) && mgk_is_f32(a->out),
             "x, target, out: f32");
    return true;
}

/* A sum for each block. */
size_t mgk_loss_workspace(const void *args, int threads)
{
    const mgk_loss_args *a = args;
    (void)threads;
    return sizeof(double) * (size_t)mgk_div_up(a->count, MGK_BLOCK_ELEMENTS);
}

size_t mgk_loss_grad_workspace(const void *args, int threads)
{
    (void)args;
    (void)threads;
    return 0;
}

size_t mgk_loss_balance_workspace(const void *args, int threads)
{
    (void)args;
    (void)threads;
    return 0;
}

static double penalty(const mgk_loss_args *a, int64_t i)
{
    double x = mgk_real_at(a->x, i);
    double d = a->kind <= MGK_LOSS_L1 ? x - mgk_real_at(a->target, i) : 0;
    switch (a->kind) {
    case MGK_LOSS_MSE:
        return d * d;
    case MGK_LOSS_L1:
        return fabs(d);
    case MGK_LOSS_HINGE_REAL:
        return x > 1 ? 0 : 1 - x;
    case MGK_LOSS_HINGE_FAKE:
        return x < -1 ? 0 : 1 + x;
    default:
        return -x;
    }
}

static double slope(const mgk_loss_args *a, int64_t i)
{
    double x = mgk_real_at(a->x, i);
    double d = a->kind <= MGK_LOSS_L1 ? x - mgk_real_at(a->target, i) : 0;
    switch (a->kind) {
    case MGK_LOSS_MSE:
        return 2 * d;
    case MGK_LOSS_L1:
        return (d > 0) - (d < 0);
    case MGK_LOSS_HINGE_REAL:
        return x < 1 ? -1 : 0;
    case MGK_LOSS_HINGE_FAKE:
        return x > -1 ? 1 : 0;
    default:
        return -1;
    }
}

void mgk_loss_ref(const void *args, mgk_exec *x)
{
    const mgk_loss_args *a = args;
    (void)x;
    double sum = 0;
    for (int64_t i = 0; i < a->count; i++)
        sum += penalty(a, i);
    if (a->count > 0)
        MGK_F(a->out)[0] += (float)(a->weight * sum / (double)a->count);
}

void mgk_loss_grad_ref(const void *args, mgk_exec *x)
{
    const mgk_loss_args *a = args;
    (void)x;
    for (int64_t i = 0; i < a->count; i++) {
        double g = slope(a, i) * MGK_F(a->upstream)[0] * a->weight / (double)a->count;
        mgk_real_set(a->dx, i, a->accumulate ? mgk_real_at(a->dx, i) + g : g);
    }
}

void mgk_loss_balance_ref(const void *args, mgk_exec *x)
{
    const mgk_loss_args *a = args;
    float first = MGK_F(a->x)[0], second = MGK_F(a->target)[0];
    float ratio = second > 0 ? sqrtf(first / second) : 0;
    (void)x;
    MGK_F(a->out)[0] = a->weight * (ratio < a->most ? ratio : a->most);
}
