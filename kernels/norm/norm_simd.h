/* SPDX-License-Identifier: MIT
 * norm and residual_norm on vectors; included once a variant.
 *
 * What the rows of a sample share is combined once a block into two rows in the workspace. The statistics of a
 * row bring it into the cache, while the one before it is normalized.
 */
#include "kernels/common/real_simd.h"
#include "kernels/norm/norm_columns.h"

enum {
    FETCH_BYTES = 8192, /* how far ahead rows are fetched: measured, as all that follows */
    FETCH_JOINED = 384, /* the same of residuals that are made while another row is normalized */
    APART = 1536 /* bytes of a page from what is written past the caches to what stays in them */
};

#define AT(b, i) ((b).p ? MGK_F(b) + (i) : NULL)

/* Where in a page of 4096 bytes the thread's rows begin: apart from `out`, as loads wait for stores to the same place of
 * another page. */
static float *apart_from(mgk_buf out, float *room)
{
    return room + ((uintptr_t)out.p + APART - (uintptr_t)room) % MGK_NORM_PAGE / sizeof *room;
}

static int64_t sample_of(const mgk_norm_args *a, int64_t row)
{
    return a->rows_per_sample > 0 ? (row + a->row_offset) / a->rows_per_sample : 0;
}

/* First row after the sample of this one. */
static int64_t sample_end(const mgk_norm_args *a, int64_t row)
{
    if (a->rows_per_sample <= 0)
        return a->rows;
    return (sample_of(a, row) + 1) * a->rows_per_sample - a->row_offset;
}

/* What the rows of a sample have in common, in the order in which v_read_two has a row's values:
 * y = (x - mean) * rstd * times + plus, r = x + gate * h. */
typedef struct common_row {
    float *times, *plus, *gate; /* plus, gate NULL: 0, 1 */
    float *row;                 /* a row of r, if that is written past the caches */
} common_row;

/* Two vectors of one of these rows, from plain order. */
MGK_INLINE v_two plain_two(const float *p, int32_t type)
{
    v_two v = {v_load(p), v_load(p + MGK_WIDTH)};
    return type == MGK_BF16 ? v_two_order(v) : v;
}

MGK_INLINE v_two load_two(const float *p)
{
    return (v_two){v_load(p), v_load(p + MGK_WIDTH)};
}

MGK_INLINE void store_two(float *p, v_two v)
{
    v_store(p, v.a);
    v_store(p + MGK_WIDTH, v.b);
}

MGK_INLINE v_two fma_two(v_two a, v_two b, v_two c)
{
    return (v_two){v_fma(a.a, b.a, c.a), v_fma(a.b, b.b, c.b)};
}

/* The part past whole pairs of vectors keeps its plain order. */
MGK_INLINE void make_common(const mgk_norm_args *a, int64_t sample, common_row *c, int32_t type)
{
    const float *weight = MGK_F(a->weight), *bias = MGK_F(a->bias);
    const float *scale = AT(a->scale, sample * a->mod_stride);
    const float *shift = AT(a->shift, sample * a->mod_stride);
    const float *gate = c->gate ? AT(a->gate, sample * a->gate_stride) : NULL;
    const v_two one = {v_set(1), v_set(1)};
    const v_two zero = {v_set(0), v_set(0)};
    int64_t done = 0;
    for (; done + 2 * MGK_WIDTH <= a->dim; done += 2 * MGK_WIDTH) {
        v_two times = weight ? plain_two(weight + done, type) : one;
        v_two plus = bias ? plain_two(bias + done, type) : zero;
        if (scale) {
            v_two more = plain_two(scale + done, type);
            times = fma_two(times, more, times);
            plus = fma_two(plus, more, plus);
        }
        if (shift) {
            v_two more = plain_two(shift + done, type);
            plus = (v_two){plus.a + more.a, plus.b + more.b};
        }
        store_two(c->times + done, times);
        if (c->plus)
            store_two(c->plus + done, plus);
        if (gate)
            store_two(c->gate + done, plain_two(gate + done, type));
    }
    MGK_EACH_VECTOR_FROM(done, i, a->dim, {
        vf times = weight ? v_in(weight + i) : v_set(1);
        vf plus = bias ? v_in(bias + i) : v_set(0);
        if (scale) {
            times = v_fma(times, v_in(scale + i), times);
            plus = v_fma(plus, v_in(scale + i), plus);
        }
        if (shift)
            plus += v_in(shift + i);
        v_out(c->times + i, times);
        if (c->plus)
            v_out(c->plus + i, plus);
        if (gate)
            v_out(c->gate + i, v_in(gate + i));
    });
}

/* A row whose statistics are known. */
typedef struct known_row {
    v_real in;
    float mean, rstd;
} known_row;

/* (v - mean) * rstd * times + plus */
MGK_INLINE vf norm_of(vf v, float mean, float rstd, vf times, vf plus, bool layer, bool shifted)
{
    if (layer)
        v -= mean;
    v = v * rstd;
    return shifted ? v_fma(v, times, plus) : v * times;
}

/* A known row on its way to `out`. */
typedef struct row_write {
    const float *times, *plus;
    known_row row;
    v_real out;
    bool layer, shifted;
} row_write;

MGK_INLINE void write_two(const row_write *w, int64_t i)
{
    const known_row *k = &w->row;
    v_two v = v_read_two(k->in, i), t = load_two(w->times + i);
    v_two p = w->shifted ? load_two(w->plus + i) : t;
    v = (v_two){norm_of(v.a, k->mean, k->rstd, t.a, p.a, w->layer, w->shifted),
                norm_of(v.b, k->mean, k->rstd, t.b, p.b, w->layer, w->shifted)};
    v_write_two(w->out, i, v);
}

/* From value `done` on. */
MGK_INLINE void write_rest(const row_write *w, int64_t done, int64_t dim)
{
    const known_row *k = &w->row;
    for (; done + 2 * MGK_WIDTH <= dim; done += 2 * MGK_WIDTH)
        write_two(w, done);
    MGK_EACH_VECTOR_FROM(done, i, dim, {
        vf t = v_in(w->times + i);
        vf p = w->shifted ? v_in(w->plus + i) : t;
        v_put(w->out, i, norm_of(v_get(k->in, i), k->mean, k->rstd, t, p, w->layer, w->shifted));
    });
}

/* How many elements ahead of those that are summed others are fetched, 0: none; near: into the first-level cache. */
typedef struct fetch_ahead {
    int64_t by;
    bool near;
} fetch_ahead;

static const fetch_ahead no_fetch = {0, false};

MGK_INLINE fetch_ahead rows_ahead(int32_t stream, int32_t type)
{
    const int64_t far = v_far(stream);
    return (fetch_ahead){far ? far : FETCH_BYTES / mgk_real_size(type), v_zen5()};
}

/* Of what becomes a residual by itself: whole rows. */
MGK_INLINE fetch_ahead residual_ahead(const mgk_norm_args *a, const common_row *c, int32_t type)
{
    const int64_t rows = mgk_max(1, FETCH_BYTES / (a->dim * mgk_real_size(type)));
    return (fetch_ahead){rows * a->dim, c->row && v_zen5()};
}

MGK_INLINE void fetch_two(v_real in, int64_t i, fetch_ahead fetch)
{
    if (fetch.by)
        v_prefetch_two(in, i + fetch.by, fetch.near);
}

/* The values that a buffer of this dtype would hold. */
MGK_INLINE v_two two_rounded(v_two v, int32_t dtype)
{
#if (MGK_WIDTH == 16 && defined(__AVX512BF16__)) || defined(V_HALVES_TWO)
    if (dtype == MGK_BF16) /* as v_write_two rounds */
        return v_two_from_bf16(v_two_bf16(v));
#endif
    return (v_two){v_rounded(v.a, dtype), v_rounded(v.b, dtype)};
}

/* A row of r on its way there, and to a copy of the row, if it has a room. */
typedef struct row_make {
    v_real x, h, r, row; /* h.p, row.p may be NULL */
    const float *gate;
    fetch_ahead fetch;
} row_make;

MGK_INLINE row_make make_of(const mgk_norm_args *a, const common_row *c, int64_t r,
                            fetch_ahead fetch, int32_t type)
{
    row_make m = {.x = v_from(a->x, r * a->dim, type),
                  .h = {NULL, type, 0},
                  .r = v_from(a->r, r * a->dim, type),
                  .row = {c->row, type, 0},
                  .gate = c->gate,
                  .fetch = fetch};
    if (a->h.p)
        m.h = v_from(a->h, r * a->dim, type);
    m.r.stream = c->row != NULL;
    return m;
}

/* Returns the values that r then holds. */
MGK_INLINE v_two make_two(const row_make *m, int64_t i)
{
    v_two v = v_read_two(m->x, i);
    fetch_two(m->x, i, m->fetch);
    if (m->h.p) {
        v_two more = v_read_two(m->h, i);
        fetch_two(m->h, i, m->fetch);
        v = m->gate ? fma_two(load_two(m->gate + i), more, v) : (v_two){v.a + more.a, v.b + more.b};
    }
    const v_two rounded = two_rounded(v, m->r.dtype);
    v_write_two(m->r, i, v);
    if (m->row.p)
        v_write_two(m->row, i, v);
    return rounded;
}

/* From value `done` on. */
MGK_INLINE void make_rest(const row_make *m, int64_t done, int64_t dim)
{
    for (; done + 2 * MGK_WIDTH <= dim; done += 2 * MGK_WIDTH)
        make_two(m, done);
    MGK_EACH_VECTOR_FROM(done, i, dim, {
        vf v = v_get(m->x, i);
        if (m->h.p)
            v = m->gate ? v_fma(v_in(m->gate + i), v_get(m->h, i), v) : v + v_get(m->h, i);
        v_put(m->r, i, v);
        if (m->row.p)
            v_put(m->row, i, v);
    });
}

/* Sum of the row, or of the squares of its distances from the mean, while another row is written, if w is there, and
 * while this one is made, if m is: then it may take the place of the one that is written. */
MGK_INLINE float row_sum(v_real in, int64_t n, bool squares, bool centred, float mean,
                         fetch_ahead fetch, const row_write *w, const row_make *m)
{
    vf sum[4] = {{0}, {0}, {0}, {0}};
    int64_t i = 0;
#if MGK_WIDTH == 16 && defined(__AVX512BF16__)
    if (in.dtype == MGK_BF16 && !centred) /* adds products of pairs */
        for (; i + 8 * MGK_WIDTH <= n; i += 8 * MGK_WIDTH) {
            MGK_UNROLL
            for (int k = 0; k < 4; k++) {
                if (w && m)
                    write_two(w, i + 2 * k * MGK_WIDTH);
                if (m)
                    make_two(m, i + 2 * k * MGK_WIDTH);
                __m512i h = _mm512_loadu_si512((const uint16_t *)in.p + i + 2 * k * MGK_WIDTH);
                __m512i by = squares ? h : _mm512_set1_epi16(0x3f80); /* 1 */
                sum[k] = (vf)_mm512_dpbf16_ps((__m512)sum[k], (__m512bh)h, (__m512bh)by);
                fetch_two(in, i + 2 * k * MGK_WIDTH, fetch);
                if (w && !m)
                    write_two(w, i + 2 * k * MGK_WIDTH);
            }
        }
#endif
    for (; i + 4 * MGK_WIDTH <= n; i += 4 * MGK_WIDTH) {
        MGK_UNROLL
        for (int k = 0; k < 2; k++) {
            int64_t j = i + 2 * k * MGK_WIDTH;
            if (w && m)
                write_two(w, j);
            v_two v = m ? make_two(m, j) : v_read_two(in, j);
            fetch_two(in, j, fetch);
            if (w && !m)
                write_two(w, j);
            if (centred)
                v = (v_two){v.a - mean, v.b - mean};
            sum[2 * k] = squares ? v_fma(v.a, v.a, sum[2 * k]) : sum[2 * k] + v.a;
            sum[2 * k + 1] = squares ? v_fma(v.b, v.b, sum[2 * k + 1]) : sum[2 * k + 1] + v.b;
        }
    }
    if (w)
        write_rest(w, i, n);
    if (m)
        make_rest(m, i, n);
    for (; i < n; i += MGK_WIDTH) {
        int64_t lanes = mgk_min(MGK_WIDTH, n - i);
        vf v = v_read(in, i, lanes);
        if (centred)
            v = (vf)((vi)(v - mean) & v_lanes_below(lanes));
        sum[0] = squares ? v_fma(v, v, sum[0]) : sum[0] + v;
    }
    return v_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

/* What is not part of the loop over rows is a function of its own, for the compiler's sake. */
static __attribute__((noinline)) float distances(v_real in, int64_t dim, float mean)
{
    if (in.dtype == MGK_BF16)
        return row_sum((v_real){in.p, MGK_BF16, 0}, dim, true, true, mean, no_fetch, NULL, NULL);
    return row_sum((v_real){in.p, MGK_F32, 0}, dim, true, true, mean, no_fetch, NULL, NULL);
}

/* From the row's sum (layer), or that of its squares. */
MGK_INLINE known_row known_from(const mgk_norm_args *a, int64_t r, v_real in, float sum, bool layer)
{
    const int64_t dim = a->dim;
    known_row k = {.in = in};
    if (layer) {
        k.mean = sum / (float)dim;
        sum = distances(in, dim, k.mean);
        if (a->mean.p)
            MGK_F(a->mean)[r] = k.mean;
    }
    k.rstd = 1 / sqrtf(sum / (float)dim + a->eps);
    if (a->rstd.p)
        MGK_F(a->rstd)[r] = k.rstd;
    return k;
}

/* Rows of a residual are fetched with its operands. */
MGK_INLINE known_row know_row_of(const mgk_norm_args *a, const common_row *c, int64_t r,
                                 int32_t type)
{
    v_real in = v_from(a->r.p ? a->r : a->x, r * a->dim, type);
    if (a->r.p) {
        const row_make m = make_of(a, c, r, residual_ahead(a, c, type), type);
        make_rest(&m, 0, a->dim);
    }
    if (c->row)
        in.p = c->row;
    if (a->kind == MGK_NORM_LAYER)
        return known_from(a, r, in, row_sum(in, a->dim, false, false, 0, no_fetch, NULL, NULL),
                          true);
    return known_from(a, r, in, row_sum(in, a->dim, true, false, 0, no_fetch, NULL, NULL), false);
}

static __attribute__((noinline)) known_row know_row(const mgk_norm_args *a, const common_row *c,
                                                    int64_t r)
{
    return a->x.dtype == MGK_BF16 ? know_row_of(a, c, r, MGK_BF16) : know_row_of(a, c, r, MGK_F32);
}

/* Rows of one sample: each is written while the next one is summed, so that memory is read and written at the same time.
 * In the cache, where bf16 goes by faster than a sum's end is known, while the one behind it is: measured. */
MGK_INLINE void norm_rows(const mgk_norm_args *a, const common_row *c, int64_t r, int64_t end,
                          int32_t stream, bool layer, bool shifted, int32_t type)
{
    const int64_t dim = a->dim;
    const bool two = type == MGK_BF16 && !stream && !c->row;
    const fetch_ahead fetch = rows_ahead(stream, type);
    known_row now = know_row(a, c, r), then = now;
    if (two && r + 1 < end)
        then = know_row(a, c, r + 1);
    for (; r < end; r++) {
        row_write w = {c->times, c->plus, now, v_from(a->y, r * dim, type), layer, shifted};
        const int64_t next = r + 1 + two;
        w.out.stream = stream;
        now = then;
        if (next >= end) {
            write_rest(&w, 0, dim);
            continue;
        }
        if (a->r.p) {
            write_rest(&w, 0, dim);
            then = know_row(a, c, next);
        } else {
            const v_real in = v_from(a->x, next * dim, type);
            then =
                known_from(a, next, in, row_sum(in, dim, !layer, false, 0, fetch, &w, NULL), layer);
        }
        if (!two)
            now = then;
    }
}

/* The same for residuals past the caches: each row is normalized while the next one is made and summed. */
MGK_INLINE void joined_rows(const mgk_norm_args *a, const common_row *c, int64_t r, int64_t end,
                            bool layer, bool shifted, int32_t type)
{
    const int64_t dim = a->dim;
    const fetch_ahead fetch = {FETCH_JOINED / mgk_real_size(type), true};
    known_row now = know_row(a, c, r);
    for (; r < end; r++) {
        row_write w = {c->times, c->plus, now, v_from(a->y, r * dim, type), layer, shifted};
        w.row.in.dtype = type; /* known to the compiler, as the next */
        w.out.stream = 1;
        if (r + 1 == end) {
            write_rest(&w, 0, dim);
            return;
        }
        const row_make m = make_of(a, c, r + 1, fetch, type);
        const float sum = row_sum(m.row, dim, !layer, false, 0, no_fetch, &w, &m);
        now = known_from(a, r + 1, m.row, sum, layer);
    }
}

/* Functions of their own, as know_row. */
#define JOINED_ROWS(name, type)                                                                    \
    static __attribute__((noinline)) void name(const mgk_norm_args *a, const common_row *c,        \
                                               int64_t r, int64_t end)                             \
    {                                                                                              \
        if (a->kind == MGK_NORM_LAYER)                                                             \
            joined_rows(a, c, r, end, true, c->plus != NULL, type);                                \
        else if (c->plus)                                                                          \
            joined_rows(a, c, r, end, false, true, type);                                          \
        else                                                                                       \
            joined_rows(a, c, r, end, false, false, type);                                         \
    }
JOINED_ROWS(joined_f32, MGK_F32)
JOINED_ROWS(joined_bf16, MGK_BF16)
#undef JOINED_ROWS

MGK_INLINE void norm_sample(const mgk_norm_args *a, const common_row *c, int64_t r, int64_t end,
                            int32_t stream, int32_t type)
{
    const bool layer = a->kind == MGK_NORM_LAYER;
    if (layer && c->plus)
        norm_rows(a, c, r, end, stream, true, true, type);
    else if (layer)
        norm_rows(a, c, r, end, stream, true, false, type);
    else if (c->plus)
        norm_rows(a, c, r, end, stream, false, true, type);
    else
        norm_rows(a, c, r, end, stream, false, false, type);
}

/* Rows first .. end - 1. */
MGK_INLINE void norm_range(const mgk_norm_args *a, int64_t r, int64_t end, float *room,
                           int32_t type)
{
    const int32_t stream = mgk_streams(a->y, a->rows, a->dim);
    const bool past = a->r.p && mgk_streams(a->r, a->rows, a->dim);
    const int64_t part = mgk_norm_column(a->dim);
    const bool joined = past && stream && !v_zen5() && !v_far(stream); /* where that was measured */
    if (joined)
        room = apart_from(a->y, room);
    common_row c = {.times = room};
    if (a->bias.p || a->shift.p)
        c.plus = room + part;
    if (a->r.p && a->h.p && a->gate.p)
        c.gate = room + 2 * part;
    if (past)
        c.row = room + 3 * part;
    while (r < end) {
        int64_t last = mgk_min(end, sample_end(a, r));
        make_common(a, sample_of(a, r), &c, type);
        if (joined && type == MGK_BF16)
            joined_bf16(a, &c, r, last);
        else if (joined)
            joined_f32(a, &c, r, last);
        else
            norm_sample(a, &c, r, last, stream, type);
        r = last;
    }
    v_stream_end(stream | past);
}

/* Its first row is not summed while another one is written: more rows a block where that costs most. */
static int64_t rows_a_block(const mgk_norm_args *a)
{
    const int64_t rows = mgk_div_up(mgk_rows_a_block(a->dim), 16) * 16;
    return mgk_streams(a->y, a->rows, a->dim) ? (a->r.p ? 8 : 4) * rows : rows;
}

typedef struct norm_job {
    const mgk_norm_args *a;
    float *room;
} norm_job;

static void norm_block(void *arg, int64_t block, int thread)
{
    const norm_job *job = arg;
    const mgk_norm_args *a = job->a;
    int64_t rows = rows_a_block(a), end = mgk_min(a->rows, (block + 1) * rows);
    float *room = job->room + thread * mgk_norm_room(a->dim);
    V_BY_DTYPE(a->x.dtype, norm_range, a, block * rows, end, room);
}

static void run_norm(const mgk_norm_args *a, mgk_exec *x)
{
    norm_job job = {a, x->workspace};
    if (a->dim > 0)
        mgk_for(x, mgk_div_up(a->rows, rows_a_block(a)), a->rows * a->dim, norm_block, &job);
}

MGK_LAUNCH(norm)
{
    mgk_norm_args a = *(const mgk_norm_args *)args;
    a.r.p = NULL;
    run_norm(&a, x);
}

MGK_LAUNCH(residual_norm)
{
    run_norm(args, x);
}

#include "kernels/norm/norm_grad_simd.h"
