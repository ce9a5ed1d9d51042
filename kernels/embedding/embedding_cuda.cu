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

/* ---- gradient ----
 * The rows of y are cut into chunks, in each of which the rows of the same id are a run: one warp adds them up,
 * in row order. Then a block for each row of the table adds up the runs of its id, in order of the chunks.
 *
 * Workspace: of each chunk CHUNK ids, those of its runs, rising, then NO_ID; of each run its sum. */

enum {
    CHUNK = MGK_BLOCK,
    WARPS = MGK_BLOCK / MGK_WARP,
    GATHER_BLOCK = 128,
    GATHER_WARPS = GATHER_BLOCK / MGK_WARP,
    AHEAD = 8,              /* vectors read before the first is added */
    PASS_FLOATS = 32 << 20, /* of the sums of all runs */
    NO_ID = INT32_MAX
};

/* Rows that the workspace has room for; more take several passes. */
int64_t rows_a_pass(const mgk_embedding_args *a)
{
    int64_t most = PASS_FLOATS / a->dim / CHUNK * CHUNK;
    most = most < CHUNK ? (int64_t)CHUNK : most;
    return a->rows < most ? a->rows : most;
}

/* Adds the vectors that at(first) .. at(first + M - 1) point to, all read before the first is added. */
template <int M, int N, typename At>
MGK_DEVICE void add_together(float (&sum)[N], int first, const At &at)
{
    float v[M][N];
#pragma unroll
    for (int i = 0; i < M; i++)
        mgk_load_vector<N>(at(first + i), v[i]);
#pragma unroll
    for (int i = 0; i < M; i++)
#pragma unroll
        for (int j = 0; j < N; j++)
            sum[j] += v[i][j];
}

/* Adds the vectors that at(0) .. at(count - 1) point to. */
template <int N, typename At> MGK_DEVICE void add_vectors(float (&sum)[N], int count, const At &at)
{
    int first = 0;
    for (; first + AHEAD <= count; first += AHEAD)
        add_together<AHEAD, N>(sum, first, at);
    if (count - first >= 4) {
        add_together<4, N>(sum, first, at);
        first += 4;
    }
    if (count - first >= 2) {
        add_together<2, N>(sum, first, at);
        first += 2;
    }
    if (count - first >= 1)
        add_together<1, N>(sum, first, at);
}

struct chunk_runs {
    int32_t ids[CHUNK], row[CHUNK]; /* row: in the order of ids, rows of one id in their order */
    int32_t first[CHUNK + 1];       /* of each run, in that order */
    int32_t heads[WARPS];
};

/* Sorts the chunk's rows by id; returns how many runs there are. */
MGK_DEVICE int find_runs(chunk_runs *s, const int32_t *ids, int count, int64_t vocab,
                         int32_t *run_ids)
{
    const int t = (int)threadIdx.x;
    const int32_t id = t < count ? (int32_t)row_of(ids[t], vocab) : NO_ID;
    int rank = 0, before = 0, runs = 0;
    s->ids[t] = id;
    __syncthreads();
#pragma unroll 8
    for (int i = 0; i < CHUNK; i++)
        rank += (uint32_t)s->ids[i] < (uint32_t)id + (i < t);
    s->row[rank] = t;
    __syncthreads();
    const int32_t mine = s->ids[s->row[t]];
    const bool head = t < count && (t == 0 || s->ids[s->row[t - 1]] != mine);
    const unsigned heads = __ballot_sync(0xffffffffu, head);
    if (t % MGK_WARP == 0)
        s->heads[t / MGK_WARP] = (int32_t)heads;
    __syncthreads();
    for (int w = 0; w < WARPS; w++) {
        const int n = __popc((unsigned)s->heads[w]);
        before += w < t / MGK_WARP ? n : 0;
        runs += n;
    }
    before += __popc(heads & ((1u << t % MGK_WARP) - 1));
    if (head) {
        s->first[before] = t;
        run_ids[before] = mine;
    }
    if (t >= runs)
        run_ids[t] = NO_ID;
    if (t == 0)
        s->first[runs] = count;
    __syncthreads();
    return runs;
}

/* Block (chunk, runs of columns). */
template <typename T, int N>
MGK_KERNEL __launch_bounds__(MGK_BLOCK, 3)
    runs_kernel(const int32_t *ids, const T *y, int32_t *run_ids, float *sums, int64_t rows,
                int64_t dim, int64_t vocab)
{
    __shared__ chunk_runs shared;
    const int64_t begin = (int64_t)blockIdx.x * CHUNK;
    const int count = rows - begin < CHUNK ? (int)(rows - begin) : (int)CHUNK;
    const int runs = find_runs(&shared, ids + begin, count, vocab, run_ids + begin);
    const int lane = (int)threadIdx.x % MGK_WARP;
    for (int64_t tile = blockIdx.y; tile * MGK_WARP * N < dim; tile += gridDim.y) {
        const int64_t column = (tile * MGK_WARP + lane) * N;
        for (int run = (int)threadIdx.x / MGK_WARP; run < runs && column < dim; run += WARPS) {
            const int32_t *row = shared.row + shared.first[run];
            const T *from = y + begin * dim + column;
            float sum[N] = {};
            add_vectors<N>(sum, shared.first[run + 1] - shared.first[run],
                           [=](int i) { return from + row[i] * dim; });
            mgk_store_vector<N>(sums + (begin + run) * dim + column, sum);
        }
    }
}

/* Block (table row, runs of columns): each warp adds every GATHER_WARPSth run of a group of chunks. */
template <int N>
MGK_KERNEL __launch_bounds__(GATHER_BLOCK, 6)
    gather_kernel(const int32_t *run_ids, const float *sums, float *table, int64_t chunks,
                  int64_t dim)
{
    __shared__ int64_t found[GATHER_BLOCK];
    __shared__ unsigned has[GATHER_WARPS];
    __shared__ float parts[GATHER_WARPS][MGK_WARP * N];
    const int t = (int)threadIdx.x, lane = t % MGK_WARP, warp = t / MGK_WARP;
    const int32_t id = (int32_t)blockIdx.x;
    for (int64_t tile = blockIdx.y; tile * MGK_WARP * N < dim; tile += gridDim.y) {
        const int64_t column = (tile * MGK_WARP + lane) * N;
        float sum[N] = {};
        int all = 0;
        for (int64_t base = 0; base < chunks; base += GATHER_BLOCK) {
            int64_t low = (base + t) * CHUNK;
            const bool inside = base + t < chunks;
            for (int step = CHUNK / 2; inside && step > 0; step /= 2)
                low += run_ids[low + step - 1] < id ? step : 0;
            const bool is_here = inside && run_ids[low] == id;
            const unsigned here = __ballot_sync(0xffffffffu, is_here);
            if (lane == 0)
                has[warp] = here;
            __syncthreads();
            int at = __popc(here & ((1u << lane) - 1)), count = 0;
            for (int w = 0; w < GATHER_WARPS; w++) {
                at += w < warp ? __popc(has[w]) : 0;
                count += __popc(has[w]);
            }
            if (is_here)
                found[at] = low;
            __syncthreads();
            all += count;
            if (column < dim && warp < count)
                add_vectors<N>(sum, (count - warp + GATHER_WARPS - 1) / GATHER_WARPS, [&](int i) {
                    return sums + found[warp + i * GATHER_WARPS] * dim + column;
                });
            __syncthreads();
        }
        if (all == 0)
            continue;
        for (int j = 0; j < N; j++)
            parts[warp][lane * N + j] = sum[j];
        __syncthreads();
        const int64_t first = tile * MGK_WARP * N;
        for (int i = t; i < MGK_WARP * N && first + i < dim; i += GATHER_BLOCK) {
            float whole = 0;
            for (int w = 0; w < GATHER_WARPS; w++)
                whole += parts[w][i];
            table[id * dim + first + i] += whole;
        }
        __syncthreads();
    }
}

template <typename T, int N> void scatter(const mgk_embedding_args *a, mgk_exec *x)
{
    const int64_t pass = rows_a_pass(a), tiles = (a->dim + MGK_WARP * N - 1) / (MGK_WARP * N);
    const unsigned grid_y = (unsigned)(tiles < 65535 ? tiles : 65535);
    int32_t *run_ids = (int32_t *)x->workspace;
    float *sums = (float *)(run_ids + (pass + CHUNK - 1) / CHUNK * CHUNK);
    for (int64_t first = 0; first < a->rows; first += pass) {
        const int64_t rows = a->rows - first < pass ? a->rows - first : pass;
        const int64_t chunks = (rows + CHUNK - 1) / CHUNK;
        MGK_LAUNCH(x, (runs_kernel<T, N>), dim3((unsigned)chunks, grid_y), MGK_BLOCK, 0,
                   MGK_I(a->ids) + first, (const T *)a->y.p + first * a->dim, run_ids, sums, rows,
                   a->dim, a->vocab);
        MGK_LAUNCH(x, gather_kernel<N>, dim3((unsigned)a->vocab, grid_y), GATHER_BLOCK, 0, run_ids,
                   sums, MGK_F(a->table), chunks, a->dim);
    }
}

template <typename T> void scatter_as(const mgk_embedding_args *a, mgk_exec *x)
{
    if (a->dim % 4 == 0 && mgk_is_aligned(a->y))
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
    if (a->rows * a->dim == 0)
        return 0;
    const int64_t rows = rows_a_pass(a), ids = (rows + CHUNK - 1) / CHUNK * CHUNK;
    return sizeof(float) * (size_t)(ids + rows * a->dim);
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
