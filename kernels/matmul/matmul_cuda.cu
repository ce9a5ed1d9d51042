/* SPDX-License-Identifier: MIT
 * matmul on CUDA devices: "cuda" in f32 arithmetic, "sm80" bf16 by tensor cores. Where C has few tiles but k is long, k is divided among blocks,
 * whose sums a second kernel adds up in order. */
#include "kernels/common/cuda_gemm.h"
#include "kernels/common/tiles.h"
#include "kernels/matmul/matmul_cuda.h"

enum tile_kind { LARGE, SMALL, TALL, WIDE };

struct plan {
    tile_kind tile;
    int64_t m_tiles, n_tiles; /* of an item */
    mgk_gemm_split split;
    bool fours, c_fours; /* operands, and what is laid out like C, can be read in fours */
};

/* Takes the sums of a tile that begins at (i0, j0) of item t: to C, or to the partial sums. */
template <typename Tile> struct taker {
    const mgk_matmul_args &g;
    const plan &p;
    float *parts; /* of this part of k and item */
    int64_t t, i0, j0;

    __device__ __forceinline__ void operator()(int row, int column, float *v) const
    {
        const int64_t i = i0 + row, j = j0 + column;
        if (i >= g.m)
            return;
        if (p.split.count > 1) {
#pragma unroll
            for (int e = 0; e < 4; e++)
                if (j + e < g.n)
                    parts[i * g.n + j + e] = v[e];
        } else if (p.c_fours && j + 4 <= g.n) {
            finish<4>(g, v, t, i, j);
        } else {
            for (int e = 0; e < 4 && j + e < g.n; e++) {
                float one = e == 0 ? v[0] : e == 1 ? v[1] : e == 2 ? v[2] : v[3];
                finish<1>(g, &one, t, i, j + e);
            }
        }
    }
};

/* A block has a tile of C, or a part of its sum over k. */
template <typename Tile, typename T, int V>
__launch_bounds__(MGK_GEMM_THREADS, 2) MGK_KERNEL
    matmul_kernel(const mgk_matmul_args g, const plan p, float *parts)
{
    __shared__ __align__(32) float shared[mgk_gemm_shared<Tile>::FLOATS];
    const int64_t tiles = p.m_tiles * p.n_tiles;
    const int64_t part = blockIdx.x / tiles % p.split.count, t = blockIdx.x / tiles / p.split.count;
    const mgk_matrix_place place = mgk_matrix_place_of(blockIdx.x % tiles, p.m_tiles, p.n_tiles);
    const int64_t i0 = place.i * Tile::M, j0 = place.j * Tile::N, k0 = part * p.split.k;
    const int64_t k1 = k0 + p.split.k < g.k ? k0 + p.split.k : g.k;
    mgk_gemm_matrix<T, Tile::M, V> a((const T *)g.a.p + t * g.stride_a, !g.trans_a, g.lda, i0, g.m,
                                     k0, k1);
    mgk_gemm_matrix<T, Tile::N, V> b((const T *)g.b.p + t * g.stride_b, g.trans_b, g.ldb, j0, g.n,
                                     k0, k1);
    mgk_gemm_sums<Tile> c;
    mgk_gemm<Tile>(c, a, b, (k1 - k0 + MGK_GEMM_K - 1) / MGK_GEMM_K, shared);
    mgk_gemm_each<Tile>(c, shared,
                        taker<Tile>{g, p, parts + (part * g.batch + t) * g.m * g.n, t, i0, j0});
}

MGK_KERNEL matmul_parts_kernel(const mgk_matmul_args g, int64_t count, const float *parts)
{
    const int64_t size = g.batch * g.m * g.n;
    MGK_FOR(at, size)
    {
        float sum = 0;
#pragma unroll 8
        for (int64_t s = 0; s < count; s++)
            sum += parts[s * size + at];
        const int64_t row = at / g.n;
        finish<1>(g, &sum, row / g.m, row % g.m, at % g.n);
    }
}

static int64_t tiles_of(const mgk_matmul_args *g, int64_t m, int64_t n)
{
    return (g->m + m - 1) / m * ((g->n + n - 1) / n) * g->batch;
}

static bool fours(mgk_buf b, int64_t contiguous, int64_t ld, int64_t stride)
{
    return !b.p || ((contiguous | ld | stride) % 4 == 0 &&
                    (uintptr_t)b.p % (b.dtype == MGK_BF16 ? 8 : 16) == 0);
}

static plan make_plan(const mgk_matmul_args *g)
{
    static const int sizes[][2] = {{128, 64}, {64, 64}, {256, 16}, {16, 256}};
    const int64_t parts = g->k < 1024 ? 1 : g->k / 512;
    const bool enough = tiles_of(g, 128, 64) * parts >= MGK_GEMM_BLOCKS;
    plan p;
    p.tile = g->n <= 16 ? TALL : g->m <= 16 ? WIDE : g->m > 64 && enough ? LARGE : SMALL;
    const int m = sizes[p.tile][0], n = sizes[p.tile][1];
    p.m_tiles = (g->m + m - 1) / m;
    p.n_tiles = (g->n + n - 1) / n;
    p.split = mgk_gemm_split_k(p.m_tiles * p.n_tiles * g->batch, g->k, 2 * MGK_GEMM_BLOCKS);
    p.fours = fours(g->a, g->trans_a ? g->m : g->k, g->lda, g->stride_a) &&
              fours(g->b, g->trans_b ? g->k : g->n, g->ldb, g->stride_b);
    p.c_fours = fours(g->c, 0, g->ldc, g->stride_c) && fours(g->residual, 0, 0, 0) &&
                fours(g->before, 0, 0, 0);
    return p;
}

MGK_CUDA_WORKSPACE(matmul)
{
    const mgk_matmul_args *g = (const mgk_matmul_args *)args;
    const plan p = make_plan(g);
    (void)threads;
    return p.split.count > 1 ? (size_t)(p.split.count * g->batch * g->m * g->n) * sizeof(float) : 0;
}

template <typename Tile, typename T>
static void launch(const mgk_matmul_args *g, const plan &p, mgk_exec *x)
{
    const unsigned blocks = (unsigned)(p.m_tiles * p.n_tiles * p.split.count * g->batch);
    float *parts = (float *)x->workspace;
    if (p.fours)
        MGK_LAUNCH(x, (matmul_kernel<Tile, T, 4>), blocks, MGK_GEMM_THREADS, 0, *g, p, parts);
    else
        MGK_LAUNCH(x, (matmul_kernel<Tile, T, 1>), blocks, MGK_GEMM_THREADS, 0, *g, p, parts);
}

/* The tiles of f32 arithmetic, or those of tensor cores. */
template <typename T, typename Large, typename Small, typename Tall, typename Wide>
static void run(const mgk_matmul_args *g, mgk_exec *x)
{
    if (g->m == 0 || g->n == 0 || g->batch == 0)
        return;
    const plan p = make_plan(g);
    switch (p.tile) {
    case LARGE:
        launch<Large, T>(g, p, x);
        break;
    case SMALL:
        launch<Small, T>(g, p, x);
        break;
    case TALL:
        launch<Tall, T>(g, p, x);
        break;
    case WIDE:
        launch<Wide, T>(g, p, x);
        break;
    }
    if (p.split.count > 1)
        MGK_LAUNCH(x, matmul_parts_kernel, mgk_grid(g->batch * g->m * g->n, MGK_BLOCK), MGK_BLOCK,
                   0, *g, p.split.count, (const float *)x->workspace);
}

MGK_CUDA_LAUNCHER(matmul)
{
    const mgk_matmul_args *g = (const mgk_matmul_args *)args;
    MGK_WITH_REAL(g->a.dtype,
                  run<T, mgk_tile_128x64, mgk_tile_64x64, mgk_tile_256x16, mgk_tile_16x256>(g, x));
}

MGK_LAUNCHER(matmul, sm80)
{
    const mgk_matmul_args *g = (const mgk_matmul_args *)args;
    if (g->a.dtype == MGK_BF16)
        run<mgk_bf16, mgk_wmma_128x64, mgk_wmma_64x64, mgk_wmma_256x16, mgk_wmma_16x256>(g, x);
    else
        mgk_matmul_cuda(args, x);
}

MGK_WORKSPACE(matmul, sm80)
{
    return mgk_matmul_cuda_workspace(args, threads);
}
