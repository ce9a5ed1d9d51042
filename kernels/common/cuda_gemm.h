/* SPDX-License-Identifier: MIT
 * The core of products on CUDA devices without tensor cores: a block of MGK_GEMM_THREADS threads adds up a
 * tile of C = A B in registers, MGK_GEMM_K values of k at a time, through shared memory. A and B come
 * from operands, which know where their values are; what is done with the sums is the caller's.
 *
 * An operand of ROWS rows (of A, or columns of B) has
 *   COUNT, V             chunks a thread, values a chunk
 *   fetch(float *)       COUNT * V values of the current block of k, 0 where there are none, and go on
 *   put(float *, const float *)  those into shared memory, as MGK_GEMM_K rows of ROWS + MGK_GEMM_PAD values
 */
#ifndef MGK_COMMON_CUDA_GEMM_H
#define MGK_COMMON_CUDA_GEMM_H

#include "kernels/common/cuda.h"

enum {
    MGK_GEMM_THREADS = 256,
    MGK_GEMM_K = 16,
    MGK_GEMM_PAD = 4,     /* against bank conflicts; keeps groups of four aligned */
    MGK_GEMM_BLOCKS = 264 /* of threads that keep a GPU busy */
};

/* A tile of M x N: each thread has GM squares of 4 x 4, M / GM rows from each other. */
template <int GM_, int TX> struct mgk_gemm_tile {
    static constexpr int GM = GM_, TY = MGK_GEMM_THREADS / TX, M = TY * 4 * GM, N = TX * 4;

    static __device__ __forceinline__ int row(int i)
    {
        return i / 4 * (M / GM) + (int)threadIdx.x / TX * 4 + i % 4;
    }
    static __device__ __forceinline__ int column(void)
    {
        return (int)threadIdx.x % TX * 4; /* the first of four */
    }
};

typedef mgk_gemm_tile<2, 16> mgk_tile_128x64;
typedef mgk_gemm_tile<1, 16> mgk_tile_64x64;
typedef mgk_gemm_tile<1, 4> mgk_tile_256x16;
typedef mgk_gemm_tile<1, 64> mgk_tile_16x256;

/* Four neighbours, from an address that is a multiple of their size. */
MGK_DEVICE void mgk_load4(const float *p, float *out)
{
    float4 v = *(const float4 *)p;
    out[0] = v.x;
    out[1] = v.y;
    out[2] = v.z;
    out[3] = v.w;
}

MGK_DEVICE void mgk_load4(const mgk_bf16 *p, float *out)
{
    const uint2 v = *(const uint2 *)p;
    out[0] = mgk_bits_to_float(v.x << 16);
    out[1] = mgk_bits_to_float(v.x & 0xffff0000u);
    out[2] = mgk_bits_to_float(v.y << 16);
    out[3] = mgk_bits_to_float(v.y & 0xffff0000u);
}

MGK_DEVICE void mgk_store4(float *p, const float *v)
{
    *(float4 *)p = make_float4(v[0], v[1], v[2], v[3]);
}

MGK_DEVICE void mgk_store4(mgk_bf16 *p, const float *v)
{
    mgk_bf16 a, b, c, d;
    mgk_store(&a, v[0]);
    mgk_store(&b, v[1]);
    mgk_store(&c, v[2]);
    mgk_store(&d, v[3]);
    uint2 out;
    out.x = a.bits | (uint32_t)b.bits << 16;
    out.y = c.bits | (uint32_t)d.bits << 16;
    *(uint2 *)p = out;
}

/* The chunks of an operand that this thread moves: `at` is the place of the first in shared memory. Chunks lie
 * along k or along rows, whichever is contiguous in global memory. */
template <int ROWS, int V_> struct mgk_gemm_chunks {
    static constexpr int V = V_, CHUNKS = ROWS * MGK_GEMM_K / V;
    static constexpr int COUNT = (CHUNKS + MGK_GEMM_THREADS - 1) / MGK_GEMM_THREADS;
    static constexpr int STRIDE = ROWS + MGK_GEMM_PAD;
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

    __device__ __forceinline__ void put(float *shared, const float *v) const
    {
        if (idle)
            return;
        float *to = shared + k * STRIDE + row;
        const int step = k_step * STRIDE + row_step;
#pragma unroll
        for (int i = 0; i < COUNT; i++, to += step)
            if (V == 4 && !along_k)
                mgk_store4(to, v + 4 * i);
            else
#pragma unroll
                for (int e = 0; e < V; e++)
                    to[e * STRIDE] = v[V * i + e];
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
                    mgk_load4(p + i * step, v + 4 * i);
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

template <typename Tile> struct mgk_gemm_sums {
    float v[4 * Tile::GM][4];
};

template <typename Tile>
MGK_DEVICE void mgk_gemm_multiply(mgk_gemm_sums<Tile> &c, const float *as, const float *bs)
{
#pragma unroll
    for (int k = 0; k < MGK_GEMM_K; k++) {
        float a[4 * Tile::GM], b[4];
#pragma unroll
        for (int g = 0; g < Tile::GM; g++)
            mgk_load4(as + k * (Tile::M + MGK_GEMM_PAD) + Tile::row(4 * g), a + 4 * g);
        mgk_load4(bs + k * (Tile::N + MGK_GEMM_PAD) + Tile::column(), b);
#pragma unroll
        for (int i = 0; i < 4 * Tile::GM; i++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                c.v[i][j] += a[i] * b[j];
    }
}

/* Shared memory of a tile: two buffers of a block of k each, later a part of the sums. */
template <typename Tile> struct mgk_gemm_shared {
    static constexpr int A = MGK_GEMM_K * (Tile::M + MGK_GEMM_PAD);
    static constexpr int B = MGK_GEMM_K * (Tile::N + MGK_GEMM_PAD);
    static constexpr int FLOATS = 2 * (A + B), ROWS = Tile::M / Tile::GM;
    static_assert(ROWS * Tile::N <= FLOATS, "a part of the sums is too large");
};

/* c = A B over `blocks` blocks of k. All threads take part. */
template <typename Tile, typename A, typename B>
MGK_DEVICE void mgk_gemm(mgk_gemm_sums<Tile> &c, A &a, B &b, int64_t blocks, float *shared)
{
    typedef mgk_gemm_shared<Tile> size;
    float av[A::COUNT * A::V], bv[B::COUNT * B::V];
#pragma unroll
    for (int i = 0; i < 4 * Tile::GM; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
            c.v[i][j] = 0;
    if (blocks > 0) {
        a.fetch(av);
        b.fetch(bv);
    }
    float *as = shared, *other = shared + size::A + size::B;
    for (int64_t block = 0; block < blocks; block++) {
        a.put(as, av);
        b.put(as + size::A, bv);
        __syncthreads(); /* also: all are done with the other buffer */
        if (block + 1 < blocks) {
            a.fetch(av);
            b.fetch(bv);
        }
        mgk_gemm_multiply<Tile>(c, as, as + size::A);
        float *swap = as;
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
#pragma unroll
        for (int g = 0; g < Tile::GM; g++)
            if (g == part)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    mgk_store4(shared + Tile::row(i) * Tile::N + Tile::column(), c.v[4 * g + i]);
        __syncthreads();
#pragma unroll 1
        for (int at = (int)threadIdx.x; at < rows * fours; at += MGK_GEMM_THREADS) {
            float v[4];
            mgk_load4(shared + 4 * at, v);
            f(part * rows + at / fours, at % fours * 4, v);
        }
    }
}

/* Which tile of a matrix of m x n tiles a block works on: groups of eight rows of tiles, for the cache. */
struct mgk_gemm_place {
    int64_t i, j;
};

MGK_DEVICE mgk_gemm_place mgk_gemm_order(int64_t block, int64_t m, int64_t n)
{
    const int64_t group = block / (8 * n), first = 8 * group, rows = m - first < 8 ? m - first : 8;
    const int64_t in = block - first * n;
    return {first + in % rows, in / rows};
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
