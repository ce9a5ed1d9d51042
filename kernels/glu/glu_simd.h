/* SPDX-License-Identifier: MIT
 * glu and glu_grad on vectors; included once a variant. Loops are compiled once for each kind and dtype. */
#include "kernels/common/real_simd.h"
#include "kernels/common/simd_math.h"
#include "kernels/glu/glu.h"

#define FOR_KIND(op_kind, type, body, ...)                                                         \
    do {                                                                                           \
        if ((op_kind) == MGK_GLU_SILU)                                                             \
            V_BY_DTYPE(type, body, __VA_ARGS__, MGK_GLU_SILU);                                     \
        else if ((op_kind) == MGK_GLU_GELU_TANH)                                                   \
            V_BY_DTYPE(type, body, __VA_ARGS__, MGK_GLU_GELU_TANH);                                \
        else                                                                                       \
            V_BY_DTYPE(type, body, __VA_ARGS__, MGK_GLU_GELU_ERF);                                 \
    } while (0)

MGK_INLINE vf activate(vf v, int kind, bool brief)
{
    return kind == MGK_GLU_SILU        ? v_silu(v, brief)
           : kind == MGK_GLU_GELU_TANH ? v_gelu(v, brief)
                                       : v_gelu_erf(v, brief);
}

MGK_INLINE vf activate_grad(vf v, vf *y, int kind, bool brief)
{
    return kind == MGK_GLU_SILU        ? v_silu_grad(v, y, brief)
           : kind == MGK_GLU_GELU_TANH ? v_gelu_grad(v, y, brief)
                                       : v_gelu_erf_grad(v, y, brief);
}

MGK_INLINE void glu_rows(const mgk_glu_args *a, int64_t first, int64_t end, int kind, int32_t type)
{
    int32_t stream = mgk_streams(a->y, a->rows, a->dim);
    for (int64_t r = first; r < end; r++) {
        v_real left = v_from(a->x, 2 * r * a->dim, type);
        v_real right = v_from(a->x, (2 * r + 1) * a->dim, type);
        v_real out = v_from(a->y, r * a->dim, type);
        out.stream = stream;
        MGK_EACH_VECTOR(i, a->dim, {
            v_prefetch(left,
                       2 * a->dim + i); /* the next row, which the processor does not foresee */
            v_prefetch(right, 2 * a->dim + i);
            v_put(out, i, activate(v_get(left, i), kind, type == MGK_BF16) * v_get(right, i));
        });
    }
    v_stream_end(stream);
}

static void glu_block(void *arg, int64_t block, int thread)
{
    const mgk_glu_args *a = arg;
    (void)thread;
    int64_t rows = mgk_rows_a_block(a->dim), end = mgk_min(a->rows, (block + 1) * rows);
    FOR_KIND(a->kind, a->x.dtype, glu_rows, a, block * rows, end);
}

MGK_LAUNCH(glu)
{
    const mgk_glu_args *a = args;
    if (a->dim > 0)
        mgk_for(x, mgk_div_up(a->rows, mgk_rows_a_block(a->dim)), 4 * a->rows * a->dim, glu_block,
                (void *)args);
}

MGK_INLINE void glu_grad_rows(const mgk_glu_args *a, int64_t first, int64_t end, int kind,
                              int32_t type)
{
    int32_t stream = mgk_streams(a->dx, 2 * a->rows, a->dim);
    for (int64_t r = first; r < end; r++) {
        v_real left = v_from(a->x, 2 * r * a->dim, type);
        v_real right = v_from(a->x, (2 * r + 1) * a->dim, type);
        v_real dy = v_from(a->dy, r * a->dim, type);
        v_real d_left = v_from(a->dx, 2 * r * a->dim, type);
        v_real d_right = v_from(a->dx, (2 * r + 1) * a->dim, type);
        d_left.stream = d_right.stream = stream;
        MGK_EACH_VECTOR(i, a->dim, {
            v_prefetch(left, 2 * a->dim + i);
            v_prefetch(right, 2 * a->dim + i);
            vf act;
            vf slope = activate_grad(v_get(left, i), &act, kind, type == MGK_BF16);
            vf d = v_get(dy, i);
            v_put(d_left, i, d * v_get(right, i) * slope);
            v_put(d_right, i, d * act);
        });
    }
    v_stream_end(stream);
}

static void glu_grad_block(void *arg, int64_t block, int thread)
{
    const mgk_glu_args *a = arg;
    (void)thread;
    int64_t rows = mgk_rows_a_block(a->dim), end = mgk_min(a->rows, (block + 1) * rows);
    FOR_KIND(a->kind, a->x.dtype, glu_grad_rows, a, block * rows, end);
}

MGK_LAUNCH(glu_grad)
{
    const mgk_glu_args *a = args;
    if (a->dim > 0)
        mgk_for(x, mgk_div_up(a->rows, mgk_rows_a_block(a->dim)), 4 * a->rows * a->dim,
                glu_grad_block, (void *)args);
}
