/* SPDX-License-Identifier: MIT
 * norm and residual_norm on vectors; included once a variant.
 *
 * Rows are taken in groups of one sample. The statistics of a group bring its rows into the cache;
 * then they are normalized side by side, which loads weight and modulation once for all, while the
 * next group is fetched.
 */
#include "kernels/common/real_simd.h"
#include "kernels/norm/norm_columns.h"

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

/* Of a residual: r = x + gate * h is written by the first walk over the row, the others read it. */
typedef struct residual_rows {
    v_real x, h, r;
    const float *gate; /* NULL: 1 */
    bool has_h;
} residual_rows;

MGK_INLINE vf residual_make(const residual_rows *s, int64_t at, int64_t i, int64_t lanes)
{
    vf v = v_read(s->x, at + i, lanes);
    if (s->has_h) {
        vf h = v_read(s->h, at + i, lanes);
        v = s->gate ? v + v_load_lanes(s->gate + i, lanes) * h : v + h;
        v = v_rounded(v, s->x.dtype);
    }
    v_write(s->r, at + i, lanes, v);
    return v;
}

/* Sum of the row, or of the squares of its distances from the mean; make: the residual's first walk. */
MGK_INLINE float row_sum(const residual_rows *s, v_real in, int64_t at, int64_t n, bool make,
                         bool squares, float mean)
{
    vf sum[4] = {{0}, {0}, {0}, {0}};
    int64_t i = 0;
    for (; i + 4 * MGK_WIDTH <= n; i += 4 * MGK_WIDTH) {
        MGK_UNROLL
        for (int k = 0; k < 4; k++) {
            int64_t j = i + k * MGK_WIDTH;
            vf v = make ? residual_make(s, at, j, MGK_WIDTH) : v_read(in, at + j, MGK_WIDTH);
            if (squares)
                v -= mean;
            sum[k] += squares ? v * v : v;
        }
    }
    for (; i < n; i += MGK_WIDTH) {
        int64_t lanes = mgk_min(MGK_WIDTH, n - i);
        vf v = make ? residual_make(s, at, i, lanes) : v_read(in, at + i, lanes);
        if (squares)
            v = (vf)((vi)(v - mean) & v_lanes_below(lanes));
        sum[0] += squares ? v * v : v;
    }
    return v_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

MGK_INLINE residual_rows residual_of(const mgk_norm_args *a, int64_t r, int32_t type)
{
    residual_rows s = {.x = v_from(a->x, r * a->dim, type),
                       .r = v_from(a->r, r * a->dim, type),
                       .has_h = a->h.p != NULL};
    if (s.has_h) {
        s.h = v_from(a->h, r * a->dim, type);
        s.gate = AT(a->gate, sample_of(a, r) * a->gate_stride);
    }
    return s;
}

/* `count` rows of one sample, 1 or GROUP. */
MGK_INLINE void norm_rows(const mgk_norm_args *a, int64_t r, int count, bool sum, int32_t type,
                          int32_t stream)
{
    const int64_t dim = a->dim, mod = sample_of(a, r) * a->mod_stride;
    const float *weight = MGK_F(a->weight), *bias = MGK_F(a->bias);
    const float *scale = AT(a->scale, mod), *shift = AT(a->shift, mod);
    const bool layer = a->kind == MGK_NORM_LAYER;
    v_real in = v_from(a->x, r * dim, type), out = v_from(a->y, r * dim, type);
    residual_rows s = {.x = in};
    float mean[GROUP] = {0}, rstd[GROUP];
    if (sum) {
        s = residual_of(a, r, type);
        in = s.r;
    }
    out.stream = stream;
    MGK_UNROLL
    for (int k = 0; k < count; k++) {
        if (layer)
            mean[k] = row_sum(&s, in, k * dim, dim, sum, false, 0) / (float)dim;
        float square = sum && !layer ? row_sum(&s, in, k * dim, dim, true, true, 0)
                                     : row_sum(&s, in, k * dim, dim, false, true, mean[k]);
        rstd[k] = 1 / sqrtf(square / (float)dim + a->eps);
        if (a->rstd.p)
            MGK_F(a->rstd)[r + k] = rstd[k];
        if (a->mean.p && layer)
            MGK_F(a->mean)[r + k] = mean[k];
    }
    MGK_EACH_VECTOR(i, dim, {
        vf times = weight ? v_in(weight + i) : v_set(1);
        vf plus = bias ? v_in(bias + i) : v_set(0);
        if (scale) {
            vf more = v_in(scale + i);
            times += times * more;
            plus += plus * more;
        }
        if (shift)
            plus += v_in(shift + i);
        MGK_UNROLL
        for (int k = 0; k < count; k++) {
            vf v = v_get(in, k * dim + i);
            v_prefetch(sum ? s.x : in, (count + k) * dim + i);
            if (sum && s.has_h)
                v_prefetch(s.h, (count + k) * dim + i);
            v_put(out, k * dim + i, (v - mean[k]) * rstd[k] * times + plus);
        }
    });
}

MGK_INLINE void norm_range(const mgk_norm_args *a, int64_t r, int64_t end, bool sum, int32_t type)
{
    int32_t stream = mgk_streams(a->y, a->rows, a->dim);
    while (r < end) {
        int64_t last = mgk_min(end, sample_end(a, r));
        for (; r + GROUP <= last; r += GROUP)
            norm_rows(a, r, GROUP, sum, type, stream);
        for (; r < last; r++)
            norm_rows(a, r, 1, sum, type, stream);
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
    if (a->r.p)
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
    a.r.p = NULL;
    run_norm(&a, x);
}

MGK_LAUNCH(residual_norm)
{
    run_norm(args, x);
}

#include "kernels/norm/norm_grad_simd.h"
