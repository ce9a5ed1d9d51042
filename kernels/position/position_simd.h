/* SPDX-License-Identifier: MIT
 * Positions on vectors; included once a variant. */
#include "kernels/common/simd.h"
#include "kernels/position/position.h"

enum { COLUMNS = 32 }; /* a gradient's block: it sums its columns over all tokens, in one order */

MGK_INLINE void add_tokens(const mgk_position_args *a, int64_t first, int64_t end, int32_t dtype)
{
    const v_real in = {a->x.p, dtype}, out = {a->y.p, dtype};
    for (int64_t n = first; n < end; n++) {
        int64_t at = a->token_offset + n % a->tokens, k = at % a->grid_w;
        int64_t j = at / a->grid_w % a->grid_h, i = at / a->grid_w / a->grid_h, e = n * a->dim;
        const float *frame = MGK_F(a->frame) + i * a->dim, *row = MGK_F(a->row) + j * a->dim;
        const float *column = MGK_F(a->column) + k * a->dim;
        MGK_EACH_VECTOR(c, a->dim, {
            vf table = v_in(frame + c) + v_in(row + c) + v_in(column + c);
            v_put(out, e + c, v_get(in, e + c) + table);
        });
    }
}

static void add_block(void *arg, int64_t block, int thread)
{
    const mgk_position_args *a = arg;
    (void)thread;
    int64_t n = mgk_rows_a_block(a->dim), end = mgk_min(a->batch * a->tokens, (block + 1) * n);
    if (a->x.dtype == MGK_BF16)
        add_tokens(a, block * n, end, MGK_BF16);
    else
        add_tokens(a, block * n, end, MGK_F32);
}

MGK_LAUNCH(position_add)
{
    const mgk_position_args *a = args;
    int64_t n = a->batch * a->tokens;
    if (a->dim > 0)
        mgk_for(x, mgk_div_up(n, mgk_rows_a_block(a->dim)), n * a->dim, add_block, (void *)args);
}

MGK_INLINE void add_to(float *table, int64_t lanes, vf sum)
{
    if (table)
        v_store_lanes(table, lanes, v_load_lanes(table, lanes) + sum);
}

static float *table_at(mgk_buf table, int64_t row, int64_t dim, int64_t c)
{
    return table.p ? MGK_F(table) + row * dim + c : NULL;
}

/* Sums of one run of columns: over the batch for the column table, these over a grid row for the row
 * table, these over a frame for the frame table. */
MGK_INLINE void sum_columns(const mgk_position_args *a, int64_t c, int64_t lanes, int32_t dtype)
{
    const v_real dy = {a->dy.p, dtype};
    int64_t frame = a->grid_h * a->grid_w, end = a->token_offset + a->tokens;
    for (int64_t at = a->token_offset; at < end;) {
        int64_t i = at / frame, frame_end = mgk_min(end, (i + 1) * frame);
        vf in_frame = v_set(0);
        while (at < frame_end) {
            int64_t j = at / a->grid_w % a->grid_h;
            int64_t row_end = mgk_min(frame_end, (at / a->grid_w + 1) * a->grid_w);
            vf in_row = v_set(0);
            for (; at < row_end; at++) {
                vf sum = v_set(0);
                for (int64_t b = 0; b < a->batch; b++)
                    sum += v_read(dy, (b * a->tokens + at - a->token_offset) * a->dim + c, lanes);
                add_to(table_at(a->d_column, at % a->grid_w, a->dim, c), lanes, sum);
                in_row += sum;
            }
            add_to(table_at(a->d_row, j, a->dim, c), lanes, in_row);
            in_frame += in_row;
        }
        add_to(table_at(a->d_frame, i, a->dim, c), lanes, in_frame);
    }
}

static void grad_block(void *arg, int64_t block, int thread)
{
    const mgk_position_args *a = arg;
    (void)thread;
    int64_t end = mgk_min(a->dim, (block + 1) * COLUMNS);
    for (int64_t c = block * COLUMNS; c < end; c += MGK_WIDTH) {
        int64_t lanes = mgk_min(MGK_WIDTH, end - c);
        if (a->dy.dtype == MGK_BF16)
            sum_columns(a, c, lanes, MGK_BF16);
        else
            sum_columns(a, c, lanes, MGK_F32);
    }
}

MGK_LAUNCH(position_add_grad)
{
    const mgk_position_args *a = args;
    mgk_for(x, mgk_div_up(a->dim, COLUMNS), a->batch * a->tokens * a->dim, grad_block,
            (void *)args);
}
