/* SPDX-License-Identifier: MIT
 * Where an output pixel lies in the input: reference and fast forms agree on it to the bit, as a
 * place on the other side of a pixel's centre would be another pair of pixels. CUDA devices compute it
 * too: in double, and nothing in it can be contracted. */
#ifndef MGK_RESIZE_PLACE_H
#define MGK_RESIZE_PLACE_H

#include "kernels/resize/resize.h"

#ifdef __CUDACC__
#define MGK_ANYWHERE static __host__ __device__ inline
#else
#define MGK_ANYWHERE static inline
#endif

/* Between pixels `low` and `high`, share `part` of the second. high = low at the last pixel. */
typedef struct mgk_resize_place {
    int64_t low, high;
    double part;
} mgk_resize_place;

MGK_ANYWHERE mgk_resize_place mgk_resize_at(int64_t i, int64_t from, int64_t to)
{
    double s = ((double)i + 0.5) * (double)from / (double)to - 0.5;
    s = s < 0 ? 0 : s > (double)(from - 1) ? (double)(from - 1) : s;
    mgk_resize_place p;
    p.low = (int64_t)s;
    p.high = p.low + 1 < from ? p.low + 1 : from - 1;
    p.part = s - (double)p.low;
    return p;
}

/* First output pixel whose place is at or above `low` (places never fall); `to` if none. */
MGK_ANYWHERE int64_t mgk_resize_first(int64_t low, int64_t from, int64_t to)
{
    int64_t a = 0, b = to;
    while (a < b) {
        int64_t middle = a + (b - a) / 2;
        if (mgk_resize_at(middle, from, to).low >= low)
            b = middle;
        else
            a = middle + 1;
    }
    return a;
}

#endif
