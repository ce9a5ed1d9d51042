/* SPDX-License-Identifier: MIT
 * matmul: block sizes and workspace, pure functions of the arguments. */
#include "kernels/matmul/matmul_plan.h"

enum {
    KC = 512, /* values of k a block: fewer would read and write C too often */
    /* The same with vectors of 16 floats, whose processors have a second-level cache of 1 MB or more: a block of A and two
     * panels of B, the one that is read and the next, are 0.7 MB of f32. Others may have 256 KB. */
    KC_WIDE = 1024,
    MC = 112,       /* rows of A a block: with KC floats each they are 224 KB */
    MC_STEP = 14,   /* tallest tile */
    MC_OTHER = 108, /* the same for engines whose tallest tile has 6 rows */
    MC_OTHER_STEP = 12,
    MC_ALL = 224, /* up to so many rows are one block, if B is large: no other would use packed B */
    B_LARGE = 1 << 18, /* floats: packed, it would go through a second-level cache */
    MC_GOOD =
        56,      /* to have more units of work rows are cut down to this, then columns, then rows */
    MC_MIN = 28, /* down to this */
    NC = 1152,   /* columns a block when C is read again for each block of k */
    NC_SUMS = 384,    /* the same when its sums are kept apart */
    FEW = 384,        /* columns of C */
    NC_MIN = 64,      /* columns are not cut below this in order to have more units of work */
    UNITS = 4,        /* units of work a thread to aim for */
    UNITS_APART = 2,  /* the same where each of them copies all rows of A */
    SMALL = 1 << 21,  /* multiply-adds of an item below which items are units */
    ITEM_UNITS = 64,  /* items that are enough units of work if ... */
    ITEM_B = 1 << 18, /* ... a thread packs no more floats of B than this for each */
    CLOSE = 1024,     /* values between rows of A that are read in place */
    ALIASED =
        4096 /* bytes: addresses so far apart fall on the same sets of the first-level cache */
};

/* size as `count` blocks of whole steps, nearly equal. */
static void cut(int64_t size, int64_t count, int64_t step, int64_t *block, int64_t *blocks)
{
    *block = mgk_max64(mgk_round_up(mgk_ceil_div(size, mgk_max64(count, 1)), step), 1);
    *blocks = mgk_max64(mgk_ceil_div(size, *block), 1);
}

mgk_matmul_plan mgk_matmul_make_plan(const mgk_matmul_args *g, int threads, int vl)
{
    mgk_matmul_plan p = {.m = g->m, .batch = g->batch};
    /* Items that share B and follow each other are one tall matrix. */
    if (g->batch > 1 && !g->gate.p && g->stride_b == 0 && !g->trans_a &&
        g->stride_a == g->m * g->lda && g->stride_c == g->m * g->ldc) {
        p.m = g->m * g->batch;
        p.batch = 1;
    }
    p.n_pad = mgk_round_up(g->n, MGK_PANEL_NR_MAX);
    const bool narrow = g->k > 0 && g->a.dtype == MGK_BF16;
    /* Columns of A that lie a power of two apart share few sets of a second-level cache: of fewer more stays there until
     * it is copied. C of few columns stays as well. (Who keeps B has it in the same blocks whatever A is.) */
    const bool far = g->trans_a && g->n <= FEW && !g->kept;
    p.k_blocks = mgk_max64(mgk_ceil_div(g->k, vl >= 16 && !far ? KC_WIDE : KC), 1);
    p.kc = mgk_round_up(mgk_max64(mgk_ceil_div(g->k, p.k_blocks), 1), 4);
    p.k_blocks = mgk_max64(mgk_ceil_div(g->k, p.kc), 1);
    p.b_floats = p.k_blocks * p.kc * p.n_pad;
    p.item_a_unit = p.batch > 1 && g->stride_b != 0 &&
                    ((double)p.m * (double)g->n * (double)g->k < SMALL ||
                     (p.batch >= ITEM_UNITS && p.b_floats <= ITEM_B));
    /* Columns are units of work then, so they must be enough for all threads. */
    p.panels_apart = p.batch == 1 && !g->kept && p.m <= MC_ALL && p.b_floats >= B_LARGE &&
                     (threads == 1 || g->n >= (int64_t)2 * threads * NC_MIN);
    p.panel_floats = mgk_round_up(p.kc * MGK_PANEL_NR_MAX, 16);
    const int64_t mc = vl >= 16 ? MC : MC_OTHER, step = vl >= 16 ? MC_STEP : MC_OTHER_STEP;
    cut(p.m, p.panels_apart ? 1 : mgk_ceil_div(p.m, mc), step, &p.mc, &p.m_blocks);
    const bool sums = p.k_blocks > 1 && g->c.dtype == MGK_BF16;
    cut(g->n, p.k_blocks > 1 ? mgk_ceil_div(g->n, sums ? NC_SUMS : NC) : 1, MGK_PANEL_NR_MAX, &p.nc,
        &p.n_blocks);
    /* Too few blocks: halve rows first, because a block copies its rows of A. */
    const int64_t each = p.panels_apart ? UNITS_APART : UNITS;
    const int64_t units = threads > 1 ? each * threads : 1;
    while (!p.item_a_unit && p.m_blocks * p.n_blocks < units &&
           ((p.mc > MC_MIN && !p.panels_apart) || p.nc > NC_MIN)) {
        if (!p.panels_apart && (p.mc > MC_GOOD || p.nc <= NC_MIN))
            cut(p.m, 2 * p.m_blocks, step, &p.mc, &p.m_blocks);
        else
            cut(g->n, 2 * p.n_blocks, MGK_PANEL_NR_MAX, &p.nc, &p.n_blocks);
    }
    /* Rows of A that lie close together are read in place. Others fall on the same sets of the cache and
     * on many pages: a block of them is copied when it is read for several panels. */
    const int64_t row_bytes = g->lda * (narrow ? 2 : 4);
    const bool close =
        !g->trans_a && g->lda <= mgk_min64(2 * p.kc, CLOSE) && row_bytes % ALIASED != 0;
    p.copy_a = !close && mgk_min64(g->n, p.nc) > 2 * MGK_PANEL_NR_MAX;
    p.a_stride = mgk_round_up(p.kc, 32) + 16;
    if (p.copy_a || narrow)
        p.a_floats =
            mgk_round_up(g->trans_a ? mgk_panel_tiles_max(p.mc, p.kc) : p.mc * p.a_stride, 16);
    p.c_stride = p.nc + 16;
    if (sums)
        p.c_floats = p.mc * p.c_stride;
    return p;
}

int64_t mgk_matmul_b_space(const mgk_matmul_plan *p, int64_t threads)
{
    return p->panels_apart  ? p->panel_floats * threads
           : p->item_a_unit ? p->b_floats * threads
                            : p->b_floats;
}

/* Bytes, or SIZE_MAX where that many cannot be counted. */
static size_t space(const mgk_matmul_args *g, int threads, int vl)
{
    const mgk_matmul_plan p = mgk_matmul_make_plan(g, threads, vl);
    const double need = (double)(p.a_floats + p.b_floats + p.c_floats) * threads * 4;
    if (need > 0x1p62)
        return SIZE_MAX;
    return (size_t)((p.a_floats + p.c_floats) * threads + mgk_matmul_b_space(&p, threads)) *
           sizeof(float);
}

size_t mgk_matmul_workspace(const void *args, int threads)
{
    const size_t wide = space(args, threads, 16), other = space(args, threads, 8);
    return wide > other ? wide : other;
}

size_t mgk_matmul_kept_bytes(const mgk_matmul_args *args)
{
    const int64_t wide = mgk_matmul_make_plan(args, 1, 16).b_floats;
    const int64_t most = mgk_max64(wide, mgk_matmul_make_plan(args, 1, 8).b_floats);
    return (double)most * sizeof(float) > 0x1p62 ? SIZE_MAX : (size_t)most * sizeof(float);
}
