/* SPDX-License-Identifier: MIT
 * attention on vectors; included once a variant, with attention_grad.
 *
 * Forward: one task a (batch, head, up to 128 queries), which walks over tiles of 64 keys. Softmax keeps the
 * running maximum and sum of each row, in powers of two. With MGK_PAIRS the call is in bf16 and so are the
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
    float *o, *sum, *top; /* rows of `wide`; a vector of partial sums and the maximum of each row */
    float *s;             /* rows of KEYS: scores, then probabilities as a left factor */
    int64_t n, wide;
    bool first, bf16;
} query_tile;

/* Probabilities of a vector of keys, as the second product takes them; *sum grows by them. */
MGK_INLINE vf probabilities(const query_tile *t, const scoring *c, const float *s, int64_t j,
                            float base, bool terms, bool biased, vf *sum)
{
    vf p = power_of_2(score(c, s, j, terms, biased) - base);
    *sum += p;
    return t->bf16 && UNIT_VALUES == 1 ? round_to_bf16(p) : p;
}

/* A row of products to probabilities relative to the running maximum; rescales what came before. */
MGK_INLINE void softmax_row(const query_tile *t, int64_t i, const scoring *c, bool terms,
                            bool biased)
{
    float *s = t->s + i * KEYS, old = t->top[i];
    vf highest = v_set(-INFINITY), sum = {0};
    for (int64_t j = 0; j < c->n; j += MGK_WIDTH)
        highest = v_max(highest, score(c, s, j, terms, biased));
    float top = v_highest(highest);
    top = top > old ? top : old;
    float base = top == -INFINITY ? 0 : top;
    for (int64_t j = 0; j < c->n; j += UNIT_VALUES * MGK_WIDTH) {
        vf p = probabilities(t, c, s, j, base, terms, biased, &sum);
#if MGK_PAIRS
        vf q = {0};
        if (j + MGK_WIDTH < c->n)
            q = probabilities(t, c, s, j + MGK_WIDTH, base, terms, biased, &sum);
        p = (vf)_mm512_cvtne2ps_pbh((__m512)q, (__m512)p);
#endif
        v_store(s + j / UNIT_VALUES, p);
    }
    float *sums = t->sum + i * MGK_WIDTH;
    t->top[i] = top;
    if (!t->first && top != old) {
        vf shrink = power_of_2(v_set(old - base));
        float *o = t->o + i * t->wide;
        sum += v_load(sums) * shrink;
        for (int64_t d = 0; d < t->wide; d += MGK_WIDTH)
            v_store(o + d, v_load(o + d) * shrink);
    } else if (!t->first) {
        sum += v_load(sums);
    }
    v_store(sums, sum);
}

static void softmax_tile(const query_tile *t, const scoring *first)
{
    scoring c = *first;
    if (c.bias)
        for (int64_t i = 0; i < t->n; i++, c.bias--)
            softmax_row(t, i, &c, true, true);
    else if (c.term)
        for (int64_t i = 0; i < t->n; i++)
            softmax_row(t, i, &c, true, false);
    else
        for (int64_t i = 0; i < t->n; i++)
            softmax_row(t, i, &c, false, false);
}

static void write_output(const mgk_attention_args *a, const query_tile *t, int64_t b, int64_t h,
                         int64_t i0)
{
    real_rows o = {a->o, b * a->o_batch + i0 * a->o_row + h * a->head_dim, a->o_row};
    float *lse = a->lse.p ? MGK_F(a->lse) + (b * a->heads + h) * a->sq + i0 : NULL;
    for (int64_t i = 0; i < t->n; i++) {
        float sum = t->first ? 0 : v_sum(v_load(t->sum + i * MGK_WIDTH)), *row = t->o + i * t->wide;
        vf over = v_set(1 / sum);
        for (int64_t d = 0; d < t->wide; d += MGK_WIDTH)
            v_store(row + d, sum == 0 ? v_set(0) : v_load(row + d) * over);
        if (lse)
            lse[i] = t->top[i] * LN_2 + logf(sum);
    }
    write_rows(o, t->o, t->n, a->head_dim, t->wide, 1);
}

static void attention_task(void *arg, int64_t task, int thread)
{
    const attention_job *job = arg;
    const mgk_attention_args *a = job->a;
    int64_t dim = a->head_dim, wide = mgk_pad16(dim), deep = units(dim), tiles = job->tiles.count;
    int64_t h = task / tiles % a->heads, b = task / tiles / a->heads;
    query_tile t = {.wide = wide, .first = true, .bf16 = a->q.dtype == MGK_BF16};
    int64_t i0 = mgk_attention_query_tile(&job->tiles, task % tiles, &t.n);
    if (t.n == 0)
        return;
    float *q_room = job->scratch + thread * job->piece, *kt = q_room + MGK_ATT_QUERIES * wide;
    float *v = kt + KEYS * wide;
    t.o = v + KEYS * wide;
    t.s = t.o + MGK_ATT_QUERIES * wide;
    t.sum = t.s + MGK_ATT_QUERIES * KEYS;
    t.top = t.sum + MGK_ATT_QUERIES * 16;
    float *term = t.top + MGK_ATT_QUERIES;
    int64_t kv = mgk_attention_kv_head(a, h) * dim;
    real_rows q_rows = {a->q, b * a->q_batch + i0 * a->q_row + h * dim, a->q_row};
    left_factor q = pack_left((unit *)q_room, q_rows, t.n, dim);
    key_list list = keys_of(a, i0);
    for (int64_t i = 0; i < t.n; i++)
        t.top[i] = -INFINITY;
    for (int64_t j0 = 0; j0 < a->sk; j0 += KEYS) {
        int64_t n = mgk_min(KEYS, a->sk - j0);
        const uint8_t *mask = mask_at(a, b, j0);
        enum key_use use = key_terms(term, mask, &list, j0, n);
        if (use == KEYS_NONE)
            continue;
        real_rows k_rows = {a->k, b * a->k_batch + j0 * a->k_row + kv, a->k_row};
        real_rows v_rows = {a->v, b * a->v_batch + j0 * a->v_row + kv, a->v_row};
        scoring c = {a->scale * LOG2_E, use == KEYS_ALL && !a->bias.p ? NULL : term,
                     bias_at(a, h, i0, j0), n};
        if (use == KEYS_ALL)
            memset(term, 0, sizeof(float) * KEYS);
        pack_columns((unit *)kt, k_rows, n, dim, mask, v);
        pack_right((unit *)v, v_rows, n, dim, wide, mask);
        product(t.n, mgk_div_up(n, MGK_WIDTH) * MGK_WIDTH, deep, q, (unit_rows){(unit *)kt, KEYS},
                (float_rows){t.s, KEYS}, false);
        softmax_tile(&t, &c);
        product(t.n, wide, units(n), (left_factor){(unit *)t.s, KEYS, 1},
                (unit_rows){(unit *)v, wide}, (float_rows){t.o, wide}, !t.first);
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
    job.tiles = mgk_attention_query_tiles(a, MGK_ATT_QUERIES);
    mgk_for(x, a->batch * a->heads * job.tiles.count,
            a->batch * a->heads * a->sq * (a->sk + 1) * a->head_dim, attention_task, &job);
}

#include "kernels/attention/attention_grad_simd.h"
