/* SPDX-License-Identifier: MIT
 * How reduce_rows is cut into blocks, and the workspace of gated_residual_grad. */
#ifndef MGK_POINTWISE_BLOCKS_H
#define MGK_POINTWISE_BLOCKS_H

#include "kernels/common/parallel.h"
#include "kernels/pointwise/pointwise.h"

/* Of gated_residual_grad: columns that a thread needs, and the floats of one: `dim`, and as many cache lines more as
 * keep columns of 4096 bytes out of each other's sets. */
enum { GATE_COLUMNS = 2 };

static inline int64_t mgk_gate_column(int64_t dim)
{
    return mgk_pad16(dim) + 112;
}

/* x is seen as `lines` lines of `width` = period * dim values, of which the first `skip` values (rows
 * that came before) and those past `end` are not there. A task sums a block of lines over a block of
 * columns. */
typedef struct mgk_reduce_plan {
    int64_t width, lines, skip, end;
    int64_t block_lines, row_blocks, block_columns, column_blocks;
} mgk_reduce_plan;

static inline mgk_reduce_plan mgk_plan_reduce(const void *args)
{
    const mgk_pointwise_args *a = args;
    mgk_reduce_plan p = {.width = a->period * a->dim};
    p.skip = a->row_offset % a->period * a->dim;
    p.end = p.skip + a->rows * a->dim;
    p.lines = mgk_div_up(a->row_offset % a->period + a->rows, a->period);
    p.block_columns = mgk_min(mgk_max(1, p.width), 1024);
    p.column_blocks = mgk_div_up(p.width, p.block_columns);
    /* Short lines are added in groups (see the kernel), so that many of them lose no precision. */
    p.block_lines = mgk_max(64, 2 * MGK_BLOCK_ELEMENTS / p.block_columns);
    p.row_blocks = mgk_div_up(p.lines, p.block_lines);
    return p;
}

/* Rows of x that belong to row p of the table. */
static inline int64_t mgk_reduce_rows_of(const mgk_pointwise_args *a, int64_t p)
{
    int64_t first = (p - a->row_offset % a->period + a->period) % a->period;
    return first < a->rows ? (a->rows - 1 - first) / a->period + 1 : 0;
}

#endif
