/* SPDX-License-Identifier: MIT
 * Learned positions of video tokens, factorised over frames, rows and columns.
 *
 *   position_add       y[b,s] = x[b,s] + frame[i] + row[j] + column[k],
 *                      token_offset + s = (i * grid_h + j) * grid_w + k
 *   position_add_grad  d_frame, d_row, d_column += the sums of dy over the tokens that read each of
 *                      their rows; each may be NULL. (The gradient of x is dy.)
 *   x, y, dy (batch, tokens, dim) T; the tables, f32, have grid_t, grid_h, grid_w rows of dim values at
 *   least. A call may hold a part of each sample's tokens, from token_offset on. x and y may be the same.
 */
#ifndef MGK_POSITION_H
#define MGK_POSITION_H

#include "kernels/mgk.h"

typedef struct mgk_position_args {
    mgk_buf x, y, frame, row, column;
    mgk_buf dy, d_frame, d_row, d_column;
    int64_t batch, tokens, dim;
    int64_t grid_t, grid_h, grid_w, token_offset;
} mgk_position_args;

MGK_DECLARE(position_add);
MGK_DECLARE(position_add_grad);

#endif
