/* SPDX-License-Identifier: MIT
 * Reading and writing several values at once, and loops over elements; for .cu files. */
#ifndef MGK_COMMON_CUDA_VECTOR_H
#define MGK_COMMON_CUDA_VECTOR_H

#include "kernels/common/cuda.h"

enum { MGK_VECTOR = 8 }; /* values a thread takes at once: 16 bytes of bf16 */

MGK_DEVICE float mgk_load(uint8_t x)
{
    return x;
}

/* To the nearest from 0 to 255; a NaN gives 0. */
MGK_DEVICE void mgk_store(uint8_t *p, float x)
{
    *p = (uint8_t)(x >= 255 ? 255 : x > 0 ? (int)rintf(x) : 0);
}

/* N values, read and written by as few instructions as there are 16 bytes in them. */
template <typename T, int N> struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) mgk_vector {
    T v[N];
};

template <int N, typename T> MGK_DEVICE void mgk_load_vector(const T *p, float *out)
{
    mgk_vector<T, N> raw = *(const mgk_vector<T, N> *)p;
    for (int i = 0; i < N; i++)
        out[i] = mgk_load(raw.v[i]);
}

template <int N, typename T> MGK_DEVICE void mgk_store_vector(T *p, const float *in)
{
    mgk_vector<T, N> raw;
    for (int i = 0; i < N; i++)
        mgk_store(&raw.v[i], in[i]);
    *(mgk_vector<T, N> *)p = raw;
}

/* To global memory where N is a multiple of 8, by an instruction that is named: compilers store the members of what
 * they have put together word by word, or even halves, if they find it the same. */
template <int N> MGK_DEVICE void mgk_store_vector(mgk_bf16 *p, const float *in)
{
    if constexpr (N % 8 == 0) {
#pragma unroll
        for (int i = 0; i < N; i += 8) {
            const uint4 raw =
                make_uint4(mgk_two_bf16(in[i], in[i + 1]), mgk_two_bf16(in[i + 2], in[i + 3]),
                           mgk_two_bf16(in[i + 4], in[i + 5]), mgk_two_bf16(in[i + 6], in[i + 7]));
#ifdef __CUDA_ARCH__
            asm volatile(
                "st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(p + i)),
                "r"(raw.x), "r"(raw.y), "r"(raw.z), "r"(raw.w)
                : "memory");
#else
            *(uint4 *)(void *)(p + i) = raw;
#endif
        }
    } else {
        mgk_vector<mgk_bf16, N> raw;
        for (int i = 0; i < N; i++)
            mgk_store(&raw.v[i], in[i]);
        *(mgk_vector<mgk_bf16, N> *)p = raw;
    }
}

/* MGK_VECTOR values, of which `count` are there; `whole`: all are, and p is aligned. The others are read
 * as 0 and not written. */
template <typename T>
MGK_DEVICE void mgk_load_part(const T *p, float *out, bool whole, int64_t count)
{
    if (whole) {
        mgk_load_vector<MGK_VECTOR>(p, out);
        return;
    }
    for (int i = 0; i < MGK_VECTOR; i++)
        out[i] = i < count ? mgk_load(p[i]) : 0.0f;
}

template <typename T>
MGK_DEVICE void mgk_store_part(T *p, const float *in, bool whole, int64_t count)
{
    if (whole) {
        mgk_store_vector<MGK_VECTOR>(p, in);
        return;
    }
    for (int i = 0; i < MGK_VECTOR; i++)
        if (i < count)
            mgk_store(p + i, in[i]);
}

/* Whether a buffer (or none) begins where vectors may. */
static inline bool mgk_is_aligned(mgk_buf b)
{
    return (uintptr_t)b.p % 16 == 0;
}

/* f.run<N>(i) does elements i .. i + N - 1; i is a multiple of N. */
template <int N, typename F> MGK_KERNEL mgk_each_kernel(int64_t count, F f)
{
    int64_t vectors = count / N,
            rest = vectors * N + (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    MGK_FOR(i, vectors)
    {
        f.template run<N>(i * N);
    }
    if (rest < count)
        f.template run<1>(rest);
}

template <typename F> static void mgk_each(mgk_exec *x, int64_t count, bool aligned, const F &f)
{
    if (count == 0)
        return;
    if (aligned)
        MGK_LAUNCH(x, (mgk_each_kernel<MGK_VECTOR, F>), mgk_grid(count / MGK_VECTOR, MGK_BLOCK),
                   MGK_BLOCK, 0, count, f);
    else
        MGK_LAUNCH(x, (mgk_each_kernel<1, F>), mgk_grid(count, MGK_BLOCK), MGK_BLOCK, 0, count, f);
}

#endif
