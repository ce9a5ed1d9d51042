/* SPDX-License-Identifier: MIT
 * snake and snake_grad on vectors; included once a variant. */
#include "kernels/common/real_simd.h"
#include "kernels/snake/snake.h"
#include "kernels/snake/snake_blocks.h"
#include "kernels/snake/snake_sine_simd.h"

enum { PAIR = 2 * MGK_WIDTH };

typedef struct snake_job {
    const mgk_snake_args *a;
    mgk_snake_plan plan;
    const float *columns; /* of a line: alpha / pi, `times` and `slope` */
    float *parts;         /* each block's sums, or NULL */
    int32_t stream;
} snake_job;

/* The columns, in the order in which v_read_two has x. */
static snake_job begin(const mgk_snake_args *a, mgk_exec *x)
{
    snake_job job = {.a = a, .plan = mgk_plan_snake(a)};
    const int64_t pitch = job.plan.pitch;
    const float *alpha = MGK_F(a->alpha);
    float *to = x->workspace;
    const float unit = V_SIN_SQUARE_UNIT(a->x.dtype == MGK_BF16);
    memset(to, 0, sizeof *to * SNAKE_COLUMNS * (size_t)pitch);
    for (int64_t at = 0; at < job.plan.width; at += a->dim)
        for (int64_t i = 0; i < a->dim; i++) {
            const float times = 1.0f / (alpha[i] + MGK_SNAKE_EPS);
            to[at + i] = (float)(alpha[i] * 0.31830988618379067);
            to[pitch + at + i] = unit * times;
            to[2 * pitch + at + i] = 2.0f * alpha[i] * times;
        }
    for (int64_t i = 0; a->x.dtype == MGK_BF16 && i < SNAKE_COLUMNS * pitch; i += PAIR) {
        const v_two v = v_two_order((v_two){v_load(to + i), v_load(to + i + MGK_WIDTH)});
        v_store(to + i, v.a);
        v_store(to + i + MGK_WIDTH, v.b);
    }
    job.columns = to;
    return job;
}

/* A pair of vectors of which only the first n values exist: a copy of them, others 0. */
typedef struct rest {
    _Alignas(64) float values[PAIR];
} rest;

MGK_INLINE v_real rest_of(rest *r, v_real b, int64_t at, int64_t n)
{
    memset(r->values, 0, sizeof r->values);
    memcpy(r->values, (const char *)b.p + at * mgk_real_size(b.dtype),
           (size_t)(n * mgk_real_size(b.dtype)));
    return (v_real){r->values, b.dtype, 0};
}

MGK_INLINE void rest_back(const rest *r, v_real b, int64_t at, int64_t n)
{
    memcpy((char *)b.p + at * mgk_real_size(b.dtype), r->values,
           (size_t)(n * mgk_real_size(b.dtype)));
}

MGK_INLINE vf forward_vector(vf x, const float *k, int64_t pitch, bool brief)
{
    const vf f = v_half_turn(x, v_load(k), brief);
    return v_fma(v_sin_square(f, brief), v_load(k + pitch), x);
}

/* Two vectors at i, whose columns begin at k. */
MGK_INLINE void forward_two(v_real in, v_real out, int64_t i, const float *k, int64_t pitch)
{
    const bool brief = in.dtype == MGK_BF16;
    const v_two x = v_read_two(in, i);
    v_write_two(out, i,
                (v_two){forward_vector(x.a, k, pitch, brief),
                        forward_vector(x.b, k + MGK_WIDTH, pitch, brief)});
}

MGK_INLINE void forward_lines(const snake_job *job, int64_t line, int64_t end, int32_t type)
{
    const mgk_snake_plan *p = &job->plan;
    const int64_t far = v_far(job->stream);
    for (; line < end; line++) {
        const int64_t at = line * p->width, n = mgk_min(p->width, p->count - at);
        v_real in = v_from(job->a->x, at, type), out = v_from(job->a->y, at, type);
        int64_t i = 0;
        out.stream = job->stream;
        for (; i + PAIR <= n; i += PAIR) {
            v_fetch_two(in, i, far);
            forward_two(in, out, i, job->columns + i, p->pitch);
        }
        if (i < n) {
            rest r;
            const v_real of = rest_of(&r, in, i, n - i);
            forward_two(of, of, 0, job->columns + i, p->pitch);
            rest_back(&r, out, i, n - i);
        }
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
    job.stream = mgk_streams(a->y, job.plan.lines, job.plan.width);
    mgk_for(x, job.plan.blocks, 2 * job.plan.count, forward_block, &job);
}

/* Of one vector; adds to two sums, whose columns begin at sum, if that is not NULL. */
MGK_INLINE vf gradient_vector(vf x, vf dy, vf before, const float *k, float *sum, int64_t pitch,
                              bool brief)
{
    vf c, s = v_sin_cos(v_half_turn(x, v_load(k), brief), &c, brief);
    const vf turned = s * c * dy;
    if (sum) {
        v_store(sum, v_fma(x, turned, v_load(sum)));
        v_store(sum + pitch, v_fma(s * s, dy, v_load(sum + pitch)));
    }
    return v_fma(v_load(k + 2 * pitch), turned, before);
}

MGK_INLINE void gradient_two(v_real in, v_real dy, v_real dx, int64_t i, const float *k, float *sum,
                             int64_t pitch, bool accumulate)
{
    const bool brief = in.dtype == MGK_BF16;
    const v_two x = v_read_two(in, i), d = v_read_two(dy, i);
    v_two before = d;
    if (accumulate) {
        before = v_read_two(dx, i);
        before = (v_two){before.a + d.a, before.b + d.b};
    }
    const vf a = gradient_vector(x.a, d.a, before.a, k, sum, pitch, brief);
    const vf b = gradient_vector(x.b, d.b, before.b, k + MGK_WIDTH, sum ? sum + MGK_WIDTH : NULL,
                                 pitch, brief);
    v_write_two(dx, i, (v_two){a, b});
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
        int64_t i = 0;
        out.stream = job->stream;
        for (; i + PAIR <= n; i += PAIR) {
            v_fetch_two(in, i, far);
            v_fetch_two(dy, i, far);
            gradient_two(in, dy, out, i, job->columns + i, sum ? sum + i : NULL, p->pitch,
                         accumulate);
        }
        if (i < n) {
            rest x, d, o;
            const v_real of = rest_of(&x, in, i, n - i), by = rest_of(&d, dy, i, n - i);
            gradient_two(of, by, rest_of(&o, out, i, n - i), 0, job->columns + i,
                         sum ? sum + i : NULL, p->pitch, accumulate);
            rest_back(&o, out, i, n - i);
        }
    }
    v_stream_end(job->stream);
}

static void gradient_block(void *arg, int64_t block, int thread)
{
    const snake_job *job = arg;
    const mgk_snake_plan *p = &job->plan;
    (void)thread;
    int64_t line = block * p->block_lines, end = mgk_min(p->lines, line + p->block_lines);
    float *sum = job->parts ? job->parts + block * 2 * p->pitch : NULL;
    if (sum)
        memset(sum, 0, 2 * sizeof *sum * (size_t)p->pitch);
    if (job->a->accumulate)
        V_BY_DTYPE(job->a->x.dtype, gradient_lines, job, line, end, sum, true);
    else
        V_BY_DTYPE(job->a->x.dtype, gradient_lines, job, line, end, sum, false);
    for (int64_t i = 0; sum && job->a->x.dtype == MGK_BF16 && i < 2 * p->pitch; i += PAIR) {
        const v_two v = v_two_plain((v_two){v_load(sum + i), v_load(sum + i + MGK_WIDTH)});
        v_store(sum + i, v.a);
        v_store(sum + i + MGK_WIDTH, v.b);
    }
}

/* A block of columns: a line has each SNAKE_TOGETHER times, or once. */
enum { COLUMNS = SNAKE_SHORT };

static void combine_block(void *arg, int64_t block, int thread)
{
    const snake_job *job = arg;
    const mgk_snake_plan *p = &job->plan;
    const int64_t dim = job->a->dim, first = block * COLUMNS, n = mgk_min(COLUMNS, dim - first);
    double sum[COLUMNS] = {0}, squares[COLUMNS] = {0};
    (void)thread;
    for (int64_t b = 0; b < p->blocks; b++)
        for (int64_t at = first; at < p->width; at += dim) {
            const float *part = job->parts + b * 2 * p->pitch + at;
            for (int64_t i = 0; i < n; i++) {
                sum[i] += part[i];
                squares[i] += part[p->pitch + i];
            }
        }
    float *d_alpha = MGK_F(job->a->d_alpha) + first;
    for (int64_t i = 0; i < n; i++) {
        const double times = 1.0f / (MGK_F(job->a->alpha)[first + i] + MGK_SNAKE_EPS);
        d_alpha[i] += (float)(times * (2 * sum[i] - times * squares[i]));
    }
}

MGK_LAUNCH(snake_grad)
{
    const mgk_snake_args *a = args;
    if (a->rows == 0 || a->dim == 0)
        return;
    snake_job job = begin(a, x);
    if (a->d_alpha.p)
        job.parts = (float *)x->workspace + SNAKE_COLUMNS * job.plan.pitch;
    if (!a->accumulate)
        job.stream = mgk_streams(a->dx, job.plan.lines, job.plan.width);
    mgk_for(x, job.plan.blocks, 3 * job.plan.count, gradient_block, &job);
    if (job.parts)
        mgk_for(x, mgk_div_up(a->dim, COLUMNS), job.plan.blocks * job.plan.width, combine_block,
                &job);
}
