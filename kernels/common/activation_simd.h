/* SPDX-License-Identifier: MIT
 * The activations on vectors; a part of simd_math.h. The _grad forms give the derivative, and *y = the
 * activation itself.
 *
 * With AVX-512 a permutation looks up the 32 values of a table, so act(x) = max(x, 0) - t(|x|) comes from a
 * polynomial on one of 32 pieces (activation_tables.h), or the sigmoid from a power of two with a table. The
 * fits are off by 2^-26 for GELU in full and, brief, by 2^-15 for GELU and 2^-12 for SiLU; of the value, down to
 * x = -4, by 2^-18, 2^-8 and 2^-9. Below -5.7 GELU gives 0, below -15 so does the brief SiLU.
 * Elsewhere they are computed from exp.
 */
#ifndef MGK_COMMON_ACTIVATION_SIMD_H
#define MGK_COMMON_ACTIVATION_SIMD_H

#if MGK_WIDTH == 16 && defined(__AVX512DQ__)
#include "kernels/common/activation_tables.h"

MGK_INLINE vf v_piece(const float *table, vf index)
{
    return (vf)_mm512_permutex2var_ps((__m512)v_load(table), (__m512i)index,
                                      (__m512)v_load(table + 16));
}

/* The piece of m in its low 5 bits: 1.5 * 2^23 is added, which rounds. */
MGK_INLINE vf v_piece_index(vf m, float width)
{
    return v_fma(m, v_set(1 / width), v_set(12582912.0f));
}

/* The same for a width that is a power of two, by an addition, which is done beside products and look-ups: derivatives are faster
 * with it, activations alone are not. */
MGK_INLINE vf v_piece_index_added(vf m, float width)
{
    return m + 12582912.0f * width;
}

/* The lower of |x| and the end of the table, which NaN gives, too. */
MGK_INLINE vf v_piece_argument(vf x, float width)
{
    return (vf)_mm512_range_ps((__m512)x, (__m512)v_set(31 * width), 10);
}

/* The table's function of m, which is in piece i. */
MGK_INLINE vf v_piece_brief(vf m, vf i, const float table[3][32])
{
    vf p = v_fma(v_piece(table[2], i), m, v_piece(table[1], i));
    return v_fma(p, m, v_piece(table[0], i));
}

/* The same of |x|. */
MGK_INLINE vf v_pieces_brief(vf x, const float table[3][32], float width)
{
    vf m = v_piece_argument(x, width);
    return v_piece_brief(m, v_piece_index(m, width), table);
}

MGK_INLINE vf v_pieces(vf x, const float table[5][32], float width)
{
    vf m = v_piece_argument(x, width), i = v_piece_index(m, width);
    vf v = v_fma(i - 12582912.0f, v_set(-width), m); /* from the middle of the piece */
    vf p = v_fma(v_piece(table[4], i), v, v_piece(table[3], i));
    p = v_fma(p, v, v_piece(table[2], i));
    p = v_fma(p, v, v_piece(table[1], i));
    return v_fma(p, v, v_piece(table[0], i));
}

/* max(x, 0) - t, and the derivative from that of -|x|. */
MGK_INLINE vf v_from_tail(vf x, vf t)
{
    return v_max(v_set(0), x) - t;
}

MGK_INLINE vf v_from_slope(vf x, vf s)
{
    return (vf)_mm512_mask_sub_ps((__m512)s, (__mmask16)~_mm512_movepi32_mask((__m512i)x),
                                  (__m512)v_set(1), (__m512)s);
}

/* x / d, d finite and 1 or more. A Zen 4 divides 16 floats in ten cycles, beside products; elsewhere a reciprocal and Newton's
 * step, which are off by a rounding more, take fewer. */
MGK_INLINE vf v_quotient(vf x, vf d)
{
    if (v_amd())
        return x / d;
    vf r = (vf)_mm512_rcp14_ps((__m512)d);
    return x * v_fma(r, v_fma(-d, r, v_set(1)), r);
}

/* 1 + exp(-x) for x from -87 to 40, from where on it is 1, and parts of it would be subnormal: 2^z from 2^(i / 32), i = 0..31,
 * and a parabola. The whole part of the exponent is added to the bits of the former, from which the table has taken what i
 * adds there. */
MGK_INLINE vf v_one_and_exp(vf x)
{
    const float magic = 393216.0f; /* 1.5 * 2^18: adding it rounds to 32nds */
    vf z = x * -1.44269504f, shifted = z + magic, f = z - (shifted - magic);
    vf e = (vf)((vu)v_piece(mgk_powers, shifted) + ((vu)shifted << 18));
    return 1.0f + v_fma(e * f, v_fma(f, v_set(0.240226507f), v_set(0.693147181f)), e);
}

/* x sigmoid(c x); below -87 / c it stays what it is there. */
MGK_INLINE vf v_sigmoid_form(vf x, float c)
{
    x = v_max(v_set(-87.0f / c), x);
    return v_quotient(x, v_one_and_exp(v_min(v_set(40.0f), c * x)));
}

MGK_INLINE vf v_sigmoid_form_grad(vf x, float c, vf *y)
{
    x = v_max(v_set(-87.0f / c), x);
    vf s = v_quotient(v_set(1), v_one_and_exp(v_min(v_set(40.0f), c * x)));
    *y = x * s;
    return v_fma(c * *y, 1.0f - s, s);
}

MGK_INLINE vf v_silu(vf x, bool brief)
{
    if (!brief)
        return v_sigmoid_form(x, 1.0f);
    return v_from_tail(x, v_pieces_brief(x, mgk_silu_brief, MGK_SILU_WIDTH));
}

MGK_INLINE vf v_silu_grad(vf x, vf *y, bool brief)
{
    if (!brief)
        return v_sigmoid_form_grad(x, 1.0f, y);
    vf m = v_piece_argument(x, MGK_SILU_WIDTH), i = v_piece_index_added(m, MGK_SILU_WIDTH);
    *y = v_from_tail(x, v_piece_brief(m, i, mgk_silu_brief));
    return v_from_slope(x, v_piece_brief(m, i, mgk_silu_brief_slope));
}

MGK_INLINE vf v_gelu(vf x, bool brief)
{
    return v_from_tail(x, brief ? v_pieces_brief(x, mgk_gelu_brief, MGK_GELU_WIDTH)
                                : v_pieces(x, mgk_gelu, MGK_GELU_WIDTH));
}

MGK_INLINE vf v_gelu_grad(vf x, vf *y, bool brief)
{
    *y = v_gelu(x, brief);
    return v_from_slope(x, brief ? v_pieces_brief(x, mgk_gelu_brief_slope, MGK_GELU_WIDTH)
                                 : v_pieces(x, mgk_gelu_slope, MGK_GELU_WIDTH));
}

MGK_INLINE vf v_gelu_erf(vf x, bool brief)
{
    return v_from_tail(x, brief ? v_pieces_brief(x, mgk_gelu_erf_brief, MGK_GELU_ERF_WIDTH)
                                : v_pieces(x, mgk_gelu_erf, MGK_GELU_ERF_WIDTH));
}

MGK_INLINE vf v_gelu_erf_grad(vf x, vf *y, bool brief)
{
    *y = v_gelu_erf(x, brief);
    return v_from_slope(x, brief ? v_pieces_brief(x, mgk_gelu_erf_brief_slope, MGK_GELU_ERF_WIDTH)
                                 : v_pieces(x, mgk_gelu_erf_slope, MGK_GELU_ERF_WIDTH));
}

MGK_INLINE vf v_quick_gelu(vf x, bool brief)
{
    if (!brief)
        return v_sigmoid_form(x, 1.702f);
    return v_from_tail(x, v_pieces_brief(x, mgk_quick_gelu_brief, MGK_QUICK_GELU_WIDTH));
}

MGK_INLINE vf v_quick_gelu_grad(vf x, vf *y, bool brief)
{
    if (!brief)
        return v_sigmoid_form_grad(x, 1.702f, y);
    *y = v_quick_gelu(x, brief);
    return v_from_slope(x, v_pieces_brief(x, mgk_quick_gelu_brief_slope, MGK_QUICK_GELU_WIDTH));
}

#elif MGK_WIDTH == 8 && defined(__AVX2__)

/* Of some vectors each step of all before the next one: a processor that waits for one has others to do meanwhile, and those that wait
 * are few. Up to four, by loops that are unrolled. */
#define V_EACH(...)                                                                                \
    MGK_UNROLL                                                                                     \
    for (int k = 0; k < count; k++) {                                                              \
        __VA_ARGS__                                                                                \
    }

/* x = sigmoid(x) for |x| <= 87, and e = exp(-x): of 1 + e the inverse, which is off by 2^-22 if it is brief. An exponent is added to
 * the bits, as e is a normal number. The fits are those of v_exp_bounded and v_exp_negative. */
MGK_INLINE void v_sigmoids_bounded(vf *x, vf *e, int count, bool brief)
{
    const vf magic = v_set(12582912.0f); /* 1.5 * 2^23: adding it rounds to a whole number */
    const vf scale = v_set(-1.44269504f);
    vf f[4], p[4];
    V_EACH(e[k] = v_fma(x[k], scale, magic);)
    V_EACH(f[k] = e[k] - magic;)
    if (brief) {
        V_EACH(f[k] = v_fma(x[k], scale, -f[k]);)
        V_EACH(p[k] = v_fma(v_set(0.00957003222f), f[k], v_set(0.055918273f));)
        V_EACH(p[k] = v_fma(p[k], f[k], v_set(0.240247497f));)
        V_EACH(p[k] = v_fma(p[k], f[k], v_set(0.693121765f));)
        V_EACH(p[k] = v_fma(p[k], f[k], v_set(0.999999259f));)
    } else {
        V_EACH(x[k] = v_fma(f[k], v_set(-0.693359375f), -x[k]);)
        V_EACH(f[k] = v_fma(f[k], v_set(2.12194440e-4f), x[k]);)
        V_EACH(p[k] = v_fma(v_set(0.00139262504f), f[k], v_set(0.00836323295f));)
        V_EACH(p[k] = v_fma(p[k], f[k], v_set(0.0416665524f));)
        V_EACH(p[k] = v_fma(p[k], f[k], v_set(0.166665763f));)
        V_EACH(p[k] = v_fma(p[k], f[k], v_set(0.5f));)
        V_EACH(p[k] = v_fma(p[k], f[k] * f[k], f[k]) + 1.0f;)
    }
    V_EACH(e[k] = (vf)((vu)p[k] + ((vu)e[k] << 23));)
    V_EACH(f[k] = 1.0f + e[k];)
    if (brief) {
        V_EACH(x[k] = (vf)_mm256_rcp_ps((__m256)f[k]);)
        V_EACH(f[k] = v_fma(-f[k], x[k], v_set(2.0f));) /* Newton's step */
        V_EACH(x[k] = x[k] * f[k];)
    } else {
        V_EACH(x[k] = 1.0f / f[k];)
    }
}

/* x sigmoid(c x); past 87 below 0 it stays what it is there. */
MGK_INLINE void v_sigmoid_forms(vf *x, float c, int count, bool brief)
{
    vf s[4], e[4];
    V_EACH(x[k] = v_max(v_set(-87.0f / c), x[k]);)
    V_EACH(s[k] = v_min(v_set(87.0f), c * x[k]);)
    v_sigmoids_bounded(s, e, count, brief);
    V_EACH(x[k] = x[k] * s[k];)
}

/* x becomes the derivative. */
MGK_INLINE void v_sigmoid_forms_grad(vf *x, float c, vf *y, int count, bool brief)
{
    vf s[4], e[4];
    V_EACH(x[k] = v_max(v_set(-87.0f / c), x[k]);)
    V_EACH(s[k] = v_min(v_set(87.0f), c * x[k]);)
    v_sigmoids_bounded(s, e, count, brief);
    V_EACH(y[k] = x[k] * s[k]; e[k] = e[k] * s[k];)
    V_EACH(x[k] = v_fma(c * y[k], e[k], s[k]);)
}

MGK_INLINE void v_silus(vf *x, int count, bool brief)
{
    v_sigmoid_forms(x, 1.0f, count, brief);
}

MGK_INLINE void v_silus_grad(vf *x, vf *y, int count, bool brief)
{
    v_sigmoid_forms_grad(x, 1.0f, y, count, brief);
}

/* tanh form: 0.5 (1 + tanh(z)) = sigmoid(2 z),  z = sqrt(2 / pi) (x + 0.044715 x^3); below -9 it stays what it is there, -1e-28. */
MGK_INLINE void v_gelus(vf *x, int count, bool brief)
{
    vf s[4], e[4];
    V_EACH(x[k] = v_max(v_set(-9.0f), x[k]); s[k] = x[k] * x[k];)
    V_EACH(s[k] = v_fma(v_set(0.0713548163f), s[k], v_set(1.59576912f));)
    V_EACH(s[k] = v_min(v_set(87.0f), x[k] * s[k]);)
    v_sigmoids_bounded(s, e, count, brief);
    V_EACH(x[k] = x[k] * s[k];)
}

MGK_INLINE void v_gelus_grad(vf *x, vf *y, int count, bool brief)
{
    vf s[4], e[4], b[4];
    V_EACH(y[k] = v_max(v_set(-9.0f), x[k]);)
    V_EACH(b[k] = v_min(v_set(9.0f), y[k]); x[k] = b[k] * b[k];)
    V_EACH(s[k] = v_fma(v_set(0.0713548163f), x[k], v_set(1.59576912f));)
    V_EACH(s[k] = b[k] * s[k];)
    v_sigmoids_bounded(s, e, count, brief);
    V_EACH(y[k] = y[k] * s[k]; e[k] = e[k] * s[k]; b[k] = b[k] * s[k];)
    V_EACH(x[k] = v_fma(v_set(0.214064449f), x[k], v_set(1.59576912f)); e[k] = e[k] * b[k];)
    V_EACH(x[k] = v_fma(x[k], e[k], s[k]);)
}

/* x sigmoid(1.702 x) */
MGK_INLINE void v_quick_gelus(vf *x, int count, bool brief)
{
    v_sigmoid_forms(x, 1.702f, count, brief);
}

MGK_INLINE void v_quick_gelus_grad(vf *x, vf *y, int count, bool brief)
{
    v_sigmoid_forms_grad(x, 1.702f, y, count, brief);
}

#define V_ONE(name)                                                                                \
    MGK_INLINE vf v_##name(vf x, bool brief)                                                       \
    {                                                                                              \
        v_##name##s(&x, 1, brief);                                                                 \
        return x;                                                                                  \
    }                                                                                              \
    MGK_INLINE vf v_##name##_grad(vf x, vf *y, bool brief)                                         \
    {                                                                                              \
        v_##name##s_grad(&x, y, 1, brief);                                                         \
        return x;                                                                                  \
    }
V_ONE(silu)
V_ONE(gelu)
V_ONE(quick_gelu)
#undef V_ONE
#define V_BY_TURNS 1

#else

MGK_INLINE vf v_silu(vf x, bool brief)
{
    return x * v_sigmoid(x, brief);
}

MGK_INLINE vf v_silu_grad(vf x, vf *y, bool brief)
{
    vf rest, s = v_sigmoid_both(x, &rest, brief);
    *y = x * s;
    return s + *y * rest;
}

/* tanh form: 0.5 (1 + tanh(z)) = sigmoid(2 z),  z = sqrt(2 / pi) (x + 0.044715 x^3) */
MGK_INLINE vf v_gelu(vf x, bool brief)
{
    return x * v_sigmoid(x * (1.59576912f + 0.0713548163f * (x * x)), brief);
}

MGK_INLINE vf v_gelu_grad(vf x, vf *y, bool brief)
{
    vf u = x * x, rest, s;
    s = v_sigmoid_both(x * (1.59576912f + 0.0713548163f * u), &rest, brief);
    *y = x * s;
    return s + *y * rest * (1.59576912f + 0.214064449f * u);
}

/* x sigmoid(1.702 x) */
MGK_INLINE vf v_quick_gelu(vf x, bool brief)
{
    return x * v_sigmoid(1.702f * x, brief);
}

MGK_INLINE vf v_quick_gelu_grad(vf x, vf *y, bool brief)
{
    vf rest, s = v_sigmoid_both(1.702f * x, &rest, brief);
    *y = x * s;
    return s + 1.702f * *y * rest;
}

#endif

#if !(MGK_WIDTH == 16 && defined(__AVX512DQ__))
/* x Phi(x) */
MGK_INLINE vf v_gelu_erf(vf x, bool brief)
{
    vf e;
    return x * v_normal_cdf(x, &e, brief);
}

/* Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi) */
MGK_INLINE vf v_gelu_erf_grad(vf x, vf *y, bool brief)
{
    vf e, cdf = v_normal_cdf(x, &e, brief);
    *y = x * cdf;
    return cdf + x * e * 0.398942280f;
}
#endif

#if !defined(V_BY_TURNS)
/* Of some vectors, one after the other. */
#define V_ALL(name)                                                                                \
    MGK_INLINE void v_##name##s(vf *x, int count, bool brief)                                      \
    {                                                                                              \
        MGK_UNROLL                                                                                 \
        for (int k = 0; k < count; k++)                                                            \
            x[k] = v_##name(x[k], brief);                                                          \
    }                                                                                              \
    MGK_INLINE void v_##name##s_grad(vf *x, vf *y, int count, bool brief)                          \
    {                                                                                              \
        MGK_UNROLL                                                                                 \
        for (int k = 0; k < count; k++)                                                            \
            x[k] = v_##name##_grad(x[k], y + k, brief);                                            \
    }
V_ALL(silu)
V_ALL(gelu)
V_ALL(quick_gelu)
#undef V_ALL
#endif

#endif
