/* SPDX-License-Identifier: MIT
 * loss and loss_grad: a block sums a piece of the elements, one more adds up the sums. */
#include "kernels/common/cuda_four.h"
#include "kernels/common/cuda_sums.h"
#include "kernels/loss/loss.h"

enum { PIECE = 4096, FINISH_BLOCK = 1024 };

/* Comparisons are such that a NaN stays one. */
MGK_DEVICE float penalty(int kind, float x, float target)
{
    float d = x - target;
    return kind == MGK_LOSS_MSE          ? d * d
           : kind == MGK_LOSS_L1         ? fabsf(d)
           : kind == MGK_LOSS_HINGE_REAL ? (x > 1 ? 0.0f : 1.0f - x)
           : kind == MGK_LOSS_HINGE_FAKE ? (x < -1 ? 0.0f : 1.0f + x)
                                         : -x;
}

MGK_DEVICE float slope(int kind, float x, float target)
{
    float d = x - target;
    return kind == MGK_LOSS_MSE          ? d + d
           : kind == MGK_LOSS_L1         ? (d > 0   ? 1.0f
                                            : d < 0 ? -1.0f
                                                    : 0.0f)
           : kind == MGK_LOSS_HINGE_REAL ? (x < 1 ? -1.0f : 0.0f)
           : kind == MGK_LOSS_HINGE_FAKE ? (x > -1 ? 1.0f : 0.0f)
                                         : -1.0f;
}

/* Four elements of x, and of target where the kind has one (else 0). */
template <typename T>
MGK_DEVICE void load_both(const mgk_loss_args &a, int64_t i, int64_t n, float x[4], float target[4])
{
    mgk_load4((const T *)a.x.p + i, n, x);
    if (a.kind <= MGK_LOSS_L1) {
        mgk_load4_of(a.target.p, a.target.dtype, i, n, target);
    } else {
#pragma unroll
        for (int k = 0; k < 4; k++)
            target[k] = 0;
    }
}

template <typename T> MGK_KERNEL loss_kernel(const mgk_loss_args a, double *sums)
{
    __shared__ double scratch[MGK_WARP];
    int64_t first = (int64_t)blockIdx.x * PIECE, left = a.count - first;
    int n = left < PIECE ? (int)left : (int)PIECE;
    float sum = 0; /* of PIECE / MGK_BLOCK elements */
    for (int i = 4 * (int)threadIdx.x; i < n; i += 4 * MGK_BLOCK) {
        float in[4], target[4];
        load_both<T>(a, first + i, n - i, in, target);
#pragma unroll
        for (int k = 0; k < 4; k++)
            if (k < n - i)
                sum += penalty(a.kind, in[k], target[k]);
    }
    double all = mgk_block_sum((double)sum, scratch);
    if (threadIdx.x == 0)
        sums[blockIdx.x] = all;
}

static int64_t pieces_of(const mgk_loss_args *a)
{
    return (a->count + PIECE - 1) / PIECE;
}

MGK_CUDA_WORKSPACE(loss)
{
    (void)threads;
    return sizeof(double) * (size_t)pieces_of((const mgk_loss_args *)args);
}

MGK_CUDA_LAUNCHER(loss)
{
    const mgk_loss_args *a = (const mgk_loss_args *)args;
    double *sums = (double *)x->workspace;
    int64_t pieces = pieces_of(a);
    if (pieces == 0)
        return;
    MGK_WITH_REAL(a->x.dtype,
                  MGK_LAUNCH(x, loss_kernel<T>, (unsigned)pieces, MGK_BLOCK, 0, *a, sums));
    MGK_LAUNCH(x, mgk_add_sums_kernel, 1, FINISH_BLOCK, 0, sums, pieces,
               (double)a->weight / (double)a->count, MGK_F(a->out));
}

template <typename T> MGK_KERNEL loss_grad_kernel(const mgk_loss_args a, double factor)
{
    const float f = (float)((double)MGK_F(a.upstream)[0] * factor);
    T *dx = (T *)a.dx.p;
    MGK_FOR4(i, a.count)
    {
        const int64_t n = a.count - i;
        float in[4], target[4], before[4] = {0, 0, 0, 0};
        load_both<T>(a, i, n, in, target);
        if (a.accumulate)
            mgk_load4(dx + i, n, before);
#pragma unroll
        for (int k = 0; k < 4; k++)
            in[k] = fmaf(f, slope(a.kind, in[k], target[k]), before[k]);
        mgk_store4(dx + i, n, in);
    }
}

MGK_CUDA_LAUNCHER(loss_grad)
{
    const mgk_loss_args *a = (const mgk_loss_args *)args;
    if (a->count == 0)
        return;
    MGK_WITH_REAL(a->x.dtype, MGK_LAUNCH(x, loss_grad_kernel<T>, mgk_grid4(a->count, MGK_BLOCK),
                                         MGK_BLOCK, 0, *a, (double)a->weight / (double)a->count));
}

MGK_KERNEL balance_kernel(const float *first, const float *second, float weight, float most,
                          float *out)
{
    float ratio = *second > 0 ? sqrtf(*first / *second) : 0;
    *out = weight * (ratio < most ? ratio : most);
}

MGK_CUDA_LAUNCHER(loss_balance)
{
    const mgk_loss_args *a = (const mgk_loss_args *)args;
    MGK_LAUNCH(x, balance_kernel, 1, 1, 0, MGK_F(a->x), MGK_F(a->target), a->weight, a->most,
               MGK_F(a->out));
}
