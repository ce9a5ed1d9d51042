/* SPDX-License-Identifier: MIT
 * The Gaussian posterior on vectors; included once a variant. A task is a block of rows. */
#include "kernels/common/real_simd.h"
#include "kernels/common/simd_math.h"
#include "kernels/posterior/posterior.h"

typedef struct posterior_job {
    const mgk_posterior_args *a;
    double *sums; /* of the KL terms, one a block */
    float kl;     /* of the gradient: upstream * weight / count */
} posterior_job;

/* NaN stays NaN. */
MGK_INLINE vf bounded(vf logvar)
{
    return v_min(v_set(MGK_LOGVAR_HIGHEST), v_max(v_set(MGK_LOGVAR_LOWEST), logvar));
}

/* Terms are added in float for about 1024 elements, then in double. Lanes past the end of a row
 * hold mean 0 and logvar 0, whose term is exactly 0. */
MGK_INLINE double sample_rows(const mgk_posterior_args *a, int64_t first, int64_t end,
                              int32_t dtype)
{
    enum { TERMS = 1024 / MGK_WIDTH };
    const int64_t dim = a->dim;
    const bool noisy = a->noise.p, count = a->kl.p;
    double sum = 0;
    vf part = {0};
    int terms = 0;
    for (int64_t r = first; r < end; r++) {
        const v_real h = v_from(a->h, 2 * r * dim, dtype), z = v_from(a->z, r * dim, dtype);
        const v_real noise = noisy ? v_from(a->noise, r * dim, a->noise.dtype) : h;
        MGK_EACH_VECTOR(i, dim, {
            vf mean = v_get(h, i), logvar = bounded(v_get(h, dim + i));
            if (noisy || count) {
                vf deviation = v_exp(0.5f * logvar);
                v_put(z, i, noisy ? mean + deviation * v_get(noise, i) : mean);
                part += mean * mean + deviation * deviation - 1.0f - logvar;
                if (++terms == TERMS) {
                    sum += v_sum(part);
                    part = v_set(0);
                    terms = 0;
                }
            } else {
                v_put(z, i, mean);
            }
        });
    }
    return 0.5 * (sum + v_sum(part));
}

static void sample_block(void *arg, int64_t block, int thread)
{
    const posterior_job *job = arg;
    const mgk_posterior_args *a = job->a;
    int64_t rows = mgk_rows_a_block(a->dim), end = mgk_min(a->rows, (block + 1) * rows);
    (void)thread;
    job->sums[block] = a->h.dtype == MGK_BF16 ? sample_rows(a, block * rows, end, MGK_BF16)
                                              : sample_rows(a, block * rows, end, MGK_F32);
}

MGK_LAUNCH(posterior)
{
    posterior_job job = {args, x->workspace, 0};
    const mgk_posterior_args *a = args;
    int64_t blocks = mgk_div_up(a->rows, mgk_rows_a_block(a->dim));
    double kl = 0;
    if (a->rows * a->dim == 0)
        return;
    mgk_for(x, blocks, 4 * a->rows * a->dim, sample_block, &job);
    for (int64_t b = 0; b < blocks; b++)
        kl += job.sums[b];
    if (a->kl.p)
        MGK_F(a->kl)[0] += (float)(a->weight * kl / (double)(a->rows * a->dim));
}

MGK_INLINE void grad_rows(const posterior_job *job, int64_t first, int64_t end, int32_t dtype)
{
    const mgk_posterior_args *a = job->a;
    const int64_t dim = a->dim;
    const bool noisy = a->noise.p && a->dz.p;
    const float kl = job->kl;
    for (int64_t r = first; r < end; r++) {
        const v_real h = v_from(a->h, 2 * r * dim, dtype), dh = v_from(a->dh, 2 * r * dim, dtype);
        const v_real dz = a->dz.p ? v_from(a->dz, r * dim, dtype) : h;
        const v_real noise = noisy ? v_from(a->noise, r * dim, a->noise.dtype) : h;
        MGK_EACH_VECTOR(i, dim, {
            vf mean = v_get(h, i), logvar = v_get(h, dim + i);
            vf up = a->dz.p ? v_get(dz, i) : v_set(0);
            vf deviation = v_exp(0.5f * bounded(logvar));
            vf slope = kl * (deviation * deviation - 1.0f);
            if (noisy)
                slope += up * v_get(noise, i) * deviation;
            vi outside = (logvar < MGK_LOGVAR_LOWEST) | (logvar > MGK_LOGVAR_HIGHEST);
            v_put(dh, i, up + kl * mean);
            v_put(dh, dim + i, v_select(outside, v_set(0), 0.5f * slope));
        });
    }
}

static void grad_block(void *arg, int64_t block, int thread)
{
    const posterior_job *job = arg;
    const mgk_posterior_args *a = job->a;
    int64_t rows = mgk_rows_a_block(a->dim), end = mgk_min(a->rows, (block + 1) * rows);
    (void)thread;
    V_BY_DTYPE(a->h.dtype, grad_rows, job, block * rows, end);
}

MGK_LAUNCH(posterior_grad)
{
    const mgk_posterior_args *a = args;
    posterior_job job = {.a = a};
    int64_t n = a->rows * a->dim;
    if (n == 0)
        return;
    if (a->kl_upstream.p)
        job.kl = (float)((double)MGK_F(a->kl_upstream)[0] * a->weight / (double)n);
    mgk_for(x, mgk_div_up(a->rows, mgk_rows_a_block(a->dim)), 4 * n, grad_block, &job);
}
