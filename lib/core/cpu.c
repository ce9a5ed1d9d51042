/* SPDX-License-Identifier: MIT
 * What this processor can do. */
#include "core/cpu.h"

#include <sched.h>
#include <stddef.h>
#include <string.h>

/* A dot product does two products a lane where a multiply-add does one; what counts is how many of them start in a cycle.
 * AMD's Zen 4, one core: 236 GFLOP/s by dot products (vdpbf16ps) beside 118 by multiply-adds in f32. Intel's Emerald
 * Rapids: 115 beside 217, and whole products in bf16 86 to 108 beside 140 to 177 of widened values. Intel's other
 * processors with that instruction were not measured; their cores are the same (Sapphire Rapids) or near kin, and
 * Intel's fast way to multiply bf16 is another one, AMX. */
bool mgi_cpu_dots_pay(const char *maker)
{
    return strcmp(maker, "GenuineIntel") != 0;
}

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>

static bool dots_pay_here(void)
{
    unsigned most, word[3]; /* the name in the order ebx, edx, ecx */
    char maker[sizeof word + 1] = {0};
    if (!__get_cpuid(0, &most, &word[0], &word[2], &word[1]))
        return true;
    memcpy(maker, word, sizeof word);
    return mgi_cpu_dots_pay(maker);
}

uint32_t mgi_cpu_features(void)
{
    uint32_t features = 0;
    unsigned eax, ebx, ecx = 0, edx;
    __builtin_cpu_init(); /* asks xgetbv too: what the system does not save does not count */
    int f16c = __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & (1u << 29));
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && f16c)
        features |= MGI_CPU_AVX2;
    if ((features & MGI_CPU_AVX2) && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
        features |= MGI_CPU_AVX512;
        if (__builtin_cpu_supports("avx512bf16"))
            features |= MGI_CPU_AVX512BF16 | (dots_pay_here() ? MGI_CPU_BF16_DOTS : 0);
    }
    return features;
}

#else

uint32_t mgi_cpu_features(void)
{
    return 0;
}

#endif

int mgi_cpu_count(void)
{
    enum { PROCESSORS_MAX = 1 << 16 };
    for (int processors = 1024; processors <= PROCESSORS_MAX; processors *= 2) {
        size_t size = CPU_ALLOC_SIZE(processors);
        cpu_set_t *set = CPU_ALLOC(processors);
        if (!set)
            return 1;
        int failed = sched_getaffinity(0, size, set);
        int count = failed ? 0 : CPU_COUNT_S(size, set);
        CPU_FREE(set);
        if (!failed)
            return count > 0 ? count : 1;
    }
    return 1;
}
