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

/* From a row to the one to fetch: the halves of rows are too short for the processor to foresee them. bf16
 * goes by faster. */
MGK_INLINE int64_t fetch_distance(const mgk_glu_args *a, int32_t type)
{
    return (type == MGK_BF16 ? 4 : 2) * a->dim;
}

MGK_INLINE void glu_rows(const mgk_glu_args *a, int64_t first, int64_t end, int kind, int32_t type)
{
    const int32_t stream = mgk_streams(a->y, a->rows, a->dim);
    const int64_t ahead = fetch_distance(a, type);
    const bool brief = type == MGK_BF16;
    for (int64_t r = first; r < end; r++) {
        v_real left = v_from(a->x, 2 * r * a->dim, type);
        v_real right = v_from(a->x, (2 * r + 1) * a->dim, type);
        v_real out = v_from(a->y, r * a->dim, type);
        out.stream = stream;
        int64_t done = 0;
        for (; done + 2 * MGK_WIDTH <= a->dim; done += 2 * MGK_WIDTH) {
            v_two l = v_read_two(left, done), m = v_read_two(right, done);
            v_prefetch_two(left, ahead + done, false);
            v_prefetch_two(right, ahead + done, false);
            v_write_two(
                out, done,
                (v_two){activate(l.a, kind, brief) * m.a, activate(l.b, kind, brief) * m.b});
        }
        MGK_EACH_VECTOR_FROM(done, i, a->dim, {
            v_put(out, i, activate(v_get(left, i), kind, brief) * v_get(right, i));
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
    const int32_t stream = mgk_streams(a->dx, 2 * a->rows, a->dim);
    const int64_t ahead = fetch_distance(a, type);
    const bool brief = type == MGK_BF16;
    for (int64_t r = first; r < end; r++) {
        v_real left = v_from(a->x, 2 * r * a->dim, type);
        v_real right = v_from(a->x, (2 * r + 1) * a->dim, type);
        v_real dy = v_from(a->dy, r * a->dim, type);
        v_real d_left = v_from(a->dx, 2 * r * a->dim, type);
        v_real d_right = v_from(a->dx, (2 * r + 1) * a->dim, type);
        d_left.stream = d_right.stream = stream;
        int64_t done = 0;
        for (; done + 2 * MGK_WIDTH <= a->dim; done += 2 * MGK_WIDTH) {
            v_two act, slope, l = v_read_two(left, done), d = v_read_two(dy, done);
            v_two m = v_read_two(right, done);
            v_prefetch_two(left, ahead + done, false);
            v_prefetch_two(right, ahead + done, false);
            slope.a = activate_grad(l.a, &act.a, kind, brief);
            slope.b = activate_grad(l.b, &act.b, kind, brief);
            v_write_two(d_left, done, (v_two){d.a * m.a * slope.a, d.b * m.b * slope.b});
            v_write_two(d_right, done, (v_two){d.a * act.a, d.b * act.b});
        }
        MGK_EACH_VECTOR_FROM(done, i, a->dim, {
            vf act;
            vf slope = activate_grad(v_get(left, i), &act, kind, brief);
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
