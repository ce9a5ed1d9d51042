/* SPDX-License-Identifier: MIT
 * The workspace of the bilinear ops on the CPU: the places of a line's output pixels, for each input pixel
 * and one more the first output pixel placed at or above it, then for each thread a line of floats. */
#ifndef MGK_RESIZE_WORKSPACE_H
#define MGK_RESIZE_WORKSPACE_H

#include "kernels/common/parallel.h"
#include "kernels/resize/resize_place.h"

static inline size_t mgk_resize_table_bytes(const mgk_resize_args *a)
{
    size_t bytes = sizeof(mgk_resize_place) * (size_t)a->ow + sizeof(int64_t) * (size_t)(a->w + 1);
    return (bytes + 63) / 64 * 64;
}

static inline int64_t mgk_resize_line(int64_t pixels, const mgk_resize_args *a)
{
    return mgk_pad16(pixels * a->c);
}

#endif
