/* SPDX-License-Identifier: MIT
 * attention and its gradient by tensor cores where all queries and keys of a
 * head fit into shared memory: a block of threads for each head of a batch
 * item, which reads everything once (gradient of the bias: it writes down its
 * sums by distance to the workspace, where a second kernel adds them up). What
 * does not fit, has a block list, shares keys among heads (gradient) or is f32
 * goes to the variant "cuda". */
#include "kernels/attention/attention_cuda.h"
#include "kernels/common/cuda_wmma.h"

namespace
{

enum {
    QUERIES_MAX = 64,
    KEYS_MAX = 128,
    DIM_MAX = 128,
    TILE_ROW = MGK_WMMA + 4, /* of a tile of sums, which each warp has two of */
    TILE_SIZE = MGK_WMMA * TILE_ROW,
    EIGHT = 8,             /* neighbours that a thread takes at once */
    MEMORY_MAX = 99 * 1024 /* of every device with tensor cores for bf16 */
};

/* Of the tiles in shared memory, in whole tiles of 16. Rows are longer by 8,
 * for the sake of the banks. */
struct sizes {
    int queries, keys, dim, row, key_row, warps;
    bool vectors; /* eight neighbours can be loaded and stored at once */
};

inline int in_tiles(int64_t n)
{
    return (int)((n + MGK_WMMA - 1) / MGK_WMMA * MGK_WMMA);
}

inline int forward_bytes(const sizes &z)
{
    return 2 * (z.queries + 2 * z.keys) * z.row + 2 * z.queries * z.key_row +
           4 * z.queries * (z.keys + 4) + 4 * z.warps * 2 * TILE_SIZE + 4 * 2 * z.queries + z.keys;
}

inline int gradient_bytes(const sizes &z, bool biased)
{
    return 4 * (biased ? z.queries * z.keys : 0) + 2 * 2 * (z.queries + z.keys) * z.row +
           2 * 2 * z.queries * z.key_row + 4 * z.warps * 2 * TILE_SIZE + 4 * 2 * z.queries + z.keys;
}

inline bool in_eights(mgk_buf b, int64_t row, int64_t batch)
{
    return (uintptr_t)b.p % 16 == 0 && row % EIGHT == 0 && batch % EIGHT == 0;
}

inline bool fits(const mgk_attention_args *a, bool gradient, sizes *z)
{
    if (a->q.dtype != MGK_BF16 || a->block_start.p || a->sq > QUERIES_MAX || a->sk > KEYS_MAX ||
        a->sq < 1 || a->sk < 1 || a->head_dim > DIM_MAX || a->batch * a->heads > LAUNCH_MAX ||
        a->batch * a->heads < 1 || (gradient && a->kv_heads && a->kv_heads != a->heads))
        return false;
    z->queries = in_tiles(a->sq);
    z->keys = in_tiles(a->sk);
    z->dim = in_tiles(a->head_dim);
    z->row = z->dim + EIGHT;
    z->key_row = z->keys + EIGHT;
    z->vectors = a->head_dim % EIGHT == 0 && in_eights(a->q, a->q_row, a->q_batch) &&
                 in_eights(a->k, a->k_row, a->k_batch) && in_eights(a->v, a->v_row, a->v_batch) &&
                 in_eights(a->o, a->o_row, a->o_batch) && in_eights(a->d_o, a->o_row, a->o_batch) &&
                 in_eights(a->dq, a->q_row, a->q_batch) && in_eights(a->dk, a->k_row, a->k_batch) &&
                 in_eights(a->dv, a->v_row, a->v_batch);
    for (z->warps = 8; z->warps >= 4; z->warps /= 2)
        if ((z->warps == 4 || z->queries * z->keys > 8 * MGK_WMMA * MGK_WMMA) &&
            (gradient ? gradient_bytes(*z, a->d_bias.p) : forward_bytes(*z)) <= MEMORY_MAX)
            return true;
    return false;
}

/* ---- eight values ---- */

struct alignas(16) eight {
    mgk_bf16 v[EIGHT];
};

/* Values d.. d + 7 of a vector of dim values at p; zeros where there are none.
 */
MGK_DEVICE eight load_eight(const mgk_bf16 *p, int d, int dim, bool valid, bool vectors)
{
    eight e;
    if (valid && vectors && d < dim)
        return *(const eight *)(p + d);
#pragma unroll
    for (int i = 0; i < EIGHT; i++) {
        e.v[i].bits = 0;
        if (valid && d + i < dim)
            e.v[i] = p[d + i];
    }
    return e;
}

MGK_DEVICE void store_eight(mgk_bf16 *p, int d, int dim, const eight &e, bool vectors)
{
    if (vectors && d < dim)
        *(eight *)(p + d) = e;
#pragma unroll
    for (int i = 0; i < EIGHT && !vectors; i++)
        if (d + i < dim)
            p[d + i] = e.v[i];
}

/* ---- a block's work ---- */

struct block_work {
    const problem &p;
    const sizes &z;
    int64_t b, h, kv;
    int warp, lane;
    mgk_bf16 *next; /* shared memory not given away yet */

    __device__ __forceinline__ block_work(const problem &problem_, const sizes &sizes_,
                                          unsigned char *memory)
        : p(problem_), z(sizes_), b(blockIdx.x / p.a.heads), h(blockIdx.x % p.a.heads),
          kv(h / p.group), warp((int)threadIdx.x / MGK_WARP), lane((int)threadIdx.x % MGK_WARP),
          next((mgk_bf16 *)(void *)memory)
    {
    }

    __device__ __forceinline__ mgk_bf16 *take(int values)
    {
        mgk_bf16 *at = next;
        next += values;
        return at;
    }

    __device__ __forceinline__ float *take_floats(int values)
    {
        return (float *)(void *)take(2 * values);
    }

    __device__ __forceinline__ void take_valid(uint8_t *valid) const
    {
        for (int j = (int)threadIdx.x; j < z.keys; j += (int)blockDim.x)
            valid[j] = j < p.a.sk && (!p.a.mask.p || MGK_B(p.a.mask)[b * p.a.sk + j]);
    }

    __device__ __forceinline__ void take_keys(mgk_bf16 *k, mgk_bf16 *v, const uint8_t *valid) const
    {
        const head_rows<mgk_bf16> from_k = key_rows<mgk_bf16>(p.a, p.a.k, b, kv, 0, 0);
        const head_rows<mgk_bf16> from_v = value_rows<mgk_bf16>(p.a, p.a.v, b, kv, 0, 0);
        const int eights = z.dim / EIGHT, dim = (int)p.a.head_dim;
        for (int t = (int)threadIdx.x; t < z.keys * eights; t += (int)blockDim.x) {
            const int row = t / eights, d = t % eights * EIGHT;
            eight x = load_eight(from_k.p + row * from_k.row, d, dim, valid[row], z.vectors);
            eight y = load_eight(from_v.p + row * from_v.row, d, dim, valid[row], z.vectors);
            *(eight *)(k + row * z.row + d) = x;
            *(eight *)(v + row * z.row + d) = y;
        }
    }

    /* The 16 x 16 sums of `count` products of tiles; all of the warp may read
   * them. */
    template <typename A, typename B>
    __device__ __forceinline__ void product(float *to, int to_row, const mgk_bf16 *x, int x_row,
                                            int x_step, const mgk_bf16 *y, int y_row, int y_step,
                                            int count) const
    {
        mgk_wmma_sum sum;
        mgk_wmma_clear(sum);
        for (int i = 0; i < count; i++) {
            A left;
            B right;
            mgk_wmma_load(left, x + i * x_step, x_row);
            mgk_wmma_load(right, y + i * y_step, y_row);
            mgk_wmma_add(sum, left, right);
        }
        __syncwarp();
        mgk_wmma_store(to, sum, to_row);
        __syncwarp();
    }

    /* Tile (row, column) of rows of x . rows of y. */
    __device__ __forceinline__ void scores(float *to, int to_row, const mgk_bf16 *x,
                                           const mgk_bf16 *y, int row, int column) const
    {
        product<mgk_wmma_a, mgk_wmma_b_transposed>(to, to_row, x + row * MGK_WMMA * z.row, z.row,
                                                   MGK_WMMA, y + column * MGK_WMMA * z.row, z.row,
                                                   MGK_WMMA, z.dim / MGK_WMMA);
    }

    /* Bias of a query and a key that are there, in powers of two. */
    __device__ __forceinline__ float bias(int i, int j) const
    {
        return p.a.bias.p ? MGK_F(p.a.bias)[h * p.span + p.zero + j - i] * LOG2_E : 0.0f;
    }

    /* Tile (row, column) of a result: each row times its factor, or all times
   * `scale`. */
    __device__ __forceinline__ void put(const head_rows<mgk_bf16> &to, int64_t rows,
                                        const float *tile, int row, int column, float scale,
                                        const float *factors) const
    {
        const int r = row * MGK_WMMA + lane / 2, d = column * MGK_WMMA + lane % 2 * EIGHT;
        const float *from = tile + lane / 2 * TILE_ROW + lane % 2 * EIGHT;
        if (r >= rows)
            return;
        if (factors)
            scale = factors[r];
        eight e;
#pragma unroll
        for (int i = 0; i < EIGHT; i++)
            mgk_store(&e.v[i], from[i] * scale);
        store_eight(to.p + r * to.row, d, (int)p.a.head_dim, e, z.vectors);
    }
};

/* ---- forward ---- */

/* A warp turns a row of scores into weights relative to its maximum. */
MGK_DEVICE void softmax_row(const block_work &w, const uint8_t *valid, const float *s,
                            mgk_bf16 *weights, float *factors, int row)
{
    enum { COUNT = KEYS_MAX / MGK_WARP };
    const mgk_attention_args &a = w.p.a;
    float x[COUNT], top = -INFINITY, total = 0;
#pragma unroll
    for (int c = 0; c < COUNT; c++) {
        const int j = c * MGK_WARP + w.lane;
        x[c] = -INFINITY;
        if (row < a.sq && j < a.sk && valid[j])
            x[c] = s[j] * (a.scale * LOG2_E) + w.bias(row, j);
        top = fmaxf(top, x[c]);
    }
    top = mgk_warp_max(top);
    const float from = top == -INFINITY ? 0.0f : top;
#pragma unroll
    for (int c = 0; c < COUNT; c++) {
        const int j = c * MGK_WARP + w.lane;
        const float e = exp2f(x[c] - from);
        total += e;
        if (j < w.z.keys)
            mgk_store(weights + j, e);
    }
    total = mgk_warp_sum(total);
    if (w.lane != 0)
        return;
    factors[row] = total == 0 ? 0 : 1 / total;
    if (a.lse.p && row < a.sq)
        MGK_F(a.lse)
    [(w.b * a.heads + w.h) * a.sq + row] = (top + log2f(total)) * LN_2;
}

MGK_KERNEL __launch_bounds__(256) short_kernel(problem p, sizes z)
{
    MGK_DYNAMIC_SHARED(unsigned char, memory);
    const mgk_attention_args &a = p.a;
    block_work w(p, z, memory);
    mgk_bf16 *q = w.take(z.queries * z.row), *k = w.take(z.keys * z.row);
    mgk_bf16 *v = w.take(z.keys * z.row), *weights = w.take(z.queries * z.key_row);
    const int s_row = z.keys + 4;
    float *s = w.take_floats(z.queries * s_row);
    float *tile = w.take_floats(z.warps * 2 * TILE_SIZE) + w.warp * 2 * TILE_SIZE;
    float *factors = w.take_floats(2 * z.queries);
    uint8_t *valid = (uint8_t *)w.next;
    w.take_valid(valid);
    const head_rows<mgk_bf16> from = query_rows<mgk_bf16>(a, a.q, w.b, w.h, 0, 0);
    const int eights = z.dim / EIGHT;
    for (int t = (int)threadIdx.x; t < z.queries * eights; t += (int)blockDim.x) {
        const int row = t / eights, d = t % eights * EIGHT;
        *(eight *)(q + row * z.row + d) =
            load_eight(from.p + row * from.row, d, (int)a.head_dim, row < a.sq, z.vectors);
    }
    __syncthreads();
    w.take_keys(k, v, valid);
    __syncthreads();
    const int rows = z.queries / MGK_WMMA, columns = z.keys / MGK_WMMA, depth = z.dim / MGK_WMMA;
    for (int t = w.warp; t < rows * columns; t += z.warps)
        w.scores(s + (t / columns * s_row + t % columns) * MGK_WMMA, s_row, q, k, t / columns,
                 t % columns);
    __syncthreads();
    for (int row = w.warp; row < z.queries; row += z.warps)
        softmax_row(w, valid, s + row * s_row, weights + row * z.key_row, factors, row);
    __syncthreads();
    const head_rows<mgk_bf16> to = out_rows<mgk_bf16>(a, a.o, w.b, w.h, 0, 0);
    for (int t = w.warp; t < rows * depth; t += z.warps) {
        w.product<mgk_wmma_a, mgk_wmma_b>(
            tile, TILE_ROW, weights + t / depth * MGK_WMMA * z.key_row, z.key_row, MGK_WMMA,
            v + t % depth * MGK_WMMA, z.row, MGK_WMMA * z.row, columns);
        w.put(to, a.sq, tile, t / depth, t % depth, 0, factors);
    }
}

/* ---- gradient ---- */

/* q, d_o, and of each eight of d_o its product with o. */
MGK_DEVICE void take_queries(const block_work &w, mgk_bf16 *q, mgk_bf16 *d_o, float *parts)
{
    const mgk_attention_args &a = w.p.a;
    const head_rows<mgk_bf16> from_q = query_rows<mgk_bf16>(a, a.q, w.b, w.h, 0, 0);
    const head_rows<mgk_bf16> from_d_o = out_rows<mgk_bf16>(a, a.d_o, w.b, w.h, 0, 0);
    const head_rows<mgk_bf16> from_o = out_rows<mgk_bf16>(a, a.o, w.b, w.h, 0, 0);
    const int eights = w.z.dim / EIGHT, dim = (int)a.head_dim;
    for (int t = (int)threadIdx.x; t < w.z.queries * eights; t += (int)blockDim.x) {
        const int row = t / eights, d = t % eights * EIGHT;
        const bool is = row < a.sq;
        eight x = load_eight(from_q.p + row * from_q.row, d, dim, is, w.z.vectors);
        eight y = load_eight(from_d_o.p + row * from_d_o.row, d, dim, is, w.z.vectors);
        eight o = load_eight(from_o.p + row * from_o.row, d, dim, is, w.z.vectors);
        float sum = 0;
#pragma unroll
        for (int i = 0; i < EIGHT; i++)
            sum += mgk_load(o.v[i]) * mgk_load(y.v[i]);
        *(eight *)(q + row * w.z.row + d) = x;
        *(eight *)(d_o + row * w.z.row + d) = y;
        parts[t] = sum;
    }
}

/* lse, in powers of two, and d_o . o; infinity where no key counted or no query
 * is: p = 0. */
MGK_DEVICE void take_sums(const block_work &w, float *lse, float *delta, const float *parts)
{
    const mgk_attention_args &a = w.p.a;
    const int eights = w.z.dim / EIGHT;
    for (int i = (int)threadIdx.x; i < w.z.queries; i += (int)blockDim.x) {
        float x = i < a.sq ? MGK_F(a.lse)[(w.b * a.heads + w.h) * a.sq + i] : -INFINITY;
        float sum = 0;
        for (int e = 0; e < eights; e++)
            sum += parts[i * eights + e];
        lse[i] = x == -INFINITY ? INFINITY : x * LOG2_E;
        delta[i] = sum;
    }
}

/* From a tile of q . k and one of d_o . v the probabilities and the gradients
 * of the scores. */
MGK_DEVICE void differentiate(const block_work &w, const float *tile, const uint8_t *valid,
                              const float *lse, const float *delta, mgk_bf16 *weights,
                              mgk_bf16 *d_scores, float *unrounded, int row, int column)
{
    const mgk_attention_args &a = w.p.a;
    const int i = row * MGK_WMMA + w.lane / 2, j0 = column * MGK_WMMA + w.lane % 2 * EIGHT;
    const float *s = tile + w.lane / 2 * TILE_ROW + w.lane % 2 * EIGHT, *dp = s + TILE_SIZE;
    eight x, y;
#pragma unroll
    for (int c = 0; c < EIGHT; c++) {
        float probability = 0;
        if (i < a.sq && valid[j0 + c])
            probability = exp2f(s[c] * (a.scale * LOG2_E) + w.bias(i, j0 + c) - lse[i]);
        mgk_store(&x.v[c], probability);
        const float d_score = probability * (dp[c] - delta[i]);
        mgk_store(&y.v[c], d_score);
        if (unrounded)
            unrounded[i * w.z.keys + j0 + c] = d_score;
    }
    *(eight *)(weights + i * w.z.key_row + j0) = x;
    *(eight *)(d_scores + i * w.z.key_row + j0) = y;
}

/* Sums of the gradients of the scores by distance, that of key 0 to the last
 * query first. */
MGK_DEVICE void put_distances(const block_work &w, const float *d_scores, float *sums)
{
    const int sq = (int)w.p.a.sq, sk = (int)w.p.a.sk, count = sq + sk - 1;
    for (int t = (int)threadIdx.x; t < count; t += (int)blockDim.x) {
        const int distance = t - (sq - 1), end = sk - distance < sq ? sk - distance : sq;
        float sum = 0;
        for (int i = distance < 0 ? -distance : 0; i < end; i++)
            sum += d_scores[i * w.z.keys + i + distance];
        sums[blockIdx.x * (int64_t)count + t] = sum;
    }
}

enum { SUM_COLUMNS = 32, SUM_PARTS = 8 };

/* A block for 32 pairs of head and distance: each part of it adds every eighth
 * batch item. */
MGK_KERNEL __launch_bounds__(SUM_COLUMNS *SUM_PARTS) distances_kernel(problem p, const float *sums)
{
    __shared__ double parts[SUM_PARTS][SUM_COLUMNS];
    const mgk_attention_args &a = p.a;
    const int64_t distances = a.sq + a.sk - 1, columns = a.heads * distances;
    const int part = (int)threadIdx.x / SUM_COLUMNS, at = (int)threadIdx.x % SUM_COLUMNS;
    const int64_t column = (int64_t)blockIdx.x * SUM_COLUMNS + at;
    double sum = 0;
#pragma unroll 8
    for (int64_t b = part; b < a.batch && column < columns; b += SUM_PARTS)
        sum += sums[b * columns + column];
    parts[part][at] = sum;
    __syncthreads();
    if (part > 0 || column >= columns)
        return;
    for (int i = 1; i < SUM_PARTS; i++)
        sum += parts[i][at];
    MGK_F(a.d_bias)
    [column / distances * p.span + p.zero + column % distances - (a.sq - 1)] += (float)sum;
}

MGK_KERNEL __launch_bounds__(256) short_grad_kernel(problem p, sizes z, float *sums)
{
    MGK_DYNAMIC_SHARED(unsigned char, memory);
    const mgk_attention_args &a = p.a;
    block_work w(p, z, memory);
    mgk_bf16 *q = w.take(z.queries * z.row), *d_o = w.take(z.queries * z.row);
    mgk_bf16 *k = w.take(z.keys * z.row), *v = w.take(z.keys * z.row);
    mgk_bf16 *weights = w.take(z.queries * z.key_row), *d_scores = w.take(z.queries * z.key_row);
    float *tile = w.take_floats(z.warps * 2 * TILE_SIZE) + w.warp * 2 * TILE_SIZE;
    float *lse = w.take_floats(z.queries), *delta = w.take_floats(z.queries);
    float *unrounded = sums ? w.take_floats(z.queries * z.keys) : NULL;
    float *parts = (float *)(void *)weights; /* there is room: dim <= 128, at least 16 keys */
    uint8_t *valid = (uint8_t *)w.next;
    w.take_valid(valid);
    take_queries(w, q, d_o, parts);
    __syncthreads();
    take_sums(w, lse, delta, parts);
    w.take_keys(k, v, valid);
    __syncthreads();
    const int rows = z.queries / MGK_WMMA, columns = z.keys / MGK_WMMA, depth = z.dim / MGK_WMMA;
    for (int t = w.warp; t < rows * columns; t += z.warps) {
        const int row = t / columns, column = t % columns;
        w.scores(tile, TILE_ROW, q, k, row, column);
        w.scores(tile + TILE_SIZE, TILE_ROW, d_o, v, row, column);
        differentiate(w, tile, valid, lse, delta, weights, d_scores, unrounded, row, column);
    }
    __syncthreads();
    if (unrounded)
        put_distances(w, unrounded, sums);
    const head_rows<mgk_bf16> dq = query_rows<mgk_bf16>(a, a.dq, w.b, w.h, 0, 0);
    const head_rows<mgk_bf16> dk = key_rows<mgk_bf16>(a, a.dk, w.b, w.kv, 0, 0);
    const head_rows<mgk_bf16> dv = value_rows<mgk_bf16>(a, a.dv, w.b, w.kv, 0, 0);
    for (int t = w.warp; t < (rows + 2 * columns) * depth; t += z.warps) {
        const int column = t % depth, at = column * MGK_WMMA;
        int row = t / depth;
        if (row < rows) {
            w.product<mgk_wmma_a, mgk_wmma_b>(tile, TILE_ROW, d_scores + row * MGK_WMMA * z.key_row,
                                              z.key_row, MGK_WMMA, k + at, z.row, MGK_WMMA * z.row,
                                              columns);
            w.put(dq, a.sq, tile, row, column, a.scale, NULL);
            continue;
        }
        row -= rows;
        const bool values = row >= columns;
        row -= values ? columns : 0;
        w.product<mgk_wmma_a_transposed, mgk_wmma_b>(
            tile, TILE_ROW, (values ? weights : d_scores) + row * MGK_WMMA, z.key_row,
            MGK_WMMA * z.key_row, (values ? d_o : q) + at, z.row, MGK_WMMA * z.row, rows);
        const head_rows<mgk_bf16> to = {values ? dv.p : dk.p, values ? dv.row : dk.row, 0};
        w.put(to, a.sk, tile, row, column, values ? 1.0f : a.scale, NULL);
    }
}

} // namespace

extern "C" void mgk_attention_cuda(const void *args, mgk_exec *x);
extern "C" void mgk_attention_grad_cuda(const void *args, mgk_exec *x);
extern "C" size_t mgk_attention_grad_cuda_workspace(const void *args, int threads);

MGK_LAUNCHER(attention, sm80)
{
    problem p = problem_of((const mgk_attention_args *)args);
    sizes z;
    if (!fits(&p.a, false, &z)) {
        mgk_attention_cuda(args, x);
        return;
    }
    const int bytes = forward_bytes(z);
    MGK_ALLOW_SHARED(short_kernel, bytes);
    MGK_LAUNCH(x, short_kernel, (int)(p.a.batch * p.a.heads), z.warps * MGK_WARP, bytes, p, z);
}

MGK_WORKSPACE(attention_grad, sm80)
{
    return mgk_attention_grad_cuda_workspace(args, threads);
}

MGK_LAUNCHER(attention_grad, sm80)
{
    problem p = problem_of((const mgk_attention_args *)args);
    sizes z;
    if (!fits(&p.a, true, &z)) {
        mgk_attention_grad_cuda(args, x);
        return;
    }
    const int bytes = gradient_bytes(z, p.a.d_bias.p);
    MGK_ALLOW_SHARED(short_grad_kernel, bytes);
    float *sums = p.a.d_bias.p ? (float *)x->workspace : NULL; /* less than "cuda" needs */
    MGK_LAUNCH(x, short_grad_kernel, (int)(p.a.batch * p.a.heads), z.warps * MGK_WARP, bytes, p, z,
               sums);
    const int64_t columns = p.a.heads * (p.a.sq + p.a.sk - 1);
    if (sums)
        MGK_LAUNCH(x, distances_kernel, (unsigned)((columns + SUM_COLUMNS - 1) / SUM_COLUMNS),
                   SUM_COLUMNS * SUM_PARTS, 0, p, sums);
}
