/* SPDX-License-Identifier: MIT
 * The gradient of the weights by tensor cores, for bf16, small kernels and few channels, where a product of matrices
 * would read each value of x and dy often. For .cu files. */
#ifndef MGK_CONV2D_GRAD_WEIGHT_DIRECT_H
#define MGK_CONV2D_GRAD_WEIGHT_DIRECT_H

#include "kernels/conv2d/conv2d.h"

/* Into how many parts the sum over the pixels is divided; 0: arguments of another kind. */
int64_t mgk_conv2d_grad_weight_direct_parts(const mgk_conv2d_args *g);

/* Writes parts x cout x (kh * kw * cin, and one for the bias if it is given) sums. */
void mgk_conv2d_grad_weight_direct(const mgk_conv2d_args *g, float *parts, mgk_exec *x);

#endif
