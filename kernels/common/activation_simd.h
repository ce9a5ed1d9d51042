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

#endif
