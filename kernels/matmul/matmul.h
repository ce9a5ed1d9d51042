/* SPDX-License-Identifier: MIT
 * matmul: C[i] = act(alpha * op(A[i]) op(B[i]) + bias) (+ C[i] if accumulate), i = 0..batch-1.
 *
 * op(A) is m x k, op(B) is k x n, C is m x n, all row-major. Without trans_a, A is stored m x k with
 * row stride lda >= k; with it, k x m with lda >= m; B likewise. bias has n values, added to each
 * row. With accumulate neither bias nor activation is allowed. m, n, k or batch may be 0; k = 0
 * gives act(bias) (or C unchanged with accumulate).
 *
 * With residual, which is laid out like C: C = residual + gate[s] * act(...), s = row /
 * rows_per_sample, rows counted within the batch item; gate, n values at s * gate_stride, NULL = 1.
 * Not together with accumulate. before, laid out like C, takes act(...) as well; NULL: not wanted.
 *
 * A and B are f32 or bf16, both the same; C is f32, or bf16 if they are, residual and before like C. bias and
 * gate are f32. A bf16 C is rounded once, also when it is accumulated into.
 */
#ifndef MGK_MATMUL_H
#define MGK_MATMUL_H

#include "kernels/mgk.h"

enum {
    MGK_ACT_NONE,
    MGK_ACT_SILU,
    MGK_ACT_GELU_TANH,
    MGK_ACT_RELU,
    MGK_ACT_GELU_ERF,
    MGK_ACT_QUICK_GELU /* x sigmoid(1.702 x) */
};

/* B as a variant for the CPU arranges it: the first product that is given this leaves it there for the next ones of the
 * same B, n, k and dtype. Variants that arrange nothing pass it by. */
typedef struct mgk_matmul_kept {
    void *space; /* mgk_matmul_kept_bytes() of them */
    bool ready;  /* false at first */
} mgk_matmul_kept;

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
    mgk_buf residual, gate, before; /* p NULL: none */
    int64_t rows_per_sample, gate_stride;
    mgk_matmul_kept *kept; /* with batch 1 only; NULL: nothing is kept */
} mgk_matmul_args;

MGK_DECLARE(matmul);

size_t mgk_matmul_kept_bytes(const mgk_matmul_args *args);

#endif
