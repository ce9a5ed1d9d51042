/* SPDX-License-Identifier: MIT
 * bfloat16: the upper half of a float, rounded to nearest even. */
#ifndef MGK_COMMON_BF16_H
#define MGK_COMMON_BF16_H

#include <stdint.h>
#include <string.h>

static inline float mgk_from_bf16(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline uint16_t mgk_to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    uint32_t rounded = (u + 0x7fff + (u >> 16 & 1)) >> 16;
    return (uint16_t)((u & 0x7fffffff) > 0x7f800000 ? (u >> 16 | 0x40) : rounded);
}

#endif
