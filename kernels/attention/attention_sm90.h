/* SPDX-License-Identifier: MIT
 * What attention and its gradient by warpgroups (sm_90a) share.
 *
 * A block has one warpgroup that copies tiles to shared memory and two or three that compute, each with 64 rows of the
 * block's tile. The tiles that a block keeps are on the left of its products, those that pass by on the right;
 * weights stay in registers, in which the sums of one product are the left factor of the next. Barriers say which tiles
 * are there (full) and which may be overwritten (empty). */
#ifndef MGK_ATTENTION_SM90_H
#define MGK_ATTENTION_SM90_H

#include "kernels/attention/attention_cuda.h"
#include "kernels/common/cuda_hopper.h"

namespace
{

enum { COPYING_WARPS = MGK_WARPGROUP / MGK_WARP, BARRIER_BYTES = 8 };

/* Registers of the threads that copy and of those that compute: together at most 64 Ki. */
template <int GROUPS> struct register_shares;
template <> struct register_shares<2> {
    enum { COPYING = 24, COMPUTING = 240 };
};
template <> struct register_shares<3> {
    enum { COPYING = 32, COMPUTING = 160 };
};

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

/* A block's shared memory from the first multiple of 1024 on; what lies where is said in bytes from there. */
struct block_memory {
    unsigned char *bytes;
    uint32_t begin;

    __device__ __forceinline__ block_memory(unsigned char *memory)
    {
        const uint32_t address = mgk_shared_address(memory);
        begin = (address + MGK_PANEL_ALIGN - 1) / MGK_PANEL_ALIGN * MGK_PANEL_ALIGN;
        bytes = memory + (begin - address);
    }

    __device__ __forceinline__ uint32_t barrier(int where, uint32_t stage = 0) const
    {
        return begin + where + stage * BARRIER_BYTES;
    }

    /* By one thread, a row of barriers. */
    __device__ __forceinline__ void make_barriers(int where, int stages, uint32_t count) const
    {
        for (int i = 0; i < stages; i++)
            mgk_barrier_init(barrier(where, i), count);
    }
};

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

/* A thread of a warpgroup that computes. */
struct place_in_group {
    int group, thread, lane; /* of those that compute; in its warpgroup; in its warp */

    __device__ __forceinline__ place_in_group()
        : group((int)threadIdx.x / MGK_WARPGROUP - 1), thread((int)threadIdx.x % MGK_WARPGROUP),
          lane((int)threadIdx.x % MGK_WARP)
    {
    }

    /* Its first row of the block's tile; the other one is 8 further on. */
    __device__ __forceinline__ int row() const
    {
        return group * MGK_WGMMA_ROWS + mgk_sum_row(thread, 0);
    }

    /* One arrival for each warp, whose threads have read what they need. */
    __device__ __forceinline__ void arrive(uint32_t barrier) const
    {
        __syncwarp();
        if (lane == 0)
            mgk_barrier_arrive(barrier);
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
            weights[step][i] = mgk_pair(sums[8 * step + 2 * i], sums[8 * step + 2 * i + 1]);
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
                    mgk_pair(sums[i] * factor[half], sums[i + 1] * factor[half]);
        }
    }
}

} // namespace

#endif
