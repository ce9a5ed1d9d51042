/* SPDX-License-Identifier: MIT
 * loss: mean of a penalty over all elements.
 *
 *   loss       out[0] += weight * mean(d)
 *   loss_grad  dx (+)= upstream[0] * weight * d' / count
 * with d, as a function of x and where there is one of target,
 *   MSE              (x - target)^2
 *   L1               |x - target|; slope 0 at 0
 *   HINGE_REAL       max(0, 1 - x)   the discriminator on real pictures
 *   HINGE_FAKE       max(0, 1 + x)   the discriminator on made ones; slope 0 at the bends
 *   HINGE_GENERATOR  -x              the generator
 *   loss_balance  out[0] = weight * min(most, sqrt(x[0] / target[0])), 0 if target[0] is not above 0: by what
 *                 the second of two losses counts, of the squares of whose gradients' norms x is the first
 *                 one's and target the second one's
 * Dtypes: x and dx are T; target T or f32; out, upstream, all of loss_balance f32.
 */
#ifndef MGK_LOSS_H
#define MGK_LOSS_H

#include "kernels/mgk.h"

enum {
    MGK_LOSS_MSE,
    MGK_LOSS_L1,
    MGK_LOSS_HINGE_REAL,
    MGK_LOSS_HINGE_FAKE,
    MGK_LOSS_HINGE_GENERATOR,
    MGK_LOSS_KINDS
};

typedef struct mgk_loss_args {
    mgk_buf x, target, out, upstream, dx; /* target: of MSE and L1 only */
    int64_t count;                        /* 0: nothing is added */
    int32_t kind, accumulate;
    float weight, most;
} mgk_loss_args;

MGK_DECLARE(loss);
MGK_DECLARE(loss_grad);
MGK_DECLARE(loss_balance);

#endif
