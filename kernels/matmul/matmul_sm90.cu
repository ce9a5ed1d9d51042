/* SPDX-License-Identifier: MIT
 * matmul by warpgroups (sm_90a): bf16, sums in f32. Blocks stay, and take every so-manieth tile of C.
 *
 * One warp copies 64 values of k at a time of a tile's rows of A and columns of B, zeros where there are none; two
 * warpgroups multiply 64 rows each. Blocks of a cluster have tiles below each other: each copies its own A, and its part
 * of their common B to both. A stage is empty when the warpgroups of both blocks have read it. While a tile is written,
 * the next one's stages are filled.
 *
 * Sums go through shared memory, 16 x 64 of a warp at a time, so that its threads read and write whole rows. */
#include "kernels/common/cuda_warpgroups.h"
#include "kernels/matmul/matmul_cuda.h"
#include "kernels/matmul/matmul_sm90.h"

namespace
{

struct product_maps {
    mgk_tensor_map a, b;
};

/* N columns; TA, TB: as A and B are stored. */
template <int N_, int CLUSTER_, int STAGES_, bool TA_, bool TB_> struct product_shape {
    static constexpr bool TA = TA_, TB = TB_;
    typedef mgk_register_shares<2, 40, 232> registers;
    enum {
        N = N_,
        CLUSTER = CLUSTER_,
        STAGES = STAGES_,
        M = MGK_PRODUCT_ROWS,
        K = MGK_PRODUCT_DEPTH,
        GROUPS = M / MGK_WGMMA_ROWS,
        THREADS = (GROUPS + 1) * MGK_WARPGROUP,
        WARPS = GROUPS * MGK_WARPGROUP / MGK_WARP, /* that compute */
        SHARE = N / CLUSTER,                       /* columns of B that a block copies */
        A_ROWS = TA ? K : M,                       /* of a panel */
        B_ROWS = TB ? SHARE : K,
        A_BYTES = M * K * 2,
        B_BYTES = N * K * 2,
        A = 0, /* where in shared memory */
        B = A + STAGES * A_BYTES,
        SUMS = B + STAGES * B_BYTES,
        SUMS_BYTES = 16 * MGK_PANEL * 4, /* of a warp */
        FULL = SUMS + WARPS * SUMS_BYTES,
        EMPTY = FULL + STAGES * MGK_BARRIER_BYTES,
        BYTES = EMPTY + STAGES * MGK_BARRIER_BYTES + MGK_PANEL_ALIGN
    };
};

struct product {
    mgk_matmul_args g;
    mgk_product_tiles tiles;
    int64_t steps; /* of k */
    bool eights;   /* what is laid out like C can be read and written eight values at a time */
};

/* Where a block's tile begins. */
struct tile_begin {
    int64_t item, i, j;
};

template <typename S> struct product_work : mgk_block_memory {
    const product &p;
    uint32_t rank;

    __device__ __forceinline__ product_work(const product &problem, unsigned char *memory)
        : mgk_block_memory(memory), p(problem), rank(S::CLUSTER > 1 ? mgk_cluster_rank() : 0)
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

    __device__ __forceinline__ tile_begin begin_of(int64_t task) const
    {
        const int64_t tiles = p.tiles.m * p.tiles.n;
        const mgk_matrix_place at = mgk_matrix_place_of(task % tiles, p.tiles.m, p.tiles.n);
        return {task / tiles, (at.i * S::CLUSTER + rank) * S::M, at.j * S::N};
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

    /* By one thread. */
    __device__ __forceinline__ void load(const product_maps &maps, const tile_begin &t, int64_t k,
                                         uint32_t stage) const
    {
        const uint32_t full = barrier(S::FULL, stage);
        const int32_t item_a = p.g.stride_a ? (int32_t)t.item : 0;
        const int32_t item_b = p.g.stride_b ? (int32_t)t.item : 0;
        const int32_t column = (int32_t)t.j + (int32_t)rank * S::SHARE;
        mgk_barrier_expect(full, S::A_BYTES + S::B_BYTES);
        if (S::TA)
#pragma unroll
            for (int panel = 0; panel < S::M / MGK_PANEL; panel++)
                mgk_tma_load(a(stage) + panel * S::K * MGK_PANEL_ROW, &maps.a, full,
                             (int32_t)t.i + panel * MGK_PANEL, 0, (int32_t)k, item_a);
        else
            mgk_tma_load(a(stage), &maps.a, full, (int32_t)k, 0, (int32_t)t.i, item_a);
        if (S::TB)
            load_b(maps, b(stage) + rank * S::SHARE * MGK_PANEL_ROW, full, (int32_t)k, column,
                   item_b);
        else
#pragma unroll
            for (int panel = 0; panel < S::SHARE / MGK_PANEL; panel++)
                load_b(maps,
                       b(stage) + (rank * S::SHARE / MGK_PANEL + panel) * S::K * MGK_PANEL_ROW,
                       full, column + panel * MGK_PANEL, (int32_t)k, item_b);
    }

    /* Of the block's share, to the whole cluster. */
    __device__ __forceinline__ void load_b(const product_maps &maps, uint32_t to, uint32_t full,
                                           int32_t column, int32_t row, int32_t item) const
    {
        if (S::CLUSTER > 1)
            mgk_tma_load_to((1u << S::CLUSTER) - 1, to, &maps.b, full, column, 0, row, item);
        else
            mgk_tma_load(to, &maps.b, full, column, 0, row, item);
    }

    __device__ __forceinline__ void copy(const product_maps &maps) const
    {
        mgk_stage s = {0, 0};
        for (int64_t task = first_task(); task < p.tiles.tasks; task += task_step()) {
            const tile_begin t = begin_of(task);
            for (int64_t step = 0; step < p.steps; step++, mgk_stage_next(&s, S::STAGES)) {
                mgk_barrier_wait(barrier(S::EMPTY, s.index), s.parity ^ 1);
                if (threadIdx.x == 0)
                    load(maps, t, step * S::K, s.index);
            }
        }
    }
};

template <typename S> struct product_group {
    const product_work<S> &w;
    const mgk_place_in_group me;
    float sums[S::N / 2];

    __device__ __forceinline__ product_group(const product_work<S> &work) : w(work)
    {
    }

    /* The warp is done with a stage: that counts in all blocks that copy to it. */
    __device__ __forceinline__ void give_back(uint32_t stage) const
    {
        __syncwarp();
        if (S::CLUSTER > 1) {
            if (me.lane < S::CLUSTER)
                mgk_barrier_arrive_at(w.barrier(S::EMPTY, stage), (uint32_t)me.lane);
        } else if (me.lane == 0) {
            mgk_barrier_arrive(w.barrier(S::EMPTY, stage));
        }
    }

    __device__ __forceinline__ void multiply(uint32_t stage, bool add)
    {
        mgk_wgmma_hold(sums);
        mgk_wgmma_fence();
#pragma unroll
        for (int step = 0; step < S::K / MGK_WGMMA_DEPTH; step++) {
            const uint64_t left =
                S::TA ? mgk_factor_by_columns(w.a(stage) + me.group * S::K * MGK_PANEL_ROW, S::K,
                                              step)
                      : mgk_factor_by_rows(w.a(stage), S::M, me.group * MGK_WGMMA_ROWS, step);
            const uint64_t right = S::TB ? mgk_factor_by_rows(w.b(stage), S::N, 0, step)
                                         : mgk_factor_by_columns(w.b(stage), S::K, step);
            mgk_wgmma<S::N, !S::TB, S::TA>::run(sums, left, right, add || step > 0);
        }
        mgk_wgmma_commit();
    }

    /* All of k: a stage is given back when the product behind it has begun. */
    __device__ __forceinline__ void walk(mgk_stage *stage)
    {
        uint32_t last = 0;
        for (int64_t step = 0; step < w.p.steps; step++, mgk_stage_next(stage, S::STAGES)) {
            mgk_barrier_wait(w.barrier(S::FULL, stage->index), stage->parity);
            multiply(stage->index, step > 0);
            if (step > 0) {
                mgk_wgmma_wait<1>();
                give_back(last);
            }
            last = stage->index;
        }
        mgk_wgmma_wait<0>();
        mgk_wgmma_hold(sums);
        give_back(last);
    }

    /* A warp's 16 rows of a panel of sums lie in shared memory as rows of 64, whose eighths are exchanged by the row:
     * neither those that write pairs of a row nor those that read a row meet in a bank. */
    __device__ __forceinline__ float *shared_sums(int row, int column) const
    {
        float *all = (float *)(void *)(w.bytes + S::SUMS +
                                       (me.group * 4 + me.thread / MGK_WARP) * S::SUMS_BYTES);
        return all + row * MGK_PANEL + ((column / 8 ^ row % 8) * 8 + column % 8);
    }

    __device__ __forceinline__ void share(int panel) const
    {
#pragma unroll
        for (int i = 0; i < S::N / 2; i += 2)
            if (i / 32 == panel) {
                float *to = shared_sums(mgk_sum_row(me.lane, i),
                                        mgk_sum_column(0, i) % MGK_PANEL + me.lane % 4 * 2);
                *(float2 *)(void *)to = make_float2(sums[i], sums[i + 1]);
            }
    }

    /* Four rows of a panel, 8 columns of each by this thread: bf16 that is added is read before all else. */
    __device__ __forceinline__ void put_eights(const mgk_matmul_args &g, int64_t item, int64_t i,
                                               int64_t j, int row, int column) const
    {
        const mgk_buf more = added_to(g);
        const int64_t at = item * g.stride_c + i * g.ldc + j;
        const bool early = more.p && more.dtype == MGK_BF16;
        mgk_vector<mgk_bf16, 8> added[4];
#pragma unroll
        for (int r = 0; r < 4; r++)
            if (early && i + 4 * r < g.m)
                added[r] = *(const mgk_vector<mgk_bf16, 8> *)(const void *)((mgk_bf16 *)more.p +
                                                                            at + 4 * r * g.ldc);
#pragma unroll 1
        for (int half = 0; half < 8; half++) {
            float v[4], *from = shared_sums(row + half / 2 * 4, column) + half % 2 * 4;
            mgk_load_vector<4>(from, v);
            activate_all<4>(g, v, j + half % 2 * 4);
            mgk_store_vector<4>(from, v);
        }
#pragma unroll
        for (int r = 0; r < 4; r++) {
            float v[8], other[8];
            if (i + 4 * r >= g.m)
                break;
            mgk_load_vector<8>(shared_sums(row + 4 * r, column), v);
            if (early)
                mgk_load_vector<8>(added[r].v, other);
            else if (more.p)
                read<8>(more, at + 4 * r * g.ldc, other);
            put<8>(g, v, other, i + 4 * r, j, at + 4 * r * g.ldc);
        }
    }

    __device__ __forceinline__ void put_ones(const mgk_matmul_args &g, int64_t item, int64_t i,
                                             int64_t j, int row, int column) const
    {
#pragma unroll 1
        for (int e = 0; e < 32; e++) {
            const int below = e / 8 * 4;
            float v = *shared_sums(row + below, column + e % 8);
            if (i + below < g.m && j + e % 8 < g.n)
                finish<1>(g, &v, item, i + below, j + e % 8);
        }
    }

    __device__ __forceinline__ void finish_tile(const tile_begin &t) const
    {
        const mgk_matmul_args &g = w.p.g;
        const int row = me.lane / 8, column = me.lane % 8 * 8;
        const int64_t i = t.i + me.group * MGK_WGMMA_ROWS + me.thread / MGK_WARP * 16 + row;
#pragma unroll 1
        for (int panel = 0; panel < S::N / MGK_PANEL; panel++) {
            const int64_t j = t.j + panel * MGK_PANEL + column;
            __syncwarp();
            share(panel);
            __syncwarp();
            if (w.p.eights && j + 8 <= g.n)
                put_eights(g, t.item, i, j, row, column);
            else
                put_ones(g, t.item, i, j, row, column);
        }
    }

    __device__ __forceinline__ void run()
    {
        mgk_stage stage = {0, 0};
        for (int64_t task = w.first_task(); task < w.p.tiles.tasks; task += w.task_step()) {
            walk(&stage);
            finish_tile(w.begin_of(task));
        }
    }
};

template <typename S>
MGK_KERNEL __launch_bounds__(S::THREADS, 1)
    product_kernel(const __grid_constant__ product_maps maps, const __grid_constant__ product p)
{
#if MGK_HOPPER
    MGK_DYNAMIC_SHARED(unsigned char, memory);
    const product_work<S> w(p, memory);
    mgk_copy_and_compute<S, product_group<S>, S::CLUSTER>(w, maps);
#endif
}

/* ---- the host's part ---- */

/* The matrix in boxes of a panel. `rows` and `columns` as it is stored. */
bool map_matrix(mgk_tensor_map *map, mgk_buf b, int64_t batch, int64_t stride, int64_t rows,
                int64_t columns, int64_t ld, uint32_t box)
{
    mgk_tensor_layout t;
    return mgk_matrix_layout(&t, stride ? batch : 1, rows, columns, ld, stride, box) &&
           mgk_make_tensor_map(map, b.p, &t);
}

template <typename S> bool start(const product &p, int64_t multiprocessors, mgk_exec *x)
{
    const mgk_matmul_args &g = p.g;
    product_maps maps;
    if (!mgk_has_hopper_code(product_kernel<S>) ||
        !map_matrix(&maps.a, g.a, g.batch, g.stride_a, S::TA ? g.k : g.m, S::TA ? g.m : g.k, g.lda,
                    S::A_ROWS) ||
        !map_matrix(&maps.b, g.b, g.batch, g.stride_b, S::TB ? g.n : g.k, S::TB ? g.k : g.n, g.ldb,
                    S::B_ROWS))
        return false;
    const int64_t clusters = multiprocessors < S::CLUSTER ? 1 : multiprocessors / S::CLUSTER;
    const int64_t used = p.tiles.tasks < clusters ? p.tiles.tasks : clusters;
    const int bytes = S::BYTES;
    MGK_ALLOW_SHARED(product_kernel<S>, bytes);
    MGK_LAUNCH_CLUSTERS(x, product_kernel<S>, (unsigned)(used * S::CLUSTER), S::CLUSTER, S::THREADS,
                        bytes, maps, p);
    return true;
}

template <bool TA, bool TB> bool start_tiles(const product &p, int64_t multiprocessors, mgk_exec *x)
{
    return p.tiles.cluster == 2 ? start<product_shape<256, 2, 4, TA, TB>>(p, multiprocessors, x)
                                : start<product_shape<128, 1, 6, TA, TB>>(p, multiprocessors, x);
}

} // namespace

extern "C" void mgk_matmul_sm80(const void *args, mgk_exec *x);
extern "C" size_t mgk_matmul_sm80_workspace(const void *args, int threads);

/* false: another variant must do it. */
extern "C" bool mgk_matmul_by_warpgroups(const mgk_matmul_args *g, mgk_exec *x)
{
    const int64_t most = (int64_t)1 << 30;
    if (g->a.dtype != MGK_BF16 || g->m < 1 || g->n < 1 || g->k < 1 || g->batch < 1 || g->m > most ||
        g->n > most || g->k > most)
        return false;
    const int64_t multiprocessors = mgk_multiprocessors();
    product p;
    memset(&p, 0, sizeof p);
    p.g = *g;
    p.tiles = mgk_product_choose(g->m, g->n, g->batch, multiprocessors);
    if (mgk_product_is_small(g, &p.tiles, multiprocessors))
        return false;
    p.steps = mgk_tiles_of(g->k, MGK_PRODUCT_DEPTH);
    p.eights = g->ldc % 8 == 0 && g->stride_c % 8 == 0 && mgk_is_aligned(g->c) &&
               mgk_is_aligned(g->residual) && mgk_is_aligned(g->before);
    return g->trans_a   ? g->trans_b ? start_tiles<true, true>(p, multiprocessors, x)
                                     : start_tiles<true, false>(p, multiprocessors, x)
             : g->trans_b ? start_tiles<false, true>(p, multiprocessors, x)
                        : start_tiles<false, false>(p, multiprocessors, x);
}

MGK_LAUNCHER(matmul, sm90)
{
    const mgk_matmul_args *g = (const mgk_matmul_args *)args;
    if (!mgk_matmul_by_warpgroups(g, x))
        mgk_matmul_sm80(args, x);
}

MGK_WORKSPACE(matmul, sm90)
{
    return mgk_matmul_sm80_workspace(args, threads);
}
