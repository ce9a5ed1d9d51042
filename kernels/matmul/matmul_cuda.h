/* SPDX-License-Identifier: MIT
 * What becomes of the sums of a product on CUDA devices, whoever added them up. Inside kernels/matmul and
 * kernels/fp8 only. */
#ifndef MGK_MATMUL_CUDA_H
#define MGK_MATMUL_CUDA_H

#include "kernels/common/cuda_vector.h"
#include "kernels/matmul/matmul.h"

MGK_DEVICE float activate(int kind, float v)
{
    switch (kind) {
    case MGK_ACT_SILU:
        return mgk_cuda_silu(v);
    case MGK_ACT_GELU_TANH:
        return mgk_cuda_gelu(v);
    case MGK_ACT_RELU:
        return v < 0 ? 0 : v;
    case MGK_ACT_GELU_ERF:
        return mgk_cuda_gelu_erf(v);
    case MGK_ACT_QUICK_GELU:
        return mgk_cuda_quick_gelu(v);
    default:
        return v;
    }
}

/* COUNT values: 1, or as many as are aligned. */
template <int COUNT> MGK_DEVICE void read(mgk_buf b, int64_t at, float *v)
{
    if (b.dtype == MGK_BF16)
        mgk_load_vector<COUNT>((const mgk_bf16 *)b.p + at, v);
    else
        mgk_load_vector<COUNT>((const float *)b.p + at, v);
}

template <int COUNT> MGK_DEVICE void write(mgk_buf b, int64_t at, const float *v)
{
    if (b.dtype == MGK_BF16)
        mgk_store_vector<COUNT>((mgk_bf16 *)b.p + at, v);
    else
        mgk_store_vector<COUNT>((float *)b.p + at, v);
}

/* What sums v of columns j to j + COUNT - 1 are before gates and residuals. */
template <int COUNT> MGK_DEVICE void activate_all(const mgk_matmul_args &g, float *v, int64_t j)
{
#pragma unroll
    for (int e = 0; e < COUNT; e++)
        v[e] *= g.alpha;
    if (g.bias.p || g.act != MGK_ACT_NONE)
#pragma unroll
        for (int e = 0; e < COUNT; e++)
            v[e] = activate(g.act, v[e] + (g.bias.p ? ((const float *)g.bias.p)[j + e] : 0));
}

/* What is added to the values of C, if anything is. */
MGK_DEVICE mgk_buf added_to(const mgk_matmul_args &g)
{
    mgk_buf none = {NULL, 0};
    return g.residual.p ? g.residual : g.accumulate ? g.c : none;
}

/* C at row i and columns j to j + COUNT - 1, `at` in memory, from v as activate_all left them and what added_to has
 * there. */
template <int COUNT>
MGK_DEVICE void put(const mgk_matmul_args &g, float *v, const float *other, int64_t i, int64_t j,
                    int64_t at)
{
    if (g.before.p)
        write<COUNT>(g.before, at, v);
    if (g.gate.p) {
        const float *gate = (const float *)g.gate.p + i / g.rows_per_sample * g.gate_stride + j;
#pragma unroll
        for (int e = 0; e < COUNT; e++)
            v[e] *= gate[e];
    }
    if (g.residual.p || g.accumulate)
#pragma unroll
        for (int e = 0; e < COUNT; e++)
            v[e] += other[e];
    write<COUNT>(g.c, at, v);
}

/* C at row i and columns j to j + COUNT - 1 of item t from the sums v. */
template <int COUNT>
MGK_DEVICE void finish(const mgk_matmul_args &g, float *v, int64_t t, int64_t i, int64_t j)
{
    const int64_t at = t * g.stride_c + i * g.ldc + j;
    const mgk_buf more = added_to(g);
    float other[COUNT];
    activate_all<COUNT>(g, v, j);
    if (more.p)
        read<COUNT>(more, at, other);
    put<COUNT>(g, v, other, i, j, at);
}

#endif
