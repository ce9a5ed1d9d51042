/* SPDX-License-Identifier: MIT
 * snake and snake_grad on vectors; included once a variant. */
#include "kernels/common/real_simd.h"
#include "kernels/common/simd_math.h"
#include "kernels/snake/snake.h"
#include "kernels/snake/snake_blocks.h"

typedef struct snake_job {
    const mgk_snake_args *a;
    mgk_snake_plan plan;
    const float *alpha, *times; /* of a line */
    float *parts;               /* each block's sums, or NULL */
    int32_t stream;
} snake_job;

static snake_job begin(const mgk_snake_args *a, mgk_exec *x)
{
    snake_job job = {.a = a, .plan = mgk_plan_snake(a)};
    float *alpha = x->workspace, *times = alpha + job.plan.pitch;
    const float *given = MGK_F(a->alpha);
    for (int64_t i = 0; i < job.plan.width; i++) {
        alpha[i] = given[i % a->dim];
        times[i] = 1.0f / (alpha[i] + MGK_SNAKE_EPS);
    }
    job.alpha = alpha;
    job.times = times;
    return job;
}

MGK_INLINE void forward_lines(const snake_job *job, int64_t line, int64_t end, int32_t type)
{
    const mgk_snake_plan *p = &job->plan;
    const int64_t far = v_far(job->stream);
    for (; line < end; line++) {
        const int64_t at = line * p->width, n = mgk_min(p->width, p->count - at);
        v_real in = v_from(job->a->x, at, type), out = v_from(job->a->y, at, type);
        out.stream = job->stream;
        MGK_EACH_VECTOR(i, n, {
            if (far)
                v_prefetch(in, i + far);
            vf v = v_get(in, i), s = v_sin_half(v * v_in(job->alpha + i));
            v_put(out, i, v_fma(s * s, v_in(job->times + i), v));
        });
    }
    v_stream_end(job->stream);
}

static void forward_block(void *arg, int64_t block, int thread)
{
    const snake_job *job = arg;
    (void)thread;
    int64_t line = block * job->plan.block_lines;
    int64_t end = mgk_min(job->plan.lines, line + job->plan.block_lines);
    V_BY_DTYPE(job->a->x.dtype, forward_lines, job, line, end);
}

MGK_LAUNCH(snake)
{
    const mgk_snake_args *a = args;
    if (a->rows == 0 || a->dim == 0)
        return;
    snake_job job = begin(a, x);
    job.stream = mgk_streams(a->y, a->rows, a->dim);
    mgk_for(x, job.plan.blocks, 2 * job.plan.count, forward_block, &job);
}

MGK_INLINE void gradient_lines(const snake_job *job, int64_t line, int64_t end, float *sum,
                               bool accumulate, int32_t type)
{
    const mgk_snake_plan *p = &job->plan;
    const int64_t far = v_far(job->stream);
    for (; line < end; line++) {
        const int64_t at = line * p->width, n = mgk_min(p->width, p->count - at);
        v_real in = v_from(job->a->x, at, type), dy = v_from(job->a->dy, at, type);
        v_real out = v_from(job->a->dx, at, type);
        out.stream = job->stream;
        MGK_EACH_VECTOR(i, n, {
            if (far) {
                v_prefetch(in, i + far);
                v_prefetch(dy, i + far);
            }
            vf v = v_get(in, i), d = v_get(dy, i), alpha = v_in(job->alpha + i), c;
            vf times = v_in(job->times + i), s = v_sin_cos_half(v * alpha, &c);
            vf two = 2.0f * s * c, slope = v_fma(two, alpha * times, v_set(1));
            v_put(out, i, accumulate ? v_fma(slope, d, v_get(out, i)) : slope * d);
            if (sum) {
                vf part = v_fma(v, two, -(s * s * times)) * times;
                v_out(sum + i, v_fma(part, d, v_in(sum + i)));
            }
        });
    }
    v_stream_end(job->stream);
}

static void gradient_block(void *arg, int64_t block, int thread)
{
    const snake_job *job = arg;
    const mgk_snake_plan *p = &job->plan;
    (void)thread;
    int64_t line = block * p->block_lines, end = mgk_min(p->lines, line + p->block_lines);
    float *sum = job->parts ? job->parts + block * p->pitch : NULL;
    if (sum)
        memset(sum, 0, sizeof *sum * (size_t)p->pitch);
    if (job->a->accumulate)
        V_BY_DTYPE(job->a->x.dtype, gradient_lines, job, line, end, sum, true);
    else
        V_BY_DTYPE(job->a->x.dtype, gradient_lines, job, line, end, sum, false);
}

/* A block of columns: a line has each SNAKE_TOGETHER times, or once. */
enum { COLUMNS = SNAKE_SHORT };

static void combine_block(void *arg, int64_t block, int thread)
{
    const snake_job *job = arg;
    const mgk_snake_plan *p = &job->plan;
    const int64_t dim = job->a->dim, first = block * COLUMNS, n = mgk_min(COLUMNS, dim - first);
    double sum[COLUMNS] = {0};
    (void)thread;
    for (int64_t b = 0; b < p->blocks; b++)
        for (int64_t at = first; at < p->width; at += dim) {
            const float *part = job->parts + b * p->pitch + at;
            for (int64_t i = 0; i < n; i++)
                sum[i] += part[i];
        }
    for (int64_t i = 0; i < n; i++)
        MGK_F(job->a->d_alpha)[first + i] += (float)sum[i];
}

MGK_LAUNCH(snake_grad)
{
    const mgk_snake_args *a = args;
    if (a->rows == 0 || a->dim == 0)
        return;
    snake_job job = begin(a, x);
    if (a->d_alpha.p)
        job.parts = (float *)x->workspace + 2 * job.plan.pitch;
    if (!a->accumulate)
        job.stream = mgk_streams(a->dx, a->rows, a->dim);
    mgk_for(x, job.plan.blocks, 3 * job.plan.count, gradient_block, &job);
    if (job.parts)
        mgk_for(x, mgk_div_up(a->dim, COLUMNS), job.plan.blocks * job.plan.width, combine_block,
                &job);
}
