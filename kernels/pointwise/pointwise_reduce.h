/* SPDX-License-Identifier: MIT
 * reduce_rows on vectors; a part of pointwise_simd.h. */

typedef struct reduce_job {
    const mgk_pointwise_args *a;
    mgk_reduce_plan plan;
    float *parts;
} reduce_job;

/* The larger one; NaN if one of them is. */
MGK_INLINE vf larger(vf a, vf b)
{
    return v_select((a >= b) | (a != a), a, b);
}

MGK_INLINE vf reduce_two(vf a, vf b, bool max)
{
    return max ? larger(a, b) : a + b;
}

MGK_INLINE void reduce_into(float *sum, v_real from, int64_t n, bool max)
{
    MGK_EACH_VECTOR(i, n, { v_out(sum + i, reduce_two(v_in(sum + i), v_get(from, i), max)); });
}

/* Sum of the lines of one block, n columns from c. */
MGK_INLINE void reduce_lines(const reduce_job *job, int64_t row_block, int64_t c, int64_t n,
                             float *sum, bool max, int32_t type)
{
    const mgk_reduce_plan *p = &job->plan;
    int64_t line = row_block * p->block_lines, end = mgk_min(p->lines, line + p->block_lines);
    const int64_t width = p->width, whole = mgk_min(end, p->end / width);
    while (line < end) {
        int64_t at = line * width + c;
        if (at >= p->skip && line + 4 <= whole) {
            v_real l = v_from(job->a->x, at - p->skip, type);
            MGK_EACH_VECTOR(i, n, {
                MGK_UNROLL
                for (int k = 4; k < 8; k++)
                    v_prefetch(l, k * width + i);
                vf two = reduce_two(v_get(l, i), v_get(l, width + i), max);
                vf more = reduce_two(v_get(l, 2 * width + i), v_get(l, 3 * width + i), max);
                v_out(sum + i, reduce_two(v_in(sum + i), reduce_two(two, more, max), max));
            });
            line += 4;
            continue;
        }
        int64_t from = mgk_max(at, p->skip), to = mgk_min(at + n, p->end);
        if (from < to)
            reduce_into(sum + (from - at), v_from(job->a->x, from - p->skip, type), to - from, max);
        line++;
    }
}

/* The same for short lines: 16 lines are taken as one. */
MGK_INLINE void reduce_short_lines(const reduce_job *job, int64_t row_block, float *sum, bool max,
                                   int32_t type)
{
    const mgk_reduce_plan *p = &job->plan;
    float wide[16 * SHORT_PATTERN];
    int64_t at = row_block * p->block_lines * p->width, length = 16 * p->width;
    int64_t end = mgk_min(p->end, at + p->block_lines * p->width);
    for (int64_t i = 0; i < length; i++)
        wide[i] = max ? -INFINITY : 0;
    for (; at < end; at += length) {
        int64_t from = mgk_max(at, p->skip), to = mgk_min(at + length, end);
        if (from < to)
            reduce_into(wide + (from - at), v_from(job->a->x, from - p->skip, type), to - from,
                        max);
    }
    for (int64_t i = 0; i < length; i++) {
        float *to = sum + i % p->width;
        if (!max)
            *to += wide[i];
        else if (!(*to >= wide[i]) && *to == *to)
            *to = wide[i];
    }
}

MGK_INLINE void reduce_any(const reduce_job *job, int64_t row_block, int64_t c, int64_t n,
                           float *sum, bool max, int32_t type)
{
    if (job->plan.width < SHORT_PATTERN)
        reduce_short_lines(job, row_block, sum, max, type);
    else
        reduce_lines(job, row_block, c, n, sum, max, type);
}

/* What the sums of columns c .. c + n - 1 do to the table. */
static void reduce_write(const mgk_pointwise_args *a, int64_t c, int64_t n, float *sum)
{
    float *table = MGK_F(a->table) + c;
    for (int64_t i = 0; i < n && a->kind == MGK_REDUCE_MEAN; i++)
        sum[i] /= (float)mgk_max(1, mgk_reduce_rows_of(a, (c + i) / a->dim));
    MGK_EACH_VECTOR(i, n, {
        v_out(table + i, reduce_two(v_in(table + i), v_in(sum + i), a->kind == MGK_REDUCE_MAX));
    });
}

static void reduce_block(void *arg, int64_t block, int thread)
{
    const reduce_job *job = arg;
    const mgk_reduce_plan *p = &job->plan;
    (void)thread;
    float sum[1024];
    int64_t row_block = block / p->column_blocks, c = block % p->column_blocks * p->block_columns;
    int64_t n = mgk_min(p->block_columns, p->width - c);
    const bool max = job->a->kind == MGK_REDUCE_MAX;
    for (int64_t i = 0; i < n; i++)
        sum[i] = max ? -INFINITY : 0;
    if (max)
        V_BY_DTYPE(job->a->x.dtype, reduce_any, job, row_block, c, n, sum, true);
    else
        V_BY_DTYPE(job->a->x.dtype, reduce_any, job, row_block, c, n, sum, false);
    if (job->parts)
        memcpy(job->parts + row_block * p->width + c, sum, sizeof(float) * (size_t)n);
    else
        reduce_write(job->a, c, n, sum);
}

static void reduce_combine_block(void *arg, int64_t block, int thread)
{
    const reduce_job *job = arg;
    const mgk_reduce_plan *p = &job->plan;
    (void)thread;
    double sum[1024];
    float result[1024];
    int64_t c = block * p->block_columns, n = mgk_min(p->block_columns, p->width - c);
    const bool max = job->a->kind == MGK_REDUCE_MAX;
    for (int64_t i = 0; i < n; i++)
        sum[i] = job->parts[c + i];
    for (int64_t b = 1; b < p->row_blocks; b++)
        for (int64_t i = 0; i < n; i++) {
            double more = job->parts[b * p->width + c + i];
            bool keep = sum[i] >= more || isnan(sum[i]);
            sum[i] = !max ? sum[i] + more : keep ? sum[i] : more;
        }
    for (int64_t i = 0; i < n; i++)
        result[i] = (float)sum[i];
    reduce_write(job->a, c, n, result);
}

MGK_LAUNCH(reduce_rows)
{
    const mgk_pointwise_args *a = args;
    if (a->rows == 0 || a->dim == 0)
        return;
    reduce_job job = {a, mgk_plan_reduce(args), NULL};
    const mgk_reduce_plan *p = &job.plan;
    if (p->row_blocks > 1)
        job.parts = x->workspace;
    mgk_for(x, p->row_blocks * p->column_blocks, a->rows * a->dim, reduce_block, &job);
    if (job.parts)
        mgk_for(x, p->column_blocks, p->row_blocks * p->width, reduce_combine_block, &job);
}
