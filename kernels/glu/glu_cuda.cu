/* SPDX-License-Identifier: MIT */
#include "kernels/common/cuda.h"
#include "kernels/glu/glu.h"

MGK_DEVICE float activation(int kind, float v)
{
    return kind == MGK_GLU_SILU        ? mgk_cuda_silu(v)
           : kind == MGK_GLU_GELU_TANH ? mgk_cuda_gelu(v)
                                       : mgk_cuda_gelu_erf(v);
}

MGK_DEVICE float activation_slope(int kind, float v)
{
    return kind == MGK_GLU_SILU        ? mgk_cuda_silu_grad(v)
           : kind == MGK_GLU_GELU_TANH ? mgk_cuda_gelu_grad(v)
                                       : mgk_cuda_gelu_erf_grad(v);
}

template <typename T> MGK_KERNEL glu_kernel(const T *x, T *y, int64_t rows, int64_t dim, int kind)
{
    MGK_FOR(i, rows * dim)
    {
        const T *a = x + i / dim * 2 * dim + i % dim;
        mgk_store(y + i, activation(kind, mgk_load(a[0])) * mgk_load(a[dim]));
    }
}

template <typename T>
MGK_KERNEL glu_grad_kernel(const T *x, const T *dy, T *dx, int64_t rows, int64_t dim, int kind)
{
    MGK_FOR(i, rows * dim)
    {
        int64_t at = i / dim * 2 * dim + i % dim;
        float a = mgk_load(x[at]), b = mgk_load(x[at + dim]), d = mgk_load(dy[i]);
        mgk_store(dx + at, d * b * activation_slope(kind, a));
        mgk_store(dx + at + dim, d * activation(kind, a));
    }
}

MGK_CUDA_LAUNCHER(glu)
{
    const mgk_glu_args *a = (const mgk_glu_args *)args;
    int grid = mgk_grid(a->rows * a->dim, MGK_BLOCK);
    MGK_WITH_REAL(a->x.dtype, MGK_LAUNCH(x, glu_kernel<T>, grid, MGK_BLOCK, 0, (const T *)a->x.p,
                                         (T *)a->y.p, a->rows, a->dim, a->kind));
}

MGK_CUDA_LAUNCHER(glu_grad)
{
    const mgk_glu_args *a = (const mgk_glu_args *)args;
    int grid = mgk_grid(a->rows * a->dim, MGK_BLOCK);
    MGK_WITH_REAL(a->x.dtype,
                  MGK_LAUNCH(x, glu_grad_kernel<T>, grid, MGK_BLOCK, 0, (const T *)a->x.p,
                             (const T *)a->dy.p, (T *)a->dx.p, a->rows, a->dim, a->kind));
}
