/* SPDX-License-Identifier: MIT
 * The most that one thread of this machine does: loops without memory for arithmetic, and a large copy. */
#include "bench.h"

#include "core/alloc.h"
#include "core/cpu.h"

#include <math.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { ROUNDS = 20, STEPS = 200000, CHAINS = 12 };
#define COPY_BYTES ((size_t)256 << 20)

/* Of this thread's work: what else runs on the machine is not counted. */
double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* What the loops compute goes here, so that they are not removed. */
static volatile float sink;

/* Each loop runs CHAINS sums side by side, more than the multiply-adds in flight, and returns its
 * FLOPs. The sums begin differently, so that the compiler does not see one where there are many. */
typedef double flop_loop(void);

static double loop_portable(void)
{
    typedef float v4 __attribute__((vector_size(16)));
    v4 s[CHAINS], x = {0.5f, 0.5f, 0.5f, 0.5f};
    for (int j = 0; j < CHAINS; j++)
        s[j] = x * (float)(j + 1);
    for (int i = 0; i < STEPS; i++)
        for (int j = 0; j < CHAINS; j++)
            s[j] = s[j] * x + x;
    for (int j = 0; j < CHAINS; j++)
        sink = s[j][0];
    return 2.0 * 4 * CHAINS * STEPS;
}

#if defined(__x86_64__)
#define EACH_CHAIN(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)

__attribute__((target("avx2,fma"))) static double loop_avx2(void)
{
    __m256 x = _mm256_set1_ps(0.5f);
#define DO(j) __m256 s##j = _mm256_set1_ps(0.01f * (j + 1));
    EACH_CHAIN(DO)
#undef DO
    for (int i = 0; i < STEPS; i++) {
#define DO(j) s##j = _mm256_fmadd_ps(s##j, x, x);
        EACH_CHAIN(DO)
#undef DO
    }
#define DO(j) sink = _mm256_cvtss_f32(s##j);
    EACH_CHAIN(DO)
#undef DO
    return 2.0 * 8 * CHAINS * STEPS;
}

__attribute__((target("avx512f"))) static double loop_avx512(void)
{
    __m512 x = _mm512_set1_ps(0.5f);
#define DO(j) __m512 s##j = _mm512_set1_ps(0.01f * (j + 1));
    EACH_CHAIN(DO)
#undef DO
    for (int i = 0; i < STEPS; i++) {
#define DO(j) s##j = _mm512_fmadd_ps(s##j, x, x);
        EACH_CHAIN(DO)
#undef DO
    }
#define DO(j) sink = _mm512_cvtss_f32(s##j);
    EACH_CHAIN(DO)
#undef DO
    return 2.0 * 16 * CHAINS * STEPS;
}

__attribute__((target("avx512f,avx512bf16"))) static double loop_bf16(void)
{
    __m512 x = _mm512_castsi512_ps(_mm512_set1_epi16(0x3c00)); /* 1/128: sums stay small */
    __m512bh h = (__m512bh)x;
#define DO(j) __m512 s##j = _mm512_set1_ps(0.01f * (j + 1));
    EACH_CHAIN(DO)
#undef DO
    for (int i = 0; i < STEPS; i++) {
#define DO(j) s##j = _mm512_dpbf16_ps(s##j, h, h);
        EACH_CHAIN(DO)
#undef DO
    }
#define DO(j) sink = _mm512_cvtss_f32(s##j);
    EACH_CHAIN(DO)
#undef DO
    return 2.0 * 32 * CHAINS * STEPS;
}
#endif

static double flop_rate(flop_loop *loop)
{
    double best = 0;
    for (int i = 0; i < ROUNDS; i++) {
        double start = now_seconds(), flops = loop();
        best = fmax(best, flops / (now_seconds() - start));
    }
    return best;
}

/* From one place to another, by the C library, and in place: whichever is faster. */
static double copy_rate(void)
{
    double best = 0;
    const mgen_allocator *memory = &mgi_libc_allocator;
    uint64_t *from = memory->alloc(NULL, COPY_BYTES), *to = memory->alloc(NULL, COPY_BYTES);
    if (from && to) {
        memset(from, 1, COPY_BYTES);
        memset(to, 2, COPY_BYTES);
        for (int i = 0; i < 6; i++) {
            double start = now_seconds();
            memcpy(to, from, COPY_BYTES);
            best = fmax(best, 2.0 * (double)COPY_BYTES / (now_seconds() - start));
            start = now_seconds();
            for (size_t j = 0; j < COPY_BYTES / sizeof *from; j++)
                from[j] += (uint64_t)i + 1;
            best = fmax(best, 2.0 * (double)COPY_BYTES / (now_seconds() - start));
        }
        sink = (float)to[0];
    }
    memory->free(NULL, from, COPY_BYTES);
    memory->free(NULL, to, COPY_BYTES);
    return best;
}

machine_peak measure_peak(void)
{
    machine_peak p = {.f32 = flop_rate(loop_portable), .copy = copy_rate()};
#if defined(__x86_64__)
    uint32_t cpu = mgi_cpu_features();
    if (cpu & MGI_CPU_AVX2)
        p.f32 = fmax(p.f32, flop_rate(loop_avx2));
    if (cpu & MGI_CPU_AVX512)
        p.f32 = fmax(p.f32, flop_rate(loop_avx512));
    if (cpu & MGI_CPU_AVX512BF16)
        p.bf16 = flop_rate(loop_bf16);
#endif
    return p;
}
