/* SPDX-License-Identifier: MIT
 * Buffers of either real dtype, one value at a time: for references, checks and scalar loops. */
#ifndef MGK_COMMON_REAL_H
#define MGK_COMMON_REAL_H

#include "kernels/common/bf16.h"
#include "kernels/mgk.h"

static inline int64_t mgk_real_size(int32_t dtype)
{
    return dtype == MGK_BF16 ? 2 : 4;
}

static inline double mgk_real_at(mgk_buf b, int64_t i)
{
    return b.dtype == MGK_BF16 ? mgk_from_bf16(MGK_H(b)[i]) : MGK_F(b)[i];
}

static inline void mgk_real_set(mgk_buf b, int64_t i, double v)
{
    if (b.dtype == MGK_BF16)
        MGK_H(b)[i] = mgk_to_bf16((float)v);
    else
        MGK_F(b)[i] = (float)v;
}

/* A real buffer of `count` values: may be NULL only if count is 0. */
static inline bool mgk_is_real_of(mgk_buf b, int64_t count)
{
    return (b.dtype == MGK_F32 || b.dtype == MGK_BF16) && (b.p || count == 0);
}

static inline bool mgk_is_real_or_null(mgk_buf b)
{
    return !b.p || b.dtype == MGK_F32 || b.dtype == MGK_BF16;
}

#endif
