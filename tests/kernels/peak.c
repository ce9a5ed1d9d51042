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

/* Bytes to fetch ahead, for processors that do not look past a page by themselves: without, one core of an Emerald
 * Rapids reads 11 GB/s instead of 16. */
enum { FAR_BYTES = 8192 };

static double read_rate(const uint64_t *from, bool far)
{
    typedef uint64_t v2 __attribute__((vector_size(16)));
    const v2 *p = (const void *)from;
    double start = now_seconds();
    v2 s0 = {0}, s1 = s0, s2 = s0, s3 = s0;
    for (size_t j = 0; j < COPY_BYTES / sizeof *p; j += 4) {
        if (far)
            __builtin_prefetch((const char *)(p + j) + FAR_BYTES, 0, 2);
        s0 += p[j];
        s1 += p[j + 1];
        s2 += p[j + 2];
        s3 += p[j + 3];
    }
    s0 += s1 + s2 + s3;
    sink = (float)(s0[0] + s0[1]);
    return (double)COPY_BYTES / (now_seconds() - start);
}

/* Past the caches, if the compiler knows how. */
static double write_rate(uint64_t *to)
{
    double start = now_seconds();
#if defined(__x86_64__)
    for (float *f = (void *)to; f < (float *)(void *)to + COPY_BYTES / sizeof(float); f += 4)
        _mm_stream_ps(f, _mm_set1_ps(1));
    _mm_sfence();
#else
    memset(to, 3, COPY_BYTES);
#endif
    return (double)COPY_BYTES / (now_seconds() - start);
}

/* From one place to another, by the C library. */
static double copy_rate(uint64_t *to, const uint64_t *from)
{
    double start = now_seconds();
    memcpy(to, from, COPY_BYTES);
    return 2.0 * (double)COPY_BYTES / (now_seconds() - start);
}

/* The same past the caches, which saves reading the lines that are written. */
static double stream_rate(uint64_t *to, const uint64_t *from, bool far)
{
#if defined(__x86_64__)
    const float *in = (const void *)from;
    float *out = (void *)to;
    double start = now_seconds();
    for (size_t j = 0; j < COPY_BYTES / sizeof *in; j += 16) {
        if (far)
            __builtin_prefetch((const char *)(in + j) + FAR_BYTES, 0, 2);
        __m128 a = _mm_load_ps(in + j), b = _mm_load_ps(in + j + 4);
        __m128 c = _mm_load_ps(in + j + 8), d = _mm_load_ps(in + j + 12);
        _mm_stream_ps(out + j, a);
        _mm_stream_ps(out + j + 4, b);
        _mm_stream_ps(out + j + 8, c);
        _mm_stream_ps(out + j + 12, d);
    }
    _mm_sfence();
    return 2.0 * (double)COPY_BYTES / (now_seconds() - start);
#else
    (void)to, (void)from, (void)far;
    return 0;
#endif
}

/* Each line is written where it was read: no copy, but what an optimizer's step does. */
static double in_place_rate(uint64_t *data, uint64_t more, bool far)
{
    enum { LINE = 8 };
    double start = now_seconds();
    for (size_t j = 0; j < COPY_BYTES / sizeof *data; j += LINE) {
        if (far)
            __builtin_prefetch((const char *)(data + j) + FAR_BYTES, 0, 2);
        for (size_t k = 0; k < LINE; k++)
            data[j + k] += more;
    }
    return 2.0 * (double)COPY_BYTES / (now_seconds() - start);
}

static void memory_rates(machine_peak *p)
{
    const mgen_allocator *memory = &mgi_libc_allocator;
    uint64_t *from = memory->alloc(NULL, COPY_BYTES), *to = memory->alloc(NULL, COPY_BYTES);
    if (from && to) {
        memset(from, 1, COPY_BYTES);
        memset(to, 2, COPY_BYTES);
        for (int i = 0; i < 6; i++) {
            p->copy = fmax(p->copy, fmax(copy_rate(to, from), stream_rate(to, from, false)));
            p->copy_far = fmax(p->copy_far, stream_rate(to, from, true));
            const uint64_t more = (uint64_t)i + 1;
            p->in_place = fmax(p->in_place, in_place_rate(from, more, false));
            p->in_place = fmax(p->in_place, in_place_rate(from, more, true));
            p->read = fmax(p->read, fmax(read_rate(from, false), read_rate(from, true)));
            p->write = fmax(p->write, write_rate(to));
        }
        sink = (float)to[0];
    }
    memory->free(NULL, from, COPY_BYTES);
    memory->free(NULL, to, COPY_BYTES);
}

machine_peak measure_peak(uint32_t cpu)
{
    machine_peak p = {.f32 = flop_rate(loop_portable)};
    memory_rates(&p);
#if defined(__x86_64__)
    if (cpu & MGI_CPU_AVX2)
        p.f32 = fmax(p.f32, flop_rate(loop_avx2));
    if (cpu & MGI_CPU_AVX512)
        p.f32 = fmax(p.f32, flop_rate(loop_avx512));
    if (cpu & MGI_CPU_AVX512BF16)
        p.bf16 = flop_rate(loop_bf16);
#else
    (void)cpu;
#endif
    return p;
}
