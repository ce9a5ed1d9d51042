/* SPDX-License-Identifier: MIT
 * Sums of columns for .cu files: blocks of threads sum chunks of rows, a second kernel adds up what they leave
 * in the workspace. Both have a fixed order. */
#ifndef MGK_COMMON_CUDA_COLUMNS_H
#define MGK_COMMON_CUDA_COLUMNS_H

#include "kernels/common/cuda_vector.h"

static inline int64_t mgk_cuda_div_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* The smallest power of two that is at least n, but not above `most`, which is one. */
static inline int mgk_power_of_two(int64_t n, int most)
{
    int p = 1;
    while (p < n && p < most)
        p *= 2;
    return p;
}

/* MGK_VECTOR values as they lie in memory: read while the row before is computed, as one row's bytes at a time are too
 * few to occupy the memory of a large GPU. */
struct mgk_ahead {
    mgk_vector<uint32_t, MGK_VECTOR / 2> pairs;

    __device__ __forceinline__ void begin(const mgk_bf16 *p)
    {
        pairs = *(const mgk_vector<uint32_t, MGK_VECTOR / 2> *)(const void *)p;
    }

    __device__ __forceinline__ void begin(const float *)
    {
    }

    __device__ __forceinline__ void take(float *out) const
    {
#pragma unroll
        for (int i = 0; i < MGK_VECTOR / 2; i++) {
            out[2 * i] = mgk_bits_to_float(pairs.v[i] << 16);
            out[2 * i + 1] = mgk_bits_to_float(pairs.v[i] & 0xffff0000u);
        }
    }
};

/* How a block of MGK_BLOCK threads sums: `lanes` vectors of a row, so a `tiles`-th of it, and
 * MGK_BLOCK / lanes rows at once. */
struct mgk_tiling {
    int lanes;
    int64_t tiles;
};

static inline mgk_tiling mgk_tiles_of(int64_t width, int64_t rows)
{
    int64_t vectors = mgk_cuda_div_up(width, MGK_VECTOR);
    int lanes = mgk_power_of_two(vectors, MGK_WARP);
    int spread = MGK_BLOCK / mgk_power_of_two(rows, MGK_BLOCK); /* for a few long rows */
    lanes = lanes > spread ? lanes : spread;
    return mgk_tiling{lanes, mgk_cuda_div_up(vectors, lanes)};
}

/* A grid for kernels that loop over `count` blocks. */
static inline int mgk_blocks(int64_t count)
{
    return (int)(count < 1 << 30 ? count : 1 << 30);
}

/* The rows of each sample in chunks. Where the rows are a slice of a longer sequence, `skip` rows of the
 * first sample came before them; chunks that lie there are empty. */
struct mgk_row_chunks {
    int64_t rows, sample, skip, first_sample, samples, chunk, chunks; /* chunks a sample */

    int64_t count() const
    {
        return samples * chunks;
    }

    /* Rows of chunk i: first .. end - 1. */
    __device__ __forceinline__ void range(int64_t i, int64_t *first, int64_t *end) const
    {
        int64_t start = i / chunks * sample, from = start + i % chunks * chunk, to = from + chunk;
        to = to < start + sample ? to : start + sample;
        to = to < skip + rows ? to : skip + rows;
        *first = from > skip ? from - skip : 0;
        *end = to > skip ? to - skip : 0;
    }
};

/* Chunks of the rows of a call whose blocks take `step` rows at once, in `tiles` tiles of columns: enough
 * for a large GPU, but long ones, as each leaves sums as long as a row. */
static inline mgk_row_chunks mgk_chunk_rows(int64_t rows, int64_t row_offset,
                                            int64_t rows_per_sample, int64_t step, int64_t tiles)
{
    const int64_t blocks_wanted = 4096, steps_least = 8, steps_most = 256;
    mgk_row_chunks k = {rows, rows_per_sample, 0, 0, 1, 1, 1};
    if (k.sample > 0) {
        k.skip = row_offset % k.sample;
        k.first_sample = row_offset / k.sample;
    }
    if (k.sample <= 0 || k.sample - k.skip >= rows) { /* all of one sample */
        k.skip = 0;
        k.sample = rows > 0 ? rows : 1;
    }
    k.samples = mgk_cuda_div_up(k.skip + rows, k.sample);
    int64_t blocks = blocks_wanted / tiles,
            steps = mgk_cuda_div_up(rows, step * (blocks > 0 ? blocks : 1));
    steps = steps < steps_least ? steps_least : steps > steps_most ? steps_most : steps;
    k.chunk = steps * step < k.sample ? steps * step : k.sample;
    k.chunks = mgk_cuda_div_up(k.sample, k.chunk);
    return k;
}

/* What sums are made of; others may take its place below. */
struct mgk_plus {
    template <typename V> static __device__ __forceinline__ V of(V a, V b)
    {
        return a + b;
    }
    static __device__ __forceinline__ float none()
    {
        return 0;
    }
};

/* Combines the MGK_VECTOR values of the threads t, t + lanes, t + 2 lanes ... of a block, which has `lanes`
 * times a power of two threads; the first `lanes` threads get the result. `scratch`: MGK_VECTOR floats a thread. */
template <typename OP> MGK_DEVICE void mgk_group_columns(float *v, float *scratch, int lanes)
{
    int t = (int)threadIdx.x, threads = (int)blockDim.x;
    if (threads == lanes)
        return;
    for (int i = 0; i < MGK_VECTOR; i++)
        scratch[i * threads + t] = v[i];
    __syncthreads();
    for (int step = threads / 2; step >= lanes; step /= 2) {
        for (int i = 0; i < MGK_VECTOR && t < step; i++) {
            v[i] = OP::of(v[i], scratch[i * threads + t + step]);
            scratch[i * threads + t] = v[i];
        }
        __syncthreads();
    }
}

enum { MGK_TOTAL_MOST = 1024 };

/* Threads of a block that combines columns of `count` values. */
static inline int mgk_total_block(int64_t count)
{
    return MGK_WARP * mgk_power_of_two(count, MGK_TOTAL_MOST / MGK_WARP);
}

/* Combines `count` values, `stride` apart, by a block of mgk_total_block(count) threads, each of whose 32 lanes
 * has its own column or none; its first warp gets the results. `scratch`: a double a thread, which may be used
 * again at once. */
template <typename OP>
MGK_DEVICE double mgk_column_total(const float *p, int64_t count, int64_t stride, bool none,
                                   double *scratch)
{
    int t = (int)threadIdx.x, threads = (int)blockDim.x;
    double sum = OP::none();
    for (int64_t i = t / MGK_WARP; i < count && !none; i += threads / MGK_WARP)
        sum = OP::of(sum, (double)p[i * stride]);
    if (threads == MGK_WARP)
        return sum;
    scratch[t] = sum;
    __syncthreads();
    for (int i = t + MGK_WARP; i < threads && t < MGK_WARP; i += MGK_WARP)
        sum = OP::of(sum, scratch[i]);
    __syncthreads();
    return sum;
}

#endif
