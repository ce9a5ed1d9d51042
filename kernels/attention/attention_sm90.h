/* SPDX-License-Identifier: MIT
 * What attention and its gradient by warpgroups (sm_90a) share.
 *
 * The tiles that a block keeps are on the left of its products, those that pass by on the right; weights stay in
 * registers, in which the sums of one product are the left factor of the next. */
#ifndef MGK_ATTENTION_SM90_H
#define MGK_ATTENTION_SM90_H

#include "kernels/attention/attention_cuda.h"
#include "kernels/common/cuda_warpgroups.h"

namespace
{

/* Arguments that these kernels take. Few queries and keys are left to "sm80". */
inline bool sm90_takes(const problem &p)
{
    const mgk_attention_args &a = p.a;
    const int64_t most = (int64_t)1 << 31;
    return a.q.dtype == MGK_BF16 && !a.bias.p && !a.d_bias.p && !a.block_start.p &&
           a.head_dim % 8 == 0 && a.head_dim <= 2 * MGK_PANEL && a.scale > 0 && a.batch > 0 &&
           a.heads > 0 && a.sq > 0 && a.sk > 0 && (a.sq > 64 || a.sk > 128) && a.sq < most &&
           a.sk < most && a.batch * a.heads < most / (a.sq / 64 + a.sk / 64 + 2);
}

/* Pairs of neighbours of a row can be stored at once. */
inline bool in_pairs(mgk_buf b, int64_t row, int64_t batch)
{
    return (uintptr_t)b.p % 4 == 0 && row % 2 == 0 && batch % 2 == 0;
}

/* Boxes of `rows` tokens of queries (the strides of o if `out`), of keys or of values. */
inline bool map_queries(mgk_tensor_map *map, const mgk_attention_args &a, mgk_buf b, bool out,
                        uint32_t rows)
{
    mgk_tensor_layout t;
    return mgk_heads_layout(&t, a.batch, a.sq, a.heads, a.head_dim, out ? a.o_row : a.q_row,
                            out ? a.o_batch : a.q_batch, rows) &&
           mgk_make_tensor_map(map, b.p, &t);
}

inline bool map_keys(mgk_tensor_map *map, const problem &p, uint32_t rows)
{
    mgk_tensor_layout t;
    return mgk_heads_layout(&t, p.a.batch, p.a.sk, p.kv_heads, p.a.head_dim, p.a.k_row, p.a.k_batch,
                            rows) &&
           mgk_make_tensor_map(map, p.a.k.p, &t);
}

inline bool map_values(mgk_tensor_map *map, const problem &p, uint32_t rows)
{
    mgk_tensor_layout t;
    return mgk_heads_layout(&t, p.a.batch, p.a.sk, p.kv_heads, p.a.head_dim, p.a.v_row, p.a.v_batch,
                            rows) &&
           mgk_make_tensor_map(map, p.a.v.p, &t);
}

/* ---- on the device ---- */

/* By a warp: a bit for each of 32 WORDS keys from `first` on: it counts. */
template <int WORDS>
MGK_DEVICE void see_keys(uint32_t (&words)[WORDS], const mgk_attention_args &a, int64_t item,
                         int64_t first)
{
#pragma unroll
    for (int w = 0; w < WORDS; w++) {
        const int64_t key = first + 32 * w + (int)threadIdx.x % MGK_WARP;
        words[w] = __ballot_sync(0xffffffffu,
                                 key < a.sk && (!a.mask.p || MGK_B(a.mask)[item * a.sk + key]));
    }
}

/* Scores of keys that do not count become -infinity; `bits` are those of the tile's keys. */
template <int N> MGK_DEVICE void leave_out(float (&scores)[N / 2], const uint32_t *bits, int thread)
{
    enum { WORDS = (N + 31) / 32 };
    uint32_t words[WORDS];
#pragma unroll
    for (int i = 0; i < WORDS; i++)
        words[i] = bits[i] >> mgk_sum_column(thread, 0);
#pragma unroll
    for (int i = 0; i < N / 2; i++)
        if (!(words[i / 16] >> (i / 4 % 4 * 8 + i % 2) & 1))
            scores[i] = -INFINITY;
}

/* By one thread: `rows` rows of D columns of a head. */
template <int D>
MGK_DEVICE void load_tile(uint32_t to, const mgk_tensor_map *map, uint32_t barrier, uint32_t rows,
                          int64_t head, int64_t token, int64_t item)
{
    mgk_barrier_expect(barrier, mgk_tile_bytes(rows, D));
#pragma unroll
    for (int panel = 0; panel < D / MGK_PANEL; panel++)
        mgk_tma_load(to + panel * rows * MGK_PANEL_ROW, map, barrier, panel * MGK_PANEL,
                     (int32_t)head, (int32_t)token, (int32_t)item);
}

/* The work of a block that keeps a tile of queries, and what belongs to them, while all keys and values pass. */
template <typename S> struct passing_keys : mgk_block_memory {
    const problem &p;
    uint32_t *bits; /* for each stage's keys: they count */
    int64_t tiles, key_tiles;

    __device__ __forceinline__ passing_keys(const problem &problem_, unsigned char *memory)
        : mgk_block_memory(memory), p(problem_)
    {
        bits = (uint32_t *)(void *)(bytes + S::BITS);
        tiles = mgk_tiles_of(p.a.sq, S::ROWS);
        key_tiles = mgk_tiles_of(p.a.sk, S::N);
    }

    __device__ __forceinline__ int64_t tasks() const
    {
        return tiles * p.a.heads * p.a.batch;
    }

    __device__ __forceinline__ uint32_t keys(uint32_t stage) const
    {
        return begin + S::KEYS + stage * S::KEY_BYTES;
    }

    __device__ __forceinline__ uint32_t values(uint32_t stage) const
    {
        return begin + S::VALUES + stage * S::KEY_BYTES;
    }

    __device__ __forceinline__ void make_all_barriers() const
    {
        const uint32_t warps = S::GROUPS * MGK_WARPGROUP / MGK_WARP;
        make_barriers(S::Q_FULL, 1, S::KEPT);
        make_barriers(S::Q_EMPTY, 1, warps);
        make_barriers(S::K_FULL, S::STAGES, 1);
        make_barriers(S::K_EMPTY, S::STAGES, warps);
        make_barriers(S::V_FULL, S::STAGES, 1);
        make_barriers(S::V_EMPTY, S::STAGES, warps);
    }

    /* By the first warp: all its threads see which keys count, one starts the copies. `kept`: S::KEPT maps of tiles
     * that lie one after the other. */
    __device__ __forceinline__ void copy_all(const mgk_tensor_map *const (&kept)[S::KEPT],
                                             const mgk_tensor_map *k, const mgk_tensor_map *v) const
    {
        mgk_stage s = {0, 0};
        uint32_t parity = 0; /* of what is kept */
        for (int64_t task = blockIdx.x; task < tasks(); task += gridDim.x, parity ^= 1) {
            const mgk_tile_place t = mgk_tile_place_of(task, tiles, p.a.heads);
            mgk_barrier_wait(barrier(S::Q_EMPTY), parity ^ 1);
            if (threadIdx.x == 0)
#pragma unroll
                for (int i = 0; i < S::KEPT; i++)
                    load_tile<S::D>(begin + S::Q + i * S::ROWS * S::D * 2, kept[i],
                                    barrier(S::Q_FULL), S::ROWS, t.head, t.tile * S::ROWS, t.batch);
            copy_keys(k, v, &s, t.head / p.group, t.batch);
        }
    }

    __device__ __forceinline__ void copy_keys(const mgk_tensor_map *k, const mgk_tensor_map *v,
                                              mgk_stage *s, int64_t kv, int64_t item) const
    {
        for (int64_t j = 0; j < key_tiles; j++, mgk_stage_next(s, S::STAGES)) {
            uint32_t words[S::WORDS];
            see_keys(words, p.a, item, j * S::N);
            mgk_barrier_wait(barrier(S::K_EMPTY, s->index), s->parity ^ 1);
            if (threadIdx.x == 0) {
#pragma unroll
                for (int w = 0; w < S::WORDS; w++)
                    bits[s->index * S::WORDS + w] = words[w];
                load_tile<S::D>(keys(s->index), k, barrier(S::K_FULL, s->index), S::N, kv, j * S::N,
                                item);
            }
            mgk_barrier_wait(barrier(S::V_EMPTY, s->index), s->parity ^ 1);
            if (threadIdx.x == 0)
                load_tile<S::D>(values(s->index), v, barrier(S::V_FULL, s->index), S::N, kv,
                                j * S::N, item);
        }
    }
};

/* sums (64 x N) = rows of `left` from `row` on . rows of `right`, both of D columns. */
template <int D, int N>
MGK_DEVICE void begin_dots(float (&sums)[N / 2], uint32_t left, uint32_t left_rows, uint32_t row,
                           uint32_t right)
{
#pragma unroll
    for (int step = 0; step < D / MGK_WGMMA_DEPTH; step++)
        mgk_wgmma<N, false>::run(sums, mgk_factor_by_rows(left, left_rows, row, step),
                                 mgk_factor_by_rows(right, N, 0, step), step > 0);
}

/* sums (64 x D) += weights (64 x N) . rows of `right`. */
template <int D, int N>
MGK_DEVICE void begin_sums(float (&sums)[D / 2], const uint32_t (&weights)[N / MGK_WGMMA_DEPTH][4],
                           uint32_t right)
{
#pragma unroll
    for (int step = 0; step < N / MGK_WGMMA_DEPTH; step++)
        mgk_wgmma<D, true>::run(sums, weights[step], mgk_factor_by_columns(right, N, step), true);
}

/* Sums of a product as the left factor of another. */
template <int N>
MGK_DEVICE void to_weights(uint32_t (&weights)[N / MGK_WGMMA_DEPTH][4], const float (&sums)[N / 2])
{
#pragma unroll
    for (int step = 0; step < N / MGK_WGMMA_DEPTH; step++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            weights[step][i] = mgk_two_bf16(sums[8 * step + 2 * i], sums[8 * step + 2 * i + 1]);
}

/* Two rows of a thread, times their factors; those that are not there are left out. */
template <int D>
MGK_DEVICE void put_rows(mgk_bf16 *to, int64_t row_stride, int64_t rows_left, int head_dim,
                         const float (&sums)[D / 2], const float (&factor)[2], int lane)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        if (8 * half >= rows_left)
            continue;
        mgk_bf16 *row = to + 8 * half * row_stride;
#pragma unroll
        for (int i = 2 * half; i < D / 2; i += 4) {
            int column = mgk_sum_column(lane, i);
            if (column < head_dim)
                *(uint32_t *)(void *)(row + column) =
                    mgk_two_bf16(sums[i] * factor[half], sums[i + 1] * factor[half]);
        }
    }
}

} // namespace

#endif
