/* SPDX-License-Identifier: MIT
 * The Gaussian posterior. The threads of a block lie in rows as wide as a power of two that covers `dim` or is
 * the whole block; a block has a piece of the rows. */
#include "kernels/common/cuda_sums.h"
#include "kernels/posterior/posterior.h"

enum { PIECE = 4096, FINISH_BLOCK = 1024 };

/* How the rows are divided; it depends on their size only. */
struct division {
    int64_t rows_a_block, blocks;
    int width_log2;
};

static division divide(const mgk_posterior_args *a)
{
    division d = {PIECE / (a->dim < PIECE ? a->dim : (int64_t)PIECE), 0, 0};
    d.blocks = (a->rows + d.rows_a_block - 1) / d.rows_a_block;
    while ((1 << d.width_log2) < MGK_BLOCK && ((int64_t)1 << d.width_log2) < a->dim)
        d.width_log2++;
    return d;
}

/* A NaN stays one. */
MGK_DEVICE float bounded(float logvar)
{
    return logvar < MGK_LOGVAR_LOWEST    ? (float)MGK_LOGVAR_LOWEST
           : logvar > MGK_LOGVAR_HIGHEST ? (float)MGK_LOGVAR_HIGHEST
                                         : logvar;
}

MGK_DEVICE float value(mgk_buf b, int64_t i)
{
    return b.dtype == MGK_BF16 ? mgk_load(((const mgk_bf16 *)b.p)[i]) : MGK_F(b)[i];
}

/* for (r, j) over the elements of this block's rows */
#define FOR_ELEMENTS(a, d, r, j)                                                                   \
    const int64_t first_row = (int64_t)blockIdx.x * (d).rows_a_block;                              \
    const int64_t end_row =                                                                        \
        first_row + (d).rows_a_block < (a).rows ? first_row + (d).rows_a_block : (a).rows;         \
    for (int64_t r = first_row + ((int)threadIdx.x >> (d).width_log2); r < end_row;                \
         r += MGK_BLOCK >> (d).width_log2)                                                         \
        for (int64_t j = (int)threadIdx.x & ((1 << (d).width_log2) - 1); j < (a).dim;              \
             j += 1 << (d).width_log2)

/* sums: one of KL terms a block, if a.kl is given */
template <typename T>
MGK_KERNEL posterior_kernel(const mgk_posterior_args a, const division d, double *sums)
{
    __shared__ double scratch[MGK_WARP];
    const T *h = (const T *)a.h.p;
    T *z = (T *)a.z.p;
    double sum = 0;
    FOR_ELEMENTS(a, d, r, j)
    {
        const int64_t i = r * a.dim + j;
        float mean = mgk_load(h[2 * r * a.dim + j]), out = mean;
        if (a.noise.p || a.kl.p) {
            float logvar = bounded(mgk_load(h[(2 * r + 1) * a.dim + j]));
            float deviation = expf(0.5f * logvar);
            if (a.noise.p)
                out = fmaf(deviation, value(a.noise, i), mean);
            sum += (double)(mean * mean + (deviation * deviation - 1.0f - logvar));
        }
        mgk_store(z + i, out);
    }
    if (!a.kl.p)
        return;
    sum = mgk_block_sum(sum, scratch);
    if (threadIdx.x == 0)
        sums[blockIdx.x] = sum;
}

MGK_CUDA_WORKSPACE(posterior)
{
    const mgk_posterior_args *a = (const mgk_posterior_args *)args;
    (void)threads;
    return a->dim && a->kl.p ? sizeof(double) * (size_t)divide(a).blocks : 0;
}

MGK_CUDA_LAUNCHER(posterior)
{
    const mgk_posterior_args *a = (const mgk_posterior_args *)args;
    double *sums = (double *)x->workspace;
    if (a->rows * a->dim == 0)
        return;
    const division d = divide(a);
    MGK_WITH_REAL(a->h.dtype, MGK_LAUNCH(x, posterior_kernel<T>, (unsigned)d.blocks, MGK_BLOCK, 0,
                                         *a, d, sums));
    if (a->kl.p)
        MGK_LAUNCH(x, mgk_add_sums_kernel, 1, FINISH_BLOCK, 0, sums, d.blocks,
                   0.5 * (double)a->weight / (double)(a->rows * a->dim), MGK_F(a->kl));
}

template <typename T>
MGK_KERNEL posterior_grad_kernel(const mgk_posterior_args a, const division d, double factor)
{
    const T *h = (const T *)a.h.p;
    T *dh = (T *)a.dh.p;
    const float kl = a.kl_upstream.p ? (float)((double)MGK_F(a.kl_upstream)[0] * factor) : 0.0f;
    FOR_ELEMENTS(a, d, r, j)
    {
        const int64_t i = r * a.dim + j, at_mean = 2 * r * a.dim + j, at_logvar = at_mean + a.dim;
        float mean = mgk_load(h[at_mean]), logvar = mgk_load(h[at_logvar]);
        float up = a.dz.p ? mgk_load(((const T *)a.dz.p)[i]) : 0.0f;
        float noise = a.noise.p ? value(a.noise, i) : 0.0f;
        float deviation = expf(0.5f * bounded(logvar));
        float slope = kl * (deviation * deviation - 1.0f) + up * noise * deviation;
        bool outside = logvar < MGK_LOGVAR_LOWEST || logvar > MGK_LOGVAR_HIGHEST;
        mgk_store(dh + at_mean, fmaf(kl, mean, up));
        mgk_store(dh + at_logvar, outside ? 0.0f : 0.5f * slope);
    }
}

MGK_CUDA_LAUNCHER(posterior_grad)
{
    const mgk_posterior_args *a = (const mgk_posterior_args *)args;
    if (a->rows * a->dim == 0)
        return;
    const division d = divide(a);
    MGK_WITH_REAL(a->h.dtype, MGK_LAUNCH(x, posterior_grad_kernel<T>, (unsigned)d.blocks, MGK_BLOCK,
                                         0, *a, d, (double)a->weight / (double)(a->rows * a->dim)));
}
