/* SPDX-License-Identifier: MIT
 * The length of a column sum in the workspace of the norms' gradients. */
#ifndef MGK_NORM_COLUMNS_H
#define MGK_NORM_COLUMNS_H

#include "kernels/common/parallel.h"
#include "kernels/norm/norm.h"

/* `dim` floats, and as many cache lines more as keep columns of 4096 bytes out of each other's sets. */
static inline int64_t mgk_norm_column(int64_t dim)
{
    return mgk_pad16(dim) + 112;
}

#endif
