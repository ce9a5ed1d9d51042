/* SPDX-License-Identifier: MIT
 * Four consecutive values at a time: one access where all four exist and lie on a multiple of their size, else
 * one by one. What is computed with them is the same code either way, so that no result depends on alignment.
 */
#ifndef MGK_COMMON_CUDA_FOUR_H
#define MGK_COMMON_CUDA_FOUR_H

#include "kernels/common/cuda.h"

MGK_DEVICE void mgk_load_whole(const float *p, float out[4])
{
    float4 v = *(const float4 *)p;
    out[0] = v.x;
    out[1] = v.y;
    out[2] = v.z;
    out[3] = v.w;
}

MGK_DEVICE void mgk_load_whole(const mgk_bf16 *p, float out[4])
{
    uint2 v = *(const uint2 *)p;
    out[0] = mgk_bits_to_float(v.x << 16);
    out[1] = mgk_bits_to_float(v.x & 0xffff0000u);
    out[2] = mgk_bits_to_float(v.y << 16);
    out[3] = mgk_bits_to_float(v.y & 0xffff0000u);
}

MGK_DEVICE void mgk_store_whole(float *p, const float in[4])
{
    *(float4 *)p = make_float4(in[0], in[1], in[2], in[3]);
}

MGK_DEVICE void mgk_store_whole(mgk_bf16 *p, const float in[4])
{
    mgk_bf16 h[4];
    for (int k = 0; k < 4; k++)
        mgk_store(h + k, in[k]);
    uint2 v;
    v.x = h[0].bits | (uint32_t)h[1].bits << 16;
    v.y = h[2].bits | (uint32_t)h[3].bits << 16;
    *(uint2 *)p = v;
}

template <typename T> MGK_DEVICE bool mgk_is_whole(const T *p, int64_t n)
{
    return n >= 4 && (uintptr_t)p % (4 * sizeof(T)) == 0;
}

/* p[0..3], of which n exist; 0 for the others. */
template <typename T> MGK_DEVICE void mgk_load4(const T *p, int64_t n, float out[4])
{
    if (mgk_is_whole(p, n)) {
        mgk_load_whole(p, out);
        return;
    }
#pragma unroll
    for (int k = 0; k < 4; k++)
        out[k] = k < n ? mgk_load(p[k]) : 0.0f;
}

template <typename T> MGK_DEVICE void mgk_store4(T *p, int64_t n, const float in[4])
{
    if (mgk_is_whole(p, n)) {
        mgk_store_whole(p, in);
        return;
    }
#pragma unroll
    for (int k = 0; k < 4; k++)
        if (k < n)
            mgk_store(p + k, in[k]);
}

/* The same for a dtype that is known at run time. */
MGK_DEVICE void mgk_load4_of(const void *p, int32_t dtype, int64_t i, int64_t n, float out[4])
{
    if (dtype == MGK_BF16)
        mgk_load4((const mgk_bf16 *)p + i, n, out);
    else
        mgk_load4((const float *)p + i, n, out);
}

/* for (int64_t i = ...) over 0, 4, 8 .. below count, all threads of a one-dimensional grid together */
#define MGK_FOR4(i, count)                                                                         \
    for (int64_t i = 4 * ((int64_t)blockIdx.x * blockDim.x + threadIdx.x); i < (count);            \
         i += 4 * (int64_t)gridDim.x * blockDim.x)

static inline int mgk_grid4(int64_t count, int block)
{
    return mgk_grid(count / 4 + 1, block);
}

#endif
