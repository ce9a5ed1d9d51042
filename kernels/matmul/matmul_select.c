/* SPDX-License-Identifier: MIT
 * matmul: block sizes and workspace, pure functions of the arguments. */
#include "kernels/matmul/matmul_plan.h"

enum {
    KC = 320,       /* a panel of B, KC x 32 floats, stays in the first-level cache */
    MC = 224,       /* rows of A a block: MC x KC floats are a third of the second-level cache */
    MC_STEP = 14,   /* tallest tile */
    NC = 768,       /* columns a block when C is read again for each block of k */
    UNITS = 16,     /* units of work to aim for */
    SMALL = 1 << 21 /* multiply-adds of an item below which items are units */
};

mgk_matmul_plan mgk_matmul_make_plan(const mgk_matmul_args *g)
{
    mgk_matmul_plan p = {.m = g->m, .batch = g->batch};
    /* Items that share B and follow each other are one tall matrix. */
    if (g->batch > 1 && g->stride_b == 0 && !g->trans_a && g->stride_a == g->m * g->lda &&
        g->stride_c == g->m * g->ldc) {
        p.m = g->m * g->batch;
        p.batch = 1;
    }
    p.n_pad = mgk_round_up(g->n, MGK_PANEL_NR_MAX);
    p.k_blocks = mgk_max64(mgk_ceil_div(g->k, KC), 1);
    p.kc = mgk_round_up(mgk_max64(mgk_ceil_div(g->k, p.k_blocks), 1), 4);
    p.k_blocks = mgk_max64(mgk_ceil_div(g->k, p.kc), 1);
    p.item_a_unit =
        p.batch > 1 && g->stride_b != 0 && (double)p.m * (double)g->n * (double)g->k < SMALL;
    const int64_t units = p.item_a_unit ? 1 : UNITS;
    int64_t n_blocks = p.k_blocks > 1 ? mgk_ceil_div(g->n, NC) : 1;
    int64_t m_blocks = mgk_ceil_div(p.m, p.item_a_unit ? p.m + 1 : MC);
    if (!p.item_a_unit && m_blocks * n_blocks < units) {
        m_blocks = mgk_min64(mgk_ceil_div(units, n_blocks), mgk_ceil_div(p.m, 2 * MC_STEP));
        m_blocks = mgk_max64(m_blocks, mgk_ceil_div(p.m, MC));
        if (m_blocks * n_blocks < units)
            n_blocks = mgk_min64(mgk_ceil_div(units, mgk_max64(m_blocks, 1)),
                                 p.n_pad / (2 * MGK_PANEL_NR_MAX));
    }
    m_blocks = mgk_max64(m_blocks, 1);
    n_blocks = mgk_max64(n_blocks, 1);
    p.mc = mgk_max64(mgk_round_up(mgk_ceil_div(p.m, m_blocks), MC_STEP), 1);
    p.m_blocks = mgk_ceil_div(p.m, p.mc);
    p.nc = mgk_max64(mgk_round_up(mgk_ceil_div(g->n, n_blocks), MGK_PANEL_NR_MAX), 1);
    p.n_blocks = mgk_ceil_div(g->n, p.nc);
    /* Copy a block of A when it is read for several panels (rows of A far apart fall on the same
     * sets of the cache and on many pages). */
    if (mgk_min64(g->n, p.nc) > 2 * MGK_PANEL_NR_MAX && g->lda > p.kc)
        p.a_stride = g->trans_a ? p.mc + 16 : mgk_round_up(p.kc, 32) + 16;
    p.a_floats = mgk_round_up(p.a_stride * (g->trans_a ? p.kc : p.mc), 16);
    p.b_floats = p.k_blocks * p.kc * p.n_pad;
    return p;
}

size_t mgk_matmul_workspace(const void *args, int threads)
{
    const mgk_matmul_plan p = mgk_matmul_make_plan(args);
    const double need = (double)(p.a_floats + p.b_floats) * threads * 4;
    if (need > 0x1p62)
        return SIZE_MAX;
    return (size_t)(p.a_floats * threads + (p.item_a_unit ? p.b_floats * threads : p.b_floats)) *
           sizeof(float);
}
