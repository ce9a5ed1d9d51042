/* SPDX-License-Identifier: MIT
 * A thread is a vector of the output. Where the output pixels of the bilinear ops lie is computed first, once
 * for each row and column. */
#include "kernels/common/cuda_divide.h"
#include "kernels/common/cuda_vector.h"
#include "kernels/resize/resize.h"
#include "kernels/resize/resize_place.h"

namespace
{

/* ---- whole factors ---- */

template <typename I> struct factors {
    mgk_divisor<I> vectors, w, fw, fh;
};

template <typename I> factors<I> factors_make(const mgk_resize_args *a, int64_t vectors)
{
    factors<I> f;
    mgk_divisor_set(&f.vectors, vectors);
    mgk_divisor_set(&f.w, a->w);
    mgk_divisor_set(&f.fw, a->fw);
    mgk_divisor_set(&f.fh, a->fh);
    return f;
}

template <typename T, int N, typename I>
MGK_KERNEL nearest_kernel(const T *x, T *y, factors<I> f, int64_t count)
{
    MGK_FOR(i, count)
    {
        I line = (I)i, c = mgk_take(&line, f.vectors);
        mgk_take(&line, f.fw);
        const I pixel = mgk_take(&line, f.w);
        mgk_take(&line, f.fh);
        const int64_t from = (int64_t)(line * f.w.by + pixel) * f.vectors.by + c;
        ((mgk_vector<T, N> *)y)[i] = ((const mgk_vector<T, N> *)x)[from];
    }
}

template <typename T, int N, typename I>
MGK_KERNEL nearest_grad_kernel(const T *dy, T *dx, factors<I> f, int64_t count, bool accumulate)
{
    MGK_FOR(i, count)
    {
        I line = (I)i, c = mgk_take(&line, f.vectors);
        const I pixel = mgk_take(&line, f.w);
        const int64_t row = (int64_t)f.w.by * f.fw.by * f.vectors.by; /* in vectors */
        const T *corner =
            dy + (line * f.fh.by * row + (int64_t)pixel * f.fw.by * f.vectors.by + c) * N;
        float sum[N] = {}, v[N];
        if (accumulate)
            mgk_load_vector<N>(dx + i * N, sum);
        for (I u = 0; u < f.fh.by; u++)
            for (I w = 0; w < f.fw.by; w++) {
                mgk_load_vector<N>(corner + (u * row + (int64_t)w * f.vectors.by) * N, v);
#pragma unroll
                for (int k = 0; k < N; k++)
                    sum[k] += v[k];
            }
        mgk_store_vector<N>(dx + i * N, sum);
    }
}

template <typename T, int N> void nearest(const mgk_resize_args *a, bool grad, mgk_exec *x)
{
    const int64_t vectors = a->c / N, in = a->n * a->h * a->w * vectors;
    const int64_t out = in * a->fh * a->fw;
    MGK_WITH_INDEX(out, {
        factors<I> f = factors_make<I>(a, vectors);
        if (grad)
            MGK_LAUNCH(x, (nearest_grad_kernel<T, N, I>), mgk_grid(in, MGK_BLOCK), MGK_BLOCK, 0,
                       (const T *)a->y.p, (T *)a->x.p, f, in, a->accumulate != 0);
        else
            MGK_LAUNCH(x, (nearest_kernel<T, N, I>), mgk_grid(out, MGK_BLOCK), MGK_BLOCK, 0,
                       (const T *)a->x.p, (T *)a->y.p, f, out);
    });
}

/* ---- bilinear ---- */

/* An output pixel lies between input pixels `low` and the next, if there is one; `part` is the share of the
 * second. */
struct place {
    int32_t low;
    float part;
};

/* The workspace: places of rows, of columns; for each input row, and one more, the first output row placed at
 * or above it; the same of columns. */
struct tables {
    place *row, *column;
    int32_t *first_row, *first_column;
};

tables tables_at(const mgk_resize_args *a, void *workspace)
{
    tables t;
    t.row = (place *)workspace;
    t.column = t.row + a->oh;
    t.first_row = (int32_t *)(t.column + a->ow);
    t.first_column = t.first_row + a->h + 1;
    return t;
}

size_t tables_bytes(const mgk_resize_args *a)
{
    return sizeof(place) * (size_t)(a->oh + a->ow) + sizeof(int32_t) * (size_t)(a->h + a->w + 2);
}

MGK_DEVICE void tables_put(int64_t i, int64_t from, int64_t to, place *places, int32_t *first)
{
    if (i < to) {
        mgk_resize_place p = mgk_resize_at(i, from, to);
        places[i].low = (int32_t)p.low;
        places[i].part = (float)p.part;
    } else if (i - to <= from) {
        first[i - to] = (int32_t)mgk_resize_first(i - to, from, to);
    }
}

MGK_KERNEL tables_kernel(tables t, int64_t h, int64_t w, int64_t oh, int64_t ow)
{
    const int64_t rows = oh + h + 1, columns = ow + w + 1;
    MGK_FOR(i, rows + columns)
    {
        if (i < rows)
            tables_put(i, h, oh, t.row, t.first_row);
        else
            tables_put(i - rows, w, ow, t.column, t.first_column);
    }
}

template <typename I> struct sizes {
    mgk_divisor<I> vectors, h, w, oh, ow;
};

template <typename T, int N, typename I>
MGK_KERNEL bilinear_kernel(const T *x, T *y, tables t, sizes<I> s, int64_t count)
{
    MGK_FOR(i, count)
    {
        I item = (I)i, c = mgk_take(&item, s.vectors);
        const place across = t.column[mgk_take(&item, s.ow)], down = t.row[mgk_take(&item, s.oh)];
        const I row = s.w.by * s.vectors.by, line = item * s.h.by + (I)down.low;
        const int64_t right = (I)across.low + 1 < s.w.by ? s.vectors.by * (int64_t)N : 0;
        const int64_t below = (I)down.low + 1 < s.h.by ? row * (int64_t)N : 0;
        const T *from = x + (int64_t)(line * row + (I)across.low * s.vectors.by + c) * N;
        float v[2][N], w[2][N];
        mgk_load_vector<N>(from, v[0]);
        mgk_load_vector<N>(from + right, v[1]);
        mgk_load_vector<N>(from + below, w[0]);
        mgk_load_vector<N>(from + below + right, w[1]);
#pragma unroll
        for (int k = 0; k < N; k++) {
            float top = v[0][k] + across.part * (v[1][k] - v[0][k]);
            float bottom = w[0][k] + across.part * (w[1][k] - w[0][k]);
            v[0][k] = top + down.part * (bottom - top);
        }
        mgk_store_vector<N>(y + i * N, v[0]);
    }
}

/* How much an output pixel takes from input pixel i, which is one of its two. */
MGK_DEVICE float share_of(place p, int32_t i)
{
    return p.low == i ? 1.0f - p.part : p.part;
}

template <typename T, int N, typename I>
MGK_KERNEL bilinear_grad_kernel(const T *dy, T *dx, tables t, sizes<I> s, int64_t count,
                                bool accumulate)
{
    MGK_FOR(i, count)
    {
        I item = (I)i, c = mgk_take(&item, s.vectors);
        const int32_t column = (int32_t)mgk_take(&item, s.w), row = (int32_t)mgk_take(&item, s.h);
        const int32_t top = t.first_row[row ? row - 1 : 0], bottom = t.first_row[row + 1];
        const int32_t left = t.first_column[column ? column - 1 : 0];
        const int32_t right = t.first_column[column + 1];
        float sum[N] = {}, v[N];
        if (accumulate)
            mgk_load_vector<N>(dx + i * N, sum);
        for (int32_t u = top; u < bottom; u++) {
            const float down = share_of(t.row[u], row);
            const I line = (item * s.oh.by + (I)u) * s.ow.by;
            for (int32_t w = left; w < right; w++) {
                const float share = down * share_of(t.column[w], column);
                mgk_load_vector<N>(dy + (int64_t)((line + (I)w) * s.vectors.by + c) * N, v);
#pragma unroll
                for (int k = 0; k < N; k++)
                    sum[k] += share * v[k];
            }
        }
        mgk_store_vector<N>(dx + i * N, sum);
    }
}

template <typename T, int N> void bilinear(const mgk_resize_args *a, bool grad, mgk_exec *x)
{
    const int64_t in = a->n * a->h * a->w * a->c / N, out = a->n * a->oh * a->ow * a->c / N;
    const tables t = tables_at(a, x->workspace);
    MGK_LAUNCH(x, tables_kernel, mgk_grid(a->oh + a->ow + a->h + a->w + 2, MGK_BLOCK), MGK_BLOCK, 0,
               t, a->h, a->w, a->oh, a->ow);
    MGK_WITH_INDEX(in > out ? in : out, {
        sizes<I> s;
        mgk_divisor_set(&s.vectors, a->c / N);
        mgk_divisor_set(&s.h, a->h);
        mgk_divisor_set(&s.w, a->w);
        mgk_divisor_set(&s.oh, a->oh);
        mgk_divisor_set(&s.ow, a->ow);
        if (grad)
            MGK_LAUNCH(x, (bilinear_grad_kernel<T, N, I>), mgk_grid(in, MGK_BLOCK), MGK_BLOCK, 0,
                       (const T *)a->y.p, (T *)a->x.p, t, s, in, a->accumulate != 0);
        else
            MGK_LAUNCH(x, (bilinear_kernel<T, N, I>), mgk_grid(out, MGK_BLOCK), MGK_BLOCK, 0,
                       (const T *)a->x.p, (T *)a->y.p, t, s, out);
    });
}

bool in_vectors(const mgk_resize_args *a, int n)
{
    return a->c % n == 0 && mgk_is_aligned(a->x) && mgk_is_aligned(a->y);
}

void nearest_as(const mgk_resize_args *a, bool grad, mgk_exec *x)
{
    if (a->n * a->h * a->w * a->c > 0)
        MGK_WITH_REAL(a->x.dtype,
                      in_vectors(a, 8) ? nearest<T, 8>(a, grad, x) : nearest<T, 1>(a, grad, x));
}

void bilinear_as(const mgk_resize_args *a, bool grad, mgk_exec *x)
{
    if (a->n * (grad ? a->h * a->w : a->oh * a->ow) * a->c > 0)
        MGK_WITH_REAL(a->x.dtype,
                      in_vectors(a, 4) ? bilinear<T, 4>(a, grad, x) : bilinear<T, 1>(a, grad, x));
}

} // namespace

MGK_CUDA_LAUNCHER(resize_nearest)
{
    nearest_as((const mgk_resize_args *)args, false, x);
}

MGK_CUDA_LAUNCHER(resize_nearest_grad)
{
    nearest_as((const mgk_resize_args *)args, true, x);
}

MGK_CUDA_WORKSPACE(resize_bilinear)
{
    (void)threads;
    return tables_bytes((const mgk_resize_args *)args);
}

MGK_CUDA_LAUNCHER(resize_bilinear)
{
    bilinear_as((const mgk_resize_args *)args, false, x);
}

MGK_CUDA_WORKSPACE(resize_bilinear_grad)
{
    (void)threads;
    return tables_bytes((const mgk_resize_args *)args);
}

MGK_CUDA_LAUNCHER(resize_bilinear_grad)
{
    bilinear_as((const mgk_resize_args *)args, true, x);
}
