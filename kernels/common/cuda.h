/* SPDX-License-Identifier: MIT
 * What the CUDA kernels share. Included by .cu files only, which are compiled twice: by nvcc for the GPU, and
 * by the host's C++ compiler with MGK_CUDA_EMULATED, where the threads of a block are fibres of one
 * processor (kernels/emulated), so that checkkernel runs them under sanitizers where there is no GPU.
 *
 * Therefore: a kernel is started by MGK_LAUNCH, shared memory whose size is known is declared __shared__, the
 * other by MGK_DYNAMIC_SHARED; no exceptions, no C++ library, no static variables, functions in an anonymous
 * namespace. Grids cover any 64-bit count (mgk_grid and a loop over MGK_FOR). Results do not depend on
 * timing: no atomic additions of floats; sums over blocks go through the workspace, in a fixed order.
 */
#ifndef MGK_COMMON_CUDA_H
#define MGK_COMMON_CUDA_H

#include "kernels/mgk.h"

#include <math.h>
#include <string.h>

#ifdef MGK_CUDA_EMULATED
#include "kernels/emulated/cuda_emulated.h"
#else
#include <cuda_runtime.h>
/* `kernel` in brackets if its name has a comma. Sizes are dim3 or int; `shared` in bytes. A launch error is
 * kept by the runtime until the device asks. */
#define MGK_LAUNCH(x, kernel, grid, block, shared, ...)                                            \
    (kernel)<<<(grid), (block), (shared), (cudaStream_t)(x)->stream>>>(__VA_ARGS__)
#define MGK_DYNAMIC_SHARED(type, name)                                                             \
    extern __shared__ __align__(32) unsigned char mgk_dynamic_shared[];                            \
    type *name = (type *)mgk_dynamic_shared
/* Before a launch that may need more than 48 KiB of dynamic shared memory. */
#define MGK_ALLOW_SHARED(kernel, bytes)                                                            \
    ((void)cudaFuncSetAttribute((kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,             \
                                (int)(bytes)))
#endif

#define MGK_KERNEL static __global__ void
#define MGK_DEVICE static __device__ __forceinline__

/* The launcher of a variant ("cuda" needs no name), and the size of its workspace where it has one. */
#define MGK_LAUNCHER(op, variant)                                                                  \
    extern "C" void mgk_##op##_##variant(const void *args, mgk_exec *x);                           \
    extern "C" void mgk_##op##_##variant(const void *args, mgk_exec *x)
#define MGK_WORKSPACE(op, variant)                                                                 \
    extern "C" size_t mgk_##op##_##variant##_workspace(const void *args, int threads);             \
    extern "C" size_t mgk_##op##_##variant##_workspace(const void *args, int threads)
#define MGK_CUDA_LAUNCHER(op)  MGK_LAUNCHER(op, cuda)
#define MGK_CUDA_WORKSPACE(op) MGK_WORKSPACE(op, cuda)

/* for (int64_t i = ...) over 0..count-1, all threads of a one-dimensional grid together */
#define MGK_FOR(i, count)                                                                          \
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < (count);                  \
         i += (int64_t)gridDim.x * blockDim.x)

enum { MGK_WARP = 32, MGK_BLOCK = 256, MGK_GRID_MAX = 8192 };

/* Blocks of `block` threads for `count` elements, at least one, at most MGK_GRID_MAX. */
static inline int mgk_grid(int64_t count, int block)
{
    int64_t blocks = (count + block - 1) / block;
    return blocks < 1 ? 1 : blocks > MGK_GRID_MAX ? (int)MGK_GRID_MAX : (int)blocks;
}

/* Run the statements with T as the C type of a real dtype. */
#define MGK_WITH_REAL(dtype, ...)                                                                  \
    do {                                                                                           \
        if ((dtype) == MGK_BF16) {                                                                 \
            typedef mgk_bf16 T;                                                                    \
            __VA_ARGS__;                                                                           \
        } else {                                                                                   \
            typedef float T;                                                                       \
            __VA_ARGS__;                                                                           \
        }                                                                                          \
    } while (0)

/* ---- bfloat16 ---- */

struct mgk_bf16 {
    uint16_t bits;
};

MGK_DEVICE float mgk_bits_to_float(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

MGK_DEVICE uint32_t mgk_float_to_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

MGK_DEVICE float mgk_load(float x)
{
    return x;
}

MGK_DEVICE float mgk_load(mgk_bf16 x)
{
    return mgk_bits_to_float((uint32_t)x.bits << 16);
}

/* To the nearest, a tie to the even one; a NaN stays one. */
MGK_DEVICE void mgk_store(mgk_bf16 *p, float x)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(p->bits) : "f"(x));
#else
    uint32_t u = mgk_float_to_bits(x);
    uint32_t rounded = (u + 0x7fff + (u >> 16 & 1)) >> 16;
    p->bits = (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? (u >> 16 | 0x40) : rounded);
#endif
}

/* The same of two values, the first in the lower half. */
MGK_DEVICE uint32_t mgk_two_bf16(float first, float second)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    uint32_t both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(second), "f"(first));
    return both;
#else
    mgk_bf16 x, y;
    mgk_store(&x, first);
    mgk_store(&y, second);
    return x.bits | (uint32_t)y.bits << 16;
#endif
}

MGK_DEVICE void mgk_store(float *p, float x)
{
    *p = x;
}

/* x as it is when stored as T */
template <typename T> MGK_DEVICE float mgk_round(float x)
{
    T t;
    mgk_store(&t, x);
    return mgk_load(t);
}

/* ---- sums ---- */

/* Of a warp's 32 values, the same for all its threads; all must take part. */
MGK_DEVICE float mgk_warp_sum(float x)
{
    for (int step = 16; step > 0; step /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}

MGK_DEVICE double mgk_warp_sum(double x)
{
    for (int step = 16; step > 0; step /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}

MGK_DEVICE float mgk_warp_max(float x)
{
    for (int step = 16; step > 0; step /= 2)
        x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
    return x;
}

/* Of a one-dimensional block of a multiple of 32 threads, at most 1024; the same for all of them. `scratch`:
 * 32 values of shared memory, which may be used again at once. */
template <typename V> MGK_DEVICE V mgk_block_sum(V x, V *scratch)
{
    int warps = (int)(blockDim.x / MGK_WARP), lane = (int)(threadIdx.x % MGK_WARP);
    x = mgk_warp_sum(x);
    if (lane == 0)
        scratch[threadIdx.x / MGK_WARP] = x;
    __syncthreads();
    x = mgk_warp_sum(lane < warps ? scratch[lane] : (V)0);
    __syncthreads();
    return x;
}

/* Of p[0..n - 1], by one block, as above: the order of the sum depends on n and the block's size only. */
template <typename V> MGK_DEVICE V mgk_block_sum_of(const V *p, int64_t n, V *scratch)
{
    V sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x)
        sum += p[i];
    return mgk_block_sum(sum, scratch);
}

/* ---- activations ---- */

MGK_DEVICE float mgk_sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

MGK_DEVICE float mgk_cuda_silu(float x)
{
    return x * mgk_sigmoid(x);
}

MGK_DEVICE float mgk_cuda_silu_grad(float x)
{
    float s = mgk_sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
}

MGK_DEVICE float mgk_cuda_gelu(float x)
{
    return 0.5f * x * (1.0f + tanhf(0.7978845608f * (x + 0.044715f * x * x * x)));
}

MGK_DEVICE float mgk_cuda_gelu_grad(float x)
{
    float t = tanhf(0.7978845608f * (x + 0.044715f * x * x * x));
    return 0.5f * (1.0f + t) +
           0.5f * x * (1.0f - t * t) * 0.7978845608f * (1.0f + 0.134145f * x * x);
}

MGK_DEVICE float mgk_cuda_gelu_erf(float x)
{
    return 0.5f * x * erfcf(-0.70710678f * x);
}

MGK_DEVICE float mgk_cuda_gelu_erf_grad(float x)
{
    return 0.5f * erfcf(-0.70710678f * x) + 0.3989422804f * x * expf(-0.5f * x * x);
}

MGK_DEVICE float mgk_cuda_quick_gelu(float x)
{
    return x * mgk_sigmoid(1.702f * x);
}

MGK_DEVICE float mgk_cuda_quick_gelu_grad(float x)
{
    float s = mgk_sigmoid(1.702f * x);
    return s * (1.0f + 1.702f * x * (1.0f - s));
}

#endif
