/* SPDX-License-Identifier: MIT
 * What this processor can do. Tier 0. */
#ifndef MGI_CORE_CPU_H
#define MGI_CORE_CPU_H

#include <stdbool.h>
#include <stdint.h>

#define MGI_CPU_AVX2       1u /* AVX2 + FMA + F16C */
#define MGI_CPU_AVX512     2u /* F + BW + DQ + VL */
#define MGI_CPU_AVX512BF16 4u
#define MGI_CPU_BF16_DOTS                                                                          \
    8u /* AVX512BF16, and its dot products pay: a preference, all else are abilities */

/* Whether dot products of bf16 are faster than bf16 widened to f32 and multiply-adds, by the processor's maker
 * ("GenuineIntel"). By what is the same in every run, as results depend on it: nothing is timed. */
bool mgi_cpu_dots_pay(const char *maker);
uint32_t mgi_cpu_features(void); /* bits usable now, the operating system's support included */
int mgi_cpu_count(void);         /* processors this process may run on, at least 1 */

#endif
