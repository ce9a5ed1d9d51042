/* SPDX-License-Identifier: MIT
 * Four consecutive values at a time: one access where all four exist and lie on a multiple of their size, else
 * one by one. What is computed with them is the same code either way, so that no result depends on alignment.
 */
#ifndef MGK_COMMON_CUDA_FOUR_H
#define MGK_COMMON_CUDA_FOUR_H

#include "kernels/common/cuda_vector.h"

template <typename T> MGK_DEVICE bool mgk_is_whole(const T *p, int64_t n)
{
    return n >= 4 && (uintptr_t)p % (4 * sizeof(T)) == 0;
}

/* p[0..3], of which n exist; 0 for the others. */
template <typename T> MGK_DEVICE void mgk_load4(const T *p, int64_t n, float out[4])
{
    if (mgk_is_whole(p, n)) {
        mgk_load_vector<4>(p, out);
        return;
    }
#pragma unroll
    for (int k = 0; k < 4; k++)
        out[k] = k < n ? mgk_load(p[k]) : 0.0f;
}

template <typename T> MGK_DEVICE void mgk_store4(T *p, int64_t n, const float in[4])
{
    if (mgk_is_whole(p, n)) {
        mgk_store_vector<4>(p, in);
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
