/* SPDX-License-Identifier: MIT
 * Normal random numbers from Philox blocks. */
#include "core/philox.h"

#include <math.h>

float mgi_random_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t r[4];
    mgi_philox(seed, stream, index >> 2, r);
    const uint32_t *pair = r + (index & 2);
    /* In double and rounded once: the C libraries' last bits differ, the float hardly ever does. */
    double radius = sqrt(-2.0 * log((double)mgi_u32_to_unit(pair[0])));
    double angle = 6.283185307179586476925 * (double)mgi_u32_to_unit(pair[1]);
    return (float)(radius * (index & 1 ? sin(angle) : cos(angle)));
}
