/* SPDX-License-Identifier: MIT
 * T5's buckets of relative positions. The logarithm is rounded, so that only one and the same function gives
 * one and the same buckets: it runs on the host, for every variant. */
#ifndef MGK_RELATIVE_BUCKET_H
#define MGK_RELATIVE_BUCKET_H

#include "kernels/embedding/embedding.h"

#include <math.h>

/* The bucket of n = |key - query|, among those of one direction, which are half of all. Small distances have
 * their own bucket; the others share, ever wider. */
static inline int64_t mgk_relative_bucket(const mgk_embedding_args *a, int64_t n)
{
    int64_t half = a->vocab / 2, exact = a->vocab / 4;
    if (n < exact)
        return n;
    float position = logf((float)n / (float)exact) /
                     (float)log((double)a->max_distance / (double)exact) * (float)(half - exact);
    int64_t bucket = exact + (int64_t)position;
    return bucket < half - 1 ? bucket : half - 1;
}

#endif
