/* SPDX-License-Identifier: MIT
 * E4M3, the 8-bit float of FP8 products: a sign, four bits of exponent (bias 7), three of mantissa. The largest value is
 * 448, 0x7f and 0xff are no numbers, and there is no infinity. Values that share a scale are code * 2^e. Pure functions
 * that the CPU, GPUs and tests share. */
#ifndef MGK_FP8_E4M3_H
#define MGK_FP8_E4M3_H

#include "kernels/common/tiles.h"

#include <string.h>

enum {
    MGK_E4M3_NAN = 0x7f,
    MGK_E4M3_LARGEST = 0x7e,
    MGK_E4M3_NORMAL = 8,       /* codes below it count in steps of 2^-9 */
    MGK_E4M3_REBIAS = 127 - 7, /* between the exponents of f32 and E4M3 */
    MGK_E4M3_SCALE_LOG2 =
        100, /* scales are 2^-100 to 2^100: code * scale is a normal number, and one in bf16 */
    MGK_E4M3_MAX_BITS = 0x43e00000,  /* 448 as f32 */
    MGK_E4M3_STEPS_BITS = 0x46800000 /* 2^14 as f32, whose last bit is worth 2^-9 */
};

/* 2^e, e from -126 to 127 */
MGK_PURE float mgk_power_of_two(int e)
{
    const uint32_t bits = (uint32_t)(e + 127) << 23;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

MGK_PURE float mgk_from_e4m3(uint8_t code)
{
    const uint32_t sign = (uint32_t)(code & 0x80) << 24, rest = code & 0x7f;
    const float steps = (float)rest * 0x1p-9f;
    uint32_t bits = (rest << 20) + ((uint32_t)MGK_E4M3_REBIAS << 23);
    float f;
    if (rest < MGK_E4M3_NORMAL)
        memcpy(&bits, &steps, sizeof bits);
    if (rest == MGK_E4M3_NAN)
        bits = 0x7fc00000;
    bits |= sign;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* The nearest, of two the even code; beyond 448, 448. NaN and infinities give MGK_E4M3_NAN. */
MGK_PURE uint8_t mgk_to_e4m3(float v)
{
    uint32_t bits, code;
    memcpy(&bits, &v, sizeof bits);
    const uint32_t sign = bits >> 24 & 0x80, size = bits & 0x7fffffff;
    if (size >= 0x7f800000)
        return MGK_E4M3_NAN;
    if (size >= MGK_E4M3_MAX_BITS)
        return (uint8_t)(sign | MGK_E4M3_LARGEST);
    const float steps = (v < 0 ? -v : v) + 16384.0f; /* rounds to whole steps */
    memcpy(&code, &steps, sizeof code);
    code -= MGK_E4M3_STEPS_BITS;
    if (size >= (uint32_t)(MGK_E4M3_REBIAS + 1) << 23)
        code = ((size + 0x7ffff + (size >> 20 & 1)) >> 20) - ((uint32_t)MGK_E4M3_REBIAS << 3);
    return (uint8_t)(sign | code);
}

/* The exponent of the scale of values up to `largest`, which is finite and not negative: the smallest e from -100 to 100
 * with largest / 2^e <= 448; 0 for 0. */
MGK_PURE int mgk_e4m3_exponent(float largest)
{
    uint32_t bits;
    memcpy(&bits, &largest, sizeof bits);
    /* 448 is 1.75 * 2^8 */
    const int e = (int)(bits >> 23) - 127 - 8 + ((bits & 0x7fffff) > 0x600000);
    if (bits == 0)
        return 0;
    return e < -MGK_E4M3_SCALE_LOG2  ? -MGK_E4M3_SCALE_LOG2
           : e > MGK_E4M3_SCALE_LOG2 ? MGK_E4M3_SCALE_LOG2
                                     : e;
}

#endif
