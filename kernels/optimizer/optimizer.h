/* SPDX-License-Identifier: MIT
 * optimizer: multi-tensor AdamW with decoupled decay, gradient norm, step control, EMA.
 *
 * `items` is a host array; each item points to one parameter's storage.
 *   grad_norm     control[NORM] = sqrt(sum over items of grad^2), in double, in item order
 *   step_control  decides from NORM whether and how strongly to step, on the device:
 *                 not finite, or NORM > skip_factor * RUNNING (after 20 steps; skip_factor 0 =
 *                 never): SCALE = 0 and SKIPPED += 1;
 *                 else SCALE = min(1, clip / NORM) (clip 0: 1), RUNNING = 0.98 RUNNING + 0.02 NORM
 *                 (first step: NORM), STEP += 1
 *   adamw         SCALE = 0: no weight, moment or compute copy changes. Else, with
 *                 g = SCALE * grad:
 *                 m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;
 *                 w -= lr * lr_scale * (mhat / (sqrt(vhat) + eps) + decay * item.decay * w),
 *                 lr = control[LR], bias correction with control[STEP];
 *                 compute (where given) = w, rounded to bf16.
 *                 fuse_ema: then also what ema does, for the items that have an ema: the same bits
 *                 as ema run afterwards, in one walk through memory (and also if SCALE = 0)
 *   ema           ema += (1 - d) (w - ema), d = min(ema_decay, (1 + STEP) / (10 + STEP))
 * Weights, moments and averages are f32 always; gradients f32 or bf16, item by item.
 */
#ifndef MGK_OPTIMIZER_H
#define MGK_OPTIMIZER_H

#include "kernels/mgk.h"

/* f32 words of the control buffer */
enum {
    MGK_CONTROL_NORM,
    MGK_CONTROL_SCALE,
    MGK_CONTROL_RUNNING,
    MGK_CONTROL_STEP,
    MGK_CONTROL_SKIPPED,
    MGK_CONTROL_LR,
    MGK_CONTROL_COUNT = 8
};

typedef struct mgk_optimizer_item {
    float *weight;
    void *grad;
    float *m, *v, *ema; /* those the op uses */
    void *compute;      /* bf16; NULL = none */
    int64_t count;
    float decay, lr_scale; /* factors, usually 0 or 1; and 1 */
    int32_t grad_dtype;
    int32_t compute_f32; /* 1: compute is f32 after all, a copy of the weight */
} mgk_optimizer_item;

typedef struct mgk_optimizer_args {
    const mgk_optimizer_item *items;
    int64_t item_count;
    mgk_buf control; /* f32[MGK_CONTROL_COUNT] */
    float beta1, beta2, eps, decay, clip, skip_factor, ema_decay;
    int32_t fuse_ema; /* adamw */
} mgk_optimizer_args;

MGK_DECLARE(grad_norm); /* writes control[NORM] */
MGK_DECLARE(step_control);
MGK_DECLARE(adamw);
MGK_DECLARE(ema);

#endif
