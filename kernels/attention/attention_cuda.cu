/* SPDX-License-Identifier: MIT
 * attention, a block of threads for each tile of 64 queries of a head. Softmax keeps the running maximum and sum
 * of each row, in powers of two. */
#include "kernels/attention/attention_cuda.h"

namespace
{

template <typename T, int D, int R> struct forward : tiles<T, D, R, 1> {
    typedef tiles<T, D, R, 1> base;
    using base::m;
    using base::tx;
    using base::ty;
    float sum[base::PARTS][R][base::COLUMNS];
    float top[R], total[R]; /* total: of this thread's columns only */

    __device__ __forceinline__ forward(const problem &p, typename base::memory *shared)
        : base(p, shared)
    {
        this->clear(sum);
#pragma unroll
        for (int i = 0; i < R; i++) {
            top[i] = -INFINITY;
            total[i] = 0;
        }
    }

    /* Scores of a tile to weights relative to the running maximum. */
    __device__ __forceinline__ void softmax(float (&s)[R][4], uint64_t valid, float scale,
                                            bool biased)
    {
#pragma unroll
        for (int i = 0; i < R; i++) {
            float highest = -INFINITY;
#pragma unroll
            for (int c = 0; c < 4; c++) {
                int column = 4 * tx + c;
                s[i][c] *= scale;
                if (biased)
                    s[i][c] += m->bias[column - (R * ty + i) + SIDE - 1];
                s[i][c] = valid >> column & 1 ? s[i][c] : -INFINITY;
                highest = fmaxf(highest, s[i][c]);
            }
            for (int step = 8; step > 0; step /= 2)
                highest = fmaxf(highest, __shfl_xor_sync(0xffffffffu, highest, step));
            highest = fmaxf(highest, top[i]);
            float from = highest == -INFINITY ? 0.0f : highest; /* no key counted yet */
            float shrink = exp2f(top[i] - from);
            top[i] = highest;
            total[i] *= shrink;
#pragma unroll
            for (int c = 0; c < 4; c++) {
                float p = exp2f(s[i][c] - from);
                total[i] += p;
                s[i][c] = mgk_round<T>(p);
            }
#pragma unroll
            for (int part = 0; part < base::PARTS; part++)
#pragma unroll
                for (int c = 0; c < base::COLUMNS; c++)
                    sum[part][i][c] *= shrink;
        }
    }

    __device__ __forceinline__ void walk(const problem &p, const head_rows<T> &q, int64_t b,
                                         int64_t h, int64_t i0, int64_t block)
    {
        const mgk_attention_args &a = p.a;
        const int32_t *start = MGK_I(a.block_start);
        int64_t kv = h / p.group, first = start ? start[block] : 0;
        int64_t end = start ? start[block + 1] : 1;
        for (int64_t at = first; at < end; at++)
            for (int64_t part = 0; part < p.k.parts; part++) {
                int n;
                int64_t j0 = tile_of(p.k, start ? MGK_I(a.block_index)[at] : 0, part, &n);
                uint64_t valid = keys_that_count(a, b, j0, n);
                if (!valid)
                    continue;
                float s[R][4];
                this->take_bias(p, h, i0, j0);
                this->scores(s, 0, q, key_rows<T>(a, a.k, b, kv, j0, valid));
                softmax(s, valid, a.scale * LOG2_E, a.bias.p);
                this->give_weights(s);
                this->add(sum, value_rows<T>(a, a.v, b, kv, j0, valid), n);
            }
    }

    __device__ __forceinline__ void finish(const problem &p, uint64_t valid, int64_t b, int64_t h,
                                           int64_t i0)
    {
        const mgk_attention_args &a = p.a;
        float factor[R];
#pragma unroll
        for (int i = 0; i < R; i++) {
            int row = R * ty + i;
            for (int step = 8; step > 0; step /= 2)
                total[i] += __shfl_xor_sync(0xffffffffu, total[i], step);
            factor[i] = total[i] == 0 ? 0 : 1 / total[i];
            if (a.lse.p && tx == 0 && (valid >> row & 1))
                MGK_F(a.lse)
            [(b * a.heads + h) * a.sq + i0 + row] = (top[i] + log2f(total[i])) * LN_2;
        }
        this->put(out_rows<T>(a, a.o, b, h, i0, valid), sum, factor);
    }
};

template <typename T, int D, int R>
MGK_KERNEL __launch_bounds__(1024 / R, D == 32    ? 4
                                       : D == 64  ? 3
                                       : D == 128 ? 2
                                                  : 1) attention_kernel(problem p, int64_t first)
{
    __shared__ tile_memory<D, 1> shared;
    const mgk_attention_args &a = p.a;
    int64_t task = first + blockIdx.x, tile = task % p.q.tiles, row = task / p.q.tiles;
    int64_t h = row % a.heads, b = row / a.heads, block = tile / p.q.parts;
    int n;
    int64_t i0 = tile_of(p.q, block, tile % p.q.parts, &n);
    if (n == 0)
        return;
    head_rows<T> q = query_rows<T>(a, a.q, b, h, i0, bits_of(n));
    forward<T, D, R> f(p, &shared);
    f.keep_left(0, q);
    f.walk(p, q, b, h, i0, block);
    f.finish(p, q.valid, b, h, i0);
}

template <typename T, int D, int R> void start(const problem &p, mgk_exec *x)
{
    int64_t tasks = p.q.tiles * p.a.heads * p.a.batch;
    for (int64_t first = 0; first < tasks; first += LAUNCH_MAX)
        MGK_LAUNCH(x, (attention_kernel<T, D, R>), grid_of(tasks - first), 1024 / R, 0, p, first);
}

} // namespace

MGK_CUDA_LAUNCHER(attention)
{
    problem p = problem_of((const mgk_attention_args *)args);
    MGK_WITH_REAL(p.a.q.dtype, {
        if (p.a.head_dim <= 32)
            start<T, 32, 8>(p, x);
        else if (p.a.head_dim <= 64)
            start<T, 64, 8>(p, x);
        else if (p.a.head_dim <= 128)
            start<T, 128, 8>(p, x);
        else
            start<T, 256, 4>(p, x);
    });
}
