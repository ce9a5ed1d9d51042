/* SPDX-License-Identifier: MIT
 * The pointwise ops that sum over rows. */
#include "kernels/common/cuda_columns.h"
#include "kernels/pointwise/pointwise.h"

namespace
{

/* ---- gated_residual_grad ---- */

mgk_row_chunks gated_chunks(const mgk_pointwise_args *a, mgk_tiling *t)
{
    *t = mgk_tiles_of(a->dim, a->rows < a->rows_per_sample ? a->rows : a->rows_per_sample);
    return mgk_chunk_rows(a->rows, a->row_offset, a->rows_per_sample, MGK_BLOCK / t->lanes,
                          t->tiles);
}

/* A block: a chunk's rows of a tile. parts NULL: each sample is one chunk. EARLY: rows of bf16 that can be taken as
 * vectors; each is read while the one before is computed. */
template <typename T, bool EARLY>
MGK_KERNEL __launch_bounds__(MGK_BLOCK, EARLY ? 4 : 3)
    gated_grad_kernel(mgk_pointwise_args a, mgk_row_chunks k, mgk_tiling t, bool whole_rows,
                      bool whole_gate, float *parts)
{
    __shared__ float scratch[MGK_VECTOR * MGK_BLOCK];
    const int lane = (int)threadIdx.x % t.lanes, group = (int)threadIdx.x / t.lanes;
    const T *dy = (const T *)a.dy.p, *h = (const T *)a.h.p;
    T *dh = (T *)a.dh.p;
    float *d_gate = (float *)a.d_gate.p;
    const bool whole = EARLY || whole_rows;
    const int groups = MGK_BLOCK / t.lanes;
    for (int64_t b = blockIdx.x; b < k.samples * k.chunks * t.tiles; b += gridDim.x) {
        int64_t part = b / t.tiles, sample = k.first_sample + part / k.chunks, r, end;
        int64_t c = (b % t.tiles * t.lanes + lane) * MGK_VECTOR, count = a.dim - c;
        float sum[MGK_VECTOR] = {0}, gate[MGK_VECTOR], d[MGK_VECTOR], v[MGK_VECTOR];
        k.range(part, &r, &end);
        if (count > 0)
            mgk_load_part(MGK_F(a.gate) + sample * a.gate_stride + c, gate, whole_gate, count);
        mgk_ahead next_dy, next_h;
        auto begin_row = [&](int64_t row) {
            if (!EARLY || row >= end || count <= 0)
                return;
            next_dy.begin(dy + row * a.dim + c);
            if (d_gate)
                next_h.begin(h + row * a.dim + c);
        };
        r += group;
        begin_row(r);
        for (; r < end && count > 0; r += groups) {
            if (EARLY) {
                next_dy.take(d);
                if (d_gate)
                    next_h.take(v);
                begin_row(r + groups);
            } else {
                mgk_load_part(dy + r * a.dim + c, d, whole, count);
                if (d_gate)
                    mgk_load_part(h + r * a.dim + c, v, whole, count);
            }
            for (int i = 0; i < MGK_VECTOR; i++) {
                sum[i] = d_gate ? fmaf(d[i], v[i], sum[i]) : 0;
                d[i] *= gate[i];
            }
            if (dh)
                mgk_store_part(dh + r * a.dim + c, d, whole, count);
        }
        if (!d_gate)
            continue;
        mgk_group_columns<mgk_plus>(sum, scratch, t.lanes);
        if (group > 0 || count <= 0)
            continue;
        if (parts)
            mgk_store_part(parts + part * a.dim + c, sum, a.dim % MGK_VECTOR == 0, count);
        for (int i = 0; i < MGK_VECTOR && !parts; i++)
            if (i < count)
                d_gate[sample * a.d_gate_stride + c + i] += sum[i];
    }
}

MGK_KERNEL gated_total_kernel(mgk_pointwise_args a, mgk_row_chunks k, const float *parts)
{
    __shared__ double scratch[MGK_TOTAL_MOST];
    int64_t tiles = (a.dim + MGK_WARP - 1) / MGK_WARP;
    for (int64_t b = blockIdx.x; b < k.samples * tiles; b += gridDim.x) {
        int64_t s = b / tiles, c = b % tiles * MGK_WARP + threadIdx.x % MGK_WARP;
        double sum = mgk_column_total<mgk_plus>(parts + s * k.chunks * a.dim + c, k.chunks, a.dim,
                                                c >= a.dim, scratch);
        if (threadIdx.x < MGK_WARP && c < a.dim)
            MGK_F(a.d_gate)[(k.first_sample + s) * a.d_gate_stride + c] += (float)sum;
    }
}

/* ---- reduce_rows ---- */

/* The larger one; NaN if one of them is. */
struct larger {
    template <typename V> static __device__ __forceinline__ V of(V a, V b)
    {
        return a >= b || a != a ? a : b;
    }
    static __device__ __forceinline__ float none()
    {
        return -INFINITY;
    }
};

/* x as lines of `width` = period * dim values, of which the first `skip` (rows that came before) and those
 * from `end` on are not there. */
struct reduce_plan {
    int64_t width, skip, end;
    mgk_tiling t;
    mgk_row_chunks k;
};

reduce_plan plan_reduce(const mgk_pointwise_args *a)
{
    reduce_plan p;
    int64_t before = a->row_offset % a->period;
    int64_t lines = mgk_cuda_div_up(before + a->rows, a->period);
    p.width = a->period * a->dim;
    p.skip = before * a->dim;
    p.end = p.skip + a->rows * a->dim;
    p.t = mgk_tiles_of(p.width, lines);
    p.k = mgk_chunk_rows(lines, 0, 0, MGK_BLOCK / p.t.lanes, p.t.tiles);
    return p;
}

/* What the sum of column c does to the table. */
template <typename OP>
MGK_DEVICE void add_to_table(const mgk_pointwise_args &a, int64_t c, double sum)
{
    float *to = MGK_F(a.table) + c;
    if (a.kind == MGK_REDUCE_MEAN) {
        int64_t first = (c / a.dim - a.row_offset % a.period + a.period) % a.period;
        sum /= (double)(first < a.rows ? (a.rows - 1 - first) / a.period + 1 : 1);
    }
    *to = OP::of(*to, (float)sum);
}

template <typename T, typename OP>
MGK_KERNEL reduce_kernel(mgk_pointwise_args a, reduce_plan p, bool whole, float *parts)
{
    __shared__ float scratch[MGK_VECTOR * MGK_BLOCK];
    const int lane = (int)threadIdx.x % p.t.lanes, group = (int)threadIdx.x / p.t.lanes;
    for (int64_t b = blockIdx.x; b < p.k.chunks * p.t.tiles; b += gridDim.x) {
        int64_t part = b / p.t.tiles, line, end;
        int64_t c = (b % p.t.tiles * p.t.lanes + lane) * MGK_VECTOR;
        float sum[MGK_VECTOR], v[MGK_VECTOR];
        for (int i = 0; i < MGK_VECTOR; i++)
            sum[i] = OP::none();
        p.k.range(part, &line, &end);
        for (line += group; line < end && c < p.width; line += MGK_BLOCK / p.t.lanes) {
            int64_t at = line * p.width + c;
            const T *from = (const T *)a.x.p + (at - p.skip);
            if (whole) { /* all of the vector is there or nothing */
                if (at < p.skip || at >= p.end)
                    continue;
                mgk_load_vector<MGK_VECTOR>(from, v);
            } else {
                for (int i = 0; i < MGK_VECTOR; i++)
                    v[i] = c + i < p.width && at + i >= p.skip && at + i < p.end ? mgk_load(from[i])
                                                                                 : OP::none();
            }
            for (int i = 0; i < MGK_VECTOR; i++)
                sum[i] = OP::of(sum[i], v[i]);
        }
        mgk_group_columns<OP>(sum, scratch, p.t.lanes);
        if (group > 0)
            continue;
        for (int i = 0; i < MGK_VECTOR; i++) {
            if (c + i < p.width && parts)
                parts[part * p.width + c + i] = sum[i];
            else if (c + i < p.width)
                add_to_table<OP>(a, c + i, sum[i]);
        }
    }
}

template <typename OP>
MGK_KERNEL reduce_total_kernel(mgk_pointwise_args a, reduce_plan p, const float *parts)
{
    __shared__ double scratch[MGK_TOTAL_MOST];
    for (int64_t b = blockIdx.x; b * MGK_WARP < p.width; b += gridDim.x) {
        int64_t c = b * MGK_WARP + threadIdx.x % MGK_WARP;
        double sum = mgk_column_total<OP>(parts + c, p.k.chunks, p.width, c >= p.width, scratch);
        if (threadIdx.x < MGK_WARP && c < p.width)
            add_to_table<OP>(a, c, sum);
    }
}

template <typename OP>
void reduce_by(const mgk_pointwise_args *a, const reduce_plan &p, mgk_exec *x)
{
    float *parts = p.k.chunks > 1 ? (float *)x->workspace : NULL;
    bool whole = mgk_is_aligned(a->x) && a->dim % MGK_VECTOR == 0;
    MGK_WITH_REAL(a->x.dtype,
                  MGK_LAUNCH(x, (reduce_kernel<T, OP>), mgk_blocks(p.k.chunks * p.t.tiles),
                             MGK_BLOCK, 0, *a, p, whole, parts));
    if (parts)
        MGK_LAUNCH(x, reduce_total_kernel<OP>, mgk_blocks(mgk_cuda_div_up(p.width, MGK_WARP)),
                   mgk_total_block(p.k.chunks), 0, *a, p, parts);
}

} // namespace

MGK_CUDA_WORKSPACE(gated_residual_grad)
{
    const mgk_pointwise_args *a = (const mgk_pointwise_args *)args;
    mgk_tiling t;
    (void)threads;
    if (a->rows == 0 || a->dim == 0)
        return 0;
    mgk_row_chunks k = gated_chunks(a, &t);
    return a->d_gate.p && k.chunks > 1 ? sizeof(float) * (size_t)(k.count() * a->dim) : 0;
}

MGK_CUDA_LAUNCHER(gated_residual_grad)
{
    const mgk_pointwise_args *a = (const mgk_pointwise_args *)args;
    if (a->rows == 0 || a->dim == 0)
        return;
    mgk_tiling t;
    mgk_row_chunks k = gated_chunks(a, &t);
    float *parts = a->d_gate.p && k.chunks > 1 ? (float *)x->workspace : NULL;
    bool vectors = a->dim % MGK_VECTOR == 0;
    bool whole = vectors && mgk_is_aligned(a->dy) && mgk_is_aligned(a->h) && mgk_is_aligned(a->dh);
    bool whole_gate = vectors && mgk_is_aligned(a->gate) && a->gate_stride % 4 == 0;
    const int blocks = mgk_blocks(k.count() * t.tiles);
    if (whole && a->dy.dtype == MGK_BF16)
        MGK_LAUNCH(x, (gated_grad_kernel<mgk_bf16, true>), blocks, MGK_BLOCK, 0, *a, k, t, whole,
                   whole_gate, parts);
    else
        MGK_WITH_REAL(a->dy.dtype, MGK_LAUNCH(x, (gated_grad_kernel<T, false>), blocks, MGK_BLOCK,
                                              0, *a, k, t, whole, whole_gate, parts));
    if (parts)
        MGK_LAUNCH(x, gated_total_kernel, mgk_blocks(k.samples * mgk_cuda_div_up(a->dim, MGK_WARP)),
                   mgk_total_block(k.chunks), 0, *a, k, parts);
}

MGK_CUDA_WORKSPACE(reduce_rows)
{
    const mgk_pointwise_args *a = (const mgk_pointwise_args *)args;
    (void)threads;
    if (a->rows == 0 || a->dim == 0)
        return 0;
    reduce_plan p = plan_reduce(a);
    return p.k.chunks > 1 ? sizeof(float) * (size_t)(p.k.chunks * p.width) : 0;
}

MGK_CUDA_LAUNCHER(reduce_rows)
{
    const mgk_pointwise_args *a = (const mgk_pointwise_args *)args;
    if (a->rows == 0 || a->dim == 0)
        return;
    if (a->kind == MGK_REDUCE_MAX)
        reduce_by<larger>(a, plan_reduce(a), x);
    else
        reduce_by<mgk_plus>(a, plan_reduce(a), x);
}
