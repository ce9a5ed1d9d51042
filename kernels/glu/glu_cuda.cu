/* SPDX-License-Identifier: MIT */
#include "kernels/common/cuda_divide.h"
#include "kernels/common/cuda_vector.h"
#include "kernels/glu/glu.h"

/* 1 / (1 + e^-v); 0 where that is less than any normal number. */
MGK_DEVICE float sigmoid(float v)
{
#ifdef MGK_CUDA_EMULATED
    return mgk_sigmoid(v);
#else
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(1.0f + expf(-v)));
    return y;
#endif
}

template <int KIND> MGK_DEVICE float activation(float v)
{
    return KIND == MGK_GLU_SILU        ? v * sigmoid(v)
           : KIND == MGK_GLU_GELU_TANH ? mgk_cuda_gelu(v)
           : KIND == MGK_GLU_GELU_ERF  ? mgk_cuda_gelu_erf(v)
                                       : sigmoid(v);
}

template <int KIND> MGK_DEVICE float activation_slope(float v)
{
    if (KIND == MGK_GLU_SILU) {
        float s = sigmoid(v);
        return s * (1.0f + v * (1.0f - s));
    }
    if (KIND == MGK_GLU_SIGMOID)
        return sigmoid(v) * sigmoid(-v);
    return KIND == MGK_GLU_GELU_TANH ? mgk_cuda_gelu_grad(v) : mgk_cuda_gelu_erf_grad(v);
}

/* Pieces of MGK_VECTOR values of a row, the last of which may be shorter. */
template <typename I> struct pieces {
    I count;
    mgk_divisor<I> each; /* pieces of a row */
    int64_t dim;
    bool whole; /* all are, and lie where vectors may */
};

template <typename I> static pieces<I> cut(const mgk_glu_args *a, bool aligned)
{
    pieces<I> p;
    const int64_t each = (a->dim + MGK_VECTOR - 1) / MGK_VECTOR;
    p.count = (I)(a->rows * each);
    mgk_divisor_set(&p.each, each);
    p.dim = a->dim;
    p.whole = aligned && a->dim % MGK_VECTOR == 0;
    return p;
}

template <typename T, typename I, int KIND>
MGK_KERNEL glu_kernel(const T *x, T *y, const pieces<I> p)
{
    for (I i = (I)blockIdx.x * blockDim.x + threadIdx.x; i < p.count; i += gridDim.x * blockDim.x) {
        I piece = i;
        int64_t row = mgk_divide(&piece, p.each), at = (int64_t)piece * MGK_VECTOR, n = p.dim - at;
        const T *from = x + row * 2 * p.dim + at;
        float a[MGK_VECTOR], b[MGK_VECTOR];
        mgk_load_part(from, a, p.whole, n);
        mgk_load_part(from + p.dim, b, p.whole, n);
#pragma unroll
        for (int k = 0; k < MGK_VECTOR; k++)
            a[k] = activation<KIND>(a[k]) * b[k];
        mgk_store_part(y + row * p.dim + at, a, p.whole, n);
    }
}

template <typename T, typename I, int KIND>
MGK_KERNEL glu_grad_kernel(const T *x, const T *dy, T *dx, const pieces<I> p)
{
    for (I i = (I)blockIdx.x * blockDim.x + threadIdx.x; i < p.count; i += gridDim.x * blockDim.x) {
        I piece = i;
        int64_t row = mgk_divide(&piece, p.each), at = (int64_t)piece * MGK_VECTOR, n = p.dim - at;
        int64_t from = row * 2 * p.dim + at;
        float a[MGK_VECTOR], b[MGK_VECTOR], d[MGK_VECTOR];
        mgk_load_part(x + from, a, p.whole, n);
        mgk_load_part(x + from + p.dim, b, p.whole, n);
        mgk_load_part(dy + row * p.dim + at, d, p.whole, n);
#pragma unroll
        for (int k = 0; k < MGK_VECTOR; k++) {
            float first = d[k] * b[k] * activation_slope<KIND>(a[k]);
            b[k] = d[k] * activation<KIND>(a[k]);
            a[k] = first;
        }
        mgk_store_part(dx + from, a, p.whole, n);
        mgk_store_part(dx + from + p.dim, b, p.whole, n);
    }
}

template <typename T, typename I, int KIND> static void run(const mgk_glu_args *a, mgk_exec *x)
{
    const pieces<I> p = cut<I>(a, mgk_is_aligned(a->x) && mgk_is_aligned(a->y));
    MGK_LAUNCH(x, (glu_kernel<T, I, KIND>), mgk_grid((int64_t)p.count, MGK_BLOCK), MGK_BLOCK, 0,
               (const T *)a->x.p, (T *)a->y.p, p);
}

template <typename T, typename I, int KIND> static void run_grad(const mgk_glu_args *a, mgk_exec *x)
{
    const pieces<I> p =
        cut<I>(a, mgk_is_aligned(a->x) && mgk_is_aligned(a->dy) && mgk_is_aligned(a->dx));
    MGK_LAUNCH(x, (glu_grad_kernel<T, I, KIND>), mgk_grid((int64_t)p.count, MGK_BLOCK), MGK_BLOCK,
               0, (const T *)a->x.p, (const T *)a->dy.p, (T *)a->dx.p, p);
}

/* Run the statements with KIND as the activation's. */
#define WITH_KIND(kind, ...)                                                                       \
    do {                                                                                           \
        if ((kind) == MGK_GLU_SILU) {                                                              \
            enum { KIND = MGK_GLU_SILU };                                                          \
            __VA_ARGS__;                                                                           \
        } else if ((kind) == MGK_GLU_GELU_TANH) {                                                  \
            enum { KIND = MGK_GLU_GELU_TANH };                                                     \
            __VA_ARGS__;                                                                           \
        } else if ((kind) == MGK_GLU_GELU_ERF) {                                                   \
            enum { KIND = MGK_GLU_GELU_ERF };                                                      \
            __VA_ARGS__;                                                                           \
        } else {                                                                                   \
            enum { KIND = MGK_GLU_SIGMOID };                                                       \
            __VA_ARGS__;                                                                           \
        }                                                                                          \
    } while (0)

static int64_t pieces_of(const mgk_glu_args *a)
{
    return a->rows * ((a->dim + MGK_VECTOR - 1) / MGK_VECTOR);
}

MGK_CUDA_LAUNCHER(glu)
{
    const mgk_glu_args *a = (const mgk_glu_args *)args;
    WITH_KIND(a->kind,
              MGK_WITH_REAL(a->x.dtype, MGK_WITH_INDEX(pieces_of(a), run<T, I, KIND>(a, x))));
}

MGK_CUDA_LAUNCHER(glu_grad)
{
    const mgk_glu_args *a = (const mgk_glu_args *)args;
    WITH_KIND(a->kind,
              MGK_WITH_REAL(a->x.dtype, MGK_WITH_INDEX(pieces_of(a), run_grad<T, I, KIND>(a, x))));
}
