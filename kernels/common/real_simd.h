/* SPDX-License-Identifier: MIT
 * Loops over buffers of either real dtype, and copies of any, for the files that include simd.h. */
#ifndef MGK_COMMON_REAL_SIMD_H
#define MGK_COMMON_REAL_SIMD_H

#include "kernels/common/real.h"
#include "kernels/common/simd.h"

/* The buffer from element `at` on, its dtype given as a constant. */
MGK_INLINE v_real v_from(mgk_buf b, int64_t at, int32_t dtype)
{
    return (v_real){(char *)b.p + at * mgk_real_size(dtype), dtype};
}

/* To the buffer `count` elements further on. */
MGK_INLINE void v_next(v_real *b, int64_t count)
{
    b->p = (char *)b->p + count * mgk_real_size(b->dtype);
}

/* body(args..., dtype), compiled once for each dtype. */
#define V_BY_DTYPE(type, body, ...)                                                                \
    do {                                                                                           \
        if ((type) == MGK_BF16)                                                                    \
            body(__VA_ARGS__, MGK_BF16);                                                           \
        else                                                                                       \
            body(__VA_ARGS__, MGK_F32);                                                            \
    } while (0)

/* Copies of size..2 * size bytes as two copies of `size` that may overlap. */
#define V_COPY_ENDS(size)                                                                          \
    if (bytes >= (size)) {                                                                         \
        memcpy(t, f, (size));                                                                      \
        memcpy(t + bytes - (size), f + bytes - (size), (size));                                    \
        return;                                                                                    \
    }

/* memcpy without the call for the short runs that layouts are full of. */
MGK_INLINE void v_copy(void *to, const void *from, int64_t bytes)
{
    enum { LONG = 1024, V = 4 * MGK_WIDTH };
    char *t = to;
    const char *f = from;
    if (bytes > LONG) {
        memcpy(t, f, (size_t)bytes);
        return;
    }
    if (bytes >= V) {
        for (int64_t i = 0; i + V <= bytes; i += V)
            memcpy(t + i, f + i, V);
        memcpy(t + bytes - V, f + bytes - V, V);
        return;
    }
    if (V > 32)
        V_COPY_ENDS(32)
    if (V > 16)
        V_COPY_ENDS(16)
    V_COPY_ENDS(8)
    V_COPY_ENDS(4)
    V_COPY_ENDS(2)
    if (bytes > 0)
        *t = *f;
}
#undef V_COPY_ENDS

#endif
