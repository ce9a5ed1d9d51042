/* SPDX-License-Identifier: MIT
 * norm and residual_norm on vectors; included once a variant.
 *
 * Rows are taken in groups of one sample. The statistics of a group bring its rows into the cache;
 * then they are normalized side by side, which loads weight and modulation once for all, while the
 * next group is fetched. A residual is computed anew in each walk over the row: that is cheaper than
 * to keep it.
 */
#include "kernels/common/real_simd.h"
#include "kernels/norm/norm.h"

enum { GROUP = MGK_WIDTH == 16 ? 4 : 2 };

#define AT(b, i) ((b).p ? MGK_F(b) + (i) : NULL)

static int64_t sample_of(const mgk_norm_args *a, int64_t row)
{
    return a->rows_per_sample > 0 ? (row + a->row_offset) / a->rows_per_sample : 0;
}

/* First row after the sample of this one. */
static int64_t sample_end(const mgk_norm_args *a, int64_t row)
{
    if (a->rows_per_sample <= 0)
        return a->rows;
    return (sample_of(a, row) + 1) * a->rows_per_sample - a->row_offset;
}

/* What is normalized: x, or the residual. */
typedef struct source {
    v_real x, h;
    const float *gate; /* NULL: 1 */
    bool residual;
} source;

MGK_INLINE source source_of(const mgk_norm_args *a, int64_t r, bool residual, int32_t type)
{
    source s = {.x = v_from(a->x, r * a->dim, type), .residual = residual};
    if (residual) {
        s.h = v_from(a->h, r * a->dim, type);
        s.gate = AT(a->gate, sample_of(a, r) * a->gate_stride);
    }
    return s;
}

MGK_INLINE vf source_read(const source *s, int64_t row_at, int64_t i, int64_t lanes)
{
    vf v = v_read(s->x, row_at + i, lanes);
    if (!s->residual)
        return v;
    vf h = v_read(s->h, row_at + i, lanes);
    v = s->gate ? v + v_load_lanes(s->gate + i, lanes) * h : v + h;
    return v_rounded(v, s->x.dtype);
}

/* Sum of the row, or of the squares of its distances from the mean. */
MGK_INLINE float row_sum(const source *in, int64_t at, int64_t n, bool squares, float mean)
{
    vf s[4] = {{0}, {0}, {0}, {0}};
    int64_t i = 0;
    for (; i + 4 * MGK_WIDTH <= n; i += 4 * MGK_WIDTH) {
        MGK_UNROLL
        for (int k = 0; k < 4; k++) {
            vf v = source_read(in, at, i + k * MGK_WIDTH, MGK_WIDTH);
            if (squares)
                v -= mean;
            s[k] += squares ? v * v : v;
        }
    }
    for (; i < n; i += MGK_WIDTH) {
        int64_t lanes = mgk_min(MGK_WIDTH, n - i);
        vf v = source_read(in, at, i, lanes);
        if (squares)
            v = (vf)((vi)(v - mean) & v_lanes_below(lanes));
        s[0] += squares ? v * v : v;
    }
    return v_sum((s[0] + s[1]) + (s[2] + s[3]));
}

/* `count` rows of one sample, 1 or GROUP. */
MGK_INLINE void norm_rows(const mgk_norm_args *a, int64_t r, int count, bool residual, int32_t type,
                          int32_t stream)
{
    const int64_t dim = a->dim, mod = sample_of(a, r) * a->mod_stride;
    const float *weight = MGK_F(a->weight), *bias = MGK_F(a->bias);
    const float *scale = AT(a->scale, mod), *shift = AT(a->shift, mod);
    source in = source_of(a, r, residual, type);
    v_real out = v_from(a->y, r * dim, type), out_r = out;
    float mean[GROUP] = {0}, rstd[GROUP];
    out.stream = stream;
    if (residual || a->r.p)
        out_r = v_from(a->r, r * dim, type);
    out_r.stream = stream;
    MGK_UNROLL
    for (int k = 0; k < count; k++) {
        if (a->kind == MGK_NORM_LAYER)
            mean[k] = row_sum(&in, k * dim, dim, false, 0) / (float)dim;
        float square = row_sum(&in, k * dim, dim, true, mean[k]) / (float)dim;
        rstd[k] = 1 / sqrtf(square + a->eps);
        if (a->rstd.p)
            MGK_F(a->rstd)[r + k] = rstd[k];
        if (a->mean.p && a->kind == MGK_NORM_LAYER)
            MGK_F(a->mean)[r + k] = mean[k];
    }
    MGK_EACH_VECTOR(i, dim, {
        vf times = weight ? v_in(weight + i) : v_set(1);
        vf plus = bias ? v_in(bias + i) : v_set(0);
        if (scale) {
            vf s = v_in(scale + i);
            times += times * s;
            plus += plus * s;
        }
        if (shift)
            plus += v_in(shift + i);
        MGK_UNROLL
        for (int k = 0; k < count; k++) {
            vf v = source_read(&in, k * dim, i, v_lanes);
            v_prefetch(in.x, (count + k) * dim + i);
            if (residual)
                v_prefetch(in.h, (count + k) * dim + i);
            if (a->r.p)
                v_put(out_r, k * dim + i, v);
            v_put(out, k * dim + i, (v - mean[k]) * rstd[k] * times + plus);
        }
    });
}

MGK_INLINE void norm_range(const mgk_norm_args *a, int64_t r, int64_t end, bool residual,
                           int32_t type)
{
    int32_t stream = mgk_streams(a->y, a->rows, a->dim);
    if (a->r.p)
        stream = stream && mgk_streams(a->r, a->rows, a->dim);
    while (r < end) {
        int64_t last = mgk_min(end, sample_end(a, r));
        for (; r + GROUP <= last; r += GROUP)
            norm_rows(a, r, GROUP, residual, type, stream);
        for (; r < last; r++)
            norm_rows(a, r, 1, residual, type, stream);
    }
    v_stream_end(stream);
}

static int64_t rows_a_block(int64_t dim)
{
    return mgk_div_up(mgk_rows_a_block(dim), 4 * GROUP) * 4 * GROUP;
}

static void norm_block(void *arg, int64_t block, int thread)
{
    const mgk_norm_args *a = arg;
    (void)thread;
    int64_t rows = rows_a_block(a->dim), end = mgk_min(a->rows, (block + 1) * rows);
    if (a->h.p && a->r.p)
        V_BY_DTYPE(a->x.dtype, norm_range, a, block * rows, end, true);
    else
        V_BY_DTYPE(a->x.dtype, norm_range, a, block * rows, end, false);
}

static void run_norm(const mgk_norm_args *a, mgk_exec *x)
{
    if (a->dim > 0)
        mgk_for(x, mgk_div_up(a->rows, rows_a_block(a->dim)), a->rows * a->dim, norm_block,
                (void *)a);
}

MGK_LAUNCH(norm)
{
    mgk_norm_args a = *(const mgk_norm_args *)args;
    a.r.p = a.h.p = NULL;
    run_norm(&a, x);
}

MGK_LAUNCH(residual_norm)
{
    run_norm(args, x);
}

#include "kernels/norm/norm_grad_simd.h"
