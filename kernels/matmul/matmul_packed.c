/* SPDX-License-Identifier: MIT
 * matmul on the panel engine: packs B, cuts C into blocks, and runs the engine's strips.
 *
 * B is packed once into panels (all blocks of k), in parallel; where few rows make one block, each panel when its turn
 * comes, in the cache. A unit of work is a block of C: for
 * each block of k it multiplies its rows of A with each panel, which meanwhile stays near. The rows are
 * read where they lie, or copied close together, transposed ones as tiles, before the first panel or, by engines that can,
 * during it; meanwhile the rows that come next are fetched. Small items of a batch are units instead, each packing its own B. */
#include "kernels/common/parallel.h"
#include "kernels/matmul/matmul_plan.h"

#include <string.h>

typedef struct {
    const mgk_matmul_args *g;
    const mgk_panel *engine;
    mgk_matmul_plan p;
    int64_t item;             /* first item of this loop */
    float *a_space, *b_space; /* b_space: shared, or one part a thread (item_a_unit) */
    float *c_space;
    bool stream; /* C is written past the caches */
} product;

/* Panel `j0` of block `kb`: blocks follow each other, panels within a block too. */
static int64_t panel_at(const product *w, int64_t kb, int64_t j0)
{
    const int64_t kc = mgk_min64(w->p.kc, w->g->k - kb * w->p.kc);
    return mgk_panel_units(w->engine, kb * w->p.kc) * w->p.n_pad +
           j0 * mgk_panel_units(w->engine, kc);
}

static void pack_panel(const product *w, float *to, int64_t item, int64_t kb, int64_t j0)
{
    const mgk_matmul_args *g = w->g;
    const int64_t k0 = kb * w->p.kc, kc = mgk_min64(w->p.kc, g->k - k0);
    const int64_t n = mgk_min64(w->engine->nr, g->n - j0);
    const int64_t at = item * g->stride_b + (g->trans_b ? j0 * g->ldb + k0 : k0 * g->ldb + j0);
    w->engine->pack(to, mgk_buf_at(g->b, at), g->ldb, g->trans_b, kc, n,
                    mgk_panel_width(w->engine, n));
}

/* Two panels of the widest engine a block, so that the cutting is the same for all. */
static void pack_block(void *arg, int64_t block, int thread)
{
    const product *w = arg;
    const int64_t groups = w->p.n_pad / MGK_PANEL_NR_MAX, kb = block / groups;
    const int64_t j0 = block % groups * MGK_PANEL_NR_MAX;
    (void)thread;
    for (int64_t j = j0; j < mgk_min64(j0 + MGK_PANEL_NR_MAX, w->g->n); j += w->engine->nr)
        pack_panel(w, w->b_space + panel_at(w, kb, j), w->item, kb, j);
}

/* A block of C. */
typedef struct {
    int64_t item, i0, m, j0, j1;
    float *a_copy, *sums; /* the thread's spaces */
    float *b;             /* B packed, or (panels_apart) room for a panel */
} block;

/* Whether the job of the first panel can copy A of a block of k, whose arithmetic hides that. */
static bool brings_a(const product *w, const block *t, int64_t kc)
{
    const mgk_matmul_args *g = w->g;
    const mgk_panel *engine = w->engine;
    if (t->j1 - t->j0 <= engine->vl || (g->a.dtype == MGK_BF16) != engine->pairs)
        return false;
    if (!(g->trans_a ? engine->brings_columns : engine->brings_rows))
        return false;
    if (!g->trans_a)
        return kc % (engine->vl * (engine->pairs ? 2 : 1)) == 0;
    return w->p.m - t->i0 >= mgk_round_up(t->m, engine->mr) - engine->mr + engine->ma;
}

/* A of one block of k, copied close together or where it lies. */
static void take_a(const product *w, const block *t, int64_t k0, int64_t kc, mgk_panel_job *job,
                   const void **a)
{
    const mgk_matmul_args *g = w->g;
    const mgk_matmul_plan *p = &w->p;
    const mgk_panel *engine = w->engine;
    const int64_t at = g->trans_a ? k0 * g->lda + t->i0 : t->i0 * g->lda + k0;
    const mgk_buf from = mgk_buf_at(g->a, t->item * g->stride_a + at);
    const bool copied = p->copy_a || (from.dtype == MGK_BF16 && (g->trans_a || !engine->pairs));
    *a = copied ? t->a_copy : from.p;
    job->a_by_columns = g->trans_a;
    job->a_row = g->lda;
    job->a_col = g->lda;
    if (!copied)
        return;
    if (g->trans_a) {
        job->a_col = engine->ma;
        job->a_tile = mgk_panel_tile(engine, mgk_panel_units(engine, kc));
    } else {
        job->a_row = engine->pairs ? 2 * p->a_stride : p->a_stride;
    }
    if (brings_a(w, t, kc)) {
        job->a_from = from.p;
        job->a_from_step = g->lda;
    } else if (g->trans_a) {
        engine->pack_a(t->a_copy, from, g->lda, kc, t->m, p->m - t->i0);
    } else {
        for (int64_t i = 0; i < t->m; i++)
            engine->copy(t->a_copy + i * p->a_stride, mgk_buf_at(from, i * g->lda), kc);
    }
}

/* What becomes of the sums of the last block of k. */
static void take_epilogue(const product *w, const block *t, mgk_panel_job *job)
{
    const mgk_matmul_args *g = w->g;
    job->load = job->load || g->accumulate;
    job->stream = w->stream && !job->load; /* what is added to was just fetched */
    job->act = g->act;
    job->residual = g->residual.p;
    job->before = g->before.p;
    job->gate = MGK_F(g->gate);
    job->gate_row = t->i0;
    job->gate_rows = g->rows_per_sample;
    job->gate_stride = g->gate_stride;
}

enum { PAIR = 128, AHEAD = 2048 }; /* as many as the tiles of a whole block get to ask for */

/* Pairs of lines of memory that are asked for while a panel is multiplied. */
typedef struct {
    const void *pair[AHEAD];
    int64_t count;
} ahead_list;

static void ask_for(ahead_list *list, const char *from, int64_t bytes)
{
    const char *p = from - (uintptr_t)from % PAIR;
    for (; p < from + bytes && list->count < AHEAD; p += PAIR)
        list->pair[list->count++] = p;
}

/* The part `index` of `parts` of the A that is read after block kb of k: the next block of k, or the next
 * rows. */
static void ask_for_a(ahead_list *list, const product *w, const block *t, int64_t kb, int64_t index,
                      int64_t parts)
{
    const mgk_matmul_args *g = w->g;
    int64_t k0 = (kb + 1) * w->p.kc, i0 = t->i0;
    if (kb + 1 == w->p.k_blocks) {
        k0 = 0;
        i0 += t->m;
    }
    const int64_t kc = mgk_min64(w->p.kc, g->k - k0), m = mgk_min64(t->m, w->p.m - i0);
    if (kc <= 0 || m <= 0)
        return;
    const int64_t rows = g->trans_a ? kc : m, at = g->trans_a ? k0 * g->lda + i0 : i0 * g->lda + k0;
    const mgk_buf from = mgk_buf_at(g->a, t->item * g->stride_a + at);
    const int64_t bytes = (g->trans_a ? m : kc) * (from.dtype == MGK_BF16 ? 2 : 4);
    for (int64_t r = rows * index / parts; r < rows * (index + 1) / parts; r++)
        ask_for(list, mgk_buf_at(from, r * g->lda).p, bytes);
}

/* The panel of B after `j` of block kb of k, packed or as it will be packed from. */
static void ask_for_b(ahead_list *list, const product *w, const block *t, int64_t kb, int64_t j,
                      mgk_panel_job *job)
{
    const mgk_matmul_args *g = w->g;
    j += w->engine->nr;
    if (j >= t->j1) {
        j = t->j0;
        kb = (kb + 1) % w->p.k_blocks;
    }
    const int64_t k0 = kb * w->p.kc, kc = mgk_min64(w->p.kc, g->k - k0);
    const int64_t n = mgk_min64(w->engine->nr, t->j1 - j), width = mgk_panel_width(w->engine, n);
    if (w->p.panels_apart && kb == 0 && j == t->j0)
        return;
    if (w->p.panels_apart) {
        const mgk_buf from = mgk_buf_at(g->b, g->trans_b ? j * g->ldb + k0 : k0 * g->ldb + j);
        const int64_t bytes = (g->trans_b ? kc : n) * (from.dtype == MGK_BF16 ? 2 : 4);
        for (int64_t r = 0; r < (g->trans_b ? n : kc); r++)
            ask_for(list, mgk_buf_at(from, r * g->ldb).p, bytes);
        return;
    }
    job->next = t->b + panel_at(w, kb, j);
    job->next_bytes = mgk_panel_units(w->engine, kc) * width * (int64_t)sizeof(float);
}

/* What is added to C under the panel after `j`; after the last one that of the next rows. Asked for by each tile when it
 * begins it would, from memory, hold up what the tile reads. */
static void ask_for_residual(ahead_list *list, const product *w, const block *t, int64_t j)
{
    const mgk_matmul_args *g = w->g;
    int64_t i0 = t->i0;
    j += w->engine->nr;
    if (j >= t->j1) {
        j = t->j0;
        i0 += t->m;
    }
    const mgk_buf from = mgk_buf_at(g->residual, t->item * g->stride_c + i0 * g->ldc + j);
    const int64_t m = mgk_min64(t->m, w->p.m - i0), n = mgk_min64(w->engine->nr, t->j1 - j);
    for (int64_t i = 0; i < m; i++)
        ask_for(list, mgk_buf_at(from, i * g->ldc).p, n * (from.dtype == MGK_BF16 ? 2 : 4));
}

static void multiply_block(const product *w, const block *t)
{
    const mgk_matmul_args *g = w->g;
    const mgk_matmul_plan *p = &w->p;
    const int64_t c_at = t->item * g->stride_c + t->i0 * g->ldc;
    const int64_t panels = mgk_ceil_div(t->j1 - t->j0, w->engine->nr);
    ahead_list list;
    for (int64_t kb = 0; kb < p->k_blocks; kb++) {
        const int64_t k0 = kb * p->kc, kc = mgk_min64(p->kc, g->k - k0);
        const bool last = kb == p->k_blocks - 1, apart = p->c_floats > 0;
        const void *a = NULL;
        mgk_panel_job whole = {.a = &a,
                               .segs = kc > 0,
                               .len = kc,
                               .m = t->m,
                               .alpha = g->alpha,
                               .c_dtype = apart && !last ? MGK_F32 : g->c.dtype,
                               .ldc = apart && !last ? p->c_stride : g->ldc,
                               .load = kb > 0 && !(apart && last),
                               .lds = p->c_stride};
        if (kc > 0)
            take_a(w, t, k0, kc, &whole, &a);
        if (last)
            take_epilogue(w, t, &whole);
        else if (!apart)
            whole.load = whole.load || g->accumulate;
        for (int64_t j = t->j0; j < t->j1; j += w->engine->nr) {
            mgk_panel_job job = whole;
            float *sums = t->sums + (j - t->j0);
            job.n = mgk_min64(w->engine->nr, t->j1 - j);
            job.ldb = mgk_panel_width(w->engine, job.n);
            if (j > t->j0)
                job.a_from = NULL; /* it is there */
            if (p->panels_apart && kc > 0)
                pack_panel(w, t->b, t->item, kb, j);
            job.b0 = p->panels_apart ? t->b : t->b + panel_at(w, kb, j);
            job.c = apart && !last ? sums : mgk_buf_at(g->c, c_at + j).p;
            if (apart && last)
                job.sums = sums;
            if (last && g->bias.p)
                job.bias = MGK_F(g->bias) + j;
            if (job.residual)
                job.residual = mgk_buf_at(g->residual, c_at + j).p;
            if (job.before)
                job.before = mgk_buf_at(g->before, c_at + j).p;
            if (job.gate)
                job.gate += j;
            job.stream_end = job.stream && j + w->engine->nr >= t->j1;
            list.count = 0;
            if (last && g->residual.p)
                ask_for_residual(&list, w, t, j);
            ask_for_a(&list, w, t, kb, (j - t->j0) / w->engine->nr, panels);
            if (g->k > 0)
                ask_for_b(&list, w, t, kb, j, &job);
            job.ahead = list.pair;
            job.ahead_count = list.count;
            w->engine->run(&job);
        }
    }
}

/* Whether C is too large to stay in a cache and can be written past them, in whole lines. */
static bool streams(const product *w)
{
    const mgk_matmul_args *g = w->g;
    const int64_t size = g->c.dtype == MGK_BF16 ? 2 : 4;
    return mgk_streams(g->c, w->p.m * w->p.batch, g->n) && g->ldc * size % 64 == 0 &&
           g->stride_c * size % 64 == 0 && w->engine->nr * size % 64 == 0 &&
           g->residual.p != g->c.p;
}

static void run_part(const product *w, int64_t item, int64_t i0, int64_t j0, float *b, int thread)
{
    const block t = {.item = item,
                     .i0 = i0,
                     .m = mgk_min64(w->p.mc, w->p.m - i0),
                     .j0 = j0,
                     .j1 = mgk_min64(j0 + w->p.nc, w->g->n),
                     .a_copy = w->a_space + thread * w->p.a_floats,
                     .sums = w->c_space + thread * w->p.c_floats,
                     .b = b};
    multiply_block(w, &t);
}

/* A block of C: columns outermost in the count, so that neighbours in time share packed B. */
static void run_block(void *arg, int64_t index, int thread)
{
    const product *w = arg;
    const int64_t mb = index % w->p.m_blocks, rest = index / w->p.m_blocks;
    const int64_t nb = rest % w->p.n_blocks, item = w->item + rest / w->p.n_blocks;
    float *b = w->b_space + (w->p.panels_apart ? thread * w->p.panel_floats : 0);
    run_part(w, item, mb * w->p.mc, nb * w->p.nc, b, thread);
}

static void run_item(void *arg, int64_t item, int thread)
{
    const product *w = arg;
    float *b = w->b_space + thread * w->p.b_floats;
    for (int64_t kb = 0; kb < w->p.k_blocks && w->g->k > 0; kb++)
        for (int64_t j = 0; j < w->g->n; j += w->engine->nr)
            pack_panel(w, b + panel_at(w, kb, j), item, kb, j);
    for (int64_t j0 = 0; j0 < w->g->n; j0 += w->p.nc)
        for (int64_t i0 = 0; i0 < w->p.m; i0 += w->p.mc)
            run_part(w, item, i0, j0, b, thread);
}

void mgk_matmul_run(const mgk_matmul_args *g, mgk_exec *x, const mgk_panel *engine)
{
    product w = {.g = g,
                 .engine = engine,
                 .p = mgk_matmul_make_plan(g, mgi_pool_threads(x->pool), engine->vl)};
    if (w.p.m == 0 || g->n == 0 || w.p.batch == 0)
        return;
    w.stream = streams(&w);
    const int64_t threads = mgi_pool_threads(x->pool);
    w.b_space = x->workspace;
    w.a_space = w.b_space + mgk_matmul_b_space(&w.p, threads);
    w.c_space = w.a_space + w.p.a_floats * threads;
    if (w.p.item_a_unit) {
        mgi_pool_run(x->pool, w.p.batch, run_item, &w);
        return;
    }
    if (g->kept)
        w.b_space = g->kept->space;
    const int64_t panels = w.p.n_pad / MGK_PANEL_NR_MAX;
    const bool shared = w.p.batch == 1 || g->stride_b == 0;
    const int64_t blocks = w.p.m_blocks * w.p.n_blocks;
    for (; w.item < (shared ? 1 : w.p.batch); w.item++) {
        if (g->k > 0 && !w.p.panels_apart && !(g->kept && g->kept->ready))
            mgi_pool_run(x->pool, w.p.k_blocks * panels, pack_block, &w);
        mgi_pool_run(x->pool, shared ? w.p.batch * blocks : blocks, run_block, &w);
    }
    if (g->kept)
        g->kept->ready = true;
}

void mgk_matmul_packed(const void *args, mgk_exec *x)
{
    mgk_matmul_run(args, x, &mgk_panel_packed);
}
