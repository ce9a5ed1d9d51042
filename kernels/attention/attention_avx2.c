/* SPDX-License-Identifier: MIT */
#define MGK_SUFFIX avx2
#define MGK_WIDTH  8
#define MGK_PAIRS  0
#include "kernels/attention/attention_simd.h"
