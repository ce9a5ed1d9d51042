/* SPDX-License-Identifier: MIT
 * Products by warpgroups: which take part, in what tiles, and where they are chosen. Pure functions. Inside
 * kernels/matmul and kernels/fp8 only. */
#ifndef MGK_MATMUL_SM90_H
#define MGK_MATMUL_SM90_H

#include "kernels/common/hopper.h"
#include "kernels/matmul/matmul.h"

typedef struct mgk_product_tiles {
    int columns;   /* of a tile of MGK_PRODUCT_ROWS rows */
    int cluster;   /* blocks, whose tiles lie below each other and share the columns of B */
    int64_t m, n;  /* clusters of tiles of an item, in both directions */
    int64_t tasks; /* of all items */
} mgk_product_tiles;

MGK_PURE mgk_product_tiles mgk_product_in_tiles(int64_t m, int64_t n, int64_t batch, int columns,
                                                int cluster)
{
    mgk_product_tiles t;
    t.columns = columns;
    t.cluster = cluster;
    t.m = mgk_tiles_of(m, (int64_t)MGK_PRODUCT_ROWS * cluster);
    t.n = mgk_tiles_of(n, columns);
    t.tasks = t.m * t.n * batch;
    return t;
}

/* Tiles as large as fill the multiprocessors about as well as smaller ones do:
 *
 *   columns  blocks  multiply-adds a byte from L2   why
 *   256      2       64                             what registers and shared memory allow; B comes once for two blocks
 *   128      1       32                             four times as many tiles: small results
 *
 * A round is what all multiprocessors do at a time; what counts is the rows and columns that a multiprocessor works on
 * in all rounds. */
MGK_PURE mgk_product_tiles mgk_product_choose(int64_t m, int64_t n, int64_t batch,
                                              int64_t multiprocessors)
{
    const mgk_product_tiles wide = mgk_product_in_tiles(m, n, batch, 256, 2);
    const mgk_product_tiles narrow = mgk_product_in_tiles(m, n, batch, 128, 1);
    const int64_t pairs = multiprocessors > 1 ? multiprocessors / 2 : 1;
    const int64_t of_wide = mgk_tiles_of(wide.tasks, pairs) * 256;
    const int64_t of_narrow = mgk_tiles_of(narrow.tasks, multiprocessors) * 128;
    return of_wide <= of_narrow + of_narrow / 4 ? wide : narrow;
}

/* What is added to a tile when it is written is fetched to the cache before, a line by each thread of a warp in the last
 * steps along k: which of the tile's lines, counted along its rows; negative: none. */
enum { MGK_LINE = 128 /* bytes */ };

MGK_PURE int mgk_added_line(int steps_left, int lines, int thread)
{
    const int at = lines - steps_left * 32 + thread;
    return at < lines ? at : -1;
}

/* Left to "sm80", which has smaller tiles and divides k among blocks: few values of C, and few tiles of long k. */
MGK_PURE bool mgk_product_is_small(const mgk_matmul_args *g, const mgk_product_tiles *t,
                                   int64_t multiprocessors)
{
    return g->m < 64 || g->n < 64 || g->m * g->n < MGK_PRODUCT_ROWS * MGK_PRODUCT_ROWS ||
           (g->k >= 1024 && t->tasks * t->cluster * 4 < multiprocessors);
}

/* Where these kernels are taken although there is cuBLASLt. It is the faster one on an H200 (docs/products.md) but
 * where it cannot do all of the product at once:
 *
 *   what                               cuBLASLt                                            by warpgroups
 *   C, or C += ...                     one kernel                                          -
 *   bias, activation                   one kernel for f32 sums, one that reads them again  -
 *   residual + gate * (...), before    the same                                            one kernel: chosen
 *
 * if it is large enough for its tiles. */
MGK_PURE bool mgk_product_by_warpgroups(const mgk_matmul_args *g)
{
    return g->a.dtype == MGK_BF16 && g->residual.p && g->m >= 2 * MGK_PRODUCT_ROWS && g->n >= 128 &&
           g->k >= 4 * MGK_PRODUCT_DEPTH;
}

#endif
