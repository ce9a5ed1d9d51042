/* SPDX-License-Identifier: MIT
 * glu and glu_grad on vectors; included once a variant. */
#include "kernels/common/simd_math.h"
#include "kernels/glu/glu.h"

MGK_INLINE void glu_rows(const mgk_glu_args *a, int64_t first, int64_t end, int kind)
{
    for (int64_t r = first; r < end; r++) {
        const float *left = MGK_F(a->x) + 2 * r * a->dim, *right = left + a->dim;
        float *out = MGK_F(a->y) + r * a->dim;
        MGK_EACH_VECTOR(i, a->dim, {
            vf v = v_in(left + i);
            v_out(out + i, (kind == MGK_GLU_SILU ? v_silu(v) : v_gelu(v)) * v_in(right + i));
        });
    }
}

static void glu_block(void *arg, int64_t block, int thread)
{
    const mgk_glu_args *a = arg;
    (void)thread;
    int64_t rows = mgk_rows_a_block(a->dim), end = mgk_min(a->rows, (block + 1) * rows);
    if (a->kind == MGK_GLU_SILU)
        glu_rows(a, block * rows, end, MGK_GLU_SILU);
    else
        glu_rows(a, block * rows, end, MGK_GLU_GELU_TANH);
}

MGK_LAUNCH(glu)
{
    const mgk_glu_args *a = args;
    if (a->dim > 0)
        mgk_for(x, mgk_div_up(a->rows, mgk_rows_a_block(a->dim)), 4 * a->rows * a->dim, glu_block,
                (void *)args);
}

MGK_INLINE void glu_grad_rows(const mgk_glu_args *a, int64_t first, int64_t end, int kind)
{
    for (int64_t r = first; r < end; r++) {
        const float *left = MGK_F(a->x) + 2 * r * a->dim, *right = left + a->dim;
        const float *dy = MGK_F(a->dy) + r * a->dim;
        float *d_left = MGK_F(a->dx) + 2 * r * a->dim, *d_right = d_left + a->dim;
        MGK_EACH_VECTOR(i, a->dim, {
            vf act;
            vf v = v_in(left + i);
            vf slope = kind == MGK_GLU_SILU ? v_silu_grad(v, &act) : v_gelu_grad(v, &act);
            vf d = v_in(dy + i);
            v_out(d_left + i, d * v_in(right + i) * slope);
            v_out(d_right + i, d * act);
        });
    }
}

static void glu_grad_block(void *arg, int64_t block, int thread)
{
    const mgk_glu_args *a = arg;
    (void)thread;
    int64_t rows = mgk_rows_a_block(a->dim), end = mgk_min(a->rows, (block + 1) * rows);
    if (a->kind == MGK_GLU_SILU)
        glu_grad_rows(a, block * rows, end, MGK_GLU_SILU);
    else
        glu_grad_rows(a, block * rows, end, MGK_GLU_GELU_TANH);
}

MGK_LAUNCH(glu_grad)
{
    const mgk_glu_args *a = args;
    if (a->dim > 0)
        mgk_for(x, mgk_div_up(a->rows, mgk_rows_a_block(a->dim)), 4 * a->rows * a->dim,
                glu_grad_block, (void *)args);
}
