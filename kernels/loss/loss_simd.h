/* SPDX-License-Identifier: MIT
 * loss and loss_grad on vectors; included once a variant. */
#include "kernels/common/simd.h"
#include "kernels/loss/loss.h"

typedef struct loss_job {
    const mgk_loss_args *a;
    double *sums; /* one a block */
} loss_job;

MGK_INLINE vf distance(const float *x, const float *target, int64_t lanes, int kind)
{
    vf d = v_load_lanes(x, lanes) - v_load_lanes(target, lanes);
    return kind == MGK_LOSS_MSE ? d * d : v_abs(d);
}

/* Vectors are added in float for at most 1024 elements, then in double. */
MGK_INLINE double loss_sum(const float *x, const float *target, int64_t n, int kind)
{
    double sum = 0;
    for (int64_t at = 0; at < n; at += 1024) {
        int64_t end = mgk_min(n, at + 1024), i = at;
        vf s[2] = {{0}, {0}};
        for (; i + 2 * MGK_WIDTH <= end; i += 2 * MGK_WIDTH) {
            s[0] += distance(x + i, target + i, MGK_WIDTH, kind);
            s[1] += distance(x + i + MGK_WIDTH, target + i + MGK_WIDTH, MGK_WIDTH, kind);
        }
        for (; i < end; i += MGK_WIDTH)
            s[0] += distance(x + i, target + i, mgk_min(MGK_WIDTH, end - i), kind);
        sum += v_sum(s[0] + s[1]);
    }
    return sum;
}

static void loss_block(void *arg, int64_t block, int thread)
{
    const loss_job *job = arg;
    (void)thread;
    int64_t at = block * MGK_BLOCK_ELEMENTS, n = mgk_min(MGK_BLOCK_ELEMENTS, job->a->count - at);
    const float *in = MGK_F(job->a->x) + at, *target = MGK_F(job->a->target) + at;
    job->sums[block] = job->a->kind == MGK_LOSS_MSE ? loss_sum(in, target, n, MGK_LOSS_MSE)
                                                    : loss_sum(in, target, n, MGK_LOSS_L1);
}

MGK_LAUNCH(loss)
{
    loss_job job = {args, x->workspace};
    int64_t blocks = mgk_div_up(job.a->count, MGK_BLOCK_ELEMENTS);
    double sum = 0;
    mgk_for(x, blocks, job.a->count, loss_block, &job);
    for (int64_t b = 0; b < blocks; b++)
        sum += job.sums[b];
    if (job.a->count > 0)
        MGK_F(job.a->out)[0] += (float)(job.a->weight * sum / (double)job.a->count);
}

static void loss_grad_block(void *arg, int64_t block, int thread)
{
    const mgk_loss_args *a = arg;
    (void)thread;
    int64_t at = block * MGK_BLOCK_ELEMENTS, n = mgk_min(MGK_BLOCK_ELEMENTS, a->count - at);
    const float *in = MGK_F(a->x) + at, *target = MGK_F(a->target) + at;
    float *dx = MGK_F(a->dx) + at;
    float slope = (float)((double)MGK_F(a->upstream)[0] * a->weight / (double)a->count);
    bool square = a->kind == MGK_LOSS_MSE, add = a->accumulate;
    MGK_EACH_VECTOR(i, n, {
        vf d = v_in(in + i) - v_in(target + i);
        vf sign = v_select(d > 0, v_set(slope), v_select(d < 0, v_set(-slope), v_set(0)));
        vf g = square ? 2 * slope * d : sign;
        if (add)
            g += v_in(dx + i);
        v_out(dx + i, g);
    });
}

MGK_LAUNCH(loss_grad)
{
    const mgk_loss_args *a = args;
    mgk_for(x, mgk_div_up(a->count, MGK_BLOCK_ELEMENTS), a->count, loss_grad_block, (void *)args);
}
