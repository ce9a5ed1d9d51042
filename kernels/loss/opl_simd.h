/* SPDX-License-Identifier: MIT
 * The outlier penalty loss on vectors; included once a variant. A task is a frame. */
#include "kernels/common/real_simd.h"
#include "kernels/loss/opl.h"

enum { GROUP = 256 }; /* positions added in float before they are added in double */

typedef struct opl_job {
    const mgk_opl_args *a;
    double *sums;     /* one a frame */
    double *channels; /* two of each channel a thread */
    float factor;     /* of the gradient */
} opl_job;

typedef struct frame {
    const mgk_opl_args *a;
    int64_t first;
    float *mean, *others; /* of the channels; sums of the outliers' directions */
    float limit;          /* r |Std| */
    double std;
} frame;

MGK_INLINE void find_mean(const frame *f, int32_t dtype)
{
    const mgk_opl_args *a = f->a;
    const v_real x = v_from(a->x, f->first, dtype);
    MGK_EACH_VECTOR(i, a->c, {
        double sum[MGK_WIDTH] = {0};
        for (int64_t p = 0; p < a->positions; p += GROUP) {
            vf part = {0};
            for (int64_t q = p; q < mgk_min(a->positions, p + GROUP); q++)
                part += v_get(x, q * a->c + i);
            for (int k = 0; k < MGK_WIDTH; k++)
                sum[k] += part[k];
        }
        for (int64_t k = 0; k < v_lanes; k++)
            f->mean[i + k] = (float)(sum[k] / (double)a->positions);
    });
}

/* |d|^2 of a position. Lanes past the last channel are 0 in x and mean. */
MGK_INLINE float square_distance(const frame *f, int64_t p, int32_t dtype)
{
    const v_real x = v_from(f->a->x, f->first + p * f->a->c, dtype);
    vf sum = {0};
    MGK_EACH_VECTOR(i, f->a->c, {
        vf d = v_get(x, i) - v_in(f->mean + i);
        sum += d * d;
    });
    return v_sum(sum);
}

MGK_INLINE frame frame_begin(const opl_job *job, int64_t index, int thread, int32_t dtype)
{
    const mgk_opl_args *a = job->a;
    frame f = {.a = a, .first = index * a->positions * a->c};
    f.mean = (float *)(job->channels + 2 * thread * mgk_pad16(a->c));
    f.others = f.mean + 2 * mgk_pad16(a->c);
    find_mean(&f, dtype);
    double squares = 0;
    for (int64_t p = 0; p < a->positions; p++)
        squares += square_distance(&f, p, dtype);
    f.std = sqrt(squares / (double)a->positions);
    f.limit = (float)(a->r * f.std);
    return f;
}

MGK_INLINE double frame_sum(const opl_job *job, int64_t index, int thread, int32_t dtype)
{
    const frame f = frame_begin(job, index, thread, dtype);
    double sum = 0;
    for (int64_t p = 0; p < f.a->positions; p++) {
        float far = sqrtf(square_distance(&f, p, dtype));
        sum += far > f.limit ? far - f.limit : far != far ? far : 0;
    }
    return sum;
}

static void sum_block(void *arg, int64_t index, int thread)
{
    const opl_job *job = arg;
    job->sums[index] = job->a->x.dtype == MGK_BF16 ? frame_sum(job, index, thread, MGK_BF16)
                                                   : frame_sum(job, index, thread, MGK_F32);
}

static opl_job job_begin(const mgk_opl_args *a, mgk_exec *x)
{
    return (opl_job){
        .a = a, .sums = x->workspace, .channels = (double *)x->workspace + mgk_pad16(a->frames)};
}

MGK_LAUNCH(opl)
{
    const mgk_opl_args *a = args;
    opl_job job = job_begin(a, x);
    double sum = 0;
    int64_t n = a->frames * a->positions * a->c;
    if (n == 0)
        return;
    mgk_for(x, a->frames, 4 * n, sum_block, &job);
    for (int64_t i = 0; i < a->frames; i++)
        sum += job.sums[i];
    MGK_F(a->out)[0] += (float)(a->weight * sum / (double)a->frames / (double)a->positions);
}

/* Adds up the directions of the outliers; returns their number. */
MGK_INLINE int64_t find_others(const frame *f, int32_t dtype)
{
    const mgk_opl_args *a = f->a;
    int64_t outliers = 0;
    memset(f->others, 0, sizeof(float) * (size_t)a->c);
    for (int64_t p = 0; p < a->positions; p++) {
        const float far = sqrtf(square_distance(f, p, dtype));
        const v_real x = v_from(a->x, f->first + p * a->c, dtype);
        if (!(far > f->limit))
            continue;
        outliers++;
        MGK_EACH_VECTOR(i, a->c, {
            vf d = v_get(x, i) - v_in(f->mean + i);
            v_out(f->others + i, v_in(f->others + i) + d / far);
        });
    }
    return outliers;
}

/* dx = factor (d near + others away): near, of the position, has both the outlier's own direction
 * and the way through Std; away is the way through the mean. */
MGK_INLINE void frame_grad(const opl_job *job, int64_t index, int thread, int32_t dtype)
{
    const mgk_opl_args *a = job->a;
    const frame f = frame_begin(job, index, thread, dtype);
    const bool add = a->accumulate;
    const int64_t outliers = a->through ? find_others(&f, dtype) : 0;
    const float away = outliers ? -job->factor / (float)a->positions : 0;
    const float spread = outliers ? (float)(a->r * (double)outliers / f.std) * away : 0;
    for (int64_t p = 0; p < a->positions; p++) {
        const float far = sqrtf(square_distance(&f, p, dtype));
        const float near = (far > f.limit ? job->factor / far : 0) + spread;
        const v_real x = v_from(a->x, f.first + p * a->c, dtype);
        const v_real dx = v_from(a->dx, f.first + p * a->c, dtype);
        MGK_EACH_VECTOR(i, a->c, {
            vf g = near * (v_get(x, i) - v_in(f.mean + i));
            if (outliers)
                g += away * v_in(f.others + i);
            if (add)
                g += v_get(dx, i);
            v_put(dx, i, g);
        });
    }
}

static void grad_block(void *arg, int64_t index, int thread)
{
    const opl_job *job = arg;
    V_BY_DTYPE(job->a->x.dtype, frame_grad, job, index, thread);
}

MGK_LAUNCH(opl_grad)
{
    const mgk_opl_args *a = args;
    opl_job job = job_begin(a, x);
    int64_t n = a->frames * a->positions * a->c;
    if (n == 0)
        return;
    job.factor = (float)((double)MGK_F(a->upstream)[0] * a->weight / (double)a->frames /
                         (double)a->positions);
    mgk_for(x, a->frames, 4 * n, grad_block, &job);
}
