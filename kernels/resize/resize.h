/* SPDX-License-Identifier: MIT
 * resize: nearest-neighbour enlargement by whole factors, and its gradient.
 *
 *   resize_nearest       y[b,i,j,c] = x[b, i/fh, j/fw, c];  x (n, h, w, c), y (n, h*fh, w*fw, c)
 *   resize_nearest_grad  x (= dx) (+)= sums of y (= dy)
 * Doubling frames of (B,T,H,W,C) is n = B, h = T, w = 1, c = H*W*C, fh = 2, fw = 1.
 */
#ifndef MGK_RESIZE_H
#define MGK_RESIZE_H

#include "kernels/mgk.h"

typedef struct mgk_resize_args {
    mgk_buf x, y;
    int64_t n, h, w, c, fh, fw;
    int32_t accumulate; /* gradient only */
} mgk_resize_args;

MGK_DECLARE(resize_nearest);
MGK_DECLARE(resize_nearest_grad);

#endif
