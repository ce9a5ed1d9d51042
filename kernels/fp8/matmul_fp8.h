/* SPDX-License-Identifier: MIT
 * matmul_fp8: C = act(sum over k of A[i, k] B[j, k] * a_scale[i] * b_scale[j] + bias[j]), and what matmul.h has behind that:
 * residual, gate and before, in the layout of C.
 *
 * A (m x k, row stride lda) and B (n x k, row stride ldb: a weight as it is stored, a row an output) are E4M3 codes, U8.
 * a_scale (m) and b_scale (n) are f32: powers of two from 2^-100 to 2^100, as quantize_fp8 makes them. C (m x n, row stride
 * ldc) is f32 or bf16, residual and before like C; bias and gate are f32. m, n or k may be 0.
 *
 * A code times its scale is a number of bf16, so that a variant may decode A and B and leave the rest to matmul. Those that
 * multiply codes have sums of about 14 bits inside GPUs: they add them up in f32 every 128 values of k at least.
 */
#ifndef MGK_MATMUL_FP8_H
#define MGK_MATMUL_FP8_H

#include "kernels/matmul/matmul.h"

typedef struct mgk_matmul_fp8_args {
    mgk_buf a, a_scale, b, b_scale, c, bias;
    int64_t m, n, k;
    int64_t lda, ldb, ldc;          /* elements */
    int32_t act;                    /* MGK_ACT_* */
    mgk_buf residual, gate, before; /* p NULL: none */
    int64_t rows_per_sample, gate_stride;
} mgk_matmul_fp8_args;

MGK_DECLARE(matmul_fp8);

#endif
