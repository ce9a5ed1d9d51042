/* SPDX-License-Identifier: MIT
 * pointwise: element by element.
 *
 *   unary                y = f(x)                    (x and y may be the same buffer)
 *   unary_grad           dx (+)= f'(x) * dy
 *   axpby                y = alpha * x + beta * y    (beta = 0: y is not read)
 *   add                  y = a + b
 *   gated_residual       y = x + gate[s] * h, rows x dim, s = row / rows_per_sample, gate at
 *                        s * gate_stride
 *   gated_residual_grad  dh = gate[s] * dy;  d_gate[s] += sum over the sample's rows of dy * h
 *   channel_affine       y = x * scale[c] + shift[c]           (rows, dim)
 *   add_rows             y[r] = x[r] + table[r % period]       (rows, dim); table (period, dim)
 *   reduce_rows          table[p] += sum over r % period == p of x[r]: the gradient of add_rows;
 *                        with period 1 the gradient of a bias
 *   convert              y = x * alpha + beta between dtypes (u8 -> f32, f32 -> u8 rounded and
 *                        clamped, f32 <-> bf16)
 *   fill                 y = alpha
 */
#ifndef MGK_POINTWISE_H
#define MGK_POINTWISE_H

#include "kernels/mgk.h"

enum { MGK_UNARY_SILU, MGK_UNARY_GELU_TANH, MGK_UNARY_RELU };

typedef struct mgk_pointwise_args {
    mgk_buf x, y, h, gate, scale, shift, table; /* as named above; add: x = a, h = b */
    mgk_buf dy, dx, dh, d_gate;
    int64_t count; /* elements, for ops without rows */
    int64_t rows, dim, rows_per_sample, gate_stride, d_gate_stride, period;
    int32_t kind, accumulate; /* unary_grad: accumulate into dx */
    float alpha, beta;        /* convert: beta is added */
} mgk_pointwise_args;

MGK_DECLARE(unary);
MGK_DECLARE(unary_grad);
MGK_DECLARE(axpby);
MGK_DECLARE(add);
MGK_DECLARE(gated_residual);
MGK_DECLARE(gated_residual_grad);
MGK_DECLARE(channel_affine);
MGK_DECLARE(add_rows);
MGK_DECLARE(reduce_rows);
MGK_DECLARE(convert);
MGK_DECLARE(fill);

#endif
