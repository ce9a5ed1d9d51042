/* SPDX-License-Identifier: MIT
 * Helpers of the check functions. */
#ifndef MGK_COMMON_CHECK_H
#define MGK_COMMON_CHECK_H

#include "kernels/mgk.h"

/* All extents are >= 0 and their product, in floats, can be addressed; an extent of 0 counts as 1, so
 * that no product of some of them overflows. */
static inline bool mgk_extents_ok(int n, const int64_t *extent)
{
    int64_t product = 4;
    for (int i = 0; i < n; i++)
        if (extent[i] < 0 || extent[i] > INT64_MAX / 64 ||
            __builtin_mul_overflow(product, extent[i] > 0 ? extent[i] : 1, &product))
            return false;
    return product <= PTRDIFF_MAX;
}

#define MGK_EXTENTS_OK(...)                                                                        \
    mgk_extents_ok((int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),                      \
                   (const int64_t[]){__VA_ARGS__})

/* An f32 buffer of `count` values: may be NULL only if count is 0. */
static inline bool mgk_is_f32_of(mgk_buf b, int64_t count)
{
    return count == 0 ? mgk_is_f32_or_null(b) : mgk_is_f32(b);
}

#endif
