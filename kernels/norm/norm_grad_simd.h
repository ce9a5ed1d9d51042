/* SPDX-License-Identifier: MIT
 * norm_grad and residual_norm_grad on vectors; a part of norm_simd.h.
 *
 * The gradients of weight, bias, scale and shift all follow from two column sums over the rows of
 * one sample, A = sum(dy n) and B = sum(dy):
 *   d_scale += weight A + bias B   d_shift += B   d_weight += (1 + scale) A   d_bias += (1 + scale) B
 * and that of a gate is a third one, G = sum(dx h). A block of rows holds whole samples, or a chunk of
 * one; chunks leave A, B and G in the workspace, where they are combined in order. What nobody reads after the block
 * stays in the thread's part of it, and in the cache.
 */
enum { PART_DW, PART_DB, PART_A, PART_B, PART_G }; /* columns of a block; G only for gates */
enum {
    COLUMNS_A_TASK = 256,
    SUMS = 3, /* A, B and G */
    GRAD_ROWS =
        2, /* a group; rows of f32, or fetched far ahead or near, are taken singly: measured */
    NEAR_BYTES = 3584, /* how far ahead x is fetched on a Zen 5 */
    NEAR_RESIDUAL =
        2048, /* the same of residuals in f32, whose four streams and columns fill the first-level cache */
    TURNS_DIM =
        384, /* rows of f32 that a Zen 4 sums and writes in turns out of cache, of so many values at most */
    TURNS_PLAIN = 1536, /* the same of RMS norms without B */
    TURNS_AHEAD = 256,  /* elements, how far ahead they are fetched */
    RESIDUAL_AHEAD =
        1792, /* elements, how far ahead a Zen 4 fetches residuals out of cache, one row at a time; f32 of which rows
                            * begin alike in their pages: others are fetched a row ahead */
    NEAR_PARTS =
        7 /* dy is fetched by one of so many parts less, a residual's dr by two, h by three: at one distance
                    * both of a norm are up to 4 % slower */
};

typedef struct grad_job {
    const mgk_norm_args *a;
    mgk_row_split split;
    float *parts; /* NULL: no column sums are wanted */
    float *room;  /* mgk_norm_grad_room() a thread */
    int64_t column, columns;
    bool residual, sums; /* sums: A and B are wanted */
    bool kept;           /* A, B and G of a block are read after it */
} grad_job;

/* Of a group of rows: what the gradient of a row needs, and where its buffers begin. With q = dy rstd,
 * p = x - mean and the sums g = sum(q f), s = sum(q f p) over a row, f what the rows of a sample share,
 *   dx = q f - p pull - shift,   pull = rstd^2 s / dim,   shift = g / dim (layer only). */
typedef struct grad_rows {
    v_real in, dy;
    int64_t dim;
    int64_t ahead; /* elements from those that are summed to those that are fetched meanwhile */
    bool near;     /* into the first-level cache */
    const float *factor; /* in the order of v_read_two */
    float mean[GRAD_ROWS], rstd[GRAD_ROWS], pull[GRAD_ROWS], shift[GRAD_ROWS];
} grad_rows;

/* Where a group's sums over rows go, in the order of v_read_two; each may be NULL. */
typedef struct grad_columns {
    float *a, *b, *g;
} grad_columns;

MGK_INLINE vf pull_of(const grad_rows *g, int k, vf x, bool layer)
{
    return layer ? x - g->mean[k] : x;
}

/* Sums over each row of a group, of q f and q f p. */
typedef struct grad_totals {
    v_two g[GRAD_ROWS], s[GRAD_ROWS];
} grad_totals;

MGK_INLINE grad_totals no_totals(int count)
{
    grad_totals t;
    for (int k = 0; k < count; k++)
        t.g[k] = t.s[k] = (v_two){v_set(0), v_set(0)};
    return t;
}

/* Adds two vectors of each row to the rows' totals, and to A and B. */
MGK_INLINE void sums_two(const grad_rows *g, grad_totals *t, int count, const grad_columns *to,
                         int64_t i, v_two f, bool layer)
{
    const int64_t skew = g->near ? g->ahead / NEAR_PARTS : 0;
    v_two a = {v_set(0), v_set(0)};
    v_two b = a;
    if (to->a)
        a = load_two(to->a + i);
    if (to->b)
        b = load_two(to->b + i);
    MGK_UNROLL
    for (int k = 0; k < count; k++) {
        const v_two x = v_read_two(g->in, k * g->dim + i), d = v_read_two(g->dy, k * g->dim + i);
        const vf rstd = v_set(g->rstd[k]);
        v_prefetch_two(g->in, g->ahead + k * g->dim + i, g->near);
        v_prefetch_two(g->dy, g->ahead + k * g->dim + i - skew, g->near);
        const v_two p = {pull_of(g, k, x.a, layer), pull_of(g, k, x.b, layer)};
        const v_two e = {d.a * p.a, d.b * p.b};
        if (to->a)
            a = fma_two(e, (v_two){rstd, rstd}, a);
        if (to->b)
            b = (v_two){b.a + d.a, b.b + d.b};
        if (layer)
            t->g[k] = fma_two(d, f, t->g[k]);
        t->s[k] = fma_two(e, f, t->s[k]);
    }
    if (to->a)
        store_two(to->a + i, a);
    if (to->b)
        store_two(to->b + i, b);
}

/* The values from i on that are no whole pair of vectors, and the rows' pulls and shifts. */
MGK_INLINE void sums_end(grad_rows *g, grad_totals *t, int count, const grad_columns *to, int64_t i,
                         bool layer)
{
    const int64_t dim = g->dim;
    MGK_EACH_VECTOR_FROM(i, j, dim, {
        const vf f = v_in(g->factor + j);
        vf a = {0};
        vf b = {0};
        for (int k = 0; k < count; k++) { /* lanes of d past the end are 0 */
            const vf p = pull_of(g, k, v_get(g->in, k * dim + j), layer);
            const vf d = v_get(g->dy, k * dim + j);
            const vf e = d * p;
            a = v_fma(e, v_set(g->rstd[k]), a);
            b += d;
            t->g[k].a = v_fma(d, f, t->g[k].a);
            t->s[k].a = v_fma(e, f, t->s[k].a);
        }
        if (to->a)
            v_out(to->a + j, v_in(to->a + j) + a);
        if (to->b)
            v_out(to->b + j, v_in(to->b + j) + b);
    });
    for (int k = 0; k < count; k++) {
        const float rstd = g->rstd[k], mean = rstd * v_sum(t->s[k].a + t->s[k].b) / (float)dim;
        g->pull[k] = rstd * rstd * mean;
        g->shift[k] = layer ? rstd * v_sum(t->g[k].a + t->g[k].b) / (float)dim : 0;
    }
}

MGK_INLINE void grad_sums(grad_rows *g, int count, const grad_columns *to, bool layer)
{
    grad_totals t = no_totals(count);
    int64_t i = 0;
    for (; i + 2 * MGK_WIDTH <= g->dim; i += 2 * MGK_WIDTH)
        sums_two(g, &t, count, to, i, load_two(g->factor + i), layer);
    sums_end(g, &t, count, to, i, layer);
}

MGK_INLINE vf grad_of(const grad_rows *g, int k, vf x, vf d, vf f, bool layer)
{
    vf rest = v_set(0);
    if (layer)
        rest = v_set(-g->shift[k]);
    rest = v_fma(pull_of(g, k, x, layer), v_set(-g->pull[k]), rest);
    return v_fma(d * g->rstd[k], f, rest);
}

MGK_INLINE v_two grad_of_two(const grad_rows *g, int k, int64_t at, v_two f, bool layer)
{
    const v_two x = v_read_two(g->in, at), d = v_read_two(g->dy, at);
    return (v_two){grad_of(g, k, x.a, d.a, f.a, layer), grad_of(g, k, x.b, d.b, f.b, layer)};
}

MGK_INLINE v_two add_two(v_two a, v_two b)
{
    return (v_two){a.a + b.a, a.b + b.b};
}

/* dx of a norm, and meanwhile the sums of the group that comes next, if there is one: so memory is read and
 * written at the same time. */
MGK_INLINE void grad_write(const mgk_norm_args *a, const grad_rows *g, int64_t r, int count,
                           grad_rows *next, const grad_columns *to, bool layer, int32_t type)
{
    const int64_t dim = a->dim;
    const bool add = a->accumulate_dx;
    grad_totals t = no_totals(count);
    v_real dx = v_from(a->dx, r * dim, type);
    dx.stream = !add && mgk_streams(a->dx, a->rows, dim);
    int64_t i = 0;
    for (; i + 2 * MGK_WIDTH <= dim; i += 2 * MGK_WIDTH) {
        const v_two f = load_two(g->factor + i);
        if (next)
            sums_two(next, &t, count, to, i, f, layer);
        MGK_UNROLL
        for (int k = 0; k < count; k++) {
            v_two d = grad_of_two(g, k, k * dim + i, f, layer);
            if (add)
                d = add_two(d, v_read_two(dx, k * dim + i));
            v_write_two(dx, k * dim + i, d);
        }
    }
    MGK_EACH_VECTOR_FROM(i, j, dim, {
        const vf f = v_in(g->factor + j);
        for (int k = 0; k < count; k++) {
            const int64_t at = k * dim + j;
            vf d = grad_of(g, k, v_get(g->in, at), v_get(g->dy, at), f, layer);
            if (add)
                d += v_get(dx, at);
            v_put(dx, at, d);
        }
    });
    if (next)
        sums_end(next, &t, count, to, i, layer);
}

/* dx, dh and G of a residual, and meanwhile the sums of the group that comes next, as grad_write(). gate: in the order
 * of v_read_two, or NULL. */
MGK_INLINE void residual_write(const mgk_norm_args *a, const grad_rows *g, const float *gate,
                               int64_t r, int count, grad_rows *next, const grad_columns *to,
                               bool layer, int32_t type)
{
    const int64_t dim = a->dim, skew = g->near ? g->ahead / NEAR_PARTS : 0;
    const bool add = a->dr.p != NULL, want_dh = a->dh.p != NULL;
    /* Read after stores to the same place of other pages, lines wait for them on a Zen 4; f32 is bound elsewhere. */
    const bool h_first = type == MGK_BF16;
    float *sum_h = to->g;
    grad_totals t = no_totals(count);
    v_real dx = v_from(a->dx, r * dim, type), dr = v_from(add ? a->dr : a->dx, r * dim, type);
    v_real dh = v_from(want_dh ? a->dh : a->dx, r * dim, type);
    v_real h = v_from(sum_h ? a->h : a->dx, r * dim, type);
    dx.stream = mgk_streams(a->dx, a->rows, dim);
    dh.stream = want_dh && mgk_streams(a->dh, a->rows, dim);
    int64_t i = 0;
    for (; i + 2 * MGK_WIDTH <= dim; i += 2 * MGK_WIDTH) {
        const v_two f = load_two(g->factor + i);
        const v_two one = {v_set(1), v_set(1)};
        const v_two times = gate ? load_two(gate + i) : one;
        v_two total = {v_set(0), v_set(0)};
        if (next)
            sums_two(next, &t, count, to, i, f, layer);
        MGK_UNROLL
        for (int k = 0; k < count; k++) {
            const int64_t at = k * dim + i;
            v_two d = grad_of_two(g, k, at, f, layer), with = one;
            if (sum_h && h_first)
                with = v_read_two(h, at);
            if (add) {
                d = add_two(d, v_read_two(dr, at));
                if (next || g->near)
                    v_prefetch_two(dr, g->ahead + at - 2 * skew, g->near);
            }
            const v_two rounded = two_rounded(d, type);
            v_write_two(dx, at, d);
            d = rounded;
            if (want_dh)
                v_write_two(dh, at, (v_two){d.a * times.a, d.b * times.b});
            if (sum_h) {
                total = fma_two(d, h_first ? with : v_read_two(h, at), total);
                if (next || g->near)
                    v_prefetch_two(h, g->ahead + at - 3 * skew, g->near);
            }
        }
        if (sum_h)
            store_two(sum_h + i, add_two(load_two(sum_h + i), total));
    }
    MGK_EACH_VECTOR_FROM(i, j, dim, {
        const vf f = v_in(g->factor + j);
        const vf times = gate ? v_in(gate + j) : v_set(1);
        vf total = {0};
        for (int k = 0; k < count; k++) {
            const int64_t at = k * dim + j;
            vf d = grad_of(g, k, v_get(g->in, at), v_get(g->dy, at), f, layer);
            if (add)
                d += v_get(dr, at);
            d = v_rounded(d, type);
            v_put(dx, at, d);
            if (want_dh)
                v_put(dh, at, d * times);
            if (sum_h)
                total += d * v_get(h, at);
        }
        if (sum_h)
            v_out(sum_h + j, v_in(sum_h + j) + total);
    });
    if (next)
        sums_end(next, &t, count, to, i, layer);
}

MGK_INLINE grad_rows rows_from(const mgk_norm_args *a, const common_row *c, int64_t r, int count,
                               int64_t ahead, bool near, bool residual, bool layer, int32_t type)
{
    grad_rows g = {.in = v_from(residual ? a->r : a->x, r * a->dim, type),
                   .dy = v_from(a->dy, r * a->dim, type),
                   .dim = a->dim,
                   .ahead = ahead,
                   .near = near,
                   .factor = c->times};
    for (int k = 0; k < count; k++) {
        g.mean[k] = layer ? MGK_F(a->mean)[r + k] : 0;
        g.rstd[k] = MGK_F(a->rstd)[r + k];
    }
    return g;
}

/* The gradients of a group whose sums are known, and the sums of the next one, if there is one. */
MGK_INLINE void grad_group(const mgk_norm_args *a, const common_row *c, const grad_rows *g,
                           int64_t r, int count, grad_rows *next, const grad_columns *to,
                           bool residual, bool layer, int32_t type)
{
    if (residual)
        residual_write(a, g, c->gate, r, count, next, to, layer, type);
    else if (a->dx.p)
        grad_write(a, g, r, count, next, to, layer, type);
}

/* Rows r.. of one sample in groups of `count`, as many as are whole. Returns the first row that is left. */
MGK_INLINE int64_t grad_groups(const mgk_norm_args *a, const common_row *c, int64_t r, int64_t end,
                               int count, int64_t ahead, bool near, bool joined,
                               const grad_columns *to, bool residual, bool layer, int32_t type)
{
    if (r + count > end)
        return r;
    grad_rows g = rows_from(a, c, r, count, ahead, near, residual, layer, type);
    grad_sums(&g, count, to, layer);
    for (;; r += count) {
        grad_rows next = g;
        const bool more = r + 2 * count <= end;
        if (more)
            next = rows_from(a, c, r + count, count, ahead, near, residual, layer, type);
        if (more && joined) {
            grad_group(a, c, &g, r, count, &next, to, residual, layer, type);
        } else {
            grad_group(a, c, &g, r, count, NULL, to, residual, layer, type);
            if (!more)
                return r + count;
            grad_sums(&next, count, to, layer);
        }
        g = next;
    }
}

/* Whether rows of f32 fill whole pages, or whole numbers of them fill one. */
static bool in_pages(int64_t dim)
{
    return dim * 4 % MGK_NORM_PAGE == 0 || MGK_NORM_PAGE % (dim * 4) == 0;
}

MGK_INLINE void grad_sample(const mgk_norm_args *a, const common_row *c, int64_t r, int64_t end,
                            const grad_columns *to, bool residual, bool layer, int32_t type)
{
    const bool stream = a->dx.p && mgk_streams(a->dx, a->rows, a->dim);
    /* In the cache short rows of bf16 are faster two at a time there, too, and so are those of residuals. */
    const bool near = v_zen5() && (stream || (!residual && (type == MGK_F32 || a->dim >= 1024)));
    const int64_t far = v_far(stream);
    const int64_t rows = (residual ? 1 : 2) * a->dim; /* measured */
    /* Residuals in the cache, with twice the streams, are faster one after the other: measured. */
    const bool joined = a->dx.p && (!residual || stream);
    if (near && !far) { /* a distance that the compiler knows takes no registers */
        const int64_t bytes = residual && type == MGK_F32 ? NEAR_RESIDUAL : NEAR_BYTES;
        grad_groups(a, c, r, end, 1, bytes / mgk_real_size(type), true, joined, to, residual, layer,
                    type);
        return;
    }
    if (residual && stream && v_zen4() && (type == MGK_BF16 || in_pages(a->dim))) {
        grad_groups(a, c, r, end, 1, RESIDUAL_AHEAD, false, joined, to, residual, layer, type);
        return;
    }
    if (type == MGK_F32 && !residual && stream && v_zen4() &&
        a->dim <= (layer || to->b ? TURNS_DIM : TURNS_PLAIN)) {
        grad_groups(a, c, r, end, 1, TURNS_AHEAD, false, false, to, residual, layer, type);
        return;
    }
    if (!far && type == MGK_BF16)
        r = grad_groups(a, c, r, end, GRAD_ROWS, GRAD_ROWS * rows, false, joined, to, residual,
                        layer, type);
    grad_groups(a, c, r, end, 1, far ? far : rows, false, joined, to, residual, layer, type);
}

/* A function for each of these: written out in one, of 100 KB, they took the compiler three times as long. */
typedef void grad_fn(const mgk_norm_args *a, common_row c, int64_t r, int64_t end, grad_columns to);

#define GRAD_SAMPLE(name, residual, layer, type)                                                   \
    static __attribute__((noinline)) void name(const mgk_norm_args *a, common_row c, int64_t r,    \
                                               int64_t end, grad_columns to)                       \
    {                                                                                              \
        grad_sample(a, &c, r, end, &to, residual, layer, type);                                    \
    }
GRAD_SAMPLE(grad_rms_f32, false, false, MGK_F32)
GRAD_SAMPLE(grad_rms_bf16, false, false, MGK_BF16)
GRAD_SAMPLE(grad_layer_f32, false, true, MGK_F32)
GRAD_SAMPLE(grad_layer_bf16, false, true, MGK_BF16)
GRAD_SAMPLE(residual_rms_f32, true, false, MGK_F32)
GRAD_SAMPLE(residual_rms_bf16, true, false, MGK_BF16)
GRAD_SAMPLE(residual_layer_f32, true, true, MGK_F32)
GRAD_SAMPLE(residual_layer_bf16, true, true, MGK_BF16)
#undef GRAD_SAMPLE

/* [residual][layer][bf16] */
static grad_fn *const grads[2][2][2] = {
    {{grad_rms_f32, grad_rms_bf16}, {grad_layer_f32, grad_layer_bf16}},
    {{residual_rms_f32, residual_rms_bf16}, {residual_layer_f32, residual_layer_bf16}},
};

static void plain_column(float *column, int64_t dim)
{
    for (int64_t i = 0; column && i + 2 * MGK_WIDTH <= dim; i += 2 * MGK_WIDTH)
        store_two(column + i, v_two_plain(load_two(column + i)));
}

/* Rows of one sample, whose sums A, B and G are 0 at `sums`, if that is there. */
static void grad_range(const grad_job *job, int64_t r, int64_t end, float *sums, float *room)
{
    const mgk_norm_args *a = job->a;
    const bool residual = job->residual;
    const int32_t type = a->dy.dtype;
    const bool shifted = a->d_bias.p || a->d_shift.p || (a->d_scale.p && a->bias.p);
    grad_columns to = {NULL, NULL, NULL};
    common_row c = {.times = room};
    if (residual && a->gate.p)
        c.gate = room + mgk_norm_column(a->dim);
    make_common(a, sample_of(a, r), &c, type);
    if (sums && job->sums)
        to.a = sums;
    if (sums && job->sums && shifted)
        to.b = sums + (PART_B - PART_A) * job->column;
    if (sums && residual && a->d_gate.p)
        to.g = sums + (PART_G - PART_A) * job->column;
    grads[residual][a->kind == MGK_NORM_LAYER][type == MGK_BF16](a, c, r, end, to);
    v_stream_end((a->dx.p && mgk_streams(a->dx, a->rows, a->dim)) ||
                 (residual && a->dh.p && mgk_streams(a->dh, a->rows, a->dim)));
    if (type == MGK_BF16) {
        plain_column(to.a, a->dim);
        plain_column(to.b, a->dim);
        plain_column(to.g, a->dim);
    }
}

/* After a sample's rows of a block: A and B, which begin at sum_a, to d_weight, d_bias of the block. */
static void add_sample(const grad_job *job, int64_t sample, float *part, const float *sum_a)
{
    const mgk_norm_args *a = job->a;
    const float *scale = AT(a->scale, sample * a->mod_stride);
    float *dw = part + PART_DW * job->column, *db = part + PART_DB * job->column;
    const float *sum_b = sum_a + (PART_B - PART_A) * job->column;
    MGK_EACH_VECTOR(i, a->dim, {
        vf va = v_in(sum_a + i);
        vf vb = v_in(sum_b + i);
        if (scale) {
            va += va * v_in(scale + i);
            vb += vb * v_in(scale + i);
        }
        if (a->d_weight.p)
            v_out(dw + i, v_in(dw + i) + va);
        if (a->d_bias.p)
            v_out(db + i, v_in(db + i) + vb);
    });
}

/* A, B and G, which begin at sum_a, to d_scale, d_shift and d_gate of a sample. */
static void add_modulation(const grad_job *job, int64_t sample, const float *sum_a)
{
    const mgk_norm_args *a = job->a;
    const float *sum_b = sum_a + job->column, *sum_g = sum_b + job->column;
    float *d_scale = AT(a->d_scale, sample * a->d_mod_stride);
    float *d_shift = AT(a->d_shift, sample * a->d_mod_stride);
    float *d_gate = job->residual ? AT(a->d_gate, sample * a->d_gate_stride) : NULL;
    const float *weight = MGK_F(a->weight), *bias = MGK_F(a->bias);
    MGK_EACH_VECTOR(i, a->dim, {
        vf va = v_in(sum_a + i);
        vf vb = v_in(sum_b + i);
        if (d_shift)
            v_out(d_shift + i, v_in(d_shift + i) + vb);
        if (weight)
            va *= v_in(weight + i);
        if (bias)
            va += vb * v_in(bias + i);
        if (d_scale)
            v_out(d_scale + i, v_in(d_scale + i) + va);
        if (d_gate)
            v_out(d_gate + i, v_in(d_gate + i) + v_in(sum_g + i));
    });
}

static bool of_samples(const grad_job *job)
{
    const mgk_norm_args *a = job->a;
    return a->d_scale.p || a->d_shift.p || (job->residual && a->d_gate.p);
}

static void zero(float *p, int64_t count)
{
    memset(p, 0, sizeof *p * (size_t)count);
}

static void grad_block(void *arg, int64_t block, int thread)
{
    const grad_job *job = arg;
    const mgk_norm_args *a = job->a;
    const mgk_row_split *s = &job->split;
    int64_t r, end, size = job->columns * job->column;
    float *room =
        apart_from(a->dx.p ? a->dx : a->dy, job->room + thread * mgk_norm_grad_room(a->dim));
    float *part = job->parts ? job->parts + block * size : NULL, *sums = NULL;
    const int64_t sums_size = size - PART_A * job->column;
    mgk_split_range(s, block, &r, &end);
    if (part) {
        sums = job->kept ? part + PART_A * job->column
                         : room + (MGK_NORM_GRAD_ROOM - SUMS) * job->column;
        zero(sums, sums_size);
        if (a->d_weight.p)
            zero(part + PART_DW * job->column, a->dim);
        if (a->d_bias.p)
            zero(part + PART_DB * job->column, a->dim);
    }
    while (r < end) {
        int64_t sample = (r + s->skip) / s->sample;
        int64_t last = mgk_min(end, (sample + 1) * s->sample - s->skip);
        grad_range(job, r, last, sums, room);
        r = last;
        if (!part)
            continue;
        if (a->d_weight.p || a->d_bias.p)
            add_sample(job, s->first_sample + sample, part, sums);
        if (s->chunks > 1)
            continue; /* one sample in this block: the sums stay for sample_combine */
        if (of_samples(job))
            add_modulation(job, s->first_sample + sample, sums);
        zero(sums, sums_size);
    }
}

static void weight_combine(void *arg, int64_t task, int thread)
{
    const grad_job *job = arg;
    const mgk_norm_args *a = job->a;
    (void)thread;
    int64_t c = task * COLUMNS_A_TASK, n = mgk_min(COLUMNS_A_TASK, a->dim - c);
    double dw[COLUMNS_A_TASK] = {0}, db[COLUMNS_A_TASK] = {0};
    for (int64_t b = 0; b < job->split.blocks; b++) {
        const float *part = job->parts + b * job->columns * job->column + c;
        for (int64_t i = 0; i < n && a->d_weight.p; i++)
            dw[i] += part[i];
        for (int64_t i = 0; i < n && a->d_bias.p; i++)
            db[i] += part[job->column + i];
    }
    for (int64_t i = 0; i < n && a->d_weight.p; i++)
        MGK_F(a->d_weight)[c + i] += (float)dw[i];
    for (int64_t i = 0; i < n && a->d_bias.p; i++)
        MGK_F(a->d_bias)[c + i] += (float)db[i];
}

/* Adds the chunks' A, B and G of one sample to those of its first chunk. */
static void sample_combine(void *arg, int64_t sample, int thread)
{
    const grad_job *job = arg;
    const mgk_row_split *s = &job->split;
    (void)thread;
    int64_t size = job->columns * job->column, n = size - PART_A * job->column;
    float *sum = job->parts + sample * s->chunks * size + PART_A * job->column;
    for (int64_t c = 1; c < s->chunks; c++) {
        const float *more = sum + c * size;
        MGK_EACH_VECTOR(i, n, { v_out(sum + i, v_in(sum + i) + v_in(more + i)); });
    }
    add_modulation(job, s->first_sample + sample, sum);
}

static void run_grad(const mgk_norm_args *a, mgk_exec *x, bool residual)
{
    grad_job job = {
        .a = a, .column = mgk_norm_column(a->dim), .columns = PART_G, .residual = residual};
    if (a->rows == 0 || a->dim == 0)
        return;
    job.split = mgk_split_rows_from(a->rows, a->row_offset, a->rows_per_sample, a->dim);
    job.sums = a->d_weight.p || a->d_bias.p || a->d_scale.p || a->d_shift.p;
    job.columns += residual && a->d_gate.p;
    job.kept = of_samples(&job) && job.split.chunks > 1;
    job.room = x->workspace;
    if (job.sums || job.columns > PART_G)
        job.parts = job.room + mgi_pool_threads(x->pool) * mgk_norm_grad_room(a->dim);
    mgk_for(x, job.split.blocks, 2 * a->rows * a->dim, grad_block, &job);
    int64_t work = job.split.blocks * a->dim;
    if (a->d_weight.p || a->d_bias.p)
        mgk_for(x, mgk_div_up(a->dim, COLUMNS_A_TASK), work, weight_combine, &job);
    if (of_samples(&job) && job.split.chunks > 1)
        mgk_for(x, job.split.blocks / job.split.chunks, work, sample_combine, &job);
}

MGK_LAUNCH(norm_grad)
{
    run_grad(args, x, false);
}

MGK_LAUNCH(residual_norm_grad)
{
    run_grad(args, x, true);
}
