/* SPDX-License-Identifier: MIT
 * matmul: block sizes and workspace, pure functions of the arguments. */
#include "kernels/matmul/matmul_plan.h"

enum {
    KC = 512,      /* values of k a block: fewer would read and write C too often */
    MC = 112,      /* rows of A a block: MC x KC floats are a quarter of a second-level cache */
    MC_STEP = 14,  /* tallest tile */
    NC = 1152,     /* columns a block when C is read again for each block of k */
    NC_SUMS = 384, /* the same when its sums are kept apart */
    MC_MIN = 28,   /* a block is not cut further in order to have more units of work */
    NC_MIN = 64,
    UNITS = 16,      /* units of work to aim for */
    SMALL = 1 << 21, /* multiply-adds of an item below which items are units */
    ITEM_B = 1 << 18 /* floats of B that a thread may pack for itself if items are many */
};

/* size as `count` blocks of whole steps, nearly equal. */
static void cut(int64_t size, int64_t count, int64_t step, int64_t *block, int64_t *blocks)
{
    *block = mgk_max64(mgk_round_up(mgk_ceil_div(size, mgk_max64(count, 1)), step), 1);
    *blocks = mgk_max64(mgk_ceil_div(size, *block), 1);
}

mgk_matmul_plan mgk_matmul_make_plan(const mgk_matmul_args *g)
{
    mgk_matmul_plan p = {.m = g->m, .batch = g->batch};
    /* Items that share B and follow each other are one tall matrix. */
    if (g->batch > 1 && !g->gate.p && g->stride_b == 0 && !g->trans_a &&
        g->stride_a == g->m * g->lda && g->stride_c == g->m * g->ldc) {
        p.m = g->m * g->batch;
        p.batch = 1;
    }
    p.n_pad = mgk_round_up(g->n, MGK_PANEL_NR_MAX);
    p.k_blocks = mgk_max64(mgk_ceil_div(g->k, KC), 1);
    p.kc = mgk_round_up(mgk_max64(mgk_ceil_div(g->k, p.k_blocks), 1), 4);
    p.k_blocks = mgk_max64(mgk_ceil_div(g->k, p.kc), 1);
    p.b_floats = p.k_blocks * p.kc * p.n_pad;
    p.item_a_unit = p.batch > 1 && g->stride_b != 0 &&
                    ((double)p.m * (double)g->n * (double)g->k < SMALL ||
                     (p.batch >= 4 * UNITS && p.b_floats <= ITEM_B));
    cut(p.m, mgk_ceil_div(p.m, MC), MC_STEP, &p.mc, &p.m_blocks);
    const bool sums = p.k_blocks > 1 && g->c.dtype == MGK_BF16;
    cut(g->n, p.k_blocks > 1 ? mgk_ceil_div(g->n, sums ? NC_SUMS : NC) : 1, MGK_PANEL_NR_MAX, &p.nc,
        &p.n_blocks);
    /* Too few blocks: halve the longer side, so that a block reads little for what it does. */
    while (!p.item_a_unit && p.m_blocks * p.n_blocks < UNITS && (p.mc > MC_MIN || p.nc > NC_MIN)) {
        if (p.nc > NC_MIN && (p.nc >= p.mc || p.mc <= MC_MIN))
            cut(g->n, 2 * p.n_blocks, MGK_PANEL_NR_MAX, &p.nc, &p.n_blocks);
        else
            cut(p.m, 2 * p.m_blocks, MC_STEP, &p.mc, &p.m_blocks);
    }
    /* Copy a block of A when it is read for several panels (rows of A far apart fall on the same
     * sets of the cache and on many pages). */
    const bool narrow = g->k > 0 && g->a.dtype == MGK_BF16;
    p.copy_a = mgk_min64(g->n, p.nc) > 2 * MGK_PANEL_NR_MAX;
    p.a_stride = mgk_round_up(p.kc, 32) + 16;
    if (p.copy_a || narrow)
        p.a_floats =
            mgk_round_up(g->trans_a ? mgk_panel_tiles_max(p.mc, p.kc) : p.mc * p.a_stride, 16);
    p.c_stride = p.nc + 16;
    if (sums)
        p.c_floats = p.mc * p.c_stride;
    return p;
}

size_t mgk_matmul_workspace(const void *args, int threads)
{
    const mgk_matmul_plan p = mgk_matmul_make_plan(args);
    const double need = (double)(p.a_floats + p.b_floats + p.c_floats) * threads * 4;
    if (need > 0x1p62)
        return SIZE_MAX;
    return (size_t)((p.a_floats + p.c_floats) * threads +
                    (p.item_a_unit ? p.b_floats * threads : p.b_floats)) *
           sizeof(float);
}
