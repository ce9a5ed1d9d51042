/* SPDX-License-Identifier: MIT
 * matmul_fp8 as a bf16 product: A and B decoded, their scales folded in, at the workspace's beginning, with what the
 * product needs behind them. Inside kernels/fp8 only. */
#ifndef MGK_FP8_DECODED_H
#define MGK_FP8_DECODED_H

#include "kernels/fp8/matmul_fp8.h"

#include <string.h>

/* Values of a decoded row: those behind k are 0, and the product may read them as well. */
static inline int64_t mgk_fp8_padded(int64_t k)
{
    return (k + 7) / 8 * 8;
}

/* From row to row: whole cache lines, but no multiple of 4096 bytes. */
static inline int64_t mgk_fp8_stride(int64_t k)
{
    const int64_t stride = (k + 31) / 32 * 32;
    return stride % 2048 == 0 ? stride + 32 : stride;
}

/* Bytes of A and B; SIZE_MAX if no memory has so many. */
static inline size_t mgk_fp8_decoded_bytes(const mgk_matmul_fp8_args *g)
{
    const int64_t row = 2 * mgk_fp8_stride(g->k);
    return (double)(g->m + g->n) * (double)row > 0x1p60 ? SIZE_MAX : (size_t)((g->m + g->n) * row);
}

/* The decoded operands and a product's own workspace. */
static inline size_t mgk_fp8_workspace(const mgk_matmul_fp8_args *g, size_t product)
{
    const size_t decoded = mgk_fp8_decoded_bytes(g);
    return product > SIZE_MAX - decoded ? SIZE_MAX : decoded + product;
}

/* The product of what is decoded at `space`. */
static inline mgk_matmul_args mgk_fp8_product(const mgk_matmul_fp8_args *g, void *space)
{
    const int64_t stride = mgk_fp8_stride(g->k);
    mgk_matmul_args p;
    memset(&p, 0, sizeof p);
    p.a.p = space;
    p.b.p = (char *)space + 2 * g->m * stride;
    p.a.dtype = p.b.dtype = MGK_BF16;
    p.c = g->c;
    p.bias = g->bias;
    p.m = g->m;
    p.n = g->n;
    p.k = mgk_fp8_padded(g->k);
    p.batch = 1;
    p.lda = p.ldb = stride;
    p.ldc = g->ldc;
    p.trans_b = 1;
    p.act = g->act;
    p.alpha = 1;
    p.residual = g->residual;
    p.gate = g->gate;
    p.before = g->before;
    p.rows_per_sample = g->rows_per_sample;
    p.gate_stride = g->gate_stride;
    return p;
}

#endif
