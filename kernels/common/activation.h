/* SPDX-License-Identifier: MIT
 * Activations and their derivatives in double, for the reference kernels. */
#ifndef MGK_COMMON_ACTIVATION_H
#define MGK_COMMON_ACTIVATION_H

#include <math.h>

#define MGK_GELU_C       0.7978845608028654 /* sqrt(2 / pi) */
#define MGK_GELU_A       0.044715
#define MGK_QUICK_GELU_C 1.702
#define MGK_NORMAL_C     0.3989422804014327 /* 1 / sqrt(2 pi) */

static inline double mgk_silu(double x)
{
    return x / (1 + exp(-x));
}

static inline double mgk_silu_grad(double x)
{
    double s = 1 / (1 + exp(-x));
    return s * (1 + x * (1 - s));
}

static inline double mgk_gelu(double x)
{
    return 0.5 * x * (1 + tanh(MGK_GELU_C * (x + MGK_GELU_A * x * x * x)));
}

static inline double mgk_gelu_grad(double x)
{
    double t = tanh(MGK_GELU_C * (x + MGK_GELU_A * x * x * x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * MGK_GELU_C * (1 + 3 * MGK_GELU_A * x * x);
}

/* x times the distribution function of the normal distribution */
static inline double mgk_gelu_erf(double x)
{
    return 0.5 * x * erfc(-x * M_SQRT1_2);
}

static inline double mgk_gelu_erf_grad(double x)
{
    return 0.5 * erfc(-x * M_SQRT1_2) + MGK_NORMAL_C * x * exp(-0.5 * x * x);
}

static inline double mgk_quick_gelu(double x)
{
    return x / (1 + exp(-MGK_QUICK_GELU_C * x));
}

static inline double mgk_quick_gelu_grad(double x)
{
    double s = 1 / (1 + exp(-MGK_QUICK_GELU_C * x));
    return s * (1 + MGK_QUICK_GELU_C * x * (1 - s));
}

#endif
