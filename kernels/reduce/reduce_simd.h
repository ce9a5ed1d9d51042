/* SPDX-License-Identifier: MIT
 * softmax, softmax_grad and reduce on vectors; included once a variant. A block is a few rows. */
#include "kernels/common/real_simd.h"
#include "kernels/common/simd_math.h"
#include "kernels/reduce/reduce.h"

enum { SUM, LARGEST, EXP_SUM, PRODUCT };

/* The larger one; NaN if one of them is. */
MGK_INLINE vf larger(vf a, vf b)
{
    return v_select((a >= b) | (a != a), a, b);
}

/* One vector into the running value; lanes that are not there are kept out. */
MGK_INLINE vf walk_step(vf s, v_real x, v_real y, int64_t i, int64_t lanes, int what, float shift)
{
    vf v = v_read(x, i, lanes);
    if (what == LARGEST) {
        if (lanes < MGK_WIDTH)
            v = v_select(v_lanes_below(lanes), v, v_set(-INFINITY));
        return larger(s, v);
    }
    if (what == PRODUCT)
        return s + v * v_read(y, i, lanes);
    if (what == SUM)
        return s + v;
    v = v_exp(v - shift);
    return s + (lanes < MGK_WIDTH ? (vf)((vi)v & v_lanes_below(lanes)) : v);
}

/* Over a row: the sum of x, of exp(x - shift) or of x y, or the largest x. */
MGK_INLINE float row_walk(v_real x, v_real y, int64_t n, int what, float shift)
{
    vf s[4];
    int64_t i = 0;
    for (int k = 0; k < 4; k++)
        s[k] = v_set(what == LARGEST ? -INFINITY : 0);
    for (; i + 4 * MGK_WIDTH <= n; i += 4 * MGK_WIDTH) {
        MGK_UNROLL
        for (int k = 0; k < 4; k++)
            s[k] = walk_step(s[k], x, y, i + k * MGK_WIDTH, MGK_WIDTH, what, shift);
    }
    for (; i < n; i += MGK_WIDTH)
        s[0] = walk_step(s[0], x, y, i, mgk_min(MGK_WIDTH, n - i), what, shift);
    if (what != LARGEST)
        return v_sum((s[0] + s[1]) + (s[2] + s[3]));
    vf m = larger(larger(s[0], s[1]), larger(s[2], s[3]));
    for (int k = 0; k < MGK_WIDTH; k++)
        if (m[k] != m[k])
            return m[k];
    return v_highest(m);
}

static void run_rows(mgk_exec *x, const mgk_reduce_args *a, int64_t cost, mgi_pool_fn *fn)
{
    mgk_for(x, mgk_div_up(a->rows, mgk_rows_a_block(a->dim)), cost * a->rows * a->dim, fn,
            (void *)a);
}

/* The rows of a block. */
static int64_t block_rows(const mgk_reduce_args *a, int64_t block, int64_t *end)
{
    int64_t rows = mgk_rows_a_block(a->dim);
    *end = mgk_min(a->rows, (block + 1) * rows);
    return block * rows;
}

MGK_INLINE void softmax_rows(const mgk_reduce_args *a, int64_t r, int64_t end, int32_t type)
{
    int32_t stream = mgk_streams(a->y, a->rows, a->dim);
    for (; r < end; r++) {
        v_real in = v_from(a->x, r * a->dim, type), out = v_from(a->y, r * a->dim, type);
        out.stream = stream;
        float largest = row_walk(in, in, a->dim, LARGEST, 0);
        float share = 1 / row_walk(in, in, a->dim, EXP_SUM, largest);
        MGK_EACH_VECTOR(i, a->dim, {
            vf v = v_get(in, i) - largest;
            v_prefetch(in, a->dim + i);
            v_put(out, i, (type == MGK_BF16 ? v_exp_brief(v) : v_exp(v)) * share);
        });
    }
    v_stream_end(stream);
}

static void softmax_block(void *arg, int64_t block, int thread)
{
    const mgk_reduce_args *a = arg;
    (void)thread;
    int64_t end, first = block_rows(a, block, &end);
    V_BY_DTYPE(a->x.dtype, softmax_rows, a, first, end);
}

MGK_LAUNCH(softmax)
{
    const mgk_reduce_args *a = args;
    if (a->dim > 0)
        run_rows(x, a, 4, softmax_block);
}

MGK_INLINE void softmax_grad_rows(const mgk_reduce_args *a, int64_t r, int64_t end, int32_t type)
{
    const bool add = a->accumulate;
    int32_t stream = !add && mgk_streams(a->dx, a->rows, a->dim);
    for (; r < end; r++) {
        v_real y = v_from(a->y, r * a->dim, type), dy = v_from(a->dy, r * a->dim, type);
        v_real dx = v_from(a->dx, r * a->dim, type);
        dx.stream = stream;
        float sum = row_walk(y, dy, a->dim, PRODUCT, 0);
        MGK_EACH_VECTOR(i, a->dim, {
            vf v = v_get(y, i) * (v_get(dy, i) - sum);
            v_prefetch(y, a->dim + i);
            v_prefetch(dy, a->dim + i);
            v_put(dx, i, add ? v_get(dx, i) + v : v);
        });
    }
    v_stream_end(stream);
}

static void softmax_grad_block(void *arg, int64_t block, int thread)
{
    const mgk_reduce_args *a = arg;
    (void)thread;
    int64_t end, first = block_rows(a, block, &end);
    V_BY_DTYPE(a->y.dtype, softmax_grad_rows, a, first, end);
}

MGK_LAUNCH(softmax_grad)
{
    const mgk_reduce_args *a = args;
    if (a->dim > 0)
        run_rows(x, a, 1, softmax_grad_block);
}

MGK_INLINE void reduce_rows_of(const mgk_reduce_args *a, int64_t r, int64_t end, int32_t type)
{
    for (; r < end; r++) {
        v_real in = v_from(a->x, r * a->dim, type);
        float v;
        if (a->kind == MGK_REDUCE_MAX)
            v = row_walk(in, in, a->dim, LARGEST, 0);
        else
            v = row_walk(in, in, a->dim, SUM, 0);
        MGK_F(a->y)[r] = a->kind == MGK_REDUCE_MEAN ? v / (float)a->dim : v;
    }
}

static void reduce_block(void *arg, int64_t block, int thread)
{
    const mgk_reduce_args *a = arg;
    (void)thread;
    int64_t end, first = block_rows(a, block, &end);
    V_BY_DTYPE(a->x.dtype, reduce_rows_of, a, first, end);
}

MGK_LAUNCH(reduce)
{
    run_rows(x, args, 1, reduce_block);
}
