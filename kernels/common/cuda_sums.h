/* SPDX-License-Identifier: MIT
 * The second stage of a sum over blocks; for .cu files. */
#ifndef MGK_COMMON_CUDA_SUMS_H
#define MGK_COMMON_CUDA_SUMS_H

#include "kernels/common/cuda.h"

/* out[0] += factor * the sum of what `count` blocks left, in their order; by one block. */
MGK_KERNEL mgk_add_sums_kernel(const double *sums, int64_t count, double factor, float *out)
{
    __shared__ double scratch[MGK_WARP];
    double sum = mgk_block_sum_of(sums, count, scratch);
    if (threadIdx.x == 0)
        out[0] += (float)(factor * sum);
}

#endif
