/* SPDX-License-Identifier: MIT
 * Products of warpgroups (wgmma), bulk copies by tensor maps (TMA) and barriers in shared memory, of sm_90a: on the GPU
 * each function is an instruction or two, emulated it is a call of kernels/emulated/hopper_emulated.h.
 *
 * Shared memory is named by its 32-bit address. MGK_HOPPER is 0 where a file is compiled for another architecture:
 * the bodies of kernels are left out there. */
#ifndef MGK_COMMON_CUDA_HOPPER_H
#define MGK_COMMON_CUDA_HOPPER_H

#include "kernels/common/cuda.h"
#include "kernels/common/hopper.h"

#ifdef MGK_CUDA_EMULATED
#include "kernels/emulated/cuda_runtime_emulated.h"
#include "kernels/emulated/hopper_emulated.h"
#define MGK_HOPPER 1
#define __grid_constant__
typedef mgk_emulated_map mgk_tensor_map;
#else
#include <cuda.h> /* types only: the driver is not linked */
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define MGK_HOPPER 1
#else
#define MGK_HOPPER 0
#endif
typedef CUtensorMap mgk_tensor_map;
#endif

/* ---- the host's part ---- */

#ifdef MGK_CUDA_EMULATED
static inline bool mgk_make_tensor_map(mgk_tensor_map *map, const void *p,
                                       const mgk_tensor_layout *t)
{
    if ((uintptr_t)p % 16)
        return false;
    map->base = (const uint8_t *)p;
    map->layout = *t;
    return true;
}

template <typename K> static inline bool mgk_has_hopper_code(K *kernel)
{
    return kernel;
}

static inline int mgk_multiprocessors(void)
{
    return 2; /* few, so that a block has several tiles, and so has a cluster of two */
}
#else
/* false: the driver has no such function or does not take the layout. */
static inline bool mgk_make_tensor_map(mgk_tensor_map *map, const void *p,
                                       const mgk_tensor_layout *t)
{
    void *found = NULL;
    cudaDriverEntryPointQueryResult result;
    cuuint32_t box[MGK_TENSOR_MAP_DIMS];
    cuuint64_t dims[MGK_TENSOR_MAP_DIMS], strides[MGK_TENSOR_MAP_DIMS - 1];
    if ((uintptr_t)p % 16 ||
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault,
                                         &result) != cudaSuccess ||
        result != cudaDriverEntryPointSuccess || !found) {
        cudaGetLastError();
        return false;
    }
    for (int i = 0; i < MGK_TENSOR_MAP_DIMS; i++) {
        dims[i] = t->dims[i];
        box[i] = t->box[i] * t->step[i];
    }
    for (int i = 0; i < MGK_TENSOR_MAP_DIMS - 1; i++)
        strides[i] = t->strides[i];
    return ((decltype(&cuTensorMapEncodeTiled))found)(
               map,
               t->value == 2 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_UINT8,
               MGK_TENSOR_MAP_DIMS, (void *)p, dims, strides, box, t->step,
               CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
               CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
               CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

/* Not when the driver made the kernel's code from that of an earlier architecture, where it has no body. */
template <typename K> static inline bool mgk_has_hopper_code(K *kernel)
{
    cudaFuncAttributes a;
    if (cudaFuncGetAttributes(&a, kernel) == cudaSuccess)
        return a.ptxVersion / 10 == 9;
    cudaGetLastError();
    return false;
}

static inline int mgk_multiprocessors(void)
{
    int device = 0, count = 0;
    if (cudaGetDevice(&device) != cudaSuccess ||
        cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device) != cudaSuccess)
        cudaGetLastError();
    return count > 0 ? count : 1;
}

/* As MGK_LAUNCH, in clusters of blocks that follow each other in x. */
template <typename... P, typename... A>
static inline void mgk_launch_clusters(mgk_exec *x, void (*kernel)(P...), unsigned grid,
                                       unsigned cluster, unsigned block, int shared, A... args)
{
    cudaLaunchConfig_t how;
    cudaLaunchAttribute of[1];
    memset(&how, 0, sizeof how);
    memset(of, 0, sizeof of);
    of[0].id = cudaLaunchAttributeClusterDimension;
    of[0].val.clusterDim.x = cluster;
    of[0].val.clusterDim.y = of[0].val.clusterDim.z = 1;
    how.gridDim = dim3(grid);
    how.blockDim = dim3(block);
    how.dynamicSmemBytes = (size_t)shared;
    how.stream = (cudaStream_t)x->stream;
    how.attrs = of;
    how.numAttrs = 1;
    (void)cudaLaunchKernelEx(&how, kernel, args...);
}
#define MGK_LAUNCH_CLUSTERS(x, kernel, grid, cluster, block, shared, ...)                          \
    mgk_launch_clusters((x), (kernel), (grid), (cluster), (block), (shared), __VA_ARGS__)
#endif

/* ---- shared memory and barriers ---- */

MGK_DEVICE uint32_t mgk_shared_address(const void *p)
{
#ifdef MGK_CUDA_EMULATED
    return mgk_emulated_shared_address(p);
#else
    return (uint32_t)__cvta_generic_to_shared(p);
#endif
}

/* By one thread, before others use it: mgk_barrier_fence, then __syncthreads. */
MGK_DEVICE void mgk_barrier_init(uint32_t barrier, uint32_t count)
{
#ifdef MGK_CUDA_EMULATED
    mgk_emulated_barrier_init(barrier, count);
#else
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
#endif
}

MGK_DEVICE void mgk_barrier_fence(void)
{
#ifndef MGK_CUDA_EMULATED
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

MGK_DEVICE void mgk_barrier_arrive(uint32_t barrier)
{
#ifdef MGK_CUDA_EMULATED
    mgk_emulated_barrier_arrive(barrier, 0);
#else
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
#endif
}

/* Arrives; the phase does not end before copies of so many bytes have, either. */
MGK_DEVICE void mgk_barrier_expect(uint32_t barrier, uint32_t bytes)
{
#ifdef MGK_CUDA_EMULATED
    mgk_emulated_barrier_arrive(barrier, bytes);
#else
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
                 : "memory");
#endif
}

/* At the barrier that block `rank` of the cluster has at this place. It says that something was read, not that anything
 * was written: a release in the cluster's scope would be a fence of all memory of the GPU, which takes longer than the
 * products of a stage. */
MGK_DEVICE void mgk_barrier_arrive_at(uint32_t barrier, uint32_t rank)
{
#ifdef MGK_CUDA_EMULATED
    mgk_emulated_barrier_arrive(mgk_emulated_address_of(barrier, rank), 0);
#else
    asm volatile("{\n"
                 ".reg .b32 there;\n"
                 "mapa.shared::cluster.u32 there, %0, %1;\n"
                 "mbarrier.arrive.shared::cluster.b64 _, [there];\n"
                 "}" ::"r"(barrier),
                 "r"(rank)
                 : "memory");
#endif
}

/* Until the phase of this parity has ended. */
MGK_DEVICE void mgk_barrier_wait(uint32_t barrier, uint32_t parity)
{
#ifdef MGK_CUDA_EMULATED
    mgk_emulated_barrier_wait(barrier, parity);
#else
    uint32_t ended = 0;
    while (!ended)
        asm volatile("{\n"
                     ".reg .pred p;\n"
                     "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                     "selp.u32 %0, 1, 0, p;\n"
                     "}"
                     : "=r"(ended)
                     : "r"(barrier), "r"(parity)
                     : "memory");
#endif
}

/* Barrier `id` (1..15) of so many threads, all of whole warps; those that arrive do not wait. */
MGK_DEVICE void mgk_named_sync(int id, int threads)
{
#ifdef MGK_CUDA_EMULATED
    mgk_emulated_named_barrier(id, threads, true);
#else
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
#endif
}

MGK_DEVICE void mgk_named_arrive(int id, int threads)
{
#ifdef MGK_CUDA_EMULATED
    mgk_emulated_named_barrier(id, threads, false);
#else
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
#endif
}

/* All threads of the cluster, whose blocks are running from then on, or end together. */
MGK_DEVICE void mgk_cluster_sync(void)
{
#ifdef MGK_CUDA_EMULATED
    mgk_emulated_cluster_sync();
#else
    asm volatile("barrier.cluster.arrive.release;\n"
                 "barrier.cluster.wait.acquire;" ::
                     : "memory");
#endif
}

/* By one thread: a box to shared memory, from (column, head, token, batch item) on; zeros where the tensor has
 * none. All bytes of the box count at the barrier. `map` is a __grid_constant__ of the kernel. */
MGK_DEVICE void mgk_tma_load(uint32_t to, const mgk_tensor_map *map, uint32_t barrier,
                             int32_t column, int32_t head, int32_t token, int32_t item)
{
#ifdef MGK_CUDA_EMULATED
    const int32_t at[] = {column, head, token, item};
    mgk_emulated_tma_load(to, map, barrier, at, 0);
#else
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "
        "[%1, {%3, %4, %5, %6}], [%2];" ::"r"(to),
        "l"(map), "r"(barrier), "r"(column), "r"(head), "r"(token), "r"(item)
        : "memory");
#endif
}

/* The same to this place in each block of the cluster whose bit is set, with the barrier of each. */
MGK_DEVICE void mgk_tma_load_to(uint32_t blocks, uint32_t to, const mgk_tensor_map *map,
                                uint32_t barrier, int32_t column, int32_t head, int32_t token,
                                int32_t item)
{
#ifdef MGK_CUDA_EMULATED
    const int32_t at[] = {column, head, token, item};
    mgk_emulated_tma_load(to, map, barrier, at, blocks);
#else
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
                 ".multicast::cluster [%0], [%1, {%3, %4, %5, %6}], [%2], %7;" ::"r"(to),
                 "l"(map), "r"(barrier), "r"(column), "r"(head), "r"(token), "r"(item),
                 "h"((uint16_t)blocks)
                 : "memory");
#endif
}

MGK_DEVICE void mgk_tma_prefetch(const mgk_tensor_map *map)
{
#ifdef MGK_CUDA_EMULATED
    (void)map;
#else
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
#endif
}

/* The line of global memory that p lies in, to the second-level cache. */
MGK_DEVICE void mgk_prefetch(const void *p)
{
#ifdef MGK_CUDA_EMULATED
    (void)*(const volatile char *)p;
#else
    asm volatile("prefetch.global.L2 [%0];" ::"l"(__cvta_generic_to_global(p)));
#endif
}

/* ---- registers ---- */

/* All warps of a warpgroup: from now on so many registers a thread. */
template <int COUNT> MGK_DEVICE void mgk_registers_fewer(void)
{
#ifndef MGK_CUDA_EMULATED
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT));
#endif
}

template <int COUNT> MGK_DEVICE void mgk_registers_more(void)
{
#ifndef MGK_CUDA_EMULATED
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT));
#endif
}

/* 2^x, to 2 units of the last place; 0 for -infinity. */
MGK_DEVICE float mgk_power_of_two(float x)
{
#ifdef MGK_CUDA_EMULATED
    return exp2f(x);
#else
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}

/* ---- products of a warpgroup ---- */

/* The compiler does not know that products go on beside a thread: what changes or uses their registers stays on its
 * side of this. */
template <int COUNT> MGK_DEVICE void mgk_wgmma_hold(float (&values)[COUNT])
{
#ifdef MGK_CUDA_EMULATED
    (void)values;
#else
#pragma unroll
    for (int i = 0; i < COUNT; i++)
        asm volatile("" : "+f"(values[i])::"memory");
#endif
}

template <int COUNT> MGK_DEVICE void mgk_wgmma_hold(uint32_t (&values)[COUNT][4])
{
#ifdef MGK_CUDA_EMULATED
    (void)values;
#else
#pragma unroll
    for (int i = 0; i < COUNT; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
            asm volatile("" : "+r"(values[i][j])::"memory");
#endif
}

/* Before products whose registers the thread has used. */
MGK_DEVICE void mgk_wgmma_fence(void)
{
#ifdef MGK_CUDA_EMULATED
    mgk_emulated_wgmma_fence();
#else
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}

MGK_DEVICE void mgk_wgmma_commit(void)
{
#ifdef MGK_CUDA_EMULATED
    mgk_emulated_wgmma_commit();
#else
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}

/* Until all groups of products but the last MOST have ended. */
template <int MOST> MGK_DEVICE void mgk_wgmma_wait(void)
{
#ifdef MGK_CUDA_EMULATED
    mgk_emulated_wgmma_wait(MOST);
#else
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(MOST) : "memory");
#endif
}

/* sums (64 x N) = left (64 x 16) right (16 x N), or += if `add`: factors by their descriptors or, the left one, in
 * registers. The left one lies by rows, the right one by its columns' rows, too, or (COLUMNS, LEFT_COLUMNS) by 16 rows of
 * a value of each. */
template <int N, bool COLUMNS, bool LEFT_COLUMNS = false> struct mgk_wgmma;

/* The same of 8-bit floats (E4M3): left 64 x 32, right 32 x N, both by rows. Their products and sums keep some 14 bits,
 * counted from the largest of them. */
template <int N> struct mgk_wgmma_codes;

#ifdef MGK_CUDA_EMULATED
template <int N> struct mgk_wgmma_codes {
    static inline void run(float (&d)[N / 2], uint64_t left, uint64_t right, bool add)
    {
        mgk_emulated_wgmma_codes(d, N, left, right, add);
    }
};
template <int N, bool COLUMNS, bool LEFT_COLUMNS> struct mgk_wgmma {
    static inline void run(float (&d)[N / 2], uint64_t left, uint64_t right, bool add)
    {
        mgk_emulated_wgmma(d, N, left, !LEFT_COLUMNS, NULL, right, !COLUMNS, add);
    }
    static inline void run(float (&d)[N / 2], const uint32_t (&left)[4], uint64_t right, bool add)
    {
        mgk_emulated_wgmma(d, N, 0, true, left, right, !COLUMNS, add);
    }
};
#else
#define MGK_SUMS_8(i)                                                                              \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]),    \
        "+f"(d[i + 6]), "+f"(d[i + 7])
#define MGK_SUMS_32 MGK_SUMS_8(0), MGK_SUMS_8(8), MGK_SUMS_8(16), MGK_SUMS_8(24)
#define MGK_SUMS_40 MGK_SUMS_32, MGK_SUMS_8(32)
#define MGK_SUMS_64 MGK_SUMS_40, MGK_SUMS_8(40), MGK_SUMS_8(48), MGK_SUMS_8(56)
#define MGK_SUMS_128                                                                               \
    MGK_SUMS_64, MGK_SUMS_8(64), MGK_SUMS_8(72), MGK_SUMS_8(80), MGK_SUMS_8(88), MGK_SUMS_8(96),   \
        MGK_SUMS_8(104), MGK_SUMS_8(112), MGK_SUMS_8(120)
#define MGK_NAMES_32                                                                               \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                       \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define MGK_NAMES_40 MGK_NAMES_32 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define MGK_NAMES_64                                                                               \
    MGK_NAMES_40                                                                                   \
    ", "                                                                                           \
    "%40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, "             \
    "%56, %57, %58, %59, %60, %61, %62, %63"
#define MGK_NAMES_128                                                                              \
    MGK_NAMES_64                                                                                   \
    ", "                                                                                           \
    "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "             \
    "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "             \
    "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
    "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, "   \
    "%127"

/* Names and constraints of the n / 2 sums; the names of what follows them. */
#define MGK_WGMMA(n, names, sums, first, second, third, fourth, fifth, sixth, seventh)             \
    template <bool COLUMNS, bool LEFT_COLUMNS> struct mgk_wgmma<n, COLUMNS, LEFT_COLUMNS> {        \
        static __device__ __forceinline__ void run(float (&d)[n / 2], uint64_t left,               \
                                                   uint64_t right, bool add)                       \
        {                                                                                          \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " third ", 0;\n"                        \
                         "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" names        \
                         "}, " first ", " second ", p, 1, 1, " fifth ", " fourth ";\n}"            \
                         : sums                                                                    \
                         : "l"(left), "l"(right), "r"((int)add), "n"(COLUMNS ? 1 : 0),             \
                           "n"(LEFT_COLUMNS ? 1 : 0));                                             \
        }                                                                                          \
        static __device__ __forceinline__ void run(float (&d)[n / 2], const uint32_t (&left)[4],   \
                                                   uint64_t right, bool add)                       \
        {                                                                                          \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " sixth ", 0;\n"                        \
                         "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" names        \
                         "}, {" first ", " second ", " third ", " fourth "}, " fifth               \
                         ", p, 1, 1, " seventh ";\n}"                                              \
                         : sums                                                                    \
                         : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "l"(right),     \
                           "r"((int)add), "n"(COLUMNS ? 1 : 0));                                   \
        }                                                                                          \
    };
MGK_WGMMA(64, MGK_NAMES_32, MGK_SUMS_32, "%32", "%33", "%34", "%35", "%36", "%37", "%38")
MGK_WGMMA(80, MGK_NAMES_40, MGK_SUMS_40, "%40", "%41", "%42", "%43", "%44", "%45", "%46")
MGK_WGMMA(128, MGK_NAMES_64, MGK_SUMS_64, "%64", "%65", "%66", "%67", "%68", "%69", "%70")
MGK_WGMMA(256, MGK_NAMES_128, MGK_SUMS_128, "%128", "%129", "%130", "%131", "%132", "%133", "%134")
#undef MGK_WGMMA

template <> struct mgk_wgmma_codes<128> {
    static __device__ __forceinline__ void run(float (&d)[64], uint64_t left, uint64_t right,
                                               bool add)
    {
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
                     "wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 {" MGK_NAMES_64
                     "}, %64, %65, p, 1, 1;\n}"
                     : MGK_SUMS_64
                     : "l"(left), "l"(right), "r"((int)add));
    }
};
#undef MGK_NAMES_128
#undef MGK_NAMES_64
#undef MGK_NAMES_40
#undef MGK_NAMES_32
#undef MGK_SUMS_128
#undef MGK_SUMS_64
#undef MGK_SUMS_40
#undef MGK_SUMS_32
#undef MGK_SUMS_8
#endif

#endif
