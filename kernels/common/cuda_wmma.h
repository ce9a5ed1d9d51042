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

/* p in shared memory, 32-byte aligned; ld, in elements, a multiple of 8. */
#ifdef MGK_CUDA_EMULATED
template <typename F> MGK_DEVICE void mgk_wmma_load(F &f, const mgk_bf16 *p, int ld)
{
    nvcuda::wmma::load_matrix_sync(f, (const __nv_bfloat16 *)p, (unsigned)ld);
}
#else
/* What load_matrix_sync is made of; but that doesn't tell the compiler which memory it is, which costs several
 * times the instructions. */
#define MGK_WMMA_LOAD(type, what)                                                                  \
    MGK_DEVICE void mgk_wmma_load(type &f, const mgk_bf16 *p, int ld)                              \
    {                                                                                              \
        int *r = (int *)&f;                                                                        \
        asm volatile("wmma.load." what ".m16n16k16.shared.bf16 {%0, %1, %2, %3}, [%4], %5;"        \
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])                              \
                     : "r"((uint32_t)__cvta_generic_to_shared(p)), "r"(ld)                         \
                     : "memory");                                                                  \
    }
MGK_WMMA_LOAD(mgk_wmma_a, "a.sync.aligned.row")
MGK_WMMA_LOAD(mgk_wmma_a_transposed, "a.sync.aligned.col")
MGK_WMMA_LOAD(mgk_wmma_b, "b.sync.aligned.row")
MGK_WMMA_LOAD(mgk_wmma_b_transposed, "b.sync.aligned.col")
#undef MGK_WMMA_LOAD
#endif

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
