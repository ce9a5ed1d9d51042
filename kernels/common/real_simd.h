/* SPDX-License-Identifier: MIT
 * Loops over buffers of either real dtype, for the files that include simd.h. */
#ifndef MGK_COMMON_REAL_SIMD_H
#define MGK_COMMON_REAL_SIMD_H

#include "kernels/common/real.h"
#include "kernels/common/simd.h"

/* The buffer from element `at` on, its dtype given as a constant. */
MGK_INLINE v_real v_from(mgk_buf b, int64_t at, int32_t dtype)
{
    return (v_real){(char *)b.p + at * mgk_real_size(dtype), dtype};
}

/* body(args..., dtype), compiled once for each dtype. */
#define V_BY_DTYPE(type, body, ...)                                                                \
    do {                                                                                           \
        if ((type) == MGK_BF16)                                                                    \
            body(__VA_ARGS__, MGK_BF16);                                                           \
        else                                                                                       \
            body(__VA_ARGS__, MGK_F32);                                                            \
    } while (0)

#endif
