/* SPDX-License-Identifier: MIT
 * loss: mean of a distance over all elements.
 *
 *   loss       out[0] += weight * mean(d(x - target)),  d = square (MSE) or absolute value (L1)
 *   loss_grad  dx (+)= upstream[0] * weight * d'(x - target) / count;  L1: sign, 0 at 0
 */
#ifndef MGK_LOSS_H
#define MGK_LOSS_H

#include "kernels/mgk.h"

enum { MGK_LOSS_MSE, MGK_LOSS_L1 };

typedef struct mgk_loss_args {
    mgk_buf x, target, out, upstream, dx;
    int64_t count; /* 0: nothing is added */
    int32_t kind, accumulate;
    float weight;
} mgk_loss_args;

MGK_DECLARE(loss);
MGK_DECLARE(loss_grad);

#endif
