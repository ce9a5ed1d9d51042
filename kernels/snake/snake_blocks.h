/* SPDX-License-Identifier: MIT
 * How snake and snake_grad are cut into blocks, and what lies in their workspace. */
#ifndef MGK_SNAKE_BLOCKS_H
#define MGK_SNAKE_BLOCKS_H

#include "kernels/common/parallel.h"
#include "kernels/snake/snake.h"

enum {
    SNAKE_SHORT =
        64, /* rows shorter than this are taken SNAKE_TOGETHER at a time, so that vectors fit */
    SNAKE_TOGETHER = 16, /* a multiple of every variant's vector */
    SNAKE_PAIR = 32,     /* two of the widest vectors */
    SNAKE_COLUMNS = 3,
    SNAKE_LEAST_LINES = 16 /* of a block, whose sums are as long as a line */
};

/* The elements as `lines` lines of `width` values, the last of which may be shorter. In the workspace are alpha / pi,
 * 1 / (alpha + eps) and twice alpha times that for each value of a line, `pitch` floats apart, and behind them, where
 * d_alpha is wanted, two sums of each block: of x sin cos dy and of sin^2 dy. */
typedef struct mgk_snake_plan {
    int64_t count, width, pitch, lines, block_lines, blocks;
} mgk_snake_plan;

static inline mgk_snake_plan mgk_plan_snake(const mgk_snake_args *a)
{
    mgk_snake_plan p = {.count = a->rows * a->dim};
    if (p.count == 0)
        return p;
    p.width = a->dim < SNAKE_SHORT ? SNAKE_TOGETHER * a->dim : a->dim;
    p.pitch = (mgk_div_up(p.width, SNAKE_PAIR) + 5) * SNAKE_PAIR; /* apart within a page, too */
    p.lines = mgk_div_up(p.count, p.width);
    p.block_lines = mgk_max(SNAKE_LEAST_LINES, 2 * MGK_BLOCK_ELEMENTS / p.width);
    p.blocks = mgk_div_up(p.lines, p.block_lines);
    return p;
}

#endif
