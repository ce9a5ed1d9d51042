/* SPDX-License-Identifier: MIT
 * The core of products on CUDA devices: a block of MGK_GEMM_THREADS threads adds up a tile of C = A B in
 * registers, MGK_GEMM_K values of k at a time, through shared memory. A and B come from operands, which know
 * where their values are; what is done with the sums is the caller's. The kind of tile says whether f32
 * arithmetic or tensor cores multiply, and so as what values lie in shared memory.
 *
 * An operand of ROWS rows (of A, or columns of B) has
 *   COUNT, V             chunks a thread, values a chunk
 *   fetch(float *)       COUNT * V values of the current block of k, 0 where there are none, and go on
 *   put(S *, const float *)      those into shared memory, as MGK_GEMM_K rows of ROWS + pad values
 */
#ifndef MGK_COMMON_CUDA_GEMM_H
#define MGK_COMMON_CUDA_GEMM_H

#include "kernels/common/cuda_vector.h"
#include "kernels/common/cuda_wmma.h"

enum {
    MGK_GEMM_THREADS = 256,
    MGK_GEMM_K = 16,
    MGK_GEMM_PAD = 4,       /* against bank conflicts; keeps groups of four aligned */
    MGK_GEMM_PAD_BF16 = 16, /* the same; keeps tiles of the tensor cores aligned */
    MGK_GEMM_BLOCKS = 264   /* of threads that keep a GPU busy */
};

/* Of a row of values in shared memory. */
MGK_DEVICE constexpr int mgk_gemm_pad(const float *)
{
    return MGK_GEMM_PAD;
}
MGK_DEVICE constexpr int mgk_gemm_pad(const mgk_bf16 *)
{
    return MGK_GEMM_PAD_BF16;
}

/* A tile of M x N for f32 arithmetic: each thread has GM squares of 4 x 4, M / GM rows from each other. */
template <int GM_, int TX> struct mgk_gemm_tile {
    typedef float value;
    static constexpr int GM = GM_, TY = MGK_GEMM_THREADS / TX, M = TY * 4 * GM, N = TX * 4;
    static constexpr int PAD = MGK_GEMM_PAD;

    static __device__ __forceinline__ int row(int i)
    {
        return i / 4 * (M / GM) + (int)threadIdx.x / TX * 4 + i % 4;
    }
    static __device__ __forceinline__ int column(void)
    {
        return (int)threadIdx.x % TX * 4; /* the first of four */
    }
};

/* A tile for tensor cores: WY x WX warps have GM x GN squares of 16 x 16 each, which lie M / GM rows from each
 * other and side by side. */
template <int GM_, int GN_, int WY_> struct mgk_gemm_wmma_tile {
    typedef mgk_bf16 value;
    static constexpr int GM = GM_, GN = GN_, WY = WY_, WX = MGK_GEMM_THREADS / MGK_WARP / WY;
    static constexpr int M = GM * WY * MGK_WMMA, N = GN * WX * MGK_WMMA;
    static constexpr int PAD = MGK_GEMM_PAD_BF16;

    static __device__ __forceinline__ int row(int g)
    {
        return g * (M / GM) + (int)threadIdx.x / MGK_WARP / WX * MGK_WMMA;
    }
    static __device__ __forceinline__ int column(int h)
    {
        return ((int)threadIdx.x / MGK_WARP % WX * GN + h) * MGK_WMMA;
    }
};

typedef mgk_gemm_wmma_tile<2, 2, 4> mgk_wmma_128x64;
typedef mgk_gemm_wmma_tile<1, 2, 4> mgk_wmma_64x64;
typedef mgk_gemm_wmma_tile<2, 1, 8> mgk_wmma_256x16;
typedef mgk_gemm_wmma_tile<1, 2, 8> mgk_wmma_128x32;
typedef mgk_gemm_wmma_tile<1, 2, 2> mgk_wmma_32x128;
typedef mgk_gemm_wmma_tile<1, 2, 1> mgk_wmma_16x256;

typedef mgk_gemm_tile<2, 16> mgk_tile_128x64;
typedef mgk_gemm_tile<1, 16> mgk_tile_64x64;
typedef mgk_gemm_tile<1, 8> mgk_tile_128x32;
typedef mgk_gemm_tile<1, 4> mgk_tile_256x16;
typedef mgk_gemm_tile<1, 32> mgk_tile_32x128;
typedef mgk_gemm_tile<1, 64> mgk_tile_16x256;

/* The chunks of an operand that this thread moves: `at` is the place of the first in shared memory. Chunks lie
 * along k or along rows, whichever is contiguous in global memory. */
template <int ROWS, int V_> struct mgk_gemm_chunks {
    static constexpr int V = V_, CHUNKS = ROWS * MGK_GEMM_K / V;
    static constexpr int COUNT = (CHUNKS + MGK_GEMM_THREADS - 1) / MGK_GEMM_THREADS;
    int row, k, row_step, k_step; /* of the first chunk; to the next */
    bool along_k, idle;

    __device__ __forceinline__ explicit mgk_gemm_chunks(bool along_k_)
        : along_k(along_k_), idle((int)threadIdx.x >= CHUNKS)
    {
        const int t = (int)threadIdx.x, ks = MGK_GEMM_K / V, rows = ROWS / V;
        row = along_k ? t / ks : t % rows * V;
        k = along_k ? t % ks * V : t / rows;
        row_step = along_k ? MGK_GEMM_THREADS / ks : 0;
        k_step = along_k ? 0 : MGK_GEMM_THREADS / rows;
    }

    template <typename S> __device__ __forceinline__ void put(S *shared, const float *v) const
    {
        const int stride = ROWS + mgk_gemm_pad(shared);
        if (idle)
            return;
        S *to = shared + k * stride + row;
        const int step = k_step * stride + row_step;
#pragma unroll
        for (int i = 0; i < COUNT; i++, to += step)
            if (V == 4 && !along_k)
                mgk_store_vector<4>(to, v + 4 * i);
            else
#pragma unroll
                for (int e = 0; e < V; e++)
                    mgk_store(to + e * stride, v[V * i + e]);
    }
};

/* A matrix in memory: value (row, k) is at row * row_stride + k * k_stride, of which one is 1, that of k if
 * along_k. The operand begins at `row0` of `rows` and `k0` of `k_end`. V = 4: rows or k, strides and address
 * are multiples of 4. */
template <typename T, int ROWS, int V> struct mgk_gemm_matrix : mgk_gemm_chunks<ROWS, V> {
    typedef mgk_gemm_chunks<ROWS, V> chunks;
    const T *p;
    int64_t step, advance, k_left;
    unsigned rows_in; /* a bit for each chunk whose row is in the matrix */

    __device__ __forceinline__ mgk_gemm_matrix(const T *base, bool along_k, int64_t stride,
                                               int64_t row0, int64_t rows, int64_t k0,
                                               int64_t k_end)
        : chunks(along_k)
    {
        const int64_t row_stride = along_k ? stride : 1, k_stride = along_k ? 1 : stride;
        p = base + (row0 + this->row) * row_stride + (k0 + this->k) * k_stride;
        step = this->row_step * row_stride + this->k_step * k_stride;
        advance = MGK_GEMM_K * k_stride;
        k_left = k_end - k0 - this->k;
        rows_in = 0;
        for (int i = 0; i < chunks::COUNT; i++)
            if (!this->idle && row0 + this->row + i * this->row_step < rows)
                rows_in |= 1u << i;
    }

    __device__ __forceinline__ void fetch(float *v)
    {
#pragma unroll
        for (int i = 0; i < chunks::COUNT; i++) {
            const bool in = rows_in >> i & 1 && i * this->k_step < k_left;
            if (V == 4) {
                if (in)
                    mgk_load_vector<4>(p + i * step, v + 4 * i);
                else
                    v[4 * i] = v[4 * i + 1] = v[4 * i + 2] = v[4 * i + 3] = 0;
            } else {
                v[i] = in ? mgk_load(p[i * step]) : 0.0f;
            }
        }
        p += advance;
        k_left -= MGK_GEMM_K;
    }
};

template <typename Tile> struct mgk_gemm_sums;

template <int GM, int TX> struct mgk_gemm_sums<mgk_gemm_tile<GM, TX>> {
    typedef mgk_gemm_tile<GM, TX> tile;
    float v[4 * GM][4];

    __device__ __forceinline__ void clear(void)
    {
#pragma unroll
        for (int i = 0; i < 4 * GM; i++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                v[i][j] = 0;
    }

    /* Add the product of a block of k. */
    __device__ __forceinline__ void multiply(const float *as, const float *bs)
    {
#pragma unroll
        for (int k = 0; k < MGK_GEMM_K; k++) {
            float a[4 * GM], b[4];
#pragma unroll
            for (int g = 0; g < GM; g++)
                mgk_load_vector<4>(as + k * (tile::M + MGK_GEMM_PAD) + tile::row(4 * g), a + 4 * g);
            mgk_load_vector<4>(bs + k * (tile::N + MGK_GEMM_PAD) + tile::column(), b);
#pragma unroll
            for (int i = 0; i < 4 * GM; i++)
#pragma unroll
                for (int j = 0; j < 4; j++)
                    v[i][j] += a[i] * b[j];
        }
    }

    /* Rows part * M / GM and on, M / GM of them, as rows of N values. */
    __device__ __forceinline__ void store(float *shared, int part) const
    {
#pragma unroll
        for (int g = 0; g < GM; g++)
            if (g == part)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    mgk_store_vector<4>(shared + tile::row(i) * tile::N + tile::column(),
                                        v[4 * g + i]);
    }
};

template <int GM, int GN, int WY> struct mgk_gemm_sums<mgk_gemm_wmma_tile<GM, GN, WY>> {
    typedef mgk_gemm_wmma_tile<GM, GN, WY> tile;
    mgk_wmma_sum v[GM][GN];

    __device__ __forceinline__ void clear(void)
    {
#pragma unroll
        for (int g = 0; g < GM; g++)
#pragma unroll
            for (int h = 0; h < GN; h++)
                mgk_wmma_clear(v[g][h]);
    }

    __device__ __forceinline__ void multiply(const mgk_bf16 *as, const mgk_bf16 *bs)
    {
        static_assert((int)MGK_GEMM_K == (int)MGK_WMMA, "a block of k is one tile deep");
        mgk_wmma_b b[GN];
#pragma unroll
        for (int h = 0; h < GN; h++)
            mgk_wmma_load(b[h], bs + tile::column(h), tile::N + MGK_GEMM_PAD_BF16);
#pragma unroll
        for (int g = 0; g < GM; g++) {
            mgk_wmma_a_transposed a;
            mgk_wmma_load(a, as + tile::row(g), tile::M + MGK_GEMM_PAD_BF16);
#pragma unroll
            for (int h = 0; h < GN; h++)
                mgk_wmma_add(v[g][h], a, b[h]);
        }
    }

    __device__ __forceinline__ void store(float *shared, int part) const
    {
#pragma unroll
        for (int g = 0; g < GM; g++)
            if (g == part)
#pragma unroll
                for (int h = 0; h < GN; h++)
                    mgk_wmma_store(shared + tile::row(0) * tile::N + tile::column(h), v[g][h],
                                   tile::N);
    }
};

/* Shared memory of a tile: two buffers of a block of k each, later a part of the sums. */
template <typename Tile> struct mgk_gemm_shared {
    static constexpr int A = MGK_GEMM_K * (Tile::M + Tile::PAD);
    static constexpr int B = MGK_GEMM_K * (Tile::N + Tile::PAD);
    static constexpr int ROWS = Tile::M / Tile::GM, VALUE = (int)sizeof(typename Tile::value);
    static constexpr int BUFFERS = 2 * (A + B) * VALUE / (int)sizeof(float), PART = ROWS * Tile::N;
    static constexpr int FLOATS = BUFFERS > PART ? BUFFERS : PART;
};

/* c = A B over `blocks` blocks of k; `shared` 32-byte aligned. All threads take part. */
template <typename Tile, typename A, typename B>
MGK_DEVICE void mgk_gemm(mgk_gemm_sums<Tile> &c, A &a, B &b, int64_t blocks, float *shared)
{
    typedef mgk_gemm_shared<Tile> size;
    typedef typename Tile::value value;
    float av[A::COUNT * A::V], bv[B::COUNT * B::V];
    c.clear();
    if (blocks > 0) {
        a.fetch(av);
        b.fetch(bv);
    }
    value *as = (value *)shared, *other = as + size::A + size::B;
    for (int64_t block = 0; block < blocks; block++) {
        a.put(as, av);
        b.put(as + size::A, bv);
        __syncthreads(); /* also: all are done with the other buffer */
        if (block + 1 < blocks) {
            a.fetch(av);
            b.fetch(bv);
        }
        c.multiply(as, as + size::A);
        value *swap = as;
        as = other;
        other = swap;
    }
}

/* f(row of the tile, first column, four sums) for all of the tile, neighbouring threads side by side. One
 * copy of f is compiled: it may be long. All threads take part. */
template <typename Tile, typename F>
MGK_DEVICE void mgk_gemm_each(const mgk_gemm_sums<Tile> &c, float *shared, const F &f)
{
    const int rows = mgk_gemm_shared<Tile>::ROWS, fours = Tile::N / 4;
#pragma unroll 1
    for (int part = 0; part < Tile::GM; part++) {
        __syncthreads();
        c.store(shared, part);
        __syncthreads();
#pragma unroll 1
        for (int at = (int)threadIdx.x; at < rows * fours; at += MGK_GEMM_THREADS) {
            float v[4];
            mgk_load_vector<4>(shared + 4 * at, v);
            f(part * rows + at / fours, at % fours * 4, v);
        }
    }
}

/* How a sum over k is divided among blocks so that there are enough of them: from the sizes only. */
struct mgk_gemm_split {
    int64_t k, count; /* values a part, a multiple of MGK_GEMM_K; parts */
};

static inline mgk_gemm_split mgk_gemm_split_k(int64_t tiles, int64_t k, int64_t blocks)
{
    const int64_t least = 512, most = k / least;
    int64_t count = tiles > 0 ? blocks / tiles : 1;
    count = count > most ? most : count;
    if (count <= 1)
        return {k, 1};
    mgk_gemm_split s;
    s.k = ((k + count - 1) / count + MGK_GEMM_K - 1) / MGK_GEMM_K * MGK_GEMM_K;
    s.count = (k + s.k - 1) / s.k;
    return s;
}

#endif
