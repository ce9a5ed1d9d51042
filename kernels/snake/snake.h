/* SPDX-License-Identifier: MIT
 * snake: the periodic activation of audio networks, x (rows, dim), an alpha for each column:
 *   y = x + sin(alpha x)^2 / (alpha + 1e-9)
 * snake_grad: dx (+)= (1 + alpha sin(2 alpha x) / (alpha + 1e-9)) dy, and
 *   d_alpha += sum over the rows of (x sin(2 alpha x) - sin(alpha x)^2 / (alpha + 1e-9)) dy / (alpha + 1e-9)
 *   (d_alpha: may be NULL)
 * x, y, dy, dx are f32, or all are bf16; alpha, d_alpha f32. x and y may be the same buffer, or dy and dx.
 *
 * Angles are f32: where |alpha x| is large, the sine is as wrong as they are, by 2^-24 of them.
 */
#ifndef MGK_SNAKE_H
#define MGK_SNAKE_H

#include "kernels/mgk.h"

#define MGK_SNAKE_EPS 1e-9f /* keeps a column whose alpha is 0 finite */

typedef struct mgk_snake_args {
    mgk_buf x, y, alpha, dy, dx, d_alpha;
    int64_t rows, dim;
    int32_t accumulate; /* snake_grad: into dx */
} mgk_snake_args;

MGK_DECLARE(snake);
MGK_DECLARE(snake_grad);

#endif
