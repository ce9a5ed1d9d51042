/* SPDX-License-Identifier: MIT
 * attention and attention_grad on vectors; included once a variant.
 *
 * Both walk over tiles of 64 queries x 64 keys. The products of a tile are small matrix products of
 * one form: rows of the left factor are broadcast, rows of the right factor are vectors; so keys
 * (and for the gradient, values) are transposed once a tile. Softmax keeps the running maximum and
 * sum of each row; the gradient recomputes the probabilities from lse.
 *
 * Forward: one task a (batch, head, 64 queries). Backward: one task a (batch, head); d_bias is
 * summed per task and combined over the batch in order.
 */
#include "kernels/attention/attention.h"
#include "kernels/attention/attention_blocks.h"
#include "kernels/common/simd_math.h"

enum { TILE = MGK_ATT_TILE, ROWS = MGK_WIDTH == 16 ? 8 : 4 /* rows of a register block */ };

typedef struct matrix {
    float *p;
    int64_t row, column; /* strides; column is 1 except for a transposed left factor */
} matrix;

/* rows x (vectors * MGK_WIDTH) of c (+)= a b, with c in registers. */
MGK_INLINE void register_block(int rows, int vectors, int64_t depth, const float *a, int64_t a_row,
                               int64_t a_column, const float *b, int64_t b_row, float *c,
                               int64_t c_row, bool add)
{
    vf sum[ROWS][2];
    MGK_UNROLL
    for (int r = 0; r < rows; r++)
        MGK_UNROLL
    for (int v = 0; v < vectors; v++)
        sum[r][v] = add ? v_load(c + r * c_row + v * MGK_WIDTH) : v_set(0);
    for (int64_t k = 0; k < depth; k++) {
        vf right[2];
        MGK_UNROLL
        for (int v = 0; v < vectors; v++)
            right[v] = v_load(b + k * b_row + v * MGK_WIDTH);
        MGK_UNROLL
        for (int r = 0; r < rows; r++) {
            vf left = v_set(a[r * a_row + k * a_column]);
            MGK_UNROLL
            for (int v = 0; v < vectors; v++)
                sum[r][v] += left * right[v];
        }
    }
    MGK_UNROLL
    for (int r = 0; r < rows; r++)
        MGK_UNROLL
    for (int v = 0; v < vectors; v++)
        v_store(c + r * c_row + v * MGK_WIDTH, sum[r][v]);
}

/* c (m x n) (+)= a (m x depth) b (depth x n); n is a multiple of MGK_WIDTH. */
static void product(int64_t m, int64_t n, int64_t depth, matrix a, matrix b, matrix c, bool add)
{
    for (int64_t j = 0; j < n; j += 2 * MGK_WIDTH) {
        bool two = n - j >= 2 * MGK_WIDTH;
        int64_t i = 0;
        for (; i + ROWS <= m; i += ROWS) {
            const float *left = a.p + i * a.row;
            float *out = c.p + i * c.row + j;
            if (two)
                register_block(ROWS, 2, depth, left, a.row, a.column, b.p + j, b.row, out, c.row,
                               add);
            else
                register_block(ROWS, 1, depth, left, a.row, a.column, b.p + j, b.row, out, c.row,
                               add);
        }
        for (; i < m; i++) {
            const float *left = a.p + i * a.row;
            float *out = c.p + i * c.row + j;
            if (two)
                register_block(1, 2, depth, left, a.row, a.column, b.p + j, b.row, out, c.row, add);
            else
                register_block(1, 1, depth, left, a.row, a.column, b.p + j, b.row, out, c.row, add);
        }
    }
}

/* n rows of `dim` values, padded with zeros to `wide`; rows that the mask leaves out become 0. */
static void pack_rows(float *to, const float *from, int64_t row, int64_t n, int64_t dim,
                      int64_t wide, const uint8_t *mask)
{
    for (int64_t i = 0; i < n; i++, to += wide, from += row) {
        if (mask && !mask[i]) {
            memset(to, 0, sizeof(float) * (size_t)wide);
            continue;
        }
        MGK_EACH_VECTOR(d, dim, { v_store(to + d, v_in(from + d)); });
        for (int64_t d = mgk_div_up(dim, MGK_WIDTH) * MGK_WIDTH; d < wide; d++)
            to[d] = 0;
    }
}

typedef float quad __attribute__((vector_size(16)));
typedef float quad_any __attribute__((vector_size(16), aligned(4), may_alias));

MGK_INLINE void transpose_4x4(float *to, int64_t to_row, const float *from, int64_t from_row)
{
    quad a = *(const quad_any *)from, b = *(const quad_any *)(from + from_row);
    quad c = *(const quad_any *)(from + 2 * from_row), d = *(const quad_any *)(from + 3 * from_row);
    quad ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    quad ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    quad cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    quad cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    *(quad_any *)to = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
    *(quad_any *)(to + to_row) = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
    *(quad_any *)(to + 2 * to_row) = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
    *(quad_any *)(to + 3 * to_row) = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
}

/* The same rows as columns of `to` (dim x TILE). Columns n.. up to a multiple of 16 become 0. */
static void pack_columns(float *to, const float *from, int64_t row, int64_t n, int64_t dim,
                         const uint8_t *mask)
{
    int64_t fours = n / 4 * 4, dims = dim / 4 * 4;
    for (int64_t i = 0; i < fours; i += 4)
        for (int64_t d = 0; d < dims; d += 4)
            transpose_4x4(to + d * TILE + i, TILE, from + i * row + d, row);
    for (int64_t i = 0; i < n; i++)
        for (int64_t d = i < fours ? dims : 0; d < dim; d++)
            to[d * TILE + i] = from[i * row + d];
    for (int64_t i = 0; i < mgk_pad16(n); i++)
        for (int64_t d = 0; d < dim && (i >= n || (mask && !mask[i])); d++)
            to[d * TILE + i] = 0;
}

/* What is added to the scores of each key: 0, or -inf for a key that does not count. */
static bool key_terms(float *term, const uint8_t *mask, int64_t n)
{
    bool any = false;
    for (int64_t j = 0; j < TILE; j++) {
        bool counts = j < n && (!mask || mask[j]);
        term[j] = counts ? 0 : -INFINITY;
        any = any || counts;
    }
    return any;
}

/* Lanes of a vector at column j of a tile with n keys. */
MGK_INLINE int64_t lanes_at(int64_t j, int64_t n)
{
    return n - j < MGK_WIDTH ? n - j : MGK_WIDTH;
}

/* Turns a row of products into scores; returns their maximum. */
MGK_INLINE vf score_row(float *s, int64_t n, float scale, const float *term, const float *bias)
{
    vf top = v_set(-INFINITY);
    for (int64_t j = 0; j < n; j += MGK_WIDTH) {
        vf v = v_load(s + j) * scale + v_load(term + j);
        if (bias)
            v += v_load_lanes(bias + j, lanes_at(j, n));
        v_store(s + j, v);
        top = v_max(top, v);
    }
    return top;
}

typedef struct query_tile {
    float *o, *top, *sum; /* TILE x wide accumulator, and a value each row */
    int64_t n, wide;
} query_tile;

/* Scores of n keys to probabilities relative to the running maximum; rescales what came before. */
static void softmax_tile(const query_tile *t, float *s, int64_t n, float scale, const float *term,
                         const float *bias, bool first)
{
    for (int64_t i = 0; i < t->n; i++, s += TILE) {
        float old = t->top[i],
              top = v_highest(score_row(s, n, scale, term, bias ? bias - i : NULL));
        top = top > old ? top : old;
        float base = top == -INFINITY ? 0 : top;
        vf sum = {0};
        for (int64_t j = 0; j < n; j += MGK_WIDTH) {
            vf p = v_exp_negative(v_load(s + j) - base);
            v_store(s + j, p);
            sum += p;
        }
        t->top[i] = top;
        if (!first && top != old) {
            float shrink = expf(old - base), *o = t->o + i * t->wide;
            t->sum[i] *= shrink;
            for (int64_t d = 0; d < t->wide; d += MGK_WIDTH)
                v_store(o + d, v_load(o + d) * shrink);
        }
        t->sum[i] += v_sum(sum);
    }
}

typedef struct attention_job {
    const mgk_attention_args *a;
    float *scratch;   /* one piece a thread */
    int64_t piece;    /* its floats */
    float *bias_part; /* gradient: one piece a (batch, head) */
    int64_t bias_piece;
} attention_job;

static const uint8_t *mask_at(const mgk_attention_args *a, int64_t b, int64_t key)
{
    return a->mask.p ? MGK_B(a->mask) + b * a->sk + key : NULL;
}

/* The bias of query i and key j; later queries stand before, later keys after. */
static const float *bias_at(const mgk_attention_args *a, int64_t h, int64_t i, int64_t j)
{
    return a->bias.p ? MGK_F(a->bias) + h * (a->sq + a->sk - 1) + j - i + a->sq - 1 : NULL;
}

static void attention_task(void *arg, int64_t task, int thread)
{
    const attention_job *job = arg;
    const mgk_attention_args *a = job->a;
    int64_t tiles = mgk_div_up(a->sq, TILE), dim = a->head_dim, wide = mgk_pad16(dim);
    int64_t i0 = task % tiles * TILE, h = task / tiles % a->heads, b = task / tiles / a->heads;
    float *o = job->scratch + thread * job->piece, *kt = o + TILE * wide, *v = kt + TILE * wide;
    float *s = v + TILE * wide, *top = s + TILE * TILE, *sum = top + TILE, *term = sum + TILE;
    query_tile t = {o, top, sum, mgk_min(TILE, a->sq - i0), wide};
    matrix q = {MGK_F(a->q) + b * a->q_batch + i0 * a->q_row + h * dim, a->q_row, 1};
    bool first = true;
    for (int64_t i = 0; i < TILE; i++) {
        top[i] = -INFINITY;
        sum[i] = 0;
    }
    for (int64_t j0 = 0; j0 < a->sk; j0 += TILE) {
        int64_t n = mgk_min(TILE, a->sk - j0);
        const uint8_t *mask = mask_at(a, b, j0);
        if (!key_terms(term, mask, n))
            continue;
        pack_columns(kt, MGK_F(a->k) + b * a->k_batch + j0 * a->k_row + h * dim, a->k_row, n, dim,
                     mask);
        pack_rows(v, MGK_F(a->v) + b * a->v_batch + j0 * a->v_row + h * dim, a->v_row, n, dim, wide,
                  mask);
        product(t.n, mgk_div_up(n, MGK_WIDTH) * MGK_WIDTH, dim, q, (matrix){kt, TILE, 1},
                (matrix){s, TILE, 1}, false);
        softmax_tile(&t, s, n, a->scale, term, bias_at(a, h, i0, j0), first);
        product(t.n, wide, n, (matrix){s, TILE, 1}, (matrix){v, wide, 1}, (matrix){o, wide, 1},
                !first);
        first = false;
    }
    for (int64_t i = 0; i < t.n; i++) {
        float *out = MGK_F(a->o) + b * a->o_batch + (i0 + i) * a->o_row + h * dim;
        bool empty = first || sum[i] == 0;
        float over = empty ? 0 : 1 / sum[i];
        MGK_EACH_VECTOR(d, dim,
                        { v_out(out + d, empty ? v_set(0) : v_load(o + i * wide + d) * over); });
        if (a->lse.p)
            MGK_F(a->lse)[(b * a->heads + h) * a->sq + i0 + i] = top[i] + logf(sum[i]);
    }
}

MGK_LAUNCH(attention)
{
    const mgk_attention_args *a = args;
    attention_job job = {.a = a, .scratch = x->workspace, .piece = mgk_attention_scratch(a)};
    int64_t tasks = a->batch * a->heads * mgk_div_up(a->sq, TILE);
    mgk_for(x, tasks, a->batch * a->heads * a->sq * (a->sk + 1) * a->head_dim, attention_task,
            &job);
}

/* The tiles of a gradient task. */
typedef struct grad_tiles {
    float *q, *d_o, *dq, *k, *kt, *vt, *dk, *dv, *p, *ds, *term, *lse, *delta;
    int64_t dim, wide, b, h;
} grad_tiles;

static void grad_tiles_at(grad_tiles *t, float *scratch, int64_t dim)
{
    int64_t wide = mgk_pad16(dim), size = TILE * wide;
    float **parts[] = {&t->q, &t->d_o, &t->dq, &t->k, &t->kt, &t->vt, &t->dk, &t->dv};
    for (int i = 0; i < 8; i++, scratch += size)
        *parts[i] = scratch;
    t->p = scratch;
    t->ds = t->p + TILE * TILE;
    t->term = t->ds + TILE * TILE;
    t->lse = t->term + TILE;
    t->delta = t->lse + TILE;
    t->dim = dim;
    t->wide = wide;
}

/* delta = d_o . o for every query */
static void row_products(const mgk_attention_args *a, const grad_tiles *t)
{
    for (int64_t i = 0; i < a->sq; i++) {
        int64_t at = t->b * a->o_batch + i * a->o_row + t->h * t->dim;
        const float *d_o = MGK_F(a->d_o) + at, *o = MGK_F(a->o) + at;
        vf sum = {0};
        MGK_EACH_VECTOR(d, t->dim, { sum += v_in(d_o + d) * v_in(o + d); });
        t->delta[i] = v_sum(sum);
    }
}

/* p = exp(score - lse), ds = p (dp - delta); on entry p holds q . k and ds holds dp = d_o . v. */
static void grad_softmax(const mgk_attention_args *a, const grad_tiles *t, int64_t i0, int64_t n_q,
                         int64_t j0, int64_t n_k, float *bias_part)
{
    const float *bias = bias_at(a, t->h, i0, j0);
    float *d_bias = bias_part ? bias_part + a->sq - 1 - i0 + j0 : NULL;
    for (int64_t i = 0; i < n_q; i++) {
        float *p = t->p + i * TILE, *ds = t->ds + i * TILE;
        float lse = t->lse[i], delta = t->delta[i0 + i];
        score_row(p, n_k, a->scale, t->term, bias ? bias - i : NULL);
        for (int64_t j = 0; j < n_k; j += MGK_WIDTH) {
            vf e = v_exp_negative(v_load(p + j) - lse);
            vf d = e * (v_load(ds + j) - delta);
            v_store(p + j, e);
            v_store(ds + j, d);
            if (d_bias) {
                int64_t lanes = lanes_at(j, n_k);
                float *to = d_bias - i + j;
                v_store_lanes(to, lanes, v_load_lanes(to, lanes) + d);
            }
        }
    }
}

static void grad_step(const mgk_attention_args *a, const grad_tiles *t, int64_t i0, int64_t j0,
                      int64_t n_k, float *bias_part)
{
    int64_t n_q = mgk_min(TILE, a->sq - i0), dim = t->dim, wide = t->wide;
    int64_t columns = mgk_div_up(n_k, MGK_WIDTH) * MGK_WIDTH;
    matrix q = {t->q, wide, 1}, d_o = {t->d_o, wide, 1}, dq = {t->dq, wide, 1};
    matrix p = {t->p, TILE, 1}, ds = {t->ds, TILE, 1};
    pack_rows(t->q, MGK_F(a->q) + t->b * a->q_batch + i0 * a->q_row + t->h * dim, a->q_row, n_q,
              dim, wide, NULL);
    pack_rows(t->d_o, MGK_F(a->d_o) + t->b * a->o_batch + i0 * a->o_row + t->h * dim, a->o_row, n_q,
              dim, wide, NULL);
    for (int64_t i = 0; i < n_q; i++) {
        float lse = MGK_F(a->lse)[(t->b * a->heads + t->h) * a->sq + i0 + i];
        t->lse[i] = lse == -INFINITY ? INFINITY : lse; /* all keys masked: p = 0 */
    }
    product(n_q, columns, dim, q, (matrix){t->kt, TILE, 1}, p, false);
    product(n_q, columns, dim, d_o, (matrix){t->vt, TILE, 1}, ds, false);
    grad_softmax(a, t, i0, n_q, j0, n_k, bias_part);
    product(n_k, wide, n_q, (matrix){t->p, 1, TILE}, d_o, (matrix){t->dv, wide, 1}, true);
    product(n_k, wide, n_q, (matrix){t->ds, 1, TILE}, q, (matrix){t->dk, wide, 1}, true);
    product(n_q, wide, n_k, ds, (matrix){t->k, wide, 1}, dq, false);
    for (int64_t i = 0; i < n_q; i++) {
        float *out = MGK_F(a->dq) + t->b * a->q_batch + (i0 + i) * a->q_row + t->h * dim;
        const float *in = t->dq + i * wide;
        MGK_EACH_VECTOR(d, dim, {
            vf v = v_load(in + d) * a->scale;
            v_out(out + d, j0 == 0 ? v : v + v_in(out + d));
        });
    }
}

static void store_rows(float *to, int64_t row, const float *from, int64_t n, int64_t dim,
                       int64_t wide, float scale)
{
    for (int64_t i = 0; i < n; i++, to += row, from += wide)
        MGK_EACH_VECTOR(d, dim, { v_out(to + d, v_load(from + d) * scale); });
}

static void attention_grad_task(void *arg, int64_t task, int thread)
{
    const attention_job *job = arg;
    const mgk_attention_args *a = job->a;
    grad_tiles t = {.b = task / a->heads, .h = task % a->heads};
    float *bias_part = job->bias_part ? job->bias_part + task * job->bias_piece : NULL;
    grad_tiles_at(&t, job->scratch + thread * job->piece, a->head_dim);
    int64_t dim = t.dim, wide = t.wide;
    if (bias_part)
        memset(bias_part, 0, sizeof(float) * (size_t)job->bias_piece);
    row_products(a, &t);
    for (int64_t i = 0; i < a->sq && a->sk == 0; i++)
        memset(MGK_F(a->dq) + t.b * a->q_batch + i * a->q_row + t.h * dim, 0,
               sizeof(float) * (size_t)dim);
    for (int64_t j0 = 0; j0 < a->sk; j0 += TILE) {
        int64_t n = mgk_min(TILE, a->sk - j0);
        int64_t k_at = t.b * a->k_batch + j0 * a->k_row + t.h * dim;
        int64_t v_at = t.b * a->v_batch + j0 * a->v_row + t.h * dim;
        const uint8_t *mask = mask_at(a, t.b, j0);
        key_terms(t.term, mask, n);
        pack_columns(t.kt, MGK_F(a->k) + k_at, a->k_row, n, dim, mask);
        pack_rows(t.k, MGK_F(a->k) + k_at, a->k_row, n, dim, wide, mask);
        pack_columns(t.vt, MGK_F(a->v) + v_at, a->v_row, n, dim, mask);
        memset(t.dk, 0, sizeof(float) * (size_t)(n * wide));
        memset(t.dv, 0, sizeof(float) * (size_t)(n * wide));
        for (int64_t i0 = 0; i0 < a->sq; i0 += TILE)
            grad_step(a, &t, i0, j0, n, bias_part);
        store_rows(MGK_F(a->dk) + k_at, a->k_row, t.dk, n, dim, wide, a->scale);
        store_rows(MGK_F(a->dv) + v_at, a->v_row, t.dv, n, dim, wide, 1);
    }
}

static void bias_combine(void *arg, int64_t h, int thread)
{
    const attention_job *job = arg;
    const mgk_attention_args *a = job->a;
    (void)thread;
    int64_t count = a->sq + a->sk - 1;
    for (int64_t i = 0; i < count; i++) {
        double sum = 0;
        for (int64_t b = 0; b < a->batch; b++)
            sum += job->bias_part[(b * a->heads + h) * job->bias_piece + i];
        MGK_F(a->d_bias)[h * count + i] += (float)sum;
    }
}

MGK_LAUNCH(attention_grad)
{
    const mgk_attention_args *a = args;
    attention_job job = {.a = a, .piece = mgk_attention_grad_scratch(a)};
    int64_t tasks = a->batch * a->heads, work = tasks * (a->sq + 1) * (a->sk + 1);
    float *parts = x->workspace;
    job.bias_piece = mgk_attention_bias_part(a);
    job.scratch = parts + tasks * job.bias_piece;
    if (a->d_bias.p && a->sq > 0 && a->sk > 0)
        job.bias_part = parts;
    mgk_for(x, tasks, work * a->head_dim, attention_grad_task, &job);
    if (job.bias_part)
        mgk_for(x, a->heads, tasks * (a->sq + a->sk), bias_combine, &job);
}
