/* SPDX-License-Identifier: MIT
 * The definition of the Gaussian posterior and its gradient. */
#include "kernels/posterior/posterior.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "kernels/common/real.h"

#include <math.h>

bool mgk_posterior_check(const void *args, const char **why)
{
    const mgk_posterior_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim, 2), "rows, dim out of range");
    int64_t n = a->rows * a->dim;
    MGK_RULE(mgk_is_real_of(a->h, n) && mgk_is_real_of(a->z, n) && a->h.dtype == a->z.dtype,
             "h, z: f32 or bf16, one dtype");
    MGK_RULE(mgk_is_real_or_null(a->noise), "noise: f32 or bf16");
    MGK_RULE(mgk_is_f32_or_null(a->kl), "kl: f32");
    return true;
}

bool mgk_posterior_grad_check(const void *args, const char **why)
{
    const mgk_posterior_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim, 2), "rows, dim out of range");
    int64_t n = a->rows * a->dim;
    MGK_RULE(mgk_is_real_of(a->h, n) && mgk_is_real_of(a->dh, n) && a->h.dtype == a->dh.dtype,
             "h, dh: f32 or bf16, one dtype");
    MGK_RULE(!a->dz.p || a->dz.dtype == a->h.dtype, "dz: the dtype of h");
    MGK_RULE(mgk_is_real_or_null(a->noise), "noise: f32 or bf16");
    MGK_RULE(mgk_is_f32_or_null(a->kl_upstream), "kl_upstream: f32");
    return true;
}

/* A sum for each block of rows. */
size_t mgk_posterior_workspace(const void *args, int threads)
{
    const mgk_posterior_args *a = args;
    (void)threads;
    return sizeof(double) * (size_t)mgk_div_up(a->rows, mgk_rows_a_block(a->dim));
}

size_t mgk_posterior_grad_workspace(const void *args, int threads)
{
    (void)args;
    (void)threads;
    return 0;
}

void mgk_posterior_ref(const void *args, mgk_exec *x)
{
    const mgk_posterior_args *a = args;
    (void)x;
    double kl = 0;
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t j = 0; j < a->dim; j++) {
            double mean = mgk_real_at(a->h, 2 * r * a->dim + j);
            double logvar = mgk_real_at(a->h, (2 * r + 1) * a->dim + j);
            logvar = logvar < MGK_LOGVAR_LOWEST    ? MGK_LOGVAR_LOWEST
                     : logvar > MGK_LOGVAR_HIGHEST ? MGK_LOGVAR_HIGHEST
                                                   : logvar;
            double deviation = exp(logvar / 2), noise = 0;
            if (a->noise.p)
                noise = mgk_real_at(a->noise, r * a->dim + j);
            mgk_real_set(a->z, r * a->dim + j, mean + deviation * noise);
            kl += (mean * mean + deviation * deviation - 1 - logvar) / 2;
        }
    if (a->kl.p && a->rows * a->dim > 0)
        MGK_F(a->kl)[0] += (float)(a->weight * kl / (double)(a->rows * a->dim));
}

void mgk_posterior_grad_ref(const void *args, mgk_exec *x)
{
    const mgk_posterior_args *a = args;
    (void)x;
    double kl = 0;
    if (a->kl_upstream.p && a->rows * a->dim > 0)
        kl = (double)MGK_F(a->kl_upstream)[0] * a->weight / (double)(a->rows * a->dim);
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t j = 0; j < a->dim; j++) {
            int64_t mi = 2 * r * a->dim + j, vi = (2 * r + 1) * a->dim + j;
            double mean = mgk_real_at(a->h, mi), logvar = mgk_real_at(a->h, vi), dz = 0, noise = 0;
            bool clamped = logvar < MGK_LOGVAR_LOWEST || logvar > MGK_LOGVAR_HIGHEST;
            if (a->dz.p)
                dz = mgk_real_at(a->dz, r * a->dim + j);
            if (a->noise.p)
                noise = mgk_real_at(a->noise, r * a->dim + j);
            double d_logvar = dz * noise * exp(logvar / 2) / 2 + kl * (exp(logvar) - 1) / 2;
            mgk_real_set(a->dh, mi, dz + kl * mean);
            mgk_real_set(a->dh, vi, clamped ? 0 : d_logvar);
        }
}
