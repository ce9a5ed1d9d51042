/* SPDX-License-Identifier: MIT */
#include "kernels/common/cuda_vector.h"
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

/* Pieces of MGK_VECTOR values of a row, the last of which may be shorter. */
struct pieces {
    int64_t rows, dim, each; /* pieces of a row */
    bool whole;              /* all are, and lie where vectors may */
};

static pieces cut(const mgk_glu_args *a, bool aligned)
{
    return {a->rows, a->dim, (a->dim + MGK_VECTOR - 1) / MGK_VECTOR,
            aligned && a->dim % MGK_VECTOR == 0};
}

template <typename T> MGK_KERNEL glu_kernel(const T *x, T *y, const pieces p, int kind)
{
    MGK_FOR(i, p.rows * p.each)
    {
        int64_t row = i / p.each, at = i % p.each * MGK_VECTOR, n = p.dim - at;
        const T *from = x + row * 2 * p.dim + at;
        float a[MGK_VECTOR], b[MGK_VECTOR];
        mgk_load_part(from, a, p.whole, n);
        mgk_load_part(from + p.dim, b, p.whole, n);
#pragma unroll
        for (int k = 0; k < MGK_VECTOR; k++)
            a[k] = activation(kind, a[k]) * b[k];
        mgk_store_part(y + row * p.dim + at, a, p.whole, n);
    }
}

template <typename T>
MGK_KERNEL glu_grad_kernel(const T *x, const T *dy, T *dx, const pieces p, int kind)
{
    MGK_FOR(i, p.rows * p.each)
    {
        int64_t row = i / p.each, at = i % p.each * MGK_VECTOR, n = p.dim - at;
        int64_t from = row * 2 * p.dim + at;
        float a[MGK_VECTOR], b[MGK_VECTOR], d[MGK_VECTOR];
        mgk_load_part(x + from, a, p.whole, n);
        mgk_load_part(x + from + p.dim, b, p.whole, n);
        mgk_load_part(dy + row * p.dim + at, d, p.whole, n);
#pragma unroll
        for (int k = 0; k < MGK_VECTOR; k++) {
            float first = d[k] * b[k] * activation_slope(kind, a[k]);
            b[k] = d[k] * activation(kind, a[k]);
            a[k] = first;
        }
        mgk_store_part(dx + from, a, p.whole, n);
        mgk_store_part(dx + from + p.dim, b, p.whole, n);
    }
}

MGK_CUDA_LAUNCHER(glu)
{
    const mgk_glu_args *a = (const mgk_glu_args *)args;
    const pieces p = cut(a, mgk_is_aligned(a->x) && mgk_is_aligned(a->y));
    int grid = mgk_grid(p.rows * p.each, MGK_BLOCK);
    MGK_WITH_REAL(a->x.dtype, MGK_LAUNCH(x, glu_kernel<T>, grid, MGK_BLOCK, 0, (const T *)a->x.p,
                                         (T *)a->y.p, p, a->kind));
}

MGK_CUDA_LAUNCHER(glu_grad)
{
    const mgk_glu_args *a = (const mgk_glu_args *)args;
    const pieces p = cut(a, mgk_is_aligned(a->x) && mgk_is_aligned(a->dy) && mgk_is_aligned(a->dx));
    int grid = mgk_grid(p.rows * p.each, MGK_BLOCK);
    MGK_WITH_REAL(a->x.dtype,
                  MGK_LAUNCH(x, glu_grad_kernel<T>, grid, MGK_BLOCK, 0, (const T *)a->x.p,
                             (const T *)a->dy.p, (T *)a->dx.p, p, a->kind));
}
