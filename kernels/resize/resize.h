/* SPDX-License-Identifier: MIT
 * resize: enlargement by whole factors, bilinear interpolation to any size, and their gradients.
 *
 *   resize_nearest        y[b,i,j,c] = x[b, i/fh, j/fw, c];  x (n, h, w, c), y (n, h*fh, w*fw, c)
 *   resize_nearest_grad   x (= dx) (+)= sums of y (= dy)
 *   resize_bilinear       x (n, h, w, c) -> y (n, oh, ow, c). The centre of pixel i of y lies at
 *                         s = (i + 0.5) h / oh - 0.5 among the centres of x, s held within 0..h-1;
 *                         y = (1 - f) x[floor s] + f x[floor s + 1], f = s - floor s, in both
 *                         directions. No filter: shrinking by more than 2 skips pixels
 *   resize_bilinear_grad  x (= dx) (+)= the transposed map of y (= dy)
 * Doubling frames of (B,T,H,W,C) is n = B, h = T, w = 1, c = H*W*C, fh = 2, fw = 1.
 * Dtypes: x and y are T.
 */
#ifndef MGK_RESIZE_H
#define MGK_RESIZE_H

#include "kernels/mgk.h"

typedef struct mgk_resize_args {
    mgk_buf x, y;
    int64_t n, h, w, c, fh, fw;
    int32_t accumulate; /* gradients only */
    int64_t oh, ow;     /* bilinear, instead of fh, fw */
} mgk_resize_args;

MGK_DECLARE(resize_nearest);
MGK_DECLARE(resize_nearest_grad);
MGK_DECLARE(resize_bilinear);
MGK_DECLARE(resize_bilinear_grad);

#endif
