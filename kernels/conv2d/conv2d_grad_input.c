/* SPDX-License-Identifier: MIT
 * conv2d_grad_input on the panel engine.
 *
 * The padded picture's pixels I = stride_h * u + a, J = stride_w * v + b of one phase (a, b) see only
 * the taps p = a + stride_h * t: a forward convolution of dy with those taps, written with a gap of
 * stride_w pixels. With replicate padding a slab's padded gradient goes to a buffer first and is folded
 * onto the edge pixels. */
#include "kernels/conv2d/conv2d_work.h"

typedef struct {
    int64_t a, b, taps_h, taps_w;
    int64_t units; /* of a row of taps */
    int64_t k0;    /* units of the phases before: where its packed weights begin */
} phase;

static bool next_phase(const mgk_panel *engine, const mgk_conv2d_args *g, phase *f)
{
    f->k0 += f->taps_h * f->units;
    if (f->taps_h < 0) {
        *f = (phase){0};
    } else if (++f->b == g->stride_w) {
        f->b = 0;
        f->a++;
    }
    f->taps_h = f->a < g->kh ? mgk_ceil_div(g->kh - f->a, g->stride_h) : 0;
    f->taps_w = f->b < g->kw ? mgk_ceil_div(g->kw - f->b, g->stride_w) : 0;
    f->units = mgk_panel_units(engine, f->taps_w * g->cout);
    return f->a < g->stride_h;
}
static const phase before_phases = {.taps_h = -1};

/* One row of taps whose units hold values of two taps: one by one. Value r of it is weight (o = r % cout) of
 * the tap r / cout, taps downwards. */
static void pack_odd(float *dst, const mgk_conv2d_args *g, const phase *f, int64_t row, int64_t j,
                     int64_t n, int64_t width)
{
    uint16_t *units = (uint16_t *)(void *)dst;
    for (int64_t r = 0; r < 2 * f->units; r++) {
        const int64_t t = f->taps_w - 1 - r / g->cout, o = r % g->cout;
        const int64_t tap = row * g->kw + f->b + g->stride_w * t;
        for (int64_t i = 0; i < width; i++)
            units[2 * (r / 2 * width + i) + r % 2] =
                t >= 0 && i < n ? MGK_H(g->weight)[(o * g->kh * g->kw + tap) * g->cin + j + i] : 0;
    }
}

/* k of a phase = (row of dy, upwards; column of dy, upwards; o): taps downwards. */
static void pack_weights(void *arg, int64_t index, int thread)
{
    const mgk_conv2d_work *w = arg;
    const mgk_conv2d_args *g = &w->p->g;
    const mgk_panel *engine = w->engine;
    const int64_t end = mgk_min64((index + 1) * MGK_PANEL_NR_MAX, g->cin);
    (void)thread;
    for (int64_t j = index * MGK_PANEL_NR_MAX; j < end; j += engine->nr) {
        const int64_t n = mgk_min64(engine->nr, end - j), width = mgk_panel_width(engine, n);
        for (phase f = before_phases; next_phase(engine, g, &f);) {
            float *dst = w->shared + j * w->p->k + f.k0 * width;
            for (int64_t s = f.taps_h - 1; s >= 0; s--, dst += f.units * width) {
                const int64_t row = f.a + g->stride_h * s;
                if (engine->pairs && g->cout % 2) {
                    pack_odd(dst, g, &f, row, j, n, width);
                    continue;
                }
                for (int64_t t = f.taps_w - 1; t >= 0; t--)
                    engine->pack(
                        dst + (f.taps_w - 1 - t) * mgk_panel_units(engine, g->cout) * width,
                        mgk_buf_at(g->weight, (row * g->kw + f.b + g->stride_w * t) * g->cin + j),
                        g->kh * g->kw * g->cin, false, g->cout, n, width);
            }
        }
    }
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a < 0 ? -((-a + b - 1) / b) : a / b;
}

/* A slab: its pixels, the same in the padded picture with the virtual pixels that belong to the edges, and
 * where the gradient of those goes. */
typedef struct {
    mgk_conv2d_block s;
    int64_t I0, I1, J0, J1;
    int64_t u_first, v_first; /* first row and column of dy that are taken for it */
    int64_t row_bytes;
    bool trimmed; /* columns outside of dy are not */
    bool buffered;
    mgk_buf out;
    int64_t out_row;
} padded_slab;

static padded_slab slab_of(const mgk_conv2d_work *w, const mgk_conv2d_space *own, int64_t slab)
{
    const mgk_conv2d_args *g = &w->p->g;
    const bool edge = g->pad_mode == MGK_PAD_REPLICATE;
    padded_slab t = {.s = mgk_conv2d_block_of(w->p, slab, g->h, g->w)};
    t.I0 = edge && t.s.i0 == 0 ? 0 : t.s.i0 + g->pad_top;
    t.J0 = edge && t.s.j0 == 0 ? 0 : t.s.j0 + g->pad_left;
    t.I1 = t.s.i1 + g->pad_top + (edge && t.s.i1 == g->h ? g->pad_bottom : 0);
    t.J1 = t.s.j1 + g->pad_left + (edge && t.s.j1 == g->w ? g->pad_right : 0);
    t.buffered = t.I1 - t.I0 > t.s.i1 - t.s.i0 || t.J1 - t.J0 > t.s.j1 - t.s.j0 ||
                 (w->p->spread && g->accumulate);
    t.out = mgk_buf_at(g->x, ((t.s.b * g->h + t.s.i0) * g->w + t.s.j0) * g->cin);
    if (t.buffered)
        t.out = (mgk_buf){own->out + w->p->spread_floats, MGK_F32};
    t.out_row = (t.buffered ? t.J1 - t.J0 : g->w) * g->cin;
    t.u_first = floor_div(t.I0, g->stride_h) - mgk_ceil_div(g->kh, g->stride_h) + 1;
    t.v_first = floor_div(t.J0, g->stride_w) - mgk_ceil_div(g->kw, g->stride_w) + 1;
    const mgk_conv2d_picture dy = {mgk_buf_at(g->y, t.s.b * g->ho * g->wo * g->cout), g->ho, g->wo,
                                   g->cout, false};
    const int64_t taps = mgk_ceil_div(g->kw, g->stride_w), last = floor_div(t.J1 - 1, g->stride_w);
    t.trimmed = !w->p->spread &&
                mgk_conv2d_edges_of(w->engine, &dy, taps, 1, t.v_first, last - taps + 1).trimmed;
    int64_t v_end = last + 1;
    if (t.trimmed) {
        t.v_first = mgk_max64(t.v_first, 0);
        v_end = mgk_min64(v_end, g->wo);
    }
    mgk_conv2d_take_rows(w->engine, &dy, t.u_first, floor_div(t.I1 - 1, g->stride_h) + 1, t.v_first,
                         v_end, false, own->table, own->copy);
    t.row_bytes = (v_end - t.v_first) * g->cout * (g->y.dtype == MGK_BF16 ? 2 : 4);
    mgk_conv2d_ask(own->table, mgk_ceil_div(g->kh, g->stride_h), t.row_bytes);
    return t;
}

/* The gradient of the padded pixels onto those of dx. */
static void fold(const mgk_conv2d_work *w, const padded_slab *t)
{
    const mgk_conv2d_args *g = &w->p->g;
    float *padded = MGK_F(t->out);
    const mgk_conv2d_block *s = &t->s;
    const int64_t first = (s->j0 + g->pad_left - t->J0) * g->cin, count = (s->j1 - s->j0) * g->cin;
    for (int64_t I = t->I0; I < t->I1; I++) {
        float *row = padded + (I - t->I0) * t->out_row;
        for (int64_t J = t->J0; J < s->j0 + g->pad_left; J++)
            mgk_conv2d_add(row + first, row + (J - t->J0) * g->cin, g->cin);
        for (int64_t J = s->j1 + g->pad_left; J < t->J1; J++)
            mgk_conv2d_add(row + first + count - g->cin, row + (J - t->J0) * g->cin, g->cin);
    }
    float *top = padded + (s->i0 + g->pad_top - t->I0) * t->out_row + first;
    float *bottom = padded + (s->i1 - 1 + g->pad_top - t->I0) * t->out_row + first;
    for (int64_t I = t->I0; I < s->i0 + g->pad_top; I++)
        mgk_conv2d_add(top, padded + (I - t->I0) * t->out_row + first, count);
    for (int64_t I = s->i1 + g->pad_top; I < t->I1; I++)
        mgk_conv2d_add(bottom, padded + (I - t->I0) * t->out_row + first, count);
    for (int64_t i = s->i0; i < s->i1; i++) {
        const mgk_buf dx = mgk_buf_at(g->x, ((s->b * g->h + i) * g->w + s->j0) * g->cin);
        const float *row = top + (i - s->i0) * t->out_row;
        w->engine->put(dx, row, count, g->accumulate);
    }
}

/* The pixels of one phase: u0..u1-1 x v0..v1-1. One block of k for one panel of columns. */
typedef struct {
    phase f;
    int64_t u0, u1, v0, v1;
    mgk_conv2d_k kb;
    bool first, last;
} part;

static void run_panel(const mgk_conv2d_work *w, const padded_slab *t, const mgk_conv2d_space *own,
                      const part *a, int64_t j)
{
    const mgk_conv2d_args *g = &w->p->g;
    const mgk_panel *engine = w->engine;
    const phase *f = &a->f;
    const int64_t n = mgk_min64(engine->nr, g->cin - j), width = mgk_panel_width(engine, n);
    const mgk_conv2d_edges e = {.lead = mgk_max64(f->taps_w - 1 - a->v0, 0),
                                .tail = mgk_max64(a->v1 - g->wo, 0)};
    for (int64_t u = a->u0; u < a->u1; u++) {
        const mgk_conv2d_target target = {
            .c = mgk_buf_at(t->out, (g->stride_h * u + f->a - t->I0) * t->out_row +
                                        (g->stride_w * a->v0 + f->b - t->J0) * g->cin + j),
            .ldc = g->stride_w * g->cin,
            .load = g->accumulate && !t->buffered,
            .sums = own->sums + (u - a->u0) * (a->v1 - a->v0) * MGK_CONV2D_SUMS};
        mgk_panel_job job = {
            .a = (const void *const *)own->table + (u - f->taps_h + 1 - t->u_first) + a->kb.seg,
            .a_off = (a->v0 - f->taps_w + 1 - t->v_first) * g->cout + a->kb.sub,
            .b0 = w->shared + j * w->p->k +
                  (f->k0 + a->kb.seg * f->units + mgk_panel_units(engine, a->kb.sub)) * width,
            .b_step = f->units * width,
            .segs = a->kb.segs,
            .len = a->kb.len,
            .a_row = g->cout,
            .ldb = width,
            .m = a->v1 - a->v0,
            .n = n,
            .alpha = 1,
        };
        if (t->trimmed)
            mgk_conv2d_trim(&job, &e, g->cout, f->taps_w * g->cout, a->kb.sub);
        job.taps = mgk_conv2d_taps(engine, &job, g->cout);
        if (j == 0 && u + 1 < a->u1) { /* the next row reads what is new to it */
            job.next = job.a[a->kb.segs];
            job.next_bytes = t->row_bytes;
        }
        mgk_conv2d_aim(&job, &target, a->first, a->last);
        engine->run(&job);
    }
}

static void run_phase(const mgk_conv2d_work *w, const padded_slab *t, const mgk_conv2d_space *own,
                      const phase *f)
{
    const mgk_conv2d_args *g = &w->p->g;
    part a = {.f = *f,
              .u0 = floor_div(t->I0 - f->a + g->stride_h - 1, g->stride_h),
              .u1 = floor_div(t->I1 - 1 - f->a, g->stride_h) + 1,
              .v0 = floor_div(t->J0 - f->b + g->stride_w - 1, g->stride_w),
              .v1 = floor_div(t->J1 - 1 - f->b, g->stride_w) + 1};
    const int64_t len = f->taps_w * g->cout, segs = len ? f->taps_h : 0;
    if (a.u0 >= a.u1 || a.v0 >= a.v1)
        return;
    for (int64_t j = 0; j < g->cin; j += w->engine->nr) {
        a.kb = (mgk_conv2d_k){0};
        a.first = a.last = true;
        if (segs == 0) { /* no taps: the gradient is 0, written as a sum of nothing */
            run_panel(w, t, own, &a, j);
            continue;
        }
        while (mgk_conv2d_next_k(w->p, segs, len, &a.kb)) {
            a.first = a.kb.seg == 0 && a.kb.sub == 0;
            a.last = a.kb.seg + a.kb.segs == segs && a.kb.sub + a.kb.len == len;
            run_panel(w, t, own, &a, j);
        }
    }
}

static void run_slab(void *arg, int64_t slab, int thread)
{
    const mgk_conv2d_work *w = arg;
    const mgk_conv2d_space own = mgk_conv2d_space_of(w, thread);
    const padded_slab t = slab_of(w, &own, slab);
    for (phase f = before_phases; next_phase(w->engine, &w->p->g, &f);)
        run_phase(w, &t, &own, &f);
    if (t.buffered)
        fold(w, &t);
}

static void run_few(void *arg, int64_t slab, int thread)
{
    const mgk_conv2d_work *w = arg;
    const mgk_conv2d_args *g = &w->p->g;
    const mgk_conv2d_space own = mgk_conv2d_space_of(w, thread);
    const padded_slab t = slab_of(w, &own, slab);
    const mgk_conv2d_edges none = {0};
    mgk_conv2d_spread(w, &own, &none, t.I1 - t.I0, t.J1 - t.J0, g->cin, g->cout, NULL, t.out,
                      t.out_row);
    if (t.buffered)
        fold(w, &t);
}

void mgk_conv2d_grad_input_run(const mgk_conv2d_args *g, mgk_exec *x, const mgk_panel *engine)
{
    const mgk_conv2d_plan p = mgk_conv2d_grad_input_make_plan(g);
    if (p.spread)
        mgk_conv2d_spread_run(&p, x, engine, run_few, true);
    else
        mgk_conv2d_with_weights(&p, x, engine, p.n_pad / MGK_PANEL_NR_MAX, pack_weights, run_slab);
}
