/* SPDX-License-Identifier: MIT
 * Arithmetic on sizes and counts that come from outside. The only place that multiplies, adds or
 * aligns them. Each returns false on overflow (or a negative result) and leaves *out alone. Tier 0.
 */
#ifndef MGI_CORE_CHECKED_H
#define MGI_CORE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool mgi_size_mul(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

static inline bool mgi_size_add(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_add_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

/* Round up to a multiple of `align`, a power of two. */
static inline bool mgi_size_align(size_t a, size_t align, size_t *out)
{
    size_t r;
    if (!mgi_size_add(a, align - 1, &r))
        return false;
    *out = r & ~(align - 1);
    return true;
}

static inline bool mgi_i64_mul(int64_t a, int64_t b, int64_t *out)
{
    int64_t r;
    if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

static inline bool mgi_i64_add(int64_t a, int64_t b, int64_t *out)
{
    int64_t r;
    if (a < 0 || b < 0 || __builtin_add_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

/* Product of n dimensions; an empty product is 1. */
static inline bool mgi_dims_count(const int64_t *dims, int n, int64_t *out)
{
    int64_t r = 1;
    for (int i = 0; i < n; i++)
        if (!mgi_i64_mul(r, dims[i], &r))
            return false;
    *out = r;
    return true;
}

#endif
