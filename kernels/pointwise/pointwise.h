/* SPDX-License-Identifier: MIT
 * pointwise: element by element. T is f32 or bf16, one for all buffers of a call that are so marked;
 * the others are f32.
 *
 *   unary                y = f(x)                    (T; x and y may be the same buffer)
 *   unary_grad           dx (+)= f'(x) * dy          (T)
 *   axpby                y = alpha * x + beta * y    (beta = 0: y is not read; x and y are f32 or
 *                        bf16, each by itself)
 *   add                  y = a + b                   (T)
 *   gated_residual       y = x + gate[s] * h, rows x dim, s = (row + row_offset) / rows_per_sample,
 *                        gate at s * gate_stride     (x, h, y: T)
 *   gated_residual_grad  dh = gate[s] * dy;  d_gate[s] += sum over the sample's rows of dy * h
 *                        (dy, h, dh: T)
 *   channel_affine       y = x * scale[c] + shift[c]           (rows, dim)   (x, y: T)
 *   add_rows             y[r] = x[r] + table[(r + row_offset) % period]      (x, y: T)
 *                        (rows, dim); table (period, dim)
 *   reduce_rows          over all r with (r + row_offset) % period == p, of x[r] (x: T), kind
 *                        MGK_REDUCE_SUM   table[p] += sum: the gradient of add_rows; with period 1
 *                                         the gradient of a bias
 *                        MGK_REDUCE_MEAN  table[p] += mean
 *                        MGK_REDUCE_MAX   table[p] = largest of them and table[p]; a NaN is larger
 *                                         than any number
 *   convert              y = x * alpha + beta between f32, bf16 and u8, in any pair; u8 is rounded
 *                        and clamped
 *   fill                 y = alpha                   (T)
 *
 * row_offset: where the rows are a slice of a longer sequence, the number of rows before them.
 */
#ifndef MGK_POINTWISE_H
#define MGK_POINTWISE_H

#include "kernels/mgk.h"

enum {
    MGK_UNARY_SILU,
    MGK_UNARY_GELU_TANH,
    MGK_UNARY_RELU,
    MGK_UNARY_GELU_ERF,
    MGK_UNARY_QUICK_GELU, /* x * sigmoid(1.702 x) */
    MGK_UNARY_SQUARE,
    MGK_UNARY_LOG1P, /* log(1 + max(x, 0)) */
    MGK_UNARY_TANH
};

enum { MGK_REDUCE_SUM, MGK_REDUCE_MEAN, MGK_REDUCE_MAX };

typedef struct mgk_pointwise_args {
    mgk_buf x, y, h, gate, scale, shift, table; /* as named above; add: x = a, h = b */
    mgk_buf dy, dx, dh, d_gate;
    int64_t count; /* elements, for ops without rows */
    int64_t rows, dim, rows_per_sample, gate_stride, d_gate_stride, period;
    int32_t kind, accumulate; /* unary_grad: accumulate into dx */
    float alpha, beta;        /* convert: beta is added */
    int64_t row_offset;
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
