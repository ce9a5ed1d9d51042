/* SPDX-License-Identifier: MIT
 * What can be moved. */
#ifndef MGK_LAYOUT_TYPES_H
#define MGK_LAYOUT_TYPES_H

#include "kernels/common/real.h"

#include <string.h>

/* Bytes of a value; 0: no dtype. */
static inline int64_t mgk_move_size(int32_t dtype)
{
    switch (dtype) {
    case MGK_F32:
    case MGK_I32:
        return 4;
    case MGK_BF16:
        return 2;
    case MGK_U8:
        return 1;
    case MGK_U64:
        return 8;
    default:
        return 0;
    }
}

/* `count` values of x can be moved to y; added to y if `add`. */
static inline bool mgk_movable(mgk_buf x, mgk_buf y, int64_t count, bool add)
{
    return x.dtype == y.dtype && mgk_move_size(x.dtype) > 0 && ((x.p && y.p) || count == 0) &&
           (!add || x.dtype == MGK_F32 || x.dtype == MGK_BF16);
}

/* One value, for the references. */
static inline void mgk_move_one(mgk_buf to, int64_t t, mgk_buf from, int64_t f, bool add)
{
    int64_t size = mgk_move_size(to.dtype);
    if (add)
        mgk_real_set(to, t, mgk_real_at(to, t) + mgk_real_at(from, f));
    else
        memcpy((char *)to.p + t * size, (const char *)from.p + f * size, (size_t)size);
}

#endif
