/* SPDX-License-Identifier: MIT
 * The pointwise ops on vectors; included once a variant. Blocks are ranges of elements, or of rows
 * where a row has something of its own. */
#include "kernels/common/bf16.h"
#include "kernels/common/simd_math.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/pointwise/pointwise_blocks.h"

static int64_t block_end(int64_t count, int64_t block)
{
    return mgk_min(count, (block + 1) * MGK_BLOCK_ELEMENTS);
}

static void run_elements(mgk_exec *x, int64_t count, int64_t cost, mgi_pool_fn *fn,
                         const void *args)
{
    mgk_for(x, mgk_div_up(count, MGK_BLOCK_ELEMENTS), count * cost, fn, (void *)args);
}

MGK_INLINE vf activate(vf v, int kind)
{
    if (kind == MGK_UNARY_SILU)
        return v_silu(v);
    if (kind == MGK_UNARY_GELU_TANH)
        return v_gelu(v);
    return v_select(v < 0, v_set(0), v);
}

MGK_INLINE vf activate_grad(vf v, int kind)
{
    vf y;
    if (kind == MGK_UNARY_SILU)
        return v_silu_grad(v, &y);
    if (kind == MGK_UNARY_GELU_TANH)
        return v_gelu_grad(v, &y);
    return v_select(v > 0, v_set(1), v_set(0));
}

MGK_INLINE void unary_loop(const float *in, float *out, int64_t n, int kind)
{
    MGK_EACH_VECTOR(i, n, { v_out(out + i, activate(v_in(in + i), kind)); });
}

static void unary_block(void *arg, int64_t block, int thread)
{
    const mgk_pointwise_args *a = arg;
    (void)thread;
    int64_t at = block * MGK_BLOCK_ELEMENTS, n = block_end(a->count, block) - at;
    const float *in = MGK_F(a->x) + at;
    float *out = MGK_F(a->y) + at;
    if (a->kind == MGK_UNARY_SILU)
        unary_loop(in, out, n, MGK_UNARY_SILU);
    else if (a->kind == MGK_UNARY_GELU_TANH)
        unary_loop(in, out, n, MGK_UNARY_GELU_TANH);
    else
        unary_loop(in, out, n, MGK_UNARY_RELU);
}

MGK_LAUNCH(unary)
{
    run_elements(x, ((const mgk_pointwise_args *)args)->count, 4, unary_block, args);
}

MGK_INLINE void unary_grad_loop(const mgk_pointwise_args *a, int64_t at, int64_t n, int kind)
{
    const float *in = MGK_F(a->x) + at, *dy = MGK_F(a->dy) + at;
    float *dx = MGK_F(a->dx) + at;
    if (a->accumulate)
        MGK_EACH_VECTOR(i, n, {
            v_out(dx + i, v_in(dx + i) + activate_grad(v_in(in + i), kind) * v_in(dy + i));
        });
    else
        MGK_EACH_VECTOR(i, n, { v_out(dx + i, activate_grad(v_in(in + i), kind) * v_in(dy + i)); });
}

static void unary_grad_block(void *arg, int64_t block, int thread)
{
    const mgk_pointwise_args *a = arg;
    (void)thread;
    int64_t at = block * MGK_BLOCK_ELEMENTS, n = block_end(a->count, block) - at;
    if (a->kind == MGK_UNARY_SILU)
        unary_grad_loop(a, at, n, MGK_UNARY_SILU);
    else if (a->kind == MGK_UNARY_GELU_TANH)
        unary_grad_loop(a, at, n, MGK_UNARY_GELU_TANH);
    else
        unary_grad_loop(a, at, n, MGK_UNARY_RELU);
}

MGK_LAUNCH(unary_grad)
{
    run_elements(x, ((const mgk_pointwise_args *)args)->count, 4, unary_grad_block, args);
}

static void axpby_block(void *arg, int64_t block, int thread)
{
    const mgk_pointwise_args *a = arg;
    (void)thread;
    int64_t at = block * MGK_BLOCK_ELEMENTS, n = block_end(a->count, block) - at;
    const float *in = MGK_F(a->x) + at;
    float *out = MGK_F(a->y) + at, alpha = a->alpha, beta = a->beta;
    if (beta == 0)
        MGK_EACH_VECTOR(i, n, { v_out(out + i, alpha * v_in(in + i)); });
    else
        MGK_EACH_VECTOR(i, n, { v_out(out + i, alpha * v_in(in + i) + beta * v_in(out + i)); });
}

MGK_LAUNCH(axpby)
{
    run_elements(x, ((const mgk_pointwise_args *)args)->count, 1, axpby_block, args);
}

static void add_block(void *arg, int64_t block, int thread)
{
    const mgk_pointwise_args *a = arg;
    (void)thread;
    int64_t at = block * MGK_BLOCK_ELEMENTS, n = block_end(a->count, block) - at;
    const float *left = MGK_F(a->x) + at, *right = MGK_F(a->h) + at;
    float *out = MGK_F(a->y) + at;
    MGK_EACH_VECTOR(i, n, { v_out(out + i, v_in(left + i) + v_in(right + i)); });
}

MGK_LAUNCH(add)
{
    run_elements(x, ((const mgk_pointwise_args *)args)->count, 1, add_block, args);
}

static void gated_block(void *arg, int64_t block, int thread)
{
    const mgk_pointwise_args *a = arg;
    (void)thread;
    int64_t rows = mgk_rows_a_block(a->dim), end = mgk_min(a->rows, (block + 1) * rows);
    for (int64_t r = block * rows; r < end; r++) {
        const float *gate = MGK_F(a->gate) + r / a->rows_per_sample * a->gate_stride;
        const float *in = MGK_F(a->x) + r * a->dim, *h = MGK_F(a->h) + r * a->dim;
        float *out = MGK_F(a->y) + r * a->dim;
        MGK_EACH_VECTOR(i, a->dim,
                        { v_out(out + i, v_in(in + i) + v_in(gate + i) * v_in(h + i)); });
    }
}

MGK_LAUNCH(gated_residual)
{
    const mgk_pointwise_args *a = args;
    if (a->dim > 0)
        mgk_for(x, mgk_div_up(a->rows, mgk_rows_a_block(a->dim)), a->rows * a->dim, gated_block,
                (void *)args);
}

/* Column sums go to d_gate itself if a block holds whole samples, else to the block's part of the
 * workspace, and are combined afterwards. */
typedef struct gate_job {
    const mgk_pointwise_args *a;
    mgk_row_split split;
    float *parts;
    int64_t part;
} gate_job;

static void gate_grad_row(const mgk_pointwise_args *a, int64_t r, float *sum)
{
    const float *gate = MGK_F(a->gate) + r / a->rows_per_sample * a->gate_stride;
    const float *dy = MGK_F(a->dy) + r * a->dim, *h = MGK_F(a->h) + r * a->dim;
    float *dh = a->dh.p ? MGK_F(a->dh) + r * a->dim : NULL;
    MGK_EACH_VECTOR(i, a->dim, {
        vf d = v_in(dy + i);
        if (sum)
            v_out(sum + i, v_in(sum + i) + d * v_in(h + i));
        if (dh)
            v_out(dh + i, d * v_in(gate + i));
    });
}

static void gate_grad_block(void *arg, int64_t block, int thread)
{
    const gate_job *job = arg;
    const mgk_pointwise_args *a = job->a;
    (void)thread;
    int64_t first, end;
    mgk_split_range(&job->split, block, &first, &end);
    float *part = job->parts ? job->parts + block * job->part : NULL;
    if (part)
        memset(part, 0, sizeof(float) * (size_t)a->dim);
    for (int64_t r = first; r < end; r++) {
        float *sum = part;
        if (!part && a->d_gate.p)
            sum = MGK_F(a->d_gate) + r / a->rows_per_sample * a->d_gate_stride;
        gate_grad_row(a, r, sum);
    }
}

static void gate_combine_block(void *arg, int64_t sample, int thread)
{
    const gate_job *job = arg;
    (void)thread;
    float *sum = MGK_F(job->a->d_gate) + sample * job->a->d_gate_stride;
    for (int64_t c = 0; c < job->split.chunks; c++) {
        const float *part = job->parts + (sample * job->split.chunks + c) * job->part;
        MGK_EACH_VECTOR(i, job->a->dim, { v_out(sum + i, v_in(sum + i) + v_in(part + i)); });
    }
}

MGK_LAUNCH(gated_residual_grad)
{
    gate_job job = {.a = args};
    const mgk_pointwise_args *a = args;
    if (a->rows == 0 || a->dim == 0)
        return;
    job.split = mgk_split_rows(a->rows, a->rows_per_sample, a->dim);
    job.part = mgk_pad16(a->dim);
    if (job.split.chunks > 1 && a->d_gate.p)
        job.parts = x->workspace;
    mgk_for(x, job.split.blocks, a->rows * a->dim, gate_grad_block, &job);
    if (job.parts)
        mgk_for(x, job.split.blocks / job.split.chunks, job.split.blocks * a->dim,
                gate_combine_block, &job);
}

/* channel_affine and add_rows: y[i] = x[i] * scale[i % width] + shift[i % width]. Short patterns
 * are repeated 16 times, so that vectors fit. */
enum { SHORT_PATTERN = 64 };

typedef struct pattern_job {
    const mgk_pointwise_args *a;
    const float *scale, *shift; /* scale NULL: 1 */
    int64_t width, count;
    float room[2][16 * SHORT_PATTERN];
} pattern_job;

static void pattern_block(void *arg, int64_t block, int thread)
{
    const pattern_job *job = arg;
    (void)thread;
    int64_t end = block_end(job->count, block);
    for (int64_t at = block * MGK_BLOCK_ELEMENTS; at < end;) {
        int64_t column = at % job->width, n = mgk_min(job->width - column, end - at);
        const float *in = MGK_F(job->a->x) + at, *shift = job->shift + column;
        float *out = MGK_F(job->a->y) + at;
        if (job->scale) {
            const float *scale = job->scale + column;
            MGK_EACH_VECTOR(i, n,
                            { v_out(out + i, v_in(in + i) * v_in(scale + i) + v_in(shift + i)); });
        } else {
            MGK_EACH_VECTOR(i, n, { v_out(out + i, v_in(in + i) + v_in(shift + i)); });
        }
        at += n;
    }
}

static void run_pattern(mgk_exec *x, const mgk_pointwise_args *a, const float *scale,
                        const float *shift, int64_t width)
{
    pattern_job job;
    job.a = a;
    job.scale = scale;
    job.shift = shift;
    job.width = width;
    job.count = a->rows * a->dim;
    if (job.count == 0)
        return;
    if (width < SHORT_PATTERN) {
        for (int64_t i = 0; i < 16 * width; i++) {
            job.room[0][i] = scale ? scale[i % width] : 1;
            job.room[1][i] = shift[i % width];
        }
        job.scale = scale ? job.room[0] : NULL;
        job.shift = job.room[1];
        job.width = 16 * width;
    }
    mgk_for(x, mgk_div_up(job.count, MGK_BLOCK_ELEMENTS), job.count, pattern_block, &job);
}

MGK_LAUNCH(channel_affine)
{
    const mgk_pointwise_args *a = args;
    run_pattern(x, a, MGK_F(a->scale), MGK_F(a->shift), a->dim);
}

MGK_LAUNCH(add_rows)
{
    const mgk_pointwise_args *a = args;
    run_pattern(x, a, NULL, MGK_F(a->table), a->period * a->dim);
}

typedef struct reduce_job {
    const mgk_pointwise_args *a;
    mgk_reduce_plan plan;
    float *parts;
} reduce_job;

static void add_to(float *sum, const float *from, int64_t n)
{
    MGK_EACH_VECTOR(i, n, { v_out(sum + i, v_in(sum + i) + v_in(from + i)); });
}

/* Sum of the lines of one block, n columns from c. */
static void sum_lines(const reduce_job *job, int64_t row_block, int64_t c, int64_t n, float *sum)
{
    const mgk_reduce_plan *p = &job->plan;
    const float *in = MGK_F(job->a->x) + c;
    int64_t line = row_block * p->block_lines, width = p->width;
    int64_t end = mgk_min(p->lines, line + p->block_lines);
    int64_t whole = mgk_min(end, p->count / width); /* lines that are not cut short */
    for (; line + 4 <= whole; line += 4) {
        const float *l = in + line * width;
        MGK_EACH_VECTOR(i, n, {
            vf two = v_in(l + i) + v_in(l + width + i);
            vf more = v_in(l + 2 * width + i) + v_in(l + 3 * width + i);
            v_out(sum + i, v_in(sum + i) + (two + more));
        });
    }
    for (; line < end; line++)
        add_to(sum, in + line * width, mgk_max(0, mgk_min(n, p->count - line * width - c)));
}

/* The same for short lines: 16 lines are taken as one. */
static void sum_short_lines(const reduce_job *job, int64_t row_block, float *sum)
{
    const mgk_reduce_plan *p = &job->plan;
    float wide[16 * SHORT_PATTERN] = {0};
    int64_t at = row_block * p->block_lines * p->width, length = 16 * p->width;
    int64_t end = mgk_min(p->count, at + p->block_lines * p->width);
    for (; at < end; at += length)
        add_to(wide, MGK_F(job->a->x) + at, mgk_min(length, end - at));
    for (int64_t i = 0; i < length; i++)
        sum[i % p->width] += wide[i];
}

static void reduce_block(void *arg, int64_t block, int thread)
{
    const reduce_job *job = arg;
    const mgk_reduce_plan *p = &job->plan;
    (void)thread;
    float sum[1024] = {0};
    int64_t row_block = block / p->column_blocks, c = block % p->column_blocks * p->block_columns;
    int64_t n = mgk_min(p->block_columns, p->width - c);
    if (p->width < SHORT_PATTERN)
        sum_short_lines(job, row_block, sum);
    else
        sum_lines(job, row_block, c, n, sum);
    if (job->parts) {
        memcpy(job->parts + row_block * p->width + c, sum, sizeof(float) * (size_t)n);
        return;
    }
    /* Rows that no line reaches (rows < period) are not touched. */
    add_to(MGK_F(job->a->table) + c, sum, mgk_max(0, mgk_min(n, p->count - c)));
}

static void reduce_combine_block(void *arg, int64_t block, int thread)
{
    const reduce_job *job = arg;
    const mgk_reduce_plan *p = &job->plan;
    (void)thread;
    double sum[1024] = {0};
    int64_t c = block * p->block_columns, n = mgk_min(p->block_columns, p->width - c);
    for (int64_t b = 0; b < p->row_blocks; b++)
        for (int64_t i = 0; i < n; i++)
            sum[i] += job->parts[b * p->width + c + i];
    for (int64_t i = 0; i < n; i++)
        MGK_F(job->a->table)[c + i] += (float)sum[i];
}

MGK_LAUNCH(reduce_rows)
{
    reduce_job job = {args, mgk_plan_reduce(args), NULL};
    const mgk_reduce_plan *p = &job.plan;
    if (p->count == 0)
        return;
    if (p->row_blocks > 1)
        job.parts = x->workspace;
    mgk_for(x, p->row_blocks * p->column_blocks, p->count, reduce_block, &job);
    if (job.parts)
        mgk_for(x, p->column_blocks, p->row_blocks * p->width, reduce_combine_block, &job);
}

static void to_u8(const float *in, uint8_t *out, int64_t n, float alpha, float beta)
{
    for (int64_t i = 0; i < n; i++) {
        float v = in[i] * alpha + beta;
        v = v > 0 ? v : 0;
        v = (v < 255 ? v : 255) +
            12582912.0f; /* 1.5 * 2^23: rounds, the number is in the low bits */
        uint32_t bits;
        memcpy(&bits, &v, sizeof bits);
        out[i] = (uint8_t)bits;
    }
}

static void convert_block(void *arg, int64_t block, int thread)
{
    const mgk_pointwise_args *a = arg;
    (void)thread;
    int64_t at = block * MGK_BLOCK_ELEMENTS, n = block_end(a->count, block) - at;
    float alpha = a->alpha, beta = a->beta;
    if (a->x.dtype == MGK_U8) {
        const uint8_t *in = MGK_B(a->x) + at;
        float *restrict out = MGK_F(a->y) + at;
        for (int64_t i = 0; i < n; i++)
            out[i] = (float)in[i] * alpha + beta;
    } else if (a->x.dtype == MGK_BF16) {
        const uint16_t *in = (const uint16_t *)a->x.p + at;
        float *restrict out = MGK_F(a->y) + at;
        for (int64_t i = 0; i < n; i++)
            out[i] = mgk_from_bf16(in[i]) * alpha + beta;
    } else if (a->y.dtype == MGK_U8) {
        to_u8(MGK_F(a->x) + at, MGK_B(a->y) + at, n, alpha, beta);
    } else {
        const float *in = MGK_F(a->x) + at;
        uint16_t *restrict out = (uint16_t *)a->y.p + at;
        for (int64_t i = 0; i < n; i++)
            out[i] = mgk_to_bf16(in[i] * alpha + beta);
    }
}

MGK_LAUNCH(convert)
{
    run_elements(x, ((const mgk_pointwise_args *)args)->count, 1, convert_block, args);
}

static void fill_block(void *arg, int64_t block, int thread)
{
    const mgk_pointwise_args *a = arg;
    (void)thread;
    int64_t at = block * MGK_BLOCK_ELEMENTS, n = block_end(a->count, block) - at;
    float *out = MGK_F(a->y) + at;
    for (int64_t i = 0; i < n; i++)
        out[i] = a->alpha;
}

MGK_LAUNCH(fill)
{
    run_elements(x, ((const mgk_pointwise_args *)args)->count, 1, fill_block, args);
}
