/* SPDX-License-Identifier: MIT */
#include "kernels/common/cuda_divide.h"
#include "kernels/common/cuda_vector.h"
#include "kernels/embedding/embedding.h"
#include "kernels/embedding/relative_bucket.h"

namespace
{

MGK_DEVICE int64_t row_of(int32_t id, int64_t vocab)
{
    return id >= 0 && id < vocab ? id : 0;
}

/* ---- lookup: a thread is a vector of y ---- */

template <typename From, typename To, int N, typename I>
MGK_KERNEL lookup_kernel(const int32_t *ids, const From *table, To *y, mgk_divisor<I> dim,
                         int64_t vocab, int64_t count)
{
    MGK_FOR(i, count)
    {
        float v[N];
        I row = (I)i, column = mgk_take(&row, dim);
        mgk_load_vector<N>(table + (row_of(ids[row], vocab) * dim.by + column) * N, v);
        mgk_store_vector<N>(y + i * N, v);
    }
}

template <typename From, typename To, int N> void lookup(const mgk_embedding_args *a, mgk_exec *x)
{
    const int64_t count = a->rows * a->dim / N;
    MGK_WITH_INDEX(count, {
        mgk_divisor<I> dim;
        mgk_divisor_set(&dim, a->dim / N);
        MGK_LAUNCH(x, (lookup_kernel<From, To, N, I>), mgk_grid(count, MGK_BLOCK), MGK_BLOCK, 0,
                   MGK_I(a->ids), (const From *)a->table.p, (To *)a->y.p, dim, a->vocab, count);
    });
}

template <typename From, typename To> void lookup_as(const mgk_embedding_args *a, mgk_exec *x)
{
    if (a->dim % 8 == 0 && mgk_is_aligned(a->table) && mgk_is_aligned(a->y))
        lookup<From, To, 8>(a, x);
    else
        lookup<From, To, 1>(a, x);
}

/* ---- gradient: a warp is a row of the table, which it looks for among the ids ----
 * The rows of y are divided into parts of fixed size, whose sums are added up in order; a part is walked in
 * row order. */

enum {
    WARPS = MGK_BLOCK / MGK_WARP, /* table rows a block */
    IDS = 2048,                   /* read at a time */
    AHEAD = 8,                    /* rows of y read at once */
    PART_ROWS = 512,
    PARTS_MAX = 64,
    PART_FLOATS = 8 << 20 /* of all parts together, at most, unless there is one */
};

int64_t part_count(const mgk_embedding_args *a)
{
    int64_t parts = (a->rows + PART_ROWS - 1) / PART_ROWS, table = a->vocab * a->dim;
    parts = parts > PARTS_MAX ? (int64_t)PARTS_MAX : parts;
    return table <= PART_FLOATS / parts ? parts : table > PART_FLOATS ? 1 : PART_FLOATS / table;
}

/* Adds the rows of y that `found` names, counted from `first`, AHEAD of them read before the first is
 * added. y is that of the lane's columns. */
template <typename T, int N>
MGK_DEVICE void add_found(const T *y, unsigned found, int64_t first, int64_t dim, float (&sum)[N])
{
    while (found) {
        float v[AHEAD][N] = {};
        unsigned rest = found;
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            if (rest)
                mgk_load_vector<N>(y + (first + __ffs((int)rest) - 1) * dim, v[i]);
            rest &= rest - 1;
        }
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            for (int j = 0; found && j < N; j++)
                sum[j] += v[i][j];
            found &= found - 1;
        }
    }
}

/* Block (group of WARPS table rows, part, run of columns). Writes the sums of a part, or, if it is the only
 * one, adds them to the table. */
template <typename T, int N>
MGK_KERNEL scatter_kernel(const int32_t *ids, const T *y, float *out, int64_t rows, int64_t dim,
                          int64_t vocab, int64_t part_rows)
{
    __shared__ int32_t near[IDS];
    const int lane = (int)threadIdx.x % MGK_WARP;
    const int64_t row = (int64_t)blockIdx.x * WARPS + threadIdx.x / MGK_WARP;
    const int64_t begin = blockIdx.y * part_rows;
    const int64_t end = begin + part_rows < rows ? begin + part_rows : rows;
    for (int64_t tile = blockIdx.z; tile * MGK_WARP * N < dim; tile += gridDim.z) {
        const int64_t column = (tile * MGK_WARP + lane) * N;
        float sum[N] = {};
        for (int64_t first = begin; first < end; first += IDS) {
            const int count = end - first < IDS ? (int)(end - first) : (int)IDS;
            __syncthreads();
            for (int i = (int)threadIdx.x; i < count; i += MGK_BLOCK)
                near[i] = (int32_t)row_of(ids[first + i], vocab);
            __syncthreads();
            for (int i = 0; i < count; i += MGK_WARP) {
                unsigned found =
                    __ballot_sync(0xffffffffu, i + lane < count && near[i + lane] == row);
                if (column < dim)
                    add_found<T, N>(y + column, found, first + i, dim, sum);
            }
        }
        if (row < vocab && column < dim) {
            float *to = out + ((gridDim.y > 1 ? blockIdx.y * vocab : 0) + row) * dim + column;
            float before[N] = {};
            if (gridDim.y == 1)
                mgk_load_vector<N>(to, before);
            for (int j = 0; j < N; j++)
                sum[j] += before[j];
            mgk_store_vector<N>(to, sum);
        }
    }
}

MGK_KERNEL add_parts_kernel(const float *parts, float *table, int64_t count, int64_t part_total)
{
    MGK_FOR(i, count)
    {
        float sum = 0;
#pragma unroll 8
        for (int64_t k = 0; k < part_total; k++)
            sum += parts[k * count + i];
        table[i] += sum;
    }
}

template <typename T, int N> void scatter(const mgk_embedding_args *a, mgk_exec *x)
{
    const int64_t parts = part_count(a), part_rows = (a->rows + parts - 1) / parts;
    const int64_t tiles = (a->dim + MGK_WARP * N - 1) / (MGK_WARP * N);
    dim3 grid((unsigned)((a->vocab + WARPS - 1) / WARPS), (unsigned)parts,
              (unsigned)(tiles < 65535 ? tiles : 65535));
    float *out = parts > 1 ? (float *)x->workspace : MGK_F(a->table);
    MGK_LAUNCH(x, (scatter_kernel<T, N>), grid, MGK_BLOCK, 0, MGK_I(a->ids), (const T *)a->y.p, out,
               a->rows, a->dim, a->vocab, part_rows);
    if (parts > 1)
        MGK_LAUNCH(x, add_parts_kernel, mgk_grid(a->vocab * a->dim, MGK_BLOCK), MGK_BLOCK, 0, out,
                   MGK_F(a->table), a->vocab * a->dim, parts);
}

template <typename T> void scatter_as(const mgk_embedding_args *a, mgk_exec *x)
{
    if (a->dim % 4 == 0 && mgk_is_aligned(a->table) && mgk_is_aligned(a->y))
        scatter<T, 4>(a, x);
    else
        scatter<T, 1>(a, x);
}

/* ---- times ---- */

template <typename T> MGK_KERNEL times_kernel(const float *time, T *y, int64_t rows, int64_t half)
{
    MGK_FOR(i, rows * half)
    {
        const int64_t row = i / half, k = i % half;
        double angle = 1000.0 * time[row] * pow(10000.0, -(double)k / (double)half);
        mgk_store(y + row * 2 * half + k, (float)cos(angle));
        mgk_store(y + row * 2 * half + half + k, (float)sin(angle));
    }
}

/* ---- relative positions: a block is a bucket of one direction and a head ----
 * The positions that share a bucket are neighbours; where they begin is found by the host. */

enum { BUCKETS = 512 /* of each direction, a launch */, BIAS_BLOCK = 64 };

struct bias_part {
    int64_t heads, sq, sk, half, base;
    int32_t count, first[BUCKETS + 1]; /* the least |key - query| of bucket base + i */
};

/* Distances below `limit` occur. */
int32_t first_of(const mgk_embedding_args *a, int64_t bucket, int64_t limit)
{
    int64_t low = bucket < a->vocab / 4 ? bucket : a->vocab / 4, high = limit;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (mgk_relative_bucket(a, middle) >= bucket)
            high = middle;
        else
            low = middle + 1;
    }
    return (int32_t)(low < limit ? low : limit);
}

/* Block (bucket, head): its table row, and its positions, which are y[*at + k], 0 <= k < the result. */
MGK_DEVICE int64_t bias_range(const bias_part &p, int64_t *row, int64_t *at)
{
    const bool ahead = (int)blockIdx.x >= p.count;
    const int bucket = (int)blockIdx.x - (ahead ? p.count : 0);
    int64_t first = p.first[bucket], end = p.first[bucket + 1];
    const int64_t limit = ahead ? p.sk : p.sq;
    first = ahead && first == 0 ? 1 : first; /* key = query is behind */
    end = end < limit ? end : limit;
    *row = (ahead ? p.half : 0) + p.base + bucket;
    *at = p.sq - 1 + (ahead ? first : 1 - end);
    return end - first;
}

MGK_KERNEL bias_kernel(const float *table, float *y, bias_part p)
{
    int64_t row, at, count = bias_range(p, &row, &at);
    for (int64_t h = blockIdx.y; h < p.heads; h += gridDim.y)
        for (int64_t k = threadIdx.x; k < count; k += BIAS_BLOCK)
            y[h * (p.sq + p.sk - 1) + at + k] = table[row * p.heads + h];
}

MGK_KERNEL bias_grad_kernel(const float *dy, float *d_table, bias_part p)
{
    __shared__ float scratch[MGK_WARP];
    int64_t row, at, count = bias_range(p, &row, &at);
    for (int64_t h = blockIdx.y; count > 0 && h < p.heads; h += gridDim.y) {
        float sum = 0;
        for (int64_t k = threadIdx.x; k < count; k += BIAS_BLOCK)
            sum += dy[h * (p.sq + p.sk - 1) + at + k];
        sum = mgk_block_sum(sum, scratch);
        if (threadIdx.x == 0)
            d_table[row * p.heads + h] += sum;
    }
}

void bias(const mgk_embedding_args *a, bool grad, mgk_exec *x)
{
    bias_part p = {};
    p.heads = a->heads;
    p.sq = a->sq;
    p.sk = a->sk;
    p.half = a->vocab / 2;
    if (a->heads == 0)
        return;
    for (p.base = 0; p.base < p.half; p.base += BUCKETS) {
        p.count = p.half - p.base < BUCKETS ? (int32_t)(p.half - p.base) : (int32_t)BUCKETS;
        const int64_t limit = a->sq > a->sk ? a->sq : a->sk;
        for (int i = 0; i <= p.count; i++)
            p.first[i] = p.base + i == p.half ? (int32_t)limit : first_of(a, p.base + i, limit);
        dim3 grid((unsigned)(2 * p.count), (unsigned)(a->heads < 65535 ? a->heads : 65535));
        if (grad)
            MGK_LAUNCH(x, bias_grad_kernel, grid, BIAS_BLOCK, 0, MGK_F(a->y), MGK_F(a->table), p);
        else
            MGK_LAUNCH(x, bias_kernel, grid, BIAS_BLOCK, 0, MGK_F(a->table), MGK_F(a->y), p);
    }
}

} // namespace

MGK_CUDA_LAUNCHER(embedding)
{
    const mgk_embedding_args *a = (const mgk_embedding_args *)args;
    if (a->rows * a->dim == 0)
        return;
    if (a->table.dtype == MGK_BF16)
        MGK_WITH_REAL(a->y.dtype, lookup_as<mgk_bf16, T>(a, x));
    else
        MGK_WITH_REAL(a->y.dtype, lookup_as<float, T>(a, x));
}

MGK_CUDA_WORKSPACE(embedding_grad)
{
    const mgk_embedding_args *a = (const mgk_embedding_args *)args;
    (void)threads;
    if (a->rows * a->dim == 0 || part_count(a) == 1)
        return 0;
    return sizeof(float) * (size_t)(part_count(a) * a->vocab * a->dim);
}

MGK_CUDA_LAUNCHER(embedding_grad)
{
    const mgk_embedding_args *a = (const mgk_embedding_args *)args;
    if (a->rows * a->dim > 0)
        MGK_WITH_REAL(a->y.dtype, scatter_as<T>(a, x));
}

MGK_CUDA_LAUNCHER(timestep_embed)
{
    const mgk_embedding_args *a = (const mgk_embedding_args *)args;
    const int64_t half = a->dim / 2;
    if (a->rows * half > 0)
        MGK_WITH_REAL(a->y.dtype,
                      MGK_LAUNCH(x, times_kernel<T>, mgk_grid(a->rows * half, MGK_BLOCK), MGK_BLOCK,
                                 0, MGK_F(a->time), (T *)a->y.p, a->rows, half));
}

MGK_CUDA_LAUNCHER(relative_bias)
{
    bias((const mgk_embedding_args *)args, false, x);
}

MGK_CUDA_LAUNCHER(relative_bias_grad)
{
    bias((const mgk_embedding_args *)args, true, x);
}
