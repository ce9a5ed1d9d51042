/* SPDX-License-Identifier: MIT
 * norm and norm_grad on vectors; included once a variant.
 *
 * The gradients of weight, bias, scale and shift all follow from two column sums over the rows of
 * one sample, A = sum(dy n) and B = sum(dy):
 *   d_scale += weight A + bias B   d_shift += B   d_weight += (1 + scale) A   d_bias += (1 + scale) B
 * A block of rows holds whole samples, or a chunk of one; chunks leave A and B in the workspace,
 * where they are combined in order.
 */
#include "kernels/common/simd.h"
#include "kernels/norm/norm.h"

#define AT(b, i) ((b).p ? MGK_F(b) + (i) : NULL)

static float row_sum(const float *in, int64_t n)
{
    vf s[4] = {{0}, {0}, {0}, {0}};
    int64_t i = 0;
    for (; i + 4 * MGK_WIDTH <= n; i += 4 * MGK_WIDTH) {
        s[0] += v_load(in + i);
        s[1] += v_load(in + i + MGK_WIDTH);
        s[2] += v_load(in + i + 2 * MGK_WIDTH);
        s[3] += v_load(in + i + 3 * MGK_WIDTH);
    }
    MGK_EACH_VECTOR(j, n - i, { s[0] += v_in(in + i + j); });
    return v_sum((s[0] + s[1]) + (s[2] + s[3]));
}

/* Sum of (in - mean)^2. */
static float row_square_sum(const float *in, int64_t n, float mean)
{
    vf s[4] = {{0}, {0}, {0}, {0}};
    int64_t i = 0;
    for (; i + 4 * MGK_WIDTH <= n; i += 4 * MGK_WIDTH) {
        vf a = v_load(in + i) - mean, b = v_load(in + i + MGK_WIDTH) - mean;
        vf c = v_load(in + i + 2 * MGK_WIDTH) - mean, d = v_load(in + i + 3 * MGK_WIDTH) - mean;
        s[0] += a * a;
        s[1] += b * b;
        s[2] += c * c;
        s[3] += d * d;
    }
    MGK_EACH_VECTOR(j, n - i, {
        vf d = v_in(in + i + j) - mean;
        if (v_lanes < MGK_WIDTH)
            d = (vf)((vi)d & v_lanes_below(v_lanes));
        s[0] += d * d;
    });
    return v_sum((s[0] + s[1]) + (s[2] + s[3]));
}

static int64_t sample_of(const mgk_norm_args *a, int64_t row)
{
    return a->rows_per_sample > 0 ? row / a->rows_per_sample : 0;
}

static void norm_row(const mgk_norm_args *a, int64_t r)
{
    const float *in = MGK_F(a->x) + r * a->dim;
    float *out = MGK_F(a->y) + r * a->dim, n = (float)a->dim;
    int64_t mod = sample_of(a, r) * a->mod_stride;
    const float *weight = MGK_F(a->weight), *bias = MGK_F(a->bias);
    const float *scale = AT(a->scale, mod), *shift = AT(a->shift, mod);
    float mean = a->kind == MGK_NORM_LAYER ? row_sum(in, a->dim) / n : 0;
    float rstd = 1 / sqrtf(row_square_sum(in, a->dim, mean) / n + a->eps);
    MGK_EACH_VECTOR(i, a->dim, {
        vf v = (v_in(in + i) - mean) * rstd;
        if (weight)
            v *= v_in(weight + i);
        if (bias)
            v += v_in(bias + i);
        if (scale)
            v += v * v_in(scale + i);
        if (shift)
            v += v_in(shift + i);
        v_out(out + i, v);
    });
    if (a->rstd.p)
        MGK_F(a->rstd)[r] = rstd;
    if (a->mean.p && a->kind == MGK_NORM_LAYER)
        MGK_F(a->mean)[r] = mean;
}

static void norm_block(void *arg, int64_t block, int thread)
{
    const mgk_norm_args *a = arg;
    (void)thread;
    int64_t rows = mgk_rows_a_block(a->dim), end = mgk_min(a->rows, (block + 1) * rows);
    for (int64_t r = block * rows; r < end; r++)
        norm_row(a, r);
}

MGK_LAUNCH(norm)
{
    const mgk_norm_args *a = args;
    if (a->dim > 0)
        mgk_for(x, mgk_div_up(a->rows, mgk_rows_a_block(a->dim)), a->rows * a->dim, norm_block,
                (void *)args);
}

typedef struct grad_job {
    const mgk_norm_args *a;
    mgk_row_split split;
    float *parts; /* a block's: d_weight, d_bias, A, B; NULL: only dx is wanted */
    int64_t column;
} grad_job;

enum { COLUMNS_A_TASK = 256 };

/* Adds the row to A and B and writes dx. */
static void grad_row(const mgk_norm_args *a, int64_t r, float *sum_a, float *sum_b)
{
    const float *in = MGK_F(a->x) + r * a->dim, *dy = MGK_F(a->dy) + r * a->dim;
    float *dx = AT(a->dx, r * a->dim);
    const float *weight = MGK_F(a->weight);
    const float *scale = AT(a->scale, sample_of(a, r) * a->mod_stride);
    float rstd = MGK_F(a->rstd)[r], mean = a->kind == MGK_NORM_LAYER ? MGK_F(a->mean)[r] : 0;
    vf sum_g = {0}, sum_gn = {0};
    MGK_EACH_VECTOR(i, a->dim, {
        vf n = (v_in(in + i) - mean) * rstd;
        vf g = v_in(dy + i);
        if (sum_a) {
            v_out(sum_a + i, v_in(sum_a + i) + g * n);
            v_out(sum_b + i, v_in(sum_b + i) + g);
        }
        if (scale)
            g += g * v_in(scale + i);
        if (weight)
            g *= v_in(weight + i);
        sum_g += g; /* lanes past the end are 0 in g */
        sum_gn += g * n;
    });
    if (!dx)
        return;
    float mean_g = a->kind == MGK_NORM_LAYER ? v_sum(sum_g) / (float)a->dim : 0;
    float mean_gn = v_sum(sum_gn) / (float)a->dim;
    bool add = a->accumulate_dx;
    MGK_EACH_VECTOR(i, a->dim, {
        vf n = (v_in(in + i) - mean) * rstd;
        vf g = v_in(dy + i);
        if (scale)
            g += g * v_in(scale + i);
        if (weight)
            g *= v_in(weight + i);
        g = (g - mean_g - n * mean_gn) * rstd;
        if (add)
            g += v_in(dx + i);
        v_out(dx + i, g);
    });
}

/* After a sample's rows of a block: A and B to d_weight, d_bias of the block. */
static void add_sample(const grad_job *job, int64_t sample, float *part)
{
    const mgk_norm_args *a = job->a;
    const float *scale = AT(a->scale, sample * a->mod_stride);
    float *dw = part, *db = part + job->column;
    const float *sum_a = part + 2 * job->column, *sum_b = part + 3 * job->column;
    MGK_EACH_VECTOR(i, a->dim, {
        vf va = v_in(sum_a + i);
        vf vb = v_in(sum_b + i);
        if (scale) {
            va += va * v_in(scale + i);
            vb += vb * v_in(scale + i);
        }
        v_out(dw + i, v_in(dw + i) + va);
        v_out(db + i, v_in(db + i) + vb);
    });
}

/* A and B to d_scale and d_shift of a sample. */
static void add_modulation(const mgk_norm_args *a, int64_t sample, const float *sum_a,
                           const float *sum_b)
{
    float *d_scale = AT(a->d_scale, sample * a->d_mod_stride);
    float *d_shift = AT(a->d_shift, sample * a->d_mod_stride);
    const float *weight = MGK_F(a->weight), *bias = MGK_F(a->bias);
    MGK_EACH_VECTOR(i, a->dim, {
        vf va = v_in(sum_a + i);
        vf vb = v_in(sum_b + i);
        if (d_shift)
            v_out(d_shift + i, v_in(d_shift + i) + vb);
        if (weight)
            va *= v_in(weight + i);
        if (bias)
            va += vb * v_in(bias + i);
        if (d_scale)
            v_out(d_scale + i, v_in(d_scale + i) + va);
    });
}

static void grad_block(void *arg, int64_t block, int thread)
{
    const grad_job *job = arg;
    const mgk_norm_args *a = job->a;
    (void)thread;
    int64_t r, end, column = job->column;
    float *part = job->parts ? job->parts + block * 4 * column : NULL;
    float *sum_a = part ? part + 2 * column : NULL, *sum_b = part ? part + 3 * column : NULL;
    mgk_split_range(&job->split, block, &r, &end);
    if (part)
        memset(part, 0, sizeof(float) * (size_t)(4 * column));
    while (r < end) {
        int64_t sample = r / job->split.sample;
        int64_t last = mgk_min(end, (sample + 1) * job->split.sample);
        for (; r < last; r++)
            grad_row(a, r, sum_a, sum_b);
        if (!part)
            continue;
        if (a->d_weight.p || a->d_bias.p)
            add_sample(job, sample, part);
        if (job->split.chunks > 1)
            continue; /* one sample in this block: A and B stay for modulation_combine */
        if (a->d_scale.p || a->d_shift.p)
            add_modulation(a, sample, sum_a, sum_b);
        memset(sum_a, 0, sizeof(float) * (size_t)(2 * column));
    }
}

static void weight_combine(void *arg, int64_t task, int thread)
{
    const grad_job *job = arg;
    const mgk_norm_args *a = job->a;
    (void)thread;
    int64_t c = task * COLUMNS_A_TASK, n = mgk_min(COLUMNS_A_TASK, a->dim - c);
    double dw[COLUMNS_A_TASK] = {0}, db[COLUMNS_A_TASK] = {0};
    for (int64_t b = 0; b < job->split.blocks; b++) {
        const float *part = job->parts + b * 4 * job->column + c;
        for (int64_t i = 0; i < n; i++) {
            dw[i] += part[i];
            db[i] += part[job->column + i];
        }
    }
    for (int64_t i = 0; i < n && a->d_weight.p; i++)
        MGK_F(a->d_weight)[c + i] += (float)dw[i];
    for (int64_t i = 0; i < n && a->d_bias.p; i++)
        MGK_F(a->d_bias)[c + i] += (float)db[i];
}

/* Sums the chunks' A and B of one sample into those of its first chunk. */
static void modulation_combine(void *arg, int64_t sample, int thread)
{
    const grad_job *job = arg;
    const mgk_norm_args *a = job->a;
    (void)thread;
    int64_t column = job->column;
    float *sum = job->parts + sample * job->split.chunks * 4 * column + 2 * column;
    for (int64_t c = 1; c < job->split.chunks; c++) {
        const float *more = sum + c * 4 * column;
        MGK_EACH_VECTOR(i, 2 * column, { v_out(sum + i, v_in(sum + i) + v_in(more + i)); });
    }
    add_modulation(a, sample, sum, sum + column);
}

MGK_LAUNCH(norm_grad)
{
    const mgk_norm_args *a = args;
    grad_job job = {.a = a, .column = mgk_pad16(a->dim)};
    if (a->rows == 0 || a->dim == 0)
        return;
    job.split = mgk_split_rows(a->rows, a->rows_per_sample, a->dim);
    if (a->d_weight.p || a->d_bias.p || a->d_scale.p || a->d_shift.p)
        job.parts = x->workspace;
    mgk_for(x, job.split.blocks, 2 * a->rows * a->dim, grad_block, &job);
    int64_t work = job.split.blocks * a->dim;
    if (a->d_weight.p || a->d_bias.p)
        mgk_for(x, mgk_div_up(a->dim, COLUMNS_A_TASK), work, weight_combine, &job);
    if ((a->d_scale.p || a->d_shift.p) && job.split.chunks > 1)
        mgk_for(x, job.split.blocks / job.split.chunks, work, modulation_combine, &job);
}
