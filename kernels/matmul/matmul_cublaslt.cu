/* SPDX-License-Identifier: MIT
 * What of matmul.h stands behind a product by cuBLASLt (matmul_cublaslt.c). */
#include "kernels/matmul/matmul_cuda.h"

extern "C" void mgk_matmul_finish(const mgk_matmul_args *g, const float *sums, int64_t ld,
                                  int64_t stride, mgk_exec *x);

namespace
{

/* All of matmul.h behind the product itself: sums (batch, m, n) of rows `ld` and items `stride` apart. */
__global__ void finish_kernel(const mgk_matmul_args g, const float *sums, int64_t ld,
                              int64_t stride)
{
    int64_t j = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (j >= g.n)
        return;
    for (int64_t row = blockIdx.y; row < g.m * g.batch; row += gridDim.y) {
        int64_t item = row / g.m, i = row % g.m;
        float v = sums[item * stride + i * ld + j];
        finish<1>(g, &v, item, i, j);
    }
}

} // namespace

extern "C" void mgk_matmul_finish(const mgk_matmul_args *g, const float *sums, int64_t ld,
                                  int64_t stride, mgk_exec *x)
{
    int64_t rows = g->m * g->batch;
    dim3 grid((unsigned)((g->n + MGK_BLOCK - 1) / MGK_BLOCK),
              (unsigned)(rows < 65535 ? rows : 65535));
    mgk_matmul_args after = *g;
    after.alpha = 1; /* it is in the sums */
    MGK_LAUNCH(x, finish_kernel, grid, MGK_BLOCK, 0, after, sums, ld, stride);
}
