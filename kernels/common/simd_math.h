/* SPDX-License-Identifier: MIT
 * exp, log, tanh, the sigmoid and the activations on vectors. Errors are about 1 unit in the last
 * place for exp and 2 for the others, NaN gives NaN, and the ends behave: exp(-inf) = 0, exp overflows to inf,
 * subnormal results are right.
 *
 * The activations exist in two forms: full, and `brief` for values that are about to be rounded to
 * bf16, with errors of 2^-13 of the value, a sixteenth of that rounding; with AVX-512 as activation_simd.h
 * says.
 *
 * The polynomials are minimax fits (Remez) of the named function on the named interval.
 */
#ifndef MGK_COMMON_SIMD_MATH_H
#define MGK_COMMON_SIMD_MATH_H

#include "kernels/common/simd.h"

/* 2^n for n in -126..127 */
MGK_INLINE vf v_power_of_two(vi n)
{
    return (vf)((vu)(n + 127) << 23);
}

/* v to a whole number (nearest, |v| < 2^22), and p * 2^n for n in -150..129 from v_whole. */
#if MGK_WIDTH == 16 && defined(__AVX512DQ__)
MGK_INLINE vf v_whole(vf v)
{
    return (vf)_mm512_roundscale_ps((__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

MGK_INLINE vf v_scale_by(vf p, vf n)
{
    return (vf)_mm512_scalef_ps((__m512)p, (__m512)n);
}

/* a / b for b >= 1, with a relative error of 2^-14 */
MGK_INLINE vf v_divide_brief(vf a, vf b)
{
    return a * (vf)_mm512_rcp14_ps((__m512)b);
}
#else
MGK_INLINE vf v_whole(vf v)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number */
    return v + magic - magic;
}

/* n is beyond the exponents of normal numbers, so the power is applied in two steps. */
MGK_INLINE vf v_scale_by(vf p, vf n)
{
    vi whole = (vi)((vu)(n + 12582912.0f) - (vu)((vi){0} + 0x4b400000)), half = whole >> 1;
    return p * v_power_of_two(half) * v_power_of_two(whole - half);
}

MGK_INLINE vf v_divide_brief(vf a, vf b)
{
    return a / b;
}
#endif

/* exp(x) = 2^n exp(r), r = x - n ln 2 within +-0.35. ln 2 is subtracted in two parts. The fit has a
 * relative error of 2^-28. */
MGK_INLINE vf v_exp(vf x)
{
    x = v_min(v_set(89.0f), x);
    x = v_max(v_set(-104.0f), x);
    vf n = v_whole(x * 1.44269504f), r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    vf p = 0.00138436031f * r + 0.00837419566f;
    p = p * r + 0.0416680048f;
    p = p * r + 0.166664308f;
    p = p * r + 0.499999942f;
    p = p * r + 1.00000003f;
    return v_scale_by(p * r + 1.0f, n);
}

/* exp(x) for values that will be rounded to bf16: 2^n 2^f, f within +-0.5, relative error 2^-18 of the
 * fit and 2^-18 of x log2(e). x <= 60; -inf gives NaN. */
MGK_INLINE vf v_exp_bounded(vf x)
{
    vf z = x * 1.44269504f;
#if !(MGK_WIDTH == 16 && defined(__AVX512DQ__))
    z = v_max(v_set(-150.0f), z); /* what v_scale_by takes */
#endif
    vf n = v_whole(z), f = z - n;
    vf p = 0.00957003222f * f + 0.055918273f;
    p = p * f + 0.240247497f;
    p = p * f + 0.693121765f;
    return v_scale_by(p * f + 0.999999259f, n);
}

/* The same for all x. */
MGK_INLINE vf v_exp_brief(vf x)
{
    return v_exp_bounded(v_max(v_set(-104.0f), v_min(v_set(60.0f), x)));
}

/* exp for x <= 0 as softmax needs it: results below 1.2e-38 become 0. NaN gives NaN. */
MGK_INLINE vf v_exp_negative(vf x)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number */
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

/* e / (1 + e), e = exp(x): right down to the subnormal results of large negative x. From x = 60 on the
 * result is 1 whatever e is. */
MGK_INLINE vf v_sigmoid(vf x, bool brief)
{
    x = v_min(v_set(60.0f), x);
    vf e = brief ? v_exp_bounded(x) : v_exp(x);
    return brief ? v_divide_brief(e, 1.0f + e) : e / (1.0f + e);
}

/* The same; *rest = 1 - sigmoid(x), not by subtraction, which would leave only the error of a sigmoid
 * near 1. */
MGK_INLINE vf v_sigmoid_both(vf x, vf *rest, bool brief)
{
    x = v_min(v_set(60.0f), x);
    vf e = brief ? v_exp_bounded(x) : v_exp(x);
    *rest = brief ? v_divide_brief(v_set(1.0f), 1.0f + e) : 1.0f / (1.0f + e);
    return e * *rest;
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

/* log(1 + x) for x >= 0: of 1 + x = m 2^e, m in sqrt(1/2)..sqrt(2), and of what the sum lost to rounding. The fit is off
 * by 2^-27 of (m - 1)^2. */
MGK_INLINE vf v_log1p(vf x)
{
    const int32_t lowest = 0x3f3504f3; /* sqrt(1/2) */
    vf u = 1.0f + x, lost = v_select(x < 1.0f, x - (u - 1.0f), 1.0f - (u - x));
    vi e = ((vi)u - lowest) >> 23, down = 127 - e; /* -1 for the largest x */
    vf scale = (vf)((vu)(down & ~(down >> 31)) << 23), m = (vf)((vu)u - ((vu)e << 23));
    vf f = (m - 1.0f) + lost * scale, n = __builtin_convertvector(e, vf);
    vf p = -0.0786095663f * f + 0.128834958f;
    p = p * f - 0.13129095f;
    p = p * f + 0.141809563f;
    p = p * f - 0.166244994f;
    p = p * f + 0.200022951f;
    p = p * f - 0.25000812f;
    p = p * f + 0.333333166f;
    vf r = p * f * (f * f) - 0.5f * (f * f) + n * -2.12194440e-4f + f + n * 0.693359375f;
    return v_select(x <= 3.40282347e38f, r, x); /* infinity and NaN */
}

/* The distribution function of the normal distribution, (1 + erf(x / sqrt(2))) / 2, by
 *   F(u) = Phi(-u) exp(u^2 / 2) = s P(s),  s = 1 / (1 + c u),  u = |x| in 0..14.
 * The fits are close where Phi(-u) matters: the relative errors are 2^-26 (brief: 2^-16) at 0 and
 * 2^-17 (brief: 2^-11) far out. *e = exp(-x^2 / 2). */
MGK_INLINE vf v_normal_cdf(vf x, vf *e, bool brief)
{
    vf u = v_abs(x), s, p;
    if (brief) {
        *e = v_exp_brief(-0.5f * (x * x));
        s = v_divide_brief(v_set(1.0f), 1.0f + 0.35f * u);
        p = -0.094614133f * s + 0.26691817f;
        p = p * s + 0.0276017015f;
        p = p * s + 0.162426374f;
        p = p * s + 0.137671748f;
    } else {
        *e = v_exp(-0.5f * (x * x));
        s = 1.0f / (1.0f + 0.29f * u);
        p = 0.0378828111f * s - 0.184995882f;
        p = p * s + 0.288114205f;
        p = p * s - 0.128390409f;
        p = p * s + 0.168369041f;
        p = p * s + 0.0848438467f;
        p = p * s + 0.118655098f;
        p = p * s + 0.115521282f;
    }
    vf tail = p * s * *e;
    return v_select(x < 0, tail, 1.0f - tail);
}

#include "kernels/common/activation_simd.h"

#endif
