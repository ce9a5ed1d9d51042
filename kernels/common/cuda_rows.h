/* SPDX-License-Identifier: MIT
 * Rows of a matrix, each walked by a team: a warp, or where rows are long a block; for .cu files. */
#ifndef MGK_COMMON_CUDA_ROWS_H
#define MGK_COMMON_CUDA_ROWS_H

#include "kernels/common/cuda.h"

enum { MGK_LONG_ROW = 2048 }; /* from here on a row is a block's, else a warp's */

template <int TEAM, typename V> MGK_DEVICE V mgk_team_sum(V x, V *scratch)
{
    return TEAM == MGK_WARP ? mgk_warp_sum(x) : mgk_block_sum(x, scratch);
}

/* A NaN is larger than any number. */
template <typename V> MGK_DEVICE V mgk_larger(V a, V b)
{
    return a != a || a > b ? a : b;
}

template <typename V> MGK_DEVICE V mgk_warp_largest(V x)
{
    for (int step = 16; step > 0; step /= 2)
        x = mgk_larger(x, __shfl_xor_sync(0xffffffffu, x, step));
    return x;
}

template <int TEAM, typename V> MGK_DEVICE V mgk_team_largest(V x, V *scratch)
{
    int lane = (int)threadIdx.x % MGK_WARP;
    x = mgk_warp_largest(x);
    if (TEAM == MGK_WARP)
        return x;
    if (lane == 0)
        scratch[threadIdx.x / MGK_WARP] = x;
    __syncthreads();
    x = mgk_warp_largest(lane < TEAM / MGK_WARP ? scratch[lane] : (V)-INFINITY);
    __syncthreads();
    return x;
}

/* The rows of a grid's teams: `lane` is the thread's place in its team. */
#define MGK_EACH_ROW(r, rows)                                                                      \
    int lane = (int)threadIdx.x % TEAM;                                                            \
    int64_t teams = (int64_t)gridDim.x * (MGK_BLOCK / TEAM);                                       \
    for (int64_t r = (int64_t)blockIdx.x * (MGK_BLOCK / TEAM) + threadIdx.x / TEAM; r < (rows);    \
         r += teams)

#endif
