/* SPDX-License-Identifier: MIT
 * The definition of the optimizer ops. */
#include "kernels/optimizer/optimizer.h"
#include "kernels/common/bf16.h"
#include "kernels/common/check.h"
#include "kernels/common/real.h"
#include "kernels/optimizer/optimizer_blocks.h"

#include <math.h>

enum { NEEDS_WEIGHT = 1, NEEDS_GRAD = 2, NEEDS_MOMENTS = 4, NEEDS_EMA = 8 };

static bool items_check(const mgk_optimizer_args *a, int needs, const char **why)
{
    MGK_RULE(a->item_count >= 0 && a->item_count < INT32_MAX, "item_count out of range");
    MGK_RULE(a->items || a->item_count == 0, "items: NULL");
    MGK_RULE(mgk_is_f32(a->control), "control: f32");
    int64_t total = 0;
    for (int64_t i = 0; i < a->item_count; i++) {
        const mgk_optimizer_item *t = &a->items[i];
        MGK_RULE(t->count >= 0 && t->count < INT64_MAX / 64 &&
                     !__builtin_add_overflow(total, t->count, &total),
                 "item: count out of range");
        if (t->count == 0)
            continue;
        MGK_RULE(t->weight || !(needs & NEEDS_WEIGHT), "item: weight is NULL");
        MGK_RULE(t->grad || !(needs & NEEDS_GRAD), "item: grad is NULL");
        MGK_RULE(t->grad_dtype == MGK_F32 || t->grad_dtype == MGK_BF16 || !(needs & NEEDS_GRAD),
                 "item: grad_dtype: f32 or bf16");
        MGK_RULE((t->m && t->v) || !(needs & NEEDS_MOMENTS), "item: m or v is NULL");
        MGK_RULE(t->ema || !(needs & NEEDS_EMA), "item: ema is NULL");
    }
    return true;
}

bool mgk_grad_norm_check(const void *args, const char **why)
{
    return items_check(args, NEEDS_GRAD, why);
}

bool mgk_step_control_check(const void *args, const char **why)
{
    const mgk_optimizer_args *a = args;
    MGK_RULE(mgk_is_f32(a->control), "control: f32");
    MGK_RULE(a->clip >= 0 && a->skip_factor >= 0, "clip, skip_factor must not be negative");
    return true;
}

bool mgk_adamw_check(const void *args, const char **why)
{
    const mgk_optimizer_args *a = args;
    MGK_RULE(a->beta1 >= 0 && a->beta1 < 1 && a->beta2 >= 0 && a->beta2 < 1,
             "beta1, beta2 must be within 0..1");
    MGK_RULE(a->eps >= 0 && a->decay >= 0, "eps, decay must not be negative");
    MGK_RULE(!a->fuse_ema || (a->ema_decay >= 0 && a->ema_decay <= 1),
             "ema_decay must be within 0..1");
    return items_check(a, NEEDS_WEIGHT | NEEDS_GRAD | NEEDS_MOMENTS, why);
}

bool mgk_ema_check(const void *args, const char **why)
{
    const mgk_optimizer_args *a = args;
    MGK_RULE(a->ema_decay >= 0 && a->ema_decay <= 1, "ema_decay must be within 0..1");
    return items_check(a, NEEDS_WEIGHT | NEEDS_EMA, why);
}

static size_t table_bytes(const void *args)
{
    const mgk_optimizer_args *a = args;
    return sizeof(int64_t) * (size_t)(a->item_count + 1);
}

/* The table of items, then a sum for each block. */
size_t mgk_grad_norm_workspace(const void *args, int threads)
{
    (void)threads;
    return table_bytes(args) +
           sizeof(double) * (size_t)mgk_div_up(mgk_opt_places(args), MGK_OPT_BLOCK);
}

size_t mgk_step_control_workspace(const void *args, int threads)
{
    (void)args;
    (void)threads;
    return 0;
}

size_t mgk_adamw_workspace(const void *args, int threads)
{
    (void)threads;
    return table_bytes(args);
}

size_t mgk_ema_workspace(const void *args, int threads)
{
    (void)threads;
    return table_bytes(args);
}

void mgk_grad_norm_ref(const void *args, mgk_exec *x)
{
    const mgk_optimizer_args *a = args;
    (void)x;
    double sum = 0;
    for (int64_t i = 0; i < a->item_count; i++)
        for (int64_t j = 0; j < a->items[i].count; j++) {
            double g = mgk_real_at((mgk_buf){a->items[i].grad, a->items[i].grad_dtype}, j);
            sum += g * g;
        }
    MGK_F(a->control)[MGK_CONTROL_NORM] = (float)sqrt(sum);
}

void mgk_step_control_ref(const void *args, mgk_exec *x)
{
    const mgk_optimizer_args *a = args;
    (void)x;
    float *control = MGK_F(a->control), norm = control[MGK_CONTROL_NORM];
    float step = control[MGK_CONTROL_STEP], running = control[MGK_CONTROL_RUNNING];
    bool spike = a->skip_factor > 0 && step >= 20 && norm > a->skip_factor * running;
    if (!isfinite(norm) || spike) {
        control[MGK_CONTROL_SCALE] = 0;
        control[MGK_CONTROL_SKIPPED] += 1;
        return;
    }
    control[MGK_CONTROL_SCALE] = a->clip > 0 && norm > a->clip ? a->clip / norm : 1;
    control[MGK_CONTROL_RUNNING] = step < 1 ? norm : (float)(0.98 * running + 0.02 * norm);
    control[MGK_CONTROL_STEP] = step + 1;
}

static void adamw_item(const mgk_optimizer_args *a, const mgk_optimizer_item *t)
{
    const float *control = MGK_F(a->control);
    const mgk_buf grad = {t->grad, t->grad_dtype};
    const mgk_buf compute = {t->compute, t->compute_f32 ? MGK_F32 : MGK_BF16};
    double scale = control[MGK_CONTROL_SCALE], step = fmax(1, control[MGK_CONTROL_STEP]);
    double b1 = a->beta1, b2 = a->beta2, lr = (double)control[MGK_CONTROL_LR] * t->lr_scale;
    for (int64_t j = 0; j < t->count; j++) {
        double g = scale * mgk_real_at(grad, j), w = t->weight[j];
        double m = b1 * t->m[j] + (1 - b1) * g, v = b2 * t->v[j] + (1 - b2) * g * g;
        double mhat = m / (1 - pow(b1, step)), vhat = v / (1 - pow(b2, step));
        w -= lr * (mhat / (sqrt(vhat) + a->eps) + (double)a->decay * t->decay * w);
        t->m[j] = (float)m;
        t->v[j] = (float)v;
        t->weight[j] = (float)w;
        if (t->compute)
            mgk_real_set(compute, j, t->weight[j]);
    }
}

static void ema_item(const mgk_optimizer_args *a, const mgk_optimizer_item *t)
{
    double step = MGK_F(a->control)[MGK_CONTROL_STEP];
    double d = fmin(a->ema_decay, (1 + step) / (10 + step));
    for (int64_t j = 0; j < t->count; j++)
        t->ema[j] = (float)(t->ema[j] + (1 - d) * ((double)t->weight[j] - t->ema[j]));
}

void mgk_adamw_ref(const void *args, mgk_exec *x)
{
    const mgk_optimizer_args *a = args;
    (void)x;
    for (int64_t i = 0; i < a->item_count; i++) {
        if (MGK_F(a->control)[MGK_CONTROL_SCALE] != 0)
            adamw_item(a, &a->items[i]);
        if (a->fuse_ema && a->items[i].ema)
            ema_item(a, &a->items[i]);
    }
}

void mgk_ema_ref(const void *args, mgk_exec *x)
{
    const mgk_optimizer_args *a = args;
    (void)x;
    for (int64_t i = 0; i < a->item_count; i++)
        ema_item(a, &a->items[i]);
}
