/* SPDX-License-Identifier: MIT
 * What the readers of safetensors share: tensors of FP8 and their scales. For safetensors*.c. Tier 1. */
#ifndef MGI_IO_SAFETENSORS_F8_H
#define MGI_IO_SAFETENSORS_F8_H

#include "io/safetensors.h"

#include <string.h>

/* One file, whose tensors of scales are entries of their own still. */
mgen_status mgi_st_open_single(mgen_context *ctx, const char *dir, const char *name,
                               mgi_st_file *out);
/* Of entries that are sorted by name: those of FP8 take their scales, which go, as does what says how a checkpoint's
 * activations were quantised. `own`: as this library writes them, and in no other way. */
void mgi_st_pair(mgi_st_entry *entries, int64_t *count, bool own);
/* Elements first .. first + n - 1 of an entry of FP8. */
mgen_status mgi_st_read_f8(mgen_context *ctx, const mgi_st_entry *entry, int64_t first, float *out,
                           int64_t n);

static inline float mgi_st_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static inline float mgi_st_from_bf16(uint16_t half)
{
    return mgi_st_from_bits((uint32_t)half << 16);
}

static inline float mgi_st_from_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = half >> 10 & 0x1F, fraction = half & 0x3FFu;
    if (exponent == 0x1F) /* infinity, not-a-number */
        return mgi_st_from_bits(sign | 0x7F800000u | fraction << 13);
    if (exponent != 0)
        return mgi_st_from_bits(sign | (exponent + 127 - 15) << 23 | fraction << 13);
    float small = (float)fraction * 0x1p-24f; /* subnormal or zero */
    return sign ? -small : small;
}

#endif
