/* SPDX-License-Identifier: MIT
 * norm: RMS or layer norm of rows, with optional affine weights and per-sample modulation.
 *
 *   n = (x - mean) * rstd           layer: over `dim` values; RMS: mean = 0 and
 *                                   rstd = 1 / sqrt(mean(x^2) + eps)
 *   y = (n * weight + bias) * (1 + scale[s]) + shift[s],   s = row / rows_per_sample
 *   x, y (rows, dim); weight, bias (dim) or NULL; scale, shift: `dim` values at s * mod_stride, or
 *   NULL. rstd (rows) f32 and mean (rows) f32 (layer only) are written for the gradient.
 *   norm_grad: from dy, x, weight, bias, scale, rstd, mean writes dx (adds to it if
 *   accumulate_dx); adds to d_weight, d_bias (dim) and to d_scale, d_shift (at s * d_mod_stride);
 *   each of these may be NULL.
 */
#ifndef MGK_NORM_H
#define MGK_NORM_H

#include "kernels/mgk.h"

enum { MGK_NORM_RMS, MGK_NORM_LAYER };

typedef struct mgk_norm_args {
    mgk_buf x, y, weight, bias, scale, shift, rstd, mean;
    mgk_buf dy, dx, d_weight, d_bias, d_scale, d_shift; /* norm_grad only */
    int64_t rows, dim, rows_per_sample, mod_stride, d_mod_stride;
    int32_t kind, accumulate_dx;
    float eps;
} mgk_norm_args;

MGK_DECLARE(norm);
MGK_DECLARE(norm_grad);

#endif
