/* SPDX-License-Identifier: MIT
 * attention_grad, from probabilities that each kernel computes again: dq by a block of threads for each tile of
 * queries, dk and dv by one for each tile of keys, d_bias by one for each diagonal of tiles.
 *
 * Workspace: delta = d_o . o of each (batch item, head, query); for d_bias, of each (batch item, head, diagonal)
 * the sums of its 127 distances. */
#include "kernels/attention/attention_cuda.h"

namespace
{

/* Diagonals of tiles of 64 x 64: distance 64 (d + 1 - q_tiles) in the middle of diagonal d. */
struct diagonals {
    int64_t q_tiles, k_tiles, count;
};

diagonals diagonals_of(const mgk_attention_args *a)
{
    diagonals d = {(a->sq + SIDE - 1) / SIDE, (a->sk + SIDE - 1) / SIDE, 0};
    if (a->d_bias.p && a->sq > 0 && a->sk > 0)
        d.count = d.q_tiles + d.k_tiles - 1;
    return d;
}

template <typename T, int D, int R> struct gradient : tiles<T, D, R, 2> {
    typedef tiles<T, D, R, 2> base;
    using base::m;
    using base::tx;
    using base::ty;

    __device__ __forceinline__ gradient(const problem &p, typename base::memory *shared)
        : base(p, shared)
    {
    }

    /* lse, in powers of two, and delta of n queries; infinity where no key counted: p = 0. */
    __device__ __forceinline__ void take_queries(const mgk_attention_args &a, const float *delta,
                                                 int64_t b, int64_t h, int64_t i0, int n) const
    {
        int64_t at = (b * a.heads + h) * a.sq + i0;
        for (int t = (int)threadIdx.x; t < SIDE; t += base::THREADS) {
            float lse = t < n ? MGK_F(a.lse)[at + t] : -INFINITY;
            m->lse[t] = lse == -INFINITY ? INFINITY : lse * LOG2_E;
            m->delta[t] = t < n ? delta[at + t] : 0.0f;
        }
    }

    /* From q . k and d_o . v the probabilities and the gradients of the scores. */
    template <bool KEYS_ARE_ROWS>
    __device__ __forceinline__ void differentiate(const mgk_attention_args &a, uint64_t valid,
                                                  float (&s)[R][4], float (&dp)[R][4]) const
    {
        float scale = a.scale * LOG2_E;
        bool biased = a.bias.p;
#pragma unroll
        for (int i = 0; i < R; i++)
#pragma unroll
            for (int c = 0; c < 4; c++) {
                int row = R * ty + i, column = 4 * tx + c;
                int query = KEYS_ARE_ROWS ? column : row, key = KEYS_ARE_ROWS ? row : column;
                float x = s[i][c] * scale;
                if (biased)
                    x += m->bias[key - query + SIDE - 1];
                s[i][c] = valid >> key & 1 ? exp2f(x - m->lse[query]) : 0.0f;
                dp[i][c] = s[i][c] * (dp[i][c] - m->delta[query]);
            }
    }

    /* As factors of the next products. */
    __device__ __forceinline__ void give_rounded(float (&s)[R][4]) const
    {
#pragma unroll
        for (int i = 0; i < R; i++)
#pragma unroll
            for (int c = 0; c < 4; c++)
                s[i][c] = mgk_round<T>(s[i][c]);
        this->give_weights(s);
    }

    __device__ __forceinline__ void put_scaled(const head_rows<T> &to,
                                               float (&sum)[base::PARTS][R][base::COLUMNS],
                                               float scale) const
    {
        float factor[R];
#pragma unroll
        for (int i = 0; i < R; i++)
            factor[i] = scale;
        this->put(to, sum, factor);
    }
};

template <typename T, int D, int R>
MGK_KERNEL __launch_bounds__(1024 / R, D <= 64    ? 3
                                       : D == 128 ? 2
                                                  : 1)
    dq_kernel(problem p, const float *delta, int64_t first_task)
{
    __shared__ tile_memory<D, 2> shared;
    const mgk_attention_args &a = p.a;
    int64_t task = first_task + blockIdx.x, tile = task % p.q.tiles, row = task / p.q.tiles;
    int64_t h = row % a.heads, b = row / a.heads, kv = h / p.group, block = tile / p.q.parts;
    int n;
    int64_t i0 = tile_of(p.q, block, tile % p.q.parts, &n);
    if (n == 0)
        return;
    head_rows<T> q = query_rows<T>(a, a.q, b, h, i0, bits_of(n));
    head_rows<T> d_o = out_rows<T>(a, a.d_o, b, h, i0, bits_of(n));
    gradient<T, D, R> g(p, &shared);
    float dq[g.PARTS][R][g.COLUMNS];
    g.clear(dq);
    g.keep_left(0, q);
    g.keep_left(1, d_o);
    g.take_queries(a, delta, b, h, i0, n);
    const int32_t *start = MGK_I(a.block_start);
    int64_t end = start ? start[block + 1] : 1;
    for (int64_t at = start ? start[block] : 0; at < end; at++)
        for (int64_t part = 0; part < p.k.parts; part++) {
            int keys;
            int64_t j0 = tile_of(p.k, start ? MGK_I(a.block_index)[at] : 0, part, &keys);
            uint64_t valid = keys_that_count(a, b, j0, keys);
            if (!valid)
                continue;
            head_rows<T> k = key_rows<T>(a, a.k, b, kv, j0, valid);
            float s[R][4], ds[R][4];
            g.take_bias(p, h, i0, j0);
            g.scores(s, 0, q, k);
            g.scores(ds, 1, d_o, value_rows<T>(a, a.v, b, kv, j0, valid));
            g.template differentiate<false>(a, valid, s, ds);
            g.give_rounded(ds);
            g.add(dq, k, keys);
        }
    g.put_scaled(query_rows<T>(a, a.dq, b, h, i0, bits_of(n)), dq, a.scale);
}

template <typename T, int D, int R>
MGK_KERNEL __launch_bounds__(1024 / R, D == 32    ? 3
                                       : D <= 128 ? 2
                                                  : 1)
    dk_dv_kernel(problem p, const float *delta, int64_t first_task)
{
    __shared__ tile_memory<D, 2> shared;
    const mgk_attention_args &a = p.a;
    int64_t task = first_task + blockIdx.x, tile = task % p.k.tiles, row = task / p.k.tiles;
    int64_t kv = row % p.kv_heads, b = row / p.kv_heads, block = tile / p.k.parts;
    int n;
    int64_t j0 = tile_of(p.k, block, tile % p.k.parts, &n);
    if (n == 0)
        return;
    uint64_t valid = keys_that_count(a, b, j0, n);
    head_rows<T> k = key_rows<T>(a, a.k, b, kv, j0, valid);
    head_rows<T> v = value_rows<T>(a, a.v, b, kv, j0, valid);
    gradient<T, D, R> g(p, &shared);
    float dk[g.PARTS][R][g.COLUMNS], dv[g.PARTS][R][g.COLUMNS];
    g.clear(dk);
    g.clear(dv);
    g.keep_left(0, k);
    g.keep_left(1, v);
    int64_t end = valid ? (kv + 1) * p.group : 0, blocks = p.q.tiles / p.q.parts;
    for (int64_t h = kv * p.group; h < end; h++)
        for (int64_t q_block = 0; q_block < blocks; q_block++) {
            if (!listed(a, q_block, block))
                continue;
            for (int64_t part = 0; part < p.q.parts; part++) {
                int queries;
                int64_t i0 = tile_of(p.q, q_block, part, &queries);
                if (queries == 0)
                    continue;
                head_rows<T> q = query_rows<T>(a, a.q, b, h, i0, bits_of(queries));
                head_rows<T> d_o = out_rows<T>(a, a.d_o, b, h, i0, bits_of(queries));
                float s[R][4], ds[R][4];
                g.take_bias(p, h, i0, j0);
                g.take_queries(a, delta, b, h, i0, queries);
                g.scores(s, 0, k, q);
                g.scores(ds, 1, v, d_o);
                g.template differentiate<true>(a, valid, s, ds);
                g.give_rounded(s);
                g.add(dv, d_o, queries);
                __syncthreads();
                g.give_rounded(ds);
                g.add(dk, q, queries);
            }
        }
    g.put_scaled(key_rows<T>(a, a.dk, b, kv, j0, bits_of(n)), dk, a.scale);
    g.put_scaled(value_rows<T>(a, a.dv, b, kv, j0, bits_of(n)), dv, 1.0f);
}

/* D: 32, or 64 for all that are larger. */
template <typename T, int D>
MGK_KERNEL __launch_bounds__(128) diagonal_kernel(problem p, diagonals diagonal, const float *delta,
                                                  float *sums, int64_t first_task)
{
    enum { R = 8 };
    __shared__ tile_memory<D, 2> shared;
    const mgk_attention_args &a = p.a;
    int64_t task = first_task + blockIdx.x, row = task / diagonal.count;
    int64_t shift = task % diagonal.count + 1 - diagonal.q_tiles; /* of key tiles by query tiles */
    int64_t h = row % a.heads, b = row / a.heads, kv = h / p.group;
    gradient<T, D, R> g(p, &shared);
    int distance = (int)threadIdx.x - (SIDE - 1); /* from the middle */
    float sum = 0;
    for (int64_t tile = shift < 0 ? -shift : 0;
         tile < diagonal.q_tiles && tile + shift < diagonal.k_tiles; tile++) {
        int64_t i0 = tile * SIDE, j0 = (tile + shift) * SIDE;
        int queries = a.sq - i0 < SIDE ? (int)(a.sq - i0) : SIDE;
        int keys = a.sk - j0 < SIDE ? (int)(a.sk - j0) : SIDE;
        uint64_t valid = keys_that_count(a, b, j0, keys);
        if (!valid)
            continue;
        head_rows<T> q = query_rows<T>(a, a.q, b, h, i0, bits_of(queries));
        head_rows<T> d_o = out_rows<T>(a, a.d_o, b, h, i0, bits_of(queries));
        float s[R][4], ds[R][4];
        g.take_bias(p, h, i0, j0);
        g.take_queries(a, delta, b, h, i0, queries);
        g.keep_left(0, q);
        g.keep_left(1, d_o);
        g.scores(s, 0, q, key_rows<T>(a, a.k, b, kv, j0, valid));
        g.scores(ds, 1, d_o, value_rows<T>(a, a.v, b, kv, j0, valid));
        g.template differentiate<false>(a, valid, s, ds);
        for (int i = 0; i < R && a.block_start.p; i++)
            for (int c = 0; c < 4; c++)
                if (R * g.ty + i >= queries || 4 * g.tx + c >= keys ||
                    !listed(a, (i0 + R * g.ty + i) / a.block_q, (j0 + 4 * g.tx + c) / a.block_k))
                    ds[i][c] = 0;
        g.give_weights(ds);
        __syncthreads();
        int last = distance > 0 ? SIDE - distance : SIDE;
        for (int i = distance < 0 ? -distance : 0; i < last; i++)
            sum += g.weight(i, i + distance);
    }
    sums[task * TABLE + threadIdx.x] = sum;
}

/* Each distance lies on one diagonal of tiles or on two. */
MGK_KERNEL bias_kernel(problem p, diagonals diagonal, const float *sums)
{
    const mgk_attention_args &a = p.a;
    int64_t distances = a.sq + a.sk - 1;
    MGK_FOR(i, a.heads * distances)
    {
        int64_t h = i / distances, distance = i % distances - (a.sq - 1);
        int64_t from_first = distance + diagonal.q_tiles * SIDE - 1; /* of the first diagonal */
        double sum = 0;
        for (int64_t b = 0; b < a.batch; b++) {
            const float *part = sums + (b * a.heads + h) * diagonal.count * TABLE;
            for (int64_t d = from_first / SIDE - 1; d <= from_first / SIDE; d++) {
                int64_t at = from_first - d * SIDE;
                if (d >= 0 && d < diagonal.count && at >= 0 && at < TABLE - 1)
                    sum += part[d * TABLE + at];
            }
        }
        MGK_F(a.d_bias)[h * p.span + p.zero + distance] += (float)sum;
    }
}

/* RQ, RK: rows a thread for dq, for dk and dv */
template <typename T, int D, int RQ, int RK>
void start(const problem &p, const float *delta, mgk_exec *x)
{
    int64_t tasks = p.q.tiles * p.a.heads * p.a.batch;
    for (int64_t first = 0; first < tasks; first += LAUNCH_MAX)
        MGK_LAUNCH(x, (dq_kernel<T, D, RQ>), grid_of(tasks - first), 1024 / RQ, 0, p, delta, first);
    tasks = p.k.tiles * p.kv_heads * p.a.batch;
    for (int64_t first = 0; first < tasks; first += LAUNCH_MAX)
        MGK_LAUNCH(x, (dk_dv_kernel<T, D, RK>), grid_of(tasks - first), 1024 / RK, 0, p, delta,
                   first);
}

template <typename T, int D>
void start_bias(const problem &p, const diagonals &diagonal, const float *delta, float *sums,
                mgk_exec *x)
{
    int64_t tasks = p.a.batch * p.a.heads * diagonal.count;
    for (int64_t first = 0; first < tasks; first += LAUNCH_MAX)
        MGK_LAUNCH(x, (diagonal_kernel<T, D>), grid_of(tasks - first), 128, 0, p, diagonal, delta,
                   sums, first);
}

template <typename T> void start_all(const problem &p, mgk_exec *x)
{
    const mgk_attention_args &a = p.a;
    float *delta = (float *)x->workspace, *sums = delta + delta_floats(&a);
    diagonals diagonal = diagonals_of(&a);
    MGK_LAUNCH(x, delta_kernel<T>, mgk_grid(a.batch * a.sq * a.heads * MGK_WARP, MGK_BLOCK),
               MGK_BLOCK, 0, p, delta);
    if (a.head_dim <= 32)
        start<T, 32, 8, 8>(p, delta, x);
    else if (a.head_dim <= 64)
        start<T, 64, 8, 8>(p, delta, x);
    else if (a.head_dim <= 128)
        start<T, 128, 8, 4>(p, delta, x);
    else
        start<T, 256, 4, 4>(p, delta, x);
    if (diagonal.count == 0)
        return;
    if (a.head_dim <= 32)
        start_bias<T, 32>(p, diagonal, delta, sums, x);
    else
        start_bias<T, 64>(p, diagonal, delta, sums, x);
    MGK_LAUNCH(x, bias_kernel, mgk_grid(a.heads * (a.sq + a.sk - 1), MGK_BLOCK), MGK_BLOCK, 0, p,
               diagonal, sums);
}

} // namespace

MGK_CUDA_WORKSPACE(attention_grad)
{
    const mgk_attention_args *a = (const mgk_attention_args *)args;
    (void)threads;
    return sizeof(float) *
           (size_t)(delta_floats(a) + a->batch * a->heads * diagonals_of(a).count * TABLE);
}

MGK_CUDA_LAUNCHER(attention_grad)
{
    problem p = problem_of((const mgk_attention_args *)args);
    MGK_WITH_REAL(p.a.q.dtype, start_all<T>(p, x));
}
