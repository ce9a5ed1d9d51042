/* SPDX-License-Identifier: MIT
 * cross_entropy and its gradient: a warp for each row, or a block if rows are long; one more block adds up the rows'
 * losses. */
#include "kernels/common/cuda_four.h"
#include "kernels/common/cuda_rows.h"
#include "kernels/cross_entropy/cross_entropy.h"

namespace
{

enum { FINISH_BLOCK = 1024 };

MGK_DEVICE bool is_counted(const mgk_cross_entropy_args &a, int64_t r)
{
    return MGK_I(a.target)[r] >= 0 && MGK_I(a.target)[r] < a.classes;
}

/* losses: of each row; of those that are not counted, 0. */
template <typename T, int TEAM>
MGK_KERNEL loss_kernel(const mgk_cross_entropy_args a, double *losses)
{
    __shared__ float scratch[MGK_WARP];
    MGK_EACH_ROW(r, a.rows)
    {
        const T *from = (const T *)a.x.p + r * a.classes;
        float largest = -INFINITY, sum = 0, in[4];
        const bool counted = is_counted(a, r);
        if (counted) {
            for (int64_t j = 4 * lane; j < a.classes; j += 4 * TEAM) {
                mgk_load4(from + j, a.classes - j, in);
#pragma unroll
                for (int k = 0; k < 4; k++)
                    if (k < a.classes - j)
                        largest = mgk_larger(in[k], largest);
            }
            largest = mgk_team_largest<TEAM>(largest, scratch);
            for (int64_t j = 4 * lane; j < a.classes; j += 4 * TEAM) {
                mgk_load4(from + j, a.classes - j, in);
#pragma unroll
                for (int k = 0; k < 4; k++)
                    if (k < a.classes - j)
                        sum += expf(in[k] - largest);
            }
            sum = mgk_team_sum<TEAM>(sum, scratch);
        }
        if (lane == 0) {
            const double rest = counted ? log((double)sum) : 0;
            MGK_F(a.lse)[r] = counted ? (float)((double)largest + rest) : 0.0f;
            losses[r] =
                counted ? (double)largest - (double)mgk_load(from[MGK_I(a.target)[r]]) + rest : 0;
        }
    }
}

MGK_KERNEL finish_kernel(const mgk_cross_entropy_args a, const double *losses)
{
    __shared__ double scratch[MGK_WARP];
    double sum = mgk_block_sum_of(losses, a.rows, scratch), counted = 0;
    for (int64_t r = threadIdx.x; r < a.rows; r += FINISH_BLOCK)
        counted += is_counted(a, r) ? 1 : 0;
    counted = mgk_block_sum(counted, scratch);
    if (threadIdx.x == 0) {
        MGK_F(a.share)[0] = counted > 0 ? (float)(1 / counted) : 0.0f;
        MGK_F(a.out)[0] = counted > 0 ? (float)((double)a.weight * sum / counted) : 0.0f;
    }
}

template <typename T, int TEAM> MGK_KERNEL loss_grad_kernel(const mgk_cross_entropy_args a)
{
    const float f =
        (float)((double)MGK_F(a.upstream)[0] * (double)a.weight * (double)MGK_F(a.share)[0]);
    MGK_EACH_ROW(r, a.rows)
    {
        const T *from = (const T *)a.x.p + r * a.classes;
        T *to = (T *)a.dx.p + r * a.classes;
        const bool counted = is_counted(a, r);
        const int64_t target = MGK_I(a.target)[r];
        const float lse = MGK_F(a.lse)[r];
        if (!counted && a.accumulate)
            continue;
        for (int64_t j = 4 * lane; j < a.classes; j += 4 * TEAM) {
            const int64_t n = a.classes - j;
            float v[4] = {0, 0, 0, 0}, before[4] = {0, 0, 0, 0};
            if (counted)
                mgk_load4(from + j, n, v);
            if (a.accumulate)
                mgk_load4(to + j, n, before);
#pragma unroll
            for (int k = 0; k < 4; k++) {
                const float p = j + k == target ? expm1f(v[k] - lse) : expf(v[k] - lse);
                v[k] = counted ? fmaf(f, p, before[k]) : 0.0f;
            }
            mgk_store4(to + j, n, v);
        }
    }
}

} // namespace

MGK_CUDA_WORKSPACE(cross_entropy)
{
    (void)threads;
    return sizeof(double) * (size_t)((const mgk_cross_entropy_args *)args)->rows;
}

MGK_CUDA_LAUNCHER(cross_entropy)
{
    const mgk_cross_entropy_args *a = (const mgk_cross_entropy_args *)args;
    double *losses = (double *)x->workspace;
    if (a->classes < MGK_LONG_ROW)
        MGK_WITH_REAL(a->x.dtype, MGK_LAUNCH(x, (loss_kernel<T, MGK_WARP>),
                                             mgk_grid(a->rows, MGK_BLOCK / MGK_WARP), MGK_BLOCK, 0,
                                             *a, losses));
    else
        MGK_WITH_REAL(a->x.dtype, MGK_LAUNCH(x, (loss_kernel<T, MGK_BLOCK>), mgk_grid(a->rows, 1),
                                             MGK_BLOCK, 0, *a, losses));
    MGK_LAUNCH(x, finish_kernel, 1, FINISH_BLOCK, 0, *a, losses);
}

MGK_CUDA_LAUNCHER(cross_entropy_grad)
{
    const mgk_cross_entropy_args *a = (const mgk_cross_entropy_args *)args;
    if (a->rows * a->classes == 0)
        return;
    if (a->classes < MGK_LONG_ROW)
        MGK_WITH_REAL(a->x.dtype,
                      MGK_LAUNCH(x, (loss_grad_kernel<T, MGK_WARP>),
                                 mgk_grid(a->rows, MGK_BLOCK / MGK_WARP), MGK_BLOCK, 0, *a));
    else
        MGK_WITH_REAL(a->x.dtype, MGK_LAUNCH(x, (loss_grad_kernel<T, MGK_BLOCK>),
                                             mgk_grid(a->rows, 1), MGK_BLOCK, 0, *a));
}
