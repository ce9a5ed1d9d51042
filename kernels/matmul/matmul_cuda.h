/* SPDX-License-Identifier: MIT
 * What becomes of the sums of a product on CUDA devices, whoever added them up. Inside kernels/matmul only. */
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

MGK_DEVICE void read(mgk_buf b, int64_t at, int count, float *v)
{
    if (count == 4 && b.dtype == MGK_BF16)
        mgk_load_vector<4>((const mgk_bf16 *)b.p + at, v);
    else if (count == 4)
        mgk_load_vector<4>((const float *)b.p + at, v);
    else
        v[0] = b.dtype == MGK_BF16 ? mgk_load(((const mgk_bf16 *)b.p)[at]) : ((float *)b.p)[at];
}

MGK_DEVICE void write(mgk_buf b, int64_t at, int count, const float *v)
{
    if (count == 4 && b.dtype == MGK_BF16)
        mgk_store_vector<4>((mgk_bf16 *)b.p + at, v);
    else if (count == 4)
        mgk_store_vector<4>((float *)b.p + at, v);
    else if (b.dtype == MGK_BF16)
        mgk_store((mgk_bf16 *)b.p + at, v[0]);
    else
        ((float *)b.p)[at] = v[0];
}

/* C at row i and columns j to j + COUNT - 1 of item t from the sums v. */
template <int COUNT>
MGK_DEVICE void finish(const mgk_matmul_args &g, float *v, int64_t t, int64_t i, int64_t j)
{
    const int64_t at = t * g.stride_c + i * g.ldc + j;
    float other[COUNT];
#pragma unroll
    for (int e = 0; e < COUNT; e++)
        v[e] *= g.alpha;
    if (g.bias.p || g.act != MGK_ACT_NONE)
#pragma unroll
        for (int e = 0; e < COUNT; e++)
            v[e] = activate(g.act, v[e] + (g.bias.p ? ((const float *)g.bias.p)[j + e] : 0));
    if (g.before.p)
        write(g.before, at, COUNT, v);
    if (g.gate.p) {
        const float *gate = (const float *)g.gate.p + i / g.rows_per_sample * g.gate_stride + j;
#pragma unroll
        for (int e = 0; e < COUNT; e++)
            v[e] *= gate[e];
    }
    if (g.residual.p || g.accumulate) {
        read(g.residual.p ? g.residual : g.c, at, COUNT, other);
#pragma unroll
        for (int e = 0; e < COUNT; e++)
            v[e] += other[e];
    }
    write(g.c, at, COUNT, v);
}

#endif
