/* SPDX-License-Identifier: MIT
 * Convolutions and gradients of their input that read each value of the picture once from device memory (but for
 * borders of tiles), for bf16, few channels and small kernels: what an autoencoder of pictures has. */
#ifndef MGK_CONV2D_DIRECT_CUDA_H
#define MGK_CONV2D_DIRECT_CUDA_H

#include "kernels/conv2d/conv2d.h"

/* conv2d or, with `grad_input`, conv2d_grad_input. False, with nothing done, if the form does not fit. */
bool mgk_conv2d_direct(const mgk_conv2d_args *g, bool grad_input, mgk_exec *x);

#endif
