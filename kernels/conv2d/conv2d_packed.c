/* SPDX-License-Identifier: MIT
 * conv2d on the panel engine, as a matrix product without im2col.
 *
 * C = y, a row of A is an output pixel. For one row of the kernel the kw * cin values that it reads
 * lie together in the picture, and the next pixel's lie stride_w * cin further: a segment of the
 * engine. A slab's source is read where it lies: rows of zeros are left out, and so are the columns of
 * zeros that the pixels at the edges would see (lead, tail). Other padding is copied with it, once (not
 * once a tap). */
#include "kernels/conv2d/conv2d_work.h"

static void pack_forward(void *arg, int64_t index, int thread)
{
    const mgk_conv2d_work *w = arg;
    const mgk_conv2d_plan *p = w->p;
    const int64_t end = mgk_min64((index + 1) * MGK_PANEL_NR_MAX, p->g.cout);
    const int64_t len = p->g.kw * p->g.cin, units = mgk_panel_units(w->engine, len);
    (void)thread;
    for (int64_t j = index * MGK_PANEL_NR_MAX; j < end; j += w->engine->nr) {
        const int64_t n = mgk_min64(w->engine->nr, end - j);
        const int64_t width = mgk_panel_width(w->engine, n);
        float *dst = w->shared + j * p->g.kh * units;
        for (int64_t t = 0; t < p->g.kh; t++)
            w->engine->pack(dst + t * units * width, mgk_buf_at(p->g.weight, j * p->k + t * len),
                            p->k, true, len, n, width);
    }
}

/* trim: pixels at the edges may be left out of the rows of the table. */
static mgk_conv2d_edges take_source(const mgk_conv2d_work *w, const mgk_conv2d_block *s,
                                    const mgk_conv2d_space *own, bool trim)
{
    const mgk_conv2d_args *g = &w->p->g;
    const mgk_conv2d_picture x = {mgk_buf_at(g->x, s->b * g->h * g->w * g->cin), g->h, g->w, g->cin,
                                  g->pad_mode == MGK_PAD_REPLICATE};
    const int64_t first = s->j0 * g->stride_w - g->pad_left;
    const int64_t last = (s->j1 - 1) * g->stride_w - g->pad_left;
    mgk_conv2d_edges e = {0};
    if (trim)
        e = mgk_conv2d_edges_of(w->engine, &x, g->kw, g->stride_w, first, last);
    e.row_bytes =
        (last + g->kw - e.tail - first - e.lead) * g->cin * (g->x.dtype == MGK_BF16 ? 2 : 4);
    mgk_conv2d_take_rows(w->engine, &x, s->i0 * g->stride_h - g->pad_top,
                         (s->i1 - 1) * g->stride_h - g->pad_top + g->kh, first + e.lead,
                         last + g->kw - e.tail, false, own->table, own->copy);
    return e;
}

/* One block of k for one panel of columns. */
static void run_panel(const mgk_conv2d_work *w, const mgk_conv2d_block *s,
                      const mgk_conv2d_space *own, const mgk_conv2d_edges *e,
                      const mgk_conv2d_k *kb, int64_t j)
{
    const mgk_conv2d_args *g = &w->p->g;
    const mgk_panel *engine = w->engine;
    const int64_t len = g->kw * g->cin, units = mgk_panel_units(engine, len);
    const int64_t n = mgk_min64(engine->nr, g->cout - j), width = mgk_panel_width(engine, n);
    const bool first = kb->seg == 0 && kb->sub == 0;
    const bool last = kb->seg + kb->segs == g->kh && kb->sub + kb->len == len;
    for (int64_t i = s->i0; i < s->i1; i++) {
        const mgk_conv2d_target target = {
            .c = mgk_buf_at(g->y, (s->b * g->ho + i) * g->y_row + s->j0 * g->y_pixel + j),
            .ldc = g->y_pixel,
            .sums = own->sums + (i - s->i0) * (s->j1 - s->j0) * MGK_CONV2D_SUMS};
        mgk_panel_job job = {
            .a = (const void *const *)own->table + (i - s->i0) * g->stride_h + kb->seg,
            .a_off = kb->sub - e->lead * g->cin,
            .b0 = w->shared + j * g->kh * units +
                  (kb->seg * units + mgk_panel_units(engine, kb->sub)) * width,
            .b_step = units * width,
            .segs = kb->segs,
            .len = kb->len,
            .a_row = g->stride_w * g->cin,
            .ldb = width,
            .m = s->j1 - s->j0,
            .n = n,
            .bias = last && g->bias.p ? MGK_F(g->bias) + j : NULL,
            .alpha = 1,
        };
        mgk_conv2d_trim(&job, e, g->cin, len, kb->sub);
        job.taps = mgk_conv2d_taps(engine, &job, g->cin);
        if (j == 0 && i + 1 < s->i1) { /* the next row reads what is new to it */
            job.next = own->table[(i + 1 - s->i0) * g->stride_h + kb->seg + kb->segs - 1];
            job.next_bytes = e->row_bytes;
        }
        mgk_conv2d_aim(&job, &target, first, last);
        engine->run(&job);
    }
}

static void run_forward(void *arg, int64_t slab, int thread)
{
    const mgk_conv2d_work *w = arg;
    const mgk_conv2d_args *g = &w->p->g;
    const mgk_conv2d_space own = mgk_conv2d_space_of(w, thread);
    const mgk_conv2d_block s = mgk_conv2d_block_of(w->p, slab, g->ho, g->wo);
    const mgk_conv2d_edges e = take_source(w, &s, &own, true);
    mgk_conv2d_ask(own.table, g->kh, e.row_bytes);
    for (int64_t j = 0; j < g->cout; j += w->engine->nr)
        for (mgk_conv2d_k kb = {0}; mgk_conv2d_next_k(w->p, g->kh, g->kw * g->cin, &kb);)
            run_panel(w, &s, &own, &e, &kb, j);
}

static void run_few(void *arg, int64_t slab, int thread)
{
    const mgk_conv2d_work *w = arg;
    const mgk_conv2d_args *g = &w->p->g;
    const mgk_conv2d_space own = mgk_conv2d_space_of(w, thread);
    const mgk_conv2d_block s = mgk_conv2d_block_of(w->p, slab, g->ho, g->wo);
    const mgk_conv2d_edges e = take_source(w, &s, &own, true);
    mgk_conv2d_spread(w, &own, &e, s.i1 - s.i0, s.j1 - s.j0, g->cout, g->cin, MGK_F(g->bias),
                      mgk_buf_at(g->y, (s.b * g->ho + s.i0) * g->y_row + s.j0 * g->cout), g->y_row);
}

/* Weights as the engine takes those of three channels: (row of the kernel, cin, cout). */
static void take_three(void *arg, int64_t index, int thread)
{
    const mgk_conv2d_work *w = arg;
    const mgk_conv2d_args *g = &w->p->g;
    (void)index, (void)thread;
    for (int64_t o = 0; o < 3; o++)
        for (int64_t i = 0; i < 3 * g->kh; i++)
            w->shared[3 * i + o] = mgk_conv2d_weight_at(g, 3 * g->kh * o + i);
}

static void run_three(void *arg, int64_t slab, int thread)
{
    const mgk_conv2d_work *w = arg;
    const mgk_conv2d_args *g = &w->p->g;
    const mgk_conv2d_space own = mgk_conv2d_space_of(w, thread);
    const mgk_conv2d_block s = mgk_conv2d_block_of(w->p, slab, g->ho, g->wo);
    take_source(w, &s, &own, false);
    for (int64_t i = s.i0; i < s.i1; i++)
        w->engine->three(mgk_buf_at(g->y, (s.b * g->ho + i) * g->y_row + s.j0 * 3),
                         own.table + (i - s.i0) * g->stride_h, g->kh, s.j1 - s.j0, w->shared,
                         MGK_F(g->bias));
}

void mgk_conv2d_run(const mgk_conv2d_args *g, mgk_exec *x, const mgk_panel *engine)
{
    const mgk_conv2d_plan p = mgk_conv2d_make_plan(g);
    if (p.three)
        mgk_conv2d_with_weights(&p, x, engine, 1, take_three, run_three);
    else if (p.spread)
        mgk_conv2d_spread_run(&p, x, engine, run_few, false);
    else
        mgk_conv2d_with_weights(&p, x, engine, p.n_pad / MGK_PANEL_NR_MAX, pack_forward,
                                run_forward);
}

void mgk_conv2d_packed(const void *args, mgk_exec *x)
{
    mgk_conv2d_run(args, x, &mgk_panel_packed);
}
void mgk_conv2d_grad_input_packed(const void *args, mgk_exec *x)
{
    mgk_conv2d_grad_input_run(args, x, &mgk_panel_packed);
}
void mgk_conv2d_grad_weight_packed(const void *args, mgk_exec *x)
{
    mgk_conv2d_grad_weight_run(args, x, &mgk_panel_packed);
}
