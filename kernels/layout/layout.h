/* SPDX-License-Identifier: MIT
 * layout: moves without arithmetic.
 *
 *   patchify   x (b, t, h, w, c) -> y (b, t/pt * h/ph * w/pw, pt*ph*pw*c); inside a token the order
 *              is (pt, ph, pw, c). inverse = 1: from y back into x. accumulate adds instead of
 *              writing
 *   copy_rows  y[r * y_stride + j] (+)= x[r * x_stride + j], r < rows, j < dim: slices and joins
 * Dtypes: x and y share one, real or, without accumulate, i32, u8 or u64.
 */
#ifndef MGK_LAYOUT_H
#define MGK_LAYOUT_H

#include "kernels/mgk.h"

typedef struct mgk_layout_args {
    mgk_buf x, y;
    int64_t b, t, h, w, c, pt, ph, pw;
    int64_t rows, dim, x_stride, y_stride;
    int32_t inverse, accumulate;
} mgk_layout_args;

MGK_DECLARE(patchify);
MGK_DECLARE(copy_rows);

#endif
