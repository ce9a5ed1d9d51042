/* SPDX-License-Identifier: MIT
 * Indices taken apart by division by extents that the host knows; for .cu files. */
#ifndef MGK_COMMON_CUDA_DIVIDE_H
#define MGK_COMMON_CUDA_DIVIDE_H

#include "kernels/common/cuda.h"

/* An extent to divide by. I is uint32_t, for numbers below 2^31, where a division is a product and a shift, or
 * int64_t, where it is one of the processor's slowest instructions. */
template <typename I> struct mgk_divisor;

template <> struct mgk_divisor<uint32_t> {
    uint32_t by, factor, shift;
};

template <> struct mgk_divisor<int64_t> {
    int64_t by;
};

/* 2^shift is the first power of two that is not below `by`; factor is 2^32 (2^shift / by - 1), rounded up.
 * Nothing is divided by an extent of 0. */
static inline void mgk_divisor_set(mgk_divisor<uint32_t> *d, int64_t by)
{
    d->by = (uint32_t)by;
    d->shift = 0;
    while (((int64_t)1 << d->shift) < by)
        d->shift++;
    uint64_t above = (uint64_t)(((int64_t)1 << d->shift) - by) << 32;
    d->factor = by == 0 ? 0 : (uint32_t)((above + (uint64_t)by - 1) / (uint64_t)by);
}

static inline void mgk_divisor_set(mgk_divisor<int64_t> *d, int64_t by)
{
    d->by = by;
}

/* *n / d; the remainder stays in *n. */
MGK_DEVICE uint32_t mgk_divide(uint32_t *n, const mgk_divisor<uint32_t> &d)
{
    uint32_t quotient = ((uint32_t)((uint64_t)*n * d.factor >> 32) + *n) >> d.shift;
    *n -= quotient * d.by;
    return quotient;
}

MGK_DEVICE int64_t mgk_divide(int64_t *n, const mgk_divisor<int64_t> &d)
{
    int64_t quotient = *n / d.by;
    *n -= quotient * d.by;
    return quotient;
}

/* *n % d; the quotient stays in *n. For indices whose last axis is taken off first. */
template <typename I> MGK_DEVICE I mgk_take(I *n, const mgk_divisor<I> &d)
{
    I rest = *n, quotient = mgk_divide(&rest, d);
    *n = quotient;
    return rest;
}

/* Run the statements with I as the type of indices that are at most `largest`. */
#define MGK_WITH_INDEX(largest, ...)                                                               \
    do {                                                                                           \
        if ((largest) < INT32_MAX) {                                                               \
            typedef uint32_t I;                                                                    \
            __VA_ARGS__;                                                                           \
        } else {                                                                                   \
            typedef int64_t I;                                                                     \
            __VA_ARGS__;                                                                           \
        }                                                                                          \
    } while (0)

#endif
