/* SPDX-License-Identifier: MIT
 * The Gaussian posterior of the autoencoder and its gradient. */
#include "kernels/posterior/posterior.h"
#include "kernels/common/check.h"

#include <math.h>

static const double lowest = -30, highest = 20; /* of logvar */

bool mgk_posterior_check(const void *args, const char **why)
{
    const mgk_posterior_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim, 2), "rows, dim out of range");
    int64_t n = a->rows * a->dim;
    MGK_RULE(mgk_is_f32_of(a->h, n) && mgk_is_f32_of(a->z, n), "h, z: f32");
    MGK_RULE(mgk_is_f32_or_null(a->noise) && mgk_is_f32_or_null(a->kl), "noise, kl: f32");
    return true;
}

bool mgk_posterior_grad_check(const void *args, const char **why)
{
    const mgk_posterior_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim, 2), "rows, dim out of range");
    int64_t n = a->rows * a->dim;
    MGK_RULE(mgk_is_f32_of(a->h, n) && mgk_is_f32_of(a->dh, n), "h, dh: f32");
    MGK_RULE(mgk_is_f32_or_null(a->noise) && mgk_is_f32_or_null(a->dz) &&
                 mgk_is_f32_or_null(a->kl_upstream),
             "noise, dz, kl_upstream: f32");
    return true;
}

size_t mgk_posterior_workspace(const void *args, int threads)
{
    (void)args;
    (void)threads;
    return 0;
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
            double mean = MGK_F(a->h)[2 * r * a->dim + j];
            double logvar = MGK_F(a->h)[(2 * r + 1) * a->dim + j];
            logvar = logvar < lowest ? lowest : logvar > highest ? highest : logvar;
            double deviation = exp(logvar / 2), noise = 0;
            if (a->noise.p)
                noise = MGK_F(a->noise)[r * a->dim + j];
            MGK_F(a->z)[r * a->dim + j] = (float)(mean + deviation * noise);
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
            double mean = MGK_F(a->h)[mi], logvar = MGK_F(a->h)[vi], dz = 0, noise = 0;
            bool clamped = logvar < lowest || logvar > highest;
            if (a->dz.p)
                dz = MGK_F(a->dz)[r * a->dim + j];
            if (a->noise.p)
                noise = MGK_F(a->noise)[r * a->dim + j];
            double d_logvar = dz * noise * exp(logvar / 2) / 2 + kl * (exp(logvar) - 1) / 2;
            MGK_F(a->dh)[mi] = (float)(dz + kl * mean);
            MGK_F(a->dh)[vi] = clamped ? 0 : (float)d_logvar;
        }
}
