/* SPDX-License-Identifier: MIT
 * conv2d: 2D convolution, channels last, and its two gradients.
 *
 *   x (n, h, w, cin), weight (cout, kh, kw, cin), bias (cout), y (n, ho, wo, cout)
 *   y[b,i,j,o] = bias[o] + sum_{p,q,c} x[b, i*stride_h + p - pad_top, j*stride_w + q - pad_left, c]
 *                                      * weight[o,p,q,c]
 *   ho = (h + pad_top + pad_bottom - kh) / stride_h + 1, wo likewise.
 * Outside the picture: 0 (MGK_PAD_ZERO) or the nearest edge pixel (MGK_PAD_REPLICATE).
 * A convolution in time over (B,T,HW,C) is kh = 3, kw = 1 on n = B, h = T, w = HW.
 * One struct serves all three ops:
 *   conv2d              writes y             from x, weight, bias
 *   conv2d_grad_input   writes x (= dx)      from y (= dy), weight;  accumulate: dx += ...
 *   conv2d_grad_weight  writes weight (= dw) from x, y (= dy);       accumulate: dw += ...
 *                       and bias (= db), if given, the same way.
 * x, y and weight are all f32 or all bf16; the bias is f32, and so are dw and db, always.
 * Forward, y may have room between its pixels and rows, which stays as it is: y_pixel and y_row values from one to the next
 * (pictures: ho rows); 0, both of them: cout and wo * cout.
 */
#ifndef MGK_CONV2D_H
#define MGK_CONV2D_H

#include "kernels/mgk.h"

enum { MGK_PAD_ZERO, MGK_PAD_REPLICATE };

typedef struct mgk_conv2d_args {
    mgk_buf x, weight, bias, y;
    int64_t n, h, w, cin, ho, wo, cout;
    int64_t kh, kw, stride_h, stride_w;
    int64_t pad_top, pad_bottom, pad_left, pad_right;
    int32_t pad_mode;
    int32_t accumulate;     /* gradients only */
    int64_t y_pixel, y_row; /* conv2d only */
} mgk_conv2d_args;

/* Values from a pixel of y to the next one, and from row to row. */
static inline int64_t mgk_conv2d_y_pixel(const mgk_conv2d_args *g)
{
    return g->y_pixel ? g->y_pixel : g->cout;
}
static inline int64_t mgk_conv2d_y_row(const mgk_conv2d_args *g)
{
    return g->y_row ? g->y_row : g->wo * g->cout;
}

MGK_DECLARE(conv2d);
MGK_DECLARE(conv2d_grad_input);
MGK_DECLARE(conv2d_grad_weight);

#endif
