/* SPDX-License-Identifier: MIT
 * embedding and its gradient on vectors; included once a variant. */
#include "kernels/common/real_simd.h"
#include "kernels/embedding/embedding.h"

enum { COLUMNS = 128 }; /* columns a block of the gradient */

/* Where the row of an id begins. */
static int64_t table_at(const mgk_embedding_args *a, int64_t r)
{
    int64_t id = MGK_I(a->ids)[r];
    return (id >= 0 && id < a->vocab ? id : 0) * a->dim;
}

MGK_INLINE void convert_row(mgk_buf to, int64_t to_at, mgk_buf from, int64_t from_at, int64_t n)
{
    const v_real t = v_from(to, to_at, to.dtype), f = v_from(from, from_at, from.dtype);
    MGK_EACH_VECTOR(i, n, { v_put(t, i, v_get(f, i)); });
}

static void lookup_block(void *arg, int64_t block, int thread)
{
    const mgk_embedding_args *a = arg;
    int64_t rows = mgk_rows_a_block(a->dim), end = mgk_min(a->rows, (block + 1) * rows);
    int64_t size = mgk_real_size(a->y.dtype);
    (void)thread;
    for (int64_t r = block * rows; r < end; r++)
        if (a->table.dtype == a->y.dtype)
            v_copy((char *)a->y.p + r * a->dim * size,
                   (const char *)a->table.p + table_at(a, r) * size, a->dim * size);
        else
            convert_row(a->y, r * a->dim, a->table, table_at(a, r), a->dim);
}

MGK_LAUNCH(embedding)
{
    const mgk_embedding_args *a = args;
    if (a->dim > 0)
        mgk_for(x, mgk_div_up(a->rows, mgk_rows_a_block(a->dim)), a->rows * a->dim, lookup_block,
                (void *)args);
}

MGK_INLINE void scatter(const mgk_embedding_args *a, int64_t first, int64_t n, int32_t dtype)
{
    for (int64_t r = 0; r < a->rows; r++) {
        float *to = MGK_F(a->table) + table_at(a, r) + first;
        const v_real from = v_from(a->y, r * a->dim + first, dtype);
        MGK_EACH_VECTOR(i, n, { v_out(to + i, v_in(to + i) + v_get(from, i)); });
    }
}

/* A block has some columns of the table to itself and walks all rows in their order. */
static void scatter_block(void *arg, int64_t block, int thread)
{
    const mgk_embedding_args *a = arg;
    int64_t first = block * COLUMNS, n = mgk_min(COLUMNS, a->dim - first);
    (void)thread;
    V_BY_DTYPE(a->y.dtype, scatter, a, first, n);
}

MGK_LAUNCH(embedding_grad)
{
    const mgk_embedding_args *a = args;
    if (a->rows > 0)
        mgk_for(x, mgk_div_up(a->dim, COLUMNS), a->rows * a->dim, scatter_block, (void *)args);
}
