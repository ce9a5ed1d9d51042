/* SPDX-License-Identifier: MIT
 * conv2d_grad_weight on the panel engine.
 *
 * A = dy by columns, B = x in place (kw * cin neighbouring values a pixel), k runs over a slab's pixels.
 * Slabs are cut into fixed groups, each with a partial sum of its own. Where kw * cin fills vectors badly
 * (3 channels) the roles are swapped.
 *
 * Engines of pairs want two pixels in a unit: a slab's rows are zipped first, two neighbouring pixels of
 * dy, and the kw * cin values of x that belong to each. The rows of a picture then lie one behind the
 * other, rows of zeros included, and are one segment. In longer rows of few channels (sliding) each two
 * neighbours of x are zipped once and used by several taps; there each row is a segment. */
#include "kernels/conv2d/conv2d_work.h"

#include <string.h>

/* Rows of one slab as the engine reads them. */
typedef struct {
    int64_t b0, b1, i0, i1, j0, j1;
    int64_t rows, most;   /* of dy; most: of any slab */
    const void **dy, **x; /* x: for kernel row t the rows from t * most on */
    const void **taken;
    int64_t left, inside; /* of sliding rows of x: columns outside before those that were taken */
    float *space, *zipped;
} slab_rows;

static bool sliding(const mgk_conv2d_work *w)
{
    return w->engine->pairs && w->p->sliding;
}

static void take_picture(const mgk_conv2d_work *w, slab_rows *r, int64_t b, int64_t p0, int64_t p1)
{
    const mgk_conv2d_plan *p = w->p;
    const mgk_conv2d_args *g = &p->g;
    const mgk_conv2d_picture x = {mgk_buf_at(g->x, b * g->h * g->w * g->cin), g->h, g->w, g->cin,
                                  g->pad_mode == MGK_PAD_REPLICATE};
    const mgk_conv2d_picture dy = {mgk_buf_at(g->y, b * g->ho * g->wo * g->cout), g->ho, g->wo,
                                   g->cout, false};
    /* whole vectors are read of B in place: rows that end inside one must be copied */
    const bool copy = !w->engine->pairs && !p->by_input && g->kw * g->cin % 16 != 0;
    int64_t j0 = r->j0 * g->stride_w - g->pad_left;
    int64_t j1 = (r->j1 - 1) * g->stride_w - g->pad_left + g->kw;
    r->left = 0;
    if (sliding(w) && !x.replicate) { /* zeros outside are made with the units */
        const int64_t first = mgk_min64(mgk_max64(j0, 0), mgk_min64(g->w, j1));
        r->left = mgk_max64(first - j0, 0);
        j0 = mgk_max64(first, j0);
        j1 = mgk_max64(mgk_min64(j1, g->w), j0);
    }
    r->inside = j1 - j0;
    r->space = mgk_conv2d_take_rows(w->engine, &x, r->i0 * g->stride_h - g->pad_top + p0,
                                    (r->i1 - 1) * g->stride_h - g->pad_top + p1, j0, j1, copy,
                                    r->taken, r->space);
    r->space = mgk_conv2d_take_rows(w->engine, &dy, r->i0, r->i1, r->j0, r->j1, false,
                                    r->dy + r->rows, r->space);
}

/* Pairs of neighbours in a sliding row of x. */
static int64_t sliding_units(const mgk_conv2d_work *w, const slab_rows *r)
{
    return (r->j1 - r->j0 + 1) / 2 * 2 + w->p->g.kw - 2;
}

/* Unit t * cin + c = values c of pixels t and t + 1 of a row. */
static void slide(const mgk_conv2d_work *w, const slab_rows *r, const uint16_t *x, float *dst)
{
    const int64_t ch = w->p->g.cin, all = sliding_units(w, r), last = r->left + r->inside - 1;
    if (r->left > 0) {
        memset(dst, 0, (size_t)((r->left - 1) * ch) * sizeof(float));
        for (int64_t c = 0; c < ch; c++)
            ((uint32_t *)(void *)dst)[(r->left - 1) * ch + c] = (uint32_t)x[c] << 16;
    }
    w->engine->zip(dst + r->left * ch, x, ch, 2, (r->inside - 1) * ch);
    if (last < all)
        w->engine->zip(dst + last * ch, x + (r->inside - 1) * ch, ch, 1, ch);
    if (last + 1 < all)
        memset(dst + (last + 1) * ch, 0, (size_t)((all - last - 1) * ch) * sizeof(float));
}

static void slide_rows(const mgk_conv2d_work *w, slab_rows *r, int64_t rows)
{
    const void *before = NULL;
    for (int64_t i = 0; i < rows; i++) {
        const void *x = r->taken[i];
        if (x && x == before) { /* the same edge row again */
            r->taken[i] = r->taken[i - 1];
        } else if (x && r->inside > 0) {
            slide(w, r, x, r->zipped);
            r->taken[i] = r->zipped;
            r->zipped += sliding_units(w, r) * w->p->g.cin;
        } else {
            r->taken[i] = NULL;
        }
        before = x;
    }
}

/* Pixel pairs instead of pixels: rows of x, then rows of dy. */
static void zip_picture(const mgk_conv2d_work *w, slab_rows *r, int64_t x_rows)
{
    const mgk_conv2d_plan *p = w->p;
    const mgk_conv2d_args *g = &p->g;
    const int64_t pixels = r->j1 - r->j0, pairs = (pixels + 1) / 2;
    if (sliding(w))
        slide_rows(w, r, x_rows);
    for (int64_t i = 0; i < x_rows && !sliding(w); i++) {
        if (r->taken[i])
            w->engine->zip(r->zipped, r->taken[i], g->stride_w * g->cin, pixels, g->kw * g->cin);
        else
            memset(r->zipped, 0, (size_t)(pairs * g->kw * g->cin) * sizeof(float));
        r->taken[i] = r->zipped;
        r->zipped += pairs * g->kw * g->cin;
    }
    for (int64_t i = r->rows; i < r->rows + r->i1 - r->i0; i++) {
        w->engine->zip(r->zipped, r->dy[i], g->cout, pixels, g->cout);
        r->dy[i] = r->zipped;
        r->zipped += pairs * g->cout;
    }
}

static slab_rows rows_of(const mgk_conv2d_work *w, const mgk_conv2d_space *own, int64_t slab,
                         int64_t p0, int64_t p1, float *bias)
{
    const mgk_conv2d_plan *p = w->p;
    const mgk_conv2d_args *g = &p->g;
    slab_rows r = {.b0 = slab / (p->row_slabs * p->col_slabs) * p->pictures,
                   .i0 = slab / p->col_slabs % p->row_slabs * p->rows,
                   .j0 = slab % p->col_slabs * p->cols,
                   .most = p->pictures * p->rows,
                   .space = own->copy,
                   .zipped = own->out};
    r.b1 = mgk_min64(r.b0 + p->pictures, g->n);
    r.i1 = mgk_min64(r.i0 + p->rows, g->ho);
    r.j1 = mgk_min64(r.j0 + p->cols, g->wo);
    r.dy = own->table;
    r.x = r.dy + r.most;
    r.taken = r.x + r.most * g->kh;
    for (int64_t b = r.b0; b < r.b1; b++) {
        take_picture(w, &r, b, p0, p1);
        for (int64_t i = 0; i < r.i1 - r.i0 && bias; i++)
            w->engine->add_columns(
                bias, mgk_buf_at(g->y, ((b * g->ho + r.i0 + i) * g->wo + r.j0) * g->cout),
                r.j1 - r.j0, g->cout);
        if (w->engine->pairs)
            zip_picture(w, &r, (r.i1 - 1 - r.i0) * g->stride_h + p1 - p0);
        for (int64_t i = r.i0; i < r.i1; i++, r.rows++)
            for (int64_t t = p0; t < p1; t++)
                r.x[t * r.most + r.rows] = r.taken[(i - r.i0) * g->stride_h + t - p0];
    }
    return r;
}

/* What a slab reads of x, then of dy, where it is whole rows: asked for a part at a time while the one before it is computed. */
typedef struct {
    const char *x, *dy;
    int64_t x_bytes, bytes; /* bytes: of both, or 0 */
} ahead;

static ahead ahead_of(const mgk_conv2d_plan *p, int64_t slab)
{
    const mgk_conv2d_args *g = &p->g;
    const int64_t size = g->x.dtype == MGK_BF16 ? 2 : 4;
    const int64_t b = slab / p->row_slabs * p->pictures, i = slab % p->row_slabs * p->rows;
    const int64_t pictures = mgk_min64(p->pictures, g->n - b), rows = mgk_min64(p->rows, g->ho - i);
    const int64_t first = mgk_min64(i * g->stride_h, g->h);
    const int64_t x_rows =
        pictures > 1 ? pictures * g->h : mgk_min64(rows * g->stride_h, g->h - first);
    if (slab >= p->slabs || p->col_slabs > 1)
        return (ahead){0};
    return (ahead){mgk_buf_at(g->x, (b * g->h + first) * g->w * g->cin).p,
                   mgk_buf_at(g->y, (b * g->ho + i) * g->wo * g->cout).p,
                   x_rows * g->w * g->cin * size,
                   (x_rows * g->w * g->cin + pictures * rows * g->wo * g->cout) * size};
}

static void ask(mgk_panel_job *job, const ahead *a, int64_t index, int64_t jobs)
{
    const int64_t from = a->bytes * index / jobs;
    job->next = from < a->x_bytes ? a->x + from : a->dy + (from - a->x_bytes);
    job->next_bytes = a->bytes * (index + 1) / jobs - from;
    if (a->bytes == 0)
        job->next = NULL;
}

/* Kernel rows p0..p1-1 of one slab, into (first: over) a partial sum. */
static void weigh_slab(const mgk_conv2d_work *w, const mgk_conv2d_space *own, int64_t slab,
                       int64_t p0, int64_t p1, float *partial, bool first, const ahead *next)
{
    const mgk_conv2d_plan *p = w->p;
    const mgk_conv2d_args *g = &p->g;
    const int64_t len = g->kw * g->cin, k = g->kh * len, across = p->by_input ? g->cout : len;
    float *bias = p0 == 0 && g->bias.p ? partial + g->cout * k : NULL;
    slab_rows r = rows_of(w, own, slab, p0, p1, bias);
    int64_t pixel = g->stride_w * g->cin, segs = r.rows, pixels = r.j1 - r.j0;
    if (w->engine->pairs) {
        pixel = sliding(w) ? 2 * g->cin : len;
        pixels += pixels % 2;
    }
    if (w->engine->pairs && g->stride_h == 1 && !sliding(w)) { /* a segment a picture */
        const int64_t one = r.i1 - r.i0;
        segs = r.b1 - r.b0;
        pixels *= one;
        for (int64_t b = 0; b < segs; b++) {
            r.dy[b] = r.dy[b * one];
            for (int64_t t = p0; t < p1; t++)
                r.x[t * r.most + b] = r.x[t * r.most + b * one];
        }
    }
    int64_t done = 0;
    for (int64_t t = p0; t < p1; t++)
        for (int64_t j = 0; j < across; j += w->engine->nr) {
            const void **x = r.x + t * r.most;
            mgk_panel_job job = {
                .a = (const void *const *)(p->by_input ? x : r.dy),
                .b = (const float *const *)(const void *)(p->by_input ? r.dy : x),
                .b_off = j,
                .segs = segs,
                .len = pixels,
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
            ask(&job, next, done++, (p1 - p0) * mgk_ceil_div(across, w->engine->nr));
            w->engine->run(&job);
        }
}

static void run_group(void *arg, int64_t unit, int thread)
{
    const mgk_conv2d_work *w = arg;
    const mgk_conv2d_plan *p = w->p;
    const mgk_conv2d_space own = mgk_conv2d_space_of(w, thread);
    const int64_t units = p->g.kh / p->taps_a_unit, group = unit / units;
    const int64_t tap = unit % units * p->taps_a_unit;
    const int64_t first = p->slabs * group / p->groups, end = p->slabs * (group + 1) / p->groups;
    float *partial = w->shared + group * p->partial_floats;
    if (tap == 0)
        memset(partial + p->g.cout * p->g.kh * p->g.kw * p->g.cin, 0,
               (size_t)p->g.cout * sizeof(float));
    for (int64_t slab = first; slab < end; slab++) {
        ahead next = {0};
        if (sliding(w) && (slab + 1 < end || w->alone)) /* others gain nothing */
            next = ahead_of(p, slab + 1);
        weigh_slab(w, &own, slab, tap, tap + p->taps_a_unit, partial, slab == first, &next);
    }
}

/* dst (+)= the groups' sums of values i..i+count-1 of a partial sum; groups in order. */
static void add_groups(const mgk_conv2d_work *w, float *dst, int64_t i, int64_t count, bool add)
{
    const mgk_conv2d_plan *p = w->p;
    if (!add)
        memset(dst, 0, (size_t)count * sizeof(float));
    for (int64_t t = 0; t < p->groups && p->slabs > 0; t++)
        mgk_conv2d_add(dst, w->shared + t * p->partial_floats + i, count);
}

enum { COMBINE = 4096 /* values a block of the last sum, or output channels times values of k */ };

/* One row of k of partial sums (k, cout) after the other, added in place of the first group's. */
static void combine_by_input(void *arg, int64_t index, int thread)
{
    const mgk_conv2d_work *w = arg;
    const mgk_conv2d_args *g = &w->p->g;
    const int64_t k = g->kh * g->kw * g->cin, step = mgk_max64(COMBINE / g->cout, 1);
    const int64_t r0 = index * step, r1 = mgk_min64(r0 + step, k), count = (r1 - r0) * g->cout;
    float *sum = w->shared + r0 * g->cout, *dw = MGK_F(g->weight);
    (void)thread;
    for (int64_t t = 1; t < w->p->groups; t++)
        mgk_conv2d_add(sum, sum + t * w->p->partial_floats, count);
    if (w->p->slabs == 0)
        memset(sum, 0, (size_t)count * sizeof(float));
    for (int64_t o = 0; o < g->cout; o++)
        for (int64_t r = r0; r < r1; r++) {
            const float v = sum[(r - r0) * g->cout + o];
            dw[o * k + r] = g->accumulate ? dw[o * k + r] + v : v;
        }
}

static void combine(void *arg, int64_t index, int thread)
{
    const mgk_conv2d_work *w = arg;
    const mgk_conv2d_args *g = &w->p->g;
    const int64_t weights = g->cout * g->kh * g->kw * g->cin, i = index * COMBINE;
    (void)thread;
    add_groups(w, MGK_F(g->weight) + i, i, mgk_min64(COMBINE, weights - i), g->accumulate);
}

void mgk_conv2d_grad_weight_run(const mgk_conv2d_args *args, mgk_exec *x, const mgk_panel *engine)
{
    const mgk_conv2d_plan p = mgk_conv2d_grad_weight_make_plan(args);
    const mgk_conv2d_args *g = &p.g;
    const int64_t k = g->kh * g->kw * g->cin, weights = g->cout * k;
    mgk_conv2d_work w = {.p = &p, .engine = engine, .shared = x->workspace};
    w.alone = !x->pool || mgi_pool_threads(x->pool) == 1;
    w.own = w.shared + p.groups * p.partial_floats;
    if (p.slabs > 0)
        mgi_pool_run(x->pool, p.groups * (g->kh / p.taps_a_unit), run_group, &w);
    if (p.by_input)
        mgi_pool_run(x->pool, mgk_ceil_div(k, mgk_max64(COMBINE / g->cout, 1)), combine_by_input,
                     &w);
    else
        mgi_pool_run(x->pool, mgk_ceil_div(weights, COMBINE), combine, &w);
    if (g->bias.p)
        add_groups(&w, MGK_F(g->bias), weights, g->cout, g->accumulate);
}
