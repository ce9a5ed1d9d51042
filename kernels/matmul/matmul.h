/* SPDX-License-Identifier: MIT
 * matmul: C[i] = act(alpha * op(A[i]) op(B[i]) + bias) (+ C[i] if accumulate), i = 0..batch-1.
 *
 * op(A) is m x k, op(B) is k x n, C is m x n, all row-major. Without trans_a, A is stored m x k with
 * row stride lda >= k; with it, k x m with lda >= m; B likewise. bias has n values, added to each
 * row. With accumulate neither bias nor activation is allowed. m, n, k or batch may be 0; k = 0
 * gives act(bias) (or C unchanged with accumulate).
 */
#ifndef MGK_MATMUL_H
#define MGK_MATMUL_H

#include "kernels/mgk.h"

enum { MGK_ACT_NONE, MGK_ACT_SILU, MGK_ACT_GELU_TANH, MGK_ACT_RELU };

typedef struct mgk_matmul_args {
    mgk_buf a, b, c, bias;
    int64_t m, n, k, batch;
    int64_t lda, ldb, ldc; /* elements */
    int64_t stride_a, stride_b,
        stride_c;             /* elements between batch items; 0 = the same for all (a, b) */
    int32_t trans_a, trans_b; /* 0 or 1 */
    int32_t accumulate;
    int32_t act;
    float alpha;
} mgk_matmul_args;

MGK_DECLARE(matmul);

#endif
