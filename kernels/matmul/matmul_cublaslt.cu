/* SPDX-License-Identifier: MIT
 * What of matmul.h stands behind a product by cuBLASLt (matmul_cublaslt.c). */
#include "kernels/common/cuda_divide.h"
#include "kernels/matmul/matmul_cuda.h"

extern "C" void mgk_matmul_finish(const mgk_matmul_args *g, const float *sums, int64_t ld,
                                  int64_t stride, mgk_exec *x);

namespace
{

/* All of matmul.h behind the product itself: sums (batch, m, n) of rows `ld` and items `stride` apart, COUNT columns a
 * thread. */
template <int COUNT, typename I>
__global__ void finish_kernel(const mgk_matmul_args g, const float *sums, int64_t ld,
                              int64_t stride, const mgk_divisor<I> columns,
                              const mgk_divisor<I> rows, int64_t count)
{
    MGK_FOR(at, count)
    {
        I item = (I)at;
        const int64_t j = (int64_t)mgk_take(&item, columns) * COUNT, i = mgk_take(&item, rows);
        float v[COUNT];
        mgk_load_vector<COUNT>(sums + item * stride + i * ld + j, v);
        finish<COUNT>(g, v, item, i, j);
    }
}

/* Whether rows of sums, and of what is laid out like C, can be read and written eight values at a time. */
bool in_eights(const mgk_matmul_args *g, const float *sums, int64_t ld, int64_t stride)
{
    return (g->n | ld | stride | g->ldc | g->stride_c) % 8 == 0 && (uintptr_t)sums % 16 == 0 &&
           mgk_is_aligned(g->c) && mgk_is_aligned(g->residual) && mgk_is_aligned(g->before);
}

template <int COUNT>
void launch(const mgk_matmul_args *g, const float *sums, int64_t ld, int64_t stride, mgk_exec *x)
{
    const int64_t count = g->n / COUNT * g->m * g->batch;
    MGK_WITH_INDEX(count, {
        mgk_divisor<I> columns, rows;
        mgk_divisor_set(&columns, g->n / COUNT);
        mgk_divisor_set(&rows, g->m);
        MGK_LAUNCH(x, (finish_kernel<COUNT, I>), mgk_grid(count, MGK_BLOCK), MGK_BLOCK, 0, *g, sums,
                   ld, stride, columns, rows, count);
    });
}

} // namespace

extern "C" void mgk_matmul_finish(const mgk_matmul_args *g, const float *sums, int64_t ld,
                                  int64_t stride, mgk_exec *x)
{
    mgk_matmul_args after = *g;
    after.alpha = 1; /* it is in the sums */
    if (in_eights(g, sums, ld, stride))
        launch<8>(&after, sums, ld, stride, x);
    else
        launch<1>(&after, sums, ld, stride, x);
}
