/* SPDX-License-Identifier: MIT
 * reduce: rows of x (rows, dim) to one number each, and softmax along them.
 *
 *   softmax       y = exp(x - max) / sum(exp(x - max)), over each row
 *   softmax_grad  dx (+)= y * (dy - sum(dy * y))
 *   reduce        y[r] = sum, mean or largest value of row r; y (rows) f32. A NaN is larger than any
 *                 number. dim must be positive, except for sums.
 *
 * softmax, softmax_grad: x, y, dy, dx are all f32 or all bf16; reduce: x is either. Columns are
 * reduced by reduce_rows (pointwise).
 */
#ifndef MGK_REDUCE_H
#define MGK_REDUCE_H

#include "kernels/pointwise/pointwise.h" /* MGK_REDUCE_* */

typedef struct mgk_reduce_args {
    mgk_buf x, y, dy, dx;
    int64_t rows, dim;
    int32_t kind, accumulate; /* softmax_grad: accumulate into dx */
} mgk_reduce_args;

MGK_DECLARE(softmax);
MGK_DECLARE(softmax_grad);
MGK_DECLARE(reduce);

#endif
