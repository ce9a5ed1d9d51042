/* SPDX-License-Identifier: MIT
 * Tiles of products by warpgroups (sm_90a), sums in f32: what lies where in shared memory, which warps wait for which
 * stage, and the multiplying of bf16. A kernel adds what is copied to a stage, and what becomes of the sums.
 *
 * Blocks stay, and take every so-manieth tile. Those of a cluster have tiles below each other: each copies its own rows,
 * and its part of their common columns to both. A stage is empty when the warpgroups of both blocks have read it. */
#ifndef MGK_COMMON_CUDA_PRODUCTS_H
#define MGK_COMMON_CUDA_PRODUCTS_H

#include "kernels/common/cuda_warpgroups.h"

/* PIECES of 64 rows for each of two warpgroups; N columns; TA, TB: A lies by columns, B by rows of a column. Values have
 * so many bytes, and lie along k if that is 1. */
template <int N_, int CLUSTER_, int STAGES_, bool TA_, bool TB_, int PIECES_ = 1, int VALUE_ = 2>
struct mgk_product_shape {
    static constexpr bool TA = TA_, TB = TB_, CODES = VALUE_ == 1;
    typedef mgk_register_shares<2, 40, 232> registers;
    enum {
        N = N_,
        CLUSTER = CLUSTER_,
        STAGES = STAGES_,
        PIECES = PIECES_,
        M = MGK_PRODUCT_ROWS * PIECES,
        K = MGK_PANEL_ROW / VALUE_, /* values a stage */
        GROUPS = registers::GROUPS,
        THREADS = (GROUPS + 1) * MGK_WARPGROUP,
        WARPS = GROUPS * MGK_WARPGROUP / MGK_WARP, /* that compute */
        SHARE = N / CLUSTER,                       /* columns of B that a block copies */
        A_ROWS = TA ? K : M,                       /* of a panel */
        B_ROWS = TB ? SHARE : K,
        A_BYTES = M * MGK_PANEL_ROW,
        B_BYTES = N * MGK_PANEL_ROW,
        A = 0, /* where in shared memory */
        B = A + STAGES * A_BYTES,
        SUMS = B + STAGES * B_BYTES,
        SUMS_BYTES = 16 * MGK_PANEL * 4, /* of a warp */
        FULL = SUMS + WARPS * SUMS_BYTES,
        EMPTY = FULL + STAGES * MGK_BARRIER_BYTES,
        BYTES = EMPTY + STAGES * MGK_BARRIER_BYTES + MGK_PANEL_ALIGN
    };
    static_assert(VALUE_ == 2 || (VALUE_ == 1 && !TA && TB), "codes lie along k");
};

/* A block with its shared memory. */
template <typename S> struct mgk_product_block : mgk_block_memory {
    uint32_t rank; /* in the cluster, whose blocks follow each other */

    __device__ __forceinline__ mgk_product_block(unsigned char *memory)
        : mgk_block_memory(memory), rank(blockIdx.x % S::CLUSTER)
    {
    }

    /* The first task of the block's cluster, and the next one's distance. */
    __device__ __forceinline__ int64_t first_task() const
    {
        return blockIdx.x / S::CLUSTER;
    }
    __device__ __forceinline__ int64_t task_step() const
    {
        return gridDim.x / S::CLUSTER;
    }

    __device__ __forceinline__ uint32_t a(uint32_t stage) const
    {
        return begin + S::A + stage * S::A_BYTES;
    }
    __device__ __forceinline__ uint32_t b(uint32_t stage) const
    {
        return begin + S::B + stage * S::B_BYTES;
    }

    __device__ __forceinline__ void make_all_barriers() const
    {
        make_barriers(S::FULL, S::STAGES, 1);
        make_barriers(S::EMPTY, S::STAGES, S::CLUSTER * S::WARPS);
    }

    /* By one thread: the block's share of columns of B from `column` on, k from `k` on, to the whole cluster. `other` and
     * `item` are the map's other places. */
    __device__ __forceinline__ void load_b(const mgk_tensor_map *map, uint32_t stage,
                                           int32_t column, int32_t k, int32_t other,
                                           int32_t item) const
    {
        const uint32_t full = barrier(S::FULL, stage);
        column += (int32_t)rank * S::SHARE;
        if (S::TB)
            load_to_all(map, b(stage) + rank * S::SHARE * MGK_PANEL_ROW, full, k, other, column,
                        item);
        else
#pragma unroll
            for (int panel = 0; panel < S::SHARE / MGK_PANEL; panel++)
                load_to_all(map,
                            b(stage) + (rank * S::SHARE / MGK_PANEL + panel) * S::K * MGK_PANEL_ROW,
                            full, column + panel * MGK_PANEL, other, k, item);
    }

    __device__ __forceinline__ void load_to_all(const mgk_tensor_map *map, uint32_t to,
                                                uint32_t full, int32_t column, int32_t other,
                                                int32_t row, int32_t item) const
    {
        if (S::CLUSTER > 1)
            mgk_tma_load_to((1u << S::CLUSTER) - 1, to, map, full, column, other, row, item);
        else
            mgk_tma_load(to, map, full, column, other, row, item);
    }
};

/* A thread of those that compute, with its sums. */
template <typename S> struct mgk_product_sums {
    const mgk_product_block<S> &block;
    mgk_place_in_group me;
    float sums[S::PIECES][S::N / 2];

    struct nothing {
        __device__ __forceinline__ void operator()(uint32_t) const
        {
        }
    };

    __device__ __forceinline__ mgk_product_sums(const mgk_product_block<S> &b) : block(b)
    {
    }

    /* The first of the 16 rows of the tile that the warp has in a piece. */
    __device__ __forceinline__ int first_row(int piece) const
    {
        return (me.group * S::PIECES + piece) * MGK_WGMMA_ROWS + me.thread / MGK_WARP * 16;
    }

    /* The warp is done with a stage: that counts in all blocks that copy to it. */
    __device__ __forceinline__ void give_back(uint32_t stage) const
    {
        __syncwarp();
        if (S::CLUSTER > 1) {
            if (me.lane < S::CLUSTER)
                mgk_barrier_arrive_at(block.barrier(S::EMPTY, stage), (uint32_t)me.lane);
        } else if (me.lane == 0) {
            mgk_barrier_arrive(block.barrier(S::EMPTY, stage));
        }
    }

    __device__ __forceinline__ void hold()
    {
#pragma unroll
        for (int piece = 0; piece < S::PIECES; piece++)
            mgk_wgmma_hold(sums[piece]);
    }

    __device__ __forceinline__ void multiply(uint32_t stage, bool add)
    {
        hold();
        mgk_wgmma_fence();
#pragma unroll
        for (int step = 0; step < S::K / MGK_WGMMA_DEPTH; step++)
#pragma unroll
            for (int piece = 0; piece < S::PIECES; piece++) {
                const int part = me.group * S::PIECES + piece;
                const uint64_t left =
                    S::TA ? mgk_factor_by_columns(block.a(stage) + part * S::K * MGK_PANEL_ROW,
                                                  S::K, step)
                          : mgk_factor_by_rows(block.a(stage), S::M, part * MGK_WGMMA_ROWS, step);
                const uint64_t right = S::TB ? mgk_factor_by_rows(block.b(stage), S::N, 0, step)
                                             : mgk_factor_by_columns(block.b(stage), S::K, step);
                mgk_wgmma<S::N, !S::TB, S::TA>::run(sums[piece], left, right, add || step > 0);
            }
        mgk_wgmma_commit();
    }

    __device__ __forceinline__ void walk(mgk_stage *stage, int64_t steps)
    {
        nothing more;
        walk(stage, steps, more);
    }

    /* So many stages: each is given back when the product behind it has begun. `more` reads what a stage has meanwhile. */
    template <typename More>
    __device__ __forceinline__ void walk(mgk_stage *stage, int64_t steps, More &more)
    {
        uint32_t last = 0;
        for (int64_t step = 0; step < steps; step++, mgk_stage_next(stage, S::STAGES)) {
            mgk_barrier_wait(block.barrier(S::FULL, stage->index), stage->parity);
            multiply(stage->index, step > 0);
            more(stage->index);
            if (step > 0) {
                mgk_wgmma_wait<1>();
                give_back(last);
            }
            last = stage->index;
        }
        mgk_wgmma_wait<0>();
        hold();
        give_back(last);
    }

    /* A warp's 16 rows of a panel of sums lie in shared memory as rows of 64, whose eighths are exchanged by the row:
     * neither those that write pairs of a row nor those that read a row meet in a bank. */
    __device__ __forceinline__ float *shared_sums(int row, int column) const
    {
        float *all = (float *)(void *)(block.bytes + S::SUMS +
                                       (me.group * 4 + me.thread / MGK_WARP) * S::SUMS_BYTES);
        return all + row * MGK_PANEL + ((column / 8 ^ row % 8) * 8 + column % 8);
    }

    __device__ __forceinline__ void share(int piece, int panel) const
    {
        __syncwarp();
#pragma unroll
        for (int p = 0; p < S::PIECES; p++)
#pragma unroll
            for (int i = 0; i < S::N / 2; i += 2)
                if (p == piece && i / 32 == panel) {
                    float *to = shared_sums(mgk_sum_row(me.lane, i),
                                            mgk_sum_column(0, i) % MGK_PANEL + me.lane % 4 * 2);
                    *(float2 *)(void *)to = make_float2(sums[p][i], sums[p][i + 1]);
                }
        __syncwarp();
    }
};

/* Blocks for so many tasks of clusters. */
template <typename S> static inline unsigned mgk_product_grid(int64_t tasks)
{
    const int64_t multiprocessors = mgk_multiprocessors();
    const int64_t clusters = multiprocessors < S::CLUSTER ? 1 : multiprocessors / S::CLUSTER;
    return (unsigned)((tasks < clusters ? tasks : clusters) * S::CLUSTER);
}

#endif
