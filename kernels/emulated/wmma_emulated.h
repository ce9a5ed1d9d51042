/* SPDX-License-Identifier: MIT
 * The warp-level matrix functions of CUDA as far as kernels/common/cuda_wmma.h needs them, for tests: each thread of
 * a warp holds the whole tile and does all the work, once all of them have come. */
#ifndef MGK_WMMA_EMULATED_H
#define MGK_WMMA_EMULATED_H

#include "kernels/emulated/cuda_emulated.h"

struct __nv_bfloat16 {
    uint16_t bits;
};

namespace nvcuda
{
namespace wmma
{

struct matrix_a {
};
struct matrix_b {
};
struct accumulator {
};
struct row_major {
};
struct col_major {
};
enum layout_t { mem_row_major, mem_col_major };

template <typename Use, int M, int N, int K, typename V, typename Layout = void> struct fragment {
    enum { num_elements = 256 };
    float x[256];
};

inline bool by_rows(row_major *)
{
    return true;
}
inline bool by_rows(col_major *)
{
    return false;
}

inline void must_be_aligned(const void *p, unsigned ld, unsigned step)
{
    if ((uintptr_t)p % 32 || ld % step)
        mgk_emulated_abort("a tile of a matrix function is not aligned");
}

template <typename Use, int M, int N, int K, typename Layout>
inline void load_matrix_sync(fragment<Use, M, N, K, __nv_bfloat16, Layout> &f,
                             const __nv_bfloat16 *p, unsigned ld)
{
    must_be_aligned(p, ld, 8);
    __syncwarp();
    for (unsigned i = 0; i < 16; i++)
        for (unsigned j = 0; j < 16; j++) {
            uint32_t bits = (uint32_t)p[i * ld + j].bits << 16;
            memcpy(&f.x[by_rows((Layout *)0) ? i * 16 + j : j * 16 + i], &bits, sizeof bits);
        }
    __syncwarp();
}

template <int M, int N, int K>
inline void store_matrix_sync(float *p, const fragment<accumulator, M, N, K, float> &f, unsigned ld,
                              layout_t layout)
{
    must_be_aligned(p, ld, 4);
    __syncwarp();
    for (unsigned i = 0; i < 16; i++)
        for (unsigned j = 0; j < 16; j++)
            p[layout == mem_row_major ? i * ld + j : j * ld + i] = f.x[i * 16 + j];
    __syncwarp();
}

template <int M, int N, int K>
inline void fill_fragment(fragment<accumulator, M, N, K, float> &f, float value)
{
    for (int i = 0; i < 256; i++)
        f.x[i] = value;
}

template <int M, int N, int K, typename LA, typename LB>
inline void mma_sync(fragment<accumulator, M, N, K, float> &d,
                     const fragment<matrix_a, M, N, K, __nv_bfloat16, LA> &a,
                     const fragment<matrix_b, M, N, K, __nv_bfloat16, LB> &b,
                     const fragment<accumulator, M, N, K, float> &c)
{
    __syncwarp();
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 16; j++) {
            float sum = c.x[i * 16 + j];
            for (int k = 0; k < 16; k++)
                sum += a.x[i * 16 + k] * b.x[k * 16 + j];
            d.x[i * 16 + j] = sum;
        }
}

} // namespace wmma
} // namespace nvcuda

#endif
