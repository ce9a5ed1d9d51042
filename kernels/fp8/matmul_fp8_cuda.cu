/* SPDX-License-Identifier: MIT
 * matmul_fp8 on CUDA devices without FP8: A and B are decoded to the workspace, 16 codes a thread, and multiplied as bf16
 * by the best that matmul has. */
#include "kernels/common/cuda_divide.h"
#include "kernels/common/cuda_vector.h"
#include "kernels/fp8/decoded.h"
#include "kernels/fp8/e4m3.h"

extern "C" void mgk_matmul_sm80(const void *args, mgk_exec *x);
extern "C" size_t mgk_matmul_sm80_workspace(const void *args, int threads);
#ifndef MGK_CUDA_EMULATED
extern "C" void mgk_matmul_cublaslt(const void *args, mgk_exec *x);
extern "C" size_t mgk_matmul_cublaslt_workspace(const void *args, int threads);
#endif

namespace
{

enum { PIECE = 16 };

struct matrix {
    const uint8_t *codes;
    const float *scale;
    mgk_bf16 *to;
    int64_t rows, ld;
    bool whole; /* 16 codes can be read at once */
};

template <typename I> struct operands {
    matrix a, b;
    int64_t k, padded, stride;
    mgk_divisor<I> pieces; /* of a row */
};

__device__ __forceinline__ void decode_piece(const matrix &s, int64_t row, int64_t at, int64_t k,
                                             int64_t padded, int64_t stride)
{
    const uint8_t *from = s.codes + row * s.ld + at;
    mgk_bf16 *to = s.to + row * stride + at;
    const float scale = s.scale[row];
    mgk_vector<uint8_t, PIECE> codes;
    if (s.whole && at + PIECE <= k)
        codes = *(const mgk_vector<uint8_t, PIECE> *)from;
    else
        for (int e = 0; e < PIECE; e++)
            codes.v[e] = at + e < k ? from[e] : 0;
#pragma unroll
    for (int half = 0; half < PIECE; half += MGK_VECTOR) {
        mgk_vector<mgk_bf16, MGK_VECTOR> out;
#pragma unroll
        for (int e = 0; e < MGK_VECTOR; e++)
            out.v[e].bits =
                (uint16_t)(mgk_float_to_bits(mgk_from_e4m3(codes.v[half + e]) * scale) >> 16);
        if (at + half < padded)
            *(mgk_vector<mgk_bf16, MGK_VECTOR> *)(to + half) = out;
    }
}

template <typename I> MGK_KERNEL decode_kernel(const operands<I> o, int64_t count)
{
    MGK_FOR(i, count)
    {
        I row = (I)i;
        const int64_t at = (int64_t)mgk_take(&row, o.pieces) * PIECE;
        if ((int64_t)row < o.a.rows)
            decode_piece(o.a, row, at, o.k, o.padded, o.stride);
        else
            decode_piece(o.b, (int64_t)row - o.a.rows, at, o.k, o.padded, o.stride);
    }
}

matrix side(mgk_buf codes, mgk_buf scale, mgk_buf to, int64_t rows, int64_t ld)
{
    return {MGK_B(codes), MGK_F(scale), (mgk_bf16 *)to.p,
            rows,         ld,           mgk_is_aligned(codes) && ld % PIECE == 0};
}

} // namespace

MGK_CUDA_WORKSPACE(matmul_fp8)
{
    const mgk_matmul_fp8_args *g = (const mgk_matmul_fp8_args *)args;
    const mgk_matmul_args product = mgk_fp8_product(g, NULL);
#ifdef MGK_CUDA_EMULATED
    return mgk_fp8_workspace(g, mgk_matmul_sm80_workspace(&product, threads));
#else
    return mgk_fp8_workspace(g, mgk_matmul_cublaslt_workspace(&product, threads));
#endif
}

MGK_CUDA_LAUNCHER(matmul_fp8)
{
    const mgk_matmul_fp8_args *g = (const mgk_matmul_fp8_args *)args;
    const mgk_matmul_args product = mgk_fp8_product(g, x->workspace);
    const int64_t pieces = (g->k + PIECE - 1) / PIECE, count = (g->m + g->n) * pieces;
    mgk_exec behind = *x;
    behind.workspace = (char *)x->workspace + mgk_fp8_decoded_bytes(g);
    behind.workspace_bytes -= mgk_fp8_decoded_bytes(g);
    if (g->m == 0 || g->n == 0)
        return;
    if (count > 0)
        MGK_WITH_INDEX(
            count, operands<I> o; o.a = side(g->a, g->a_scale, product.a, g->m, g->lda);
            o.b = side(g->b, g->b_scale, product.b, g->n, g->ldb); o.k = g->k; o.padded = product.k;
            o.stride = product.lda; mgk_divisor_set(&o.pieces, pieces);
            MGK_LAUNCH(x, decode_kernel<I>, mgk_grid(count, MGK_BLOCK), MGK_BLOCK, 0, o, count));
#ifndef MGK_CUDA_EMULATED
    if (x->blas) {
        mgk_matmul_cublaslt(&product, &behind);
        return;
    }
#endif
    mgk_matmul_sm80(&product, &behind);
}
