/* SPDX-License-Identifier: MIT
 * Enough of CUDA C++ to compile the kernels for the host and run them there, for tests only.
 *
 * The blocks of a grid run one after the other, those of a cluster together; the threads of a block are fibres of the
 * calling thread, which change places only where they wait for each other (__syncthreads, __syncwarp, shuffles and votes). In which
 * order those that can go on do so changes from launch to launch, so that a kernel which misses
 * a barrier gives other results. A barrier that some threads of the block never reach, a shuffle whose mask
 * names a thread that has ended, and a shared buffer larger than a GPU's end the program with a message.
 */
#ifndef MGK_CUDA_EMULATED_H
#define MGK_CUDA_EMULATED_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline, unused))
#define __shared__      static thread_local
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __restrict__ __restrict

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
};

struct __align__(8) float2
{
    float x, y;
};
struct __align__(16) float4
{
    float x, y, z, w;
};
struct __align__(8) uint2
{
    unsigned x, y;
};
struct __align__(16) uint4
{
    unsigned x, y, z, w;
};

static inline float2 make_float2(float x, float y)
{
    return float2{x, y};
}
static inline float4 make_float4(float x, float y, float z, float w)
{
    return float4{x, y, z, w};
}
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w)
{
    return uint4{x, y, z, w};
}

struct mgk_emulated_index {
    dim3 thread, block;
};
extern thread_local mgk_emulated_index *mgk_emulated_now; /* of the fibre that runs */
extern thread_local dim3 mgk_emulated_block, mgk_emulated_grid;
extern thread_local unsigned char *mgk_emulated_shared;
extern thread_local size_t mgk_emulated_shared_bytes;

#define threadIdx (mgk_emulated_now->thread)
#define blockIdx  (mgk_emulated_now->block)
#define blockDim  mgk_emulated_block
#define gridDim   mgk_emulated_grid

#define MGK_DYNAMIC_SHARED(type, name)  type *name = (type *)mgk_emulated_shared
#define MGK_ALLOW_SHARED(kernel, bytes) ((void)(bytes))

/* Clusters of `cluster` blocks that follow each other in x; these use dynamic shared memory only. `what`, of `bytes`, is
 * copied. */
void mgk_emulated_run(void *stream, dim3 grid, unsigned cluster, dim3 block, size_t shared,
                      void (*call)(const void *), const void *what, size_t bytes);

/* The arguments of a kernel as they are when it is launched. */
template <typename... P> struct mgk_emulated_values;
template <> struct mgk_emulated_values<> {
    template <typename K, typename... V> void call(K kernel, const V &...values) const
    {
        kernel(values...);
    }
};
template <typename P, typename... Rest> struct mgk_emulated_values<P, Rest...> {
    P value;
    mgk_emulated_values<Rest...> rest;
    template <typename K, typename... V> void call(K kernel, const V &...values) const
    {
        rest.call(kernel, values..., value);
    }
};

template <typename... P> struct mgk_emulated_work {
    void (*kernel)(P...);
    mgk_emulated_values<P...> values;
};

template <typename... P> static void mgk_emulated_call(const void *what)
{
    const mgk_emulated_work<P...> *w = (const mgk_emulated_work<P...> *)what;
    w->values.call(w->kernel);
}

static inline mgk_emulated_values<> mgk_emulated_take(mgk_emulated_values<> *)
{
    return {};
}

template <typename P, typename... Rest, typename A, typename... More>
static inline mgk_emulated_values<P, Rest...> mgk_emulated_take(mgk_emulated_values<P, Rest...> *,
                                                                A arg, More... more)
{
    return {(P)arg, mgk_emulated_take((mgk_emulated_values<Rest...> *)0, more...)};
}

template <typename... P, typename... A>
static inline void mgk_emulated_launch(void *stream, dim3 grid, unsigned cluster, dim3 block,
                                       size_t shared, void (*kernel)(P...), A... args)
{
    const mgk_emulated_work<P...> work = {
        kernel, mgk_emulated_take((mgk_emulated_values<P...> *)0, args...)};
    static_assert(__is_trivially_copyable(decltype(work)), "arguments of a kernel are values");
    mgk_emulated_run(stream, grid, cluster, block, shared, mgk_emulated_call<P...>, &work,
                     sizeof work);
}

#define MGK_LAUNCH(x, kernel, grid, block, shared, ...)                                            \
    mgk_emulated_launch((x)->stream, (grid), 1, (block), (shared), (kernel), __VA_ARGS__)
#define MGK_LAUNCH_CLUSTERS(x, kernel, grid, cluster, block, shared, ...)                          \
    mgk_emulated_launch((x)->stream, (grid), (cluster), (block), (shared), (kernel), __VA_ARGS__)

void __syncthreads(void);
void mgk_emulated_syncwarp(unsigned mask);
/* Give `bytes` of `value` to the warp and take those of thread `from` of it into `out`. */
void mgk_emulated_exchange(unsigned mask, const void *value, void *out, size_t bytes, int from);
unsigned __ballot_sync(unsigned mask, int predicate);
int mgk_emulated_lane(void);
int mgk_emulated_thread(void); /* its number in the cluster */
int mgk_emulated_rank(void);   /* of its block in the cluster */
int mgk_emulated_blocks(void); /* of the cluster */
/* Of a block of the cluster; NULL: all its threads have ended. */
unsigned char *mgk_emulated_shared_of(int rank);
void mgk_emulated_abort(const char *why);
/* Others go on until done(what). */
void mgk_emulated_wait_until(bool (*done)(const void *), const void *what);
unsigned mgk_emulated_launches(void); /* so far */

/* hopper_emulated.cpp, of a cluster: when all its threads wait (false: nothing could be done), and when they have ended. */
bool mgk_emulated_hopper_idle(void);
void mgk_emulated_hopper_end(int threads);

static inline void __syncwarp(unsigned mask = 0xffffffffu)
{
    mgk_emulated_syncwarp(mask);
}

template <typename V> static inline V __shfl_sync(unsigned mask, V value, int from, int width = 32)
{
    V out;
    int lane = mgk_emulated_lane();
    mgk_emulated_exchange(mask, &value, &out, sizeof value, lane / width * width + from % width);
    return out;
}

template <typename V>
static inline V __shfl_xor_sync(unsigned mask, V value, int bits, int width = 32)
{
    V out;
    int lane = mgk_emulated_lane(), from = lane ^ bits;
    mgk_emulated_exchange(mask, &value, &out, sizeof value,
                          from / width == lane / width ? from : lane);
    return out;
}

template <typename V>
static inline V __shfl_down_sync(unsigned mask, V value, int step, int width = 32)
{
    V out;
    int lane = mgk_emulated_lane(), from = lane + step;
    mgk_emulated_exchange(mask, &value, &out, sizeof value,
                          from / width == lane / width ? from : lane);
    return out;
}

template <typename V>
static inline V __shfl_up_sync(unsigned mask, V value, int step, int width = 32)
{
    V out;
    int lane = mgk_emulated_lane(), from = lane - step;
    mgk_emulated_exchange(mask, &value, &out, sizeof value,
                          from >= lane / width * width ? from : lane);
    return out;
}

template <typename V> static inline V atomicAdd(V *p, V value)
{
    V before = *p;
    *p = before + value;
    return before;
}

template <typename V> static inline V atomicMax(V *p, V value)
{
    V before = *p;
    *p = before > value ? before : value;
    return before;
}

template <typename V> static inline V __ldg(const V *p)
{
    return *p;
}

static inline int __ffs(int x)
{
    return __builtin_ffs(x);
}

static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}

static inline void __threadfence(void)
{
}

static inline float rsqrtf(float x)
{
    return 1.0f / sqrtf(x);
}

template <typename V> static inline V min(V a, V b)
{
    return a < b ? a : b;
}

template <typename V> static inline V max(V a, V b)
{
    return a > b ? a : b;
}

static inline void sincospi(double x, double *s, double *c)
{
    *s = sin(M_PI * x);
    *c = cos(M_PI * x);
}

#endif
