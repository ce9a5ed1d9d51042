/* SPDX-License-Identifier: MIT
 * matmul on the panel engine: packs B, cuts C into blocks, and runs the engine's strips.
 *
 * B is packed once into panels (all blocks of k), in parallel. A unit of work is a block of C: for
 * each block of k it copies its rows of A close together (no transposition: the engine reads A by
 * broadcast, along rows or columns) and multiplies them with each panel, which meanwhile stays in the first-level cache.
 * Small items of a batch are units instead, each packing its own B. */
#include "kernels/matmul/matmul_plan.h"

#include <string.h>

typedef struct {
    const mgk_matmul_args *g;
    const mgk_panel *engine;
    mgk_matmul_plan p;
    int64_t item;             /* first item of this loop */
    float *a_space, *b_space; /* b_space: shared, or one part a thread (item_a_unit) */
} product;

/* Panel `j0` of block `kb`: blocks follow each other, panels within a block too. */
static int64_t panel_at(const product *w, int64_t kb, int64_t j0)
{
    const int64_t kc = mgk_min64(w->p.kc, w->g->k - kb * w->p.kc);
    return kb * w->p.kc * w->p.n_pad + j0 * kc;
}

static void pack_panel(const product *w, float *space, int64_t item, int64_t kb, int64_t j0)
{
    const mgk_matmul_args *g = w->g;
    const int64_t k0 = kb * w->p.kc, kc = mgk_min64(w->p.kc, g->k - k0);
    const int64_t n = mgk_min64(w->engine->nr, g->n - j0);
    const float *b = MGK_F(g->b) + item * g->stride_b;
    w->engine->pack(space + panel_at(w, kb, j0),
                    g->trans_b ? b + j0 * g->ldb + k0 : b + k0 * g->ldb + j0, g->ldb, g->trans_b,
                    kc, n, mgk_panel_width(w->engine, n));
}

/* Two panels of the widest engine a block, so that the cutting is the same for all. */
static void pack_block(void *arg, int64_t block, int thread)
{
    const product *w = arg;
    const int64_t groups = w->p.n_pad / MGK_PANEL_NR_MAX, kb = block / groups;
    const int64_t j0 = block % groups * MGK_PANEL_NR_MAX;
    (void)thread;
    for (int64_t j = j0; j < mgk_min64(j0 + MGK_PANEL_NR_MAX, w->g->n); j += w->engine->nr)
        pack_panel(w, w->b_space, w->item, kb, j);
}

/* Rows of A close together. */
static void copy_rows(float *dst, int64_t stride, const float *src, int64_t ld, int64_t rows,
                      int64_t count)
{
    for (int64_t i = 0; i < rows; i++)
        memcpy(dst + i * stride, src + i * ld, (size_t)count * sizeof(float));
}

static void multiply_block(const product *w, int64_t item, int64_t i0, int64_t j0, float *a_copy,
                           const float *b)
{
    const mgk_matmul_args *g = w->g;
    const mgk_matmul_plan *p = &w->p;
    const int64_t m = mgk_min64(p->mc, p->m - i0), j1 = mgk_min64(j0 + p->nc, g->n);
    for (int64_t kb = 0; kb < p->k_blocks; kb++) {
        const int64_t k0 = kb * p->kc, kc = mgk_min64(p->kc, g->k - k0);
        const float *a = NULL;
        int64_t ld = g->lda;
        if (kc > 0) {
            a = MGK_F(g->a) + item * g->stride_a + (g->trans_a ? k0 * ld + i0 : i0 * ld + k0);
            if (p->copy_a && g->trans_a) {
                w->engine->pack_a(a_copy, a, ld, kc, m, p->m - i0);
                a = a_copy;
                ld = w->engine->mr;
            } else if (p->copy_a) {
                copy_rows(a_copy, p->a_stride, a, ld, m, kc);
                a = a_copy;
                ld = p->a_stride;
            }
        }
        const bool last = kb == p->k_blocks - 1;
        for (int64_t j = j0; j < j1; j += w->engine->nr) {
            const int64_t n = mgk_min64(w->engine->nr, j1 - j);
            const mgk_panel_job job = {
                .a = &a,
                .b0 = b + panel_at(w, kb, j),
                .segs = kc > 0,
                .len = kc,
                .a_row = g->trans_a ? 1 : ld,
                .a_col = g->trans_a ? ld : 1,
                .a_tile = p->copy_a && g->trans_a ? mgk_panel_tile(w->engine, kc) : 0,
                .ldb = mgk_panel_width(w->engine, n),
                .c = MGK_F(g->c) + item * g->stride_c + i0 * g->ldc + j,
                .ldc = g->ldc,
                .m = m,
                .n = n,
                .bias = last && g->bias.p ? MGK_F(g->bias) + j : NULL,
                .alpha = g->alpha,
                .load = kb > 0 || g->accumulate,
                .act = last ? g->act : MGK_ACT_NONE,
            };
            w->engine->run(&job);
        }
    }
}

/* A block of C: columns outermost in the count, so that neighbours in time share packed B. */
static void run_block(void *arg, int64_t block, int thread)
{
    const product *w = arg;
    const int64_t mb = block % w->p.m_blocks, rest = block / w->p.m_blocks;
    const int64_t nb = rest % w->p.n_blocks, item = w->item + rest / w->p.n_blocks;
    multiply_block(w, item, mb * w->p.mc, nb * w->p.nc, w->a_space + thread * w->p.a_floats,
                   w->b_space);
}

static void run_item(void *arg, int64_t item, int thread)
{
    const product *w = arg;
    float *b = w->b_space + thread * w->p.b_floats;
    for (int64_t kb = 0; kb < w->p.k_blocks && w->g->k > 0; kb++)
        for (int64_t j = 0; j < w->g->n; j += w->engine->nr)
            pack_panel(w, b, item, kb, j);
    for (int64_t j0 = 0; j0 < w->g->n; j0 += w->p.nc)
        for (int64_t i0 = 0; i0 < w->p.m; i0 += w->p.mc)
            multiply_block(w, item, i0, j0, w->a_space + thread * w->p.a_floats, b);
}

void mgk_matmul_run(const mgk_matmul_args *g, mgk_exec *x, const mgk_panel *engine)
{
    product w = {.g = g, .engine = engine, .p = mgk_matmul_make_plan(g)};
    if (w.p.m == 0 || g->n == 0 || w.p.batch == 0)
        return;
    w.b_space = x->workspace;
    w.a_space =
        w.b_space + (w.p.item_a_unit ? w.p.b_floats * mgi_pool_threads(x->pool) : w.p.b_floats);
    if (w.p.item_a_unit) {
        mgi_pool_run(x->pool, w.p.batch, run_item, &w);
        return;
    }
    const int64_t panels = w.p.n_pad / MGK_PANEL_NR_MAX;
    const bool shared = w.p.batch == 1 || g->stride_b == 0;
    const int64_t blocks = w.p.m_blocks * w.p.n_blocks;
    for (; w.item < (shared ? 1 : w.p.batch); w.item++) {
        if (g->k > 0)
            mgi_pool_run(x->pool, w.p.k_blocks * panels, pack_block, &w);
        mgi_pool_run(x->pool, shared ? w.p.batch * blocks : blocks, run_block, &w);
    }
}

void mgk_matmul_packed(const void *args, mgk_exec *x)
{
    mgk_matmul_run(args, x, &mgk_panel_packed);
}
