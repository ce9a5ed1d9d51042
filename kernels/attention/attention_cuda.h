/* SPDX-License-Identifier: MIT
 * Products of tiles for attention on the plain cores of a CUDA device, and how its arguments name keys,
 * tables and blocks there.
 *
 * A block of 16 x 64 / R threads holds a tile of 64 rows and walks over tiles of 64 columns: queries over keys,
 * or, for dk and dv, keys over queries. Thread (ty, tx) has the rows from R ty on and of scores the columns
 * from 4 tx on. Factors pass through shared memory as f32: for scores slices of at most 32 of head_dim,
 * transposed, which both of a product's threads read four at a time; weights of columns are kept transposed
 * too. What begins at a multiple of 4 is moved within its line by an XOR, so that the accesses of a warp fall on
 * different banks.
 */
#ifndef MGK_ATTENTION_CUDA_H
#define MGK_ATTENTION_CUDA_H

#include "kernels/attention/attention.h"
#include "kernels/common/cuda_vector.h"

namespace
{

enum { SIDE = 64, TABLE = 2 * SIDE, LAUNCH_MAX = 1 << 30 };
constexpr float LOG2_E = 1.44269504f, LN_2 = 0.693147181f;

/* ---- arguments ---- */

struct tiling {
    int64_t count, block, parts, tiles; /* blocks of `block` values, in `parts` tiles each */
};

struct problem {
    mgk_attention_args a;
    int64_t kv_heads, group; /* group: heads that share a key and value head */
    int64_t span, zero;      /* of the bias: entries a head, the entry of query 0 and key 0 */
    tiling q, k;             /* no tile reaches over the end of a block of the block list */
    bool vectors;            /* four neighbours in a row can be loaded and stored at once */
};

inline tiling tiling_of(int64_t count, int64_t block)
{
    tiling t = {count, block, 0, 0};
    if (t.block > count)
        t.block = count;
    if (t.block < 1)
        t.block = 1;
    t.parts = (t.block + SIDE - 1) / SIDE;
    t.tiles = (count + t.block - 1) / t.block * t.parts;
    return t;
}

inline bool in_fours(mgk_buf b, int64_t row, int64_t batch)
{
    uintptr_t bytes = b.dtype == MGK_BF16 ? 8 : 16;
    return (uintptr_t)b.p % bytes == 0 && row % 4 == 0 && batch % 4 == 0;
}

inline problem problem_of(const mgk_attention_args *a)
{
    problem p;
    memset(&p, 0, sizeof p);
    p.a = *a;
    p.kv_heads = a->kv_heads ? a->kv_heads : a->heads;
    p.group = p.kv_heads ? a->heads / p.kv_heads : 1;
    p.span = a->bias_span ? a->bias_span : a->sq + a->sk - 1;
    p.zero = a->bias_span ? a->k_offset - a->q_offset + a->bias_span / 2 : a->sq - 1;
    bool list = a->block_start.p;
    p.q = tiling_of(a->sq, list ? a->block_q : a->sq);
    p.k = tiling_of(a->sk, list ? a->block_k : a->sk);
    p.vectors = a->head_dim % 4 == 0 && in_fours(a->q, a->q_row, a->q_batch) &&
                in_fours(a->k, a->k_row, a->k_batch) && in_fours(a->v, a->v_row, a->v_batch) &&
                in_fours(a->o, a->o_row, a->o_batch) && in_fours(a->d_o, a->o_row, a->o_batch) &&
                in_fours(a->dq, a->q_row, a->q_batch) && in_fours(a->dk, a->k_row, a->k_batch) &&
                in_fours(a->dv, a->v_row, a->v_batch);
    return p;
}

/* A block of threads for each of so many tasks, or as many as one launch may have. */
inline int grid_of(int64_t tasks)
{
    return tasks > LAUNCH_MAX ? (int)LAUNCH_MAX : (int)tasks;
}

/* A tile: its first value, how many there are (none: it lies behind the end of its block). */
MGK_DEVICE int64_t tile_of(const tiling &t, int64_t block, int64_t part, int *n)
{
    int64_t first = block * t.block + part * SIDE, end = (block + 1) * t.block;
    int64_t left = (end < t.count ? end : t.count) - first;
    *n = left < 0 ? 0 : left < SIDE ? (int)left : SIDE;
    return first;
}

MGK_DEVICE uint64_t bits_of(int n)
{
    return n >= SIDE ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1;
}

/* One bit for each of n keys from j on: it counts. The same for all threads. */
MGK_DEVICE uint64_t keys_that_count(const mgk_attention_args &a, int64_t b, int64_t j, int n)
{
    if (!a.mask.p)
        return bits_of(n);
    const uint8_t *mask = MGK_B(a.mask) + b * a.sk + j;
    int lane = (int)threadIdx.x % MGK_WARP;
    unsigned low = __ballot_sync(0xffffffffu, lane < n && mask[lane]);
    unsigned high = __ballot_sync(0xffffffffu, lane + 32 < n && mask[lane + 32]);
    return low | (uint64_t)high << 32;
}

/* Whether a block of queries attends to a block of keys. */
MGK_DEVICE bool listed(const mgk_attention_args &a, int64_t q_block, int64_t k_block)
{
    if (!a.block_start.p)
        return true;
    const int32_t *index = MGK_I(a.block_index);
    int64_t low = MGK_I(a.block_start)[q_block], end = MGK_I(a.block_start)[q_block + 1],
            high = end;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (index[middle] < k_block)
            low = middle + 1;
        else
            high = middle;
    }
    return low < end && index[low] == k_block;
}

/* ---- values in global memory ---- */

/* Up to 64 vectors of a head; those whose bit is not set are zeros and are not read. */
template <typename T> struct head_rows {
    T *p;
    int64_t row;
    uint64_t valid;
};

template <typename T>
MGK_DEVICE head_rows<T> rows_of(mgk_buf b, int64_t at, int64_t row, uint64_t valid)
{
    head_rows<T> r = {(T *)b.p + at, row, valid};
    return r;
}

/* Vectors of a head from a token on, in buffers with the strides of q, o, k and v. */
template <typename T>
MGK_DEVICE head_rows<T> query_rows(const mgk_attention_args &a, mgk_buf buf, int64_t b, int64_t h,
                                   int64_t i, uint64_t valid)
{
    return rows_of<T>(buf, b * a.q_batch + i * a.q_row + h * a.head_dim, a.q_row, valid);
}

template <typename T>
MGK_DEVICE head_rows<T> out_rows(const mgk_attention_args &a, mgk_buf buf, int64_t b, int64_t h,
                                 int64_t i, uint64_t valid)
{
    return rows_of<T>(buf, b * a.o_batch + i * a.o_row + h * a.head_dim, a.o_row, valid);
}

template <typename T>
MGK_DEVICE head_rows<T> key_rows(const mgk_attention_args &a, mgk_buf buf, int64_t b, int64_t kv,
                                 int64_t j, uint64_t valid)
{
    return rows_of<T>(buf, b * a.k_batch + j * a.k_row + kv * a.head_dim, a.k_row, valid);
}

template <typename T>
MGK_DEVICE head_rows<T> value_rows(const mgk_attention_args &a, mgk_buf buf, int64_t b, int64_t kv,
                                   int64_t j, uint64_t valid)
{
    return rows_of<T>(buf, b * a.v_batch + j * a.v_row + kv * a.head_dim, a.v_row, valid);
}

template <typename T> MGK_DEVICE float4 load_four(const T *p)
{
    float v[4];
    mgk_load_vector<4>(p, v);
    return make_float4(v[0], v[1], v[2], v[3]);
}

/* ---- tiles in shared memory ---- */

/* LEFTS: products of scores whose left factor stays (if head_dim is at most 32) */
template <int D, int LEFTS> struct tile_memory {
    enum {
        SLICE = 32,             /* of head_dim, for scores */
        WIDE = D < 64 ? D : 64, /* of head_dim, for sums over columns */
        STAYS = D <= 32,
        SIZE = SIDE * SLICE
    };
    float factors[(STAYS ? LEFTS + 1 : 2) * SIZE];
    float weights[SIDE * SIDE];
    float bias[TABLE], lse[SIDE], delta[SIDE];
};

/* A thread and its block's memory. */
template <typename T, int D, int R, int LEFTS> struct tiles {
    typedef tile_memory<D, LEFTS> memory;
    enum {
        THREADS = 16 * SIDE / R,
        SLICE = memory::SLICE,
        WIDE = memory::WIDE,
        PARTS = D / WIDE,     /* of a sum's columns */
        COLUMNS = WIDE / 16,  /* of each part, a thread: 2 or 4 */
        STAYS = memory::STAYS /* left factors stay */
    };
    memory *m;
    int dim, tx, ty;
    bool vectors;

    __device__ __forceinline__ tiles(const problem &p, memory *shared)
        : m(shared), dim((int)p.a.head_dim), tx((int)threadIdx.x % 16), ty((int)threadIdx.x / 16),
          vectors(p.vectors)
    {
    }

    /* Values d.. d + 3 of a vector that begins at p. */
    __device__ __forceinline__ float4 load(const T *p, int d, bool valid) const
    {
        if (!valid || d >= dim)
            return make_float4(0, 0, 0, 0);
        if (vectors)
            return load_four(p + d);
        float v[4];
#pragma unroll
        for (int e = 0; e < 4; e++)
            v[e] = d + e < dim ? mgk_load(p[d + e]) : 0.0f;
        return make_float4(v[0], v[1], v[2], v[3]);
    }

    /* Values d0.. of each vector, transposed. */
    __device__ __forceinline__ void take_slice(float *to, const head_rows<T> &from, int d0) const
    {
        enum { FOURS = SLICE / 4, STEP = THREADS / FOURS };
        int row = (int)threadIdx.x / FOURS, four = (int)threadIdx.x % FOURS;
        const T *p = from.p + row * from.row;
#pragma unroll
        for (int i = 0; i < SIDE / STEP; i++, row += STEP, p += STEP * from.row) {
            float4 v = load(p, d0 + 4 * four, from.valid >> row & 1);
            float *at = to + 4 * four * SIDE + (row ^ (4 * four));
            at[0] = v.x;
            at[SIDE] = v.y;
            at[2 * SIDE] = v.z;
            at[3 * SIDE] = v.w;
        }
    }

    __device__ __forceinline__ void take_wide(float *to, const head_rows<T> &from, int d0) const
    {
        enum { FOURS = WIDE / 4, STEP = THREADS / FOURS };
        int row = (int)threadIdx.x / FOURS, four = (int)threadIdx.x % FOURS;
        const T *p = from.p + row * from.row;
#pragma unroll 4
        for (int i = 0; i < SIDE / STEP; i++, row += STEP, p += STEP * from.row)
            *(float4 *)(void *)(to + row * WIDE + 4 * four) =
                load(p, d0 + 4 * four, from.valid >> row & 1);
    }

    /* Bias of the distances of a tile, in powers of two: that of query i0 + i and key j0 + j goes to
     * j - i + 63. */
    __device__ __forceinline__ void take_bias(const problem &p, int64_t h, int64_t i0,
                                              int64_t j0) const
    {
        const float *bias = MGK_F(p.a.bias) + h * p.span + p.zero;
        for (int t = (int)threadIdx.x; p.a.bias.p && t < TABLE; t += THREADS) {
            int64_t distance = j0 - i0 + t - (SIDE - 1);
            m->bias[t] = distance > -p.a.sq && distance < p.a.sk ? bias[distance] * LOG2_E : 0.0f;
        }
    }

    /* A left factor that stays for a whole walk; the next product waits for it. */
    __device__ __forceinline__ void keep_left(int which, const head_rows<T> &from) const
    {
        if (STAYS)
            take_slice(m->factors + which * memory::SIZE, from, 0);
    }

    /* s = rows of left . rows of right. */
    __device__ __forceinline__ void scores(float (&s)[R][4], int which, const head_rows<T> &left,
                                           const head_rows<T> &right) const
    {
        float *l = m->factors + (STAYS ? which : 0) * memory::SIZE;
        float *r = m->factors + (STAYS ? LEFTS : 1) * memory::SIZE;
        for (int i = 0; i < R; i++)
            for (int c = 0; c < 4; c++)
                s[i][c] = 0;
        for (int d0 = 0; d0 < dim; d0 += SLICE) {
            __syncthreads();
            if (!STAYS)
                take_slice(l, left, d0);
            take_slice(r, right, d0);
            __syncthreads();
#pragma unroll 1
            for (int d = 0; d < SLICE && d0 + d < dim; d += 4)
                four_products(s, l + d * SIDE, r + d * SIDE, d);
        }
    }

    __device__ __forceinline__ void four_products(float (&s)[R][4], const float *l, const float *r,
                                                  int swap) const
    {
        const float *rows[R / 4], *columns = r + ((4 * tx) ^ swap);
#pragma unroll
        for (int i = 0; i < R / 4; i++)
            rows[i] = l + ((R * ty + 4 * i) ^ swap);
#pragma unroll
        for (int e = 0; e < 4; e++) {
            float4 b = load_four(columns + e * SIDE);
#pragma unroll
            for (int i = 0; i < R / 4; i++)
                add_products(s + 4 * i, load_four(rows[i] + e * SIDE), b);
        }
    }

    static __device__ __forceinline__ void add_products(float (*s)[4], float4 a, float4 b)
    {
        const float x[4] = {a.x, a.y, a.z, a.w}, y[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int c = 0; c < 4; c++)
                s[i][c] += x[i] * y[c];
    }

    /* A thread's weights of its rows and columns, to where all can read them. */
    __device__ __forceinline__ void give_weights(const float (&s)[R][4]) const
    {
#pragma unroll
        for (int c = 0; c < 4; c++) {
            float *to = m->weights + (4 * tx + c) * SIDE;
#pragma unroll
            for (int i = 0; i < R; i += 4)
                *(float4 *)(void *)(to + ((R * ty + i) ^ tx % 8 * 4)) =
                    make_float4(s[i][c], s[i + 1][c], s[i + 2][c], s[i + 3][c]);
        }
    }

    __device__ __forceinline__ float weight(int row, int column) const
    {
        return m->weights[column * SIDE + (row ^ column / 4 % 8 * 4)];
    }

    /* sum += weights . the vectors of n columns; waits for all threads' weights. */
    __device__ __forceinline__ void add(float (&sum)[PARTS][R][COLUMNS],
                                        const head_rows<T> &columns, int n) const
    {
        float *wide = m->factors + (STAYS ? LEFTS * memory::SIZE : 0);
#pragma unroll
        for (int part = 0; part < PARTS; part++) {
            if (part * WIDE >= dim)
                continue;
            __syncthreads();
            take_wide(wide, columns, part * WIDE);
            __syncthreads();
#pragma unroll 1
            for (int j = 0; j < n; j += 4)
                add_four(sum[part], wide + j * WIDE + COLUMNS * tx, j);
        }
    }

    __device__ __forceinline__ void add_four(float (&sum)[R][COLUMNS], const float *v, int j) const
    {
        const float *w[R / 4];
#pragma unroll
        for (int i = 0; i < R / 4; i++)
            w[i] = m->weights + j * SIDE + ((R * ty + 4 * i) ^ j % 32);
#pragma unroll
        for (int e = 0; e < 4; e++) {
            float y[COLUMNS];
            load_columns(y, v + e * WIDE);
#pragma unroll
            for (int i = 0; i < R / 4; i++) {
                float4 a = load_four(w[i] + e * SIDE);
                const float x[4] = {a.x, a.y, a.z, a.w};
#pragma unroll
                for (int r = 0; r < 4; r++)
#pragma unroll
                    for (int c = 0; c < COLUMNS; c++)
                        sum[4 * i + r][c] += x[r] * y[c];
            }
        }
    }

    static __device__ __forceinline__ void load_columns(float *y, const float *v)
    {
        if constexpr (COLUMNS == 4) {
            float4 t = load_four(v);
            y[0] = t.x, y[1] = t.y, y[2] = t.z, y[3] = t.w;
        } else {
            float2 t = *(const float2 *)(const void *)v;
            y[0] = t.x, y[1] = t.y;
        }
    }

    /* The thread's part of sums, each row times its factor. */
    __device__ __forceinline__ void put(const head_rows<T> &to, float (&sum)[PARTS][R][COLUMNS],
                                        const float (&factor)[R]) const
    {
#pragma unroll
        for (int i = 0; i < R; i++)
#pragma unroll
            for (int part = 0; part < PARTS; part++) {
                int d = part * WIDE + COLUMNS * tx;
                float *v = sum[part][i];
                if (!(to.valid >> (R * ty + i) & 1) || d >= dim)
                    continue;
                T *p = to.p + (R * ty + i) * to.row + d;
#pragma unroll
                for (int c = 0; c < COLUMNS; c++)
                    v[c] *= factor[i];
                if (COLUMNS == 4 && vectors) {
                    mgk_store_vector<4>(p, v);
                    continue;
                }
#pragma unroll
                for (int c = 0; c < COLUMNS; c++)
                    if (d + c < dim)
                        mgk_store(p + c, v[c]);
            }
    }

    __device__ __forceinline__ void clear(float (&sum)[PARTS][R][COLUMNS]) const
    {
#pragma unroll
        for (int part = 0; part < PARTS; part++)
#pragma unroll
            for (int i = 0; i < R; i++)
#pragma unroll
                for (int c = 0; c < COLUMNS; c++)
                    sum[part][i][c] = 0;
    }
};

/* ---- for gradients ---- */

inline int64_t delta_floats(const mgk_attention_args *a)
{
    return (a->batch * a->heads * a->sq + 15) / 16 * 16;
}

/* d_o . o by (batch item, head, query): a warp for each. */
template <typename T> MGK_KERNEL delta_kernel(problem p, float *delta)
{
    const mgk_attention_args &a = p.a;
    int64_t warps = (int64_t)gridDim.x * (blockDim.x / MGK_WARP);
    int64_t first = (int64_t)blockIdx.x * (blockDim.x / MGK_WARP) + threadIdx.x / MGK_WARP;
    for (int64_t r = first; r < a.batch * a.sq * a.heads; r += warps) {
        int64_t h = r % a.heads, i = r / a.heads % a.sq, b = r / a.heads / a.sq;
        const T *o = out_rows<T>(a, a.o, b, h, i, 1).p, *d_o = out_rows<T>(a, a.d_o, b, h, i, 1).p;
        float sum = 0;
        for (int d = (int)threadIdx.x % MGK_WARP; d < a.head_dim; d += MGK_WARP)
            sum += mgk_load(o[d]) * mgk_load(d_o[d]);
        sum = mgk_warp_sum(sum);
        if (threadIdx.x % MGK_WARP == 0)
            delta[(b * a.heads + h) * a.sq + i] = sum;
    }
}

} // namespace

#endif
