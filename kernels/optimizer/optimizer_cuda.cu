/* SPDX-License-Identifier: MIT
 * The optimizer ops. Items travel to the device as parameters of a kernel, many a launch; its blocks are equal
 * pieces of them. */
#include "kernels/common/cuda_four.h"
#include "kernels/optimizer/optimizer.h"

enum {
    NORM_ELEMENTS = 16384, /* a block of grad_norm: each leaves a sum */
    STEP_ELEMENTS = 4096,  /* a block of adamw and ema */
    NORM_ITEMS = 140,      /* a launch: its parameters stay below 4 KB */
    STEP_ITEMS = 52,
    FINISH_BLOCK = 1024
};

struct norm_item {
    const void *grad;
    int64_t count;
    int32_t grad_dtype;
};

template <typename Item, int ITEMS> struct batch {
    Item items[ITEMS];
    int32_t first[ITEMS + 1]; /* block of each item; at the end their number */
    int32_t count;
};
typedef batch<norm_item, NORM_ITEMS> norm_batch;
typedef batch<mgk_optimizer_item, STEP_ITEMS> step_batch;
static_assert(sizeof(norm_batch) <= 4000 && sizeof(step_batch) <= 4000, "parameters of a kernel");

static void take(norm_item *to, const mgk_optimizer_item *from)
{
    to->grad = from->grad;
    to->count = from->count;
    to->grad_dtype = from->grad_dtype;
}

static void take(mgk_optimizer_item *to, const mgk_optimizer_item *from)
{
    *to = *from;
}

/* Fills a batch with the items from number `next` on; returns the number of the first that is left. */
template <typename Item, int ITEMS>
static int64_t fill(batch<Item, ITEMS> *b, const mgk_optimizer_args *a, int64_t next,
                    int64_t block_elements)
{
    b->count = b->first[0] = 0;
    for (; next < a->item_count && b->count < ITEMS; next++) {
        int64_t count = a->items[next].count;
        if (count == 0)
            continue;
        take(&b->items[b->count], &a->items[next]);
        b->first[b->count + 1] =
            b->first[b->count] + (int32_t)((count + block_elements - 1) / block_elements);
        b->count++;
    }
    return next;
}

/* The item of this thread block: the last one whose first block is not behind it. */
template <typename Item, int ITEMS> MGK_DEVICE int item_of_block(const batch<Item, ITEMS> &b)
{
    int low = 0, high = b.count, block = (int)blockIdx.x;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (b.first[middle] <= block)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* ---- grad_norm ---- */

MGK_KERNEL norm_kernel(const norm_batch b, double *sums)
{
    __shared__ double scratch[MGK_WARP];
    int which = item_of_block(b);
    const norm_item item = b.items[which];
    int64_t first = (int64_t)((int)blockIdx.x - b.first[which]) * NORM_ELEMENTS;
    int64_t left = item.count - first;
    int n = left < NORM_ELEMENTS ? (int)left : (int)NORM_ELEMENTS;
    double sum = 0;
    for (int i = 4 * (int)threadIdx.x; i < n; i += 4 * MGK_BLOCK) {
        float g[4];
        mgk_load4_of(item.grad, item.grad_dtype, first + i, n - i, g);
#pragma unroll
        for (int k = 0; k < 4; k++)
            sum = fma((double)g[k], (double)g[k], sum);
    }
    sum = mgk_block_sum(sum, scratch);
    if (threadIdx.x == 0)
        sums[blockIdx.x] = sum;
}

MGK_KERNEL norm_finish_kernel(const double *sums, int64_t count, float *control)
{
    __shared__ double scratch[MGK_WARP];
    double sum = mgk_block_sum_of(sums, count, scratch);
    if (threadIdx.x == 0)
        control[MGK_CONTROL_NORM] = (float)sqrt(sum);
}

MGK_CUDA_WORKSPACE(grad_norm)
{
    const mgk_optimizer_args *a = (const mgk_optimizer_args *)args;
    int64_t blocks = 0;
    (void)threads;
    for (int64_t i = 0; i < a->item_count; i++)
        blocks += (a->items[i].count + NORM_ELEMENTS - 1) / NORM_ELEMENTS;
    return sizeof(double) * (size_t)blocks;
}

MGK_CUDA_LAUNCHER(grad_norm)
{
    const mgk_optimizer_args *a = (const mgk_optimizer_args *)args;
    double *sums = (double *)x->workspace;
    int64_t blocks = 0;
    norm_batch b;
    memset(&b, 0, sizeof b);
    for (int64_t next = 0; next < a->item_count;) {
        next = fill(&b, a, next, NORM_ELEMENTS);
        if (b.count > 0)
            MGK_LAUNCH(x, norm_kernel, b.first[b.count], MGK_BLOCK, 0, b, sums + blocks);
        blocks += b.first[b.count];
    }
    MGK_LAUNCH(x, norm_finish_kernel, 1, FINISH_BLOCK, 0, sums, blocks, MGK_F(a->control));
}

/* ---- step_control ---- */

MGK_KERNEL control_kernel(float *control, float clip, float skip_factor)
{
    float norm = control[MGK_CONTROL_NORM], step = control[MGK_CONTROL_STEP];
    float running = control[MGK_CONTROL_RUNNING];
    bool spike = skip_factor > 0 && step >= 20 && norm > skip_factor * running;
    if (!(fabsf(norm) < INFINITY) || spike) {
        control[MGK_CONTROL_SCALE] = 0;
        control[MGK_CONTROL_SKIPPED] += 1;
        return;
    }
    control[MGK_CONTROL_SCALE] = clip > 0 && norm > clip ? clip / norm : 1;
    control[MGK_CONTROL_RUNNING] = step < 1 ? norm : (float)(0.98 * running + 0.02 * norm);
    control[MGK_CONTROL_STEP] = step + 1;
}

MGK_CUDA_LAUNCHER(step_control)
{
    const mgk_optimizer_args *a = (const mgk_optimizer_args *)args;
    MGK_LAUNCH(x, control_kernel, 1, 1, 0, MGK_F(a->control), a->clip, a->skip_factor);
}

/* ---- adamw and ema ---- */

/* What all elements share; computed once, by one thread, into the workspace. */
struct step_terms {
    float scale, lr;
    float correct1;      /* 1 / (1 - beta1^step) */
    float correct2_root; /* 1 / sqrt(1 - beta2^step) */
    float keep;          /* ema: 1 - d */
};

/* Of the arguments. */
struct step_rates {
    float beta1, beta2, eps, decay, ema_decay;
};

MGK_KERNEL terms_kernel(const float *control, const step_rates r, step_terms *t)
{
    double taken = control[MGK_CONTROL_STEP], step = fmax(1.0, taken);
    t->scale = control[MGK_CONTROL_SCALE];
    t->lr = control[MGK_CONTROL_LR];
    t->correct1 = (float)(1 / (1 - pow((double)r.beta1, step)));
    t->correct2_root = (float)(1 / sqrt(1 - pow((double)r.beta2, step)));
    t->keep = (float)(1 - fmin((double)r.ema_decay, (1 + taken) / (10 + taken)));
}

/* Products are joined to sums by fmaf, not as the compiler likes: the same bits in every kernel. */
MGK_DEVICE void average4(float *ema, int64_t n, const float w[4], float keep)
{
    float e[4];
    mgk_load4(ema, n, e);
#pragma unroll
    for (int k = 0; k < 4; k++)
        e[k] = fmaf(keep, w[k] - e[k], e[k]);
    mgk_store4(ema, n, e);
}

MGK_DEVICE void step4(const mgk_optimizer_item &item, const step_terms &t, const step_rates &r,
                      int64_t at, int64_t n, float w[4])
{
    const float lr = t.lr * item.lr_scale, decay = lr * r.decay * item.decay;
    const float rate = lr * t.correct1, new1 = 1 - r.beta1, new2 = 1 - r.beta2;
    float g[4], m[4], v[4];
    mgk_load4_of(item.grad, item.grad_dtype, at, n, g);
    mgk_load4(item.m + at, n, m);
    mgk_load4(item.v + at, n, v);
#pragma unroll
    for (int k = 0; k < 4; k++) {
        g[k] *= t.scale;
        m[k] = fmaf(r.beta1, m[k], new1 * g[k]);
        v[k] = fmaf(new2 * g[k], g[k], r.beta2 * v[k]);
        w[k] -= fmaf(decay, w[k], rate * m[k] / fmaf(sqrtf(v[k]), t.correct2_root, r.eps));
    }
    mgk_store4(item.m + at, n, m);
    mgk_store4(item.v + at, n, v);
    mgk_store4(item.weight + at, n, w);
    if (item.compute && item.compute_f32)
        mgk_store4((float *)item.compute + at, n, w);
    else if (item.compute)
        mgk_store4((mgk_bf16 *)item.compute + at, n, w);
}

MGK_KERNEL step_kernel(const step_batch b, const step_terms *terms, const step_rates r, bool step,
                       bool average)
{
    const step_terms t = *terms;
    int which = item_of_block(b);
    const mgk_optimizer_item item = b.items[which];
    int64_t first = (int64_t)((int)blockIdx.x - b.first[which]) * STEP_ELEMENTS;
    int64_t end = item.count < first + STEP_ELEMENTS ? item.count : first + STEP_ELEMENTS;
    step = step && t.scale != 0;
    average = average && item.ema;
    if (!step && !average)
        return;
    for (int64_t at = first + 4 * (int)threadIdx.x; at < end; at += 4 * MGK_BLOCK) {
        float w[4];
        mgk_load4(item.weight + at, end - at, w);
        if (step)
            step4(item, t, r, at, end - at, w);
        if (average)
            average4(item.ema + at, end - at, w, t.keep);
    }
}

static void run_step(const mgk_optimizer_args *a, mgk_exec *x, bool step, bool average)
{
    step_terms *terms = (step_terms *)x->workspace;
    const step_rates r = {a->beta1, a->beta2, a->eps, a->decay, a->ema_decay};
    step_batch b;
    memset(&b, 0, sizeof b);
    MGK_LAUNCH(x, terms_kernel, 1, 1, 0, MGK_F(a->control), r, terms);
    for (int64_t next = 0; next < a->item_count;) {
        next = fill(&b, a, next, STEP_ELEMENTS);
        if (b.count > 0)
            MGK_LAUNCH(x, step_kernel, b.first[b.count], MGK_BLOCK, 0, b, terms, r, step, average);
    }
}

MGK_CUDA_WORKSPACE(adamw)
{
    (void)args;
    (void)threads;
    return sizeof(step_terms);
}

MGK_CUDA_LAUNCHER(adamw)
{
    const mgk_optimizer_args *a = (const mgk_optimizer_args *)args;
    run_step(a, x, true, a->fuse_ema);
}

MGK_CUDA_WORKSPACE(ema)
{
    (void)args;
    (void)threads;
    return sizeof(step_terms);
}

MGK_CUDA_LAUNCHER(ema)
{
    run_step((const mgk_optimizer_args *)args, x, false, true);
}
