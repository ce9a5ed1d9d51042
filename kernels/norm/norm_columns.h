/* SPDX-License-Identifier: MIT
 * The workspace of the norms: of a thread, and of a column sum of the gradients. */
#ifndef MGK_NORM_COLUMNS_H
#define MGK_NORM_COLUMNS_H

#include "kernels/common/parallel.h"
#include "kernels/norm/norm.h"

/* `dim` floats, and as many cache lines more as keep columns of 4096 bytes out of each other's sets. */
static inline int64_t mgk_norm_column(int64_t dim)
{
    return mgk_pad16(dim) + 112;
}

enum {
    NORM_ROWS = 4, /* a thread: what a sample's rows share, and one row */
    MGK_NORM_PAGE = 4096,
    MGK_NORM_GRAD_ROOM =
        5 /* columns a thread: what a sample's rows share, and sums that nothing reads later */
};

/* Floats for NORM_ROWS rows, which begin where it suits in a page. */
static inline int64_t mgk_norm_room(int64_t dim)
{
    return NORM_ROWS * mgk_norm_column(dim) + MGK_NORM_PAGE / 4;
}

/* The same of gradients. */
static inline int64_t mgk_norm_grad_room(int64_t dim)
{
    return MGK_NORM_GRAD_ROOM * mgk_norm_column(dim) + MGK_NORM_PAGE / 4;
}

#endif
