/* SPDX-License-Identifier: MIT
 * The brief activations of four vectors at once, where they come from pieces: each step of all four before the next one. So what can
 * be done next lies closer together than where vectors follow each other, and a Zen 4 does more of it at a time. Bits are the same.
 */
#ifndef MGK_COMMON_ACTIVATION_FOUR_SIMD_H
#define MGK_COMMON_ACTIVATION_FOUR_SIMD_H

#include "kernels/common/simd_math.h"

#if MGK_WIDTH == 16 && defined(__AVX512DQ__)
#define V_HAS_FOUR 1
/* In each loop the compiler takes all four by turns. */
#define V_EACH_OF_FOUR(...)                                                                        \
    MGK_UNROLL                                                                                     \
    for (int k = 0; k < 4; k++) {                                                                  \
        __VA_ARGS__                                                                                \
    }

MGK_INLINE void v_four_from_pieces(vf x[4], const float table[3][32], float width)
{
    vf m[4], i[4], p[4], q[4], r[4];
    V_EACH_OF_FOUR(m[k] = v_piece_argument(x[k], width);)
    V_EACH_OF_FOUR(i[k] = v_piece_index(m[k], width);)
    V_EACH_OF_FOUR(p[k] = v_piece(table[2], i[k]); q[k] = v_piece(table[1], i[k]);)
    V_EACH_OF_FOUR(x[k] = v_max(v_set(0), x[k]); r[k] = v_piece(table[0], i[k]);)
    V_EACH_OF_FOUR(p[k] = v_fma(p[k], m[k], q[k]);)
    V_EACH_OF_FOUR(p[k] = v_fma(p[k], m[k], r[k]);)
    V_EACH_OF_FOUR(x[k] = x[k] - p[k];)
}

MGK_INLINE void v_silu_four(vf x[4])
{
    v_four_from_pieces(x, mgk_silu_brief, MGK_SILU_WIDTH);
}

MGK_INLINE void v_gelu_four(vf x[4])
{
    v_four_from_pieces(x, mgk_gelu_brief, MGK_GELU_WIDTH);
}

MGK_INLINE void v_gelu_erf_four(vf x[4])
{
    v_four_from_pieces(x, mgk_gelu_erf_brief, MGK_GELU_ERF_WIDTH);
}

MGK_INLINE void v_quick_gelu_four(vf x[4])
{
    v_four_from_pieces(x, mgk_quick_gelu_brief, MGK_QUICK_GELU_WIDTH);
}

#endif

#endif
