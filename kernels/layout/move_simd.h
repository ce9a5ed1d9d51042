/* SPDX-License-Identifier: MIT
 * Runs of values moved or added, for the layout ops on vectors. */
#ifndef MGK_LAYOUT_MOVE_SIMD_H
#define MGK_LAYOUT_MOVE_SIMD_H

#include "kernels/common/real_simd.h"
#include "kernels/layout/layout_types.h"

MGK_INLINE void add_loop(char *to, const char *from, int64_t n, int32_t dtype)
{
    const v_real t = {to, dtype}, f = {(void *)(uintptr_t)from, dtype};
    MGK_EACH_VECTOR(i, n, { v_put(t, i, v_get(t, i) + v_get(f, i)); });
}

/* n neighbouring values of `size` bytes; if added, of a real dtype. */
MGK_INLINE void move_run(char *to, const char *from, int64_t n, int64_t size, int32_t dtype,
                         bool add)
{
    if (add)
        V_BY_DTYPE(dtype, add_loop, to, from, n);
    else
        v_copy(to, from, n * size);
}

#endif
