/* SPDX-License-Identifier: MIT
 * softmax, softmax_grad and reduce on vectors; included once a variant. A block is a few rows. */
#include "kernels/common/rows_simd.h"
#include "kernels/reduce/reduce.h"

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
        float largest = v_row_walk(in, in, a->dim, V_ROW_LARGEST_NUMBER, 0);
        float share = 1 / v_row_walk(in, in, a->dim, V_ROW_EXP_SUM, largest);
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
        float sum = v_row_walk(y, dy, a->dim, V_ROW_PRODUCT, 0);
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
            v = v_row_walk(in, in, a->dim, V_ROW_LARGEST, 0);
        else
            v = v_row_walk(in, in, a->dim, V_ROW_SUM, 0);
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
