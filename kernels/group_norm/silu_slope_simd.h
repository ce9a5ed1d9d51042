/* SPDX-License-Identifier: MIT
 * The derivative of SiLU on vectors as sums need it: what they add up is not rounded to bf16 in between, so the brief form
 * is too coarse, and the full one takes longer than values that were bf16 are worth.
 */
#ifndef MGK_SILU_SLOPE_SIMD_H
#define MGK_SILU_SLOPE_SIMD_H

#include "kernels/common/simd_math.h"

#if MGK_WIDTH == 16 && defined(__AVX512DQ__)
#include "kernels/group_norm/silu_slope_table.h"

/* Off by 2^-20; beyond |x| = 15.25, where it is 0 or 1, by 2^-18. */
MGK_INLINE vf v_silu_slope_sums(vf x)
{
    const float(*const table)[32] = mgk_silu_sums_slope;
    const vf m = v_piece_argument(x, MGK_SILU_SUMS_WIDTH),
             i = v_piece_index_added(m, MGK_SILU_SUMS_WIDTH);
    vf p = v_fma(v_piece(table[4], i), m, v_piece(table[3], i));
    p = v_fma(p, m, v_piece(table[2], i));
    p = v_fma(p, m, v_piece(table[1], i));
    return v_from_slope(x, v_fma(p, m, v_piece(table[0], i)));
}
#else
/* Here the brief form is off by 2^-18, as its exponential. */
MGK_INLINE vf v_silu_slope_sums(vf x)
{
    vf y;
    return v_silu_grad(x, &y, true);
}
#endif

#endif
