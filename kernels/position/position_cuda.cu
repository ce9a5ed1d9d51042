/* SPDX-License-Identifier: MIT */
#include "kernels/common/cuda_divide.h"
#include "kernels/common/cuda_vector.h"
#include "kernels/position/position.h"

namespace
{

/* ---- sum: a thread is a vector of y ---- */

template <typename I> struct grid_of {
    mgk_divisor<I> vectors, tokens, h, w;
    I offset;
};

template <typename T, int N, typename I>
MGK_KERNEL add_kernel(const T *x, T *y, const float *frame, const float *row, const float *column,
                      grid_of<I> g, int64_t count)
{
    MGK_FOR(n, count)
    {
        I rest = (I)n, c = mgk_take(&rest, g.vectors), at = mgk_take(&rest, g.tokens) + g.offset;
        const I k = mgk_take(&at, g.w), j = mgk_take(&at, g.h), dim = g.vectors.by;
        float sum[N], v[N];
        mgk_load_vector<N>(x + n * N, sum);
        const float *from[3] = {frame + (int64_t)(at * dim + c) * N,
                                row + (int64_t)(j * dim + c) * N,
                                column + (int64_t)(k * dim + c) * N};
#pragma unroll
        for (int t = 0; t < 3; t++) {
            mgk_load_vector<N>(from[t], v);
#pragma unroll
            for (int i = 0; i < N; i++)
                sum[i] += v[i];
        }
        mgk_store_vector<N>(y + n * N, sum);
    }
}

template <typename T, int N> void add(const mgk_position_args *a, mgk_exec *x)
{
    const int64_t count = a->batch * a->tokens * a->dim / N;
    const int64_t grid = a->grid_t * a->grid_h * a->grid_w * (a->dim / N);
    MGK_WITH_INDEX(count > grid ? count : grid, {
        grid_of<I> g;
        mgk_divisor_set(&g.vectors, a->dim / N);
        mgk_divisor_set(&g.tokens, a->tokens);
        mgk_divisor_set(&g.h, a->grid_h);
        mgk_divisor_set(&g.w, a->grid_w);
        g.offset = (I)a->token_offset;
        MGK_LAUNCH(x, (add_kernel<T, N, I>), mgk_grid(count, MGK_BLOCK), MGK_BLOCK, 0,
                   (const T *)a->x.p, (T *)a->y.p, MGK_F(a->frame), MGK_F(a->row), MGK_F(a->column),
                   g, count);
    });
}

/* ---- gradient ----
 * The tokens are divided into slabs: some samples, one frame, a strip of columns. A block sums a slab over a
 * run of values in one pass: over the columns for each grid row, over the rows for each column. The sums of
 * all slabs are then added up in order. */

enum {
    STRIP = 32, /* columns of a slab */
    GROUPS = 8, /* warps of a block, each with columns of its own: g, g + 8, ... of the strip */
    SLOTS = STRIP / GROUPS,
    SAMPLES = 4, /* of a slab, or more, so that at most PARTS_MAX divide the batch */
    PARTS_MAX = 32
};

struct slabs {
    int64_t batch, tokens, dim, grid_h, grid_w, token_offset;
    int64_t samples, parts, first_frame, frames, strips, count;
    int64_t width; /* rows of sums of a slab: those of grid_h rows, then of at most STRIP columns */
};

slabs slabs_make(const mgk_position_args *a)
{
    slabs s;
    const int64_t frame = a->grid_h * a->grid_w;
    s.batch = a->batch;
    s.tokens = a->tokens;
    s.dim = a->dim;
    s.grid_h = a->grid_h;
    s.grid_w = a->grid_w;
    s.token_offset = a->token_offset;
    s.samples = (a->batch + PARTS_MAX - 1) / PARTS_MAX;
    s.samples = s.samples > SAMPLES ? s.samples : (int64_t)SAMPLES;
    s.parts = (a->batch + s.samples - 1) / s.samples;
    s.first_frame = a->token_offset / frame;
    s.frames = (a->token_offset + a->tokens - 1) / frame - s.first_frame + 1;
    s.strips = (a->grid_w + STRIP - 1) / STRIP;
    s.count = s.parts * s.frames * s.strips;
    s.width = a->grid_h + (a->grid_w < STRIP ? a->grid_w : (int64_t)STRIP);
    return s;
}

/* Slab (part, frame, strip), the strip running fastest. A block's run of values is 32 N long. */
template <typename T, int N>
MGK_KERNEL __launch_bounds__(MGK_BLOCK, 3) slab_kernel(const T *dy, float *sums, slabs s)
{
    __shared__ float of_group[GROUPS][MGK_WARP * N];
    const int lane = (int)threadIdx.x % MGK_WARP, group = (int)threadIdx.x / MGK_WARP;
    const int64_t runs = (s.dim + MGK_WARP * N - 1) / (MGK_WARP * N);
    for (int64_t at = blockIdx.x; at < s.count * runs; at += gridDim.x) {
        const int64_t slab = at / runs, c = (at % runs * MGK_WARP + lane) * N;
        const int64_t first_column = slab % s.strips * STRIP + group;
        const int64_t frame = s.first_frame + slab / s.strips % s.frames;
        const int64_t first = slab / s.strips / s.frames * s.samples;
        const int64_t end = first + s.samples < s.batch ? first + s.samples : s.batch;
        float *out = sums + slab * s.width * s.dim + c;
        float of_column[SLOTS][N] = {};
        for (int64_t j = 0; j < s.grid_h; j++) {
            const int64_t line = (frame * s.grid_h + j) * s.grid_w - s.token_offset;
            float of_row[N] = {};
#pragma unroll
            for (int slot = 0; slot < SLOTS; slot++) {
                const int64_t k = first_column + slot * GROUPS, token = line + k;
                if (c >= s.dim || k >= s.grid_w || token < 0 || token >= s.tokens)
                    continue;
                const T *from = dy + (first * s.tokens + token) * s.dim + c;
#pragma unroll 4
                for (int64_t b = first; b < end; b++, from += s.tokens * s.dim) {
                    float v[N];
                    mgk_load_vector<N>(from, v);
#pragma unroll
                    for (int i = 0; i < N; i++) {
                        of_column[slot][i] += v[i];
                        of_row[i] += v[i];
                    }
                }
            }
            for (int i = 0; i < N; i++)
                of_group[group][lane * N + i] = of_row[i];
            __syncthreads();
            for (int i = (int)threadIdx.x; i < MGK_WARP * N; i += MGK_BLOCK) {
                float sum = 0;
                for (int g = 0; g < GROUPS; g++)
                    sum += of_group[g][i];
                if (c - lane * N + i < s.dim)
                    out[j * s.dim - lane * N + i] = sum;
            }
            __syncthreads();
        }
        for (int slot = 0; slot < SLOTS; slot++)
            if (c < s.dim && first_column + slot * GROUPS < s.grid_w)
                mgk_store_vector<N>(out + (s.grid_h + group + slot * GROUPS) * s.dim,
                                    of_column[slot]);
    }
}

/* Row r of the tables of frames, rows and columns, one after the other: the warps of a block share the slabs
 * that hold its sums. A table that is not wanted is NULL. */
MGK_KERNEL add_up_kernel(const float *sums, float *d_frame, float *d_row, float *d_column, slabs s)
{
    __shared__ float of_group[GROUPS][MGK_WARP];
    const int lane = (int)threadIdx.x % MGK_WARP, group = (int)threadIdx.x / MGK_WARP;
    const int64_t runs = (s.dim + MGK_WARP - 1) / MGK_WARP;
    const int64_t all = (s.frames + s.grid_h + s.grid_w) * runs;
    for (int64_t at = blockIdx.x; at < all; at += gridDim.x) {
        const int64_t r = at / runs, c = at % runs * MGK_WARP + lane;
        /* slabs first + m / inner * outer + m % inner, m < count, of each rows begin .. end - 1 */
        int64_t first = 0, inner = s.count, outer = 0, count = s.count, begin, end;
        float *to;
        if (r < s.frames) {
            first = r * s.strips, inner = s.strips, outer = s.frames * s.strips;
            count = s.parts * s.strips;
            begin = 0, end = s.grid_h;
            to = d_frame ? d_frame + (s.first_frame + r) * s.dim : NULL;
        } else if (r < s.frames + s.grid_h) {
            begin = r - s.frames, end = begin + 1;
            to = d_row ? d_row + begin * s.dim : NULL;
        } else {
            const int64_t k = r - s.frames - s.grid_h;
            first = k / STRIP, inner = 1, outer = s.strips;
            count = s.parts * s.frames;
            begin = s.grid_h + k % STRIP, end = begin + 1;
            to = d_column ? d_column + k * s.dim : NULL;
        }
        if (!to)
            continue;
        float sum = 0;
        for (int64_t m = group; c < s.dim && m < count; m += GROUPS) {
            const float *from = sums + (first + m / inner * outer + m % inner) * s.width * s.dim;
            for (int64_t i = begin; i < end; i++)
                sum += from[i * s.dim + c];
        }
        of_group[group][lane] = sum;
        __syncthreads();
        if (group == 0 && c < s.dim) {
            for (int g = 1; g < GROUPS; g++)
                sum += of_group[g][lane];
            to[c] += sum;
        }
        __syncthreads();
    }
}

template <typename T, int N> void grad(const mgk_position_args *a, mgk_exec *x)
{
    const slabs s = slabs_make(a);
    const int64_t runs = (s.dim + MGK_WARP * N - 1) / (MGK_WARP * N);
    const int64_t rows = s.frames + s.grid_h + s.grid_w;
    MGK_LAUNCH(x, (slab_kernel<T, N>), mgk_grid(s.count * runs, 1), MGK_BLOCK, 0,
               (const T *)a->dy.p, (float *)x->workspace, s);
    MGK_LAUNCH(x, add_up_kernel, mgk_grid(rows * ((s.dim + MGK_WARP - 1) / MGK_WARP), 1), MGK_BLOCK,
               0, (const float *)x->workspace, MGK_F(a->d_frame), MGK_F(a->d_row),
               MGK_F(a->d_column), s);
}

template <typename T> void grad_as(const mgk_position_args *a, mgk_exec *x)
{
    if (a->dim % 4 == 0 && mgk_is_aligned(a->dy))
        grad<T, 4>(a, x);
    else
        grad<T, 1>(a, x);
}

template <typename T> void add_as(const mgk_position_args *a, mgk_exec *x)
{
    if (a->dim % 4 == 0 && mgk_is_aligned(a->x) && mgk_is_aligned(a->y) &&
        mgk_is_aligned(a->frame) && mgk_is_aligned(a->row) && mgk_is_aligned(a->column))
        add<T, 4>(a, x);
    else
        add<T, 1>(a, x);
}

} // namespace

MGK_CUDA_LAUNCHER(position_add)
{
    const mgk_position_args *a = (const mgk_position_args *)args;
    if (a->batch * a->tokens * a->dim > 0)
        MGK_WITH_REAL(a->x.dtype, add_as<T>(a, x));
}

MGK_CUDA_WORKSPACE(position_add_grad)
{
    const mgk_position_args *a = (const mgk_position_args *)args;
    (void)threads;
    if (a->batch * a->tokens * a->dim == 0)
        return 0;
    const slabs s = slabs_make(a);
    return sizeof(float) * (size_t)(s.count * s.width * s.dim);
}

MGK_CUDA_LAUNCHER(position_add_grad)
{
    const mgk_position_args *a = (const mgk_position_args *)args;
    if (a->batch * a->tokens * a->dim > 0)
        MGK_WITH_REAL(a->dy.dtype, grad_as<T>(a, x));
}
