/* SPDX-License-Identifier: MIT
 * permute: y[i[axis[0]], i[axis[1]], ...] (+)= x[i[0], i[1], ...]
 *
 * x has `rank` axes of the given extents; axis is a permutation of 0..rank-1 and axis k of y is
 * axis axis[k] of x. The gradient is the op with the inverse permutation.
 * Dtypes: x and y share one, real or, without accumulate, i32, u8 or u64.
 */
#ifndef MGK_PERMUTE_H
#define MGK_PERMUTE_H

#include "kernels/mgk.h"

enum { MGK_PERMUTE_RANK = 6 };

typedef struct mgk_permute_args {
    mgk_buf x, y;
    int64_t extent[MGK_PERMUTE_RANK];
    int32_t axis[MGK_PERMUTE_RANK];
    int32_t rank, accumulate;
} mgk_permute_args;

MGK_DECLARE(permute);

#endif
