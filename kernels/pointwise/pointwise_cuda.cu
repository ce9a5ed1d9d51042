/* SPDX-License-Identifier: MIT
 * The pointwise ops whose elements are made one by one; the sums are in pointwise_sums_cuda.cu. */
#include "kernels/common/cuda_vector.h"
#include "kernels/pointwise/pointwise.h"

namespace
{

template <int KIND> MGK_DEVICE float activation(float v)
{
    switch (KIND) {
    case MGK_UNARY_SILU:
        return mgk_cuda_silu(v);
    case MGK_UNARY_GELU_TANH:
        return mgk_cuda_gelu(v);
    case MGK_UNARY_GELU_ERF:
        return mgk_cuda_gelu_erf(v);
    case MGK_UNARY_QUICK_GELU:
        return mgk_cuda_quick_gelu(v);
    case MGK_UNARY_SQUARE:
        return v * v;
    case MGK_UNARY_LOG1P:
        return v < 0 ? 0 : log1pf(v);
    case MGK_UNARY_TANH:
        return tanhf(v);
    default:
        return v < 0 ? 0 : v;
    }
}

template <int KIND> MGK_DEVICE float activation_slope(float v)
{
    switch (KIND) {
    case MGK_UNARY_SILU:
        return mgk_cuda_silu_grad(v);
    case MGK_UNARY_GELU_TANH:
        return mgk_cuda_gelu_grad(v);
    case MGK_UNARY_GELU_ERF:
        return mgk_cuda_gelu_erf_grad(v);
    case MGK_UNARY_QUICK_GELU:
        return mgk_cuda_quick_gelu_grad(v);
    case MGK_UNARY_SQUARE:
        return 2 * v;
    case MGK_UNARY_LOG1P:
        return v < 0 ? 0 : 1 / (1 + v);
    case MGK_UNARY_TANH:
        return 4 * mgk_sigmoid(2 * v) *
               mgk_sigmoid(-2 * v); /* not 1 - tanh(v)^2, of which little is left */
    default:
        return v > 0;
    }
}

/* Run the statements with KIND as a constant. */
#define WITH_KIND(kind, ...)                                                                       \
    do {                                                                                           \
        if ((kind) == MGK_UNARY_SILU) {                                                            \
            enum { KIND = MGK_UNARY_SILU };                                                        \
            __VA_ARGS__;                                                                           \
        } else if ((kind) == MGK_UNARY_GELU_TANH) {                                                \
            enum { KIND = MGK_UNARY_GELU_TANH };                                                   \
            __VA_ARGS__;                                                                           \
        } else if ((kind) == MGK_UNARY_GELU_ERF) {                                                 \
            enum { KIND = MGK_UNARY_GELU_ERF };                                                    \
            __VA_ARGS__;                                                                           \
        } else if ((kind) == MGK_UNARY_QUICK_GELU) {                                               \
            enum { KIND = MGK_UNARY_QUICK_GELU };                                                  \
            __VA_ARGS__;                                                                           \
        } else if ((kind) == MGK_UNARY_SQUARE) {                                                   \
            enum { KIND = MGK_UNARY_SQUARE };                                                      \
            __VA_ARGS__;                                                                           \
        } else if ((kind) == MGK_UNARY_LOG1P) {                                                    \
            enum { KIND = MGK_UNARY_LOG1P };                                                       \
            __VA_ARGS__;                                                                           \
        } else if ((kind) == MGK_UNARY_TANH) {                                                     \
            enum { KIND = MGK_UNARY_TANH };                                                        \
            __VA_ARGS__;                                                                           \
        } else {                                                                                   \
            enum { KIND = MGK_UNARY_RELU };                                                        \
            __VA_ARGS__;                                                                           \
        }                                                                                          \
    } while (0)

template <typename T, int KIND> struct unary_of {
    const T *x;
    T *y;

    template <int N> __device__ __forceinline__ void run(int64_t i) const
    {
        float v[N];
        mgk_load_vector<N>(x + i, v);
        for (int n = 0; n < N; n++)
            v[n] = activation<KIND>(v[n]);
        mgk_store_vector<N>(y + i, v);
    }
};

template <typename T, int KIND> struct unary_grad_of {
    const T *x, *dy;
    T *dx;
    bool accumulate;

    template <int N> __device__ __forceinline__ void run(int64_t i) const
    {
        float v[N], d[N], sum[N] = {0};
        mgk_load_vector<N>(x + i, v);
        mgk_load_vector<N>(dy + i, d);
        if (accumulate)
            mgk_load_vector<N>(dx + i, sum);
        for (int n = 0; n < N; n++)
            sum[n] = fmaf(activation_slope<KIND>(v[n]), d[n], sum[n]);
        mgk_store_vector<N>(dx + i, sum);
    }
};

template <typename X, typename Y> struct axpby_of {
    const X *x;
    Y *y;
    float alpha, beta;

    template <int N> __device__ __forceinline__ void run(int64_t i) const
    {
        float v[N], old[N] = {0};
        mgk_load_vector<N>(x + i, v);
        if (beta != 0)
            mgk_load_vector<N>(y + i, old);
        for (int n = 0; n < N; n++)
            v[n] = beta != 0 ? fmaf(alpha, v[n], beta * old[n]) : alpha * v[n];
        mgk_store_vector<N>(y + i, v);
    }
};

template <typename T> struct add_of {
    const T *a, *b;
    T *y;

    template <int N> __device__ __forceinline__ void run(int64_t i) const
    {
        float v[N], more[N];
        mgk_load_vector<N>(a + i, v);
        mgk_load_vector<N>(b + i, more);
        for (int n = 0; n < N; n++)
            v[n] += more[n];
        mgk_store_vector<N>(y + i, v);
    }
};

/* The same arithmetic is in residual_norm. */
template <typename T> struct gated_residual_of {
    const T *x, *h;
    const float *gate;
    T *y;
    int64_t dim, rows_per_sample, gate_stride, row_offset;

    template <int N> __device__ __forceinline__ void run(int64_t i) const
    {
        int64_t r = i / dim, sample = (r + row_offset) / rows_per_sample;
        float v[N], more[N], times[N];
        mgk_load_vector<N>(x + i, v);
        mgk_load_vector<N>(h + i, more);
        mgk_load_vector<N>(gate + sample * gate_stride + (i - r * dim), times);
        for (int n = 0; n < N; n++)
            v[n] = fmaf(times[n], more[n], v[n]);
        mgk_store_vector<N>(y + i, v);
    }
};

template <typename T> struct channel_affine_of {
    const T *x;
    const float *scale, *shift;
    T *y;
    int64_t dim;

    template <int N> __device__ __forceinline__ void run(int64_t i) const
    {
        int64_t c = i % dim;
        float v[N], times[N], plus[N];
        mgk_load_vector<N>(x + i, v);
        mgk_load_vector<N>(scale + c, times);
        mgk_load_vector<N>(shift + c, plus);
        for (int n = 0; n < N; n++)
            v[n] = fmaf(v[n], times[n], plus[n]);
        mgk_store_vector<N>(y + i, v);
    }
};

template <typename T> struct add_rows_of {
    const T *x;
    const float *table;
    T *y;
    int64_t dim, period, row_offset;

    template <int N> __device__ __forceinline__ void run(int64_t i) const
    {
        int64_t r = i / dim, row = (r + row_offset) % period;
        float v[N], more[N];
        mgk_load_vector<N>(x + i, v);
        mgk_load_vector<N>(table + row * dim + (i - r * dim), more);
        for (int n = 0; n < N; n++)
            v[n] += more[n];
        mgk_store_vector<N>(y + i, v);
    }
};

template <typename X, typename Y> struct convert_of {
    const X *x;
    Y *y;
    float alpha, beta;

    template <int N> __device__ __forceinline__ void run(int64_t i) const
    {
        float v[N];
        mgk_load_vector<N>(x + i, v);
        for (int n = 0; n < N; n++)
            v[n] = fmaf(v[n], alpha, beta);
        mgk_store_vector<N>(y + i, v);
    }
};

template <typename T> struct fill_of {
    T *y;
    float value;

    template <int N> __device__ __forceinline__ void run(int64_t i) const
    {
        float v[N];
        for (int n = 0; n < N; n++)
            v[n] = value;
        mgk_store_vector<N>(y + i, v);
    }
};

template <typename X> void convert_from(const mgk_pointwise_args *a, mgk_exec *x, bool aligned)
{
    const X *in = (const X *)a->x.p;
    if (a->y.dtype == MGK_U8)
        mgk_each(x, a->count, aligned,
                 convert_of<X, uint8_t>{in, (uint8_t *)a->y.p, a->alpha, a->beta});
    else
        MGK_WITH_REAL(a->y.dtype, mgk_each(x, a->count, aligned,
                                           convert_of<X, T>{in, (T *)a->y.p, a->alpha, a->beta}));
}

template <typename X> void axpby_from(const mgk_pointwise_args *a, mgk_exec *x, bool aligned)
{
    MGK_WITH_REAL(a->y.dtype,
                  mgk_each(x, a->count, aligned,
                           axpby_of<X, T>{(const X *)a->x.p, (T *)a->y.p, a->alpha, a->beta}));
}

} // namespace

MGK_CUDA_LAUNCHER(unary)
{
    const mgk_pointwise_args *a = (const mgk_pointwise_args *)args;
    bool aligned = mgk_is_aligned(a->x) && mgk_is_aligned(a->y);
    WITH_KIND(a->kind, MGK_WITH_REAL(a->x.dtype,
                                     mgk_each(x, a->count, aligned,
                                              unary_of<T, KIND>{(const T *)a->x.p, (T *)a->y.p})));
}

MGK_CUDA_LAUNCHER(unary_grad)
{
    const mgk_pointwise_args *a = (const mgk_pointwise_args *)args;
    bool aligned = mgk_is_aligned(a->x) && mgk_is_aligned(a->dy) && mgk_is_aligned(a->dx);
    WITH_KIND(a->kind,
              MGK_WITH_REAL(a->x.dtype,
                            mgk_each(x, a->count, aligned,
                                     unary_grad_of<T, KIND>{(const T *)a->x.p, (const T *)a->dy.p,
                                                            (T *)a->dx.p, a->accumulate != 0})));
}

MGK_CUDA_LAUNCHER(axpby)
{
    const mgk_pointwise_args *a = (const mgk_pointwise_args *)args;
    bool aligned = mgk_is_aligned(a->x) && mgk_is_aligned(a->y);
    MGK_WITH_REAL(a->x.dtype, axpby_from<T>(a, x, aligned));
}

MGK_CUDA_LAUNCHER(add)
{
    const mgk_pointwise_args *a = (const mgk_pointwise_args *)args;
    bool aligned = mgk_is_aligned(a->x) && mgk_is_aligned(a->h) && mgk_is_aligned(a->y);
    MGK_WITH_REAL(a->x.dtype,
                  mgk_each(x, a->count, aligned,
                           add_of<T>{(const T *)a->x.p, (const T *)a->h.p, (T *)a->y.p}));
}

MGK_CUDA_LAUNCHER(gated_residual)
{
    const mgk_pointwise_args *a = (const mgk_pointwise_args *)args;
    bool aligned = mgk_is_aligned(a->x) && mgk_is_aligned(a->h) && mgk_is_aligned(a->y) &&
                   mgk_is_aligned(a->gate) && a->dim % MGK_VECTOR == 0 && a->gate_stride % 4 == 0;
    MGK_WITH_REAL(a->x.dtype, mgk_each(x, a->rows * a->dim, aligned,
                                       gated_residual_of<T>{(const T *)a->x.p, (const T *)a->h.p,
                                                            MGK_F(a->gate), (T *)a->y.p, a->dim,
                                                            a->rows_per_sample, a->gate_stride,
                                                            a->row_offset}));
}

MGK_CUDA_LAUNCHER(channel_affine)
{
    const mgk_pointwise_args *a = (const mgk_pointwise_args *)args;
    bool aligned = mgk_is_aligned(a->x) && mgk_is_aligned(a->y) && mgk_is_aligned(a->scale) &&
                   mgk_is_aligned(a->shift) && a->dim % MGK_VECTOR == 0;
    MGK_WITH_REAL(a->x.dtype, mgk_each(x, a->rows * a->dim, aligned,
                                       channel_affine_of<T>{(const T *)a->x.p, MGK_F(a->scale),
                                                            MGK_F(a->shift), (T *)a->y.p, a->dim}));
}

MGK_CUDA_LAUNCHER(add_rows)
{
    const mgk_pointwise_args *a = (const mgk_pointwise_args *)args;
    bool aligned = mgk_is_aligned(a->x) && mgk_is_aligned(a->y) && mgk_is_aligned(a->table) &&
                   a->dim % MGK_VECTOR == 0;
    MGK_WITH_REAL(a->x.dtype,
                  mgk_each(x, a->rows * a->dim, aligned,
                           add_rows_of<T>{(const T *)a->x.p, MGK_F(a->table), (T *)a->y.p, a->dim,
                                          a->period, a->row_offset}));
}

MGK_CUDA_LAUNCHER(convert)
{
    const mgk_pointwise_args *a = (const mgk_pointwise_args *)args;
    bool aligned = mgk_is_aligned(a->x) && mgk_is_aligned(a->y);
    if (a->x.dtype == MGK_U8)
        convert_from<uint8_t>(a, x, aligned);
    else
        MGK_WITH_REAL(a->x.dtype, convert_from<T>(a, x, aligned));
}

MGK_CUDA_LAUNCHER(fill)
{
    const mgk_pointwise_args *a = (const mgk_pointwise_args *)args;
    MGK_WITH_REAL(a->y.dtype,
                  mgk_each(x, a->count, mgk_is_aligned(a->y), fill_of<T>{(T *)a->y.p, a->alpha}));
}
