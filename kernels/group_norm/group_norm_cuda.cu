/* SPDX-License-Identifier: MIT
 * group_norm: a block takes a chunk of the rows of one sample and a tile of the channels, and a thread of it
 * MGK_VECTOR channels, whose statistics and weights it keeps. Groups are put together from the channels' sums,
 * chunks are added in order, both in double precision. */
#include "kernels/common/cuda_columns.h"
#include "kernels/group_norm/group_norm.h"

namespace
{

struct group_plan {
    mgk_tiling t;
    mgk_row_chunks k;
    bool whole, whole_vectors; /* x and its like, weight and bias can be taken as vectors */
};

bool is_empty(const mgk_group_norm_args *a)
{
    return a->n == 0 || a->rows == 0 || a->c == 0;
}

/* Of arguments that are not empty. */
group_plan plan_of(const mgk_group_norm_args *a)
{
    group_plan p;
    p.t = mgk_tiles_of(a->c, a->rows);
    p.k = mgk_chunk_rows(a->n * a->rows, 0, a->rows, MGK_BLOCK / p.t.lanes, p.t.tiles);
    p.whole = a->c % MGK_VECTOR == 0 && mgk_is_aligned(a->x) && mgk_is_aligned(a->y) &&
              mgk_is_aligned(a->dy) && mgk_is_aligned(a->dx);
    p.whole_vectors =
        a->c % MGK_VECTOR == 0 && mgk_is_aligned(a->weight) && mgk_is_aligned(a->bias);
    return p;
}

int blocks_of(const group_plan &p)
{
    return mgk_blocks(p.k.count() * p.t.tiles);
}

/* What a thread has to do in block b. */
struct place {
    int64_t part, sample, c, count; /* count: channels from c on, 0 or less: none */
    int64_t first, r, end, step;    /* first: of the chunk; r: of this thread */
    bool leads;                     /* gets the sums of its channels */

    __device__ __forceinline__ place(const mgk_group_norm_args &a, const group_plan &p, int64_t b)
    {
        part = b / p.t.tiles;
        sample = part / p.k.chunks;
        c = (b % p.t.tiles * p.t.lanes + (int)threadIdx.x % p.t.lanes) * MGK_VECTOR;
        count = a.c - c;
        p.k.range(part, &first, &end);
        r = first + (int)threadIdx.x / p.t.lanes;
        step = MGK_BLOCK / p.t.lanes;
        leads = (int)threadIdx.x < p.t.lanes && count > 0;
    }
};

/* ---- stats ---- */

/* Leaves the mean of each channel over the chunk, and the sum of the squared distances from it. Their sums are
 * of differences from the first row: it keeps the difference of squares exact where values are far from 0. */
template <typename T> MGK_KERNEL stats_kernel(mgk_group_norm_args a, group_plan p, float *parts)
{
    __shared__ float scratch[MGK_VECTOR * MGK_BLOCK];
    const T *x = (const T *)a.x.p;
    for (int64_t b = blockIdx.x; b < p.k.samples * p.k.chunks * p.t.tiles; b += gridDim.x) {
        place at(a, p, b);
        float from[MGK_VECTOR], v[MGK_VECTOR], sum[MGK_VECTOR] = {0}, square[MGK_VECTOR] = {0};
        if (at.count > 0)
            mgk_load_part(x + at.first * a.c + at.c, from, p.whole, at.count);
        for (int64_t r = at.r; r < at.end && at.count > 0; r += at.step) {
            mgk_load_part(x + r * a.c + at.c, v, p.whole, at.count);
            for (int i = 0; i < MGK_VECTOR; i++) {
                v[i] -= from[i];
                sum[i] += v[i];
                square[i] = fmaf(v[i], v[i], square[i]);
            }
        }
        mgk_group_columns<mgk_plus>(sum, scratch, p.t.lanes);
        mgk_group_columns<mgk_plus>(square, scratch, p.t.lanes);
        if (!at.leads)
            continue;
        const double rows = (double)(at.end - at.first);
        for (int i = 0; i < MGK_VECTOR; i++) {
            double off = sum[i] / rows;
            square[i] = (float)(square[i] - sum[i] * off);
            sum[i] = (float)(from[i] + off);
        }
        float *part = parts + at.part * 2 * a.c + at.c;
        mgk_store_part(part, sum, a.c % MGK_VECTOR == 0, at.count);
        mgk_store_part(part + a.c, square, a.c % MGK_VECTOR == 0, at.count);
    }
}

/* A block: a group of a sample. */
MGK_KERNEL stats_total_kernel(mgk_group_norm_args a, mgk_row_chunks k, const float *parts)
{
    __shared__ double scratch[MGK_WARP];
    const int64_t wide = a.c / a.groups, size = a.rows * wide;
    for (int64_t g = blockIdx.x; g < a.n * a.groups; g += gridDim.x) {
        int64_t sample = g / a.groups, values = size > 0 ? k.chunks * wide : 0;
        const float *part = parts + sample * k.chunks * 2 * a.c + g % a.groups * wide;
        double mean = 0, square = 0;
        for (int64_t i = threadIdx.x; i < values; i += blockDim.x) {
            int64_t chunk = i / wide, left = a.rows - chunk * k.chunk;
            mean += (double)(left < k.chunk ? left : k.chunk) * part[chunk * 2 * a.c + i % wide];
        }
        mean = mgk_block_sum(mean, scratch) / (double)(size > 0 ? size : 1);
        for (int64_t i = threadIdx.x; i < values; i += blockDim.x) {
            int64_t chunk = i / wide, left = a.rows - chunk * k.chunk;
            double d = part[chunk * 2 * a.c + i % wide] - mean;
            square += part[(chunk * 2 + 1) * a.c + i % wide] +
                      (double)(left < k.chunk ? left : k.chunk) * d * d;
        }
        square = mgk_block_sum(square, scratch);
        if (threadIdx.x > 0)
            continue;
        double before = (double)a.count, all = before + (double)size;
        if (a.count > 0) {
            double old = MGK_F(a.mean)[g], d = mean - old;
            square += MGK_F(a.var)[g] * before + d * d * before * ((double)size / all);
            mean = old + d * ((double)size / all);
        }
        MGK_F(a.mean)[g] = (float)mean;
        MGK_F(a.var)[g] = all > 0 ? (float)(square / all) : 0;
    }
}

/* ---- what is made of each value ---- */

/* Of MGK_VECTOR channels of a sample: h = (x - mean) * rstd, y = act(h * weight + bias). */
struct channels {
    float mean[MGK_VECTOR], rstd[MGK_VECTOR], weight[MGK_VECTOR], bias[MGK_VECTOR];

    __device__ __forceinline__ void load(const mgk_group_norm_args &a, const place &at, bool whole)
    {
        const int64_t wide = a.c / a.groups;
        for (int i = 0; i < MGK_VECTOR; i++) {
            int64_t g = at.sample * a.groups + (i < at.count ? at.c + i : at.c) / wide;
            mean[i] = MGK_F(a.mean)[g];
            rstd[i] = 1 / sqrtf(MGK_F(a.var)[g] + a.eps);
            weight[i] = 1;
            bias[i] = 0;
        }
        if (a.weight.p)
            mgk_load_part(MGK_F(a.weight) + at.c, weight, whole, at.count);
        if (a.bias.p)
            mgk_load_part(MGK_F(a.bias) + at.c, bias, whole, at.count);
    }

    /* Turns x into h and dy into p, the gradient before the activation. */
    __device__ __forceinline__ void before(float *x, float *dy, bool silu) const
    {
        for (int i = 0; i < MGK_VECTOR; i++) {
            x[i] = (x[i] - mean[i]) * rstd[i];
            if (silu)
                dy[i] *= mgk_cuda_silu_grad(fmaf(x[i], weight[i], bias[i]));
        }
    }
};

template <typename T> MGK_KERNEL apply_kernel(mgk_group_norm_args a, group_plan p)
{
    for (int64_t b = blockIdx.x; b < p.k.samples * p.k.chunks * p.t.tiles; b += gridDim.x) {
        place at(a, p, b);
        channels k;
        if (at.count <= 0)
            continue;
        k.load(a, at, p.whole_vectors);
        for (int64_t r = at.r; r < at.end; r += at.step) {
            float v[MGK_VECTOR];
            mgk_load_part((const T *)a.x.p + r * a.c + at.c, v, p.whole, at.count);
            for (int i = 0; i < MGK_VECTOR; i++) {
                v[i] = fmaf((v[i] - k.mean[i]) * k.rstd[i], k.weight[i], k.bias[i]);
                if (a.silu)
                    v[i] = mgk_cuda_silu(v[i]);
            }
            mgk_store_part((T *)a.y.p + r * a.c + at.c, v, p.whole, at.count);
        }
    }
}

/* ---- gradients ---- */

/* Leaves sum(p) and sum(p h) of each channel over the chunk. */
template <typename T>
MGK_KERNEL grad_stats_kernel(mgk_group_norm_args a, group_plan p, float *parts)
{
    __shared__ float scratch[MGK_VECTOR * MGK_BLOCK];
    for (int64_t b = blockIdx.x; b < p.k.samples * p.k.chunks * p.t.tiles; b += gridDim.x) {
        place at(a, p, b);
        float h[MGK_VECTOR], d[MGK_VECTOR], sum[MGK_VECTOR] = {0}, sum_h[MGK_VECTOR] = {0};
        channels k;
        if (at.count > 0)
            k.load(a, at, p.whole_vectors);
        for (int64_t r = at.r; r < at.end && at.count > 0; r += at.step) {
            mgk_load_part((const T *)a.x.p + r * a.c + at.c, h, p.whole, at.count);
            mgk_load_part((const T *)a.dy.p + r * a.c + at.c, d, p.whole, at.count);
            k.before(h, d, a.silu);
            for (int i = 0; i < MGK_VECTOR; i++) {
                sum[i] += d[i];
                sum_h[i] = fmaf(d[i], h[i], sum_h[i]);
            }
        }
        mgk_group_columns<mgk_plus>(sum, scratch, p.t.lanes);
        mgk_group_columns<mgk_plus>(sum_h, scratch, p.t.lanes);
        if (!at.leads)
            continue;
        float *part = parts + at.part * 2 * a.c + at.c;
        mgk_store_part(part, sum, a.c % MGK_VECTOR == 0, at.count);
        mgk_store_part(part + a.c, sum_h, a.c % MGK_VECTOR == 0, at.count);
    }
}

/* A block: 32 columns of a sample; its sums take the place of its first chunk's. */
MGK_KERNEL sample_total_kernel(mgk_group_norm_args a, mgk_row_chunks k, float *parts)
{
    __shared__ double scratch[MGK_TOTAL_MOST];
    const int64_t width = 2 * a.c, tiles = (width + MGK_WARP - 1) / MGK_WARP;
    for (int64_t b = blockIdx.x; b < a.n * tiles; b += gridDim.x) {
        int64_t c = b % tiles * MGK_WARP + threadIdx.x % MGK_WARP;
        float *part = parts + b / tiles * k.chunks * width + c;
        double sum = mgk_column_total<mgk_plus>(part, k.chunks, width, c >= width, scratch);
        if (threadIdx.x < MGK_WARP && c < width)
            *part = (float)sum;
    }
}

/* A warp: a group of a sample. */
MGK_KERNEL group_total_kernel(mgk_group_norm_args a, mgk_row_chunks k, const float *parts)
{
    const int64_t wide = a.c / a.groups, lane = threadIdx.x % MGK_WARP;
    for (int64_t g = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) / MGK_WARP;
         g < a.n * a.groups; g += (int64_t)gridDim.x * blockDim.x / MGK_WARP) {
        const float *part = parts + g / a.groups * k.chunks * 2 * a.c;
        double sum = 0, sum_h = 0;
        for (int64_t c = g % a.groups * wide + lane; c < (g % a.groups + 1) * wide; c += MGK_WARP) {
            double weight = a.weight.p ? MGK_F(a.weight)[c] : 1;
            sum += weight * part[c];
            sum_h += weight * part[a.c + c];
        }
        sum = mgk_warp_sum(sum);
        sum_h = mgk_warp_sum(sum_h);
        float *to = MGK_F(a.sums) + 2 * g;
        if (lane == 0) {
            to[0] = (float)(a.accumulate ? to[0] + sum : sum);
            to[1] = (float)(a.accumulate ? to[1] + sum_h : sum_h);
        }
    }
}

MGK_KERNEL weight_total_kernel(mgk_group_norm_args a, mgk_row_chunks k, const float *parts)
{
    MGK_FOR(c, a.c)
    {
        double sum = 0, sum_h = 0;
        for (int64_t s = 0; s < a.n; s++) {
            sum += parts[s * k.chunks * 2 * a.c + c];
            sum_h += parts[(s * k.chunks * 2 + 1) * a.c + c];
        }
        if (a.d_bias.p)
            MGK_F(a.d_bias)[c] += (float)sum;
        if (a.d_weight.p)
            MGK_F(a.d_weight)[c] += (float)sum_h;
    }
}

MGK_KERNEL no_sums_kernel(float *sums, int64_t count)
{
    MGK_FOR(i, count)
    {
        sums[i] = 0;
    }
}

template <typename T> MGK_KERNEL grad_apply_kernel(mgk_group_norm_args a, group_plan p)
{
    const float share = 1 / (float)a.count;
    const T *x = (const T *)a.x.p, *dy = (const T *)a.dy.p;
    for (int64_t b = blockIdx.x; b < p.k.samples * p.k.chunks * p.t.tiles; b += gridDim.x) {
        place at(a, p, b);
        channels k;
        float mean_p[MGK_VECTOR], mean_ph[MGK_VECTOR], h[MGK_VECTOR], d[MGK_VECTOR];
        if (at.count <= 0)
            continue;
        k.load(a, at, p.whole_vectors);
        for (int i = 0; i < MGK_VECTOR; i++) {
            int64_t c = i < at.count ? at.c + i : at.c;
            int64_t g = at.sample * a.groups + c / (a.c / a.groups);
            mean_p[i] = MGK_F(a.sums)[2 * g] * share;
            mean_ph[i] = MGK_F(a.sums)[2 * g + 1] * share;
        }
        for (int64_t r = at.r; r < at.end; r += at.step) {
            T *dx = (T *)a.dx.p + r * a.c + at.c;
            mgk_load_part(x + r * a.c + at.c, h, p.whole, at.count);
            mgk_load_part(dy + r * a.c + at.c, d, p.whole, at.count);
            k.before(h, d, a.silu);
            for (int i = 0; i < MGK_VECTOR; i++)
                d[i] = k.rstd[i] * (d[i] * k.weight[i] - mean_p[i] - h[i] * mean_ph[i]);
            if (a.accumulate) {
                mgk_load_part(dx, h, p.whole, at.count);
                for (int i = 0; i < MGK_VECTOR; i++)
                    d[i] += h[i];
            }
            mgk_store_part(dx, d, p.whole, at.count);
        }
    }
}

size_t parts_size(const mgk_group_norm_args *a)
{
    return is_empty(a) ? 0 : sizeof(float) * (size_t)(plan_of(a).k.count() * 2 * a->c);
}

} // namespace

MGK_CUDA_WORKSPACE(group_norm_stats)
{
    (void)threads;
    return parts_size((const mgk_group_norm_args *)args);
}

MGK_CUDA_LAUNCHER(group_norm_stats)
{
    const mgk_group_norm_args *a = (const mgk_group_norm_args *)args;
    float *parts = (float *)x->workspace;
    mgk_row_chunks k = {};
    if (a->n == 0)
        return;
    if (!is_empty(a)) {
        group_plan p = plan_of(a);
        k = p.k;
        MGK_WITH_REAL(a->x.dtype,
                      MGK_LAUNCH(x, stats_kernel<T>, blocks_of(p), MGK_BLOCK, 0, *a, p, parts));
    }
    MGK_LAUNCH(x, stats_total_kernel, mgk_blocks(a->n * a->groups), MGK_BLOCK, 0, *a, k, parts);
}

MGK_CUDA_LAUNCHER(group_norm_apply)
{
    const mgk_group_norm_args *a = (const mgk_group_norm_args *)args;
    if (is_empty(a))
        return;
    group_plan p = plan_of(a);
    MGK_WITH_REAL(a->x.dtype, MGK_LAUNCH(x, apply_kernel<T>, blocks_of(p), MGK_BLOCK, 0, *a, p));
}

MGK_CUDA_WORKSPACE(group_norm_grad_stats)
{
    (void)threads;
    return parts_size((const mgk_group_norm_args *)args);
}

MGK_CUDA_LAUNCHER(group_norm_grad_stats)
{
    const mgk_group_norm_args *a = (const mgk_group_norm_args *)args;
    float *parts = (float *)x->workspace;
    if (is_empty(a)) {
        int64_t count = 2 * a->n * a->groups;
        if (count > 0 && !a->accumulate)
            MGK_LAUNCH(x, no_sums_kernel, mgk_grid(count, MGK_BLOCK), MGK_BLOCK, 0, MGK_F(a->sums),
                       count);
        return;
    }
    group_plan p = plan_of(a);
    MGK_WITH_REAL(a->x.dtype,
                  MGK_LAUNCH(x, grad_stats_kernel<T>, blocks_of(p), MGK_BLOCK, 0, *a, p, parts));
    MGK_LAUNCH(x, sample_total_kernel, mgk_blocks(a->n * mgk_cuda_div_up(2 * a->c, MGK_WARP)),
               mgk_total_block(p.k.chunks), 0, *a, p.k, parts);
    MGK_LAUNCH(x, group_total_kernel, mgk_grid(a->n * a->groups * MGK_WARP, MGK_BLOCK), MGK_BLOCK,
               0, *a, p.k, parts);
    if (a->d_weight.p || a->d_bias.p)
        MGK_LAUNCH(x, weight_total_kernel, mgk_grid(a->c, MGK_WARP), MGK_WARP, 0, *a, p.k, parts);
}

MGK_CUDA_LAUNCHER(group_norm_grad_apply)
{
    const mgk_group_norm_args *a = (const mgk_group_norm_args *)args;
    if (is_empty(a))
        return;
    group_plan p = plan_of(a);
    MGK_WITH_REAL(a->x.dtype,
                  MGK_LAUNCH(x, grad_apply_kernel<T>, blocks_of(p), MGK_BLOCK, 0, *a, p));
}
