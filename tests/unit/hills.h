/* SPDX-License-Identifier: MIT
 * Frames of places that differ from each other all over. */
#ifndef TESTS_UNIT_HILLS_H
#define TESTS_UNIT_HILLS_H

#include "core/philox.h"

#include <math.h>

enum { W = 96, H = 64, PIXELS = W * H };

/* Hills of a place of their own, seen from (x, 0): 40 to 220. */
static inline void hills(float *out, uint64_t place, double x)
{
    for (int i = 0; i < PIXELS; i++) {
        double sum = 130.0;
        for (uint64_t k = 0; k < 6; k++) {
            const double u = 0.1 + 0.3 * (double)mgi_random_unit(place, 1, 3 * k);
            const double v = 0.1 + 0.3 * (double)mgi_random_unit(place, 1, 3 * k + 1);
            const double at = 6.0 * (double)mgi_random_unit(place, 1, 3 * k + 2);
            sum += 15.0 * sin(u * (i % W + x) + (k & 1 ? v : -v) * (double)(i / W) + at);
        }
        out[i] = (float)sum;
    }
}

#endif
