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

/* Few channels of the result would fill little of a panel. Instead the product is taken the other way round: a panel's columns
 * are neighbouring pixels, of rows of the source that are turned into a line for each channel, and rows of A are the
 * weights of a channel of the result. */

float mgk_conv2d_weight_at(const mgk_conv2d_args *g, int64_t at)
{
    return g->weight.dtype == MGK_BF16 ? mgk_from_bf16(MGK_H(g->weight)[at]) : MGK_F(g->weight)[at];
}

/* (channel of the result, place of the kernel, channel of the source), as the engine multiplies them. */
static void take_weights(const mgk_conv2d_work *w, bool gradient)
{
    const mgk_conv2d_args *g = &w->p->g;
    const int64_t taps = g->kh * g->kw, few = gradient ? g->cin : g->cout;
    const int64_t depth = gradient ? g->cout : g->cin;
    for (int64_t o = 0, to = 0; o < few; o++)
        for (int64_t tap = 0; tap < taps; tap++)
            for (int64_t c = 0; c < depth; c++, to++) {
                const float v =
                    mgk_conv2d_weight_at(g, gradient ? (c * taps + taps - 1 - tap) * few + o
                                                     : (o * taps + tap) * depth + c);
                if (w->engine->pairs)
                    ((uint16_t *)(void *)w->shared)[to] = mgk_to_bf16(v);
                else
                    w->shared[to] = v;
            }
}

static void take_forward(void *arg, int64_t index, int thread)
{
    (void)index, (void)thread;
    take_weights(arg, false);
}

static void take_gradient(void *arg, int64_t index, int thread)
{
    (void)index, (void)thread;
    take_weights(arg, true);
}

typedef float v4 __attribute__((vector_size(16)));
typedef float v4u __attribute__((vector_size(16), aligned(4), may_alias));

/* Pixels of `few` channels out of a line for each, `pitch` floats apart. */
static void join_channels(float *to, const float *from, int64_t pitch, int64_t cols, int64_t few,
                          const float *bias)
{
    const float *line[4];
    v4 add[4];
    int64_t j = 0;
    for (int64_t o = 0; o < 4;
         o++) { /* of those that there are not, another's: the next stores repair it */
        const int64_t at = mgk_min64(o, few - 1);
        const float b = bias ? bias[at] : 0;
        line[o] = from + at * pitch;
        add[o] = (v4){b, b, b, b};
    }
    for (; (j + 3) * few + 4 <= cols * few; j += 4, to += 4 * few) {
        const v4 r0 = *(const v4u *)(line[0] + j) + add[0],
                 r1 = *(const v4u *)(line[1] + j) + add[1];
        const v4 r2 = *(const v4u *)(line[2] + j) + add[2],
                 r3 = *(const v4u *)(line[3] + j) + add[3];
        const v4 a = __builtin_shufflevector(r0, r1, 0, 4, 1, 5);
        const v4 b = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
        const v4 c = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
        const v4 d = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
        *(v4u *)to = __builtin_shufflevector(a, c, 0, 1, 4, 5);
        *(v4u *)(to + few) = __builtin_shufflevector(a, c, 2, 3, 6, 7);
        *(v4u *)(to + 2 * few) = __builtin_shufflevector(b, d, 0, 1, 4, 5);
        *(v4u *)(to + 3 * few) = __builtin_shufflevector(b, d, 2, 3, 6, 7);
    }
    for (; j < cols; j++, to += few)
        for (int64_t o = 0; o < few; o++)
            to[o] = line[o][j] + add[o][0];
}

/* Lines of a row of the source of `wide` pixels. What it lacks at its ends is 0: behind it, and in what the line before it, or
 * here, leaves before it. */
static void take_lines(const mgk_panel *engine, float *to, mgk_buf row, const mgk_conv2d_edges *e,
                       int64_t depth, int64_t wide, int64_t pitch)
{
    for (int64_t j = 0; j < e->lead; j++)
        to[j] = 0;
    engine->pack(to + e->lead, row, depth, true, depth, wide - e->lead - e->tail, pitch);
}

void mgk_conv2d_spread(const mgk_conv2d_work *w, const mgk_conv2d_space *own,
                       const mgk_conv2d_edges *e, int64_t rows, int64_t cols, int64_t few,
                       int64_t depth, const float *bias, mgk_buf out, int64_t out_row)
{
    const mgk_conv2d_args *g = &w->p->g;
    const mgk_panel *engine = w->engine;
    const int64_t taps = g->kh * g->kw, pitch = w->p->spread, above = g->kh - 1;
    const int64_t lines = mgk_panel_units(engine, depth) * pitch; /* of a row of the source */
    const int32_t dtype = engine->pairs ? MGK_BF16 : MGK_F32;
    float *result = own->out + g->kh * depth * pitch;
    const void *a[MGK_CONV2D_SPREAD_TAPS];
    const float *b[MGK_CONV2D_SPREAD_TAPS];
    for (int64_t t = 0; t < taps; t++)
        a[t] = mgk_buf_at((mgk_buf){w->shared, dtype}, t * depth).p;
    for (int64_t r = 0; r < rows + above; r++) {
        const mgk_buf source = {(void *)(uintptr_t)own->table[r], dtype};
        if (source.p)
            take_lines(engine, own->out + r % g->kh * lines, source, e, depth, cols + g->kw - 1,
                       pitch);
        if (r < above)
            continue;
        for (int64_t t = 0; t < taps; t++) {
            const int64_t from = r - above + t / g->kw;
            b[t] = own->table[from] ? own->out + from % g->kh * lines + t % g->kw : NULL;
        }
        for (int64_t j = 0; j < cols; j += engine->nr) {
            const mgk_panel_job job = {
                .a = a,
                .b = b,
                .b_off = j,
                .segs = taps,
                .len = depth,
                .a_row = taps * depth,
                .ldb = pitch,
                .c = result + j,
                .ldc = pitch,
                .m = few,
                .n = engine->nr, /* there is room: whole vectors */
                .alpha = 1,
            };
            engine->run(&job);
        }
        const mgk_buf to = mgk_buf_at(out, (r - above) * out_row);
        float *sums = out.dtype == MGK_F32 ? to.p : own->sums;
        join_channels(sums, result, pitch, cols, few, bias);
        if (out.dtype != MGK_F32)
            engine->put(to, sums, cols * few, false);
    }
}

void mgk_conv2d_spread_run(const mgk_conv2d_plan *p, mgk_exec *x, const mgk_panel *engine,
                           mgi_pool_fn *slab, bool gradient)
{
    mgk_conv2d_with_weights(p, x, engine, 1, gradient ? take_gradient : take_forward, slab);
}
