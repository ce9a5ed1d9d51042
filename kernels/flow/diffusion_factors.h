/* SPDX-License-Identifier: MIT
 * What the op `diffusion` multiplies x1 and x0 by: for every variant. */
#ifndef MGK_DIFFUSION_FACTORS_H
#define MGK_DIFFUSION_FACTORS_H

#include "kernels/flow/flow.h"

#include <math.h>

#ifdef __CUDACC__
#define MGK_FACTORS static __host__ __device__ __forceinline__
#else
#define MGK_FACTORS static inline
#endif

MGK_FACTORS void mgk_diffusion_factors(int32_t kind, double t, double *f1, double *f0)
{
    double r = sqrt(t * t + (1 - t) * (1 - t)), a = t / r, s = (1 - t) / r;
    *f1 = kind == MGK_DIFFUSION_POINT    ? a
          : kind == MGK_DIFFUSION_V      ? -s
          : kind == MGK_DIFFUSION_SCALED ? 1 / r
                                         : (a - s) / r;
    *f0 = kind == MGK_DIFFUSION_POINT ? s : kind == MGK_DIFFUSION_V ? a : -1 / r;
}

#endif
