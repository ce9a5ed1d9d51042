/* SPDX-License-Identifier: MIT
 * cross_entropy: how unlikely the right class of each row is, softmax and logarithm in one.
 *
 *   x (rows, classes): logits; target (rows) i32: the right class of each row. Rows whose target is not within
 *   0..classes-1 are not counted, negative ones by intent.
 *   cross_entropy       out[0] = weight * mean over counted rows of (lse[r] - x[r, target[r]]), 0 if there are none;
 *                       lse[r] = log(sum(exp(x[r]))), 0 of rows that are not counted; share[0] = 1 / their number,
 *                       0 if there are none
 *   cross_entropy_grad  dx (+)= upstream[0] * weight * share[0] * (exp(x[r] - lse[r]) - (1 at target[r])), 0 of rows
 *                       that are not counted; lse and share as cross_entropy left them
 * Of a class that cannot be, x may be -infinity. What rows that are not counted hold is not looked at.
 * Dtypes: x, dx are T; out, lse (rows), share, upstream f32.
 */
#ifndef MGK_CROSS_ENTROPY_H
#define MGK_CROSS_ENTROPY_H

#include "kernels/mgk.h"

typedef struct mgk_cross_entropy_args {
    mgk_buf x, target, lse, share, out, upstream, dx;
    int64_t rows, classes;
    int32_t accumulate; /* into dx */
    float weight;
} mgk_cross_entropy_args;

MGK_DECLARE(cross_entropy);
MGK_DECLARE(cross_entropy_grad);

#endif
