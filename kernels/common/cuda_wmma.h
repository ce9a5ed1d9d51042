/* SPDX-License-Identifier: MIT
 * Tensor cores through the warp-level matrix functions of CUDA (wmma), which run emulated, too: 16x16x16 tiles of
 * bf16, summed in f32. All 32 threads of a warp call each function together. */
#ifndef MGK_COMMON_CUDA_WMMA_H
#define MGK_COMMON_CUDA_WMMA_H

#include "kernels/common/cuda.h"

#ifdef MGK_CUDA_EMULATED
#include "kernels/emulated/wmma_emulated.h"
#else
#include <cuda_bf16.h>
#include <mma.h>
#endif

enum { MGK_WMMA = 16 }; /* rows and columns of a tile */

/* A is 16 x 16 (rows m, columns k), B 16 x 16 (rows k, columns n); by rows as in C arrays, or transposed. */
typedef nvcuda::wmma::fragment<nvcuda::wmma::matrix_a, MGK_WMMA, MGK_WMMA, MGK_WMMA, __nv_bfloat16,
                               nvcuda::wmma::row_major>
    mgk_wmma_a;
typedef nvcuda::wmma::fragment<nvcuda::wmma::matrix_a, MGK_WMMA, MGK_WMMA, MGK_WMMA, __nv_bfloat16,
                               nvcuda::wmma::col_major>
    mgk_wmma_a_transposed;
typedef nvcuda::wmma::fragment<nvcuda::wmma::matrix_b, MGK_WMMA, MGK_WMMA, MGK_WMMA, __nv_bfloat16,
                               nvcuda::wmma::row_major>
    mgk_wmma_b;
typedef nvcuda::wmma::fragment<nvcuda::wmma::matrix_b, MGK_WMMA, MGK_WMMA, MGK_WMMA, __nv_bfloat16,
                               nvcuda::wmma::col_major>
    mgk_wmma_b_transposed;
typedef nvcuda::wmma::fragment<nvcuda::wmma::accumulator, MGK_WMMA, MGK_WMMA, MGK_WMMA, float>
    mgk_wmma_sum;

/* p in shared or device memory, 32-byte aligned; ld, in elements, a multiple of 8. */
template <typename F> MGK_DEVICE void mgk_wmma_load(F &f, const mgk_bf16 *p, int ld)
{
    nvcuda::wmma::load_matrix_sync(f, (const __nv_bfloat16 *)p, (unsigned)ld);
}

/* ld a multiple of 4. */
MGK_DEVICE void mgk_wmma_store(float *p, const mgk_wmma_sum &f, int ld)
{
    nvcuda::wmma::store_matrix_sync(p, f, (unsigned)ld, nvcuda::wmma::mem_row_major);
}

MGK_DEVICE void mgk_wmma_clear(mgk_wmma_sum &f)
{
    nvcuda::wmma::fill_fragment(f, 0.0f);
}

/* sum += a b */
template <typename A, typename B>
MGK_DEVICE void mgk_wmma_add(mgk_wmma_sum &sum, const A &a, const B &b)
{
    nvcuda::wmma::mma_sync(sum, a, b, sum);
}

#endif
