/* SPDX-License-Identifier: MIT
 * pad: a border around volumes.
 *
 *   pad        x (n, t, h, w, c) -> y (n, t', h', w', c), where t' = before[0] + t + after[0], h'
 *              and w' likewise with [1] and [2]; outside of x y holds 0 (ZERO) or the nearest
 *              value of x (REPLICATE)
 *   pad_grad   x (= dx) (+)= for each value of x the sum of those of y (= dy) that hold it: for
 *              ZERO a slice
 * Dtypes: x and y share one, of pad_grad real, of pad also i32, u8 or u64.
 */
#ifndef MGK_PAD_H
#define MGK_PAD_H

#include "kernels/mgk.h"

enum { MGK_BORDER_ZERO, MGK_BORDER_REPLICATE };

typedef struct mgk_pad_args {
    mgk_buf x, y;
    int64_t n, t, h, w, c;
    int64_t before[3], after[3];
    int32_t mode;
    int32_t accumulate; /* gradient only */
} mgk_pad_args;

MGK_DECLARE(pad);
MGK_DECLARE(pad_grad);

#endif
