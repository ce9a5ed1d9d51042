/* SPDX-License-Identifier: MIT
 * attention_grad by warpgroups (sm_90a), in two passes, each of which computes the probabilities again: dk and dv of a
 * tile of keys, along which tiles of queries pass; dq of a tile of queries, along which keys and values pass. So that
 * each sum is one block's, in one order: equal bits whatever the blocks' speed, and no buffer of f32 for dq, for 7
 * products of tiles instead of 5.
 *
 * Workspace: delta = d_o . o of each (batch item, head, query). */
#include "kernels/attention/attention_sm90.h"

namespace
{

/* Of the queries of a head of a batch item. */
struct query_sums {
    const mgk_attention_args &a;
    const float *all_deltas;
    int64_t row;

    __device__ __forceinline__ query_sums(const problem &p, const float *deltas, int64_t item,
                                          int64_t head)
        : a(p.a), all_deltas(deltas), row((item * p.a.heads + head) * p.a.sq)
    {
    }

    /* In powers of two; infinity where no key counts or no query is: the probability is 0. */
    __device__ __forceinline__ float lse(int64_t query) const
    {
        const float x = query < a.sq ? MGK_F(a.lse)[row + query] : -INFINITY;
        return x == -INFINITY ? INFINITY : x * LOG2_E;
    }

    __device__ __forceinline__ float delta(int64_t query) const
    {
        return query < a.sq ? all_deltas[row + query] : 0.0f;
    }
};

/* ---- dk and dv ---- */

struct key_maps {
    mgk_tensor_map q, k, v, d_o;
};

/* D columns (head_dim or more), N queries a tile that passes. */
template <int D_, int N_, int STAGES_> struct key_shape {
    typedef mgk_register_shares<2, 24, 240> registers;
    enum {
        D = D_,
        N = N_,
        STAGES = STAGES_,
        GROUPS = 2,
        ROWS = GROUPS * MGK_WGMMA_ROWS,
        THREADS = (GROUPS + 1) * MGK_WARPGROUP,
        K = 0, /* where in shared memory */
        V = K + ROWS * D * 2,
        QUERY_BYTES = N * D * 2,
        QUERIES = V + ROWS * D * 2,
        D_O = QUERIES + STAGES * QUERY_BYTES,
        LSE = D_O + STAGES * QUERY_BYTES,
        DELTA = LSE + STAGES * N * 4,
        KV_FULL = DELTA + STAGES * N * 4,
        KV_EMPTY = KV_FULL + MGK_BARRIER_BYTES,
        Q_FULL = KV_EMPTY + MGK_BARRIER_BYTES,
        D_O_FULL = Q_FULL + STAGES * MGK_BARRIER_BYTES,
        EMPTY = D_O_FULL + STAGES * MGK_BARRIER_BYTES,
        BYTES = EMPTY + STAGES * MGK_BARRIER_BYTES + MGK_PANEL_ALIGN
    };
};

template <typename S> struct key_work : mgk_block_memory {
    const problem &p;
    const float *delta;
    float *lses, *deltas; /* of each stage's queries */
    int64_t tiles, query_tiles;

    __device__ __forceinline__ key_work(const problem &problem_, const float *delta_,
                                        unsigned char *memory)
        : mgk_block_memory(memory), p(problem_), delta(delta_)
    {
        lses = (float *)(void *)(bytes + S::LSE);
        deltas = (float *)(void *)(bytes + S::DELTA);
        tiles = mgk_tiles_of(p.a.sk, S::ROWS);
        query_tiles = mgk_tiles_of(p.a.sq, S::N);
    }

    __device__ __forceinline__ int64_t tasks() const
    {
        return tiles * p.kv_heads * p.a.batch;
    }

    __device__ __forceinline__ uint32_t queries(uint32_t stage) const
    {
        return begin + S::QUERIES + stage * S::QUERY_BYTES;
    }

    __device__ __forceinline__ uint32_t d_o(uint32_t stage) const
    {
        return begin + S::D_O + stage * S::QUERY_BYTES;
    }

    __device__ __forceinline__ void make_all_barriers() const
    {
        const uint32_t warps = S::GROUPS * MGK_WARPGROUP / MGK_WARP;
        make_barriers(S::KV_FULL, 1, 2); /* once for each of both tiles */
        make_barriers(S::KV_EMPTY, 1, warps);
        make_barriers(S::Q_FULL, S::STAGES, 1);
        make_barriers(S::D_O_FULL, S::STAGES, 1);
        make_barriers(S::EMPTY, S::STAGES, warps);
    }

    /* The first warp's. */
    __device__ __forceinline__ void copy_queries(const key_maps &maps, mgk_stage *s, int64_t head,
                                                 int64_t item) const
    {
        enum { EACH = S::N / MGK_WARP };
        const query_sums of(p, delta, item, head);
        const int lane = (int)threadIdx.x;
        for (int64_t i = 0; i < query_tiles; i++, mgk_stage_next(s, S::STAGES)) {
            float lse[EACH], sum[EACH];
#pragma unroll
            for (int e = 0; e < EACH; e++) {
                lse[e] = of.lse(i * S::N + e * MGK_WARP + lane);
                sum[e] = of.delta(i * S::N + e * MGK_WARP + lane);
            }
            mgk_barrier_wait(barrier(S::EMPTY, s->index), s->parity ^ 1);
#pragma unroll
            for (int e = 0; e < EACH; e++) {
                lses[s->index * S::N + e * MGK_WARP + lane] = lse[e];
                deltas[s->index * S::N + e * MGK_WARP + lane] = sum[e];
            }
            __syncwarp();
            if (lane == 0) {
                load_tile<S::D>(queries(s->index), &maps.q, barrier(S::Q_FULL, s->index), S::N,
                                head, i * S::N, item);
                load_tile<S::D>(d_o(s->index), &maps.d_o, barrier(S::D_O_FULL, s->index), S::N,
                                head, i * S::N, item);
            }
        }
    }

    __device__ __forceinline__ void copy(const key_maps &maps) const
    {
        mgk_stage s = {0, 0};
        uint32_t parity = 0; /* of k and v */
        for (int64_t task = blockIdx.x; task < tasks(); task += gridDim.x, parity ^= 1) {
            const mgk_tile_place t = mgk_tile_place_of(task, tiles, p.kv_heads);
            mgk_barrier_wait(barrier(S::KV_EMPTY), parity ^ 1);
            if (threadIdx.x == 0) {
                load_tile<S::D>(begin + S::K, &maps.k, barrier(S::KV_FULL), S::ROWS, t.head,
                                t.tile * S::ROWS, t.batch);
                load_tile<S::D>(begin + S::V, &maps.v, barrier(S::KV_FULL), S::ROWS, t.head,
                                t.tile * S::ROWS, t.batch);
            }
            for (int64_t h = t.head * p.group; h < (t.head + 1) * p.group; h++)
                copy_queries(maps, &s, h, t.batch);
        }
    }
};

template <typename S> struct key_group {
    const key_work<S> &w;
    const mgk_place_in_group me;
    const float scale; /* for powers of two */
    float dk[S::D / 2], dv[S::D / 2], s[S::N / 2], ds[S::N / 2];
    uint32_t weights[S::N / MGK_WGMMA_DEPTH][4], d_scores[S::N / MGK_WGMMA_DEPTH][4];
    bool counts[2]; /* of the thread's rows */

    __device__ __forceinline__ key_group(const key_work<S> &work)
        : w(work), scale(work.p.a.scale * LOG2_E)
    {
    }

    /* k . q to probabilities. */
    __device__ __forceinline__ void take_scores(uint32_t stage)
    {
        const float *lse = w.lses + stage * S::N + mgk_sum_column(me.thread, 0);
#pragma unroll
        for (int i = 0; i < S::N / 2; i += 4) {
            const float2 of = *(const float2 *)(const void *)(lse + i * 2);
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const float p = mgk_power_of_two(fmaf(s[i + e], scale, e % 2 ? -of.y : -of.x));
                s[i + e] = counts[e / 2] ? p : 0.0f;
            }
        }
    }

    /* v . d_o to gradients of the scores. */
    __device__ __forceinline__ void differentiate(uint32_t stage)
    {
        const float *delta = w.deltas + stage * S::N + mgk_sum_column(me.thread, 0);
#pragma unroll
        for (int i = 0; i < S::N / 2; i += 4) {
            const float2 of = *(const float2 *)(const void *)(delta + i * 2);
#pragma unroll
            for (int e = 0; e < 4; e++)
                ds[i + e] = s[i + e] * (ds[i + e] - (e % 2 ? of.y : of.x));
        }
    }

    __device__ __forceinline__ void pass(const mgk_stage &stage)
    {
        const uint32_t row = me.group * MGK_WGMMA_ROWS;
        mgk_barrier_wait(w.barrier(S::Q_FULL, stage.index), stage.parity);
        mgk_wgmma_hold(s);
        mgk_wgmma_fence();
        begin_dots<S::D, S::N>(s, w.begin + S::K, S::ROWS, row, w.queries(stage.index));
        mgk_wgmma_commit();
        mgk_barrier_wait(w.barrier(S::D_O_FULL, stage.index), stage.parity);
        mgk_wgmma_hold(ds);
        mgk_wgmma_fence();
        begin_dots<S::D, S::N>(ds, w.begin + S::V, S::ROWS, row, w.d_o(stage.index));
        mgk_wgmma_commit();
        mgk_wgmma_wait<1>();
        mgk_wgmma_hold(s);
        take_scores(stage.index);
        to_weights<S::N>(weights, s);
        mgk_wgmma_hold(dv);
        mgk_wgmma_hold(weights);
        mgk_wgmma_fence();
        begin_sums<S::D, S::N>(dv, weights, w.d_o(stage.index));
        mgk_wgmma_commit();
        mgk_wgmma_wait<1>();
        mgk_wgmma_hold(ds);
        differentiate(stage.index);
        to_weights<S::N>(d_scores, ds);
        mgk_wgmma_hold(dk);
        mgk_wgmma_hold(d_scores);
        mgk_wgmma_fence();
        begin_sums<S::D, S::N>(dk, d_scores, w.queries(stage.index));
        mgk_wgmma_commit();
        mgk_wgmma_wait<0>();
        mgk_wgmma_hold(dv);
        mgk_wgmma_hold(dk);
        me.arrive(w.barrier(S::EMPTY, stage.index));
    }

    __device__ __forceinline__ void finish(const mgk_tile_place &t, int64_t first)
    {
        const mgk_attention_args &a = w.p.a;
        const float one[2] = {1, 1}, scales[2] = {a.scale, a.scale};
        const int64_t column = t.head * a.head_dim;
        put_rows<S::D>((mgk_bf16 *)a.dk.p + t.batch * a.k_batch + first * a.k_row + column, a.k_row,
                       a.sk - first, (int)a.head_dim, dk, scales, me.lane);
        put_rows<S::D>((mgk_bf16 *)a.dv.p + t.batch * a.v_batch + first * a.v_row + column, a.v_row,
                       a.sk - first, (int)a.head_dim, dv, one, me.lane);
    }

    __device__ __forceinline__ void run()
    {
        const mgk_attention_args &a = w.p.a;
        mgk_stage stage = {0, 0};
        uint32_t parity = 0;
        for (int64_t task = blockIdx.x; task < w.tasks(); task += gridDim.x, parity ^= 1) {
            const mgk_tile_place t = mgk_tile_place_of(task, w.tiles, w.p.kv_heads);
            const int64_t first = t.tile * S::ROWS + me.row();
#pragma unroll
            for (int h = 0; h < 2; h++)
                counts[h] = first + 8 * h < a.sk &&
                            (!a.mask.p || MGK_B(a.mask)[t.batch * a.sk + first + 8 * h]);
#pragma unroll
            for (int i = 0; i < S::D / 2; i++)
                dk[i] = dv[i] = 0;
            mgk_barrier_wait(w.barrier(S::KV_FULL), parity);
            for (int64_t i = 0; i < w.p.group * w.query_tiles; i++) {
                pass(stage);
                mgk_stage_next(&stage, S::STAGES);
            }
            me.arrive(w.barrier(S::KV_EMPTY));
            finish(t, first);
        }
    }
};

template <typename S>
MGK_KERNEL __launch_bounds__(S::THREADS, 1)
    keys_kernel(const __grid_constant__ key_maps maps, const __grid_constant__ problem p,
                const float *delta)
{
#if MGK_HOPPER
    MGK_DYNAMIC_SHARED(unsigned char, memory);
    const key_work<S> w(p, delta, memory);
    mgk_copy_and_compute<S, key_group<S>>(w, maps);
#endif
}

/* ---- dq ---- */

struct query_maps {
    mgk_tensor_map q, k, v, d_o;
};

/* D columns (head_dim or more), N keys a tile that passes. */
template <int D_, int N_, int STAGES_> struct query_shape {
    typedef mgk_register_shares<2, 24, 240> registers;
    enum {
        D = D_,
        N = N_,
        STAGES = STAGES_,
        GROUPS = 2,
        ROWS = GROUPS * MGK_WGMMA_ROWS,
        KEPT = 2, /* tiles: q and d_o */
        THREADS = (GROUPS + 1) * MGK_WARPGROUP,
        WORDS = (N + 31) / 32, /* of bits for keys */
        Q = 0,                 /* where in shared memory */
        D_O = Q + ROWS * D * 2,
        KEY_BYTES = N * D * 2,
        KEYS = D_O + ROWS * D * 2,
        VALUES = KEYS + STAGES * KEY_BYTES,
        Q_FULL = VALUES + STAGES * KEY_BYTES,
        Q_EMPTY = Q_FULL + MGK_BARRIER_BYTES,
        K_FULL = Q_EMPTY + MGK_BARRIER_BYTES,
        K_EMPTY = K_FULL + STAGES * MGK_BARRIER_BYTES,
        V_FULL = K_EMPTY + STAGES * MGK_BARRIER_BYTES,
        V_EMPTY = V_FULL + STAGES * MGK_BARRIER_BYTES,
        BITS = V_EMPTY + STAGES * MGK_BARRIER_BYTES,
        BYTES = BITS + STAGES * WORDS * 4 + MGK_PANEL_ALIGN
    };
};

template <typename S> struct query_work : passing_keys<S> {
    const float *delta;

    __device__ __forceinline__ query_work(const problem &problem_, const float *delta_,
                                          unsigned char *memory)
        : passing_keys<S>(problem_, memory), delta(delta_)
    {
    }

    __device__ __forceinline__ void copy(const query_maps &maps) const
    {
        this->copy_all({&maps.q, &maps.d_o}, &maps.k, &maps.v);
    }
};

template <typename S> struct query_group {
    const query_work<S> &w;
    const mgk_place_in_group me;
    const float scale; /* for powers of two */
    float dq[S::D / 2], s[S::N / 2], ds[S::N / 2], lse[2], delta[2];
    uint32_t d_scores[S::N / MGK_WGMMA_DEPTH][4];

    __device__ __forceinline__ query_group(const query_work<S> &work)
        : w(work), scale(work.p.a.scale * LOG2_E)
    {
    }

    __device__ __forceinline__ void pass(const mgk_stage &stage, int64_t j)
    {
        const uint32_t row = me.group * MGK_WGMMA_ROWS;
        mgk_barrier_wait(w.barrier(S::K_FULL, stage.index), stage.parity);
        mgk_wgmma_hold(s);
        mgk_wgmma_fence();
        begin_dots<S::D, S::N>(s, w.begin + S::Q, S::ROWS, row, w.keys(stage.index));
        mgk_wgmma_commit();
        mgk_barrier_wait(w.barrier(S::V_FULL, stage.index), stage.parity);
        mgk_wgmma_hold(ds);
        mgk_wgmma_fence();
        begin_dots<S::D, S::N>(ds, w.begin + S::D_O, S::ROWS, row, w.values(stage.index));
        mgk_wgmma_commit();
        mgk_wgmma_wait<1>();
        mgk_wgmma_hold(s);
        if (w.p.a.mask.p || (j + 1) * S::N > w.p.a.sk)
            leave_out<S::N>(s, w.bits + stage.index * S::WORDS, me.thread);
#pragma unroll
        for (int i = 0; i < S::N / 2; i++)
            s[i] = mgk_power_of_two(fmaf(s[i], scale, -lse[i / 2 % 2]));
        mgk_wgmma_wait<0>();
        mgk_wgmma_hold(ds);
        me.arrive(w.barrier(S::V_EMPTY, stage.index));
#pragma unroll
        for (int i = 0; i < S::N / 2; i++)
            ds[i] = s[i] * (ds[i] - delta[i / 2 % 2]);
        to_weights<S::N>(d_scores, ds);
        mgk_wgmma_hold(dq);
        mgk_wgmma_hold(d_scores);
        mgk_wgmma_fence();
        begin_sums<S::D, S::N>(dq, d_scores, w.keys(stage.index));
        mgk_wgmma_commit();
        mgk_wgmma_wait<0>();
        mgk_wgmma_hold(dq);
        me.arrive(w.barrier(S::K_EMPTY, stage.index));
    }

    __device__ __forceinline__ void run()
    {
        const mgk_attention_args &a = w.p.a;
        mgk_stage stage = {0, 0};
        uint32_t parity = 0;
        for (int64_t task = blockIdx.x; task < w.tasks(); task += gridDim.x, parity ^= 1) {
            const mgk_tile_place t = mgk_tile_place_of(task, w.tiles, a.heads);
            const int64_t first = t.tile * S::ROWS + me.row();
            const query_sums of(w.p, w.delta, t.batch, t.head);
#pragma unroll
            for (int h = 0; h < 2; h++) {
                lse[h] = of.lse(first + 8 * h);
                delta[h] = of.delta(first + 8 * h);
            }
#pragma unroll
            for (int i = 0; i < S::D / 2; i++)
                dq[i] = 0;
            mgk_barrier_wait(w.barrier(S::Q_FULL), parity);
            for (int64_t j = 0; j < w.key_tiles; j++) {
                pass(stage, j);
                mgk_stage_next(&stage, S::STAGES);
            }
            me.arrive(w.barrier(S::Q_EMPTY));
            const float scales[2] = {a.scale, a.scale};
            put_rows<S::D>((mgk_bf16 *)a.dq.p + t.batch * a.q_batch + first * a.q_row +
                               t.head * a.head_dim,
                           a.q_row, a.sq - first, (int)a.head_dim, dq, scales, me.lane);
        }
    }
};

template <typename S>
MGK_KERNEL __launch_bounds__(S::THREADS, 1)
    queries_kernel(const __grid_constant__ query_maps maps, const __grid_constant__ problem p,
                   const float *delta)
{
#if MGK_HOPPER
    MGK_DYNAMIC_SHARED(unsigned char, memory);
    const query_work<S> w(p, delta, memory);
    mgk_copy_and_compute<S, query_group<S>>(w, maps);
#endif
}

/* ---- the host's part ---- */

/* d_o . o by (batch item, head, query), as delta_kernel does, but 8 values by a lane at a time: so many LANES together have
 * all of a head, and neighbours neighbouring heads. */
template <int LANES> MGK_KERNEL delta_by_eights_kernel(problem p, float *delta)
{
    const mgk_attention_args &a = p.a;
    const int64_t heads = a.batch * a.sq * a.heads;
    const int64_t step = (int64_t)gridDim.x * blockDim.x / LANES;
    const int at = (int)threadIdx.x % LANES * 8;
    int64_t r = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) / LANES;
    /* A warp goes on as long as its first lane has something to do. */
    for (; r - (int)threadIdx.x % MGK_WARP / LANES < heads; r += step) {
        const int64_t row = r / a.heads, h = r - row * a.heads, b = row / a.sq, i = row - b * a.sq;
        float sum = 0, of[8], d_of[8];
        if (r < heads && at < a.head_dim) {
            mgk_load_vector<8>(out_rows<mgk_bf16>(a, a.o, b, h, i, 1).p + at, of);
            mgk_load_vector<8>(out_rows<mgk_bf16>(a, a.d_o, b, h, i, 1).p + at, d_of);
#pragma unroll
            for (int e = 0; e < 8; e++)
                sum += of[e] * d_of[e];
        }
#pragma unroll
        for (int apart = LANES / 2; apart > 0; apart /= 2)
            sum += __shfl_xor_sync(0xffffffffu, sum, apart);
        if (r < heads && at == 0)
            delta[(b * a.heads + h) * a.sq + i] = sum;
    }
}

/* Strides and heads are multiples of 8 values: d_o is read by bulk copies. */
void start_delta(const problem &p, float *delta, mgk_exec *x)
{
    const int64_t heads = p.a.batch * p.a.sq * p.a.heads;
    if (!mgk_is_aligned(p.a.o))
        MGK_LAUNCH(x, delta_kernel<mgk_bf16>, mgk_grid(heads * MGK_WARP, MGK_BLOCK), MGK_BLOCK, 0,
                   p, delta);
    else if (p.a.head_dim <= 32)
        MGK_LAUNCH(x, delta_by_eights_kernel<4>, mgk_grid(heads * 4, MGK_BLOCK), MGK_BLOCK, 0, p,
                   delta);
    else if (p.a.head_dim <= 64)
        MGK_LAUNCH(x, delta_by_eights_kernel<8>, mgk_grid(heads * 8, MGK_BLOCK), MGK_BLOCK, 0, p,
                   delta);
    else
        MGK_LAUNCH(x, delta_by_eights_kernel<16>, mgk_grid(heads * 16, MGK_BLOCK), MGK_BLOCK, 0, p,
                   delta);
}

template <typename K, typename Q> bool start(const problem &p, float *delta, mgk_exec *x)
{
    key_maps of_keys;
    query_maps of_queries;
    if (!mgk_has_hopper_code(keys_kernel<K>) || !mgk_has_hopper_code(queries_kernel<Q>) ||
        !map_queries(&of_keys.q, p.a, p.a.q, false, K::N) ||
        !map_queries(&of_keys.d_o, p.a, p.a.d_o, true, K::N) || !map_keys(&of_keys.k, p, K::ROWS) ||
        !map_values(&of_keys.v, p, K::ROWS) ||
        !map_queries(&of_queries.q, p.a, p.a.q, false, Q::ROWS) ||
        !map_queries(&of_queries.d_o, p.a, p.a.d_o, true, Q::ROWS) ||
        !map_keys(&of_queries.k, p, Q::N) || !map_values(&of_queries.v, p, Q::N))
        return false;
    const int64_t blocks = mgk_multiprocessors();
    const int64_t of_sk = mgk_tiles_of(p.a.sk, K::ROWS) * p.kv_heads * p.a.batch;
    const int64_t of_sq = mgk_tiles_of(p.a.sq, Q::ROWS) * p.a.heads * p.a.batch;
    const int key_bytes = K::BYTES, query_bytes = Q::BYTES;
    start_delta(p, delta, x);
    MGK_ALLOW_SHARED(keys_kernel<K>, key_bytes);
    MGK_LAUNCH(x, keys_kernel<K>, (unsigned)(of_sk < blocks ? of_sk : blocks), K::THREADS,
               key_bytes, of_keys, p, delta);
    MGK_ALLOW_SHARED(queries_kernel<Q>, query_bytes);
    MGK_LAUNCH(x, queries_kernel<Q>, (unsigned)(of_sq < blocks ? of_sq : blocks), Q::THREADS,
               query_bytes, of_queries, p, delta);
    return true;
}

bool start_tiles(const problem &p, float *delta, mgk_exec *x)
{
    if (p.a.head_dim <= 64)
        return start<key_shape<64, 64, 4>, query_shape<64, 128, 3>>(p, delta, x);
    return start<key_shape<128, 64, 2>, query_shape<128, 80, 3>>(p, delta, x);
}

} // namespace

extern "C" void mgk_attention_grad_sm80(const void *args, mgk_exec *x);
extern "C" size_t mgk_attention_grad_sm80_workspace(const void *args, int threads);

MGK_WORKSPACE(attention_grad, sm90)
{
    return mgk_attention_grad_sm80_workspace(args, threads); /* delta is part of it */
}

MGK_LAUNCHER(attention_grad, sm90)
{
    const problem p = problem_of((const mgk_attention_args *)args);
    if (!sm90_takes(p) || !in_pairs(p.a.dq, p.a.q_row, p.a.q_batch) ||
        !in_pairs(p.a.dk, p.a.k_row, p.a.k_batch) || !in_pairs(p.a.dv, p.a.v_row, p.a.v_batch) ||
        !start_tiles(p, (float *)x->workspace, x))
        mgk_attention_grad_sm80(args, x);
}
