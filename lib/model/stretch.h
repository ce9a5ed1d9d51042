/* SPDX-License-Identifier: MIT
 * A table of positions of another length. Tier 5. */
#ifndef MGI_MODEL_STRETCH_H
#define MGI_MODEL_STRETCH_H

#include <math.h>
#include <stdint.h>

/* x (n,d) becomes y (m,d). Rows of both tables divide the same length, each standing for the middle of its share; those of y
 * lie on straight lines between those of x, or, at the ends, are as the outermost. */
static inline void mgi_stretch_rows(const float *x, int64_t n, float *y, int64_t m, int64_t d)
{
    for (int64_t i = 0; i < m; i++) {
        double at = ((double)i + 0.5) * (double)n / (double)m - 0.5;
        at = fmin(fmax(at, 0.0), (double)(n - 1));
        int64_t low = (int64_t)at, high = low + 1 < n ? low + 1 : low;
        float share = (float)(at - (double)low);
        for (int64_t k = 0; k < d; k++)
            y[i * d + k] = x[low * d + k] + share * (x[high * d + k] - x[low * d + k]);
    }
}

#endif
