/* SPDX-License-Identifier: MIT
 * norm: RMS or layer norm of rows, with optional affine weights and per-sample modulation.
 *
 *   n = (x - mean) * rstd           layer: over `dim` values; RMS: mean = 0 and
 *                                   rstd = 1 / sqrt(mean(x^2) + eps)
 *   y = (n * weight + bias) * (1 + scale[s]) + shift[s],   s = (row + row_offset) / rows_per_sample
 *   x, y (rows, dim); weight, bias (dim) or NULL; scale, shift: `dim` values at s * mod_stride, or
 *   NULL. rstd (rows) f32 and mean (rows) f32 (layer only) are written for the gradient.
 *   norm_grad: from dy, x, weight, bias, scale, rstd, mean writes dx (adds to it if
 *   accumulate_dx); adds to d_weight, d_bias (dim) and to d_scale, d_shift (at s * d_mod_stride);
 *   each of these may be NULL.
 *
 * residual_norm: a gated residual and the norm of its result in one walk, equal to gated_residual
 * and then norm in every bit.
 *   r = x + gate[s] * h, gate at s * gate_stride, NULL = 1; h NULL: r = x
 *   y = norm(r); r (rows, dim) is written
 *   residual_norm_grad: from dy, r, h, gate and dr (the gradient that arrives at r from elsewhere;
 *   NULL = 0) writes dx, the whole gradient of r and so of x, and dh = gate[s] * dx (or NULL); adds
 *   sum(dx * h) over the sample's rows to d_gate (at s * d_gate_stride), and to what norm_grad adds
 *   to. dx and dr may be the same buffer; accumulate_dx must be 0.
 *
 * x, y, r, h, dy, dx, dr, dh are all f32 or all bf16, in which case r and dx are rounded before they
 * are used further; the others are f32. row_offset: where the rows are a slice of a longer sequence,
 * the number of rows before them.
 */
#ifndef MGK_NORM_H
#define MGK_NORM_H

#include "kernels/mgk.h"

enum { MGK_NORM_RMS, MGK_NORM_LAYER };

typedef struct mgk_norm_args {
    mgk_buf x, y, weight, bias, scale, shift, rstd, mean;
    mgk_buf dy, dx, d_weight, d_bias, d_scale, d_shift; /* gradients only */
    int64_t rows, dim, rows_per_sample, mod_stride, d_mod_stride;
    int32_t kind, accumulate_dx;
    float eps;
    mgk_buf h, gate, r, dr, dh, d_gate; /* residual_norm and its gradient only */
    int64_t gate_stride, d_gate_stride, row_offset;
} mgk_norm_args;

MGK_DECLARE(norm);
MGK_DECLARE(norm_grad);
MGK_DECLARE(residual_norm);
MGK_DECLARE(residual_norm_grad);

#endif
