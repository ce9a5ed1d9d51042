/* SPDX-License-Identifier: MIT
 * The gradient of the weights by warpgroups: as conv2d_grad_weight_direct.h, for many channels. For .cu files. */
#ifndef MGK_CONV2D_GRAD_WEIGHT_SM90_H
#define MGK_CONV2D_GRAD_WEIGHT_SM90_H

#include "kernels/conv2d/conv2d.h"

/* Into how many parts the sum over the pixels is divided; 0: arguments of another kind. */
int64_t mgk_conv2d_grad_weight_warpgroups_parts(const mgk_conv2d_args *g);

/* Writes parts x cout x (kh * kw * cin, and one for the bias if it is given) sums. false, with nothing done: another
 * variant must do it. */
bool mgk_conv2d_grad_weight_warpgroups(const mgk_conv2d_args *g, float *parts, mgk_exec *x);

#endif
