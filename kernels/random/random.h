/* SPDX-License-Identifier: MIT
 * random: y[i] = element base + offset[0] + i of a Philox stream (core/philox.h).
 *
 *   random   kind NORMAL: alpha * normal + beta; UNIFORM: alpha * u + beta, u in (0,1);
 *            LOGIT_NORMAL: 1 / (1 + exp(-(alpha * normal + beta)))
 * offset (u64) is read from the buffer, so that a captured step draws new numbers; NULL = 0.
 * Dtypes: y is T. A bf16 y is the f32 one, rounded.
 *
 * Noise is part of what a seed means, so it must not depend on the processor. Every variant
 * computes in double, some 1e-16 from the true value, and rounds to f32 once. Variants can
 * differ, by one unit in the last place, only where the true value lies halfway between two
 * floats within that: of 2e8 normal numbers none did.
 */
#ifndef MGK_RANDOM_H
#define MGK_RANDOM_H

#include "kernels/mgk.h"

enum { MGK_RANDOM_NORMAL, MGK_RANDOM_UNIFORM, MGK_RANDOM_LOGIT_NORMAL };

typedef struct mgk_random_args {
    mgk_buf y, offset;
    int64_t count;
    uint64_t seed, stream, base;
    int32_t kind;
    float alpha, beta;
} mgk_random_args;

MGK_DECLARE(random);

#endif
