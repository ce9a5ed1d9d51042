/* SPDX-License-Identifier: MIT */
#define MGK_SUFFIX avx512
#define MGK_WIDTH  16
#define MGK_PAIRS  0
#include "kernels/attention/attention_simd.h"
