/* SPDX-License-Identifier: MIT
 * Matrix products by warpgroups (sm_90a), of bf16 (matmul_sm90.cu) or of 8-bit codes (kernels/fp8/matmul_fp8_sm90.cu):
 * what is copied, and what becomes of the sums. Inside these two only. Blocks stay, and take every so-manieth tile of C.
 *
 * One warp copies 128 bytes of k at a time of a tile's rows of A and columns of B, zeros where there are none; two
 * warpgroups multiply 64 rows each (cuda_products.h). While a tile is written, the next one's stages are filled.
 *
 * Sums go through shared memory, 16 x 64 of a warp at a time, so that its threads read and write whole rows. */
#ifndef MGK_MATMUL_WARPGROUPS_H
#define MGK_MATMUL_WARPGROUPS_H

#include "kernels/common/cuda_products.h"
#include "kernels/matmul/matmul_cuda.h"
#include "kernels/matmul/matmul_sm90.h"

namespace
{

struct product_maps {
    mgk_tensor_map a, b;
};

struct product {
    mgk_matmul_args g;
    mgk_product_tiles tiles;
    int64_t steps; /* of k */
    bool eights;   /* what is laid out like C can be read and written eight values at a time */
    const float *a_scale, *b_scale; /* of codes: of each row of A and of B */
};

/* Where a block's tile begins. */
struct tile_begin {
    int64_t item, i, j;
};

template <typename S> struct product_work : mgk_product_block<S> {
    const product &p;

    __device__ __forceinline__ product_work(const product &problem, unsigned char *memory)
        : mgk_product_block<S>(memory), p(problem)
    {
    }

    __device__ __forceinline__ tile_begin begin_of(int64_t task) const
    {
        const int64_t tiles = p.tiles.m * p.tiles.n;
        const mgk_matrix_place at = mgk_matrix_place_of(task % tiles, p.tiles.m, p.tiles.n);
        return {task / tiles, (at.i * S::CLUSTER + this->rank) * S::M, at.j * S::N};
    }

    /* By one thread. */
    __device__ __forceinline__ void load(const product_maps &maps, const tile_begin &t, int64_t k,
                                         uint32_t stage) const
    {
        const uint32_t full = this->barrier(S::FULL, stage), to = this->a(stage);
        const int32_t item_a = p.g.stride_a ? (int32_t)t.item : 0;
        const int32_t item_b = p.g.stride_b ? (int32_t)t.item : 0;
        mgk_barrier_expect(full, S::A_BYTES + S::B_BYTES);
        if (S::TA)
#pragma unroll
            for (int panel = 0; panel < S::M / MGK_PANEL; panel++)
                mgk_tma_load(to + panel * S::K * MGK_PANEL_ROW, &maps.a, full,
                             (int32_t)t.i + panel * MGK_PANEL, 0, (int32_t)k, item_a);
        else
            mgk_tma_load(to, &maps.a, full, (int32_t)k, 0, (int32_t)t.i, item_a);
        this->load_b(&maps.b, stage, (int32_t)t.j, (int32_t)k, 0, item_b);
    }

    /* By all threads of the warp. (Not of codes: their kernel's have too few registers.) */
    __device__ __forceinline__ void fetch_added(const tile_begin &t, int steps_left) const
    {
        const mgk_buf more = added_to(p.g);
        /* logarithms: bytes of a value, lines of a row */
        const int size = more.dtype == MGK_BF16 ? 1 : 2;
        const int across = (S::N == 256 ? 1 : 0) + size;
        const int line = mgk_added_line(steps_left, S::M << across, (int)threadIdx.x);
        if (!more.p || line < 0)
            return;
        const int64_t i = t.i + (line >> across);
        const int64_t j = t.j + ((line & ((1 << across) - 1)) * MGK_LINE >> size);
        if (i < p.g.m && j < p.g.n)
            mgk_prefetch((const char *)more.p +
                         ((t.item * p.g.stride_c + i * p.g.ldc + j) << size));
    }

    __device__ __forceinline__ void copy(const product_maps &maps) const
    {
        mgk_stage s = {0, 0};
        for (int64_t task = this->first_task(); task < p.tiles.tasks; task += this->task_step()) {
            const tile_begin t = begin_of(task);
            for (int64_t step = 0; step < p.steps; step++, mgk_stage_next(&s, S::STAGES)) {
                mgk_barrier_wait(this->barrier(S::EMPTY, s.index), s.parity ^ 1);
                if (threadIdx.x == 0)
                    load(maps, t, step * S::K, s.index);
                if (!S::CODES)
                    fetch_added(t, (int)(p.steps - step));
            }
        }
    }
};

/* A thread of those that compute: a kernel's group adds run(), which walks along k and finishes tiles. */
template <typename S> struct product_group : mgk_product_sums<S> {
    const product_work<S> &w;

    __device__ __forceinline__ product_group(const product_work<S> &work)
        : mgk_product_sums<S>(work), w(work)
    {
    }

    /* Sums of codes, of row i: by one scale after the other, whose product may be no normal number. */
    template <int COUNT> __device__ __forceinline__ void scale(float *v, int64_t i, int64_t j) const
    {
        const bool scaled = S::CODES && i < w.p.g.m;
#pragma unroll
        for (int e = 0; e < COUNT; e++)
            if (scaled)
                v[e] = v[e] * w.p.a_scale[i] * w.p.b_scale[j + e];
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
        const bool changed = S::CODES || g.alpha != 1 || g.bias.p || g.act != MGK_ACT_NONE;
#pragma unroll 1
        for (int half = 0; changed && half < 8; half++) {
            float v[4], *from = this->shared_sums(row + half / 2 * 4, column) + half % 2 * 4;
            mgk_load_vector<4>(from, v);
            scale<4>(v, i + half / 2 * 4, j + half % 2 * 4);
            activate_all<4>(g, v, j + half % 2 * 4);
            mgk_store_vector<4>(from, v);
        }
#pragma unroll
        for (int r = 0; r < 4; r++) {
            float v[8], other[8];
            if (i + 4 * r >= g.m)
                break;
            mgk_load_vector<8>(this->shared_sums(row + 4 * r, column), v);
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
            float v = *this->shared_sums(row + below, column + e % 8);
            if (i + below < g.m && j + e % 8 < g.n) {
                scale<1>(&v, i + below, j + e % 8);
                finish<1>(g, &v, item, i + below, j + e % 8);
            }
        }
    }

    __device__ __forceinline__ void finish_tile(const tile_begin &t) const
    {
        const mgk_matmul_args &g = w.p.g;
        const int row = this->me.lane / 8, column = this->me.lane % 8 * 8;
        const int64_t i = t.i + this->first_row(0) + row;
#pragma unroll 1
        for (int panel = 0; panel < S::N / MGK_PANEL; panel++) {
            const int64_t j = t.j + panel * MGK_PANEL + column;
            this->share(0, panel);
            if (w.p.eights && j + 8 <= g.n)
                put_eights(g, t.item, i, j, row, column);
            else
                put_ones(g, t.item, i, j, row, column);
        }
    }
};

template <typename S, typename Group>
MGK_KERNEL __launch_bounds__(S::THREADS, 1)
    product_kernel(const __grid_constant__ product_maps maps, const __grid_constant__ product p)
{
#if MGK_HOPPER
    MGK_DYNAMIC_SHARED(unsigned char, memory);
    const product_work<S> w(p, memory);
    mgk_copy_and_compute<S, Group, S::CLUSTER>(w, maps);
#endif
}

/* ---- the host's part ---- */

/* The matrix in boxes of a panel. `rows` and `columns` as it is stored. */
inline bool map_matrix(mgk_tensor_map *map, mgk_buf b, uint32_t value, int64_t batch,
                       int64_t stride, int64_t rows, int64_t columns, int64_t ld, uint32_t box)
{
    mgk_tensor_layout t;
    return mgk_matrix_layout(&t, value, stride ? batch : 1, rows, columns, ld, stride, box) &&
           mgk_make_tensor_map(map, b.p, &t);
}

/* The product in tiles; false: it is left to other kernels. */
inline bool make_product(product *p, const mgk_matmul_args &g)
{
    const int64_t most = (int64_t)1 << 30, multiprocessors = mgk_multiprocessors();
    if (g.m < 1 || g.n < 1 || g.k < 1 || g.batch < 1 || g.m > most || g.n > most || g.k > most)
        return false;
    memset(p, 0, sizeof *p);
    p->g = g;
    p->tiles = mgk_product_choose(g.m, g.n, g.batch, multiprocessors);
    p->eights = g.ldc % 8 == 0 && g.stride_c % 8 == 0 && mgk_is_aligned(g.c) &&
                mgk_is_aligned(g.residual) && mgk_is_aligned(g.before);
    return !mgk_product_is_small(&g, &p->tiles, multiprocessors);
}

/* false: there is no code for this GPU, or bulk copies cannot read A or B. x NULL: nothing is started. */
template <typename S, typename Group> bool start_product(product *p, mgk_exec *x)
{
    const mgk_matmul_args &g = p->g;
    const uint32_t value = S::CODES ? 1 : 2;
    product_maps maps;
    p->steps = mgk_tiles_of(g.k, S::K);
    if (!mgk_has_hopper_code(product_kernel<S, Group>) ||
        !map_matrix(&maps.a, g.a, value, g.batch, g.stride_a, S::TA ? g.k : g.m, S::TA ? g.m : g.k,
                    g.lda, S::A_ROWS) ||
        !map_matrix(&maps.b, g.b, value, g.batch, g.stride_b, S::TB ? g.n : g.k, S::TB ? g.k : g.n,
                    g.ldb, S::B_ROWS))
        return false;
    if (!x)
        return true;
    const int bytes = S::BYTES;
    MGK_ALLOW_SHARED((product_kernel<S, Group>), bytes);
    MGK_LAUNCH_CLUSTERS(x, (product_kernel<S, Group>), mgk_product_grid<S>(p->tiles.tasks),
                        S::CLUSTER, S::THREADS, bytes, maps, *p);
    return true;
}

} // namespace

#endif
