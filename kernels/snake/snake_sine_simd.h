/* SPDX-License-Identifier: MIT
 * Sine and cosine as snake needs them: of half turns, in full and, `brief`, for values that come from bf16. The polynomials are
 * minimax fits; sums of the brief gradient are of f32, so that its sine is not as coarse as the other brief forms.
 */
#ifndef MGK_SNAKE_SINE_SIMD_H
#define MGK_SNAKE_SINE_SIMD_H

#include "kernels/common/simd_math.h"

/* x turns less the nearest whole number, within +-1/2, where turns = alpha / pi: alpha x in half turns, on whose number the square
 * of its sine and the product of sine and cosine do not depend. From 2^22 half turns on what remains is meaningless. */
MGK_INLINE vf v_half_turn(vf x, vf turns, bool brief)
{
    vf z = x * turns;
#if MGK_WIDTH == 16 && defined(__AVX512DQ__)
    if (brief)
        return (vf)_mm512_reduce_ps((__m512)z, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#endif
    (void)brief;
    vf f = v_fma(x, turns, -v_whole(z));
    return v_max(v_set(-0.5f), v_min(v_set(0.5f), f));
}

/* With AVX-512 products are more of a load than sums, so the brief polynomial is one product of two sums, and its highest power's
 * factor, `unit`, is left to the caller. */
#define V_SIN_SQUARE_UNIT(brief) ((brief) ? -23.872175f : 1.0f)

/* sin(pi f)^2 / unit, of it off by 2^-22 or, brief, 2^-14 */
MGK_INLINE vf v_sin_square(vf f, bool brief)
{
    vf w = f * f;
    if (brief)
        return v_fma(w - 1.74750454f, v_fma(w, w, v_set(1.35783041f)), v_set(1.95940089f)) * w;
    vf p = v_fma(v_set(0.077560387f), w, v_set(-0.598242126f));
    p = v_fma(p, w, v_set(2.55006973f));
    p = v_fma(p, w, v_set(-5.16770968f));
    p = v_fma(p, w, v_set(3.14159264f)) * f;
    return p * p;
}

/* sin(pi f), of it off by 2^-22 or, brief, 2^-19, and *c = cos(pi f), off by 2^-22. */
MGK_INLINE vf v_sin_cos(vf f, vf *c, bool brief)
{
    vf w = f * f, p, q = v_fma(v_set(0.220080655f), w, v_set(-1.33209387f));
    if (brief) {
        p = v_fma(v_set(-0.55839602f), w, v_set(2.54360495f));
    } else {
        p = v_fma(v_set(0.077560387f), w, v_set(-0.598242126f));
        p = v_fma(p, w, v_set(2.55006973f));
    }
    q = v_fma(q, w, v_set(4.05845134f));
    p = v_fma(p, w, v_set(brief ? -5.16736781f : -5.16770968f));
    q = v_fma(q, w, v_set(-4.93479552f));
    *c = v_fma(q, w, v_set(1));
    return v_fma(p, w, v_set(brief ? 3.1415897f : 3.14159264f)) * f;
}

#endif
