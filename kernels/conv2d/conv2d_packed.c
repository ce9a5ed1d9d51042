/* SPDX-License-Identifier: MIT
 * conv2d and its gradients on the panel engine, as matrix products without im2col.
 *
 * Forward: C = y, a row of A is an output pixel. For one row of the kernel the kw * cin values
 * that it reads lie together in the picture, and the next pixel's lie stride_w * cin further: a
 * segment of the engine. A slab's source is read where it lies if no column lies outside, else
 * copied once with its padding (not once a tap).
 * grad_input: the padded picture's pixels I = stride_h * u + a, J = stride_w * v + b of one phase
 * (a, b) see only the taps p = a + stride_h * t: a forward convolution of dy with those taps,
 * written with a gap of stride_w pixels. With replicate padding a slab's padded gradient goes to
 * a buffer first and is folded onto the edge pixels.
 * grad_weight: A = dy by columns, B = x in place (kw * cin neighbouring values a pixel), k runs
 * over a slab's pixels. Slabs are cut into fixed groups, each with a partial sum of its own. Where
 * kw * cin fills vectors badly (3 channels) the roles are swapped.
 */
#include "kernels/conv2d/conv2d_plan.h"

#include <string.h>

typedef struct {
    const mgk_conv2d_plan *p;
    const mgk_panel *engine;
    float *shared, *own; /* packed weights or partial sums; the threads' parts */
} work;

typedef struct {
    const float *data; /* one picture */
    int64_t h, w, ch;
    bool replicate;
} picture;

typedef struct {
    float *copy, *out;
    const float **table;
} thread_space;

static thread_space space_of(const work *w, int thread)
{
    float *own = w->own + thread * mgk_conv2d_thread_floats(w->p);
    return (thread_space){own, own + w->p->copy_floats,
                          (const float **)(void *)(own + w->p->copy_floats + w->p->out_floats)};
}

static void copy_pixels(float *dst, const float *src, int64_t count, int64_t ch)
{
    for (int64_t j = 0; j < count; j++)
        memcpy(dst + j * ch, src, (size_t)ch * sizeof(float));
}

/* rows[i - i0] = columns j0..j1-1 of row i, for i = i0..i1-1, any of which may lie outside. NULL is
 * a row of zeros. Without `copy` rows that lie inside stay where they are. Returns the end of the
 * space used. */
static float *take_rows(const picture *s, int64_t i0, int64_t i1, int64_t j0, int64_t j1, bool copy,
                        const float **rows, float *space)
{
    const int64_t first = mgk_min64(mgk_max64(j0, 0), s->w), last = mgk_min64(j1, s->w);
    const int64_t inside = mgk_max64(last - first, 0), left = mgk_min64(mgk_max64(-j0, 0), j1 - j0);
    const int64_t right = j1 - j0 - left - inside;
    copy = copy || j0 < 0 || j1 > s->w;
    for (int64_t i = i0; i < i1; i++) {
        const int64_t at = i < 0 ? 0 : i >= s->h ? s->h - 1 : i;
        const float *row = s->data + at * s->w * s->ch;
        if (at != i && !s->replicate) {
            rows[i - i0] = NULL;
        } else if (at != i && i > i0) {
            rows[i - i0] = rows[i - 1 - i0]; /* the same edge row again */
        } else if (!copy) {
            rows[i - i0] = row + j0 * s->ch;
        } else {
            float *d = space;
            if (s->replicate) {
                copy_pixels(d, row, left, s->ch);
                copy_pixels(d + (left + inside) * s->ch, row + (s->w - 1) * s->ch, right, s->ch);
            } else {
                memset(d, 0, (size_t)(left * s->ch) * sizeof(float));
                memset(d + (left + inside) * s->ch, 0, (size_t)(right * s->ch) * sizeof(float));
            }
            memcpy(d + left * s->ch, row + first * s->ch, (size_t)(inside * s->ch) * sizeof(float));
            rows[i - i0] = d;
            space += (j1 - j0) * s->ch;
        }
    }
    return space;
}

/* One strip of pixels for all blocks of k is run by the caller's loop; a block is a range of
 * segments (all of their length) or a part of one segment. */
typedef struct {
    int64_t seg, segs, sub, len;
} k_block;

static bool next_k_block(const mgk_conv2d_plan *p, int64_t segs, int64_t len, k_block *b)
{
    if (b->len && b->sub + b->len < len)
        b->sub += b->len;
    else
        *b = (k_block){.seg = b->seg + b->segs};
    b->segs = mgk_min64(p->block_segs, segs - b->seg);
    b->len = mgk_min64(p->sub_len, len - b->sub);
    return b->seg < segs;
}

/* --- forward ---------------------------------------------------------------------------------- */

static void pack_forward(void *arg, int64_t index, int thread)
{
    const work *w = arg;
    const mgk_conv2d_plan *p = w->p;
    const int64_t end = mgk_min64((index + 1) * MGK_PANEL_NR_MAX, p->g.cout);
    (void)thread;
    for (int64_t j = index * MGK_PANEL_NR_MAX; j < end; j += w->engine->nr) {
        const int64_t n = mgk_min64(w->engine->nr, end - j);
        w->engine->pack(w->shared + j * p->k, mgk_buf_at(p->g.weight, j * p->k), p->k, true, p->k,
                        n, mgk_panel_width(w->engine, n));
    }
}

/* The pixels of a slab: picture b, rows i0..i1-1, columns j0..j1-1. */
typedef struct {
    int64_t b, i0, i1, j0, j1;
} block;

static block block_of(const mgk_conv2d_plan *p, int64_t slab, int64_t h, int64_t w)
{
    block s = {.b = slab / (p->row_slabs * p->col_slabs),
               .i0 = slab / p->col_slabs % p->row_slabs * p->rows,
               .j0 = slab % p->col_slabs * p->cols};
    s.i1 = mgk_min64(s.i0 + p->rows, h);
    s.j1 = mgk_min64(s.j0 + p->cols, w);
    return s;
}

static void take_forward(const mgk_conv2d_args *g, const block *s, const thread_space *own)
{
    const picture x = {MGK_F(g->x) + s->b * g->h * g->w * g->cin, g->h, g->w, g->cin,
                       g->pad_mode == MGK_PAD_REPLICATE};
    take_rows(&x, s->i0 * g->stride_h - g->pad_top, (s->i1 - 1) * g->stride_h - g->pad_top + g->kh,
              s->j0 * g->stride_w - g->pad_left, (s->j1 - 1) * g->stride_w - g->pad_left + g->kw,
              false, own->table, own->copy);
}

static void run_forward(void *arg, int64_t slab, int thread)
{
    const work *w = arg;
    const mgk_conv2d_plan *p = w->p;
    const mgk_conv2d_args *g = &p->g;
    const thread_space own = space_of(w, thread);
    const block s = block_of(p, slab, g->ho, g->wo);
    take_forward(g, &s, &own);
    const int64_t len = g->kw * g->cin;
    for (k_block kb = {0}; next_k_block(p, g->kh, len, &kb);) {
        const bool last = kb.seg + kb.segs == g->kh && kb.sub + kb.len == len;
        for (int64_t j = 0; j < g->cout; j += w->engine->nr) {
            const int64_t n = mgk_min64(w->engine->nr, g->cout - j);
            const int64_t width = mgk_panel_width(w->engine, n);
            for (int64_t i = s.i0; i < s.i1; i++) {
                const mgk_panel_job job = {
                    .a = (const void *const *)own.table + (i - s.i0) * g->stride_h + kb.seg,
                    .a_off = kb.sub,
                    .b0 = w->shared + j * p->k + (kb.seg * len + kb.sub) * width,
                    .b_step = len * width,
                    .segs = kb.segs,
                    .len = kb.len,
                    .a_row = g->stride_w * g->cin,
                    .ldb = width,
                    .c = MGK_F(g->y) + ((s.b * g->ho + i) * g->wo + s.j0) * g->cout + j,
                    .ldc = g->cout,
                    .m = s.j1 - s.j0,
                    .n = n,
                    .bias = last && g->bias.p ? MGK_F(g->bias) + j : NULL,
                    .alpha = 1,
                    .load = kb.seg > 0 || kb.sub > 0,
                };
                w->engine->run(&job);
            }
        }
    }
}

/* Few output channels would fill little of a panel. Instead each source pixel is multiplied once
 * with the weights of all taps (columns tap * cout + o), and an output pixel sums what its taps hold
 * for it. */
static void pack_spread(void *arg, int64_t index, int thread)
{
    const work *w = arg;
    const mgk_conv2d_args *g = &w->p->g;
    const int64_t taps = g->kh * g->kw, columns = taps * g->cout;
    const int64_t j = index * w->engine->nr, n = mgk_min64(w->engine->nr, columns - j);
    float *dst = w->shared + j * g->cin;
    (void)thread;
    for (int64_t c = 0; c < g->cin && n > 0; c++) {
        for (int64_t t = j; t < j + n; t++)
            *dst++ = MGK_F(g->weight)[(t % g->cout * taps + t / g->cout) * g->cin + c];
        for (int64_t t = n; t < mgk_panel_width(w->engine, n); t++)
            *dst++ = 0;
    }
}

typedef float v4 __attribute__((vector_size(16)));
typedef float v4u __attribute__((vector_size(16), aligned(4), may_alias));

static void run_spread(void *arg, int64_t slab, int thread)
{
    const work *w = arg;
    const mgk_conv2d_plan *p = w->p;
    const mgk_conv2d_args *g = &p->g;
    const thread_space own = space_of(w, thread);
    const block s = block_of(p, slab, g->ho, g->wo);
    const int64_t rows = s.i1 - s.i0 + g->kh - 1, cols = s.j1 - s.j0 + g->kw - 1;
    const int64_t columns = g->kh * g->kw * g->cout, count = (s.j1 - s.j0) * g->cout;
    take_forward(g, &s, &own);
    for (int64_t j = 0; j < columns; j += w->engine->nr)
        for (int64_t r = 0; r < rows; r++) {
            const int64_t n = mgk_min64(w->engine->nr, columns - j);
            const mgk_panel_job job = {
                .a = (const void *const *)own.table + r,
                .b0 = w->shared + j * g->cin,
                .segs = 1,
                .len = g->cin,
                .a_row = g->cin,
                .ldb = mgk_panel_width(w->engine, n),
                .c = own.out + r * cols * p->spread + j,
                .ldc = p->spread,
                .m = cols,
                .n = n,
                .alpha = 1,
            };
            w->engine->run(&job);
        }
    v4 bias = {0};
    for (int64_t o = 0; o < g->cout && g->bias.p; o++)
        bias[o] = MGK_F(g->bias)[o];
    for (int64_t i = s.i0; i < s.i1; i++) {
        float *y = MGK_F(g->y) + ((s.b * g->ho + i) * g->wo + s.j0) * g->cout;
        for (int64_t j = 0; j < count; j += g->cout) {
            const float *from = own.out + ((i - s.i0) * cols + j / g->cout) * p->spread;
            v4 sum = bias;
            for (int64_t t = 0; t < g->kh; t++, from += cols * p->spread)
                for (int64_t q = 0; q < g->kw; q++)
                    sum += *(const v4u *)(from + q * p->spread + (t * g->kw + q) * g->cout);
            if (j + 4 <= count) /* the next pixel's store repairs what this one's writes of it */
                *(v4u *)(y + j) = sum;
            else
                for (int64_t o = 0; o < g->cout; o++)
                    y[j + o] = sum[o];
        }
    }
}

static void run_with_weights(const mgk_conv2d_plan *p, mgk_exec *x, const mgk_panel *engine,
                             int64_t packs, mgi_pool_fn *pack, mgi_pool_fn *slab)
{
    work w = {.p = p, .engine = engine, .shared = x->workspace};
    w.own = w.shared + p->k * p->n_pad;
    if (p->slabs == 0)
        return;
    mgi_pool_run(x->pool, packs, pack, &w);
    mgi_pool_run(x->pool, p->slabs, slab, &w);
}

void mgk_conv2d_run(const mgk_conv2d_args *g, mgk_exec *x, const mgk_panel *engine)
{
    const mgk_conv2d_plan p = mgk_conv2d_make_plan(g);
    if (p.spread)
        run_with_weights(&p, x, engine, mgk_ceil_div(p.g.kh * p.g.kw * p.g.cout, engine->nr),
                         pack_spread, run_spread);
    else
        run_with_weights(&p, x, engine, p.n_pad / MGK_PANEL_NR_MAX, pack_forward, run_forward);
}

/* --- gradient of the input -------------------------------------------------------------------- */

typedef struct {
    int64_t a, b, taps_h, taps_w;
    int64_t k0; /* values of k of the phases before: where its packed weights begin */
} phase;

static bool next_phase(const mgk_conv2d_args *g, phase *f)
{
    f->k0 += f->taps_h * f->taps_w * g->cout;
    if (f->taps_h < 0) {
        *f = (phase){0};
    } else if (++f->b == g->stride_w) {
        f->b = 0;
        f->a++;
    }
    f->taps_h = f->a < g->kh ? mgk_ceil_div(g->kh - f->a, g->stride_h) : 0;
    f->taps_w = f->b < g->kw ? mgk_ceil_div(g->kw - f->b, g->stride_w) : 0;
    return f->a < g->stride_h;
}
static const phase before_phases = {.taps_h = -1};

/* k of a phase = (row of dy, upwards; column of dy, upwards; o): taps downwards. */
static void pack_grad_input(void *arg, int64_t index, int thread)
{
    const work *w = arg;
    const mgk_conv2d_plan *p = w->p;
    const mgk_conv2d_args *g = &p->g;
    const int64_t end = mgk_min64((index + 1) * MGK_PANEL_NR_MAX, g->cin);
    (void)thread;
    for (int64_t j = index * MGK_PANEL_NR_MAX; j < end; j += w->engine->nr) {
        const int64_t n = mgk_min64(w->engine->nr, end - j);
        const int64_t width = mgk_panel_width(w->engine, n);
        for (phase f = before_phases; next_phase(g, &f);) {
            float *dst = w->shared + j * p->k + f.k0 * width;
            for (int64_t s = f.taps_h - 1; s >= 0; s--)
                for (int64_t t = f.taps_w - 1; t >= 0; t--) {
                    const int64_t tap = (f.a + g->stride_h * s) * g->kw + f.b + g->stride_w * t;
                    w->engine->pack(dst, mgk_buf_at(g->weight, tap * g->cin + j),
                                    g->kh * g->kw * g->cin, false, g->cout, n, width);
                    dst += g->cout * width;
                }
        }
    }
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a < 0 ? -((-a + b - 1) / b) : a / b;
}

/* dst += src for count values. */
static void add_to(float *dst, const float *src, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        dst[i] += src[i];
}

/* The gradient of the padded pixels rows I0.. x columns J0.. onto pixels i0..i1 x j0..j1 of dx. */
static void fold(const mgk_conv2d_args *g, int64_t b, float *padded, int64_t row_floats, int64_t I0,
                 int64_t I1, int64_t J0, int64_t J1, int64_t i0, int64_t i1, int64_t j0, int64_t j1)
{
    const int64_t first = (j0 + g->pad_left - J0) * g->cin, count = (j1 - j0) * g->cin;
    for (int64_t I = I0; I < I1; I++) {
        float *row = padded + (I - I0) * row_floats;
        for (int64_t J = J0; J < j0 + g->pad_left; J++)
            add_to(row + first, row + (J - J0) * g->cin, g->cin);
        for (int64_t J = j1 + g->pad_left; J < J1; J++)
            add_to(row + first + count - g->cin, row + (J - J0) * g->cin, g->cin);
    }
    float *top = padded + (i0 + g->pad_top - I0) * row_floats + first;
    float *bottom = padded + (i1 - 1 + g->pad_top - I0) * row_floats + first;
    for (int64_t I = I0; I < i0 + g->pad_top; I++)
        add_to(top, padded + (I - I0) * row_floats + first, count);
    for (int64_t I = i1 + g->pad_top; I < I1; I++)
        add_to(bottom, padded + (I - I0) * row_floats + first, count);
    for (int64_t i = i0; i < i1; i++) {
        float *dx = MGK_F(g->x) + ((b * g->h + i) * g->w + j0) * g->cin;
        const float *row = top + (i - i0) * row_floats;
        if (g->accumulate)
            add_to(dx, row, count);
        else
            memcpy(dx, row, (size_t)count * sizeof(float));
    }
}

static void run_grad_input(void *arg, int64_t slab, int thread)
{
    const work *w = arg;
    const mgk_conv2d_plan *p = w->p;
    const mgk_conv2d_args *g = &p->g;
    const thread_space own = space_of(w, thread);
    const block s = block_of(p, slab, g->h, g->w);
    const int64_t b = s.b, i0 = s.i0, i1 = s.i1, j0 = s.j0, j1 = s.j1;
    /* the same in the padded picture, with the virtual pixels that belong to the edges */
    const bool edge = g->pad_mode == MGK_PAD_REPLICATE;
    const int64_t I0 = edge && i0 == 0 ? 0 : i0 + g->pad_top;
    const int64_t J0 = edge && j0 == 0 ? 0 : j0 + g->pad_left;
    const int64_t I1 = i1 + g->pad_top + (edge && i1 == g->h ? g->pad_bottom : 0);
    const int64_t J1 = j1 + g->pad_left + (edge && j1 == g->w ? g->pad_right : 0);
    const bool buffered = I1 - I0 > i1 - i0 || J1 - J0 > j1 - j0;
    float *out = buffered ? own.out : MGK_F(g->x) + ((b * g->h + i0) * g->w + j0) * g->cin;
    const int64_t out_row = (buffered ? J1 - J0 : g->w) * g->cin;
    const bool load = g->accumulate && !buffered;
    /* what it reads of dy */
    const int64_t u_first = floor_div(I0, g->stride_h) - mgk_ceil_div(g->kh, g->stride_h) + 1;
    const int64_t v_first = floor_div(J0, g->stride_w) - mgk_ceil_div(g->kw, g->stride_w) + 1;
    const picture dy = {MGK_F(g->y) + b * g->ho * g->wo * g->cout, g->ho, g->wo, g->cout, false};
    take_rows(&dy, u_first, floor_div(I1 - 1, g->stride_h) + 1, v_first,
              floor_div(J1 - 1, g->stride_w) + 1, false, own.table, own.copy);
    for (phase f = before_phases; next_phase(g, &f);) {
        const int64_t u0 = floor_div(I0 - f.a + g->stride_h - 1, g->stride_h);
        const int64_t u1 = floor_div(I1 - 1 - f.a, g->stride_h) + 1;
        const int64_t v0 = floor_div(J0 - f.b + g->stride_w - 1, g->stride_w);
        const int64_t v1 = floor_div(J1 - 1 - f.b, g->stride_w) + 1;
        const int64_t len = f.taps_w * g->cout, segs = len ? f.taps_h : 0;
        if (u0 >= u1 || v0 >= v1)
            continue;
        k_block kb = {0};
        bool some = next_k_block(p, segs, len, &kb);
        if (!some) /* no taps: the gradient is 0, written as a sum of nothing */
            kb = (k_block){0};
        do {
            for (int64_t j = 0; j < g->cin; j += w->engine->nr) {
                const int64_t n = mgk_min64(w->engine->nr, g->cin - j);
                const int64_t width = mgk_panel_width(w->engine, n);
                for (int64_t u = u0; u < u1; u++) {
                    const mgk_panel_job job = {
                        .a = (const void *const *)own.table + (u - f.taps_h + 1 - u_first) + kb.seg,
                        .a_off = (v0 - f.taps_w + 1 - v_first) * g->cout + kb.sub,
                        .b0 = w->shared + j * p->k + (f.k0 + kb.seg * len + kb.sub) * width,
                        .b_step = len * width,
                        .segs = kb.segs,
                        .len = kb.len,
                        .a_row = g->cout,
                        .ldb = width,
                        .c = out + (g->stride_h * u + f.a - I0) * out_row +
                             (g->stride_w * v0 + f.b - J0) * g->cin + j,
                        .ldc = g->stride_w * g->cin,
                        .m = v1 - v0,
                        .n = n,
                        .alpha = 1,
                        .load = load || kb.seg > 0 || kb.sub > 0,
                    };
                    w->engine->run(&job);
                }
            }
        } while (some && next_k_block(p, segs, len, &kb));
    }
    if (buffered)
        fold(g, b, out, out_row, I0, I1, J0, J1, i0, i1, j0, j1);
}

void mgk_conv2d_grad_input_run(const mgk_conv2d_args *g, mgk_exec *x, const mgk_panel *engine)
{
    const mgk_conv2d_plan p = mgk_conv2d_grad_input_make_plan(g);
    run_with_weights(&p, x, engine, p.n_pad / MGK_PANEL_NR_MAX, pack_grad_input, run_grad_input);
}

/* --- gradient of the weights ------------------------------------------------------------------ */

/* Sums of the columns of the rows dy[0..count-1], each `pixels` long, added to sum. */
static void add_bias(float *sum, const float *const *dy, int64_t count, int64_t pixels, int64_t ch)
{
    float part[256];
    for (int64_t c0 = 0; c0 < ch; c0 += 256) {
        const int64_t n = mgk_min64(256, ch - c0);
        memset(part, 0, (size_t)n * sizeof(float));
        for (int64_t r = 0; r < count; r++)
            for (int64_t j = 0; j < pixels; j++)
                add_to(part, dy[r] + j * ch + c0, n);
        add_to(sum + c0, part, n);
    }
}

/* Kernel rows p0..p1-1 of one slab, into (first: over) a partial sum. */
static void weigh_slab(const work *w, const thread_space *own, int64_t slab, int64_t p0, int64_t p1,
                       float *partial, bool first)
{
    const mgk_conv2d_plan *p = w->p;
    const mgk_conv2d_args *g = &p->g;
    const int64_t b0 = slab / (p->row_slabs * p->col_slabs) * p->pictures;
    const int64_t i0 = slab / p->col_slabs % p->row_slabs * p->rows;
    const int64_t j0 = slab % p->col_slabs * p->cols;
    const int64_t b1 = mgk_min64(b0 + p->pictures, g->n);
    const int64_t i1 = mgk_min64(i0 + p->rows, g->ho), j1 = mgk_min64(j0 + p->cols, g->wo);
    const int64_t most = p->pictures * p->rows, len = g->kw * g->cin, k = g->kh * len;
    const float **dy = own->table, **x = dy + most, **taken = x + most * g->kh;
    float *space = own->copy;
    int64_t rows = 0;
    for (int64_t b = b0; b < b1; b++) {
        const picture s = {MGK_F(g->x) + b * g->h * g->w * g->cin, g->h, g->w, g->cin,
                           g->pad_mode == MGK_PAD_REPLICATE};
        /* whole vectors are read of B in place: rows that end inside one must be copied */
        space = take_rows(&s, i0 * g->stride_h - g->pad_top + p0,
                          (i1 - 1) * g->stride_h - g->pad_top + p1, j0 * g->stride_w - g->pad_left,
                          (j1 - 1) * g->stride_w - g->pad_left + g->kw,
                          !p->by_input && len % 16 != 0, taken, space);
        for (int64_t i = i0; i < i1; i++, rows++) {
            dy[rows] = MGK_F(g->y) + ((b * g->ho + i) * g->wo + j0) * g->cout;
            for (int64_t t = p0; t < p1; t++)
                x[t * most + rows] = taken[(i - i0) * g->stride_h + t - p0];
        }
    }
    const int64_t pixel = g->stride_w * g->cin, across = p->by_input ? g->cout : len;
    for (int64_t t = p0; t < p1; t++)
        for (int64_t j = 0; j < across; j += w->engine->nr) {
            const mgk_panel_job job = {
                .a = (const void *const *)(p->by_input ? x + t * most : dy),
                .b = p->by_input ? dy : x + t * most,
                .b_off = j,
                .segs = rows,
                .len = j1 - j0,
                .a_by_columns = true,
                .a_col = p->by_input ? pixel : g->cout,
                .ldb = p->by_input ? g->cout : pixel,
                .c = partial + (p->by_input ? t * len * g->cout : t * len) + j,
                .ldc = p->by_input ? g->cout : k,
                .m = p->by_input ? len : g->cout,
                .n = mgk_min64(w->engine->nr, across - j),
                .alpha = 1,
                .load = !first,
            };
            w->engine->run(&job);
        }
    if (p0 == 0 && g->bias.p)
        add_bias(partial + g->cout * k, dy, rows, j1 - j0, g->cout);
}

static void run_group(void *arg, int64_t unit, int thread)
{
    const work *w = arg;
    const mgk_conv2d_plan *p = w->p;
    const thread_space own = space_of(w, thread);
    const int64_t units = p->g.kh / p->taps_a_unit, group = unit / units;
    const int64_t tap = unit % units * p->taps_a_unit;
    const int64_t first = p->slabs * group / p->groups, end = p->slabs * (group + 1) / p->groups;
    float *partial = w->shared + group * p->partial_floats;
    if (tap == 0)
        memset(partial + p->g.cout * p->g.kh * p->g.kw * p->g.cin, 0,
               (size_t)p->g.cout * sizeof(float));
    for (int64_t slab = first; slab < end; slab++)
        weigh_slab(w, &own, slab, tap, tap + p->taps_a_unit, partial, slab == first);
}

enum { COMBINE = 4096 /* values a block of the last sum */ };

static void combine(void *arg, int64_t index, int thread)
{
    const work *w = arg;
    const mgk_conv2d_plan *p = w->p;
    const int64_t weights = p->g.cout * p->g.kh * p->g.kw * p->g.cin;
    const int64_t bias = weights + (p->g.bias.p ? p->g.cout : 0);
    const int64_t end = mgk_min64((index + 1) * COMBINE, bias);
    (void)thread;
    for (int64_t i = index * COMBINE; i < end;) {
        const int64_t stop = i < weights ? mgk_min64(end, weights) : end;
        float *dst = i < weights ? MGK_F(p->g.weight) + i : MGK_F(p->g.bias) + (i - weights);
        if (!p->g.accumulate)
            memset(dst, 0, (size_t)(stop - i) * sizeof(float));
        for (int64_t t = 0; t < p->groups && p->slabs > 0; t++) {
            const float *partial = w->shared + t * p->partial_floats;
            if (p->by_input && i < weights)
                for (int64_t r = i, k = weights / p->g.cout; r < stop; r++)
                    dst[r - i] += partial[r % k * p->g.cout + r / k];
            else
                add_to(dst, partial + i, stop - i);
        }
        i = stop;
    }
}

void mgk_conv2d_grad_weight_run(const mgk_conv2d_args *g, mgk_exec *x, const mgk_panel *engine)
{
    const mgk_conv2d_plan p = mgk_conv2d_grad_weight_make_plan(g);
    work w = {.p = &p, .engine = engine, .shared = x->workspace};
    w.own = w.shared + p.groups * p.partial_floats;
    if (p.slabs > 0)
        mgi_pool_run(x->pool, p.groups * (p.g.kh / p.taps_a_unit), run_group, &w);
    mgi_pool_run(x->pool, mgk_ceil_div(p.partial_floats, COMBINE), combine, &w);
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
