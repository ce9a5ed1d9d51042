/* SPDX-License-Identifier: MIT
 * The optimizer on vectors; included once a variant. Items are cut into chunks, all of which form
 * one list of tasks. */
#include "kernels/common/simd.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/optimizer/optimizer_blocks.h"

typedef struct optimizer_job {
    const mgk_optimizer_args *a;
    const int64_t *first; /* see mgk_opt_table */
    double *sums;         /* grad_norm: one a chunk */
    mgk_adamw_terms terms;
    float keep; /* ema: 1 - d */
} optimizer_job;

/* Chunks of everything; job->first is put at the start of the workspace. */
static void run_chunks(mgk_exec *x, optimizer_job *job, mgi_pool_fn *fn)
{
    int64_t *first = x->workspace;
    int64_t elements = mgk_opt_table(job->a, first), chunks = first[job->a->item_count];
    job->first = first;
    job->sums = (double *)(first + job->a->item_count + 1);
    mgk_for(x, chunks, 2 * elements, fn, job);
}

enum { LANES = 16 }; /* independent sums */

static void norm_chunk(void *arg, int64_t chunk, int thread)
{
    const optimizer_job *job = arg;
    (void)thread;
    int64_t at, n, i = 0;
    const float *grad = mgk_opt_chunk(job->a, job->first, chunk, &at, &n)->grad + at;
    double lane[LANES] = {0}, sum = 0;
    for (; i + LANES <= n; i += LANES)
        MGK_UNROLL
    for (int j = 0; j < LANES; j++)
        lane[j] += (double)grad[i + j] * grad[i + j];
    for (; i < n; i++)
        sum += (double)grad[i] * grad[i];
    for (int j = 0; j < LANES; j++)
        sum += lane[j];
    job->sums[chunk] = sum;
}

MGK_LAUNCH(grad_norm)
{
    optimizer_job job = {.a = args};
    double sum = 0;
    run_chunks(x, &job, norm_chunk);
    for (int64_t c = 0; c < job.first[job.a->item_count]; c++)
        sum += job.sums[c];
    MGK_F(job.a->control)[MGK_CONTROL_NORM] = (float)sqrt(sum);
}

static void adamw_chunk(void *arg, int64_t chunk, int thread)
{
    const optimizer_job *job = arg;
    (void)thread;
    int64_t at, n;
    const mgk_optimizer_item *item = mgk_opt_chunk(job->a, job->first, chunk, &at, &n);
    mgk_adamw_terms t = job->terms;
    float *restrict weight = item->weight + at, *restrict m = item->m + at;
    float *restrict v = item->v + at;
    const float *restrict grad = item->grad + at;
    float lr = t.lr * item->lr_scale, decay = lr * t.decay * item->decay;
    for (int64_t i = 0; i < n; i++) {
        float g = t.scale * grad[i];
        float next_m = t.beta1 * m[i] + (1 - t.beta1) * g;
        float next_v = t.beta2 * v[i] + (1 - t.beta2) * g * g;
        float root = sqrtf(next_v) * t.correct2_root + t.eps;
        m[i] = next_m;
        v[i] = next_v;
        weight[i] -= lr * (next_m * t.correct1 / root) + decay * weight[i];
    }
}

MGK_LAUNCH(adamw)
{
    const mgk_optimizer_args *a = args;
    const float *control = MGK_F(a->control);
    optimizer_job job = {.a = a};
    double step = fmax(1, control[MGK_CONTROL_STEP]);
    if (control[MGK_CONTROL_SCALE] == 0)
        return;
    job.terms = (mgk_adamw_terms){
        .scale = control[MGK_CONTROL_SCALE],
        .lr = control[MGK_CONTROL_LR],
        .beta1 = a->beta1,
        .beta2 = a->beta2,
        .eps = a->eps,
        .decay = a->decay,
        .correct1 = (float)(1 / (1 - pow(a->beta1, step))),
        .correct2_root = (float)(1 / sqrt(1 - pow(a->beta2, step))),
    };
    run_chunks(x, &job, adamw_chunk);
}

static void ema_chunk(void *arg, int64_t chunk, int thread)
{
    const optimizer_job *job = arg;
    (void)thread;
    int64_t at, n;
    const mgk_optimizer_item *item = mgk_opt_chunk(job->a, job->first, chunk, &at, &n);
    const float *restrict weight = item->weight + at;
    float *restrict ema = item->ema + at, keep = job->keep;
    for (int64_t i = 0; i < n; i++)
        ema[i] += keep * (weight[i] - ema[i]);
}

MGK_LAUNCH(ema)
{
    optimizer_job job = {.a = args};
    double step = MGK_F(job.a->control)[MGK_CONTROL_STEP];
    job.keep = (float)(1 - fmin(job.a->ema_decay, (1 + step) / (10 + step)));
    run_chunks(x, &job, ema_chunk);
}
