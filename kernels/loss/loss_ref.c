/* SPDX-License-Identifier: MIT
 * The definition of loss and loss_grad. */
#include "kernels/loss/loss.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"

#include <math.h>

static bool common_check(const mgk_loss_args *a, const char **why)
{
    MGK_RULE(MGK_EXTENTS_OK(a->count), "count out of range");
    MGK_RULE(a->kind == MGK_LOSS_MSE || a->kind == MGK_LOSS_L1, "unknown kind");
    MGK_RULE(mgk_is_f32_of(a->x, a->count) && mgk_is_f32_of(a->target, a->count), "x, target: f32");
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
    MGK_RULE(mgk_is_f32_of(a->upstream, a->count) && mgk_is_f32_of(a->dx, a->count),
             "upstream, dx: f32");
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

void mgk_loss_ref(const void *args, mgk_exec *x)
{
    const mgk_loss_args *a = args;
    (void)x;
    double sum = 0;
    for (int64_t i = 0; i < a->count; i++) {
        double d = (double)MGK_F(a->x)[i] - MGK_F(a->target)[i];
        sum += a->kind == MGK_LOSS_MSE ? d * d : fabs(d);
    }
    if (a->count > 0)
        MGK_F(a->out)[0] += (float)(a->weight * sum / (double)a->count);
}

void mgk_loss_grad_ref(const void *args, mgk_exec *x)
{
    const mgk_loss_args *a = args;
    (void)x;
    for (int64_t i = 0; i < a->count; i++) {
        double d = (double)MGK_F(a->x)[i] - MGK_F(a->target)[i];
        double slope = a->kind == MGK_LOSS_MSE ? 2 * d : (d > 0) - (d < 0);
        slope *= (double)MGK_F(a->upstream)[0] * a->weight / (double)a->count;
        MGK_F(a->dx)[i] = (float)(a->accumulate ? MGK_F(a->dx)[i] + slope : slope);
    }
}
