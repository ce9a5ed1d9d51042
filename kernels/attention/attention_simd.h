/* SPDX-License-Identifier: MIT
 * attention on vectors; included once a variant, with attention_grad.
 *
 * Forward: one task a (batch, head, up to 128 or 256 queries), which walks over up to four tiles of 64 keys at a time, a few queries after
 * the other. Softmax keeps the running maximum and sum of each row, in powers of two. With MGK_PAIRS the call is in bf16 and so are the
 * factors of the products.
 */
#include "kernels/attention/attention_tile.h"

typedef struct attention_job {
    const mgk_attention_args *a;
    float *scratch; /* one piece a thread */
    int64_t piece;  /* its floats */
    mgk_attention_tiles tiles;
    float *bias_part; /* gradient: one piece a (batch, head) */
    int64_t bias_piece;
} attention_job;

typedef struct query_tile {
    float *o, *sum;    /* rows of `wide`; a vector of partial sums for each row */
    float *top, *base; /* the maximum of each row, and what is taken off its scores */
    float *s;          /* rows of `step`: scores, then probabilities as a left factor */
    int64_t n, wide, step;
    int64_t at; /* the first row's number in the task */
    bool first, bf16;
    rows_ahead ahead;
    /* What the task writes: rows of out_bytes, which begin out_row bytes after one another. */
    const uint8_t *out;
    int64_t out_row, out_bytes;
} query_tile;

/* New maxima of some rows; rescales what came before. base is the maximum, or 0 as long as no key counted. */
MGK_INLINE void raise_tops(const query_tile *t, int64_t i, int rows, vf highest)
{
    vf old = v_load_lanes(t->top + i, rows), top = v_max(highest, old);
    vf base = v_select(top == v_set(-INFINITY), v_set(0), top);
    v_store_lanes(t->top + i, rows, top);
    v_store_lanes(t->base + i, rows, base);
    if (t->first)
        return;
    float shrink[MGK_WIDTH];
    v_store(shrink, power_of_2(old - base));
    for (int r = 0; r < rows; r++) {
        if (shrink[r] == 1)
            continue;
        float *o = t->o + (i + r) * t->wide, *sums = t->sum + (i + r) * MGK_WIDTH;
        vf by = v_set(shrink[r]);
        v_store(sums, v_load(sums) * by);
        for (int64_t d = 0; d < t->wide; d += MGK_WIDTH)
            v_store(o + d, v_load(o + d) * by);
    }
}

/* The highest of a row's scores, lane by lane. */
MGK_INLINE vf highest_score(const query_tile *t, int64_t i, const scoring *c, bool terms,
                            bool biased, bool whole)
{
    const float *s = t->s + i * t->step;
    vf highest = v_set(-INFINITY);
    if (whole && !terms && !biased && c->factor > 0) { /* which keeps their order */
        for (int64_t j = 0; j < c->n; j += KEYS)
            MGK_UNROLL
        for (int64_t k = j; k < j + KEYS; k += MGK_WIDTH)
            highest = v_max(highest, v_load(s + k));
        highest = highest * c->factor;
    } else if (whole) {
        for (int64_t j = 0; j < c->n; j += KEYS)
            MGK_UNROLL
        for (int64_t k = j; k < j + KEYS; k += MGK_WIDTH)
            highest = v_max(highest, score(c, s, k, v_set(0), terms, biased));
    } else {
        for (int64_t j = 0; j < c->n; j += MGK_WIDTH)
            highest = v_max(highest, score(c, s, j, v_set(0), terms, biased));
    }
    return highest;
}

/* Some vectors of a row of products to probabilities relative to the running maximum; returns their sum. */
MGK_INLINE vf exponentials(const query_tile *t, float *s, const scoring *c, int64_t j, vf base,
                           bool terms, bool biased, int vectors)
{
    vf x[AT_ONCE], sum = {0};
    MGK_UNROLL
    for (int v = 0; v < vectors; v++)
        x[v] = score(c, s, j + v * MGK_WIDTH, base, terms, biased);
    powers_of_2(x, vectors);
    MGK_UNROLL
    for (int v = 0; v < vectors; v++) {
        sum += x[v];
        if (UNIT_VALUES == 1)
            v_store(s + j + v * MGK_WIDTH, t->bf16 ? round_to_bf16(x[v]) : x[v]);
    }
#if MGK_PAIRS
    MGK_UNROLL
    for (int v = 0; v < vectors; v += 2)
        v_store(s + (j + v * MGK_WIDTH) / 2,
                (vf)_mm512_cvtne2ps_pbh(v + 1 < vectors ? (__m512)x[v + 1] : _mm512_setzero_ps(),
                                        (__m512)x[v]));
#endif
    return sum;
}

MGK_INLINE void exponential_row(const query_tile *t, int64_t i, const scoring *c, bool terms,
                                bool biased, bool whole)
{
    enum { LEAST = 16 / MGK_WIDTH }; /* packed keys come in sixteens */
    float *s = t->s + i * t->step, *sums = t->sum + i * MGK_WIDTH;
    vf base = v_set(t->base[i]), sum = t->first ? v_set(0) : v_load(sums);
    int64_t j = 0;
    if (whole) {
        for (; j < c->n; j += AT_ONCE * MGK_WIDTH)
            sum += exponentials(t, s, c, j, base, terms, biased, AT_ONCE);
    } else {
        for (; j + 16 < c->n; j += 32)
            sum += exponentials(t, s, c, j, base, terms, biased, 2 * LEAST);
        if (j < c->n)
            sum += exponentials(t, s, c, j, base, terms, biased, LEAST);
    }
    v_store(sums, sum);
}

MGK_INLINE void softmax_rows(const query_tile *t, const scoring *first, bool terms, bool biased,
                             bool whole)
{
    scoring c = *first;
    int64_t i = 0;
    for (; !biased && i + 4 <= t->n; i += 4) {
        vf h[4];
        MGK_UNROLL
        for (int r = 0; r < 4; r++)
            h[r] = highest_score(t, i + r, &c, terms, biased, whole);
        raise_tops(t, i, 4, highest_of_4(h));
    }
    for (; i < t->n; i++) {
        vf h = highest_score(t, i, &c, terms, biased, whole);
        raise_tops(t, i, 1, v_set(v_highest(h)));
        c.bias = biased ? c.bias - 1 : NULL;
    }
    c.bias = first->bias;
    for (i = 0; i < t->n; i++) {
        if (t->ahead.dim && t->first && t->at + i < KEYS)
            fetch_ahead(&t->ahead, t->at + i);
        for (int64_t d = 0; t->first && d < t->out_bytes; d += 64) /* read before it is written */
            __builtin_prefetch(t->out + (t->at + i) * t->out_row + d, 0, 2);
        exponential_row(t, i, &c, terms, biased, whole);
        c.bias = biased ? c.bias - 1 : NULL;
    }
}

static void softmax_tile(const query_tile *t, const scoring *c)
{
    if (c->bias)
        softmax_rows(t, c, true, true, false);
    else if (!c->term && c->n % KEYS == 0)
        softmax_rows(t, c, false, false, true);
    else if (!c->term)
        softmax_rows(t, c, false, false, false);
    else if (c->n % KEYS == 0)
        softmax_rows(t, c, true, false, true);
    else
        softmax_rows(t, c, true, false, false);
}

static void write_output(const mgk_attention_args *a, const query_tile *t, int64_t b, int64_t h,
                         int64_t i0)
{
    real_rows o = {a->o, b * a->o_batch + i0 * a->o_row + h * a->head_dim, a->o_row};
    float *lse = a->lse.p ? MGK_F(a->lse) + (b * a->heads + h) * a->sq + i0 : NULL;
    for (int64_t i = 0; i < t->n; i++) {
        float sum = t->first ? 0 : v_sum(v_load(t->sum + i * MGK_WIDTH));
        if (lse)
            lse[i] = t->top[i] * LN_2 + logf(sum);
        t->top[i] = sum == 0 ? 0 : 1 / sum;
    }
    write_rows(o, t->o, t->n, a->head_dim, t->wide, 1, t->top);
}

/* What the task after this one reads. In bf16 asking costs as much as it saves. */
static rows_ahead rows_after(const attention_job *job, int64_t task)
{
    const mgk_attention_args *a = job->a;
    int64_t h = (task + 1) % a->heads, b = (task + 1) / a->heads, dim = a->head_dim;
    int64_t kv = mgk_attention_kv_head(a, h) * dim;
    if (a->q.dtype == MGK_BF16 || job->tiles.count > 1 || a->sk > 2 * KEYS || b >= a->batch)
        return (rows_ahead){.dim = 0};
    return (rows_ahead){.rows = {{a->q, b * a->q_batch + h * dim, a->q_row},
                                 {a->k, b * a->k_batch + kv, a->k_row},
                                 {a->v, b * a->v_batch + kv, a->v_row}},
                        .n = {a->sq, a->sk, a->sk},
                        .dim = dim};
}

/* Keys from j0 on as factors: tiles until there are `step` keys or no more, without those that do not count for any query of
 * the task. */
typedef struct key_step {
    unit *kt, *v; /* tiles of KEYS x wide */
    float *term;
    int64_t n; /* keys, of which only the last tile has less than KEYS */
    bool all;  /* all of them count */
} key_step;

static int64_t take_keys(const mgk_attention_args *a, key_step *k, key_list *list, int64_t b,
                         int64_t kv, int64_t j0, int64_t step)
{
    int64_t dim = a->head_dim, wide = mgk_pad16(dim);
    k->n = 0;
    k->all = true;
    for (; j0 < a->sk && k->n < step; j0 += KEYS) {
        int64_t n = mgk_min(KEYS, a->sk - j0);
        const uint8_t *mask = mask_at(a, b, j0);
        enum key_use use = key_terms(k->term + k->n, mask, list, j0, n);
        if (use == KEYS_NONE)
            continue;
        real_rows k_rows = {a->k, b * a->k_batch + j0 * a->k_row + kv, a->k_row};
        real_rows v_rows = {a->v, b * a->v_batch + j0 * a->v_row + kv, a->v_row};
        unit *kt = k->kt + k->n * wide, *v = k->v + k->n * wide;
        if (use == KEYS_ALL)
            memset(k->term + k->n, 0, sizeof(float) * KEYS);
        prefetch_rows(k_rows, n, dim);
        prefetch_rows(v_rows, n, dim);
        pack_columns(kt, k_rows, n, dim, mask, (float *)(void *)v);
        pack_right(v, v_rows, n, dim, wide, mask);
        k->all = k->all && use == KEYS_ALL;
        k->n += n;
    }
    return j0;
}

/* The products of some queries with the keys of a step, `row` of which there is room for: a constant, so that the products
 * know where their rows are. */
MGK_INLINE void score_keys(const query_tile *t, left_factor q, const key_step *k, int64_t deep,
                           const int64_t row)
{
    for (int64_t j = 0; j < k->n; j += KEYS)
        product(t->n, mgk_pad16(mgk_min(KEYS, k->n - j)), deep, q,
                (unit_rows){k->kt + j * t->wide, KEYS}, (float_rows){t->s + j, row}, false);
}

MGK_INLINE void add_values(const query_tile *t, const key_step *k, const int64_t row)
{
    for (int64_t j = 0; j < k->n; j += KEYS)
        product(t->n, t->wide, units(mgk_min(KEYS, k->n - j)),
                (left_factor){(unit *)t->s + j / UNIT_VALUES, row, 1},
                (unit_rows){k->v + j * t->wide, t->wide}, (float_rows){t->o, t->wide},
                !t->first || j > 0);
}

/* With `step` as a constant. */
#define FOR_STEP(step, call)                                                                       \
    do {                                                                                           \
        if ((step) == KEYS) {                                                                      \
            enum { ROW = KEYS };                                                                   \
            call;                                                                                  \
        } else if ((step) == 2 * KEYS) {                                                           \
            enum { ROW = 2 * KEYS };                                                               \
            call;                                                                                  \
        } else {                                                                                   \
            enum { ROW = 4 * KEYS };                                                               \
            call;                                                                                  \
        }                                                                                          \
    } while (0)

static query_tile some_of(const query_tile *t, int64_t first)
{
    query_tile some = *t;
    some.at = first;
    some.n = mgk_min(MGK_ATT_SCORES / t->step, t->n - first);
    some.o += first * t->wide;
    some.sum += first * MGK_WIDTH;
    some.top += first;
    some.base += first;
    return some;
}

static void attention_task(void *arg, int64_t task, int thread)
{
    const attention_job *job = arg;
    const mgk_attention_args *a = job->a;
    int64_t dim = a->head_dim, wide = mgk_pad16(dim), deep = units(dim), tiles = job->tiles.count;
    int64_t h = task / tiles % a->heads, b = task / tiles / a->heads, step = mgk_attention_step(a);
    query_tile t = {.wide = wide, .step = step, .first = true, .bf16 = a->q.dtype == MGK_BF16};
    int64_t i0 = mgk_attention_query_tile(&job->tiles, task % tiles, &t.n);
    const int64_t most = job->tiles.step;
    if (t.n == 0)
        return;
    float *q_room = job->scratch + thread * job->piece, *kt = q_room + most * wide;
    float *v = kt + step * wide;
    t.o = v + step * wide;
    t.s = t.o + most * wide;
    t.sum = t.s + MGK_ATT_SCORES;
    t.top = t.sum + most * 16;
    t.base = t.top + most;
    key_step k = {.kt = (unit *)kt, .v = (unit *)v, .term = t.base + most};
    int64_t kv = mgk_attention_kv_head(a, h) * dim;
    real_rows q_rows = {a->q, b * a->q_batch + i0 * a->q_row + h * dim, a->q_row};
    left_factor q = pack_left((unit *)q_room, q_rows, t.n, dim);
    key_list list = keys_of(a, i0);
    t.ahead = rows_after(job, task);
    int64_t size = t.bf16 ? 2 : 4;
    t.out = (const uint8_t *)a->o.p + (b * a->o_batch + i0 * a->o_row + h * dim) * size;
    t.out_row = a->o_row * size;
    t.out_bytes = dim * size;
    for (int64_t i = 0; i < t.n; i++)
        t.top[i] = -INFINITY;
    for (int64_t j0 = 0, next; j0 < a->sk; j0 = next) {
        if (t.first)
            prefetch_rows(q_rows, t.n, dim);
        next = take_keys(a, &k, &list, b, kv, j0, step);
        scoring c = {a->scale * LOG2_E, k.all && !a->bias.p ? NULL : k.term, NULL, k.n};
        if (k.n == 0)
            continue;
        for (int64_t i = 0; i < t.n; i += MGK_ATT_SCORES / step) {
            query_tile some = some_of(&t, i);
            c.bias = bias_at(a, h, i0 + i, next - KEYS);
            left_factor some_q = {q.p + i * q.row, q.row, q.column};
            FOR_STEP(step, score_keys(&some, some_q, &k, deep, ROW));
            softmax_tile(&some, &c);
            FOR_STEP(step, add_values(&some, &k, ROW));
        }
        t.first = false;
    }
    write_output(a, &t, b, h, i0);
}

MGK_LAUNCH(attention)
{
    const mgk_attention_args *a = args;
#if MGK_PAIRS
    if (a->q.dtype != MGK_BF16) {
        mgk_attention_avx512(args, x);
        return;
    }
#endif
    attention_job job = {.a = a, .scratch = x->workspace, .piece = mgk_attention_scratch(a)};
    job.tiles = mgk_attention_query_tiles(a, mgk_attention_queries(a));
    mgk_for(x, a->batch * a->heads * job.tiles.count,
            a->batch * a->heads * a->sq * (a->sk + 1) * a->head_dim, attention_task, &job);
}

#include "kernels/attention/attention_grad_simd.h"
