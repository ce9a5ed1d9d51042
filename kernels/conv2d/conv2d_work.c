/* SPDX-License-Identifier: MIT
 * What the convolution and its gradients share on the panel engine: rows of pictures, blocks of k, and
 * results with few channels. */
#include "kernels/conv2d/conv2d_work.h"

#include "kernels/common/bf16.h"

#include <string.h>

mgk_conv2d_space mgk_conv2d_space_of(const mgk_conv2d_work *w, int thread)
{
    float *own = w->own + thread * mgk_conv2d_thread_floats(w->p);
    mgk_conv2d_space s = {.copy = own};
    s.out = s.copy + w->p->copy_floats;
    s.sums = s.out + w->p->out_floats;
    s.table = (const void **)(void *)(s.sums + w->p->sums_floats);
    return s;
}

mgk_conv2d_block mgk_conv2d_block_of(const mgk_conv2d_plan *p, int64_t slab, int64_t h, int64_t w)
{
    mgk_conv2d_block s = {.b = slab / (p->row_slabs * p->col_slabs),
                          .i0 = slab / p->col_slabs % p->row_slabs * p->rows,
                          .j0 = slab % p->col_slabs * p->cols};
    s.i1 = mgk_min64(s.i0 + p->rows, h);
    s.j1 = mgk_min64(s.j0 + p->cols, w);
    return s;
}

/* --- rows of a picture ------------------------------------------------------------------------ */

/* One row, `left` and `right` columns of it outside, the first of the others at `from`. */
static void copy_row(const mgk_panel *engine, const mgk_conv2d_picture *s, mgk_buf from, char *d,
                     int64_t left, int64_t inside, int64_t right)
{
    const bool widen = s->data.dtype == MGK_BF16 && !engine->pairs;
    const size_t size = s->data.dtype == MGK_BF16 && !widen ? 2 : 4;
    const size_t pixel = (size_t)s->ch * size;
    char *middle = d + (size_t)left * pixel, *end = middle + (size_t)inside * pixel;
    if (widen)
        engine->copy((float *)(void *)middle, from, inside * s->ch);
    else
        memcpy(middle, from.p, (size_t)inside * pixel);
    if (!s->replicate) {
        memset(d, 0, (size_t)left * pixel);
        memset(end, 0, (size_t)right * pixel);
        return;
    }
    for (int64_t j = 0; j < left; j++)
        memcpy(d + (size_t)j * pixel, middle, pixel);
    for (int64_t j = 0; j < right; j++)
        memcpy(end + (size_t)j * pixel, end - pixel, pixel);
}

float *mgk_conv2d_take_rows(const mgk_panel *engine, const mgk_conv2d_picture *s, int64_t i0,
                            int64_t i1, int64_t j0, int64_t j1, bool copy, const void **rows,
                            float *space)
{
    int64_t first = mgk_min64(mgk_max64(j0, 0), s->w);
    int64_t inside = mgk_max64(mgk_min64(j1, s->w) - first, 0);
    int64_t left = mgk_min64(mgk_max64(first - j0, 0), j1 - j0);
    if (s->replicate && inside == 0) { /* all of it repeats one pixel */
        first = j0 < 0 ? 0 : s->w - 1;
        inside = 1;
        left = 0;
    }
    const int64_t right = j1 - j0 - left - inside;
    copy = copy || j0 < 0 || j1 > s->w || (s->data.dtype == MGK_BF16 && !engine->pairs);
    for (int64_t i = i0; i < i1; i++) {
        const int64_t at = i < 0 ? 0 : i >= s->h ? s->h - 1 : i;
        if (at != i && !s->replicate) {
            rows[i - i0] = NULL;
        } else if (at != i && i > i0) {
            rows[i - i0] = rows[i - 1 - i0]; /* the same edge row again */
        } else if (!copy) {
            rows[i - i0] = mgk_buf_at(s->data, (at * s->w + j0) * s->ch).p;
        } else {
            copy_row(engine, s, mgk_buf_at(s->data, (at * s->w + first) * s->ch), (char *)space,
                     left, inside, right);
            rows[i - i0] = space;
            space += mgk_panel_units(engine, (j1 - j0) * s->ch);
        }
    }
    return space;
}

mgk_conv2d_edges mgk_conv2d_edges_of(const mgk_panel *engine, const mgk_conv2d_picture *s,
                                     int64_t kw, int64_t step, int64_t first, int64_t last)
{
    mgk_conv2d_edges e = {.lead = mgk_max64(-first, 0), .tail = mgk_max64(last + kw - s->w, 0)};
    const bool outside = e.lead > 0 || e.tail > 0;
    e.trimmed = e.lead <= step && e.tail <= step && e.lead + e.tail <= kw &&
                !(outside && s->replicate) && !(engine->pairs && s->ch % 2);
    return e.trimmed ? e : (mgk_conv2d_edges){0};
}

/* --- blocks of k ------------------------------------------------------------------------------ */

bool mgk_conv2d_next_k(const mgk_conv2d_plan *p, int64_t segs, int64_t len, mgk_conv2d_k *b)
{
    if (b->len && b->sub + b->len < len)
        b->sub += b->len;
    else
        *b = (mgk_conv2d_k){.seg = b->seg + b->segs};
    b->segs = mgk_min64(p->block_segs, segs - b->seg);
    b->len = mgk_min64(p->sub_len, len - b->sub);
    return b->seg < segs;
}

void mgk_conv2d_aim(mgk_panel_job *job, const mgk_conv2d_target *t, bool first, bool last)
{
    const bool apart = t->c.dtype == MGK_BF16;
    job->c = t->c.p;
    job->c_dtype = t->c.dtype;
    job->ldc = t->ldc;
    job->load = t->load || (!first && !apart);
    if (apart && !last) {
        job->c = t->sums;
        job->c_dtype = MGK_F32;
        job->ldc = MGK_CONV2D_SUMS;
        job->load = !first;
    } else if (apart && !first) {
        job->sums = t->sums;
        job->lds = MGK_CONV2D_SUMS;
    }
}

void mgk_conv2d_with_weights(const mgk_conv2d_plan *p, mgk_exec *x, const mgk_panel *engine,
                             int64_t packs, mgi_pool_fn *pack, mgi_pool_fn *slab)
{
    mgk_conv2d_work w = {.p = p, .engine = engine, .shared = x->workspace};
    w.own = w.shared + p->k * p->n_pad;
    if (p->slabs == 0)
        return;
    mgi_pool_run(x->pool, packs, pack, &w);
    mgi_pool_run(x->pool, p->slabs, slab, &w);
}

/* --- few channels ----------------------------------------------------------------------------- */

/* Few channels of the result would fill little of a panel. Instead each source pixel is multiplied with
 * the weights of all taps of a row of the kernel (columns tap * channels + channel; the engine sums over the
 * rows), and a pixel of the result sums what the kw pixels hold for it. */

float mgk_conv2d_weight_at(const mgk_conv2d_args *g, int64_t at)
{
    return g->weight.dtype == MGK_BF16 ? mgk_from_bf16(MGK_H(g->weight)[at]) : MGK_F(g->weight)[at];
}

/* depth x columns in panels, a part for each row of the kernel. */
static void pack_panel(const mgk_conv2d_work *w, int64_t index, bool gradient)
{
    const mgk_conv2d_args *g = &w->p->g;
    const int64_t taps = g->kh * g->kw, few = gradient ? g->cin : g->cout;
    const int64_t depth = gradient ? g->cout : g->cin, nr = w->engine->nr;
    const int64_t j = index * nr, n = mgk_min64(nr, g->kw * few - j);
    const int64_t width = mgk_panel_width(w->engine, n);
    const int64_t units = mgk_panel_units(w->engine, depth);
    float *dst = w->shared + j * units * g->kh;
    memset(dst, 0, (size_t)(g->kh * units * width) * sizeof(float));
    for (int64_t r = 0; r < g->kh; r++, dst += units * width)
        for (int64_t c = 0; c < depth; c++)
            for (int64_t t = 0; t < n; t++) {
                const int64_t tap = r * g->kw + (j + t) / few, o = (j + t) % few;
                const float v =
                    mgk_conv2d_weight_at(g, gradient ? (c * taps + taps - 1 - tap) * g->cin + o
                                                     : (o * taps + tap) * g->cin + c);
                if (w->engine->pairs)
                    ((uint16_t *)(void *)(dst + c / 2 * width + t))[c % 2] = mgk_to_bf16(v);
                else
                    dst[c * width + t] = v;
            }
}

static void pack_forward(void *arg, int64_t index, int thread)
{
    (void)thread;
    pack_panel(arg, index, false);
}

static void pack_gradient(void *arg, int64_t index, int thread)
{
    (void)thread;
    pack_panel(arg, index, true);
}

typedef float v4 __attribute__((vector_size(16)));
typedef float v4u __attribute__((vector_size(16), aligned(4), may_alias));

/* A row of pixels of the result: sums of what kw neighbours hold, `spread` floats apart. */
static void sum_taps(float *to, const float *from, int64_t cols, int64_t few, int64_t kw,
                     int64_t spread, v4 start)
{
    for (int64_t j = 0; j < cols; j++, from += spread, to += few) {
        v4 sum = start;
        for (int64_t q = 0; q < kw; q++)
            sum += *(const v4u *)(from + q * (spread + few));
        if (j * few + 4 <= cols * few) /* the next stores repair what this one writes too much */
            *(v4u *)to = sum;
        else
            for (int64_t o = 0; o < few; o++)
                to[o] = sum[o];
    }
}

/* rows x cols pixels of the result with `few` channels, rows out_row values apart in out. The table of
 * own holds the source's rows, kh - 1 more, each kw - 1 pixels longer, of `depth` channels. */
void mgk_conv2d_spread(const mgk_conv2d_work *w, const mgk_conv2d_space *own, int64_t rows,
                       int64_t cols, int64_t few, int64_t depth, const float *bias, mgk_buf out,
                       int64_t out_row)
{
    const mgk_conv2d_plan *p = w->p;
    const mgk_conv2d_args *g = &p->g;
    const int64_t wide = cols + g->kw - 1, columns = g->kw * few;
    const int64_t units = mgk_panel_units(w->engine, depth);
    for (int64_t j = 0; j < columns; j += w->engine->nr)
        for (int64_t r = 0; r < rows; r++) {
            const int64_t n = mgk_min64(w->engine->nr, columns - j);
            const int64_t width = mgk_panel_width(w->engine, n);
            const mgk_panel_job job = {
                .a = (const void *const *)own->table + r,
                .b0 = w->shared + j * units * g->kh,
                .b_step = units * width,
                .segs = g->kh,
                .len = depth,
                .a_row = depth,
                .ldb = width,
                .c = own->out + r * wide * p->spread + j,
                .ldc = p->spread,
                .m = wide,
                .n =
                    width, /* the weights of further columns are 0, and there is room: whole vectors */
                .alpha = 1,
            };
            w->engine->run(&job);
        }
    v4 start = {0};
    for (int64_t o = 0; o < few && bias; o++)
        start[o] = bias[o];
    for (int64_t i = 0; i < rows; i++) {
        const mgk_buf to = mgk_buf_at(out, i * out_row);
        float *sums = out.dtype == MGK_F32 ? to.p : own->sums;
        sum_taps(sums, own->out + i * wide * p->spread, cols, few, g->kw, p->spread, start);
        if (out.dtype != MGK_F32)
            w->engine->put(to, sums, cols * few, false);
    }
}

void mgk_conv2d_spread_run(const mgk_conv2d_plan *p, mgk_exec *x, const mgk_panel *engine,
                           mgi_pool_fn *slab, bool gradient)
{
    const int64_t few = gradient ? p->g.cin : p->g.cout;
    mgk_conv2d_with_weights(p, x, engine, mgk_ceil_div(p->g.kw * few, engine->nr),
                            gradient ? pack_gradient : pack_forward, slab);
}
