/* SPDX-License-Identifier: MIT
 * The definition of the flow ops. */
#include "kernels/flow/flow.h"
#include "kernels/common/check.h"
#include "kernels/common/real.h"
#include "kernels/flow/diffusion_factors.h"

static bool extents_ok(const mgk_flow_args *a)
{
    return MGK_EXTENTS_OK(a->batch, a->dim);
}

bool mgk_flow_path_check(const void *args, const char **why)
{
    const mgk_flow_args *a = args;
    MGK_RULE(extents_ok(a), "batch, dim out of range");
    int64_t n = a->batch * a->dim;
    MGK_RULE(mgk_is_real_of(a->x0, n) && mgk_is_real_of(a->x1, n) && mgk_is_real_of(a->xt, n) &&
                 mgk_is_real_of(a->v, n),
             "x0, x1, xt, v: f32 or bf16");
    MGK_RULE(a->x0.dtype == a->x1.dtype && a->x0.dtype == a->xt.dtype && a->x0.dtype == a->v.dtype,
             "x0, x1, xt, v: one dtype");
    MGK_RULE(mgk_is_f32_of(a->time, n), "time: f32");
    return true;
}

bool mgk_cfg_combine_check(const void *args, const char **why)
{
    const mgk_flow_args *a = args;
    MGK_RULE(extents_ok(a), "batch, dim out of range");
    int64_t n = a->batch * a->dim;
    MGK_RULE(mgk_is_real_of(a->cond, n) && mgk_is_real_of(a->uncond, n) && mgk_is_real_of(a->v, n),
             "cond, uncond, v: f32 or bf16");
    MGK_RULE(a->cond.dtype == a->uncond.dtype && a->cond.dtype == a->v.dtype,
             "cond, uncond, v: one dtype");
    MGK_RULE(mgk_is_f32_of(a->guidance, n), "guidance: f32");
    return true;
}

bool mgk_euler_step_check(const void *args, const char **why)
{
    const mgk_flow_args *a = args;
    MGK_RULE(extents_ok(a), "batch, dim out of range");
    int64_t n = a->batch * a->dim;
    MGK_RULE(mgk_is_real_of(a->xt, n) && mgk_is_real_of(a->v, n), "xt, v: f32 or bf16");
    MGK_RULE(mgk_is_f32_of(a->dt, n), "dt: f32");
    return true;
}

bool mgk_diffusion_check(const void *args, const char **why)
{
    const mgk_flow_args *a = args;
    MGK_RULE(extents_ok(a), "batch, dim out of range");
    MGK_RULE(a->kind >= 0 && a->kind < MGK_DIFFUSION_KINDS, "no such kind");
    int64_t n = a->batch * a->dim;
    MGK_RULE(mgk_is_real_of(a->x1, n) && mgk_is_real_of(a->xt, n) && a->x1.dtype == a->xt.dtype,
             "x1, xt: f32 or bf16, one dtype");
    if (a->kind == MGK_DIFFUSION_SCALED)
        MGK_RULE(!a->x0.p, "x0 is not used");
    else
        MGK_RULE(mgk_is_real_of(a->x0, n) && a->x0.dtype == a->x1.dtype, "x0: the dtype of x1");
    MGK_RULE(mgk_is_f32_of(a->time, n), "time: f32");
    return true;
}

#define NO_WORKSPACE(op)                                                                           \
    size_t mgk_##op##_workspace(const void *args, int threads)                                     \
    {                                                                                              \
        (void)args;                                                                                \
        (void)threads;                                                                             \
        return 0;                                                                                  \
    }
NO_WORKSPACE(flow_path)
NO_WORKSPACE(cfg_combine)
NO_WORKSPACE(euler_step)
NO_WORKSPACE(diffusion)

void mgk_flow_path_ref(const void *args, mgk_exec *x)
{
    const mgk_flow_args *a = args;
    (void)x;
    double keep = 1 - (double)a->sigma;
    for (int64_t b = 0; b < a->batch && a->dim > 0; b++) {
        double t = MGK_F(a->time)[b];
        for (int64_t i = b * a->dim; i < (b + 1) * a->dim; i++) {
            double x0 = mgk_real_at(a->x0, i), x1 = mgk_real_at(a->x1, i);
            mgk_real_set(a->xt, i, t * x1 + (1 - keep * t) * x0);
            mgk_real_set(a->v, i, x1 - keep * x0);
        }
    }
}

void mgk_cfg_combine_ref(const void *args, mgk_exec *x)
{
    const mgk_flow_args *a = args;
    (void)x;
    for (int64_t i = 0; i < a->batch * a->dim; i++) {
        double cond = mgk_real_at(a->cond, i), uncond = mgk_real_at(a->uncond, i);
        mgk_real_set(a->v, i, uncond + MGK_F(a->guidance)[0] * (cond - uncond));
    }
}

void mgk_euler_step_ref(const void *args, mgk_exec *x)
{
    const mgk_flow_args *a = args;
    (void)x;
    for (int64_t i = 0; i < a->batch * a->dim; i++) {
        double step = (double)MGK_F(a->dt)[0] * mgk_real_at(a->v, i);
        mgk_real_set(a->xt, i, mgk_real_at(a->xt, i) + step);
    }
}

void mgk_diffusion_ref(const void *args, mgk_exec *x)
{
    const mgk_flow_args *a = args;
    (void)x;
    for (int64_t b = 0; b < a->batch && a->dim > 0; b++) {
        double f1, f0;
        mgk_diffusion_factors(a->kind, MGK_F(a->time)[b], &f1, &f0);
        for (int64_t i = b * a->dim; i < (b + 1) * a->dim; i++)
            mgk_real_set(a->xt, i,
                         f1 * mgk_real_at(a->x1, i) + (a->x0.p ? f0 * mgk_real_at(a->x0, i) : 0));
    }
}
