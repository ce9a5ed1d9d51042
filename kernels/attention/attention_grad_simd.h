/* SPDX-License-Identifier: MIT
 * attention_grad on vectors; the second half of attention_simd.h.
 *
 * One task a (batch item, key and value head). The keys are packed once; then tiles of 64 queries, of all
 * heads that share them, walk over tiles of 64 keys and recompute the probabilities from lse. dq is
 * complete after a walk; dk and dv are summed in f32 over all of them. d_bias is summed for each
 * (batch item, head) and combined over the batch in order.
 */

/* What is read next and written at the end: it comes from memory, and a tile of queries is too short to wait for it. Two lines
 * are asked for at a time while this is computed, as a processor passes over what it is asked for while it still waits for many
 * others. */
enum { LANES = 2, WALKS = 32 };

typedef struct line_walk {
    const uint8_t *p; /* the next line */
    int64_t step, n;  /* bytes between lines; how many are left */
} line_walk;

typedef struct lines_ahead {
    line_walk walk[LANES][WALKS];
    int n[LANES], at[LANES];
} lines_ahead;

/* Up to n lines of a lane. */
MGK_INLINE line_walk take_lines(lines_ahead *a, int lane, int64_t n)
{
    if (a->at[lane] == a->n[lane])
        return (line_walk){.n = 0};
    line_walk *from = &a->walk[lane][a->at[lane]], some = *from;
    some.n = mgk_min(n, from->n);
    from->p += some.n * from->step;
    from->n -= some.n;
    a->at[lane] += from->n == 0;
    return some;
}

/* A tile of keys as factors, and its gradients. */
typedef struct key_tile {
    unit *columns, *value_columns, *rows; /* units(dim) x KEYS twice, units(KEYS) x wide */
    float *dk, *dv;                       /* KEYS x wide */
    int64_t n;
} key_tile;

typedef struct grad_task {
    const mgk_attention_args *a;
    int64_t b, kv, h; /* kv: the key and value head, h: the head */
    int64_t dim, wide, deep;
    float *keys;                        /* key tiles, one after another */
    unit *left_room[2], *right_room[2]; /* packed q and d_o of the tile of queries */
    left_factor q, d_o;                 /* as left factors */
    float *dq, *rows, *s, *dp;          /* s, dp: GRAD x KEYS */
    unit *ds_rows;                      /* MGK_PAIRS: ds as a left factor over keys */
    float *term, *lse, *delta, *d_bias; /* lse in powers of two */
    int64_t i0, n;                      /* the tile of queries */
    lines_ahead *ahead;
} grad_task;

static grad_task grad_task_at(const attention_job *job, int64_t task, int thread)
{
    const mgk_attention_args *a = job->a;
    int64_t heads = mgk_attention_kv_heads(a), wide = mgk_pad16(a->head_dim);
    int64_t size = MGK_ATT_GRAD * wide, square = MGK_ATT_GRAD * KEYS;
    grad_task t = {.a = a, .b = task / heads, .kv = task % heads, .dim = a->head_dim, .wide = wide};
    t.deep = units(t.dim);
    t.keys = job->scratch + thread * job->piece;
    float *room = t.keys + mgk_attention_grad_keys(a);
    for (int i = 0; i < 2; i++, room += 2 * size) {
        t.left_room[i] = (unit *)room;
        t.right_room[i] = (unit *)(room + size);
    }
    t.dq = room;
    t.rows = t.dq + size;
    t.s = t.rows + KEYS * wide;
    t.dp = t.s + square;
    t.ds_rows = (unit *)(t.dp + square);
    t.term = t.dp + 2 * square;
    t.lse = t.term + KEYS;
    t.delta = t.lse + MGK_ATT_GRAD;
    return t;
}

static key_tile key_tile_at(const grad_task *t, int64_t j0)
{
    float *p = t->keys + 5 * j0 * t->wide;
    int64_t size = KEYS * t->wide;
    return (key_tile){(unit *)p,    (unit *)(p + size), (unit *)(p + 2 * size),
                      p + 3 * size, p + 4 * size,       mgk_min(KEYS, t->a->sk - j0)};
}

/* Rows of the task's key and value head. */
static real_rows k_rows(const grad_task *t, mgk_buf b, int64_t j0)
{
    return (real_rows){b, t->b * t->a->k_batch + j0 * t->a->k_row + t->kv * t->dim, t->a->k_row};
}

static real_rows v_rows(const grad_task *t, mgk_buf b, int64_t j0)
{
    return (real_rows){b, t->b * t->a->v_batch + j0 * t->a->v_row + t->kv * t->dim, t->a->v_row};
}

/* Rows of the head and tile of queries. */
static real_rows q_rows(const grad_task *t, mgk_buf b)
{
    const mgk_attention_args *a = t->a;
    return (real_rows){b, t->b * a->q_batch + t->i0 * a->q_row + t->h * t->dim, a->q_row};
}

static real_rows o_rows(const grad_task *t, mgk_buf b)
{
    const mgk_attention_args *a = t->a;
    return (real_rows){b, t->b * a->o_batch + t->i0 * a->o_row + t->h * t->dim, a->o_row};
}

static void pack_keys(const grad_task *t)
{
    for (int64_t j0 = 0; j0 < t->a->sk; j0 += KEYS) {
        key_tile k = key_tile_at(t, j0);
        const uint8_t *mask = mask_at(t->a, t->b, j0);
        prefetch_rows(k_rows(t, t->a->k, j0), k.n, t->dim);
        prefetch_rows(v_rows(t, t->a->v, j0), k.n, t->dim);
        pack_columns(k.columns, k_rows(t, t->a->k, j0), k.n, t->dim, mask, t->rows);
        pack_columns(k.value_columns, v_rows(t, t->a->v, j0), k.n, t->dim, mask, t->rows);
        pack_right(k.rows, k_rows(t, t->a->k, j0), k.n, t->dim, t->wide, mask);
        memset(k.dk, 0, sizeof(float) * (size_t)(k.n * t->wide));
        memset(k.dv, 0, sizeof(float) * (size_t)(k.n * t->wide));
    }
}

/* delta = d_o . o of each query */
MGK_INLINE void row_products_of(const grad_task *t, int32_t dtype)
{
    v_real d_o = reals(t->a->d_o, dtype), o = reals(t->a->o, dtype);
    real_rows rows = o_rows(t, t->a->o);
    for (int64_t i = 0; i < t->n; i++) {
        int64_t at = rows.at + i * rows.row;
        vf sum = {0};
        MGK_EACH_VECTOR(d, t->dim, { sum += v_get(d_o, at + d) * v_get(o, at + d); });
        t->delta[i] = v_sum(sum);
    }
}

/* The tile of queries: factors, lse, delta. */
static void pack_queries(grad_task *t)
{
    const mgk_attention_args *a = t->a;
    const float *lse = MGK_F(a->lse) + (t->b * a->heads + t->h) * a->sq + t->i0;
    prefetch_rows(q_rows(t, a->q), t->n, t->dim);
    prefetch_rows(o_rows(t, a->d_o), t->n, t->dim);
    prefetch_rows(o_rows(t, a->o), t->n, t->dim);
    pack_right(t->right_room[0], q_rows(t, a->q), t->n, t->dim, t->wide, NULL);
    pack_right(t->right_room[1], o_rows(t, a->d_o), t->n, t->dim, t->wide, NULL);
#if MGK_PAIRS
    t->q = pack_left(t->left_room[0], q_rows(t, a->q), t->n, t->dim);
    t->d_o = pack_left(t->left_room[1], o_rows(t, a->d_o), t->n, t->dim);
#else
    t->q = (left_factor){t->right_room[0], t->wide, 1};
    t->d_o = (left_factor){t->right_room[1], t->wide, 1};
#endif
    for (int64_t i = 0; i < t->n; i++) /* all keys masked: p = 0 */
        t->lse[i] = lse[i] == -INFINITY ? INFINITY : lse[i] * LOG2_E;
    if (a->q.dtype == MGK_BF16)
        row_products_of(t, MGK_BF16);
    else
        row_products_of(t, MGK_F32);
}

/* Adds some gradients of the scores of row i from key j on to those of the table of distances. */
MGK_INLINE void add_to_bias(const grad_task *t, const scoring *c, int64_t i, int64_t j, vf ds)
{
    float *to = t->d_bias - i + j;
    int64_t lanes = mgk_min(MGK_WIDTH, c->n - j);
    if (lanes > 0)
        v_store_lanes(to, lanes, v_load_lanes(to, lanes) + ds);
}

#if MGK_WIDTH == 16
/* Products of some queries with some keys, and what becomes of them, stay in registers: as many as are under way at a
 * time, and leave room for the factors. */
enum { BLOCK_ROWS = 4, BLOCK_VECTORS = 2 };

/* s = q . k and dp = d_o . v - delta of rows from i on and vectors of keys from j on. */
MGK_INLINE void block_products(const grad_task *t, const key_tile *k, int64_t i, int64_t j,
                               int rows, int vectors, vf s[][BLOCK_VECTORS], vf dp[][BLOCK_VECTORS])
{
    const unit *q = t->q.p + i * t->q.row, *d_o = t->d_o.p + i * t->d_o.row;
    const unit *keys = k->columns + j, *values = k->value_columns + j;
    MGK_UNROLL
    for (int r = 0; r < rows; r++)
        MGK_UNROLL
    for (int v = 0; v < vectors; v++) {
        s[r][v] = v_set(0);
        dp[r][v] = v_set(-t->delta[i + r]);
    }
    line_walk one = take_lines(t->ahead, 0, t->deep), other = take_lines(t->ahead, 1, t->deep);
    for (int64_t u = 0; u < t->deep; u++, keys += KEYS, values += KEYS) {
        if (u < one.n)
            __builtin_prefetch(one.p + u * one.step, 0, 2);
        if (u < other.n)
            __builtin_prefetch(other.p + u * other.step, 0, 2);
        vf key[BLOCK_VECTORS], value[BLOCK_VECTORS];
        MGK_UNROLL
        for (int v = 0; v < vectors; v++) {
            key[v] = load_units(keys + v * MGK_WIDTH);
            value[v] = load_units(values + v * MGK_WIDTH);
        }
        MGK_UNROLL
        for (int r = 0; r < rows; r++) {
            vf query = broadcast(q + r * t->q.row + u), d = broadcast(d_o + r * t->d_o.row + u);
            MGK_UNROLL
            for (int v = 0; v < vectors; v++) {
                s[r][v] = multiply_add(s[r][v], query, key[v]);
                dp[r][v] = multiply_add(dp[r][v], d, value[v]);
            }
        }
    }
}

#if MGK_PAIRS
/* Lanes of two vectors as pairs of bf16. */
MGK_INLINE vf pairs_of(vf low, vf high)
{
    const __m512i order =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
    return (vf)_mm512_permutexvar_epi16(order, both);
}

/* Row i and the next, or zeros, as factors: s and dp get pairs of rows, ds_rows pairs of keys. */
MGK_INLINE void store_factors(const grad_task *t, int64_t i, int64_t j, int vectors,
                              vf p[][BLOCK_VECTORS], vf ds[][BLOCK_VECTORS])
{
    int64_t at = i / 2 * KEYS + j;
    MGK_UNROLL
    for (int v = 0; v < vectors; v++) {
        v_store(t->s + at + v * MGK_WIDTH, pairs_of(p[0][v], p[1][v]));
        v_store(t->dp + at + v * MGK_WIDTH, pairs_of(ds[0][v], ds[1][v]));
    }
    MGK_UNROLL
    for (int r = 0; r < 2; r++)
        v_store((float *)t->ds_rows + (i + r) * KEYS / 2 + j / 2,
                (vf)_mm512_cvtne2ps_pbh(vectors == 2 ? (__m512)ds[r][1] : _mm512_setzero_ps(),
                                        (__m512)ds[r][0]));
}
#else
MGK_INLINE void store_factors(const grad_task *t, int64_t i, int64_t j, int vectors,
                              vf p[][BLOCK_VECTORS], vf ds[][BLOCK_VECTORS])
{
    bool bf16 = t->a->q.dtype == MGK_BF16;
    MGK_UNROLL
    for (int v = 0; v < vectors; v++) {
        int64_t at = i * KEYS + j + v * MGK_WIDTH;
        v_store(t->s + at, bf16 ? round_to_bf16(p[0][v]) : p[0][v]);
        v_store(t->dp + at, bf16 ? round_to_bf16(ds[0][v]) : ds[0][v]);
    }
}
#endif

/* p = 2^(score - lse) and ds = p dp of some rows and vectors of keys, as factors. */
MGK_INLINE void grad_block(const grad_task *t, const key_tile *k, const scoring *c, int64_t i,
                           int64_t j, int rows, int vectors, bool terms, bool biased)
{
    vf s[BLOCK_ROWS][BLOCK_VECTORS] = {0}, dp[BLOCK_ROWS][BLOCK_VECTORS] = {0};
    block_products(t, k, i, j, rows, vectors, s, dp);
    MGK_UNROLL
    for (int r = 0; r < rows; r += 2) {
        vf x[2 * BLOCK_VECTORS] = {0};
        MGK_UNROLL
        for (int n = 0; n < 2 * vectors; n++) {
            int row = r + n / vectors, v = n % vectors;
            if (row < rows)
                x[n] = score_of(c, s[row][v], biased ? c->bias - i - row : NULL, j + v * MGK_WIDTH,
                                v_set(t->lse[i + row]), terms);
        }
        powers_of_2(x, rows == 1 ? vectors : 2 * vectors);
        MGK_UNROLL
        for (int n = 0; n < 2 * vectors; n++) {
            int row = r + n / vectors, v = n % vectors;
            if (row >= rows)
                continue;
            s[row][v] = x[n];
            dp[row][v] *= x[n];
            if (biased && t->d_bias)
                add_to_bias(t, c, i + row, j + v * MGK_WIDTH, dp[row][v]);
        }
    }
    MGK_UNROLL
    for (int r = 0; r < rows; r += UNIT_VALUES)
        store_factors(t, i + r, j, vectors, s + r, dp + r);
}

MGK_INLINE void grad_rows(const grad_task *t, const key_tile *k, const scoring *c, int64_t i,
                          int rows, bool terms, bool biased)
{
    int64_t j = 0;
    for (; j + MGK_WIDTH < c->n; j += BLOCK_VECTORS * MGK_WIDTH)
        grad_block(t, k, c, i, j, rows, BLOCK_VECTORS, terms, biased);
    if (j < c->n)
        grad_block(t, k, c, i, j, rows, 1, terms, biased);
}

/* p and ds of a tile of queries and one of keys, as factors. */
MGK_INLINE void grad_scores_of(const grad_task *t, const key_tile *k, const scoring *c, bool terms,
                               bool biased)
{
    int64_t i = 0;
    for (; i + BLOCK_ROWS <= t->n; i += BLOCK_ROWS)
        grad_rows(t, k, c, i, BLOCK_ROWS, terms, biased);
    for (; i + 2 <= t->n; i += 2)
        grad_rows(t, k, c, i, 2, terms, biased);
    if (i < t->n)
        grad_rows(t, k, c, i, 1, terms, biased);
}
#else
/* s holds q . k and dp holds d_o . v of row i; some vectors of keys become p and ds. */
MGK_INLINE void grad_factors(const grad_task *t, const scoring *c, int64_t i, int64_t j, bool terms,
                             bool biased, int vectors)
{
    float *s = t->s + i * KEYS + j, *dp = t->dp + i * KEYS + j;
    vf p[AT_ONCE], lse = v_set(t->lse[i]), delta = v_set(t->delta[i]);
    bool bf16 = t->a->q.dtype == MGK_BF16;
    MGK_UNROLL
    for (int v = 0; v < vectors; v++)
        p[v] = score_of(c, v_load(s + v * MGK_WIDTH), biased ? c->bias - i : NULL,
                        j + v * MGK_WIDTH, lse, terms);
    powers_of_2(p, vectors);
    MGK_UNROLL
    for (int v = 0; v < vectors; v++) {
        vf ds = p[v] * (v_load(dp + v * MGK_WIDTH) - delta);
        if (biased && t->d_bias)
            add_to_bias(t, c, i, j + v * MGK_WIDTH, ds);
        v_store(s + v * MGK_WIDTH, bf16 ? round_to_bf16(p[v]) : p[v]);
        v_store(dp + v * MGK_WIDTH, bf16 ? round_to_bf16(ds) : ds);
    }
}

MGK_INLINE void grad_scores_of(const grad_task *t, const key_tile *k, const scoring *c, bool terms,
                               bool biased)
{
    enum { LEAST = 16 / MGK_WIDTH }; /* packed keys come in sixteens */
    int64_t columns = mgk_pad16(k->n);
    product(t->n, columns, t->deep, t->q, (unit_rows){k->columns, KEYS}, (float_rows){t->s, KEYS},
            false);
    product(t->n, columns, t->deep, t->d_o, (unit_rows){k->value_columns, KEYS},
            (float_rows){t->dp, KEYS}, false);
    for (int64_t i = 0; i < t->n; i++) {
        int64_t j = 0;
        line_walk some = take_lines(t->ahead, i % LANES, 8);
        for (int64_t n = 0; n < some.n; n++)
            __builtin_prefetch(some.p + n * some.step, 0, 2);
        for (; j + 16 < c->n; j += 32)
            grad_factors(t, c, i, j, terms, biased, 2 * LEAST);
        if (j < c->n)
            grad_factors(t, c, i, j, terms, biased, LEAST);
    }
}
#endif

static void grad_scores(const grad_task *t, const key_tile *k, const scoring *c)
{
    if (c->bias)
        grad_scores_of(t, k, c, true, true);
    else if (c->term)
        grad_scores_of(t, k, c, true, false);
    else
        grad_scores_of(t, k, c, false, false);
}

/* One tile of queries and one of keys. */
static void grad_step(const grad_task *t, int64_t j0, const scoring *c, bool first)
{
    key_tile k = key_tile_at(t, j0);
    int64_t wide = t->wide;
    const unit *p = (unit *)t->s, *ds = (unit *)t->dp;
    grad_scores(t, &k, c);
    product(k.n, wide, units(t->n), (left_factor){p, 1, KEYS}, (unit_rows){t->right_room[1], wide},
            (float_rows){k.dv, wide}, true);
    product(k.n, wide, units(t->n), (left_factor){ds, 1, KEYS}, (unit_rows){t->right_room[0], wide},
            (float_rows){k.dk, wide}, true);
    left_factor rows = {ds, KEYS, 1};
    if (UNIT_VALUES == 2)
        rows = (left_factor){t->ds_rows, KEYS / 2, 1};
    product(t->n, wide, units(k.n), rows, (unit_rows){k.rows, wide}, (float_rows){t->dq, wide},
            !first);
}

static void add_lines(lines_ahead *a, int lane, real_rows rows, int64_t n, int64_t dim)
{
    int64_t size = rows.b.dtype == MGK_BF16 ? 2 : 4;
    const uint8_t *p = (const uint8_t *)rows.b.p + rows.at * size;
    for (int64_t d = 0; n > 0 && d < dim * size && a->n[lane] < WALKS; d += 64)
        a->walk[lane][a->n[lane]++] = (line_walk){p + d, rows.row * size, n};
}

/* What a tile of queries writes, what the tile after it reads, of this head or another, and a share of the keys that the
 * next task reads and this one writes. */
static void look_ahead(const grad_task *t, const attention_job *job, int64_t task, int64_t tile)
{
    const mgk_attention_args *a = t->a;
    int64_t kv_heads = mgk_attention_kv_heads(a), group = a->heads / kv_heads;
    int64_t tiles = job->tiles.count, share = mgk_div_up(a->sk, group * tiles);
    int64_t j0 = (t->h % group * tiles + tile) * share;
    bool last = tile + 1 == tiles && t->h % group + 1 == group;
    grad_task then = *t, after = *t; /* the next tile, the next task */
    after.b = (task + 1) / kv_heads;
    after.kv = (task + 1) % kv_heads;
    then.b = last ? after.b : t->b;
    then.h = !last ? t->h + (tile + 1) / tiles : after.kv * group;
    then.i0 = mgk_attention_query_tile(&job->tiles, (tile + 1) % tiles, &then.n);
    memset(t->ahead->n, 0, sizeof t->ahead->n);
    memset(t->ahead->at, 0, sizeof t->ahead->at);
    add_lines(t->ahead, 1, q_rows(t, a->dq), t->n, t->dim);
    if (then.b < a->batch) {
        real_rows lse = {a->lse, (then.b * a->heads + then.h) * a->sq + then.i0, 16};
        add_lines(t->ahead, 0, q_rows(&then, a->q), then.n, t->dim);
        add_lines(t->ahead, 1, o_rows(&then, a->d_o), then.n, t->dim);
        add_lines(t->ahead, 0, o_rows(&then, a->o), then.n, t->dim);
        add_lines(t->ahead, 0, lse, mgk_div_up(then.n, 16), 16);
    }
    int64_t n = mgk_max(0, mgk_min(share, a->sk - j0));
    if (after.b < a->batch) {
        add_lines(t->ahead, 0, k_rows(&after, a->k, j0), n, t->dim);
        add_lines(t->ahead, 1, v_rows(&after, a->v, j0), n, t->dim);
    }
    if (a->sk > KEYS) { /* else there is no time for it */
        add_lines(t->ahead, 0, k_rows(t, a->dk, j0), n, t->dim);
        add_lines(t->ahead, 1, v_rows(t, a->dv, j0), n, t->dim);
    }
}

static void grad_queries(grad_task *t, float *bias_part)
{
    const mgk_attention_args *a = t->a;
    key_list list = keys_of(a, t->i0);
    bool first = true;
    pack_queries(t);
    for (int64_t j0 = 0; j0 < a->sk; j0 += KEYS) {
        int64_t n = mgk_min(KEYS, a->sk - j0);
        enum key_use use = key_terms(t->term, mask_at(a, t->b, j0), &list, j0, n);
        if (use == KEYS_NONE)
            continue;
        if (use == KEYS_ALL)
            memset(t->term, 0, sizeof(float) * KEYS);
        scoring c = {a->scale * LOG2_E, use == KEYS_ALL ? NULL : t->term,
                     bias_at(a, t->h, t->i0, j0), n};
        if (c.bias)
            c.term = t->term;
        t->d_bias = bias_part ? bias_part + a->sq - 1 - t->i0 + j0 : NULL;
        grad_step(t, j0, &c, first);
        first = false;
    }
    if (first)
        memset(t->dq, 0, sizeof(float) * (size_t)(t->n * t->wide));
    write_rows(q_rows(t, a->dq), t->dq, t->n, t->dim, t->wide, a->scale, NULL);
}

static void attention_grad_task(void *arg, int64_t task, int thread)
{
    const attention_job *job = arg;
    const mgk_attention_args *a = job->a;
    grad_task t = grad_task_at(job, task, thread);
    lines_ahead ahead;
    t.ahead = &ahead;
    int64_t group = a->heads / mgk_attention_kv_heads(a);
    pack_keys(&t);
    for (t.h = t.kv * group; t.h < (t.kv + 1) * group; t.h++) {
        float *bias_part = NULL;
        if (job->bias_part) {
            bias_part = job->bias_part + (t.b * a->heads + t.h) * job->bias_piece;
            memset(bias_part, 0, sizeof(float) * (size_t)job->bias_piece);
        }
        for (int64_t tile = 0; tile < job->tiles.count; tile++) {
            t.i0 = mgk_attention_query_tile(&job->tiles, tile, &t.n);
            if (t.n == 0)
                continue;
            look_ahead(&t, job, task, tile);
            grad_queries(&t, bias_part);
        }
    }
    for (int64_t j0 = 0; j0 < a->sk; j0 += KEYS) {
        key_tile k = key_tile_at(&t, j0);
        write_rows(k_rows(&t, a->dk, j0), k.dk, k.n, t.dim, t.wide, a->scale, NULL);
        write_rows(v_rows(&t, a->dv, j0), k.dv, k.n, t.dim, t.wide, 1, NULL);
    }
}

static void bias_combine(void *arg, int64_t h, int thread)
{
    const attention_job *job = arg;
    const mgk_attention_args *a = job->a;
    (void)thread;
    float *to =
        MGK_F(a->d_bias) + h * mgk_attention_span(a) + mgk_attention_bias_zero(a) - (a->sq - 1);
    for (int64_t i = 0; i < a->sq + a->sk - 1; i++) {
        double sum = 0;
        for (int64_t b = 0; b < a->batch; b++)
            sum += job->bias_part[(b * a->heads + h) * job->bias_piece + i];
        to[i] += (float)sum;
    }
}

MGK_LAUNCH(attention_grad)
{
    const mgk_attention_args *a = args;
#if MGK_PAIRS
    if (a->q.dtype != MGK_BF16) {
        mgk_attention_grad_avx512(args, x);
        return;
    }
#endif
    attention_job job = {.a = a, .piece = mgk_attention_grad_scratch(a)};
    int64_t tasks = a->batch * mgk_attention_kv_heads(a), rows = a->batch * a->heads;
    float *parts = x->workspace;
    job.tiles = mgk_attention_query_tiles(a, MGK_ATT_GRAD);
    job.bias_piece = mgk_attention_bias_part(a);
    job.scratch = parts + rows * job.bias_piece;
    if (a->d_bias.p && a->sq > 0 && a->sk > 0)
        job.bias_part = parts;
    mgk_for(x, tasks, rows * (a->sq + 1) * (a->sk + 1) * a->head_dim, attention_grad_task, &job);
    if (job.bias_part)
        mgk_for(x, a->heads, rows * (a->sq + a->sk), bias_combine, &job);
}
