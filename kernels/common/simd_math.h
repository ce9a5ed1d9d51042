/* SPDX-License-Identifier: MIT
 * exp, tanh, the sigmoid and the activations on vectors. Errors are about 1 unit in the last
 * place for exp and 2 for the others, NaN gives NaN, and the ends behave: exp(-inf) = 0, exp overflows to inf,
 * subnormal results are right.
 */
#ifndef MGK_COMMON_SIMD_MATH_H
#define MGK_COMMON_SIMD_MATH_H

#include "kernels/common/simd.h"

/* 2^n for n in -126..127 */
MGK_INLINE vf v_power_of_two(vi n)
{
    return (vf)((vu)(n + 127) << 23);
}

/* exp(x) = 2^n exp(r), r = x - n ln 2 within +-0.35. ln 2 is subtracted in two parts. */
MGK_INLINE vf v_exp(vf x)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number */
    x = v_min(v_set(89.0f), x);
    x = v_max(v_set(-104.0f), x);
    vf shifted = x * 1.44269504f + magic, n = shifted - magic;
    vf r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    vf p = 0.00139262504f * r + 0.00836323295f;
    p = p * r + 0.0416665524f;
    p = p * r + 0.166665763f;
    p = p * r + 0.5f;
    p = p * (r * r) + r + 1.0f;
    /* n reaches from -150 to 128, so the power is applied in two steps. */
    vi whole = (vi)((vu)shifted - (vu)((vi){0} + 0x4b400000)), half = whole >> 1;
    return p * v_power_of_two(half) * v_power_of_two(whole - half);
}

/* exp for x <= 0 as softmax needs it: results below 1.2e-38 become 0. NaN gives NaN. */
MGK_INLINE vf v_exp_negative(vf x)
{
    const float magic = 12582912.0f;
    x = v_max(v_set(-87.3f), x);
    vf shifted = x * 1.44269504f + magic, n = shifted - magic;
    vf r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    vf p = 0.00139262504f * r + 0.00836323295f;
    p = p * r + 0.0416665524f;
    p = p * r + 0.166665763f;
    p = p * r + 0.5f;
    p = p * (r * r) + r + 1.0f;
    p = (vf)((vu)p + ((vu)shifted << 23));
    return (vf)((vi)p & ~(x == v_set(-87.3f)));
}

MGK_INLINE vf v_sigmoid(vf x)
{
    vf e = v_exp(-v_abs(x)); /* at most 1 */
    return v_select(x < 0, e, v_set(1.0f)) / (1.0f + e);
}

MGK_INLINE vf v_tanh(vf x)
{
    vf a = v_abs(x), u = x * x;
    vf large = 1.0f - 2.0f / (v_exp(a + a) + 1.0f);
    large = (vf)((vi)large | ((vi)x & INT32_MIN));
    vf p = -0.00654920936f * u + 0.0212764163f;
    p = p * u - 0.0539039671f;
    p = p * u + 0.133330852f;
    p = p * u - 0.333333313f;
    return v_select(a < 0.55f, p * u * x + x, large);
}

MGK_INLINE vf v_silu(vf x)
{
    return x * v_sigmoid(x);
}

/* The derivative; *y = silu(x). */
MGK_INLINE vf v_silu_grad(vf x, vf *y)
{
    vf s = v_sigmoid(x);
    *y = x * s;
    return s + *y * (1.0f - s);
}

/* 0.5 (1 + tanh(z)) = sigmoid(2 z),  z = sqrt(2 / pi) (x + 0.044715 x^3) */
MGK_INLINE vf v_gelu(vf x)
{
    return x * v_sigmoid(x * (1.59576912f + 0.0713548163f * (x * x)));
}

MGK_INLINE vf v_gelu_grad(vf x, vf *y)
{
    vf u = x * x, s = v_sigmoid(x * (1.59576912f + 0.0713548163f * u));
    *y = x * s;
    return s + *y * (1.0f - s) * (1.59576912f + 0.214064449f * u);
}

#endif
