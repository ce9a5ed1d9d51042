/* SPDX-License-Identifier: MIT
 * What this processor can do. Tier 0. */
#ifndef MGI_CORE_CPU_H
#define MGI_CORE_CPU_H

#include <stdint.h>

#define MGI_CPU_AVX2       1u /* AVX2 + FMA + F16C */
#define MGI_CPU_AVX512     2u /* F + BW + DQ + VL */
#define MGI_CPU_AVX512BF16 4u

uint32_t mgi_cpu_features(void); /* bits usable now, the operating system's support included */
int mgi_cpu_count(void);         /* processors this process may run on, at least 1 */

#endif
