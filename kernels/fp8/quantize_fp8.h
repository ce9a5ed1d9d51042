/* SPDX-License-Identifier: MIT
 * quantize_fp8: rows of x (rows x cols, f32 or bf16, row stride ldx) as E4M3 codes (U8, row stride ldc) and a scale each
 * (rows values, f32), so that codes * scale is about x.
 *
 * scale[i] = 2^e, e the smallest integer from -100 to 100 with max |x[i]| / 2^e <= 448; only finite values count, and a
 * row without any but zeros has scale 1. codes = x / scale to the nearest, of two the even one, at most 448 in size, with
 * the sign of x; NaN and infinities give MGK_E4M3_NAN. Every variant gives the same bits. Strides are in elements.
 */
#ifndef MGK_QUANTIZE_FP8_H
#define MGK_QUANTIZE_FP8_H

#include "kernels/mgk.h"

typedef struct mgk_quantize_fp8_args {
    mgk_buf x, codes, scale;
    int64_t rows, cols, ldx, ldc;
} mgk_quantize_fp8_args;

MGK_DECLARE(quantize_fp8);

#endif
