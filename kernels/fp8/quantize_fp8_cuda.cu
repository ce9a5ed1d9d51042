/* SPDX-License-Identifier: MIT
 * quantize_fp8 on CUDA devices: a row by a warp or by a block, which reads it for its largest value, and again, from the
 * nearest cache, for its codes. */
#include "kernels/common/cuda_vector.h"
#include "kernels/fp8/e4m3.h"
#include "kernels/fp8/quantize_fp8.h"

namespace
{

enum { WARP_COLS = 1024 }; /* longer rows are a block's */

template <typename T> struct rows_of {
    const T *x;
    uint8_t *codes;
    float *scale;
    int64_t rows, cols, ldx, ldc;
    bool x_whole, codes_whole; /* vectors can be read or written, and make up a row */
};

/* Of all values that are finite. */
template <typename T>
__device__ __forceinline__ float largest_of(const rows_of<T> &a, const T *x, int first, int step)
{
    float largest = 0;
    for (int64_t j = (int64_t)first * MGK_VECTOR; j < a.cols; j += (int64_t)step * MGK_VECTOR) {
        float v[MGK_VECTOR];
        mgk_load_part(x + j, v, a.x_whole, a.cols - j);
#pragma unroll
        for (int e = 0; e < MGK_VECTOR; e++) {
            const float size = fabsf(v[e]);
            largest = size < INFINITY ? fmaxf(largest, size) : largest;
        }
    }
    return largest;
}

template <typename T>
__device__ __forceinline__ void write_codes(const rows_of<T> &a, const T *x, uint8_t *codes,
                                            float inverse, int first, int step)
{
    for (int64_t j = (int64_t)first * MGK_VECTOR; j < a.cols; j += (int64_t)step * MGK_VECTOR) {
        float v[MGK_VECTOR];
        mgk_vector<uint8_t, MGK_VECTOR> out;
        mgk_load_part(x + j, v, a.x_whole, a.cols - j);
#pragma unroll
        for (int e = 0; e < MGK_VECTOR; e++)
            out.v[e] = mgk_to_e4m3(v[e] * inverse);
        if (a.codes_whole) {
            *(mgk_vector<uint8_t, MGK_VECTOR> *)(codes + j) = out;
            continue;
        }
#pragma unroll
        for (int e = 0; e < MGK_VECTOR; e++)
            if (j + e < a.cols)
                codes[j + e] = out.v[e];
    }
}

template <typename T>
__device__ __forceinline__ void finish_row(const rows_of<T> &a, int64_t row, float largest,
                                           int first, int step)
{
    const int e = mgk_e4m3_exponent(largest);
    if (first == 0)
        a.scale[row] = mgk_power_of_two(e);
    write_codes(a, a.x + row * a.ldx, a.codes + row * a.ldc, mgk_power_of_two(-e), first, step);
}

template <typename T> MGK_KERNEL warps_kernel(const rows_of<T> a)
{
    const int lane = (int)(threadIdx.x % MGK_WARP), warps = MGK_BLOCK / MGK_WARP;
    const int64_t first = (int64_t)blockIdx.x * warps + threadIdx.x / MGK_WARP;
    for (int64_t row = first; row < a.rows; row += (int64_t)gridDim.x * warps) {
        const float largest = mgk_warp_max(largest_of(a, a.x + row * a.ldx, lane, MGK_WARP));
        finish_row(a, row, largest, lane, MGK_WARP);
    }
}

template <typename T> MGK_KERNEL blocks_kernel(const rows_of<T> a)
{
    __shared__ float of_warps[MGK_BLOCK / MGK_WARP];
    const int thread = (int)threadIdx.x;
    for (int64_t row = blockIdx.x; row < a.rows; row += gridDim.x) {
        float largest = mgk_warp_max(largest_of(a, a.x + row * a.ldx, thread, MGK_BLOCK));
        if (thread % MGK_WARP == 0)
            of_warps[thread / MGK_WARP] = largest;
        __syncthreads();
        for (int w = 0; w < MGK_BLOCK / MGK_WARP; w++)
            largest = fmaxf(largest, of_warps[w]);
        finish_row(a, row, largest, thread, MGK_BLOCK);
        __syncthreads(); /* of_warps is used again */
    }
}

template <typename T> void run(const mgk_quantize_fp8_args *a, mgk_exec *x)
{
    const bool whole = a->cols % MGK_VECTOR == 0;
    const rows_of<T> r = {(const T *)a->x.p,
                          MGK_B(a->codes),
                          MGK_F(a->scale),
                          a->rows,
                          a->cols,
                          a->ldx,
                          a->ldc,
                          whole && mgk_is_aligned(a->x) && a->ldx % MGK_VECTOR == 0,
                          whole && (uintptr_t)a->codes.p % MGK_VECTOR == 0 &&
                              a->ldc % MGK_VECTOR == 0};
    if (a->cols <= WARP_COLS)
        MGK_LAUNCH(x, warps_kernel<T>, mgk_grid(a->rows, MGK_BLOCK / MGK_WARP), MGK_BLOCK, 0, r);
    else
        MGK_LAUNCH(x, blocks_kernel<T>, mgk_grid(a->rows, 1), MGK_BLOCK, 0, r);
}

} // namespace

MGK_CUDA_LAUNCHER(quantize_fp8)
{
    const mgk_quantize_fp8_args *a = (const mgk_quantize_fp8_args *)args;
    if (a->rows > 0)
        MGK_WITH_REAL(a->x.dtype, run<T>(a, x));
}
