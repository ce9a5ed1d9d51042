/* SPDX-License-Identifier: MIT
 * loss and loss_grad on vectors; included once a variant. */
#include "kernels/common/real_simd.h"
#include "kernels/loss/loss.h"

typedef struct loss_job {
    const mgk_loss_args *a;
    double *sums; /* one a block */
} loss_job;

/* Lanes past the end are 0 in x and target. The kind never changes inside a loop; the maximum
 * returns its second argument if that is NaN. */
MGK_INLINE vf penalty(vf x, vf target, int kind)
{
    vf d = x - target;
    switch (kind) {
    case MGK_LOSS_MSE:
        return d * d;
    case MGK_LOSS_L1:
        return v_abs(d);
    case MGK_LOSS_HINGE_REAL:
        return v_max(v_set(0), 1.0f - x);
    case MGK_LOSS_HINGE_FAKE:
        return v_max(v_set(0), 1.0f + x);
    default:
        return -x;
    }
}

MGK_INLINE vf slope(vf x, vf target, int kind)
{
    vf d = x - target;
    switch (kind) {
    case MGK_LOSS_MSE:
        return d + d;
    case MGK_LOSS_L1:
        return v_select(d > 0, v_set(1), v_select(d < 0, v_set(-1), v_set(0)));
    case MGK_LOSS_HINGE_REAL:
        return v_select(x < 1, v_set(-1), v_set(0));
    case MGK_LOSS_HINGE_FAKE:
        return v_select(x > -1, v_set(1), v_set(0));
    default:
        return v_set(-1);
    }
}

/* Vectors are added in float for at most 1024 elements, then in double. */
MGK_INLINE double loss_sum(v_real x, v_real target, int64_t n, int kind)
{
    double sum = 0;
    for (int64_t at = 0; at < n; at += 1024) {
        int64_t end = mgk_min(n, at + 1024), i = at;
        vf s[2] = {{0}, {0}};
        for (; i + 2 * MGK_WIDTH <= end; i += 2 * MGK_WIDTH)
            MGK_UNROLL
        for (int k = 0; k < 2; k++) {
            int64_t j = i + k * MGK_WIDTH;
            s[k] += penalty(v_read(x, j, MGK_WIDTH), v_read(target, j, MGK_WIDTH), kind);
        }
        for (; i < end; i += MGK_WIDTH) {
            int64_t lanes = mgk_min(MGK_WIDTH, end - i);
            vf p = penalty(v_read(x, i, lanes), v_read(target, i, lanes), kind);
            s[0] += lanes < MGK_WIDTH ? v_select(v_lanes_below(lanes), p, v_set(0)) : p;
        }
        sum += v_sum(s[0] + s[1]);
    }
    return sum;
}

/* Kinds without target read x in its place. */
MGK_INLINE double sum_kinds(const mgk_loss_args *a, int64_t at, int64_t n, int32_t dtype,
                            int32_t target_dtype)
{
    const v_real x = v_from(a->x, at, dtype);
    if (a->kind <= MGK_LOSS_L1) {
        const v_real target = v_from(a->target, at, target_dtype);
        return a->kind == MGK_LOSS_MSE ? loss_sum(x, target, n, MGK_LOSS_MSE)
                                       : loss_sum(x, target, n, MGK_LOSS_L1);
    }
    return loss_sum(x, x, n, a->kind);
}

static void loss_block(void *arg, int64_t block, int thread)
{
    const loss_job *job = arg;
    const mgk_loss_args *a = job->a;
    (void)thread;
    int64_t at = block * MGK_BLOCK_ELEMENTS, n = mgk_min(MGK_BLOCK_ELEMENTS, a->count - at);
    job->sums[block] = a->x.dtype == MGK_F32        ? sum_kinds(a, at, n, MGK_F32, MGK_F32)
                       : a->target.dtype == MGK_F32 ? sum_kinds(a, at, n, MGK_BF16, MGK_F32)
                                                    : sum_kinds(a, at, n, MGK_BF16, MGK_BF16);
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

MGK_INLINE void grad_loop(const mgk_loss_args *a, int64_t at, int64_t n, int32_t target_dtype,
                          int32_t dtype)
{
    const float f = (float)((double)MGK_F(a->upstream)[0] * a->weight / (double)a->count);
    const int kind = a->kind;
    const bool add = a->accumulate, with = kind <= MGK_LOSS_L1;
    const v_real x = v_from(a->x, at, dtype), dx = v_from(a->dx, at, dtype);
    const v_real target = with ? v_from(a->target, at, target_dtype) : x;
    MGK_EACH_VECTOR(i, n, {
        vf in = v_get(x, i);
        vf g = f * slope(in, with ? v_get(target, i) : in, kind);
        if (add)
            g += v_get(dx, i);
        v_put(dx, i, g);
    });
}

static void loss_grad_block(void *arg, int64_t block, int thread)
{
    const mgk_loss_args *a = arg;
    (void)thread;
    int64_t at = block * MGK_BLOCK_ELEMENTS, n = mgk_min(MGK_BLOCK_ELEMENTS, a->count - at);
    if (a->x.dtype == MGK_F32)
        grad_loop(a, at, n, MGK_F32, MGK_F32);
    else if (a->target.dtype == MGK_F32)
        grad_loop(a, at, n, MGK_F32, MGK_BF16);
    else
        grad_loop(a, at, n, MGK_BF16, MGK_BF16);
}

MGK_LAUNCH(loss_grad)
{
    const mgk_loss_args *a = args;
    mgk_for(x, mgk_div_up(a->count, MGK_BLOCK_ELEMENTS), a->count, loss_grad_block, (void *)args);
}
