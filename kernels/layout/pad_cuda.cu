/* SPDX-License-Identifier: MIT
 * pad: a thread is a unit of y, a part of a pixel. pad_grad: a thread is a vector of x. */
#include "kernels/common/cuda_divide.h"
#include "kernels/common/cuda_vector.h"
#include "kernels/layout/layout_types.h"
#include "kernels/layout/pad.h"

namespace
{

template <typename I> struct axis {
    mgk_divisor<I> inner, padded; /* extents in x and y */
    I before;
};

/* Axes t, h and w, and the units of a pixel. */
template <typename I> struct border {
    axis<I> a[3];
    mgk_divisor<I> units;
    bool replicate;
};

int64_t padded_extent(const mgk_pad_args *a, int i)
{
    return a->before[i] + (i == 0 ? a->t : i == 1 ? a->h : a->w) + a->after[i];
}

int64_t padded_count(const mgk_pad_args *a)
{
    return a->n * padded_extent(a, 0) * padded_extent(a, 1) * padded_extent(a, 2) * a->c;
}

template <typename I> border<I> border_make(const mgk_pad_args *a, int64_t units)
{
    border<I> b;
    for (int i = 0; i < 3; i++) {
        mgk_divisor_set(&b.a[i].inner, padded_extent(a, i) - a->before[i] - a->after[i]);
        mgk_divisor_set(&b.a[i].padded, padded_extent(a, i));
        b.a[i].before = (I)a->before[i];
    }
    mgk_divisor_set(&b.units, units);
    b.replicate = a->mode == MGK_BORDER_REPLICATE;
    return b;
}

template <typename U, typename I>
MGK_KERNEL pad_kernel(const U *x, U *y, border<I> b, int64_t count)
{
    MGK_FOR(i, count)
    {
        I rest = (I)i, unit = mgk_take(&rest, b.units), at[3];
        bool inside = true;
#pragma unroll
        for (int k = 2; k >= 0; k--) {
            const I place = mgk_take(&rest, b.a[k].padded), first = b.a[k].before;
            const I end = first + b.a[k].inner.by;
            inside = inside && place >= first && place < end;
            at[k] = place < first ? 0 : place < end ? place - first : end - 1 - first;
        }
        U value = {};
        if (inside || b.replicate) {
            I line = (rest * b.a[0].inner.by + at[0]) * b.a[1].inner.by + at[1];
            value = x[(line * b.a[2].inner.by + at[2]) * b.units.by + unit];
        }
        y[i] = value;
    }
}

template <typename U> void pad_units(const mgk_pad_args *a, int64_t bytes, mgk_exec *x)
{
    const int64_t units = a->c * bytes / (int64_t)sizeof(U);
    const int64_t count = padded_count(a) / a->c * units;
    MGK_WITH_INDEX(count, {
        MGK_LAUNCH(x, (pad_kernel<U, I>), mgk_grid(count, MGK_BLOCK), MGK_BLOCK, 0,
                   (const U *)a->x.p, (U *)a->y.p, border_make<I>(a, units), count);
    });
}

/* Where index *at of x lies in y: the first place is put there, and how many there are is returned. Only
 * an edge that is replicated has more than one. */
template <typename I> MGK_DEVICE I places(const axis<I> &a, bool replicate, I *at)
{
    const bool low = replicate && *at == 0, high = replicate && *at == a.inner.by - 1;
    const I end = high ? a.padded.by : a.before + *at + 1;
    *at = low ? 0 : a.before + *at;
    return end - *at;
}

template <typename T, int N, typename I>
MGK_KERNEL pad_grad_kernel(const T *dy, T *dx, border<I> b, int64_t count, bool accumulate)
{
    MGK_FOR(i, count)
    {
        I rest = (I)i, unit = mgk_take(&rest, b.units), at[3], times[3];
#pragma unroll
        for (int k = 2; k >= 0; k--) {
            at[k] = mgk_take(&rest, b.a[k].inner);
            times[k] = places(b.a[k], b.replicate, &at[k]);
        }
        float sum[N] = {}, v[N];
        if (accumulate)
            mgk_load_vector<N>(dx + i * N, sum);
        for (I t = at[0]; t < at[0] + times[0]; t++)
            for (I h = at[1]; h < at[1] + times[1]; h++) {
                I line = (rest * b.a[0].padded.by + t) * b.a[1].padded.by + h;
                for (I w = at[2]; w < at[2] + times[2]; w++) {
                    I from = (line * b.a[2].padded.by + w) * b.units.by + unit;
                    mgk_load_vector<N>(dy + (int64_t)from * N, v);
#pragma unroll
                    for (int j = 0; j < N; j++)
                        sum[j] += v[j];
                }
            }
        mgk_store_vector<N>(dx + i * N, sum);
    }
}

template <typename T, int N> void pad_grad_vectors(const mgk_pad_args *a, mgk_exec *x)
{
    const int64_t count = a->n * a->t * a->h * a->w * a->c / N;
    MGK_WITH_INDEX(padded_count(a) / N, {
        MGK_LAUNCH(x, (pad_grad_kernel<T, N, I>), mgk_grid(count, MGK_BLOCK), MGK_BLOCK, 0,
                   (const T *)a->y.p, (T *)a->x.p, border_make<I>(a, a->c / N), count,
                   a->accumulate != 0);
    });
}

} // namespace

MGK_CUDA_LAUNCHER(pad)
{
    const mgk_pad_args *a = (const mgk_pad_args *)args;
    const int64_t size = mgk_move_size(a->x.dtype);
    if (padded_count(a) == 0)
        return;
    int64_t unit = 16;
    while (unit > size && (a->c * size % unit != 0 ||
                           ((uintptr_t)a->x.p | (uintptr_t)a->y.p) % (uintptr_t)unit != 0))
        unit /= 2;
    if (unit == 16)
        pad_units<uint4>(a, size, x);
    else if (unit == 8)
        pad_units<uint2>(a, size, x);
    else if (unit == 4)
        pad_units<uint32_t>(a, size, x);
    else if (unit == 2)
        pad_units<uint16_t>(a, size, x);
    else
        pad_units<uint8_t>(a, size, x);
}

MGK_CUDA_LAUNCHER(pad_grad)
{
    const mgk_pad_args *a = (const mgk_pad_args *)args;
    if (a->n * a->t * a->h * a->w * a->c == 0)
        return;
    const bool vectors = a->c % 8 == 0 && mgk_is_aligned(a->x) && mgk_is_aligned(a->y);
    MGK_WITH_REAL(a->x.dtype,
                  vectors ? pad_grad_vectors<T, 8>(a, x) : pad_grad_vectors<T, 1>(a, x));
}
