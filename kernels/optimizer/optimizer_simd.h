/* SPDX-License-Identifier: MIT
 * The optimizer on vectors; included once a variant. A task is a block of the items laid end to
 * end (optimizer_blocks.h). */
#include "kernels/common/real_simd.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/optimizer/optimizer_blocks.h"

typedef struct optimizer_job {
    const mgk_optimizer_args *a;
    const int64_t *start; /* see mgk_opt_table */
    double *sums;         /* grad_norm: one a block */
    mgk_adamw_terms terms;
    float keep; /* ema: 1 - d */
} optimizer_job;

/* The part of an item that lies in a block. */
typedef void piece_fn(const optimizer_job *job, const mgk_optimizer_item *item, int64_t at,
                      int64_t n, int64_t block);

MGK_INLINE void each_piece(const optimizer_job *job, int64_t block, piece_fn *fn)
{
    int64_t first = block * MGK_OPT_BLOCK, end = first + MGK_OPT_BLOCK;
    int64_t items = job->a->item_count;
    for (int64_t i = mgk_opt_find(job->start, items, first); i < items && job->start[i] < end;
         i++) {
        const mgk_optimizer_item *item = &job->a->items[i];
        int64_t at = mgk_max(0, first - job->start[i]);
        int64_t n = mgk_min(item->count, end - job->start[i]) - at;
        if (n > 0)
            fn(job, item, at, n, block);
    }
}

/* Returns the number of blocks. The table is put at the start of the workspace. */
static int64_t run_blocks(mgk_exec *x, optimizer_job *job, mgi_pool_fn *fn)
{
    int64_t *start = x->workspace;
    mgk_opt_table(job->a, start);
    int64_t places = start[job->a->item_count], blocks = mgk_div_up(places, MGK_OPT_BLOCK);
    job->start = start;
    job->sums = (double *)(start + job->a->item_count + 1);
    mgk_for(x, blocks, 2 * places, fn, job);
    return blocks;
}

/* As of v_far: large items do not stay in a cache until the next step. */
MGK_INLINE int64_t far_of(const mgk_optimizer_item *item)
{
    return v_far(item->count * (int64_t)sizeof(float) >= MGK_STREAM_BYTES);
}

MGK_INLINE void fetch(const void *p)
{
    __builtin_prefetch(p, 0, 2);
}

enum { LANES = 32 }; /* independent sums */

/* The loop over lanes is a vector loop for the compiler. */
MGK_INLINE double sum_of_squares(const void *grad, int64_t n, int64_t far, int32_t dtype)
{
    const float *f = grad;
    const uint16_t *h = grad;
    double lane[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        if (far && dtype == MGK_BF16)
            fetch(h + i + far);
        for (int j = 0; far && dtype == MGK_F32 && j < LANES; j += 16)
            fetch(f + i + far + j);
        MGK_UNROLL
        for (int j = 0; j < LANES; j++) {
            double g = dtype == MGK_BF16 ? mgk_from_bf16(h[i + j]) : f[i + j];
            lane[j] += g * g;
        }
    }
    for (; i < n; i++) {
        double g = dtype == MGK_BF16 ? mgk_from_bf16(h[i]) : f[i];
        sum += g * g;
    }
    for (int j = 0; j < LANES; j++)
        sum += lane[j];
    return sum;
}

static void norm_piece(const optimizer_job *job, const mgk_optimizer_item *item, int64_t at,
                       int64_t n, int64_t block)
{
    job->sums[block] +=
        item->grad_dtype == MGK_BF16
            ? sum_of_squares((const uint16_t *)item->grad + at, n, far_of(item), MGK_BF16)
            : sum_of_squares((const float *)item->grad + at, n, far_of(item), MGK_F32);
}

static void norm_block(void *arg, int64_t block, int thread)
{
    const optimizer_job *job = arg;
    (void)thread;
    job->sums[block] = 0;
    each_piece(job, block, norm_piece);
}

MGK_LAUNCH(grad_norm)
{
    optimizer_job job = {.a = args};
    double sum = 0;
    int64_t blocks = run_blocks(x, &job, norm_block);
    for (int64_t b = 0; b < blocks; b++)
        sum += job.sums[b];
    MGK_F(job.a->control)[MGK_CONTROL_NORM] = (float)sqrt(sum);
}

MGK_INLINE vf square_root(vf v)
{
#if MGK_WIDTH == 16 && defined(__AVX512F__)
    return (vf)_mm512_sqrt_ps((__m512)v);
#elif MGK_WIDTH == 8 && defined(__AVX2__)
    return (vf)_mm256_sqrt_ps((__m256)v);
#else
    for (int i = 0; i < MGK_WIDTH; i++)
        v[i] = sqrtf(v[i]);
    return v;
#endif
}

/* Whether there is an average or a compute copy never changes inside the loop: such branches cost
 * nothing beside the memory. */
MGK_INLINE void adamw_loop(const optimizer_job *job, const mgk_optimizer_item *item, int64_t at,
                           int64_t n, int32_t grad_dtype)
{
    const mgk_adamw_terms t = job->terms;
    const v_real grad = v_from((mgk_buf){item->grad, grad_dtype}, at, grad_dtype);
    float *weight = item->weight + at, *m = item->m + at, *v = item->v + at;
    float *ema = job->a->fuse_ema && item->ema ? item->ema + at : NULL;
    uint16_t *narrow = item->compute && !item->compute_f32 ? (uint16_t *)item->compute + at : NULL;
    float *wide = item->compute && item->compute_f32 ? (float *)item->compute + at : NULL;
    const float lr = t.lr * item->lr_scale, decay = lr * t.decay * item->decay, keep = job->keep;
    const float rate = lr * t.correct1;
    const int64_t far = far_of(item);
    MGK_EACH_VECTOR(i, n, {
        if (far) {
            v_prefetch(grad, i + far);
            fetch(weight + i + far);
            fetch(m + i + far);
            fetch(v + i + far);
            if (ema)
                fetch(ema + i + far);
        }
        vf g = t.scale * v_get(grad, i), w = v_in(weight + i);
        /* which of two products is rounded is not the compiler's choice */
        vf next_m = v_fma(v_set(t.beta1), v_in(m + i), (1 - t.beta1) * g);
        vf next_v = v_fma(v_set(t.beta2), v_in(v + i), (1 - t.beta2) * g * g);
        vf below = v_fma(square_root(next_v), v_set(t.correct2_root), v_set(t.eps));
        w -= v_fma(v_set(decay), w, rate * next_m / below);
        v_out(m + i, next_m);
        v_out(v + i, next_v);
        v_out(weight + i, w);
        if (narrow)
            v_to_bf16(narrow + i, v_lanes, w);
        if (wide)
            v_out(wide + i, w);
        if (ema) {
            vf old = v_in(ema + i);
            v_out(ema + i, v_fma(v_set(keep), w - old, old));
        }
    });
}

static void adamw_piece(const optimizer_job *job, const mgk_optimizer_item *item, int64_t at,
                        int64_t n, int64_t block)
{
    (void)block;
    V_BY_DTYPE(item->grad_dtype, adamw_loop, job, item, at, n);
}

static void adamw_block(void *arg, int64_t block, int thread)
{
    (void)thread;
    each_piece(arg, block, adamw_piece);
}

static void ema_piece(const optimizer_job *job, const mgk_optimizer_item *item, int64_t at,
                      int64_t n, int64_t block)
{
    const float *weight = item->weight + at;
    float *ema = item->ema ? item->ema + at : NULL, keep = job->keep;
    (void)block;
    if (ema) /* adamw that skips a step may come with items that have none */
        MGK_EACH_VECTOR(i, n, {
            vf old = v_in(ema + i);
            v_out(ema + i, v_fma(v_set(keep), v_in(weight + i) - old, old));
        });
}

static void ema_block(void *arg, int64_t block, int thread)
{
    (void)thread;
    each_piece(arg, block, ema_piece);
}

static float ema_keep(const mgk_optimizer_args *a)
{
    double step = MGK_F(a->control)[MGK_CONTROL_STEP];
    return (float)(1 - fmin(a->ema_decay, (1 + step) / (10 + step)));
}

MGK_LAUNCH(adamw)
{
    const mgk_optimizer_args *a = args;
    const float *control = MGK_F(a->control);
    optimizer_job job = {.a = a, .keep = ema_keep(a)};
    double step = fmax(1, control[MGK_CONTROL_STEP]);
    if (control[MGK_CONTROL_SCALE] == 0) {
        if (a->fuse_ema)
            run_blocks(x, &job, ema_block);
        return;
    }
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
    run_blocks(x, &job, adamw_block);
}

MGK_LAUNCH(ema)
{
    optimizer_job job = {.a = args, .keep = ema_keep(args)};
    run_blocks(x, &job, ema_block);
}
