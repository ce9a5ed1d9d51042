/* SPDX-License-Identifier: MIT
 * Rows to one number each, for the files that include simd.h. */
#ifndef MGK_COMMON_ROWS_SIMD_H
#define MGK_COMMON_ROWS_SIMD_H

#include "kernels/common/real_simd.h"
#include "kernels/common/simd_math.h"

enum { V_ROW_SUM, V_ROW_LARGEST, V_ROW_LARGEST_NUMBER, V_ROW_EXP_SUM, V_ROW_PRODUCT };

/* The larger one; NaN if one of them is. */
MGK_INLINE vf v_larger(vf a, vf b)
{
    return v_select((a >= b) | (a != a), a, b);
}

/* exp(x) for x <= 0. Of bf16: 2^n (1 + f q(f)), off by 2^-17 and exact at 0. NaN gives NaN. */
MGK_INLINE vf v_row_exp(vf x, int32_t type)
{
    if (type != MGK_BF16)
        return v_exp(x);
    vf z = v_max(v_set(-150.0f), x * 1.44269504f), n = v_whole(z), f = z - n;
    vf q = v_fma(v_set(0.00965671029f), f, v_set(0.0558382829f));
    q = v_fma(q, f, v_set(0.240225301f));
    q = v_fma(q, f, v_set(0.693136734f));
    return v_scale_by(v_fma(q, f, v_set(1.0f)), n);
}

/* One vector into the running value; lanes that are not there are kept out. */
MGK_INLINE vf v_row_step(vf s, v_real x, v_real y, int64_t i, int64_t lanes, int what, float shift)
{
    vf v = v_read(x, i, lanes);
    if (what == V_ROW_LARGEST || what == V_ROW_LARGEST_NUMBER) {
        if (lanes < MGK_WIDTH)
            v = v_select(v_lanes_below(lanes), v, v_set(-INFINITY));
        return what == V_ROW_LARGEST ? v_larger(s, v) : v_max(v, s);
    }
    if (what == V_ROW_PRODUCT)
        return s + v * v_read(y, i, lanes);
    if (what == V_ROW_SUM)
        return s + v;
    v = v_row_exp(v - shift, x.dtype);
    return s + (lanes < MGK_WIDTH ? (vf)((vi)v & v_lanes_below(lanes)) : v);
}

/* Over a row: the sum of x, of exp(x - shift), shift the largest x, or of x y, or the largest x, or that of those which are
 * numbers. */
MGK_INLINE float v_row_walk(v_real x, v_real y, int64_t n, int what, float shift)
{
    vf s[4];
    int64_t i = 0;
    for (int k = 0; k < 4; k++)
        s[k] = v_set(what == V_ROW_LARGEST || what == V_ROW_LARGEST_NUMBER ? -INFINITY : 0);
    for (; i + 4 * MGK_WIDTH <= n; i += 4 * MGK_WIDTH) {
        MGK_UNROLL
        for (int k = 0; k < 4; k++)
            s[k] = v_row_step(s[k], x, y, i + k * MGK_WIDTH, MGK_WIDTH, what, shift);
    }
    for (; i < n; i += MGK_WIDTH)
        s[0] = v_row_step(s[0], x, y, i, mgk_min(MGK_WIDTH, n - i), what, shift);
    if (what == V_ROW_LARGEST_NUMBER)
        return v_highest(v_max(v_max(s[0], s[1]), v_max(s[2], s[3])));
    if (what != V_ROW_LARGEST)
        return v_sum((s[0] + s[1]) + (s[2] + s[3]));
    vf m = v_larger(v_larger(s[0], s[1]), v_larger(s[2], s[3]));
    for (int k = 0; k < MGK_WIDTH; k++)
        if (m[k] != m[k])
            return m[k];
    return v_highest(m);
}

#endif
